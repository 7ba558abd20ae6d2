//! Authentication: a token becomes an [`Identity`], or a reason why not.

mod claims;
mod crypto;
mod introspect;
mod jwks;
mod keys;
mod mint;

use std::sync::Arc;
use std::time::Duration;

pub use claims::Identity;
pub use mint::{Grant, mint};

use self::claims::Claims;
use self::introspect::Introspector;
use self::jwks::{Jwks, REREAD};
use self::keys::Keys;
use crate::clock::Clock;
use crate::config::{self, AuthMode};
use crate::error::{Failure, Reason};
use crate::ledger::{Full, Ledger};

/// A longer token is refused before it is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// Why a token is refused. All bad tokens get one sentence, which reveals nothing of the cause; only what is wrong with the time of
/// a signed one is said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// None came.
    #[error("Access token required")]
    Missing,
    /// It cannot be trusted; the cause is for the log and the counters.
    #[error("Invalid token")]
    Invalid(&'static str),
    /// It is to be valid later only: the issuer's clock is ahead. Said of signed tokens only.
    #[error(
        "Token is from the future: its {claim} lies {seconds} s ahead of this server's clock (auth.leeway is {leeway} s); set \
         the clock of the backend, or of this server"
    )]
    NotYet {
        /// The claim that says so.
        claim: &'static str,
        /// By how much the clocks differ.
        seconds: i64,
        /// By how much they may.
        leeway: i64,
    },
    /// It was good once.
    #[error("Token expired")]
    Expired,
    /// The backend or the issuer does not answer.
    #[error("The authentication service does not answer; try again in a moment")]
    Unavailable,
    /// As many questions wait for the backend as may.
    #[error("{0}")]
    Busy(Full),
    /// Too many bad tokens came from the same place for another one that nobody knows to be worth a question.
    #[error("Too many attempts without a valid token; wait a minute")]
    Limited,
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
}

impl Failure for AuthError {
    fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::TokenMissing,
            Self::Invalid(_) | Self::NotYet { .. } => Reason::TokenInvalid,
            Self::Expired => Reason::TokenExpired,
            Self::Unavailable | Self::Busy(_) => Reason::Unavailable,
            Self::Limited => Reason::RateLimited,
            Self::Keys(_) => Reason::Internal,
        }
    }

    fn details(&self) -> Option<serde_json::Value> {
        match self {
            Self::Busy(full) => full.details(),
            _ => None,
        }
    }
}

impl AuthError {
    /// Whether it says something of the token; a backend that fails is not the bearer's fault.
    pub fn is_of_token(&self) -> bool {
        !matches!(self, Self::Unavailable | Self::Busy(_) | Self::Keys(_))
    }

    /// A label for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(cause) => cause,
            Self::NotYet { .. } => "not_yet",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
            Self::Busy(_) => "busy",
            Self::Limited => "limited",
            Self::Keys(_) => "keys",
        }
    }
}

/// Authentication, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Answers of the backend that are kept.
    pub cached: u64,
}

/// Verifies tokens.
pub struct Auth {
    config: config::Auth,
    clock: Clock,
    keys: Keys,
    jwks: Option<Jwks>,
    introspector: Option<Introspector>,
}

impl Auth {
    /// Reads secrets and key files; a JWKS is read by [`Auth::refresh_keys`], and when a token needs it.
    pub fn new(config: config::Auth, clock: Clock) -> Result<Self, AuthError> {
        Self::bounded(config, clock, None)
    }

    /// The same with a bound for the questions to the backend.
    pub fn bounded(
        config: config::Auth,
        clock: Clock,
        ledger: Option<Arc<Ledger>>,
    ) -> Result<Self, AuthError> {
        let keys = Keys::from_config(&config)?;
        let introspector = (config.mode == AuthMode::Introspect)
            .then(|| Introspector::new(&config, clock.clone(), ledger));
        let jwks =
            (!config.jwks_url.is_empty()).then(|| Jwks::new(&config.jwks_url, clock.clone()));
        Ok(Self { config, clock, keys, jwks, introspector })
    }

    /// The identity behind a token.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        self.authenticate_if(token, || true).await
    }

    /// The identity behind a token; the backend is asked about one that it never vouched for only if `may_ask` says so.
    pub async fn authenticate_if(
        &self,
        token: &str,
        may_ask: impl FnOnce() -> bool,
    ) -> Result<Identity, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(AuthError::Invalid("too_long"));
        }
        match &self.introspector {
            Some(introspector) => introspector.identify(token, may_ask).await,
            None => self.verify(token).await,
        }
    }

    async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = match &self.jwks {
            None => self.keys.open(token, &[], &self.config)?,
            Some(jwks) => self.open_with(jwks, token).await?,
        };
        claims.identity(self.clock.now(), self.config.leeway)
    }

    /// Opens a token with the keys of a JWKS, which is read again when the token names a key that it did not have.
    async fn open_with(&self, jwks: &Jwks, token: &str) -> Result<Claims, AuthError> {
        let known = jwks.known().await.map(|last| last.keys).unwrap_or_default();
        let outcome = self.keys.open(token, &known, &self.config);
        if outcome.is_ok() || !self.keys.names_another(token, &known) {
            return outcome;
        }
        let last = jwks.read(REREAD).await;
        match self.keys.open(token, &last.keys, &self.config) {
            // Without any reading nothing can be said of the token.
            Err(AuthError::Invalid("key")) if last.keys.is_empty() && last.problem.is_some() => {
                Err(AuthError::Unavailable)
            }
            outcome => outcome,
        }
    }

    /// Whether `key` is the backend's API key.
    pub fn is_api_key(&self, key: &str) -> bool {
        let known = &self.config.api_key;
        !known.is_empty() && known.is(key)
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        Stats { cached: self.introspector.as_ref().map_or(0, Introspector::cached) }
    }

    /// Reads the JWKS again, when one is configured; the old keys stay when that fails.
    pub async fn refresh_keys(&self) -> Result<(), AuthError> {
        let Some(jwks) = &self.jwks else { return Ok(()) };
        jwks.read(Duration::ZERO).await.problem.map_or(Ok(()), Err)
    }

    /// Keeps the JWKS fresh for as long as the server runs.
    pub async fn keep_keys_fresh(&self) {
        let Some(jwks) = &self.jwks else { return };
        loop {
            let pause = match jwks.read(REREAD).await.problem {
                None => Duration::from_secs(self.config.jwks_refresh).max(REREAD),
                Some(error) => {
                    tracing::warn!(%error, "the JWKS cannot be read; the known keys stay");
                    REREAD
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// The token of an `Authorization` header, `None` when it is of another scheme or there is none.
pub fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The `token` of a query string, for servers that take one there (`compat.query_token`).
pub fn query_token(query: Option<&str>) -> Option<&str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == "token").map(|(_, token)| token)
}

#[cfg(test)]
mod tests;
