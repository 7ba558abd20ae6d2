//! Whole calls in virtual time: clients with real DTLS and SRTP around one worker, over a link that loses, delays and repeats.

mod chaos;
mod effort;
mod numbers;
mod preferences;
mod ranking;
mod renumbering;
mod stats;
mod streams;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeType, RawAttribute, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    ShortTermCredentials,
};

use super::{Command, Event, Gone, Worker};
use crate::arrivals::Arrivals;
use crate::codec::{Codec, Kind};
use crate::dtls::Identity;
use crate::dtls::tests::{Client, GCM, noon};
use crate::ice::{IceCredentials, Source, Via};
use crate::numbers::Extended;
use crate::plan::{
    KeyframeFeedback, PeerKey, PeerPlan, ReceiveCodec, ReceivePlan, RoomKey, SendCodec, SendPlan,
    TrackKey,
};
use crate::rtcp::{Compound, Rtcp, read};
use crate::rtp::{Extension, ExtensionIds, Header, Values, Writer};
use crate::srtp::Direction;
use crate::subscription::LayerPreference;
use crate::tap::{Tapped, Tapping, tap};

const VP8: u8 = 96;
const RTX: u8 = 97;
const OPUS: u8 = 111;

/// A client as the worker sees it.
struct Phone {
    key: PeerKey,
    /// Whether it lives on the other worker.
    away: bool,
    ice: IceCredentials,
    source: Source,
    client: Client,
    keys: Option<(Direction, Direction)>,
    /// Every RTP packet that arrived, opened, with its continued number.
    got: Vec<(u64, Vec<u8>)>,
    /// RTCP that arrived, opened.
    compounds: Vec<Vec<u8>>,
    ciphertexts: HashMap<(u32, u16), Vec<u8>>,
    rolled: HashMap<u32, crate::rtp::Unwrapper>,
    reports: u32,
    /// What it reports of arrivals, as a browser would.
    arrivals: Arrivals,
    /// Packets of pictures by their number, and when they arrived; those that are missing, and when they are asked for again.
    pictures: BTreeMap<u64, Instant>,
    missing: BTreeMap<u64, Instant>,
    begun: Instant,
    link: Option<Link>,
}

/// A bottleneck in front of a phone: a rate, and a queue that drops what would wait longer than `depth`.
struct Link {
    bits_per_second: u64,
    depth: Duration,
    free: Instant,
    queue: VecDeque<(Instant, Vec<u8>)>,
}

impl Link {
    fn put(&mut self, now: Instant, datagram: Vec<u8>) {
        let takes =
            Duration::from_secs(8 * (datagram.len() as u64 + 28)) / self.bits_per_second as u32;
        let free = self.free.max(now) + takes;
        if free <= now + self.depth {
            self.free = free;
            self.queue.push_back((free, datagram));
        }
    }

    fn take(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        self.queue.pop_front_if(|(at, _)| *at <= now)
    }
}

fn extensions() -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    ids.set(Extension::TransportSequence, 3);
    ids
}

fn camera(track: u64, layers: usize) -> ReceivePlan {
    let ssrc = |layer: usize| (track * 100 + layer as u64) as u32;
    ReceivePlan {
        mid: "v".into(),
        track: TrackKey(track),
        codecs: vec![coded(Codec::Vp8, VP8, Some(RTX))],
        extensions: extensions(),
        rids: ["q", "h", "f"][..layers].iter().map(|&rid| rid.to_owned()).collect(),
        ssrcs: (0..layers).map(|layer| (ssrc(layer), Some(ssrc(layer) + 50))).collect(),
        remb: false,
    }
}

fn coded(codec: Codec, payload_type: u8, rtx_type: Option<u8>) -> ReceiveCodec {
    ReceiveCodec {
        format: codec.into(),
        payload_type,
        rtx_type,
        red_type: None,
        nack: true,
        keyframes: KeyframeFeedback::Pli,
        parameter_sets: [].into(),
    }
}

fn screen() -> SendPlan {
    let codec = |codec: Codec, payload_type, rtx_type| SendCodec {
        format: codec.into(),
        payload_type,
        rtx_type,
        red_type: None,
    };
    SendPlan {
        mid: "0".into(),
        kind: Kind::Video,
        ssrc: 7000,
        rtx_ssrc: 7001,
        codecs: vec![codec(Codec::Vp8, 100, Some(101)), codec(Codec::Opus, OPUS, None)],
        extensions: extensions(),
    }
}

/// How a packet of a phone is to look.
#[derive(Clone, Copy)]
struct Rtp {
    payload_type: u8,
    ssrc: u32,
    sequence: u64,
    timestamp: u32,
    marker: bool,
}

/// A packet of a VP8 picture.
fn vp8_packet(ssrc: u32, sequence: u64, picture: u64, marker: bool) -> Rtp {
    Rtp { payload_type: VP8, ssrc, sequence, timestamp: picture as u32 * 3000, marker }
}

/// The payload of a packet of a VP8 picture with a picture id.
fn vp8_payload(picture: u64, first: bool, key: bool) -> Vec<u8> {
    let [high, low] = (picture as u16).to_be_bytes();
    let head = [0x80 | u8::from(first) << 4, 0x80, high | 0x80, low, u8::from(!key)];
    [&head[..], &[7; 200]].concat()
}

/// A worker, another one beside it, their clients and the time.
struct World {
    now: Instant,
    worker: Worker,
    other: Worker,
    phones: Vec<Phone>,
    events: Vec<Event>,
    /// Which datagrams to phones are lost: a function of a count.
    loses: fn(u64) -> bool,
    count: u64,
    /// Bytes of a packet of a picture.
    size: usize,
    /// Whether pictures have dependency descriptors, whose numbers are the lower the higher the layer.
    described: bool,
}

impl World {
    fn new() -> Self {
        let now = noon();
        let identity = Arc::new(Identity::generate().unwrap());
        let mut other = Worker::new(Arc::clone(&identity), now);
        other.is_number(1);
        Self {
            now,
            worker: Worker::new(identity, now),
            other,
            phones: Vec::new(),
            events: Vec::new(),
            loses: |_| false,
            count: 0,
            size: 200,
            described: false,
        }
    }

    fn phone(&mut self, receives: Vec<ReceivePlan>, sends: Vec<SendPlan>) -> usize {
        self.phone_at(false, receives, sends)
    }

    fn phone_at(&mut self, away: bool, receives: Vec<ReceivePlan>, sends: Vec<SendPlan>) -> usize {
        let number = self.phones.len();
        let client = Client::new(self.now, vec![GCM]);
        let ice = IceCredentials::generate();
        let remote: SocketAddr = format!("10.0.0.{}:5000", number + 1).parse().unwrap();
        let phone = Phone {
            key: PeerKey(number as u64 + 1),
            away,
            ice: ice.clone(),
            source: Source { via: Via::Udp, remote, local: None },
            client,
            keys: None,
            got: Vec::new(),
            compounds: Vec::new(),
            ciphertexts: HashMap::new(),
            rolled: HashMap::new(),
            reports: 0,
            arrivals: Arrivals::default(),
            pictures: BTreeMap::new(),
            missing: BTreeMap::new(),
            begun: self.now,
            link: None,
        };
        let fingerprint = Some(phone.client.fingerprint);
        let plan = Box::new(PeerPlan { ice, fingerprint, receives, sends });
        let connect = Command::Connect { room: RoomKey(1), peer: phone.key, plan };
        self.phones.push(phone);
        self.command(number, connect);
        self.check(number, true);
        for _ in 0..10 {
            while let Some(datagram) = self.phones[number].client.transmit() {
                self.send(number, datagram);
            }
            self.step(1);
        }
        assert!(self.phones[number].keys.is_some(), "no handshake");
        number
    }

    /// Has the worker of a phone carry out a command.
    fn command(&mut self, number: usize, command: Command) {
        let now = self.now;
        self.worker_of(number).0.handle_command(command, now);
    }

    /// The worker of a phone, and the phone's source.
    fn worker_of(&mut self, number: usize) -> (&mut Worker, Source) {
        let phone = &self.phones[number];
        (if phone.away { &mut self.other } else { &mut self.worker }, phone.source)
    }

    fn check(&mut self, number: usize, nominate: bool) {
        let phone = &self.phones[number];
        let check = binding(&phone.ice.ufrag, &phone.ice.pwd, nominate);
        self.send(number, check);
        self.step(0);
    }

    fn send(&mut self, number: usize, mut datagram: Vec<u8>) {
        let now = self.now;
        let (worker, source) = self.worker_of(number);
        worker.handle_datagram(source, &mut datagram, now);
    }

    /// Lets time pass, and takes what the worker sends.
    fn step(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        let now = self.now;
        let workers = [&mut self.worker, &mut self.other];
        let mut sent: Vec<(Source, Vec<u8>)> = Vec::new();
        let (mut notes, mut packets) = (Vec::new(), Vec::new());
        for worker in workers {
            worker.handle_timeout(now);
            notes.extend(worker.notes());
            packets.extend(worker.packets().map(|(to, packets)| (to, packets.take())));
        }
        for (to, note) in notes {
            [&mut self.worker, &mut self.other][to].handle_note(note, now);
        }
        for (to, packets) in packets {
            [&mut self.worker, &mut self.other][to].handle_packets(&packets, now);
        }
        for worker in [&mut self.worker, &mut self.other] {
            while let Some(transmit) = worker.poll_output(now) {
                let to = transmit.to;
                sent.extend(transmit.datagrams().map(|datagram| (to, datagram.to_vec())));
            }
        }
        for (to, datagram) in sent {
            let media = datagram[0] >= 128;
            self.count += u64::from(media);
            if media && (self.loses)(self.count) {
                continue;
            }
            if let Some(phone) = self.phones.iter_mut().find(|phone| phone.source == to) {
                match &mut phone.link {
                    Some(link) => link.put(self.now, datagram),
                    None => phone.take(self.now, datagram),
                }
            }
        }
        for number in 0..self.phones.len() {
            let phone = &mut self.phones[number];
            while let Some((at, datagram)) =
                phone.link.as_mut().and_then(|link| link.take(self.now))
            {
                phone.take(at, datagram);
            }
            let again = self.now + Duration::from_millis(60);
            let due = phone.missing.iter_mut().filter(|(_, at)| **at <= self.now);
            let asked: Vec<u16> = due
                .map(|(&number, at)| {
                    *at = again;
                    number as u16
                })
                .take(100)
                .collect();
            if !asked.is_empty() {
                self.rtcp(number, |compound| compound.nack(7000, &asked));
            }
            let phone = &mut self.phones[number];
            if phone.link.is_some() && phone.arrivals.deadline().is_some_and(|at| at <= self.now) {
                let mut arrivals = std::mem::take(&mut phone.arrivals);
                self.rtcp(number, |compound| arrivals.report(compound, 7000));
                self.phones[number].arrivals = arrivals;
            }
        }
        self.events.extend(self.worker.events());
        self.events.extend(self.other.events());
    }

    /// A packet of a picture: VP8 with a picture id; the first of a keyframe where `key` says so.
    fn picture(
        &mut self,
        number: usize,
        ssrc: u32,
        (sequence, timestamp, id): (u64, u32, u16),
        (first, key, last): (bool, bool, bool),
    ) {
        let mut packet = Vec::new();
        let mut writer = Writer::new(&mut packet, (VP8, last), sequence as u16, timestamp, ssrc);
        if self.described {
            let (_, descriptor) = crate::dependency::tests::three_levels(false);
            writer.long_extensions();
            let number = 9_000 - 1000 * (ssrc as u16 - 100) + (timestamp / 3000) as u16;
            writer.extension(Some(8), &descriptor(number, 0, key));
        }
        writer.extension(Some(3), &(sequence as u16).to_be_bytes());
        let header = writer.finish();
        let [high, low] = id.to_be_bytes();
        packet.extend_from_slice(&[
            0x80 | u8::from(first) << 4,
            0x80,
            high | 0x80,
            low,
            u8::from(!key),
        ]);
        packet.resize(packet.len() + self.size, sequence as u8);
        let keys = &mut self.phones[number].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, sequence.into()).unwrap();
        self.send(number, packet);
    }

    /// A packet of a phone, sealed and sent: how it is to look, its extensions and its payload.
    fn packet(&mut self, number: usize, rtp: Rtp, extensions: &[(u8, &[u8])], payload: &[u8]) {
        let mut packet = Vec::new();
        let Rtp { payload_type, ssrc, sequence, timestamp, marker } = rtp;
        let place = (payload_type, marker);
        let mut writer = Writer::new(&mut packet, place, sequence as u16, timestamp, ssrc);
        if extensions.iter().any(|(_, value)| value.len() > 16) {
            writer.long_extensions();
        }
        for &(id, value) in extensions {
            writer.extension(Some(id), value);
        }
        let header = writer.finish();
        packet.extend_from_slice(payload);
        let keys = &mut self.phones[number].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, sequence.into()).unwrap();
        self.send(number, packet);
    }

    /// What a viewer wishes of track 1.
    fn prefer(&mut self, number: usize, preference: LayerPreference, temporal: u8) {
        let (peer, track) = (self.phones[number].key, TrackKey(1));
        self.command(number, Command::Prefer { peer, track, preference, priority: 1, temporal });
    }

    /// A packet whose whole payload is padding.
    fn padding(&mut self, number: usize, rtp: Rtp, length: u8) {
        let mut packet = Vec::new();
        let Rtp { payload_type, ssrc, sequence, timestamp, marker } = rtp;
        let place = (payload_type, marker);
        let header = Writer::new(&mut packet, place, sequence as u16, timestamp, ssrc).finish();
        packet[0] |= 0x20;
        packet.resize(packet.len() + usize::from(length) - 1, 0);
        packet.push(length);
        let keys = &mut self.phones[number].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, sequence.into()).unwrap();
        self.send(number, packet);
    }

    fn rtcp(&mut self, number: usize, write: impl FnOnce(&mut Compound<'_>)) {
        let phone = &mut self.phones[number];
        let mut out = Vec::new();
        write(&mut Compound::new(&mut out, 1, &[]));
        phone.reports += 1;
        let reports = phone.reports;
        phone.keys.as_mut().unwrap().0.seal_rtcp(&mut out, 0, reports).unwrap();
        self.send(number, out);
    }

    fn show(&mut self, number: usize, mid: &str, track: u64) {
        let (peer, mid) = (self.phones[number].key, mid.to_owned());
        if self.phones[number].away {
            self.other.expect_track(TrackKey(track), 0);
        }
        self.command(number, Command::Show { peer, mid, track: Some(TrackKey(track)) });
    }

    /// Keyframe requests that a publisher got.
    fn asked(&self, number: usize) -> usize {
        self.keyframes_asked(number, 0).len()
    }

    /// What keyframes a publisher was asked for, from the `from`th of its compounds on.
    fn keyframes_asked(&self, number: usize, from: usize) -> Vec<u32> {
        let mut asked = Vec::new();
        for compound in &self.phones[number].compounds[from..] {
            read(compound, |said| {
                if let Rtcp::KeyframeRequest { ssrc } = said {
                    asked.push(ssrc);
                }
            });
        }
        asked
    }
}

impl Phone {
    fn take(&mut self, now: Instant, mut datagram: Vec<u8>) {
        match datagram[0] {
            20..=63 => {
                let complete = self.client.read(now, &datagram);
                self.keys = self.keys.take().or_else(|| complete.then(|| self.client.keys()));
            }
            128.. if crate::rtp::is_rtcp(&datagram) => {
                let (length, ..) = self.keys.as_mut().unwrap().1.open_rtcp(&mut datagram).unwrap();
                datagram.truncate(length);
                self.compounds.push(datagram);
            }
            128.. => {
                let header = Header::parse(&datagram).unwrap();
                let rolled = self.rolled.entry(header.ssrc).or_default();
                let continued = rolled.peek(header.sequence);
                rolled.note(continued);
                let twin =
                    self.ciphertexts.insert((header.ssrc, header.sequence), datagram.clone());
                assert!(
                    twin.is_none_or(|twin| twin == datagram),
                    "two ciphertexts under one index"
                );
                let index = continued.index().unwrap();
                let keys = &mut self.keys.as_mut().unwrap().1;
                let length = keys.open(&mut datagram, header.length, header.ssrc, index).unwrap();
                datagram.truncate(length);
                if let Some(sequence) =
                    Values::read(&header, &datagram, &extensions()).transport_sequence
                {
                    self.arrivals.note(sequence, now.saturating_duration_since(self.begun), now);
                }
                if datagram[0] & 0x20 != 0 {
                    // Padding that probes the path.
                    return;
                }
                if self.link.is_some() {
                    self.note_picture(now, &header, continued, &datagram);
                }
                self.got.push((continued.count(), datagram));
            }
            _ => {}
        }
    }

    /// Notes what has arrived of pictures, and what is missing.
    fn note_picture(&mut self, now: Instant, header: &Header, continued: Extended, packet: &[u8]) {
        let number = match header.ssrc {
            7000 => continued.count(),
            7001 => {
                let original = &packet[header.length..];
                self.rolled[&7000].peek(u16::from_be_bytes([original[0], original[1]])).count()
            }
            _ => return,
        };
        if let Some((&last, _)) = self.pictures.last_key_value() {
            self.missing.extend((last + 1..number).map(|number| (number, now)));
        }
        self.missing.remove(&number);
        self.pictures.entry(number).or_insert(now);
    }

    /// The longest time in which no picture could be shown, after the first: in which nothing followed what was whole before.
    fn longest_freeze(&self) -> Duration {
        let mut shown: Vec<Instant> = Vec::new();
        for &at in self.pictures.values() {
            let before = shown.last().copied().unwrap_or(at);
            shown.push(at.max(before));
        }
        shown.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// What was received as media: number, timestamp, picture id, whether it begins a keyframe; retransmissions put in place.
    fn media(&self) -> BTreeMap<u16, (u32, u16, bool)> {
        let mut media = BTreeMap::new();
        for (_, packet) in &self.got {
            let header = Header::parse(packet).unwrap();
            let payload = &packet[header.length..];
            let (sequence, payload) = match header.ssrc {
                7001 => (u16::from_be_bytes([payload[0], payload[1]]), &payload[2..]),
                _ => (header.sequence, payload),
            };
            let id = u16::from_be_bytes([payload[2] & 0x7F, payload[3]]);
            let begins = payload[0] & 0x10 != 0 && payload[4] & 1 == 0;
            let twin = media.insert(sequence, (header.timestamp.0, id, begins));
            assert!(twin.is_none_or(|twin| twin == (header.timestamp.0, id, begins)), "a twin");
        }
        media
    }
}

fn binding(ufrag: &str, pwd: &str, nominate: bool) -> Vec<u8> {
    let mut check = Message::builder_request(BINDING, MessageWriteVec::new());
    check.add_attribute(&Username::new(&format!("{ufrag}:them")).unwrap()).unwrap();
    check.add_attribute(&RawAttribute::new(AttributeType::new(0x0024), &[0, 0, 1, 0])).unwrap();
    if nominate {
        check.add_attribute(&RawAttribute::new(AttributeType::new(0x0025), &[])).unwrap();
    }
    let credentials = ShortTermCredentials::new(pwd.to_owned());
    check.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1).unwrap();
    check.add_fingerprint().unwrap();
    check.finish()
}

/// Without a gap, numbers follow one another.
fn gaps(numbers: impl Iterator<Item = u16>) -> usize {
    let all: Vec<u16> = numbers.collect();
    all.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) != 1).count()
}

#[test]
fn a_viewer_gets_whole_pictures_from_a_keyframe_on_and_asks_once_for_it() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    for frame in 0..100_u64 {
        if frame == 20 {
            world.show(ben, "0", 1);
        }
        let key = frame == 0 || frame == 30;
        for part in 0..3 {
            let place = (1000 + frame * 3 + part, frame as u32 * 3000, frame as u16);
            world.picture(ada, 100, place, (part == 0, key, part == 2));
        }
        world.step(33);
    }
    assert_eq!(world.asked(ada), 1);
    let media = world.phones[ben].media();
    assert_eq!(media.len(), 70 * 3, "from the keyframe at 30 to the end");
    assert_eq!(gaps(media.keys().copied()), 0);
    assert!(media.values().next().unwrap().2, "it begins with a keyframe");
}

#[test]
fn a_room_on_two_workers_is_one_room() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let viewers: Vec<usize> =
        (0..6).map(|at| world.phone_at(at % 2 == 1, vec![], vec![screen()])).collect();
    let muted = |muted| Command::Mute { track: TrackKey(1), muted };
    let mut key = true;
    for frame in 0..300_u64 {
        // What waits for the rest of its picture has left by then.
        world.step(1);
        match frame {
            10 => viewers.iter().for_each(|&viewer| world.show(viewer, "0", 1)),
            100 => world.command(ada, muted(true)),
            150 => world.command(ada, muted(false)),
            200 => {
                let seen: Vec<usize> =
                    viewers.iter().map(|&viewer| world.phones[viewer].got.len()).collect();
                assert!(seen.iter().all(|&some| some == seen[0] && some > 250), "{seen:?}");
                for &viewer in viewers.iter().skip(1).step_by(2) {
                    let close = Command::Close { peer: world.phones[viewer].key };
                    world.command(viewer, close);
                }
            }
            _ => {}
        }
        // A packet of each picture but the first is lost, and asked for again.
        for part in 0..3 {
            let place = (1000 + frame * 3 + part, frame as u32 * 3000, frame as u16);
            if part != 1 || frame == 0 {
                world.picture(ada, 100, place, (part == 0, key, part == 2));
            }
        }
        world.step(5);
        let place = (1000 + frame * 3 + 1, frame as u32 * 3000, frame as u16);
        if frame > 0 {
            world.picture(ada, 100, place, (false, key, false));
        }
        let before = world.phones[ada].compounds.len();
        world.step(28);
        key = !world.keyframes_asked(ada, before).is_empty();
    }
    for &viewer in &viewers {
        assert_eq!(gaps(world.phones[viewer].media().keys().copied()), 0);
    }
    assert!(world.asked(ada) <= 4, "keyframes are asked for once for all: {}", world.asked(ada));
    assert!(world.worker.tracks.iter().all(|(_, track)| track.mirrors.is_empty()), "given back");
    assert_eq!(world.other.tracks.len(), 0);

    // Another viewer comes there, and the track ends.
    let late = world.phone_at(true, vec![], vec![screen()]);
    world.show(late, "0", 1);
    world.step(1);
    world.step(1);
    assert_eq!(world.other.tracks.len(), 1);
    let close = Command::Close { peer: world.phones[ada].key };
    world.command(ada, close);
    world.step(1);
    assert_eq!((world.worker.tracks.len(), world.other.tracks.len()), (0, 0));
    assert!(world.other.peers.iter().all(|(_, peer)| peer.shown().next().is_none()));
}

/// What a tap holds: the layers and the numbers of its packets.
fn tapped(tapping: &Tapping) -> Vec<(u8, u64)> {
    let parts = std::iter::from_fn(|| tapping.take().ok().flatten());
    let packets = parts.filter_map(|part| match part {
        Tapped::Packet(packet) => Some((packet.layer, packet.sequence & 0xFFFF)),
        Tapped::Clock(_) | Tapped::Coded(_) => None,
    });
    packets.collect()
}

#[test]
fn a_recorder_gets_the_best_layer_from_a_keyframe_on_and_holds_nobody_up() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 3)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let (sound, tapping) = tap(10_000);
    // Room for what the packets are coded with, and 16 of them.
    let (small, slow) = tap(17);
    let mut keys = [true; 3];
    for frame in 0..300_u64 {
        let track = TrackKey(1);
        match frame {
            50 => world.command(ada, Command::Tap { track, tap: Some(sound.clone()) }),
            // A disk that stands still.
            200 => world.command(ada, Command::Tap { track, tap: Some(small.clone()) }),
            290 => world.command(ada, Command::Tap { track, tap: None }),
            _ => {}
        }
        // The best layer is missing for a while.
        for layer in (0..3).filter(|&layer| layer < 2 || !(80..150).contains(&frame)) {
            let place = (1000 + frame, frame as u32 * 3000, frame as u16);
            world.picture(ada, 100 + layer, place, (true, keys[layer as usize], true));
        }
        let before = world.phones[ada].compounds.len();
        world.step(33);
        let asked = world.keyframes_asked(ada, before);
        keys = [100, 101, 102].map(|ssrc| asked.contains(&ssrc));
    }
    let recorded = tapped(&tapping);
    let runs: Vec<u8> = recorded
        .iter()
        .map(|it| it.0)
        .collect::<Vec<_>>()
        .chunk_by(|a, b| a == b)
        .map(|run| run[0])
        .collect();
    assert_eq!(runs, [2, 1, 2], "the next best layer in between");
    assert!(recorded.len() > 80 && recorded.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    assert_eq!(tapped(&slow).len(), 16);
    assert!(slow.lost() > 50, "what finds no room is counted: {}", slow.lost());
    let seen = world.phones[ben].media();
    assert_eq!(gaps(seen.keys().copied()), 0);
    assert!(seen.len() > 250, "the call goes on: {}", seen.len());
}

#[test]
fn two_hundred_who_come_at_once_cause_one_keyframe_request() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    world.picture(ada, 100, (1, 0, 0), (true, true, true));
    world.step(20);
    for number in 0..200 {
        let viewer = world.phone(vec![], vec![screen()]);
        assert_eq!(viewer, number + 1);
    }
    for viewer in 1..=200 {
        world.show(viewer, "0", 1);
    }
    world.step(10);
    world.picture(ada, 100, (2, 3000, 1), (true, true, true));
    world.step(0);
    world.step(1000);
    assert_eq!(world.asked(ada), 1);
    assert!(world.phones[1..].iter().all(|phone| phone.got.len() == 1));
}

#[test]
fn a_viewers_command_for_a_keyframe_that_is_repeated_is_one_request() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    world.picture(ada, 100, (1, 0, 0), (true, true, true));
    world.step(1_000);
    for (time, (sequence, asked)) in (1..).zip([(3, 1), (3, 0), (3, 0), (4, 1), (4, 0)]) {
        let before = world.phones[ada].compounds.len();
        world.rtcp(ben, |compound| compound.full_intra_request(7000, sequence));
        world.step(600);
        world.picture(ada, 100, (1 + time, 3000 * time as u32, time as u16), (true, true, true));
        world.step(600);
        assert_eq!(world.keyframes_asked(ada, before).len(), asked, "number {sequence}");
    }
}

#[test]
fn what_is_lost_on_the_way_to_a_viewer_is_sent_again_and_never_under_the_same_index() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut asked: HashSet<u16> = HashSet::new();
    for frame in 0..300_u64 {
        // It would not show that the very first or the very last packet is missing.
        world.loses = if (1..299).contains(&frame) { |count| count % 7 == 3 } else { |_| false };
        for part in 0..4 {
            let place = (65_000 + frame * 4 + part, frame as u32 * 3000, frame as u16);
            world.picture(ada, 100, place, (part == 0, frame % 100 == 0, part == 3));
        }
        world.step(33);
        // The viewer asks for what is missing between the first and the last that it has.
        let media = world.phones[ben].media();
        let (Some(first), Some(last)) = (media.keys().next(), media.keys().last()) else {
            continue;
        };
        let missing: Vec<u16> = (*first..*last).filter(|n| !media.contains_key(n)).collect();
        asked.extend(&missing);
        for chunk in missing.chunks(50) {
            world.rtcp(ben, |compound| compound.nack(7000, chunk));
        }
        world.step(5);
    }
    let media = world.phones[ben].media();
    let missing: Vec<u16> = (*media.keys().next().unwrap()..*media.keys().last().unwrap())
        .filter(|n| !media.contains_key(n))
        .collect();
    world.rtcp(ben, |compound| compound.nack(7000, &missing));
    world.step(5);
    let media = world.phones[ben].media();
    assert!(asked.len() > 100, "the link lost {} packets", asked.len());
    assert_eq!((media.len(), gaps(media.keys().copied())), (1200, 0));
    let ids: Vec<u16> = media.values().map(|(_, id, _)| *id).collect();
    assert!(ids.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) <= 1), "picture ids go on");
}

#[test]
fn a_publishers_losses_are_asked_for_and_what_comes_again_fills_the_gap() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    for sequence in [1, 2, 3, 6, 7] {
        world.picture(ada, 100, (sequence, 0, 0), (sequence == 1, true, false));
    }
    world.step(5);
    let mut wanted = Vec::new();
    for compound in &world.phones[ada].compounds {
        read(compound, |said| {
            if let Rtcp::Nack { ssrc: 100, sequence } = said {
                wanted.push(sequence)
            }
        });
    }
    assert_eq!(wanted, [4, 5]);
    // RFC 4588: its own SSRC, and the original number in front.
    for (index, lost) in [(1_u64, 4_u16), (2, 5)] {
        let mut packet = Vec::new();
        let header = Writer::new(&mut packet, (RTX, false), index as u16, 0, 150).finish();
        packet.extend_from_slice(&lost.to_be_bytes());
        packet.extend_from_slice(&[0x80, 0x80, 0x80, 0, 0, 9, 9]);
        world.phones[ada]
            .keys
            .as_mut()
            .unwrap()
            .0
            .seal(&mut packet, 0, header, 150, index.into())
            .unwrap();
        world.send(ada, packet);
    }
    world.step(5);
    let media = world.phones[ben].media();
    assert_eq!((media.len(), gaps(media.keys().copied())), (7, 0));
}

#[test]
fn layers_switch_at_keyframes_without_a_seam() {
    layers_switch(false);
}

#[test]
fn layers_switch_without_a_seam_for_a_viewer_of_another_worker() {
    layers_switch(true);
}

fn layers_switch(away: bool) {
    let mut world = World::new();
    world.described = true;
    let (mut plan, mut viewer) = (camera(1, 3), screen());
    plan.extensions.set(Extension::Dependency, 8);
    viewer.extensions.set(Extension::Dependency, 8);
    let ada = world.phone(vec![plan], vec![]);
    let ben = world.phone_at(away, vec![], vec![viewer]);
    world.show(ben, "0", 1);
    let mut wanted = [true; 3];
    for frame in 0..400_u64 {
        let preference = match frame {
            100 => Some(LayerPreference::Layer(0)),
            200 => Some(LayerPreference::Layer(1)),
            300 => Some(LayerPreference::Auto),
            _ => None,
        };
        if let Some(preference) = preference {
            let peer = world.phones[ben].key;
            let prefer = Command::Prefer {
                peer,
                track: TrackKey(1),
                preference,
                priority: 1,
                temporal: u8::MAX,
            };
            world.command(ben, prefer);
        }
        // Whoever is asked makes a keyframe, on every layer at its own numbers.
        for layer in 0..3_u64 {
            let key = std::mem::take(&mut wanted[layer as usize]);
            let place = (
                10_000 * (layer + 1) + frame,
                (frame * 3000 + layer * 77_777) as u32,
                (frame + 500 * layer) as u16,
            );
            world.picture(ada, 100 + layer as u32, place, (true, key, true));
        }
        let before = world.phones[ada].compounds.len();
        world.step(33);
        for ssrc in world.keyframes_asked(ada, before) {
            wanted[(ssrc - 100) as usize] = true;
        }
    }
    let switched: Vec<u8> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Switched { layer, .. } => Some(*layer),
            _ => None,
        })
        .collect();
    assert!(switched.ends_with(&[0, 1, 2]), "{switched:?}");
    let mut ids = extensions();
    ids.set(Extension::Dependency, 8);
    let frames: Vec<u16> = world.phones[ben]
        .got
        .iter()
        .filter_map(|(_, packet)| {
            let header = Header::parse(packet).unwrap();
            let descriptor = Values::read(&header, packet, &ids).dependency?;
            Some(u16::from_be_bytes([descriptor[1], descriptor[2]]))
        })
        .collect();
    assert!(
        frames.len() > 370 && frames.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "frame numbers go on"
    );
    let media = world.phones[ben].media();
    assert_eq!(gaps(media.keys().copied()), 0);
    let all: Vec<(u32, u16, bool)> = media.values().copied().collect();
    for pair in all.windows(2) {
        let ahead = pair[1].0.wrapping_sub(pair[0].0);
        assert!((1..=30_000).contains(&ahead), "time goes on: {ahead}");
        assert_eq!(pair[1].1.wrapping_sub(pair[0].1) & 0x7FFF, 1, "picture ids go on");
    }
    assert!(all.len() > 370, "{}", all.len());
}

/// Three spatial layers in one stream: what a viewer gets, as (layers of each picture, whether a keyframe was asked for) for the
/// parts in which it wishes for the highest, the lowest, and the highest again.
fn scalable(key: bool, away: bool) -> [(HashSet<u8>, bool); 3] {
    const PART: u64 = 150;
    const TWICE: u64 = 2 * PART;
    let (_, descriptor) = crate::dependency::tests::three_levels(key);
    let mut world = World::new();
    let mut plan = camera(1, 1);
    plan.codecs[0].format = Codec::Vp9.into();
    plan.extensions.set(Extension::Dependency, 8);
    let ada = world.phone(vec![plan], vec![]);
    let mut viewer = screen();
    viewer.codecs[0].format = Codec::Vp9.into();
    let ben = world.phone_at(away, vec![], vec![viewer]);
    world.show(ben, "0", 1);
    let (mut sequence, mut keyframe) = (1000, true);
    let mut parts: [(HashSet<u8>, bool); 3] = Default::default();
    let mut seen = 0;
    for picture in 0..3 * PART {
        let preference = match picture {
            PART => Some(LayerPreference::Layer(0)),
            TWICE => Some(LayerPreference::Auto),
            _ => None,
        };
        if let Some(preference) = preference {
            let (peer, track) = (world.phones[ben].key, TrackKey(1));
            world.command(
                ben,
                Command::Prefer { peer, track, preference, priority: 1, temporal: u8::MAX },
            );
        }
        for spatial in 0..3 {
            let mut packet = Vec::new();
            let time = picture as u32 * 3000;
            let mut writer =
                Writer::new(&mut packet, (VP8, spatial == 2), sequence as u16, time, 100);
            writer.long_extensions();
            writer.extension(Some(3), &(sequence as u16).to_be_bytes());
            let number = picture as u16 * 3 + u16::from(spatial);
            writer.extension(Some(8), &descriptor(number, spatial, keyframe));
            let header = writer.finish();
            packet.extend_from_slice(&[0x40, spatial]);
            packet.resize(packet.len() + 400, 7);
            let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
            keys.seal(&mut packet, 0, header, 100, sequence.into()).unwrap();
            world.send(ada, packet);
            sequence += 1;
        }
        let before = world.phones[ada].compounds.len();
        world.step(33);
        keyframe = !world.keyframes_asked(ada, before).is_empty();
        let part = &mut parts[(picture / PART) as usize];
        part.1 |= keyframe;
        // A picture's layers, and its end at the highest of them; the beginnings of the parts are left out.
        let got = &world.phones[ben].got[seen..];
        seen = world.phones[ben].got.len();
        if picture % PART >= PART - 20 {
            part.0.extend(got.iter().map(|(_, packet)| packet[packet.len() - 400 - 1]));
            let marks: Vec<bool> =
                got.iter().map(|(_, packet)| Header::parse(packet).unwrap().marker).collect();
            assert!(marks.split_last().is_some_and(|(last, rest)| *last && !rest.contains(&true)));
        }
    }
    assert_eq!(gaps(world.phones[ben].media().keys().copied()), 0);
    let switched = world.events.iter().filter_map(|event| match event {
        Event::Switched { layer, .. } => Some(*layer),
        _ => None,
    });
    assert!(switched.collect::<Vec<_>>().ends_with(&[2, 0, 2]));
    parts
}

#[test]
fn a_stream_of_three_layers_is_thinned_and_switches_where_it_may() {
    let layers = |layers: &[u8]| layers.iter().copied().collect::<HashSet<u8>>();
    for away in [false, true] {
        // Every picture needs the layers below: down without a keyframe.
        let [high, low, again] = scalable(false, away);
        assert_eq!(
            (high.0, low, again.0),
            (layers(&[0, 1, 2]), (layers(&[0]), false), layers(&[0, 1, 2]))
        );
        assert!(again.1, "up by a keyframe");
        // Only keyframes need the layers below: lower ones are of no use, and a keyframe is needed for them.
        let [high, low, again] = scalable(true, away);
        assert_eq!((high.0, low, again.0), (layers(&[2]), (layers(&[0]), true), layers(&[2])));
    }
}

/// What became of a call over a link that changes.
struct Call {
    /// For every second, how many pictures of each layer arrived.
    layers: Vec<HashMap<u8, usize>>,
    /// Pieces of sound that are missing.
    missing: usize,
    freeze: Duration,
    /// The pauses that the viewer was notified of.
    paused: Vec<bool>,
}

/// A call of one publisher (1,500, 500 and 150 kbit/s, and sound) and one viewer, whose link takes so many bits a second and queues
/// for so long in every second, and loses some.
fn shaped(seconds: u64, link: impl Fn(u64) -> (u64, Duration), loses: fn(u64) -> bool) -> Call {
    let mut world = World::new();
    let microphone = ReceivePlan {
        mid: "a".into(),
        codecs: vec![coded(Codec::Opus, OPUS, None)],
        rids: vec![],
        ssrcs: vec![(900, None)],
        ..camera(2, 1)
    };
    let ada = world.phone(vec![camera(1, 3), microphone], vec![]);
    let speaker =
        SendPlan { mid: "1".into(), kind: Kind::Audio, ssrc: 8000, rtx_ssrc: 8001, ..screen() };
    let ben = world.phone(vec![], vec![screen(), speaker]);
    world.show(ben, "0", 1);
    world.show(ben, "1", 2);
    world.phones[ben].link = Some(Link {
        bits_per_second: 1,
        depth: Duration::ZERO,
        free: world.now,
        queue: VecDeque::new(),
    });
    world.loses = loses;
    let mut wanted = [true; 3];
    let mut sequences = [1000_u64; 3];
    let (mut sound, mut seen, mut layers) = (1000_u64, 0, Vec::new());
    for millisecond in 0..seconds * 1000 {
        if millisecond % 5000 == 0 {
            // Consent is kept fresh (RFC 7675).
            world.check(ada, false);
            world.check(ben, false);
        }
        if millisecond % 1000 == 0 {
            let (bits_per_second, depth) = link(millisecond / 1000);
            let shaping = world.phones[ben].link.as_mut().unwrap();
            (shaping.bits_per_second, shaping.depth) = (bits_per_second, depth);
        }
        if millisecond % 20 == 0 {
            sound += 1;
            let mut packet = Vec::new();
            let mut writer =
                Writer::new(&mut packet, (OPUS, false), sound as u16, (sound * 960) as u32, 900);
            writer.extension(Some(3), &(sound as u16).to_be_bytes());
            let header = writer.finish();
            packet.resize(packet.len() + 100, 0);
            let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
            keys.seal(&mut packet, 0, header, 900, sound.into()).unwrap();
            world.send(ada, packet);
        }
        if millisecond % 33 == 0 {
            let frame = millisecond / 33;
            for (layer, bytes) in [(0_u64, 620), (1, 2060), (2, 6190)] {
                let key = std::mem::take(&mut wanted[layer as usize]);
                // A keyframe is larger.
                let bytes = if key { 3 * bytes } else { bytes };
                let packets = u64::div_ceil(bytes, 1000);
                world.size = (bytes / packets) as usize;
                for packet in 0..packets {
                    let sequence = &mut sequences[layer as usize];
                    *sequence += 1;
                    // The picture id says which layer it is of.
                    let place = (*sequence, (frame * 2970) as u32, (frame % 4096) as u16);
                    world.picture(
                        ada,
                        100 + layer as u32,
                        place,
                        (packet == 0, key, packet + 1 == packets),
                    );
                }
            }
        }
        let before = world.phones[ada].compounds.len();
        world.step(1);
        for ssrc in world.keyframes_asked(ada, before) {
            wanted[(ssrc - 100) as usize] = true;
        }
        if millisecond % 1000 == 999 {
            let mut counts = HashMap::new();
            for (_, packet) in &world.phones[ben].got[seen..] {
                let header = Header::parse(packet).unwrap();
                if header.ssrc == 7000 && packet[header.length] & 0x10 != 0 {
                    let layer = match packet.len() - header.length {
                        ..=626 => 0,
                        627..=692 => 1,
                        _ => 2,
                    };
                    *counts.entry(layer).or_default() += 1;
                }
            }
            seen = world.phones[ben].got.len();
            layers.push(counts);
        }
    }
    let received: HashSet<u64> = world.phones[ben]
        .got
        .iter()
        .filter(|(_, packet)| Header::parse(packet).unwrap().ssrc == 8000)
        .map(|&(number, _)| number)
        .collect();
    let (first, last) = (received.iter().min().unwrap(), received.iter().max().unwrap());
    let paused = world.events.iter().filter_map(|event| match event {
        Event::Paused { paused, .. } => Some(*paused),
        _ => None,
    });
    Call {
        layers,
        missing: (last - first + 1) as usize - received.len(),
        freeze: world.phones[ben].longest_freeze(),
        paused: paused.collect(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// How many seconds from `from` on until all pictures of one are of `layer`.
fn until_only(layers: &[HashMap<u8, usize>], from: usize, layer: u8) -> usize {
    let only = |counts: &HashMap<u8, usize>| {
        counts.len() == 1 && counts.get(&layer).is_some_and(|&count| count > 25)
    };
    layers[from..].iter().position(only).unwrap_or(usize::MAX)
}

#[test]
fn a_link_that_narrows_gets_the_low_layer_keeps_its_sound_and_widens_again() {
    let narrow = |at| if (10..30).contains(&at) { (600_000, SECOND) } else { (10_000_000, SECOND) };
    let Call { layers, missing, .. } = shaped(50, narrow, |_| false);
    assert_eq!(until_only(&layers, 3, 2), 0, "the high layer while there is room: {layers:?}");
    assert!(until_only(&layers, 10, 0) <= 2, "the low layer soon: {layers:?}");
    assert!(
        layers[13..30].iter().all(|counts| counts.get(&0).is_some_and(|&count| count > 28)),
        "no hiccups: {layers:?}"
    );
    assert!(until_only(&layers, 30, 2) <= 9, "the high layer again: {layers:?}");
    assert_eq!(missing, 0);
}

#[test]
fn a_link_that_is_narrow_from_the_start_is_probed_before_it_is_filled() {
    let Call { layers, missing, freeze, .. } = shaped(20, |_| (600_000, SECOND / 4), |_| false);
    assert_eq!(until_only(&layers, 2, 0), 0, "{layers:?}");
    assert!(
        layers[2..].iter().all(|counts| counts.get(&0).is_some_and(|&count| count > 28)),
        "{layers:?}"
    );
    assert!(freeze < SECOND && missing < 10, "{freeze:?} {missing}");
}

#[test]
fn a_link_for_sound_alone_pauses_the_pictures_and_says_so() {
    let narrow = |at| if (5..15).contains(&at) { (110_000, SECOND) } else { (5_000_000, SECOND) };
    let Call { layers, missing, paused, .. } = shaped(30, narrow, |_| false);
    assert!(layers[10..14].iter().all(HashMap::is_empty), "{layers:?}");
    assert_eq!(paused, [true, false], "paused and resumed once each");
    assert_eq!(until_only(&layers, 25, 2), 0, "{layers:?}");
    assert!(missing < 25, "{missing}");
}

#[test]
fn a_tenth_lost_is_repaired_and_pictures_keep_moving() {
    let Call { layers, freeze, .. } =
        shaped(30, |_| (5_000_000, SECOND / 4), |count| count * 7919 % 101 < 10);
    assert!(layers.iter().all(|counts| counts.values().sum::<usize>() > 20), "{layers:?}");
    assert!(freeze < SECOND, "{freeze:?}");
}

#[test]
fn strangers_and_replays_get_nothing() {
    let mut world = World::new();
    // Two sections with the same payload types: neither can be found by them.
    let other = ReceivePlan { mid: "s".into(), ssrcs: vec![(800, None)], ..camera(2, 1) };
    let ada = world.phone(vec![camera(1, 1), other], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let count = |world: &World, name: &str| {
        world.worker.counters.read().find(|(known, _)| *known == name).unwrap().1
    };
    // The right fragment with the wrong password.
    let ufrag = world.phones[ada].ice.ufrag.clone();
    let unknown = Source { remote: "10.9.9.9:9".parse().unwrap(), ..world.phones[ada].source };
    let mut check = binding(&ufrag, "wrong", true);
    world.worker.handle_datagram(unknown, &mut check, world.now);
    assert!(!world.worker.knows(&unknown));
    assert_eq!(count(&world, "dropped_forged"), 1);
    // Media from an address that has not shown the password.
    let mut packet = vec![0x80; 100];
    assert!(!world.worker.handle_datagram(unknown, &mut packet, world.now));
    // The same packet twice, at once and later.
    let sealed = |world: &mut World, sequence: u64| {
        let mut packet = Vec::new();
        let header = Writer::new(&mut packet, (VP8, true), sequence as u16, 0, 100).finish();
        packet.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0, 9, 9]);
        let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, 100, sequence.into()).unwrap();
        packet
    };
    let first = sealed(&mut world, 1);
    world.send(ada, first.clone());
    world.send(ada, first.clone());
    for sequence in 2..5000 {
        let packet = sealed(&mut world, sequence);
        world.send(ada, packet);
        world.step(1);
        if [64, 128, 4999].contains(&sequence) {
            world.send(ada, first.clone());
        }
    }
    assert_eq!(count(&world, "dropped_replayed"), 4);
    assert_eq!(gaps(world.phones[ben].media().keys().copied()), 0);
    // Ten thousand SSRCs that were not announced.
    for ssrc in 20_000..30_000 {
        let mut packet = Vec::new();
        let header = Writer::new(&mut packet, (VP8, true), 1, 0, ssrc).finish();
        packet.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0, 9, 9]);
        let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, 1.into()).unwrap();
        world.send(ada, packet);
    }
    assert_eq!(count(&world, "dropped_unannounced"), 10_000);
    // Keyframe requests by the thousand reach the publisher a few times.
    let before = world.asked(ada);
    for _ in 0..1000 {
        world.rtcp(ben, |compound| compound.keyframe_request(7000));
        world.step(1);
    }
    assert!((1..=3).contains(&(world.asked(ada) - before)), "{}", world.asked(ada) - before);
}

#[test]
fn an_ice_restart_and_another_address_do_not_disturb_what_runs() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    world.picture(ada, 100, (1, 0, 0), (true, true, true));
    world.step(5);
    // Another address, first without and then with a nomination.
    world.phones[ben].source.remote = "10.0.7.7:7000".parse().unwrap();
    world.check(ben, false);
    world.picture(ada, 100, (2, 3000, 1), (true, false, true));
    world.step(5);
    assert_eq!(world.phones[ben].got.len(), 1, "not nominated yet");
    world.check(ben, true);
    world.picture(ada, 100, (3, 6000, 2), (true, false, true));
    world.step(5);
    assert_eq!(world.phones[ben].got.len(), 2);
    // New credentials: the old ones serve until the new ones are used.
    let fresh = IceCredentials::generate();
    let plan = Box::new(PeerPlan {
        ice: fresh.clone(),
        fingerprint: Some(world.phones[ben].client.fingerprint),
        receives: vec![],
        sends: vec![screen()],
    });
    let peer = world.phones[ben].key;
    world.worker.handle_command(Command::Configure { peer, plan }, world.now);
    world.picture(ada, 100, (4, 9000, 3), (true, false, true));
    world.step(5);
    assert_eq!(world.phones[ben].got.len(), 3);
    world.phones[ben].ice = fresh;
    world.phones[ben].source.remote = "10.0.8.8:8000".parse().unwrap();
    world.check(ben, true);
    world.picture(ada, 100, (5, 12_000, 4), (true, false, true));
    world.step(5);
    assert_eq!(world.phones[ben].got.len(), 4);
    assert_eq!(gaps(world.phones[ben].media().keys().copied()), 1, "what went to the old address");
}

#[test]
fn a_client_on_many_addresses_is_known_at_few() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    let first = world.phones[ada].source;
    for port in 6000..7000 {
        for number in [ada, ben] {
            world.phones[number].source.remote.set_port(port);
            world.check(number, false);
        }
        world.check(ben, true);
        let known = |peer: &crate::peer::Peer| peer.ice.sources().to_vec();
        let known: Vec<Source> =
            world.worker.peers.iter().flat_map(|(_, peer)| known(peer)).collect();
        assert!(world.worker.by_source.len() <= 2 * crate::ice::SOURCES);
        assert!(known.len() == world.worker.by_source.len());
        assert!(known.iter().all(|source| world.worker.knows(source)));
    }
    assert!(world.worker.knows(&first), "its path stays");
    for number in [ada, ben] {
        let peer = world.phones[number].key;
        world.worker.handle_command(Command::Close { peer }, world.now);
    }
    assert!(world.worker.by_source.is_empty() && world.worker.by_fragment.is_empty());
}

#[test]
fn another_worker_goes_on_where_one_was() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut key = true;
    for frame in 0..200_u64 {
        if frame == 100 {
            // Another process, with another certificate; the clients know nothing of it.
            let fresh = Worker::new(Arc::new(Identity::generate().unwrap()), world.now);
            let states = std::mem::replace(&mut world.worker, fresh).export();
            assert_eq!(states.len(), 2);
            world.worker.adopt(states, world.now);
        }
        let place = (1000 + frame, frame as u32 * 3000, frame as u16);
        world.picture(ada, 100, place, (true, key, true));
        let before = world.phones[ada].compounds.len();
        world.step(33);
        key = !world.keyframes_asked(ada, before).is_empty();
        if frame == 150 {
            // What was sent before is still known to have been there, and the path is still checked.
            world.check(ada, true);
        }
    }
    // Every packet was opened by the keys of the handshake, and none had an index that was used (the phone looks at both).
    let media = world.phones[ben].media();
    assert_eq!(gaps(media.keys().copied()), 0);
    assert!(media.len() > 190, "{}", media.len());
    let times: Vec<u32> = media.values().map(|&(time, ..)| time).collect();
    assert!(times.windows(2).all(|pair| (1..=12_000).contains(&(pair[1] - pair[0]))), "{times:?}");
    let kept = world.worker.counters().read().find(|(name, _)| *name == "dropped_forged");
    assert_eq!(kept.map(|(_, count)| count), Some(0));
    // The association goes on as well: a goodbye is understood.
    world.phones[ada].client.close(world.now);
    while let Some(datagram) = world.phones[ada].client.transmit() {
        world.send(ada, datagram);
    }
    world.step(1);
    let left = Event::Gone { peer: world.phones[ada].key, reason: Gone::Left };
    assert!(world.events.contains(&left), "{:?}", world.events);
}

#[test]
fn who_is_silent_for_half_a_minute_is_forgotten_with_what_it_published() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    for _ in 0..40 {
        world.check(ben, true);
        world.step(1000);
    }
    let gone = Event::Gone { peer: world.phones[ada].key, reason: Gone::Silent };
    assert!(world.events.contains(&gone));
    assert_eq!(world.worker.format(TrackKey(1)), None);
    assert_eq!((world.worker.peers.len(), world.worker.tracks.len()), (1, 0));
}

#[test]
fn a_thousand_who_come_and_go_leave_nothing_behind() {
    let mut world = World::new();
    for _ in 0..1000 {
        let ada = world.phone(vec![camera(1, 3)], vec![screen()]);
        world.show(ada, "0", 1);
        world.picture(ada, 100, (1, 0, 0), (true, true, true));
        world.step(1);
        let peer = world.phones[ada].key;
        world.worker.handle_command(Command::Close { peer }, world.now);
        world.step(1);
        world.phones.clear();
    }
    world.step(60_000);
    let worker = &world.worker;
    assert_eq!((worker.peers.len(), worker.tracks.len(), worker.peer_of.len()), (0, 0, 0));
    assert_eq!(
        (worker.by_source.len(), worker.by_fragment.len(), worker.track_of.len()),
        (0, 0, 0)
    );
    assert_eq!((worker.timers.len(), worker.dirty.len()), (0, 0));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_of_a_peer_break_the_worker(
        packets in proptest::collection::vec((proptest::bool::ANY, proptest::collection::vec(0_u8.., 0..80)), 1..20)
    ) {
        let mut world = World::new();
        let ada = world.phone(vec![camera(1, 1)], vec![screen()]);
        world.show(ada, "0", 1);
        for (sequence, (media, bytes)) in (1_u64..).zip(packets) {
            let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
            let mut packet = Vec::new();
            if media {
                let header = Writer::new(&mut packet, (VP8, true), sequence as u16, 0, 100).finish();
                packet.extend_from_slice(&bytes);
                keys.seal(&mut packet, 0, header, 100, sequence.into()).unwrap();
            } else {
                packet.extend_from_slice(&[0x80, 200 + bytes.len() as u8 % 8, 0, 1, 0, 0, 0, 1]);
                packet.extend_from_slice(&bytes);
                keys.seal_rtcp(&mut packet, 0, sequence as u32).unwrap();
            }
            world.send(ada, packet);
            world.send(ada, bytes);
            world.step(20);
        }
    }
}

#[test]
fn a_layer_that_is_named_once_stays_known_when_something_else_is_agreed_on() {
    let mut world = World::new();
    let mut plan = ReceivePlan { ssrcs: vec![], ..camera(1, 3) };
    plan.extensions.set(Extension::Rid, 4);
    let ada = world.phone(vec![plan.clone()], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut packet = Vec::new();
    let mut writer = Writer::new(&mut packet, (VP8, true), 999, 0, 100);
    writer.extension(Some(4), b"q");
    let header = writer.finish();
    packet.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0]);
    world.phones[ada]
        .keys
        .as_mut()
        .unwrap()
        .0
        .seal(&mut packet, 0, header, 100, 999.into())
        .unwrap();
    world.send(ada, packet);
    world.step(5);
    // A screen comes before the camera, by the same connection.
    let shared = ReceivePlan { mid: "s".into(), ssrcs: vec![(800, None)], ..camera(2, 1) };
    let (peer, ice) = (world.phones[ada].key, world.phones[ada].ice.clone());
    let fingerprint = Some(world.phones[ada].client.fingerprint);
    let plan = PeerPlan { ice, fingerprint, receives: vec![shared, plan], sends: vec![] };
    world.worker.handle_command(Command::Configure { peer, plan: Box::new(plan) }, world.now);
    for frame in 0..10 {
        world.picture(
            ada,
            100,
            (1000 + frame, frame as u32 * 3000, frame as u16),
            (true, false, true),
        );
        world.step(33);
    }
    assert_eq!(world.phones[ben].media().len(), 11);
}

#[test]
fn forwarding_a_packet_allocates_nothing() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let viewers: Vec<usize> = (0..20).map(|_| world.phone(vec![], vec![screen()])).collect();
    for &viewer in &viewers {
        world.show(viewer, "0", 1);
    }
    // The next picture's datagrams, sealed.
    let picture = |world: &mut World, frame: u64| {
        let mut sealed = Vec::new();
        for part in 0..5 {
            let mut packet = Vec::new();
            let sequence = 1000 + frame * 5 + part;
            let mut writer = Writer::new(
                &mut packet,
                (VP8, part == 4),
                sequence as u16,
                frame as u32 * 3000,
                100,
            );
            writer.extension(Some(3), &(sequence as u16).to_be_bytes());
            let header = writer.finish();
            let key = frame == 0;
            packet.extend_from_slice(&[
                0x80 | u8::from(part == 0) << 4,
                0x80,
                0x80,
                frame as u8,
                u8::from(!key),
            ]);
            packet.resize(1200, 7);
            let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
            keys.seal(&mut packet, 0, header, 100, sequence.into()).unwrap();
            sealed.push(packet);
        }
        sealed
    };
    let source = world.phones[ada].source;
    let mut forwarded = 0;
    let mut allocated = 0;
    for frame in 0..300 {
        let datagrams = picture(&mut world, frame);
        world.now += Duration::from_millis(33);
        world.worker.handle_timeout(world.now);
        while world.worker.poll_output(world.now).is_some() {}
        let (worker, now) = (&mut world.worker, world.now);
        let counted = allocation_counter::measure(|| {
            for mut datagram in datagrams {
                worker.handle_datagram(source, &mut datagram, now);
            }
            while let Some(transmit) = worker.poll_output(now) {
                forwarded += if frame >= 200 { transmit.lengths.len() } else { 0 };
            }
        });
        // Rings and queues have grown to their size by then.
        if frame >= 200 {
            allocated += counted.count_total;
        }
        world.events.extend(world.worker.events());
    }
    assert_eq!(
        (forwarded, allocated),
        (100 * 5 * 20, 0),
        "packets forwarded, and allocations for them"
    );
}
