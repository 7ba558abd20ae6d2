//! A member's conversations, and what waits in them.

#[cfg(test)]
mod tests;

use super::{Chat, ChatError, Result};
use crate::clock::Timestamp;
use crate::event::Conversation;
use crate::ids::{ConversationId, UserId};
use crate::membership::ConversationRef;
use crate::policy::Verb;
use crate::store::Listed;
use crate::view::{cursor, open_cursor};

/// A member's conversations with the cursor that leads on.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Conversations {
    pub conversations: Vec<Conversation>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

impl Chat {
    /// A member's conversations, the most recent first.
    pub async fn conversations(
        &self,
        me: UserId,
        archived: bool,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Conversations> {
        let limit = self.limit(limit);
        let before = after.map(position).transpose()?;
        let listed = self.store.conversations(me, archived, before, limit).await?;
        let last = listed.last().filter(|_| listed.len() == limit);
        let next_cursor = last.map(|last| {
            let activity = last.member.last_activity.0.to_string();
            cursor(&["c", &activity, &last.conversation.id.to_string()])
        });
        let conversations =
            listed.iter().map(|listed| self.view.conversation(listed, me)).collect();
        Ok(Conversations { conversations, next_cursor, limit })
    }

    /// One conversation of a member.
    pub async fn conversation(&self, me: UserId, id: ConversationId) -> Result<Conversation> {
        let seat = self.seat(me, ConversationRef::Id(id), Verb::ReadConversation).await?;
        // A direct conversation that has not begun is none.
        let member = self.store.member(id, me).await?.ok_or(ChatError::NotAMember)?;
        let conversation = self.store.conversation(id).await?.ok_or(ChatError::NotAMember)?;
        let peer = match seat.conversation.peer_of(me) {
            Some(peer) => self.store.user(peer).await?,
            None => None,
        };
        Ok(self.view.conversation(&Listed { conversation, member, peer }, me))
    }

    /// How many messages wait, by conversation.
    pub async fn unread(&self, me: UserId) -> Result<Vec<(ConversationId, i64)>> {
        Ok(self.store.unread(me).await?)
    }
}

fn position(text: &str) -> Result<(Timestamp, ConversationId)> {
    match open_cursor(text).as_deref() {
        Some([kind, at, id]) if kind == "c" => {
            let at = at.parse().map_err(|_| ChatError::Cursor)?;
            Ok((Timestamp(at), id.parse().map_err(|_| ChatError::Cursor)?))
        }
        _ => Err(ChatError::Cursor),
    }
}
