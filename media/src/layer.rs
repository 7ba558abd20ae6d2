//! One stream of RTP as it comes in: what is missing, how it fares (RFC 3550 §6.4.1 and appendix A), how many bits it has, and
//! whether a keyframe is to be asked for.

mod rate;
mod seen;

use std::time::{Duration, Instant};

use self::rate::Rate;
use self::seen::Seen;
use crate::codec::{Format, Frame, Picture};
use crate::dependency::{Indication, SPATIAL, Structure};
use crate::history::History;
use crate::numbers::{BitRate, Extended, MediaTime};
use crate::rtcp::ReportBlock;
use crate::rtp::Unwrapper;
use crate::stats::Incoming;
use crate::succession::{SourceState, Succession};

/// Missing packets that are asked for at the same time.
const MISSING: usize = 256;
/// A packet is asked for this often, and no longer than this.
const ASKED: u8 = 8;
const PATIENCE: Duration = Duration::from_millis(800);
/// The pause between two requests for the same packet.
const AGAIN: Duration = Duration::from_millis(60);
/// After so long no retransmission of a stream that was replaced is on its way.
const LATE: Duration = Duration::from_secs(1);
/// The pause between two keyframe requests.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(500);
/// A layer without packets for so long is one that the publisher does not send.
const SILENT: Duration = Duration::from_millis(1500);

/// NTP and RTP time of the publisher at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockPair {
    /// 32.32 fixed point seconds since 1900, by the publisher's clock.
    pub(crate) ntp: u64,
    pub(crate) rtp: MediaTime,
    /// When it arrived.
    pub(crate) at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: Extended,
    since: Instant,
    next: Instant,
    asked: u8,
}

/// A stream that a publisher sends; one of several with simulcast.
#[derive(Debug)]
pub(crate) struct Layer {
    /// SSRCs that media came from, and that retransmissions come from.
    sources: Succession<u32>,
    rtx: Option<u32>,
    /// The SSRC of retransmissions of the stream before, and when this one began.
    replaced: (Option<u32>, Option<Instant>),
    /// Parameter sets that came last: the number behind them, their RTP timestamp, and how many packets they are.
    prelude: (Extended, MediaTime, u8),
    /// What its newest packet is coded with.
    pub(crate) coded: Option<Format>,
    pub(crate) history: History,
    pub(crate) clock: Option<ClockPair>,
    numbers: Unwrapper,
    /// Added to this stream's numbers, so that they follow those of all streams before it.
    offset: u64,
    first: Extended,
    seen: Seen,
    missing: Vec<Missing>,
    /// Packets received, each once, those that came by retransmission included.
    received: u64,
    reported: (u64, u64),
    transit: Option<u32>,
    jitter: f64,
    rate: Rate,
    last: Option<Instant>,
    /// Width times height of its last keyframe, where that says.
    pub(crate) pixels: Option<u32>,
    /// What it is made of, where a dependency descriptor says so.
    pub(crate) scalable: Option<Box<Scalable>>,
    keyframe_wanted: bool,
    keyframe_asked: Option<Instant>,
    /// The number of the last full intra request (RFC 5104 §4.3.1.1).
    pub(crate) intra_request: u8,
    /// Keyframe requests and requests for packets that were sent.
    pub(crate) keyframe_requests: u64,
    pub(crate) nacks: u64,
    pub(crate) stats: Incoming,
}

/// What a packet is to its layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// It is worth keeping.
    New(Extended),
    /// It is too late or was there.
    Useless,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self {
            sources: Succession::default(),
            rtx: None,
            replaced: (None, None),
            prelude: (Extended::default(), MediaTime::default(), 0),
            coded: None,
            history: History::default(),
            clock: None,
            numbers: Unwrapper::default(),
            offset: 0,
            first: Extended::default(),
            seen: Seen::default(),
            missing: Vec::new(),
            received: 0,
            reported: (0, 0),
            transit: None,
            jitter: 0.0,
            rate: Rate::default(),
            last: None,
            pixels: None,
            scalable: None,
            keyframe_wanted: false,
            keyframe_asked: None,
            intra_request: 0,
            keyframe_requests: 0,
            nacks: 0,
            stats: Incoming::default(),
        }
    }

    /// One whose numbers follow others.
    pub(crate) fn after(offset: u64) -> Self {
        Self { offset, ..Self::new() }
    }

    /// What another stream adds to its numbers, so that they follow those of this one.
    pub(crate) fn next_offset(&self) -> u64 {
        self.offset + self.numbers.highest().map_or(0, Extended::whole_cycles)
    }

    /// The SSRC that it comes from.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.sources.current()
    }

    /// Where it comes from, as another worker knows it.
    pub(crate) fn comes_from(&mut self, ssrc: Option<u32>) {
        self.sources = Succession::of(ssrc);
    }

    /// What a packet's SSRC is to it. The newest one that carries media counts; padding alone begins nothing.
    pub(crate) fn source_state(&mut self, ssrc: u32, media: bool, now: Instant) -> SourceState {
        match self.ssrc() {
            _ if media => self.sources.take(ssrc, now),
            Some(current) if current == ssrc => SourceState::Current,
            _ => SourceState::Late,
        }
    }

    /// Whether retransmissions from `ssrc` are of the stream that goes on, rather than late ones of the one before.
    pub(crate) fn takes_rtx_from(&mut self, ssrc: u32, now: Instant) -> bool {
        let (before, begun) = self.replaced;
        let young = begun.is_some_and(|begun| now.saturating_duration_since(begun) < LATE);
        if before == Some(ssrc) && young {
            return false;
        }
        self.rtx = Some(ssrc);
        true
    }

    /// Another stream begins: what is known of the one before is nothing to it (RFC 3550 §8.2).
    pub(crate) fn begin_stream(&mut self, now: Instant) {
        self.offset = self.next_offset();
        self.numbers = Unwrapper::default();
        (self.first, self.received, self.reported) = (Extended::default(), 0, (0, 0));
        (self.seen, self.missing) = (Seen::default(), Vec::new());
        (self.transit, self.jitter) = (None, 0.0);
        self.clock = None;
        self.replaced = (self.rtx.take(), Some(now));
        self.begin_pictures();
    }

    /// The same stream goes on with another codec: what was kept is of no use.
    pub(crate) fn begin_format(&mut self) {
        (self.history, self.missing) = (History::default(), Vec::new());
        self.begin_pictures();
    }

    fn begin_pictures(&mut self) {
        (self.scalable, self.pixels) = (None, None);
        (self.keyframe_wanted, self.keyframe_asked) = (true, None);
    }

    /// What a packet with media of `ssrc` would be to it.
    pub(crate) fn peek_source(&self, ssrc: u32, sequence: u16, now: Instant) -> SourceState {
        match self.sources.look(ssrc, now) {
            SourceState::Current => {
                let highest = self.numbers.highest();
                let ahead = highest.is_none_or(|it| self.numbers.peek(sequence) > it);
                if ahead { SourceState::Current } else { SourceState::Late }
            }
            state => state,
        }
    }

    /// Notes a packet, `repeated` when it came by retransmission; `length` is that of its media, 0 of padding alone.
    pub(crate) fn arrive(
        &mut self,
        sequence: u16,
        length: usize,
        repeated: bool,
        now: Instant,
    ) -> Arrival {
        let number = self.numbers.peek(sequence);
        let highest = self.numbers.highest();
        match highest {
            None if repeated => return Arrival::Useless,
            None => self.first = number,
            // A retransmission of what was never missed would open a gap that is none.
            Some(highest) if repeated && number > highest => return Arrival::Useless,
            Some(highest) if number > highest => self.note_gap(highest.next(), number, now),
            Some(highest) if highest.since(number) >= Some(Seen::NUMBERS) => {
                return Arrival::Useless;
            }
            Some(_) if self.seen.has(number) => return Arrival::Useless,
            // Probes of libwebrtc are retransmissions, also of what was sent before the first packet that arrived.
            Some(_) if number < self.first && repeated => return Arrival::Useless,
            Some(_) => {
                self.first = self.first.min(number);
                self.missing.retain(|missing| missing.sequence != number);
            }
        }
        self.seen.note(number, highest);
        self.numbers.note(number);
        self.received += 1;
        if length > 0 {
            self.rate.add(length, now);
            self.last = Some(now);
        }
        Arrival::New(number.plus(self.offset))
    }

    /// RFC 3550 appendix A.8; not for retransmissions.
    pub(crate) fn time(&mut self, timestamp: MediaTime, ticks: u32, since_start: Duration) {
        let arrival = since_start.as_micros() as i128 * i128::from(ticks) / 1_000_000;
        #[expect(clippy::cast_possible_truncation, reason = "modulo the RTP clock")]
        let transit = MediaTime(arrival as u32).since(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let distance = f64::from(transit.wrapping_sub(before).cast_signed().unsigned_abs());
            self.jitter += (distance - self.jitter) / 16.0;
        }
    }

    fn note_gap(&mut self, from: Extended, to: Extended, now: Instant) {
        if to.since(from) > Some(MISSING as u64) {
            // Too much to be asked for: a new picture helps more.
            self.missing.clear();
            self.want_keyframe();
            return;
        }
        let room = MISSING.saturating_sub(self.missing.len());
        let missing = from.until(to).take(room);
        self.missing.extend(missing.map(|sequence| Missing {
            sequence,
            since: now,
            next: now,
            asked: 0,
        }));
    }

    /// How much is missing that can still be asked for: packets, and a keyframe in place of many of them.
    pub(crate) fn lacks(&self) -> usize {
        self.missing.len() + usize::from(self.keyframe_wanted)
    }

    /// When what is missing is to be asked for next.
    pub(crate) fn asks(&self, now: Instant) -> Option<Instant> {
        let packets = self.missing.iter().map(|missing| missing.next).min();
        packets.into_iter().chain(self.keyframe_deadline(now)).min().map(|at| at.max(now))
    }

    /// How many packets right before this one are the parameter sets of its access unit.
    pub(crate) fn prelude(
        &mut self,
        number: Extended,
        timestamp: MediaTime,
        picture: &Picture,
    ) -> u8 {
        let (next, of, count) = self.prelude;
        let before = if (next, of) == (number, timestamp) { count } else { 0 };
        if picture.parameters {
            self.prelude = (number.next(), timestamp, before.saturating_add(1));
        }
        if picture.keyframe { before } else { 0 }
    }

    /// Whether packets are missing that can still be asked for.
    pub(crate) fn misses(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Collects what is to be asked for now.
    pub(crate) fn ask(&mut self, now: Instant, wanted: &mut Vec<u16>) {
        self.missing.retain(|missing| {
            missing.asked < ASKED && now.saturating_duration_since(missing.since) < PATIENCE
        });
        for missing in self.missing.iter_mut().filter(|missing| missing.next <= now) {
            missing.asked += 1;
            missing.next = now + AGAIN * u32::from(missing.asked.min(3));
            wanted.push(missing.sequence.wire());
            self.nacks += 1;
        }
    }

    /// Misses nothing any more: another worker asks for what is lost.
    pub(crate) fn forgive(&mut self) {
        self.missing.clear();
    }

    /// A viewer needs a keyframe.
    pub(crate) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// One has begun.
    pub(crate) fn keyframe_begins(&mut self) {
        self.keyframe_wanted = false;
    }

    /// Whether to ask for one now.
    pub(crate) fn asks_for_keyframe(&mut self, now: Instant) -> bool {
        let paused = self.keyframe_asked.is_some_and(|at| now < at + KEYFRAME_PAUSE);
        if !self.keyframe_wanted || paused || self.ssrc().is_none() {
            return false;
        }
        // It stays wanted until one begins: requests get lost, too.
        self.keyframe_asked = Some(now);
        self.keyframe_requests += 1;
        true
    }

    /// When a keyframe is to be asked for.
    pub(crate) fn keyframe_deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.keyframe_asked.map_or(now, |at| at + KEYFRAME_PAUSE);
        (self.keyframe_wanted && self.ssrc().is_some()).then_some(due)
    }

    /// How much is sent of it lately.
    pub(crate) fn bitrate(&self, now: Instant) -> BitRate {
        if self.is_sent(now) { self.rate.lately } else { BitRate::default() }
    }

    /// Whether something is known of how good it is, compared to others.
    pub(crate) fn is_measured(&self, now: Instant) -> bool {
        self.is_sent(now) && (self.pixels.is_some() || self.rate.steady > BitRate(0))
    }

    /// Whether it is certainly better than another one: its pictures are larger, else it has by far more bits.
    pub(crate) fn is_better_than(&self, other: &Self) -> bool {
        match (self.pixels, other.pixels) {
            (Some(own), Some(other)) if own != other => own > other,
            _ => {
                other.rate.steady > BitRate(0) && self.rate.steady > other.rate.steady.percent(150)
            }
        }
    }

    /// Whether the publisher sends it.
    pub(crate) fn is_sent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < SILENT)
    }

    /// Takes a packet's dependency descriptor; returns what it says, and whether a structure begins there.
    pub(crate) fn describe(
        &mut self,
        descriptor: &[u8],
        length: usize,
        now: Instant,
    ) -> Option<(Frame, bool)> {
        let known = self.scalable.as_ref().map(|scalable| &scalable.structure);
        let (frame, new) = Structure::read(known, descriptor)?;
        let begins = new.is_some();
        match (&mut self.scalable, new) {
            (Some(scalable), Some(structure)) => scalable.structure = structure,
            (None, Some(structure)) => self.scalable = Some(Box::new(Scalable::new(structure))),
            _ => {}
        }
        self.scalable.as_mut()?.note(&frame, length, now);
        Some((frame, begins))
    }

    /// What is to be reported of it, since the last report.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fields of a report"
    )]
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (ssrc, highest) = (self.ssrc()?, self.numbers.highest()?);
        let expected = highest.next().since(self.first).unwrap_or(0);
        let (expected_before, received_before) =
            std::mem::replace(&mut self.reported, (expected, self.received));
        let wanted = expected.saturating_sub(expected_before);
        let lost = wanted.saturating_sub(self.received.saturating_sub(received_before));
        self.stats.reported(wanted, self.received - received_before, self.jitter as u32);
        let (last_report, delay) = self.clock.map_or((0, 0), |clock| {
            let since = now.saturating_duration_since(clock.at).as_micros() * 65_536 / 1_000_000;
            ((clock.ntp >> 16) as u32, since as u32)
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost * 256).checked_div(wanted).unwrap_or(0).min(255) as u8,
            lost: i32::try_from(expected.saturating_sub(self.received)).unwrap_or(i32::MAX),
            highest: highest.reported(),
            jitter: self.jitter as u32,
            last_report,
            delay,
        })
    }
}

/// The spatial layers of one stream (SVC), as *levels*: each with what it needs of those below.
#[derive(Debug)]
pub(crate) struct Scalable {
    pub(crate) structure: Structure,
    rates: [Rate; SPATIAL],
    last: [Option<Instant>; SPATIAL],
}

impl Scalable {
    fn new(structure: Structure) -> Self {
        Self { structure, rates: [Rate::default(); SPATIAL], last: [None; SPATIAL] }
    }

    fn note(&mut self, frame: &Frame, length: usize, now: Instant) {
        for (level, rate) in (0..self.structure.levels()).zip(&mut self.rates) {
            let target = self.structure.target(level, u8::MAX);
            let needed = target.map(|it| Indication::for_target(frame.indications, it));
            if needed.is_some_and(|needed| needed != Indication::NotPresent) {
                rate.add(length, now);
            }
        }
        if let Some(last) = self.last.get_mut(usize::from(frame.spatial)) {
            *last = Some(now);
        }
    }

    /// Whether each level is sent, the lowest first.
    pub(crate) fn sent(&self, now: Instant) -> impl Iterator<Item = bool> {
        let sent = move |last: &Option<Instant>| {
            last.is_some_and(|last| now.saturating_duration_since(last) < SILENT)
        };
        self.last.iter().take(self.structure.levels().into()).map(sent)
    }

    /// Levels that are sent, with their rates.
    pub(crate) fn offers(&self, now: Instant) -> impl Iterator<Item = (u8, BitRate)> {
        let rates = self.rates.iter().map(|rate| rate.lately);
        let all = (0..).zip(self.sent(now)).zip(rates);
        all.filter(|((_, sent), _)| *sent).map(|((level, _), rate)| (level, rate))
    }
}

#[cfg(test)]
mod tests {
    use super::rate::RATE_WINDOW;
    use super::*;
    use crate::dtls::tests::noon;

    #[test]
    fn a_gap_is_asked_for_until_it_is_filled_or_too_old() {
        let noon = noon();
        let mut layer = Layer::new();
        layer.comes_from(Some(9));
        for sequence in [10, 11, 14] {
            layer.arrive(sequence, 100, false, noon);
        }
        let ask = |layer: &mut Layer, ms| {
            let mut wanted = Vec::new();
            layer.ask(noon + Duration::from_millis(ms), &mut wanted);
            wanted
        };
        assert_eq!(ask(&mut layer, 0), [12, 13]);
        assert!(ask(&mut layer, 10).is_empty());
        assert_eq!(layer.arrive(12, 100, true, noon), Arrival::New(Extended::first(12)));
        assert_eq!(ask(&mut layer, 70), [13]);
        assert!(ask(&mut layer, 900).is_empty());
        assert!(!layer.misses());
        let block = layer.report(noon).unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.highest), (51, 1, 14));
    }

    #[test]
    fn what_was_there_already_is_not_received_again() {
        let noon = noon();
        let mut layer = Layer::new();
        layer.comes_from(Some(9));
        for sequence in [10, 11, 13] {
            layer.arrive(sequence, 1000, false, noon);
        }
        // Probes of libwebrtc are retransmissions of what was sent lately, or just before.
        for sequence in [9, 10, 11, 13, 10] {
            assert_eq!(layer.arrive(sequence, 1000, true, noon), Arrival::Useless, "{sequence}");
        }
        assert_eq!(layer.arrive(11, 1000, false, noon), Arrival::Useless, "a duplicate");
        let block = layer.report(noon).unwrap();
        assert_eq!((block.fraction_lost, block.lost), (64, 1), "12 is missing");
        assert_eq!(layer.arrive(12, 1000, true, noon), Arrival::New(Extended::first(12)));
        assert_eq!(layer.report(noon).unwrap().lost, 0);
        for round in 0..3_u64 {
            for sequence in 14..2000_u16 {
                let sequence = sequence.wrapping_add(round as u16 * 30_000);
                assert!(layer.arrive(sequence, 1, false, noon) != Arrival::Useless);
                assert_eq!(layer.arrive(sequence, 1, true, noon), Arrival::Useless);
            }
        }
    }

    #[test]
    fn the_first_packets_may_come_out_of_order() {
        let noon = noon();
        let mut layer = Layer::new();
        layer.comes_from(Some(9));
        for sequence in [10, 9, 11] {
            assert!(layer.arrive(sequence, 100, false, noon) != Arrival::Useless);
        }
        assert_eq!(layer.report(noon).map(|block| (block.fraction_lost, block.lost)), Some((0, 0)));
    }

    #[test]
    fn padding_alone_is_not_sending() {
        let noon = noon();
        let mut layer = Layer::new();
        layer.arrive(1, 1000, false, noon);
        for step in 1..40_u16 {
            layer.arrive(1 + step, 0, false, noon + RATE_WINDOW * u32::from(step));
        }
        assert!(!layer.is_sent(noon + SILENT) && layer.rate.lately == BitRate(0));
    }

    #[test]
    fn keyframes_are_asked_for_once_in_a_while_until_one_comes() {
        let noon = noon();
        let mut layer = Layer::new();
        layer.comes_from(Some(9));
        let mut asked = 0;
        for ms in 0..2000 {
            if ms < 1200 {
                layer.want_keyframe();
            }
            if ms == 1200 {
                layer.keyframe_begins();
            }
            asked += u32::from(layer.asks_for_keyframe(noon + Duration::from_millis(ms)));
        }
        assert_eq!(asked, 3);
    }
}
