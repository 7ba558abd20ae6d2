//! What a user missed: from the event log with a cursor, or as single messages for clients that keep none.

#[cfg(test)]
mod tests;

use super::{Chat, ChatError, Result};
use crate::delivery::{Frame, Position, To};
use crate::event::{Event, SyncBatch, SyncReset};
use crate::ids::{SessionId, UserId};
use crate::store::{LogPage, Logged};

/// Events a `sync:batch` holds at most.
const BATCH: usize = 100;

/// A slice of what a user missed.
#[derive(Debug)]
pub struct Missed {
    /// The events and where they end.
    pub batch: SyncBatch,
    /// The same place as a number.
    pub cursor: i64,
}

impl Chat {
    /// Where the user's event log stands, and whether a client that knows everything up to `cursor` can be brought up to
    /// date by replay.
    pub async fn sync_position(&self, user: UserId, cursor: Option<i64>) -> Result<(i64, bool)> {
        let page = self.store.log(user, i64::MAX, 1).await?;
        let limit = i64::try_from(self.config.sync_limit).unwrap_or(i64::MAX);
        let resumes =
            cursor.is_some_and(|cursor| reaches(&page, cursor) && page.head - cursor <= limit);
        Ok((page.head, resumes))
    }

    /// What a user missed after `cursor`, at most `limit` events.
    pub async fn missed(&self, user: UserId, cursor: i64, limit: usize) -> Result<Missed> {
        let page = self.store.log(user, cursor, limit.clamp(1, 500)).await?;
        if !reaches(&page, cursor) {
            return Err(ChatError::CursorTooOld);
        }
        let end = page.entries.last().map_or(cursor, |last| last.cursor);
        let now = self.clock.now();
        let mut events = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let up_to = match &entry.what {
                // One's own marks do not name the message.
                Logged::Mark { conversation, mark } if mark.user != user => {
                    self.read_up_to(*conversation, *mark).await?
                }
                _ => None,
            };
            events.push(self.view.log_entry(user, entry, up_to, now));
        }
        Ok(Missed {
            batch: SyncBatch { events, cursor: end.to_string(), more: end < page.head },
            cursor: end,
        })
    }

    /// Sends the next batch of what a resuming session missed; when it is the last, live events follow. Gives the cursor
    /// that `sync:ack` is expected to name, `None` when the session is up to date.
    pub async fn send_batch(
        &self,
        user: UserId,
        session: SessionId,
        cursor: i64,
    ) -> Result<Option<i64>> {
        let missed = match self.missed(user, cursor, BATCH).await {
            Err(ChatError::CursorTooOld) => return self.reset(user, session).await.map(|()| None),
            outcome => outcome?,
        };
        let (end, more) = (missed.cursor, missed.batch.more);
        self.delivery.send(To::Session(user, session), &Event::SyncBatch(missed.batch));
        if more {
            return Ok(Some(end));
        }
        if !self.delivery.release(user, session, end) {
            self.reset(user, session).await?;
        }
        Ok(None)
    }

    /// Has a session reload, and lets live events flow from here on.
    pub async fn reset(&self, user: UserId, session: SessionId) -> Result<()> {
        let (head, _) = self.sync_position(user, None).await?;
        self.reset_to(user, session, head);
        Ok(())
    }

    /// The same, when it is known where the log stands.
    pub fn reset_to(&self, user: UserId, session: SessionId, head: i64) {
        let reset = Event::SyncReset(SyncReset { cursor: head.to_string() });
        self.delivery.send(To::Session(user, session), &reset);
        self.delivery.release(user, session, head);
    }

    /// Sends a client without a cursor the messages that reached no device yet, oldest first, then lets live events flow.
    pub async fn replay_undelivered(
        &self,
        user: UserId,
        session: SessionId,
        head: i64,
    ) -> Result<()> {
        let undelivered = self.store.undelivered(user, self.config.replay_limit).await?;
        for (cursor, message) in undelivered.iter().filter(|(cursor, _)| *cursor <= head) {
            let event = self.view.message_event(user, message, &[], *cursor);
            let position = Position { conversation: message.conversation, seq: message.seq };
            let frame = || Frame { position: Some(position), ..Frame::new(&event) };
            self.delivery.send_frame(To::Session(user, session), frame);
        }
        self.delivery.release(user, session, head);
        Ok(())
    }
}

/// Whether the log still holds everything behind `cursor`.
fn reaches(page: &LogPage, cursor: i64) -> bool {
    (0..=page.head).contains(&cursor) && (cursor == page.head || cursor + 1 >= page.floor)
}
