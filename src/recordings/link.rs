//! Links that are good for one file for a while, whoever follows them: a player in a page sends no token. The key is made up at
//! each start, so no link outlives the process.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::clock::Timestamp;
use crate::ids::{FileId, RecordingId};

pub(super) fn key() -> hmac::Key {
    let mut bytes = [0; 32];
    let random = SystemRandom::new();
    while random.fill(&mut bytes).is_err() {}
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

fn text(id: RecordingId, file: FileId, until: Timestamp) -> String {
    format!("{id}/{file}/{}", until.0)
}

pub(super) fn sign(key: &hmac::Key, id: RecordingId, file: FileId, until: Timestamp) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(key, text(id, file, until).as_bytes()))
}

pub(super) fn verify(
    key: &hmac::Key,
    id: RecordingId,
    file: FileId,
    until: Timestamp,
    signature: &str,
) -> bool {
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    hmac::verify(key, text(id, file, until).as_bytes(), &signature).is_ok()
}
