//! What must survive. One trait in use cases, so that engines give identical answers; the engine invents nothing: ids and
//! times come in as arguments.

mod admin;
mod call_log;
mod conversations;
mod dump;
mod entry;
mod erased;
mod facts;
mod messages;
#[cfg(feature = "mongo")]
pub mod mongo;
mod recordings;
mod secrets;
pub mod sqlite;
mod users;
mod webhooks;

pub use admin::{Admin, Erased, JobRecord, JobState, Totals};
pub use call_log::{CallEnd, CallFinished, CallHistory, CallLog, CallRecord, Rating};
pub use conversations::{
    ConversationRecord, Conversations, Listed, Mark, MarkKind, Marked, MemberRecord,
};
pub use dump::DumpRow;
pub use entry::{LogEntry, LogKind, LogPage, LogRecord, Logged};
pub use facts::{FactPage, Facts, PlacedFact};
pub use messages::{
    Anchor, Appended, MessageExtra, MessageRecord, Messages, NewMessage, Page, preview,
};
pub use recordings::{RecordingQuery, RecordingRecord, Recordings};
pub use secrets::{RoomTokenRecord, ServerKey, TokenHash};
pub use users::{DeviceRecord, DirectoryPage, Profile, Settings, UserRecord, Users};
pub use webhooks::{DeliveryQuery, DeliveryRecord, DeliveryState, EndpointRecord, Webhooks};

use std::time::Duration;

use crate::error::{Failure, Reason};
use crate::ids::UserId;

/// How long a write may take, with its time in the queue. One that took longer is answered [`StoreError::Unavailable`], and may
/// have been done or not.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why the store did not do it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// No such row.
    #[error("not found")]
    NotFound,
    /// Nobody has this user id.
    #[error("Nobody has the user id {0}")]
    UnknownUser(UserId),
    /// A unique key is taken by something else.
    #[error("{0} is taken by another")]
    Conflict(&'static str),
    /// Somebody changed the row first; `current` is its revision.
    #[error("changed meanwhile, now at revision {current}")]
    Stale {
        /// The revision that is stored.
        current: i64,
    },
    /// More is waiting to be written than the queue holds.
    #[error("too many writes are waiting; try again in a moment")]
    Busy,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The engine does not answer.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store holds what it cannot hold.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether trying again helps.
    pub fn retry_helps(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable(_) | Self::Stale { .. })
    }
}

impl Failure for StoreError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound => Reason::NotFound,
            Self::UnknownUser(_) => Reason::UnknownUser,
            Self::Conflict(_) | Self::Stale { .. } => Reason::Conflict,
            Self::Busy | Self::Unavailable(_) => Reason::Unavailable,
            Self::Full => Reason::DiskFull,
            Self::Corrupt(_) => Reason::Internal,
        }
    }
}

/// What a store method gives.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Everything the server remembers. A write has reached the disk when its method returns; one that is not done within five
/// seconds fails, and may have been done or not. The facts that come along with a write are appended in its transaction: both are
/// stored, or neither.
///
/// Costs use n for all rows of a table and k for rows returned.
pub trait Store:
    Users + Conversations + Messages + CallLog + Recordings + Facts + Webhooks + Admin
{
}

impl<T: Users + Conversations + Messages + CallLog + Recordings + Facts + Webhooks + Admin> Store
    for T
{
}

/// The error of a write that was not done in time, which is counted.
fn too_late(engine: &'static str, what: &'static str, waited: Duration) -> StoreError {
    metrics::counter!("rtc_store_deadline_total", "engine" => engine).increment(1);
    tracing::warn!(engine, what, ?waited, "a write was not done in time");
    let waited = waited.as_secs_f32();
    StoreError::Unavailable(format!("{what} was not done within {waited} s; try again"))
}
