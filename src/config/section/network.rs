//! `[ice]`, `[turn]` and `[media]`: how media travels.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// `[ice]`: how clients find a way to each other.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ice {
    /// STUN servers handed to clients; `--dev` hands out none. `STUN_SERVER` sets one.
    pub stun_servers: Vec<String>,
    /// Whether clients must use a relay (`iceTransportPolicy: "relay"`).
    pub relay_only: bool,
}

impl Default for Ice {
    fn default() -> Self {
        Self { stun_servers: vec!["stun:stun.l.google.com:19302".into()], relay_only: false }
    }
}

/// `[turn]`: the relay for people behind NATs and firewalls, the embedded one or an external one such as coturn.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// The embedded relay: `off`; `open` relays to public addresses and between its own clients; `sfu-only` to this server's
    /// media alone, without opening relay ports. `--dev` opens it on a free port of 127.0.0.1 unless this is set.
    pub mode: TurnMode,
    /// Address to listen on; `::` listens on both families.
    pub host: IpAddr,
    /// Port for UDP and TCP; 0 picks a free one.
    pub port: u16,
    /// Port for TLS, used when `tls_cert` is set; 443 gets through the most firewalls; 0 picks a free one.
    pub tls_port: u16,
    /// PEM file of the certificate chain for TLS; read again when it changes.
    pub tls_cert: String,
    /// PEM file of its private key.
    pub tls_key: String,
    /// Name under which clients reach the relay, the one in the certificate; empty: the advertised addresses.
    pub name: String,
    /// Addresses that peers see relayed packets come from, at most one of each family; behind a 1:1 NAT the outer one.
    pub advertised_ips: Vec<IpAddr>,
    /// First and last relayed UDP port, one for each allocation; open them in the firewall. `doctor` says when the kernel gives
    /// some of them to other programs (by default it does so with 32768 to 60999), and how to reserve them.
    pub ports: (u16, u16),
    /// Ranges that clients may send to besides public addresses, such as "10.1.0.0/16".
    pub allow_peers: Vec<String>,
    /// Users with a password for appliances, as `name:password,name:password`.
    pub users: Secret,
    /// Allocations of one user; a browser opens up to six for a call.
    pub allocations_per_user: u32,
    /// Allocations of all users.
    pub allocations: u32,
    /// Permissions, and channels, of one allocation.
    pub permissions: usize,
    /// Whether channel numbers above 0x4FFF may be bound, which RFC 5766 had and RFC 8656 took away; tools of coturn use them.
    pub old_channels: bool,
    /// Kilobits a second of one allocation, each way; 0: without limit.
    pub bandwidth: u64,
    /// Answers to unauthenticated requests of one source in a second.
    pub unauthenticated_per_second: u32,
    /// Threads; 0: one for every two cores, 8 at most.
    pub workers: usize,
    /// Seconds for which a stopping server goes on relaying what it relays.
    pub drain_limit: u64,
    /// Addresses of an external relay, such as "turn:turn.example.net:3478?transport=udp".
    pub external_urls: Vec<String>,
    /// Signs the credentials that are handed out, at least 16 random bytes; an external relay has the same (coturn:
    /// `use-auth-secret`, `static-auth-secret`). `--dev` makes one up.
    pub secret: Secret,
    /// Seconds for which a handed-out credential is good, 86400 at most.
    pub credential_ttl: u64,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            mode: TurnMode::Off,
            host: Ipv4Addr::UNSPECIFIED.into(),
            port: 3478,
            tls_port: 5349,
            tls_cert: String::new(),
            tls_key: String::new(),
            name: String::new(),
            advertised_ips: vec![],
            ports: (61000, 65535),
            allow_peers: vec![],
            users: Secret::default(),
            allocations_per_user: 40,
            allocations: 4000,
            permissions: 64,
            old_channels: false,
            bandwidth: 25_000,
            unauthenticated_per_second: 20,
            workers: 0,
            drain_limit: 10,
            external_urls: vec![],
            secret: Secret::default(),
            credential_ttl: 3600,
        }
    }
}

/// Whether and whereto the embedded relay relays.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TurnMode {
    /// Not at all.
    #[default]
    Off,
    /// To public addresses, and between its own clients.
    Open,
    /// To this server's media alone.
    SfuOnly,
}

/// `[media]`: the SFU, which takes and forwards the media of rooms.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Address to receive media on. `--dev` takes 127.0.0.1 unless this is set.
    pub host: IpAddr,
    /// UDP port of all media; open it in the firewall; 0 picks a free one, as `--dev` does unless this is set.
    pub udp_port: u16,
    /// TCP port for clients that get no UDP through; 0 takes the number of `udp_port`.
    pub tcp_port: u16,
    /// Addresses that clients reach the media port at, the best first; behind a 1:1 NAT the outer one, with a LAN both. Empty:
    /// those of this machine's interfaces.
    pub advertised_ips: Vec<IpAddr>,
    /// Threads; 0: one for every two cores, 16 at most.
    pub workers: usize,
    /// Codecs that rooms may use unless they say otherwise, of opus, vp8, vp9, h264, av1.
    pub codecs: Vec<String>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::UNSPECIFIED.into(),
            udp_port: 3479,
            tcp_port: 0,
            advertised_ips: vec![],
            workers: 0,
            codecs: ["opus", "vp8", "vp9", "h264", "av1"].map(str::to_owned).to_vec(),
        }
    }
}
