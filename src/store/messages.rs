//! Messages, and the event logs from which clients catch up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation as _;

use super::{ConversationRecord, LogPage, Mark, MemberRecord, Result};
use crate::clock::Timestamp;
use crate::event::{CallEntry, ConversationKind, MessageType};
use crate::ids::{ConversationId, MessageId, UserId};

/// What was said, and what each user missed.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Stores a message with its conversation head, its members' heads and their logs; a repeat of (`from`, `client_id`)
    /// gives the first one back, `Conflict("clientId")` if it says something else. `UnknownUser` for a peer that does not
    /// exist or was erased, `NotFound` for a group that does not. O(log n × (1 + members)).
    async fn append_message(&self, message: NewMessage) -> Result<Appended>;
    /// One message. O(log n).
    async fn message(&self, id: MessageId) -> Result<Option<MessageRecord>>;
    /// Messages of a conversation, oldest first, at most `limit`. O(log n + k).
    async fn messages(
        &self,
        conversation: ConversationId,
        anchor: Anchor,
        limit: usize,
    ) -> Result<Page>;
    /// A user's event log behind `cursor`. O(log n + k log n).
    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage>;
    /// The newest `limit` received messages that no device confirmed and that no client without a cursor was sent, oldest
    /// first, with their cursors. O(log n + k log n).
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>>;
}

/// A message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct MessageRecord {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub seq: i64,
    pub at: Timestamp,
    pub from: UserId,
    pub kind: MessageType,
    pub content: String,
    pub client_id: Option<String>,
    /// Whether it counts as unread for others (a finished call does not, a missed one does).
    pub counts: bool,
    /// The rarely used rest.
    #[serde(flatten)]
    pub extra: MessageExtra,
}

/// The rarely used parts of a message, stored as one column.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct MessageExtra {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallEntry>,
    /// Edits so far; the version on the wire is one more.
    #[serde(skip_serializing_if = "is_zero")]
    pub edits: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

impl MessageExtra {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl MessageRecord {
    /// Whether erasing its sender takes something out of it: lines about calls say nothing personal.
    pub fn has_content(&self) -> bool {
        self.kind.is_for_clients() && self.extra.deleted_at.is_none()
    }

    /// The tombstone that keeps its place.
    #[must_use]
    pub fn erased(self, at: Timestamp) -> Self {
        let extra = MessageExtra { deleted_at: Some(at), ..MessageExtra::default() };
        Self { content: String::new(), extra, ..self }
    }
}

/// A message to be stored. A direct conversation comes into being with its first message.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewMessage {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub at: Timestamp,
    pub from: UserId,
    pub kind: MessageType,
    pub content: String,
    pub client_id: Option<String>,
    pub counts: bool,
    pub extra: MessageExtra,
}

impl NewMessage {
    /// The message in its place.
    pub(super) fn placed(self, seq: i64) -> MessageRecord {
        MessageRecord {
            id: self.id,
            conversation: self.conversation,
            seq,
            at: self.at,
            from: self.from,
            kind: self.kind,
            content: self.content,
            client_id: self.client_id,
            counts: self.counts,
            extra: self.extra,
        }
    }

    /// The direct conversation that this message, its first, brings into being.
    pub(super) fn begun(&self) -> ConversationRecord {
        ConversationRecord {
            id: self.conversation,
            kind: ConversationKind::Direct,
            title: None,
            member_count: 2,
            seq: 0,
            last_id: None,
            last_at: self.at,
            last_kind: self.kind,
            preview: String::new(),
            created_at: self.at,
        }
    }

    /// The place of `user` in it.
    pub(super) fn begun_by(&self, user: UserId) -> MemberRecord {
        MemberRecord {
            conversation: self.conversation,
            user,
            joined_at: self.at,
            delivered: 0,
            read: 0,
            unread: 0,
            archived: false,
            last_activity: self.at,
        }
    }

    /// Whether `stored` is this message, sent before.
    pub fn is_repeat_of(&self, stored: &MessageRecord) -> bool {
        self.conversation == stored.conversation
            && self.kind == stored.kind
            && self.content == stored.content
            && self.extra.reply_to == stored.extra.reply_to
    }
}

/// The outcome of storing a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// The message as it is stored, now or by an earlier send.
    pub message: MessageRecord,
    /// It was there already.
    pub duplicate: bool,
    /// Where it stands in the event log of each member; empty for a duplicate.
    pub cursors: Vec<(UserId, i64)>,
}

/// Which messages of a conversation to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Anchor {
    /// The newest.
    Newest,
    /// Those before this number.
    Before(i64),
    /// Those after this number.
    After(i64),
}

/// Messages, oldest first, with the marks that say when the others got and read them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Page {
    pub messages: Vec<MessageRecord>,
    pub marks: Vec<Mark>,
    /// The number of the conversation's newest message.
    pub head: i64,
}

/// Characters of a preview.
const PREVIEW: usize = 200;

/// At most 200 characters of a message for lists, cut between what readers see as characters (UAX #29); a first one that is longer
/// than that is cut inside.
pub fn preview(content: &str) -> String {
    let mut left = PREVIEW;
    let fits = |cluster: &&str| {
        let rest = left.checked_sub(cluster.chars().count());
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let whole: String = content.graphemes(true).take_while(fits).collect();
    match whole.is_empty() {
        true => content.chars().take(PREVIEW).collect(),
        false => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::preview;

    #[test]
    fn a_preview_ends_between_what_readers_see_as_characters() {
        let begin = "x".repeat(199);
        for cluster in ["🇪🇹", "👨\u{200D}👩\u{200D}👧", "👍🏽", "e\u{301}", "क्षि"]
        {
            assert_eq!(preview(&format!("{begin}{cluster} and more")), begin, "{cluster}");
            let fits = format!("{}{cluster}", "x".repeat(200 - cluster.chars().count()));
            assert_eq!(preview(&format!("{fits} and more")), fits);
        }
        assert_eq!(preview(&"é".repeat(300)).chars().count(), 200);
        assert_eq!(preview(&format!("e{}", "\u{301}".repeat(500))).chars().count(), 200);
        assert_eq!(preview(""), "");
    }
}
