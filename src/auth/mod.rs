//! Who somebody is: a token becomes an [`Identity`], or a reason why not.

mod claims;
mod introspect;
mod keys;
mod mint;

use std::sync::{PoisonError, RwLock};

pub use claims::Identity;
pub use mint::{Grant, mint};

use self::introspect::Introspector;
use self::keys::Keys;
use crate::clock::Clock;
use crate::config::{self, AuthMode};
use crate::error::{Failure, Reason};

/// A longer token is refused before it is looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// Why a token does not let its bearer in. All bad tokens get one sentence, so that nothing can be learnt from it; what is
/// wrong with the time of one that is signed is said.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// None came.
    #[error("Access token required")]
    Missing,
    /// It cannot be trusted; the cause is for the log and the counters.
    #[error("Invalid token")]
    Invalid(&'static str),
    /// It is to be valid later only: the clock of whoever issued it is ahead. Said of signed tokens only.
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
    /// The backend that knows does not answer.
    #[error("The authentication service does not answer; try again in a moment")]
    Unavailable,
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
            Self::Unavailable => Reason::Unavailable,
            Self::Keys(_) => Reason::Internal,
        }
    }
}

impl AuthError {
    /// A label for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(cause) => cause,
            Self::NotYet { .. } => "not_yet",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
            Self::Keys(_) => "keys",
        }
    }
}

/// Verifies tokens.
pub struct Auth {
    config: config::Auth,
    clock: Clock,
    keys: RwLock<Keys>,
    introspector: Option<Introspector>,
}

impl Auth {
    /// Reads secrets and key files; a JWKS is read by [`Auth::refresh_keys`].
    pub fn new(config: config::Auth, clock: Clock) -> Result<Self, AuthError> {
        let keys = RwLock::new(Keys::from_config(&config)?);
        let introspector = (config.mode == AuthMode::Introspect)
            .then(|| Introspector::new(&config, clock.clone()));
        Ok(Self { config, clock, keys, introspector })
    }

    /// The identity behind a token.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(AuthError::Invalid("too_long"));
        }
        match &self.introspector {
            Some(introspector) => introspector.identify(token).await,
            None => self.verify(token),
        }
    }

    fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let claims = keys.open(token, &self.config)?;
        claims.identity(self.clock.now(), self.config.leeway)
    }

    /// Whether `key` is the backend's API key.
    pub fn is_api_key(&self, key: &str) -> bool {
        let known = self.config.api_key.expose();
        // Comparing digests takes equally long wherever the two differ.
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        !known.is_empty() && digest(known).as_ref() == digest(key).as_ref()
    }

    /// Reads the JWKS again, when one is configured; the old keys stay when that fails.
    pub async fn refresh_keys(&self) -> Result<(), AuthError> {
        if self.config.jwks_url.is_empty() {
            return Ok(());
        }
        let fetched = keys::fetch_jwks(&self.config.jwks_url).await?;
        let mut fresh = Keys::from_config(&self.config)?;
        fresh.add_jwks(&fetched);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Keeps the JWKS fresh for as long as the server runs.
    pub async fn keep_keys_fresh(&self) {
        if self.config.jwks_url.is_empty() {
            return;
        }
        loop {
            let pause = match self.refresh_keys().await {
                Ok(()) => self.config.jwks_refresh.max(10),
                Err(error) => {
                    tracing::warn!(%error, "the JWKS could not be read; the known keys stay");
                    10
                }
            };
            tokio::time::sleep(std::time::Duration::from_secs(pause)).await;
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
