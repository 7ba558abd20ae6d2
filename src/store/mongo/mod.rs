//! The MongoDB engine, for whatever speaks its protocol: plain finds and writes, no transactions, no joins, no change streams.
//! One server writes to a database at a time (`writer.rs` says how).

mod calls;
mod dump;
mod erase;
mod facts;
mod log;
mod messages;
mod observe;
mod people;
mod reader;
mod recordings;
mod rows;
mod schema;
mod secrets;
mod unit;
mod writer;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Database};

pub use self::observe::Observed;
use self::reader::{DEADLINE, Reader, failed, within_deadline};
use self::rows::{Kept, in_conversation, user_id};
use self::unit::Unit;
use self::writer::{PATIENCE, Write, Writer, need};
use super::{
    Anchor, Appended, CallEnd, CallFinished, CallHistory, CallRecord, ConversationRecord,
    DeviceRecord, DirectoryPage, Erased, FactPage, JobRecord, Listed, LogPage, Mark, Marked,
    MemberRecord, MessageRecord, NewMessage, Page, Profile, Rating, RecordingQuery,
    RecordingRecord, Result, RoomTokenRecord, Settings, Store, StoreError, TokenHash, Totals,
    UserRecord,
};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};

/// The MongoDB engine.
pub struct Mongo {
    reader: Reader,
    writer: Writer,
    /// Behind which user the forgetting goes on.
    retired: Mutex<Option<UserId>>,
}

type Doing<'a, T> = BoxFuture<'a, Result<T>>;

impl Mongo {
    /// Connects to the database that the URI names (`switchboard` when it names none), and makes or migrates what is in it.
    /// Whose turn it is to write does not change before [`Store::take_over`] or the first write.
    pub async fn open(uri: &str) -> Result<Self> {
        Self::prepare(connect(uri, None).await?).await
    }

    /// [`Mongo::open`], with every command that goes to the database noted: for tests of its plans.
    pub async fn open_observed(uri: &str) -> Result<(Self, Observed)> {
        let observed = Observed::default();
        let store = Self::prepare(connect(uri, Some(&observed)).await?).await?;
        Ok((store, observed))
    }

    /// How the database answers a noted query.
    pub async fn explain(&self, query: Document) -> Result<Document> {
        let command = doc! { "explain": query, "verbosity": "queryPlanner" };
        self.reader.run(self.reader.database.run_command(command).into_future()).await
    }

    /// [`Mongo::open`], trying for at most `patience` while no database answers.
    pub async fn open_patiently(uri: &str, patience: Duration) -> Result<Self> {
        if let Err(error) = ClientOptions::parse(uri).await
            && matches!(*error.kind, ErrorKind::InvalidArgument { .. })
        {
            return Err(failed(&error));
        }
        let answering = async {
            loop {
                match connect(uri, None).await {
                    Ok(database) => return database,
                    Err(error) => {
                        tracing::warn!(%error, "waiting for the database");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        match tokio::time::timeout(patience, answering).await {
            Ok(database) => Self::prepare(database).await,
            // Once more, to say why.
            Err(_) => Self::open(uri).await,
        }
    }

    async fn prepare(database: Database) -> Result<Self> {
        schema::migrate(&database).await?;
        let reader = Reader::new(database);
        let writer = Writer::start(reader.clone());
        Ok(Self { reader, writer, retired: Mutex::default() })
    }

    async fn write<T, F>(&self, needs: Vec<(&'static str, String)>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Unit) -> Doing<'a, T> + Send + 'static,
    {
        self.writer.write(Write { needs, alone: false, patience: PATIENCE, work }).await
    }

    /// A write that asks the database for more than records by key, and so goes alone.
    async fn write_alone<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Unit) -> Doing<'a, T> + Send + 'static,
    {
        self.writer.write(Write { needs: Vec::new(), alone: true, patience: PATIENCE, work }).await
    }
}

/// The write that writes nothing: it only makes sure of the turn.
fn nothing(_: &mut Unit) -> Doing<'_, ()> {
    Box::pin(async { Ok(()) })
}

/// A database that answers.
async fn connect(uri: &str, observed: Option<&Observed>) -> Result<Database> {
    let mut options = ClientOptions::parse(uri).await.map_err(|error| failed(&error))?;
    options.app_name = Some("switchboard".into());
    options.server_selection_timeout = Some(DEADLINE);
    options.connect_timeout = Some(DEADLINE);
    options.command_event_handler = observed.map(Observed::handler);
    options.max_pool_size = Some(32);
    options.write_concern = Some(WriteConcern::majority());
    let name = options.default_database.clone().unwrap_or_else(|| "switchboard".into());
    let client = Client::with_options(options).map_err(|error| failed(&error))?;
    let database = client.database(&name);
    within_deadline(database.run_command(doc! { "ping": 1 }).into_future()).await?;
    Ok(database)
}

#[async_trait]
impl Store for Mongo {
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord> {
        let needs = vec![
            need::<UserRecord>(user_id(profile.user_id)),
            need::<rows::Uid>(profile.uid.clone()),
        ];
        self.write(needs, move |unit| Box::pin(people::save_profile(unit, profile, at))).await
    }
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>> {
        self.reader.get(&user_id(id)).await
    }
    async fn users(&self, ids: Vec<UserId>) -> Result<Vec<UserRecord>> {
        people::users(&self.reader, ids).await
    }
    async fn directory(&self, page: DirectoryPage) -> Result<Vec<UserRecord>> {
        people::directory(&self.reader, &page).await
    }
    async fn save_settings(
        &self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord> {
        let needs = vec![need::<UserRecord>(user_id(id))];
        self.write(needs, move |unit| Box::pin(people::save_settings(unit, id, settings, at))).await
    }
    async fn touch_user(&self, id: UserId, seen: Timestamp, plain_cursor: i64) -> Result<()> {
        let needs = vec![need::<UserRecord>(user_id(id))];
        self.write(needs, move |unit| Box::pin(people::touch(unit, id, seen, plain_cursor))).await
    }
    async fn save_device(&self, device: DeviceRecord) -> Result<()> {
        let needs = vec![need::<UserRecord>(user_id(device.user))];
        self.write(needs, move |unit| Box::pin(people::save_device(unit, device))).await
    }
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>> {
        people::devices(&self.reader, user).await
    }
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move { people::remove_device(unit, user, &device_id).await })
        })
        .await
    }
    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()> {
        let needs = vec![need::<UserRecord>(user_id(id))];
        self.write(needs, move |unit| {
            Box::pin(async move {
                people::set_disabled(unit, id, disabled, at).await?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn erase_user(&self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()> {
        // What facts say of the person goes in slices of its own; a crash between them is followed by another try.
        while self.write_alone(move |unit| Box::pin(facts::erase(unit, id))).await? {}
        self.write_alone(move |unit| {
            Box::pin(async move {
                erase::user(unit, id, at).await?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn erase_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, i64)>,
        at: Timestamp,
    ) -> Result<Erased> {
        self.write_alone(move |unit| Box::pin(erase::messages(unit, user, after, at))).await
    }
    async fn save_job(&self, job: JobRecord) -> Result<()> {
        self.write(Vec::new(), move |unit| Box::pin(async move { unit.put(&job) })).await
    }
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn open_jobs(&self) -> Result<Vec<JobRecord>> {
        self.reader.find(doc! { "open": true }, doc! { "_id": 1 }, usize::MAX).await
    }
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>> {
        people::contacts(&self.reader, user, since, limit).await
    }

    async fn append_message(&self, message: NewMessage) -> Result<Appended> {
        let needs = messages::needs(&message);
        self.write(needs, move |unit| Box::pin(messages::append(unit, message))).await
    }
    async fn message(&self, id: MessageId) -> Result<Option<MessageRecord>> {
        messages::message(&self.reader, id).await
    }
    async fn messages(
        &self,
        conversation: ConversationId,
        anchor: Anchor,
        limit: usize,
    ) -> Result<Page> {
        messages::page(&self.reader, conversation, anchor, limit).await
    }
    async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<MemberRecord>> {
        self.reader.get(&in_conversation(id, user.value())).await
    }
    async fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>> {
        messages::members(&self.reader, id).await
    }
    async fn conversations(
        &self,
        user: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        messages::conversations(&self.reader, user, archived, before, limit).await
    }
    async fn unread(&self, user: UserId) -> Result<Vec<(ConversationId, i64)>> {
        messages::unread(&self.reader, user).await
    }
    async fn mark(&self, conversation: ConversationId, mark: Mark) -> Result<Marked> {
        let needs = messages::mark_needs(conversation, &mark);
        self.write(needs, move |unit| Box::pin(messages::mark(unit, conversation, mark))).await
    }

    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
        log::page(&self.reader, user, cursor, limit).await
    }
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>> {
        log::undelivered(&self.reader, user, limit).await
    }

    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord> {
        self.write(Vec::new(), move |unit| Box::pin(calls::create(unit, call, facts))).await
    }
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()> {
        self.write(vec![need::<CallRecord>(call.id())], move |unit| {
            Box::pin(async move {
                calls::save(unit, &call, expected_rev).await?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished> {
        self.write(vec![need::<CallRecord>(end.call.id())], move |unit| {
            Box::pin(calls::finish(unit, end))
        })
        .await
    }
    async fn rate_call(&self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move {
                calls::rate(unit, id, rating).await?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn call(&self, id: CallId) -> Result<Option<CallRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn live_calls(&self) -> Result<Vec<CallRecord>> {
        calls::live(&self.reader).await
    }
    async fn call_history(&self, query: CallHistory) -> Result<Vec<CallRecord>> {
        calls::history(&self.reader, &query).await
    }
    async fn missed_calls(
        &self,
        user: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<CallRecord>> {
        calls::missed(&self.reader, user, since, limit).await
    }
    async fn ack_missed(&self, user: UserId, calls: Vec<CallId>) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move { calls::ack_missed(unit, user, &calls).await })
        })
        .await
    }

    async fn save_recording(&self, recording: RecordingRecord, facts: Vec<Fact>) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move {
                recordings::save(unit, &recording)?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn recording(&self, id: RecordingId) -> Result<Option<RecordingRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn recordings(&self, query: RecordingQuery) -> Result<Vec<RecordingRecord>> {
        recordings::list(&self.reader, &query).await
    }
    async fn open_recordings(&self) -> Result<Vec<RecordingRecord>> {
        self.reader.find(doc! { "open": true }, doc! { "_id": 1 }, usize::MAX).await
    }
    async fn expired_recordings(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<RecordingRecord>> {
        let due = doc! { "until": { "$lte": now.0, "$gt": 0_i64 } };
        self.reader.find(due, doc! { "until": 1, "_id": 1 }, limit).await
    }
    async fn remove_recording(&self, id: RecordingId, facts: Vec<Fact>) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move {
                recordings::remove(unit, id).await?;
                unit.add_facts(facts).await
            })
        })
        .await
    }

    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()> {
        self.write(Vec::new(), move |unit| Box::pin(unit.add_facts(facts))).await
    }
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage> {
        facts::after(&self.reader, position, limit).await
    }
    async fn prune_facts(&self, before: Timestamp) -> Result<bool> {
        self.write_alone(move |unit| Box::pin(facts::prune(unit, before))).await
    }
    async fn fact_cursor(&self, name: String) -> Result<i64> {
        let cursor = self.reader.get::<facts::Cursor>(&name).await?;
        Ok(cursor.map_or(0, |cursor| cursor.position))
    }
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()> {
        let cursor = facts::Cursor { name, position };
        self.write(Vec::new(), move |unit| Box::pin(async move { unit.put(&cursor) })).await
    }

    async fn put_room_token(&self, token: RoomTokenRecord, facts: Vec<Fact>) -> Result<()> {
        self.write(Vec::new(), move |unit| {
            Box::pin(async move {
                unit.put(&token)?;
                unit.add_facts(facts).await
            })
        })
        .await
    }
    async fn room_token(&self, hash: TokenHash) -> Result<Option<RoomTokenRecord>> {
        self.reader.get(&hash.to_string()).await
    }
    async fn room_tokens(&self, room: RoomId) -> Result<Vec<RoomTokenRecord>> {
        secrets::tokens(&self.reader, &room).await
    }
    async fn remove_room_tokens(&self, room: RoomId) -> Result<()> {
        self.write_alone(move |unit| {
            Box::pin(async move { secrets::remove_tokens(unit, &room).await })
        })
        .await
    }
    async fn prune_room_tokens(&self, now: Timestamp) -> Result<bool> {
        self.write_alone(move |unit| Box::pin(secrets::prune_tokens(unit, now))).await
    }
    async fn server_key(&self, name: String, fresh: Vec<u8>) -> Result<Vec<u8>> {
        self.write(Vec::new(), move |unit| Box::pin(secrets::key_or(unit, name, fresh))).await
    }

    async fn totals(&self) -> Result<Totals> {
        Ok(self.reader.get("totals").await?.unwrap_or_default())
    }
    async fn retire(
        &self,
        log_before: Timestamp,
        log_keep: i64,
        keys_before: Timestamp,
    ) -> Result<bool> {
        let from = *self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let retire = self.write_alone(move |unit| {
            Box::pin(log::retire(unit, log_before, log_keep, keys_before, from))
        });
        let (more, place) = retire.await?;
        *self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = place;
        Ok(more)
    }
    fn engine(&self) -> &'static str {
        "mongodb"
    }
    async fn ping(&self) -> Result<()> {
        let answers = self.reader.database.run_command(doc! { "ping": 1 });
        self.reader.run(answers.into_future()).await?;
        self.writer.check()
    }
    async fn take_over(&self) -> Result<()> {
        let (needs, patience) = (Vec::new(), Duration::from_secs(30));
        self.writer.write(Write { needs, alone: true, patience, work: nothing }).await
    }
    async fn export(
        &self,
        sink: &mut (dyn FnMut(String) -> std::io::Result<()> + Send),
    ) -> Result<()> {
        dump::export(&self.reader, sink).await
    }
    async fn import(
        &self,
        lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
    ) -> Result<()> {
        dump::refuse_unless_empty(&self.reader).await?;
        loop {
            let slice = Iterator::take(&mut *lines, 100).collect::<std::io::Result<Vec<_>>>();
            let slice = slice.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if slice.is_empty() {
                return Ok(());
            }
            self.write_alone(move |unit| Box::pin(async move { dump::take(unit, &slice).await }))
                .await?;
        }
    }
    async fn close(&self) {
        self.writer.stop().await;
        self.reader.database.client().clone().shutdown().await;
    }
}
