//! One recording, on its thread: empties its taps ten times a second and writes what they hold. A slow disk delays this thread
//! and nothing else.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;
use switchboard_media::driver::Server;
use switchboard_media::{Command, RoomKey};
use tokio::sync::mpsc::Sender;

use super::RecorderEvent;
use super::files::{self, Log};
use super::output::{Output, Settled};
use super::source::{AddedTrack, Reason};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::recording::{RecordingFile, RecordingMode, StopReason};
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

/// What a recording's thread needs.
pub(super) struct WriterSetup {
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
    pub(super) added: Receiver<AddedTrack>,
    pub(super) reason: Reason,
    pub(super) events: Sender<RecorderEvent>,
}

/// See the module.
pub(super) struct Writer {
    setup: WriterSetup,
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

impl Writer {
    /// Makes the folder.
    pub(super) fn begin(setup: WriterSetup) -> io::Result<Self> {
        files::make_folder(&setup.folder)?;
        let began = setup.clock.instant();
        let log = Log {
            recording_id: setup.id,
            room_id: setup.room.to_string(),
            mode: setup.mode,
            started_at: setup.at,
            files: Vec::new(),
        };
        let lock = files::lock(&setup.folder)?.ok_or(io::ErrorKind::ResourceBusy)?;
        let writer = Self {
            _lock: lock,
            setup,
            began,
            log,
            outputs: Vec::new(),
            settled: Vec::new(),
            lacking: Vec::new(),
            bytes: 0,
            checked: began,
            synced: began,
        };
        let bytes = serde_json::to_vec_pretty(&writer.log)?;
        files::write_whole(&writer.setup.folder, "recording.json", &bytes)?;
        Ok(writer)
    }

    /// Records until it is to stop, or cannot go on.
    pub(super) fn run(mut self) {
        // What is recorded has time; what is forwarded has none. Of a process, Linux takes this for one thread alone.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BACKGROUND);
        metrics::gauge!("rtc_recording_active").increment(1);
        let mut next = self.began + LOOK;
        let reason = loop {
            let left = next.saturating_duration_since(self.setup.clock.instant());
            match self.setup.added.recv_timeout(left) {
                Ok(added) => self.add(added),
                Err(RecvTimeoutError::Disconnected) => {
                    break self.setup.reason.get().copied().unwrap_or(StopReason::Ended);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.setup.clock.instant();
                    next = now + LOOK;
                    if let Err(reason) = self.look(now) {
                        break reason;
                    }
                }
            }
        };
        metrics::gauge!("rtc_recording_active").decrement(1);
        let _ = self.setup.events.blocking_send(RecorderEvent::Stopped(reason));
        let files = self.finish(reason);
        let problem = (!self.lacking.is_empty()).then_some(StopReason::MissingParameterSets);
        let _ = self.setup.events.blocking_send(RecorderEvent::Finished { files, problem });
    }

    fn add(&mut self, AddedTrack { by, part, tapping }: AddedTrack) {
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

    fn look(&mut self, now: Instant) -> Result<(), StopReason> {
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

    fn take(&mut self, place: usize, now: Instant) -> Result<(), StopReason> {
        let Some(output) = self.outputs.get_mut(place) else { return Ok(()) };
        let mut work = output.recorder.poll(now);
        if output.recorder.is_over() {
            output.over_since.get_or_insert(now);
        }
        for track in work.keyframes.drain(..) {
            self.setup.server.command(self.setup.key, Command::Keyframe { track });
        }
        for track in work.failed.drain(..) {
            tracing::error!(recording = %self.setup.id, ?track, "what a track sends cannot be recorded");
            metrics::counter!("rtc_recording_errors_total").increment(1);
            output.failed += 1;
        }
        let applied = output.apply(&self.setup.folder, work, &mut self.settled);
        self.bytes += applied.map_err(|error| self.trouble(&error))?;
        Ok(())
    }

    /// Makes the files whole of those who have been gone for a while: what is held open and looked at follows who is there.
    fn finish_gone(&mut self, now: Instant) -> Result<(), StopReason> {
        let gone = |output: &mut Output| output.over_since.is_some_and(|it| now >= it + LINGER);
        let gone: Vec<Output> = self.outputs.extract_if(.., gone).collect();
        for mut output in gone {
            let finished = self.finish_output(&mut output, now);
            finished.map_err(|error| self.trouble(&error))?;
        }
        Ok(())
    }

    fn finish_output(&mut self, output: &mut Output, now: Instant) -> io::Result<()> {
        let finished = output.finish(&self.setup.folder, now, &mut self.settled);
        let before = self.lacking.len();
        self.lacking.extend(output.lacking());
        if self.lacking.len() > before {
            tracing::warn!(recording = %self.setup.id, "H.264 without parameter sets is not recorded");
        }
        self.bytes += finished?;
        Ok(())
    }

    fn trouble(&self, error: &io::Error) -> StopReason {
        tracing::error!(recording = %self.setup.id, %error, "a recording cannot be written");
        metrics::counter!("rtc_recording_errors_total").increment(1);
        reason_of(error)
    }

    fn check(&self, now: Instant) -> Result<(), StopReason> {
        let WriterSetup { config, folder, .. } = &self.setup;
        if now.saturating_duration_since(self.began).as_secs() >= config.max_minutes * 60 {
            return Err(StopReason::Length);
        }
        if self.bytes >= config.max_bytes {
            return Err(StopReason::Size);
        }
        if !self.outputs.iter().all(|output| output.is_named(folder)) {
            return Err(StopReason::FolderGone);
        }
        match files::free_bytes(folder) {
            Some(free) if free < config.min_free_bytes => Err(StopReason::DiskFull),
            _ => Ok(()),
        }
    }

    /// Makes the files whole.
    fn finish(&mut self, reason: StopReason) -> Vec<RecordingFile> {
        let now = self.setup.clock.instant();
        for mut output in std::mem::take(&mut self.outputs) {
            if let Err(error) = self.finish_output(&mut output, now) {
                self.trouble(&error);
            }
        }
        let (mut files, mut particulars): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.settled).into_iter().unzip();
        let folder = self.setup.folder.clone();
        // The participants' files stay where there is no other.
        let mixed = files::add_mix(&folder, self.setup.mode, &mut files, &mut particulars);
        if let Err(error) = mixed {
            self.trouble(&error);
        }
        if let Err(error) = files::digest(&folder, &mut files) {
            self.trouble(&error);
        }
        if !files.is_empty() {
            let stopped = (self.setup.clock.now(), reason);
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

fn reason_of(error: &io::Error) -> StopReason {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StopReason::DiskFull,
        io::ErrorKind::NotFound => StopReason::FolderGone,
        _ => StopReason::Disk,
    }
}

#[cfg(test)]
mod tests;
