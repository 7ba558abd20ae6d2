//! `[server]`, `[socket]`, `[metrics]` and `[compat]`: how the server is reached and watched.

use serde::{Deserialize, Serialize};

use crate::config::{HostNames, Networks, Secret};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    Json,
    Text,
}

/// What to do with an identity that a client claims beside its token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum XUserId {
    Check,
    Ignore,
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
    /// Exact names of this server that requests may use in `Host`, such as "chat.example.net"; empty: any, or with `--dev` those of this
    /// machine and the one in `host`. `/livez` and `/readyz` answer to any name.
    pub hosts: HostNames,
    /// Reverse proxies whose `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded` are believed, as addresses or networks, such as
    /// "10.0.0.2" or "10.1.0.0/16"; empty: no proxy's.
    pub trusted_proxies: Networks,
    /// Seconds between "not ready" and asking the sockets to reconnect, so that a balancer notices first.
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
            hosts: HostNames::default(),
            trusted_proxies: Networks::default(),
            drain_delay: 5,
            reconnect_after: 2000,
            log_format: LogFormat::Json,
            log_level: "info".into(),
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
            connect_timeout: 10,
            queue_entries: 2000,
            queue_bytes: 4_194_304,
            queue_seconds: 5,
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
    /// `/health` shows the ids of people online without a token.
    pub public_health_stats: bool,
    /// An invalid token is 403 instead of 401.
    pub invalid_token_403: bool,
    /// `GET /api/chat/messages/{userId}` marks what it returns as read (and tells the sender).
    pub read_on_fetch: bool,
    /// A claimed `x-user-id` or `auth.userId`: `check` refuses one that differs from the token, `ignore` passes over it.
    pub x_user_id: XUserId,
    /// Whether a token in the query string is accepted; proxies write it into their logs.
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
