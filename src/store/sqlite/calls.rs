//! Calls.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};

use super::super::{
    CallEnd, CallFinished, CallHistory, CallRecord, LogEntry, Rating, Result, StoreError,
};
use super::{Doc, count, facts, log, messages};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, UserId};

pub(super) fn create(c: &Connection, call: CallRecord, facts: &[Fact]) -> Result<CallRecord> {
    if let Some(client_id) = &call.client_id {
        let sql = "SELECT doc FROM calls WHERE from_user = ?1 AND client_id = ?2";
        let first = c
            .prepare_cached(sql)?
            .query_row((call.from, client_id), |row| row.get(0))
            .optional()?;
        if let Some(Doc(first)) = first {
            return Ok(first);
        }
    }
    put(c, &call)?;
    for (user, outgoing) in [(call.from, true), (call.to, false)] {
        put_member(c, &call, user, outgoing, false)?;
    }
    count(c, "calls", 1)?;
    facts::append(c, facts)?;
    Ok(call)
}

pub(super) fn put(c: &Connection, call: &CallRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO calls (id, from_user, client_id, status, live, rev, created_at, doc)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (status, doc) = (call.status.to_string(), serde_json::to_string(call)?);
    let live = call.status.is_live();
    c.prepare_cached(sql)?.execute((
        call.id,
        call.from,
        &call.client_id,
        status,
        live,
        call.rev,
        call.created_at,
        doc,
    ))?;
    Ok(())
}

pub(super) fn put_member(
    c: &Connection,
    call: &CallRecord,
    user: UserId,
    outgoing: bool,
    missed: bool,
) -> Result<()> {
    let sql = "INSERT INTO call_members (user_id, call_at, call, peer, outgoing, missed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = (user, call.created_at, call.id, call.peer_of(user), outgoing, missed);
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn save(c: &Connection, call: &CallRecord, expected_rev: i64) -> Result<()> {
    let sql = "SELECT rev FROM calls WHERE id = ?1";
    let current: Option<i64> =
        c.prepare_cached(sql)?.query_row([call.id], |row| row.get(0)).optional()?;
    match current {
        None => Err(StoreError::NotFound),
        Some(current) if current != expected_rev => Err(StoreError::Stale { current }),
        Some(_) => put(c, call),
    }
}

pub(super) fn finish(c: &Connection, end: CallEnd) -> Result<CallFinished> {
    save(c, &end.call, end.expected_rev)?;
    let missed_cursor = match end.missed_by {
        Some(user) => {
            let sql = "UPDATE call_members SET missed = 1 WHERE user_id = ?1 AND call_at = ?2 AND call = ?3";
            c.prepare_cached(sql)?.execute((user, end.call.created_at, end.call.id))?;
            Some(log::append(c, LogEntry::missed(user, &end.call))?)
        }
        None => None,
    };
    let entry = end.entry.map(|entry| messages::append(c, entry)).transpose()?;
    facts::append(c, &end.facts)?;
    Ok(CallFinished { entry, missed_cursor })
}

pub(super) fn rate(c: &Connection, id: CallId, rating: Rating) -> Result<()> {
    let mut call = call(c, id)?.filter(|call| call.has(rating.user)).ok_or(StoreError::NotFound)?;
    call.ratings.retain(|earlier| earlier.user != rating.user);
    call.ratings.push(rating);
    put(c, &call)
}

pub(super) fn call(c: &Connection, id: CallId) -> Result<Option<CallRecord>> {
    let sql = "SELECT doc FROM calls WHERE id = ?1";
    let found = c.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    Ok(found.map(|Doc(call)| call))
}

pub(super) const LIVE: &str = "SELECT doc FROM calls WHERE live = 1 ORDER BY created_at, id";

pub(super) fn live(c: &Connection) -> Result<Vec<CallRecord>> {
    list(c, LIVE, &[])
}

pub(super) const HISTORY: &str = "SELECT calls.doc FROM call_members m CROSS JOIN calls ON calls.id = m.call
    WHERE m.user_id = ?1 AND (m.call_at, m.call) < (?2, ?3) AND m.call_at >= ?4
    AND (?5 IS NULL OR m.outgoing = ?5) AND (?6 IS NULL OR m.peer = ?6) AND (?7 IS NULL OR calls.status = ?7)
    ORDER BY m.call_at DESC, m.call DESC LIMIT ?8 OFFSET ?9";

pub(super) fn history(c: &Connection, query: &CallHistory) -> Result<Vec<CallRecord>> {
    let end = CallId::new(uuid::Uuid::max());
    let newest = (query.until.unwrap_or(Timestamp(i64::MAX)), end);
    let (at, id) = query.before.map_or(newest, |before| before.min(newest));
    let since = query.since.unwrap_or(Timestamp(i64::MIN));
    let status = query.status.map(|status| status.to_string());
    let values: &[&dyn ToSql] = &[
        &query.user,
        &at,
        &id,
        &since,
        &query.outgoing,
        &query.with,
        &status,
        &query.limit,
        &query.skip,
    ];
    list(c, HISTORY, values)
}

pub(super) const MISSED: &str = "SELECT calls.doc FROM call_members m CROSS JOIN calls ON calls.id = m.call
    WHERE m.user_id = ?1 AND m.missed = 1 AND m.call_at >= ?2 ORDER BY m.call_at DESC, m.call DESC LIMIT ?3";

pub(super) fn missed(
    c: &Connection,
    user: UserId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<CallRecord>> {
    list(c, MISSED, &[&user, &since, &limit])
}

pub(super) fn ack_missed(c: &Connection, user: UserId, ids: &[CallId]) -> Result<()> {
    for id in ids {
        let Some(call) = call(c, *id)?.filter(|call| call.has(user)) else { continue };
        let sql =
            "UPDATE call_members SET missed = 0 WHERE user_id = ?1 AND call_at = ?2 AND call = ?3";
        c.prepare_cached(sql)?.execute((user, call.created_at, call.id))?;
    }
    Ok(())
}

fn list(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<CallRecord>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(call)| call)?)).collect()
}
