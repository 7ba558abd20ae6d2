//! How much a viewer's path takes: packets are numbered (transport-wide), feedback says which arrived when, and a queue that
//! builds up, or loss, lowers what is believed. More is believed after a probe: a burst that shows how far the path spreads it.
//! What then fits is in [`allocate`].

mod allocation;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(crate) use self::allocation::{Candidate, allocate};
use crate::numbers::{BitRate, TransportNumber};
use crate::rtcp::Twcc;
use crate::rtp::Unwrapper;

/// Bits in a second: the least and the most that is ever believed.
const LEAST: BitRate = BitRate(80_000);
const MOST: BitRate = BitRate(50_000_000);
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
const ENOUGH: BitRate = BitRate(250_000);
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
const FIRST_PROBE: BitRate = BitRate(3_000_000);

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    size: u16,
    fate: Fate,
}

/// What feedback says of a packet. It may say it again, and a packet that is late is first reported as lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Unknown,
    Lost,
    Arrived,
}

/// A viewer's clock as feedback shows it: the reference time has 24 bits and begins anywhere.
#[derive(Clone, Copy, Debug, Default)]
struct ViewerClock {
    /// The last reference, continued, in 64 ms.
    reference: Option<i64>,
}

impl ViewerClock {
    /// Microseconds by the viewer's clock at a reference: the time nearest to that of the last one.
    fn micros(&mut self, reference: u32) -> i64 {
        let continued = match self.reference {
            None => i64::from(reference),
            Some(last) => {
                #[expect(clippy::cast_possible_truncation, reason = "modulo 2^24")]
                let ahead = reference.wrapping_sub(last as u32) << 8;
                last.wrapping_add(i64::from(ahead.cast_signed() >> 8))
            }
        };
        self.reference = Some(continued);
        continued.wrapping_mul(64_000)
    }
}

/// A burst on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// Numbers of its packets: the first, and the one after the last.
    from: TransportNumber,
    to: TransportNumber,
    /// What it asks about.
    rate: BitRate,
    sent: Instant,
    /// When its packets arrived, in microseconds by the viewer's clock, and the bytes of all but the first.
    first: Option<i64>,
    last: i64,
    bytes: u64,
    arrived: u64,
}

/// The path to one viewer.
pub(crate) struct Bandwidth {
    next: TransportNumber,
    /// The packets with the numbers before `next`.
    sent: VecDeque<Sent>,
    /// Continues the numbers of feedback; they follow `next`.
    numbers: Unwrapper,
    numbered: bool,
    begun: Option<Instant>,
    fed_back: Option<Instant>,
    /// `None` while nothing is known.
    estimate: Option<BitRate>,
    clock: ViewerClock,
    /// When packets arrived, in microseconds by the viewer's clock, and their bytes, for the last while.
    arriving: VecDeque<(i64, u32)>,
    /// The last arrival.
    newest: Option<i64>,
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
    remb: Option<(BitRate, Instant)>,
}

impl Bandwidth {
    pub(crate) fn new() -> Self {
        Self::from(TransportNumber::FIRST)
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> TransportNumber {
        self.next
    }

    /// Knows nothing, and goes on with this number.
    pub(crate) fn from(next: TransportNumber) -> Self {
        Self {
            next,
            sent: VecDeque::new(),
            numbers: Unwrapper::default(),
            numbered: false,
            begun: None,
            fed_back: None,
            estimate: None,
            clock: ViewerClock::default(),
            arriving: VecDeque::new(),
            newest: None,
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
    pub(crate) fn number(&mut self) -> u16 {
        self.numbered = true;
        self.next.wire()
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
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        self.sent.push_back(Sent { at: now, size, fate: Fate::Unknown });
        self.numbers.note(self.next.0);
        self.next = self.next.plus(1);
    }

    /// Takes transport-wide feedback; whether less is believed now.
    pub(crate) fn feedback(&mut self, twcc: &Twcc<'_>, now: Instant) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let reference = self.clock.micros(twcc.reference);
        let oldest = self.next.minus(self.sent.len() as u64);
        let (mut least, mut latest): (Option<i64>, Option<i64>) = (None, None);
        let (numbers, sent, arriving) = (&self.numbers, &mut self.sent, &mut self.arriving);
        let (probe, reported, lost) = (&mut self.probe, &mut self.reported, &mut self.lost);
        twcc.each(|number, at| {
            let id = TransportNumber(numbers.peek(number));
            let place = id.since(oldest).and_then(|place| usize::try_from(place).ok());
            let Some(sent) = place.and_then(|place| sent.get_mut(place)) else { return };
            let probing = probe.as_mut().filter(|probe| (probe.from..probe.to).contains(&id));
            let before = sent.fate;
            let Some(at) = at else {
                if before == Fate::Unknown {
                    sent.fate = Fate::Lost;
                    let counts = u64::from(probing.is_none());
                    (*reported, *lost) = (*reported + counts, *lost + counts);
                }
                return;
            };
            if before == Fate::Arrived {
                return;
            }
            sent.fate = Fate::Arrived;
            let arrival = reference.saturating_add(i64::from(at) * 250);
            latest = latest.max(Some(arrival));
            arriving.push_back((arrival, sent.size.into()));
            match probing {
                // A burst queues behind itself; it says nothing of the queue before it.
                Some(probe) => probe.note(arrival, sent.size),
                None => {
                    if before == Fate::Lost {
                        *lost = lost.saturating_sub(1);
                    } else {
                        *reported += 1;
                    }
                    let delay = arrival.saturating_sub(since(begun, sent.at));
                    least = Some(least.map_or(delay, |least| least.min(delay)));
                }
            }
        });
        self.fed_back = Some(now);
        if let Some(latest) = latest {
            self.forget_arrivals(latest);
        }
        if let Some(least) = least {
            self.note_delay(least, now);
        }
        self.judge_probe(now);
        self.judge(now)
    }

    /// Keeps what arrived in the last while before the newest arrival; `latest` is the last one of a feedback.
    fn forget_arrivals(&mut self, latest: i64) {
        // Feedback that was overtaken is a little older; a clock that was set is somewhere else.
        let overtaken =
            |newest: &i64| (0..micros(PATIENCE)).contains(&newest.saturating_sub(latest));
        let newest = self.newest.filter(overtaken).unwrap_or(latest);
        let lately = newest.saturating_sub(micros(ARRIVING))..=newest;
        self.newest = Some(newest);
        self.arriving.retain(|(at, _)| lately.contains(at));
        let surplus = self.arriving.len().saturating_sub(UNKNOWN);
        self.arriving.drain(..surplus);
    }

    fn note_delay(&mut self, least: i64, now: Instant) {
        let (before, current, since) = &mut self.base;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= BASE) {
            (*before, *current, *since) = (*current, least, Some(now));
        }
        // Of packets that are so late nothing is known any more: it is the clock that was set.
        if least.saturating_sub((*before).min(*current)) > micros(PATIENCE) && *current != i64::MAX
        {
            (*before, *current, *since) = (i64::MAX, least, Some(now));
        }
        *current = (*current).min(least);
        self.queue_before = self.queue;
        self.queue = least.saturating_sub((*before).min(*current));
    }

    /// Bits in a second that arrive.
    fn arrives(&self) -> BitRate {
        let bytes: u64 = self.arriving.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
        let first = self.arriving.iter().map(|&(at, _)| at).min();
        let span = self.newest.zip(first).map_or(0, |(newest, first)| newest.saturating_sub(first));
        let span = Duration::from_micros(u64::try_from(span).unwrap_or(0));
        BitRate::of(bytes, span.max(Duration::from_millis(100)))
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
            self.estimate = Some(believed.percent(KEEP).max(least));
            (self.lowered, self.grown) = (Some(now), Some(now));
            return true;
        }
        if let Some(estimate) = self.estimate {
            let passed = self.grown.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            self.grown = Some(now);
            // What is not used is not tried, and does not grow.
            if self.queue < FREE && !self.lossy && self.arrives().percent(150) > estimate {
                let millis = u64::try_from(passed.as_millis()).unwrap_or(0).min(1000);
                let more = estimate.percent(6 * millis).part(1000);
                self.estimate = Some((estimate + more).min(MOST));
            }
        }
        false
    }

    fn judge_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        let sent = probe.to.since(probe.from).unwrap_or(0);
        let waited = now.saturating_duration_since(probe.sent) > PATIENCE;
        if probe.arrived < sent - sent / 8 && !waited {
            return;
        }
        self.probe = None;
        if probe.arrived * 2 < sent {
            self.quiet = (self.quiet * 3 / 2).min(LONG_QUIET);
            return;
        }
        let span = probe.first.map_or(0, |first| probe.last.saturating_sub(first));
        // The clock of feedback counts quarters of a millisecond.
        let span = Duration::from_micros(u64::try_from(span).unwrap_or(0).max(1_000));
        let found = BitRate::of(probe.bytes, span).percent(KEEP).clamp(LEAST, MOST);
        match self.estimate {
            None => self.estimate = Some(found),
            Some(estimate) if found > estimate => self.estimate = Some(found),
            Some(_) => {}
        }
        self.quiet = match found >= probe.rate {
            true => QUIET,
            false => (self.quiet * 3 / 2).min(LONG_QUIET),
        };
    }

    /// How many packets to send as a burst, to learn whether `rate` would pass; `None` when it is not the time.
    pub(crate) fn wants_probe(&self, rate: BitRate, now: Instant) -> Option<u64> {
        let last = self.lowered.into_iter().chain(self.probed).max();
        let early = last.is_some_and(|last| now.saturating_duration_since(last) < self.quiet);
        if early || self.probe.is_some() || self.queue >= FREE {
            return None;
        }
        let rate = if self.estimate.is_none() { FIRST_PROBE } else { rate };
        let bytes = rate.bytes_in(PROBE);
        // What is found is believed in part.
        Some((bytes * 100 / KEEP / PROBE_BYTES).clamp(PROBE_LEAST, PROBE_MOST))
    }

    /// Whether the first answer to a probe may still come.
    pub(crate) fn is_probing(&self, now: Instant) -> bool {
        let fresh = |probe: Probe| now.saturating_duration_since(probe.sent) < FIRST_ANSWER;
        self.probe.is_some_and(fresh) && self.fed_back.is_none()
    }

    /// The next packets, up to [`Self::probe_ends`], are a probe.
    pub(crate) fn probe_begins(&mut self, rate: BitRate, now: Instant) {
        let from = self.next;
        self.probed = Some(now);
        self.probe = Some(Probe {
            from,
            to: from,
            rate,
            sent: now,
            first: None,
            last: 0,
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

    /// Believes `rate` without a probe, where none can be sent; what the path does not take shows soon.
    pub(crate) fn try_more(&mut self, rate: BitRate, now: Instant) {
        if self.wants_probe(rate, now).is_some() {
            self.probed = Some(now);
            self.estimate = self.estimate.map(|estimate| estimate.max(rate));
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
        let bitrate = BitRate(bitrate as u64).clamp(LEAST, MOST);
        self.remb = Some((bitrate, now));
    }

    /// What the path takes; `None` when nothing is known of it.
    pub(crate) fn estimate(&self, now: Instant) -> Option<BitRate> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < STALE;
        self.estimate
            .filter(|_| self.fed_back.is_some_and(fresh))
            .or(self.remb.filter(|&(_, at)| fresh(at)).map(|(bitrate, _)| bitrate))
    }
}

impl Probe {
    fn note(&mut self, arrival: i64, size: u16) {
        match self.first {
            None => (self.first, self.last) = (Some(arrival), arrival),
            Some(first) => {
                (self.first, self.last) = (Some(first.min(arrival)), self.last.max(arrival));
                self.bytes += u64::from(size);
            }
        }
        self.arrived += 1;
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds from `begun` to `at`, which may be earlier.
fn since(begun: Instant, at: Instant) -> i64 {
    match at.checked_duration_since(begun) {
        Some(after) => micros(after),
        None => -micros(begun.saturating_duration_since(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dtls::tests::noon;
    use crate::rtcp::{Compound, Rtcp, read};

    /// A path of packets of 300 bytes, one a millisecond, whose viewer's clock is anything at the beginning.
    struct Path {
        bandwidth: Bandwidth,
        now: Instant,
        /// The viewer's clock, in quarters of a millisecond.
        clock: i64,
        waiting: Vec<Option<i64>>,
        most: usize,
    }

    impl Path {
        fn new(reference: i64) -> Self {
            let (bandwidth, clock) = (Bandwidth::new(), reference * 256);
            Self { bandwidth, now: noon(), clock, waiting: Vec::new(), most: 0 }
        }

        /// Sends for so long, with feedback every 50 packets, one of which is lost in so many.
        fn run(&mut self, milliseconds: u64, loss: u64) {
            for n in 1..=milliseconds {
                self.send(n % loss != 0);
                if n % 50 == 0 {
                    self.feed_back();
                }
            }
        }

        fn send(&mut self, arrives: bool) {
            self.now += Duration::from_millis(1);
            self.clock += 4;
            self.bandwidth.number();
            self.bandwidth.sent(300, self.now);
            self.waiting.push(arrives.then_some(self.clock));
        }

        fn feed_back(&mut self) {
            let waiting = std::mem::take(&mut self.waiting);
            self.report(self.bandwidth.next().minus(waiting.len() as u64), &waiting);
        }

        fn report(&mut self, base: TransportNumber, arrivals: &[Option<i64>]) {
            let reference = arrivals.iter().flatten().min().unwrap().div_euclid(256);
            let relative: Vec<_> =
                arrivals.iter().map(|at| at.map(|at| at - reference * 256)).collect();
            let place = (0, base.wire(), (reference & 0xFF_FFFF) as u32);
            let mut out = Vec::new();
            assert_eq!(Compound::new(&mut out, 1, &[]).twcc(9, place, &relative), arrivals.len());
            read(&out, |said| {
                if let Rtcp::Twcc(twcc) = said {
                    self.bandwidth.feedback(&twcc, self.now);
                }
            });
            self.most = self.most.max(self.bandwidth.arriving.len());
        }

        /// Sends a probe that the path spreads over 16 ms.
        fn probe(&mut self) {
            self.bandwidth.probe_begins(BitRate(1_000_000), self.now);
            (0..16).for_each(|_| self.send(true));
            self.bandwidth.probe_ends();
            self.feed_back();
        }
    }

    /// References of which the wire shows 24 bits: small ones, and just before each of the two wraps.
    const REFERENCES: [i64; 6] =
        [0, 0x7F_FFF0, 0x80_0001, 0xBF_0000, 0xFF_FFF0, 52 * 0x100_0000 - 5];

    #[test]
    fn a_viewers_clock_may_have_run_for_weeks_and_wrap_inside_a_call() {
        for reference in REFERENCES {
            let mut path = Path::new(reference);
            path.run(1_000, 1_000);
            path.probe();
            // 15 packets after the first, in 15 ms, and what is believed of it.
            let found = path.bandwidth.estimate(path.now).unwrap().0;
            assert!((1_900_000..2_200_000).contains(&found), "{reference:#x}: {found}");
            path.run(3_000, 1_000);
            assert!(path.most <= 201, "{reference:#x}: {} arrivals are kept", path.most);
            let arrives = path.bandwidth.arrives().0;
            assert!((2_300_000..2_600_000).contains(&arrives), "{reference:#x}: {arrives}");
            assert!(path.bandwidth.queue < FREE, "{reference:#x}: {}", path.bandwidth.queue);
            assert!(path.bandwidth.lowered.is_none(), "{reference:#x}");
        }
    }

    #[test]
    fn feedback_that_is_repeated_overtaken_or_goes_backward_counts_each_packet_once() {
        for reference in REFERENCES {
            let mut path = Path::new(reference);
            path.run(500, 1_000);
            let mut pieces = Vec::new();
            for piece in 0..4 {
                let base = path.bandwidth.next();
                (0..20).for_each(|n| path.send(n != 7));
                let mut arrivals = std::mem::take(&mut path.waiting);
                if piece == 2 {
                    // The path turned them round.
                    arrivals.reverse();
                }
                pieces.push((base, arrivals));
            }
            let (reported, lost) = (path.bandwidth.reported, path.bandwidth.lost);
            (path.bandwidth.reported, path.bandwidth.lost) = (0, 0);
            assert!(reported < SAMPLE && lost == 0);
            for piece in [1, 0, 1, 0] {
                let (base, arrivals) = &pieces[piece];
                path.report(*base, arrivals);
            }
            let shares = (path.bandwidth.reported, path.bandwidth.lost, path.bandwidth.lossy);
            assert_eq!(shares, (0, 0, false), "40 of them are a sample, 2 of them lost");
            for piece in [3, 2, 0, 3, 2, 1] {
                let (base, arrivals) = &pieces[piece];
                path.report(*base, arrivals);
            }
            let bytes: u32 = path.bandwidth.arriving.iter().map(|(_, bytes)| bytes).sum();
            assert!((190 * 300..=201 * 300).contains(&bytes), "{reference:#x}: {bytes}");
            assert!(path.bandwidth.queue < FREE && path.bandwidth.lowered.is_none());
        }
    }

    #[test]
    fn a_packet_that_is_reported_late_was_not_lost() {
        let mut path = Path::new(0x7F_FFFF);
        let base = path.bandwidth.next();
        (0..20).for_each(|_| path.send(true));
        let arrivals = std::mem::take(&mut path.waiting);
        let first: Vec<_> =
            arrivals.iter().enumerate().map(|(n, &at)| at.filter(|_| n % 2 == 0)).collect();
        path.report(base, &first);
        assert_eq!((path.bandwidth.reported, path.bandwidth.lost), (20, 10));
        path.report(base, &arrivals);
        assert_eq!((path.bandwidth.reported, path.bandwidth.lost), (20, 0));
    }

    #[test]
    fn a_clock_that_is_set_is_not_taken_for_a_queue() {
        // Five minutes, and four days: forward and back.
        for jump in [5 * 60_000 * 4, 4 * 86_400_000 * 4] {
            for jump in [jump, -jump] {
                let mut path = Path::new(0x80_0000);
                path.run(1_000, 1_000);
                path.probe();
                let believed = path.bandwidth.estimate(path.now).unwrap();
                path.clock += jump;
                path.run(2_000, 1_000);
                let later = path.bandwidth.estimate(path.now).unwrap();
                assert!(later >= believed, "{jump}: {believed:?} became {later:?}");
                assert!(path.most <= 201, "{jump}: {} arrivals are kept", path.most);
            }
        }
    }

    #[test]
    fn many_packets_at_one_moment_are_bounded_by_their_number() {
        let mut path = Path::new(0x80_0000);
        for _ in 0..100 {
            for _ in 0..100 {
                path.bandwidth.number();
                path.bandwidth.sent(300, path.now);
            }
            let at = Some(path.clock);
            path.report(path.bandwidth.next().minus(100), &[at; 100]);
        }
        assert_eq!(path.most, UNKNOWN);
    }
}
