//! The way to a room: a bounded queue of commands, each with a place for its reply, and a list of notices that must not be lost.

use std::sync::{Arc, Mutex, PoisonError};

use switchboard_media::RoomKey;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::command::{Reply, Request, RoomCommand};
use super::follow::Notice;
use super::machine::Counts;
use super::{Result, RoomError};
use crate::ids::RoomId;

/// Commands that may wait for one room.
pub(super) const COMMANDS: usize = 1024;

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
    /// Without a bound of its own, as each has one: of a peer connection that it is there and that it is gone, of a socket that it is
    /// lost; what comes again by itself is dropped while as many commands wait as may.
    notices: mpsc::UnboundedSender<Notice>,
    counts: Mutex<Counts>,
}

/// Where a room's task takes what comes.
pub(super) struct Inbox {
    commands: mpsc::Receiver<Asked>,
    notices: mpsc::UnboundedReceiver<Notice>,
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
        let ends = Ends { id, key, commands, notices, counts: Mutex::default() };
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
        let _ = self.0.notices.send(notice);
    }

    /// Has the room know of something that comes again by itself; it is dropped while the room has too much before it.
    pub(super) fn note_lossy(&self, notice: Notice) {
        if self.0.commands.capacity() == 0 {
            metrics::counter!("rtc_rtp_dropped_total", "reason" => "room_events").increment(1);
        } else {
            self.note(notice);
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
            Some(notice) = self.notices.recv() => Some(Input::Notice(notice)),
            Some(asked) = self.commands.recv() => Some(Input::Asked(asked)),
            else => None,
        }
    }

    /// What is there already.
    pub(super) fn waiting(&mut self) -> Option<Input> {
        if let Ok(notice) = self.notices.try_recv() {
            return Some(Input::Notice(notice));
        }
        self.commands.try_recv().ok().map(Input::Asked)
    }
}
