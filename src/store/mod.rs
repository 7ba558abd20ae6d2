//! What must survive. One trait in use cases, so that engines give identical answers; the engine invents nothing: ids and
//! times come in as arguments.

mod erased;
mod facts;
mod line;
#[cfg(feature = "mongo")]
pub mod mongo;
mod record;
mod secrets;
pub mod sqlite;

pub use facts::{FactPage, PlacedFact};
pub use line::{Line, LogKind};
pub use record::{
    Anchor, Appended, CallEnd, CallFinished, CallHistory, CallRecord, ConversationRecord,
    DeviceRecord, DirectoryPage, Erased, JobRecord, JobState, Listed, LogPage, LogRecord, Logged,
    Mark, MarkKind, Marked, MemberRecord, MessageExtra, MessageRecord, NewMessage, Page, Profile,
    Rating, RecordingQuery, RecordingRecord, Settings, Totals, UserRecord,
};
pub use secrets::{RoomTokenRecord, ServerKey, TokenHash};

use async_trait::async_trait;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::clock::Timestamp;
use crate::error::{Failure, Reason};
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};

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

/// Everything the server remembers. A write has reached the disk when its method returns. The facts that come along with a write
/// are appended in its transaction: both are stored, or neither.
///
/// Costs use n for all rows of a table and k for rows returned.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes or updates a person; `Conflict("uid")` when another has that uid. O(log n).
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord>;
    /// One person. O(log n).
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>>;
    /// Those of `ids` that exist, in order of id. O(k log n).
    async fn users(&self, ids: Vec<UserId>) -> Result<Vec<UserRecord>>;
    /// The directory. O(log n + k).
    async fn directory(&self, page: DirectoryPage) -> Result<Vec<UserRecord>>;
    /// Changes what a person may change; `NotFound`. O(log n).
    async fn save_settings(
        &self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord>;
    /// Notes a sign of life, and how far a client without a cursor was told. Both only grow. O(log n).
    async fn touch_user(&self, id: UserId, seen: Timestamp, plain_cursor: i64) -> Result<()>;
    /// Registers a device, or registers it anew; `UnknownUser`. O(log n).
    async fn save_device(&self, device: DeviceRecord) -> Result<()>;
    /// The devices of a person, in order of id. O(log n + k).
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>>;
    /// Forgets a device; `NotFound`. O(log n).
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()>;
    /// Closes or opens an account; `NotFound`. O(log n).
    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()>;
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
    /// People with a conversation or call in common since then, at most `limit`, in order of id. O(log n + k).
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>>;

    /// Stores a message with its conversation head, its members' heads and their logs; a repeat of (`from`, `client_id`)
    /// gives the first one back, `Conflict("clientId")` if it says something else. `UnknownUser` for a peer that does not
    /// exist or was erased, `NotFound` for a group that does not. O(log n × (1 + members)).
    async fn append_message(&self, message: NewMessage) -> Result<Appended>;
    /// One message. O(log n).
    async fn message(&self, id: MessageId) -> Result<Option<MessageRecord>>;
    /// Messages of a conversation, oldest first, at most `limit`. O(log n + k).
    async fn messages(
        &self,
        conversation: ConversationId,
        anchor: Anchor,
        limit: usize,
    ) -> Result<Page>;
    /// One conversation. O(log n).
    async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRecord>>;
    /// The place of `user` in a conversation. O(log n).
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<MemberRecord>>;
    /// Everyone in a conversation, in order of id. O(log n + k).
    async fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>>;
    /// A member's conversations by last activity, newest first, behind `before`. O(log n + k log n).
    async fn conversations(
        &self,
        user: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Listed>>;
    /// Conversations with unread messages and how many. O(conversations of the user).
    async fn unread(&self, user: UserId) -> Result<Vec<(ConversationId, i64)>>;
    /// Moves a member's delivered or read mark up to `up_to` (the head at most), never back; `NotFound` for strangers.
    /// O(log n + messages of others behind the mark).
    async fn mark(&self, conversation: ConversationId, mark: Mark) -> Result<Marked>;

    /// A user's event log behind `cursor`. O(log n + k log n).
    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage>;
    /// The newest `limit` received messages that no device confirmed and no client without a cursor was told of, oldest
    /// first, with their cursors. O(log n + k log n).
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>>;

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

    /// Appends facts that no other write brings along, in their order. O(k log n).
    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()>;
    /// The facts behind `position`, at most `limit`. Positions grow by one from fact to fact, and a fact appears only after
    /// those before it. O(log n + k).
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage>;
    /// Forgets the oldest facts, up to the first that is not from before `before`, some hundred a call; true when there is
    /// more. The newest stays. O(k log n).
    async fn prune_facts(&self, before: Timestamp) -> Result<bool>;
    /// The position up to which a consumer has read; 0 for one that has read nothing. O(log n).
    async fn fact_cursor(&self, name: String) -> Result<i64>;
    /// Notes how far a consumer has read; a smaller position has it read again. O(log n).
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()>;

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

/// Characters of a preview.
const PREVIEW: usize = 200;

/// At most 200 characters of a message for lists, cut between what readers see as characters (UAX #29); a first one that is longer
/// than that is cut inside.
pub fn preview(content: &str) -> String {
    let mut left = PREVIEW;
    let fits = |cluster: &&str| {
        let rest = left.checked_sub(cluster.chars().count());
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let whole: String = content.graphemes(true).take_while(fits).collect();
    match whole.is_empty() {
        true => content.chars().take(PREVIEW).collect(),
        false => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::preview;

    #[test]
    fn a_preview_ends_between_what_readers_see_as_characters() {
        let begin = "x".repeat(199);
        for cluster in ["🇪🇹", "👨\u{200D}👩\u{200D}👧", "👍🏽", "e\u{301}", "क्षि"]
        {
            assert_eq!(preview(&format!("{begin}{cluster} and more")), begin, "{cluster}");
            let fits = format!("{}{cluster}", "x".repeat(200 - cluster.chars().count()));
            assert_eq!(preview(&format!("{fits} and more")), fits);
        }
        assert_eq!(preview(&"é".repeat(300)).chars().count(), 200);
        assert_eq!(preview(&format!("e{}", "\u{301}".repeat(500))).chars().count(), 200);
        assert_eq!(preview(""), "");
    }
}
