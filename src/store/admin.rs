//! What keeps a store in order: erasure, jobs, secrets of the server, retention, dumps.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Result, RoomTokenRecord, TokenHash};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{ConversationId, JobId, RoomId, UserId};

/// The store as a whole.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Forgets what is known of a person, the person's devices and room tokens and what facts say of the person, and closes
    /// the account, which stays as a name that nobody else can take; `NotFound`. O(log n + devices + tokens + facts).
    async fn erase_user(&self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()>;
    /// Makes tombstones of a person's messages, in order of conversation and number behind `after`, looking at some hundred
    /// rows a call. O(conversations of the user + rows).
    async fn erase_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, i64)>,
        at: Timestamp,
    ) -> Result<Erased>;
    /// Stores a job, or its next state. O(log n).
    async fn save_job(&self, job: JobRecord) -> Result<()>;
    /// One job. O(log n).
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>>;
    /// Every job that is not over, in order of id. O(log n + k).
    async fn open_jobs(&self) -> Result<Vec<JobRecord>>;
    /// Stores a room token, or what has become of it. O(log n).
    async fn put_room_token(&self, token: RoomTokenRecord, facts: Vec<Fact>) -> Result<()>;
    /// One room token, ended or not. O(log n).
    async fn room_token(&self, hash: TokenHash) -> Result<Option<RoomTokenRecord>>;
    /// The tokens of a room, ended ones as well, in the order of their hashes. O(log n + k).
    async fn room_tokens(&self, room: RoomId) -> Result<Vec<RoomTokenRecord>>;
    /// Forgets the tokens of a room. O(log n + k).
    async fn remove_room_tokens(&self, room: RoomId) -> Result<()>;
    /// Forgets tokens that have ended by `now`, some hundred a call; true when there is more. O(log n + k).
    async fn prune_room_tokens(&self, now: Timestamp) -> Result<bool>;
    /// The server's own key of this name; where there is none yet, `fresh` becomes it. O(log n).
    async fn server_key(&self, name: String, fresh: Vec<u8>) -> Result<Vec<u8>>;
    /// How much there is, from counters. O(1).
    async fn totals(&self) -> Result<Totals>;
    /// Forgets log entries from before `log_before` or beyond the newest `log_keep` of a user, and idempotency keys from
    /// before `keys_before`, some hundred rows a call; true when there is more. O(rows forgotten × log n).
    async fn retire(
        &self,
        log_before: Timestamp,
        log_keep: i64,
        keys_before: Timestamp,
    ) -> Result<bool>;
    /// Makes this the server that writes, where several could, and finishes what a crash left half-way. O(1).
    async fn take_over(&self) -> Result<()>;
    /// The engine's name.
    fn engine(&self) -> &'static str;
    /// Answers when the store can write. O(1).
    async fn ping(&self) -> Result<()>;
    /// Everything, as lines of JSON in a canonical order, equal for equal content whatever the engine. O(n).
    async fn export(
        &self,
        sink: &mut (dyn FnMut(String) -> std::io::Result<()> + Send),
    ) -> Result<()>;
    /// Takes lines of an export into an empty store; `Conflict("store")` when it is not empty. O(n).
    async fn import(
        &self,
        lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
    ) -> Result<()>;
    /// Writes what is waiting and closes.
    async fn close(&self);
}

/// How far the erasure of a person's messages has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Erased {
    /// Where to go on; `None` when all are gone.
    pub next: Option<(ConversationId, i64)>,
    /// Conversations of the person that are not done.
    pub left: i64,
}

/// A piece of work that goes on after its request, and after a restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct JobRecord {
    pub id: JobId,
    /// Whose data is erased.
    pub user: UserId,
    /// The person's messages as well.
    pub messages: bool,
    pub state: JobState,
    /// Conversations in all, once they are counted.
    pub total: i64,
    /// Conversations that are not done.
    pub left: i64,
    /// How far the messages have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(ConversationId, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What has become of a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
}

impl JobState {
    /// Whether there is something left to do.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Totals {
    pub users: i64,
    pub messages: i64,
    pub calls: i64,
}
