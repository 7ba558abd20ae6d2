//! Entries of users' event logs: small, and pointing at what they are about. What an entry says, how its kind is numbered and
//! named, and what it points at is decided here for every engine; how its fields are laid out is the engine's.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CallRecord, Mark, MarkKind, MessageRecord, StoreError};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, UserId};

/// What an entry of an event log points at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// A message, by conversation and number.
    Message,
    /// A delivery mark of `by`, by conversation and number.
    Delivered,
    /// A read mark of `by`, by conversation and number.
    Read,
    /// A missed call.
    Missed,
}

impl LogKind {
    /// Its number, where an engine stores numbers.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Message => 1,
            Self::Delivered => 2,
            Self::Read => 3,
            Self::Missed => 4,
        }
    }

    /// The kind of a number.
    pub(super) fn of_code(code: i64) -> Option<Self> {
        let all = [Self::Message, Self::Delivered, Self::Read, Self::Missed];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// An entry of a user's event log, as it is stored.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct LogEntry {
    /// Whose log it is.
    pub user: UserId,
    /// Its place there; gap-free.
    pub cursor: i64,
    pub at: Timestamp,
    pub what: LogKind,
    /// The conversation, or the missed call.
    pub place: Uuid,
    /// The number of the message, up to where the mark reaches, or the revision of the call.
    pub number: i64,
    /// The sender, the reader or the caller.
    pub by: UserId,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LogTarget {
    /// The message of this conversation and number.
    Message(ConversationId, i64),
    /// A mark; nothing is to be looked up for it.
    Mark(ConversationId, Mark),
    /// A missed call.
    Missed(CallId),
}

impl LogEntry {
    /// The entry of a message, to be put behind the last one of the log.
    pub(super) fn message(user: UserId, message: &MessageRecord) -> Self {
        let (place, number, by) = (message.conversation.uuid(), message.seq, message.from);
        Self { user, cursor: 0, at: message.at, what: LogKind::Message, place, number, by }
    }

    /// The entry of a mark, to be put behind the last one of the log.
    pub(super) fn mark(user: UserId, conversation: ConversationId, mark: Mark) -> Self {
        let what = match mark.kind {
            MarkKind::Delivered => LogKind::Delivered,
            MarkKind::Read => LogKind::Read,
        };
        let (place, number, by) = (conversation.uuid(), mark.up_to, mark.user);
        Self { user, cursor: 0, at: mark.at, what, place, number, by }
    }

    /// The entry of a missed call, to be put behind the last one of the log.
    pub(super) fn missed(user: UserId, call: &CallRecord) -> Self {
        let (place, number, by) = (call.id.uuid(), call.rev, call.from);
        Self { user, cursor: 0, at: call.updated_at, what: LogKind::Missed, place, number, by }
    }

    /// What it is about.
    pub(super) fn target(&self) -> LogTarget {
        let conversation = ConversationId::new(self.place);
        let mark = |kind| Mark { user: self.by, kind, up_to: self.number, at: self.at };
        match self.what {
            LogKind::Message => LogTarget::Message(conversation, self.number),
            LogKind::Delivered => LogTarget::Mark(conversation, mark(MarkKind::Delivered)),
            LogKind::Read => LogTarget::Mark(conversation, mark(MarkKind::Read)),
            LogKind::Missed => LogTarget::Missed(CallId::new(self.place)),
        }
    }

    /// The entry with what was looked up for it.
    pub(super) fn resolved(&self, what: Logged) -> LogRecord {
        LogRecord { cursor: self.cursor, at: self.at, what }
    }

    /// The error of an entry whose target is not there.
    pub(super) fn dangling(&self) -> StoreError {
        StoreError::Corrupt(format!("log entry {} points at nothing", self.cursor))
    }
}

/// One entry of a user's event log, its content looked up.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LogRecord {
    pub cursor: i64,
    pub at: Timestamp,
    pub what: Logged,
}

/// What a log entry is about, looked up.
#[derive(Clone, Debug, PartialEq)]
pub enum Logged {
    /// A message, to its sender or a receiver, with the marks on it.
    Message(MessageRecord, Vec<Mark>),
    /// `by` received or read.
    Mark {
        /// Where.
        conversation: ConversationId,
        /// What was moved.
        mark: Mark,
    },
    /// A call was missed.
    Missed(CallRecord),
}

/// A slice of a user's event log.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct LogPage {
    pub entries: Vec<LogRecord>,
    /// The newest cursor.
    pub head: i64,
    /// The oldest cursor still kept; 0 for an empty log.
    pub floor: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_a_number_that_no_other_has() {
        for kind in [LogKind::Message, LogKind::Delivered, LogKind::Read, LogKind::Missed] {
            assert_eq!(LogKind::of_code(kind.code()), Some(kind));
        }
        assert_eq!(LogKind::of_code(0), None);
        assert_eq!(LogKind::of_code(5), None);
    }
}
