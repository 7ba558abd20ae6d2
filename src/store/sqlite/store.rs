//! The promises of the store, kept by the functions of the modules beside this one.

use async_trait::async_trait;

use super::super::{
    Admin, Anchor, Appended, CallEnd, CallFinished, CallHistory, CallLog, CallRecord,
    ConversationRecord, Conversations, DeviceRecord, DirectoryPage, Erased, FactPage, Facts,
    JobRecord, Listed, LogPage, Mark, Marked, MemberRecord, MessageRecord, Messages, NewMessage,
    Page, Profile, Rating, RecordingQuery, RecordingRecord, Recordings, Result, RoomTokenRecord,
    Settings, StoreError, TokenHash, Totals, UserRecord, Users,
};
use super::{
    Sqlite, calls, conversations, dump, erase, facts, log, marks, messages, recordings, replay,
    secrets, users,
};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};

#[async_trait]
impl Users for Sqlite {
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord> {
        self.write("save_profile", move |c| users::save_profile(c, profile, at)).await
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
        self.write("save_settings", move |c| users::save_settings(c, id, settings, at)).await
    }
    async fn touch_user(&self, id: UserId, seen: Timestamp, legacy_cursor: i64) -> Result<()> {
        self.write("touch_user", move |c| users::touch(c, id, seen, legacy_cursor)).await
    }
    async fn save_device(&self, device: DeviceRecord) -> Result<()> {
        self.write("save_device", move |c| users::save_device(c, &device)).await
    }
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>> {
        self.read(move |c| users::devices(c, user)).await
    }
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()> {
        self.write("remove_device", move |c| users::remove_device(c, user, &device_id)).await
    }
    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()> {
        self.write_with("set_disabled", facts, move |c| users::set_disabled(c, id, disabled, at))
            .await
    }
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>> {
        self.read(move |c| users::contacts(c, user, since, limit)).await
    }
}

#[async_trait]
impl Conversations for Sqlite {
    async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRecord>> {
        self.read(move |c| conversations::conversation(c, id)).await
    }
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<MemberRecord>> {
        self.read(move |c| conversations::member(c, id, user)).await
    }
    async fn members(&self, id: ConversationId) -> Result<Vec<MemberRecord>> {
        self.read(move |c| conversations::members(c, id)).await
    }
    async fn conversations(
        &self,
        user: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        self.read(move |c| conversations::conversations(c, user, archived, before, limit)).await
    }
    async fn unread(&self, user: UserId) -> Result<Vec<(ConversationId, i64)>> {
        self.read(move |c| conversations::unread(c, user)).await
    }
    async fn mark(&self, conversation: ConversationId, mark: Mark) -> Result<Marked> {
        self.write("mark", move |c| marks::set(c, conversation, mark)).await
    }
}

#[async_trait]
impl Messages for Sqlite {
    async fn append_message(&self, message: NewMessage) -> Result<Appended> {
        self.write("append_message", move |c| messages::append(c, message)).await
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
    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
        self.read(move |c| replay::page(c, user, cursor, limit)).await
    }
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>> {
        self.read(move |c| replay::undelivered(c, user, limit)).await
    }
}

#[async_trait]
impl CallLog for Sqlite {
    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord> {
        self.write("create_call", move |c| calls::create(c, call, &facts)).await
    }
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()> {
        self.write_with("save_call", facts, move |c| calls::save(c, &call, expected_rev)).await
    }
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished> {
        self.write("finish_call", move |c| calls::finish(c, end)).await
    }
    async fn rate_call(&self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()> {
        self.write_with("rate_call", facts, move |c| calls::rate(c, id, rating)).await
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
        self.write("ack_missed", move |c| calls::ack_missed(c, user, &calls)).await
    }
}

#[async_trait]
impl Recordings for Sqlite {
    async fn save_recording(&self, recording: RecordingRecord, facts: Vec<Fact>) -> Result<()> {
        self.write_with("save_recording", facts, move |c| recordings::save(c, &recording)).await
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
        self.write_with("remove_recording", facts, move |c| recordings::remove(c, id)).await
    }
}

#[async_trait]
impl Facts for Sqlite {
    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()> {
        self.write_with("record_facts", facts, |_| Ok(())).await
    }
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage> {
        self.read(move |c| facts::after(c, position, limit)).await
    }
    async fn prune_facts(&self, before: Timestamp) -> Result<bool> {
        self.write("prune_facts", move |c| facts::prune(c, before)).await
    }
    async fn fact_cursor(&self, name: String) -> Result<i64> {
        self.read(move |c| facts::cursor(c, &name)).await
    }
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()> {
        self.write("save_fact_cursor", move |c| facts::save_cursor(c, &name, position)).await
    }
}

#[async_trait]
impl Admin for Sqlite {
    async fn erase_user(&self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()> {
        // What facts say of the person goes in slices of its own; a crash between them is followed by another try.
        while self.write("erase_user", move |c| erase::facts(c, id)).await? {}
        self.write_with("erase_user", facts, move |c| erase::user(c, id, at)).await
    }
    async fn erase_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, i64)>,
        at: Timestamp,
    ) -> Result<Erased> {
        self.write("erase_messages", move |c| erase::messages(c, user, after, at)).await
    }
    async fn save_job(&self, job: JobRecord) -> Result<()> {
        self.write("save_job", move |c| erase::save_job(c, &job)).await
    }
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.read(move |c| erase::job(c, id)).await
    }
    async fn open_jobs(&self) -> Result<Vec<JobRecord>> {
        self.read(erase::open_jobs).await
    }
    async fn put_room_token(&self, token: RoomTokenRecord, facts: Vec<Fact>) -> Result<()> {
        self.write_with("put_room_token", facts, move |c| secrets::put_token(c, &token)).await
    }
    async fn room_token(&self, hash: TokenHash) -> Result<Option<RoomTokenRecord>> {
        self.read(move |c| secrets::token(c, hash)).await
    }
    async fn room_tokens(&self, room: RoomId) -> Result<Vec<RoomTokenRecord>> {
        self.read(move |c| secrets::tokens(c, &room)).await
    }
    async fn remove_room_tokens(&self, room: RoomId) -> Result<()> {
        self.write("remove_room_tokens", move |c| secrets::remove_tokens(c, &room)).await
    }
    async fn prune_room_tokens(&self, now: Timestamp) -> Result<bool> {
        self.write("prune_room_tokens", move |c| secrets::prune_tokens(c, now)).await
    }
    async fn server_key(&self, name: String, fresh: Vec<u8>) -> Result<Vec<u8>> {
        self.write("server_key", move |c| secrets::key_or(c, &name, fresh)).await
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
        self.write("retire", move |c| log::retire(c, log_before, log_keep, keys_before)).await
    }
    async fn take_over(&self) -> Result<()> {
        Ok(())
    }
    fn engine(&self) -> &'static str {
        "sqlite"
    }
    async fn ping(&self) -> Result<()> {
        self.write("ping", |_| Ok(())).await
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
        self.write("import", dump::refuse_unless_empty).await?;
        loop {
            let slice = Iterator::take(&mut *lines, 1000).collect::<std::io::Result<Vec<_>>>();
            let slice = slice.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if slice.is_empty() {
                return Ok(());
            }
            self.write("import", move |c| dump::take(c, &slice)).await?;
        }
    }
    async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.close();
        }
        tokio::task::block_in_place(|| self.writer.stop());
    }
}
