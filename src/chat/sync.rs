//! What a user missed: from the event log with a cursor, or plainly for clients that keep none.

use std::sync::Arc;

use super::{Chat, ChatError, Result};
use crate::delivery::{Frame, Session};
use crate::event::{Event, SyncBatch, SyncReset};
use crate::ids::UserId;
use crate::store::LogPage;

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
        let events =
            page.entries.iter().map(|entry| self.view.log_entry(user, entry, now)).collect();
        Ok(Missed {
            batch: SyncBatch { events, cursor: end.to_string(), more: end < page.head },
            cursor: end,
        })
    }

    /// Sends the next batch of what a resuming session missed; when it is the last, live events follow. Gives the cursor
    /// that `sync:ack` is expected to name, `None` when the session is up to date.
    pub async fn send_batch(&self, session: &Arc<Session>, cursor: i64) -> Result<Option<i64>> {
        let missed = match self.missed(session.about.user, cursor, BATCH).await {
            Err(ChatError::CursorTooOld) => return self.reset(session).await.map(|()| None),
            outcome => outcome?,
        };
        let (end, more) = (missed.cursor, missed.batch.more);
        session.deliver(Frame::new(&Event::SyncBatch(missed.batch)));
        if more {
            return Ok(Some(end));
        }
        if !session.release(end) {
            self.reset(session).await?;
        }
        Ok(None)
    }

    /// Tells a session to reload, and lets live events flow from here on.
    pub async fn reset(&self, session: &Arc<Session>) -> Result<()> {
        let (head, _) = self.sync_position(session.about.user, None).await?;
        self.reset_to(session, head);
        Ok(())
    }

    /// The same, when it is known where the log stands.
    pub fn reset_to(&self, session: &Arc<Session>, head: i64) {
        session.deliver(Frame::new(&Event::SyncReset(SyncReset { cursor: head.to_string() })));
        session.release(head);
    }

    /// Sends a client without a cursor the messages that reached no device yet, oldest first, then lets live events flow.
    pub async fn replay_undelivered(&self, session: &Arc<Session>, head: i64) -> Result<()> {
        let user = session.about.user;
        let undelivered = self.store.undelivered(user, self.config.replay_limit).await?;
        for (cursor, message) in undelivered.iter().filter(|(cursor, _)| *cursor <= head) {
            let event = self.view.message_event(user, message, &[], *cursor);
            let place = Some((message.conversation, message.seq));
            session.deliver(Frame { place, ..Frame::new(&event) });
        }
        session.release(head);
        Ok(())
    }
}

/// Whether the log still holds everything behind `cursor`.
fn reaches(page: &LogPage, cursor: i64) -> bool {
    (0..=page.head).contains(&cursor) && (cursor == page.head || cursor + 1 >= page.floor)
}
