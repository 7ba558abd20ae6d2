//! What is kept of all windows of a track, however many they are.

use serde::Serialize;
use utoipa::ToSchema;

use super::score::Class;

/// Changes of class that are kept; a track that changes more often is known to be unsteady.
const LEVELS: usize = 48;
const BUCKETS: usize = 64;
/// Buckets for a change by the factor e; values are found to about 7 %.
const FINENESS: f64 = 7.0;
/// Buckets for a point of opinion.
const STEPS: f64 = 16.0;

/// How often values were in which range.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Spread {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Spread {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limited before")]
    fn note(&mut self, place: f64) {
        let last = self.counts.len() - 1;
        let place = place.clamp(0.0, 1e3) as usize;
        if let Some(count) = self.counts.get_mut(place.min(last)) {
            *count = count.saturating_add(1);
            self.total += 1;
        }
    }

    /// The bucket, with its middle, below which `share` of the values are.
    fn place(&self, share: f64) -> Option<f64> {
        let all: f64 = self.counts.iter().copied().map(f64::from).sum();
        let wanted = (share * all).ceil().max(1.0);
        let mut below = 0.0;
        for (place, &count) in (0_u32..).zip(&self.counts) {
            below += f64::from(count);
            if count > 0 && below >= wanted {
                return Some(f64::from(place) + 0.5);
            }
        }
        None
    }

    fn note_time(&mut self, ms: f64) {
        self.note((1.0 + ms.max(0.0)).ln() * FINENESS);
    }

    fn time(&self, share: f64) -> Option<f64> {
        self.place(share).map(|place| tenths((place / FINENESS).exp() - 1.0))
    }

    fn note_opinion(&mut self, opinion: f64) {
        self.note((opinion - 1.0) * STEPS);
    }

    fn opinion(&self, share: f64) -> Option<f64> {
        self.place(share).map(|place| 1.0 + place / STEPS)
    }
}

/// The middle of some times, and what nearly all of them are below, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = QualityTimes)]
pub struct Times {
    /// Half of the windows have less.
    pub p50: f64,
    /// 95 % of the windows have less.
    pub p95: f64,
}

/// Opinions over time; the lower ones count, because a mean hides bad minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = QualityMos)]
pub struct Opinions {
    /// The mean.
    pub avg: f64,
    /// 10 % of the windows are worse.
    pub p10: f64,
    /// The worst.
    pub min: f64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    opinions: Spread,
    sum: f64,
    worst: Option<f64>,
    round_trips: Spread,
    jitters: Spread,
    /// In tenths of a second since the leg began.
    levels: Vec<(u32, Class)>,
}

impl Tally {
    pub(super) fn note_opinion(&mut self, opinion: f64) {
        self.opinions.note_opinion(opinion);
        self.sum += opinion;
        self.worst = Some(self.worst.map_or(opinion, |worst| worst.min(opinion)));
    }

    pub(super) fn note_times(&mut self, round_trip: Option<f64>, jitter: Option<f64>) {
        round_trip.iter().for_each(|&ms| self.round_trips.note_time(ms));
        jitter.iter().for_each(|&ms| self.jitters.note_time(ms));
    }

    /// Notes the class from `since` on, and whether it is another one.
    pub(super) fn note_class(&mut self, since: u32, class: Class) -> bool {
        let changed = self.levels.last().is_none_or(|&(_, before)| before != class);
        if changed && self.levels.len() < LEVELS {
            self.levels.push((since, class));
        }
        changed
    }

    pub(super) fn levels(&self) -> &[(u32, Class)] {
        &self.levels
    }

    pub(super) fn opinions(&self) -> Option<Opinions> {
        let (min, p10) = (self.worst?, self.opinions.opinion(0.1)?);
        let avg = self.sum / f64::from(self.opinions.total);
        let [avg, p10, min] = [avg, p10.clamp(min, 4.5), min].map(hundredths);
        Some(Opinions { avg, p10: p10.min(avg), min })
    }

    pub(super) fn round_trips(&self) -> Option<Times> {
        times(&self.round_trips)
    }

    pub(super) fn jitters(&self) -> Option<Times> {
        times(&self.jitters)
    }
}

fn times(spread: &Spread) -> Option<Times> {
    Some(Times { p50: spread.time(0.5)?, p95: spread.time(0.95)? })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

pub(super) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_within_a_tenth() {
        for ms in [10.0, 50.0, 100.0, 150.0, 250.0, 400.0, 900.0, 3000.0] {
            let mut tally = Tally::default();
            (0..20).for_each(|_| tally.note_times(Some(ms), Some(1.0)));
            let found = tally.round_trips().unwrap();
            assert!((found.p50 - ms).abs() <= ms / 10.0, "{ms}: {found:?}");
            assert_eq!(found.p50, found.p95);
        }
        let mut tally = Tally::default();
        (1..=100).for_each(|ms| tally.note_times(Some(f64::from(ms) * 10.0), None));
        let found = tally.round_trips().unwrap();
        assert!(
            (found.p50 - 500.0).abs() <= 50.0 && (found.p95 - 950.0).abs() <= 95.0,
            "{found:?}"
        );
        assert_eq!(tally.jitters(), None);
    }

    #[test]
    fn bad_minutes_are_not_hidden_by_the_mean() {
        let mut tally = Tally::default();
        assert_eq!(tally.opinions(), None);
        (0..80).for_each(|_| tally.note_opinion(4.4));
        (0..20).for_each(|_| tally.note_opinion(2.0));
        let have = tally.opinions().unwrap();
        assert_eq!((have.avg, have.min), (3.92, 2.0));
        assert!((have.p10 - 2.0).abs() < 0.07, "{have:?}");
    }

    #[test]
    fn changes_of_class_are_kept_up_to_a_bound() {
        let mut tally = Tally::default();
        assert!(tally.note_class(0, Class::Good) && !tally.note_class(50, Class::Good));
        for at in 1..1000 {
            tally.note_class(at * 50, if at % 2 == 0 { Class::Good } else { Class::Poor });
        }
        assert_eq!(tally.levels().len(), LEVELS);
        (0..100_000).for_each(|_| tally.note_opinion(3.0));
        assert_eq!(tally.opinions().map(|it| it.avg), Some(3.0));
    }
}
