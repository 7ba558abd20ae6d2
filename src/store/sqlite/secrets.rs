//! Hashes of room tokens, and the server's own keys.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension};

use super::super::{Result, RoomTokenRecord, ServerKey, TokenHash};
use super::Doc;
use crate::clock::Timestamp;
use crate::ids::{RoomId, UserId};

impl ToSql for TokenHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.bytes())))
    }
}

impl FromSql for TokenHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = <[u8; 32]>::try_from(value.as_blob()?);
        bytes.map(Self::from_bytes).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

pub(super) fn put_token(c: &Connection, token: &RoomTokenRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO room_tokens (hash, room, user_id, until, doc) VALUES (?1, ?2, ?3, ?4, ?5)";
    let doc = serde_json::to_string(token)?;
    let (hash, room) = (token.hash, token.room.to_string());
    c.prepare_cached(sql)?.execute((hash, room, token.user, token.until, doc))?;
    Ok(())
}

pub(super) fn token(c: &Connection, hash: TokenHash) -> Result<Option<RoomTokenRecord>> {
    let sql = "SELECT doc FROM room_tokens WHERE hash = ?1";
    let found = c.prepare_cached(sql)?.query_row([hash], |row| row.get(0)).optional()?;
    Ok(found.map(|Doc(token)| token))
}

pub(super) const OF_ROOM: &str = "SELECT doc FROM room_tokens WHERE room = ?1 ORDER BY hash";

pub(super) fn tokens(c: &Connection, room: &RoomId) -> Result<Vec<RoomTokenRecord>> {
    let mut query = c.prepare_cached(OF_ROOM)?;
    let rows = query.query_map([room.to_string()], |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(token)| token)?)).collect()
}

pub(super) const REMOVE_OF_ROOM: &str = "DELETE FROM room_tokens WHERE room = ?1";

pub(super) fn remove_tokens(c: &Connection, room: &RoomId) -> Result<()> {
    c.prepare_cached(REMOVE_OF_ROOM)?.execute([room.to_string()])?;
    Ok(())
}

/// How many rows one call forgets.
const SLICE: usize = 500;

pub(super) const PRUNE: &str = "DELETE FROM room_tokens WHERE hash IN
    (SELECT hash FROM room_tokens WHERE until <= ?1 ORDER BY until, hash LIMIT ?2)";

pub(super) fn prune_tokens(c: &Connection, now: Timestamp) -> Result<bool> {
    Ok(c.prepare_cached(PRUNE)?.execute((now, SLICE))? == SLICE)
}

pub(super) const ERASE: &str = "DELETE FROM room_tokens WHERE user_id = ?1";

/// Forgets the tokens that name a person.
pub(super) fn erase_tokens(c: &Connection, user: UserId) -> Result<()> {
    c.prepare_cached(ERASE)?.execute([user])?;
    Ok(())
}

pub(super) fn key(c: &Connection, name: &str) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT key FROM server_keys WHERE name = ?1";
    Ok(c.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn key_or(c: &Connection, name: &str, fresh: Vec<u8>) -> Result<Vec<u8>> {
    if let Some(known) = key(c, name)? {
        return Ok(known);
    }
    put_key(c, &ServerKey { name: name.to_owned(), key: fresh.clone() })?;
    Ok(fresh)
}

pub(super) fn put_key(c: &Connection, key: &ServerKey) -> Result<()> {
    let sql = "INSERT INTO server_keys (name, key) VALUES (?1, ?2)";
    c.prepare_cached(sql)?.execute((&key.name, &key.key))?;
    Ok(())
}
