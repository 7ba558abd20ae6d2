//! When the packets of one publisher arrived, for its transport-wide feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtcp::{Compound, TWCC_PACKETS};
use crate::rtp::Unwrapper;

/// How often feedback is sent.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);
/// Numbers that wait for the next feedback.
const WAITING: u64 = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    numbers: Unwrapper,
    /// The number of the first entry.
    base: u64,
    waiting: VecDeque<Option<i64>>,
    feedbacks: u8,
    due: Option<Instant>,
}

impl Arrivals {
    /// Notes number `sequence` at `at` since the peer began.
    pub(crate) fn note(&mut self, sequence: u16, at: Duration, now: Instant) {
        let number = self.numbers.peek(sequence);
        let highest = self.numbers.highest();
        self.numbers.note(number);
        if highest.is_none() {
            self.base = number;
        }
        // Older than what was reported: too late to be of use.
        let Some(place) = number.checked_sub(self.base) else { return };
        if place >= WAITING {
            self.waiting.clear();
            self.base = number;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below WAITING")]
        let place = (number - self.base) as usize;
        if self.waiting.len() <= place {
            self.waiting.resize(place + 1, None);
        }
        if let Some(entry) = self.waiting.get_mut(place) {
            *entry = i64::try_from(at.as_micros() / 250).ok();
        }
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When feedback is to be sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what is known into `compound`, about packets of `ssrc` among others.
    pub(crate) fn report(&mut self, compound: &mut Compound<'_>, ssrc: u32) {
        self.due = None;
        while let Some(first) = self.waiting.iter().flatten().next().copied() {
            // 64 ms are 256 quarters of a millisecond.
            let reference = first.div_euclid(256);
            let relative: Vec<Option<i64>> = self
                .waiting
                .iter()
                .take(TWCC_PACKETS)
                .map(|at| at.map(|at| at - reference * 256))
                .collect();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "on the wire"
            )]
            let place = (self.feedbacks, self.base as u16, reference as u32 & 0xFF_FFFF);
            let taken = compound.twcc(ssrc, place, &relative);
            self.feedbacks = self.feedbacks.wrapping_add(1);
            self.waiting.drain(..taken);
            self.base += taken as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;
    use crate::rtcp::{Rtcp, read};

    #[test]
    fn every_packet_is_reported_once_and_gaps_as_lost() {
        let noon = noon();
        let mut arrivals = Arrivals::default();
        let sent: Vec<u16> = (0..1500_u16).map(|n| n.wrapping_add(65_000)).collect();
        let mut reported = Vec::new();
        for (n, &number) in sent.iter().enumerate() {
            if n % 10 == 3 {
                continue;
            }
            arrivals.note(number, Duration::from_millis(n as u64), noon);
            if n % 100 == 99 {
                let mut out = Vec::new();
                arrivals.report(&mut Compound::new(&mut out, 1, &[]), 9);
                read(&out, |said| {
                    if let Rtcp::Twcc(twcc) = said {
                        let reference = i64::from(twcc.reference) * 64;
                        twcc.each(|number, at| {
                            reported.push((number, at.map(|at| reference + i64::from(at / 4))));
                        });
                    }
                });
            }
        }
        let expected =
            (0_i64..).zip(&sent).map(|(n, &number)| (number, (n % 10 != 3).then_some(n)));
        assert_eq!(reported, expected.collect::<Vec<_>>());
    }
}
