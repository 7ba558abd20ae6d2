//! Links that are good for one file for a while, whoever follows them: a player in a page sends no token. A link is good for as long
//! as the person who was given it may see the recording. The key lives in the store, so that a link outlives a restart and every
//! process of one store knows it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::clock::Timestamp;
use crate::ids::{FileId, RecordingId, UserId};
use crate::store::{Store, StoreError};

/// The name of the key in the store.
const KEY: &str = "recording-links";

/// What links are signed with; made up where the store has none yet.
pub(super) async fn key(store: &dyn Store) -> Result<hmac::Key, StoreError> {
    let mut fresh = [0; 32];
    let random = SystemRandom::new().fill(&mut fresh);
    random.map_err(|_| StoreError::Unavailable("the system gives no random bytes".into()))?;
    let key = store.server_key(KEY.into(), fresh.to_vec()).await?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// What a link says beside the file: it is signed together with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkClaim {
    /// Who was given it.
    pub user: UserId,
    /// Until when it is good.
    pub until: Timestamp,
}

fn text(id: RecordingId, file: FileId, claim: LinkClaim) -> String {
    let LinkClaim { user, until } = claim;
    format!("{id}/{file}/{user}/{}", until.0)
}

pub(super) fn sign(key: &hmac::Key, id: RecordingId, file: FileId, claim: LinkClaim) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(key, text(id, file, claim).as_bytes()))
}

pub(super) fn verify(
    key: &hmac::Key,
    id: RecordingId,
    file: FileId,
    claim: LinkClaim,
    signature: &str,
) -> bool {
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    hmac::verify(key, text(id, file, claim).as_bytes(), &signature).is_ok()
}
