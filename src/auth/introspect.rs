//! The original's way: the Django backend is asked about each token. Answers are kept for a while, bad ones too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::AuthError;
use super::claims::Identity;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::Role;
use crate::ids::UserId;

/// How long the backend may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How large an answer may be.
const MAX_ANSWER: usize = 256 * 1024;
/// How many answers are kept.
const KEPT: usize = 20_000;
/// For how long an identity from the backend is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// An answer, and until when it holds.
type Kept = (Timestamp, Result<Identity, AuthError>);

pub(super) struct Introspector {
    url: String,
    keep: Duration,
    clock: Clock,
    client: reqwest::Client,
    /// By the SHA-256 of the token, so that no token lies in memory longer than needed.
    answers: Mutex<HashMap<[u8; 32], Kept>>,
}

impl Introspector {
    pub(super) fn new(config: &config::Auth, clock: Clock) -> Self {
        let url = format!("{}/get-other-parent/", config.introspect_url.trim_end_matches('/'));
        let keep = Duration::from_secs(config.introspect_cache.min(60));
        Self { url, keep, clock, client: client(), answers: Mutex::default() }
    }

    pub(super) async fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let mut key = [0; 32];
        key.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
        let now = self.clock.now();
        let kept = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((until, answer)) = kept
            && now < until
        {
            return answer;
        }
        let answer = self.ask(token, now).await;
        if answer != Err(AuthError::Unavailable) {
            self.remember(key, now, answer.clone());
        }
        answer
    }

    fn remember(&self, key: [u8; 32], now: Timestamp, answer: Result<Identity, AuthError>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= KEPT {
            answers.retain(|_, (until, _)| now < *until);
        }
        if answers.len() < KEPT {
            answers.insert(key, (now.after(self.keep), answer));
        }
    }

    async fn ask(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
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

/// What the backend tells, at the top or under `data` or `user`.
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
        Ok(Identity {
            user_id: person.user_id.ok_or(AuthError::Invalid("backend_answer"))?,
            uid: person.uid.and_then(|uid| {
                uid.as_str().map(str::to_owned).or_else(|| uid.as_i64().map(|n| n.to_string()))
            }),
            email: person.email,
            name: person.name,
            role: person.role.unwrap_or_default(),
            user_type: person.user_type,
            expires_at: now.after(GOOD_FOR),
        })
    }
}

pub(super) fn client() -> reqwest::Client {
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
