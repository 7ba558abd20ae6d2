//! Presence: who is there, who is told, and the grace that spares everybody a flicker.

mod stats;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::stats::Stats;
use crate::clock::Clock;
use crate::config::{self, Audience, Config};
use crate::delivery::{Delivery, Session, To};
use crate::event::{Event, Snapshot, UserStatus};
use crate::ids::{SessionId, UserId};
use crate::store::{Result, Store};
use crate::view::View;

/// People of whom one is told at most.
const CONTACTS: usize = 500;

/// Tells people who is there.
pub struct Presence {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    config: config::Presence,
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    by_target: HashMap<UserId, HashSet<(UserId, SessionId)>>,
    by_session: HashMap<SessionId, HashSet<UserId>>,
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
        Self {
            store,
            delivery,
            view,
            clock,
            config: config.presence.clone(),
            watchers: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session opened: its owner is told of the others, and they of the owner when this is the first.
    pub async fn arrived(&self, session: &Arc<Session>, first: bool) -> Result<()> {
        let user = session.about.user;
        let returned = self.lock().leaving.remove(&user);
        let contacts = self.contacts(user).await?;
        let states = self.states(contacts.clone()).await?;
        session.deliver(crate::delivery::Frame::new(&Event::PresenceSnapshot(Snapshot { states })));
        if first && !returned {
            self.announce_to(user, &contacts).await?;
        }
        Ok(())
    }

    /// The last session of `user` closed: after the grace, if nobody came back, the others are told.
    pub async fn left(self: &Arc<Self>, user: UserId, plain_cursor: i64) -> Result<()> {
        self.lock().leaving.insert(user);
        self.store.touch_user(user, self.clock.now(), plain_cursor).await?;
        tokio::time::sleep(Duration::from_secs(self.config.grace)).await;
        if self.lock().leaving.remove(&user) && !self.delivery.is_online(user) {
            self.announce(user).await?;
        }
        Ok(())
    }

    /// Tells everybody concerned how `user` is.
    pub async fn announce(&self, user: UserId) -> Result<()> {
        let contacts = self.contacts(user).await?;
        self.announce_to(user, &contacts).await
    }

    async fn announce_to(&self, user: UserId, contacts: &[UserId]) -> Result<()> {
        let mut audience: BTreeSet<UserId> = match self.config.audience {
            Audience::All => self.delivery.online().into_iter().collect(),
            Audience::Contacts | Audience::None => contacts.iter().copied().collect(),
        };
        let watching = self.lock().by_target.get(&user).cloned().unwrap_or_default();
        audience.extend(watching.into_iter().map(|(watcher, _)| watcher));
        audience.retain(|watcher| *watcher != user && self.delivery.is_online(*watcher));
        if audience.is_empty() {
            return Ok(());
        }
        let Some(record) = self.store.user(user).await? else { return Ok(()) };
        let event = Event::UserStatus(self.view.status(&record));
        self.delivery.send(To::Users(audience.into_iter().collect()), &event);
        Ok(())
    }

    /// The people who are told of `user`, as far as `presence.audience` goes by acquaintance.
    async fn contacts(&self, user: UserId) -> Result<Vec<UserId>> {
        match self.config.audience {
            Audience::None => Ok(Vec::new()),
            Audience::All => Ok(self
                .delivery
                .online()
                .into_iter()
                .filter(|other| *other != user)
                .take(CONTACTS)
                .collect()),
            Audience::Contacts => {
                let days = Duration::from_secs(self.config.contacts_days * 86_400);
                self.store.contacts(user, self.clock.now().before(days), CONTACTS).await
            }
        }
    }

    /// How these people are; unknown ones are left out.
    pub async fn states(&self, users: Vec<UserId>) -> Result<Vec<UserStatus>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.users(users).await?.iter().map(|record| self.view.status(record)).collect())
    }

    /// Tells a session of these people from now on; gives their present states.
    pub async fn subscribe(
        &self,
        session: &Session,
        users: Vec<UserId>,
    ) -> Result<Vec<UserStatus>> {
        {
            let (mut watchers, about) = (self.lock(), &session.about);
            for user in users.iter().take(CONTACTS) {
                watchers.by_target.entry(*user).or_default().insert((about.user, about.id));
                watchers.by_session.entry(about.id).or_default().insert(*user);
            }
        }
        self.states(users).await
    }

    /// No longer tells a session of these people.
    pub fn unsubscribe(&self, session: &Session, users: &[UserId]) {
        let mut watchers = self.lock();
        for user in users {
            watchers.drop_one(*user, session);
        }
    }

    /// A session closed.
    pub fn forget(&self, session: &Session) {
        let mut watchers = self.lock();
        for user in watchers.by_session.remove(&session.about.id).unwrap_or_default() {
            watchers.drop_one(user, session);
        }
    }
}

impl Watchers {
    fn drop_one(&mut self, target: UserId, session: &Session) {
        if let Some(watching) = self.by_target.get_mut(&target) {
            watching.remove(&(session.about.user, session.about.id));
            if watching.is_empty() {
                self.by_target.remove(&target);
            }
        }
        if let Some(watched) = self.by_session.get_mut(&session.about.id) {
            watched.remove(&target);
        }
    }
}
