//! What can be recorded, and what is: calls and rooms say who is there and what they send; a recording writes it to files on a
//! thread of its own, which nothing waits for.

mod files;
mod mix;
mod output;
mod policy;
mod present;
mod run;
mod source;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_media::driver::Server;
use switchboard_media::tap::tap;
use switchboard_media::{Codec, Command, RoomKey, TrackKey};
use tokio::sync::mpsc;

pub use self::files::{Found, recorded, recover};
pub use self::policy::record_policy;
use self::run::{Writer, WriterSetup};
use self::source::{AddedTrack, Capture, Reason, RecordingSource};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::recording::{RecordingFile, RecordingMode, StopReason};
use crate::ids::{RecordingId, RoomId, UserId};
use crate::sfu::Sfu;

/// Packets of one track that may wait for the disk.
const PACKETS: usize = 1024;
/// Tracks that a recording's thread may not have taken yet.
const ADDED: usize = 256;
/// Calls and rooms that opened, and that the rules may not have looked at yet.
const OPENED: usize = 1024;

/// A participant who sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publisher {
    /// The participant of a room, or the user of a call, as text.
    pub who: String,
    /// The account, or the guest.
    pub user: UserId,
    /// The name that is shown.
    pub name: Option<String>,
}

/// A track that is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Which track.
    pub key: TrackKey,
    /// Its codec.
    pub codec: Codec,
    /// Whether it shows a screen.
    pub screen: bool,
}

/// What a recording is to be.
#[derive(Clone, Debug)]
pub struct RecordingSpec {
    /// Its id.
    pub id: RecordingId,
    /// What is recorded.
    pub mode: RecordingMode,
    /// The user who starts it, and so consents to it; `None` for the server's policy.
    pub by: Option<UserId>,
    /// When it starts.
    pub at: Timestamp,
}

/// A call or a room can be recorded from now on.
#[derive(Debug)]
pub struct Opened {
    /// Its room.
    pub room: RoomId,
    /// The caller who asked for a recording.
    pub by: Option<UserId>,
}

/// What happens to a recording; its owner receives it.
#[derive(Debug)]
pub enum RecorderEvent {
    /// A user came to where it runs.
    Entered(UserId),
    /// What a guest of this name sends is recorded.
    Guest(String),
    /// It takes nothing more.
    Stopped(StopReason),
    /// Its files are whole, as far as there are any.
    Finished {
        /// The files.
        files: Vec<RecordingFile>,
        /// Why some of what was sent is in none of them.
        problem: Option<StopReason>,
    },
}

/// Why nothing is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unrecorded {
    /// Nothing is sent through the server there.
    NoMedia,
    /// It is recorded already.
    Already(RecordingId),
    /// As many recordings run as may.
    Full,
    /// The disk has not enough room.
    DiskFull,
    /// The folder cannot be written.
    Folder,
}

/// See the module.
pub struct Recorder {
    server: Arc<Server>,
    clock: Clock,
    root: PathBuf,
    config: config::Recordings,
    sources: Mutex<HashMap<RoomId, RecordingSource>>,
    opened: mpsc::Sender<Opened>,
    /// What tests put packets into, in place of a worker of the SFU.
    #[cfg(test)]
    pub(crate) taps: Mutex<HashMap<TrackKey, switchboard_media::tap::Tap>>,
    /// A disk that stands still until a test lets it go on.
    #[cfg(test)]
    pub(crate) disk: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Recorder {
    /// Nothing is recorded yet; the receiver gets each call and room that can be.
    pub fn new(
        config: &config::Recordings,
        clock: Clock,
        sfu: &Sfu,
    ) -> (Self, mpsc::Receiver<Opened>) {
        let (opened, receiver) = mpsc::channel(OPENED);
        let recorder = Self {
            server: sfu.server().clone(),
            clock,
            root: PathBuf::from(&config.dir),
            config: config.clone(),
            sources: Mutex::default(),
            opened,
            #[cfg(test)]
            taps: Mutex::default(),
            #[cfg(test)]
            disk: Mutex::default(),
        };
        (recorder, receiver)
    }

    /// Held for what takes microseconds: signalling of calls and rooms waits for it, the disk never does.
    fn sources(&self) -> MutexGuard<'_, HashMap<RoomId, RecordingSource>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call or a room can be recorded from now on; `by` is the caller who asked for that.
    pub fn open(&self, room: &RoomId, key: RoomKey, people: &[UserId], by: Option<UserId>) {
        // A call that becomes one of several goes on in a room of the same name.
        self.stop(room, StopReason::Moved);
        self.sources().insert(room.clone(), RecordingSource::new(key, people.to_vec()));
        if let Err(error) = self.opened.try_send(Opened { room: room.clone(), by }) {
            tracing::error!(%room, %error, "a call is not looked at by the recording policy");
            metrics::counter!("rtc_recording_errors_total").increment(1);
        }
    }

    /// A call or a room is over, and its recording with it.
    pub fn close(&self, room: &RoomId, key: RoomKey) {
        let same = self.sources().get(room).is_some_and(|source| source.key == key);
        if same {
            self.stop(room, StopReason::Ended);
            self.sources().remove(room);
        }
    }

    /// A user comes.
    pub fn enter(&self, room: &RoomId, user: UserId) {
        if let Some(source) = self.sources().get_mut(room) {
            self.note(source, user);
        }
    }

    /// Has a recording's owner know of a user who is there, whatever way that user came.
    fn note(&self, source: &mut RecordingSource, user: UserId) {
        if source.enters(user) {
            self.report(source, RecorderEvent::Entered(user));
        }
    }

    fn report(&self, source: &mut RecordingSource, event: RecorderEvent) {
        let Some(running) = &source.recording else { return };
        // Who is not notified of a recording is not recorded.
        if running.events.try_send(event).is_err() {
            let recording = running.shown.recording_id;
            tracing::error!(%recording, "a recording ends: its owner does not keep up with who comes");
            metrics::counter!("rtc_recording_errors_total").increment(1);
            self.take_off(source, Some(StopReason::Overload));
        }
    }

    /// A user goes.
    pub fn leave(&self, room: &RoomId, user: UserId) {
        if let Some(source) = self.sources().get_mut(room) {
            source.leaves(user);
        }
    }

    /// A publisher sends just these tracks from now on. Whoever sends is there.
    pub fn sends(&self, room: &RoomId, key: RoomKey, by: Publisher, parts: Vec<Part>) {
        let mut sources = self.sources();
        let Some(source) = sources.get_mut(room).filter(|source| source.key == key) else { return };
        if !parts.is_empty() {
            self.note(source, by.user);
        }
        source.publish(by, parts);
        self.follow(source);
    }

    /// Has a recording take what is sent by those who may be recorded, and nothing else.
    fn follow(&self, source: &mut RecordingSource) {
        let wanted = source.wanted();
        for (by, _) in &wanted {
            if let Some(name) = source.names(by) {
                self.report(source, RecorderEvent::Guest(name));
            }
        }
        let key = source.key;
        let Some(running) = &mut source.recording else { return };
        let recording = running.shown.recording_id;
        let Some(capture) = &mut running.capture else { return };
        let gone = |key: &TrackKey| !wanted.iter().any(|(_, part)| part.key == *key);
        for track in capture.tapped.extract_if(.., |key| gone(key)) {
            self.untap(key, track);
        }
        for (by, part) in wanted {
            if capture.tapped.contains(&part.key) {
                continue;
            }
            let (tap, tapping) = tap(PACKETS);
            match capture.added.try_send(AddedTrack { by, part, tapping }) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(_)) => {
                    tracing::error!(%recording, "a track is not recorded: the disk stands still");
                    metrics::counter!("rtc_recording_errors_total").increment(1);
                    continue;
                }
            }
            capture.tapped.push(part.key);
            #[cfg(test)]
            self.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(part.key, tap.clone());
            self.server.command(key, Command::Tap { track: part.key, tap: Some(tap) });
        }
    }

    fn untap(&self, room: RoomKey, track: TrackKey) {
        #[cfg(test)]
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).remove(&track);
        self.server.command(room, Command::Tap { track, tap: None });
    }

    /// How many recordings run.
    pub fn running(&self) -> usize {
        self.sources().values().filter(|source| source.recording.is_some()).count()
    }

    /// Whether there is room for what is recorded. It waits for the disk.
    pub fn check_disk(&self) -> Result<(), Unrecorded> {
        files::make_root(&self.root).map_err(|_| Unrecorded::Folder)?;
        match files::free_bytes(&self.root) {
            Some(free) if free < self.config.min_free_bytes => Err(Unrecorded::DiskFull),
            _ => Ok(()),
        }
    }

    /// Takes the place of a recording that is about to begin, whose `owner` receives what happens to it; gives the users who are
    /// there. Nothing is taken from any track before [`Self::begin`].
    pub fn reserve(
        &self,
        room: &RoomId,
        spec: &RecordingSpec,
        owner: mpsc::Sender<RecorderEvent>,
    ) -> Result<Vec<UserId>, Unrecorded> {
        let mut sources = self.sources();
        let running = sources.values().filter(|source| source.recording.is_some()).count();
        let source = sources.get_mut(room).ok_or(Unrecorded::NoMedia)?;
        if source.recording.is_none() && running >= self.config.max_parallel {
            return Err(Unrecorded::Full);
        }
        source.reserve(spec, self.config.consent == config::Consent::Required, owner)
    }

    /// Begins a recording whose place is reserved, once those who are there are notified. It waits for the disk, while nothing else does.
    pub fn begin(&self, room: &RoomId, spec: &RecordingSpec) -> Result<(), Unrecorded> {
        let begun = self.capture(room, spec).and_then(|setup| self.run(setup));
        if begun.is_err() {
            self.release(room, spec.id);
        }
        begun
    }

    /// Lays the taps of a recording; what is sent waits in them for its thread.
    fn capture(&self, room: &RoomId, spec: &RecordingSpec) -> Result<WriterSetup, Unrecorded> {
        let mut sources = self.sources();
        let source = sources.get_mut(room).filter(|source| source.is_recording(spec.id));
        let source = source.ok_or(Unrecorded::NoMedia)?;
        let key = source.key;
        let running = source.recording.as_mut().ok_or(Unrecorded::NoMedia)?;
        let (added, taken) = sync_channel(ADDED);
        let reason = Reason::default();
        let events = running.events.clone();
        running.capture = Some(Capture { added, reason: reason.clone(), tapped: Vec::new() });
        self.follow(source);
        Ok(WriterSetup {
            id: spec.id,
            room: room.clone(),
            key,
            mode: spec.mode,
            at: spec.at,
            folder: self.root.join(spec.id.to_string()),
            config: self.config.clone(),
            clock: self.clock.clone(),
            server: self.server.clone(),
            added: taken,
            reason,
            events,
        })
    }

    /// Makes the folder of a recording and its thread.
    fn run(&self, setup: WriterSetup) -> Result<(), Unrecorded> {
        #[cfg(test)]
        if let Some(disk) = self.disk.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = disk.recv();
        }
        let writer = Writer::begin(setup).map_err(|_| Unrecorded::Folder)?;
        let thread = std::thread::Builder::new().name("recording".into());
        thread.spawn(move || writer.run()).map(drop).map_err(|_| Unrecorded::Full)
    }

    /// Ends the recording there, if there is one.
    pub fn stop(&self, room: &RoomId, reason: StopReason) {
        let mut sources = self.sources();
        let Some(source) = sources.get_mut(room) else { return };
        self.take_off(source, Some(reason));
    }

    /// As [`Self::stop`], unless another recording runs there by now.
    pub fn stop_recording(&self, room: &RoomId, id: RecordingId, reason: StopReason) {
        self.end(room, id, Some(reason));
    }

    /// Frees the place of a recording that stopped by itself, or did not begin.
    pub fn release(&self, room: &RoomId, id: RecordingId) {
        self.end(room, id, None);
    }

    fn end(&self, room: &RoomId, id: RecordingId, reason: Option<StopReason>) {
        let mut sources = self.sources();
        if let Some(source) = sources.get_mut(room).filter(|source| source.is_recording(id)) {
            self.take_off(source, reason);
        }
    }

    /// Takes a recording, if there is one, off the tracks that it records; its thread then ends.
    fn take_off(&self, source: &mut RecordingSource, reason: Option<StopReason>) {
        let Some(capture) = source.recording.take().and_then(|running| running.capture) else {
            return;
        };
        if let Some(reason) = reason {
            let _ = capture.reason.set(reason);
        }
        for track in capture.tapped {
            self.untap(source.key, track);
        }
    }

    /// Where a file of a recording is: its path is made of the two ids, of no text that a client sends.
    pub fn path(&self, id: RecordingId, file: &RecordingFile) -> PathBuf {
        self.root.join(id.to_string()).join(files::name(file.file_id, &file.container))
    }

    /// Deletes what a recording has written. It waits for the disk.
    pub fn delete(&self, id: RecordingId) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.root.join(id.to_string())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Where recordings are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
