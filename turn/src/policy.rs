//! Peers that clients may reach through the relay: public unicast, what the operator allows, and what lives inside.
//!
//! Every special range is refused, and so is every IPv6 form that carries an IPv4 address (mapped, compatible, NAT64, 6to4,
//! Teredo): what it would reach is not what it looks like (CVE-2020-26262, CVE-2026-27624).

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Where clients may send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// Public unicast addresses, `allow` and what lives inside.
    #[default]
    Open,
    /// What lives inside, and nothing else: no relay socket is ever opened.
    Inside,
}

/// Judges the addresses of peers.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How far clients reach.
    pub reach: Reach,
    /// Ranges that are allowed besides.
    pub allow: Vec<IpNet>,
    /// Addresses of this machine, the advertised ones included.
    pub own: HashSet<IpAddr>,
    /// Ports that the relay itself listens on.
    pub listening: HashSet<u16>,
}

/// What becomes of a peer's address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    /// Reached through a socket.
    Outside,
    /// One of this machine's own addresses: only what lives inside may be reached there.
    Own,
    Refused,
}

impl Policy {
    /// What becomes of packets to `ip`, whatever the port.
    pub(crate) fn judge(&self, ip: IpAddr) -> Judgement {
        if carries_another(ip) || ip.is_unspecified() || ip.is_multicast() {
            return Judgement::Refused;
        }
        let allowed = self.reach == Reach::Open && self.allow.iter().any(|net| net.contains(&ip));
        match self.own.contains(&ip) {
            true => Judgement::Own,
            false if allowed => Judgement::Outside,
            false if self.reach == Reach::Open && is_public(ip) => Judgement::Outside,
            false => Judgement::Refused,
        }
    }

    /// Whether a socket of this machine may be reached from outside although it is one of its own.
    pub(crate) fn own_socket_allowed(&self, peer: SocketAddr) -> bool {
        self.reach == Reach::Open
            && !self.listening.contains(&peer.port())
            && self.allow.iter().any(|net| net.contains(&peer.ip()))
    }
}

/// Whether an IPv6 address stands for an IPv4 address.
fn carries_another(ip: IpAddr) -> bool {
    let IpAddr::V6(ip) = ip else { return false };
    let mapped_or_compatible = matches!(ip.segments(), [0, 0, 0, 0, 0, 0 | 0xFFFF, ..]);
    let translated = matches!(ip.segments(), [0, 0, 0, 0, 0xFFFF, 0, ..] | [0x64, 0xFF9B, ..]);
    let tunnelled = matches!(ip.segments(), [0x2002, ..] | [0x2001, 0, ..]);
    // ISATAP (RFC 5214 §6.1): the interface identifier carries it, whatever the prefix.
    let in_interface = matches!(ip.segments(), [_, _, _, _, 0 | 0x0200, 0x5EFE, ..]);
    let carried = translated || tunnelled || in_interface;
    (mapped_or_compatible && ip != Ipv6Addr::LOCALHOST) || carried
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Public by its number, and yet the inside of a platform: Azure answers guests there (DHCP, DNS, health, keys of the machine).
const PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Not in the registry of special-purpose addresses (RFC 6890), nor multicast, nor reserved, nor of a cloud's platform.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip != PLATFORM
        && !matches!(
            (a, b, c),
            (0 | 10 | 127 | 224..=255, ..)
                | (100, 64..=127, _)
                | (169, 254, _)
                | (172, 16..=31, _)
                | (192, 0, 0 | 2)
                | (192, 88, 99)
                | (192, 168, _)
                | (198, 18 | 19, _)
                | (198, 51, 100)
                | (203, 0, 113)
        )
}

/// Global unicast (2000::/3) without protocol assignments, documentation and tunnels.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let special = matches!((first, second), (0x2001, 0..=0x01FF | 0x0DB8) | (0x2002, _));
    (0x2000..=0x3FFF).contains(&first) && !special && !(first == 0x3FFF && second < 0x1000)
}
