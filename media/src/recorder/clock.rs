//! When a frame was taken: RTP timestamps become microseconds of the recording, by the publisher's sender reports, so that sound
//! and pictures fit together whatever way and time they took (RFC 3550 §6.4.1).

use crate::tap::Clock;

/// Timestamps further than this from when they came are a new beginning.
const JUMP: i64 = 10_000_000;
/// By how much the time of a frame is moved at most when the clock turns out to be another.
const STEP: i64 = 1_000;
/// What the publisher's clock may gain on ours, and how fast what was thought of it is corrected, in millionths.
const DRIFT: i64 = 300;
const CORRECTION: i64 = 5_000;

/// The publisher's clock against that of the recording: shared by all tracks of one connection, so that they stay together while
/// it is corrected. The report that was on its way for the shortest time tells the most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reference(Option<Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    /// By the publisher's clock.
    since: i64,
    /// The difference then, and where it goes.
    from: i64,
    target: i64,
}

impl Reference {
    fn note(&mut self, ntp: i64, at: i64) {
        let seen = at - ntp;
        self.0 = Some(match self.0 {
            // A clock that was set is followed at once.
            Some(known) if (seen - known.target).abs() < JUMP => {
                let drift = (ntp - known.since).max(0) * DRIFT / 1_000_000;
                let target = seen.min(known.target + drift);
                Known { since: ntp.max(known.since), from: known.offset(ntp), target }
            }
            _ => Known { since: ntp, from: seen, target: seen },
        });
    }

    /// When a moment of the publisher's clock was.
    fn time(&self, ntp: i64) -> Option<i64> {
        self.0.map(|known| ntp + known.offset(ntp))
    }
}

impl Known {
    fn offset(&self, ntp: i64) -> i64 {
        let most = (ntp - self.since).max(0) * CORRECTION / 1_000_000;
        self.from + (self.target - self.from).clamp(-most, most)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    ticks: i64,
    last: Option<(u32, i64)>,
    /// A timestamp, continued, and when that was.
    anchor: Option<(i64, i64)>,
    report: Option<(i64, i64)>,
}

impl Timeline {
    pub(super) fn new(ticks: u32) -> Self {
        Self { ticks: ticks.into(), last: None, anchor: None, report: None }
    }

    /// Continues a timestamp over its wraps.
    pub(super) fn unwrap(&mut self, timestamp: u32) -> i64 {
        let continued = match self.last {
            Some((last, at)) => at + i64::from(timestamp.wrapping_sub(last).cast_signed()),
            None => timestamp.into(),
        };
        self.last = Some((timestamp, continued));
        continued
    }

    fn micros(&self, ticks: i64) -> i64 {
        ticks * 1_000_000 / self.ticks
    }

    /// Takes a sender report that came `at`.
    pub(super) fn report(&mut self, clock: &Clock, at: i64, reference: &mut Reference) {
        let ntp = micros_of_ntp(clock.ntp);
        reference.note(ntp, at);
        let rtp = match self.last {
            Some((last, known)) => known + i64::from(clock.rtp.wrapping_sub(last).cast_signed()),
            None => self.unwrap(clock.rtp),
        };
        self.report = Some((rtp, ntp));
    }

    /// Whether sender reports say when frames were taken.
    pub(super) fn is_known(&self, reference: Reference) -> bool {
        self.report.is_some() && reference.0.is_some()
    }

    /// Without reports: the frame that was on its way for the shortest time came at once.
    pub(super) fn guess(&mut self, frames: impl Iterator<Item = (i64, i64)>) {
        let fastest = frames.min_by_key(|&(timestamp, at)| at - self.micros(timestamp));
        if let (None, Some(fastest)) = (self.anchor, fastest) {
            self.anchor = Some(fastest);
        }
    }

    /// When a frame was taken that came `at`.
    pub(super) fn time(&mut self, timestamp: i64, at: i64, reference: Reference) -> i64 {
        let reported =
            self.report.and_then(|(rtp, ntp)| reference.time(ntp + self.micros(timestamp - rtp)));
        let reported = reported.filter(|time| (time - at).abs() < JUMP);
        let expected = self.anchor.map(|(known, then)| then + self.micros(timestamp - known));
        let expected = expected.filter(|time| (time - at).abs() < JUMP);
        let time = match (expected, reported) {
            (Some(expected), Some(reported)) => expected + (reported - expected).clamp(-STEP, STEP),
            (Some(time), None) | (None, Some(time)) => time,
            (None, None) => at,
        };
        self.anchor = Some((timestamp, time));
        time
    }
}

/// Microseconds since 1900.
fn micros_of_ntp(ntp: u64) -> i64 {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xFFFF_FFFF);
    let micros = seconds * 1_000_000 + ((fraction * 1_000_000) >> 32);
    i64::try_from(micros).unwrap_or(i64::MAX)
}
