//! Erasing a person, and the jobs that do it.

use rusqlite::{Connection, OptionalExtension};

use super::super::{Erased, JobRecord, Result, StoreError};
use super::{Doc, facts, messages, secrets, select, users};
use crate::clock::Timestamp;
use crate::ids::{ConversationId, JobId, UserId};

/// How many messages one call looks at.
const SLICE: usize = 500;

pub(super) fn user(c: &Connection, id: UserId, at: Timestamp) -> Result<()> {
    let erased = users::user(c, id)?.ok_or(StoreError::NotFound)?.erased(at);
    let holder = users::holder(c, &erased.profile.uid)?;
    if holder.is_some_and(|holder| holder != id) {
        return Err(StoreError::Conflict("uid"));
    }
    users::put(c, &erased)?;
    c.prepare_cached("DELETE FROM devices WHERE user_id = ?1")?.execute([id])?;
    secrets::erase_tokens(c, id)
}

/// Empties what some facts say of a person; true when there is more.
pub(super) fn facts(c: &Connection, id: UserId) -> Result<bool> {
    if users::exists(c, id)? { facts::erase(c, id) } else { Err(StoreError::NotFound) }
}

const FROM: &str = "SELECT min(conv) FROM members WHERE user_id = ?1 AND conv >= ?2";
const LEFT: &str = "SELECT count(*) FROM members WHERE user_id = ?1 AND conv >= ?2";

pub(super) fn messages(
    c: &Connection,
    user: UserId,
    after: Option<(ConversationId, i64)>,
    at: Timestamp,
) -> Result<Erased> {
    let (from, behind) = after.unwrap_or((ConversationId::new(uuid::Uuid::nil()), 0));
    let here: Option<ConversationId> =
        c.prepare_cached(FROM)?.query_row((user, from), |row| row.get(0))?;
    let Some(here) = here else { return Ok(Erased { next: None, left: 0 }) };
    let behind = if here == from { behind } else { 0 };
    let page = {
        let mut query = c.prepare_cached(&select(messages::COLUMNS, messages::PAGE_AFTER))?;
        let rows = query.query_map((here, behind, SLICE), messages::from_row)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let last = page.last().map(|message| message.seq);
    let full = page.len() == SLICE;
    for message in page {
        if message.from == user && message.has_content() {
            messages::replace(c, &message.erased(at))?;
        }
    }
    let next = match last {
        Some(seq) if full => Some((here, seq)),
        _ => here
            .uuid()
            .as_u128()
            .checked_add(1)
            .map(|next| (ConversationId::new(uuid::Uuid::from_u128(next)), 0)),
    };
    let next_from = next.map_or(ConversationId::new(uuid::Uuid::max()), |(next, _)| next);
    let left: i64 = c.prepare_cached(LEFT)?.query_row((user, next_from), |row| row.get(0))?;
    Ok(Erased { next: next.filter(|_| left > 0), left })
}

pub(super) fn save_job(c: &Connection, job: &JobRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO jobs (id, open, doc) VALUES (?1, ?2, ?3)";
    let doc = serde_json::to_string(job)?;
    c.prepare_cached(sql)?.execute((job.id, job.state.is_open(), doc))?;
    Ok(())
}

pub(super) fn job(c: &Connection, id: JobId) -> Result<Option<JobRecord>> {
    let sql = "SELECT doc FROM jobs WHERE id = ?1";
    let found = c.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    Ok(found.map(|Doc(job)| job))
}

pub(super) const OPEN_JOBS: &str = "SELECT doc FROM jobs WHERE open = 1 ORDER BY id";

pub(super) fn open_jobs(c: &Connection) -> Result<Vec<JobRecord>> {
    let mut query = c.prepare_cached(OPEN_JOBS)?;
    let rows = query.query_map([], |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(job)| job)?)).collect()
}
