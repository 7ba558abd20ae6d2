//! Dumps of this engine: the lines of [`DumpRow`], read and written in slices.

use rusqlite::{Connection, Row, ToSql};
use serde::de::DeserializeOwned;

use super::super::{DumpRow, Result, ServerKey, StoreError};
use super::{
    Doc, calls, conversations, count, erase, facts, log, marks, messages, recordings, secrets,
    select, users, webhooks,
};

/// Rows a slice.
const SLICE: usize = 1000;

/// How far a dump has come: the table, and the rows of it that are out.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    table: usize,
    offset: usize,
}

type Read = fn(&Row<'_>) -> rusqlite::Result<DumpRow>;

fn tables() -> [(String, Read); 18] {
    [
        (select(users::COLUMNS, "FROM users ORDER BY user_id"), |row| Ok(DumpRow::User(users::from_row(row, 0)?))),
        ("SELECT doc FROM devices ORDER BY user_id, device_id".into(), |row| doc(row, DumpRow::Device)),
        (
            "SELECT conv, kind, title, member_count, seq, last_id, last_at, last_kind, preview, created_at
             FROM conversations ORDER BY conv"
                .into(),
            |row| Ok(DumpRow::Conversation(conversations::conversation_from(row)?)),
        ),
        (
            "SELECT conv, user_id, joined_at, delivered, read, unread, archived, last_activity FROM members ORDER BY conv, user_id"
                .into(),
            |row| Ok(DumpRow::Member(conversations::member_from(row, 0)?)),
        ),
        (select(messages::COLUMNS, "FROM messages ORDER BY conv, seq"), |row| {
            Ok(DumpRow::Message(messages::from_row(row)?))
        }),
        ("SELECT from_user, client_id, conv, seq, at FROM client_ids ORDER BY from_user, client_id".into(), |row| {
            let (from, client_id, conversation) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(DumpRow::ClientId { from, client_id, conversation, seq: row.get(3)?, at: row.get(4)? })
        }),
        ("SELECT kind, user_id, up_to, at, conv FROM marks ORDER BY conv, kind, user_id, up_to".into(), |row| {
            Ok(DumpRow::Mark { conversation: row.get(4)?, mark: marks::from_row(row)? })
        }),
        (select(log::COLUMNS, "FROM log ORDER BY user_id, cursor"), |row| Ok(DumpRow::Log(log::from_row(row)?))),
        ("SELECT doc FROM calls ORDER BY id".into(), |row| doc(row, DumpRow::Call)),
        ("SELECT user_id, call, outgoing, missed FROM call_members ORDER BY user_id, call_at, call".into(), |row| {
            let (user, call, outgoing, missed) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(DumpRow::CallMember { user, call, outgoing, missed })
        }),
        ("SELECT doc FROM jobs ORDER BY id".into(), |row| doc(row, DumpRow::Job)),
        ("SELECT doc FROM recordings ORDER BY id".into(), |row| doc(row, DumpRow::Recording)),
        ("SELECT position, doc FROM facts ORDER BY position".into(), |row| Ok(DumpRow::Fact(facts::from_row(row)?))),
        ("SELECT name, position FROM fact_cursors ORDER BY name".into(), |row| {
            Ok(DumpRow::FactCursor { name: row.get(0)?, position: row.get(1)? })
        }),
        ("SELECT doc FROM room_tokens ORDER BY hash".into(), |row| doc(row, DumpRow::RoomToken)),
        ("SELECT name, key FROM server_keys ORDER BY name".into(), |row| {
            Ok(DumpRow::ServerKey(ServerKey { name: row.get(0)?, key: row.get(1)? }))
        }),
        ("SELECT doc FROM deliveries ORDER BY id".into(), |row| doc(row, DumpRow::Delivery)),
        ("SELECT doc FROM webhook_endpoints ORDER BY name".into(), |row| doc(row, DumpRow::Endpoint)),
    ]
}

fn doc<T: DeserializeOwned>(row: &Row<'_>, into: fn(T) -> DumpRow) -> rusqlite::Result<DumpRow> {
    let Doc(record) = row.get(0)?;
    Ok(into(record))
}

/// The next lines of a dump, and where to go on.
pub(super) fn slice(c: &Connection, at: &Position) -> Result<(Vec<String>, Option<Position>)> {
    let tables = tables();
    let Some((sql, read)) = tables.get(at.table) else { return Ok((Vec::new(), None)) };
    let mut query = c.prepare_cached(&format!("{sql} LIMIT ?1 OFFSET ?2"))?;
    let rows = query.query_map((SLICE, at.offset), read)?;
    let lines = rows.map(|line| Ok(serde_json::to_string(&line?)?)).collect::<Result<Vec<_>>>()?;
    let next = if lines.len() == SLICE {
        Position { table: at.table, offset: at.offset + SLICE }
    } else {
        Position { table: at.table + 1, offset: 0 }
    };
    Ok((lines, Some(next)))
}

pub(super) fn refuse_unless_empty(c: &Connection) -> Result<()> {
    let filled = c.prepare_cached("SELECT 1 FROM users LIMIT 1")?.exists([])?;
    if filled { Err(StoreError::Conflict("store")) } else { Ok(()) }
}

pub(super) fn take(c: &Connection, lines: &[String]) -> Result<()> {
    // Everything is parsed before anything is written, so that a bad line leaves no half of a slice.
    let rows: Vec<DumpRow> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<serde_json::Result<_>>()?;
    rows.into_iter().try_for_each(|row| put(c, row))
}

fn put(c: &Connection, row: DumpRow) -> Result<()> {
    match row {
        DumpRow::User(user) => users::put(c, &user).and_then(|()| count(c, "users", 1)),
        DumpRow::Device(device) => users::save_device(c, &device),
        DumpRow::Conversation(conversation) => conversations::put_conversation(c, &conversation),
        DumpRow::Member(member) => conversations::put_member(c, &member),
        DumpRow::Message(message) => {
            messages::put(c, &message).and_then(|()| count(c, "messages", 1))
        }
        DumpRow::ClientId { from, client_id, conversation, seq, at } => execute(
            c,
            "INSERT INTO client_ids VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&from, &client_id, &conversation, &seq, &at],
        ),
        DumpRow::Mark { conversation, mark } => marks::put(c, conversation, mark),
        DumpRow::Log(entry) => log::put(c, &entry),
        DumpRow::Call(call) => calls::put(c, &call).and_then(|()| count(c, "calls", 1)),
        DumpRow::CallMember { user, call, outgoing, missed } => {
            let call = calls::call(c, call)?
                .ok_or_else(|| StoreError::Corrupt("a member of an unknown call".into()))?;
            calls::put_member(c, &call, user, outgoing, missed)
        }
        DumpRow::Job(job) => erase::save_job(c, &job),
        DumpRow::Recording(recording) => recordings::save(c, &recording),
        DumpRow::Fact(it) => facts::put(c, it.position, &it.fact),
        DumpRow::FactCursor { name, position } => facts::save_cursor(c, &name, position),
        DumpRow::RoomToken(token) => secrets::put_token(c, &token),
        DumpRow::ServerKey(key) => secrets::put_key(c, &key),
        DumpRow::Delivery(delivery) => webhooks::save(c, &delivery),
        DumpRow::Endpoint(endpoint) => webhooks::put_endpoint(c, &endpoint),
    }
}

fn execute(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<()> {
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
