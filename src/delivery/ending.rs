//! Sessions that are over, as long as their connections are there: they get no events, but count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Session;
use crate::ids::{SessionId, UserId};

/// See the module.
#[derive(Default)]
pub(super) struct Ending(HashMap<UserId, VecDeque<Arc<Session>>>);

impl Ending {
    /// Adds sessions of a user.
    pub(super) fn add(&mut self, user: UserId, sessions: &[Arc<Session>]) {
        if !sessions.is_empty() {
            self.0.entry(user).or_default().extend(sessions.iter().cloned());
        }
    }

    /// Takes the oldest of those of a user that are more than `most`; they count no longer.
    pub(super) fn excess(&mut self, user: UserId, most: usize) -> Vec<Arc<Session>> {
        let Some(ending) = self.0.get_mut(&user) else { return Vec::new() };
        let excess = ending.len().saturating_sub(most);
        ending.drain(..excess).collect()
    }

    pub(super) fn has(&self, user: UserId, session: SessionId) -> bool {
        self.0.get(&user).is_some_and(|it| it.iter().any(|other| other.about.id == session))
    }

    /// Forgets one; false when it is not there.
    pub(super) fn remove(&mut self, user: UserId, session: SessionId) -> bool {
        let Some(ending) = self.0.get_mut(&user) else { return false };
        let before = ending.len();
        ending.retain(|other| other.about.id != session);
        let gone = ending.len() < before;
        if ending.is_empty() {
            self.0.remove(&user);
        }
        gone
    }
}
