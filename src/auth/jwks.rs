//! The keys of a JWKS (RFC 7517 §5): read at the start and now and then, and once more when a token names a key that is not among
//! them, since an issuer may begin to sign with a new key at any time.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::AuthError;
use super::keys::{Key, fetch_jwks, usable};
use crate::clock::{Clock, Timestamp};

/// For so long after a reading, failed ones included, an unknown key id causes no other one: made-up ids must not make this server
/// ask the issuer each time.
pub(super) const REREAD: Duration = Duration::from_secs(10);

/// The outcome of the last reading.
#[derive(Clone)]
pub(super) struct Reading {
    at: Timestamp,
    /// The keys that were read last, also when the reading failed.
    pub(super) keys: Arc<[Key]>,
    /// Why it failed.
    pub(super) problem: Option<AuthError>,
}

/// See the module.
pub(super) struct Jwks {
    url: String,
    clock: Clock,
    /// One entry. The cache makes concurrent readings one.
    last: Cache<(), Reading>,
}

impl Jwks {
    pub(super) fn new(url: &str, clock: Clock) -> Self {
        Self { url: url.to_owned(), clock, last: Cache::new(1) }
    }

    /// The last reading; none before the first one.
    pub(super) async fn known(&self) -> Option<Reading> {
        self.last.get(&()).await
    }

    /// Reads the set, unless the last reading is younger than `young`. Whoever comes meanwhile gets the same reading.
    pub(super) async fn read(&self, young: Duration) -> Reading {
        let now = self.clock.now();
        let is_old = |last: &Reading| now.since(last.at) >= young;
        self.last.entry(()).or_insert_with_if(self.fetch(), is_old).await.into_value()
    }

    async fn fetch(&self) -> Reading {
        let fetched = fetch_jwks(&self.url).await;
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("rtc_auth_key_readings_total", "result" => result).increment(1);
        let at = self.clock.now();
        match fetched {
            Ok(set) => Reading { at, keys: usable(&set).into(), problem: None },
            Err(error) => {
                let keys = self.known().await.map(|last| last.keys).unwrap_or_default();
                Reading { at, keys, problem: Some(error) }
            }
        }
    }
}
