//! Each user's event log: small rows that point at what they tell, in the order of their cursors.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::{
    CallRecord, LogKind, LogPage, LogRecord, Logged, Mark, MarkKind, MessageRecord, Result,
    StoreError,
};
use super::{calls, marks, messages};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, UserId};

/// How a kind of entry is stored.
pub(super) fn number_of(kind: LogKind) -> i64 {
    match kind {
        LogKind::Message => 1,
        LogKind::Delivered => 2,
        LogKind::Read => 3,
        LogKind::Missed => 4,
    }
}

fn kind_of(number: i64) -> rusqlite::Result<LogKind> {
    match number {
        1 => Ok(LogKind::Message),
        2 => Ok(LogKind::Delivered),
        3 => Ok(LogKind::Read),
        4 => Ok(LogKind::Missed),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(2, other)),
    }
}

const HEAD: &str = "SELECT coalesce(max(cursor), 0) FROM log WHERE user_id = ?1";

fn head(c: &Connection, user: UserId) -> Result<i64> {
    Ok(c.prepare_cached(HEAD)?.query_row([user], |row| row.get(0))?)
}

fn add(
    c: &Connection,
    user: UserId,
    at: Timestamp,
    what: LogKind,
    place: (&dyn rusqlite::ToSql, i64, UserId),
) -> Result<i64> {
    let cursor = head(c, user)? + 1;
    let sql = "INSERT INTO log (user_id, cursor, at, what, ref, number, by_user) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    c.prepare_cached(sql)?.execute(rusqlite::params![
        user,
        cursor,
        at,
        number_of(what),
        place.0,
        place.1,
        place.2
    ])?;
    Ok(cursor)
}

pub(super) fn message(c: &Connection, user: UserId, message: &MessageRecord) -> Result<i64> {
    add(c, user, message.at, LogKind::Message, (&message.conversation, message.seq, message.from))
}

pub(super) fn mark(
    c: &Connection,
    user: UserId,
    conversation: ConversationId,
    mark: Mark,
) -> Result<i64> {
    let what = if mark.kind == MarkKind::Read { LogKind::Read } else { LogKind::Delivered };
    add(c, user, mark.at, what, (&conversation, mark.up_to, mark.user))
}

pub(super) fn missed(c: &Connection, user: UserId, call: &CallRecord) -> Result<i64> {
    add(c, user, call.updated_at, LogKind::Missed, (&call.id, call.rev, call.from))
}

/// A row as it is stored.
pub(super) struct Raw {
    pub(super) cursor: i64,
    pub(super) at: Timestamp,
    pub(super) what: LogKind,
    pub(super) place: uuid::Uuid,
    pub(super) number: i64,
    pub(super) by: UserId,
}

pub(super) fn raw_from(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        cursor: row.get(0)?,
        at: row.get(1)?,
        what: kind_of(row.get(2)?)?,
        place: ConversationId::uuid(row.get(3)?),
        number: row.get(4)?,
        by: row.get(5)?,
    })
}

pub(super) const PAGE: &str = "SELECT cursor, at, what, ref, number, by_user FROM log WHERE user_id = ?1 AND cursor > ?2 ORDER BY cursor LIMIT ?3";

pub(super) fn page(c: &Connection, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
    let mut query = c.prepare_cached(PAGE)?;
    let rows = query.query_map((user, cursor, limit), raw_from)?;
    let entries = rows.map(|raw| resolve(c, &raw?)).collect::<Result<Vec<_>>>()?;
    let floor = "SELECT cursor FROM log WHERE user_id = ?1 ORDER BY cursor LIMIT 1";
    let floor =
        { c.prepare_cached(floor)? }.query_row([user], |row| row.get(0)).optional()?.unwrap_or(0);
    Ok(LogPage { entries, head: head(c, user)?, floor })
}

fn resolve(c: &Connection, raw: &Raw) -> Result<LogRecord> {
    let id = raw.place;
    let gone = || StoreError::Corrupt(format!("log entry {} points at nothing", raw.cursor));
    let conversation = ConversationId::new(id);
    let what = match raw.what {
        LogKind::Message => {
            let message = messages::at(c, conversation, raw.number)?.ok_or_else(gone)?;
            let marks = marks::over(c, conversation, raw.number, raw.number)?;
            Logged::Message(message, marks)
        }
        LogKind::Delivered | LogKind::Read => {
            let kind = if raw.what == LogKind::Read { MarkKind::Read } else { MarkKind::Delivered };
            Logged::Mark {
                conversation,
                mark: Mark { user: raw.by, kind, up_to: raw.number, at: raw.at },
            }
        }
        LogKind::Missed => Logged::Missed(calls::call(c, CallId::new(id))?.ok_or_else(gone)?),
    };
    Ok(LogRecord { cursor: raw.cursor, at: raw.at, what })
}

pub(super) const UNDELIVERED: &str = "SELECT l.cursor, l.ref, l.number FROM log l
    CROSS JOIN members m ON m.conv = l.ref AND m.user_id = l.user_id
    WHERE l.user_id = ?1 AND l.cursor > ?2 AND l.what = 1 AND l.by_user <> ?1 AND l.number > m.delivered
    ORDER BY l.cursor DESC LIMIT ?3";

pub(super) fn undelivered(
    c: &Connection,
    user: UserId,
    limit: usize,
) -> Result<Vec<(i64, MessageRecord)>> {
    let cursor = super::users::user(c, user)?.map_or(0, |user| user.plain_cursor);
    let mut query = c.prepare_cached(UNDELIVERED)?;
    let rows = query
        .query_map((user, cursor, limit), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (cursor, conversation, seq) = row?;
        let message = messages::at(c, conversation, seq)?;
        found.extend(message.map(|message| (cursor, message)));
    }
    found.reverse();
    Ok(found)
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
