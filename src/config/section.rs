//! The sections of `config.toml`. A test compares this file to it, key by key.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::event::CallMedia;
use crate::event::recording::RecordingMode;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    Json,
    Text,
}

/// Who decides whether a token is good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum AuthMode {
    Verify,
    Introspect,
}

/// Who is told that somebody came or went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Audience {
    Contacts,
    All,
    None,
}

/// What to do with an identity that a client claims beside its token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum XUserId {
    Check,
    Ignore,
}

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`: where it listens and how it stops.
    pub server: Server,
    /// `[auth]`: who may come in.
    pub auth: Auth,
    /// `[store]`: where data lives.
    pub store: Store,
    /// `[socket]`: Socket.IO connections.
    pub socket: Socket,
    /// `[limits]`: what one client may ask for.
    pub limits: Limits,
    /// `[chat]`: messages.
    pub chat: Chat,
    /// `[call]`: ringing and calls.
    pub call: Call,
    /// `[presence]`: who sees whom.
    pub presence: Presence,
    /// `[directory]`: the list of people.
    pub directory: Directory,
    /// `[ice]`: how clients find a way to each other.
    pub ice: Ice,
    /// `[turn]`: the relay for people behind NATs and firewalls, the embedded one or an external one such as coturn.
    pub turn: Turn,
    /// `[media]`: the SFU, which takes and forwards the media of rooms.
    pub media: Media,
    /// `[rooms]`: group rooms.
    pub rooms: Rooms,
    /// `[recordings]`: calls through the server and rooms, written to files.
    pub recordings: Recordings,
    /// `[metrics]`: figures for Prometheus.
    pub metrics: Metrics,
    /// `[compat]`: like the service this one replaces.
    pub compat: Compat,
}

/// `[server]`: where it listens and how it stops.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on; `--dev` listens on 127.0.0.1 unless this is set.
    pub host: String,
    /// TCP port of REST, Socket.IO and the pages; 0 picks a free one. `PORT` sets it too.
    pub port: u16,
    /// `production` hides nothing more and nothing less, but forbids `--dev`. `NODE_ENV` sets it too.
    pub environment: String,
    /// Exact origins of web pages that may call, such as `https://app.example.net`; empty: only pages of this server.
    /// A browser's `Origin` that is not listed is refused, on REST and on websockets. `ALLOWED_ORIGINS` (commas) sets it too.
    pub allowed_origins: Vec<String>,
    /// Addresses of reverse proxies whose `X-Forwarded-For` is believed, such as "10.0.0.2"; empty: nobody's.
    pub trusted_proxies: Vec<String>,
    /// Seconds between "not ready" and telling the sockets to reconnect, so that a balancer notices first.
    pub drain_delay: u64,
    /// Milliseconds after which clients of a stopping server should come back (they add jitter).
    pub reconnect_after: u64,
    /// `json` (one object a line) or `text`; `--dev` writes text.
    pub log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a filter such as "switchboard=debug,info".
    pub log_level: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".into(),
            port: 3001,
            environment: "development".into(),
            allowed_origins: vec![],
            trusted_proxies: vec![],
            drain_delay: 5,
            reconnect_after: 2000,
            log_format: LogFormat::Json,
            log_level: "info".into(),
        }
    }
}

/// `[auth]`: who may come in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// `verify` checks tokens here; `introspect` asks the Django backend at `introspect_url` about each.
    pub mode: AuthMode,
    /// Shared secret for HS256 tokens, at least 32 random bytes. `JWT_SECRET` sets it too; `*_FILE` reads it from a file.
    /// The server refuses to start when it is missing (and no public key is set), short or well known.
    pub jwt_secret: Secret,
    /// Signature algorithms accepted: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA.
    /// A token with another one is refused, whatever key it names.
    pub algorithms: Vec<String>,
    /// PEM files with public keys for RS, PS, ES and EdDSA tokens.
    pub public_keys: Vec<String>,
    /// Address of a JWKS with public keys; read at start and every `jwks_refresh` seconds.
    pub jwks_url: String,
    /// Seconds between two readings of the JWKS.
    pub jwks_refresh: u64,
    /// When set, tokens must carry this `iss`.
    pub issuer: String,
    /// When set, tokens must carry this `aud`.
    pub audience: String,
    /// Seconds by which clocks may differ when `exp` and `nbf` are checked.
    pub leeway: u64,
    /// With `introspect`: base address of the Django backend. `DJANGO_BASE_URL` sets it too.
    pub introspect_url: String,
    /// With `introspect`: seconds for which an answer is kept, 60 at most.
    pub introspect_cache: u64,
    /// When set, `Authorization: ApiKey …` with it acts as the application's backend (role `service`).
    pub api_key: Secret,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Verify,
            jwt_secret: Secret::default(),
            algorithms: vec!["HS256".into()],
            public_keys: vec![],
            jwks_url: "".into(),
            jwks_refresh: 300,
            issuer: "".into(),
            audience: "".into(),
            leeway: 30,
            introspect_url: "".into(),
            introspect_cache: 60,
            api_key: Secret::default(),
        }
    }
}

/// `[store]`: where data lives.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// File of the embedded store; empty: `switchboard.db` in the data folder.
    pub file: String,
    /// URI of a MongoDB database (`mongodb://` or `mongodb+srv://`, with the database's name in its path); empty: the embedded store.
    pub mongodb_uri: Secret,
    /// Seconds that a start waits for that database before it gives up.
    pub mongodb_patience: u64,
    /// Days for which facts (what happened to calls, rooms, recordings and accounts) are kept, whether consumers have read them or
    /// not.
    pub fact_days: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            file: "".into(),
            mongodb_uri: Secret::default(),
            mongodb_patience: 30,
            fact_days: 30,
        }
    }
}

/// `[socket]`: Socket.IO connections.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Socket {
    /// Bytes of one packet from a client; a larger one ends the connection.
    pub max_payload: usize,
    /// Seconds between two heartbeats.
    pub ping_interval: u64,
    /// Seconds a client has to answer a heartbeat.
    pub ping_timeout: u64,
    /// Seconds a client has to authenticate after opening a connection.
    pub connect_timeout: u64,
    /// Events that may wait for one slow client; beyond, it is cut and comes back with its cursor.
    pub queue_entries: usize,
    /// Bytes that may wait for one slow client.
    pub queue_bytes: usize,
    /// Seconds for which events may wait for one slow client.
    pub queue_seconds: u64,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            max_payload: 262_144,
            ping_interval: 25,
            ping_timeout: 20,
            connect_timeout: 45,
            queue_entries: 2000,
            queue_bytes: 4_194_304,
            queue_seconds: 5,
        }
    }
}

/// `[limits]`: what one client may ask for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// false switches all rate limits off, for load tests only; the log says so loudly.
    pub rate_limits: bool,
    /// Unicode characters of a message.
    pub content_chars: usize,
    /// Bytes of a message.
    pub content_bytes: usize,
    /// Bytes of a JSON body.
    pub body_bytes: usize,
    /// Bytes of a session description.
    pub sdp_bytes: usize,
    /// Bytes of an ICE candidate line.
    pub candidate_bytes: usize,
    /// ICE candidates of one side of a call in 30 seconds.
    pub candidates: u32,
    /// Rows of a page when the client names no limit.
    pub page: usize,
    /// Rows of a page at most; a larger wish is clamped.
    pub page_max: usize,
    /// People of a directory page at most.
    pub users_page_max: usize,
    /// Connections of one user; a further one replaces the oldest.
    pub sessions_per_user: usize,
    /// Messages of one user, sustained.
    pub messages_per_second: u32,
    /// Messages of one user at once.
    pub messages_burst: u32,
    /// Messages of one user in a minute.
    pub messages_per_minute: u32,
    /// Typing events of one user; more are dropped without a word.
    pub typing_per_second: u32,
    /// Calls one user may start in a minute.
    pub calls_per_minute: u32,
    /// `webrtc:*` events of one connection, sustained.
    pub signals_per_second: u32,
    /// `webrtc:*` events of one connection at once.
    pub signals_burst: u32,
    /// Events of any kind of one connection, sustained; ten times as many end it.
    pub events_per_second: u32,
    /// REST requests of one user in a minute.
    pub rest_per_minute: u32,
    /// Requests and connections without a valid token from one address in a minute.
    pub anonymous_per_minute: u32,
    /// Connections of all users; more are refused with a hint to come back.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_limits: true,
            content_chars: 8000,
            content_bytes: 32_768,
            body_bytes: 1_048_576,
            sdp_bytes: 131_072,
            candidate_bytes: 2048,
            candidates: 100,
            page: 50,
            page_max: 200,
            users_page_max: 500,
            sessions_per_user: 10,
            messages_per_second: 20,
            messages_burst: 40,
            messages_per_minute: 600,
            typing_per_second: 5,
            calls_per_minute: 10,
            signals_per_second: 100,
            signals_burst: 300,
            events_per_second: 200,
            rest_per_minute: 300,
            anonymous_per_minute: 60,
            connections: 50_000,
        }
    }
}

/// `[chat]`: messages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// Whether a finished call leaves a line in the conversation.
    pub call_entries: bool,
    /// Days for which a repeated `clientId` is recognised.
    pub client_id_days: u64,
    /// Days for which missed events can be replayed from a cursor.
    pub log_days: u64,
    /// Events of one user that can be replayed.
    pub log_entries: i64,
    /// Missed events up to which a connection is brought up to date by `sync:batch`; beyond, `sync:reset`.
    pub sync_limit: usize,
    /// Messages sent again to a client that connects without a cursor.
    pub replay_limit: usize,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            call_entries: true,
            client_id_days: 7,
            log_days: 30,
            log_entries: 10_000,
            sync_limit: 1000,
            replay_limit: 200,
        }
    }
}

/// `[call]`: ringing and calls.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// Seconds a call rings before it is missed (the original: 60).
    pub ring_timeout: u64,
    /// Whether a person without a connection is rung (it shows when he connects in time); false answers `USER_OFFLINE`.
    pub ring_offline: bool,
    /// Seconds a side that lost its connection has to come back before the call ends.
    pub reconnect_window: u64,
    /// Which way media takes: `p2p` from one to the other; `relay` through this server, which clients need not know of;
    /// `auto` from one to the other until the call is recorded. A caller may ask for another way than `p2p` or `auto`.
    pub media: CallMedia,
    /// Whether candidates with private addresses are kept from the other side.
    pub hide_host_candidates: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            ring_timeout: 45,
            ring_offline: true,
            reconnect_window: 30,
            media: CallMedia::Auto,
            hide_host_candidates: false,
        }
    }
}

/// `[presence]`: who sees whom.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Who is told that somebody came or went: `contacts`, `all` (the original) or `none`.
    pub audience: Audience,
    /// Days for which a conversation or call makes two people contacts.
    pub contacts_days: u64,
    /// Seconds after the last connection before a person counts as offline.
    pub grace: u64,
}

impl Default for Presence {
    fn default() -> Self {
        Self { audience: Audience::Contacts, contacts_days: 90, grace: 5 }
    }
}

/// `[directory]`: the list of people.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// Whether people see each other's e-mail, mobile number and gender.
    pub expose_contact: bool,
}

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

/// Who may open a room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RoomCreate {
    Operators,
    Anyone,
}

/// `[rooms]`: group rooms.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Who may open a room: `operators` (the application's backend and admins, by REST), or `anyone`, by entering it. `--dev`
    /// says `anyone` unless this is set.
    pub create: RoomCreate,
    /// Rooms at the same time.
    pub max_rooms: usize,
    /// Participants of one room.
    pub max_participants: usize,
    /// Participants of one room together with viewers by WHEP.
    pub max_viewers: usize,
    /// Tracks that one participant may publish.
    pub tracks_per_participant: usize,
    /// Bytes of events that are kept for each participant in case its connection is lost, besides 500 events at most. What was not
    /// kept comes as `room:state`.
    pub replay_bytes: usize,
    /// Where a person is sent who gets a room token, with `{roomId}` and `{token}` in it; the token belongs behind a `#`, which
    /// browsers keep to themselves. The answer of `POST /api/rooms/{roomId}/tokens` has it as `joinUrl`; empty: no such field.
    /// `--dev` sends people to the demo.
    pub join_url: String,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            create: RoomCreate::Operators,
            max_rooms: 1000,
            max_participants: 100,
            max_viewers: 1000,
            tracks_per_participant: 6,
            replay_bytes: 256 << 10,
            join_url: String::new(),
        }
    }
}

/// Who may start a recording.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordingStart {
    Members,
    Operators,
}

/// What is recorded by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordingAuto {
    Off,
    Accepted,
}

/// What being recorded asks of those who are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Consent {
    Notice,
    Required,
}

/// `[recordings]`: calls through the server and rooms, written to files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recordings {
    /// Folder of the recordings; empty: `recordings` in the data folder.
    pub dir: String,
    /// Who may start one: `members` (both of a call, the moderators of a room), or `operators` (the application's backend and
    /// admins).
    pub start: RecordingStart,
    /// What is recorded by itself: `off`, or `accepted`, every call of two from its acceptance on (the original); everybody is
    /// told all the same.
    pub auto: RecordingAuto,
    /// What is recorded where nobody says it: `tracks` (a file for each participant), `audio-mix` (one file with everybody's
    /// voice), `both`.
    pub mode: RecordingMode,
    /// Whether being told is enough (`notice`), or each one is asked and left out until there is consent (`required`).
    pub consent: Consent,
    /// Minutes after which a recording ends.
    pub max_minutes: u64,
    /// Bytes of all its files at which a recording ends.
    pub max_bytes: u64,
    /// Bytes that stay free on the disk: below, recordings end and none begin.
    pub min_free_bytes: u64,
    /// Recordings at the same time.
    pub max_parallel: usize,
    /// Days after which a recording is deleted; 0 keeps it until somebody deletes it.
    pub retention_days: u64,
    /// Seconds for which a link to a file is good.
    pub link_ttl: u64,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            dir: String::new(),
            start: RecordingStart::Members,
            auto: RecordingAuto::Off,
            mode: RecordingMode::Tracks,
            consent: Consent::Notice,
            max_minutes: 240,
            max_bytes: 20 << 30,
            min_free_bytes: 2 << 30,
            max_parallel: 100,
            retention_days: 90,
            link_ttl: 300,
        }
    }
}

/// `[metrics]`: figures for Prometheus.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Bearer token for `/metrics` on the main port; empty: admins only.
    pub token: Secret,
    /// Address of a separate listener without a token, such as "127.0.0.1:9464"; empty: none.
    pub listen: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { token: Secret::default(), listen: "".into() }
    }
}

/// `[compat]`: like the service this one replaces.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compat {
    /// Objects carry their id as `_id` too.
    pub mongo_ids: bool,
    /// `/health` shows the ids of people online to everybody.
    pub public_health_stats: bool,
    /// An invalid token is 403 instead of 401.
    pub invalid_token_403: bool,
    /// `GET /api/chat/messages/{userId}` marks what it returns as read (and tells the sender).
    pub read_on_fetch: bool,
    /// A claimed `x-user-id` or `auth.userId`: `check` refuses one that differs from the token, `ignore` passes over it.
    pub x_user_id: XUserId,
    /// Whether a token in the query string is accepted; it ends up in other people's logs.
    pub query_token: bool,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            mongo_ids: true,
            public_health_stats: false,
            invalid_token_403: false,
            read_on_fetch: true,
            x_user_id: XUserId::Check,
            query_token: false,
        }
    }
}
