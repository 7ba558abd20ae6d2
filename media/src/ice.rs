//! The lite side of ICE (RFC 8445 §2.5): it answers checks, follows nominations and sends none of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use stun_types::attribute::{AttributeType, ErrorCode, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageWrite as _, MessageWriteExt as _,
    MessageWriteVec, ShortTermCredentials,
};

/// How long a path may be silent before it counts as lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// Authenticated sources that one peer may have.
const SOURCES: usize = 8;
/// Bytes of the longest check that is looked at.
const CHECK: usize = 1_000;
/// Bytes of a STUN header.
const HEADER: usize = 20;

const USE_CANDIDATE: AttributeType = AttributeType::new(0x0025);
const ICE_CONTROLLED: AttributeType = AttributeType::new(0x8029);

/// By which way datagrams come in and go out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Via {
    /// The UDP socket.
    Udp,
    /// A TCP connection (RFC 6544), by its number.
    Tcp(u32),
    /// The relay of the same process.
    Door,
}

/// Where a peer is reached.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Source {
    /// The way.
    pub via: Via,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The address of this machine that it wrote to, where there are several.
    pub local: Option<IpAddr>,
}

/// User name fragment and password of one side (RFC 8445 §5.3).
#[derive(Clone, Eq, PartialEq)]
pub struct IceCredentials {
    /// The fragment, of letters, digits, `+` and `/`.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

impl IceCredentials {
    /// New ones: 48 and 144 random bits.
    pub fn generate() -> Self {
        Self { ufrag: ice_text::<8>(), pwd: ice_text::<24>() }
    }
}

/// Random ICE characters (RFC 8445 §5.3), 6 bits each.
fn ice_text<const LENGTH: usize>() -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = [0_u8; LENGTH];
    // Without random bytes the text is known, and then no check of integrity may succeed: an empty one matches none.
    if SystemRandom::new().fill(&mut random).is_err() {
        return String::new();
    }
    random
        .iter()
        .filter_map(|byte| CHARACTERS.get(usize::from(byte & 63)))
        .map(|&character| char::from(character))
        .collect()
}

/// The fragment that a check is addressed to, without checking anything else.
pub(crate) fn addressed_to(datagram: &[u8]) -> Option<&str> {
    if datagram.len() > CHECK || datagram.get(..2)? != [0, 1] {
        return None;
    }
    // USERNAME is looked up by hand: this runs before anything is known of the sender.
    let mut rest = datagram.get(HEADER..)?;
    while let Some((&[t0, t1, l0, l1], after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let value = after.get(..length)?;
        if [t0, t1] == [0, 6] {
            return std::str::from_utf8(value).ok()?.split(':').next();
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// What a check leads to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Checked {
    /// Nothing: it is not authentic, or not a check.
    Drop,
    /// An answer, and whether another path is in use from now on.
    Reply { bytes: Vec<u8>, path_changed: bool },
}

/// The ICE state of one peer.
#[derive(Debug)]
pub(crate) struct Ice {
    local: IceCredentials,
    /// Credentials before a restart, until the new ones are used.
    previous: Option<IceCredentials>,
    sources: Vec<Source>,
    path: Option<Source>,
    nominated: bool,
    heard: Instant,
}

impl Ice {
    pub(crate) fn new(local: IceCredentials, now: Instant) -> Self {
        Self {
            local,
            previous: None,
            sources: Vec::new(),
            path: None,
            nominated: false,
            heard: now,
        }
    }

    /// Begins anew with other credentials; the old path stays until a new one is found (RFC 8445 §2.4).
    pub(crate) fn restart(&mut self, local: IceCredentials) {
        self.previous = Some(std::mem::replace(&mut self.local, local));
    }

    /// Where the peer is reached, and from where else it may write; for a successor.
    pub(crate) fn paths(&self) -> (Option<Source>, Vec<Source>) {
        (self.path, self.sources.clone())
    }

    /// Goes on where a predecessor was.
    pub(crate) fn adopt(&mut self, (path, sources): (Option<Source>, Vec<Source>)) {
        (self.path, self.sources, self.nominated) = (path, sources, path.is_some());
    }

    /// Where the peer is reached.
    pub(crate) fn path(&self) -> Option<Source> {
        self.path
    }

    /// Whether `source` has shown that it knows the password.
    pub(crate) fn knows(&self, source: &Source) -> bool {
        self.sources.contains(source)
    }

    /// When the peer counts as lost unless it is heard of.
    pub(crate) fn deadline(&self) -> Instant {
        self.heard + SILENCE
    }

    /// Takes a datagram that looks like STUN.
    pub(crate) fn handle(&mut self, now: Instant, source: Source, bytes: &[u8]) -> Checked {
        self.check(now, source, bytes).unwrap_or(Checked::Drop)
    }

    fn check(&mut self, now: Instant, source: Source, bytes: &[u8]) -> Option<Checked> {
        let &[_, _, high, low, ..] = bytes else { return None };
        // The parser passes over what follows the message, which the length then hides from the integrity.
        if bytes.len() > CHECK
            || bytes.len() != HEADER + usize::from(u16::from_be_bytes([high, low]))
        {
            return None;
        }
        let request = Message::from_bytes(bytes).ok()?;
        if !request.has_class(MessageClass::Request) || !request.has_method(BINDING) {
            return None;
        }
        let username = request.attribute::<Username>().ok()?;
        let (fragment, _) = username.username().split_once(':')?;
        if fragment == self.local.ufrag && !self.local.pwd.is_empty() {
            let credentials = self.local.clone();
            let authentic = authentic(&request, &credentials)?;
            if self.previous.take().is_some() {
                (self.nominated, self.path) = (false, None);
                self.sources.clear();
            }
            return Some(self.answer(now, source, &request, &authentic));
        }
        let previous = self.previous.clone().filter(|previous| fragment == previous.ufrag)?;
        let authentic = authentic(&request, &previous)?;
        Some(self.answer(now, source, &request, &authentic))
    }

    fn answer(
        &mut self,
        now: Instant,
        source: Source,
        request: &Message<'_>,
        credentials: &ShortTermCredentials,
    ) -> Checked {
        if request.has_attribute(ICE_CONTROLLED) {
            // The lite side is always the controlled one (RFC 8445 §6.1.1).
            let bytes = role_conflict(request, credentials).unwrap_or_default();
            return Checked::Reply { bytes, path_changed: false };
        }
        let Some(bytes) = success(request, source.remote, credentials) else {
            return Checked::Drop;
        };
        self.heard = now;
        if !self.sources.contains(&source) {
            if self.sources.len() == SOURCES {
                let path = self.path;
                if let Some(place) = self.sources.iter().position(|known| Some(*known) != path) {
                    self.sources.remove(place);
                }
            }
            self.sources.push(source);
        }
        let nominates = request.has_attribute(USE_CANDIDATE);
        let takes = nominates || (self.path.is_none() && !self.nominated);
        self.nominated |= nominates;
        let path_changed = takes && self.path != Some(source);
        if path_changed {
            self.path = Some(source);
        }
        Checked::Reply { bytes, path_changed }
    }
}

fn authentic(request: &Message<'_>, credentials: &IceCredentials) -> Option<ShortTermCredentials> {
    let credentials = ShortTermCredentials::new(credentials.pwd.clone());
    request.validate_integrity(&credentials.clone().into()).ok()?;
    Some(credentials)
}

fn success(
    request: &Message<'_>,
    from: SocketAddr,
    credentials: &ShortTermCredentials,
) -> Option<Vec<u8>> {
    let mut answer = Message::builder_success(request, MessageWriteVec::new());
    answer.add_attribute(&XorMappedAddress::new(from, request.transaction_id())).ok()?;
    finish(answer, credentials)
}

fn role_conflict(request: &Message<'_>, credentials: &ShortTermCredentials) -> Option<Vec<u8>> {
    let mut answer = Message::builder_error(request, MessageWriteVec::new());
    answer.add_attribute(&ErrorCode::builder(487).build().ok()?).ok()?;
    finish(answer, credentials)
}

fn finish(mut answer: MessageWriteVec, credentials: &ShortTermCredentials) -> Option<Vec<u8>> {
    answer.add_message_integrity(&credentials.clone().into(), IntegrityAlgorithm::Sha1).ok()?;
    answer.add_fingerprint().ok()?;
    Some(answer.finish())
}
