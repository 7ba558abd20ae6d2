//! One file of a recording while it is written: its tracks, and the clusters that their frames go into.

use super::frames::Frame;
use super::webm::{Block, CLUSTERS_AT, FileTrack, Index, beginning, cluster};
use super::{Gap, StreamId, Whole, Work, Write};
use crate::codec::{Format, Kind};

/// Milliseconds that one cluster covers at most.
const CLUSTER: u64 = 500;
/// Pauses that are worth a note, in milliseconds, and how many are noted.
const GAP: u64 = 1000;
const GAPS: usize = 1000;

/// A track of the file.
#[derive(Debug)]
struct Slot {
    about: FileTrack,
    format: Format,
    /// Who writes it now.
    owner: Option<StreamId>,
    /// The time of its last block.
    last: Option<u64>,
}

impl Slot {
    fn shows(&self) -> bool {
        self.format.codec.kind() == Kind::Video
    }

    /// Whether frames like this one, a keyframe, can go on in it.
    fn suits(&self, format: Format, frame: &Frame) -> bool {
        let alike = self.format == format && self.about.rotation == frame.rotation;
        let h264 = format.codec == crate::codec::Codec::H264;
        alike && (!h264 || self.about.private == frame.private)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Part {
    /// Which file of the recording, counted from 0.
    number: usize,
    slots: Vec<Slot>,
    blocks: Vec<Block>,
    /// When its first frame was taken, in microseconds of the recording.
    pub(super) origin: Option<i64>,
    index: Index,
    gaps: Vec<Gap>,
}

impl Part {
    pub(super) fn new(number: usize) -> Self {
        let (slots, blocks, gaps) = (Vec::new(), Vec::new(), Vec::new());
        Self { number, slots, blocks, origin: None, index: Index::new(), gaps }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn tracks(&self) -> Vec<FileTrack> {
        self.slots.iter().map(|slot| slot.about.clone()).collect()
    }

    /// Milliseconds from the beginning of the recording to that of the file.
    pub(super) fn offset(&self) -> Option<u64> {
        u64::try_from(self.origin?.max(0) / 1000).ok()
    }

    pub(super) fn duration(&self) -> u64 {
        self.index.duration
    }

    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    fn write(&self, at: Option<u64>, bytes: Vec<u8>) -> Write {
        Write { file: self.number, at, bytes }
    }

    /// Whether a frame has to begin another file: a player shows one track of pictures, turned in one way.
    pub(super) fn ends_before(&self, stream: StreamId, format: Format, frame: &Frame) -> bool {
        if !frame.keyframe || format.codec.kind() == Kind::Audio {
            return false;
        }
        let mut shown = self.slots.iter().filter(|slot| slot.shows());
        match shown.clone().find(|slot| slot.owner == Some(stream)) {
            Some(own) => own.format != format || own.about.rotation != frame.rotation,
            None => {
                shown.clone().count() > 0
                    && shown.all(|slot| slot.owner.is_none() && !slot.suits(format, frame))
            }
        }
    }

    /// Whether a stream has a track.
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.slots.iter().any(|slot| slot.owner == Some(stream))
    }

    /// Frees the tracks of streams that are over.
    pub(super) fn free(&mut self, is_over: impl Fn(StreamId) -> bool) {
        let over = self.slots.iter_mut().filter(|slot| slot.owner.is_some_and(&is_over));
        over.for_each(|slot| slot.owner = None);
    }

    /// The track that a frame belongs to; a new one begins with a keyframe.
    fn track_of(
        &mut self,
        stream: StreamId,
        format: Format,
        frame: &Frame,
        work: &mut Work,
    ) -> Option<usize> {
        if let Some(own) = self.slots.iter().position(|slot| slot.owner == Some(stream)) {
            return Some(own);
        }
        if !frame.keyframe {
            return None;
        }
        let free = |slot: &Slot| slot.owner.is_none() && slot.suits(format, frame);
        if let Some(place) = self.slots.iter().position(free) {
            self.slots.get_mut(place)?.owner = Some(stream);
            return Some(place);
        }
        let about = FileTrack {
            size: frame.size.unwrap_or_default(),
            rotation: frame.rotation,
            colour: frame.colour,
            private: frame.private.clone(),
            ..FileTrack::of(format.codec)
        };
        self.slots.push(Slot { about, format, owner: Some(stream), last: None });
        let head = beginning(&self.tracks());
        if head.len() as u64 != CLUSTERS_AT {
            // No room for so many descriptions.
            self.slots.pop();
            return None;
        }
        work.writes.push(self.write(Some(0), head));
        Some(self.slots.len() - 1)
    }

    /// Takes a frame that nothing comes before any more; false when there is no track for it before a keyframe.
    pub(super) fn push(
        &mut self,
        time: i64,
        (stream, format): (StreamId, Format),
        frame: Frame,
        work: &mut Work,
    ) -> bool {
        let Some(track) = self.track_of(stream, format, &frame, work) else { return false };
        let origin = *self.origin.get_or_insert(time);
        let at = u64::try_from((time - origin).max(0) / 1000).unwrap_or(0);
        let pictures = format.codec.kind() == Kind::Video;
        let first = self.blocks.first().map(|block| block.at);
        let full = first.is_some_and(|first| at >= first + CLUSTER);
        if full || (pictures && frame.keyframe && first.is_some()) {
            self.write_cluster(work);
        }
        self.note(track, at);
        self.enlarge(track, &frame, work);
        let Frame { keyframe, data, .. } = frame;
        self.blocks.push(Block { track, at, keyframe, data });
        true
    }

    /// Players make their window as large as the track says, and the first picture is often that of the lowest layer.
    fn enlarge(&mut self, track: usize, frame: &Frame, work: &mut Work) {
        let area = |(width, height): (u16, u16)| u32::from(width) * u32::from(height);
        let Some(size) = frame.size else { return };
        let Some(slot) = self.slots.get_mut(track) else { return };
        if area(size) > area(slot.about.size) {
            slot.about.size = size;
            let head = beginning(&self.tracks());
            if head.len() as u64 == CLUSTERS_AT {
                work.writes.push(self.write(Some(0), head));
            }
        }
    }

    fn note(&mut self, track: usize, at: u64) {
        let Some(slot) = self.slots.get_mut(track) else { return };
        if let Some(from) = slot.last.replace(at).filter(|last| at >= last + GAP)
            && self.gaps.len() < GAPS
        {
            self.gaps.push(Gap { track, from, to: at });
        }
    }

    /// Writes what has waited for its cluster to fill, when everything before `until` is there.
    pub(super) fn flush_before(&mut self, until: i64, work: &mut Work) {
        let old = self.blocks.first().is_some_and(|block| {
            let end =
                self.origin.unwrap_or(0) + i64::try_from(block.at + CLUSTER).unwrap_or(0) * 1000;
            until >= end
        });
        if old {
            self.write_cluster(work);
        }
    }

    fn write_cluster(&mut self, work: &mut Work) {
        if self.blocks.is_empty() {
            return;
        }
        let bytes = cluster(&self.blocks, &mut self.index);
        self.blocks.clear();
        work.writes.push(self.write(None, bytes));
    }

    /// Writes what makes the file whole, if there is one.
    pub(super) fn finish(&mut self, lost: u64, work: &mut Work) {
        self.write_cluster(work);
        let Some(offset) = self.offset() else { return };
        let pictures = self.slots.iter().position(Slot::shows);
        for (at, bytes) in self.index.finish(pictures) {
            work.writes.push(self.write(Some(at), bytes));
        }
        work.whole.push(Whole {
            file: self.number,
            tracks: self.tracks(),
            offset,
            duration: self.index.duration,
            gaps: self.gaps.clone(),
            lost,
        });
    }
}
