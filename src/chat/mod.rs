//! Chat: a file for each thing that a client can ask for, with its request, its limits, its rule and its tests.

mod conversations;
mod error;
mod history;
mod receipts;
mod send;
mod sync;
mod typing;

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::delivery::Delivery;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::membership::{ConversationRef, Membership, Seat};
use crate::policy::{self, Verb};
use crate::store::{Anchor, MessageRecord, Store};
use crate::view::View;

pub use conversations::Conversations;
pub use error::{ChatError, Result};
pub use history::Pages;
pub use receipts::{MessageReceipt, ReadMark};
pub use send::{SendMessage, Sent};
pub use sync::Missed;
use typing::Typists;

/// The chat.
pub struct Chat {
    store: Arc<dyn Store>,
    membership: Membership,
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
        let (membership, typists) = (Membership::new(store.clone()), Typists::default());
        Self { store, membership, delivery, view, clock, limits, config, typists }
    }

    /// The seat of `me` in the conversation that a request names, where `me` may do `verb` there.
    async fn seat(&self, me: UserId, named: ConversationRef, verb: Verb) -> Result<Seat> {
        let seat = self.membership.resolve(me, named).await?.ok_or(ChatError::ToOneself)?;
        policy::may(me, verb, seat.role)?;
        Ok(seat)
    }

    /// The message with this id, where it is in this conversation.
    async fn message_in(&self, seat: &Seat, id: MessageId) -> Result<MessageRecord> {
        let message = self.store.message(id).await?;
        let here = message.filter(|message| message.conversation == seat.conversation);
        here.ok_or(ChatError::NoMessage)
    }

    /// The message with this number in a conversation.
    async fn message_at(
        &self,
        conversation: ConversationId,
        seq: i64,
    ) -> Result<Option<MessageId>> {
        let page = self.store.messages(conversation, Anchor::Before(seq + 1), 1).await?;
        Ok(page.messages.last().filter(|message| message.seq == seq).map(|message| message.id))
    }

    /// Rows of a page, as wanted and as allowed.
    fn limit(&self, wanted: Option<usize>) -> usize {
        wanted.unwrap_or(self.limits.page).clamp(1, self.limits.page_max)
    }
}
