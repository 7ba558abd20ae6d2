//! People.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::erased;
use super::super::{
    DeviceRecord, DirectoryPage, Profile, Result, Settings, StoreError, UserRecord,
};
use super::{Doc, count};
use crate::clock::Timestamp;
use crate::ids::UserId;

pub(super) const COLUMNS: &str = "users.doc, users.last_seen, users.plain_cursor";

/// Reads [`COLUMNS`] from column `at` on.
pub(super) fn from_row(row: &Row<'_>, at: usize) -> rusqlite::Result<UserRecord> {
    let Doc(mut user): Doc<UserRecord> = row.get(at)?;
    user.last_seen = row.get(at + 1)?;
    user.legacy_cursor = row.get(at + 2)?;
    Ok(user)
}

pub(super) fn user(c: &Connection, id: UserId) -> Result<Option<UserRecord>> {
    let sql = "SELECT users.doc, users.last_seen, users.plain_cursor FROM users WHERE user_id = ?1";
    Ok(c.prepare_cached(sql)?.query_row([id], |row| from_row(row, 0)).optional()?)
}

pub(super) fn exists(c: &Connection, id: UserId) -> Result<bool> {
    Ok(c.prepare_cached("SELECT 1 FROM users WHERE user_id = ?1")?.exists([id])?)
}

pub(super) fn is_erased(c: &Connection, id: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM users WHERE user_id = ?1 AND uid = ?2";
    Ok(c.prepare_cached(sql)?.exists((id, erased::uid(id)))?)
}

pub(super) fn put(c: &Connection, user: &UserRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO users (user_id, uid, name_key, last_seen, plain_cursor, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let doc = serde_json::to_string(user)?;
    let (id, uid) = (user.profile.user_id, &user.profile.uid);
    c.prepare_cached(sql)?.execute((
        id,
        uid,
        user.name_key(),
        user.last_seen,
        user.legacy_cursor,
        doc,
    ))?;
    Ok(())
}

/// Who has a uid.
pub(super) fn holder(c: &Connection, uid: &str) -> Result<Option<UserId>> {
    let mut query = c.prepare_cached("SELECT user_id FROM users WHERE uid = ?1")?;
    Ok(query.query_row([uid], |row| row.get(0)).optional()?)
}

pub(super) fn save_profile(c: &Connection, profile: Profile, at: Timestamp) -> Result<UserRecord> {
    let holder = holder(c, &profile.uid)?;
    if holder.is_some_and(|holder| holder != profile.user_id) {
        return Err(StoreError::Conflict("uid"));
    }
    let known = user(c, profile.user_id)?;
    if known.is_none() {
        count(c, "users", 1)?;
    }
    let saved = UserRecord::merge(known, profile, at);
    put(c, &saved)?;
    Ok(saved)
}

pub(super) fn save_settings(
    c: &Connection,
    id: UserId,
    settings: Settings,
    at: Timestamp,
) -> Result<UserRecord> {
    let saved = user(c, id)?.ok_or(StoreError::NotFound)?.changed(settings, at);
    put(c, &saved)?;
    Ok(saved)
}

pub(super) fn touch(c: &Connection, id: UserId, seen: Timestamp, legacy_cursor: i64) -> Result<()> {
    let sql = "UPDATE users SET last_seen = max(last_seen, ?2), plain_cursor = max(plain_cursor, ?3) WHERE user_id = ?1";
    c.prepare_cached(sql)?.execute((id, seen, legacy_cursor))?;
    Ok(())
}

pub(super) fn set_disabled(
    c: &Connection,
    id: UserId,
    disabled: bool,
    at: Timestamp,
) -> Result<()> {
    let user = user(c, id)?.ok_or(StoreError::NotFound)?;
    put(c, &UserRecord { disabled, updated_at: at, ..user })
}

pub(super) fn save_device(c: &Connection, device: &DeviceRecord) -> Result<()> {
    if !exists(c, device.user)? {
        return Err(StoreError::UnknownUser(device.user));
    }
    let sql = "INSERT OR REPLACE INTO devices (user_id, device_id, doc) VALUES (?1, ?2, ?3)";
    c.prepare_cached(sql)?.execute((
        device.user,
        &device.device_id,
        serde_json::to_string(device)?,
    ))?;
    Ok(())
}

pub(super) const DEVICES: &str = "SELECT doc FROM devices WHERE user_id = ?1 ORDER BY device_id";

pub(super) fn devices(c: &Connection, user: UserId) -> Result<Vec<DeviceRecord>> {
    let mut query = c.prepare_cached(DEVICES)?;
    let rows = query.query_map([user], |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(device)| device)?)).collect()
}

pub(super) fn remove_device(c: &Connection, user: UserId, device_id: &str) -> Result<()> {
    let sql = "DELETE FROM devices WHERE user_id = ?1 AND device_id = ?2";
    let gone = c.prepare_cached(sql)?.execute((user, device_id))?;
    if gone == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

pub(super) const DIRECTORY: &str =
    "SELECT users.doc, users.last_seen, users.plain_cursor FROM users
    WHERE (name_key, user_id) > (?1, ?2) AND name_key < ?3 ORDER BY name_key, user_id LIMIT ?4";

pub(super) fn directory(c: &Connection, page: &DirectoryPage) -> Result<Vec<UserRecord>> {
    let (name, id) = match &page.after {
        Some((name, id)) if *name >= page.prefix => (name.as_str(), id.value()),
        _ => (page.prefix.as_str(), 0),
    };
    let end = format!("{}\u{10ffff}", page.prefix);
    let mut query = c.prepare_cached(DIRECTORY)?;
    let rows = query.query_map((name, id, end, page.limit), |row| from_row(row, 0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) const CONTACTS_BY_CALL: &str = "SELECT DISTINCT peer FROM call_members WHERE user_id = ?1 AND call_at >= ?2 ORDER BY call_at DESC LIMIT ?3";
pub(super) const CONTACTS_BY_CONVERSATION: &str = "SELECT conv FROM members
    WHERE user_id = ?1 AND archived = ?2 AND last_activity >= ?3 ORDER BY last_activity DESC LIMIT ?4";

pub(super) fn contacts(
    c: &Connection,
    user: UserId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<UserId>> {
    let mut found = std::collections::BTreeSet::new();
    for archived in [false, true] {
        let mut query = c.prepare_cached(CONTACTS_BY_CONVERSATION)?;
        let rows = query.query_map((user, archived, since, limit), |row| {
            row.get::<_, crate::ids::ConversationId>(0)
        })?;
        for conversation in rows {
            found.extend(conversation?.peer_of(user));
        }
    }
    let mut query = c.prepare_cached(CONTACTS_BY_CALL)?;
    for peer in query.query_map((user, since, limit), |row| row.get(0))? {
        found.insert(peer?);
    }
    Ok(found.into_iter().take(limit).collect())
}
