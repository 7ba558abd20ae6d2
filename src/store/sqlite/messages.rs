//! Messages.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::{
    Anchor, Appended, LogEntry, MessageExtra, MessageRecord, NewMessage, Page, Result, StoreError,
    preview,
};
use super::conversations::{members, put_conversation, put_member};
use super::{Doc, Name, count, log, marks, select, users};
use crate::ids::{ConversationId, MessageId, UserId};

pub(super) fn append(c: &Connection, new: NewMessage) -> Result<Appended> {
    if let Some(earlier) = earlier_send(c, &new)? {
        return Ok(Appended { message: earlier, duplicate: true, cursors: Vec::new() });
    }
    if let Some(user) = new.addressee()
        && users::is_erased(c, user)?
    {
        return Err(StoreError::UnknownUser(user));
    }
    let (seq, members) = next_place(c, &new)?;
    let message = new.placed(seq);
    put(c, &message)?;
    remember_client_id(c, &message)?;
    let head = "UPDATE conversations SET seq = ?2, last_id = ?3, last_at = ?4, last_kind = ?5, preview = ?6 WHERE conv = ?1";
    let brief = preview(&message.content);
    let kind = message.kind.to_string();
    c.prepare_cached(head)?.execute((
        message.conversation,
        seq,
        message.id,
        message.at,
        kind,
        brief,
    ))?;
    count(c, "messages", 1)?;
    let cursors =
        members.into_iter().map(|user| notify(c, user, &message)).collect::<Result<_>>()?;
    Ok(Appended { message, duplicate: false, cursors })
}

/// The stored message of an earlier send with the same key.
fn earlier_send(c: &Connection, new: &NewMessage) -> Result<Option<MessageRecord>> {
    let Some(client_id) = &new.client_id else { return Ok(None) };
    let sql = "SELECT conv, seq FROM client_ids WHERE from_user = ?1 AND client_id = ?2";
    let place = c
        .prepare_cached(sql)?
        .query_row((new.from, client_id), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((conversation, seq)) = place else { return Ok(None) };
    let stored = at(c, conversation, seq)?
        .ok_or_else(|| StoreError::Corrupt("a client id without its message".into()))?;
    if new.is_repeat_of(&stored) { Ok(Some(stored)) } else { Err(StoreError::Conflict("clientId")) }
}

/// The number the message gets and who is notified of it. The first message makes a direct conversation.
fn next_place(c: &Connection, new: &NewMessage) -> Result<(i64, Vec<UserId>)> {
    let sql = "SELECT seq FROM conversations WHERE conv = ?1";
    let head: Option<i64> =
        c.prepare_cached(sql)?.query_row([new.conversation], |row| row.get(0)).optional()?;
    let Some((low, high)) = new.conversation.pair() else {
        let members = members(c, new.conversation)?.into_iter().map(|member| member.user).collect();
        return head.map(|seq| (seq + 1, members)).ok_or(StoreError::NotFound);
    };
    if head.is_none() {
        begin_direct(c, new, [low, high])?;
    }
    Ok((head.unwrap_or(0) + 1, vec![low, high]))
}

fn begin_direct(c: &Connection, new: &NewMessage, pair: [UserId; 2]) -> Result<()> {
    for user in pair {
        if !users::exists(c, user)? {
            return Err(StoreError::UnknownUser(user));
        }
    }
    put_conversation(c, &new.begun())?;
    pair.into_iter().try_for_each(|user| put_member(c, &new.begun_by(user)))
}

fn remember_client_id(c: &Connection, message: &MessageRecord) -> Result<()> {
    if let Some(client_id) = &message.client_id {
        let sql = "INSERT INTO client_ids (from_user, client_id, conv, seq, at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = (message.from, client_id, message.conversation, message.seq, message.at);
        c.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

fn notify(c: &Connection, user: UserId, message: &MessageRecord) -> Result<(UserId, i64)> {
    let unread = message.counts && user != message.from;
    let sql = "UPDATE members SET last_activity = ?3, unread = unread + ?4, archived = 0 WHERE conv = ?1 AND user_id = ?2";
    c.prepare_cached(sql)?.execute((message.conversation, user, message.at, unread))?;
    Ok((user, log::append(c, LogEntry::message(user, message))?))
}

pub(super) fn put(c: &Connection, m: &MessageRecord) -> Result<()> {
    let sql = "INSERT INTO messages (conv, seq, id, at, from_user, kind, content, client_id, counts, extra)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let extra = if m.extra.is_empty() { None } else { Some(serde_json::to_string(&m.extra)?) };
    let kind = m.kind.to_string();
    let values = (
        m.conversation,
        m.seq,
        m.id,
        m.at,
        m.from,
        kind,
        &m.content,
        &m.client_id,
        m.counts,
        extra,
    );
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Stores what has become of a message. A list that shows it as the newest shows the change.
pub(super) fn replace(c: &Connection, m: &MessageRecord) -> Result<()> {
    let sql = "UPDATE messages SET content = ?3, extra = ?4 WHERE conv = ?1 AND seq = ?2";
    let extra = if m.extra.is_empty() { None } else { Some(serde_json::to_string(&m.extra)?) };
    c.prepare_cached(sql)?.execute((m.conversation, m.seq, &m.content, extra))?;
    let sql = "UPDATE conversations SET preview = ?3 WHERE conv = ?1 AND seq = ?2";
    c.prepare_cached(sql)?.execute((m.conversation, m.seq, preview(&m.content)))?;
    Ok(())
}

pub(super) const COLUMNS: &str =
    "conv, seq, id, at, from_user, kind, content, client_id, counts, extra";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<MessageRecord> {
    let Name(kind) = row.get(5)?;
    let extra: Option<Doc<MessageExtra>> = row.get(9)?;
    Ok(MessageRecord {
        conversation: row.get(0)?,
        seq: row.get(1)?,
        id: row.get(2)?,
        at: row.get(3)?,
        from: row.get(4)?,
        kind,
        content: row.get(6)?,
        client_id: row.get(7)?,
        counts: row.get(8)?,
        extra: extra.map(|Doc(extra)| extra).unwrap_or_default(),
    })
}

pub(super) fn at(
    c: &Connection,
    conversation: ConversationId,
    seq: i64,
) -> Result<Option<MessageRecord>> {
    let sql = select(COLUMNS, "FROM messages WHERE conv = ?1 AND seq = ?2");
    Ok(c.prepare_cached(&sql)?.query_row((conversation, seq), from_row).optional()?)
}

pub(super) fn message(c: &Connection, id: MessageId) -> Result<Option<MessageRecord>> {
    let sql = select(COLUMNS, "FROM messages WHERE id = ?1");
    Ok(c.prepare_cached(&sql)?.query_row([id], from_row).optional()?)
}

pub(super) const PAGE_BEFORE: &str =
    "FROM messages WHERE conv = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
pub(super) const PAGE_AFTER: &str =
    "FROM messages WHERE conv = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

pub(super) fn page(
    c: &Connection,
    conversation: ConversationId,
    anchor: Anchor,
    limit: usize,
) -> Result<Page> {
    let (rest, from) = match anchor {
        Anchor::Newest => (PAGE_BEFORE, i64::MAX),
        Anchor::Before(seq) => (PAGE_BEFORE, seq),
        Anchor::After(seq) => (PAGE_AFTER, seq),
    };
    let mut query = c.prepare_cached(&select(COLUMNS, rest))?;
    let rows = query.query_map((conversation, from, limit), from_row)?;
    let mut messages = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    if rest == PAGE_BEFORE {
        messages.reverse();
    }
    let marks = match (messages.first(), messages.last()) {
        (Some(first), Some(last)) => marks::over(c, conversation, first.seq, last.seq)?,
        _ => Vec::new(),
    };
    let head = c.prepare_cached("SELECT seq FROM conversations WHERE conv = ?1")?;
    let head = { head }.query_row([conversation], |row| row.get(0)).optional()?.unwrap_or(0);
    Ok(Page { messages, marks, head })
}
