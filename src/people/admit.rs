//! Admission: an account comes into being with the first token of its person, and follows what later tokens say.

#[cfg(test)]
mod tests;

use std::sync::PoisonError;
use std::time::Duration;

use super::{People, PeopleError};
use crate::auth::Identity;
use crate::event::Role;
use crate::ids::UserId;
use crate::store::{Profile, StoreError, UserRecord};

/// For how long a known account is not looked up again.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How many known accounts are kept in memory.
const KNOWN: usize = 100_000;

impl People {
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

    pub(super) async fn save(&self, profile: Profile) -> Result<UserRecord, PeopleError> {
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

    pub(super) fn forget(&self, user: UserId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&user);
    }

    pub(super) fn remember(&self, account: &UserRecord) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(account.profile.user_id, (self.clock.now(), account.clone()));
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
