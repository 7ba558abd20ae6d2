//! `message:delivered`, `message:markRead` and the receipts of a message: how far each member's marks have come.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Chat, ChatError, Result};
use crate::clock::Timestamp;
use crate::delivery::{Receipt, Receipts, To};
use crate::event::{Event, MarkedRead};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::membership::{ConversationRef, Seat};
use crate::policy::Verb;
use crate::store::{Anchor, Mark, MarkKind, Marked, StoreError};

/// Receipts that are taken at once.
const RECEIPTS: usize = 512;

/// Where one's read mark stands.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ReadMark {
    pub conversation: ConversationId,
    pub with: Option<UserId>,
    pub up_to: i64,
    pub unread: i64,
    /// Whether it moved, and everyone concerned got an event.
    pub moved: bool,
}

/// How far a message has come with one member of its conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageReceipt {
    /// Whose receipt it is.
    pub user_id: UserId,
    /// When the member's delivered mark last moved, once it stands at the message or behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// The same of the read mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
}

impl Chat {
    /// Moves one's read mark: up to a message, or to the newest.
    pub async fn mark_read(
        &self,
        me: UserId,
        named: ConversationRef,
        up_to: Option<MessageId>,
    ) -> Result<ReadMark> {
        let seat = self.seat(me, named, Verb::MarkMessages).await?;
        let up_to = match up_to {
            Some(id) => self.message_in(&seat, id).await?.seq,
            None => i64::MAX,
        };
        self.move_read_mark(&seat, up_to).await
    }

    /// Moves one's read mark up to a number.
    pub async fn mark_read_up_to(
        &self,
        me: UserId,
        conversation: ConversationId,
        up_to: i64,
    ) -> Result<ReadMark> {
        let named = ConversationRef::Id(conversation);
        let seat = self.seat(me, named, Verb::MarkMessages).await?;
        self.move_read_mark(&seat, up_to).await
    }

    /// A conversation that has not begun has nothing to mark.
    async fn move_read_mark(&self, seat: &Seat, up_to: i64) -> Result<ReadMark> {
        let marked = self.mark(seat, MarkKind::Read, up_to).await?;
        let (up_to, unread, moved) =
            marked.map_or((0, 0, false), |marked| (marked.up_to, marked.unread, marked.moved));
        let (conversation, with) = (seat.conversation, seat.conversation.peer_of(seat.user));
        Ok(ReadMark { conversation, with, up_to, unread, moved })
    }

    /// Notes that everything up to a number reached a device of `me`.
    pub async fn delivered(
        &self,
        me: UserId,
        conversation: ConversationId,
        up_to: i64,
    ) -> Result<()> {
        let named = ConversationRef::Id(conversation);
        let seat = self.seat(me, named, Verb::MarkMessages).await?;
        self.mark(&seat, MarkKind::Delivered, up_to).await.map(|_| ())
    }

    /// Notes that these messages, and all before them, reached a device of `me`; gives how many were messages of others to
    /// `me`.
    pub async fn delivered_ids(&self, me: UserId, ids: Vec<MessageId>) -> Result<usize> {
        let mut newest = BTreeMap::<ConversationId, (Seat, i64)>::new();
        let mut count = 0;
        for id in ids {
            let message = self.store.message(id).await?.filter(|message| message.from != me);
            let Some(message) = message else { continue };
            let named = ConversationRef::Id(message.conversation);
            let Ok(seat) = self.seat(me, named, Verb::MarkMessages).await else { continue };
            let (_, up_to) = newest.entry(message.conversation).or_insert((seat, message.seq));
            *up_to = message.seq.max(*up_to);
            count += 1;
        }
        for (seat, up_to) in newest.into_values() {
            self.mark(&seat, MarkKind::Delivered, up_to).await?;
        }
        Ok(count)
    }

    /// Keeps the delivery marks of messages that devices acknowledge, for as long as there is a delivery.
    pub async fn follow(self: Arc<Self>, mut receipts: Receipts) {
        let (chat, mut taken) = (&self, Vec::new());
        while receipts.recv_many(&mut taken, RECEIPTS).await > 0 {
            // Of several receipts of a user in a conversation the newest says all; the store writes what is left together.
            let marks = newest(taken.drain(..)).into_iter().map(|(at, seq)| async move {
                let (user, conversation) = at;
                if let Err(error) = chat.delivered(user, conversation, seq).await {
                    tracing::debug!(%user, %conversation, %error, "a delivery mark was not stored");
                }
            });
            futures_util::future::join_all(marks).await;
        }
    }

    /// Moves a mark and sends the event of it; `None` in a direct conversation that has not begun.
    async fn mark(&self, seat: &Seat, kind: MarkKind, up_to: i64) -> Result<Option<Marked>> {
        let conversation = seat.conversation;
        let mark = Mark { user: seat.user, kind, up_to, at: self.clock.now() };
        let marked = match self.store.mark(conversation, mark).await {
            Err(StoreError::NotFound) if conversation.pair().is_some() => return Ok(None),
            outcome => outcome?,
        };
        if marked.cursors.is_empty() {
            return Ok(Some(marked));
        }
        let mark = Mark { up_to: marked.up_to, ..mark };
        let up_to = self.read_up_to(conversation, mark).await?;
        for (user, cursor) in &marked.cursors {
            let unread = marked.unread;
            let event = self.view.mark(*user, conversation, mark, (up_to, unread), Some(*cursor));
            self.delivery.send_logged(*user, *cursor, &event, None);
            if let Event::MessageMarkedRead(marked) = event {
                self.delivery.send(To::User(*user), &Event::MessageMarkedReadAlias(marked));
            }
        }
        Ok(Some(marked))
    }

    /// The message that a read mark stands at, which `message:read` names.
    pub(super) async fn read_up_to(
        &self,
        conversation: ConversationId,
        mark: Mark,
    ) -> Result<Option<MessageId>> {
        match mark.kind {
            MarkKind::Read => self.message_at(conversation, mark.up_to).await,
            MarkKind::Delivered => Ok(None),
        }
    }

    /// Says to one session where the read mark stands, where nothing moved and so no event went to all.
    pub fn repeat_read_mark(&self, to: To, mark: &ReadMark) {
        let marked = MarkedRead {
            with_user_id: mark.with,
            conversation_id: mark.conversation,
            up_to_seq: mark.up_to,
            unread_count: mark.unread,
            cursor: None,
        };
        self.delivery.send(to.clone(), &Event::MessageMarkedRead(marked.clone()));
        self.delivery.send(to, &Event::MessageMarkedReadAlias(marked));
    }

    /// How far a message has come with each member of its conversation but its author.
    pub async fn receipts(&self, me: UserId, id: MessageId) -> Result<Vec<MessageReceipt>> {
        let message = self.store.message(id).await?.ok_or(ChatError::NoMessage)?;
        let named = ConversationRef::Id(message.conversation);
        // A message of strangers and one that does not exist look the same.
        let seat = self.seat(me, named, Verb::ReadConversation).await;
        let seat = seat.map_err(|error| match error {
            ChatError::Refused(_) => ChatError::NoMessage,
            other => other,
        })?;
        let anchor = Anchor::Before(message.seq + 1);
        let marks = self.store.messages(message.conversation, anchor, 1).await?.marks;
        let receipt = |user_id: UserId| {
            let reaching =
                marks.iter().filter(|mark| mark.user == user_id && mark.up_to >= message.seq);
            let read = reaching.clone().filter(|mark| mark.kind == MarkKind::Read);
            MessageReceipt {
                user_id,
                // Who has read has it.
                delivered_at: reaching.map(|mark| mark.at).min(),
                read_at: read.map(|mark| mark.at).min(),
            }
        };
        Ok(seat
            .members
            .iter()
            .filter(|user| **user != message.from)
            .copied()
            .map(receipt)
            .collect())
    }
}

/// The newest receipt of each user in each conversation.
fn newest(receipts: impl Iterator<Item = Receipt>) -> BTreeMap<(UserId, ConversationId), i64> {
    let mut newest = BTreeMap::new();
    for Receipt { user, position } in receipts {
        let seq = newest.entry((user, position.conversation)).or_insert(position.seq);
        *seq = position.seq.max(*seq);
    }
    newest
}
