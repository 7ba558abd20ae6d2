//! Who is typing; a start that is never followed by a stop ends by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Chat, Place, Result, locate};
use crate::clock::Timestamp;
use crate::delivery::To;
use crate::event::{Event, Typing};
use crate::ids::{ConversationId, UserId};

/// How long after the last start the server stops it.
const LASTS: Duration = Duration::from_secs(6);

/// When each typist was last seen typing.
#[derive(Default)]
pub(super) struct Typists(Mutex<HashMap<(UserId, ConversationId), Timestamp>>);

impl Typists {
    fn lock(&self) -> MutexGuard<'_, HashMap<(UserId, ConversationId), Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends typing without a word: the message says it.
    pub(super) fn forget(&self, user: UserId, conversation: ConversationId) {
        self.lock().remove(&(user, conversation));
    }
}

impl Chat {
    /// Tells the other side that `me` types, until a stop, a message, or 6 s have passed.
    pub fn start_typing(self: &Arc<Self>, me: UserId, place: Place) -> Result<()> {
        let conversation = locate(me, place)?;
        let already = self.typists.lock().insert((me, conversation), self.clock.now());
        self.notify_typing(me, conversation, true);
        if already.is_none() {
            tokio::spawn(self.clone().watch(me, conversation));
        }
        Ok(())
    }

    /// Tells the other side that `me` no longer types.
    pub fn stop_typing(&self, me: UserId, place: Place) -> Result<()> {
        let conversation = locate(me, place)?;
        self.typists.forget(me, conversation);
        self.notify_typing(me, conversation, false);
        Ok(())
    }

    async fn watch(self: Arc<Self>, me: UserId, conversation: ConversationId) {
        loop {
            let Some(since) = self.typists.lock().get(&(me, conversation)).copied() else { return };
            let left = since.after(LASTS).since(self.clock.now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left).await;
        }
        self.typists.forget(me, conversation);
        self.notify_typing(me, conversation, false);
    }

    fn notify_typing(&self, me: UserId, conversation: ConversationId, on: bool) {
        let Some(peer) = conversation.peer_of(me) else { return };
        let typing = Typing { from_user_id: me, conversation_id: conversation };
        self.delivery.send(
            To::User(peer),
            &if on { Event::TypingStart(typing) } else { Event::TypingStop(typing) },
        );
    }
}
