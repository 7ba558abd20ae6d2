//! What one participant sends from a camera or a screen, and the files that it goes into, one after the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use switchboard_media::Codec;
use switchboard_media::recorder::{self, Gap, Recorder, Whole, Work, Write};

use super::Publisher;
use super::files::{self, Draft};
use crate::event::recording::{RecordingFile, StopReason};
use crate::ids::FileId;

/// A whole file, and what the manifest says of it besides.
pub(super) type Settled = (RecordingFile, Value);

/// See the module.
pub(super) struct Output {
    pub(super) who: Publisher,
    pub(super) screen: bool,
    pub(super) recorder: Recorder,
    open: Option<Open>,
    /// Since when nothing comes any more.
    pub(super) over_since: Option<Instant>,
    /// Tracks that cannot be recorded.
    pub(super) failed: usize,
}

/// The file that is written.
struct Open {
    /// Its number in the recorder.
    number: usize,
    draft: Draft,
    file: File,
    written: u64,
    /// The list of files has it.
    listed: bool,
}

impl Output {
    pub(super) fn new(who: Publisher, screen: bool, began: Instant) -> Self {
        let recorder = Recorder::new(began);
        Self { who, screen, recorder, open: None, over_since: None, failed: 0 }
    }

    /// The file that is written now.
    pub(super) fn file(&self) -> Option<&File> {
        self.open.as_ref().map(|open| &open.file)
    }

    /// Carries out what the recorder wants; gives how many bytes files grew by, and files that are whole are added to `settled`.
    pub(super) fn apply(
        &mut self,
        folder: &Path,
        work: Work,
        settled: &mut Vec<Settled>,
    ) -> io::Result<u64> {
        let (mut bytes, mut whole) = (0, work.whole.into_iter().peekable());
        for write in work.writes {
            while let Some(whole) = whole.next_if(|whole| whole.file < write.file) {
                settled.extend(self.settle(folder, Some(&whole))?);
            }
            bytes += self.write(folder, write, settled)?;
        }
        for whole in whole {
            settled.extend(self.settle(folder, Some(&whole))?);
        }
        self.list(folder)?;
        Ok(bytes)
    }

    fn write(
        &mut self,
        folder: &Path,
        Write { file, at, bytes }: Write,
        settled: &mut Vec<Settled>,
    ) -> io::Result<u64> {
        if self.open.as_ref().is_some_and(|open| open.number != file) {
            // It could not be made whole when its time had come.
            settled.extend(self.settle(folder, None)?);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let draft = self.draft();
                let path = folder.join(files::name(draft.file_id, "part"));
                let file_of = files::create(&path)?;
                let open = Open { number: file, draft, file: file_of, written: 0, listed: false };
                self.open.insert(open)
            }
        };
        let at = at.unwrap_or(open.written);
        let written = open.file.write_all_at(&bytes, at);
        if written.is_err() {
            // No half of a cluster.
            let _ = open.file.set_len(open.written);
        }
        written?;
        let more = (at + bytes.len() as u64).saturating_sub(open.written);
        open.written += more;
        metrics::counter!("rtc_recording_bytes_total").increment(more);
        Ok(more)
    }

    fn draft(&self) -> Draft {
        let Publisher { who, user, name } = &self.who;
        Draft {
            file_id: FileId::new(uuid::Uuid::new_v4()),
            who: who.clone(),
            user_id: Some(*user).filter(|user| !user.is_guest()),
            name: name.clone(),
            screen: self.screen,
            start_offset_ms: 0,
        }
    }

    /// Has the list of files say where the file that is written now begins.
    fn list(&mut self, folder: &Path) -> io::Result<()> {
        let (number, offset) = (self.recorder.file(), self.recorder.offset());
        let open = self.open.as_mut().filter(|open| open.number == number && !open.listed);
        if let (Some(open), Some(offset)) = (open, offset) {
            open.list(folder, offset)?;
        }
        Ok(())
    }

    /// Closes the file and gives it its name. Without `whole` it is cut short, and what could be written is made the most of.
    fn settle(&mut self, folder: &Path, whole: Option<&Whole>) -> io::Result<Option<Settled>> {
        let number = whole.map(|whole| whole.file);
        if number.is_some_and(|it| self.open.as_ref().is_none_or(|open| open.number != it)) {
            return Ok(None);
        }
        let Some(mut open) = self.open.take() else { return Ok(None) };
        let (codecs, rotation, duration) = match whole {
            Some(whole) => {
                let codecs: Vec<Codec> = whole.tracks.iter().map(|track| track.codec).collect();
                let shown = whole.tracks.iter().find(|track| track.codec != Codec::Opus);
                (codecs, shown.map_or(0, |track| track.rotation), whole.duration)
            }
            None => match recorder::recover(&open.file)? {
                Some(found) => (found.codecs, found.rotation, found.duration),
                None => return Ok(None),
            },
        };
        open.file.sync_all()?;
        if let Some(offset) = whole.map(|whole| whole.offset).filter(|_| !open.listed) {
            open.list(folder, offset)?;
        }
        let gaps = whole.map(|whole| whole.gaps.as_slice()).unwrap_or_default();
        let missing: u64 = gaps.iter().map(|gap| gap.to - gap.from).sum();
        metrics::counter!("rtc_recording_gap_seconds_total").increment(missing / 1000);
        let more = json!({
            "gaps": gaps.iter().map(shown).collect::<Vec<_>>(),
            "lostPackets": whole.map_or(0, |whole| whole.lost),
            "failedTracks": self.failed,
        });
        let settled = files::settle(folder, &open.draft, &codecs, rotation, duration)?;
        Ok(Some((settled, more)))
    }

    /// Makes the last file whole.
    pub(super) fn finish(
        &mut self,
        folder: &Path,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> io::Result<u64> {
        let work = self.recorder.finish(now);
        let applied = self.apply(folder, work, settled);
        if let Err(error) = &applied {
            tracing::warn!(%error, "a file of a recording is cut short");
        }
        settled.extend(self.settle(folder, None)?);
        applied
    }

    /// Whether the file has its name still: one whose name is gone can be written, to no use.
    pub(super) fn is_named(&self, folder: &Path) -> bool {
        let Some(open) = &self.open else { return true };
        let named = std::fs::metadata(folder.join(files::name(open.draft.file_id, "part")));
        let same =
            |named: std::fs::Metadata| open.file.metadata().is_ok_and(|it| it.ino() == named.ino());
        named.is_ok_and(same)
    }

    /// What is said of each track that is not recorded for want of parameter sets.
    pub(super) fn lacking(&self) -> impl Iterator<Item = Value> + '_ {
        let say = |_| {
            json!({
                "participantId": self.who.who,
                "source": if self.screen { "screen" } else { "camera" },
                "codec": Codec::H264.name(),
                "reason": StopReason::MissingParameterSets,
            })
        };
        self.recorder.lacking_parameter_sets().into_iter().map(say)
    }
}

impl Open {
    fn list(&mut self, folder: &Path, offset: u64) -> io::Result<()> {
        self.draft.start_offset_ms = offset;
        files::list(folder, &self.draft)?;
        self.listed = true;
        Ok(())
    }
}

fn shown(gap: &Gap) -> Value {
    json!({ "track": gap.track, "fromMs": gap.from, "toMs": gap.to })
}
