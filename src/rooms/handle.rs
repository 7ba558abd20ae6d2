//! The way to a room: a bounded queue of commands, each with a place for its reply, and a list of notices that must not be lost.

use std::sync::{Arc, Mutex, PoisonError};

use switchboard_media::RoomKey;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::command::{Reply, Request, RoomCommand};
use super::follow::Notice;
use super::machine::Counts;
use super::{Result, RoomError};
use crate::ids::RoomId;

/// Commands that may wait for one room.
pub(super) const COMMANDS: usize = 1024;
/// Notices that come again by themselves that may wait for one room.
pub(super) const NOTICES: usize = 1024;

/// A notice, with the place it takes where places are counted.
type Noted = (Notice, Option<OwnedSemaphorePermit>);

/// A command and where its reply goes.
pub(super) struct Asked {
    pub(super) command: RoomCommand,
    pub(super) reply: oneshot::Sender<Result<Reply>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct RoomHandle(Arc<Ends>);

struct Ends {
    id: RoomId,
    key: RoomKey,
    commands: mpsc::Sender<Asked>,
    /// Without a bound of its own, as what it holds has one: of a peer connection that it is there and that it is gone, of a socket that
    /// it is lost; what comes again by itself takes one of the `places`.
    notices: mpsc::UnboundedSender<Noted>,
    places: Arc<Semaphore>,
    counts: Mutex<Counts>,
}

/// Where a room's task takes what comes.
pub(super) struct Inbox {
    commands: mpsc::Receiver<Asked>,
    notices: mpsc::UnboundedReceiver<Noted>,
}

/// What comes to a room.
pub(super) enum Input {
    Asked(Asked),
    Notice(Notice),
}

impl RoomHandle {
    /// The two ends of the way to a room.
    pub(super) fn new(id: RoomId, key: RoomKey) -> (Self, Inbox) {
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (notices, noted) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(NOTICES));
        let ends = Ends { id, key, commands, notices, places, counts: Mutex::default() };
        (Self(Arc::new(ends)), Inbox { commands: asked, notices: noted })
    }

    pub(super) fn id(&self) -> &RoomId {
        &self.0.id
    }

    pub(super) fn key(&self) -> RoomKey {
        self.0.key
    }

    /// Asks the room, and waits for its reply. A room that is over says [`RoomError::NotFound`].
    pub(super) async fn ask<R: Request>(&self, request: R) -> Result<R::Reply> {
        let (reply, replied) = oneshot::channel();
        let asked = Asked { command: request.command(), reply };
        match self.0.commands.try_send(asked) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(RoomError::NotFound),
            Err(TrySendError::Full(_)) => {
                metrics::counter!("rtc_room_busy_total").increment(1);
                return Err(RoomError::Busy);
            }
        }
        let reply = replied.await.map_err(|_| RoomError::NotFound)??;
        R::reply(reply).ok_or(RoomError::NotFound)
    }

    /// Has the room know of something.
    pub(super) fn note(&self, notice: Notice) {
        let _ = self.0.notices.send((notice, None));
    }

    /// Has the room know of something that comes again by itself; it is dropped while [`NOTICES`] of them wait.
    pub(super) fn note_lossy(&self, notice: Notice) {
        match Arc::clone(&self.0.places).try_acquire_owned() {
            Ok(place) => drop(self.0.notices.send((notice, Some(place)))),
            Err(_) => {
                metrics::counter!("rtc_rtp_dropped_total", "reason" => "room_events").increment(1);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_counts(&self, counts: Counts) {
        *self.0.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

impl Inbox {
    /// What comes next; `None` when nothing can come any more.
    pub(super) async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some((notice, _)) = self.notices.recv() => Some(Input::Notice(notice)),
            Some(asked) = self.commands.recv() => Some(Input::Asked(asked)),
            else => None,
        }
    }

    /// What is there already.
    pub(super) fn waiting(&mut self) -> Option<Input> {
        if let Ok((notice, _)) = self.notices.try_recv() {
            return Some(Input::Notice(notice));
        }
        self.commands.try_recv().ok().map(Input::Asked)
    }
}

#[cfg(test)]
mod tests {
    use switchboard_media::Event;

    use super::*;
    use crate::ids::SessionId;

    #[test]
    fn what_comes_again_by_itself_is_bounded_and_the_rest_is_never_lost() {
        let id = RoomId::fresh(uuid::Uuid::nil());
        let (room, mut inbox) = RoomHandle::new(id, RoomKey(1));
        let chatter = || Notice::Media(Event::Speakers { room: RoomKey(1), levels: Vec::new() });
        let lost = || Notice::Lost(SessionId::new(uuid::Uuid::nil()));
        for _ in 0..3 {
            (0..3 * NOTICES).for_each(|_| room.note_lossy(chatter()));
            (0..2 * NOTICES).for_each(|_| room.note(lost()));
            let (mut media, mut sockets) = (0, 0);
            while let Some(input) = inbox.waiting() {
                match input {
                    Input::Notice(Notice::Lost(_)) => sockets += 1,
                    _ => media += 1,
                }
            }
            assert_eq!((media, sockets), (NOTICES, 2 * NOTICES));
        }
    }
}
