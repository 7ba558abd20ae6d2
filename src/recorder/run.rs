//! One recording, on its thread: looks at its taps ten times a second and writes what they hold. A disk that is slow keeps nobody
//! but this thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard_media::driver::Server;
use switchboard_media::recorder::{Recorder, Work, Write};
use switchboard_media::tap::Tapping;
use switchboard_media::{Codec, Command, RoomKey, TrackKey};
use tokio::sync::mpsc::Sender;

use super::files::{self, Draft, Log};
use super::{Part, Performer, Told};
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

/// What is to be recorded until its tap is over.
pub(super) struct Added {
    pub(super) by: Performer,
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
    pub(super) reason: Arc<OnceLock<&'static str>>,
    pub(super) told: Sender<Told>,
}

/// A file and who writes it.
struct Output {
    draft: Draft,
    recorder: Recorder,
    file: Option<File>,
    written: u64,
    failed: Vec<TrackKey>,
}

/// See the module.
pub(super) struct Session {
    parts: Parts,
    began: Instant,
    log: Log,
    outputs: Vec<Output>,
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
            bytes: 0,
            checked: began,
            synced: began,
        };
        session.write_log()?;
        Ok(session)
    }

    /// Records until it is told to stop, or cannot go on.
    pub(super) fn run(mut self) {
        // What is recorded has time; what is forwarded has none. Of a process, Linux takes this for one thread alone.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BACKGROUND);
        metrics::gauge!("rtc_recording_active").increment(1);
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
        metrics::gauge!("rtc_recording_active").decrement(1);
        let id = self.parts.id;
        let _ = self.parts.told.blocking_send(Told::Stopped { id, reason });
        let files = self.finish(reason);
        let _ = self.parts.told.blocking_send(Told::Finished { id, files });
    }

    fn add(&mut self, Added { by, part, tapping }: Added) {
        let same =
            |output: &&mut Output| output.draft.who == by.who && output.draft.screen == part.screen;
        let place = self.outputs.iter_mut().find(same);
        let output = match place {
            Some(output) => output,
            None => {
                let draft = Draft {
                    file_id: FileId::new(uuid::Uuid::new_v4()),
                    who: by.who,
                    user_id: Some(by.user).filter(|user| !user.is_guest()),
                    name: by.name,
                    screen: part.screen,
                    start_offset_ms: 0,
                };
                let recorder = Recorder::new(self.began);
                let (file, failed) = (None, Vec::new());
                self.outputs.push(Output { draft, recorder, file, written: 0, failed });
                let Some(output) = self.outputs.last_mut() else { return };
                output
            }
        };
        output.recorder.add(part.key, part.codec, tapping);
    }

    fn look(&mut self, now: Instant) -> Result<(), &'static str> {
        for place in 0..self.outputs.len() {
            self.take(place, now)?;
        }
        if now >= self.checked + CHECK {
            self.checked = now;
            self.check(now)?;
        }
        if now >= self.synced + SYNC {
            self.synced = now;
            let files = self.outputs.iter().filter_map(|output| output.file.as_ref());
            files.into_iter().try_for_each(File::sync_data).map_err(|error| reason_of(&error))?;
        }
        Ok(())
    }

    fn take(&mut self, place: usize, now: Instant) -> Result<(), &'static str> {
        let Some(output) = self.outputs.get_mut(place) else { return Ok(()) };
        let Work { writes, keyframes, failed } = output.recorder.poll(now);
        for track in keyframes {
            self.parts.server.tell(self.parts.key, Command::Keyframe { track });
        }
        for track in failed {
            tracing::error!(recording = %self.parts.id, ?track, "what a track sends cannot be recorded");
            metrics::counter!("rtc_recording_errors_total").increment(1);
            output.failed.push(track);
        }
        let is_new = output.file.is_none() && !writes.is_empty();
        self.write(place, writes).map_err(|error| self.trouble(&error))?;
        if is_new {
            self.note_files().map_err(|error| self.trouble(&error))?;
        }
        let output = self.outputs.get_mut(place);
        let moved = output.and_then(|output| {
            let offset = output.recorder.offset()?;
            let before = std::mem::replace(&mut output.draft.start_offset_ms, offset);
            (before != offset).then_some(())
        });
        if moved.is_some() {
            self.note_files().map_err(|error| self.trouble(&error))?;
        }
        Ok(())
    }

    fn trouble(&self, error: &io::Error) -> &'static str {
        tracing::error!(recording = %self.parts.id, %error, "a recording cannot be written");
        metrics::counter!("rtc_recording_errors_total").increment(1);
        reason_of(error)
    }

    fn write(&mut self, place: usize, writes: Vec<Write>) -> io::Result<()> {
        let Some(output) = self.outputs.get_mut(place) else { return Ok(()) };
        for Write { at, bytes } in writes {
            let file = match &output.file {
                Some(file) => file,
                None => {
                    let name = files::name(output.draft.file_id, "part");
                    output.file.insert(files::create(&self.parts.folder.join(name))?)
                }
            };
            let at = at.unwrap_or(output.written);
            let written = file.write_all_at(&bytes, at);
            if written.is_err() {
                // No half of a cluster.
                let _ = file.set_len(output.written);
            }
            written?;
            let end = at + bytes.len() as u64;
            let more = end.saturating_sub(output.written);
            output.written += more;
            self.bytes += more;
            metrics::counter!("rtc_recording_bytes_total").increment(more);
        }
        Ok(())
    }

    /// Keeps `recording.json` up to date.
    fn note_files(&mut self) -> io::Result<()> {
        let with_file = self.outputs.iter().filter(|output| output.file.is_some());
        self.log.files = with_file.map(|output| output.draft.clone()).collect();
        self.write_log()
    }

    fn write_log(&self) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(&self.log)?;
        files::write_whole(&self.parts.folder, "recording.json", &bytes)
    }

    fn check(&self, now: Instant) -> Result<(), &'static str> {
        let Parts { config, folder, .. } = &self.parts;
        if now.saturating_duration_since(self.began).as_secs() >= config.max_minutes * 60 {
            return Err("length");
        }
        if self.bytes >= config.max_bytes {
            return Err("size");
        }
        for output in &self.outputs {
            let Some(file) = &output.file else { continue };
            // A file whose name is gone can still be written, to no use.
            let named = std::fs::metadata(folder.join(files::name(output.draft.file_id, "part")));
            let same = |named: std::fs::Metadata| {
                file.metadata().is_ok_and(|open| open.ino() == named.ino())
            };
            if !named.is_ok_and(same) {
                return Err("folder-gone");
            }
        }
        match files::free_bytes(folder) {
            Some(free) if free < config.min_free_bytes => Err("disk-full"),
            _ => Ok(()),
        }
    }

    /// Makes the files whole.
    fn finish(&mut self, reason: &'static str) -> Vec<RecordingFile> {
        let now = self.parts.clock.instant();
        let (mut files, mut particulars) = (Vec::new(), Vec::new());
        for place in 0..self.outputs.len() {
            let settled = self.finish_output(place, now);
            match settled {
                Ok(Some((file, more))) => {
                    files.push(file);
                    particulars.push(more);
                }
                Ok(None) => {}
                Err(error) => {
                    self.trouble(&error);
                }
            }
        }
        let folder = self.parts.folder.clone();
        // The participants' files stay where there is no other.
        let mixed = files::add_mix(&folder, self.parts.mode, &mut files, &mut particulars);
        if let Err(error) = mixed {
            self.trouble(&error);
        }
        if !files.is_empty() {
            let stopped = (self.parts.clock.now(), reason);
            let id = FileId::new(uuid::Uuid::new_v4());
            let manifest =
                files::write_manifest(&folder, &self.log, id, &files, &particulars, stopped);
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

    fn finish_output(
        &mut self,
        place: usize,
        now: Instant,
    ) -> io::Result<Option<(RecordingFile, Value)>> {
        let Some(output) = self.outputs.get_mut(place) else { return Ok(None) };
        let writes = output.recorder.finish(now).writes;
        let whole = self.write(place, writes);
        let Some(output) = self.outputs.get_mut(place) else { return Ok(None) };
        let Some(file) = &output.file else { return Ok(None) };
        let mut codecs: Vec<Codec> =
            output.recorder.tracks().iter().map(|track| track.codec).collect();
        let mut duration = output.recorder.duration();
        if let Err(error) = whole {
            // What could be written is made the most of.
            tracing::warn!(recording = %self.parts.id, %error, "a file is cut short");
            match switchboard_media::recorder::recover(file)? {
                Some(found) => (codecs, duration) = (found.codecs.clone(), found.duration),
                None => return Ok(None),
            }
        }
        file.sync_all()?;
        output.draft.start_offset_ms = output.recorder.offset().unwrap_or(0);
        let gaps: Vec<Value> = output
            .recorder
            .gaps()
            .iter()
            .map(|gap| json!({ "track": gap.track, "fromMs": gap.from, "toMs": gap.to }))
            .collect();
        let missing: u64 = output.recorder.gaps().iter().map(|gap| gap.to - gap.from).sum();
        metrics::counter!("rtc_recording_gap_seconds_total").increment(missing / 1000);
        let more = json!({
            "gaps": gaps,
            "lostPackets": output.recorder.lost(),
            "failedTracks": output.failed.len(),
        });
        let settled = files::settle(&self.parts.folder, &output.draft, &codecs, duration)?;
        Ok(Some((settled, more)))
    }
}

fn reason_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk-full",
        io::ErrorKind::NotFound => "folder-gone",
        _ => "disk",
    }
}
