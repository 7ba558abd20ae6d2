//! `/api/chat` (and `/v1`): messages and conversations. `/api/sync` is here for those who poll.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, ok, with};
use super::extract::{Body, Caller, Path, Query};
use crate::app::App;
use crate::chat::{MessageReceipt, Pages, SendMessage};
use crate::clock::Timestamp;
use crate::error::Problem;
use crate::event::{Conversation, Message, MessageType};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::membership::ConversationRef;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(bare_messages, send))
        .routes(routes!(messages_with))
        .routes(routes!(unread))
        .routes(routes!(mark_read))
        .routes(routes!(receipts))
        .routes(routes!(conversations))
        .routes(routes!(conversation))
        .routes(routes!(conversation_messages))
}

/// Which messages to read: the original's pages, or a cursor.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// The original's page number, 1 for the newest messages.
    page: Option<i64>,
    /// At most 200.
    limit: Option<usize>,
    /// Leads to older messages (`meta.prevCursor`).
    before: Option<String>,
    /// Leads to newer messages (`meta.nextCursor`).
    after: Option<String>,
    /// The messages around this one.
    around: Option<MessageId>,
    /// Whether what is returned counts as read; on the original's path yes unless this is `false`.
    mark_read: Option<bool>,
}

fn paged(pages: Pages, page: Option<i64>) -> Json<Success<Vec<Message>>> {
    let meta = Meta {
        message: "Messages retrieved successfully",
        limit: Some(pages.limit),
        page: Some(page.unwrap_or(1).max(1)),
        total: Some(pages.head),
        next_cursor: Some(pages.next_cursor),
        prev_cursor: Some(pages.prev_cursor),
        ..Meta::default()
    };
    with(pages.messages, meta)
}

/// Messages with one person, oldest first within the page; page 1 holds the newest.
#[utoipa::path(get, path = "/messages/{withUserId}", tag = "Chat", params(("withUserId" = UserId, Path), PageParams),
    responses((status = 200, body = Success<Vec<Message>>)))]
async fn messages_with(
    State(app): State<App>,
    caller: Caller,
    Path(with): Path<UserId>,
    Query(params): Query<PageParams>,
) -> Answer<Vec<Message>> {
    let named = ConversationRef::With(with);
    let pages = if params.before.is_some() || params.after.is_some() {
        app.chat
            .page(caller.id, named, params.before.as_deref(), params.after.as_deref(), params.limit)
            .await?
    } else {
        app.chat.page_from_newest(caller.id, with, params.page.unwrap_or(1), params.limit).await?
    };
    if params.mark_read.unwrap_or(app.config.compat.read_on_fetch) {
        mark_what_is_shown(&app, caller.id, &pages).await?;
    }
    Ok(paged(pages, params.page))
}

async fn mark_what_is_shown(app: &App, me: UserId, pages: &Pages) -> Result<(), Refusal> {
    if let Some(last) =
        pages.messages.iter().rev().find(|message| message.from_user_id != me && !message.is_read)
    {
        app.chat.mark_read_up_to(me, last.conversation_id, last.seq).await?;
    }
    Ok(())
}

/// The other person, and which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WithParams {
    /// The other person.
    with: Option<UserId>,
    /// 1 for the oldest messages.
    page: Option<i64>,
    /// At most 200.
    limit: Option<usize>,
}

/// A message as the original's front end knows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BareMessage {
    id: MessageId,
    from: String,
    to: String,
    content: String,
    text: String,
    created_at: Timestamp,
    timestamp: Timestamp,
    message_type: MessageType,
    is_read: bool,
    delivered_at: Option<Timestamp>,
    /// `user` for one's own messages, `child` for the other's.
    sender: &'static str,
    /// `read` or `delivered`.
    status: &'static str,
}

/// Messages with one person as a bare array, oldest first from the beginning.
#[utoipa::path(get, path = "/messages", tag = "Chat", params(WithParams), responses((status = 200, body = Vec<BareMessage>)))]
async fn bare_messages(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<WithParams>,
) -> Result<Json<Vec<BareMessage>>, Refusal> {
    let with = params
        .with
        .ok_or_else(|| Problem::invalid("with", "with is required: the other person's user id"))?;
    let pages =
        app.chat.page_from_oldest(caller.id, with, params.page.unwrap_or(1), params.limit).await?;
    let bare = |message: Message| BareMessage {
        id: message.message_id,
        from: message.from_user_id.to_string(),
        to: message.to_user_id.map(|to| to.to_string()).unwrap_or_default(),
        text: message.content.clone(),
        content: message.content,
        created_at: message.created_at,
        timestamp: message.created_at,
        message_type: message.message_type,
        is_read: message.is_read,
        delivered_at: message.delivered_at,
        sender: if message.from_user_id == caller.id { "user" } else { "child" },
        status: if message.is_read { "read" } else { "delivered" },
    };
    Ok(Json(pages.messages.into_iter().map(bare).collect()))
}

/// Stores a message and announces it to all devices of everyone in the conversation, exactly as `message:send` does.
#[utoipa::path(post, path = "/messages", tag = "Chat", request_body = SendMessage, responses((status = 200, body = Success<Message>)))]
async fn send(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<SendMessage>,
) -> Answer<Message> {
    app.limits.message(caller.id)?;
    let sent = app.chat.send(caller.id, request).await?;
    let message = "Message sent successfully";
    Ok(with(sent.message, Meta { message, duplicate: Some(sent.duplicate), ..Meta::default() }))
}

/// How much waits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unread {
    unread_count: i64,
    by_conversation: BTreeMap<String, i64>,
}

/// How many messages wait to be read.
#[utoipa::path(get, path = "/messages/unread/count", tag = "Chat", responses((status = 200, body = Success<Unread>)))]
async fn unread(State(app): State<App>, caller: Caller) -> Answer<Unread> {
    let unread = app.chat.unread(caller.id).await?;
    let unread_count = unread.iter().map(|(_, count)| count).sum();
    let by_conversation = unread.into_iter().map(|(id, count)| (id.to_string(), count)).collect();
    Ok(ok(Unread { unread_count, by_conversation }, "Unread count retrieved successfully"))
}

/// What was read.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadBody {
    conversation_id: Option<ConversationId>,
    with_user_id: Option<UserId>,
    /// The newest message read; without it, all.
    up_to: Option<MessageId>,
}

/// Where the read mark stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReadMark {
    conversation_id: ConversationId,
    up_to_seq: i64,
    unread_count: i64,
}

/// Moves one's read mark; the others get `message:read`.
#[utoipa::path(post, path = "/messages/read", tag = "Chat", request_body = ReadBody,
    responses((status = 200, body = Success<ReadMark>)))]
async fn mark_read(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<ReadBody>,
) -> Answer<ReadMark> {
    let named = ConversationRef::named(body.with_user_id, body.conversation_id);
    let named = named.ok_or_else(|| {
        Problem::invalid("withUserId", "withUserId or conversationId is required")
    })?;
    let mark = app.chat.mark_read(caller.id, named, body.up_to).await?;
    let shown = ReadMark {
        conversation_id: mark.conversation,
        up_to_seq: mark.up_to,
        unread_count: mark.unread,
    };
    Ok(ok(shown, "Messages marked as read"))
}

/// How far a message has come with each other member of its conversation.
#[utoipa::path(get, path = "/messages/{messageId}/receipts", tag = "Chat", params(("messageId" = MessageId, Path)),
    responses((status = 200, body = Success<Vec<MessageReceipt>>)))]
async fn receipts(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<MessageId>,
) -> Answer<Vec<MessageReceipt>> {
    Ok(ok(app.chat.receipts(caller.id, id).await?, "Receipts retrieved successfully"))
}

/// Which conversations to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// At most 200.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Those put away instead.
    #[serde(default)]
    archived: bool,
}

/// One's conversations, the most recent first.
#[utoipa::path(get, path = "/conversations", tag = "Chat", params(ListParams),
    responses((status = 200, body = Success<Vec<Conversation>>)))]
async fn conversations(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Answer<Vec<Conversation>> {
    let listed = app
        .chat
        .conversations(caller.id, params.archived, params.cursor.as_deref(), params.limit)
        .await?;
    let message = "Conversations retrieved successfully";
    let total = i64::try_from(listed.conversations.len()).ok();
    let (limit, next_cursor) = (Some(listed.limit), Some(listed.next_cursor));
    Ok(with(listed.conversations, Meta { message, total, limit, next_cursor, ..Meta::default() }))
}

/// One conversation.
#[utoipa::path(get, path = "/conversations/{conversationId}", tag = "Chat", params(("conversationId" = ConversationId, Path)),
    responses((status = 200, body = Success<Conversation>)))]
async fn conversation(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ConversationId>,
) -> Answer<Conversation> {
    Ok(ok(app.chat.conversation(caller.id, id).await?, "Conversation retrieved successfully"))
}

/// Messages of a conversation, oldest first within the page.
#[utoipa::path(get, path = "/conversations/{conversationId}/messages", tag = "Chat",
    params(("conversationId" = ConversationId, Path), PageParams), responses((status = 200, body = Success<Vec<Message>>)))]
async fn conversation_messages(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ConversationId>,
    Query(params): Query<PageParams>,
) -> Answer<Vec<Message>> {
    let named = ConversationRef::Id(id);
    let pages = match params.around {
        Some(message) => app.chat.around(caller.id, named, message, params.limit).await?,
        None => {
            app.chat
                .page(
                    caller.id,
                    named,
                    params.before.as_deref(),
                    params.after.as_deref(),
                    params.limit,
                )
                .await?
        }
    };
    if params.mark_read.unwrap_or(false) {
        mark_what_is_shown(&app, caller.id, &pages).await?;
    }
    Ok(paged(pages, params.page))
}
