//! How many bits a layer has.

use std::time::{Duration, Instant};

use crate::numbers::BitRate;

/// The time over which bits are counted.
pub(super) const RATE_WINDOW: Duration = Duration::from_millis(500);

/// What is sent, as a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    begun: Option<Instant>,
    bytes: usize,
    /// Over half a second.
    pub(super) lately: BitRate,
    /// Over some seconds.
    pub(super) steady: BitRate,
}

impl Rate {
    pub(super) fn add(&mut self, bytes: usize, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        let passed = now.saturating_duration_since(begun);
        if passed >= RATE_WINDOW {
            let measured = BitRate::of(self.bytes as u64, passed);
            self.lately = match self.lately {
                BitRate(0) => measured,
                before => before.midpoint(measured),
            };
            self.steady = match self.steady {
                BitRate(0) => measured,
                before => before - before.part(8) + measured.part(8),
            };
            (self.begun, self.bytes) = (Some(now), 0);
        }
        self.bytes += bytes;
    }
}
