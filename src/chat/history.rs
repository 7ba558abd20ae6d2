//! `message:history` and the pages of REST: messages of a conversation, oldest first within a page.

#[cfg(test)]
mod tests;

use super::{Chat, ChatError, Result};
use crate::event::Message;
use crate::ids::{MessageId, UserId};
use crate::membership::{ConversationRef, Seat};
use crate::policy::Verb;
use crate::store::{Anchor, Page};
use crate::view::{cursor, open_cursor};

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

impl Chat {
    /// A page by cursor: `before` leads to older messages, `after` to newer ones; neither: the newest.
    pub async fn page(
        &self,
        me: UserId,
        named: ConversationRef,
        before: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let anchor = match (before, after) {
            (Some(before), _) => Anchor::Before(seq_of(before)?),
            (None, Some(after)) => Anchor::After(seq_of(after)?),
            (None, None) => Anchor::Newest,
        };
        let seat = self.seat(me, named, Verb::ReadConversation).await?;
        self.read(&seat, anchor, limit).await
    }

    /// The messages around one of them.
    pub async fn around(
        &self,
        me: UserId,
        named: ConversationRef,
        id: MessageId,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let seat = self.seat(me, named, Verb::ReadConversation).await?;
        let seq = self.message_in(&seat, id).await?.seq;
        let half = i64::try_from(self.limit(limit) / 2).unwrap_or(0);
        self.read(&seat, Anchor::After((seq - half - 1).max(0)), limit).await
    }

    /// The original's pages: the first holds the newest messages.
    pub async fn page_from_newest(
        &self,
        me: UserId,
        with: UserId,
        page: i64,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let seat = self.seat(me, ConversationRef::With(with), Verb::ReadConversation).await?;
        if page <= 1 {
            return self.read(&seat, Anchor::Newest, limit).await;
        }
        let size = i64::try_from(self.limit(limit)).unwrap_or(i64::MAX);
        let head = self.store.conversation(seat.conversation).await?.map_or(0, |found| found.seq);
        let before = head.saturating_sub((page - 1).saturating_mul(size)).saturating_add(1);
        self.read(&seat, Anchor::Before(before.max(0)), limit).await
    }

    /// The original's other pages: the first holds the oldest messages.
    pub async fn page_from_oldest(
        &self,
        me: UserId,
        with: UserId,
        page: i64,
        limit: Option<usize>,
    ) -> Result<Pages> {
        let seat = self.seat(me, ConversationRef::With(with), Verb::ReadConversation).await?;
        let size = i64::try_from(self.limit(limit)).unwrap_or(i64::MAX);
        let after = (page.max(1) - 1).saturating_mul(size);
        self.read(&seat, Anchor::After(after), limit).await
    }

    async fn read(&self, seat: &Seat, anchor: Anchor, limit: Option<usize>) -> Result<Pages> {
        let limit = self.limit(limit);
        let page = self.store.messages(seat.conversation, anchor, limit).await?;
        let Page { messages, marks, head } = page;
        let prev_cursor =
            messages.first().filter(|first| first.seq > 1).map(|first| seq_cursor(first.seq));
        let next_cursor =
            messages.last().filter(|last| last.seq < head).map(|last| seq_cursor(last.seq));
        let messages = messages.iter().map(|message| self.view.message(message, &marks)).collect();
        Ok(Pages { messages, prev_cursor, next_cursor, limit, head })
    }
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
