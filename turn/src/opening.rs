//! The Allocate request (RFC 8656 §7.2): its ports are taken, their sockets opened, and only then is it answered, so that a port
//! which another program has costs a client nothing but the next try.

use std::net::SocketAddr;
use std::time::Instant;

use stun_types::AddressFamily;
use stun_types::attribute::{ErrorCode, XorMappedAddress};
use turn_types::attribute::{
    AddressErrorCode, EvenPort, RequestedTransport, ReservationToken, XorRelayedAddress,
};

use crate::allocation::{Allocation, Client, Relayed};
use crate::ledger::{Family, Full, Home, Ledger, PortRequest};
use crate::message::{Answer, Reference, Request, WantedFamily};
use crate::relay::{Output, Relay, SocketKey, Unopened};
use crate::requests::{
    Ask, BAD_REQUEST, FAMILY_UNSUPPORTED, FULL, LIFETIME, LIFETIME_MAX, MISMATCH, Refusal, Signer,
    lifetime, refreshed,
};

/// Ports tried for one relayed address at most; a range of fewer is tried to its end.
const TRIES: usize = 512;
/// The protocol number of UDP.
const UDP: u8 = 17;

/// An Allocate request whose sockets are being opened.
#[derive(Debug)]
pub(crate) struct Opening {
    reference: Reference,
    signer: Signer,
    wish: PortRequest,
    /// Sockets whose outcome is not known yet.
    waiting: usize,
    /// Ports that could not be opened.
    tries: usize,
    /// Ports that another program has, kept aside until a free one is found.
    aside: Vec<(Family, u16)>,
    /// Whether it was descriptors that were missing.
    descriptors: bool,
}

impl Opening {
    pub(crate) fn give_back(&self, ledger: &Ledger) {
        self.aside.iter().for_each(|&(family, port)| ledger.free(family, port));
    }
}

impl Relay {
    /// An Allocate request; no answer yet while its sockets are being opened.
    pub(crate) fn allocate(&mut self, ask: &Ask<'_>) -> Result<Option<Answer>, Refusal> {
        let Ask { client, request, signer, now } = ask;
        let (client, now) = (*client, *now);
        let transaction = u128::from(request.transaction());
        let index = self.clients.get(&client).copied();
        let known = index.and_then(|index| self.allocations.get(index as usize));
        // One that has run out and was not swept yet makes room.
        if let Some(allocation) = known.filter(|known| now < known.expires) {
            return match (allocation.transaction == transaction, &allocation.opening) {
                (true, None) => Ok(Some(allocated(request.reference(), allocation))),
                (true, Some(_)) => Ok(None),
                (false, _) => Err(MISMATCH),
            };
        }
        if let Some(index) = index {
            self.close(index);
        }
        let (wanted, lifetime) = (Wanted::read(request)?, lifetime(request)?);
        if self.ledger.is_draining() {
            self.counters.refused_capacity.add(1);
            return Err(FULL);
        }
        self.ledger.enter(&signer.subject.user).inspect_err(|full| match full {
            Full::User => self.counters.refused_quota.add(1),
            Full::Total => self.counters.refused_capacity.add(1),
        })?;
        let mut allocation = Allocation::new(client, signer.subject.clone(), transaction, now);
        allocation.lifetime = lifetime.clamp(LIFETIME, LIFETIME_MAX);
        allocation.expires = now + allocation.lifetime;
        allocation.opening = Some(Box::new(Opening {
            reference: request.reference(),
            signer: signer.clone(),
            wish: wanted.wish,
            waiting: 0,
            tries: 0,
            aside: Vec::new(),
            descriptors: false,
        }));
        let index = self.enter(allocation);
        self.open(index, &wanted, now);
        Ok(None)
    }

    fn enter(&mut self, allocation: Allocation) -> u32 {
        let client = allocation.client;
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer ports than that")]
        let index = self.allocations.insert(allocation) as u32;
        self.clients.insert(client, index);
        index
    }

    /// Takes the relayed addresses; of two wanted families one suffices.
    fn open(&mut self, index: u32, wanted: &Wanted, now: Instant) {
        for &family in wanted.families {
            let taken = self.take(index, family, now);
            // The token alone says which family it is for.
            if taken && matches!(wanted.wish, PortRequest::Reserved(_)) {
                if let Some(allocation) = self.allocations.get_mut(index as usize) {
                    allocation.missing = None;
                }
                break;
            }
        }
        self.conclude(index, now);
    }

    /// Takes a port of `family`, and has its socket opened where there are any; false when there is none.
    fn take(&mut self, index: u32, family: Family, now: Instant) -> bool {
        let opens = self.opens_sockets();
        let Some(allocation) = self.allocations.get_mut(index as usize) else { return false };
        let Some(opening) = allocation.opening.as_deref_mut() else { return false };
        let Some(ip) = self.rules.advertised(family) else {
            allocation.missing = Some((family, FAMILY_UNSUPPORTED.0));
            return false;
        };
        let user = &allocation.subject.user;
        let Some(taken) = self.ledger.take(family, opening.wish, user, now) else {
            allocation.missing = Some((family, FULL.0));
            return false;
        };
        let address = SocketAddr::new(ip, taken.port);
        if opens {
            let (socket, pair) = (SocketKey { allocation: index, family }, taken.token.is_some());
            opening.waiting += 1;
            self.outputs.push_back(Output::Open { socket, address, pair });
        }
        allocation.token = taken.token;
        *allocation.relayed_mut(family) = Some(Relayed { address, open: false });
        self.ledger.settle(family, taken.port, Home { worker: self.worker, index });
        true
    }

    /// How the opening of a socket went. Another port is tried in the place of one that another program has.
    pub fn handle_opened(
        &mut self,
        socket: SocketKey,
        outcome: Result<(), Unopened>,
        now: Instant,
    ) {
        let allocation = self.allocations.get_mut(socket.allocation as usize);
        let opening = allocation.and_then(|it| Some((it.opening.as_deref_mut()?, &mut it.relayed)));
        let Some((opening, [v4, v6])) = opening else {
            // It was closed meanwhile.
            if outcome.is_ok() {
                self.outputs.push_back(Output::Close(socket));
            }
            return;
        };
        opening.waiting = opening.waiting.saturating_sub(1);
        let relayed = if socket.family == Family::V4 { v4 } else { v6 };
        match (outcome, relayed) {
            (Ok(()), Some(relayed)) => relayed.open = true,
            (Ok(()), None) => self.outputs.push_back(Output::Close(socket)),
            (Err(unopened), _) => self.unopened(socket, unopened, now),
        }
        self.conclude(socket.allocation, now);
    }

    fn unopened(&mut self, socket: SocketKey, unopened: Unopened, now: Instant) {
        let allocation = self.allocations.get_mut(socket.allocation as usize);
        let Some(allocation) = allocation else { return };
        let relayed = allocation.relayed_mut(socket.family).take();
        let token = allocation.token.take();
        let Some(opening) = allocation.opening.as_deref_mut() else { return };
        let port = relayed.map(|relayed| (socket.family, relayed.address.port()));
        let reserved = token.and_then(|token| self.ledger.withdraw(&token));
        opening.aside.extend(port.into_iter().chain(reserved));
        opening.tries += 1;
        opening.descriptors = unopened == Unopened::Descriptors;
        let again = unopened == Unopened::Taken && opening.tries < TRIES;
        self.counters.ports_taken.add(u64::from(unopened == Unopened::Taken));
        if again {
            self.take(socket.allocation, socket.family, now);
        } else {
            allocation.missing = Some((socket.family, FULL.0));
        }
    }

    /// Answers once the outcome of every socket is known.
    fn conclude(&mut self, index: u32, now: Instant) {
        let Some(allocation) = self.allocations.get_mut(index as usize) else { return };
        let opening = allocation.opening.take_if(|opening| opening.waiting == 0);
        let Some(opening) = opening else { return };
        opening.give_back(&self.ledger);
        let client = allocation.client;
        if allocation.relayed.iter().any(Option::is_some) {
            self.counters.allocations_opened.add(1);
            let answer = allocated(opening.reference, allocation);
            return self.reply(client, opening.signer.sign(answer));
        }
        let code = allocation.missing.map_or(FULL.0, |(_, code)| code);
        self.remove(index);
        if code == FULL.0 {
            self.no_port(client, opening.descriptors, now);
        }
        self.reply(client, opening.signer.sign(opening.reference.error(code)));
    }

    fn no_port(&mut self, client: Client, descriptors: bool, now: Instant) {
        let counters = &self.counters;
        let refused =
            if descriptors { &counters.refused_descriptors } else { &counters.refused_ports };
        refused.add(1);
        if self.may_log(client.remote.ip(), now) {
            match descriptors {
                true => tracing::warn!(
                    "an allocation of the relay is refused: the process has no descriptor left; raise LimitNOFILE or lower turn.allocations"
                ),
                false => tracing::warn!(
                    "an allocation of the relay is refused: no port of turn.ports is free; widen turn.ports or reserve its ports (net.ipv4.ip_local_reserved_ports)"
                ),
            }
        }
    }
}

/// What an Allocate request asks for.
struct Wanted {
    families: &'static [Family],
    wish: PortRequest,
}

impl Wanted {
    fn read(request: &Request<'_>) -> Result<Self, Refusal> {
        let transport = request.attribute::<RequestedTransport>()?.ok_or(BAD_REQUEST)?;
        if transport.protocol() != UDP {
            return Err(Refusal(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL));
        }
        let even = request.attribute::<EvenPort>()?.map(|even| even.requested());
        let token = request.attribute::<ReservationToken>()?.map(|token| token.token());
        let (family, more) = (request.requested_family()?, request.additional_family()?);
        if [family, more].contains(&Some(WantedFamily::Unknown)) {
            return Err(FAMILY_UNSUPPORTED);
        }
        let wish = match (even, token) {
            (Some(_), Some(_)) => return Err(BAD_REQUEST),
            (None, Some(token)) => PortRequest::Reserved(token.to_be_bytes()),
            (Some(true), None) => PortRequest::Pair,
            (Some(false), None) => PortRequest::Even,
            (None, None) => PortRequest::Any,
        };
        let families: &[Family] = match (family, more) {
            (Some(_), Some(_)) => return Err(BAD_REQUEST),
            (None, Some(more)) => {
                let v6 = more == WantedFamily::Known(Family::V6);
                let fits = v6 && matches!(wish, PortRequest::Any | PortRequest::Even);
                if fits { &[Family::V4, Family::V6] } else { return Err(BAD_REQUEST) }
            }
            (Some(_), None) if token.is_some() => return Err(BAD_REQUEST),
            (Some(WantedFamily::Known(Family::V4)), None) => &[Family::V4],
            (Some(_), None) => &[Family::V6],
            (None, None) if token.is_some() => &[Family::V4, Family::V6],
            (None, None) => &[Family::V4],
        };
        Ok(Self { families, wish })
    }
}

/// The success of an Allocate request.
fn allocated(request: Reference, allocation: &Allocation) -> Answer {
    let mut answer = refreshed(request, allocation.lifetime);
    for relayed in allocation.relayed.iter().flatten() {
        answer.put(&XorRelayedAddress::new(relayed.address, request.transaction));
    }
    answer.put(&XorMappedAddress::new(allocation.client.remote, request.transaction));
    if let Some(token) = allocation.token {
        answer.put(&ReservationToken::new(u64::from_be_bytes(token)));
    }
    if let Some((family, code)) = allocation.missing
        && let Ok(error) = ErrorCode::builder(code).reason("").build()
    {
        let family = if family == Family::V4 { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
        answer.put(&AddressErrorCode::new(family, error));
    }
    answer
}
