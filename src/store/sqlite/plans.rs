//! How SQLite answers each query that a client can cause; a test reads this and fails on a scan or a sort.

use std::path::Path;

use rusqlite::Connection;

use super::super::Result;
use super::{
    calls, conversations, erase, facts, log, marks, messages, recordings, replay, secrets, select,
    users, webhooks,
};

/// Each query with the lines of its `EXPLAIN QUERY PLAN`, for the store in `path`.
pub fn explain(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let connection = Connection::open(path)?;
    queries().into_iter().map(|sql| Ok((sql.clone(), plan(&connection, &sql)?))).collect()
}

fn queries() -> Vec<String> {
    let messages = |rest| select(messages::COLUMNS, rest);
    vec![
        users::DIRECTORY.into(),
        users::DEVICES.into(),
        users::CONTACTS_BY_CONVERSATION.into(),
        users::CONTACTS_BY_CALL.into(),
        "SELECT doc FROM users WHERE user_id = ?1".into(),
        "SELECT user_id FROM users WHERE uid = ?1".into(),
        messages(messages::PAGE_BEFORE),
        messages(messages::PAGE_AFTER),
        messages("FROM messages WHERE id = ?1"),
        select("1", conversations::LIST),
        conversations::UNREAD.into(),
        marks::OVER.into(),
        marks::UNREAD_AFTER.into(),
        select(log::COLUMNS, replay::PAGE),
        replay::UNDELIVERED.into(),
        log::NEXT_USER.into(),
        log::RETIRE_LOG.into(),
        log::RETIRE_KEYS.into(),
        erase::OPEN_JOBS.into(),
        calls::LIVE.into(),
        calls::HISTORY.into(),
        calls::MISSED.into(),
        recordings::OF_USER.into(),
        recordings::OF_CALL.into(),
        recordings::ALL.into(),
        recordings::OPEN.into(),
        recordings::EXPIRED.into(),
        facts::AFTER.into(),
        facts::OLDEST.into(),
        facts::WITH_DATA_OF.into(),
        secrets::OF_ROOM.into(),
        secrets::REMOVE_OF_ROOM.into(),
        secrets::PRUNE.into(),
        secrets::ERASE.into(),
        webhooks::PENDING.into(),
        webhooks::OF_STATE.into(),
        webhooks::ALL_DELIVERIES.into(),
        webhooks::PRUNE_DELIVERIES.into(),
    ]
}

fn plan(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let mut rows = explained.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(row.get(3)?);
    }
    Ok(lines)
}
