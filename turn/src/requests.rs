//! The requests of RFC 8656 and the Binding request of RFC 8489, each answered in one step.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use stun_types::attribute::{
    ErrorCode, MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm,
    PasswordAlgorithms, Realm, Username, XorMappedAddress,
};
use stun_types::message::{IntegrityAlgorithm, IntegrityKey};
use turn_types::attribute::{ChannelNumber, Lifetime};

use crate::allocation::{Client, Transport, Unbindable};
use crate::auth::Subject;
use crate::channel::Number;
use crate::ledger::{Family, Full};
use crate::message::{self, ALGORITHMS, Answer, Malformed, Reference, Request, WantedFamily};
use crate::relay::{DEPARTED, Output, Relay};

/// How long an allocation lasts when nothing is asked for, and at least (RFC 8656 §3.2).
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);
/// How long it lasts at most, until it is refreshed.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// Why a request is refused: the code of the answer (RFC 8656 §19).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal(pub(crate) u16);

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Self(ErrorCode::BAD_REQUEST)
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        match full {
            Full::User => Self(ErrorCode::ALLOCATION_QUOTA_REACHED),
            Full::Total => Self(ErrorCode::INSUFFICIENT_CAPACITY),
        }
    }
}

/// A signed request, with all that its answer depends on.
pub(crate) struct Ask<'a> {
    pub(crate) client: Client,
    pub(crate) request: &'a Request<'a>,
    pub(crate) signer: Signer,
    pub(crate) now: Instant,
}

/// The user that signed a request, and the key.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) subject: Subject,
    key: IntegrityKey,
    algorithm: IntegrityAlgorithm,
}

impl Signer {
    /// The bytes of an answer, signed as the request was.
    pub(crate) fn sign(&self, answer: Answer) -> Vec<u8> {
        answer.signed(&self.key, self.algorithm)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.subject).finish()
    }
}

/// Why a request counts as unsigned.
enum Unsigned {
    /// 401 and 438 come with what is needed to sign.
    Challenge(u16),
    Refused(Refusal),
}

impl From<Malformed> for Unsigned {
    fn from(malformed: Malformed) -> Self {
        Self::Refused(malformed.into())
    }
}

pub(crate) const BAD_REQUEST: Refusal = Refusal(ErrorCode::BAD_REQUEST);
pub(crate) const MISMATCH: Refusal = Refusal(ErrorCode::ALLOCATION_MISMATCH);
pub(crate) const FULL: Refusal = Refusal(ErrorCode::INSUFFICIENT_CAPACITY);
pub(crate) const FAMILY_UNSUPPORTED: Refusal = Refusal(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED);
const UNAUTHORIZED: Unsigned = Unsigned::Challenge(ErrorCode::UNAUTHORIZED);

impl Relay {
    pub(crate) fn handle_request(&mut self, client: Client, request: &Request<'_>, now: Instant) {
        match request.method {
            message::BINDING => self.binding(client, request, now),
            message::ALLOCATE
            | message::REFRESH
            | message::CREATE_PERMISSION
            | message::CHANNEL_BIND => self.signed_request(client, request, now),
            _ => self.counters.dropped_malformed.add(1),
        }
    }

    fn binding(&mut self, client: Client, request: &Request<'_>, now: Instant) {
        let unknown = request.unknown();
        let mut answer = match unknown.is_empty() {
            true => request.success(),
            false => request.not_understood(&unknown),
        };
        if unknown.is_empty() {
            answer.put(&XorMappedAddress::new(client.remote, request.transaction()));
        }
        self.reply_unauthenticated(client, answer, now);
    }

    /// Answers an unauthenticated client, and each source only so often: over UDP the address may be forged.
    fn reply_unauthenticated(&mut self, client: Client, answer: Answer, now: Instant) {
        if client.transport == Transport::Udp && !self.limiter.allows(client.remote.ip(), now) {
            self.counters.dropped_unanswered.add(1);
            return;
        }
        self.reply(client, answer.plain());
    }

    pub(crate) fn reply(&mut self, client: Client, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Reply { client, bytes });
    }

    fn signed_request(&mut self, client: Client, request: &Request<'_>, now: Instant) {
        let signer = match self.authenticate(&client, request, now) {
            Ok(signer) => signer,
            Err(Unsigned::Challenge(code)) => {
                let nonce = self.nonces.make(client.remote, now);
                return self.reply_unauthenticated(client, request.challenge(code, &nonce), now);
            }
            Err(Unsigned::Refused(Refusal(code))) => {
                return self.reply_unauthenticated(client, request.error(code), now);
            }
        };
        let unknown = request.unknown();
        if !unknown.is_empty() {
            let answer = request.not_understood(&unknown);
            return self.reply(client, signer.sign(answer));
        }
        let ask = Ask { client, request, signer, now };
        let answered = match request.method {
            message::ALLOCATE => self.allocate(&ask),
            message::REFRESH => self.refresh(&ask),
            message::CREATE_PERMISSION => self.create_permission(&ask),
            _ => self.channel_bind(&ask),
        };
        let answer = answered.unwrap_or_else(|Refusal(code)| Some(request.error(code)));
        if let Some(answer) = answer {
            self.reply(client, ask.signer.sign(answer));
        }
    }

    /// The long-term credential mechanism (RFC 8489 §9.2.4). A wrong password and an unknown user look alike.
    fn authenticate(
        &mut self,
        client: &Client,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Signer, Unsigned> {
        if !request.has::<MessageIntegrity>() && !request.has::<MessageIntegritySha256>() {
            return Err(UNAUTHORIZED);
        }
        let username = request.attribute::<Username>()?;
        let realm = request.attribute::<Realm>()?;
        let nonce = request.attribute::<Nonce>()?;
        let (Some(username), Some(realm), Some(nonce)) = (username, realm, nonce) else {
            return Err(Unsigned::Refused(BAD_REQUEST));
        };
        if !self.nonces.fits(nonce.nonce(), client.remote, now) {
            return Err(Unsigned::Challenge(ErrorCode::STALE_NONCE));
        }
        let hashed = password_algorithm(request)?;
        let signer = (realm.realm() == message::REALM)
            .then(|| self.signer(client, request, username.username(), hashed, now))
            .flatten();
        signer.ok_or_else(|| self.unauthorized(client, now))
    }

    fn signer(
        &self,
        client: &Client,
        request: &Request<'_>,
        username: &str,
        algorithm: IntegrityAlgorithm,
        now: Instant,
    ) -> Option<Signer> {
        // A client keeps its allocation beyond the end of its credential: calls outlast an hour.
        let holds = self
            .allocation_of(client, now)
            .is_some_and(|(_, allocation)| &*allocation.subject.username == username);
        let unix = if holds { None } else { Some(self.unix(now)) };
        let (subject, key) = self.rules.credentials.look_up(username, unix, algorithm)?;
        let valid = request.signed_with(&key) && !self.ledger.is_shut_out(&subject);
        valid.then_some(Signer { subject, key, algorithm })
    }

    fn unauthorized(&mut self, client: &Client, now: Instant) -> Unsigned {
        self.counters.refused_credentials.add(1);
        if self.may_log(client.remote.ip(), now) {
            tracing::info!(source = %client.remote.ip(), "a TURN client's credential was refused");
        }
        UNAUTHORIZED
    }

    /// The signer's own allocation (RFC 8656 §5).
    fn own(&self, client: &Client, signer: &Signer, now: Instant) -> Result<u32, Refusal> {
        let (index, allocation) = self.allocation_of(client, now).ok_or(MISMATCH)?;
        match allocation.subject.username == signer.subject.username {
            true => Ok(index),
            false => Err(Refusal(ErrorCode::WRONG_CREDENTIALS)),
        }
    }

    /// A Refresh request (RFC 8656 §8.2).
    fn refresh(&mut self, ask: &Ask<'_>) -> Result<Option<Answer>, Refusal> {
        let Ask { client, request, signer, now } = ask;
        let (client, now) = (*client, *now);
        let transaction = u128::from(request.transaction());
        let wished = lifetime(request)?;
        let index = match self.own(&client, signer, now) {
            Err(MISMATCH) if self.departed.contains(&(client, transaction)) => {
                return Ok(Some(refreshed(request.reference(), Duration::ZERO)));
            }
            own => own?,
        };
        let family = match request.requested_family()? {
            None => None,
            Some(WantedFamily::Known(family)) => Some(family),
            Some(WantedFamily::Unknown) => return Err(BAD_REQUEST),
        };
        if wished.is_zero() {
            self.depart(index, family, (client, transaction))?;
            return Ok(Some(refreshed(request.reference(), Duration::ZERO)));
        }
        let allocation = self.allocations.get_mut(index as usize).ok_or(MISMATCH)?;
        if family.is_some_and(|family| allocation.relayed(family).is_none()) {
            return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
        }
        let granted = wished.clamp(LIFETIME, LIFETIME_MAX);
        allocation.expires = now + granted;
        Ok(Some(refreshed(request.reference(), granted)))
    }

    /// Closes an allocation, or one family of one that has two.
    fn depart(
        &mut self,
        index: u32,
        family: Option<Family>,
        departure: (Client, u128),
    ) -> Result<(), Refusal> {
        if let Some(family) = family {
            let allocation = self.allocations.get(index as usize).ok_or(MISMATCH)?;
            if allocation.relayed(family).is_none() {
                return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
            }
            if allocation.relayed.iter().flatten().count() > 1 {
                self.release(index, family);
                return Ok(());
            }
        }
        self.close(index);
        self.departed.truncate(DEPARTED - 1);
        self.departed.push_front(departure);
        Ok(())
    }

    /// A CreatePermission request (RFC 8656 §10.2): all of its peers, or none.
    fn create_permission(&mut self, ask: &Ask<'_>) -> Result<Option<Answer>, Refusal> {
        let Ask { client, request, signer, now } = ask;
        let (client, now) = (*client, *now);
        let index = self.own(&client, signer, now)?;
        let peers = request.peers()?;
        if peers.is_empty() {
            return Err(BAD_REQUEST);
        }
        for ip in peers.iter().map(SocketAddr::ip) {
            let reachable = self.reachable_ip(ip);
            self.check_reachable(&client, reachable.inside || reachable.outside, now)?;
        }
        let cap = self.rules.permissions;
        let ips: Vec<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
        let allocation = self.allocations.get_mut(index as usize).ok_or(MISMATCH)?;
        if ips.iter().any(|ip| allocation.relayed(Family::of(*ip)).is_none()) {
            return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
        }
        if !allocation.permit(&ips, cap, now) {
            return Err(FULL);
        }
        Ok(Some(request.success()))
    }

    /// A ChannelBind request (RFC 8656 §12.2).
    fn channel_bind(&mut self, ask: &Ask<'_>) -> Result<Option<Answer>, Refusal> {
        let Ask { client, request, signer, now } = ask;
        let (client, now) = (*client, *now);
        let index = self.own(&client, signer, now)?;
        let number = request.attribute::<ChannelNumber>()?.ok_or(BAD_REQUEST)?;
        let may = |number: &Number| number.is_current() || self.rules.old_channels;
        let number = Number::new(number.channel()).filter(may).ok_or(BAD_REQUEST)?;
        let [peer] = *request.peers()? else { return Err(BAD_REQUEST) };
        if peer.port() == 0 {
            return Err(BAD_REQUEST);
        }
        let reachable = self.reachable(peer);
        self.check_reachable(&client, reachable.inside || reachable.outside, now)?;
        let family = Family::of(peer.ip());
        let cap = self.rules.permissions;
        let allocation = self.allocations.get_mut(index as usize).ok_or(MISMATCH)?;
        if allocation.relayed(family).is_none() {
            return Err(Refusal(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
        }
        allocation.bind(number, peer, cap, now).map_err(|unbindable| match unbindable {
            Unbindable::Taken => BAD_REQUEST,
            Unbindable::Full => FULL,
        })?;
        Ok(Some(request.success()))
    }

    fn check_reachable(&mut self, client: &Client, may: bool, now: Instant) -> Result<(), Refusal> {
        if may {
            return Ok(());
        }
        self.counters.refused_peers.add(1);
        if self.may_log(client.remote.ip(), now) {
            tracing::info!(source = %client.remote.ip(), "a TURN client asked for a peer that is not allowed");
        }
        Err(Refusal(ErrorCode::FORBIDDEN))
    }
}

/// How the password is hashed: as PASSWORD-ALGORITHM says, MD5 without it (RFC 8489 §9.2.4).
fn password_algorithm(request: &Request<'_>) -> Result<IntegrityAlgorithm, Unsigned> {
    let chosen = request.attribute::<PasswordAlgorithm>()?;
    let offered = request.attribute::<PasswordAlgorithms>()?;
    let chosen = match (chosen, offered) {
        (None, None) => IntegrityAlgorithm::Sha1,
        (Some(chosen), Some(offered)) if offered.algorithms() == ALGORITHMS => {
            chosen.algorithm().as_integrity()
        }
        _ => return Err(Unsigned::Refused(BAD_REQUEST)),
    };
    let carried = match chosen {
        IntegrityAlgorithm::Sha1 => request.has::<MessageIntegrity>(),
        IntegrityAlgorithm::Sha256 => request.has::<MessageIntegritySha256>(),
    };
    if carried { Ok(chosen) } else { Err(UNAUTHORIZED) }
}

/// LIFETIME, or what is granted without it.
pub(crate) fn lifetime(request: &Request<'_>) -> Result<Duration, Malformed> {
    let lifetime = request.attribute::<Lifetime>()?;
    Ok(lifetime.map_or(LIFETIME, |lifetime| Duration::from_secs(lifetime.seconds().into())))
}

pub(crate) fn refreshed(request: Reference, lifetime: Duration) -> Answer {
    let mut answer = request.success();
    answer.put(&Lifetime::new(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)));
    answer
}
