//! Conversations and their members.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::{ConversationRecord, Listed, MemberRecord, Result};
use super::{Name, select, users};
use crate::clock::Timestamp;
use crate::ids::{ConversationId, UserId};

const CONVERSATION: &str = "c.conv, c.kind, c.title, c.member_count, c.seq, c.last_id, c.last_at, c.last_kind, c.preview, c.created_at";

pub(super) fn conversation_from(row: &Row<'_>) -> rusqlite::Result<ConversationRecord> {
    let (Name(kind), Name(last_kind)) = (row.get(1)?, row.get(7)?);
    Ok(ConversationRecord {
        id: row.get(0)?,
        kind,
        title: row.get(2)?,
        member_count: row.get(3)?,
        seq: row.get(4)?,
        last_id: row.get(5)?,
        last_at: row.get(6)?,
        last_kind,
        preview: row.get(8)?,
        created_at: row.get(9)?,
    })
}

pub(super) fn conversation(
    c: &Connection,
    id: ConversationId,
) -> Result<Option<ConversationRecord>> {
    let sql = select(CONVERSATION, "FROM conversations c WHERE c.conv = ?1");
    Ok(c.prepare_cached(&sql)?.query_row([id], conversation_from).optional()?)
}

pub(super) fn put_conversation(c: &Connection, r: &ConversationRecord) -> Result<()> {
    let sql = "INSERT INTO conversations
        (conv, kind, title, member_count, seq, last_id, last_at, last_kind, preview, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let (kind, last_kind) = (r.kind.to_string(), r.last_kind.to_string());
    let values = (
        r.id,
        kind,
        &r.title,
        r.member_count,
        r.seq,
        r.last_id,
        r.last_at,
        last_kind,
        &r.preview,
        r.created_at,
    );
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

const MEMBER: &str =
    "m.conv, m.user_id, m.joined_at, m.delivered, m.read, m.unread, m.archived, m.last_activity";

pub(super) fn member_from(row: &Row<'_>, at: usize) -> rusqlite::Result<MemberRecord> {
    Ok(MemberRecord {
        conversation: row.get(at)?,
        user: row.get(at + 1)?,
        joined_at: row.get(at + 2)?,
        delivered: row.get(at + 3)?,
        read: row.get(at + 4)?,
        unread: row.get(at + 5)?,
        archived: row.get(at + 6)?,
        last_activity: row.get(at + 7)?,
    })
}

pub(super) fn put_member(c: &Connection, m: &MemberRecord) -> Result<()> {
    let sql = "INSERT INTO members (conv, user_id, joined_at, delivered, read, unread, archived, last_activity)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = (
        m.conversation,
        m.user,
        m.joined_at,
        m.delivered,
        m.read,
        m.unread,
        m.archived,
        m.last_activity,
    );
    c.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn member(
    c: &Connection,
    id: ConversationId,
    user: UserId,
) -> Result<Option<MemberRecord>> {
    let sql = select(MEMBER, "FROM members m WHERE m.conv = ?1 AND m.user_id = ?2");
    Ok(c.prepare_cached(&sql)?.query_row((id, user), |row| member_from(row, 0)).optional()?)
}

pub(super) fn members(c: &Connection, id: ConversationId) -> Result<Vec<MemberRecord>> {
    let sql = select(MEMBER, "FROM members m WHERE m.conv = ?1 ORDER BY m.user_id");
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map([id], |row| member_from(row, 0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) const LIST: &str = "FROM members m CROSS JOIN conversations c ON c.conv = m.conv
    WHERE m.user_id = ?1 AND m.archived = ?2 AND (m.last_activity, m.conv) < (?3, ?4)
    ORDER BY m.last_activity DESC, m.conv DESC LIMIT ?5";

pub(super) fn conversations(
    c: &Connection,
    user: UserId,
    archived: bool,
    before: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> Result<Vec<Listed>> {
    let (at, id) = before.unwrap_or((Timestamp(i64::MAX), ConversationId::new(uuid::Uuid::max())));
    let mut query = c.prepare_cached(&select(&format!("{CONVERSATION}, {MEMBER}"), LIST))?;
    let rows = query.query_map((user, archived, at, id, limit), |row| {
        Ok(Listed {
            conversation: conversation_from(row)?,
            member: member_from(row, 10)?,
            peer: None,
        })
    })?;
    rows.map(|listed| {
        let mut listed = listed?;
        if let Some(peer) = listed.conversation.id.peer_of(user) {
            listed.peer = users::user(c, peer)?;
        }
        Ok(listed)
    })
    .collect()
}

pub(super) const UNREAD: &str =
    "SELECT conv, unread FROM members WHERE user_id = ?1 AND unread > 0";

pub(super) fn unread(c: &Connection, user: UserId) -> Result<Vec<(ConversationId, i64)>> {
    let mut query = c.prepare_cached(UNREAD)?;
    let rows = query.query_map([user], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.sort_unstable();
    Ok(found)
}
