//! Hashes of room tokens, and the server's own keys.

use mongodb::bson::{RawDocumentBuf, cstr, doc};

use super::super::{Result, RoomTokenRecord, ServerKey};
use super::reader::Reader;
use super::rows::Kept;
use super::unit::Unit;
use crate::clock::Timestamp;
use crate::ids::{RoomId, UserId};

impl Kept for RoomTokenRecord {
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

impl Kept for ServerKey {
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

pub(super) async fn remove_tokens(unit: &mut Unit, room: &RoomId) -> Result<()> {
    for token in tokens(&unit.reader, room).await? {
        unit.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(())
}

/// How many rows one call forgets.
const SLICE: usize = 500;

pub(super) async fn prune_tokens(unit: &mut Unit, now: Timestamp) -> Result<bool> {
    let over = doc! { "until": { "$lte": now.0 } };
    let sort = doc! { "until": 1, "_id": 1 };
    let over = unit.reader.find::<RoomTokenRecord>(over, sort, SLICE).await?;
    for token in &over {
        unit.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(over.len() == SLICE)
}

/// Forgets the tokens that name a person.
pub(super) async fn erase_tokens(unit: &mut Unit, user: UserId) -> Result<()> {
    for token in unit.reader.all::<RoomTokenRecord>(doc! { "user": user.value() }).await? {
        unit.remove::<RoomTokenRecord>(&token.id());
    }
    Ok(())
}

pub(super) async fn key_or(unit: &mut Unit, name: String, fresh: Vec<u8>) -> Result<Vec<u8>> {
    if let Some(known) = unit.get::<ServerKey>(&name).await? {
        return Ok(known.key);
    }
    unit.insert(&ServerKey { name, key: fresh.clone() })?;
    Ok(fresh)
}
