//! Dumps of this engine: the lines of [`Line`], read and written in slices.

use rusqlite::{Connection, Row, ToSql};

use super::super::{Line, Result, ServerKey, StoreError};
use super::{Doc, calls, count, erase, facts, log, marks, messages, recordings, secrets, users};

/// Rows a slice.
const SLICE: usize = 1000;

/// How far a dump has come: the table, and the rows of it that are out.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    table: usize,
    offset: usize,
}

type Read = fn(&Row<'_>) -> rusqlite::Result<Line>;

fn tables() -> [(String, Read); 16] {
    [
        (messages::select(users::COLUMNS, "FROM users ORDER BY user_id"), |row| Ok(Line::User(users::from_row(row, 0)?))),
        ("SELECT doc FROM devices ORDER BY user_id, device_id".into(), |row| {
            let Doc(device) = row.get(0)?;
            Ok(Line::Device(device))
        }),
        (
            "SELECT conv, kind, title, member_count, seq, last_id, last_at, last_kind, preview, created_at
             FROM conversations ORDER BY conv"
                .into(),
            |row| Ok(Line::Conversation(messages::conversation_from(row)?)),
        ),
        (
            "SELECT conv, user_id, joined_at, delivered, read, unread, archived, last_activity FROM members ORDER BY conv, user_id"
                .into(),
            |row| Ok(Line::Member(messages::member_from(row, 0)?)),
        ),
        (messages::select(messages::COLUMNS, "FROM messages ORDER BY conv, seq"), |row| {
            Ok(Line::Message(messages::from_row(row)?))
        }),
        ("SELECT from_user, client_id, conv, seq, at FROM client_ids ORDER BY from_user, client_id".into(), |row| {
            let (from, client_id, conversation) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Line::ClientId { from, client_id, conversation, seq: row.get(3)?, at: row.get(4)? })
        }),
        ("SELECT kind, user_id, up_to, at, conv FROM marks ORDER BY conv, kind, user_id, up_to".into(), |row| {
            Ok(Line::Mark { conversation: row.get(4)?, mark: marks::from_row(row)? })
        }),
        ("SELECT cursor, at, what, ref, number, by_user, user_id FROM log ORDER BY user_id, cursor".into(), |row| {
            let raw = log::raw_from(row)?;
            let (cursor, at, what, number, by) = (raw.cursor, raw.at, raw.what, raw.number, raw.by);
            Ok(Line::Log { user: row.get(6)?, cursor, at, what, place: raw.place, number, by })
        }),
        ("SELECT doc FROM calls ORDER BY id".into(), |row| {
            let Doc(call) = row.get(0)?;
            Ok(Line::Call(call))
        }),
        ("SELECT user_id, call, outgoing, missed FROM call_members ORDER BY user_id, call_at, call".into(), |row| {
            let (user, call, outgoing, missed) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Line::CallMember { user, call, outgoing, missed })
        }),
        ("SELECT doc FROM jobs ORDER BY id".into(), |row| {
            let Doc(job) = row.get(0)?;
            Ok(Line::Job(job))
        }),
        ("SELECT doc FROM recordings ORDER BY id".into(), |row| {
            let Doc(recording) = row.get(0)?;
            Ok(Line::Recording(recording))
        }),
        ("SELECT position, doc FROM facts ORDER BY position".into(), |row| Ok(Line::Fact(facts::from_row(row)?))),
        ("SELECT name, position FROM fact_cursors ORDER BY name".into(), |row| {
            Ok(Line::FactCursor { name: row.get(0)?, position: row.get(1)? })
        }),
        ("SELECT doc FROM room_tokens ORDER BY hash".into(), |row| {
            let Doc(token) = row.get(0)?;
            Ok(Line::RoomToken(token))
        }),
        ("SELECT name, key FROM server_keys ORDER BY name".into(), |row| {
            Ok(Line::ServerKey(ServerKey { name: row.get(0)?, key: row.get(1)? }))
        }),
    ]
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
    let lines: Vec<Line> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<serde_json::Result<_>>()?;
    lines.into_iter().try_for_each(|line| put(c, line))
}

fn put(c: &Connection, line: Line) -> Result<()> {
    match line {
        Line::User(user) => users::put(c, &user).and_then(|()| count(c, "users", 1)),
        Line::Device(device) => users::save_device(c, &device),
        Line::Conversation(conversation) => messages::put_conversation(c, &conversation),
        Line::Member(member) => messages::put_member(c, &member),
        Line::Message(message) => messages::put(c, &message).and_then(|()| count(c, "messages", 1)),
        Line::ClientId { from, client_id, conversation, seq, at } => execute(
            c,
            "INSERT INTO client_ids VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&from, &client_id, &conversation, &seq, &at],
        ),
        Line::Mark { conversation, mark } => marks::put(c, conversation, mark),
        Line::Log { user, cursor, at, what, place, number, by } => {
            let (what, place) = (log::number_of(what), place.as_bytes().to_vec());
            let values: &[&dyn ToSql] = &[&user, &cursor, &at, &what, &place, &number, &by];
            execute(c, "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", values)
        }
        Line::Call(call) => calls::put(c, &call).and_then(|()| count(c, "calls", 1)),
        Line::CallMember { user, call, outgoing, missed } => {
            let call = calls::call(c, call)?
                .ok_or_else(|| StoreError::Corrupt("a member of an unknown call".into()))?;
            calls::put_member(c, &call, user, outgoing, missed)
        }
        Line::Job(job) => erase::save_job(c, &job),
        Line::Recording(recording) => recordings::save(c, &recording),
        Line::Fact(it) => facts::put(c, it.position, &it.fact),
        Line::FactCursor { name, position } => facts::save_cursor(c, &name, position),
        Line::RoomToken(token) => secrets::put_token(c, &token),
        Line::ServerKey(key) => secrets::put_key(c, &key),
    }
}

fn execute(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<()> {
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
