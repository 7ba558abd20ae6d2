//! Each user's event log: small rows in the order of their cursors, see [`LogEntry`].

use rusqlite::{Connection, Row};

use super::super::{LogEntry, Result};
use crate::clock::Timestamp;
use crate::ids::{ConversationId, UserId};

const HEAD: &str = "SELECT coalesce(max(cursor), 0) FROM log WHERE user_id = ?1";

pub(super) fn head(c: &Connection, user: UserId) -> Result<i64> {
    Ok(c.prepare_cached(HEAD)?.query_row([user], |row| row.get(0))?)
}

/// Puts an entry behind the last one of its user's log; gives its cursor.
pub(super) fn append(c: &Connection, entry: LogEntry) -> Result<i64> {
    let cursor = head(c, entry.user)? + 1;
    put(c, &LogEntry { cursor, ..entry })?;
    Ok(cursor)
}

pub(super) fn put(c: &Connection, entry: &LogEntry) -> Result<()> {
    let sql = "INSERT INTO log (user_id, cursor, at, what, ref, number, by_user) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    c.prepare_cached(sql)?.execute((
        entry.user,
        entry.cursor,
        entry.at,
        entry.what,
        ConversationId::new(entry.place),
        entry.number,
        entry.by,
    ))?;
    Ok(())
}

/// What [`from_row`] reads.
pub(super) const COLUMNS: &str = "user_id, cursor, at, what, ref, number, by_user";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    Ok(LogEntry {
        user: row.get(0)?,
        cursor: row.get(1)?,
        at: row.get(2)?,
        what: row.get(3)?,
        place: ConversationId::uuid(row.get(4)?),
        number: row.get(5)?,
        by: row.get(6)?,
    })
}

/// How many rows one call forgets.
const SLICE: usize = 500;

pub(super) const RETIRE_KEYS: &str = "DELETE FROM client_ids WHERE (from_user, client_id) IN
    (SELECT from_user, client_id FROM client_ids WHERE at < ?1 ORDER BY at LIMIT ?2)";
/// Walks from user to user along the primary key, and in each log only over what is to be forgotten.
pub(super) const NEXT_USER: &str = "SELECT min(user_id) FROM log WHERE user_id > ?1";
pub(super) const RETIRE_LOG: &str = "DELETE FROM log WHERE user_id = ?1 AND cursor IN
    (SELECT cursor FROM log WHERE user_id = ?1 AND cursor < ?2 AND (at < ?3 OR cursor <= ?4) ORDER BY cursor LIMIT ?5)";

pub(super) fn retire(
    c: &Connection,
    log_before: Timestamp,
    log_keep: i64,
    keys_before: Timestamp,
) -> Result<bool> {
    let mut gone = c.prepare_cached(RETIRE_KEYS)?.execute((keys_before, SLICE))?;
    let mut user = 0_i64;
    while gone < SLICE {
        let next: Option<i64> = c.prepare_cached(NEXT_USER)?.query_row([user], |row| row.get(0))?;
        let Some(next) = next else { return Ok(false) };
        user = next;
        // The newest entry stays: it carries the user's cursor on.
        let newest: i64 = c.prepare_cached(HEAD)?.query_row([user], |row| row.get(0))?;
        let values = (user, newest, log_before, newest - log_keep, SLICE - gone);
        gone += c.prepare_cached(RETIRE_LOG)?.execute(values)?;
    }
    Ok(true)
}
