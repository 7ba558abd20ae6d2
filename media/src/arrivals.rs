//! When the packets of one publisher arrived, for its transport-wide feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::numbers::TransportNumber;
use crate::rtcp::{Compound, TWCC_PACKETS};
use crate::rtp::Unwrapper;

/// How often feedback is sent.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);
/// Numbers that are kept at most: those that wait, and those that were reported and may still be completed.
const KEPT: usize = 1024;
/// How long after the packets around it one may arrive and still be reported, in quarters of a millisecond.
const LATE: i64 = 2_000;

/// See the module. A packet that arrives after its number was reported as lost is reported by the next feedback, which begins
/// with it; senders expect so of libwebrtc, and count each packet once.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    numbers: Unwrapper,
    /// The number of the first entry.
    base: TransportNumber,
    /// When packets arrived, in quarters of a millisecond since the peer began.
    kept: VecDeque<Option<i64>>,
    /// How many of the entries were reported.
    reported: usize,
    feedbacks: u8,
    due: Option<Instant>,
}

impl Arrivals {
    /// Notes number `sequence` at `at` since the peer began.
    pub(crate) fn note(&mut self, sequence: u16, at: Duration, now: Instant) {
        let number = TransportNumber(self.numbers.peek(sequence));
        if self.numbers.highest().is_none() {
            self.base = number;
        }
        self.numbers.note(number.0);
        // Older than what is kept: too late to be of use.
        let Some(place) = number.since(self.base) else { return };
        let surplus = (place + 1).saturating_sub(KEPT as u64);
        self.forget(surplus);
        let Some(place) = number.since(self.base).and_then(|it| usize::try_from(it).ok()) else {
            return;
        };
        if self.kept.len() <= place {
            self.kept.resize(place + 1, None);
        }
        let Some(entry @ None) = self.kept.get_mut(place) else { return };
        *entry = i64::try_from(at.as_micros() / 250).ok();
        self.reported = self.reported.min(place);
        self.due.get_or_insert(now + INTERVAL);
    }

    /// Forgets the first `count` numbers.
    fn forget(&mut self, count: u64) {
        let known = usize::try_from(count).map_or(self.kept.len(), |it| it.min(self.kept.len()));
        self.kept.drain(..known);
        self.reported = self.reported.saturating_sub(known);
        self.base = self.base.plus(count);
    }

    /// When feedback is to be sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what is known into `compound`, about packets of `ssrc` among others.
    pub(crate) fn report(&mut self, compound: &mut Compound<'_>, ssrc: u32) {
        self.due = None;
        while let Some(first) = self.kept.range(self.reported..).flatten().next().copied() {
            // 64 ms are 256 quarters of a millisecond.
            let reference = first.div_euclid(256);
            let mut last = reference * 256;
            let mut near = |at: &Option<i64>| {
                let Some(at) = at else { return true };
                i16::try_from(at - std::mem::replace(&mut last, *at)).is_ok()
            };
            // What is too far from the one before begins another feedback.
            let relative: Vec<Option<i64>> = self
                .kept
                .range(self.reported..)
                .take(TWCC_PACKETS)
                .take_while(|at| near(at))
                .map(|at| at.map(|at| at - reference * 256))
                .collect();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "on the wire"
            )]
            let place = (
                self.feedbacks,
                self.base.plus(self.reported as u64).wire(),
                reference as u32 & 0xFF_FFFF,
            );
            self.reported += compound.twcc(ssrc, place, &relative);
            self.feedbacks = self.feedbacks.wrapping_add(1);
        }
        self.forget_reported();
    }

    /// Forgets what nothing late can complete any more.
    fn forget_reported(&mut self) {
        let Some(newest) = self.kept.iter().flatten().max().copied() else { return };
        let recent = |at: &Option<i64>| at.is_some_and(|at| at >= newest - LATE);
        let recent = self.kept.iter().position(recent).unwrap_or(self.kept.len());
        // What is missing just before it may be on its way.
        let old = self.kept.range(..recent).rposition(Option::is_some).map_or(0, |it| it + 1);
        self.forget(old.min(self.reported) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;
    use crate::rtcp::{Rtcp, read};

    /// What `arrivals` reports now: numbers, and when they arrived, in milliseconds by a clock of 24 bits of 64 ms.
    fn reported(arrivals: &mut Arrivals) -> Vec<(u16, Option<i64>)> {
        let (mut out, mut reported) = (Vec::new(), Vec::new());
        arrivals.report(&mut Compound::new(&mut out, 1, &[]), 9);
        read(&out, |said| {
            if let Rtcp::Twcc(twcc) = said {
                let reference = i64::from(twcc.reference) * 64;
                twcc.each(|number, at| {
                    reported.push((number, at.map(|at| reference + i64::from(at).div_euclid(4))));
                });
            }
        });
        reported
    }

    #[test]
    fn every_packet_is_reported_once_and_gaps_as_lost() {
        let noon = noon();
        let mut arrivals = Arrivals::default();
        let sent: Vec<u16> = (0..1500_u16).map(|n| n.wrapping_add(65_000)).collect();
        let mut all = Vec::new();
        for (n, &number) in sent.iter().enumerate() {
            if n % 10 == 3 {
                continue;
            }
            arrivals.note(number, Duration::from_millis(n as u64), noon);
            if n % 100 == 99 {
                all.extend(reported(&mut arrivals));
            }
        }
        let expected =
            (0_i64..).zip(&sent).map(|(n, &number)| (number, (n % 10 != 3).then_some(n)));
        assert_eq!(all, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_arrives_after_its_feedback_is_in_the_next_one() {
        let (noon, mut arrivals) = (noon(), Arrivals::default());
        let at = Duration::from_millis;
        for number in [65_533, 65_534, 0, 1] {
            arrivals.note(number, at(100), noon);
        }
        let first = [
            (65_533, Some(100)),
            (65_534, Some(100)),
            (65_535, None),
            (0, Some(100)),
            (1, Some(100)),
        ];
        assert_eq!(reported(&mut arrivals), first);
        assert_eq!((reported(&mut arrivals), arrivals.deadline()), (vec![], None));

        arrivals.note(65_535, at(180), noon + at(80));
        assert_eq!(arrivals.deadline(), Some(noon + at(80) + INTERVAL), "it is worth a feedback");
        arrivals.note(2, at(190), noon + at(90));
        arrivals.note(2, at(195), noon + at(95));
        let second = [(65_535, Some(180)), (0, Some(100)), (1, Some(100)), (2, Some(190))];
        assert_eq!(
            reported(&mut arrivals),
            second,
            "from the late one on, with times that go back"
        );

        // Half a second later it is given up.
        arrivals.note(4, at(200), noon);
        reported(&mut arrivals);
        for number in 5..20 {
            arrivals.note(number, at(800), noon);
        }
        reported(&mut arrivals);
        arrivals.note(3, at(810), noon);
        assert_eq!((reported(&mut arrivals), arrivals.deadline()), (vec![], None));
    }

    #[test]
    fn the_reference_wraps_after_weeks() {
        // 24 bits of 64 ms, and half of them.
        for wrap in [1_u64 << 23, 1 << 24, 1 << 25] {
            let (noon, mut arrivals) = (noon(), Arrivals::default());
            let begin = wrap * 64 - 500;
            let mut all = Vec::new();
            for n in 0..1000_u16 {
                arrivals.note(n, Duration::from_millis(begin + u64::from(n)), noon);
                if n % 50 == 49 {
                    all.extend(reported(&mut arrivals));
                }
            }
            let clock = |n: u16| ((begin + u64::from(n)) % (64 << 24)) as i64;
            // A feedback counts on from its own reference.
            let expected = |n: u16| (n, Some(clock(n)));
            let modulo = all.iter().map(|&(n, at)| (n, at.map(|at| at % (64 << 24))));
            assert!(modulo.eq((0..1000).map(expected)), "{wrap:#x}");
        }
    }

    #[test]
    fn times_too_far_apart_for_one_feedback_are_two() {
        let (noon, mut arrivals) = (noon(), Arrivals::default());
        let times = [0, 9_000, 9_001, 1, 30_000_000];
        for (number, time) in (0..).zip(times) {
            arrivals.note(number, Duration::from_millis(time), noon);
        }
        let expected = (0..).zip(times).map(|(number, time)| (number, Some(time as i64)));
        assert_eq!(reported(&mut arrivals), expected.collect::<Vec<_>>());
    }

    proptest::proptest! {
        #[test]
        fn any_numbers_are_bounded(
            numbers in proptest::collection::vec((0_u16.., 0_u64..3_000, proptest::bool::ANY), 0..400),
        ) {
            let (mut arrivals, mut time) = (Arrivals::default(), 0);
            for (number, passed, report) in numbers {
                time += passed;
                arrivals.note(number, Duration::from_millis(time), noon());
                if report {
                    assert!(reported(&mut arrivals).len() <= KEPT);
                    assert_eq!(arrivals.reported, arrivals.kept.len());
                }
                assert!(arrivals.kept.len() <= KEPT);
            }
        }
    }
}
