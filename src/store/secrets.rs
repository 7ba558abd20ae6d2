//! Secrets that outlive a restart: tokens of rooms, of which only a hash is kept, and keys that the server made for itself.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::Timestamp;
use crate::event::room::Permissions;
use crate::ids::{RoomId, UserId};

/// The SHA-256 of a room token; base64url in text.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// The hash itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A stored hash.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = base64url::deserialize(deserializer)?;
        let bytes = <[u8; 32]>::try_from(bytes);
        bytes.map(Self).map_err(|_| de::Error::custom("a token's hash has 32 bytes"))
    }
}

/// A right to enter a room, given out by its owner.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RoomTokenRecord {
    pub hash: TokenHash,
    pub room: RoomId,
    /// Who may use it; everybody when absent, also without an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// What its bearer is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub permissions: Permissions,
    pub moderator: bool,
    /// When it ends.
    pub until: Timestamp,
    /// When it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How many may use it, each as often as they like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Who has used it, where that is counted: accounts, and names of guests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<i64>,
}

impl RoomTokenRecord {
    /// Whether it is good `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.until > now && self.not_before.is_none_or(|begin| begin <= now)
    }

    /// Whether it is for this user, or can become so.
    pub fn has_place_for(&self, user: UserId) -> bool {
        self.is_of(user)
            || self
                .max_uses
                .is_some_and(|most| self.used_by.len() < most.try_into().unwrap_or(usize::MAX))
    }

    /// Whether this user may come by it.
    pub fn is_of(&self, user: UserId) -> bool {
        self.max_uses.is_none() || self.used_by.contains(&user.value())
    }
}

/// A key that the server made for itself.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
pub struct ServerKey {
    /// What it is for.
    pub name: String,
    /// The key.
    #[serde(with = "base64url")]
    pub key: Vec<u8>,
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Bytes as text.
mod base64url {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(de::Error::custom)
    }
}
