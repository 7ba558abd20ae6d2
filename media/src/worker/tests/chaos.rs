//! Ten publishers of one room who change everything at random, for five minutes.

use super::*;

const PEERS: usize = 10;
const H264: u8 = 102;
/// Between two pictures.
const PICTURE: u64 = 250;
/// The longest time that a viewer may stand still while there is something to show.
const STILL: u64 = 2000;

/// Random numbers that a seed decides (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What one publisher does.
struct Publisher {
    number: usize,
    payload_type: u8,
    /// SSRC and next number of each layer.
    streams: Vec<(u32, u64)>,
    keyframes: HashSet<u32>,
    held_until: u64,
    muted: bool,
    /// Since when there is something to show.
    shows_since: u64,
    restarts: u8,
}

/// What one viewer sees of one publisher: when it came last, and as what.
#[derive(Clone, Copy, Default)]
struct View {
    at: u64,
    payload_type: u8,
}

fn section(publisher: usize) -> SendPlan {
    let ssrc = 10_000 + publisher as u32 * 10;
    let mut plan = SendPlan { mid: publisher.to_string(), ssrc, rtx_ssrc: ssrc + 1, ..screen() };
    plan.codecs[1] = SendCodec {
        format: Codec::H264.into(),
        payload_type: 120,
        rtx_type: Some(121),
        red_type: None,
    };
    plan
}

fn own(publisher: usize, layers: usize) -> ReceivePlan {
    let mut plan = camera(publisher as u64 + 1, layers);
    plan.codecs.push(coded(Codec::H264, H264, Some(103)));
    plan.ssrcs.clear();
    if layers == 1 {
        plan.rids.clear();
    }
    plan.extensions.set(Extension::Mid, 5);
    plan.extensions.set(Extension::Rid, 4);
    plan
}

fn payload(payload_type: u8, picture: u64, key: bool) -> Vec<u8> {
    let mut payload = match payload_type {
        VP8 => vp8_payload(picture, true, key),
        _ => vec![if key { 0x65 } else { 0x61 }; 60],
    };
    payload.truncate(60);
    payload
}

struct Chaos {
    world: World,
    random: Random,
    publishers: Vec<Publisher>,
    views: Vec<[View; PEERS]>,
    clock: u64,
    ssrcs: u32,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let mut publishers = Vec::new();
        for publisher in 0..PEERS {
            let others = (0..PEERS).filter(|&other| other != publisher).map(section).collect();
            let number = world.phone(vec![own(publisher, 1)], others);
            publishers.push(Publisher {
                number,
                payload_type: VP8,
                streams: vec![(100_000 + publisher as u32, 1000)],
                keyframes: HashSet::new(),
                held_until: 0,
                muted: false,
                shows_since: 0,
                restarts: 0,
            });
        }
        for viewer in 0..PEERS {
            for publisher in (0..PEERS).filter(|&publisher| publisher != viewer) {
                world.show(viewer, &publisher.to_string(), publisher as u64 + 1);
            }
        }
        let views = vec![[View::default(); PEERS]; PEERS];
        Self { world, random: Random(seed), publishers, views, clock: 0, ssrcs: 200_000 }
    }

    /// Agrees on what a publisher has now; with a restart of ICE if so wished.
    fn configure(&mut self, publisher: usize, restart: bool) {
        let it = &self.publishers[publisher];
        let number = it.number;
        let ice = match restart {
            true => IceCredentials::generate(),
            false => self.world.phones[number].ice.clone(),
        };
        let plan = Box::new(PeerPlan {
            ice: ice.clone(),
            fingerprint: Some(self.world.phones[number].client.fingerprint),
            receives: vec![own(publisher, it.streams.len())],
            sends: (0..PEERS).filter(|&other| other != publisher).map(section).collect(),
        });
        let peer = self.world.phones[number].key;
        self.world.command(number, Command::Configure { peer, plan });
        self.world.phones[number].ice = ice;
    }

    /// New SSRCs for so many layers of a publisher; some begin with a keyframe.
    fn new_streams(&mut self, publisher: usize, layers: usize) {
        let streams = (0..layers).map(|_| {
            self.ssrcs += 1;
            (self.ssrcs, 1 + self.random.below(30_000))
        });
        let streams: Vec<(u32, u64)> = streams.collect();
        let it = &mut self.publishers[publisher];
        it.keyframes.clear();
        if streams[0].1.is_multiple_of(2) {
            it.keyframes.extend(streams.iter().map(|stream| stream.0));
        }
        it.streams = streams;
    }

    /// One publisher does something.
    fn disturb(&mut self, publisher: usize) {
        match self.random.below(7) {
            0 => {
                let it = &mut self.publishers[publisher];
                it.payload_type = if it.payload_type == VP8 { H264 } else { VP8 };
            }
            1 => {
                self.publishers[publisher].held_until = self.clock + 250 + self.random.below(4000);
            }
            2 => {
                let layers = 1 + self.random.below(3) as usize;
                self.new_streams(publisher, layers);
                self.configure(publisher, false);
            }
            3 => {
                let layers = self.publishers[publisher].streams.len();
                self.new_streams(publisher, layers);
            }
            4 => {
                self.configure(publisher, true);
                let it = &mut self.publishers[publisher];
                it.restarts = it.restarts.wrapping_add(1);
                let remote = format!("10.{}.0.{}:6000", 1 + it.restarts, publisher + 1);
                let number = it.number;
                self.world.phones[number].source.remote = remote.parse().unwrap();
                self.world.check(number, true);
            }
            5 => {
                let it = &mut self.publishers[publisher];
                it.muted = !it.muted;
                let (track, muted) = (TrackKey(publisher as u64 + 1), it.muted);
                let number = it.number;
                self.world.command(number, Command::Mute { track, muted });
            }
            _ => {
                let other = (publisher + 1 + self.random.below(9) as usize) % PEERS;
                let preference = LayerPreference::Layer(self.random.below(3) as u8);
                let peer = self.world.phones[self.publishers[publisher].number].key;
                let track = TrackKey(other as u64 + 1);
                let prefer =
                    Command::Prefer { peer, track, preference, priority: 1, temporal: u8::MAX };
                self.world.command(publisher, prefer);
            }
        }
    }

    fn publish(&mut self, publisher: usize) {
        let it = &mut self.publishers[publisher];
        if it.muted || it.held_until > self.clock {
            it.shows_since = self.clock + PICTURE;
        }
        if it.held_until > self.clock {
            return;
        }
        let picture = self.clock / PICTURE;
        let layers = it.streams.len();
        for (layer, (ssrc, sequence)) in it.streams.iter_mut().enumerate() {
            *sequence += 1;
            let rtp = Rtp {
                payload_type: it.payload_type,
                ssrc: *ssrc,
                sequence: *sequence,
                timestamp: picture as u32 * 22_500,
                marker: true,
            };
            let payload = payload(it.payload_type, picture, it.keyframes.remove(ssrc));
            let rid: &[u8] = [b"q", b"h", b"f"][layer];
            let named: &[(u8, &[u8])] = &[(5, b"v"), (4, rid)];
            let named = if layers == 1 { &named[..1] } else { named };
            self.world.packet(it.number, rtp, named, &payload);
        }
    }

    /// Looks at what has arrived.
    fn look(&mut self, seed: u64) {
        for viewer in 0..PEERS {
            for (_, packet) in std::mem::take(&mut self.world.phones[viewer].got) {
                let header = Header::parse(&packet).unwrap();
                let publisher = (header.ssrc - 10_000) as usize / 10;
                let view = &mut self.views[viewer][publisher];
                let payload = &packet[header.length..];
                let key = match header.payload_type {
                    100 => payload[4] & 1 == 0,
                    _ => payload[0] == 0x65,
                };
                let fresh = view.payload_type == header.payload_type;
                assert!(fresh || key, "seed {seed}: another codec begins with a keyframe");
                *view = View { at: self.clock, payload_type: header.payload_type };
            }
            for publisher in (0..PEERS).filter(|&publisher| publisher != viewer) {
                let since = self.publishers[publisher].shows_since;
                let still = self.clock.saturating_sub(self.views[viewer][publisher].at.max(since));
                assert!(
                    still <= STILL,
                    "seed {seed}, at {} ms: {viewer} has seen nothing of {publisher} for {still} ms",
                    self.clock,
                );
            }
        }
    }

    fn run(&mut self, seconds: u64, seed: u64) {
        let mut read = [0; PEERS];
        while self.clock < seconds * 1000 {
            for publisher in 0..PEERS {
                if self.clock.is_multiple_of(5000) {
                    self.world.check(publisher, false);
                }
                if self.random.below(16) == 0 {
                    self.disturb(publisher);
                }
                self.publish(publisher);
            }
            for _ in 0..2 {
                self.world.step(PICTURE / 2);
                for publisher in &mut self.publishers {
                    let from = std::mem::replace(
                        &mut read[publisher.number],
                        self.world.phones[publisher.number].compounds.len(),
                    );
                    publisher.keyframes.extend(self.world.keyframes_asked(publisher.number, from));
                }
            }
            self.clock += PICTURE;
            self.look(seed);
        }
    }
}

#[test]
fn whatever_ten_publishers_change_no_viewer_stands_still_for_long() {
    let seed = 0x5EED_0001;
    let mut chaos = Chaos::new(seed);
    // That no SSRC and number come with two ciphertexts is asserted by the clients.
    chaos.run(300, seed);
    let sent = |world: &World, name: &str| {
        world.worker.counters.read().find(|(known, _)| *known == name).unwrap().1
    };
    assert!(sent(&chaos.world, "packets_sent") > 50_000);
    assert_eq!(sent(&chaos.world, "dropped_forged"), 0);
    let recoded = chaos.world.events.iter().filter(|it| matches!(it, Event::Coded { .. })).count();
    assert!(recoded > 50, "{recoded} changes of codec");
}
