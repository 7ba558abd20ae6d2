//! Numbers that are easily taken for one another.

use std::time::Duration;

/// A number of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2), continued beyond its 16 bits.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct TransportNumber(pub(crate) u64);

impl TransportNumber {
    /// What a count begins with: numbers before it can still be told from it.
    pub(crate) const FIRST: Self = Self(0x1_0000);

    /// The one that comes so much later.
    pub(crate) fn plus(self, more: u64) -> Self {
        Self(self.0.saturating_add(more))
    }

    /// How many come from `earlier` on before this one; `None` when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// As it is written.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    pub(crate) fn wire(self) -> u16 {
        self.0 as u16
    }
}

/// Bits in a second.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct BitRate(pub(crate) u64);

impl BitRate {
    /// That of so many bytes in so long a time, which counts as a microsecond at least.
    pub(crate) fn of(bytes: u64, time: Duration) -> Self {
        let micros = time.as_micros().max(1);
        Self(u64::try_from(u128::from(bytes) * 8_000_000 / micros).unwrap_or(u64::MAX))
    }

    /// A share of it.
    pub(crate) fn percent(self, percent: u64) -> Self {
        let share = u128::from(self.0) * u128::from(percent) / 100;
        Self(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// Bytes that pass in so long a time.
    pub(crate) fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0).saturating_mul(time.as_micros()) / 8_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_numbers_go_on_and_are_written_with_16_bits() {
        let number = TransportNumber::FIRST.plus(65_535);
        assert_eq!((number.wire(), number.plus(1).wire()), (65_535, 0));
        assert_eq!(number.since(TransportNumber::FIRST), Some(65_535));
        assert_eq!(TransportNumber::FIRST.since(number), None);
    }

    #[test]
    fn bit_rates_are_bytes_in_a_time_and_do_not_overflow() {
        let second = Duration::from_secs(1);
        assert_eq!(BitRate::of(125_000, second), BitRate(1_000_000));
        assert_eq!(BitRate(1_000_000).bytes_in(second / 2), 62_500);
        assert_eq!(BitRate(1_000_000).percent(85), BitRate(850_000));
        assert_eq!(BitRate::of(u64::MAX, Duration::ZERO), BitRate(u64::MAX));
        assert_eq!(BitRate(u64::MAX).percent(200), BitRate(u64::MAX));
        assert_eq!(BitRate(u64::MAX).bytes_in(Duration::MAX), u64::MAX);
    }
}
