//! Which of the last packets arrived, by their numbers.

use crate::numbers::Extended;

/// Which of the last numbers were there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen([u64; 16]);

impl Seen {
    pub(super) const NUMBERS: u64 = 1024;

    fn place(number: Extended) -> (usize, u64) {
        let number = number.count();
        ((number % Self::NUMBERS / 64) as usize, 1 << (number % 64))
    }

    pub(super) fn has(&self, number: Extended) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Notes a number, where `highest` is the highest that was noted.
    pub(super) fn note(&mut self, number: Extended, highest: Option<Extended>) {
        match highest {
            Some(highest) if number.since(highest).unwrap_or(0) < Self::NUMBERS => {
                highest.next().until(number).for_each(|between| self.set(between, false));
            }
            _ => *self = Self::default(),
        }
        self.set(number, true);
    }

    fn set(&mut self, number: Extended, there: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word = if there { *word | bit } else { *word & !bit };
        }
    }
}
