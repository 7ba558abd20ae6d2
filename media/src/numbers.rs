//! Numbers that are easily taken for one another.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A sequence number of RTP (RFC 3550 §5.1), continued beyond the 16 bits that are written. A stream begins in the second cycle, so
/// that packets which were sent before its first one have numbers, too.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Extended(u64);

impl Extended {
    /// After so many numbers what is written begins anew.
    const CYCLE: u64 = 0x1_0000;

    /// The number of a stream's first packet.
    pub(crate) fn first(wire: u16) -> Self {
        Self(Self::CYCLE + u64::from(wire))
    }

    /// Of all numbers that are written so, the one nearest to this one.
    pub(crate) fn nearest(self, wire: u16) -> Self {
        let distance = wire.wrapping_sub(self.wire()).cast_signed();
        Self(self.0.saturating_add_signed(distance.into()))
    }

    /// Of all numbers that are written so, the last that is not after this one.
    pub(crate) fn latest(self, wire: u16) -> Self {
        self.minus(self.wire().wrapping_sub(wire).into())
    }

    /// The one that follows.
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    /// The one that comes so much later.
    pub(crate) fn plus(self, more: u64) -> Self {
        Self(self.0.saturating_add(more))
    }

    /// The one that came so much earlier.
    pub(crate) fn minus(self, less: u64) -> Self {
        Self(self.0.saturating_sub(less))
    }

    /// The one in so great a distance, which may be behind it.
    pub(crate) fn shifted(self, distance: i64) -> Option<Self> {
        self.0.checked_add_signed(distance).map(Self)
    }

    /// What [`Self::shifted`] takes to lead from `other` to this one.
    pub(crate) fn distance(self, other: Self) -> i64 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// How many come from `earlier` on before this one; `None` when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// This one and those after it, up to `end` and without it.
    pub(crate) fn until(self, end: Self) -> impl Iterator<Item = Self> {
        (self.0..end.0).map(Self)
    }

    /// How much is to be added to another stream's numbers, so that they follow this one and are written as before.
    pub(crate) fn whole_cycles(self) -> u64 {
        self.0.next_multiple_of(Self::CYCLE) + Self::CYCLE
    }

    /// As it is written.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    pub(crate) fn wire(self) -> u16 {
        self.0 as u16
    }

    /// As a report has it (RFC 3550 §6.4.1): cycles since the first packet, and the number.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    pub(crate) fn reported(self) -> u32 {
        self.0.wrapping_sub(Self::CYCLE) as u32
    }

    /// The index that SRTP knows the packet by; `None` of one before the first cycle of its stream, and of one for which the key
    /// no longer serves (RFC 3711 §9.2).
    pub(crate) fn index(self) -> Option<SrtpIndex> {
        let index = self.0.checked_sub(Self::CYCLE)?;
        (index < SrtpIndex::END).then_some(SrtpIndex(index))
    }

    /// As a count, for what is kept by it.
    pub(crate) fn count(self) -> u64 {
        self.0
    }
}

/// The index of a packet (RFC 3711 §3.3.1): rollover counter and sequence number, 48 bits. A key seals each index of an SSRC once.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SrtpIndex(u64);

impl SrtpIndex {
    const END: u64 = 1 << 48;

    /// That of an SRTCP packet, which has 31 bits (RFC 3711 §3.4).
    pub(crate) fn rtcp(index: u32) -> Self {
        Self(u64::from(index & 0x7FFF_FFFF))
    }

    /// How many come from `earlier` on before this one; `None` when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The rollover counter, as it is authenticated (RFC 3711 §4.2).
    pub(crate) fn rollover(self) -> [u8; 4] {
        let [r0, r1, r2, r3, _, _] = self.bytes();
        [r0, r1, r2, r3]
    }

    /// Its 48 bits, as they are part of a nonce.
    pub(crate) fn bytes(self) -> [u8; 6] {
        let [_, _, index @ ..] = self.0.to_be_bytes();
        index
    }
}

#[cfg(any(test, fuzzing))]
impl From<u64> for SrtpIndex {
    fn from(index: u64) -> Self {
        Self(index)
    }
}

#[cfg(test)]
impl From<u64> for Extended {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// A number of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2), continued like one of RTP.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct TransportNumber(pub(crate) Extended);

impl TransportNumber {
    /// What a count begins with: numbers before it still differ from it.
    pub(crate) const FIRST: Self = Self(Extended(Extended::CYCLE));

    /// The one that comes so much later.
    pub(crate) fn plus(self, more: u64) -> Self {
        Self(self.0.plus(more))
    }

    /// The one that came so much earlier.
    pub(crate) fn minus(self, less: u64) -> Self {
        Self(self.0.minus(less))
    }

    /// How many come from `earlier` on before this one; `None` when `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Option<u64> {
        self.0.since(earlier.0)
    }

    /// As it is written.
    pub(crate) fn wire(self) -> u16 {
        self.0.wire()
    }
}

/// A timestamp of RTP (RFC 3550 §5.1), in ticks of the media clock. It wraps, so that there is no first one and no last one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct MediaTime(pub(crate) u32);

impl MediaTime {
    /// So many ticks later.
    pub(crate) fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks that lead from `other` to this one, whichever is later.
    pub(crate) fn since(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }

    /// The same by the shorter way, which may lead back.
    pub(crate) fn distance(self, other: Self) -> i32 {
        self.since(other).cast_signed()
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

    /// The mean of both.
    pub(crate) fn midpoint(self, other: Self) -> Self {
        Self(u64::midpoint(self.0, other.0))
    }

    /// One of so many equal parts.
    pub(crate) fn part(self, parts: u64) -> Self {
        Self(self.0.checked_div(parts).unwrap_or(0))
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

/// No sum is more than the highest rate that can be said.
impl Add for BitRate {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

/// No difference is less than nothing.
impl Sub for BitRate {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_go_on_and_are_indexes_from_their_first_cycle_on() {
        let first = Extended::first(65_534);
        let over = first.nearest(1);
        assert_eq!((over.since(first), first.since(over), over.wire()), (Some(3), None, 1));
        assert_eq!(
            (over.nearest(65_534), over.latest(65_534), over.latest(1)),
            (first, first, over)
        );
        assert_eq!((over.distance(first), first.distance(over)), (3, -3));
        assert_eq!((first.shifted(3), Extended::default().shifted(-1)), (Some(over), None));
        assert_eq!((first.reported(), over.reported()), (65_534, 65_537));
        assert_eq!(first.plus(over.whole_cycles()).wire(), first.wire());
        assert_eq!(first.until(over).map(Extended::wire).collect::<Vec<_>>(), [65_534, 65_535, 0]);
        assert_eq!(first.index(), Some(SrtpIndex(65_534)));
        assert_eq!(over.index().map(SrtpIndex::bytes), Some([0, 0, 0, 1, 0, 1]));
        assert_eq!(over.index().map(SrtpIndex::rollover), Some([0, 0, 0, 1]));
        assert_eq!(Extended::first(0).index(), Some(SrtpIndex(0)));
        assert_eq!(Extended::first(0).minus(1).index(), None, "before the first cycle");
        assert_eq!(Extended::first(0).plus(SrtpIndex::END).index(), None, "a key has an end");
    }

    #[test]
    fn transport_numbers_go_on_and_are_written_with_16_bits() {
        let number = TransportNumber::FIRST.plus(65_535);
        assert_eq!((number.wire(), number.plus(1).wire()), (65_535, 0));
        assert_eq!(number.since(TransportNumber::FIRST), Some(65_535));
        assert_eq!(TransportNumber::FIRST.since(number), None);
    }

    #[test]
    fn timestamps_wrap_and_have_a_distance() {
        let (late, early) = (MediaTime(5), MediaTime(u32::MAX - 4));
        assert_eq!((early.plus(10), late.since(early)), (late, 10));
        assert_eq!((late.distance(early), early.distance(late)), (10, -10));
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
        assert_eq!(BitRate(u64::MAX) + BitRate(1), BitRate(u64::MAX));
        assert_eq!(BitRate(1) - BitRate(2), BitRate(0));
        assert_eq!(BitRate(10).midpoint(BitRate(20)), BitRate(15));
        assert_eq!((BitRate(80).part(8), BitRate(80).part(0)), (BitRate(10), BitRate(0)));
    }
}
