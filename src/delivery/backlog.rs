//! What waits for a client that reads slowly.

use std::collections::VecDeque;
use std::time::Duration;

use super::Frame;
use crate::clock::Timestamp;

/// How much may wait for one session, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// Events.
    pub entries: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// How long a client may take nothing while something waits.
    pub time: Duration,
}

/// Events that the transport has not taken yet, oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// When the client last took something.
    since: Timestamp,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn push(&mut self, frame: Frame, now: Timestamp) {
        if self.frames.is_empty() {
            self.since = now;
        }
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
    }

    /// The oldest event.
    pub(super) fn first(&self) -> Option<Frame> {
        self.frames.front().cloned()
    }

    /// The client took the oldest event.
    pub(super) fn taken(&mut self, now: Timestamp) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes();
        }
        self.since = now;
    }

    /// Forgets everything, and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether what may be dropped is dropped: a quarter of what may wait is taken.
    pub(super) fn is_crowded(&self, bounds: &QueueBounds) -> bool {
        self.frames.len() > bounds.entries / 4 || self.bytes > bounds.bytes / 4
    }

    /// Whether more waits than may, or the client has taken nothing for too long.
    pub(super) fn exceeds(&self, bounds: &QueueBounds, now: Timestamp) -> bool {
        self.frames.len() > bounds.entries
            || self.bytes > bounds.bytes
            || (!self.frames.is_empty() && now.since(self.since) > bounds.time)
    }
}
