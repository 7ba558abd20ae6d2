//! Whole calls in virtual time: clients with real DTLS and SRTP around one worker, over a link that loses, delays and repeats.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeType, RawAttribute, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    ShortTermCredentials,
};

use super::{Command, Event, Gone, Worker};
use crate::codec::{Codec, Kind};
use crate::dtls::Identity;
use crate::dtls::tests::{Client, GCM, noon};
use crate::ice::{IceCredentials, Source, Via};
use crate::plan::{PeerKey, PeerPlan, ReceivePlan, RoomKey, SendCodec, SendPlan, TrackKey};
use crate::rtcp::{Compound, Rtcp, read};
use crate::rtp::{Extension, ExtensionIds, Header, Writer};
use crate::srtp::Direction;
use crate::subscription::Wish;

const VP8: u8 = 96;
const RTX: u8 = 97;
const OPUS: u8 = 111;

/// A client as the worker sees it.
struct Phone {
    key: PeerKey,
    ice: IceCredentials,
    source: Source,
    client: Client,
    keys: Option<(Direction, Direction)>,
    /// Every RTP packet that arrived, opened, with its continued number.
    got: Vec<(u64, Vec<u8>)>,
    /// RTCP that arrived, opened.
    told: Vec<Vec<u8>>,
    ciphertexts: HashMap<(u32, u16), Vec<u8>>,
    rolled: HashMap<u32, crate::rtp::Unwrapper>,
    reports: u32,
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
        codec: Codec::Vp8,
        payload_type: VP8,
        repair_type: Some(RTX),
        red_type: None,
        extensions: extensions(),
        rids: ["q", "h", "f"][..layers].iter().map(|&rid| rid.to_owned()).collect(),
        ssrcs: (0..layers).map(|layer| (ssrc(layer), Some(ssrc(layer) + 50))).collect(),
        nack: true,
        remb: false,
    }
}

fn screen() -> SendPlan {
    let codec = |codec, payload_type, repair_type| SendCodec {
        codec,
        payload_type,
        repair_type,
        red_type: None,
    };
    SendPlan {
        mid: "0".into(),
        kind: Kind::Video,
        ssrc: 7000,
        repair_ssrc: 7001,
        codecs: vec![codec(Codec::Vp8, 100, Some(101)), codec(Codec::Opus, OPUS, None)],
        extensions: extensions(),
    }
}

/// A worker, its clients and the time.
struct World {
    now: Instant,
    worker: Worker,
    phones: Vec<Phone>,
    events: Vec<Event>,
    /// Which datagrams to phones are lost: a function of a count.
    loses: fn(u64) -> bool,
    count: u64,
}

impl World {
    fn new() -> Self {
        let now = noon();
        let worker = Worker::new(Arc::new(Identity::generate().unwrap()), now);
        Self { now, worker, phones: Vec::new(), events: Vec::new(), loses: |_| false, count: 0 }
    }

    fn phone(&mut self, receives: Vec<ReceivePlan>, sends: Vec<SendPlan>) -> usize {
        let number = self.phones.len();
        let client = Client::new(self.now, vec![GCM]);
        let ice = IceCredentials::generate();
        let remote: SocketAddr = format!("10.0.0.{}:5000", number + 1).parse().unwrap();
        let phone = Phone {
            key: PeerKey(number as u64 + 1),
            ice: ice.clone(),
            source: Source { via: Via::Udp, remote, local: None },
            client,
            keys: None,
            got: Vec::new(),
            told: Vec::new(),
            ciphertexts: HashMap::new(),
            rolled: HashMap::new(),
            reports: 0,
        };
        let fingerprint = Some(phone.client.fingerprint);
        let plan = Box::new(PeerPlan { ice, fingerprint, receives, sends });
        let connect = Command::Connect { room: RoomKey(1), peer: phone.key, plan };
        self.worker.handle_command(connect, self.now);
        self.phones.push(phone);
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

    fn check(&mut self, number: usize, nominate: bool) {
        let phone = &self.phones[number];
        let check = binding(&phone.ice.ufrag, &phone.ice.pwd, nominate);
        self.send(number, check);
        self.step(0);
    }

    fn send(&mut self, number: usize, mut datagram: Vec<u8>) {
        self.worker.handle_datagram(self.phones[number].source, &mut datagram, self.now);
    }

    /// Lets time pass, and takes what the worker sends.
    fn step(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.worker.handle_timeout(self.now);
        let mut sent: Vec<(Source, Vec<u8>)> = Vec::new();
        while let Some(transmit) = self.worker.poll_output(self.now) {
            let mut rest = transmit.bytes;
            for &length in transmit.lengths {
                let (datagram, after) = rest.split_at(length.into());
                sent.push((transmit.to, datagram.to_vec()));
                rest = after;
            }
        }
        for (to, datagram) in sent {
            let media = datagram[0] >= 128;
            self.count += u64::from(media);
            if media && (self.loses)(self.count) {
                continue;
            }
            if let Some(phone) = self.phones.iter_mut().find(|phone| phone.source == to) {
                phone.take(self.now, datagram);
            }
        }
        self.events.extend(self.worker.events());
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
        packet.extend_from_slice(&[sequence as u8; 200]);
        let keys = &mut self.phones[number].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, sequence).unwrap();
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
        let show = Command::Show { peer, mid, track: Some(TrackKey(track)) };
        self.worker.handle_command(show, self.now);
    }

    /// Keyframe requests that a publisher got.
    fn asked(&self, number: usize) -> usize {
        let mut asked = 0;
        for compound in &self.phones[number].told {
            read(compound, |said| {
                asked += usize::from(matches!(said, Rtcp::KeyframeRequest { .. }))
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
                self.told.push(datagram);
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
                let index = continued - 0x1_0000;
                let keys = &mut self.keys.as_mut().unwrap().1;
                let length = keys.open(&mut datagram, header.length, header.ssrc, index).unwrap();
                datagram.truncate(length);
                self.got.push((continued, datagram));
            }
            _ => {}
        }
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
            let twin = media.insert(sequence, (header.timestamp, id, begins));
            assert!(twin.is_none_or(|twin| twin == (header.timestamp, id, begins)), "a twin");
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
fn what_is_lost_on_the_way_to_a_viewer_is_sent_again_and_never_under_the_same_index() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    world.loses = |count| count % 7 == 3;
    let mut asked: HashSet<u16> = HashSet::new();
    for frame in 0..300_u64 {
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
    world.loses = |_| false;
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
    for compound in &world.phones[ada].told {
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
            .seal(&mut packet, 0, header, 150, index)
            .unwrap();
        world.send(ada, packet);
    }
    world.step(5);
    let media = world.phones[ben].media();
    assert_eq!((media.len(), gaps(media.keys().copied())), (7, 0));
}

#[test]
fn layers_switch_at_keyframes_without_a_seam() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 3)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut wanted = [true; 3];
    for frame in 0..400_u64 {
        let wish = match frame {
            100 => Some(Wish::Layer(0)),
            200 => Some(Wish::Layer(1)),
            300 => Some(Wish::Auto),
            _ => None,
        };
        if let Some(wish) = wish {
            let peer = world.phones[ben].key;
            let prefer =
                Command::Prefer { peer, track: TrackKey(1), wish, priority: 1, temporal: u8::MAX };
            world.worker.handle_command(prefer, world.now);
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
        let before = world.phones[ada].told.len();
        world.step(33);
        for compound in &world.phones[ada].told[before..] {
            read(compound, |said| {
                if let Rtcp::KeyframeRequest { ssrc } = said {
                    wanted[(ssrc - 100) as usize] = true;
                }
            });
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

#[test]
fn strangers_and_replays_get_nothing() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let count = |world: &World, name: &str| {
        world.worker.counters.read().find(|(known, _)| *known == name).unwrap().1
    };
    // The right fragment with the wrong password.
    let ufrag = world.phones[ada].ice.ufrag.clone();
    let stranger = Source { remote: "10.9.9.9:9".parse().unwrap(), ..world.phones[ada].source };
    let mut check = binding(&ufrag, "wrong", true);
    world.worker.handle_datagram(stranger, &mut check, world.now);
    assert!(!world.worker.knows(&stranger));
    assert_eq!(count(&world, "dropped_forged"), 1);
    // Media from an address that has not shown the password.
    let mut packet = vec![0x80; 100];
    assert!(!world.worker.handle_datagram(stranger, &mut packet, world.now));
    // The same packet twice, at once and later.
    let sealed = |world: &mut World, sequence: u64| {
        let mut packet = Vec::new();
        let header = Writer::new(&mut packet, (VP8, true), sequence as u16, 0, 100).finish();
        packet.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0, 9, 9]);
        let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, 100, sequence).unwrap();
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
    // Ten thousand SSRCs that nobody announced.
    for ssrc in 20_000..30_000 {
        let mut packet = Vec::new();
        let header = Writer::new(&mut packet, (VP8, true), 1, 0, ssrc).finish();
        packet.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0, 9, 9]);
        let keys = &mut world.phones[ada].keys.as_mut().unwrap().0;
        keys.seal(&mut packet, 0, header, ssrc, 1).unwrap();
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
    assert_eq!(world.worker.codec(TrackKey(1)), None);
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
                keys.seal(&mut packet, 0, header, 100, sequence).unwrap();
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
