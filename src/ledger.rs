//! What each network, account, room token and the server as a whole holds at present, and how much it may. Rates are the business of
//! [`crate::limits`]; here is what stays until it is given back.
//!
//! Whoever holds something has an [`Entry`], and gives it back by dropping that.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::config;
use crate::error::{Failure, Reason};
use crate::ids::UserId;
use crate::store::TokenHash;

/// Who holds something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Holder {
    /// All clients together.
    Server,
    /// The clients of one address, see [`crate::limits::network`].
    Network(IpNet),
    /// An account.
    User(UserId),
    /// Those whom one room token lets in.
    Token(TokenHash),
}

impl Holder {
    fn kind(self) -> By {
        match self {
            Self::Server => By::Server,
            Self::Network(_) => By::Network,
            Self::User(_) => By::User,
            Self::Token(_) => By::Token,
        }
    }
}

/// A kind of [`Holder`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs)]
pub enum By {
    Server,
    Network,
    User,
    Token,
}

impl By {
    /// Its label in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Network => "network",
            Self::User => "user",
            Self::Token => "token",
        }
    }

    fn of_one(self) -> &'static str {
        match self {
            Self::Server => "at this server",
            Self::Network => "from one address",
            Self::User => "of one account",
            Self::Token => "by one room token",
        }
    }
}

macro_rules! bounds {
    ($($resource:ident $by:ident $key:ident $label:literal $what:literal $wait:literal,)*) => {
        /// What can be held, by whom, and the key of `[limits]` that bounds it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Resource { $(#[doc = $what] $resource,)* }

        /// A row of the table.
        struct Bound {
            by: By,
            key: &'static str,
            label: &'static str,
            what: &'static str,
            /// Seconds after which it may be otherwise.
            wait: u64,
        }

        impl Resource {
            /// Everything that is bounded.
            pub const ALL: &[Self] = &[$(Self::$resource,)*];

            const fn bound(self) -> Bound {
                match self {
                    $(Self::$resource => Bound {
                        by: By::$by,
                        key: concat!("limits.", stringify!($key)),
                        label: $label,
                        what: $what,
                        wait: $wait,
                    },)*
                }
            }

            fn most(self, limits: &config::Limits) -> usize {
                match self { $(Self::$resource => limits.$key,)* }
            }
        }
    };
}

bounds! {
    //       by      key of [limits]             label           what                                      seconds
    Connection Network connections_per_network "connections" "TCP connections" 5,
    Stranger Server strangers "strangers" "TCP connections that have shown no valid token yet" 5,
    Handshake Network handshakes_per_network "handshakes" "connections of Socket.IO that have not shown a token yet" 5,
    AllHandshakes Server handshakes "handshakes" "connections of Socket.IO that have not shown a token yet" 5,
    BodyBytes Network upload_bytes_per_network "upload_bytes" "bytes of request bodies under way" 5,
    Room User rooms_per_user "rooms" "open rooms" 60,
    Participant User room_sessions_per_user "room_sessions" "sessions in rooms" 30,
    Bearer Token room_sessions_per_token "room_sessions" "sessions in rooms" 30,
    Viewer User viewers_per_user "viewers" "viewers by WHEP" 30,
    BearerViewer Token viewers_per_token "viewers" "viewers by WHEP" 30,
    BackendRequest Server backend_requests "backend_requests" "questions to the authentication backend" 1,
}

impl Resource {
    /// What it is called in the metrics.
    pub fn label(self) -> &'static str {
        self.bound().label
    }

    /// Who holds it.
    pub fn by(self) -> By {
        self.bound().by
    }
}

/// Somebody holds as much as it may.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "Too many {what} {of_one}: at most {most} ({key}); try again in {wait} s, or give some back"
)]
pub struct Full {
    /// The key that bounds it.
    pub key: &'static str,
    /// How many there may be.
    pub most: usize,
    what: &'static str,
    of_one: &'static str,
    wait: u64,
    by: By,
}

impl Full {
    /// Seconds after which it may be otherwise.
    pub fn retry_after(&self) -> u64 {
        self.wait
    }
}

impl Failure for Full {
    fn reason(&self) -> Reason {
        // What others hold is not the fault of who asks.
        if self.by == By::Server { Reason::Unavailable } else { Reason::RateLimited }
    }

    fn details(&self) -> Option<Value> {
        let (limit, most, wait) = (self.key, self.most, self.wait * 1000);
        Some(json!({ "limit": limit, "atMost": most, "retryAfterMs": wait }))
    }
}

/// What there is of one resource now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// Of what.
    pub resource: Resource,
    /// How much all holders hold together.
    pub amount: usize,
    /// How many hold some.
    pub holders: usize,
    /// How often somebody was refused.
    pub refused: u64,
}

/// See the module.
pub struct Ledger {
    rows: Vec<Row>,
}

struct Row {
    resource: Resource,
    /// 0: without a bound.
    most: usize,
    held: Mutex<HashMap<Holder, usize>>,
    refused: AtomicU64,
}

/// Something that is held until this is dropped.
#[must_use = "what is dropped is given back"]
pub struct Entry {
    ledger: Arc<Ledger>,
    resource: Resource,
    holder: Holder,
    amount: usize,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {:?} of {:?}", self.amount, self.resource, self.holder)
    }
}

impl Ledger {
    /// Nobody holds anything. Without rate limits, which is for load tests, nothing is bounded: all load comes from one address, and
    /// often from one account.
    pub fn new(limits: &config::Limits) -> Arc<Self> {
        let most = |resource: Resource| if limits.rate_limits { resource.most(limits) } else { 0 };
        let row = |&resource: &Resource| Row {
            resource,
            most: most(resource),
            held: Mutex::default(),
            refused: AtomicU64::new(0),
        };
        Arc::new(Self { rows: Resource::ALL.iter().map(row).collect() })
    }

    fn row(&self, resource: Resource) -> Option<&Row> {
        self.rows.iter().find(|row| row.resource == resource)
    }

    /// One more of a resource for `holder`.
    pub fn hold(self: &Arc<Self>, resource: Resource, holder: Holder) -> Result<Entry, Full> {
        self.hold_many(resource, holder, 1)
    }

    /// So many more of a resource for `holder`.
    pub fn hold_many(
        self: &Arc<Self>,
        resource: Resource,
        holder: Holder,
        amount: usize,
    ) -> Result<Entry, Full> {
        debug_assert_eq!(holder.kind(), resource.by());
        let entry = Entry { ledger: self.clone(), resource, holder, amount: 0 };
        entry.grow(amount)
    }

    /// What `holder` holds of a resource.
    pub fn held(&self, resource: Resource, holder: Holder) -> usize {
        self.row(resource).and_then(|row| row.held.lock().get(&holder).copied()).unwrap_or(0)
    }

    /// What there is now.
    pub fn stats(&self) -> Vec<Held> {
        let held = |row: &Row| {
            let held = row.held.lock();
            Held {
                resource: row.resource,
                amount: held.values().sum(),
                holders: held.len(),
                refused: row.refused.load(Ordering::Relaxed),
            }
        };
        self.rows.iter().map(held).collect()
    }
}

impl Row {
    fn take(&self, holder: Holder, amount: usize) -> Result<(), Full> {
        let mut held = self.held.lock();
        let before = held.get(&holder).copied().unwrap_or(0);
        let now = before.saturating_add(amount);
        if self.most > 0 && now > self.most {
            drop(held);
            return Err(self.refuse());
        }
        if now > 0 {
            held.insert(holder, now);
        }
        Ok(())
    }

    fn refuse(&self) -> Full {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let Bound { by, key, what, wait, .. } = self.resource.bound();
        Full { key, most: self.most, what, of_one: by.of_one(), wait, by }
    }

    fn give_back(&self, holder: Holder, amount: usize) {
        let mut held = self.held.lock();
        let Some(count) = held.get_mut(&holder) else { return };
        *count = count.saturating_sub(amount);
        if *count == 0 {
            held.remove(&holder);
        }
        // A rush leaves no memory behind.
        if held.capacity() > 1024 && held.len() < held.capacity() / 8 {
            held.shrink_to_fit();
        }
    }
}

impl Entry {
    /// The same with so much more in it.
    pub fn grow(mut self, amount: usize) -> Result<Self, Full> {
        if let Some(row) = self.ledger.row(self.resource) {
            row.take(self.holder, amount)?;
            self.amount += amount;
        }
        Ok(self)
    }

    /// How much is held.
    pub fn amount(&self) -> usize {
        self.amount
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(row) = self.ledger.row(self.resource) {
            row.give_back(self.holder, self.amount);
        }
    }
}
