//! What a packet costs one worker for each viewer, in virtual time, without sockets: `cargo run --release -p switchboard-media
//! --example forward [viewers…]`. Clients are real (DTLS 1.2, AES-128-GCM); their handshakes are not measured.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nix::time::{ClockId, clock_gettime};
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{HashAlgorithm, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use stun_types::attribute::{AttributeType, RawAttribute, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    ShortTermCredentials,
};
use switchboard_media::{
    Codec, Command, ExtensionIds, IceCredentials, Identity, KeyframeFeedback, Kind, PeerKey,
    PeerPlan, ReceiveCodec, ReceivePlan, RoomKey, SendCodec, SendPlan, Source, TrackKey, Via,
    Worker,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const VP8: u8 = 96;
const SSRC: u32 = 100;
/// Pictures that are measured, packets of each, and bytes of a packet.
const PICTURES: u16 = 100;
const PACKETS: u16 = 10;
const BYTES: usize = 1100;
/// Where the client's endpoint believes the server to be.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// A client with its keys.
struct Client {
    endpoint: Endpoint,
    source: Source,
}

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "this measures")]
fn main() -> Outcome<()> {
    let wished: Vec<u64> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    let counts = if wished.is_empty() { vec![1, 10, 100, 1000, 5000] } else { wished };
    println!("viewers  ns for each packet and viewer  ns for each packet");
    for viewers in counts {
        let (packets, nanoseconds) = measure(viewers, Instant::now())?;
        let each = nanoseconds / packets.max(1);
        println!("{viewers:7}  {each:29}  {:18}", nanoseconds / u64::from(PICTURES * PACKETS));
    }
    Ok(())
}

/// Datagrams that left, and the CPU time that took, in nanoseconds.
fn measure(viewers: u64, noon: Instant) -> Outcome<(u64, u64)> {
    let mut now = noon;
    let mut worker = Worker::new(Arc::new(Identity::generate()?), now);
    let publisher = connect(&mut worker, PeerKey(0), vec![camera()], vec![], now)?;
    let mut sealing = sealing(&publisher)?;
    for viewer in 1..=viewers {
        let peer = PeerKey(viewer);
        connect(&mut worker, peer, vec![], vec![screen()], now)?;
        let show = Command::Show { peer, mid: "0".to_owned(), track: Some(TrackKey(1)) };
        worker.handle_command(show, now);
    }
    let (mut sent, mut spent) = (0, 0);
    // The first pictures let rings and queues grow.
    for picture in 0..PICTURES + 20 {
        now += Duration::from_millis(33);
        worker.handle_timeout(now);
        while worker.poll_output(now).is_some() {}
        let mut datagrams = Vec::new();
        for part in 0..PACKETS {
            datagrams.push(sealing.encrypt_rtp(&packet(picture, part))?.to_vec());
        }
        let began = cpu_time()?;
        let mut left = 0;
        for datagram in &mut datagrams {
            worker.handle_datagram(publisher.source, datagram, now);
        }
        while let Some(transmit) = worker.poll_output(now) {
            left += transmit.lengths.len() as u64;
        }
        if picture >= 20 {
            spent += cpu_time()? - began;
            sent += left;
        }
        worker.events().for_each(drop);
    }
    let expected = viewers * u64::from(PICTURES) * u64::from(PACKETS);
    if sent < expected {
        return Err(format!("{sent} of {expected} packets left").into());
    }
    Ok((sent, spent))
}

/// Nanoseconds that this thread was on a processor.
fn cpu_time() -> Outcome<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    Ok(u64::try_from(time.as_nanos())?)
}

/// A packet of a VP8 picture; the first is a keyframe.
fn packet(picture: u16, part: u16) -> Vec<u8> {
    let sequence = (1000 + picture * PACKETS + part).to_be_bytes();
    let time = (u32::from(picture) * 3000).to_be_bytes();
    let marker = if part + 1 == PACKETS { 0x80 } else { 0 };
    let head = [&[0x80, VP8 | marker][..], &sequence, &time, &SSRC.to_be_bytes()].concat();
    let [high, low] = picture.to_be_bytes();
    let start = if part == 0 { 0x90 } else { 0x80 };
    let descriptor = [start, 0x80, high | 0x80, low, u8::from(picture > 0)];
    [&head[..], &descriptor, &vec![7; BYTES]].concat()
}

fn camera() -> ReceivePlan {
    ReceivePlan {
        mid: "v".to_owned(),
        track: TrackKey(1),
        codecs: vec![ReceiveCodec {
            format: Codec::Vp8.into(),
            payload_type: VP8,
            rtx_type: None,
            red_type: None,
            nack: true,
            keyframes: KeyframeFeedback::Pli,
            parameter_sets: [].into(),
        }],
        extensions: ExtensionIds::default(),
        rids: vec![],
        ssrcs: vec![(SSRC, None)],
        remb: false,
    }
}

fn screen() -> SendPlan {
    SendPlan {
        mid: "0".to_owned(),
        kind: Kind::Video,
        ssrc: 7000,
        rtx_ssrc: 7001,
        codecs: vec![SendCodec {
            format: Codec::Vp8.into(),
            payload_type: VP8,
            rtx_type: None,
            red_type: None,
        }],
        extensions: ExtensionIds::default(),
    }
}

/// Connects a client: a check, and a handshake.
fn connect(
    worker: &mut Worker,
    peer: PeerKey,
    receives: Vec<ReceivePlan>,
    sends: Vec<SendPlan>,
    now: Instant,
) -> Outcome<Client> {
    let provider = default_provider()?;
    let names = vec!["client".to_owned()];
    let certificate = Certificate::generate_self_signed(names, provider.crypto())?;
    let shown = certificate.certificate.first().ok_or("no certificate")?;
    let fingerprint = provider.crypto().hash(HashAlgorithm::Sha256, shown)?;
    let config = ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate.clone()])
        .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_insecure_skip_verify(true)
        .build(true, Some(SERVER))?;
    let mut endpoint = Endpoint::new(SERVER, TransportProtocol::UDP, None);
    endpoint.connect(now, SERVER, Arc::new(config), None)?;
    let ice = IceCredentials::generate();
    let [.., a, b, c] = peer.0.to_be_bytes();
    let remote = SocketAddr::from(([10, a, b, c], 5000));
    let source = Source { via: Via::Udp, remote, local: None };
    let mut check = check(&ice)?;
    let fingerprint = Some(fingerprint.as_slice().try_into()?);
    let plan = Box::new(PeerPlan { ice, fingerprint, receives, sends });
    worker.handle_command(Command::Connect { room: RoomKey(1), peer, plan }, now);
    worker.handle_datagram(source, &mut check, now);
    let mut complete = false;
    for _ in 0..10 {
        while let Some(transmit) = endpoint.poll_transmit() {
            worker.handle_datagram(source, &mut transmit.message.to_vec(), now);
        }
        while let Some(transmit) = worker.poll_output(now) {
            let handshake = transmit.datagrams().filter(|it| matches!(it.first(), Some(20..=63)));
            for datagram in handshake.filter(|_| transmit.to == source) {
                let events = endpoint.read(now, SERVER, None, BytesMut::from(datagram))?;
                complete |= events.iter().any(|it| matches!(it, EndpointEvent::HandshakeComplete));
            }
        }
    }
    if complete { Ok(Client { endpoint, source }) } else { Err("no handshake".into()) }
}

/// What a client seals its media with.
fn sealing(client: &Client) -> Outcome<Context> {
    let state = client.endpoint.get_connection_state(SERVER).ok_or("no association")?;
    let (key, salt) = (16, 12);
    let all = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
    let all: &[u8] = all.as_ref();
    let own_key = all.get(..key).ok_or("no key")?;
    let own_salt = all.get(2 * key..2 * key + salt).ok_or("no salt")?;
    let provider = default_provider()?;
    let profile = ProtectionProfile::AeadAes128Gcm;
    Ok(Context::new(own_key, own_salt, profile, None, None, provider.crypto())?)
}

fn check(ice: &IceCredentials) -> Outcome<Vec<u8>> {
    let mut check = Message::builder_request(BINDING, MessageWriteVec::new());
    check.add_attribute(&Username::new(&format!("{}:them", ice.ufrag))?)?;
    check.add_attribute(&RawAttribute::new(AttributeType::new(0x0025), &[]))?;
    let credentials = ShortTermCredentials::new(ice.pwd.clone());
    check.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1)?;
    check.add_fingerprint()?;
    Ok(check.finish())
}
