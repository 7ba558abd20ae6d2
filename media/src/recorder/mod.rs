//! Records what one participant sends into a file, without sockets, files or a clock: it takes what [taps](crate::tap) hold and
//! gives bytes to write. Nothing is decoded. A cut of the file at any place plays up to there.

mod bits;
mod clock;
mod ebml;
mod frames;
mod read;
mod recover;
mod reorder;
mod vp9;
mod webm;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use self::clock::{Reference, Timeline};
use self::frames::{Assembler, Frame};
pub use self::read::{Blocks, FileWriter};
pub use self::recover::{Recovered, recover};
use self::reorder::Reorder;
pub use self::webm::{Block, FileTrack};
use self::webm::{CLUSTERS_AT, Index, beginning, cluster};
use crate::codec::{Codec, Kind};
use crate::plan::TrackKey;
use crate::tap::{Tapped, Tapping};

/// How long frames wait for a sender report at first.
const HOLD: Duration = Duration::from_secs(2);
/// How long a frame waits for those of other tracks that belong before it, in microseconds.
const INTERLEAVE: i64 = 300_000;
/// Milliseconds that one cluster covers at most.
const CLUSTER: u64 = 500;
/// Between two requests for a keyframe after a loss, and the longest without one.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const KEYFRAME_EVERY: Duration = Duration::from_secs(10);
/// Pauses that are worth a note, and how many are noted.
const GAP: u64 = 1000;
const GAPS: usize = 1000;

/// Bytes for a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Where; `None` appends.
    pub at: Option<u64>,
    /// What.
    pub bytes: Vec<u8>,
}

/// What a look at the taps led to.
#[derive(Debug, Default)]
pub struct Work {
    /// What to write, in this order.
    pub writes: Vec<Write>,
    /// Tracks of which a keyframe is needed ([`crate::Command::Keyframe`]).
    pub keyframes: Vec<TrackKey>,
    /// Tracks whose recording came to a bad end; the others go on.
    pub failed: Vec<TrackKey>,
}

/// A pause in a track of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The track of the file, counted from 0.
    pub track: usize,
    /// Milliseconds since the beginning of the file.
    pub from: u64,
    /// See `from`.
    pub to: u64,
}

/// One stream that is recorded.
struct Stream {
    key: TrackKey,
    codec: Codec,
    tapping: Tapping,
    /// How many had found no room at the last look, and how many of them the numbers of later packets have told of.
    refused: (u64, u64),
    layer: Option<u8>,
    reorder: Reorder,
    assembler: Assembler,
    timeline: Timeline,
    /// Frames that wait for a sender report, with when they came.
    held: VecDeque<(Frame, i64)>,
    begun: Option<Instant>,
    /// When the last packet came.
    heard: Option<Instant>,
    /// Its track of the file, once there is one.
    track: Option<usize>,
    /// The time of its last frame.
    last: Option<i64>,
    asked: Option<Instant>,
    keyframe: Option<Instant>,
}

impl Stream {
    fn lost(&self) -> u64 {
        self.reorder.lost + self.tapping.lost() - self.refused.1
    }
}

/// See the module.
pub struct Recorder {
    began: Instant,
    reference: Reference,
    streams: Vec<Stream>,
    tracks: Vec<FileTrack>,
    /// Who writes each of them now.
    owners: Vec<Option<TrackKey>>,
    /// Frames in order of time, which others may still come before.
    waiting: Vec<(i64, usize, Frame)>,
    blocks: Vec<Block>,
    origin: Option<i64>,
    index: Index,
    last: Vec<Option<u64>>,
    gaps: Vec<Gap>,
    lost: u64,
}

impl Recorder {
    /// A recorder of a recording that began at `began`.
    pub fn new(began: Instant) -> Self {
        Self {
            began,
            reference: Reference::default(),
            streams: Vec::new(),
            tracks: Vec::new(),
            owners: Vec::new(),
            waiting: Vec::new(),
            blocks: Vec::new(),
            origin: None,
            index: Index::new(),
            last: Vec::new(),
            gaps: Vec::new(),
            lost: 0,
        }
    }

    /// Records one more track, until its tap is over.
    pub fn add(&mut self, key: TrackKey, codec: Codec, tapping: Tapping) {
        self.streams.push(Stream {
            key,
            codec,
            tapping,
            refused: (0, 0),
            layer: None,
            reorder: Reorder::default(),
            assembler: Assembler::new(codec),
            timeline: Timeline::new(codec.clock()),
            held: VecDeque::new(),
            begun: None,
            heard: None,
            track: None,
            last: None,
            asked: None,
            keyframe: None,
        });
    }

    fn disown(&mut self, key: TrackKey) {
        self.owners.iter_mut().filter(|owner| **owner == Some(key)).for_each(|owner| *owner = None);
    }

    /// The tracks of the file.
    pub fn tracks(&self) -> &[FileTrack] {
        &self.tracks
    }

    /// Milliseconds from the beginning of the recording to that of the file, once it has one.
    pub fn offset(&self) -> Option<u64> {
        u64::try_from(self.origin?.max(0) / 1000).ok()
    }

    /// Milliseconds that the file covers.
    pub fn duration(&self) -> u64 {
        self.index.duration
    }

    /// Pauses in it.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Packets that never came, or found no room.
    pub fn lost(&self) -> u64 {
        self.lost + self.streams.iter().map(Stream::lost).sum::<u64>()
    }

    /// Takes what the taps hold.
    pub fn poll(&mut self, now: Instant) -> Work {
        let mut work = Work::default();
        let mut streams = std::mem::take(&mut self.streams);
        streams.retain_mut(|stream| {
            // What a publisher sends is nobody's friend: whatever it does, it does to its own track.
            let took = catch_unwind(AssertUnwindSafe(|| self.take(stream, now, &mut work)));
            match took {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => work.failed.push(stream.key),
            }
            self.lost += stream.lost();
            self.disown(stream.key);
            false
        });
        self.streams = streams;
        self.release(self.micros(now) - INTERLEAVE, &mut work);
        work
    }

    /// Takes what there is, and gives what makes the file whole.
    pub fn finish(&mut self, now: Instant) -> Work {
        let later = now + HOLD;
        let mut work = self.poll(now);
        let mut rest = self.poll(later);
        work.writes.append(&mut rest.writes);
        self.lost = self.lost();
        self.streams.clear();
        self.release(i64::MAX, &mut work);
        self.write_cluster(&mut work);
        if self.origin.is_some() {
            let pictures = self.tracks.iter().position(|track| track.codec.kind() == Kind::Video);
            let writes = self.index.finish(pictures);
            work.writes.extend(writes.into_iter().map(|(at, bytes)| Write { at: Some(at), bytes }));
        }
        work
    }

    fn micros(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.began) {
            Some(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            None => -i64::try_from((self.began - at).as_micros()).unwrap_or(0),
        }
    }

    /// Follows one stream; false when it is over.
    fn take(&mut self, stream: &mut Stream, now: Instant, work: &mut Work) -> bool {
        let (mut goes_on, mut came) = (true, false);
        let mut frames = Vec::new();
        loop {
            match stream.tapping.take() {
                Ok(Some(Tapped::Packet(packet))) => {
                    if stream.layer.is_some_and(|layer| layer != packet.layer) {
                        self.drain(stream, packet.at + HOLD, &mut frames);
                        self.write_held(stream, packet.at + HOLD, work);
                        self.lost += stream.reorder.lost;
                        stream.reorder = Reorder::default();
                        stream.assembler = Assembler::new(stream.codec);
                        stream.timeline.restart();
                        stream.begun = None;
                    }
                    came = true;
                    stream.layer = Some(packet.layer);
                    stream.begun.get_or_insert(packet.at);
                    stream.heard = Some(packet.at);
                    stream.reorder.push(packet);
                }
                Ok(Some(Tapped::Clock(clock))) => {
                    let at = self.micros(clock.at);
                    if stream.layer.is_none_or(|layer| layer == clock.layer) {
                        stream.timeline.report(&clock, at, &mut self.reference);
                    }
                }
                Ok(Some(Tapped::Coded(_))) => {}
                Ok(None) => break,
                Err(crate::tap::Over) => {
                    goes_on = false;
                    break;
                }
            }
        }
        let (before, told) = stream.refused;
        stream.refused = (stream.tapping.lost(), if came { before } else { told });
        let until = if goes_on { now } else { now + HOLD };
        self.drain(stream, until, &mut frames);
        self.write_held(stream, until, work);
        self.ask(stream, now, work);
        goes_on
    }

    /// Makes frames of the packets that are in order.
    fn drain(&self, stream: &mut Stream, now: Instant, frames: &mut Vec<Frame>) {
        while let Some((packet, gap)) = stream.reorder.pop(now) {
            stream.assembler.take(&packet, gap, frames);
            if frames.iter().any(|frame| frame.keyframe) {
                stream.keyframe = Some(packet.at);
            }
            let at = self.micros(packet.at);
            stream.held.extend(frames.drain(..).map(|frame| (frame, at)));
        }
    }

    /// Gives frames their time, once that is known or has been waited for.
    fn write_held(&mut self, stream: &mut Stream, now: Instant, work: &mut Work) {
        let waited = stream.begun.is_some_and(|begun| now >= begun + HOLD);
        let known = stream.timeline.is_known(self.reference);
        if !known && !waited {
            return;
        }
        if !known {
            let mut timeline = stream.timeline.clone();
            let held = stream.held.iter();
            let times: Vec<(i64, i64)> =
                held.map(|(frame, at)| (timeline.unwrap(frame.timestamp), *at)).collect();
            stream.timeline.guess(times.into_iter());
        }
        while let Some((frame, at)) = stream.held.pop_front() {
            let timestamp = stream.timeline.unwrap(frame.timestamp);
            let time = stream.timeline.time(timestamp, at, self.reference);
            // Time does not stand still: a millisecond is the least that a file can tell.
            let time = stream.last.map_or(time, |last| time.max(last + 1000));
            stream.last = Some(time);
            let Some(track) = self.track_of(stream, &frame, work) else { continue };
            let place = self.waiting.partition_point(|waiting| waiting.0 <= time);
            self.waiting.insert(place, (time, track, frame));
        }
    }

    /// The track of the file that a frame belongs to; a new one begins with a keyframe.
    fn track_of(&mut self, stream: &mut Stream, frame: &Frame, work: &mut Work) -> Option<usize> {
        if stream.track.is_some() {
            return stream.track;
        }
        if !frame.keyframe {
            return None;
        }
        let size = frame.size.unwrap_or_default();
        let track = FileTrack { codec: stream.codec, size, private: frame.private.clone() };
        // A camera that is switched off and on again goes on in the track that it had.
        let tracks = self.tracks.iter().zip(&self.owners).enumerate();
        let same = |(place, (known, owner)): (usize, (&FileTrack, &Option<TrackKey>))| {
            let alike = known.codec == track.codec
                && (track.codec != Codec::H264 || known.private == track.private);
            (alike && owner.is_none()).then_some(place)
        };
        stream.track = tracks.into_iter().find_map(same);
        if stream.track.is_none() {
            self.tracks.push(track);
            let head = beginning(&self.tracks);
            if head.len() as u64 != CLUSTERS_AT {
                // No room for so many descriptions.
                self.tracks.pop();
                return None;
            }
            stream.track = Some(self.tracks.len() - 1);
            self.last.push(None);
            self.owners.push(None);
            work.writes.push(Write { at: Some(0), bytes: head });
        }
        if let Some(owner) = stream.track.and_then(|track| self.owners.get_mut(track)) {
            *owner = Some(stream.key);
        }
        stream.track
    }

    fn ask(&self, stream: &mut Stream, now: Instant, work: &mut Work) {
        // A camera that is covered has no keyframe to give.
        let sends = stream.heard.is_some_and(|heard| now < heard + Duration::from_secs(1));
        if stream.codec.kind() == Kind::Audio || !sends {
            return;
        }
        let old = stream.keyframe.is_none_or(|last| now >= last + KEYFRAME_EVERY);
        let again = stream.asked.is_none_or(|asked| now >= asked + ASK_AGAIN);
        if (stream.assembler.broken || old) && again {
            stream.asked = Some(now);
            work.keyframes.push(stream.key);
        }
    }

    /// Puts frames that nothing comes before any more into clusters.
    fn release(&mut self, until: i64, work: &mut Work) {
        // The first of all frames is not told before every stream knows its time.
        if self.origin.is_none() && self.streams.iter().any(|stream| !stream.held.is_empty()) {
            return;
        }
        let running = self.streams.iter().filter(|stream| stream.track.is_some());
        let all_came = running.filter_map(|stream| stream.last).min().unwrap_or(i64::MIN);
        let until = until.max(all_came);
        let count = self.waiting.partition_point(|waiting| waiting.0 <= until);
        for (time, track, Frame { keyframe, data, .. }) in
            self.waiting.drain(..count).collect::<Vec<_>>()
        {
            let origin = *self.origin.get_or_insert(time);
            let at = u64::try_from((time - origin).max(0) / 1000).unwrap_or(0);
            let pictures = self.tracks.get(track).is_some_and(|it| it.codec.kind() == Kind::Video);
            let first = self.blocks.first().map(|block| block.at);
            let full = first.is_some_and(|first| at >= first + CLUSTER);
            if full || (pictures && keyframe && first.is_some()) {
                self.write_cluster(work);
            }
            self.note(track, at);
            self.blocks.push(Block { track, at, keyframe, data });
        }
        let old = self.blocks.first().is_some_and(|block| {
            let end =
                self.origin.unwrap_or(0) + i64::try_from(block.at + CLUSTER).unwrap_or(0) * 1000;
            until >= end
        });
        if old {
            self.write_cluster(work);
        }
    }

    fn note(&mut self, track: usize, at: u64) {
        let Some(last) = self.last.get_mut(track) else { return };
        if let Some(from) = last.replace(at).filter(|last| at >= last + GAP)
            && self.gaps.len() < GAPS
        {
            self.gaps.push(Gap { track, from, to: at });
        }
    }

    fn write_cluster(&mut self, work: &mut Work) {
        if self.blocks.is_empty() {
            return;
        }
        let bytes = cluster(&self.blocks, &mut self.index);
        self.blocks.clear();
        work.writes.push(Write { at: None, bytes });
    }
}

#[cfg(test)]
mod tests;
