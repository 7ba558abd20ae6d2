//! `message:send`: stored, then announced to all devices of everyone in the conversation.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Chat, ChatError, Result};
use crate::event::{Message, MessageType};
use crate::ids::{ClientId, ConversationId, MessageId, UserId};
use crate::membership::ConversationRef;
use crate::policy::Verb;
use crate::store::{MessageExtra, NewMessage};

/// People that a message may name.
pub(super) const MENTIONS: usize = 100;

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
    /// Members of the contract that this server does not support yet: they are refused rather than ignored.
    #[serde(default)]
    #[schema(ignore)]
    ephemeral_seconds: Option<Value>,
    #[serde(default)]
    #[schema(ignore)]
    attachments: Option<Value>,
}

impl SendMessage {
    fn refuse_unsupported(&self) -> Result<()> {
        if self.ephemeral_seconds.is_some() {
            return Err(ChatError::Unsupported("ephemeralSeconds"));
        }
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        match &self.attachments {
            Some(attachments) if !empty(attachments) => Err(ChatError::Unsupported("attachments")),
            _ => Ok(()),
        }
    }
}

/// A stored message as its sender sees it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Sent {
    pub message: Message,
    pub duplicate: bool,
}

impl Chat {
    /// Sends a message. A repeat gives the first one back and announces nothing.
    pub async fn send(&self, from: UserId, request: SendMessage) -> Result<Sent> {
        let message = self.prepare(from, request).await?;
        self.commit(message).await
    }

    /// Checks a message. What is prepared first of a sender's messages must be committed first.
    pub async fn prepare(&self, from: UserId, request: SendMessage) -> Result<NewMessage> {
        request.refuse_unsupported()?;
        let named = ConversationRef::named(request.to_user_id, request.conversation_id);
        let named = named.ok_or(ChatError::Incomplete("toUserId"))?;
        let content = request.content.filter(|content| !content.is_empty());
        let content = content.ok_or(ChatError::Incomplete("content"))?;
        if request.mentions.len() > MENTIONS {
            return Err(ChatError::Mentions);
        }
        if !request.message_type.is_for_clients() {
            return Err(ChatError::Type);
        }
        self.check_length(&content)?;
        let seat = self.seat(from, named, Verb::WriteMessage).await?;
        if let Some(replied) = request.reply_to {
            self.message_in(&seat, replied).await.map_err(|error| match error {
                ChatError::NoMessage => ChatError::ReplyTo,
                other => other,
            })?;
        }
        Ok(NewMessage {
            id: MessageId::new(self.clock.id()),
            conversation: seat.conversation,
            at: self.clock.now(),
            from,
            kind: request.message_type,
            content,
            client_id: request.client_id.map(ClientId::into_string),
            counts: true,
            extra: MessageExtra {
                reply_to: request.reply_to,
                mentions: request.mentions,
                ..MessageExtra::default()
            },
        })
    }

    /// Stores a message, then announces it. Its place among the sender's messages is taken when this is first polled.
    pub async fn commit(&self, message: NewMessage) -> Result<Sent> {
        let (from, conversation) = (message.from, message.conversation);
        let appended = self.store.append_message(message).await?;
        self.view.notify(&appended);
        self.typists.forget(from, conversation);
        let message = self.view.message(&appended.message, &[]);
        Ok(Sent { message, duplicate: appended.duplicate })
    }

    fn check_length(&self, content: &str) -> Result<()> {
        let (bytes, limit) = (content.len(), self.limits.content_bytes);
        if bytes > limit {
            return Err(ChatError::TooLong { have: bytes, limit, unit: "bytes" });
        }
        let limit = self.limits.content_chars;
        // No text has more characters than bytes, so that most need no counting.
        let have = if bytes > limit { content.chars().count() } else { bytes };
        match have > limit {
            true => Err(ChatError::TooLong { have, limit, unit: "characters" }),
            false => Ok(()),
        }
    }
}
