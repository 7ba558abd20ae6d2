//! One recording, on its thread: looks at its taps ten times a second and writes what they hold. A disk that is slow keeps nobody
//! but this thread.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;
use switchboard_media::driver::Server;
use switchboard_media::tap::Tapping;
use switchboard_media::{Command, RoomKey};
use tokio::sync::mpsc::Sender;

use super::files::{self, Log};
use super::output::{Output, Settled};
use super::{Part, Publisher, Reason, RecorderEvent};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::recording::{RecordingFile, RecordingMode};
use crate::ids::{FileId, RecordingId, RoomId};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The nice value of a recording's thread.
const BACKGROUND: i32 = 10;
/// How often the limits are looked at, and how often what was written is made to last.
const CHECK: Duration = Duration::from_secs(1);
const SYNC: Duration = Duration::from_secs(5);
/// How long the file of a participant whose tracks are over waits for others to go on in it.
const LINGER: Duration = Duration::from_secs(10);

/// What is to be recorded until its tap is over.
pub(super) struct Added {
    pub(super) by: Publisher,
    pub(super) part: Part,
    pub(super) tapping: Tapping,
}

/// What a recording needs.
pub(super) struct Parts {
    pub(super) id: RecordingId,
    pub(super) room: RoomId,
    pub(super) key: RoomKey,
    pub(super) mode: RecordingMode,
    pub(super) at: Timestamp,
    pub(super) folder: PathBuf,
    pub(super) config: config::Recordings,
    pub(super) clock: Clock,
    pub(super) server: Arc<Server>,
    /// Its other end is gone when the recording is to end, for the `reason`.
    pub(super) added: Receiver<Added>,
    pub(super) reason: Reason,
    pub(super) events: Sender<RecorderEvent>,
}

/// See the module.
pub(super) struct Session {
    parts: Parts,
    began: Instant,
    log: Log,
    /// Who is there, and files that are whole.
    outputs: Vec<Output>,
    settled: Vec<Settled>,
    /// What the manifest says of tracks that are not recorded.
    lacking: Vec<Value>,
    bytes: u64,
    checked: Instant,
    synced: Instant,
    _lock: File,
}

impl Session {
    /// Makes the folder.
    pub(super) fn begin(parts: Parts) -> io::Result<Self> {
        files::make_folder(&parts.folder)?;
        let began = parts.clock.instant();
        let log = Log {
            recording_id: parts.id,
            room_id: parts.room.to_string(),
            mode: parts.mode,
            started_at: parts.at,
            files: Vec::new(),
        };
        let lock = files::lock(&parts.folder)?.ok_or(io::ErrorKind::ResourceBusy)?;
        let session = Self {
            _lock: lock,
            parts,
            began,
            log,
            outputs: Vec::new(),
            settled: Vec::new(),
            lacking: Vec::new(),
            bytes: 0,
            checked: began,
            synced: began,
        };
        let bytes = serde_json::to_vec_pretty(&session.log)?;
        files::write_whole(&session.parts.folder, "recording.json", &bytes)?;
        Ok(session)
    }

    /// Records until it is told to stop, or cannot go on.
    pub(super) fn run(mut self) {
        // What is recorded has time; what is forwarded has none. Of a process, Linux takes this for one thread alone.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BACKGROUND);
        let mut next = self.began + LOOK;
        let reason = loop {
            let left = next.saturating_duration_since(self.parts.clock.instant());
            match self.parts.added.recv_timeout(left) {
                Ok(added) => self.add(added),
                Err(RecvTimeoutError::Disconnected) => {
                    break self.parts.reason.get().copied().unwrap_or("ended");
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.parts.clock.instant();
                    next = now + LOOK;
                    if let Err(reason) = self.look(now) {
                        break reason;
                    }
                }
            }
        };
        let id = self.parts.id;
        let _ = self.parts.events.blocking_send(RecorderEvent::Stopped { id, reason });
        let files = self.finish(reason);
        let problem = (!self.lacking.is_empty()).then_some(super::MISSING_SETS);
        let _ = self.parts.events.blocking_send(RecorderEvent::Finished { id, files, problem });
    }

    fn add(&mut self, Added { by, part, tapping }: Added) {
        let same = |output: &Output| output.who.who == by.who && output.screen == part.screen;
        let place = match self.outputs.iter().position(same) {
            Some(place) => place,
            None => {
                self.outputs.push(Output::new(by, part.screen, self.began));
                self.outputs.len() - 1
            }
        };
        let Some(output) = self.outputs.get_mut(place) else { return };
        output.over_since = None;
        output.recorder.add(part.key, part.codec, tapping);
    }

    fn look(&mut self, now: Instant) -> Result<(), &'static str> {
        for place in 0..self.outputs.len() {
            self.take(place, now)?;
        }
        self.finish_gone(now)?;
        if now >= self.checked + CHECK {
            self.checked = now;
            self.check(now)?;
        }
        if now >= self.synced + SYNC {
            self.synced = now;
            let mut files = self.outputs.iter().filter_map(Output::file);
            files.try_for_each(File::sync_data).map_err(|error| reason_of(&error))?;
        }
        Ok(())
    }

    fn take(&mut self, place: usize, now: Instant) -> Result<(), &'static str> {
        let Some(output) = self.outputs.get_mut(place) else { return Ok(()) };
        let mut work = output.recorder.poll(now);
        if output.recorder.is_over() {
            output.over_since.get_or_insert(now);
        }
        for track in work.keyframes.drain(..) {
            self.parts.server.command(self.parts.key, Command::Keyframe { track });
        }
        for track in work.failed.drain(..) {
            tracing::error!(recording = %self.parts.id, ?track, "what a track sends cannot be recorded");
            metrics::counter!("rtc_recording_errors_total").increment(1);
            output.failed += 1;
        }
        let applied = output.apply(&self.parts.folder, work, &mut self.settled);
        self.bytes += applied.map_err(|error| self.trouble(&error))?;
        Ok(())
    }

    /// Makes the files whole of those who have been gone for a while: what is held open and looked at follows who is there.
    fn finish_gone(&mut self, now: Instant) -> Result<(), &'static str> {
        let gone = |output: &mut Output| output.over_since.is_some_and(|it| now >= it + LINGER);
        let gone: Vec<Output> = self.outputs.extract_if(.., gone).collect();
        for mut output in gone {
            let finished = self.finish_output(&mut output, now);
            finished.map_err(|error| self.trouble(&error))?;
        }
        Ok(())
    }

    fn finish_output(&mut self, output: &mut Output, now: Instant) -> io::Result<()> {
        let finished = output.finish(&self.parts.folder, now, &mut self.settled);
        let before = self.lacking.len();
        self.lacking.extend(output.lacking());
        if self.lacking.len() > before {
            tracing::warn!(recording = %self.parts.id, "H.264 without parameter sets is not recorded");
        }
        self.bytes += finished?;
        Ok(())
    }

    fn trouble(&self, error: &io::Error) -> &'static str {
        tracing::error!(recording = %self.parts.id, %error, "a recording cannot be written");
        metrics::counter!("rtc_recording_errors_total").increment(1);
        reason_of(error)
    }

    fn check(&self, now: Instant) -> Result<(), &'static str> {
        let Parts { config, folder, .. } = &self.parts;
        if now.saturating_duration_since(self.began).as_secs() >= config.max_minutes * 60 {
            return Err("length");
        }
        if self.bytes >= config.max_bytes {
            return Err("size");
        }
        if !self.outputs.iter().all(|output| output.is_named(folder)) {
            return Err("folder-gone");
        }
        match files::free_bytes(folder) {
            Some(free) if free < config.min_free_bytes => Err("disk-full"),
            _ => Ok(()),
        }
    }

    /// Makes the files whole.
    fn finish(&mut self, reason: &'static str) -> Vec<RecordingFile> {
        let now = self.parts.clock.instant();
        for mut output in std::mem::take(&mut self.outputs) {
            if let Err(error) = self.finish_output(&mut output, now) {
                self.trouble(&error);
            }
        }
        let (mut files, mut particulars): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.settled).into_iter().unzip();
        let folder = self.parts.folder.clone();
        // The participants' files stay where there is no other.
        let mixed = files::add_mix(&folder, self.parts.mode, &mut files, &mut particulars);
        if let Err(error) = mixed {
            self.trouble(&error);
        }
        if let Err(error) = files::digest(&folder, &mut files) {
            self.trouble(&error);
        }
        if !files.is_empty() {
            let stopped = (self.parts.clock.now(), reason);
            let id = FileId::new(uuid::Uuid::new_v4());
            let more = (particulars.as_slice(), self.lacking.as_slice());
            let manifest = files::write_manifest(&folder, &self.log, id, &files, more, stopped);
            match manifest {
                Ok(manifest) => files.push(manifest),
                Err(error) => {
                    self.trouble(&error);
                }
            }
        }
        let _ = files::sync_folder(&folder);
        files
    }
}

fn reason_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk-full",
        io::ErrorKind::NotFound => "folder-gone",
        _ => "disk",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::mpsc::sync_channel;

    use switchboard_media::driver::Settings;
    use switchboard_media::tap::{Packet, Tap, Tapped, tap};
    use switchboard_media::{Codec, TrackKey};

    use super::*;
    use crate::ids::UserId;

    /// A session in virtual time, and the moment at which it begins.
    fn session(root: &std::path::Path) -> (Session, Instant) {
        let settings = Settings {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            listen_tcp: Vec::new(),
            advertised: Vec::new(),
            workers: 1,
        };
        let clock = Clock::system();
        let id = RecordingId::new(clock.id());
        let began = clock.instant();
        let parts = Parts {
            id,
            room: "standup".parse().unwrap(),
            key: RoomKey(1),
            mode: RecordingMode::Tracks,
            at: clock.now(),
            folder: root.join(id.to_string()),
            config: config::Recordings { min_free_bytes: 0, ..config::Recordings::default() },
            clock,
            server: Arc::new(Server::start(&settings, |_| {}).unwrap()),
            added: sync_channel(1).1,
            reason: Arc::default(),
            events: tokio::sync::mpsc::channel(8).0,
        };
        (Session { began, ..Session::begin(parts).unwrap() }, began)
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("switchboard-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        path
    }

    fn comes(session: &mut Session, number: u64) -> Tap {
        let (tap, tapping) = tap(1024);
        let user = UserId::new(i64::try_from(number).unwrap() + 1).unwrap();
        let by = Publisher { who: user.to_string(), user, name: None };
        let part = Part { key: TrackKey(number), codec: Codec::Opus, screen: false };
        session.add(Added { by, part, tapping });
        tap
    }

    fn speaks(tap: &Tap, ms: u64, began: Instant) {
        tap.put(Tapped::Packet(Packet {
            layer: 0,
            sequence: 1000 + ms / 20,
            timestamp: u32::try_from(ms * 48).unwrap(),
            marker: true,
            red: false,
            orientation: None,
            payload: vec![0x78; 40].into(),
            at: began + Duration::from_millis(ms),
        }));
    }

    /// Forty people, two at a time, each for eight seconds.
    fn come_and_go(session: &mut Session, began: Instant) -> usize {
        let (mut there, mut most) = (Vec::new(), 0);
        for ms in (0..160_000).step_by(20) {
            if ms % 4000 == 0 {
                there.push(comes(session, ms / 4000));
                let gone = there.len().saturating_sub(2);
                there.drain(..gone);
            }
            there.iter().for_each(|tap| speaks(tap, ms, began));
            if ms % 100 == 0 {
                session.look(began + Duration::from_millis(ms)).unwrap();
                most = most.max(session.outputs.len());
            }
        }
        most
    }

    #[test]
    fn files_of_those_who_have_been_gone_for_ten_seconds_are_whole_while_others_are_recorded() {
        let root = folder("gone");
        let (mut session, began) = session(&root);
        let most = come_and_go(&mut session, began);
        assert!((4..=6).contains(&most), "{most} files are looked at");
        let names = |end: &str| {
            let names = std::fs::read_dir(&session.parts.folder).unwrap();
            names
                .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().ends_with(end))
                .count()
        };
        assert!(names(".webm") >= 34 && names(".part") <= 6);
        // Each is listed once, by a line of its own.
        let list = std::fs::read_to_string(session.parts.folder.join("files.jsonl")).unwrap();
        assert_eq!(list.lines().count(), 40);
        let files = session.finish("requested");
        assert_eq!(files.len(), 41, "and the manifest");
        for (place, file) in files.iter().take(40).enumerate() {
            let begins = u64::try_from(place).unwrap() * 4000;
            assert!(file.start_offset_ms.abs_diff(begins) < 100, "{file:?}");
            // The last comes with four seconds left.
            let length = if place == 39 { 4000 } else { 8000 };
            assert!(file.duration_ms.abs_diff(length) < 100 && file.sha256.len() == 64, "{file:?}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn after_a_crash_whole_files_and_those_that_were_written_are_found() {
        let root = folder("crash");
        let (mut session, began) = session(&root);
        come_and_go(&mut session, began);
        let (id, now) = (session.parts.id, session.parts.clock.now());
        drop(session);
        let files = match files::recover(&root, id, now).unwrap() {
            files::Found::Files(files) => files,
            other => panic!("{other:?}"),
        };
        assert_eq!(files.len(), 41);
        assert!(files.iter().take(38).all(|file| file.duration_ms.abs_diff(8000) < 1300));
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn who_comes_back_soon_goes_on_in_the_same_file() {
        let root = folder("back");
        let (mut session, began) = session(&root);
        let mut there = Some(comes(&mut session, 1));
        for ms in (0..60_000).step_by(20) {
            match ms {
                10_000 | 30_000 => there = None,
                // After 8 s, and after 15.
                18_000 | 45_000 => there = Some(comes(&mut session, 1)),
                _ => {}
            }
            there.iter().for_each(|tap| speaks(tap, ms, began));
            if ms % 100 == 0 {
                session.look(began + Duration::from_millis(ms)).unwrap();
            }
        }
        let files = session.finish("requested");
        let offsets: Vec<u64> = files.iter().take(2).map(|it| it.start_offset_ms / 1000).collect();
        assert_eq!((files.len(), offsets), (3, vec![0, 45]));
        std::fs::remove_dir_all(root).unwrap();
    }
}
