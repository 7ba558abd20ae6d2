//! Logged events of one session in the order of the user's event log, whatever order they were delivered in.

use std::collections::BTreeMap;

use super::{Frame, QueueBounds};

/// Holds back events whose predecessors have not come, and all of them until the session is released.
pub(super) struct LogOrder {
    bounds: QueueBounds,
    /// The newest log entry that went out; `None` until the session is released.
    sent: Option<i64>,
    early: BTreeMap<i64, Frame>,
    early_bytes: usize,
    watching_gap: bool,
    /// More was held back than the bounds allow, and is lost: the client must reload.
    overrun: bool,
}

impl LogOrder {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        let (sent, early, early_bytes) = (None, BTreeMap::new(), 0);
        Self { bounds, sent, early, early_bytes, watching_gap: false, overrun: false }
    }

    /// The newest log entry that went out, 0 before the first.
    pub(super) fn position(&self) -> i64 {
        self.sent.unwrap_or(0)
    }

    /// Takes the event with this cursor; one that went out already is dropped.
    pub(super) fn accept(&mut self, cursor: i64, frame: Frame) {
        if self.sent.is_some_and(|sent| cursor <= sent) {
            return;
        }
        self.early_bytes += frame.bytes();
        if let Some(repeated) = self.early.insert(cursor, frame) {
            self.early_bytes -= repeated.bytes();
        }
        if self.early.len() <= self.bounds.entries && self.early_bytes <= self.bounds.bytes {
            return;
        }
        if self.sent.is_some() {
            // What is missing cannot be waited for any longer.
            self.skip_gap();
            return;
        }
        self.early.clear();
        self.early_bytes = 0;
        self.overrun = true;
    }

    /// The next event that may go out.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let next = self.sent? + 1;
        let frame = self.early.remove(&next)?;
        self.early_bytes -= frame.bytes();
        self.sent = Some(next);
        Some(frame)
    }

    /// Lets events behind `cursor` go out; `false` when some were lost meanwhile, and the client must reload.
    pub(super) fn release(&mut self, cursor: i64) -> bool {
        self.sent = Some(cursor);
        self.early = self.early.split_off(&(cursor + 1));
        self.early_bytes = self.early.values().map(Frame::bytes).sum();
        !std::mem::take(&mut self.overrun)
    }

    /// Whether a gap begins here: events wait for one that has not come, and no timer runs for it yet.
    pub(super) fn begins_gap(&mut self) -> bool {
        let begins = self.sent.is_some() && !self.early.is_empty() && !self.watching_gap;
        self.watching_gap |= begins;
        begins
    }

    /// Goes on behind the gap: an entry whose sender died between storing and sending must not hold up the others.
    pub(super) fn skip_gap(&mut self) {
        self.watching_gap = false;
        if let Some((first, _)) = self.early.first_key_value() {
            self.sent = Some(first - 1);
        }
    }
}
