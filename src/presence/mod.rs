//! Presence: who is there, who gets to know, and the grace that spares everyone a flicker.

#[cfg(test)]
mod tests;
mod watchers;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{self, Audience, Config};
use crate::delivery::{Delivery, SessionInfo, To};
use crate::error::{Failure, Reason};
use crate::event::{Event, Snapshot, UserStatus};
use crate::ids::{SessionId, UserId};
use crate::policy::{self, Actor, Relation, Verb};
use crate::store::{Store, StoreError};
use crate::view::View;

use watchers::Watchers;

/// People whose status one session gets at most, by acquaintance and by subscription each.
pub const CONTACTS: usize = 500;
/// Contacts that are looked at when a session subscribes.
const CIRCLE: usize = 10_000;

/// Why a subscription was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PresenceError {
    #[error(
        "One session can follow {CONTACTS} people, and this one would follow {would}; send presence:unsubscribe for others first"
    )]
    TooMany { would: usize },
    #[error(
        "This server follows {limit} people for all its clients together, and no more; try again later"
    )]
    Full { limit: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for PresenceError {
    fn reason(&self) -> Reason {
        match self {
            Self::TooMany { .. } => Reason::InvalidData,
            Self::Full { .. } => Reason::Unavailable,
            Self::Store(error) => error.reason(),
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::TooMany { .. } => Some(json!({ "field": "userIds", "limit": CONTACTS })),
            Self::Full { limit } => Some(json!({ "limit": limit })),
            Self::Store(_) => None,
        }
    }
}

type Result<T> = std::result::Result<T, PresenceError>;

/// Figures of presence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Subscriptions: pairs of a session and a person it follows.
    pub subscriptions: usize,
    /// Sessions that follow anyone.
    pub subscribers: usize,
}

/// Lets people know who is there.
pub struct Presence {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    config: config::Presence,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watchers: Watchers,
    /// Gone, but within the grace.
    leaving: HashSet<UserId>,
}

impl Presence {
    /// Presence under this configuration.
    pub fn new(
        config: &Config,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
    ) -> Self {
        let (config, state) = (config.presence.clone(), Mutex::default());
        Self { store, delivery, view, clock, config, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures of this moment.
    pub fn stats(&self) -> Stats {
        self.lock().watchers.stats()
    }

    /// A session opened: it gets the states of the others, and they the user's when this is the first.
    pub async fn arrived(&self, session: &SessionInfo, first: bool) -> Result<()> {
        let user = session.user;
        let returned = self.lock().leaving.remove(&user);
        let contacts = self.contacts(user).await?;
        let states = self.states(contacts.clone()).await?;
        let snapshot = Event::PresenceSnapshot(Snapshot { states });
        self.delivery.send(To::Session(user, session.id), &snapshot);
        if first && !returned {
            self.announce_to(user, &contacts).await?;
        }
        Ok(())
    }

    /// The last session of `user` closed: after the grace, if the user has not come back, the others get to know.
    pub async fn left(self: &Arc<Self>, user: UserId, legacy_cursor: i64) -> Result<()> {
        self.lock().leaving.insert(user);
        self.store.touch_user(user, self.clock.now(), legacy_cursor).await?;
        tokio::time::sleep(Duration::from_secs(self.config.grace)).await;
        if self.lock().leaving.remove(&user) && !self.delivery.is_online(user) {
            self.announce(user).await?;
        }
        Ok(())
    }

    /// Sends everyone concerned the status of `user`.
    pub async fn announce(&self, user: UserId) -> Result<()> {
        let contacts = self.contacts(user).await?;
        self.announce_to(user, &contacts).await
    }

    async fn announce_to(&self, user: UserId, contacts: &[UserId]) -> Result<()> {
        let mut audience: BTreeSet<UserId> = match self.config.audience {
            Audience::All => self.delivery.online().into_iter().collect(),
            Audience::Contacts | Audience::None => contacts.iter().copied().collect(),
        };
        audience.extend(self.lock().watchers.of(user));
        audience.retain(|watcher| *watcher != user && self.delivery.is_online(*watcher));
        if audience.is_empty() {
            return Ok(());
        }
        let Some(record) = self.store.user(user).await? else { return Ok(()) };
        let event = Event::UserStatus(self.view.status(&record));
        self.delivery.send(To::Users(audience.into_iter().collect()), &event);
        Ok(())
    }

    /// The people who get the status of `user`, as far as `presence.audience` goes by acquaintance.
    async fn contacts(&self, user: UserId) -> Result<Vec<UserId>> {
        match self.config.audience {
            Audience::None => Ok(Vec::new()),
            Audience::All => {
                let others = self.delivery.online().into_iter().filter(|other| *other != user);
                Ok(others.take(CONTACTS).collect())
            }
            Audience::Contacts => self.acquainted(user, CONTACTS).await,
        }
    }

    async fn acquainted(&self, user: UserId, limit: usize) -> Result<Vec<UserId>> {
        let since = Duration::from_secs(self.config.contacts_days * 86_400);
        Ok(self.store.contacts(user, self.clock.now().before(since), limit).await?)
    }

    /// The states of these people; unknown ones are left out.
    async fn states(&self, users: Vec<UserId>) -> Result<Vec<UserStatus>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.users(users).await?.iter().map(|record| self.view.status(record)).collect())
    }

    /// Sends a session the status of these people from now on; gives their present states. People whose presence is not for
    /// this user are left out, like unknown ones.
    pub async fn subscribe(
        &self,
        by: Actor,
        session: SessionId,
        users: &[UserId],
    ) -> Result<Vec<UserStatus>> {
        let seen = self.visible(by, users).await?;
        self.lock().watchers.add(by.user, session, &seen)?;
        // It may have ended while its contacts were read, and then nothing would take this back.
        if !self.delivery.is_open(by.user, session) {
            self.forget(by.user, session);
        }
        self.states(seen).await
    }

    /// Those of `users` whose presence the actor may see.
    async fn visible(&self, by: Actor, users: &[UserId]) -> Result<Vec<UserId>> {
        let contacts = match self.config.audience {
            Audience::Contacts if !by.is_operator() => self.acquainted(by.user, CIRCLE).await?,
            _ => Vec::new(),
        };
        let relation = |user: UserId| match self.config.audience {
            _ if user == by.user => Relation::Oneself,
            Audience::All => Relation::Contact,
            Audience::Contacts if contacts.contains(&user) => Relation::Contact,
            Audience::Contacts | Audience::None => Relation::Stranger,
        };
        let may = |user: &UserId| policy::may(by, Verb::SeePresence, relation(*user)).is_ok();
        Ok(users.iter().copied().filter(may).collect())
    }

    /// Ends what is held of the presence of others by a person whose account is disabled, and shows others at once that the person is
    /// gone. With `erased` nobody follows the person any more.
    pub async fn revoke(&self, user: UserId, erased: bool) -> Result<()> {
        {
            let mut state = self.lock();
            state.leaving.remove(&user);
            state.watchers.forget_user(user);
        }
        let announced = self.announce(user).await;
        if erased {
            self.lock().watchers.forget_target(user);
        }
        announced
    }

    /// Ends the subscriptions that a person whose role is lower now may no longer have.
    pub async fn narrow(&self, by: Actor) -> Result<()> {
        let followed = self.lock().watchers.followed_by(by.user);
        for (session, users) in followed {
            let seen = self.visible(by, &users).await?;
            let hidden: Vec<_> = users.into_iter().filter(|user| !seen.contains(user)).collect();
            self.unsubscribe(by.user, session, &hidden);
        }
        Ok(())
    }

    /// No longer sends a session the status of these people.
    pub fn unsubscribe(&self, user: UserId, session: SessionId, users: &[UserId]) {
        self.lock().watchers.remove(user, session, users);
    }

    /// A session ended.
    pub fn forget(&self, user: UserId, session: SessionId) {
        self.lock().watchers.forget(user, session);
    }
}
