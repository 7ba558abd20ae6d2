//! The lite side of ICE (RFC 8445 §2.5): it answers checks, follows nominations and sends none of its own.
//!
//! A client should nominate one pair, and some nominate several: then the one of the highest priority is used (RFC 8445 §8.1.1).
//! Browsers also nominate another pair when their network changes, which may be one of a lower priority; [`Nomination`] sets these
//! two apart.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use stun_types::attribute::{AttributeType, ErrorCode, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageWrite as _, MessageWriteExt as _,
    MessageWriteVec, ShortTermCredentials, TransactionId,
};

/// How long a path may be silent before it counts as lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// Authenticated sources that one peer may have.
pub(crate) const SOURCES: usize = 8;
/// A nomination that was not repeated for so long gives way to any other: consent is renewed at least so often (RFC 7675 §5.1).
const NOMINATED: Duration = Duration::from_secs(6);
/// Bytes of the longest check that is looked at.
const CHECK: usize = 1_000;
/// Bytes of a STUN header.
const HEADER: usize = 20;

const PRIORITY: AttributeType = AttributeType::new(0x0024);
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
    /// An answer; with it a source may be forgotten, so that there are not too many.
    Reply { bytes: Vec<u8>, forgotten: Option<Source> },
}

/// A nomination of the path that is in use.
#[derive(Clone, Copy, Debug)]
struct Nomination {
    /// PRIORITY of its check. Our side has one candidate for each transport, so that it orders pairs as §6.1.2.3 does.
    priority: u32,
    at: Instant,
    /// The pair was checked without being nominated since.
    withdrawn: bool,
    /// Another pair that was nominated since, and by which check: one that is repeated in another check is meant to be used, while
    /// a client that nominates all that it checks goes on with the best.
    rival: Option<(Source, TransactionId)>,
}

impl Nomination {
    fn by(check: &Check, now: Instant) -> Self {
        Self { priority: check.priority, at: now, withdrawn: false, rival: None }
    }

    /// Whether it gives way to that of another pair.
    fn yields(&mut self, check: &Check, now: Instant) -> bool {
        let before = self.rival.replace((check.source, check.transaction));
        let repeated = before.is_some_and(|(source, transaction)| {
            source == check.source && transaction != check.transaction
        });
        let old = now.saturating_duration_since(self.at) >= NOMINATED;
        check.priority >= self.priority || self.withdrawn || repeated || old
    }
}

/// An authentic check.
#[derive(Clone, Copy, Debug)]
struct Check {
    source: Source,
    transaction: TransactionId,
    priority: u32,
    nominates: bool,
}

impl Check {
    fn read(request: &Message<'_>, source: Source) -> Self {
        let priority = request.raw_attribute(PRIORITY);
        let priority = priority.and_then(|it| it.value.first_chunk().copied());
        Self {
            source,
            transaction: request.transaction_id(),
            priority: u32::from_be_bytes(priority.unwrap_or_default()),
            nominates: request.has_attribute(USE_CANDIDATE),
        }
    }
}

/// The ICE state of one peer.
#[derive(Debug)]
pub(crate) struct Ice {
    local: IceCredentials,
    /// Credentials before a restart, until the new ones are used.
    previous: Option<IceCredentials>,
    /// Whether a check has used `local`.
    used: bool,
    /// Those that were checked last are last.
    sources: Vec<Source>,
    path: Option<Source>,
    /// That of `path`, by the credentials of now.
    nomination: Option<Nomination>,
    last_seen: Instant,
}

impl Ice {
    pub(crate) fn new(local: IceCredentials, now: Instant) -> Self {
        Self {
            local,
            previous: None,
            used: false,
            sources: Vec::new(),
            path: None,
            nomination: None,
            last_seen: now,
        }
    }

    /// Begins anew with other credentials; the old path stays until a new one is nominated (RFC 8445 §2.4).
    pub(crate) fn restart(&mut self, local: IceCredentials) {
        let before = std::mem::replace(&mut self.local, local);
        // Unused credentials are no way back.
        if std::mem::take(&mut self.used) {
            self.previous = Some(before);
        }
    }

    /// Whether checks that are addressed to `fragment` are answered.
    pub(crate) fn answers_to(&self, fragment: &str) -> bool {
        let known = |credentials: &IceCredentials| credentials.ufrag == fragment;
        known(&self.local) || self.previous.as_ref().is_some_and(known)
    }

    /// Where the peer is reached, and from where else it may write; for a successor.
    pub(crate) fn paths(&self) -> (Option<Source>, Vec<Source>) {
        (self.path, self.sources.clone())
    }

    /// Goes on where a predecessor was.
    pub(crate) fn adopt(&mut self, (path, sources): (Option<Source>, Vec<Source>)) {
        (self.path, self.sources, self.used) = (path, sources, true);
    }

    /// Where the peer is reached.
    pub(crate) fn path(&self) -> Option<Source> {
        self.path
    }

    /// From where the peer may write: what has shown that it knows the password.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Whether `source` has shown that it knows the password.
    pub(crate) fn knows(&self, source: &Source) -> bool {
        self.sources.contains(source)
    }

    /// When the peer counts as lost unless a check comes.
    pub(crate) fn deadline(&self) -> Instant {
        self.last_seen + SILENCE
    }

    /// Takes a datagram that looks like STUN.
    pub(crate) fn handle(&mut self, now: Instant, source: Source, bytes: &[u8]) -> Checked {
        self.check(now, source, bytes).unwrap_or(Checked::Drop)
    }

    fn check(&mut self, now: Instant, source: Source, bytes: &[u8]) -> Option<Checked> {
        let (request, fragment) = binding(bytes)?;
        let current = fragment == self.local.ufrag;
        let credentials = match current {
            true => Some(&self.local),
            false => self.previous.as_ref().filter(|previous| fragment == previous.ufrag),
        };
        let authentic = authentic(&request, credentials?)?;
        if current && !std::mem::replace(&mut self.used, true) && self.previous.take().is_some() {
            // What was nominated before the restart gives way to whatever is nominated now, and not sooner.
            self.nomination = None;
        }
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
            return Checked::Reply { bytes, forgotten: None };
        }
        let Some(bytes) = success(request, source.remote, credentials) else {
            return Checked::Drop;
        };
        self.last_seen = now;
        self.follow(&Check::read(request, source), now);
        Checked::Reply { bytes, forgotten: self.remember(source) }
    }

    /// Chooses the path.
    fn follow(&mut self, check: &Check, now: Instant) {
        let on_path = self.path == Some(check.source);
        match &mut self.nomination {
            Some(nomination) if on_path && !check.nominates => nomination.withdrawn = true,
            Some(nomination) if !on_path && check.nominates => {
                if nomination.yields(check, now) {
                    (self.path, self.nomination) =
                        (Some(check.source), Some(Nomination::by(check, now)));
                }
            }
            _ if check.nominates => {
                (self.path, self.nomination) =
                    (Some(check.source), Some(Nomination::by(check, now)));
            }
            _ => self.path = self.path.or(Some(check.source)),
        }
    }

    /// Notes an authentic source; returns the one that is forgotten for it, which is the one that was silent for longest.
    fn remember(&mut self, source: Source) -> Option<Source> {
        self.sources.retain(|known| *known != source);
        let full = self.sources.len() >= SOURCES;
        let path = self.path;
        let oldest = self.sources.iter().position(|known| Some(*known) != path);
        let forgotten = oldest.filter(|_| full).map(|place| self.sources.remove(place));
        self.sources.push(source);
        forgotten
    }
}

/// A check and the fragment that it is addressed to, without looking at its integrity.
fn binding(bytes: &[u8]) -> Option<(Message<'_>, String)> {
    let &[_, _, high, low, ..] = bytes else { return None };
    // The parser passes over what follows the message, which the length then hides from the integrity.
    if bytes.len() > CHECK || bytes.len() != HEADER + usize::from(u16::from_be_bytes([high, low])) {
        return None;
    }
    let request = Message::from_bytes(bytes).ok()?;
    if !request.has_class(MessageClass::Request) || !request.has_method(BINDING) {
        return None;
    }
    let username = request.attribute::<Username>().ok()?;
    let (fragment, _) = username.username().split_once(':')?;
    let fragment = fragment.to_owned();
    Some((request, fragment))
}

/// Whether a check is addressed to and authentic by `credentials`.
pub(crate) fn is_authentic(bytes: &[u8], credentials: &IceCredentials) -> bool {
    binding(bytes).is_some_and(|(request, fragment)| {
        fragment == credentials.ufrag && authentic(&request, credentials).is_some()
    })
}

fn authentic(request: &Message<'_>, credentials: &IceCredentials) -> Option<ShortTermCredentials> {
    // Credentials that could not be made match nothing.
    if credentials.pwd.is_empty() {
        return None;
    }
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dtls::tests::noon;
    use stun_types::attribute::RawAttribute;

    /// The password of the messages of RFC 5769.
    const VECTOR_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
    /// RFC 5769 §2.1: a check by one who takes himself for the controlled side.
    const VECTOR_REQUEST: &[u8] = b"\
        \x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    /// RFC 5769 §2.2 and §2.3: the answers to 192.0.2.1 and to 2001:db8:1234:5678:11:2233:4455:6677.
    const VECTOR_IPV4: &[u8] = b"\
        \x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";
    const VECTOR_IPV6: &[u8] = b"\
        \x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
        \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
        \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

    fn vector_credentials() -> IceCredentials {
        IceCredentials { ufrag: "evtj".into(), pwd: VECTOR_PASSWORD.into() }
    }

    fn from(host: u8) -> Source {
        Source { via: Via::Udp, remote: ([10, 0, 0, host], 5000).into(), local: None }
    }

    /// A check of this priority, which nominates where it says so.
    pub(crate) fn check(credentials: &IceCredentials, priority: u32, nominates: bool) -> Vec<u8> {
        let mut check = Message::builder_request(BINDING, MessageWriteVec::new());
        let name = format!("{}:them", credentials.ufrag);
        check.add_attribute(&Username::new(&name).unwrap()).unwrap();
        check.add_attribute(&RawAttribute::new(PRIORITY, &priority.to_be_bytes())).unwrap();
        if nominates {
            check.add_attribute(&RawAttribute::new(USE_CANDIDATE, &[])).unwrap();
        }
        let password = ShortTermCredentials::new(credentials.pwd.clone());
        check.add_message_integrity(&password.into(), IntegrityAlgorithm::Sha1).unwrap();
        check.add_fingerprint().unwrap();
        check.finish()
    }

    /// A peer, and checks of it in virtual time.
    struct Checks {
        ice: Ice,
        credentials: IceCredentials,
        now: Instant,
    }

    impl Checks {
        fn new() -> Self {
            let (credentials, now) = (IceCredentials::generate(), noon());
            Self { ice: Ice::new(credentials.clone(), now), credentials, now }
        }

        /// The host on the path after a check.
        fn take(&mut self, host: u8, priority: u32, nominates: bool) -> Option<Source> {
            let check = check(&self.credentials, priority, nominates);
            self.take_bytes(host, &check)
        }

        fn take_bytes(&mut self, host: u8, check: &[u8]) -> Option<Source> {
            self.now += Duration::from_millis(20);
            let checked = self.ice.handle(self.now, from(host), check);
            assert!(matches!(checked, Checked::Reply { .. }));
            self.ice.path()
        }
    }

    #[test]
    fn messages_of_rfc_5769_are_authentic_and_any_other_bit_is_not() {
        assert_eq!(addressed_to(VECTOR_REQUEST), Some("evtj"));
        assert!(is_authentic(VECTOR_REQUEST, &vector_credentials()));
        let others = [("evtj", "VOkJxbRl1RmTxUk/WvJxBT"), ("evtk", VECTOR_PASSWORD), ("evtj", "")];
        for (ufrag, pwd) in others {
            let others = IceCredentials { ufrag: ufrag.into(), pwd: pwd.into() };
            assert!(!is_authentic(VECTOR_REQUEST, &others));
        }
        // The fingerprint behind the integrity, 8 bytes, is no part of what is authentic.
        for bit in 0..8 * (VECTOR_REQUEST.len() - 8) {
            let mut changed = VECTOR_REQUEST.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_authentic(&changed, &vector_credentials()), "bit {bit}");
        }
        for length in 0..VECTOR_REQUEST.len() {
            assert!(!is_authentic(&VECTOR_REQUEST[..length], &vector_credentials()));
        }
    }

    #[test]
    fn answers_are_those_of_rfc_5769() {
        let password = ShortTermCredentials::new(VECTOR_PASSWORD.to_owned());
        let request = Message::from_bytes(VECTOR_REQUEST).unwrap();
        for (vector, address) in [
            (VECTOR_IPV4, "192.0.2.1:32853"),
            (VECTOR_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let answer = success(&request, address.parse().unwrap(), &password).unwrap();
            // It has what the vector has but for its name, which stands first and counts in what seals it.
            let mapped = |bytes: &[u8]| {
                let message = Message::from_bytes(bytes).unwrap();
                message.validate_integrity(&password.clone().into()).unwrap();
                let mapped = message.raw_attribute(AttributeType::new(0x0020)).unwrap();
                (message.transaction_id(), message.class(), mapped.value.to_vec())
            };
            assert_eq!(mapped(&answer), mapped(vector));
        }
    }

    #[test]
    fn the_controlled_side_is_ours() {
        let mut ice = Ice::new(vector_credentials(), noon());
        let Checked::Reply { bytes, forgotten: None } = ice.handle(noon(), from(1), VECTOR_REQUEST)
        else {
            panic!("no answer");
        };
        let answer = Message::from_bytes(&bytes).unwrap();
        assert_eq!(answer.attribute::<ErrorCode>().unwrap().code(), 487);
        assert_eq!((ice.path(), ice.sources()), (None, [].as_slice()));
    }

    #[test]
    fn what_is_not_authentic_changes_nothing() {
        let mut checks = Checks::new();
        assert_eq!(checks.take(1, 100, true), Some(from(1)));
        let deadline = checks.ice.deadline();
        let forged = IceCredentials { pwd: "another".into(), ..checks.credentials.clone() };
        let mut unsigned = Message::builder_request(BINDING, MessageWriteVec::new());
        let name = format!("{}:them", forged.ufrag);
        unsigned.add_attribute(&Username::new(&name).unwrap()).unwrap();
        unsigned.add_attribute(&RawAttribute::new(USE_CANDIDATE, &[])).unwrap();
        for bytes in [check(&forged, 1000, true), unsigned.finish()] {
            let later = checks.now + Duration::from_secs(1);
            assert_eq!(checks.ice.handle(later, from(2), &bytes), Checked::Drop);
        }
        // A nomination behind the integrity of a check that was overheard.
        let mut check = check(&checks.credentials, 1000, false);
        check.truncate(check.len() - 8);
        check.extend_from_slice(&[0, 0x25, 0, 0]);
        let length = (check.len() - HEADER) as u16;
        check[2..4].copy_from_slice(&length.to_be_bytes());
        checks.ice.handle(checks.now, from(2), &check);
        assert_eq!(checks.ice.path(), Some(from(1)));
        assert_eq!(checks.ice.deadline(), deadline);
    }

    #[test]
    fn of_several_that_are_nominated_the_one_of_the_highest_priority_is_used() {
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
            let mut checks = Checks::new();
            for host in order {
                let check = check(&checks.credentials, 100 * u32::from(host), true);
                checks.take_bytes(host, &check);
                // It is sent again until it is answered.
                checks.take_bytes(host, &check);
            }
            assert_eq!(checks.ice.path(), Some(from(3)), "{order:?}");
        }
    }

    #[test]
    fn a_pair_that_is_nominated_later_is_used_though_its_priority_is_lower() {
        // The old one is checked without being nominated, as browsers keep it in reserve.
        let mut checks = Checks::new();
        checks.take(1, 300, true);
        checks.take(1, 300, false);
        assert_eq!(checks.take(2, 100, true), Some(from(2)));
        assert_eq!(checks.take(1, 300, true), Some(from(1)), "and back");

        // The old one is silent, as its network is gone.
        let mut checks = Checks::new();
        checks.take(1, 300, true);
        assert_eq!(checks.take(2, 100, false), Some(from(1)));
        assert_eq!(checks.take(2, 100, true), Some(from(1)));
        assert_eq!(checks.take(2, 100, true), Some(from(2)), "it is meant");
        let mut checks = Checks::new();
        checks.take(1, 300, true);
        checks.now += NOMINATED;
        assert_eq!(checks.take(2, 100, true), Some(from(2)));

        // Another address of the same network.
        let mut checks = Checks::new();
        checks.take(1, 300, true);
        assert_eq!(checks.take(2, 300, true), Some(from(2)));
    }

    #[test]
    fn a_path_serves_before_any_is_nominated_and_after_a_restart_until_one_is() {
        let mut checks = Checks::new();
        assert_eq!(checks.take(1, 100, false), Some(from(1)));
        assert_eq!(checks.take(2, 900, false), Some(from(1)));
        assert_eq!(checks.take(2, 50, true), Some(from(2)));
        checks.take(2, 900, true);
        let (before, fresh) = (checks.credentials.clone(), IceCredentials::generate());
        checks.ice.restart(IceCredentials::generate());
        // Those of the first restart were never used.
        checks.ice.restart(fresh.clone());
        assert!(checks.ice.answers_to(&before.ufrag) && checks.ice.answers_to(&fresh.ufrag));
        assert_eq!(checks.take(2, 900, true), Some(from(2)), "by what served until now");
        checks.credentials = fresh;
        assert_eq!(checks.take(3, 100, false), Some(from(2)), "the old path works");
        assert!(!checks.ice.answers_to(&before.ufrag));
        assert!(checks.ice.knows(&from(2)) && checks.ice.knows(&from(3)));
        assert_eq!(checks.take(3, 100, true), Some(from(3)), "however good the old one was");
    }

    #[test]
    fn sources_are_bounded_and_those_that_are_checked_stay() {
        let mut checks = Checks::new();
        checks.take(1, 100, true);
        let mut known = vec![from(1)];
        for host in 2..250 {
            let check = check(&checks.credentials, 100, false);
            let checked = checks.ice.handle(checks.now, from(host), &check);
            let Checked::Reply { forgotten, .. } = checked else { panic!("no answer") };
            known.push(from(host));
            known.retain(|known| Some(*known) != forgotten);
            checks.take(2, 100, false);
        }
        known.sort_by_key(|source| source.remote);
        let mut sources = checks.ice.sources().to_vec();
        sources.sort_by_key(|source| source.remote);
        assert_eq!(sources, known, "what is forgotten is said");
        assert_eq!(sources.len(), SOURCES);
        assert!(checks.ice.knows(&from(1)) && checks.ice.knows(&from(2)));
    }
}
