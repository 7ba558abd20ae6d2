//! Users of the relay: time-limited credentials (draft-uberti-behave-turn-rest, the scheme coturn takes too) and users with
//! a password for appliances.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use stun_types::message::{IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials};

use crate::message::REALM;

/// How far ahead the end of a credential may lie; longer ones are refused.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a user name (RFC 8489 §14.3 allows 509).
const NAME: usize = 508;

/// Secrets of the relay.
#[derive(Clone)]
pub struct Credentials {
    secret: Option<hmac::Key>,
    users: HashMap<String, String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// What a user name stands for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subject {
    /// The name as the client sends it.
    pub username: Arc<str>,
    /// The user in it; the whole name of a user with a password.
    pub user: Arc<str>,
    /// The call that the credential is bound to.
    pub call: Option<Arc<str>>,
}

impl Credentials {
    /// `secret` signs time-limited credentials (empty: none are taken); `users` are names with their passwords.
    pub fn new(secret: &[u8], users: impl IntoIterator<Item = (String, String)>) -> Self {
        let key = || hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        Self { secret: (!secret.is_empty()).then(key), users: users.into_iter().collect() }
    }

    /// `expiry:user[:call]` and the password to it; `expires` in seconds since 1970. `None` without a secret.
    pub fn mint(&self, expires: u64, user: &str, call: Option<&str>) -> Option<(String, String)> {
        let bound = call.map(|call| format!(":{call}")).unwrap_or_default();
        let username = format!("{expires}:{user}{bound}");
        let password = self.password(&username)?;
        Some((username, password))
    }

    fn password(&self, username: &str) -> Option<String> {
        let key = self.secret.as_ref()?;
        Some(BASE64.encode(hmac::sign(key, username.as_bytes())))
    }

    /// What `username` stands for, and the key it signs with; `None` when it is unknown, or when its time is not that of `unix`,
    /// in seconds since 1970. Without `unix` its time does not matter.
    pub(crate) fn look_up(
        &self,
        username: &str,
        unix: Option<u64>,
        algorithm: IntegrityAlgorithm,
    ) -> Option<(Subject, IntegrityKey)> {
        if username.is_empty() || username.len() > NAME {
            return None;
        }
        let (subject, password) = match self.users.get(username) {
            Some(password) => (Subject::plain(username), password.clone()),
            None => (Subject::timed(username, unix)?, self.password(username)?),
        };
        let credentials =
            LongTermKeyCredentials::new(username.to_owned(), password, REALM.to_owned());
        Some((subject, credentials.make_key(algorithm)))
    }
}

impl Subject {
    fn plain(username: &str) -> Self {
        Self { username: username.into(), user: username.into(), call: None }
    }

    fn timed(username: &str, unix: Option<u64>) -> Option<Self> {
        let mut parts = username.splitn(3, ':');
        let expires: u64 = parts.next()?.parse().ok()?;
        if unix.is_some_and(|unix| !(unix..=unix + LONGEST.as_secs()).contains(&expires)) {
            return None;
        }
        let user = parts.next().unwrap_or_default().into();
        Some(Self { username: username.into(), user, call: parts.next().map(Into::into) })
    }
}
