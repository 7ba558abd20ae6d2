//! A store that fails when a test wants it to: before a write is made, or after it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::dice::Dice;
use crate::clock::Timestamp;
use crate::event::CallStatus;
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};
use crate::store::{
    Anchor, Appended, CallEnd, CallFinished, CallHistory, CallRecord, ConversationRecord,
    DeviceRecord, DirectoryPage, Erased, FactPage, JobRecord, Listed, LogPage, Mark, Marked,
    MemberRecord, MessageRecord, NewMessage, Page, Profile, Rating, RecordingQuery,
    RecordingRecord, Result, RoomTokenRecord, Settings, Store, StoreError, TokenHash, Totals,
    UserRecord,
};

/// How often a store fails, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) writes: u64,
    pub(super) reads: u64,
}

/// See the module.
pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Store>,
    dice: Mutex<(Dice, Faults)>,
    /// Every state of a call that was stored.
    states: Mutex<HashSet<(CallId, i64, CallStatus)>>,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        let dice = Mutex::new((Dice::new(seed), Faults::default()));
        Self { inner, dice, states: Mutex::default() }
    }

    pub(super) fn set(&self, faults: Faults) {
        self.dice.lock().unwrap().1 = faults;
    }

    /// Whether a call has ever been stored in this state.
    pub(super) fn has_stored(&self, id: CallId, rev: i64, status: CallStatus) -> bool {
        self.states.lock().unwrap().contains(&(id, rev, status))
    }

    fn note(&self, call: &CallRecord) {
        self.states.lock().unwrap().insert((call.id, call.rev, call.status));
    }

    fn read(&self) -> Result<()> {
        let (dice, faults) = &mut *self.dice.lock().unwrap();
        fail(dice.chance(faults.reads))
    }

    /// Whether a write fails before it is made, and whether it fails after it.
    fn write(&self) -> (bool, bool) {
        let (dice, faults) = &mut *self.dice.lock().unwrap();
        let fails = dice.chance(faults.writes);
        let after = dice.chance(500);
        (fails && !after, fails && after)
    }
}

fn fail(fails: bool) -> Result<()> {
    if fails { Err(StoreError::Unavailable("a test wants it so".into())) } else { Ok(()) }
}

macro_rules! forward {
    (
        calls { $(fn $call:ident($($p:ident: $P:ty),*) -> $C:ty, which stores $stored:expr;)* }
        writes { $(fn $write:ident($($w:ident: $W:ty),*) -> $O:ty;)* }
        reads { $(fn $read:ident($($r:ident: $R:ty),*) -> $A:ty;)* }
    ) => {
        #[async_trait]
        impl Store for Faulty {
            $(async fn $call(&self, $($p: $P),*) -> Result<$C> {
                let (before, after) = self.write();
                fail(before)?;
                let stored: CallRecord = ($stored)($(&$p),*);
                let outcome = self.inner.$call($($p),*).await?;
                self.note(&stored);
                fail(after)?;
                Ok(outcome)
            })*
            $(async fn $write(&self, $($w: $W),*) -> Result<$O> {
                let (before, after) = self.write();
                fail(before)?;
                let outcome = self.inner.$write($($w),*).await?;
                fail(after)?;
                Ok(outcome)
            })*
            $(async fn $read(&self, $($r: $R),*) -> Result<$A> {
                self.read()?;
                self.inner.$read($($r),*).await
            })*
            fn engine(&self) -> &'static str {
                self.inner.engine()
            }
            async fn export(
                &self,
                sink: &mut (dyn FnMut(String) -> std::io::Result<()> + Send),
            ) -> Result<()> {
                self.inner.export(sink).await
            }
            async fn import(
                &self,
                lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
            ) -> Result<()> {
                self.inner.import(lines).await
            }
            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}

forward! {
    calls {
        fn create_call(call: CallRecord, facts: Vec<Fact>) -> CallRecord, which stores |call: &CallRecord, _: &Vec<Fact>| call.clone();
        fn save_call(call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> (), which stores |call: &CallRecord, _: &i64, _: &Vec<Fact>| call.clone();
        fn finish_call(end: CallEnd) -> CallFinished, which stores |end: &CallEnd| end.call.clone();
    }
    writes {
        fn save_profile(profile: Profile, at: Timestamp) -> UserRecord;
        fn save_settings(id: UserId, settings: Settings, at: Timestamp) -> UserRecord;
        fn touch_user(id: UserId, seen: Timestamp, plain_cursor: i64) -> ();
        fn save_device(device: DeviceRecord) -> ();
        fn remove_device(user: UserId, device_id: String) -> ();
        fn set_disabled(id: UserId, disabled: bool, at: Timestamp, facts: Vec<Fact>) -> ();
        fn erase_user(id: UserId, at: Timestamp, facts: Vec<Fact>) -> ();
        fn erase_messages(user: UserId, after: Option<(ConversationId, i64)>, at: Timestamp) -> Erased;
        fn save_job(job: JobRecord) -> ();
        fn append_message(message: NewMessage) -> Appended;
        fn mark(conversation: ConversationId, mark: Mark) -> Marked;
        fn rate_call(id: CallId, rating: Rating, facts: Vec<Fact>) -> ();
        fn ack_missed(user: UserId, calls: Vec<CallId>) -> ();
        fn save_recording(recording: RecordingRecord, facts: Vec<Fact>) -> ();
        fn remove_recording(id: RecordingId, facts: Vec<Fact>) -> ();
        fn retire(log_before: Timestamp, log_keep: i64, keys_before: Timestamp) -> bool;
        fn record_facts(facts: Vec<Fact>) -> ();
        fn prune_facts(before: Timestamp) -> bool;
        fn save_fact_cursor(name: String, position: i64) -> ();
        fn put_room_token(token: RoomTokenRecord, facts: Vec<Fact>) -> ();
        fn remove_room_tokens(room: RoomId) -> ();
        fn prune_room_tokens(now: Timestamp) -> bool;
        fn server_key(name: String, fresh: Vec<u8>) -> Vec<u8>;
        fn take_over() -> ();
        fn ping() -> ();
    }
    reads {
        fn user(id: UserId) -> Option<UserRecord>;
        fn users(ids: Vec<UserId>) -> Vec<UserRecord>;
        fn directory(page: DirectoryPage) -> Vec<UserRecord>;
        fn devices(user: UserId) -> Vec<DeviceRecord>;
        fn job(id: JobId) -> Option<JobRecord>;
        fn open_jobs() -> Vec<JobRecord>;
        fn contacts(user: UserId, since: Timestamp, limit: usize) -> Vec<UserId>;
        fn message(id: MessageId) -> Option<MessageRecord>;
        fn messages(conversation: ConversationId, anchor: Anchor, limit: usize) -> Page;
        fn conversation(id: ConversationId) -> Option<ConversationRecord>;
        fn member(id: ConversationId, user: UserId) -> Option<MemberRecord>;
        fn members(id: ConversationId) -> Vec<MemberRecord>;
        fn conversations(user: UserId, archived: bool, before: Option<(Timestamp, ConversationId)>, limit: usize) -> Vec<Listed>;
        fn unread(user: UserId) -> Vec<(ConversationId, i64)>;
        fn log(user: UserId, cursor: i64, limit: usize) -> LogPage;
        fn undelivered(user: UserId, limit: usize) -> Vec<(i64, MessageRecord)>;
        fn call(id: CallId) -> Option<CallRecord>;
        fn live_calls() -> Vec<CallRecord>;
        fn call_history(query: CallHistory) -> Vec<CallRecord>;
        fn missed_calls(user: UserId, since: Timestamp, limit: usize) -> Vec<CallRecord>;
        fn recording(id: RecordingId) -> Option<RecordingRecord>;
        fn recordings(query: RecordingQuery) -> Vec<RecordingRecord>;
        fn open_recordings() -> Vec<RecordingRecord>;
        fn expired_recordings(now: Timestamp, limit: usize) -> Vec<RecordingRecord>;
        fn facts_after(position: i64, limit: usize) -> FactPage;
        fn fact_cursor(name: String) -> i64;
        fn room_token(hash: TokenHash) -> Option<RoomTokenRecord>;
        fn room_tokens(room: RoomId) -> Vec<RoomTokenRecord>;
        fn totals() -> Totals;
    }
}
