//! The original's way: the Django backend is asked about each token. Answers are kept for a while, bad ones too.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use serde::Deserialize;
use serde_json::Value;

use super::AuthError;
use super::claims::{self, Identity};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::Role;
use crate::ids::UserId;
use crate::ledger::{Holder, Ledger, Resource};

/// How long the backend may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How large an answer may be.
const MAX_ANSWER: usize = 256 * 1024;
/// How many answers are kept.
const KEPT: u64 = 20_000;
/// How long it is remembered that a token was good: its bearer is asked about again whatever else comes from the same address.
const REMEMBER: Duration = Duration::from_secs(3600);
/// For how long an identity from the backend is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// What the backend said of a token.
#[derive(Clone)]
struct Verdict {
    identity: Result<Identity, AuthError>,
    /// Until when it holds.
    until: Timestamp,
    /// Whether the token was good when the backend answered last.
    was_good: bool,
}

pub(super) struct Introspector {
    url: String,
    keep: Duration,
    clock: Clock,
    client: reqwest::Client,
    /// Bounds the questions that wait for an answer.
    ledger: Option<Arc<Ledger>>,
    /// By the SHA-256 of the token, so that no token lies in memory longer than needed. The cache makes concurrent questions one.
    verdicts: Cache<[u8; 32], Verdict>,
}

impl Introspector {
    pub(super) fn new(config: &config::Auth, clock: Clock, ledger: Option<Arc<Ledger>>) -> Self {
        let url = format!("{}/get-other-parent/", config.introspect_url.trim_end_matches('/'));
        let keep = Duration::from_secs(config.introspect_cache.min(60));
        // When a verdict ends is for our clock to say; the cache only drops what is not used any more.
        let verdicts = Cache::builder().max_capacity(KEPT).time_to_live(keep + REMEMBER).build();
        Self { url, keep, clock, client: client(), ledger, verdicts }
    }

    /// Who the bearer of a token is. A token that was never good is asked about only if `may_ask` says so.
    pub(super) async fn identify(
        &self,
        token: &str,
        may_ask: impl FnOnce() -> bool,
    ) -> Result<Identity, AuthError> {
        let mut key = [0; 32];
        key.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
        let now = self.clock.now();
        let is_over = |verdict: &Verdict| verdict.until <= now;
        let last = self.verdicts.get(&key).await;
        let was_good = last.as_ref().is_some_and(|last| last.was_good);
        let holds = last.is_some_and(|last| !is_over(&last));
        if !holds && !was_good && !may_ask() {
            return Err(AuthError::Limited);
        }
        let asked = self.verdict(token, was_good);
        let verdict = self.verdicts.entry(key).or_insert_with_if(asked, is_over);
        verdict.await.into_value().identity
    }

    /// How many verdicts are kept.
    pub(super) fn cached(&self) -> u64 {
        self.verdicts.entry_count()
    }

    async fn verdict(&self, token: &str, was_good: bool) -> Verdict {
        let now = self.clock.now();
        let identity = self.ask(token, now).await;
        // Those who wait for the same answer share that there is none; the next request asks again.
        let (keep, was_good) = match identity {
            Err(AuthError::Unavailable | AuthError::Busy(_)) => (Duration::ZERO, was_good),
            _ => (self.keep, identity.is_ok()),
        };
        Verdict { identity, until: now.after(keep), was_good }
    }

    async fn ask(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let held = self.ledger.as_ref();
        let _held = held
            .map(|ledger| ledger.hold(Resource::BackendRequest, Holder::Server))
            .transpose()
            .map_err(AuthError::Busy)?;
        let answer = self.client.get(&self.url).bearer_auth(token).send().await;
        let answer = answer.map_err(|error| {
            tracing::warn!(error = %error.without_url(), "the authentication backend does not answer");
            AuthError::Unavailable
        })?;
        let status = answer.status();
        if status.is_server_error() || status.as_u16() == 429 {
            tracing::warn!(status = status.as_u16(), "the authentication backend fails");
            return Err(AuthError::Unavailable);
        }
        if !status.is_success() {
            return Err(AuthError::Invalid("backend"));
        }
        let body = body(answer).await.ok_or(AuthError::Unavailable)?;
        let known: Answer =
            serde_json::from_slice(&body).map_err(|_| AuthError::Invalid("backend_answer"))?;
        known.identity(now)
    }
}

/// What the backend answers, at the top or under `data` or `user`.
#[derive(Deserialize)]
struct Answer {
    data: Option<Person>,
    user: Option<Person>,
    #[serde(flatten)]
    bare: Person,
}

#[derive(Default, Deserialize)]
struct Person {
    #[serde(alias = "id", alias = "userId")]
    user_id: Option<UserId>,
    uid: Option<Value>,
    email: Option<String>,
    name: Option<String>,
    #[serde(alias = "parent_type", alias = "userType")]
    user_type: Option<String>,
    #[serde(default)]
    role: Option<Role>,
}

impl Answer {
    fn identity(self, now: Timestamp) -> Result<Identity, AuthError> {
        let person = self.data.or(self.user).unwrap_or(self.bare);
        Ok(claims::Person {
            user_id: person.user_id.ok_or(AuthError::Invalid("backend_answer"))?,
            uid: person.uid,
            email: person.email,
            name: person.name,
            role: person.role.unwrap_or_default(),
            user_type: person.user_type,
            issued_at: None,
            expires_at: now.after(GOOD_FOR),
        }
        .fitting())
    }
}

pub(super) fn client() -> reqwest::Client {
    // It needs a provider of cryptography even for plain HTTP; where there is one, it stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder =
        reqwest::Client::builder().timeout(DEADLINE).redirect(reqwest::redirect::Policy::none());
    builder.build().unwrap_or_default()
}

/// A body of at most [`MAX_ANSWER`] bytes.
pub(super) async fn body(mut answer: reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}
