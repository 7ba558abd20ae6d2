//! `message:*` and `typing:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use crate::chat::{Place, SendMessage};
use crate::clock::Timestamp;
use crate::delivery::Frame;
use crate::error::Problem;
use crate::event::{self, Event, MarkedRead};
use crate::ids::{ConversationId, MessageId, UserId};

/// `toUserId` (or `withUserId`), or `conversationId`.
pub(super) fn place(
    with: Option<UserId>,
    conversation: Option<ConversationId>,
    field: &str,
) -> Outcome<Place> {
    let place = conversation.map(Place::Conversation).or(with.map(Place::With));
    place.ok_or_else(|| Problem::invalid(field, format!("{field} or conversationId is required")))
}

/// The stored message's place.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageSendAck)]
pub(super) struct Sent {
    message_id: MessageId,
    conversation_id: ConversationId,
    seq: i64,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    duplicate: bool,
}

pub(super) async fn send(context: Context, payload: SendMessage) -> Outcome<Sent> {
    let (app, me) = (&context.app, context.session.about.user);
    app.limits.message(me)?;
    let draft = payload.draft()?;
    let begun = app.clock.instant();
    let sent = app.chat.send(me, draft).await?;
    metrics::histogram!("rtc_message_ack_seconds").record(begun.elapsed().as_secs_f64());
    let message = sent.message;
    Ok(Sent {
        message_id: message.message_id,
        conversation_id: message.conversation_id,
        seq: message.seq,
        created_at: message.created_at,
        client_id: message.client_id,
        duplicate: sent.duplicate,
    })
}

/// Messages that reached this device: by id, or all of a conversation up to a number.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageDeliveredReport)]
pub(super) struct Delivered {
    message_ids: Option<Vec<MessageId>>,
    conversation_id: Option<ConversationId>,
    up_to_seq: Option<i64>,
}

/// How many messages that was.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageDeliveredAck)]
pub(super) struct Count {
    count: usize,
}

pub(super) async fn delivered(context: Context, payload: Delivered) -> Outcome<Count> {
    let (app, me) = (&context.app, context.session.about.user);
    if let Some(ids) = payload.message_ids {
        if ids.is_empty() || ids.len() > 200 {
            return Err(Problem::invalid("messageIds", "messageIds must name 1 to 200 messages"));
        }
        return Ok(Count { count: app.chat.delivered_ids(me, ids).await? });
    }
    let needed = "messageIds, or conversationId and upToSeq, are required";
    let (Some(id), Some(up_to)) = (payload.conversation_id, payload.up_to_seq) else {
        return Err(Problem::invalid("messageIds", needed));
    };
    let conversation = crate::chat::locate(me, Place::Conversation(id))?;
    app.chat.delivered(me, conversation, up_to).await?;
    Ok(Count { count: 1 })
}

/// Which conversation was read, and up to which message.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageMarkRead)]
pub(super) struct MarkRead {
    with_user_id: Option<UserId>,
    conversation_id: Option<ConversationId>,
    up_to: Option<MessageId>,
}

/// Where the read mark stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageMarkReadAck)]
pub(super) struct Marked {
    up_to_seq: i64,
    unread_count: i64,
}

pub(super) async fn mark_read(context: Context, payload: MarkRead) -> Outcome<Marked> {
    let place = place(payload.with_user_id, payload.conversation_id, "withUserId")?;
    let mark = context.app.chat.mark_read(context.session.about.user, place, payload.up_to).await?;
    if !mark.moved {
        // The other devices know already; the one that asked is always told.
        context.session.deliver(Frame::new(&Event::MessageMarkedRead(MarkedRead {
            with_user_id: mark.with,
            conversation_id: mark.conversation,
            up_to_seq: mark.up_to,
            unread_count: mark.unread,
            cursor: None,
        })));
    }
    Ok(Marked { up_to_seq: mark.up_to, unread_count: mark.unread })
}

/// Which messages to read.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageHistory)]
pub(super) struct History {
    with_user_id: Option<UserId>,
    conversation_id: Option<ConversationId>,
    before: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Messages, oldest first, and the cursors that lead on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MessageHistoryAck)]
pub(super) struct Pages {
    messages: Vec<event::Message>,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
}

pub(super) async fn history(context: Context, payload: History) -> Outcome<Pages> {
    let place = place(payload.with_user_id, payload.conversation_id, "withUserId")?;
    let (me, before, after) =
        (context.session.about.user, payload.before.as_deref(), payload.after.as_deref());
    let pages = context.app.chat.page(me, place, before, after, payload.limit).await?;
    Ok(Pages {
        messages: pages.messages,
        next_cursor: pages.next_cursor,
        prev_cursor: pages.prev_cursor,
    })
}

/// Where somebody types.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TypingReport)]
pub(super) struct Where {
    to_user_id: Option<UserId>,
    conversation_id: Option<ConversationId>,
}

pub(super) async fn typing_start(context: Context, payload: Where) -> Outcome<Done> {
    let (me, place) = (
        context.session.about.user,
        place(payload.to_user_id, payload.conversation_id, "toUserId")?,
    );
    if context.app.limits.typing(me).is_ok() {
        context.app.chat.start_typing(me, place)?;
    }
    Ok(Done {})
}

pub(super) async fn typing_stop(context: Context, payload: Where) -> Outcome<Done> {
    let (me, place) = (
        context.session.about.user,
        place(payload.to_user_id, payload.conversation_id, "toUserId")?,
    );
    if context.app.limits.typing(me).is_ok() {
        context.app.chat.stop_typing(me, place)?;
    }
    Ok(Done {})
}
