//! Who is connected, and the way to them: every event to a user goes through here to all of the user's sessions, each with
//! a bounded queue of its own and in the order of the user's event log.

mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use session::{About, Bounds, Confirm, Frame, Session, Wire, WireError};

use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::ids::{ConversationId, SessionId, UserId};

/// Delivers events to connected clients.
pub struct Outbox {
    clock: Clock,
    bounds: Bounds,
    users: RwLock<HashMap<UserId, Vec<Arc<Session>>>>,
    connections: AtomicUsize,
    delivered: Arc<session::Delivered>,
}

impl Outbox {
    /// An outbox with nobody connected.
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
    pub fn on_delivered(&self, told: impl Fn(UserId, ConversationId, i64) + Send + Sync + 'static) {
        let _ = self.delivered.set(Box::new(told));
    }

    /// Adds a session; logged events wait in it until [`Session::release`]. Gives the sessions that go because the user has
    /// more than `most`.
    pub fn open(
        &self,
        about: About,
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
        self.report();
        (session, replaced)
    }

    /// Forgets a session; true when it was the user's last.
    pub fn close(&self, session: &Session) -> bool {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let Some(sessions) = users.get_mut(&session.about.user) else { return false };
        let before = sessions.len();
        sessions.retain(|other| other.about.id != session.about.id);
        self.connections.fetch_sub(before - sessions.len(), Ordering::Relaxed);
        self.report();
        let last = sessions.is_empty() && before > 0;
        if sessions.is_empty() {
            users.remove(&session.about.user);
        } else {
            sessions.shrink_to_fit();
        }
        last
    }

    #[allow(clippy::cast_precision_loss)]
    fn report(&self) {
        metrics::gauge!("rtc_socket_connections")
            .set(self.connections.load(Ordering::Relaxed) as f64);
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

    /// Sends an event to all sessions of a user.
    pub fn deliver(&self, user: UserId, event: &Event) {
        self.deliver_but(user, None, event);
    }

    /// Sends an event to all sessions of a user but one.
    pub fn deliver_but(&self, user: UserId, but: Option<SessionId>, event: &Event) {
        let sessions = self.sessions(user);
        if sessions.is_empty() {
            return;
        }
        let frame = Frame::new(event);
        for session in sessions.iter().filter(|session| Some(session.about.id) != but) {
            session.deliver(frame.clone());
        }
    }

    /// Sends an event of the user's log, the `cursor`th, to all sessions of the user, each in the order of the log. A
    /// received message names its place, so that a device that acknowledges it counts as delivery.
    pub fn deliver_logged(
        &self,
        user: UserId,
        cursor: i64,
        event: &Event,
        place: Option<(ConversationId, i64)>,
    ) {
        let sessions = self.sessions(user);
        if sessions.is_empty() {
            return;
        }
        let frame = Frame { cursor: Some(cursor), place, ..Frame::new(event) };
        for session in &sessions {
            session.deliver(frame.clone());
        }
    }

    /// How long ago the moment was.
    pub fn age(&self, moment: Timestamp) -> Duration {
        self.clock.now().since(moment)
    }
}

#[cfg(test)]
mod tests;
