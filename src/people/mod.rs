//! People: accounts that come into being with their first token, profiles, and the directory.

mod erase;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::auth::Identity;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Limits};
use crate::delivery::Delivery;
use crate::error::{Failure, Reason};
use crate::event::{Device, Gender, PresenceMode, Role, User};
use crate::ids::UserId;
use crate::relay::Relay;
use crate::store::{DeviceRecord, DirectoryPage, Profile, Settings, Store, StoreError, UserRecord};
use crate::view::{Detail, View, cursor, open_cursor};

/// The people whom `--dev` makes: id and name.
pub const DEV_PEOPLE: [(i64, &str); 3] = [(101, "Ada"), (102, "Ben"), (103, "Cem")];

/// For how long a known account is not looked up again.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How many known accounts are kept in memory.
const KNOWN: usize = 100_000;

/// Why something about people was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PeopleError {
    #[error("This account is disabled")]
    Disabled,
    #[error("Another account has the uid of this token")]
    UidTaken,
    #[error("Nobody has this user id")]
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

/// Which part of the directory to show.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct DirectoryQuery {
    pub cursor: Option<String>,
    pub limit: Option<usize>,
    /// Beginning of the name.
    pub prefix: Option<String>,
    pub online: Option<bool>,
    pub ids: Option<Vec<UserId>>,
}

/// A part of the directory.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct DirectorySlice {
    pub users: Vec<User>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

/// Accounts, profiles and the directory.
pub struct People {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    limits: Limits,
    relay: Arc<Relay>,
    known: Mutex<HashMap<UserId, (Timestamp, UserRecord)>>,
}

impl People {
    /// People under this configuration.
    pub fn new(
        config: &Config,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
        relay: Arc<Relay>,
    ) -> Self {
        let (limits, known) = (config.limits.clone(), Mutex::default());
        Self { store, delivery, view, clock, limits, relay, known }
    }

    /// Lets a verified identity in: makes or updates the account, refuses a disabled one.
    pub async fn admit(&self, identity: &Identity) -> Result<UserRecord, PeopleError> {
        let account = self.look_up(identity).await?;
        if account.disabled { Err(PeopleError::Disabled) } else { Ok(account) }
    }

    /// The same for requests, which come often: for a while the account is not looked up again.
    pub async fn admit_again(&self, identity: &Identity) -> Result<(), PeopleError> {
        match self.recall(identity.user_id) {
            Some(known) if agrees(&known, identity) && !known.disabled => Ok(()),
            _ => self.admit(identity).await.map(|account| self.remember(&account)),
        }
    }

    async fn look_up(&self, identity: &Identity) -> Result<UserRecord, PeopleError> {
        let stored = self.store.user(identity.user_id).await?;
        let account = match stored {
            // A closed account is not written to: what was erased must not come back with the next token.
            Some(stored) if stored.disabled || agrees(&stored, identity) => stored,
            stored => self.save(profile_of(identity, stored.map(|user| user.profile))).await?,
        };
        Ok(account)
    }

    async fn save(&self, profile: Profile) -> Result<UserRecord, PeopleError> {
        self.store.save_profile(profile, self.clock.now()).await.map_err(|error| match error {
            StoreError::Conflict(_) => PeopleError::UidTaken,
            other => other.into(),
        })
    }

    fn recall(&self, user: UserId) -> Option<UserRecord> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, account) = known.get(&user)?;
        (self.clock.now().since(*since) < KNOWN_FOR).then(|| account.clone())
    }

    fn forget(&self, user: UserId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&user);
    }

    fn remember(&self, account: &UserRecord) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(account.profile.user_id, (self.clock.now(), account.clone()));
    }

    /// Makes or updates an account at the backend's word.
    pub async fn upsert(&self, user_id: UserId, upsert: Upsert) -> Result<User, PeopleError> {
        let role = self.store.user(user_id).await?.map_or(Role::User, |user| user.profile.role);
        let Upsert { uid, email, name, mobile, gender, user_type } = upsert;
        let account = self
            .save(Profile { user_id, uid, email, name, mobile, gender, user_type, role })
            .await?;
        self.remember(&account);
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
        self.remember(&account);
        Ok(self.view.user(&account, Detail::Full))
    }

    /// Registers one of one's own devices.
    pub async fn register(&self, device: DeviceRecord) -> Result<Device, PeopleError> {
        let device = DeviceRecord { last_seen: self.clock.now(), ..device };
        self.store.save_device(device.clone()).await?;
        Ok(shown(device))
    }

    /// One's own devices.
    pub async fn devices(&self, me: UserId) -> Result<Vec<Device>, PeopleError> {
        Ok(self.store.devices(me).await?.into_iter().map(shown).collect())
    }

    /// Forgets one of one's own devices.
    pub async fn unregister(&self, me: UserId, device_id: String) -> Result<(), PeopleError> {
        Ok(self.store.remove_device(me, device_id).await?)
    }

    /// Closes or opens an account and ends its sessions.
    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<(), PeopleError> {
        let known = self.store.set_disabled(user, disabled, self.clock.now(), Vec::new()).await;
        known.map_err(|error| {
            if error == StoreError::NotFound { PeopleError::Unknown } else { error.into() }
        })?;
        self.forget(user);
        if !disabled {
            self.relay.readmit(user);
        } else {
            self.relay.shut_out(user);
            self.delivery
                .sessions(user)
                .iter()
                .for_each(|session| session.end("USER_DISABLED", None));
        }
        Ok(())
    }

    /// One person.
    pub async fn person(&self, user: UserId) -> Result<User, PeopleError> {
        let account = self.store.user(user).await?.ok_or(PeopleError::Unknown)?;
        Ok(self.view.user(&account, Detail::Public))
    }

    /// Everyone but `me`: those online first, then by last sign of life, page by page in order of name.
    pub async fn directory(
        &self,
        me: UserId,
        query: DirectoryQuery,
    ) -> Result<DirectorySlice, PeopleError> {
        let limit =
            query.limit.unwrap_or(self.limits.page_max).clamp(1, self.limits.users_page_max);
        let named = match (&query.ids, query.online) {
            (Some(ids), _) => Some(ids.clone()),
            (None, Some(true)) => {
                Some(self.delivery.online().into_iter().take(self.limits.users_page_max).collect())
            }
            _ => None,
        };
        let (records, next_cursor) = match named {
            Some(ids) => (self.store.users(ids).await?, None),
            None => self.directory_page(me, &query, limit).await?,
        };
        let shown = records.iter().filter_map(|record| self.listed(me, &query, record));
        let mut users: Vec<_> = shown.collect();
        users.sort_by_key(|user| {
            (std::cmp::Reverse((user.is_online, user.last_seen)), user.user_id)
        });
        Ok(DirectorySlice { users, next_cursor, limit })
    }

    /// A person as the list shows them, where they belong into it.
    fn listed(&self, me: UserId, query: &DirectoryQuery, record: &UserRecord) -> Option<User> {
        let user = self.view.user(record, Detail::Public);
        let belongs = user.user_id != me && query.online.is_none_or(|it| it == user.is_online);
        belongs.then_some(user)
    }

    /// A full page of those who belong into the list, as long as there are more; some pages of the store are looked at for it.
    async fn directory_page(
        &self,
        me: UserId,
        query: &DirectoryQuery,
        limit: usize,
    ) -> Result<(Vec<UserRecord>, Option<String>), PeopleError> {
        const PAGES: usize = 8;
        let mut after = query.cursor.as_deref().map(position).transpose()?;
        let prefix = query.prefix.as_deref().unwrap_or_default().to_lowercase();
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page = DirectoryPage { after: after.take(), prefix: prefix.clone(), limit };
            let records = self.store.directory(page).await?;
            let more = records.len() == limit;
            for record in records {
                after = Some((record.name_key(), record.profile.user_id));
                if self.listed(me, query, &record).is_some() {
                    found.push(record);
                }
                if found.len() == limit {
                    let next = cursor_behind(after);
                    return Ok((found, next));
                }
            }
            if !more {
                return Ok((found, None));
            }
        }
        Ok((found, cursor_behind(after)))
    }
}

fn cursor_behind(last: Option<(String, UserId)>) -> Option<String> {
    last.map(|(name, user)| cursor(&["u", &user.to_string(), &name]))
}

fn shown(device: DeviceRecord) -> Device {
    Device {
        device_id: device.device_id,
        platform: device.platform,
        name: device.name,
        app_version: device.app_version,
        has_push: device.push_token.is_some(),
        has_voip: device.voip_token.is_some(),
        last_seen: device.last_seen,
    }
}

fn position(text: &str) -> Result<(String, UserId), PeopleError> {
    match open_cursor(text).as_deref() {
        Some([kind, id, name]) if kind == "u" => {
            Ok((name.clone(), id.parse().map_err(|_| PeopleError::Cursor)?))
        }
        _ => Err(PeopleError::Cursor),
    }
}

/// Whether an account already says what the token says. What a token leaves out is left alone.
fn agrees(account: &UserRecord, identity: &Identity) -> bool {
    let profile = &account.profile;
    fn same(given: Option<&String>, known: Option<&String>) -> bool {
        given.is_none() || given == known
    }
    same(identity.uid.as_ref(), Some(&profile.uid))
        && same(identity.email.as_ref(), profile.email.as_ref())
        && (profile.name.is_some() || identity.name.is_none())
        && same(identity.user_type.as_ref(), profile.user_type.as_ref())
        && identity.role == profile.role
}

fn profile_of(identity: &Identity, known: Option<Profile>) -> Profile {
    let user_id = identity.user_id;
    let blank = Profile {
        user_id,
        uid: user_id.to_string(),
        email: None,
        name: None,
        mobile: None,
        gender: None,
        user_type: None,
        role: Role::User,
    };
    let known = known.unwrap_or(blank);
    Profile {
        uid: identity.uid.clone().unwrap_or(known.uid),
        email: identity.email.clone().or(known.email),
        // A name that a person chose is not undone by the next token.
        name: known.name.or_else(|| identity.name.clone()),
        user_type: identity.user_type.clone().or(known.user_type),
        role: identity.role,
        ..known
    }
}
