//! The embedded engine: SQLite in one file, one writer thread with group commit, a pool of readers.

mod calls;
mod dump;
mod erase;
mod facts;
mod log;
mod marks;
mod messages;
mod plans;
mod readers;
mod recordings;
mod schema;
mod secrets;
mod users;
mod writer;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode};
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use uuid::Uuid;

use self::readers::Readers;
use self::writer::Writer;
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

pub use plans::explain;

/// The embedded engine.
pub struct Sqlite {
    writer: Writer,
    /// Absent for a store in memory, where the writer reads as well.
    readers: Option<Readers>,
}

impl Sqlite {
    /// Opens the file, makes or migrates it, and starts the writer.
    pub fn open(path: &Path) -> Result<Self> {
        let mut connection = Connection::open(path).map_err(failed)?;
        tune(&connection).map_err(failed)?;
        // Every commit waits for the disk: an acknowledged write survives the loss of power.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        schema::migrate(&mut connection)?;
        let readers = Readers::open(path, 4)?;
        Ok(Self { writer: Writer::start(connection, true)?, readers: Some(readers) })
    }

    /// A store that is gone with the process.
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        tune(&connection).map_err(failed)?;
        schema::migrate(&mut connection)?;
        Ok(Self { writer: Writer::start(connection, false)?, readers: None })
    }

    /// A write, and the facts that it brings along.
    async fn write_with<T: Send + 'static>(
        &self,
        facts: Vec<Fact>,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let with_facts = move |c: &Connection| {
            let outcome = job(c)?;
            facts::append(c, &facts)?;
            Ok(outcome)
        };
        self.writer.write(with_facts).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.readers {
            Some(readers) => readers.read(job).await,
            None => self.writer.write(job).await,
        }
    }
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    // A plan never depends on the values bound to it, so that a statement is planned once.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -2_000)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 268_435_456_i64)?;
    connection.pragma_update(None, "wal_autocheckpoint", 8000)
}

/// What an error of SQLite means for the caller.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        failed(error)
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

macro_rules! column {
    ($($id:ty),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Owned(self.uuid().as_bytes().to_vec().into()))
            }
        }
        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let id = Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))?;
                Ok(Self::new(id))
            }
        }
    )*};
}

column!(CallId, ConversationId, JobId, MessageId, RecordingId);

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.value().into())
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Self::new(number).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// A column that holds the wire name of an enum.
struct Name<T>(T);

impl<T: DeserializeOwned> FromSql for Name<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = StrDeserializer::<serde::de::value::Error>::new(value.as_str()?);
        T::deserialize(text).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// A column that holds JSON.
struct Doc<T>(T);

impl<T: DeserializeOwned> FromSql for Doc<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// Adds `by` to one of the counters behind [`Totals`].
fn count(connection: &Connection, what: &str, by: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE meta SET value = value + ?2 WHERE key = ?1")?
        .execute((what, by))?;
    Ok(())
}

#[async_trait]
impl Store for Sqlite {
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord> {
        self.writer.write(move |c| users::save_profile(c, profile, at)).await
    }
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>> {
        self.read(move |c| users::user(c, id)).await
    }
    async fn users(&self, mut ids: Vec<UserId>) -> Result<Vec<UserRecord>> {
        ids.sort_unstable();
        ids.dedup();
        self.read(move |c| ids.iter().filter_map(|id| users::user(c, *id).transpose()).collect())
            .await
    }
    async fn directory(&self, page: DirectoryPage) -> Result<Vec<UserRecord>> {
        self.read(move |c| users::directory(c, &page)).await
    }
    async fn save_settings(
        &self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord> {
        self.writer.write(move |c| users::save_settings(c, id, settings, at)).await
    }
    async fn touch_user(&self, id: UserId, seen: Timestamp, plain_cursor: i64) -> Result<()> {
        self.writer.write(move |c| users::touch(c, id, seen, plain_cursor)).await
    }
    async fn save_device(&self, device: DeviceRecord) -> Result<()> {
        self.writer.write(move |c| users::save_device(c, &device)).await
    }
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>> {
        self.read(move |c| users::devices(c, user)).await
    }
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()> {
        self.writer.write(move |c| users::remove_device(c, user, &device_id)).await
    }
    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()> {
        self.write_with(facts, move |c| users::set_disabled(c, id, disabled, at)).await
    }
    async fn erase_user(&self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()> {
        // What facts say of the person goes in slices of its own; a crash between them is followed by another try.
        while self.writer.write(move |c| facts::erase(c, id)).await? {}
        self.write_with(facts, move |c| erase::user(c, id, at)).await
    }
    async fn erase_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, i64)>,
        at: Timestamp,
    ) -> Result<Erased> {
        self.writer.write(move |c| erase::messages(c, user, after, at)).await
    }
    async fn save_job(&self, job: JobRecord) -> Result<()> {
        self.writer.write(move |c| erase::save_job(c, &job)).await
    }
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.read(move |c| erase::job(c, id)).await
    }
    async fn open_jobs(&self) -> Result<Vec<JobRecord>> {
        self.read(erase::open_jobs).await
    }
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>> {
        self.read(move |c| users::contacts(c, user, since, limit)).await
    }

    async fn append_message(&self, message: NewMessage) -> Result<Appended> {
        self.writer.write(move |c| messages::append(c, message)).await
    }
    async fn message(&self, id: MessageId) -> Result<Option<MessageRecord>> {
        self.read(move |c| messages::message(c, id)).await
    }
    async fn messages(
        &self,
        conversation: ConversationId,
        anchor: Anchor,
        limit: usize,
    ) -> Result<Page> {
        self.read(move |c| messages::page(c, conversation, anchor, limit)).await
    }
    async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRecord>> {
        self.read(move |c| messages::conversation(c, id)).await
    }
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<MemberRecord>> {
        self.read(move |c| messages::member(c, id, user)).await
    }
    async fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>> {
        self.read(move |c| messages::members(c, id)).await
    }
    async fn conversations(
        &self,
        user: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        self.read(move |c| messages::conversations(c, user, archived, before, limit)).await
    }
    async fn unread(&self, user: UserId) -> Result<Vec<(ConversationId, i64)>> {
        self.read(move |c| messages::unread(c, user)).await
    }
    async fn mark(&self, conversation: ConversationId, mark: Mark) -> Result<Marked> {
        self.writer.write(move |c| marks::set(c, conversation, mark)).await
    }

    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
        self.read(move |c| log::page(c, user, cursor, limit)).await
    }
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>> {
        self.read(move |c| log::undelivered(c, user, limit)).await
    }

    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord> {
        self.writer.write(move |c| calls::create(c, call, &facts)).await
    }
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, move |c| calls::save(c, &call, expected_rev)).await
    }
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished> {
        self.writer.write(move |c| calls::finish(c, end)).await
    }
    async fn rate_call(&self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, move |c| calls::rate(c, id, rating)).await
    }
    async fn call(&self, id: CallId) -> Result<Option<CallRecord>> {
        self.read(move |c| calls::call(c, id)).await
    }
    async fn live_calls(&self) -> Result<Vec<CallRecord>> {
        self.read(calls::live).await
    }
    async fn call_history(&self, query: CallHistory) -> Result<Vec<CallRecord>> {
        self.read(move |c| calls::history(c, &query)).await
    }
    async fn missed_calls(
        &self,
        user: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<CallRecord>> {
        self.read(move |c| calls::missed(c, user, since, limit)).await
    }
    async fn ack_missed(&self, user: UserId, calls: Vec<CallId>) -> Result<()> {
        self.writer.write(move |c| calls::ack_missed(c, user, &calls)).await
    }

    async fn save_recording(&self, recording: RecordingRecord, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, move |c| recordings::save(c, &recording)).await
    }
    async fn recording(&self, id: RecordingId) -> Result<Option<RecordingRecord>> {
        self.read(move |c| recordings::recording(c, id)).await
    }
    async fn recordings(&self, query: RecordingQuery) -> Result<Vec<RecordingRecord>> {
        self.read(move |c| recordings::list(c, &query)).await
    }
    async fn open_recordings(&self) -> Result<Vec<RecordingRecord>> {
        self.read(recordings::open).await
    }
    async fn expired_recordings(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<RecordingRecord>> {
        self.read(move |c| recordings::expired(c, now, limit)).await
    }
    async fn remove_recording(&self, id: RecordingId, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, move |c| recordings::remove(c, id)).await
    }

    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, |_| Ok(())).await
    }
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage> {
        self.read(move |c| facts::after(c, position, limit)).await
    }
    async fn prune_facts(&self, before: Timestamp) -> Result<bool> {
        self.writer.write(move |c| facts::prune(c, before)).await
    }
    async fn fact_cursor(&self, name: String) -> Result<i64> {
        self.read(move |c| facts::cursor(c, &name)).await
    }
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()> {
        self.writer.write(move |c| facts::save_cursor(c, &name, position)).await
    }

    async fn put_room_token(&self, token: RoomTokenRecord, facts: Vec<Fact>) -> Result<()> {
        self.write_with(facts, move |c| secrets::put_token(c, &token)).await
    }
    async fn room_token(&self, hash: TokenHash) -> Result<Option<RoomTokenRecord>> {
        self.read(move |c| secrets::token(c, hash)).await
    }
    async fn room_tokens(&self, room: RoomId) -> Result<Vec<RoomTokenRecord>> {
        self.read(move |c| secrets::tokens(c, &room)).await
    }
    async fn remove_room_tokens(&self, room: RoomId) -> Result<()> {
        self.writer.write(move |c| secrets::remove_tokens(c, &room)).await
    }
    async fn prune_room_tokens(&self, now: Timestamp) -> Result<bool> {
        self.writer.write(move |c| secrets::prune_tokens(c, now)).await
    }
    async fn server_key(&self, name: String, fresh: Vec<u8>) -> Result<Vec<u8>> {
        self.writer.write(move |c| secrets::key_or(c, &name, fresh)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read(|c| {
            let get = |key: &str| -> Result<i64> {
                Ok(c.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                    .query_row([key], |row| row.get(0))?)
            };
            Ok(Totals { users: get("users")?, messages: get("messages")?, calls: get("calls")? })
        })
        .await
    }
    async fn retire(
        &self,
        log_before: Timestamp,
        log_keep: i64,
        keys_before: Timestamp,
    ) -> Result<bool> {
        self.writer.write(move |c| log::retire(c, log_before, log_keep, keys_before)).await
    }
    async fn take_over(&self) -> Result<()> {
        Ok(())
    }
    fn engine(&self) -> &'static str {
        "sqlite"
    }
    async fn ping(&self) -> Result<()> {
        self.writer.write(|_| Ok(())).await
    }
    async fn export(
        &self,
        sink: &mut (dyn FnMut(String) -> std::io::Result<()> + Send),
    ) -> Result<()> {
        let mut after = dump::Position::default();
        loop {
            let position = after.clone();
            let (lines, next) = self.read(move |c| dump::slice(c, &position)).await?;
            for line in lines {
                sink(line).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            }
            match next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }
    async fn import(
        &self,
        lines: &mut (dyn Iterator<Item = std::io::Result<String>> + Send),
    ) -> Result<()> {
        self.writer.write(dump::refuse_unless_empty).await?;
        loop {
            let slice = Iterator::take(&mut *lines, 1000).collect::<std::io::Result<Vec<_>>>();
            let slice = slice.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if slice.is_empty() {
                return Ok(());
            }
            self.writer.write(move |c| dump::take(c, &slice)).await?;
        }
    }
    async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close();
        }
        tokio::task::block_in_place(|| self.writer.stop());
    }
}
