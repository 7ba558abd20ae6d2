//! Delivered and read marks: where they stand is in the member's row; how they moved says when.

use rusqlite::{Connection, Row};

use super::super::{LogEntry, Mark, MarkKind, Marked, Result, StoreError};
use super::{conversations, log};
use crate::ids::{ConversationId, UserId};

impl MarkKind {
    fn number(self) -> i64 {
        match self {
            Self::Delivered => 0,
            Self::Read => 1,
        }
    }

    fn from_number(number: i64) -> Self {
        if number == 0 { Self::Delivered } else { Self::Read }
    }
}

pub(super) fn set(c: &Connection, conversation: ConversationId, mark: Mark) -> Result<Marked> {
    let member = conversations::member(c, conversation, mark.user)?.ok_or(StoreError::NotFound)?;
    let head = conversations::conversation(c, conversation)?.ok_or(StoreError::NotFound)?.seq;
    let (up_to, stands) = match mark.kind {
        MarkKind::Delivered => (mark.up_to.min(head), member.delivered),
        MarkKind::Read => (mark.up_to.min(head), member.read),
    };
    if up_to <= stands {
        return Ok(Marked {
            up_to: stands,
            moved: false,
            unread: member.unread,
            cursors: Vec::new(),
        });
    }
    let mark = Mark { up_to, ..mark };
    let read = if mark.kind == MarkKind::Read { up_to } else { member.read };
    let unread = if mark.kind == MarkKind::Read {
        unread_after(c, conversation, mark.user, read)?
    } else {
        member.unread
    };
    let sql = "UPDATE members SET delivered = max(delivered, ?3), read = ?4, unread = ?5 WHERE conv = ?1 AND user_id = ?2";
    c.prepare_cached(sql)?.execute((conversation, mark.user, up_to, read, unread))?;
    put(c, conversation, mark)?;
    let cursors = notify(c, conversation, mark)?;
    Ok(Marked { up_to, moved: true, unread, cursors })
}

pub(super) const UNREAD_AFTER: &str =
    "SELECT count(*) FROM messages WHERE conv = ?1 AND seq > ?2 AND from_user <> ?3 AND counts = 1";

fn unread_after(
    c: &Connection,
    conversation: ConversationId,
    user: UserId,
    read: i64,
) -> Result<i64> {
    Ok(c.prepare_cached(UNREAD_AFTER)?.query_row((conversation, read, user), |row| row.get(0))?)
}

pub(super) fn put(c: &Connection, conversation: ConversationId, mark: Mark) -> Result<()> {
    let sql = "INSERT INTO marks (conv, kind, user_id, up_to, at) VALUES (?1, ?2, ?3, ?4, ?5)";
    c.prepare_cached(sql)?.execute((
        conversation,
        mark.kind.number(),
        mark.user,
        mark.up_to,
        mark.at,
    ))?;
    Ok(())
}

/// A delivery is news for the others; a read mark also for the reader's other devices.
fn notify(c: &Connection, conversation: ConversationId, mark: Mark) -> Result<Vec<(UserId, i64)>> {
    let members = conversations::members(c, conversation)?.into_iter().map(|member| member.user);
    let notified = members.filter(|user| *user != mark.user || mark.kind == MarkKind::Read);
    notified
        .map(|user| Ok((user, log::append(c, LogEntry::mark(user, conversation, mark))?)))
        .collect()
}

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark {
        kind: MarkKind::from_number(row.get(0)?),
        user: row.get(1)?,
        up_to: row.get(2)?,
        at: row.get(3)?,
    })
}

pub(super) const OVER: &str = "SELECT kind, user_id, up_to, at FROM marks
    WHERE conv = ?1 AND kind = ?2 AND user_id = ?3 AND up_to >= ?4 ORDER BY up_to";

/// The marks that say when messages `first ..= last` of a direct conversation were delivered and read.
pub(super) fn over(
    c: &Connection,
    conversation: ConversationId,
    first: i64,
    last: i64,
) -> Result<Vec<Mark>> {
    let mut found = Vec::new();
    let Some((low, high)) = conversation.pair() else { return Ok(found) };
    for kind in [MarkKind::Delivered, MarkKind::Read] {
        for user in [low, high] {
            let mut query = c.prepare_cached(OVER)?;
            for mark in query.query_map((conversation, kind.number(), user, first), from_row)? {
                let mark = mark?;
                found.push(mark);
                if mark.up_to >= last {
                    break;
                }
            }
        }
    }
    Ok(found)
}
