//! What the store keeps: plain records, the same for every engine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::recording::{RecordingFile, RecordingMode, RecordingStatus, StopReason};
use crate::event::{
    CallEntry, CallStatus, CallType, ConversationKind, EndReason, Gender, MediaPath, MessageType,
    Platform, PresenceMode, Role,
};
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};

/// What the application says of a person; written at first sight of a token and when it changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Profile {
    pub user_id: UserId,
    /// Unique; the decimal user id where the application has no other.
    pub uid: String,
    pub email: Option<String>,
    /// `None` leaves a name that is there.
    pub name: Option<String>,
    pub mobile: Option<String>,
    pub gender: Option<Gender>,
    pub user_type: Option<String>,
    pub role: Role,
}

/// A person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct UserRecord {
    #[serde(flatten)]
    pub profile: Profile,
    pub status_text: Option<String>,
    pub presence: PresenceMode,
    pub disabled: bool,
    pub last_seen: Timestamp,
    /// Up to where a client without a cursor has been told.
    pub plain_cursor: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl UserRecord {
    /// What the application says of a person, put over what is known.
    pub(super) fn merge(known: Option<Self>, profile: Profile, at: Timestamp) -> Self {
        match known {
            Some(known) => {
                let name = profile.name.clone().or(known.profile.name);
                Self { profile: Profile { name, ..profile }, updated_at: at, ..known }
            }
            None => Self {
                profile,
                status_text: None,
                presence: PresenceMode::Auto,
                disabled: false,
                last_seen: at,
                plain_cursor: 0,
                created_at: at,
                updated_at: at,
            },
        }
    }

    /// What a person changed.
    pub(super) fn changed(mut self, settings: Settings, at: Timestamp) -> Self {
        self.profile.name = settings.name.or(self.profile.name);
        self.status_text =
            settings.status_text.or(self.status_text).filter(|text| !text.is_empty());
        self.presence = settings.presence.unwrap_or(self.presence);
        self.updated_at = at;
        self
    }

    /// The key by which the directory is ordered.
    pub fn name_key(&self) -> String {
        self.profile.name.as_deref().unwrap_or_default().to_lowercase()
    }

    /// Whether this is what is left of a person who was erased.
    pub fn is_erased(&self) -> bool {
        self.profile.uid == erased_uid(self.profile.user_id)
    }

    /// What is left of a person who was erased: a closed account whose id nobody can take.
    #[must_use]
    pub fn erased(self, at: Timestamp) -> Self {
        let user_id = self.profile.user_id;
        let profile = Profile {
            user_id,
            uid: erased_uid(user_id),
            email: None,
            name: None,
            mobile: None,
            gender: None,
            user_type: None,
            role: Role::User,
        };
        let (status_text, presence, disabled) = (None, PresenceMode::Auto, true);
        Self { profile, status_text, presence, disabled, updated_at: at, ..self }
    }
}

/// The uid of an account whose person was erased.
pub(super) fn erased_uid(user: UserId) -> String {
    format!("erased:{user}")
}

/// A device that a person registered. Its push tokens never leave the server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct DeviceRecord {
    pub user: UserId,
    pub device_id: String,
    pub platform: Platform,
    pub name: Option<String>,
    pub app_version: Option<String>,
    pub push_token: Option<String>,
    pub voip_token: Option<String>,
    pub last_seen: Timestamp,
}

/// What a person may change of oneself; `None` leaves it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Settings {
    pub name: Option<String>,
    pub status_text: Option<String>,
    pub presence: Option<PresenceMode>,
}

/// A slice of the directory in order of lower-case name, then id.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DirectoryPage {
    /// Start behind this (lower-case name, id).
    pub after: Option<(String, UserId)>,
    /// Beginning of the lower-case name.
    pub prefix: String,
    pub limit: usize,
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

    /// Who gets it in a direct conversation, when a person wrote it: nothing can be written to a person who was erased.
    pub fn addressee(&self) -> Option<UserId> {
        self.conversation.peer_of(self.from).filter(|_| self.kind.is_for_clients())
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

/// Messages, oldest first, with the marks that tell when the others got and read them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Page {
    pub messages: Vec<MessageRecord>,
    pub marks: Vec<Mark>,
    /// The number of the conversation's newest message.
    pub head: i64,
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
    /// Where the mark stands in the event log of each person told; empty when it did not move.
    pub cursors: Vec<(UserId, i64)>,
}

/// One entry of a user's event log, its content looked up.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LogRecord {
    pub cursor: i64,
    pub at: Timestamp,
    pub what: Logged,
}

/// What a log entry tells.
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

/// A call, as it survives a restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CallRecord {
    pub id: CallId,
    pub from: UserId,
    pub to: UserId,
    pub conversation: ConversationId,
    pub kind: CallType,
    pub status: CallStatus,
    pub end_reason: Option<EndReason>,
    pub rev: i64,
    pub media: MediaPath,
    pub client_id: Option<String>,
    pub created_at: Timestamp,
    pub ringing_at: Option<Timestamp>,
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// When the present state ends by itself.
    pub deadline: Option<Timestamp>,
    pub ended_by: Option<UserId>,
    pub answered_device: Option<String>,
    pub waiting: bool,
    /// What the two thought of it, once it was over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ratings: Vec<Rating>,
    /// In a call of several, the first, whose room all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<CallId>,
    /// When a side was lost, in a call that ended because it did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

/// What one of the two thought of a call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Rating {
    pub user: UserId,
    /// 1 (bad) to 5 (good).
    pub stars: u8,
    pub issues: Vec<String>,
    pub comment: Option<String>,
    pub at: Timestamp,
}

impl CallRecord {
    /// Whether `user` is one of the two.
    pub fn has(&self, user: UserId) -> bool {
        self.from == user || self.to == user
    }

    /// The first of the calls that it shares a room with.
    pub fn first(&self) -> CallId {
        self.group.unwrap_or(self.id)
    }

    /// Whether it cannot go on without `user`: in a call of several, whoever added somebody may leave.
    pub fn depends_on(&self, user: UserId) -> bool {
        self.group.is_none() || user == self.to
    }

    /// Those that it keeps in a call.
    pub fn bound(&self) -> impl Iterator<Item = UserId> + use<> {
        let (from, to, both) = (self.from, self.to, self.group.is_none());
        std::iter::once(to).chain(both.then_some(from))
    }

    /// The other one of the two.
    pub fn peer_of(&self, user: UserId) -> UserId {
        if user == self.from { self.to } else { self.from }
    }

    /// Whole seconds from acceptance to the end of the talk: the loss of a side that did not come back, else the end, or `now`
    /// while it runs.
    pub fn duration(&self, now: Timestamp) -> i64 {
        let end = self.lost_at.or(self.ended_at).unwrap_or(now);
        self.accepted_at.map_or(0, |start| i64::try_from(end.since(start).as_secs()).unwrap_or(0))
    }
}

/// Which calls of a user to list, newest first.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CallHistory {
    pub user: UserId,
    /// Start behind this call.
    pub before: Option<(Timestamp, CallId)>,
    pub skip: usize,
    pub status: Option<CallStatus>,
    /// Made by the user (`true`) or made to the user (`false`).
    pub outgoing: Option<bool>,
    pub with: Option<UserId>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: usize,
}

/// The end of a call and what it leaves behind.
#[derive(Clone, Debug)]
pub struct CallEnd {
    /// The call in its last state.
    pub call: CallRecord,
    /// The revision it is based on.
    pub expected_rev: i64,
    /// The line it leaves in the conversation.
    pub entry: Option<NewMessage>,
    /// Who missed it.
    pub missed_by: Option<UserId>,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// The outcome of ending a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallFinished {
    /// The line in the conversation.
    pub entry: Option<Appended>,
    /// Where the missed call stands in the event log of the one who missed it.
    pub missed_cursor: Option<i64>,
}

/// How far the erasure of a person's messages has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Erased {
    /// Where to go on; `None` when all are gone.
    pub next: Option<(ConversationId, i64)>,
    /// Conversations of the person that are not done.
    pub left: i64,
}

/// A piece of work that goes on after its request, and after a restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct JobRecord {
    pub id: JobId,
    /// Whose data is erased.
    pub user: UserId,
    /// The person's messages as well.
    pub messages: bool,
    pub state: JobState,
    /// Conversations in all, once they are counted.
    pub total: i64,
    /// Conversations that are not done.
    pub left: i64,
    /// How far the messages have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(ConversationId, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What has become of a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
}

impl JobState {
    /// Whether there is something left to do.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// A recording and what it left.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RecordingRecord {
    pub id: RecordingId,
    pub call: Option<CallId>,
    pub room: RoomId,
    /// Everybody who may have been recorded, and so may see it.
    pub members: Vec<UserId>,
    pub mode: RecordingMode,
    pub status: RecordingStatus,
    pub started_by: Option<UserId>,
    /// The owner of the room and its moderators when it began: they manage it, wherever they were.
    #[serde(default)]
    pub moderators: Vec<UserId>,
    pub started_at: Timestamp,
    pub stopped_at: Option<Timestamp>,
    pub stop_reason: Option<StopReason>,
    pub files: Vec<RecordingFile>,
    pub retention_until: Option<Timestamp>,
    pub updated_at: Timestamp,
}

/// Which recordings to list, newest first.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct RecordingQuery {
    /// Only those of this person.
    pub user: Option<UserId>,
    pub call: Option<CallId>,
    pub room: Option<RoomId>,
    pub status: Option<RecordingStatus>,
    pub since: Option<Timestamp>,
    /// Start behind this one; ids grow with time.
    pub before: Option<RecordingId>,
    pub limit: usize,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Totals {
    pub users: i64,
    pub messages: i64,
    pub calls: i64,
}
