//! One track that is recorded: its packets on their way to being frames with their times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::StreamId;
use super::clock::Timeline;
use super::frames::{Assembler, Frame};
use super::reorder::Reorder;
use crate::codec::{Codec, Format, Kind};
use crate::plan::TrackKey;
use crate::tap::Tapping;

/// Between two requests for a keyframe after a loss, and the longest without one.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const KEYFRAME_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) key: TrackKey,
    pub(super) format: Format,
    pub(super) tapping: Tapping,
    /// How many had found no room at the last look, and how many of them the numbers of later packets have shown.
    pub(super) refused: (u64, u64),
    pub(super) layer: Option<u8>,
    pub(super) reorder: Reorder,
    pub(super) assembler: Assembler,
    pub(super) timeline: Timeline,
    /// Frames that wait for their time to be known, with when they came.
    pub(super) held: VecDeque<(Frame, i64)>,
    /// It is open when the first of them was taken.
    pub(super) doubts: bool,
    pub(super) begun: Option<Instant>,
    /// When the last packet came.
    pub(super) arrived: Option<Instant>,
    /// The time of its last frame.
    pub(super) last: Option<i64>,
    /// The file cannot go on without a keyframe.
    pub(super) needs_keyframe: bool,
    rotation: Option<u16>,
    asked: Option<Instant>,
    keyframe: Option<Instant>,
}

impl Stream {
    pub(super) fn new(id: StreamId, key: TrackKey, codec: Codec, tapping: Tapping) -> Self {
        Self {
            id,
            key,
            format: codec.into(),
            tapping,
            refused: (0, 0),
            layer: None,
            reorder: Reorder::default(),
            assembler: Assembler::new(codec),
            timeline: Timeline::new(codec.clock()),
            held: VecDeque::new(),
            doubts: false,
            begun: None,
            arrived: None,
            last: None,
            needs_keyframe: false,
            rotation: None,
            asked: None,
            keyframe: None,
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.reorder.lost + self.tapping.lost() - self.refused.1
    }

    /// Other packets follow, whose numbers and times are nothing to those before; gives how many of those are lost.
    pub(super) fn restart(&mut self, format: Format) -> u64 {
        let lost = std::mem::take(&mut self.reorder).lost;
        self.assembler.restart(format.codec);
        self.timeline = Timeline::new(format.codec.clock());
        (self.format, self.begun, self.layer) = (format, None, None);
        lost
    }

    /// Makes frames of the packets that are in order; `micros` is a moment in microseconds of the recording.
    pub(super) fn drain(&mut self, now: Instant, micros: impl Fn(Instant) -> i64) {
        let mut frames = Vec::new();
        while let Some((packet, gap)) = self.reorder.pop(now) {
            self.assembler.take(&packet, gap, &mut frames);
            for frame in &frames {
                if frame.keyframe {
                    self.keyframe = Some(packet.at);
                    self.needs_keyframe = false;
                } else if self.rotation.is_some_and(|before| before != frame.rotation) {
                    // It is turned: another file begins, with a keyframe.
                    self.needs_keyframe = true;
                }
                self.rotation = Some(frame.rotation);
            }
            let at = micros(packet.at);
            self.held.extend(frames.drain(..).map(|frame| (frame, at)));
        }
    }

    /// Whether the publisher is to be asked for a keyframe.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        // A camera that is covered has no keyframe to give.
        let sends = self.arrived.is_some_and(|arrived| now < arrived + Duration::from_secs(1));
        if self.format.codec.kind() == Kind::Audio || !sends {
            return false;
        }
        let old = self.keyframe.is_none_or(|last| now >= last + KEYFRAME_EVERY);
        let again = self.asked.is_none_or(|asked| now >= asked + ASK_AGAIN);
        let asks = (self.assembler.broken || self.needs_keyframe || old) && again;
        if asks {
            self.asked = Some(now);
        }
        asks
    }
}
