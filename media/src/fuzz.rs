//! An established peer for the fuzzer: one that has its keys without a handshake.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rtc_dtls::crypto_provider::default_provider;
use stun_types::attribute::Username;
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    ShortTermCredentials,
};

use crate::codec::{Codec, Kind};
use crate::dtls::{Identity, Keys};
use crate::ice::{IceCredentials, Source, Via};
use crate::plan::{
    KeyframeFeedback, PeerKey, PeerPlan, ReceiveCodec, ReceivePlan, RoomKey, SendCodec, SendPlan,
    TrackKey,
};
use crate::rtp::{Extension, ExtensionIds, Writer};
use crate::srtp::{Direction, Profile};
use crate::subscription::LayerPreference;
use crate::worker::{Command, Worker};

fn identity() -> Arc<Identity> {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    Arc::clone(IDENTITY.get_or_init(|| Arc::new(Identity::generate().expect("a certificate"))))
}

fn keys(which: u8) -> Direction {
    let provider = default_provider().expect("a provider");
    Direction::new(provider.crypto(), Profile::Gcm128, &[which; 16], &[which; 12]).expect("keys")
}

/// Every header extension that there is.
fn extensions() -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for (id, extension) in (1..).zip([
        Extension::Mid,
        Extension::Rid,
        Extension::TransportSequence,
        Extension::SendTime,
        Extension::AudioLevel,
        Extension::Dependency,
    ]) {
        ids.set(extension, id);
    }
    ids
}

/// A publisher of one track of each codec, which also receives all of them but its own; `bytes` say what it does.
pub fn worker(bytes: &[u8]) {
    let mut now = noon();
    let mut worker = Worker::new(identity(), now);
    let codecs = Codec::ALL.iter().zip(0_u8..);
    let sends = |peer: u32| -> Vec<SendPlan> {
        let taken = codecs.clone().map(|(&codec, n)| SendCodec {
            format: codec.into(),
            payload_type: 96 + 2 * n,
            rtx_type: (codec.kind() == Kind::Video).then_some(97 + 2 * n),
            red_type: None,
        });
        let taken: Vec<SendCodec> = taken.collect();
        codecs
            .clone()
            .map(|(codec, n)| SendPlan {
                mid: n.to_string(),
                kind: codec.kind(),
                ssrc: peer * 1000 + u32::from(n),
                rtx_ssrc: peer * 1000 + 100 + u32::from(n),
                codecs: taken.clone(),
                extensions: extensions(),
            })
            .collect()
    };
    let receives = codecs.clone().map(|(&codec, n)| ReceivePlan {
        mid: format!("v{n}"),
        track: TrackKey(u64::from(n)),
        codecs: vec![ReceiveCodec {
            format: codec.into(),
            payload_type: 96 + 2 * n,
            rtx_type: Some(97 + 2 * n),
            red_type: (codec == Codec::Opus).then_some(63),
            nack: true,
            keyframes: KeyframeFeedback::Pli,
            parameter_sets: [].into(),
        }],
        extensions: extensions(),
        rids: vec![],
        ssrcs: vec![(u32::from(n) + 1, Some(u32::from(n) + 51))],
        remb: n % 2 == 0,
    });
    let receives: Vec<ReceivePlan> = receives.collect();
    let mut sources = Vec::new();
    for (number, receives) in [(1_u64, receives), (2, vec![])] {
        let ice = IceCredentials::generate();
        let plan = PeerPlan {
            ice: ice.clone(),
            fingerprint: Some([7; 32]),
            receives,
            sends: sends(number as u32),
        };
        let peer = PeerKey(number);
        let command = Command::Connect { room: RoomKey(1), peer, plan: Box::new(plan) };
        worker.handle_command(command, now);
        let remote = ([10, 0, 0, number as u8], 5000).into();
        let source = Source { via: Via::Udp, remote, local: None };
        worker.handle_datagram(source, &mut check(&ice), now);
        worker.establish(peer, Keys { inbound: keys(number as u8), outbound: keys(9) }, now);
        sources.push(source);
    }
    for n in 0..5 {
        let (peer, track) = (PeerKey(2), Some(TrackKey(n)));
        worker.handle_command(Command::Show { peer, mid: n.to_string(), track }, now);
    }
    let (mut publisher, mut viewer) = (keys(1), keys(2));
    let (mut rest, mut number, mut report) = (bytes, [100_u64; 5], 0);
    while let Some((&[what, length], after)) = rest.split_first_chunk::<2>() {
        let (piece, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        match what % 8 {
            // A media packet of one of the codecs, or a retransmission; its header is right, its payload is anything.
            0..=2 => {
                let codec = usize::from(what >> 3) % 5;
                let rtx = what % 8 == 2;
                number[codec] = number[codec].wrapping_add(1 + u64::from(what >> 7) * 7);
                let (ssrc, payload_type) =
                    (codec as u32 + 1 + 50 * u32::from(rtx), 96 + 2 * codec as u8 + u8::from(rtx));
                let mut packet = Vec::new();
                let place = (payload_type, what & 64 != 0);
                let mut writer = Writer::new(
                    &mut packet,
                    place,
                    number[codec] as u16,
                    number[codec] as u32 * 90,
                    ssrc,
                );
                if let (true, Some((head, _))) = (what & 128 != 0, piece.split_at_checked(8)) {
                    writer.extension(Some(6), head);
                }
                let header = writer.finish();
                packet.extend_from_slice(piece);
                if publisher.seal(&mut packet, 0, header, ssrc, number[codec].into()).is_ok() {
                    worker.handle_datagram(sources[0], &mut packet, now);
                }
            }
            // RTCP of either.
            3 | 4 => {
                report += 1;
                let mut packet = vec![0x80 | (what >> 3), 200 + length % 8, 0, 1, 0, 0, 0, 1];
                packet.extend_from_slice(piece);
                let (keys, source) = match what % 8 {
                    3 => (&mut publisher, sources[0]),
                    _ => (&mut viewer, sources[1]),
                };
                if keys.seal_rtcp(&mut packet, 0, report).is_ok() {
                    worker.handle_datagram(source, &mut packet, now);
                }
            }
            // Anything, from its own address or from an unknown one.
            5 => {
                let unknown = Source { remote: ([10, 9, 9, 9], 1).into(), ..sources[0] };
                let source = if what & 8 == 0 { sources[0] } else { unknown };
                worker.handle_datagram(source, &mut piece.to_vec(), now);
            }
            6 => {
                let track = TrackKey(u64::from(what >> 3) % 5);
                let preference = match length % 4 {
                    0 => LayerPreference::Off,
                    1 => LayerPreference::Auto,
                    layer => LayerPreference::Layer(layer),
                };
                let peer = PeerKey(2);
                let temporal = length;
                worker.handle_command(
                    Command::Prefer { peer, track, preference, priority: what, temporal },
                    now,
                );
            }
            _ => now += Duration::from_millis(u64::from(length) * u64::from(what >> 3)),
        }
        worker.handle_timeout(now);
        while worker.poll_output(now).is_some() {}
        worker.events().for_each(drop);
    }
}

fn check(ice: &IceCredentials) -> Vec<u8> {
    let mut check = Message::builder_request(BINDING, MessageWriteVec::new());
    let _ = check.add_attribute(&Username::new(&format!("{}:them", ice.ufrag)).expect("short"));
    let credentials = ShortTermCredentials::new(ice.pwd.clone());
    let _ = check.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1);
    let _ = check.add_fingerprint();
    check.finish()
}

/// Any moment; virtual time goes on from it.
fn noon() -> Instant {
    static NOON: OnceLock<Instant> = OnceLock::new();
    *NOON.get_or_init(Instant::now)
}

/// A recorder of one track of each codec; `bytes` are what packets carry, each behind a byte of particulars and its length.
pub fn recorder(bytes: &[u8]) {
    let began = noon();
    let mut recorder = crate::recorder::Recorder::new(began);
    let taps = Codec::ALL.map(|codec| {
        let (tap, tapping) = crate::tap::tap(64);
        recorder.add(TrackKey(codec as u64), codec, tapping);
        tap
    });
    let (mut rest, mut count) = (bytes, 0_u64);
    while let Some((&[head, length], after)) = rest.split_first_chunk::<2>() {
        let (payload, after) = after.split_at(after.len().min(length.into()));
        rest = after;
        // A number that is left out is a loss.
        count += 1 + u64::from(head & 0x20 != 0);
        let at = began + Duration::from_millis(count * 20);
        let tap = &taps[usize::from(head % 5)];
        tap.put(crate::tap::Tapped::Packet(crate::tap::Packet {
            layer: head >> 7,
            sequence: 100_000 + count,
            timestamp: (count as u32 / 2) * 960,
            marker: head & 0x08 != 0,
            red: head & 0x10 != 0,
            orientation: None,
            payload: bytes::Bytes::copy_from_slice(payload),
            at,
        }));
        if head & 0x40 != 0 {
            assert!(recorder.poll(at + Duration::from_secs(1)).failed.is_empty());
        }
    }
    assert!(recorder.finish(began + Duration::from_secs(600)).failed.is_empty());
}
