//! Conversations, their members, and the marks that members set in them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Result, UserRecord};
use crate::clock::Timestamp;
use crate::event::{ConversationKind, MessageType};
use crate::ids::{ConversationId, MessageId, UserId};

/// Who talks to whom, and how far each has read.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// One conversation. O(log n).
    async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRecord>>;
    /// The place of `user` in a conversation. O(log n).
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<MemberRecord>>;
    /// Everyone in a conversation, in order of id. O(log n + k).
    async fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>>;
    /// A member's conversations by last activity, newest first, behind `before`. O(log n + k log n).
    async fn conversations(
        &self,
        user: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Listed>>;
    /// Conversations with unread messages and how many. O(conversations of the user).
    async fn unread(&self, user: UserId) -> Result<Vec<(ConversationId, i64)>>;
    /// Moves a member's delivered or read mark up to `up_to` (the head at most), never back; `NotFound` for strangers.
    /// O(log n + messages of others behind the mark).
    async fn mark(&self, conversation: ConversationId, mark: Mark) -> Result<Marked>;
}

/// A conversation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct ConversationRecord {
    pub id: ConversationId,
    pub kind: ConversationKind,
    pub title: Option<String>,
    pub member_count: i64,
    /// The number of the newest message.
    pub seq: i64,
    pub last_id: Option<MessageId>,
    pub last_at: Timestamp,
    pub last_kind: MessageType,
    /// At most 200 characters of the newest message.
    pub preview: String,
    pub created_at: Timestamp,
}

/// One person's place in a conversation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct MemberRecord {
    pub conversation: ConversationId,
    pub user: UserId,
    pub joined_at: Timestamp,
    pub delivered: i64,
    pub read: i64,
    pub unread: i64,
    pub archived: bool,
    pub last_activity: Timestamp,
}

/// A conversation as a member's list shows it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Listed {
    pub conversation: ConversationRecord,
    pub member: MemberRecord,
    /// The other person of a direct conversation.
    pub peer: Option<UserRecord>,
}

/// A mark that a member set: delivered or read, everything up to a number, at a time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Mark {
    pub user: UserId,
    pub kind: MarkKind,
    pub up_to: i64,
    pub at: Timestamp,
}

/// Delivered or read; read implies delivered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum MarkKind {
    Delivered,
    Read,
}

/// The outcome of moving a mark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Marked {
    /// Where the mark stands.
    pub up_to: i64,
    /// Whether it moved.
    pub moved: bool,
    /// What the member has left to read.
    pub unread: i64,
    /// Where the mark stands in the event log of each person who is notified; empty when it did not move.
    pub cursors: Vec<(UserId, i64)>,
}
