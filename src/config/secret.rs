//! Secrets: never printed, and refused when they are published.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, Serializer};

/// A text that no log, dump or error shows.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "***" })
    }
}

/// Beginnings and whole texts that documentation of widely used products shows as secrets.
const WELL_KNOWN: &[&str] = &[
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "change-me",
    "changeme",
    "django-insecure-",
    "gw2t",
    "mysecret",
    "secret",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "thisisasecret",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "your-secret",
    "your-super-secret",
    "your_jwt_secret",
    "your_secret",
    "yoursecret",
];

/// SHA-256 of secrets that publicly readable repositories of this server's predecessors show.
const PUBLISHED: &[&str] = &["de9f84df0a5b1b728f3a7b6b07cd91f20e00471e77db1dd7fec11445607d0970"];

fn is_published(text: &str) -> bool {
    let hash = digest(&SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    PUBLISHED.contains(&hash.as_str())
}

/// Why a shared secret must not be used, or `None`.
pub fn weakness(secret: &Secret) -> Option<String> {
    let text = secret.expose();
    if text.is_empty() {
        return Some(
            "is not set; set at least 32 random bytes, for example from `openssl rand -base64 48`"
                .into(),
        );
    }
    if text.len() < 32 {
        return Some(format!("has {} bytes; it needs at least 32 random ones", text.len()));
    }
    if is_published(text.trim()) {
        return Some(
            "is printed in a public repository, so that any reader can sign as any user; make a random one and give it to the \
             backend, too"
                .into(),
        );
    }
    let lower = text.to_lowercase();
    if WELL_KNOWN.iter().any(|known| lower.starts_with(known)) {
        return Some("begins like a secret that documentation shows; make a random one".into());
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    (bytes.len() < 10).then(|| "has fewer than 10 different characters; make a random one".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_named_and_random_ones_pass() {
        for weak in [
            "",
            "short",
            "your-256-bit-secret-your-256-bit-secret",
            "django-insecure-abcdefghijklmnopqrstuvwx",
        ] {
            assert!(weakness(&Secret::new(weak)).is_some(), "{weak}");
        }
        assert!(weakness(&Secret::new("a".repeat(64))).is_some());
        assert_eq!(weakness(&Secret::new("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu")), None);
    }

    #[test]
    fn a_secret_prints_as_stars() {
        let secret = Secret::new("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu");
        assert_eq!(format!("{secret:?}"), "\"***\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }
}
