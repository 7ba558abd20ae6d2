//! Which of several sources is current: the newest that carries media, and what it replaced is late. What was replaced comes back
//! only when its successor has been silent for a while, so that two that alternate do not replace each other packet by packet.

use std::time::{Duration, Instant};

/// A successor that is silent for so long may be replaced by what was there before it.
const RETURN: Duration = Duration::from_millis(500);
/// How many that were replaced are remembered.
const REPLACED: usize = 4;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Succession<T> {
    current: Option<T>,
    last: Option<Instant>,
    replaced: [Option<T>; REPLACED],
}

/// What a source that carries media is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SourceState {
    /// The current one.
    Current,
    /// The current one from now on, in place of another one or as the first.
    Begins,
    /// One that was replaced.
    Late,
}

impl<T> Default for Succession<T> {
    fn default() -> Self {
        Self { current: None, last: None, replaced: [const { None }; REPLACED] }
    }
}

impl<T: Copy + Eq> Succession<T> {
    /// One that counts already.
    pub(crate) fn of(current: Option<T>) -> Self {
        Self { current, ..Self::default() }
    }

    /// The one that counts.
    pub(crate) fn current(&self) -> Option<T> {
        self.current
    }

    /// What `one`, which carries media, is; nothing changes.
    pub(crate) fn look(&self, one: T, now: Instant) -> SourceState {
        let lives = self.last.is_some_and(|last| now.saturating_duration_since(last) < RETURN);
        match self.current {
            Some(current) if current == one => SourceState::Current,
            _ if lives && self.replaced.contains(&Some(one)) => SourceState::Late,
            _ => SourceState::Begins,
        }
    }

    /// Takes note of `one`, which carries media.
    pub(crate) fn take(&mut self, one: T, now: Instant) -> SourceState {
        match self.look(one, now) {
            SourceState::Begins => self.begin(one, now),
            SourceState::Current => {
                self.last = Some(now);
                SourceState::Current
            }
            SourceState::Late => SourceState::Late,
        }
    }

    /// `one` counts from now on.
    pub(crate) fn begin(&mut self, one: T, now: Instant) -> SourceState {
        self.last = Some(now);
        let Some(before) = self.current.replace(one).filter(|&before| before != one) else {
            return SourceState::Begins;
        };
        let at = self.replaced.iter().position(|&known| known == Some(one));
        let rest = self.replaced.get_mut(..=at.unwrap_or(REPLACED - 1)).unwrap_or_default();
        rest.rotate_right(1);
        if let Some(first) = rest.first_mut() {
            *first = Some(before);
        }
        SourceState::Begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;

    #[test]
    fn two_that_alternate_change_once_and_one_comes_back_when_the_other_is_silent() {
        let (mut succession, noon) = (Succession::default(), noon());
        let mut turns = Vec::new();
        for step in 0..400_u64 {
            let now = noon + Duration::from_millis(step * 10);
            let begins = |state: SourceState| state == SourceState::Begins;
            if begins(succession.take(1, now)) {
                turns.push((step, 1));
            }
            if (100..200).contains(&step) && begins(succession.take(2, now)) {
                turns.push((step, 2));
            }
        }
        assert_eq!(turns, [(0, 1), (100, 2), (249, 1)]);
    }

    #[test]
    fn the_last_four_that_were_replaced_are_remembered() {
        let (mut succession, noon) = (Succession::default(), noon());
        for one in 0..6 {
            assert_eq!(succession.take(one, noon), SourceState::Begins);
        }
        assert_eq!([1, 2, 3, 4].map(|one| succession.take(one, noon)), [SourceState::Late; 4]);
        assert_eq!(
            (succession.take(5, noon), succession.current()),
            (SourceState::Current, Some(5))
        );
        assert_eq!(succession.look(0, noon), SourceState::Begins, "forgotten");
    }
}
