//! Who is connected, and the way to them: every event to a user goes through here to all of the user's sessions, each with
//! a bounded queue of its own and in the order of the user's event log. Others name users and sessions by id.

mod backlog;
mod ending;
mod frame;
mod order;
mod receipts;
mod session;
mod stats;
mod transport;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use ending::Ending;

pub use backlog::QueueBounds;
pub use frame::{Frame, Position};
pub use receipts::{Receipt, Receipts};
pub use session::{Session, SessionInfo};
pub use stats::Stats;
pub use transport::{OnAck, Transport, TransportError};

use crate::clock::{Clock, Timestamp};
use crate::event::{CloseReason, Event, Role, SessionClosed};
use crate::ids::{SessionId, UserId};
use crate::store::TokenHash;

/// Who an event is for, by id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum To {
    /// All sessions of a user.
    User(UserId),
    /// All sessions of each of these users.
    Users(Vec<UserId>),
    /// All sessions of a user but one: the one that caused the event.
    UserExcept(UserId, Option<SessionId>),
    /// One session of a user.
    Session(UserId, SessionId),
}

/// Where an event went.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Sessions that it was queued for.
    pub delivered: usize,
    /// Users without any session: for them a push would begin here.
    pub offline: Vec<UserId>,
}

/// A session that was opened.
pub struct Opened {
    /// The handle by which its connection feeds and ends it.
    pub session: Arc<Session>,
    /// Whether the user had no other.
    pub first: bool,
}

/// Delivers events to connected clients.
pub struct Delivery {
    clock: Clock,
    bounds: QueueBounds,
    users: RwLock<HashMap<UserId, Vec<Arc<Session>>>>,
    /// Sessions that were ended, as long as their connections are there.
    ending: Mutex<Ending>,
    connections: AtomicUsize,
    receipts: mpsc::Sender<Receipt>,
}

impl Delivery {
    /// A delivery without sessions, and the receipts of devices that acknowledge messages.
    pub fn new(clock: Clock, bounds: QueueBounds) -> (Self, Receipts) {
        let (receipts, received) = mpsc::channel(receipts::WAITING);
        let (users, ending, connections) = Default::default();
        (Self { clock, bounds, users, ending, connections, receipts }, received)
    }

    /// Adds a session; logged events wait in it until [`Session::release`]. The oldest sessions of a user who then has more
    /// than `most` are closed. Of connections whose session was ended before a user has `most` at most as well: the oldest are cut.
    pub fn open(&self, about: SessionInfo, transport: Box<dyn Transport>, most: usize) -> Opened {
        let user = about.user;
        let (bounds, clock, receipts) = (self.bounds, self.clock.clone(), self.receipts.clone());
        let session = Arc::new(Session::new(about, transport, bounds, clock, receipts));
        let mut users = self.users.write();
        let sessions = users.entry(user).or_default();
        let first = sessions.is_empty();
        sessions.push(session.clone());
        let excess = sessions.len().saturating_sub(most);
        let replaced = sessions.drain(..excess).collect::<Vec<_>>();
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut ending = self.ending.lock();
        ending.add(user, &replaced);
        let excess = ending.excess(user, most);
        drop((users, ending));
        replaced.iter().for_each(|old| old.close(SessionClosed::because(CloseReason::Replaced)));
        self.connections.fetch_sub(excess.len(), Ordering::Relaxed);
        excess.iter().for_each(|old| old.cut());
        Opened { session, first }
    }

    /// Forgets a session whose connection is gone; true when it was the user's last.
    pub fn remove(&self, user: UserId, session: SessionId) -> bool {
        let last = self.detach(user, session);
        let gone = self.ending.lock().remove(user, session);
        self.connections.fetch_sub(usize::from(gone), Ordering::Relaxed);
        last
    }

    /// Takes a session that is over from its user; its connection counts until [`Self::remove`]. True when the user has no other.
    pub fn detach(&self, user: UserId, session: SessionId) -> bool {
        let mut users = self.users.write();
        let Some(sessions) = users.get_mut(&user) else {
            return self.ending.lock().has(user, session);
        };
        let over: Vec<_> = sessions.extract_if(.., |other| other.about.id == session).collect();
        let last = sessions.is_empty() && !over.is_empty();
        if sessions.is_empty() {
            users.remove(&user);
        } else {
            sessions.shrink_to_fit();
        }
        self.ending.lock().add(user, &over);
        last
    }

    fn of(&self, user: UserId) -> Vec<Arc<Session>> {
        let users = self.users.read();
        users.get(&user).cloned().unwrap_or_default()
    }

    fn find(&self, user: UserId, session: SessionId) -> Option<Arc<Session>> {
        let users = self.users.read();
        users.get(&user)?.iter().find(|other| other.about.id == session).cloned()
    }

    /// The sessions of a user, oldest first.
    pub fn sessions(&self, user: UserId) -> Vec<SessionInfo> {
        self.of(user).iter().map(|session| session.info()).collect()
    }

    /// What `look` takes from each session of a user, oldest first, without a copy of the rest.
    pub fn of_each_session<T>(&self, user: UserId, look: impl Fn(&SessionInfo) -> T) -> Vec<T> {
        let users = self.users.read();
        users.get(&user).into_iter().flatten().map(|session| look(&session.about)).collect()
    }

    /// One session of a user, while it is open.
    pub fn session(&self, user: UserId, session: SessionId) -> Option<SessionInfo> {
        self.find(user, session).map(|session| session.info())
    }

    /// Whether the session is open.
    pub fn is_open(&self, user: UserId, session: SessionId) -> bool {
        self.find(user, session).is_some()
    }

    /// Whether the user has a session.
    pub fn is_online(&self, user: UserId) -> bool {
        self.users.read().contains_key(&user)
    }

    /// The last sign of life of a user who has a session.
    pub fn last_activity(&self, user: UserId) -> Option<Timestamp> {
        let users = self.users.read();
        users.get(&user)?.iter().map(|session| session.last_activity()).max()
    }

    /// Everyone with an account and a session, in order of id.
    pub fn online(&self) -> Vec<UserId> {
        let users = self.users.read();
        let mut online: Vec<_> = users.keys().filter(|user| !user.is_guest()).copied().collect();
        drop(users);
        online.sort_unstable();
        online
    }

    /// How many sessions there are, those whose connection outlives them included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Every open session, for the socket layer, which watches over their tokens.
    pub fn open_sessions(&self) -> Vec<Arc<Session>> {
        let users = self.users.read();
        users.values().flatten().cloned().collect()
    }

    /// Ends one session; false when it is not open.
    pub fn close(&self, user: UserId, session: SessionId, closed: SessionClosed) -> bool {
        let found = self.find(user, session);
        self.detach(user, session);
        found.inspect(|session| session.close(closed)).is_some()
    }

    /// Takes operators' rights from all sessions of a user, whose role is this one now.
    pub fn lower_role(&self, user: UserId, role: Role) {
        let sessions = self.of(user);
        let lowered = sessions.iter().filter(|session| session.role().is_operator());
        lowered.for_each(|session| session.set_role(role));
    }

    /// Ends the sessions of the guests who came by a room token.
    pub fn close_guests(&self, token: TokenHash, closed: &SessionClosed) {
        let sessions = self.open_sessions();
        for about in sessions.iter().map(|session| &session.about) {
            if about.token == Some(token) {
                self.close(about.user, about.id, closed.clone());
            }
        }
    }

    /// Ends all sessions of a user, who is not online from now on.
    pub fn close_user(&self, user: UserId, closed: &SessionClosed) {
        let sessions = {
            let mut users = self.users.write();
            let sessions = users.remove(&user).unwrap_or_default();
            self.ending.lock().add(user, &sessions);
            sessions
        };
        sessions.iter().for_each(|session| session.close(closed.clone()));
    }

    /// Ends all sessions.
    pub fn close_all(&self, closed: &SessionClosed) {
        self.open_sessions().iter().for_each(|session| session.close(closed.clone()));
    }

    /// Lets the logged events behind `cursor` flow to a session; `false` when more came meanwhile than may wait, and its
    /// client must reload.
    pub fn release(&self, user: UserId, session: SessionId, cursor: i64) -> bool {
        self.find(user, session).is_none_or(|session| session.release(cursor))
    }

    /// Sends an event that is in no log, encoded once whatever the number of sessions.
    pub fn send(&self, to: To, event: &Event) -> Outcome {
        self.send_frame(to, || Frame::new(event))
    }

    /// Sends an event of the user's log, the `cursor`th, to all sessions of the user, each in the order of the log. A
    /// received message names its `position`, so that a device that acknowledges it counts as delivery.
    pub fn send_logged(
        &self,
        user: UserId,
        cursor: i64,
        event: &Event,
        position: Option<Position>,
    ) -> Outcome {
        let frame = || Frame { cursor: Some(cursor), position, ..Frame::new(event) };
        self.send_frame(To::User(user), frame)
    }

    /// As [`Self::send`], for what is encoded already; `frame` runs at most once, and only when a session is there.
    pub fn send_frame(&self, to: To, frame: impl FnOnce() -> Frame) -> Outcome {
        let mut outcome = Outcome::default();
        let (mut frame, mut build) = (None, Some(frame));
        let mut each = |user: UserId, chosen: &dyn Fn(SessionId) -> bool| {
            let sessions = self.of(user);
            for session in sessions.iter().filter(|session| chosen(session.about.id)) {
                let encoded = frame.get_or_insert_with(|| build.take().map(|build| build()));
                if let Some(frame) = encoded {
                    session.deliver(frame.clone());
                    outcome.delivered += 1;
                }
            }
            if sessions.is_empty() {
                outcome.offline.push(user);
            }
        };
        match to {
            To::User(user) => each(user, &|_| true),
            To::Users(users) => users.into_iter().for_each(|user| each(user, &|_| true)),
            To::UserExcept(user, except) => each(user, &|id| Some(id) != except),
            To::Session(user, session) => each(user, &|id| id == session),
        }
        outcome
    }
}
