//! What is kept in memory of people whose tokens come often: their accounts for a while, which accounts this server disabled, and
//! which role their newest token says.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::event::Role;
use crate::ids::UserId;
use crate::store::UserRecord;

/// For how long a known account is not looked up again.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How many known accounts are kept in memory, and how many roles.
const KNOWN: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    accounts: HashMap<UserId, (Timestamp, UserRecord)>,
    /// Accounts that were disabled since the start: what a request read of them before does not come back.
    closed: HashSet<UserId>,
    roles: HashMap<UserId, Newest>,
}

/// The newest token that was seen of a person.
struct Newest {
    issued_at: Option<Timestamp>,
    role: Role,
}

/// How a token stands to the others that were seen of a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    /// It is the newest: its role is the person's, and takes operators' rights from what the others opened.
    Newest,
    /// One of them does not say when it was issued: each counts for what it opens.
    Unknown,
    /// There is a newer one.
    Older,
}

impl Known {
    /// What an account was not long ago.
    pub(super) fn recall(&self, user: UserId, now: Timestamp) -> Option<&UserRecord> {
        let (since, account) = self.accounts.get(&user)?;
        (now.since(*since) < KNOWN_FOR).then_some(account)
    }

    pub(super) fn remember(&mut self, account: &UserRecord, now: Timestamp) {
        let user = account.profile.user_id;
        if self.closed.contains(&user) {
            return;
        }
        if self.accounts.len() >= KNOWN {
            self.accounts.clear();
        }
        self.accounts.insert(user, (now, account.clone()));
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.accounts.remove(&user);
    }

    pub(super) fn close_or_open(&mut self, user: UserId, closed: bool) {
        self.forget(user);
        if closed {
            self.closed.insert(user);
        } else {
            self.closed.remove(&user);
        }
    }

    pub(super) fn is_closed(&self, user: UserId) -> bool {
        self.closed.contains(&user)
    }

    /// What the newest token of a person says, where it is known which one that is.
    pub(super) fn newest_role(&self, user: UserId) -> Option<Role> {
        let newest = self.roles.get(&user)?;
        newest.issued_at.map(|_| newest.role)
    }

    /// The role that a token gives: what it says, unless a newer token took operators' rights away. One that `replaces` another on a
    /// session is the newer one.
    pub(super) fn role(&mut self, identity: &Identity, replaces: bool) -> (Role, Age) {
        let Identity { user_id, issued_at, role, .. } = *identity;
        let newest = self.roles.get(&user_id);
        let age = match newest.and_then(|newest| newest.issued_at.zip(issued_at)) {
            _ if replaces => Age::Newest,
            None => Age::Unknown,
            Some((known, issued)) if issued < known => Age::Older,
            // Of two of one second the one without operators' rights counts.
            Some((known, issued)) => {
                let raises = role.is_operator() && newest.is_some_and(|it| !it.role.is_operator());
                if known == issued && raises { Age::Older } else { Age::Newest }
            }
        };
        let newest = newest.map(|newest| newest.role);
        if age == Age::Older {
            return (newest.filter(|it| !it.is_operator()).unwrap_or(role), age);
        }
        if self.roles.len() >= KNOWN {
            self.roles.clear();
        }
        self.roles.insert(user_id, Newest { issued_at, role });
        (role, age)
    }
}
