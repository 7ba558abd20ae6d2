//! The TURN relay as configured: addresses and credentials for clients, users that are refused, and its figures.

mod host;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use switchboard_turn::driver::{Allocated, ProbeError, Server, Settings, StartError};
use switchboard_turn::{AllocationView, Credentials, Pace, Quotas, Reach, Transport};

pub use self::host::problems;
use crate::config::{Turn, TurnMode};
use crate::event::IceServer;
use crate::ids::{CallId, UserId};

/// The relay, in numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Whether clients are offered a relay, the embedded one or an external one.
    pub offered: bool,
    /// The embedded one, when it runs.
    pub embedded: Option<Embedded>,
}

/// The embedded relay, in numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Embedded {
    /// Allocations that are open.
    pub allocations: u32,
    /// Relayed ports that allocations and reservations have.
    pub ports: usize,
    /// The counters of the workers, by name.
    pub counters: BTreeMap<&'static str, u64>,
}

/// The embedded relay, an external one, both or none.
pub struct Relay {
    server: Option<Arc<Server>>,
    credentials: Credentials,
    urls: Vec<String>,
    credential_ttl: Duration,
}

impl Relay {
    /// Starts the embedded relay when there is to be one.
    pub fn start(turn: &Turn) -> Result<Self, StartError> {
        let server = match turn.mode {
            TurnMode::Off => None,
            _ => Some(Arc::new(Server::start(&settings(turn))?)),
        };
        let urls = server.iter().flat_map(|server| own_urls(turn, server));
        let urls = urls.chain(turn.external_urls.iter().cloned()).collect();
        let credential_ttl = Duration::from_secs(turn.credential_ttl);
        Ok(Self { server, credentials: credentials(turn), urls, credential_ttl })
    }

    /// What `user` needs to use the relay until `expires`, in seconds since 1970; bound to `call` when one is named. `None`
    /// without a relay.
    pub fn ice_server(
        &self,
        user: UserId,
        call: Option<CallId>,
        expires: i64,
    ) -> Option<IceServer> {
        if self.urls.is_empty() {
            return None;
        }
        self.minted(user, call.map(|call| call.to_string()).as_deref(), expires)
    }

    /// What a guest needs to use the relay until `expires`, in seconds since 1970, and no longer than the `room` is open.
    pub fn guest_ice_server(&self, guest: UserId, room: &str, expires: i64) -> Option<IceServer> {
        if self.urls.is_empty() {
            return None;
        }
        // A guest whose token is good comes in again.
        self.readmit(guest);
        self.minted(guest, Some(&binding(room)), expires)
    }

    fn minted(&self, user: UserId, bound: Option<&str>, expires: i64) -> Option<IceServer> {
        let expires = u64::try_from(expires).unwrap_or_default();
        let (username, credential) = self.credentials.mint(expires, &user.to_string(), bound)?;
        Some(IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(credential),
            credential_type: Some("password"),
        })
    }

    /// Whether clients are offered a relay.
    pub fn is_offered(&self) -> bool {
        !self.urls.is_empty()
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let embedded = self.server.as_ref().map(|server| Embedded {
            allocations: server.open(),
            ports: server.ports_in_use(),
            counters: server.counters(),
        });
        Stats { offered: self.is_offered(), embedded }
    }

    /// Closes the allocations of a user whose account is closed, or of a guest that has left for good.
    pub fn shut_out(&self, user: UserId) {
        if let Some(server) = &self.server {
            server.revoke(&user.to_string(), self.credential_ttl);
        }
    }

    /// Lets a user in again whose account is opened again.
    pub fn readmit(&self, user: UserId) {
        if let Some(server) = &self.server {
            server.readmit(&user.to_string());
        }
    }

    /// Closes the allocations that are bound to a call that is over.
    pub fn end_call(&self, call: CallId) {
        if let Some(server) = &self.server {
            server.revoke(&call.to_string(), self.credential_ttl);
        }
    }

    /// Closes the allocations of the guests of a room that is closed.
    pub fn end_room(&self, room: &str) {
        if let Some(server) = &self.server {
            server.revoke(&binding(room), self.credential_ttl);
        }
    }

    /// The relay itself.
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    /// Every allocation of the embedded relay; `None` without one.
    pub async fn allocations(&self) -> Option<Vec<AllocationView>> {
        let server = Arc::clone(self.server.as_ref()?);
        tokio::task::spawn_blocking(move || server.allocations()).await.ok()
    }
}

/// Asks every listener of `turn` for an allocation that is good until `expires`, in seconds since 1970: its address, how it is
/// reached, and what a client is given or why not. Blocks.
pub fn probe(
    turn: &Turn,
    expires: u64,
) -> Vec<(SocketAddr, Transport, Result<Allocated, ProbeError>)> {
    let settings = settings(turn);
    let Some((name, word)) = settings.credentials.mint(expires, "doctor", None) else {
        return vec![];
    };
    let here = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port())
        }
        _ => address,
    };
    let plain = [Transport::Udp, Transport::Tcp].into_iter();
    let plain = plain.flat_map(|transport| settings.listen.iter().map(move |at| (*at, transport)));
    let tls = settings.listen_tls.iter().map(|at| (*at, Transport::Tls));
    let answers = plain.chain(tls).map(|(at, transport)| {
        (at, transport, switchboard_turn::driver::probe(here(at), transport, &name, &word))
    });
    answers.collect()
}

/// What the credentials of a room's guests are bound to; no user and no call has such a name.
fn binding(room: &str) -> String {
    format!("room:{room}")
}

fn credentials(turn: &Turn) -> Credentials {
    let users = turn.users.expose().split(',').filter_map(|user| user.split_once(':'));
    let users = users.map(|(name, password)| (name.to_owned(), password.to_owned()));
    Credentials::new(turn.secret.expose().as_bytes(), users)
}

fn settings(turn: &Turn) -> Settings {
    let tls = !turn.tls_cert.is_empty();
    Settings {
        listen: addresses(turn.host, turn.port),
        listen_tls: if tls { addresses(turn.host, turn.tls_port) } else { vec![] },
        certificate: tls.then(|| ((&turn.tls_cert).into(), (&turn.tls_key).into())),
        advertised: turn.advertised_ips.clone(),
        ports: turn.ports.0..=turn.ports.1,
        credentials: credentials(turn),
        reach: if turn.mode == TurnMode::SfuOnly { Reach::Inside } else { Reach::Open },
        allow_peers: turn.allow_peers.iter().filter_map(|range| range.parse().ok()).collect(),
        quotas: Quotas { per_user: turn.allocations_per_user, total: turn.allocations },
        permissions: turn.permissions,
        old_channels: turn.old_channels,
        pace: Pace::of_kilobits(turn.bandwidth),
        unauthenticated: turn.unauthenticated_per_second,
        workers: turn.workers,
    }
}

fn addresses(host: IpAddr, port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(host, port)];
    if host == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        addresses.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    addresses
}

/// The addresses that clients are given: UDP first, then what gets through firewalls.
fn own_urls(turn: &Turn, server: &Server) -> Vec<String> {
    let port = |listening: &[SocketAddr]| listening.first().map(SocketAddr::port);
    let bare = |ip: &IpAddr| SocketAddr::new(*ip, 0).to_string().trim_end_matches(":0").to_owned();
    let hosts: Vec<String> = match turn.name.is_empty() {
        true => turn.advertised_ips.iter().map(bare).collect(),
        false => vec![turn.name.clone()],
    };
    let mut urls = Vec::new();
    for (scheme, port, transport) in [
        ("turn", port(server.listening()), "udp"),
        ("turn", port(server.listening()), "tcp"),
        ("turns", port(server.listening_tls()), "tcp"),
    ] {
        let Some(port) = port else { continue };
        urls.extend(
            hosts.iter().map(|host| format!("{scheme}:{host}:{port}?transport={transport}")),
        );
    }
    urls
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::Clock;

    /// The relay, and what a client with a guest's credential is answered.
    fn relay() -> (Relay, impl Fn(&Relay, &IceServer) -> Option<u16>) {
        let turn = Turn {
            mode: TurnMode::Open,
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            advertised_ips: vec![Ipv4Addr::LOCALHOST.into()],
            secret: crate::config::Secret::new("0123456789abcdef"),
            ..Turn::default()
        };
        let ask = |relay: &Relay, ice: &IceServer| {
            let at = relay.server().unwrap().listening()[0];
            let (name, word) = (ice.username.as_ref().unwrap(), ice.credential.as_ref().unwrap());
            match switchboard_turn::driver::probe(at, Transport::Udp, name, word) {
                Ok(_) => None,
                Err(ProbeError::Refused(code)) => Some(code),
                Err(error) => panic!("{error}"),
            }
        };
        (Relay::start(&turn).unwrap(), ask)
    }

    #[test]
    fn a_guests_credential_does_not_outlive_the_room_nor_the_stay_in_it() {
        let (relay, answer) = relay();
        let later = Clock::system().now().seconds() + 600;
        let (ann, ben) = (UserId::guest(1), UserId::guest(2));
        let of = |guest, room| relay.guest_ice_server(guest, room, later).unwrap();
        let (in_one, in_two, other) = (of(ann, "1"), of(ann, "2"), of(ben, "1"));
        for credential in [&in_one, &in_two, &other] {
            assert_eq!(answer(&relay, credential), None);
        }
        relay.end_room("1");
        assert_eq!(answer(&relay, &in_one), Some(401));
        assert_eq!(answer(&relay, &other), Some(401));
        assert_eq!(answer(&relay, &in_two), None, "another room is open still");
        relay.shut_out(ann);
        assert_eq!(answer(&relay, &in_two), Some(401), "the guest was sent away");
        assert_eq!(answer(&relay, &of(ben, "2")), None);
        assert_eq!(answer(&relay, &of(ann, "2")), None, "and let in again");
        assert_eq!(answer(&relay, &of(ann, "1")), Some(401), "not into what is closed");
        let past = relay.guest_ice_server(ann, "2", later - 1200).unwrap();
        assert_eq!(answer(&relay, &past), Some(401), "the token has ended");
        relay.server().unwrap().stop();
    }
}
