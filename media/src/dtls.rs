//! DTLS 1.2 as the passive side (RFC 6347, RFC 5764): one association a peer, without addresses, behind the handshake
//! fragment limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_dtls::state::State;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use crate::srtp::{Direction, Profile};

/// The endpoint wants an address; ICE may change the real one without DTLS being notified.
const INVENTED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Datagrams kept for a second try with other profiles.
const KEPT: usize = 16;
/// The first wait for an answer; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Repeats of one flight.
const REPEATS: u32 = 7;

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
/// Bytes of a handshake message.
const MESSAGE: usize = 16 << 10;
/// Bytes of a fragment that is not the last of its message.
const FRAGMENT: usize = 64;
/// Fragments of all messages together.
const FRAGMENTS: usize = 128;
/// Numbers of handshake messages.
const MESSAGES: u16 = 16;
/// Datagrams before the handshake is complete.
const DATAGRAMS: usize = 64;
/// Unencrypted records once it is: a client that repeats its last flight.
const LATE_RECORDS: usize = 16;

/// What the peers of this process show: one certificate, and how handshakes are to be made.
pub struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    gcm: Arc<HandshakeConfig>,
    sha1: Arc<HandshakeConfig>,
    fingerprint: [u8; 32],
}

/// No certificate can be made here.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare DTLS: {0}")]
pub struct IdentityError(String);

impl Identity {
    /// Makes a self-signed certificate.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::try_generate().map_err(|error| IdentityError(error.to_string()))
    }

    fn try_generate() -> Result<Self, Error> {
        let provider = default_provider().map_err(|error| Error::Other(error.to_string()))?;
        let certificate =
            Certificate::generate_self_signed(vec!["switchboard".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().map(|der| der.to_vec()).unwrap_or_default();
        let fingerprint = sha256(&*provider, &der).unwrap_or_default();
        let config = |profiles| {
            ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(profiles)
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_insecure_skip_verify(true)
                .with_flight_interval(FIRST_WAIT)
                .build(false, None)
                .map(Arc::new)
        };
        let gcm = config(vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
        ])?;
        let sha1 = config(vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80])?;
        Ok(Self { provider, gcm, sha1, fingerprint })
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

fn sha256(provider: &dyn RTCCryptoProvider, bytes: &[u8]) -> Option<[u8; 32]> {
    provider.crypto().hash(HashAlgorithm::Sha256, bytes).ok()?.try_into().ok()
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DtlsError {
    /// The peer shows another certificate than its description promised.
    #[error("the certificate is not the one whose fingerprint was signalled")]
    WrongFingerprint,
    /// Something that cannot be agreed on, or no handshake at all.
    #[error("the DTLS handshake failed")]
    Failed,
    /// The peer no longer answers.
    #[error("the DTLS handshake was not finished in time")]
    TimedOut,
}

/// What a datagram leads to.
pub(crate) enum Progress {
    None,
    Keys(Keys),
    Closed,
}

/// The keys of both directions.
pub(crate) struct Keys {
    pub(crate) inbound: Direction,
    pub(crate) outbound: Direction,
}

/// One association.
pub(crate) struct Dtls {
    endpoint: Endpoint,
    identity: Arc<Identity>,
    fingerprint: [u8; 32],
    limits: FragmentLimits,
    kept: Vec<Vec<u8>>,
    fallen_back: bool,
    waiting: Option<(Instant, u32)>,
}

impl Dtls {
    /// Waits for the ClientHello of a peer whose certificate has this SHA-256.
    pub(crate) fn new(identity: Arc<Identity>, fingerprint: [u8; 32]) -> Self {
        Self {
            endpoint: endpoint(&identity.gcm),
            identity,
            fingerprint,
            limits: FragmentLimits::default(),
            kept: Vec::new(),
            fallen_back: false,
            waiting: None,
        }
    }

    /// The peer's certificate has this SHA-256, as it says now.
    pub(crate) fn expect(&mut self, fingerprint: [u8; 32]) {
        self.fingerprint = fingerprint;
    }

    /// Takes a datagram.
    pub(crate) fn read(&mut self, now: Instant, datagram: &[u8]) -> Result<Progress, DtlsError> {
        if !self.limits.admit(datagram) {
            return Ok(Progress::None);
        }
        if !self.limits.complete && !self.fallen_back && self.kept.len() < KEPT {
            self.kept.push(datagram.to_vec());
        }
        let read = self.endpoint.read(now, INVENTED, None, BytesMut::from(datagram));
        let events = match read {
            Err(Error::ErrServerNoMatchingSrtpProfile) if !self.fallen_back => {
                return self.fall_back(now);
            }
            // An established association outlives whatever others send.
            Err(_) if self.limits.complete => return Ok(Progress::None),
            Err(_) => return Err(DtlsError::Failed),
            Ok(events) => events,
        };
        self.settle(now, events)
    }

    fn settle(&mut self, now: Instant, events: Vec<EndpointEvent>) -> Result<Progress, DtlsError> {
        self.watch(now, true);
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.limits.complete = true;
                    self.kept = Vec::new();
                    let keys = self.keys();
                    if keys.is_err() {
                        // Without our Finished the peer has no connection either.
                        while self.endpoint.poll_transmit().is_some() {}
                    }
                    return keys.map(Progress::Keys);
                }
                EndpointEvent::PeerClosed => return Ok(Progress::Closed),
                _ => {}
            }
        }
        Ok(Progress::None)
    }

    /// The client has no GCM: the same datagrams again, with the other profile.
    fn fall_back(&mut self, now: Instant) -> Result<Progress, DtlsError> {
        self.fallen_back = true;
        self.endpoint = endpoint(&self.identity.sha1);
        let mut last = Progress::None;
        for datagram in std::mem::take(&mut self.kept) {
            let events = self
                .endpoint
                .read(now, INVENTED, None, BytesMut::from(&*datagram))
                .map_err(|_| DtlsError::Failed)?;
            last = self.settle(now, events)?;
        }
        // What was sent before is known to the peer; only the answer to the last datagram is new.
        Ok(last)
    }

    fn keys(&self) -> Result<Keys, DtlsError> {
        let state = self.endpoint.get_connection_state(INVENTED).ok_or(DtlsError::Failed)?;
        let shown = state.peer_certificates.first().ok_or(DtlsError::WrongFingerprint)?;
        if sha256(&*self.identity.provider, shown) != Some(self.fingerprint) {
            return Err(DtlsError::WrongFingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::Gcm128,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Profile::Gcm256,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Sha1,
            _ => return Err(DtlsError::Failed),
        };
        let (key, salt) = profile.lengths();
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))
            .map_err(|_| DtlsError::Failed)?;
        // Client key, server key, client salt, server salt (RFC 5764 §4.2).
        let piece = |begin: usize, length: usize| {
            material.as_ref().get(begin..begin + length).ok_or(DtlsError::Failed)
        };
        let crypto = self.identity.provider.crypto();
        let direction = |key: &[u8], salt: &[u8]| {
            Direction::new(crypto, profile, key, salt).map_err(|_| DtlsError::Failed)
        };
        Ok(Keys {
            inbound: direction(piece(0, key)?, piece(2 * key, salt)?)?,
            outbound: direction(piece(key, key)?, piece(2 * key + salt, salt)?)?,
        })
    }

    /// The finished association, for a successor of this process.
    pub(crate) fn export(&self) -> Option<Vec<u8>> {
        self.endpoint.get_connection_state(INVENTED)?.marshal_binary().ok()
    }

    /// Goes on with the association of a predecessor; its keys, unless it is none.
    pub(crate) fn adopt(&mut self, association: &[u8], now: Instant) -> Option<Keys> {
        let mut state = State::new(Arc::clone(&self.identity.provider), false);
        state.unmarshal_binary(association).ok()?;
        self.endpoint = endpoint(&self.identity.gcm);
        let config = Arc::clone(&self.identity.gcm);
        self.endpoint.connect(now, INVENTED, config, Some(state)).ok()?;
        self.limits.complete = true;
        self.keys().ok()
    }

    /// The next datagram to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|(at, _)| at)
    }

    /// Repeats a flight that was not answered.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        let Some((at, repeats)) = self.waiting else { return Ok(()) };
        if now < at {
            return Ok(());
        }
        if repeats >= REPEATS {
            return Err(DtlsError::TimedOut);
        }
        self.endpoint.handle_timeout(INVENTED, now).map_err(|_| DtlsError::TimedOut)?;
        self.waiting = Some((now + FIRST_WAIT * 2_u32.pow(repeats + 1).min(8), repeats + 1));
        self.watch(now, false);
        Ok(())
    }

    fn watch(&mut self, now: Instant, begin: bool) {
        let armed = self.endpoint.poll_timeout(&INVENTED).is_some();
        match (armed, self.waiting) {
            (false, _) => self.waiting = None,
            (true, None) => self.waiting = Some((now + FIRST_WAIT, 0)),
            (true, Some(_)) if begin => self.waiting = Some((now + FIRST_WAIT, 0)),
            (true, Some(_)) => {}
        }
    }

    /// Says goodbye; the datagrams for it are in [`Self::poll_transmit`].
    pub(crate) fn close(&mut self, now: Instant) {
        drop(self.endpoint.stop(now, INVENTED));
    }
}

fn endpoint(config: &Arc<HandshakeConfig>) -> Endpoint {
    Endpoint::new(INVENTED, TransportProtocol::UDP, Some(Arc::clone(config)))
}

/// The handshake fragment limits: what may reach the association's reassembly.
#[derive(Debug, Default)]
struct FragmentLimits {
    complete: bool,
    datagrams: usize,
    fragments: usize,
    late: usize,
}

impl FragmentLimits {
    /// Whether a datagram may pass: whole records, and handshake fragments of sensible number and size.
    fn admit(&mut self, datagram: &[u8]) -> bool {
        if !self.complete {
            self.datagrams += 1;
            if self.datagrams > DATAGRAMS {
                return false;
            }
        }
        let mut rest = datagram;
        while !rest.is_empty() {
            let Some(&[kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1]) = rest.first_chunk() else {
                return false;
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let Some((record, after)) = rest.split_at_checked(RECORD_HEADER + length) else {
                return false;
            };
            let body = record.get(RECORD_HEADER..).unwrap_or_default();
            if u16::from_be_bytes([e0, e1]) == 0 && !self.admit_plain(kind, body) {
                return false;
            }
            rest = after;
        }
        !datagram.is_empty()
    }

    /// Records of epoch 0, which any sender can write.
    fn admit_plain(&mut self, kind: u8, body: &[u8]) -> bool {
        const CHANGE_CIPHER_SPEC: u8 = 20;
        const HANDSHAKE: u8 = 22;
        if self.complete {
            self.late += 1;
            if self.late > LATE_RECORDS {
                return false;
            }
        }
        match kind {
            CHANGE_CIPHER_SPEC => body.len() == 1,
            HANDSHAKE => self.admit_fragments(body),
            // An alert that is not authenticated, or data before there are keys.
            _ => false,
        }
    }

    fn admit_fragments(&mut self, body: &[u8]) -> bool {
        let mut rest = body;
        while !rest.is_empty() {
            let Some(&[_, m0, m1, m2, s0, s1, o0, o1, o2, f0, f1, f2]) = rest.first_chunk() else {
                return false;
            };
            let number = |a, b, c| u32::from_be_bytes([0, a, b, c]) as usize;
            let (message, offset, fragment) =
                (number(m0, m1, m2), number(o0, o1, o2), number(f0, f1, f2));
            self.fragments += 1;
            let last = offset + fragment == message;
            let sensible = message <= MESSAGE
                && offset + fragment <= message
                && (fragment >= FRAGMENT || last)
                && (fragment > 0 || message == 0)
                && u16::from_be_bytes([s0, s1]) < MESSAGES
                && (self.complete || self.fragments <= FRAGMENTS);
            let Some((_, after)) = rest.split_at_checked(HANDSHAKE_HEADER + fragment) else {
                return false;
            };
            if !sensible {
                return false;
            }
            rest = after;
        }
        !body.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client of the same crate, as the other side in tests.
    pub(crate) struct Client {
        endpoint: Endpoint,
        pub(crate) fingerprint: [u8; 32],
        provider: Arc<dyn RTCCryptoProvider>,
    }

    impl Client {
        pub(crate) fn new(now: Instant, profiles: Vec<SrtpProtectionProfile>) -> Self {
            let provider = default_provider().unwrap();
            let certificate =
                Certificate::generate_self_signed(vec!["client".to_owned()], provider.crypto())
                    .unwrap();
            let fingerprint = sha256(&*provider, &certificate.certificate[0]).unwrap();
            let config = ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate])
                .with_srtp_protection_profiles(profiles)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_insecure_skip_verify(true)
                .build(true, Some(INVENTED))
                .unwrap();
            let mut endpoint = Endpoint::new(INVENTED, TransportProtocol::UDP, None);
            endpoint.connect(now, INVENTED, Arc::new(config), None).unwrap();
            Self { endpoint, fingerprint, provider }
        }

        pub(crate) fn close(&mut self, now: Instant) {
            drop(self.endpoint.stop(now, INVENTED));
        }

        pub(crate) fn transmit(&mut self) -> Option<Vec<u8>> {
            self.endpoint.poll_transmit().map(|transmit| transmit.message.to_vec())
        }

        pub(crate) fn read(&mut self, now: Instant, datagram: &[u8]) -> bool {
            let events = self.endpoint.read(now, INVENTED, None, BytesMut::from(datagram));
            // Who has said goodbye takes nothing more.
            let Ok(events) = events else { return false };
            events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete))
        }

        /// Keys as this client sees them: what it sends with, and what it receives with.
        pub(crate) fn keys(&self) -> (Direction, Direction) {
            let state = self.endpoint.get_connection_state(INVENTED).unwrap();
            let profile = match state.srtp_protection_profile() {
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::Gcm128,
                _ => Profile::Sha1,
            };
            let (key, salt) = profile.lengths();
            let all =
                state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt)).unwrap();
            let all: &[u8] = all.as_ref();
            let crypto = self.provider.crypto();
            let of = |key: &[u8], salt: &[u8]| Direction::new(crypto, profile, key, salt).unwrap();
            let (keys, salts) = all.split_at(2 * key);
            (of(&keys[..key], &salts[..salt]), of(&keys[key..], &salts[salt..]))
        }
    }

    pub(crate) const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
    const SHA1: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

    #[expect(clippy::disallowed_methods, reason = "a test begins somewhere")]
    pub(crate) fn noon() -> Instant {
        Instant::now()
    }

    fn shake(
        server: &mut Dtls,
        client: &mut Client,
        now: Instant,
    ) -> Result<Option<Keys>, DtlsError> {
        let mut keys = None;
        for _ in 0..20 {
            while let Some(datagram) = client.transmit() {
                if let Progress::Keys(found) = server.read(now, &datagram)? {
                    keys = Some(found);
                }
            }
            while let Some(datagram) = server.poll_transmit() {
                client.read(now, &datagram);
            }
        }
        Ok(keys)
    }

    fn server(client: &Client) -> Dtls {
        Dtls::new(Arc::new(Identity::generate().unwrap()), client.fingerprint)
    }

    #[test]
    fn both_sides_have_the_same_keys_with_either_profile() {
        let now = noon();
        for profiles in [vec![GCM, SHA1], vec![SHA1, GCM], vec![SHA1]] {
            let mut client = Client::new(now, profiles);
            let mut server = server(&client);
            let mut keys = shake(&mut server, &mut client, now).unwrap().expect("complete");
            let (mut sends, mut receives) = client.keys();
            let packet = [&[0x80, 96, 0, 1][..], &[0; 4], &[0, 0, 0, 9], b"media"].concat();
            let mut sealed = packet.clone();
            sends.seal(&mut sealed, 0, 12, 9, 1.into()).unwrap();
            let length = keys.inbound.open(&mut sealed, 12, 9, 1.into()).unwrap();
            assert_eq!(sealed[..length], packet);
            let mut sealed = packet.clone();
            keys.outbound.seal(&mut sealed, 0, 12, 9, 1.into()).unwrap();
            assert_eq!(receives.open(&mut sealed, 12, 9, 1.into()), Ok(packet.len()));
        }
    }

    #[test]
    fn another_certificate_gives_no_keys() {
        let now = noon();
        let mut client = Client::new(now, vec![GCM]);
        let mut server = server(&client);
        server.fingerprint = [7; 32];
        assert!(matches!(shake(&mut server, &mut client, now), Err(DtlsError::WrongFingerprint)));
        assert!(server.poll_transmit().is_none(), "the peer is not notified that it was finished");
    }

    #[test]
    fn an_unanswered_flight_is_repeated_more_and_more_seldom_and_then_given_up() {
        let now = noon();
        let mut client = Client::new(now, vec![GCM]);
        let mut server = server(&client);
        // HelloVerifyRequest, then the server's flight, which is lost.
        for _ in 0..2 {
            while let Some(datagram) = client.transmit() {
                server.read(now, &datagram).unwrap();
            }
            while let Some(datagram) = server.poll_transmit() {
                client.read(now, &datagram);
            }
        }
        let mut waits = Vec::new();
        let mut at = now;
        let end = loop {
            let Some(next) = server.deadline() else { break None };
            waits.push((next - at).as_millis());
            at = next;
            if let Err(error) = server.handle_timeout(at) {
                break Some(error);
            }
        };
        assert_eq!(end, Some(DtlsError::TimedOut));
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
    }

    /// A handshake record with one fragment.
    fn record(message: u32, number: u16, offset: u32, body: &[u8]) -> Vec<u8> {
        let length = |value: u32| value.to_be_bytes()[1..].to_vec();
        let fragment = [
            vec![1],
            length(message),
            number.to_be_bytes().to_vec(),
            length(offset),
            length(body.len() as u32),
            body.to_vec(),
        ]
        .concat();
        let head = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1];
        [&head[..], &(fragment.len() as u16).to_be_bytes(), &fragment].concat()
    }

    #[test]
    fn handshake_fragment_limits() {
        let passes = |datagram: &[u8]| FragmentLimits::default().admit(datagram);
        assert!(passes(&record(200, 0, 0, &[0; 200])), "a whole message");
        assert!(passes(&record(200, 0, 0, &[0; 100])), "a first piece");
        assert!(passes(&record(200, 0, 199, &[0; 1])), "a short last piece");
        assert!(passes(&record(0, 1, 0, &[])), "an empty message");
        assert!(!passes(&record(200, 0, 0, &[0; 63])), "a short piece that is not the last");
        assert!(!passes(&record(200, 0, 0, &[])), "an empty piece of a message");
        assert!(!passes(&record(17_000, 0, 0, &[0; 100])), "a message too long");
        assert!(!passes(&record(200, 0, 150, &[0; 100])), "a piece beyond the end");
        assert!(!passes(&record(200, 16, 0, &[0; 200])), "a number too high");
        assert!(!passes(&record(200, 0, 0, &[0; 200])[..100]), "a record cut short");
        assert!(!passes(&[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 0]), "an alert");
        assert!(!passes(&[]), "nothing");
        let many = record(200, 0, 0, &[0; 200]);
        let mut limits = FragmentLimits::default();
        assert_eq!((0..1000).filter(|_| limits.admit(&many)).count(), DATAGRAMS);
        let train: Vec<u8> = (0..10).flat_map(|_| record(200, 0, 0, &[0; 100])).collect();
        let mut limits = FragmentLimits::default();
        assert_eq!((0..64).filter(|_| limits.admit(&train)).count(), FRAGMENTS / 10);
        let mut limits = FragmentLimits { complete: true, ..FragmentLimits::default() };
        assert_eq!((0..1000).filter(|_| limits.admit(&many)).count(), LATE_RECORDS);
    }

    #[test]
    fn a_train_of_tiny_fragments_neither_stops_nor_breaks_an_association() {
        let now = noon();
        let mut client = Client::new(now, vec![GCM]);
        let mut server = server(&client);
        let attack = |server: &mut Dtls| {
            for offset in 0..60_000 {
                let read = server.read(now, &record(60_000, 3, offset, &[0]));
                assert!(matches!(read, Ok(Progress::None)));
            }
        };
        assert!(shake(&mut server, &mut client, now).unwrap().is_some());
        attack(&mut server);
        let mut fresh = Dtls::new(Arc::clone(&server.identity), client.fingerprint);
        attack(&mut fresh);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_break_a_handshake(
            datagrams in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..200), 0..20)
        ) {
            let now = noon();
            let client = Client::new(now, vec![GCM]);
            let mut server = server(&client);
            for mut datagram in datagrams {
                if let Some(first) = datagram.first_mut() {
                    *first = 20 + *first % 4;
                }
                let _ = server.read(now, &datagram);
            }
        }
    }
}
