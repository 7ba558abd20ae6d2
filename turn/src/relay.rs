//! The relay of one worker, without sockets, threads or a clock: datagrams and the time go in, answers and orders come out.

mod closing;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::allocation::{Allocation, Client, Pace, Traffic};
use crate::auth::{Credentials, Subject};
use crate::channel::{self, Number};
use crate::counters::Counters;
use crate::ledger::{Family, Home, Ledger};
use crate::limit::Limiter;
use crate::message::{self, Request};
use crate::nonce::Nonces;
use crate::policy::{Judgement, Policy, Reach};

/// How often what has run out is swept away.
const SWEEP: Duration = Duration::from_secs(1);
/// How many closed allocations are remembered, so that a repeated closing is answered alike.
pub(crate) const DEPARTED: usize = 256;
/// Lines in the log about one source: one in so many seconds.
const LOG_MINUTE: u32 = 60;

/// What a relay goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Secrets and users of clients.
    pub credentials: Credentials,
    /// The peers they may reach.
    pub policy: Policy,
    /// The relayed addresses that clients are given, of each family at most one.
    pub advertised: Vec<IpAddr>,
    /// Permissions and channels of one allocation.
    pub permissions: usize,
    /// Whether the channel numbers of RFC 5766 that RFC 8656 took away may be bound.
    pub old_channels: bool,
    /// Bandwidth of one allocation, each way.
    pub pace: Pace,
    /// Answers to unauthenticated requests of one source in a second.
    pub unauthenticated: u32,
}

impl Rules {
    pub(crate) fn advertised(&self, family: Family) -> Option<IpAddr> {
        self.advertised.iter().copied().find(|ip| Family::of(*ip) == family)
    }
}

/// The socket of a relayed address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SocketKey {
    /// The allocation.
    pub allocation: u32,
    /// Which of its addresses.
    pub family: Family,
}

/// Where a client's packet goes on to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Onward {
    /// Through the socket of a relayed address.
    Outside {
        /// The socket.
        socket: SocketKey,
        /// The peer.
        peer: SocketAddr,
        /// Where the payload lies in the datagram.
        payload: Range<usize>,
        /// Whether it must not be fragmented (DONT-FRAGMENT).
        whole: bool,
    },
    /// To an insider, which lives in this process.
    Inside {
        /// The relayed address it comes from.
        from: SocketAddr,
        /// The address of the insider.
        to: SocketAddr,
        /// Where the payload lies in the datagram.
        payload: Range<usize>,
    },
}

/// How a peer's packet goes to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Toward {
    /// The client.
    pub client: Client,
    /// What goes around the payload.
    pub framing: Framing,
}

/// What goes around a payload for a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// Channel data.
    Channel(Number),
    /// A Data indication.
    Data {
        /// The peer that sent it.
        peer: SocketAddr,
        /// The transaction id.
        transaction: u128,
    },
}

/// What the driver is to do, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Send `bytes` to a client.
    Reply {
        /// The client.
        client: Client,
        /// One message.
        bytes: Vec<u8>,
    },
    /// Open a socket; [`Relay::handle_opened`] wants to know how it went.
    Open {
        /// The socket.
        socket: SocketKey,
        /// The relayed address it stands for. Where it was reserved, its socket is open already.
        address: SocketAddr,
        /// Whether the next port is to be opened too, and kept for the allocation that takes up its reservation: both or none.
        pair: bool,
    },
    /// Close a socket.
    Close(SocketKey),
    /// Close the socket that was kept for a reservation, if no allocation has taken it up.
    CloseReserved(SocketAddr),
    /// Close a client's stream.
    HangUp(Client),
}

/// Why a relayed address has no socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unopened {
    /// Another program has the port.
    Taken,
    /// The process may open no more descriptors.
    Descriptors,
    /// The system refuses it for another reason.
    Refused,
}

/// What an operator sees of one allocation.
#[derive(Clone, Debug)]
pub struct AllocationView {
    /// Whose it is.
    pub subject: Subject,
    /// The client.
    pub client: Client,
    /// Its relayed addresses.
    pub relayed: Vec<SocketAddr>,
    /// Seconds since it was opened.
    pub age: u64,
    /// Seconds until it runs out.
    pub expires_in: u64,
    /// Live permissions.
    pub permissions: usize,
    /// Live channels.
    pub channels: usize,
    /// What went to peers.
    pub to_peers: Traffic,
    /// What went to the client.
    pub to_client: Traffic,
}

/// See the module.
pub struct Relay {
    pub(crate) worker: u8,
    pub(crate) rules: Arc<Rules>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) nonces: Nonces,
    pub(crate) limiter: Limiter,
    log_limiter: Limiter,
    epoch: Instant,
    /// A moment, and the seconds since 1970 at it.
    wall: (Instant, u64),
    /// Addresses of the insiders.
    insiders: HashSet<SocketAddr>,
    pub(crate) clients: HashMap<Client, u32>,
    pub(crate) allocations: Slab<Allocation>,
    pub(crate) departed: VecDeque<(Client, u128)>,
    pub(crate) outputs: VecDeque<Output>,
    next_transaction: u128,
    next_sweep: Instant,
}

impl Relay {
    /// A relay for `worker`; `key` makes its nonces, `unix` is the time in seconds since 1970 at `now`.
    pub fn new(
        worker: u8,
        rules: Arc<Rules>,
        ledger: Arc<Ledger>,
        key: &[u8; 32],
        (now, unix): (Instant, u64),
    ) -> Self {
        let rate = rules.unauthenticated;
        Self {
            worker,
            counters: Arc::default(),
            nonces: Nonces::new(key, now),
            limiter: Limiter::new(rate, 2 * rate, now),
            log_limiter: Limiter::new(1, 1, now),
            epoch: now,
            wall: (now, unix),
            insiders: HashSet::new(),
            clients: HashMap::new(),
            allocations: Slab::new(),
            departed: VecDeque::new(),
            outputs: VecDeque::new(),
            next_transaction: u128::from_be_bytes(ledger.random_bytes()) >> 32,
            next_sweep: now + SWEEP,
            rules,
            ledger,
        }
    }

    /// What this relay counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Sets the wall clock, which credentials go by.
    pub fn set_wall(&mut self, now: Instant, unix: u64) {
        self.wall = (now, unix);
    }

    pub(crate) fn unix(&self, now: Instant) -> u64 {
        self.wall.1 + now.saturating_duration_since(self.wall.0).as_secs()
    }

    /// Sets the addresses of what lives in this process: packets to them are [`Onward::Inside`]. A wildcard is where it listens,
    /// not where it is reached; beside it a loopback address counts only where there is no other, so that a permission for it
    /// opens nothing.
    pub fn set_insiders(&mut self, mut insiders: HashSet<SocketAddr>) {
        let everywhere = insiders.iter().any(|insider| insider.ip().is_unspecified());
        insiders.retain(|insider| !insider.ip().is_unspecified());
        if everywhere && insiders.iter().any(|insider| !insider.ip().is_loopback()) {
            insiders.retain(|insider| !insider.ip().is_loopback());
        }
        self.insiders = insiders;
    }

    /// Whether a line about `source` may go to the log.
    pub(crate) fn may_log(&mut self, source: IpAddr, now: Instant) -> bool {
        // The bucket knows seconds only: a minute of them is a second of a clock that runs as much slower.
        let slow = now.saturating_duration_since(self.epoch) / LOG_MINUTE;
        self.log_limiter.allows(source, self.epoch + slow)
    }

    /// A datagram, or one frame of a stream, of a client. Afterwards [`Self::poll_output`] is to be drained.
    pub fn handle_client(
        &mut self,
        client: Client,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Onward> {
        match datagram.first() {
            Some(&first) if channel::is_channel_data(first) => {
                self.channel_data(&client, datagram, now)
            }
            Some(0..=3) => self.message(client, datagram, now),
            _ => {
                self.counters.dropped_malformed.add(1);
                None
            }
        }
    }

    fn channel_data(&mut self, client: &Client, datagram: &[u8], now: Instant) -> Option<Onward> {
        let Some(data) = channel::parse(datagram) else {
            self.counters.dropped_malformed.add(1);
            return None;
        };
        let peer = self
            .allocation_of(client, now)
            .and_then(|(index, allocation)| Some((index, allocation.peer_of(data.number, now)?)));
        let Some((index, peer)) = peer else {
            self.counters.dropped_unpermitted.add(1);
            return None;
        };
        let payload = channel::HEADER..channel::HEADER + data.payload.len();
        self.onward(index, peer, payload, false, now)
    }

    fn message(&mut self, client: Client, datagram: &[u8], now: Instant) -> Option<Onward> {
        let Ok(request) = Request::parse(datagram) else {
            self.counters.dropped_malformed.add(1);
            return None;
        };
        if !request.indication {
            self.handle_request(client, &request, now);
            return None;
        }
        (request.method == message::SEND).then(|| self.send(&client, &request, now)).flatten()
    }

    /// A Send indication (RFC 8656 §11.2): what is not allowed is dropped without a word.
    fn send(&mut self, client: &Client, request: &Request<'_>, now: Instant) -> Option<Onward> {
        let permitted = self.allocation_of(client, now).and_then(|(index, allocation)| {
            let [peer] = *request.peers().ok()? else { return None };
            let payload = request.data()?;
            let permitted = allocation.permits(peer.ip(), now) && request.unknown().is_empty();
            permitted.then_some((index, peer, payload))
        });
        let Some((index, peer, payload)) = permitted else {
            self.counters.dropped_unpermitted.add(1);
            return None;
        };
        let whole = request.has::<turn_types::attribute::DontFragment>();
        self.onward(index, peer, payload, whole, now)
    }

    fn onward(
        &mut self,
        index: u32,
        peer: SocketAddr,
        payload: Range<usize>,
        whole: bool,
        now: Instant,
    ) -> Option<Onward> {
        let reachable = self.reachable(peer);
        let family = Family::of(peer.ip());
        let allocation = self.allocations.get_mut(index as usize)?;
        let relayed = allocation.relayed(family).map(|relayed| (relayed.address, relayed.open));
        let (Some((from, open)), true) = (relayed, reachable.inside || reachable.outside) else {
            self.counters.dropped_unpermitted.add(1);
            return None;
        };
        if !reachable.inside && !open {
            self.counters.dropped_unpermitted.add(1);
            return None;
        }
        if !allocation.to_peers.admit(payload.len(), self.rules.pace, now) {
            self.counters.dropped_bandwidth.add(1);
            return None;
        }
        self.counters.packets_to_peers.add(1);
        self.counters.bytes_to_peers.add(payload.len() as u64);
        if reachable.inside {
            self.counters.packets_inside.add(1);
            return Some(Onward::Inside { from, to: peer, payload });
        }
        let socket = SocketKey { allocation: index, family };
        Some(Onward::Outside { socket, peer, payload, whole })
    }

    /// A packet of `length` bytes that came in at a relay socket.
    pub fn handle_peer(
        &mut self,
        socket: SocketKey,
        peer: SocketAddr,
        length: usize,
        now: Instant,
    ) -> Option<Toward> {
        self.toward(socket.allocation, peer, length, now)
    }

    /// A packet from inside to one of the relayed addresses: the same checks as for one from outside.
    pub fn handle_inside(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        length: usize,
        now: Instant,
    ) -> Option<Toward> {
        let home = self.home_of(to).filter(|home| home.worker == self.worker);
        let Some(home) = home else {
            self.counters.dropped_unpermitted.add(1);
            return None;
        };
        self.counters.packets_inside.add(1);
        self.toward(home.index, from, length, now)
    }

    /// The worker at which a relayed address lives.
    pub(crate) fn home_of(&self, relayed: SocketAddr) -> Option<Home> {
        let family = Family::of(relayed.ip());
        let ours = self.rules.advertised(family) == Some(relayed.ip());
        ours.then(|| self.ledger.home(family, relayed.port()))?
    }

    fn toward(
        &mut self,
        index: u32,
        peer: SocketAddr,
        length: usize,
        now: Instant,
    ) -> Option<Toward> {
        let allocation = self.allocations.get_mut(index as usize);
        let live = allocation.filter(|allocation| allocation.is_live(now));
        let Some(allocation) = live.filter(|allocation| allocation.permits(peer.ip(), now)) else {
            self.counters.dropped_unpermitted.add(1);
            return None;
        };
        if !allocation.to_client.admit(length, self.rules.pace, now) {
            self.counters.dropped_bandwidth.add(1);
            return None;
        }
        self.counters.packets_to_clients.add(1);
        self.counters.bytes_to_clients.add(length as u64);
        let framing = allocation.channel_to(peer, now).map(Framing::Channel).unwrap_or_else(|| {
            self.next_transaction = self.next_transaction.wrapping_add(1) & (u128::MAX >> 32);
            Framing::Data { peer, transaction: self.next_transaction }
        });
        Some(Toward { client: allocation.client, framing })
    }

    pub(crate) fn allocation_of(
        &self,
        client: &Client,
        now: Instant,
    ) -> Option<(u32, &Allocation)> {
        let index = *self.clients.get(client)?;
        let allocation = self.allocations.get(index as usize)?;
        allocation.is_live(now).then_some((index, allocation))
    }

    /// How `peer` may be reached.
    pub(crate) fn reachable(&self, peer: SocketAddr) -> Reachable {
        let policy = &self.rules.policy;
        if peer.port() == 0 {
            return Reachable::default();
        }
        if self.insiders.contains(&peer) {
            return Reachable { inside: true, outside: false };
        }
        match policy.judge(peer.ip()) {
            Judgement::Outside => Reachable { inside: false, outside: true },
            Judgement::Refused => Reachable::default(),
            Judgement::Own => {
                let inside = policy.reach == Reach::Open && self.home_of(peer).is_some();
                Reachable { inside, outside: !inside && policy.own_socket_allowed(peer) }
            }
        }
    }

    /// How `ip` may be reached at any port: what a permission is for.
    pub(crate) fn reachable_ip(&self, ip: IpAddr) -> Reachable {
        let policy = &self.rules.policy;
        let own = policy.judge(ip) == Judgement::Own;
        let relayed = own && policy.reach == Reach::Open && self.rules.advertised.contains(&ip);
        let outside = match own {
            true => policy.own_socket_allowed(SocketAddr::new(ip, 1)),
            false => policy.judge(ip) == Judgement::Outside,
        };
        let inside = relayed || self.insiders.iter().any(|insider| insider.ip() == ip);
        Reachable { inside, outside }
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    pub fn deadline(&self) -> Instant {
        self.next_sweep
    }

    /// Sweeps away what has run out.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        if self.worker == 0 {
            for (family, port) in self.ledger.sweep(now) {
                self.close_reserved(family, port);
            }
        }
        self.close_where(false, |allocation| {
            allocation.sweep(now);
            now >= allocation.expires
        });
    }

    /// What is to be done next; to be drained after every `handle_`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Every allocation, as an operator sees it.
    pub fn allocations(&self, now: Instant) -> Vec<AllocationView> {
        let open = self.allocations.iter().filter(|(_, allocation)| allocation.opening.is_none());
        open.map(|(_, allocation)| view(allocation, now)).collect()
    }
}

/// How a peer may be reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Reachable {
    pub(crate) inside: bool,
    pub(crate) outside: bool,
}

fn view(allocation: &Allocation, now: Instant) -> AllocationView {
    let (permissions, channels) = allocation.counts();
    AllocationView {
        subject: allocation.subject.clone(),
        client: allocation.client,
        relayed: allocation.relayed.iter().flatten().map(|relayed| relayed.address).collect(),
        age: now.saturating_duration_since(allocation.opened).as_secs(),
        expires_in: allocation.expires.saturating_duration_since(now).as_secs(),
        permissions,
        channels,
        to_peers: allocation.to_peers.traffic,
        to_client: allocation.to_client.traffic,
    }
}
