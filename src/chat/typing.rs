//! `typing:start` and `typing:stop`; a start that is never followed by a stop ends by itself.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Chat, Result};
use crate::clock::Timestamp;
use crate::delivery::To;
use crate::event::{Event, Typing};
use crate::ids::{ConversationId, UserId};
use crate::membership::{ConversationRef, Seat};
use crate::policy::Verb;

/// How long after the last start the server stops it.
const LASTS: Duration = Duration::from_secs(6);

/// When each typist was last seen typing.
#[derive(Default)]
pub(super) struct Typists(Mutex<HashMap<(UserId, ConversationId), Timestamp>>);

impl Typists {
    fn lock(&self) -> MutexGuard<'_, HashMap<(UserId, ConversationId), Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends typing without an event: the message says it.
    pub(super) fn forget(&self, user: UserId, conversation: ConversationId) {
        self.lock().remove(&(user, conversation));
    }
}

impl Chat {
    /// Shows the others that `me` types, until a stop, a message, or 6 s have passed.
    pub async fn start_typing(self: &Arc<Self>, me: UserId, named: ConversationRef) -> Result<()> {
        let seat = self.seat(me, named, Verb::Type).await?;
        let typist = (me, seat.conversation);
        let already = self.typists.lock().insert(typist, self.clock.now());
        self.notify_typing(&seat, true);
        if already.is_none() {
            tokio::spawn(self.clone().watch(seat));
        }
        Ok(())
    }

    /// Shows the others that `me` no longer types.
    pub async fn stop_typing(&self, me: UserId, named: ConversationRef) -> Result<()> {
        let seat = self.seat(me, named, Verb::Type).await?;
        self.typists.forget(me, seat.conversation);
        self.notify_typing(&seat, false);
        Ok(())
    }

    /// Ends whatever typing of a person the others see.
    pub async fn end_typing(&self, user: UserId) {
        let typing: Vec<_> = self
            .typists
            .lock()
            .keys()
            .filter(|(typist, _)| *typist == user)
            .map(|(_, it)| *it)
            .collect();
        for conversation in typing {
            let _ = self.stop_typing(user, ConversationRef::Id(conversation)).await;
        }
    }

    async fn watch(self: Arc<Self>, seat: Seat) {
        let typist = (seat.user, seat.conversation);
        loop {
            let Some(since) = self.typists.lock().get(&typist).copied() else { return };
            let left = since.after(LASTS).since(self.clock.now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left).await;
        }
        self.typists.forget(seat.user, seat.conversation);
        self.notify_typing(&seat, false);
    }

    fn notify_typing(&self, seat: &Seat, on: bool) {
        let typing = Typing { from_user_id: seat.user, conversation_id: seat.conversation };
        let event = if on { Event::TypingStart(typing) } else { Event::TypingStop(typing) };
        self.delivery.send(To::Users(seat.others().collect()), &event);
    }
}
