//! One allocation: its relayed addresses, the peers it is permitted, and what it has used.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::auth::Subject;
use crate::channel::Number;
use crate::ledger::Family;
use crate::opening::Opening;

/// How long a permission lasts (RFC 8656 §9).
const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel lasts (RFC 8656 §12).
const CHANNEL: Duration = Duration::from_secs(600);
/// How far a client may run ahead of its bandwidth: a keyframe is sent at once.
const BURST: Duration = Duration::from_millis(500);

/// How a client reaches the relay.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
}

/// The five-tuple of a client (RFC 8656 §3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Client {
    /// Datagrams or a stream.
    pub transport: Transport,
    /// Which of the listeners it wrote to.
    pub listener: u16,
    /// Where it writes from.
    pub remote: SocketAddr,
    /// Which of this machine's addresses it wrote to, where a listener has several.
    pub local: Option<IpAddr>,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// One way of an allocation, with the room that is left in it.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) traffic: Traffic,
    free_at: Option<Instant>,
}

impl Lane {
    /// Counts a packet; false when it is more than `pace` allows.
    pub(crate) fn admit(&mut self, length: usize, pace: Pace, now: Instant) -> bool {
        if pace.0 > 0 {
            let from = self.free_at.map_or(now, |free_at| free_at.max(now));
            let free_at = from + Duration::from_nanos(length as u64 * pace.0 / 1000);
            if free_at > now + BURST {
                return false;
            }
            self.free_at = Some(free_at);
        }
        self.traffic.packets += 1;
        self.traffic.bytes += length as u64;
        true
    }
}

/// Picoseconds a byte may take; 0 is without limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace(u64);

impl Pace {
    /// The pace of so many kilobits a second; 0 is without limit.
    pub fn of_kilobits(kilobits: u64) -> Self {
        Self(8_000_000_000_u64.checked_div(kilobits).unwrap_or(0))
    }
}

#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) address: SocketAddr,
    /// Whether a socket is open there; never where no peer outside may be reached.
    pub(crate) open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    ip: IpAddr,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    number: Number,
    peer: SocketAddr,
    until: Instant,
}

/// Why a channel cannot be bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unbindable {
    /// The number or the peer has another binding.
    Taken,
    /// The allocation has all the permissions it may have.
    Full,
}

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) client: Client,
    pub(crate) subject: Subject,
    /// The request that opened it: sent again, it gets the same answer.
    pub(crate) transaction: u128,
    /// What is still to be opened; until then it does not count as live.
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) token: Option<[u8; 8]>,
    /// A family that was asked for and could not be had.
    pub(crate) missing: Option<(Family, u16)>,
    pub(crate) opened: Instant,
    pub(crate) expires: Instant,
    /// What was first granted.
    pub(crate) lifetime: Duration,
    pub(crate) relayed: [Option<Relayed>; 2],
    pub(crate) to_peers: Lane,
    pub(crate) to_client: Lane,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

impl Allocation {
    pub(crate) fn new(client: Client, subject: Subject, transaction: u128, now: Instant) -> Self {
        Self {
            client,
            subject,
            transaction,
            opening: None,
            token: None,
            missing: None,
            opened: now,
            expires: now,
            lifetime: Duration::ZERO,
            relayed: [None, None],
            to_peers: Lane::default(),
            to_client: Lane::default(),
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    pub(crate) fn is_live(&self, now: Instant) -> bool {
        now < self.expires && self.opening.is_none()
    }

    pub(crate) fn relayed(&self, family: Family) -> Option<&Relayed> {
        let [v4, v6] = &self.relayed;
        if family == Family::V4 { v4.as_ref() } else { v6.as_ref() }
    }

    pub(crate) fn relayed_mut(&mut self, family: Family) -> &mut Option<Relayed> {
        let [v4, v6] = &mut self.relayed;
        if family == Family::V4 { v4 } else { v6 }
    }

    pub(crate) fn permits(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|permission| permission.ip == ip && now < permission.until)
    }

    /// Installs or refreshes permissions, all or none; false when they are more than `cap`.
    pub(crate) fn permit(&mut self, ips: &[IpAddr], cap: usize, now: Instant) -> bool {
        self.permissions.retain(|permission| now < permission.until);
        let before = self.permissions.len();
        for &ip in ips {
            if !self.permissions.iter().any(|permission| permission.ip == ip) {
                self.permissions.push(Permission { ip, until: now });
            }
        }
        if self.permissions.len() > cap {
            self.permissions.truncate(before);
            return false;
        }
        let named = |permission: &&mut Permission| ips.contains(&permission.ip);
        self.permissions.iter_mut().filter(named).for_each(|p| p.until = now + PERMISSION);
        true
    }

    /// Binds or refreshes a channel, and the permission with it (RFC 8656 §12.2).
    pub(crate) fn bind(
        &mut self,
        number: Number,
        peer: SocketAddr,
        cap: usize,
        now: Instant,
    ) -> Result<(), Unbindable> {
        self.channels.retain(|channel| now < channel.until);
        let mut same = self.channels.iter().filter(|c| c.number == number || c.peer == peer);
        if same.any(|channel| channel.number != number || channel.peer != peer) {
            return Err(Unbindable::Taken);
        }
        let bound = self.channels.iter().position(|channel| channel.number == number);
        if (bound.is_none() && self.channels.len() >= cap) || !self.permit(&[peer.ip()], cap, now) {
            return Err(Unbindable::Full);
        }
        let channel = Channel { number, peer, until: now + CHANNEL };
        match bound.and_then(|index| self.channels.get_mut(index)) {
            Some(bound) => *bound = channel,
            None => self.channels.push(channel),
        }
        Ok(())
    }

    /// The peer at the other end of a channel.
    pub(crate) fn peer_of(&self, number: Number, now: Instant) -> Option<SocketAddr> {
        let mut channels = self.channels.iter();
        Some(channels.find(|c| c.number == number && now < c.until)?.peer)
    }

    /// The channel to a peer.
    pub(crate) fn channel_to(&self, peer: SocketAddr, now: Instant) -> Option<Number> {
        let mut channels = self.channels.iter();
        Some(channels.find(|c| c.peer == peer && now < c.until)?.number)
    }

    /// Forgets what has run out.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.permissions.retain(|permission| now < permission.until);
        self.channels.retain(|channel| now < channel.until);
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.permissions.len(), self.channels.len())
    }
}
