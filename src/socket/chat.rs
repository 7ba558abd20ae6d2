//! `message:*` and `typing:*`: decode, one rule, encode.

use std::pin::pin;
use std::task::Poll;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use crate::chat::SendMessage;
use crate::clock::Timestamp;
use crate::delivery::To;
use crate::error::Problem;
use crate::event;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::membership::ConversationRef;

/// Messages that one `message:delivered` may name.
const REPORTED: usize = 200;

/// The conversation that `field` or `conversationId` names.
fn conversation(
    with: Option<UserId>,
    conversation: Option<ConversationId>,
    field: &str,
) -> Outcome<ConversationRef> {
    let required = || Problem::invalid(field, format!("{field} or conversationId is required"));
    ConversationRef::named(with, conversation).ok_or_else(required)
}

/// Where the stored message stands.
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

/// Messages of one connection are checked in their order, and the next is checked once this one has its place in the queue of the
/// store: so they are stored in their order, and none waits for the disk of another.
pub(super) async fn send(context: Context, payload: SendMessage) -> Outcome<Sent> {
    let (app, me) = (&context.app, context.user());
    let turn = context.sending.lock().await;
    app.limits.message(me)?;
    let begun = app.clock.instant();
    let prepared = app.chat.prepare(me, payload).await?;
    let mut storing = pin!(app.chat.commit(prepared));
    let stored = match futures_util::poll!(&mut storing) {
        Poll::Ready(stored) => stored,
        Poll::Pending => {
            drop(turn);
            storing.await
        }
    };
    let sent = stored?;
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
    let (app, me) = (&context.app, context.user());
    if let Some(ids) = payload.message_ids {
        if ids.is_empty() || ids.len() > REPORTED {
            let message = format!("messageIds must name 1 to {REPORTED} messages");
            return Err(Problem::invalid("messageIds", message));
        }
        return Ok(Count { count: app.chat.delivered_ids(me, ids).await? });
    }
    let needed = "messageIds, or conversationId and upToSeq, are required";
    let (Some(id), Some(up_to)) = (payload.conversation_id, payload.up_to_seq) else {
        return Err(Problem::invalid("messageIds", needed));
    };
    app.chat.delivered(me, id, up_to).await?;
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
    let named = conversation(payload.with_user_id, payload.conversation_id, "withUserId")?;
    let (chat, me) = (&context.app.chat, context.user());
    let mark = chat.mark_read(me, named, payload.up_to).await?;
    if !mark.moved {
        // The other devices know already; the one that asked gets the event in any case.
        chat.repeat_read_mark(To::Session(me, context.session.about.id), &mark);
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
    let named = conversation(payload.with_user_id, payload.conversation_id, "withUserId")?;
    let (before, after) = (payload.before.as_deref(), payload.after.as_deref());
    let (chat, me) = (&context.app.chat, context.user());
    let pages = chat.page(me, named, before, after, payload.limit).await?;
    Ok(Pages {
        messages: pages.messages,
        next_cursor: pages.next_cursor,
        prev_cursor: pages.prev_cursor,
    })
}

/// Where the sender types.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TypingReport)]
pub(super) struct Where {
    to_user_id: Option<UserId>,
    conversation_id: Option<ConversationId>,
}

pub(super) async fn typing_start(context: Context, payload: Where) -> Outcome<Done> {
    let named = conversation(payload.to_user_id, payload.conversation_id, "toUserId")?;
    if context.app.limits.typing(context.user()).is_ok() {
        context.app.chat.start_typing(context.user(), named).await?;
    }
    Ok(Done {})
}

pub(super) async fn typing_stop(context: Context, payload: Where) -> Outcome<Done> {
    let named = conversation(payload.to_user_id, payload.conversation_id, "toUserId")?;
    if context.app.limits.typing(context.user()).is_ok() {
        context.app.chat.stop_typing(context.user(), named).await?;
    }
    Ok(Done {})
}
