//! Admission: an account comes into being with the first token of its person, and follows what later tokens say.

#[cfg(test)]
mod tests;

use parking_lot::MutexGuard;

use super::known::{Age, Known};
use super::{People, PeopleError};
use crate::auth::Identity;
use crate::event::Role;
use crate::revocation::AccessChange;
use crate::store::{Profile, StoreError, UserRecord};

impl People {
    /// Lets a verified identity in: makes or updates the account, refuses a disabled one. Gives the role that the token has: what it
    /// says, unless a newer token of the person took operators' rights away.
    pub async fn admit(&self, identity: &Identity) -> Result<Role, PeopleError> {
        let (role, age) = self.known().role(identity, false);
        self.let_in(identity, age).await.map(|()| role)
    }

    /// The same of a token that takes the place of another one on a session: it is the newer one, whether it says when it was issued
    /// or not.
    pub async fn admit_refreshed(&self, identity: &Identity) -> Result<Role, PeopleError> {
        let (role, age) = self.known().role(identity, true);
        self.let_in(identity, age).await.map(|()| role)
    }

    /// The same for requests, which come often: for a while the account is not looked up again.
    pub async fn admit_again(&self, identity: &Identity) -> Result<Role, PeopleError> {
        let (role, age) = {
            let mut known = self.known();
            let (role, age) = known.role(identity, false);
            let account = known.recall(identity.user_id, self.clock.now());
            if account.is_some_and(|it| !it.disabled && agrees(it, identity, age)) {
                return Ok(role);
            }
            (role, age)
        };
        self.let_in(identity, age).await.map(|()| role)
    }

    async fn let_in(&self, identity: &Identity, age: Age) -> Result<(), PeopleError> {
        let account = self.look_up(identity, age).await?;
        let mut known = self.known();
        if account.disabled || known.is_closed(identity.user_id) {
            return Err(PeopleError::Disabled);
        }
        known.remember(&account, self.clock.now());
        Ok(())
    }

    async fn look_up(&self, identity: &Identity, age: Age) -> Result<UserRecord, PeopleError> {
        let user = identity.user_id;
        let stored = self.store.user(user).await?;
        let stored = match stored {
            // A closed account is not written to: what was erased must not come back with the next token.
            Some(stored) if stored.disabled || agrees(&stored, identity, age) => {
                return Ok(stored);
            }
            stored => stored.map(|user| user.profile),
        };
        let before = stored.as_ref().map_or(Role::User, |profile| profile.role);
        let account = self.save(profile_of(identity, stored, age)).await?;
        let role = account.profile.role;
        if age == Age::Newest && before.is_operator() != role.is_operator() {
            self.changes.announce(AccessChange::RoleChanged(user, role)).await;
        }
        Ok(account)
    }

    pub(super) async fn save(&self, profile: Profile) -> Result<UserRecord, PeopleError> {
        self.store.save_profile(profile, self.clock.now()).await.map_err(|error| match error {
            StoreError::Conflict(_) => PeopleError::UidTaken,
            other => other.into(),
        })
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// Whether an account already says what the token says. What a token leaves out is left alone, and so is the role for one that is
/// older than another.
fn agrees(account: &UserRecord, identity: &Identity, age: Age) -> bool {
    let profile = &account.profile;
    fn same(given: Option<&String>, known: Option<&String>) -> bool {
        given.is_none() || given == known
    }
    same(identity.uid.as_ref(), Some(&profile.uid))
        && same(identity.email.as_ref(), profile.email.as_ref())
        && (profile.name.is_some() || identity.name.is_none())
        && same(identity.user_type.as_ref(), profile.user_type.as_ref())
        && (identity.role == profile.role || age == Age::Older)
}

fn profile_of(identity: &Identity, known: Option<Profile>, age: Age) -> Profile {
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
        role: if age == Age::Older { known.role } else { identity.role },
        ..known
    }
}
