//! Hashes of room tokens, and the server's own keys.

use mongodb::bson::{RawDocumentBuf, cstr, doc};

use super::super::{Result, RoomTokenRecord, ServerKey};
use super::batch::WriteBatch;
use super::reader::Reader;
use super::rows::StoredDocument;
use crate::clock::Timestamp;
use crate::ids::{RoomId, UserId};

impl StoredDocument for RoomTokenRecord {
    const IN: &'static str = "room_tokens";
    fn id(&self) -> String {
        self.hash.to_string()
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("room"), self.room.to_string().as_str());
        document.append(cstr!("user"), self.user.map_or(0, UserId::value));
        document.append(cstr!("until"), self.until.0);
    }
}

impl StoredDocument for ServerKey {
    const IN: &'static str = "server_keys";
    fn id(&self) -> String {
        self.name.clone()
    }
}

pub(super) async fn tokens(reader: &Reader, room: &RoomId) -> Result<Vec<RoomTokenRecord>> {
    let mut found = reader.all::<RoomTokenRecord>(doc! { "room": room.to_string() }).await?;
    found.sort_unstable_by_key(|token| token.hash);
    Ok(found)
}

pub(super) async fn remove_tokens(batch: &mut WriteBatch, room: &RoomId) -> Result<()> {
    for token in tokens(&batch.reader, room).await? {
        batch.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(())
}

/// How many rows one call forgets: some servers find the place of each anew.
const SLICE: usize = 100;

pub(super) async fn prune_tokens(batch: &mut WriteBatch, now: Timestamp) -> Result<bool> {
    let over = doc! { "until": { "$lte": now.0 } };
    let sort = doc! { "until": 1, "_id": 1 };
    let over = batch.reader.find::<RoomTokenRecord>(over, sort, SLICE).await?;
    for token in &over {
        batch.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(over.len() == SLICE)
}

/// Forgets the tokens that name a person.
pub(super) async fn erase_tokens(batch: &mut WriteBatch, user: UserId) -> Result<()> {
    for token in batch.reader.all::<RoomTokenRecord>(doc! { "user": user.value() }).await? {
        batch.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(())
}

pub(super) async fn key_or(
    batch: &mut WriteBatch,
    name: String,
    fresh: Vec<u8>,
) -> Result<Vec<u8>> {
    if let Some(known) = batch.get::<ServerKey>(&name).await? {
        return Ok(known.key);
    }
    batch.insert(&ServerKey { name, key: fresh.clone() })?;
    Ok(fresh)
}
