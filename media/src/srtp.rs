//! SRTP and SRTCP (RFC 3711, RFC 7714) in place: AES-GCM for whoever has it, AES-CM with HMAC-SHA1-80 for the others.
//!
//! Every index has one owner: a window on the sending side refuses to seal an (SSRC, index) twice, since a second plaintext
//! under the same nonce gives the key away.

use rtc_dtls::crypto_provider::{
    AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, HmacAlgorithm, Mac, RTCCrypto, StreamCipher,
    StreamCipherAlgorithm,
};

use crate::numbers::SrtpIndex;

/// Bytes that sealing an RTP packet adds at most.
pub(crate) const OVERHEAD: usize = 16;
/// Bytes of the truncated HMAC-SHA1 tag.
const SHA1_TAG: usize = 10;
const GCM_TAG: usize = 16;
/// The E flag in front of the SRTCP index.
const ENCRYPTED: u32 = 0x8000_0000;
/// Bytes of RTCP that stay readable: the first header and the sender's SSRC.
const RTCP_CLEAR: usize = 8;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Profile {
    Gcm128,
    Gcm256,
    Sha1,
}

impl Profile {
    /// Bytes of a master key and of a master salt.
    pub(crate) fn lengths(self) -> (usize, usize) {
        match self {
            Self::Gcm128 => (16, 12),
            Self::Gcm256 => (32, 12),
            Self::Sha1 => (16, 14),
        }
    }
}

/// Why nothing comes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SrtpError {
    #[error("the packet is too short")]
    Short,
    #[error("the packet is not authentic")]
    Forged,
    #[error("this profile is not possible here")]
    Unsupported,
}

/// Remembers which of the last 128 indexes were there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Window {
    highest: SrtpIndex,
    seen: u128,
}

impl Window {
    /// Whether `index` is new.
    pub(crate) fn is_new(&self, index: SrtpIndex) -> bool {
        match self.highest.since(index) {
            None => true,
            Some(age @ 0..128) => self.seen >> age & 1 == 0,
            Some(_) => false,
        }
    }

    /// Notes `index`.
    pub(crate) fn note(&mut self, index: SrtpIndex) {
        match index.since(self.highest) {
            Some(ahead @ 0..128) => {
                self.seen = self.seen << ahead | 1;
                self.highest = index;
            }
            Some(_) => (self.seen, self.highest) = (1, index),
            None => {
                if let Some(age @ 0..128) = self.highest.since(index) {
                    self.seen |= 1 << age;
                }
            }
        }
    }
}

enum Cipher {
    Gcm { rtp: Box<dyn AeadCipher>, rtcp: Box<dyn AeadCipher> },
    Sha1 { rtp: Counter, rtcp: Counter },
}

struct Counter {
    stream: Box<dyn StreamCipher>,
    mac: Box<dyn Mac>,
}

/// One direction of a connection.
pub(crate) struct Direction {
    cipher: Cipher,
    salt: [u8; 14],
    rtcp_salt: [u8; 14],
}

/// Labels of the key derivation (RFC 3711 §4.3).
const RTP_KEY: u8 = 0;
const RTP_AUTH: u8 = 1;
const RTP_SALT: u8 = 2;
const RTCP_KEY: u8 = 3;
const RTCP_AUTH: u8 = 4;
const RTCP_SALT: u8 = 5;

/// Derives `length` bytes (RFC 3711 §4.3.3, RFC 6188 §2.3), with the key derivation rate 0.
fn derive(
    crypto: &dyn RTCCrypto,
    key: &[u8],
    salt: &[u8],
    label: u8,
    length: usize,
) -> Result<Vec<u8>, SrtpError> {
    let algorithm = match key.len() {
        32 => BlockCipherAlgorithm::Aes256,
        _ => BlockCipherAlgorithm::Aes128,
    };
    let mut out = Vec::with_capacity(length + 16);
    let mut counter = 0_u16;
    while out.len() < length {
        let mut block = [0; 16];
        block.iter_mut().zip(salt).for_each(|(byte, salt)| *byte = *salt);
        if let Some(byte) = block.get_mut(7) {
            *byte ^= label;
        }
        if let Some(end) = block.last_chunk_mut::<2>() {
            *end = counter.to_be_bytes();
        }
        crypto.block_encrypt(algorithm, key, &mut block).map_err(|_| SrtpError::Unsupported)?;
        out.extend_from_slice(&block);
        counter += 1;
    }
    out.truncate(length);
    Ok(out)
}

impl Direction {
    /// The keys of one direction, from its master key and salt.
    pub(crate) fn new(
        crypto: &dyn RTCCrypto,
        profile: Profile,
        key: &[u8],
        salt: &[u8],
    ) -> Result<Self, SrtpError> {
        let (key_length, salt_length) = profile.lengths();
        let of = |label, length| derive(crypto, key, salt, label, length);
        let aead = |label| {
            let algorithm = match profile {
                Profile::Gcm256 => AeadAlgorithm::Aes256Gcm,
                _ => AeadAlgorithm::Aes128Gcm,
            };
            let key = of(label, key_length)?;
            crypto.new_aead(algorithm, &key).map_err(|_| SrtpError::Unsupported)
        };
        let counter = |key_label, mac_label| {
            let (key, mac) = (of(key_label, key_length)?, of(mac_label, 20)?);
            let stream = crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &key);
            let mac = crypto.new_hmac(HmacAlgorithm::Sha1, &mac);
            Ok::<_, SrtpError>(Counter {
                stream: stream.map_err(|_| SrtpError::Unsupported)?,
                mac: mac.map_err(|_| SrtpError::Unsupported)?,
            })
        };
        let cipher = match profile {
            Profile::Gcm128 | Profile::Gcm256 => {
                Cipher::Gcm { rtp: aead(RTP_KEY)?, rtcp: aead(RTCP_KEY)? }
            }
            Profile::Sha1 => Cipher::Sha1 {
                rtp: counter(RTP_KEY, RTP_AUTH)?,
                rtcp: counter(RTCP_KEY, RTCP_AUTH)?,
            },
        };
        let salt = |label| {
            let mut salt = [0; 14];
            let derived = of(label, salt_length)?;
            salt.iter_mut().zip(derived).for_each(|(byte, derived)| *byte = derived);
            Ok::<_, SrtpError>(salt)
        };
        Ok(Self { cipher, salt: salt(RTP_SALT)?, rtcp_salt: salt(RTCP_SALT)? })
    }

    /// Seals the RTP packet at the end of `out` that begins at `begin`, whose header has `header` bytes, as number `index` of
    /// its SSRC.
    pub(crate) fn seal(
        &mut self,
        out: &mut Vec<u8>,
        begin: usize,
        header: usize,
        ssrc: u32,
        index: SrtpIndex,
    ) -> Result<(), SrtpError> {
        let packet = out.get_mut(begin..).ok_or(SrtpError::Short)?;
        match &mut self.cipher {
            Cipher::Gcm { rtp, .. } => {
                let (header, payload) =
                    packet.split_at_mut_checked(header).ok_or(SrtpError::Short)?;
                let mut tag = [0; GCM_TAG];
                rtp.seal_in_place(&gcm_nonce(&self.salt, ssrc, index), header, payload, &mut tag)
                    .map_err(|_| SrtpError::Unsupported)?;
                out.extend_from_slice(&tag);
            }
            Cipher::Sha1 { rtp, .. } => {
                let payload = packet.get_mut(header..).ok_or(SrtpError::Short)?;
                rtp.stream
                    .apply_keystream(&counter_iv(&self.salt, ssrc, index), payload)
                    .map_err(|_| SrtpError::Unsupported)?;
                let tag = rtp.tag(packet, &index.rollover())?;
                out.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Opens an RTP packet in place; returns its length without the tag.
    pub(crate) fn open(
        &mut self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: SrtpIndex,
    ) -> Result<usize, SrtpError> {
        match &mut self.cipher {
            Cipher::Gcm { rtp, .. } => {
                let end = packet.len().checked_sub(GCM_TAG).ok_or(SrtpError::Short)?;
                let (packet, tag) = packet.split_at_mut_checked(end).ok_or(SrtpError::Short)?;
                let (header, payload) =
                    packet.split_at_mut_checked(header).ok_or(SrtpError::Short)?;
                rtp.open_in_place(&gcm_nonce(&self.salt, ssrc, index), header, payload, tag)
                    .map_err(|_| SrtpError::Forged)?;
                Ok(end)
            }
            Cipher::Sha1 { rtp, .. } => {
                let end = packet.len().checked_sub(SHA1_TAG).ok_or(SrtpError::Short)?;
                let (packet, tag) = packet.split_at_mut_checked(end).ok_or(SrtpError::Short)?;
                let payload = packet.get(header..).ok_or(SrtpError::Short)?.len();
                if !same(&rtp.tag(packet, &index.rollover())?, tag) {
                    return Err(SrtpError::Forged);
                }
                let payload = packet.get_mut(end - payload..).ok_or(SrtpError::Short)?;
                rtp.stream
                    .apply_keystream(&counter_iv(&self.salt, ssrc, index), payload)
                    .map_err(|_| SrtpError::Unsupported)?;
                Ok(end)
            }
        }
    }

    /// Seals the RTCP compound at the end of `out` that begins at `begin`, as number `index` of its sender.
    pub(crate) fn seal_rtcp(
        &mut self,
        out: &mut Vec<u8>,
        begin: usize,
        index: u32,
    ) -> Result<(), SrtpError> {
        let packet = out.get_mut(begin..).ok_or(SrtpError::Short)?;
        let word = (index & !ENCRYPTED | ENCRYPTED).to_be_bytes();
        let (head, body) = packet.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::Short)?;
        let ssrc = sender(head).ok_or(SrtpError::Short)?;
        match &mut self.cipher {
            Cipher::Gcm { rtcp, .. } => {
                let mut tag = [0; GCM_TAG];
                let nonce = gcm_nonce(&self.rtcp_salt, ssrc, SrtpIndex::rtcp(index));
                rtcp.seal_in_place(&nonce, &clear(head, &word), body, &mut tag)
                    .map_err(|_| SrtpError::Unsupported)?;
                out.extend_from_slice(&tag);
                out.extend_from_slice(&word);
            }
            Cipher::Sha1 { rtcp, .. } => {
                let iv = counter_iv(&self.rtcp_salt, ssrc, SrtpIndex::rtcp(index));
                rtcp.stream.apply_keystream(&iv, body).map_err(|_| SrtpError::Unsupported)?;
                let tag = rtcp.tag(packet, &word)?;
                out.extend_from_slice(&word);
                out.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Opens an RTCP compound in place; returns its length, its index and its sender.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<(usize, u32, u32), SrtpError> {
        let trailer = match &self.cipher {
            Cipher::Gcm { .. } => GCM_TAG + 4,
            Cipher::Sha1 { .. } => SHA1_TAG + 4,
        };
        let end = packet.len().checked_sub(trailer).ok_or(SrtpError::Short)?;
        let (packet, trailer) = packet.split_at_mut_checked(end).ok_or(SrtpError::Short)?;
        let (head, body) = packet.split_at_mut_checked(RTCP_CLEAR).ok_or(SrtpError::Short)?;
        let ssrc = sender(head).ok_or(SrtpError::Short)?;
        match &mut self.cipher {
            Cipher::Gcm { rtcp, .. } => {
                let (tag, word) = trailer.split_at_checked(GCM_TAG).ok_or(SrtpError::Short)?;
                let index = index_of(word)?;
                let nonce = gcm_nonce(&self.rtcp_salt, ssrc, SrtpIndex::rtcp(index));
                rtcp.open_in_place(&nonce, &clear(head, word), body, tag)
                    .map_err(|_| SrtpError::Forged)?;
                Ok((end, index, ssrc))
            }
            Cipher::Sha1 { rtcp, .. } => {
                let (word, tag) = trailer.split_at_checked(4).ok_or(SrtpError::Short)?;
                let index = index_of(word)?;
                if !same(&rtcp.tag(packet, word)?, tag) {
                    return Err(SrtpError::Forged);
                }
                let iv = counter_iv(&self.rtcp_salt, ssrc, SrtpIndex::rtcp(index));
                let body = packet.get_mut(RTCP_CLEAR..).ok_or(SrtpError::Short)?;
                rtcp.stream.apply_keystream(&iv, body).map_err(|_| SrtpError::Unsupported)?;
                Ok((end, index, ssrc))
            }
        }
    }
}

impl Counter {
    fn tag(&mut self, packet: &[u8], trailer: &[u8]) -> Result<[u8; SHA1_TAG], SrtpError> {
        let mut full = [0; 20];
        self.mac.sign(&[packet, trailer], &mut full).map_err(|_| SrtpError::Unsupported)?;
        full.first_chunk().copied().ok_or(SrtpError::Unsupported)
    }
}

/// What of an RTCP compound is authenticated and not encrypted: its first header, and the word behind it (RFC 7714 §9.2).
fn clear(head: &[u8], word: &[u8]) -> [u8; RTCP_CLEAR + 4] {
    let mut clear = [0; RTCP_CLEAR + 4];
    clear.iter_mut().zip(head.iter().chain(word)).for_each(|(byte, from)| *byte = *from);
    clear
}

/// The number behind the E flag; what is not encrypted is not accepted.
fn index_of(word: &[u8]) -> Result<u32, SrtpError> {
    let word = u32::from_be_bytes(*word.first_chunk().ok_or(SrtpError::Short)?);
    if word & ENCRYPTED == 0 { Err(SrtpError::Forged) } else { Ok(word & !ENCRYPTED) }
}

fn sender(head: &[u8]) -> Option<u32> {
    head.last_chunk::<4>().map(|&bytes| u32::from_be_bytes(bytes))
}

/// The nonce of RFC 7714 §8.1; for SRTCP (§9.1) the index has 31 bits and takes the same place.
fn gcm_nonce(salt: &[u8; 14], ssrc: u32, index: SrtpIndex) -> [u8; 12] {
    let [r0, r1, r2, r3, s0, s1] = index.bytes();
    let [i0, i1, i2, i3] = ssrc.to_be_bytes();
    let mut nonce = [0, 0, i0, i1, i2, i3, r0, r1, r2, r3, s0, s1];
    nonce.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    nonce
}

/// The first counter block of RFC 3711 §4.1.1.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: SrtpIndex) -> [u8; 16] {
    let [r0, r1, r2, r3, s0, s1] = index.bytes();
    let [i0, i1, i2, i3] = ssrc.to_be_bytes();
    let mut iv = [0, 0, 0, 0, i0, i1, i2, i3, r0, r1, r2, r3, s0, s1, 0, 0];
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// Compares in constant time.
fn same(left: &[u8], right: &[u8]) -> bool {
    rtc_dtls::crypto_provider::constant_time_eq(left, right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
    use rtc_srtp::{context::Context, protection_profile::ProtectionProfile};
    use std::sync::Arc;

    fn oracle(profile: Profile) -> (ProtectionProfile, Arc<dyn RTCCryptoProvider>) {
        let same = match profile {
            Profile::Gcm128 => ProtectionProfile::AeadAes128Gcm,
            Profile::Gcm256 => ProtectionProfile::AeadAes256Gcm,
            Profile::Sha1 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        (same, default_provider().unwrap())
    }

    fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = crate::rtp::Writer::new(&mut out, (96, true), sequence, 5, 42);
        writer.extension(Some(3), &[1, 2]);
        writer.finish();
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn every_profile_speaks_with_another_implementation_both_ways() {
        for profile in [Profile::Gcm128, Profile::Gcm256, Profile::Sha1] {
            let (same, provider) = oracle(profile);
            let (key, salt) = profile.lengths();
            let (key, salt) = (vec![7; key], vec![9; salt]);
            let new = || Direction::new(provider.crypto(), profile, &key, &salt).unwrap();
            let context =
                || Context::new(&key, &salt, same, None, None, provider.crypto()).unwrap();
            let (mut ours, mut theirs) = (new(), context());
            let (mut sealing, mut opening) = (new(), context());
            for (sequence, rollover) in [(65_534, 0), (65_535, 0), (0, 1), (1, 1)] {
                let index = (rollover << 16 | u64::from(sequence)).into();
                let plain = packet(sequence, b"sixteen or more bytes of media");
                let mut sealed = theirs.encrypt_rtp(&plain).unwrap().to_vec();
                let length = ours.open(&mut sealed, 20, 42, index).unwrap();
                assert_eq!(sealed[..length], plain);
                let mut out = [b"before".to_vec(), plain.clone()].concat();
                sealing.seal(&mut out, 6, 20, 42, index).unwrap();
                assert_eq!(opening.decrypt_rtp(&out[6..]).unwrap(), plain);
            }
            let report = [&[0x80, 201, 0, 1, 0, 0, 0, 9][..], &[0x81, 206, 0, 2], &[1; 8]].concat();
            let mut sealed = theirs.encrypt_rtcp(&report).unwrap().to_vec();
            assert_eq!(ours.open_rtcp(&mut sealed).unwrap(), (20, 1, 9));
            assert_eq!(sealed[..20], report);
            let mut out = report.clone();
            sealing.seal_rtcp(&mut out, 0, 5).unwrap();
            assert_eq!(opening.decrypt_rtcp(&out).unwrap(), report);
        }
    }

    #[test]
    fn what_was_touched_is_refused() {
        let provider = default_provider().unwrap();
        for profile in [Profile::Gcm128, Profile::Sha1] {
            let (key, salt) = profile.lengths();
            let mut both =
                Direction::new(provider.crypto(), profile, &vec![1; key], &vec![2; salt]).unwrap();
            let mut sealed = packet(9, b"media");
            both.seal(&mut sealed, 0, 20, 42, 9.into()).unwrap();
            for place in 0..sealed.len() {
                let mut forged = sealed.clone();
                forged[place] ^= 1;
                assert_eq!(both.open(&mut forged, 20, 42, 9.into()), Err(SrtpError::Forged));
            }
            assert_eq!(
                both.open(&mut sealed.clone(), 20, 42, (9 + 65_536).into()),
                Err(SrtpError::Forged)
            );
            for length in 0..sealed.len() {
                assert!(both.open(&mut sealed[..length].to_vec(), 20, 42, 9.into()).is_err());
                assert!(both.open_rtcp(&mut sealed[..length].to_vec()).is_err());
            }
        }
    }

    #[test]
    fn an_index_passes_once() {
        let mut window = Window::default();
        for index in [5, 3, 300, 299, 173].map(SrtpIndex::from) {
            assert!(window.is_new(index), "{index:?}");
            window.note(index);
            assert!(!window.is_new(index), "{index:?}");
        }
        assert!(!window.is_new(172.into()), "older than the window");
        assert!(window.is_new(298.into()));
    }
}
