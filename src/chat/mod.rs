//! Messages: sending, reading, receipts, typing, and what was missed while away.

mod sync;
#[cfg(test)]
mod tests;
mod typing;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::delivery::Delivery;
use crate::error::{Failure, Reason};
use crate::event::{Conversation, Message, MessageType};
use crate::ids::{ClientId, ConversationId, MessageId, UserId};
use crate::store::{
    Anchor, Mark, MarkKind, Marked, MessageExtra, MessageRecord, NewMessage, Page, Store,
    StoreError,
};
use crate::view::{View, cursor, open_cursor};

pub use sync::Missed;
use typing::Typists;

/// People that a message may name.
const MENTIONS: usize = 100;

/// Why a message, a mark or a page was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChatError {
    #[error("toUserId and content are required")]
    Incomplete(&'static str),
    #[error("This server does not do {0} yet; leave it out")]
    NotDone(&'static str),
    #[error("replyTo must name a message of the same conversation")]
    ReplyTo,
    #[error("You cannot write to yourself")]
    ToOneself,
    #[error("content has {have} {unit}; at most {limit} are allowed")]
    TooLong { have: usize, limit: usize, unit: &'static str },
    #[error("mentions may name {MENTIONS} people at most")]
    Mentions,
    #[error("messageType must be text, image, audio, video or file")]
    Type,
    #[error("You are not a member of this conversation")]
    NotAMember,
    #[error("There is no such message in your conversations")]
    NoMessage,
    #[error("clientId was used before with another message; take a new one for a new message")]
    ClientIdReused,
    #[error("This cursor was not given by this server; start again without it")]
    Cursor,
    #[error("Nobody has the user id {0}")]
    UnknownUser(UserId),
    #[error(
        "The event log no longer reaches back to this cursor; reload by REST and go on from the newest"
    )]
    CursorTooOld,
    #[error(transparent)]
    Store(StoreError),
}

impl Failure for ChatError {
    fn reason(&self) -> Reason {
        match self {
            Self::Incomplete(_)
            | Self::NotDone(_)
            | Self::ReplyTo
            | Self::ToOneself
            | Self::Type
            | Self::Mentions => Reason::InvalidData,
            Self::TooLong { .. } => Reason::ContentTooLong,
            Self::NotAMember => Reason::NotAMember,
            Self::NoMessage => Reason::NotFound,
            Self::ClientIdReused => Reason::ClientIdConflict,
            Self::Cursor => Reason::InvalidCursor,
            Self::UnknownUser(_) => Reason::UnknownUser,
            Self::CursorTooOld => Reason::CursorTooOld,
            Self::Store(StoreError::Corrupt(_)) => Reason::MessageFailed,
            Self::Store(error) => error.reason(),
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::ReplyTo => Some(json!({ "field": "replyTo" })),
            Self::Incomplete(field) | Self::NotDone(field) => Some(json!({ "field": field })),
            Self::ToOneself => Some(json!({ "field": "toUserId" })),
            Self::Type => Some(json!({ "field": "messageType" })),
            Self::Mentions => Some(json!({ "field": "mentions", "limit": MENTIONS })),
            Self::TooLong { limit, unit, .. } => {
                Some(json!({ "field": "content", "limit": limit, "unit": unit }))
            }
            _ => None,
        }
    }
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownUser(user) => Self::UnknownUser(user),
            StoreError::Conflict("clientId") => Self::ClientIdReused,
            StoreError::NotFound => Self::NotAMember,
            other => Self::Store(other),
        }
    }
}

/// What a chat method gives.
pub type Result<T> = std::result::Result<T, ChatError>;

/// Where something is to happen.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The direct conversation with this person.
    With(UserId),
    /// This conversation.
    Conversation(ConversationId),
}

/// A message as clients write it, over sockets and REST alike.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageSend)]
pub struct SendMessage {
    to_user_id: Option<UserId>,
    conversation_id: Option<ConversationId>,
    content: Option<String>,
    #[serde(default)]
    message_type: MessageType,
    client_id: Option<ClientId>,
    reply_to: Option<MessageId>,
    #[serde(default)]
    mentions: Vec<UserId>,
    /// Members of the contract that this server does not do yet: they are refused rather than left out in silence.
    #[serde(default)]
    #[schema(ignore)]
    ephemeral_seconds: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    attachments: Option<Value>,
}

impl SendMessage {
    /// The draft in it, when nothing is missing.
    pub fn draft(self) -> Result<Draft> {
        if self.ephemeral_seconds.is_some() {
            return Err(ChatError::NotDone("ephemeralSeconds"));
        }
        if self.attachments.is_some_and(|some| some.as_array().is_none_or(|some| !some.is_empty()))
        {
            return Err(ChatError::NotDone("attachments"));
        }
        let place =
            self.conversation_id.map(Place::Conversation).or(self.to_user_id.map(Place::With));
        if self.mentions.len() > MENTIONS {
            return Err(ChatError::Mentions);
        }
        Ok(Draft {
            place: place.ok_or(ChatError::Incomplete("toUserId"))?,
            content: self.content.ok_or(ChatError::Incomplete("content"))?,
            kind: self.message_type,
            client_id: self.client_id,
            reply_to: self.reply_to,
            mentions: self.mentions,
        })
    }
}

/// A message to be sent.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Draft {
    pub place: Place,
    pub content: String,
    pub kind: MessageType,
    pub client_id: Option<ClientId>,
    pub reply_to: Option<MessageId>,
    pub mentions: Vec<UserId>,
}

/// A stored message as its sender sees it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Sent {
    pub message: Message,
    pub duplicate: bool,
}

/// Messages with the cursors that lead on.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Pages {
    pub messages: Vec<Message>,
    /// Leads to older messages.
    pub prev_cursor: Option<String>,
    /// Leads to newer messages.
    pub next_cursor: Option<String>,
    pub limit: usize,
    /// The number of the conversation's newest message.
    pub head: i64,
}

/// A member's conversations with the cursor that leads on.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Conversations {
    pub conversations: Vec<Conversation>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

/// Where one's read mark stands.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ReadMark {
    pub conversation: ConversationId,
    pub with: Option<UserId>,
    pub up_to: i64,
    pub unread: i64,
    /// Whether it moved, and everybody concerned was told.
    pub moved: bool,
}

/// The chat.
pub struct Chat {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    limits: config::Limits,
    config: config::Chat,
    typists: Typists,
}

impl Chat {
    /// A chat under this configuration.
    pub fn new(
        config: &Config,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
    ) -> Self {
        let (limits, config) = (config.limits.clone(), config.chat.clone());
        Self { store, delivery, view, clock, limits, config, typists: Typists::default() }
    }

    /// Stores a message, then tells all devices of both sides. A repeat tells nobody again.
    pub async fn send(&self, from: UserId, draft: Draft) -> Result<Sent> {
        let conversation = locate(from, draft.place)?;
        self.check(&draft)?;
        if let Some(replied) = draft.reply_to {
            let replied = self.store.message(replied).await?;
            if replied.is_none_or(|replied| replied.conversation != conversation) {
                return Err(ChatError::ReplyTo);
            }
        }
        let new = NewMessage {
            id: MessageId::new(self.clock.id()),
            conversation,
            at: self.clock.now(),
            from,
            kind: draft.kind,
            content: draft.content,
            client_id: draft.client_id.map(ClientId::into_string),
            counts: true,
            extra: MessageExtra {
                reply_to: draft.reply_to,
                mentions: draft.mentions,
                ..MessageExtra::default()
            },
        };
        let appended = self.store.append_message(new).await?;
        self.view.notify(&appended);
        self.typists.forget(from, conversation);
        Ok(Sent {
            message: self.view.message(&appended.message, &[]),
            duplicate: appended.duplicate,
        })
    }

    fn check(&self, draft: &Draft) -> Result<()> {
        if draft.content.is_empty() {
            return Err(ChatError::Incomplete("content"));
        }
        if !draft.kind.is_for_clients() {
            return Err(ChatError::Type);
        }
        let (bytes, limit) = (draft.content.len(), self.limits.content_bytes);
        if bytes > limit {
            return Err(ChatError::TooLong { have: bytes, limit, unit: "bytes" });
        }
        let limit = self.limits.content_chars;
        // No text has more characters than bytes, so that most need no counting.
        let have = if bytes > limit { draft.content.chars().count() } else { bytes };
        if have > limit {
            Err(ChatError::TooLong { have, limit, unit: "characters" })
        } else {
            Ok(())
        }
    }

    /// A page by cursor: `before` leads to older messages, `after` to newer ones; neither: the newest.
    pub async fn page(
        &self,
        me: UserId,
        place: Place,
        before: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let anchor = match (before, after) {
            (Some(before), _) => Anchor::Before(seq_of(before)?),
            (None, Some(after)) => Anchor::After(seq_of(after)?),
            (None, None) => Anchor::Newest,
        };
        self.read(me, place, anchor, limit).await
    }

    /// The messages around one of them.
    pub async fn around(
        &self,
        me: UserId,
        place: Place,
        id: MessageId,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let conversation = locate(me, place)?;
        let message =
            self.store.message(id).await?.filter(|message| message.conversation == conversation);
        let seq = message.ok_or(ChatError::NoMessage)?.seq;
        let half = i64::try_from(self.limit(limit) / 2).unwrap_or(0);
        self.read(me, place, Anchor::After((seq - half - 1).max(0)), limit).await
    }

    /// The original's pages: the first holds the newest messages.
    pub async fn page_from_newest(
        &self,
        me: UserId,
        with: UserId,
        page: i64,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let size = i64::try_from(self.limit(limit)).unwrap_or(i64::MAX);
        if page <= 1 {
            return self.read(me, Place::With(with), Anchor::Newest, limit).await;
        }
        let head = self
            .store
            .conversation(locate(me, Place::With(with))?)
            .await?
            .map_or(0, |found| found.seq);
        let before = head.saturating_sub((page - 1).saturating_mul(size)).saturating_add(1);
        self.read(me, Place::With(with), Anchor::Before(before.max(0)), limit).await
    }

    /// The original's other pages: the first holds the oldest messages.
    pub async fn page_from_oldest(
        &self,
        me: UserId,
        with: UserId,
        page: i64,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let size = i64::try_from(self.limit(limit)).unwrap_or(i64::MAX);
        let after = (page.max(1) - 1).saturating_mul(size);
        self.read(me, Place::With(with), Anchor::After(after), limit).await
    }

    fn limit(&self, wanted: Option<usize>) -> usize {
        wanted.unwrap_or(self.limits.page).clamp(1, self.limits.page_max)
    }

    async fn read(
        &self,
        me: UserId,
        place: Place,
        anchor: Anchor,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let (conversation, limit) = (locate(me, place)?, self.limit(limit));
        let Page { messages, marks, head } =
            self.store.messages(conversation, anchor, limit).await?;
        let prev_cursor =
            messages.first().filter(|first| first.seq > 1).map(|first| seq_cursor(first.seq));
        let next_cursor =
            messages.last().filter(|last| last.seq < head).map(|last| seq_cursor(last.seq));
        let messages = messages.iter().map(|message| self.view.message(message, &marks)).collect();
        Ok(Pages { messages, prev_cursor, next_cursor, limit, head })
    }

    /// A member's conversations, the most recent first.
    pub async fn conversations(
        &self,
        me: UserId,
        archived: bool,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Conversations> {
        let limit = self.limit(limit);
        let before = after.map(conversation_position).transpose()?;
        let listed = self.store.conversations(me, archived, before, limit).await?;
        let last = listed.last().filter(|_| listed.len() == limit);
        let next_cursor = last.map(|last| {
            cursor(&[
                "c",
                &last.member.last_activity.0.to_string(),
                &last.conversation.id.to_string(),
            ])
        });
        let conversations =
            listed.iter().map(|listed| self.view.conversation(listed, me)).collect();
        Ok(Conversations { conversations, next_cursor, limit })
    }

    /// One conversation of a member.
    pub async fn conversation(&self, me: UserId, id: ConversationId) -> Result<Conversation> {
        let member = self.store.member(id, me).await?.ok_or(ChatError::NotAMember)?;
        let conversation = self.store.conversation(id).await?.ok_or(ChatError::NotAMember)?;
        let peer = match id.peer_of(me) {
            Some(peer) => self.store.user(peer).await?,
            None => None,
        };
        Ok(self.view.conversation(&crate::store::Listed { conversation, member, peer }, me))
    }

    /// How many messages wait, by conversation.
    pub async fn unread(&self, me: UserId) -> Result<Vec<(ConversationId, i64)>> {
        Ok(self.store.unread(me).await?)
    }

    /// Moves one's read mark: up to a message, or to the newest.
    pub async fn mark_read(
        &self,
        me: UserId,
        place: Place,
        up_to: Option<MessageId>,
    ) -> Result<ReadMark> {
        let conversation = locate(me, place)?;
        let up_to = match up_to {
            Some(id) => self.seq_in(conversation, id).await?,
            None => i64::MAX,
        };
        self.move_read_mark(me, conversation, up_to).await
    }

    async fn seq_in(&self, conversation: ConversationId, id: MessageId) -> Result<i64> {
        let message =
            self.store.message(id).await?.filter(|message| message.conversation == conversation);
        Ok(message.ok_or(ChatError::NoMessage)?.seq)
    }

    /// Moves one's read mark up to a number; a conversation that has not begun has nothing to mark.
    pub async fn move_read_mark(
        &self,
        me: UserId,
        conversation: ConversationId,
        up_to: i64,
    ) -> Result<ReadMark> {
        let marked = self.mark(me, conversation, MarkKind::Read, up_to).await?;
        let (up_to, unread, moved) =
            marked.map_or((0, 0, false), |marked| (marked.up_to, marked.unread, marked.moved));
        Ok(ReadMark { conversation, with: conversation.peer_of(me), up_to, unread, moved })
    }

    /// Notes that everything up to a number reached a device of `me`.
    pub async fn delivered(
        &self,
        me: UserId,
        conversation: ConversationId,
        up_to: i64,
    ) -> Result<()> {
        self.mark(me, conversation, MarkKind::Delivered, up_to).await.map(|_| ())
    }

    /// Notes that these messages, and all before them, reached a device of `me`; gives how many were others' messages to it.
    pub async fn delivered_ids(&self, me: UserId, ids: Vec<MessageId>) -> Result<usize> {
        let mut newest = std::collections::BTreeMap::<ConversationId, i64>::new();
        let mut count = 0;
        for id in ids {
            let message = self.store.message(id).await?;
            let Some(message) = message.filter(|message| is_for(message, me)) else { continue };
            let newest = newest.entry(message.conversation).or_default();
            *newest = message.seq.max(*newest);
            count += 1;
        }
        for (conversation, seq) in newest {
            self.delivered(me, conversation, seq).await?;
        }
        Ok(count)
    }

    async fn mark(
        &self,
        me: UserId,
        conversation: ConversationId,
        kind: MarkKind,
        up_to: i64,
    ) -> Result<Option<Marked>> {
        let mark = Mark { user: me, kind, up_to, at: self.clock.now() };
        let marked = match self.store.mark(conversation, mark).await {
            Err(StoreError::NotFound) if conversation.peer_of(me).is_some() => return Ok(None),
            outcome => outcome?,
        };
        let mark = Mark { up_to: marked.up_to, ..mark };
        for (user, cursor) in &marked.cursors {
            let event = self.view.mark(*user, conversation, mark, marked.unread, Some(*cursor));
            self.delivery.send_logged(*user, *cursor, &event, None);
        }
        Ok(Some(marked))
    }
}

/// The conversation that `me` means. Someone else's conversation and one that does not exist look the same.
pub fn locate(me: UserId, place: Place) -> Result<ConversationId> {
    match place {
        Place::With(peer) if peer == me => Err(ChatError::ToOneself),
        Place::With(peer) => Ok(ConversationId::direct(me, peer)),
        Place::Conversation(id) if id.peer_of(me).is_some() => Ok(id),
        Place::Conversation(_) => Err(ChatError::NotAMember),
    }
}

fn is_for(message: &MessageRecord, me: UserId) -> bool {
    message.from != me && message.conversation.peer_of(me).is_some()
}

fn seq_cursor(seq: i64) -> String {
    cursor(&["m", &seq.to_string()])
}

fn seq_of(text: &str) -> Result<i64> {
    match open_cursor(text).as_deref() {
        Some([kind, seq]) if kind == "m" => seq.parse().map_err(|_| ChatError::Cursor),
        _ => Err(ChatError::Cursor),
    }
}

fn conversation_position(text: &str) -> Result<(crate::clock::Timestamp, ConversationId)> {
    match open_cursor(text).as_deref() {
        Some([kind, at, id]) if kind == "c" => {
            let at = at.parse().map_err(|_| ChatError::Cursor)?;
            Ok((crate::clock::Timestamp(at), id.parse().map_err(|_| ChatError::Cursor)?))
        }
        _ => Err(ChatError::Cursor),
    }
}
