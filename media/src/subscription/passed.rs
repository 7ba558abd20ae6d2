//! Which frames were passed on, of streams whose frames say what they need.

use crate::codec::Frame;

/// Which of the last 64 frames were passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    newest: u16,
    frames: u64,
}

impl Passed {
    pub(super) fn note(&mut self, number: u16) {
        let ahead = number.wrapping_sub(self.newest);
        if ahead < 0x8000 {
            self.frames = self.frames.checked_shl(ahead.into()).unwrap_or_default() | 1;
            self.newest = number;
        } else {
            self.frames |= 1_u64.checked_shl(ahead.wrapping_neg().into()).unwrap_or_default();
        }
    }

    /// Whether all were that a frame needs.
    pub(super) fn all(&self, frame: &Frame) -> bool {
        frame.needs.iter().filter(|&&need| need != 0).all(|&need| {
            let behind = self.newest.wrapping_sub(frame.number.wrapping_sub(need.into()));
            self.frames.checked_shr(behind.into()).is_some_and(|frames| frames & 1 == 1)
        })
    }
}
