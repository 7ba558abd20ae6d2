//! `[auth]` and `[store]`: which tokens are accepted, and where data lives.

use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// Who decides whether a token is good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum AuthMode {
    Verify,
    Introspect,
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
    /// Address of a JWKS with public keys; read at start, every `jwks_refresh` seconds, and when a token names a key that it did not
    /// have (at most every 10 s).
    pub jwks_url: String,
    /// Seconds between two readings of the JWKS.
    pub jwks_refresh: u64,
    /// When set, tokens must carry this `iss`.
    pub issuer: String,
    /// When set, tokens must carry this `aud`.
    pub audience: String,
    /// Seconds by which clocks may differ when `exp`, `nbf` and `iat` are checked.
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
