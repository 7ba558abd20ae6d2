//! Facts and how far their consumers are.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::{FactPage, PlacedFact, Result};
use super::Doc;
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::UserId;

const HEAD: &str = "SELECT coalesce(max(position), 0) FROM facts";

/// Appends facts to a write: whatever else it does comes first, so that one that is refused has written nothing.
pub(super) fn append(c: &Connection, facts: &[Fact]) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let mut position: i64 = c.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
    for fact in facts {
        position += 1;
        put(c, position, fact)?;
    }
    Ok(())
}

pub(super) fn put(c: &Connection, position: i64, fact: &Fact) -> Result<()> {
    let sql = "INSERT INTO facts (position, at, data_of, doc) VALUES (?1, ?2, ?3, ?4)";
    let doc = serde_json::to_string(fact)?;
    c.prepare_cached(sql)?.execute((position, fact.at, fact.data_of(), doc))?;
    Ok(())
}

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<PlacedFact> {
    let Doc(fact) = row.get(1)?;
    Ok(PlacedFact { position: row.get(0)?, fact })
}

pub(super) const AFTER: &str =
    "SELECT position, doc FROM facts WHERE position > ?1 ORDER BY position LIMIT ?2";
pub(super) const FLOOR: &str = "SELECT position FROM facts ORDER BY position LIMIT 1";

pub(super) fn after(c: &Connection, position: i64, limit: usize) -> Result<FactPage> {
    let mut query = c.prepare_cached(AFTER)?;
    let rows = query.query_map((position, limit), from_row)?;
    let facts = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let head = c.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
    let floor = c.prepare_cached(FLOOR)?.query_row([], |row| row.get(0)).optional()?;
    Ok(FactPage { facts, head, floor: floor.unwrap_or(0) })
}

/// How many rows one call forgets or changes.
const SLICE: usize = 100;

pub(super) const OLDEST: &str =
    "SELECT position, at FROM facts WHERE position < ?1 ORDER BY position LIMIT ?2";

pub(super) fn prune(c: &Connection, before: Timestamp) -> Result<bool> {
    // The newest stays: it carries the positions on.
    let head: i64 = c.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
    let oldest = {
        let mut query = c.prepare_cached(OLDEST)?;
        let rows = query.query_map((head, SLICE), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<(i64, Timestamp)>>>()?
    };
    let old: Vec<_> = oldest.iter().take_while(|(_, at)| *at < before).collect();
    if let Some((last, _)) = old.last() {
        c.prepare_cached("DELETE FROM facts WHERE position <= ?1")?.execute([last])?;
    }
    Ok(old.len() == SLICE)
}

pub(super) const WITH_DATA_OF: &str =
    "SELECT position, doc FROM facts WHERE data_of = ?1 ORDER BY position LIMIT ?2";

/// Empties what some facts say of a person; true when there is more.
pub(super) fn erase(c: &Connection, user: UserId) -> Result<bool> {
    let found = {
        let mut query = c.prepare_cached(WITH_DATA_OF)?;
        let rows = query.query_map((user, SLICE), from_row)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    let sql = "UPDATE facts SET data_of = NULL, doc = ?2 WHERE position = ?1";
    let more = found.len() == SLICE;
    for PlacedFact { position, fact } in found {
        let doc = serde_json::to_string(&fact.with(serde_json::Value::Null))?;
        c.prepare_cached(sql)?.execute((position, doc))?;
    }
    Ok(more)
}

pub(super) fn cursor(c: &Connection, name: &str) -> Result<i64> {
    let sql = "SELECT position FROM fact_cursors WHERE name = ?1";
    let found = c.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

pub(super) fn save_cursor(c: &Connection, name: &str, position: i64) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO fact_cursors (name, position) VALUES (?1, ?2)";
    c.prepare_cached(sql)?.execute((name, position))?;
    Ok(())
}
