//! Tokens of our own making, for `--dev`, `switchboard token` and tests.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::config::Secret;
use crate::event::Role;
use crate::ids::UserId;

/// What a minted token says.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Grant {
    pub user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_type: Option<String>,
    pub role: Role,
    /// Seconds since 1970.
    pub exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

/// An HS256 token.
pub fn mint(grant: &Grant, secret: &Secret) -> Result<String, jsonwebtoken::errors::Error> {
    super::crypto::install();
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), grant, &key)
}
