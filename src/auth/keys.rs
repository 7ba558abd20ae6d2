//! The keys that signatures are checked with. The algorithm is pinned twice: by configuration, and by the kind of key.

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header, errors::ErrorKind,
};

use super::AuthError;
use super::claims::Claims;
use crate::config;

pub(super) struct Keys {
    algorithms: Vec<Algorithm>,
    keys: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    family: AlgorithmFamily,
    key: DecodingKey,
}

impl Keys {
    pub(super) fn from_config(config: &config::Auth) -> Result<Self, AuthError> {
        super::crypto::install();
        let algorithms =
            config.algorithms.iter().map(|name| algorithm(name)).collect::<Result<_, _>>()?;
        let mut keys = Vec::new();
        if !config.jwt_secret.is_empty() {
            keys.push(Key::new(
                None,
                DecodingKey::from_secret(config.jwt_secret.expose().as_bytes()),
            ));
        }
        for path in &config.public_keys {
            let complain = |error: &dyn std::fmt::Display| {
                AuthError::Keys(format!("auth.public_keys: {path}: {error}"))
            };
            let pem = std::fs::read(path).map_err(|error| complain(&error))?;
            let key = DecodingKey::from_rsa_pem(&pem)
                .or_else(|_| DecodingKey::from_ec_pem(&pem))
                .or_else(|_| DecodingKey::from_ed_pem(&pem))
                .map_err(|error| complain(&error))?;
            keys.push(Key::new(None, key));
        }
        Ok(Self { algorithms, keys })
    }

    /// The claims of a token whose signature, `iss` and `aud` are right, by these keys and `more`. Times are checked by the caller,
    /// by our clock.
    pub(super) fn open(
        &self,
        token: &str,
        more: &[Key],
        config: &config::Auth,
    ) -> Result<Claims, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Invalid("malformed"))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(AuthError::Invalid("algorithm"));
        }
        if header.crit.is_some() {
            return Err(AuthError::Invalid("crit"));
        }
        let validation = validation(header.alg, config);
        let mut outcome = Err(AuthError::Invalid("key"));
        let all = self.keys.iter().chain(more);
        for key in all.filter(|key| key.fits(header.alg, header.kid.as_deref())) {
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(opened) => return Ok(opened.claims),
                Err(error) => outcome = Err(AuthError::Invalid(label(error.kind()))),
            }
        }
        outcome
    }

    /// Whether a token names a key that is not among `known`, and a JWKS may have it.
    pub(super) fn names_another(&self, token: &str, known: &[Key]) -> bool {
        let Ok(header) = decode_header(token) else { return false };
        let public = header.alg.family() != AlgorithmFamily::Hmac;
        let has = |id: &String| known.iter().any(|key| key.id.as_ref() == Some(id));
        public && self.algorithms.contains(&header.alg) && header.kid.is_some_and(|id| !has(&id))
    }
}

/// The public keys of a JWKS that are there for checking signatures; a shared secret in it is passed over, and so is a key for
/// encryption.
pub(super) fn usable(set: &JwkSet) -> Vec<Key> {
    let key = |jwk: &Jwk| {
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Key::new(jwk.common.key_id.clone(), key))
    };
    let keys = set.keys.iter().filter(|jwk| verifies(jwk)).filter_map(key);
    keys.filter(|key| key.family != AlgorithmFamily::Hmac).collect()
}

/// Whether signatures may be checked with a key, by what it says of itself (RFC 7517 §4.2, §4.3).
fn verifies(jwk: &Jwk) -> bool {
    let (used, operations) = (&jwk.common.public_key_use, &jwk.common.key_operations);
    used.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify))
}

impl Key {
    fn new(id: Option<String>, key: DecodingKey) -> Self {
        Self { id, family: key.family(), key }
    }

    /// Whether a token with this header may be checked with this key. A key without an id fits any `kid`.
    fn fits(&self, algorithm: Algorithm, kid: Option<&str>) -> bool {
        self.family == algorithm.family()
            && (self.id.is_none() || kid.is_none() || self.id.as_deref() == kid)
    }
}

fn algorithm(name: &str) -> Result<Algorithm, AuthError> {
    let known =
        "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";
    name.parse()
        .map_err(|_| AuthError::Keys(format!("auth.algorithms: \"{name}\" is not one of {known}")))
}

fn validation(algorithm: Algorithm, config: &config::Auth) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = !config.audience.is_empty();
    let mut required = vec!["exp"];
    if !config.audience.is_empty() {
        validation.set_audience(&[&config.audience]);
        required.push("aud");
    }
    if !config.issuer.is_empty() {
        validation.set_issuer(&[&config.issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn label(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "signature",
        ErrorKind::InvalidIssuer => "issuer",
        ErrorKind::InvalidAudience => "audience",
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => "claims",
        _ => "malformed",
    }
}

/// Reads a JWKS, 256 KiB at most, within 5 s.
pub(super) async fn fetch_jwks(url: &str) -> Result<JwkSet, AuthError> {
    let complain =
        |error: &dyn std::fmt::Display| AuthError::Keys(format!("auth.jwks_url: {error}"));
    let client = super::introspect::client();
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let body =
        super::introspect::body(answer.map_err(|error| complain(&error.without_url()))?).await;
    let body =
        body.ok_or_else(|| complain(&"the answer is larger than 256 KiB or was cut short"))?;
    serde_json::from_slice(&body).map_err(|error| complain(&error))
}
