//! `[webhooks]`: what happened, for the application's backend.

use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// `[webhooks]`: what happened, sent to the application's backend as Standard Webhooks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Where to, at most 16, such as `{ name = "backend", url = "https://app.example.net/hooks", events = ["call.*"] }`. `name` is in lists and
    /// cursors; `secret` or `secret_file` has its own secret; `events` are names or `call.*`, none: all. `https` only, but for loopback and
    /// with `--dev`.
    pub endpoints: Vec<WebhookEndpoint>,
    /// What requests to endpoints without an own secret are signed by: `whsec_` and the base64 of 24 to 64 random bytes
    /// (`openssl rand -base64 32`), or any other text of 32 bytes at least, which is then the key as it stands.
    pub secret: Secret,
    /// Seconds an endpoint has to answer.
    pub deadline: u64,
    /// Hours for which a delivery is tried before it is given up.
    pub retry_hours: u64,
    /// Requests to one endpoint at the same time; of one call or room there is always one.
    pub parallel: usize,
    /// Deliveries that may be pending for one endpoint; beyond, facts wait where they are (`store.fact_days`).
    pub pending: usize,
    /// Days for which deliveries that are over are listed, and can be sent again.
    pub keep_days: u64,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            endpoints: vec![],
            secret: Secret::default(),
            deadline: 15,
            retry_hours: 24,
            parallel: 8,
            pending: 10_000,
            keep_days: 7,
        }
    }
}

/// Where to send what happened.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookEndpoint {
    /// What it is called in lists: 1 to 40 small letters, digits, `-` and `_`.
    pub name: String,
    /// Its address.
    pub url: String,
    /// What its requests are signed by; empty: `webhooks.secret`.
    pub secret: Secret,
    /// A file that holds the secret.
    pub secret_file: String,
    /// What it wants: names such as `call.ended`, or `call.*`; empty: everything.
    pub events: Vec<String>,
}
