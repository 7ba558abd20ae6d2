//! Calls of two, from their first state to what is left of them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Appended, NewMessage, Result};
use crate::clock::Timestamp;
use crate::event::{CallStatus, CallType, EndReason, MediaPath};
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, UserId};

/// Calls as they survive a restart, and their history.
#[async_trait]
pub trait CallLog: Send + Sync {
    /// Stores a new call; a repeat of (`from`, `client_id`) gives the first one back, and appends no facts. O(log n).
    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord>;
    /// Stores a call's next state; `Stale` unless the stored revision is `expected_rev`. O(log n).
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()>;
    /// Stores a call's last state and what it leaves behind; `Stale` as above. O(log n).
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished>;
    /// Keeps what one of the two thought of a call, in place of what that one thought before; `NotFound`. O(log n).
    async fn rate_call(&self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()>;
    /// One call. O(log n).
    async fn call(&self, id: CallId) -> Result<Option<CallRecord>>;
    /// Every call that is not over, oldest first. O(log n + k).
    async fn live_calls(&self) -> Result<Vec<CallRecord>>;
    /// A user's calls, newest first. O(log n + calls of the user that the filters pass over).
    async fn call_history(&self, query: CallHistory) -> Result<Vec<CallRecord>>;
    /// Calls missed since then and not acknowledged, newest first. O(log n + k).
    async fn missed_calls(
        &self,
        user: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<CallRecord>>;
    /// Acknowledges missed calls. O(k log n).
    async fn ack_missed(&self, user: UserId, calls: Vec<CallId>) -> Result<()>;
}

/// A call, as it survives a restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CallRecord {
    pub id: CallId,
    pub from: UserId,
    pub to: UserId,
    pub conversation: ConversationId,
    pub kind: CallType,
    pub status: CallStatus,
    pub end_reason: Option<EndReason>,
    pub rev: i64,
    pub media: MediaPath,
    pub client_id: Option<String>,
    pub created_at: Timestamp,
    pub ringing_at: Option<Timestamp>,
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// When the present state ends by itself.
    pub deadline: Option<Timestamp>,
    pub ended_by: Option<UserId>,
    pub answered_device: Option<String>,
    pub waiting: bool,
    /// What the two thought of it, once it was over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ratings: Vec<Rating>,
    /// In a call of several, the first, whose room all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<CallId>,
    /// When a side was lost, in a call that ended because it did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

/// What one of the two thought of a call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Rating {
    pub user: UserId,
    /// 1 (bad) to 5 (good).
    pub stars: u8,
    pub issues: Vec<String>,
    pub comment: Option<String>,
    pub at: Timestamp,
}

impl CallRecord {
    /// Whether `user` is one of the two.
    pub fn has(&self, user: UserId) -> bool {
        self.from == user || self.to == user
    }

    /// The first of the calls that it shares a room with.
    pub fn first(&self) -> CallId {
        self.group.unwrap_or(self.id)
    }

    /// Whether it cannot go on without `user`: in a call of several, whoever added somebody may leave.
    pub fn depends_on(&self, user: UserId) -> bool {
        self.group.is_none() || user == self.to
    }

    /// Those that it keeps in a call.
    pub fn bound(&self) -> impl Iterator<Item = UserId> + use<> {
        let (from, to, both) = (self.from, self.to, self.group.is_none());
        std::iter::once(to).chain(both.then_some(from))
    }

    /// The other one of the two.
    pub fn peer_of(&self, user: UserId) -> UserId {
        if user == self.from { self.to } else { self.from }
    }

    /// Whole seconds from acceptance to the end of the talk: the loss of a side that did not come back, else the end, or `now`
    /// while it runs.
    pub fn duration(&self, now: Timestamp) -> i64 {
        let end = self.lost_at.or(self.ended_at).unwrap_or(now);
        self.accepted_at.map_or(0, |start| i64::try_from(end.since(start).as_secs()).unwrap_or(0))
    }
}

/// Which calls of a user to list, newest first.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CallHistory {
    pub user: UserId,
    /// Start behind this call.
    pub before: Option<(Timestamp, CallId)>,
    pub skip: usize,
    pub status: Option<CallStatus>,
    /// Made by the user (`true`) or made to the user (`false`).
    pub outgoing: Option<bool>,
    pub with: Option<UserId>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: usize,
}

/// The end of a call and what it leaves behind.
#[derive(Clone, Debug)]
pub struct CallEnd {
    /// The call in its last state.
    pub call: CallRecord,
    /// The revision it is based on.
    pub expected_rev: i64,
    /// The line it leaves in the conversation.
    pub entry: Option<NewMessage>,
    /// Who missed it.
    pub missed_by: Option<UserId>,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// The outcome of ending a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallFinished {
    /// The line in the conversation.
    pub entry: Option<Appended>,
    /// Where the missed call stands in the event log of the one who missed it.
    pub missed_cursor: Option<i64>,
}
