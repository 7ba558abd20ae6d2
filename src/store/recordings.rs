//! Recordings: what was recorded, who may see it, how long it is kept.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::clock::Timestamp;
use crate::event::recording::{RecordingFile, RecordingMode, RecordingStatus, StopReason};
use crate::fact::Fact;
use crate::ids::{CallId, RecordingId, RoomId, UserId};

/// Recordings; their files are not in the store.
#[async_trait]
pub trait Recordings: Send + Sync {
    /// Stores a recording, or its next state. O((1 + members) × log n).
    async fn save_recording(&self, recording: RecordingRecord, facts: Vec<Fact>) -> Result<()>;
    /// One recording. O(log n).
    async fn recording(&self, id: RecordingId) -> Result<Option<RecordingRecord>>;
    /// Recordings, newest first. O(log n + recordings that the filters pass over).
    async fn recordings(&self, query: RecordingQuery) -> Result<Vec<RecordingRecord>>;
    /// Every recording that is not over, in order of id. O(log n + k).
    async fn open_recordings(&self) -> Result<Vec<RecordingRecord>>;
    /// Recordings that are to be deleted by `now`, at most `limit`. O(log n + k).
    async fn expired_recordings(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<RecordingRecord>>;
    /// Forgets a recording; `NotFound`. O((1 + members) × log n).
    async fn remove_recording(&self, id: RecordingId, facts: Vec<Fact>) -> Result<()>;
}

/// A recording and what it left.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct RecordingRecord {
    pub id: RecordingId,
    pub call: Option<CallId>,
    pub room: RoomId,
    /// Everybody who may have been recorded, and so may see it.
    pub members: Vec<UserId>,
    /// Names of guests whose tracks it took.
    #[serde(default)]
    pub guests: Vec<String>,
    pub mode: RecordingMode,
    pub status: RecordingStatus,
    pub started_by: Option<UserId>,
    /// The owner of the room and its moderators when it began: they manage it, wherever they were.
    #[serde(default)]
    pub moderators: Vec<UserId>,
    pub started_at: Timestamp,
    pub stopped_at: Option<Timestamp>,
    pub stop_reason: Option<StopReason>,
    pub files: Vec<RecordingFile>,
    pub retention_until: Option<Timestamp>,
    pub updated_at: Timestamp,
}

impl RecordingRecord {
    /// Notes that an account, or else a guest of this name, is in it; whether that is new.
    pub fn holds(&mut self, user: Option<UserId>, guest: Option<String>) -> bool {
        match (user, guest) {
            (Some(user), _) if !self.members.contains(&user) => {
                self.members.push(user);
                self.members.sort_unstable();
                true
            }
            (None, Some(name)) if !self.guests.contains(&name) => {
                self.guests.push(name);
                true
            }
            _ => false,
        }
    }
}

/// Which recordings to list, newest first.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct RecordingQuery {
    /// Only those of this person.
    pub user: Option<UserId>,
    pub call: Option<CallId>,
    pub room: Option<RoomId>,
    pub status: Option<RecordingStatus>,
    pub since: Option<Timestamp>,
    /// Start behind this one; ids grow with time.
    pub before: Option<RecordingId>,
    pub limit: usize,
}
