//! Records what one participant sends into files, without sockets, files or a clock: it takes what [taps](crate::tap) hold and
//! gives bytes to write. Nothing is decoded. A cut of a file at any place plays up to there. A file ends, and another begins, where
//! pictures are coded or turned otherwise than before.

mod av1;
pub(crate) mod bits;
mod clock;
mod ebml;
mod frames;
mod h264;
mod part;
mod read;
mod recover;
mod reorder;
mod stream;
mod vp9;
mod webm;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use self::clock::Reference;
use self::frames::Frame;
use self::part::Part;
pub use self::read::{Blocks, FileWriter};
pub use self::recover::{Recovered, recover};
use self::stream::Stream;
pub use self::webm::{Block, Colour, FileTrack};
use crate::codec::{Codec, Format};
use crate::plan::TrackKey;
use crate::tap::{Clock, Coded, Over, Packet, Tapped, Tapping};

/// How long frames wait for a sender report at first.
const HOLD: Duration = Duration::from_secs(2);
/// How long a frame waits for those of other tracks that belong before it, in microseconds.
const INTERLEAVE: i64 = 300_000;

/// Bytes for a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which file of the recording, counted from 0; they come one after the other.
    pub file: usize,
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
    /// Files that are whole once that is written.
    pub whole: Vec<Whole>,
    /// Tracks of which a keyframe is needed ([`crate::Command::Keyframe`]).
    pub keyframes: Vec<TrackKey>,
    /// Tracks whose recording came to a bad end; the others go on.
    pub failed: Vec<TrackKey>,
}

/// A file to which nothing is added any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// Which, see [`Write::file`].
    pub file: usize,
    /// Its tracks.
    pub tracks: Vec<FileTrack>,
    /// Milliseconds from the beginning of the recording to that of the file.
    pub offset: u64,
    /// Milliseconds that it covers.
    pub duration: u64,
    /// Pauses in it.
    pub gaps: Vec<Gap>,
    /// Packets that never came, or found no room, since the file before.
    pub lost: u64,
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

/// Names a stream for the life of its recorder: a track may be recorded, left and recorded again.
type StreamId = u64;

/// A frame at its time, which others may still come before.
struct Waiting {
    time: i64,
    stream: StreamId,
    format: Format,
    frame: Frame,
}

/// See the module.
pub struct Recorder {
    began: Instant,
    reference: Reference,
    streams: Vec<Stream>,
    added: StreamId,
    /// In order of time.
    waiting: VecDeque<Waiting>,
    part: Part,
    /// Packets that streams lost which are over, and how many the files before have counted.
    lost: u64,
    counted: u64,
    lacking: Vec<TrackKey>,
}

impl Recorder {
    /// A recorder of a recording that began at `began`.
    pub fn new(began: Instant) -> Self {
        Self {
            began,
            reference: Reference::default(),
            streams: Vec::new(),
            added: 0,
            waiting: VecDeque::new(),
            part: Part::new(0),
            lost: 0,
            counted: 0,
            lacking: Vec::new(),
        }
    }

    /// Records one more track, until its tap is over.
    pub fn add(&mut self, key: TrackKey, codec: Codec, tapping: Tapping) {
        self.added += 1;
        self.streams.push(Stream::new(self.added, key, codec, tapping));
    }

    /// Whether all tracks are over.
    pub fn is_over(&self) -> bool {
        self.streams.is_empty()
    }

    /// Which file is written now, see [`Write::file`].
    pub fn file(&self) -> usize {
        self.part.number()
    }

    /// The tracks of the file that is written now.
    pub fn tracks(&self) -> Vec<FileTrack> {
        self.part.tracks()
    }

    /// Milliseconds from the beginning of the recording to that of the file, once it has one.
    pub fn offset(&self) -> Option<u64> {
        self.part.offset()
    }

    /// Milliseconds that the file covers.
    pub fn duration(&self) -> u64 {
        self.part.duration()
    }

    /// Pauses in it.
    pub fn gaps(&self) -> &[Gap] {
        self.part.gaps()
    }

    /// Packets that never came, or found no room, of all files.
    pub fn lost(&self) -> u64 {
        self.lost + self.streams.iter().map(Stream::lost).sum::<u64>()
    }

    /// Tracks of which nothing is recorded, since the parameter sets of their H.264 are neither in the stream nor described.
    pub fn lacking_parameter_sets(&self) -> Vec<TrackKey> {
        let lacks = |stream: &&Stream| stream.assembler.lacks_sets && stream.last.is_none();
        let lacking = self.streams.iter().filter(lacks).map(|stream| stream.key);
        self.lacking.iter().copied().chain(lacking).collect()
    }

    /// Takes what the taps hold.
    pub fn poll(&mut self, now: Instant) -> Work {
        let mut work = Work::default();
        self.look(now, &mut work);
        work
    }

    fn look(&mut self, now: Instant, work: &mut Work) {
        let mut streams = std::mem::take(&mut self.streams);
        streams.retain_mut(|stream| {
            // Whatever a publisher sends, the damage ends at its own track.
            let took = catch_unwind(AssertUnwindSafe(|| self.take(stream, now, work)));
            match took {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => work.failed.push(stream.key),
            }
            self.lost += stream.lost();
            if stream.assembler.lacks_sets && stream.last.is_none() {
                self.lacking.push(stream.key);
            }
            false
        });
        self.streams = streams;
        self.release(self.micros(now) - INTERLEAVE, work);
    }

    /// Takes what there is, and gives what makes the file whole.
    pub fn finish(&mut self, now: Instant) -> Work {
        let mut work = Work::default();
        self.look(now, &mut work);
        self.look(now + HOLD, &mut work);
        self.lacking = self.lacking_parameter_sets();
        self.lost = self.lost();
        self.streams.clear();
        self.release(i64::MAX, &mut work);
        self.end_part(&mut work);
        work
    }

    fn end_part(&mut self, work: &mut Work) {
        let lost = self.lost();
        self.part.finish(lost - self.counted, work);
        self.counted = lost;
    }

    fn micros(&self, at: Instant) -> i64 {
        micros(self.began, at)
    }

    /// Follows one stream; false when it is over.
    fn take(&mut self, stream: &mut Stream, now: Instant, work: &mut Work) -> bool {
        let (mut goes_on, mut came) = (true, false);
        loop {
            match stream.tapping.take() {
                Ok(Some(Tapped::Packet(packet))) => {
                    came = true;
                    self.take_packet(stream, packet);
                }
                Ok(Some(Tapped::Clock(clock))) => self.take_clock(stream, clock),
                Ok(Some(Tapped::Coded(coded))) => self.take_format(stream, &coded),
                Ok(None) => break,
                Err(Over) => {
                    goes_on = false;
                    break;
                }
            }
        }
        let (before, shown) = stream.refused;
        stream.refused = (stream.tapping.lost(), if came { before } else { shown });
        let until = if goes_on { now } else { now + HOLD };
        let began = self.began;
        stream.drain(until, |at| micros(began, at));
        self.write_held(stream, until);
        if stream.asks(now) {
            work.keyframes.push(stream.key);
        }
        goes_on
    }

    fn take_packet(&mut self, stream: &mut Stream, packet: Packet) {
        if stream.layer.is_some_and(|layer| layer != packet.layer) {
            self.restart(stream, packet.at + HOLD, stream.format);
        }
        stream.layer = Some(packet.layer);
        stream.begun.get_or_insert(packet.at);
        stream.arrived = Some(packet.at);
        stream.reorder.push(packet);
    }

    fn take_clock(&mut self, stream: &mut Stream, clock: Clock) {
        if stream.layer.is_some_and(|layer| layer != clock.layer) {
            return;
        }
        // What came before goes by what was known then: a disk that stood still has the reports of a while come at once.
        if stream.timeline.is_known(self.reference) {
            let began = self.began;
            stream.drain(clock.at, |at| micros(began, at));
            self.write_held(stream, clock.at);
        }
        let at = self.micros(clock.at);
        stream.timeline.report(&clock, at, &mut self.reference);
    }

    fn take_format(&mut self, stream: &mut Stream, coded: &Coded) {
        if coded.format != stream.format {
            let until = stream.arrived.unwrap_or(self.began) + HOLD;
            self.restart(stream, until, coded.format);
        }
        stream.assembler.note_sets(&coded.parameter_sets);
    }

    /// Ends what came so far of a stream, before other packets of the same track follow.
    fn restart(&mut self, stream: &mut Stream, until: Instant, format: Format) {
        let began = self.began;
        stream.drain(until, |at| micros(began, at));
        self.write_held(stream, until);
        self.lost += stream.restart(format);
    }

    /// Gives frames their time, once that is known or has been waited for.
    fn write_held(&mut self, stream: &mut Stream, now: Instant) {
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
        let now = self.micros(now);
        loop {
            let frames = stream.held.iter().map(|(frame, at)| (frame.timestamp, *at));
            stream.doubts = stream.timeline.doubts(frames, now, self.reference);
            if stream.doubts {
                break;
            }
            let Some((frame, at)) = stream.held.pop_front() else { break };
            let timestamp = stream.timeline.unwrap(frame.timestamp);
            let time = stream.timeline.time(timestamp, at, self.reference);
            // Time does not stand still: a millisecond is the least that a file can express.
            let time = stream.last.map_or(time, |last| time.max(last + 1000));
            stream.last = Some(time);
            let place = self.waiting.partition_point(|waiting| waiting.time <= time);
            let (stream, format) = (stream.id, stream.format);
            self.waiting.insert(place, Waiting { time, stream, format, frame });
        }
    }

    /// Puts frames that nothing comes before any more into the file.
    fn release(&mut self, until: i64, work: &mut Work) {
        // The first of all frames is not known before every stream knows its time.
        let first = self.part.number() == 0 && self.part.origin.is_none();
        if first && self.streams.iter().any(|stream| !stream.held.is_empty()) {
            return;
        }
        let all_came = self.streams.iter().filter_map(|stream| stream.last).min();
        let until = until.max(all_came.unwrap_or(i64::MIN));
        // What is in doubt was taken about when it came, or before.
        let doubts = self.streams.iter().filter(|stream| stream.doubts);
        let came = doubts.filter_map(|stream| stream.held.front()).map(|(_, at)| at - INTERLEAVE);
        let until = came.min().map_or(until, |came| until.min(came));
        while self.waiting.front().is_some_and(|waiting| waiting.time <= until) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.write_frame(waiting, work);
        }
        self.part.flush_before(until, work);
    }

    fn write_frame(&mut self, waiting: Waiting, work: &mut Work) {
        let Waiting { time, stream, format, frame } = waiting;
        if !self.part.has(stream) {
            self.free_tracks();
        }
        if self.part.ends_before(stream, format, &frame) {
            self.end_part(work);
            self.part = Part::new(self.part.number() + 1);
        }
        let keyframe = frame.keyframe;
        let pushed = self.part.push(time, (stream, format), frame, work);
        if let Some(stream) = self.streams.iter_mut().find(|it| it.id == stream)
            && !(pushed || keyframe)
        {
            stream.needs_keyframe = true;
        }
    }

    /// Frees the tracks of streams that are over and written: a camera that is switched off and on again goes on in its track.
    fn free_tracks(&mut self) {
        let Self { streams, waiting, part, .. } = self;
        part.free(|owner| {
            let waits = waiting.iter().any(|waiting| waiting.stream == owner);
            !waits && !streams.iter().any(|stream| stream.id == owner)
        });
    }
}

/// Microseconds from the beginning of a recording.
fn micros(began: Instant, at: Instant) -> i64 {
    match at.checked_duration_since(began) {
        Some(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        None => -i64::try_from((began - at).as_micros()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
