//! Recordings.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};

use super::super::{RecordingQuery, RecordingRecord, Result, StoreError};
use super::Doc;
use crate::clock::Timestamp;
use crate::ids::RecordingId;

pub(super) fn save(c: &Connection, recording: &RecordingRecord) -> Result<()> {
    let sql =
        "INSERT OR REPLACE INTO recordings (id, call, room, status, open, started_at, until, doc)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (status, doc) = (recording.status.word(), serde_json::to_string(recording)?);
    c.prepare_cached(sql)?.execute((
        recording.id,
        recording.call,
        recording.room.to_string(),
        status,
        recording.status.is_open(),
        recording.started_at,
        recording.retention_until,
        doc,
    ))?;
    let sql = "INSERT OR IGNORE INTO recording_members (user_id, recording) VALUES (?1, ?2)";
    for user in &recording.members {
        c.prepare_cached(sql)?.execute((user, recording.id))?;
    }
    Ok(())
}

pub(super) fn recording(c: &Connection, id: RecordingId) -> Result<Option<RecordingRecord>> {
    let sql = "SELECT doc FROM recordings WHERE id = ?1";
    let found = c.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    Ok(found.map(|Doc(recording)| recording))
}

pub(super) const OF_USER: &str = "SELECT r.doc FROM recording_members m CROSS JOIN recordings r ON r.id = m.recording
    WHERE m.user_id = ?7 AND m.recording < ?1 AND (?2 IS NULL OR r.call = ?2) AND (?3 IS NULL OR r.room = ?3)
    AND (?4 IS NULL OR r.status = ?4) AND (?5 IS NULL OR r.started_at >= ?5) ORDER BY m.recording DESC LIMIT ?6";
pub(super) const OF_CALL: &str = "SELECT doc FROM recordings WHERE call = ?2 AND call IS NOT NULL AND id < ?1
    AND (?3 IS NULL OR room = ?3) AND (?4 IS NULL OR status = ?4) AND (?5 IS NULL OR started_at >= ?5)
    ORDER BY id DESC LIMIT ?6";
pub(super) const ALL: &str = "SELECT doc FROM recordings WHERE id < ?1 AND (?2 IS NULL OR call = ?2)
    AND (?3 IS NULL OR room = ?3) AND (?4 IS NULL OR status = ?4) AND (?5 IS NULL OR started_at >= ?5)
    ORDER BY id DESC LIMIT ?6";

pub(super) fn list(c: &Connection, query: &RecordingQuery) -> Result<Vec<RecordingRecord>> {
    let before = query.before.unwrap_or(RecordingId::new(uuid::Uuid::max()));
    let room = query.room.as_ref().map(ToString::to_string);
    let status = query.status.map(|status| status.word());
    let all: [&dyn ToSql; 6] = [&before, &query.call, &room, &status, &query.since, &query.limit];
    match &query.user {
        Some(user) => {
            let values: Vec<&dyn ToSql> = all.into_iter().chain([user as &dyn ToSql]).collect();
            select(c, OF_USER, &values)
        }
        None if query.call.is_some() => select(c, OF_CALL, &all),
        None => select(c, ALL, &all),
    }
}

pub(super) const OPEN: &str = "SELECT doc FROM recordings WHERE open = 1 ORDER BY id";

pub(super) fn open(c: &Connection) -> Result<Vec<RecordingRecord>> {
    select(c, OPEN, &[])
}

pub(super) const EXPIRED: &str = "SELECT doc FROM recordings WHERE until <= ?1 AND until IS NOT NULL ORDER BY until, id LIMIT ?2";

pub(super) fn expired(
    c: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<RecordingRecord>> {
    select(c, EXPIRED, &[&now, &limit])
}

pub(super) fn remove(c: &Connection, id: RecordingId) -> Result<()> {
    let recording = recording(c, id)?.ok_or(StoreError::NotFound)?;
    let sql = "DELETE FROM recording_members WHERE user_id = ?1 AND recording = ?2";
    for user in &recording.members {
        c.prepare_cached(sql)?.execute((user, id))?;
    }
    c.prepare_cached("DELETE FROM recordings WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn select(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<RecordingRecord>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(recording)| recording)?)).collect()
}
