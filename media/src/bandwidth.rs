//! How much a viewer's path takes: packets are numbered (transport-wide), feedback tells which arrived when, and a queue that
//! builds up, or loss, lowers what is believed. More is believed after a probe: a burst that shows how far the path spreads it.
//! What then fits is in [`allocate`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtcp::Twcc;
use crate::rtp::Unwrapper;

/// Bits in a second: the least and the most that is ever believed.
const LEAST: u64 = 80_000;
const MOST: u64 = 50_000_000;
/// Packets whose fate is not known yet.
const UNKNOWN: usize = 4096;
/// How long feedback may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Without feedback for so long an estimate says nothing any more.
const STALE: Duration = Duration::from_secs(5);
/// Over how long it is measured what arrives.
const ARRIVING: Duration = Duration::from_millis(200);
/// A path's delay without a queue is the least of so long (and the time before it).
const BASE: Duration = Duration::from_secs(5);
/// Microseconds of queue: below the first the path is free, above the second it is overused, above the third whether or not the
/// queue still grows.
const FREE: i64 = 25_000;
const QUEUED: i64 = 50_000;
const FULL: i64 = 150_000;
/// Bits in a second that a queue short of full leaves: a busy device answers late, too, and is not to lose all pictures for it.
const ENOUGH: u64 = 250_000;
/// What is kept of what arrives when a queue builds up, in percent.
const KEEP: u64 = 85;
/// Loss in percent: above the first nothing more is believed; above the second less, queue or not.
const LOSSY: u64 = 10;
const VERY_LOSSY: u64 = 25;
/// Packets that a share of loss is taken of.
const SAMPLE: u64 = 40;
/// How long a path must be quiet before more is tried, at first and after probes that found nothing.
const QUIET: Duration = Duration::from_secs(1);
const LONG_QUIET: Duration = Duration::from_secs(6);
/// How long a probe takes at the bitrate it asks about, and its packets at least and at most.
const PROBE: Duration = Duration::from_millis(15);
const PROBE_LEAST: u64 = 12;
const PROBE_MOST: u64 = 40;
/// Bytes of a packet that only probes, headers and tag included.
const PROBE_BYTES: u64 = 290;
/// How long the first probe's answer is waited for.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// Bits in a second that the first probe asks about.
const FIRST_PROBE: u64 = 3_000_000;

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    size: u16,
}

/// A burst on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Numbers of its packets: the first, and the one after the last.
    from: u64,
    to: u64,
    /// What it asks about.
    bits: u64,
    sent: Instant,
    /// When its packets arrived, and the bytes of all but the first.
    first: Option<Duration>,
    last: Duration,
    bytes: u64,
    arrived: u64,
}

/// The path to one viewer.
pub(crate) struct Bandwidth {
    next: u64,
    /// The packets with the numbers before `next`.
    sent: VecDeque<Sent>,
    /// Continues the numbers of feedback; they follow `next`.
    numbers: Unwrapper,
    numbered: bool,
    begun: Option<Instant>,
    fed_back: Option<Instant>,
    /// Bits in a second; `None` while nothing is known.
    estimate: Option<u64>,
    /// When packets arrived by the viewer's clock, and their bytes, for the last while.
    arriving: VecDeque<(Duration, u32)>,
    /// The least delay, in microseconds, of the time before and of now, and since when.
    base: (i64, i64, Option<Instant>),
    /// The queue at the last feedback and at the one before, in microseconds.
    queue: i64,
    queue_before: i64,
    /// Packets reported on, and those among them that were lost.
    reported: u64,
    lost: u64,
    lossy: bool,
    /// When the estimate was last lowered or raised, and how long to wait before more is tried.
    lowered: Option<Instant>,
    grown: Option<Instant>,
    quiet: Duration,
    probe: Option<Probe>,
    probed: Option<Instant>,
    remb: Option<(u64, Instant)>,
}

impl Bandwidth {
    pub(crate) fn new() -> Self {
        Self::from(0x1_0000)
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Knows nothing, and goes on with this number.
    pub(crate) fn from(next: u64) -> Self {
        Self {
            next,
            sent: VecDeque::new(),
            numbers: Unwrapper::default(),
            numbered: false,
            begun: None,
            fed_back: None,
            estimate: None,
            arriving: VecDeque::new(),
            base: (i64::MAX, i64::MAX, None),
            queue: 0,
            queue_before: 0,
            reported: 0,
            lost: 0,
            lossy: false,
            lowered: None,
            grown: None,
            quiet: QUIET,
            probe: None,
            probed: None,
            remb: None,
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

    /// Takes transport-wide feedback; whether less is believed now.
    pub(crate) fn feedback(&mut self, twcc: &Twcc<'_>, now: Instant) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let oldest = self.next - self.sent.len() as u64;
        let mut least: Option<i64> = None;
        let (numbers, sent, arriving) = (&self.numbers, &self.sent, &mut self.arriving);
        let (probe, reported, lost) = (&mut self.probe, &mut self.reported, &mut self.lost);
        twcc.each(|number, at| {
            let id = numbers.peek(number);
            let place = id.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
            let Some(sent) = place.and_then(|place| sent.get(place)) else { return };
            let probing = probe.as_mut().filter(|probe| (probe.from..probe.to).contains(&id));
            let Some(at) = at else {
                if probing.is_none() {
                    (*reported, *lost) = (*reported + 1, *lost + 1);
                }
                return;
            };
            let micros = i64::from(twcc.reference) * 64_000 + i64::from(at) * 250;
            let arrival = Duration::from_micros(micros.max(0).unsigned_abs());
            arriving.push_back((arrival, sent.size.into()));
            match probing {
                // A burst queues behind itself; it says nothing of the queue before it.
                Some(probe) => probe.note(arrival, sent.size),
                None => {
                    *reported += 1;
                    let delay = micros - since(begun, sent.at);
                    least = Some(least.map_or(delay, |least| least.min(delay)));
                }
            }
        });
        self.fed_back = Some(now);
        let newest = self.arriving.iter().map(|&(at, _)| at).max().unwrap_or_default();
        let old = newest.saturating_sub(ARRIVING);
        while self.arriving.front().is_some_and(|&(at, _)| at < old) {
            self.arriving.pop_front();
        }
        if let Some(least) = least {
            self.note_delay(least, now);
        }
        self.judge_probe(now);
        self.judge(now)
    }

    fn note_delay(&mut self, least: i64, now: Instant) {
        let (before, current, since) = &mut self.base;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= BASE) {
            (*before, *current, *since) = (*current, least, Some(now));
        }
        *current = (*current).min(least);
        self.queue_before = self.queue;
        self.queue = least.saturating_sub((*before).min(*current));
    }

    /// Bits in a second that arrive.
    fn arrives(&self) -> u64 {
        let bytes: u64 = self.arriving.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
        let span = match (self.arriving.front(), self.arriving.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_sub(*first),
            _ => Duration::ZERO,
        };
        bytes * 8_000 / u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(100)
    }

    /// Lowers or raises the estimate by what is known of queue and loss; whether it was lowered.
    fn judge(&mut self, now: Instant) -> bool {
        let mut loss = None;
        if self.reported >= SAMPLE {
            loss = Some(self.lost * 100 / self.reported);
            self.lossy = loss.is_some_and(|loss| loss > LOSSY);
            (self.reported, self.lost) = (0, 0);
        }
        let grows = self.queue >= self.queue_before;
        let overused = (self.queue > QUEUED && self.queue_before > QUEUED && grows)
            || (self.queue > 2 * QUEUED && grows)
            || self.queue > FULL;
        let losing =
            loss.is_some_and(|loss| loss > VERY_LOSSY || (loss > LOSSY && self.queue > FREE));
        if overused || losing {
            let hold = Duration::from_micros(200_000 + self.queue.unsigned_abs());
            if self.lowered.is_some_and(|at| now.saturating_duration_since(at) < hold) {
                return false;
            }
            let believed = self.estimate.unwrap_or(MOST).min(self.arrives());
            let least = if self.queue > FULL || losing { LEAST } else { ENOUGH };
            self.estimate = Some((believed * KEEP / 100).max(least));
            (self.lowered, self.grown) = (Some(now), Some(now));
            return true;
        }
        if let Some(estimate) = self.estimate {
            let passed = self.grown.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            self.grown = Some(now);
            // What is not used is not tried, and does not grow.
            if self.queue < FREE && !self.lossy && self.arrives() * 3 / 2 > estimate {
                let millis = u64::try_from(passed.as_millis()).unwrap_or(0).min(1000);
                self.estimate = Some((estimate + estimate * 6 * millis / 100_000).min(MOST));
            }
        }
        false
    }

    fn judge_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        let sent = probe.to - probe.from;
        let waited = now.saturating_duration_since(probe.sent) > PATIENCE;
        if probe.arrived < sent - sent / 8 && !waited {
            return;
        }
        self.probe = None;
        if probe.arrived * 2 < sent {
            self.quiet = (self.quiet * 3 / 2).min(LONG_QUIET);
            return;
        }
        let span = probe.first.map_or(Duration::ZERO, |first| probe.last.saturating_sub(first));
        // The clock of feedback counts quarters of a millisecond.
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1_000);
        let found = (probe.bytes * 8_000_000 / micros * KEEP / 100).clamp(LEAST, MOST);
        match self.estimate {
            None => self.estimate = Some(found),
            Some(estimate) if found > estimate => self.estimate = Some(found),
            Some(_) => {}
        }
        self.quiet = match found >= probe.bits {
            true => QUIET,
            false => (self.quiet * 3 / 2).min(LONG_QUIET),
        };
    }

    /// How many packets to send as a burst, to learn whether `bits` a second would pass; `None` when it is not the time.
    pub(crate) fn wants_probe(&self, bits: u64, now: Instant) -> Option<u64> {
        let last = self.lowered.into_iter().chain(self.probed).max();
        let early = last.is_some_and(|last| now.saturating_duration_since(last) < self.quiet);
        if early || self.probe.is_some() || self.queue >= FREE {
            return None;
        }
        let bits = if self.estimate.is_none() { FIRST_PROBE } else { bits };
        let bytes = bits / 8 * u64::try_from(PROBE.as_millis()).unwrap_or(0) / 1000;
        // What is found is believed in part.
        Some((bytes * 100 / KEEP / PROBE_BYTES).clamp(PROBE_LEAST, PROBE_MOST))
    }

    /// Whether the first answer to a probe may still come.
    pub(crate) fn is_probing(&self, now: Instant) -> bool {
        let fresh = |probe: Probe| now.saturating_duration_since(probe.sent) < FIRST_ANSWER;
        self.probe.is_some_and(fresh) && self.fed_back.is_none()
    }

    /// The next packets, up to [`Self::probe_ends`], are a probe.
    pub(crate) fn probe_begins(&mut self, bits: u64, now: Instant) {
        let from = self.next;
        self.probed = Some(now);
        self.probe = Some(Probe {
            from,
            to: from,
            bits,
            sent: now,
            first: None,
            last: Duration::ZERO,
            bytes: 0,
            arrived: 0,
        });
    }

    /// All packets of the probe are sent.
    pub(crate) fn probe_ends(&mut self) {
        let next = self.next;
        self.probe = self.probe.filter(|probe| next > probe.from);
        if let Some(probe) = &mut self.probe {
            probe.to = next;
        }
    }

    /// Believes `bits` a second without a probe, where none can be sent; what the path does not take shows soon.
    pub(crate) fn try_more(&mut self, bits: u64, now: Instant) {
        if self.wants_probe(bits, now).is_some() {
            self.probed = Some(now);
            self.estimate = self.estimate.map(|estimate| estimate.max(bits));
            self.quiet = (self.quiet * 3 / 2).min(2 * LONG_QUIET);
        }
    }

    /// Takes the receiver's own estimate.
    pub(crate) fn remb(&mut self, bitrate: f32, now: Instant) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float that does not fit becomes the nearest that does"
        )]
        let bitrate = (bitrate as u64).clamp(LEAST, MOST);
        self.remb = Some((bitrate, now));
    }

    /// Bits in a second that the path takes; `None` when nothing is known of it.
    pub(crate) fn estimate(&self, now: Instant) -> Option<u64> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < STALE;
        self.estimate
            .filter(|_| self.fed_back.is_some_and(fresh))
            .or(self.remb.filter(|&(_, at)| fresh(at)).map(|(bitrate, _)| bitrate))
    }
}

impl Probe {
    fn note(&mut self, arrival: Duration, size: u16) {
        match self.first {
            None => (self.first, self.last) = (Some(arrival), arrival),
            Some(_) => {
                self.last = self.last.max(arrival);
                self.bytes += u64::from(size);
            }
        }
        self.arrived += 1;
    }
}

/// Microseconds from `begun` to `at`, which may be earlier.
fn since(begun: Instant, at: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match at.checked_duration_since(begun) {
        Some(after) => micros(after),
        None => -micros(begun.saturating_duration_since(at)),
    }
}

/// What is known of a track that a viewer could get more or less of.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The better, the earlier it gets more.
    pub(crate) priority: u8,
    /// Bits in a second of each layer that is sent, the worst first, with its place.
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
            let Some(&(_, wanted)) = candidate.layers.get(step) else { continue };
            let before = reached.and_then(|step| candidate.layers.get(step));
            let more = wanted.saturating_sub(before.map_or(0, |&(_, bits)| bits));
            let held = candidate.layers.iter().position(|&(it, _)| Some(it) == candidate.current);
            let upward = held.is_none_or(|held| step > held);
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
