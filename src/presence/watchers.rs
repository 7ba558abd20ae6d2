//! Who asked for whose status: bounded for a session and for the server, and forgotten with the session.

use std::collections::{HashMap, HashSet};

use super::{CONTACTS, PresenceError, Result, Stats};
use crate::ids::{SessionId, UserId};

/// Subscriptions of all sessions together; each takes some 200 bytes.
pub(super) const SUBSCRIPTIONS: usize = 200_000;

/// See the module.
#[derive(Default)]
pub(super) struct Watchers {
    by_target: HashMap<UserId, HashSet<(UserId, SessionId)>>,
    by_session: HashMap<SessionId, HashSet<UserId>>,
    subscriptions: usize,
}

impl Watchers {
    pub(super) fn stats(&self) -> Stats {
        Stats { subscriptions: self.subscriptions, subscribers: self.by_session.len() }
    }

    /// The users who follow `target`, some of them by several sessions.
    pub(super) fn of(&self, target: UserId) -> impl Iterator<Item = UserId> + '_ {
        self.by_target.get(&target).into_iter().flatten().map(|(watcher, _)| *watcher)
    }

    /// Has a session follow these people, all or none.
    pub(super) fn add(
        &mut self,
        user: UserId,
        session: SessionId,
        targets: &[UserId],
    ) -> Result<()> {
        let known = self.by_session.get(&session);
        let fresh: HashSet<_> = targets
            .iter()
            .copied()
            .filter(|target| known.is_none_or(|known| !known.contains(target)))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let would = known.map_or(0, HashSet::len) + fresh.len();
        if would > CONTACTS {
            return Err(PresenceError::TooMany { would });
        }
        if self.subscriptions + fresh.len() > SUBSCRIPTIONS {
            metrics::counter!("rtc_presence_subscriptions_refused_total").increment(1);
            return Err(PresenceError::Full { limit: SUBSCRIPTIONS });
        }
        self.subscriptions += fresh.len();
        for target in &fresh {
            self.by_target.entry(*target).or_default().insert((user, session));
        }
        self.by_session.entry(session).or_default().extend(fresh);
        Ok(())
    }

    /// Drops the subscriptions of a session to these people.
    pub(super) fn remove(&mut self, user: UserId, session: SessionId, targets: &[UserId]) {
        let Some(followed) = self.by_session.get_mut(&session) else { return };
        let dropped: Vec<_> =
            targets.iter().copied().filter(|target| followed.remove(target)).collect();
        if followed.is_empty() {
            self.by_session.remove(&session);
        }
        self.drop_watcher(user, session, dropped);
    }

    /// Drops all subscriptions of a session.
    pub(super) fn forget(&mut self, user: UserId, session: SessionId) {
        let followed = self.by_session.remove(&session).unwrap_or_default();
        self.drop_watcher(user, session, followed);
    }

    /// Whom each session of a user follows.
    pub(super) fn followed_by(&self, user: UserId) -> Vec<(SessionId, Vec<UserId>)> {
        let watching = self.by_target.values().flatten();
        let sessions: HashSet<_> =
            watching.filter(|(watcher, _)| *watcher == user).map(|(_, session)| *session).collect();
        let followed = |session| self.by_session.get(&session).into_iter().flatten().copied();
        sessions.into_iter().map(|session| (session, followed(session).collect())).collect()
    }

    /// Drops all subscriptions of all sessions of a user.
    pub(super) fn forget_user(&mut self, user: UserId) {
        for (session, _) in self.followed_by(user) {
            self.forget(user, session);
        }
    }

    /// Drops all subscriptions to a person.
    pub(super) fn forget_target(&mut self, target: UserId) {
        let watching: Vec<_> = self.by_target.get(&target).into_iter().flatten().copied().collect();
        for (user, session) in watching {
            self.remove(user, session, &[target]);
        }
    }

    fn drop_watcher(
        &mut self,
        user: UserId,
        session: SessionId,
        targets: impl IntoIterator<Item = UserId>,
    ) {
        for target in targets {
            self.subscriptions -= 1;
            let Some(watching) = self.by_target.get_mut(&target) else { continue };
            watching.remove(&(user, session));
            if watching.is_empty() {
                self.by_target.remove(&target);
            }
        }
    }
}
