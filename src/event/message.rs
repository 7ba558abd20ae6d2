//! Messages and conversations on the wire.

use std::collections::BTreeMap;

use derive_more::Display;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CallStatus, CallType, EndReason, User};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, MessageId, UserId};

/// What a message is. Clients write the first five; the server writes calls and notices.
#[derive(Clone, Copy, Debug, Default, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum MessageType {
    #[default]
    Text,
    Image,
    Audio,
    Video,
    File,
    Call,
    System,
}

impl MessageType {
    /// Whether a client may send it.
    pub fn is_for_clients(self) -> bool {
        !matches!(self, Self::Call | Self::System)
    }
}

/// A direct conversation of two, or a group.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ConversationKind {
    Direct,
    Group,
}

/// One message.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id.
    pub message_id: MessageId,
    /// The same, under the name that clients of a document store expect.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub mongo_id: Option<MessageId>,
    /// The sender's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Where it stands.
    pub conversation_id: ConversationId,
    /// Its number in the conversation, from 1 without gaps.
    pub seq: i64,
    /// Who wrote it.
    pub from_user_id: UserId,
    /// The other person of a direct conversation; null in a group.
    pub to_user_id: Option<UserId>,
    /// The text; empty when deleted.
    pub content: String,
    /// What it is.
    pub message_type: MessageType,
    /// Files that belong to it.
    #[schema(value_type = Vec<Object>)]
    pub attachments: Vec<serde_json::Value>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// People named in it.
    pub mentions: Vec<UserId>,
    /// Emoji to the people who gave it.
    pub reactions: BTreeMap<String, Vec<UserId>>,
    /// Whether the receiver has read it.
    pub is_read: bool,
    /// When the receiver read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// When it reached a device of the receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// Grows with each edit.
    pub version: i64,
    /// The last edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When the server stored it.
    pub created_at: Timestamp,
    /// The last change.
    pub updated_at: Timestamp,
    /// When it vanishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The call that this entry tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallEntry>,
    /// Where it stands in the receiving user's event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A finished call, as its conversation shows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallEntry {
    /// Which call.
    pub call_id: CallId,
    /// Voice or video.
    pub call_type: CallType,
    /// How it ended.
    pub status: CallStatus,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Seconds from acceptance to end.
    pub duration: i64,
}

/// A conversation as its member sees it. Direct ones carry the original's `_id`, the other person's user id.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// Its id.
    pub conversation_id: ConversationId,
    /// The other person's id.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub mongo_id: Option<UserId>,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationKind,
    /// A group's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many take part.
    pub member_count: i64,
    /// The beginning of the newest message.
    pub last_message: String,
    /// The newest message.
    pub last_message_id: Option<MessageId>,
    /// When it came.
    pub last_message_time: Timestamp,
    /// What it is.
    pub last_message_type: MessageType,
    /// Its number.
    pub last_seq: i64,
    /// How many messages of others stand behind the read mark.
    pub unread_count: i64,
    /// One's own read mark.
    pub read_up_to_seq: i64,
    /// Silent until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Put away.
    pub archived: bool,
    /// The other person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_user: Option<User>,
    /// When it began.
    pub created_at: Timestamp,
    /// The last change.
    pub updated_at: Timestamp,
}

/// `message:delivered`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// Where.
    pub conversation_id: ConversationId,
    /// Everything up to this number has arrived.
    pub up_to_seq: i64,
    /// To whom.
    pub by_user_id: UserId,
    /// When.
    pub delivered_at: Timestamp,
    /// Its place in the event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `message:read`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Who has read.
    pub by_user_id: UserId,
    /// Where.
    pub conversation_id: ConversationId,
    /// Everything up to this message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<MessageId>,
    /// The same by its number.
    pub up_to_seq: i64,
    /// When.
    pub read_at: Timestamp,
    /// Its place in the event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `message:markedRead`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MarkedRead {
    /// The other person of a direct conversation.
    pub with_user_id: Option<UserId>,
    /// Where.
    pub conversation_id: ConversationId,
    /// Everything up to this number.
    pub up_to_seq: i64,
    /// What is left.
    pub unread_count: i64,
    /// Its place in the event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `typing:start` and `typing:stop`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// Who types.
    pub from_user_id: UserId,
    /// Where.
    pub conversation_id: ConversationId,
}
