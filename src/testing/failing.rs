//! A store that fails on demand, for tests of rules: what a rule has announced must have been stored, and what could not be stored
//! must not have changed anything.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::dice::Dice;
use crate::clock::Timestamp;
use crate::event::CallStatus;
use crate::fact::Fact;
use crate::ids::{
    CallId, ConversationId, DeliveryId, JobId, MessageId, RecordingId, RoomId, UserId,
};
use crate::store::{
    Admin, Anchor, Appended, CallEnd, CallFinished, CallHistory, CallLog, CallRecord,
    ConversationRecord, Conversations, DeliveryQuery, DeliveryRecord, DeviceRecord, DirectoryPage,
    EndpointRecord, Erased, FactPage, Facts, JobRecord, Listed, LogPage, Mark, Marked,
    MemberRecord, MessageRecord, Messages, NewMessage, Page, Profile, Rating, RecordingQuery,
    RecordingRecord, Recordings, Result, RoomTokenRecord, Settings, Store, StoreError, TokenHash,
    Totals, UserRecord, Users, Webhooks,
};

/// When a write fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fails {
    /// Nothing is stored.
    Before,
    /// It is stored, and the answer is lost: as after a deadline.
    After,
}

/// How many of a thousand fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chances {
    /// Writes, before they are made or after.
    pub(crate) writes: u64,
    /// Reads.
    pub(crate) reads: u64,
}

#[derive(Default)]
struct State {
    /// Writes in their order, by the names of their methods, with what became of them.
    writes: Vec<(&'static str, Option<Fails>)>,
    /// What becomes of the next writes, or of the next of that name.
    planned: VecDeque<(Option<&'static str>, Fails)>,
    always: Option<Fails>,
    random: Option<(Dice, Chances)>,
    /// Every state of a call that was stored.
    calls: HashSet<(CallId, i64, CallStatus)>,
}

impl State {
    fn next(&mut self, write: &'static str) -> Option<Fails> {
        let planned = self.planned.iter().position(|(name, _)| name.is_none_or(|it| it == write));
        let fate = match planned.and_then(|at| self.planned.remove(at)) {
            Some((_, fails)) => Some(fails),
            None => self.always.or_else(|| self.draw()),
        };
        self.writes.push((write, fate));
        fate
    }

    fn draw(&mut self) -> Option<Fails> {
        let (dice, chances) = self.random.as_mut()?;
        let fails = if dice.coin() { Fails::Before } else { Fails::After };
        dice.chance(chances.writes).then_some(fails)
    }

    fn fails_read(&mut self) -> bool {
        self.random.as_mut().is_some_and(|(dice, chances)| dice.chance(chances.reads))
    }
}

/// A store over another one, that fails as a test says.
pub(crate) struct FailingStore {
    /// What it is over; nothing fails there.
    pub(crate) inner: Arc<dyn Store>,
    state: Mutex<State>,
}

impl FailingStore {
    /// Over `inner`; it fails nothing until a test says so.
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next write fails, or the next one by the method `write`. Several add up.
    pub(crate) fn fail_next(&self, write: Option<&'static str>, fails: Fails) {
        self.state().planned.push_back((write, fails));
    }

    /// Every write fails, until `None` is given.
    pub(crate) fn fail_always(&self, fails: Option<Fails>) {
        self.state().always = fails;
    }

    /// Writes and reads fail by a sequence that depends on `seed` only, from now on.
    pub(crate) fn fail_by_chance(&self, seed: u64, chances: Chances) {
        self.state().random = Some((Dice::new(seed), chances));
    }

    /// Whether a call has ever been stored in this state.
    pub(crate) fn has_stored(&self, id: CallId, rev: i64, status: CallStatus) -> bool {
        self.state().calls.contains(&(id, rev, status))
    }

    /// The writes since this was asked last, in their order.
    pub(crate) fn writes(&self) -> Vec<(&'static str, Option<Fails>)> {
        std::mem::take(&mut self.state().writes)
    }

    async fn write<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fate = self.state().next(name);
        match fate {
            None => work.await,
            Some(Fails::Before) => Err(injected(name)),
            Some(Fails::After) => work.await.and_then(|_| Err(injected(name))),
        }
    }

    async fn read<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if self.state().fails_read() { Err(injected(name)) } else { work.await }
    }

    /// A write of the state of a call, which is noted once it is made.
    async fn write_call<T>(
        &self,
        name: &'static str,
        call: &CallRecord,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let state = (call.id, call.rev, call.status);
        let noted = async {
            let made = work.await?;
            self.state().calls.insert(state);
            Ok(made)
        };
        self.write(name, noted).await
    }
}

fn injected(name: &str) -> StoreError {
    StoreError::Unavailable(format!("{name} fails in this test"))
}

macro_rules! forward {
    ($of:ident { $($kind:ident $name:ident($($arg:ident: $type:ty),*) -> $gives:ty;)* } $($by_hand:tt)*) => {
        #[async_trait]
        impl $of for FailingStore {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$gives> {
                self.$kind(stringify!($name), self.inner.$name($($arg),*)).await
            })*
            $($by_hand)*
        }
    };
}

forward!(Users {
    write save_profile(profile: Profile, at: Timestamp) -> UserRecord;
    read user(id: UserId) -> Option<UserRecord>;
    read users(ids: Vec<UserId>) -> Vec<UserRecord>;
    read directory(page: DirectoryPage) -> Vec<UserRecord>;
    write save_settings(id: UserId, settings: Settings, at: Timestamp) -> UserRecord;
    write touch_user(id: UserId, seen: Timestamp, legacy_cursor: i64) -> ();
    write save_device(device: DeviceRecord) -> ();
    read devices(user: UserId) -> Vec<DeviceRecord>;
    write remove_device(user: UserId, device_id: String) -> ();
    write set_disabled(id: UserId, disabled: bool, at: Timestamp, facts: Vec<Fact>) -> ();
    read contacts(user: UserId, since: Timestamp, limit: usize) -> Vec<UserId>;
});

forward!(Conversations {
    read conversation(id: ConversationId) -> Option<ConversationRecord>;
    read member(id: ConversationId, user: UserId) -> Option<MemberRecord>;
    read members(id: ConversationId) -> Vec<MemberRecord>;
    read conversations(user: UserId, archived: bool, before: Option<(Timestamp, ConversationId)>, limit: usize) -> Vec<Listed>;
    read unread(user: UserId) -> Vec<(ConversationId, i64)>;
    write mark(conversation: ConversationId, mark: Mark) -> Marked;
});

forward!(Messages {
    write append_message(message: NewMessage) -> Appended;
    read message(id: MessageId) -> Option<MessageRecord>;
    read messages(conversation: ConversationId, anchor: Anchor, limit: usize) -> Page;
    read log(user: UserId, cursor: i64, limit: usize) -> LogPage;
    read undelivered(user: UserId, limit: usize) -> Vec<(i64, MessageRecord)>;
});

forward!(CallLog {
    write rate_call(id: CallId, rating: Rating, facts: Vec<Fact>) -> ();
    read call(id: CallId) -> Option<CallRecord>;
    read live_calls() -> Vec<CallRecord>;
    read call_history(query: CallHistory) -> Vec<CallRecord>;
    read missed_calls(user: UserId, since: Timestamp, limit: usize) -> Vec<CallRecord>;
    write ack_missed(user: UserId, calls: Vec<CallId>) -> ();
}
    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord> {
        self.write_call("create_call", &call, self.inner.create_call(call.clone(), facts)).await
    }
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()> {
        let save = self.inner.save_call(call.clone(), expected_rev, facts);
        self.write_call("save_call", &call, save).await
    }
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished> {
        let call = end.call.clone();
        self.write_call("finish_call", &call, self.inner.finish_call(end)).await
    }
);

forward!(Recordings {
    write save_recording(recording: RecordingRecord, facts: Vec<Fact>) -> ();
    read recording(id: RecordingId) -> Option<RecordingRecord>;
    read recordings(query: RecordingQuery) -> Vec<RecordingRecord>;
    read open_recordings() -> Vec<RecordingRecord>;
    read expired_recordings(now: Timestamp, limit: usize) -> Vec<RecordingRecord>;
    write remove_recording(id: RecordingId, facts: Vec<Fact>) -> ();
});

forward!(Facts {
    write record_facts(facts: Vec<Fact>) -> ();
    read facts_after(position: i64, limit: usize) -> FactPage;
    write prune_facts(before: Timestamp) -> bool;
    read fact_cursor(name: String) -> i64;
    write save_fact_cursor(name: String, position: i64) -> ();
});

forward!(Webhooks {
    write queue_deliveries(deliveries: Vec<DeliveryRecord>, cursor: String, position: i64) -> ();
    write save_deliveries(deliveries: Vec<DeliveryRecord>) -> ();
    read delivery(id: DeliveryId) -> Option<DeliveryRecord>;
    read pending_deliveries(endpoint: String, position: i64, limit: usize) -> Vec<DeliveryRecord>;
    read deliveries(query: DeliveryQuery) -> Vec<DeliveryRecord>;
    write prune_deliveries(before: Timestamp) -> bool;
    read endpoint(name: String) -> Option<EndpointRecord>;
    write save_endpoint(endpoint: EndpointRecord) -> ();
});

forward!(Admin {
    write erase_user(id: UserId, at: Timestamp, facts: Vec<Fact>) -> ();
    write erase_messages(user: UserId, after: Option<(ConversationId, i64)>, at: Timestamp) -> Erased;
    write save_job(job: JobRecord) -> ();
    read job(id: JobId) -> Option<JobRecord>;
    read open_jobs() -> Vec<JobRecord>;
    write put_room_token(token: RoomTokenRecord, facts: Vec<Fact>) -> ();
    read room_token(hash: TokenHash) -> Option<RoomTokenRecord>;
    read room_tokens(room: RoomId) -> Vec<RoomTokenRecord>;
    write remove_room_tokens(room: RoomId) -> ();
    write prune_room_tokens(now: Timestamp) -> bool;
    write server_key(name: String, fresh: Vec<u8>) -> Vec<u8>;
    read totals() -> Totals;
    write retire(log_before: Timestamp, log_keep: i64, keys_before: Timestamp) -> bool;
    write take_over() -> ();
    write ping() -> ();
}
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
);

mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;

    fn store() -> Arc<FailingStore> {
        FailingStore::over(Arc::new(Sqlite::in_memory().unwrap()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_fails_before_or_after_it_is_stored() {
        let store = store();
        let cursor = async || store.fact_cursor("c".into()).await.unwrap();
        let save = async |position| store.save_fact_cursor("c".into(), position).await;
        save(1).await.unwrap();
        store.fail_next(Some("save_fact_cursor"), Fails::Before);
        store.record_facts(Vec::new()).await.unwrap();
        assert!(save(2).await.unwrap_err().retry_helps());
        assert_eq!(cursor().await, 1);
        store.fail_next(None, Fails::After);
        save(3).await.unwrap_err();
        assert_eq!(cursor().await, 3);
        store.fail_always(Some(Fails::Before));
        save(4).await.unwrap_err();
        store.fail_always(None);
        save(5).await.unwrap();
        assert_eq!(cursor().await, 5);
        let writes = store.writes();
        assert_eq!(writes.iter().filter(|(_, fails)| fails.is_some()).count(), 3);
        assert_eq!(writes[1], ("record_facts", None));
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn chance_fails_the_same_writes_for_the_same_seed() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let store = store();
            store.fail_by_chance(7, Chances { writes: 300, reads: 0 });
            for position in 0..200 {
                let _ = store.save_fact_cursor("c".into(), position).await;
            }
            runs.push(store.writes());
            store.close().await;
        }
        assert_eq!(runs[0], runs[1]);
        let failed = runs[0].iter().filter(|(_, fails)| fails.is_some()).count();
        assert!((30..90).contains(&failed), "{failed} of 200");
    }
}
