//! What a client that comes back has missed: entries of its user's log, with what they point at.

use rusqlite::{Connection, OptionalExtension};

use super::super::entry::LogTarget;
use super::super::{LogEntry, LogPage, LogRecord, Logged, MessageRecord, Result};
use super::{calls, log, marks, messages, select, users};
use crate::ids::UserId;

pub(super) const PAGE: &str =
    "FROM log WHERE user_id = ?1 AND cursor > ?2 ORDER BY cursor LIMIT ?3";

pub(super) fn page(c: &Connection, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
    let mut query = c.prepare_cached(&select(log::COLUMNS, PAGE))?;
    let rows = query.query_map((user, cursor, limit), log::from_row)?;
    let entries = rows.map(|entry| resolve(c, &entry?)).collect::<Result<Vec<_>>>()?;
    let floor = "SELECT cursor FROM log WHERE user_id = ?1 ORDER BY cursor LIMIT 1";
    let floor =
        { c.prepare_cached(floor)? }.query_row([user], |row| row.get(0)).optional()?.unwrap_or(0);
    Ok(LogPage { entries, head: log::head(c, user)?, floor })
}

fn resolve(c: &Connection, entry: &LogEntry) -> Result<LogRecord> {
    let gone = || entry.dangling();
    let what = match entry.target() {
        LogTarget::Message(conversation, seq) => {
            let message = messages::at(c, conversation, seq)?.ok_or_else(gone)?;
            Logged::Message(message, marks::over(c, conversation, seq, seq)?)
        }
        LogTarget::Mark(conversation, mark) => Logged::Mark { conversation, mark },
        LogTarget::Missed(id) => Logged::Missed(calls::call(c, id)?.ok_or_else(gone)?),
    };
    Ok(entry.resolved(what))
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
    let cursor = users::user(c, user)?.map_or(0, |user| user.legacy_cursor);
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
