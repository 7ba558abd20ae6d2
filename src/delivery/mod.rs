//! Who is connected, and the way to them: every event to a user goes through here to all of the user's sessions, each with
//! a bounded queue of its own and in the order of the user's event log.

mod session;
mod stats;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use session::{Bounds, Confirm, Frame, Session, SessionInfo, Wire, WireError};
pub use stats::Stats;

use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::ids::{ConversationId, SessionId, UserId};

/// Who an event is for, by id: sessions are known in this module only.
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

/// Delivers events to connected clients.
pub struct Delivery {
    clock: Clock,
    bounds: Bounds,
    users: RwLock<HashMap<UserId, Vec<Arc<Session>>>>,
    connections: AtomicUsize,
    delivered: Arc<session::Delivered>,
}

impl Delivery {
    /// A delivery with nobody connected.
    pub fn new(clock: Clock, bounds: Bounds) -> Self {
        Self {
            clock,
            bounds,
            users: RwLock::default(),
            connections: AtomicUsize::new(0),
            delivered: Arc::default(),
        }
    }

    /// Says who wants to know that a device acknowledged a received message: the receiver, and its place.
    pub fn on_delivered(
        &self,
        callback: impl Fn(UserId, ConversationId, i64) + Send + Sync + 'static,
    ) {
        let _ = self.delivered.set(Box::new(callback));
    }

    /// Adds a session; logged events wait in it until [`Session::release`]. Gives the sessions that go because the user has
    /// more than `most`.
    pub fn open(
        &self,
        about: SessionInfo,
        wire: Box<dyn Wire>,
        most: usize,
    ) -> (Arc<Session>, Vec<Arc<Session>>) {
        let user = about.user;
        let session = Arc::new(Session::new(
            about,
            wire,
            self.bounds,
            self.clock.clone(),
            self.delivered.clone(),
        ));
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let sessions = users.entry(user).or_default();
        sessions.push(session.clone());
        let excess = sessions.len().saturating_sub(most);
        let replaced = sessions.drain(..excess).collect::<Vec<_>>();
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_sub(replaced.len(), Ordering::Relaxed);
        (session, replaced)
    }

    /// Forgets a session; true when it was the user's last.
    pub fn close(&self, session: &Session) -> bool {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let Some(sessions) = users.get_mut(&session.about.user) else { return false };
        let before = sessions.len();
        sessions.retain(|other| other.about.id != session.about.id);
        self.connections.fetch_sub(before - sessions.len(), Ordering::Relaxed);
        let last = sessions.is_empty() && before > 0;
        if sessions.is_empty() {
            users.remove(&session.about.user);
        } else {
            sessions.shrink_to_fit();
        }
        last
    }

    /// The sessions of a user.
    pub fn sessions(&self, user: UserId) -> Vec<Arc<Session>> {
        self.users
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&user)
            .cloned()
            .unwrap_or_default()
    }

    /// Whether the user has a session.
    pub fn is_online(&self, user: UserId) -> bool {
        self.users.read().unwrap_or_else(PoisonError::into_inner).contains_key(&user)
    }

    /// Everyone with an account and a session, in order of id.
    pub fn online(&self) -> Vec<UserId> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let mut online: Vec<_> = users.keys().filter(|user| !user.is_guest()).copied().collect();
        drop(users);
        online.sort_unstable();
        online
    }

    /// How many sessions there are.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Every session there is.
    pub fn everyone(&self) -> Vec<Arc<Session>> {
        self.users
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .flatten()
            .cloned()
            .collect()
    }

    /// Sends an event that is in no log, encoded once whatever the number of sessions.
    pub fn send(&self, to: To, event: &Event) -> Outcome {
        self.send_frame(to, || Frame::new(event))
    }

    /// Sends an event of the user's log, the `cursor`th, to all sessions of the user, each in the order of the log. A
    /// received message names its `place`, so that a device that acknowledges it counts as delivery.
    pub fn send_logged(
        &self,
        user: UserId,
        cursor: i64,
        event: &Event,
        place: Option<(ConversationId, i64)>,
    ) -> Outcome {
        let frame = || Frame { cursor: Some(cursor), place, ..Frame::new(event) };
        self.send_frame(To::User(user), frame)
    }

    /// As [`Self::send`], for what is encoded already; `frame` runs when at least one session is there.
    pub fn send_frame(&self, to: To, frame: impl FnOnce() -> Frame) -> Outcome {
        let mut outcome = Outcome::default();
        let (mut frame, mut build) = (None, Some(frame));
        let mut each = |user: UserId, chosen: &dyn Fn(SessionId) -> bool| {
            let sessions = self.sessions(user);
            let before = outcome.delivered;
            for session in sessions.iter().filter(|session| chosen(session.about.id)) {
                let encoded = frame.get_or_insert_with(|| build.take().map(|build| build()));
                if let Some(frame) = encoded {
                    session.deliver(frame.clone());
                    outcome.delivered += 1;
                }
            }
            if outcome.delivered == before && sessions.is_empty() {
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

    /// How long ago the moment was.
    pub fn age(&self, moment: Timestamp) -> Duration {
        self.clock.now().since(moment)
    }
}

#[cfg(test)]
mod tests;
