//! How much a viewer's path takes: packets are numbered (transport-wide), feedback tells which arrived when, and the Google
//! Congestion Control of `rtc-interceptor` makes a bitrate of it. What then fits is in [`allocate`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_interceptor::{BandwidthEstimator as _, Gcc, PacketReport};
use rtc_rtcp::transport_feedbacks::cc_feedback_report::Ecn;

use crate::layer::Rate;
use crate::rtcp::Twcc;
use crate::rtp::Unwrapper;

/// Bits in a second: what is believed before anything is known, and the least and the most that ever is. It begins high: what a
/// path does not take shows at once, and what it would take does not show until it is sent.
const INITIAL: f64 = 20_000_000.0;
const LEAST: f64 = 80_000.0;
const MOST: f64 = 50_000_000.0;
/// Packets whose fate is not known yet.
const UNKNOWN: usize = 4096;
/// How long feedback may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a path must be quiet before more is tried, at first and after trials that failed.
const QUIET: Duration = Duration::from_millis(2500);
const LONG_QUIET: Duration = Duration::from_secs(20);
/// A trial that is followed by trouble so soon has failed.
const TRIAL: Duration = Duration::from_secs(4);
/// Without feedback for so long an estimate says nothing any more.
const STALE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    size: u16,
}

/// The path to one viewer.
pub(crate) struct Bandwidth {
    next: u64,
    /// The packets with the numbers before `next`.
    sent: VecDeque<Sent>,
    /// Continues the numbers of feedback; they follow `next`.
    numbers: Unwrapper,
    gcc: Option<Box<Gcc>>,
    reports: Vec<PacketReport>,
    fed_back: Option<Instant>,
    /// Bits in a second that arrive.
    arrives: Rate,
    /// When the estimate fell last, and how long to wait before more is tried.
    trouble: Option<Instant>,
    quiet: Duration,
    /// What is tried beyond the estimate, and since when.
    trial: Option<(u64, Instant)>,
    remb: Option<(u64, Instant)>,
    numbered: bool,
}

impl Bandwidth {
    pub(crate) fn new() -> Self {
        Self {
            next: 0x1_0000,
            sent: VecDeque::new(),
            numbers: Unwrapper::default(),
            gcc: None,
            reports: Vec::new(),
            fed_back: None,
            arrives: Rate::default(),
            trouble: None,
            quiet: QUIET,
            trial: None,
            remb: None,
            numbered: false,
        }
    }

    /// The number of the packet that is being written.
    #[expect(clippy::cast_possible_truncation, reason = "the number on the wire")]
    pub(crate) fn number(&mut self) -> u16 {
        self.numbered = true;
        self.next as u16
    }

    /// Notes that the packet was sent.
    pub(crate) fn sent(&mut self, size: usize, now: Instant) {
        if !std::mem::take(&mut self.numbered) {
            return;
        }
        let old = |sent: &Sent| now.saturating_duration_since(sent.at) > PATIENCE;
        while self.sent.len() >= UNKNOWN || self.sent.front().is_some_and(old) {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { at: now, size: u16::try_from(size).unwrap_or(u16::MAX) });
        self.numbers.note(self.next);
        self.next += 1;
    }

    /// Takes transport-wide feedback; returns the round trip it implies.
    pub(crate) fn feedback(&mut self, twcc: &Twcc<'_>, now: Instant) -> Option<Duration> {
        let oldest = self.next - self.sent.len() as u64;
        let mut reports = std::mem::take(&mut self.reports);
        reports.clear();
        let mut newest = None;
        twcc.each(|number, at| {
            let id = self.numbers.peek(number);
            let place = id.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
            let Some(sent) = place.and_then(|place| self.sent.get(place)) else { return };
            let micros =
                i64::from(twcc.reference) * 64_000 + at.map_or(0, |at| i64::from(at) * 250);
            let arrival = at.map(|_| Duration::from_micros(micros.max(0).unsigned_abs()));
            if arrival.is_some() {
                newest = Some(sent.at);
                self.arrives.add(sent.size.into(), now);
            }
            reports.push(PacketReport {
                ssrc: 0,
                id,
                rtp_sequence_number: number,
                is_twcc: true,
                twcc_sequence_number: number,
                size: sent.size.into(),
                arrived: arrival.is_some(),
                departure: sent.at,
                arrival,
                ecn: Ecn::default(),
            });
        });
        if !reports.is_empty() {
            self.fed_back = Some(now);
            let gcc = self.gcc.get_or_insert_with(|| Box::new(Gcc::new(INITIAL, LEAST, MOST)));
            let before = gcc.target_bitrate();
            gcc.on_reports(now, &reports);
            if gcc.target_bitrate() < before * 0.98 {
                self.troubled(now);
            }
        }
        self.reports = reports;
        newest.map(|sent| now.saturating_duration_since(sent))
    }

    /// The estimate has fallen.
    fn troubled(&mut self, now: Instant) {
        self.trouble = Some(now);
        if let Some((_, since)) = self.trial.take() {
            let failed = now.saturating_duration_since(since) < TRIAL;
            self.quiet = if failed { (self.quiet * 2).min(LONG_QUIET) } else { QUIET };
        }
        // Loss lets the estimate fall step by step; from far above what arrives that takes too long.
        #[expect(clippy::cast_precision_loss, reason = "bits in a second")]
        let arrives = self.arrives.bits_per_second() as f64;
        if let Some(gcc) =
            self.gcc.as_mut().filter(|gcc| arrives > LEAST && gcc.target_bitrate() > 2.0 * arrives)
        {
            **gcc = Gcc::new(arrives, LEAST, MOST);
        }
    }

    /// More would be sent if it fitted, `bits` a second in all: tries it when the path was quiet for a while.
    pub(crate) fn try_more(&mut self, bits: u64, now: Instant) {
        let last = self.trouble.into_iter().chain(self.trial.map(|(_, since)| since)).max();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= self.quiet) {
            self.trial = Some((bits, now));
        }
    }

    /// Takes the receiver's own estimate.
    pub(crate) fn remb(&mut self, bitrate: f32, now: Instant) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let bitrate = f64::from(bitrate).clamp(LEAST, MOST) as u64;
        self.remb = Some((bitrate, now));
    }

    /// Bits in a second that the path takes; `None` when nothing is known of it.
    pub(crate) fn estimate(&self, now: Instant) -> Option<u64> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < STALE;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let estimated = self
            .gcc
            .as_ref()
            .filter(|_| self.fed_back.is_some_and(fresh))
            .map(|gcc| gcc.target_bitrate() as u64)
            .map(|estimate| estimate.max(self.trial.map_or(0, |(bits, _)| bits)));
        estimated.or(self.remb.filter(|&(_, at)| fresh(at)).map(|(bitrate, _)| bitrate))
    }
}

/// What is known of a track that a viewer could get more or less of.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The better, the earlier it gets more.
    pub(crate) priority: u8,
    /// Bits in a second of each layer that is sent, the lowest first, with its place.
    pub(crate) layers: Vec<(u8, u64)>,
    /// The layer it gets now.
    pub(crate) current: Option<u8>,
}

/// Bits that a step upward needs beyond its own, in percent: what just fits now may not in a moment.
const HEADROOM: u64 = 10;

/// Shares `bits` among `candidates`: first each its lowest layer, those of high priority first, then step by step upward.
/// The result has the layer of each, `None` where not even the lowest fits.
pub(crate) fn allocate(bits: u64, candidates: &[Candidate]) -> Vec<Option<u8>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&place| {
        std::cmp::Reverse(candidates.get(place).map_or(0, |candidate| candidate.priority))
    });
    let mut left = bits;
    let mut steps: Vec<Option<usize>> = vec![None; candidates.len()];
    let most = candidates.iter().map(|candidate| candidate.layers.len()).max().unwrap_or(0);
    for step in 0..most {
        for &place in &order {
            let (Some(candidate), Some(reached)) = (candidates.get(place), steps.get_mut(place))
            else {
                continue;
            };
            if *reached != step.checked_sub(1) {
                continue;
            }
            let Some(&(layer, wanted)) = candidate.layers.get(step) else { continue };
            let before = reached.and_then(|step| candidate.layers.get(step));
            let more = wanted.saturating_sub(before.map_or(0, |&(_, bits)| bits));
            let upward = candidate.current.is_none_or(|current| layer > current);
            let needed = if upward { more + wanted * HEADROOM / 100 } else { more };
            if needed <= left {
                left -= more;
                *reached = Some(step);
            }
        }
    }
    let layer = |(candidate, step): (&Candidate, Option<usize>)| {
        candidate.layers.get(step?).map(|&(layer, _)| layer)
    };
    candidates.iter().zip(steps).map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(priority: u8, current: Option<u8>) -> Candidate {
        Candidate { priority, layers: vec![(0, 150_000), (1, 500_000), (2, 1_500_000)], current }
    }

    #[test]
    fn everybody_gets_the_lowest_layer_before_anybody_gets_more() {
        let two = [camera(128, None), camera(128, None)];
        assert_eq!(allocate(100_000, &two), [None, None]);
        assert_eq!(allocate(200_000, &two), [Some(0), None]);
        assert_eq!(allocate(400_000, &two), [Some(0), Some(0)]);
        assert_eq!(allocate(800_000, &two), [Some(1), Some(0)]);
        assert_eq!(allocate(9_000_000, &two), [Some(2), Some(2)]);
    }

    #[test]
    fn priority_comes_first_and_a_step_up_needs_headroom() {
        let two = [camera(1, None), camera(200, None)];
        assert_eq!(allocate(200_000, &two), [None, Some(0)]);
        assert_eq!(allocate(510_000, &[camera(1, Some(0))]), [Some(0)]);
        assert_eq!(allocate(510_000, &[camera(1, Some(1))]), [Some(1)], "it has it already");
    }
}
