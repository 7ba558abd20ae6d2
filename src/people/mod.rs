//! People: accounts that come into being with their first token, profiles, and the directory.

mod admit;
mod devices;
mod directory;
mod erase;
mod known;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::delivery::Delivery;
use crate::error::{Failure, Reason};
use crate::event::{Gender, PresenceMode, Role, User};
use crate::fact::{Fact, FactKind};
use crate::ids::{FactId, UserId};
use crate::revocation::{AccessChange, AccessChanges};
use crate::store::{Profile, Settings, Store, StoreError};
use crate::view::{Detail, View};

pub use directory::{DirectoryQuery, DirectorySlice};

use known::Known;

/// The people whom `--dev` makes: id and name.
pub const DEV_PEOPLE: [(i64, &str); 3] = [(101, "Ada"), (102, "Ben"), (103, "Cem")];

/// Why something about people was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PeopleError {
    #[error("This account is disabled")]
    Disabled,
    #[error("Another account has the uid of this token")]
    UidTaken,
    #[error("No account has this user id")]
    Unknown,
    #[error("There is no such job")]
    UnknownJob,
    #[error("This cursor was not given by this server; start again without it")]
    Cursor,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for PeopleError {
    fn reason(&self) -> Reason {
        match self {
            Self::Disabled => Reason::UserDisabled,
            Self::UidTaken => Reason::TokenInvalid,
            Self::Unknown => Reason::UnknownUser,
            Self::UnknownJob => Reason::NotFound,
            Self::Cursor => Reason::InvalidCursor,
            Self::Store(error) => error.reason(),
        }
    }
}

/// What the backend says of a person (`PUT /api/users/{userId}`).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Upsert {
    pub uid: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub mobile: Option<String>,
    pub gender: Option<Gender>,
    pub user_type: Option<String>,
}

/// Accounts, profiles and the directory.
pub struct People {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    limits: Limits,
    changes: AccessChanges,
    known: Mutex<Known>,
}

impl People {
    /// People under this configuration.
    pub fn new(
        config: &Config,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
        changes: AccessChanges,
    ) -> Self {
        let (limits, known) = (config.limits.clone(), Mutex::default());
        Self { store, delivery, view, clock, limits, changes, known }
    }

    /// Makes or updates an account at the backend's word.
    pub async fn upsert(&self, user_id: UserId, upsert: Upsert) -> Result<User, PeopleError> {
        let role = self.store.user(user_id).await?.map_or(Role::User, |user| user.profile.role);
        let Upsert { uid, email, name, mobile, gender, user_type } = upsert;
        let account = self
            .save(Profile { user_id, uid, email, name, mobile, gender, user_type, role })
            .await?;
        self.known().remember(&account, self.clock.now());
        Ok(self.view.user(&account, Detail::Full))
    }

    /// One's own profile.
    pub async fn me(&self, me: UserId) -> Result<User, PeopleError> {
        let account = self.store.user(me).await?.ok_or(PeopleError::Unknown)?;
        Ok(self.view.user(&account, Detail::Full))
    }

    /// Changes one's own profile.
    pub async fn change(
        &self,
        me: UserId,
        name: Option<String>,
        status_text: Option<String>,
        presence: Option<PresenceMode>,
    ) -> Result<User, PeopleError> {
        let settings = Settings { name, status_text, presence };
        let account = self.store.save_settings(me, settings, self.clock.now()).await?;
        self.known().remember(&account, self.clock.now());
        Ok(self.view.user(&account, Detail::Full))
    }

    /// Disables an account, and returns when everything that the person holds has ended; or enables it again.
    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<(), PeopleError> {
        let change = match disabled {
            true => AccessChange::AccountDisabled(user),
            false => AccessChange::AccountEnabled(user),
        };
        self.close_or_open(user, disabled).await?;
        self.changes.announce(change).await;
        Ok(())
    }

    /// Stores that an account is disabled or enabled; from now on every token of it is refused, or taken again.
    async fn close_or_open(&self, user: UserId, disabled: bool) -> Result<(), PeopleError> {
        let kind = if disabled { FactKind::UserDisabled } else { FactKind::UserEnabled };
        let facts = vec![self.fact(kind, user)];
        let known = self.store.set_disabled(user, disabled, self.clock.now(), facts).await;
        known.map_err(|error| {
            if error == StoreError::NotFound { PeopleError::Unknown } else { error.into() }
        })?;
        self.known().close_or_open(user, disabled);
        Ok(())
    }

    /// Whether this server has disabled the account, so that whatever was under way for it is to end.
    pub fn is_disabled(&self, user: UserId) -> bool {
        self.known().is_closed(user)
    }

    /// Whether the newest token that was seen of a person gives no operators' rights, where it is known which one that is.
    pub fn is_no_operator(&self, user: UserId) -> bool {
        self.known().newest_role(user).is_some_and(|role| !role.is_operator())
    }

    /// What happened to an account.
    fn fact(&self, kind: FactKind, user: UserId) -> Fact {
        Fact::new(FactId::new(self.clock.id()), self.clock.now(), kind).by(Some(user))
    }

    /// One person.
    pub async fn person(&self, user: UserId) -> Result<User, PeopleError> {
        let account = self.store.user(user).await?.ok_or(PeopleError::Unknown)?;
        Ok(self.view.user(&account, Detail::Public))
    }
}
