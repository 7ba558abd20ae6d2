//! How each stream of a peer fares, by what is counted here and by what the other side reports: plain numbers for whoever judges
//! the quality of calls. All counts begin with the peer and only grow; shares and rates are those of the last report.

use std::time::{Duration, Instant};

use crate::codec::{Codec, Kind};
use crate::layer::{Arrival, Layer};
use crate::peer::{Peer, Receiver};
use crate::plan::{PeerKey, TrackKey};
use crate::rtcp::{ReportBlock, Rtcp};
use crate::sender::Sender;
use crate::track::Track;

/// How often the numbers of a peer are given out.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Sender reports that a receiver's report may still refer to.
const REPORTS: usize = 8;
/// Round trips that are longer are none.
const LONGEST: Duration = Duration::from_secs(30);

/// The numbers of one peer: every five seconds, and once at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStats {
    /// Who.
    pub peer: PeerKey,
    /// Since the peer was set up, in milliseconds.
    pub age_ms: u64,
    /// The last round trip that a report of the peer gives (RFC 3550 §6.4.1), in microseconds.
    pub rtt_us: Option<u32>,
    /// Bits in a second that its path takes, as far as it is known.
    pub estimate: Option<u64>,
    /// What it sends: each section.
    pub receives: Vec<ReceiveStats>,
    /// What it is sent: each section that has shown something.
    pub sends: Vec<SendStats>,
}

/// One section that a peer sends in.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveStats {
    /// Which.
    pub mid: String,
    /// The track that comes by it.
    pub track: TrackKey,
    /// How that is coded; none when it is gone.
    pub codec: Option<Codec>,
    /// Its streams, in the order of the description.
    pub layers: Vec<LayerStats>,
}

/// One stream that a peer sends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LayerStats {
    /// Packets that arrived, each once, those that came by retransmission included.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets among them that only came by retransmission.
    pub recovered: u64,
    /// Packets that arrived and were of no use: repeated, or too late.
    pub discarded: u64,
    /// Packets that were sent and have not arrived; repeated ones may make it negative (RFC 3550 appendix A.3).
    pub lost: i64,
    /// Interarrival jitter (RFC 3550 appendix A.8), in microseconds.
    pub jitter_us: u32,
    /// Packets that were asked for, each as often as it was.
    pub nacks: u64,
    /// Keyframes that were asked for, by PLI or FIR, whichever the section has.
    pub keyframe_requests: u64,
    /// Bits in a second; 0 while it is not sent.
    pub bitrate: u64,
}

/// One section that a peer is sent something in.
#[derive(Clone, Debug, PartialEq)]
pub struct SendStats {
    /// Which.
    pub mid: String,
    /// The track that it shows.
    pub track: Option<TrackKey>,
    /// How that is coded; none when it is gone.
    pub codec: Option<Codec>,
    /// The layer of it that arrives, and the one that is meant to, by their places in the description; `None` is none.
    pub layer: Option<u8>,
    /// See `layer`.
    pub target: Option<u8>,
    /// Bits in a second of the target, to be held against [`PeerStats::estimate`].
    pub target_bitrate: u64,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Retransmissions sent.
    pub resent: u64,
    /// Packets that the viewer asked for, each as often as it was.
    pub nacks: u64,
    /// Keyframes that the viewer asked for by PLI.
    pub plis: u64,
    /// Keyframes that the viewer asked for by FIR, repeated commands counted once.
    pub firs: u64,
    /// Reports of the viewer on it; what follows is of the last one.
    pub reports: u64,
    /// Share of packets lost between the last two reports, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, as the viewer counts them.
    pub lost: i32,
    /// Interarrival jitter at the viewer, in microseconds.
    pub jitter_us: u32,
    /// The round trip that the report gives, in microseconds.
    pub rtt_us: Option<u32>,
    /// Freezes of the picture: gaps in what is sent, longer than three of the usual ones and than a usual one and 150 ms.
    pub freezes: u32,
    /// How long they took, in milliseconds.
    pub frozen_ms: u64,
}

/// What is counted of one stream that comes in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Incoming {
    packets: u64,
    bytes: u64,
    recovered: u64,
    discarded: u64,
    lost: i64,
    /// In ticks of the RTP clock.
    jitter: u32,
}

impl Incoming {
    /// Counts a packet, `repeated` when it came by retransmission.
    pub(crate) fn arrived(&mut self, arrival: Arrival, length: usize, repeated: bool) {
        if arrival == Arrival::Useless {
            self.discarded += 1;
            return;
        }
        self.packets += 1;
        self.bytes += length as u64;
        self.recovered += u64::from(repeated);
    }

    /// Takes what a report is made of: packets that were sent and that arrived since the one before, and the jitter.
    pub(crate) fn reported(&mut self, sent: u64, arrived: u64, jitter: u32) {
        self.lost += sent.cast_signed().wrapping_sub(arrived.cast_signed());
        self.jitter = jitter;
    }

    fn stats(&self, layer: &Layer, clock: u32, now: Instant) -> LayerStats {
        LayerStats {
            packets: self.packets,
            bytes: self.bytes,
            recovered: self.recovered,
            discarded: self.discarded,
            lost: self.lost,
            jitter_us: micros_of(self.jitter, clock),
            nacks: layer.nacks,
            keyframe_requests: layer.keyframe_requests,
            bitrate: layer.bitrate(now).0,
        }
    }
}

/// What is counted of one stream that goes out, and what its receiver says of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outgoing {
    packets: u64,
    bytes: u64,
    resent: u64,
    nacks: u64,
    plis: u64,
    firs: u64,
    reports: u64,
    last: ReportBlock,
    /// The round trip of the last report that gives one, in microseconds, and when that came.
    rtt: Option<(u32, Instant)>,
    /// The middle 32 bits of the NTP time of sender reports, and when they were sent; in turn.
    sent: [Option<(u32, Instant)>; REPORTS],
    sent_count: usize,
    /// Who gave the last command for a keyframe, and its number.
    intra_request: Option<(u32, u8)>,
    pictures: Pictures,
}

impl Outgoing {
    /// Counts a packet that was sent; `ends` says that a picture ends with it.
    pub(crate) fn sent(&mut self, length: u32, ends: bool, now: Instant) {
        self.packets += 1;
        self.bytes += u64::from(length);
        if ends {
            self.pictures.note(now);
        }
    }

    /// Counts a retransmission.
    pub(crate) fn resent(&mut self) {
        self.resent += 1;
    }

    /// Nothing is to be shown for now, which is no freeze.
    pub(crate) fn rests(&mut self) {
        self.pictures.last = None;
    }

    /// Notes that a sender report with this NTP time was sent.
    pub(crate) fn sent_report(&mut self, ntp: u64, now: Instant) {
        if let Some(place) = self.sent.get_mut(self.sent_count % REPORTS) {
            *place = Some((middle(ntp), now));
        }
        self.sent_count = self.sent_count.wrapping_add(1);
    }

    /// Whether a command for a keyframe is another one than the last: it is repeated with its number until it is obeyed
    /// (RFC 5104 §4.3.1.1).
    pub(crate) fn is_new(&mut self, from: u32, sequence: u8) -> bool {
        let new = self.intra_request.replace((from, sequence)) != Some((from, sequence));
        self.firs += u64::from(new);
        new
    }

    fn report(&mut self, block: &ReportBlock, now: Instant) {
        (self.reports, self.last) = (self.reports + 1, *block);
        let round_trip = self.round_trip(block, now);
        let micros = round_trip.and_then(|it| u32::try_from(it.as_micros()).ok());
        self.rtt = micros.map(|micros| (micros, now)).or(self.rtt);
    }

    /// RFC 3550 §6.4.1: since the sender report was sent, without the time that the receiver had it.
    fn round_trip(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_report == 0 {
            return None;
        }
        let known = self.sent.iter().flatten().filter(|(ntp, _)| *ntp == block.last_report);
        let sent = known.map(|&(_, at)| at).max()?;
        let held = Duration::from_micros(u64::from(block.delay) * 1_000_000 / 65_536);
        // A receiver whose clock runs fast held it longer than it was away.
        let passed = now.saturating_duration_since(sent).checked_sub(held)?;
        (passed <= LONGEST).then_some(passed)
    }
}

/// The pictures that are sent, by their last packets.
#[derive(Clone, Copy, Debug, Default)]
struct Pictures {
    last: Option<Instant>,
    /// The usual gap between two.
    usual: Option<Duration>,
    freezes: u32,
    frozen: Duration,
}

impl Pictures {
    fn note(&mut self, now: Instant) {
        const MORE: Duration = Duration::from_millis(150);
        let Some(last) = self.last.replace(now) else { return };
        let gap = now.saturating_duration_since(last);
        let usual = self.usual.unwrap_or(gap);
        if gap > (3 * usual).max(usual + MORE) {
            self.freezes += 1;
            self.frozen += gap;
        }
        self.usual = Some((usual * 15 + gap) / 16);
    }
}

/// Notes what a viewer says of the streams that it is sent, and gives it back.
pub(crate) fn noted<'a>(peer: &mut Peer, said: Rtcp<'a>, now: Instant) -> Rtcp<'a> {
    let ssrc = match &said {
        Rtcp::Report(block) => block.ssrc,
        Rtcp::Nack { ssrc, .. } | Rtcp::KeyframeRequest { ssrc } => *ssrc,
        _ => return said,
    };
    let sender = peer.sender_of(ssrc).and_then(|sender_at| peer.senders.get_mut(sender_at));
    let Some(sender) = sender else { return said };
    match &said {
        Rtcp::Report(block) => sender.stats.report(block, now),
        Rtcp::Nack { .. } => sender.stats.nacks += 1,
        _ => sender.stats.plis += 1,
    }
    said
}

/// All numbers of a peer; `track` finds tracks.
pub(crate) fn collect<'a>(
    peer: &Peer,
    track: impl Fn(TrackKey) -> Option<&'a Track>,
    now: Instant,
) -> PeerStats {
    let outbound = peer.outbound.as_ref();
    let age = u64::try_from(peer.age(now).as_millis()).unwrap_or(u64::MAX);
    let rtts = peer.senders.iter().filter_map(|(_, sender)| sender.stats.rtt);
    let sections = peer.senders.iter();
    let receive = |receiver: &Receiver| {
        let key = receiver.plan.track;
        let mid = receiver.plan.mid.clone();
        let codec = track(key).map(|track| track.format.codec);
        let layers = track(key).map(layers(now)).unwrap_or_default();
        ReceiveStats { mid, track: key, codec, layers }
    };
    PeerStats {
        peer: peer.key,
        age_ms: age,
        rtt_us: rtts.max_by_key(|&(_, at)| at).map(|(micros, _)| micros),
        estimate: outbound.and_then(|outbound| outbound.bandwidth.estimate(now)).map(|rate| rate.0),
        receives: peer.receivers.iter().map(receive).collect(),
        sends: sections
            .filter(|(_, it)| it.track.is_some() || it.stats.packets > 0)
            .map(|(_, sender)| send(sender, sender.track.and_then(&track), now))
            .collect(),
    }
}

fn layers(now: Instant) -> impl Fn(&Track) -> Vec<LayerStats> {
    move |track| {
        let clock = track.format.codec.clock();
        track.layers.iter().map(|layer| layer.stats.stats(layer, clock, now)).collect()
    }
}

fn send(sender: &Sender, track: Option<&Track>, now: Instant) -> SendStats {
    let counted = &sender.stats;
    let shown = track.and_then(|track| track.subscriptions.get(sender.subscription?));
    let target = shown.and_then(|it| it.target);
    let offers = track.map(|track| track.offers(now)).unwrap_or_default();
    let targeted = offers.iter().find(|&&(layer, _)| Some(layer) == target);
    // A track that is gone had one of these.
    let codec = track.map(|track| track.format.codec);
    let codec = codec.or(sender.plan.codecs.first().map(|it| it.format.codec));
    let clock = codec.map_or(0, Codec::clock);
    let is_video = sender.plan.kind == Kind::Video;
    let pictures = if is_video { counted.pictures } else { Pictures::default() };
    SendStats {
        mid: sender.plan.mid.clone(),
        track: sender.track,
        codec: track.map(|track| track.format.codec),
        layer: shown.and_then(|it| it.current),
        target,
        target_bitrate: targeted.map_or(0, |&(_, rate)| rate.0),
        packets: counted.packets,
        bytes: counted.bytes,
        resent: counted.resent,
        nacks: counted.nacks,
        plis: counted.plis,
        firs: counted.firs,
        reports: counted.reports,
        fraction_lost: counted.last.fraction_lost,
        lost: counted.last.lost,
        jitter_us: micros_of(counted.last.jitter, clock),
        rtt_us: counted.rtt.map(|(micros, _)| micros),
        freezes: pictures.freezes,
        frozen_ms: u64::try_from(pictures.frozen.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The middle 32 bits of an NTP time.
#[expect(clippy::cast_possible_truncation, reason = "the middle")]
fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Ticks of an RTP clock in microseconds; 0 when the clock is not known.
fn micros_of(ticks: u32, clock: u32) -> u32 {
    let micros = (u64::from(ticks) * 1_000_000).checked_div(clock.into()).unwrap_or(0);
    u32::try_from(micros).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;

    #[test]
    fn a_command_that_is_repeated_is_one() {
        let mut outgoing = Outgoing::default();
        let given = [(1, 7), (1, 7), (1, 8), (2, 8), (2, 8), (1, 255), (1, 0), (1, 0)];
        let new: Vec<bool> =
            given.iter().map(|&(from, sequence)| outgoing.is_new(from, sequence)).collect();
        assert_eq!(new, [true, false, true, true, false, true, true, false]);
        assert_eq!(outgoing.firs, 5);
    }

    #[test]
    fn the_round_trip_of_the_rfc_comes_out() {
        // RFC 3550 §6.4.1, figure 2: sent at b705:2000, back at b710:8000, held for 0005:4000.
        let (noon, mut outgoing) = (noon(), Outgoing::default());
        outgoing.sent_report(0xb44d_b705_2000_0000, noon);
        let away = Duration::from_micros((0xb710_8000 - 0xb705_2000) * 1_000_000 / 65_536);
        let block =
            ReportBlock { last_report: 0xb705_2000, delay: 0x0005_4000, ..ReportBlock::default() };
        outgoing.report(&block, noon + away);
        assert_eq!(outgoing.rtt, Some((6_125_000, noon + away)));

        // What refers to nothing, to something older than is kept, or was held longer than it was away, says nothing new.
        for (last_report, delay) in [(0, 0), (0xb705_2001, 0), (0xb705_2000, u32::MAX)] {
            outgoing.report(&ReportBlock { last_report, delay, ..block }, noon + away);
            assert_eq!(outgoing.rtt, Some((6_125_000, noon + away)));
        }
        let later = noon + LONGEST + Duration::from_secs(1);
        outgoing.report(&ReportBlock { delay: 0, ..block }, later);
        assert_eq!(outgoing.rtt, Some((6_125_000, noon + away)), "no round trip takes so long");
        for n in 1..=REPORTS as u64 {
            outgoing.sent_report(0xb44d_b705_2000_0000 + (n << 32), noon);
        }
        outgoing.report(&ReportBlock { delay: 0, ..block }, noon + away);
        assert_eq!(outgoing.rtt, Some((6_125_000, noon + away)), "too old");
        let newest =
            ReportBlock { last_report: 0xb705_2000 + ((REPORTS as u32) << 16), delay: 0, ..block };
        outgoing.report(&newest, noon + Duration::from_micros(1_234));
        assert_eq!(outgoing.rtt.map(|(micros, _)| micros), Some(1_234));
        assert_eq!(outgoing.reports, 7);
    }

    #[test]
    fn freezes_are_gaps_that_are_not_usual() {
        let (mut now, mut outgoing) = (noon(), Outgoing::default());
        let mut after = |outgoing: &mut Outgoing, gap: u64| {
            now += Duration::from_millis(gap);
            outgoing.sent(1000, false, now);
            outgoing.sent(1000, true, now);
        };
        (0..100).for_each(|n| after(&mut outgoing, 33 + n % 3 * 30));
        assert_eq!(outgoing.pictures.freezes, 0, "they come unevenly");
        after(&mut outgoing, 400);
        after(&mut outgoing, 33);
        assert_eq!(outgoing.pictures.freezes, 1);
        assert_eq!(outgoing.pictures.frozen, Duration::from_millis(400));
        outgoing.rests();
        after(&mut outgoing, 60_000);
        assert_eq!(outgoing.pictures.freezes, 1, "it was not to be shown");
        // A shared screen that changes once in two seconds.
        (0..100).for_each(|_| after(&mut outgoing, 2000));
        let before = outgoing.pictures.freezes;
        (0..100).for_each(|_| after(&mut outgoing, 2000));
        assert_eq!(outgoing.pictures.freezes, before);
        assert_eq!((outgoing.packets, outgoing.bytes), (606, 606_000));
    }

    #[test]
    fn losses_add_up_and_what_comes_late_is_taken_back() {
        let mut incoming = Incoming::default();
        incoming.reported(100, 95, 40);
        incoming.reported(100, 103, 45);
        assert_eq!((incoming.lost, incoming.jitter), (2, 45));
        for (arrival, repeated) in [
            (Arrival::New(1.into()), false),
            (Arrival::New(2.into()), true),
            (Arrival::Useless, true),
        ] {
            incoming.arrived(arrival, 10, repeated);
        }
        let counted = (incoming.packets, incoming.bytes, incoming.recovered, incoming.discarded);
        assert_eq!(counted, (2, 20, 1, 1));
    }

    #[test]
    fn numbers_of_a_section_take_little_room() {
        let section = size_of::<Incoming>() * 3 + size_of::<Outgoing>();
        assert!(section <= 1024, "{section} bytes are kept");
        let given =
            size_of::<LayerStats>() * 3 + size_of::<ReceiveStats>() + size_of::<SendStats>();
        assert!(given <= 1024, "{given} bytes are given out");
    }

    #[test]
    fn ticks_are_time() {
        assert_eq!(micros_of(90, 90_000), 1_000);
        assert_eq!(micros_of(48, 48_000), 1_000);
        assert_eq!((micros_of(1, 0), micros_of(u32::MAX, 8_000)), (0, u32::MAX));
    }
}
