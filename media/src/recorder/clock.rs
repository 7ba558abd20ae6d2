//! When a frame was taken: RTP timestamps become microseconds of the recording, by the publisher's sender reports, so that sound
//! and pictures fit together whatever way and time they took (RFC 3550 §6.4.1).

use crate::tap::Clock;

/// Timestamps further than this from when they came are a new beginning.
const JUMP: i64 = 10_000_000;
/// By how much the time of a frame is moved at most when the clock turns out to be another.
const STEP: i64 = 1_000;
/// A difference that is no inaccuracy: where sender reports and arrival say so, it is followed at once.
const FOLLOW: i64 = 200_000;
/// Nothing came for this long, and timestamps do not say so: either capture stood still, or packets were held up on their way.
const STALL: i64 = 600_000;
/// How long it is waited until one of these shows.
const DOUBT: i64 = 2_000_000;
/// By how much a frame moves what is thought of the time that frames are on their way.
const CREEP: i64 = 500;
/// What the publisher's clock may gain on ours, and how fast what was thought of it is corrected, in millionths.
const DRIFT: i64 = 300;
const CORRECTION: i64 = 5_000;

/// The publisher's clock against that of the recording: shared by all tracks of one connection, so that they stay together while
/// it is corrected. The report that was on its way for the shortest time is the most exact.
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
    /// A timestamp and the publisher's clock then, by its last report, and when that came.
    report: Option<Report>,
    /// The timestamp of the last frame, and when it came.
    came: Option<(i64, i64)>,
    /// How long frames are on their way, about the least.
    way: Option<i64>,
    /// The anchor is a guess: reports know better.
    guessed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    rtp: i64,
    ntp: i64,
    at: i64,
}

impl Timeline {
    pub(super) fn new(ticks: u32) -> Self {
        let ticks = ticks.into();
        let (last, anchor, report) = (None, None, None);
        Self { ticks, last, anchor, report, came: None, way: None, guessed: false }
    }

    /// Continues a timestamp over its wraps.
    pub(super) fn unwrap(&mut self, timestamp: u32) -> i64 {
        let continued = self.continued(timestamp);
        self.last = Some((timestamp, continued));
        continued
    }

    fn continued(&self, timestamp: u32) -> i64 {
        match self.last {
            Some((last, at)) => at + i64::from(timestamp.wrapping_sub(last).cast_signed()),
            None => timestamp.into(),
        }
    }

    fn micros(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / self.ticks
    }

    /// Takes a sender report that came `at`. A sender without a clock says 0 (RFC 3550 §6.4.1).
    pub(super) fn report(&mut self, clock: &Clock, at: i64, reference: &mut Reference) {
        if clock.ntp == 0 {
            return;
        }
        let ntp = micros_of_ntp(clock.ntp);
        reference.note(ntp, at);
        let rtp = match self.last {
            Some(_) => self.continued(clock.rtp),
            None => self.unwrap(clock.rtp),
        };
        self.report = Some(Report { rtp, ntp, at });
    }

    /// Whether sender reports say when frames were taken.
    pub(super) fn is_known(&self, reference: Reference) -> bool {
        self.report.is_some() && reference.0.is_some()
    }

    /// Without reports: the frame that was on its way for the shortest time came at once.
    pub(super) fn guess(&mut self, frames: impl Iterator<Item = (i64, i64)>) {
        if self.anchor.is_none() {
            self.begin(frames);
        }
    }

    fn begin(&mut self, frames: impl Iterator<Item = (i64, i64)>) {
        let fastest = frames.min_by_key(|&(timestamp, at)| at - self.micros(timestamp));
        if let Some((timestamp, at)) = fastest {
            self.anchor = Some((timestamp, at - self.way.unwrap_or(0)));
            self.guessed = true;
        }
    }

    /// By how much longer a frame that came `at` was on its way than the last one.
    fn later(&self, timestamp: i64, at: i64) -> i64 {
        self.came.map_or(0, |(last, then)| at - then - self.micros(timestamp - last))
    }

    /// Whether it is open when the first of `frames` was taken: nothing came for a while, of which its timestamp says nothing. Sender
    /// reports settle that, or frames behind it that came sooner, or that none did until `now`: then the timeline begins anew.
    pub(super) fn doubts(
        &mut self,
        frames: impl Iterator<Item = (u32, i64)>,
        now: i64,
        reference: Reference,
    ) -> bool {
        let mut frames = frames.map(|(timestamp, at)| (self.continued(timestamp), at)).peekable();
        let Some(&(timestamp, at)) = frames.peek() else { return false };
        let stands = self.came.is_some_and(|(_, then)| at - then >= STALL);
        if !stands || self.later(timestamp, at) < STALL || self.is_settled(timestamp, at, reference)
        {
            return false;
        }
        let frames: Vec<(i64, i64)> = frames.collect();
        if frames.iter().any(|&(timestamp, at)| self.later(timestamp, at) < STALL / 2) {
            return false;
        }
        if now < at + DOUBT {
            return true;
        }
        self.report = self.report.filter(|report| report.at >= at);
        self.begin(frames.into_iter());
        self.came = None;
        false
    }

    /// Whether a report says when a frame was taken that came late.
    fn is_settled(&self, timestamp: i64, at: i64, reference: Reference) -> bool {
        let (Some(report), Some(reported)) = (self.report, self.reported(timestamp, reference))
        else {
            return false;
        };
        let expected = self.expected(timestamp).unwrap_or(at);
        match (reported - expected).abs() < FOLLOW {
            // One from before knows nothing of it.
            true => report.at > at,
            false => self.fits(at, reported, expected),
        }
    }

    fn reported(&self, timestamp: i64, reference: Reference) -> Option<i64> {
        let Report { rtp, ntp, .. } = self.report?;
        reference.time(ntp.saturating_add(self.micros(timestamp - rtp)))
    }

    fn expected(&self, timestamp: i64) -> Option<i64> {
        self.anchor.map(|(known, then)| then.saturating_add(self.micros(timestamp - known)))
    }

    /// Whether a frame that came `at` was rather taken at the one time than at the other.
    fn fits(&self, at: i64, one: i64, other: i64) -> bool {
        let taken = at - self.way.unwrap_or(0);
        taken.abs_diff(one) < taken.abs_diff(other)
    }

    /// When a frame was taken that came `at`.
    pub(super) fn time(&mut self, timestamp: i64, at: i64, reference: Reference) -> i64 {
        let near = |time: &i64| time.abs_diff(at) < JUMP.unsigned_abs();
        let reported = self.reported(timestamp, reference).filter(near);
        let expected = self.expected(timestamp).filter(near);
        let time = match (expected, reported) {
            (Some(expected), Some(reported)) => self.between(timestamp, at, expected, reported),
            (Some(time), None) | (None, Some(time)) => time,
            (None, None) => at,
        };
        let way = self.way.unwrap_or(at - time);
        self.way = Some(way + (at - time - way).min(CREEP));
        self.anchor = Some((timestamp, time));
        self.came = Some((timestamp, at));
        time
    }

    fn between(&mut self, timestamp: i64, at: i64, expected: i64, reported: i64) -> i64 {
        let difference = reported - expected;
        if difference.abs() < FOLLOW {
            self.guessed = false;
            return expected + difference.clamp(-STEP, STEP);
        }
        // A clock that was set, or a report of something else, does not change when frames come.
        if !self.guessed && !self.fits(at, reported, expected) {
            return expected;
        }
        // Time does not go back: it goes slower.
        let since = self.anchor.map_or(0, |(known, _)| self.micros(timestamp - known));
        expected + difference.max(-(since.max(0) / 4))
    }
}

/// Microseconds since 1900.
fn micros_of_ntp(ntp: u64) -> i64 {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xFFFF_FFFF);
    let micros = seconds * 1_000_000 + ((fraction * 1_000_000) >> 32);
    i64::try_from(micros).unwrap_or(i64::MAX)
}
