//! Nonces without memory (RFC 8489 §9.2): the time and a keyed hash of it and of the client's address. One that was made for
//! another address, or by another client, does not fit; an old one is stale.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::hmac;

/// Says that PASSWORD-ALGORITHMS counts (RFC 8489 §9.2: the nonce cookie and the first of 24 feature bits).
const COOKIE: &str = "obMatJos2gAAA";
/// Seconds of one step of the time in a nonce.
const STEP: u64 = 16;
/// How long a nonce is good (RFC 8656 §5 wants an hour at most).
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
/// Bytes of the keyed hash.
const TAG: usize = 6;

/// Makes and checks nonces.
pub(crate) struct Nonces {
    key: hmac::Key,
    epoch: Instant,
}

impl Nonces {
    /// Nonces under a key that lives as long as the process.
    pub(crate) fn new(key: &[u8; 32], epoch: Instant) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), epoch }
    }

    /// The nonce of `client` for now, 24 characters.
    pub(crate) fn make(&self, client: SocketAddr, now: Instant) -> String {
        let step = self.step(now);
        let mut bytes = [0; 2 + TAG];
        let (time, tag) = bytes.split_at_mut(2);
        time.copy_from_slice(&step.to_be_bytes());
        tag.copy_from_slice(&self.tag(client, step));
        format!("{COOKIE}{}", BASE64.encode(bytes))
    }

    /// Whether `nonce` was made here for `client`, and is not old.
    pub(crate) fn fits(&self, nonce: &str, client: SocketAddr, now: Instant) -> bool {
        let Some(encoded) = nonce.strip_prefix(COOKIE) else { return false };
        let mut bytes = [0; 2 + TAG];
        if encoded.len() != 11 || BASE64.decode_slice(encoded, &mut bytes) != Ok(2 + TAG) {
            return false;
        }
        let [t0, t1, tag @ ..] = bytes;
        let step = u16::from_be_bytes([t0, t1]);
        let age = u64::from(self.step(now).wrapping_sub(step)) * STEP;
        let expected = self.tag(client, step);
        let same = expected.iter().zip(tag).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        same && age <= LIFETIME.as_secs()
    }

    #[expect(clippy::cast_possible_truncation, reason = "steps are compared around the wrap")]
    fn step(&self, now: Instant) -> u16 {
        (now.saturating_duration_since(self.epoch).as_secs() / STEP) as u16
    }

    fn tag(&self, client: SocketAddr, step: u16) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&step.to_be_bytes());
        match client.ip() {
            std::net::IpAddr::V4(ip) => context.update(&ip.octets()),
            std::net::IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&client.port().to_be_bytes());
        let hash = context.sign();
        let mut tag = [0; TAG];
        tag.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        tag
    }
}
