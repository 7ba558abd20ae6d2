//! What can be recorded, and what is: calls and rooms say who is there and what they send; a recording writes it to files on a
//! thread of its own, which nothing waits for.

mod files;
mod mix;
mod output;
mod run;
mod stats;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use switchboard_media::driver::Server;
use switchboard_media::tap::tap;
use switchboard_media::{Codec, Command, RoomKey, TrackKey};
use tokio::sync::mpsc;

pub use self::files::{Found, recover};
use self::run::{Added, Session};
pub use self::stats::Stats;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::recording::{ActiveRecording, RecordingFile, RecordingMode};
use crate::ids::{RecordingId, RoomId, UserId};
use crate::sfu::Sfu;

/// Packets of one track that may wait for the disk.
const ROOM: usize = 1024;
/// Tracks that a recording may not have looked at yet, and news of recordings that may not have been heard yet.
const ADDED: usize = 256;
const NEWS: usize = 1024;

/// Why a track of H.264 is not recorded.
const MISSING_SETS: &str = "missing-parameter-sets";

/// Why a recording is to end, once it is.
type Reason = Arc<OnceLock<&'static str>>;

/// Somebody who sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publisher {
    /// The name of its place: a participant of a room, or the user of a call.
    pub who: String,
    /// The account, or the guest.
    pub user: UserId,
    /// The name that is shown.
    pub name: Option<String>,
}

/// Something that is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Which track.
    pub key: TrackKey,
    /// What it is coded with.
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
    /// Who started it; `None` for the server's policy.
    pub by: Option<UserId>,
    /// When.
    pub at: Timestamp,
}

/// What becomes of a recording.
#[derive(Debug)]
pub enum RecorderEvent {
    /// Something can be recorded somewhere from now on.
    Opened {
        /// Where.
        room: RoomId,
        /// Who wants it to be.
        by: Option<UserId>,
    },
    /// Somebody has come to where it runs.
    Entered {
        /// Which.
        id: RecordingId,
        /// Who.
        user: UserId,
    },
    /// It takes nothing more.
    Stopped {
        /// Which.
        id: RecordingId,
        /// Why.
        reason: &'static str,
    },
    /// Its files are whole, as far as there are any.
    Finished {
        /// Which.
        id: RecordingId,
        /// The files.
        files: Vec<RecordingFile>,
        /// What could not be recorded.
        problem: Option<&'static str>,
    },
}

/// A place where something can be recorded.
struct RecordingSource {
    key: RoomKey,
    people: Vec<UserId>,
    sent: Vec<(Publisher, Vec<Part>)>,
    recording: Option<Running>,
}

struct Running {
    shown: ActiveRecording,
    consented: Vec<UserId>,
    added: SyncSender<Added>,
    reason: Reason,
    tapped: Vec<TrackKey>,
}

/// Why nothing is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unrecorded {
    /// Nothing is sent through the server there.
    NoScene,
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
    scenes: Mutex<HashMap<RoomId, RecordingSource>>,
    events: mpsc::Sender<RecorderEvent>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Recorder {
    /// Nothing is recorded yet; the receiver hears what becomes of recordings.
    pub fn new(
        config: &config::Recordings,
        clock: Clock,
        sfu: &Sfu,
    ) -> (Self, mpsc::Receiver<RecorderEvent>) {
        let (events, hearing) = mpsc::channel(NEWS);
        let recorder = Self {
            server: sfu.server().clone(),
            clock,
            root: PathBuf::from(&config.dir),
            config: config.clone(),
            scenes: Mutex::default(),
            events,
            threads: Mutex::default(),
        };
        (recorder, hearing)
    }

    fn scenes(&self) -> MutexGuard<'_, HashMap<RoomId, RecordingSource>> {
        self.scenes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on something can be recorded there; `by` wants it to be.
    pub fn open(&self, room: &RoomId, key: RoomKey, people: &[UserId], by: Option<UserId>) {
        let people = people.to_vec();
        let scene = RecordingSource { key, people, sent: Vec::new(), recording: None };
        // A call that becomes one of several goes on in a room of the same name.
        self.stop(room, "moved");
        self.scenes().insert(room.clone(), scene);
        self.notify(RecorderEvent::Opened { room: room.clone(), by });
    }

    /// Whether there was room for what is to be heard.
    fn notify(&self, events: RecorderEvent) -> bool {
        let sent = self.events.try_send(events);
        if let Err(error) = &sent {
            tracing::error!(%error, "the store does not keep up with what happens to recordings");
            metrics::counter!("rtc_recording_errors_total").increment(1);
        }
        sent.is_ok()
    }

    /// It is over there; a recording ends with it.
    pub fn close(&self, room: &RoomId, key: RoomKey) {
        let same = self.scenes().get(room).is_some_and(|scene| scene.key == key);
        if same {
            self.stop(room, "ended");
            self.scenes().remove(room);
        }
    }

    /// Somebody is there.
    pub fn enter(&self, room: &RoomId, user: UserId) {
        let running = {
            let mut scenes = self.scenes();
            let Some(scene) = scenes.get_mut(room) else { return };
            if scene.people.contains(&user) {
                return;
            }
            scene.people.push(user);
            scene.recording.as_ref().map(|running| running.shown.recording_id)
        };
        // Nobody is recorded who is not told.
        if running.is_some_and(|id| !self.notify(RecorderEvent::Entered { id, user })) {
            self.stop(room, "overload");
        }
    }

    /// Somebody is there no longer.
    pub fn leave(&self, room: &RoomId, user: UserId) {
        if let Some(scene) = self.scenes().get_mut(room) {
            scene.people.retain(|known| *known != user);
        }
    }

    /// Somebody sends just this from now on.
    pub fn sends(&self, room: &RoomId, key: RoomKey, by: Publisher, parts: Vec<Part>) {
        let mut scenes = self.scenes();
        let Some(scene) = scenes.get_mut(room).filter(|scene| scene.key == key) else { return };
        scene.sent.retain(|(known, _)| known.who != by.who);
        if !parts.is_empty() {
            scene.sent.push((by, parts));
        }
        self.follow(scene);
    }

    /// Somebody agrees to be recorded, or no longer.
    pub fn consent(&self, room: &RoomId, user: UserId, consents: bool) {
        let mut scenes = self.scenes();
        let Some(scene) = scenes.get_mut(room) else { return };
        let Some(running) = &mut scene.recording else { return };
        running.consented.retain(|known| *known != user);
        if consents {
            running.consented.push(user);
        }
        self.follow(scene);
    }

    /// Has a recording take what is sent by those who may be recorded.
    fn follow(&self, scene: &mut RecordingSource) {
        let RecordingSource { key: room, sent, recording: Some(running), .. } = scene else {
            return;
        };
        let mode = running.shown.mode;
        let may = |by: &Publisher| !running.shown.consent || running.consented.contains(&by.user);
        let wanted: Vec<(&Publisher, Part)> = sent
            .iter()
            .filter(|(by, _)| may(by))
            .flat_map(|(by, parts)| parts.iter().map(move |part| (by, *part)))
            .filter(|(_, part)| mode.keeps_tracks() || part.codec == Codec::Opus)
            .collect();
        let gone = |key: &TrackKey| !wanted.iter().any(|(_, part)| part.key == *key);
        for key in running.tapped.extract_if(.., |key| gone(key)) {
            self.server.command(*room, Command::Tap { track: key, tap: None });
        }
        for (by, part) in wanted {
            if running.tapped.contains(&part.key) {
                continue;
            }
            let (tap, tapping) = tap(ROOM);
            match running.added.try_send(Added { by: by.clone(), part, tapping }) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(_)) => {
                    tracing::error!(recording = %running.shown.recording_id, "a track is not recorded: the disk stands still");
                    metrics::counter!("rtc_recording_errors_total").increment(1);
                    continue;
                }
            }
            running.tapped.push(part.key);
            self.server.command(*room, Command::Tap { track: part.key, tap: Some(tap) });
        }
    }

    /// What everybody there sees of a recording.
    pub fn active(&self, room: &RoomId) -> Option<ActiveRecording> {
        Some(self.scenes().get(room)?.recording.as_ref()?.shown.clone())
    }

    /// Who is where something can be recorded.
    pub fn people(&self, room: &RoomId) -> Option<Vec<UserId>> {
        self.scenes().get(room).map(|scene| scene.people.clone())
    }

    /// Whether a recording can begin there now.
    pub fn check(&self, room: &RoomId) -> Result<(), Unrecorded> {
        self.may_begin(&self.scenes(), room)?;
        // A disk may be slow, and whoever sends something waits for the lock.
        files::make_root(&self.root).map_err(|_| Unrecorded::Folder)?;
        match files::free_bytes(&self.root) {
            Some(free) if free < self.config.min_free_bytes => Err(Unrecorded::DiskFull),
            _ => Ok(()),
        }
    }

    fn may_begin(
        &self,
        scenes: &HashMap<RoomId, RecordingSource>,
        room: &RoomId,
    ) -> Result<(), Unrecorded> {
        let scene = scenes.get(room).ok_or(Unrecorded::NoScene)?;
        if let Some(running) = &scene.recording {
            return Err(Unrecorded::Already(running.shown.recording_id));
        }
        let running = scenes.values().filter(|scene| scene.recording.is_some()).count();
        if running >= self.config.max_parallel { Err(Unrecorded::Full) } else { Ok(()) }
    }

    /// Begins a recording, of which everybody has been told. It waits for the disk, while nothing else does.
    pub fn start(&self, room: &RoomId, beginning: &RecordingSpec) -> Result<(), Unrecorded> {
        self.check(room)?;
        let (key, added, reason) = self.reserve(room, beginning)?;
        let parts = run::Parts {
            id: beginning.id,
            room: room.clone(),
            key,
            mode: beginning.mode,
            at: beginning.at,
            folder: self.root.join(beginning.id.to_string()),
            config: self.config.clone(),
            clock: self.clock.clone(),
            server: self.server.clone(),
            added,
            reason,
            events: self.events.clone(),
        };
        let begun = self.run(parts);
        if begun.is_err() {
            self.stopped(beginning.id);
        }
        begun
    }

    /// Takes the place of a recording that is about to begin; what is sent waits for it.
    fn reserve(
        &self,
        room: &RoomId,
        beginning: &RecordingSpec,
    ) -> Result<(RoomKey, Receiver<Added>, Reason), Unrecorded> {
        let mut scenes = self.scenes();
        self.may_begin(&scenes, room)?;
        let scene = scenes.get_mut(room).ok_or(Unrecorded::NoScene)?;
        let (added, taken) = sync_channel(ADDED);
        let reason = Arc::new(OnceLock::new());
        scene.recording = Some(Running {
            shown: ActiveRecording {
                recording_id: beginning.id,
                mode: beginning.mode,
                started_at: beginning.at,
                by: beginning.by,
                consent: self.config.consent == config::Consent::Required,
            },
            consented: Vec::new(),
            added,
            reason: reason.clone(),
            tapped: Vec::new(),
        });
        self.follow(scene);
        Ok((scene.key, taken, reason))
    }

    /// Makes the folder of a recording and its thread.
    fn run(&self, parts: run::Parts) -> Result<(), Unrecorded> {
        let session = Session::begin(parts).map_err(|_| Unrecorded::Folder)?;
        let thread = std::thread::Builder::new().name("recording".into());
        let thread = thread.spawn(move || session.run()).map_err(|_| Unrecorded::Full)?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    /// Ends the recording there, if there is one.
    pub fn stop(&self, room: &RoomId, reason: &'static str) {
        let mut scenes = self.scenes();
        let Some(scene) = scenes.get_mut(room) else { return };
        let Some(running) = self.release(scene) else { return };
        let _ = running.reason.set(reason);
    }

    /// Forgets a recording that stopped by itself.
    pub fn stopped(&self, id: RecordingId) {
        let mut scenes = self.scenes();
        let of = |scene: &RecordingSource| {
            scene.recording.as_ref().is_some_and(|it| it.shown.recording_id == id)
        };
        if let Some(scene) = scenes.values_mut().find(|scene| of(scene)) {
            self.release(scene);
        }
    }

    /// Takes a recording, if there is one, off what it listens to.
    fn release(&self, scene: &mut RecordingSource) -> Option<Running> {
        let running = scene.recording.take()?;
        for key in &running.tapped {
            self.server.command(scene.key, Command::Tap { track: *key, tap: None });
        }
        Some(running)
    }

    /// Ends all recordings and waits for their files, for `patience` at most.
    pub fn stop_all(&self, reason: &'static str, patience: Duration) {
        let rooms: Vec<RoomId> = self.scenes().keys().cloned().collect();
        rooms.iter().for_each(|room| self.stop(room, reason));
        let until = self.clock.instant() + patience;
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            while !thread.is_finished() && self.clock.instant() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Where a file of a recording is: made of the two ids and nothing that anybody says.
    pub fn path(&self, id: RecordingId, file: &RecordingFile) -> PathBuf {
        self.root.join(id.to_string()).join(files::name(file.file_id, &file.container))
    }

    /// Deletes what a recording has written.
    pub fn delete(&self, id: RecordingId) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.root.join(id.to_string())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Where recordings are.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }
}
