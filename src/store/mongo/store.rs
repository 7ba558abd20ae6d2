//! The promises of the store, kept by the functions of the modules beside this one.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::doc;

use super::super::{
    Admin, Anchor, Appended, CallEnd, CallFinished, CallHistory, CallLog, CallRecord,
    ConversationRecord, Conversations, DeviceRecord, DirectoryPage, Erased, FactPage, Facts,
    JobRecord, Listed, LogPage, Mark, Marked, MemberRecord, MessageRecord, Messages, NewMessage,
    Page, Profile, Rating, RecordingQuery, RecordingRecord, Recordings, Result, RoomTokenRecord,
    Settings, StoreError, TokenHash, Totals, UserRecord, Users,
};
use super::rows::{StoredDocument, Uid, in_conversation, user_id};
use super::writer::{Write, need};
use super::{Mongo, calls, dump, erase, facts, log, messages, nothing, recordings, secrets, users};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, ConversationId, JobId, MessageId, RecordingId, RoomId, UserId};

#[async_trait]
impl Users for Mongo {
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord> {
        let needs =
            vec![need::<UserRecord>(user_id(profile.user_id)), need::<Uid>(profile.uid.clone())];
        self.write("save_profile", needs, move |batch| {
            Box::pin(users::save_profile(batch, profile, at))
        })
        .await
    }
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>> {
        self.reader.get(&user_id(id)).await
    }
    async fn users(&self, ids: Vec<UserId>) -> Result<Vec<UserRecord>> {
        users::users(&self.reader, ids).await
    }
    async fn directory(&self, page: DirectoryPage) -> Result<Vec<UserRecord>> {
        users::directory(&self.reader, &page).await
    }
    async fn save_settings(
        &self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord> {
        let needs = vec![need::<UserRecord>(user_id(id))];
        self.write("save_settings", needs, move |batch| {
            Box::pin(users::save_settings(batch, id, settings, at))
        })
        .await
    }
    async fn touch_user(&self, id: UserId, seen: Timestamp, legacy_cursor: i64) -> Result<()> {
        let needs = vec![need::<UserRecord>(user_id(id))];
        self.write("touch_user", needs, move |batch| {
            Box::pin(users::touch(batch, id, seen, legacy_cursor))
        })
        .await
    }
    async fn save_device(&self, device: DeviceRecord) -> Result<()> {
        let needs = vec![need::<UserRecord>(user_id(device.user))];
        self.write("save_device", needs, move |batch| Box::pin(users::save_device(batch, device)))
            .await
    }
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>> {
        users::devices(&self.reader, user).await
    }
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()> {
        self.write("remove_device", Vec::new(), move |batch| {
            Box::pin(async move { users::remove_device(batch, user, &device_id).await })
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
        self.write("set_disabled", needs, move |batch| {
            Box::pin(async move {
                users::set_disabled(batch, id, disabled, at).await?;
                batch.add_facts(facts).await
            })
        })
        .await
    }
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>> {
        users::contacts(&self.reader, user, since, limit).await
    }
}

#[async_trait]
impl Conversations for Mongo {
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
        self.write("mark", needs, move |batch| Box::pin(messages::mark(batch, conversation, mark)))
            .await
    }
}

#[async_trait]
impl Messages for Mongo {
    async fn append_message(&self, message: NewMessage) -> Result<Appended> {
        let needs = messages::needs(&message);
        self.write("append_message", needs, move |batch| Box::pin(messages::append(batch, message)))
            .await
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
    async fn log(&self, user: UserId, cursor: i64, limit: usize) -> Result<LogPage> {
        log::page(&self.reader, user, cursor, limit).await
    }
    async fn undelivered(&self, user: UserId, limit: usize) -> Result<Vec<(i64, MessageRecord)>> {
        log::undelivered(&self.reader, user, limit).await
    }
}

#[async_trait]
impl CallLog for Mongo {
    async fn create_call(&self, call: CallRecord, facts: Vec<Fact>) -> Result<CallRecord> {
        self.write("create_call", Vec::new(), move |batch| {
            Box::pin(calls::create(batch, call, facts))
        })
        .await
    }
    async fn save_call(&self, call: CallRecord, expected_rev: i64, facts: Vec<Fact>) -> Result<()> {
        self.write("save_call", vec![need::<CallRecord>(call.id())], move |batch| {
            Box::pin(async move {
                calls::save(batch, &call, expected_rev).await?;
                batch.add_facts(facts).await
            })
        })
        .await
    }
    async fn finish_call(&self, end: CallEnd) -> Result<CallFinished> {
        self.write("finish_call", vec![need::<CallRecord>(end.call.id())], move |batch| {
            Box::pin(calls::finish(batch, end))
        })
        .await
    }
    async fn rate_call(&self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()> {
        self.write("rate_call", Vec::new(), move |batch| {
            Box::pin(async move {
                calls::rate(batch, id, rating).await?;
                batch.add_facts(facts).await
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
        self.write("ack_missed", Vec::new(), move |batch| {
            Box::pin(async move { calls::ack_missed(batch, user, &calls).await })
        })
        .await
    }
}

#[async_trait]
impl Recordings for Mongo {
    async fn save_recording(&self, recording: RecordingRecord, facts: Vec<Fact>) -> Result<()> {
        self.write("save_recording", Vec::new(), move |batch| {
            Box::pin(async move {
                recordings::save(batch, &recording)?;
                batch.add_facts(facts).await
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
        self.write("remove_recording", Vec::new(), move |batch| {
            Box::pin(async move {
                recordings::remove(batch, id).await?;
                batch.add_facts(facts).await
            })
        })
        .await
    }
}

#[async_trait]
impl Facts for Mongo {
    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()> {
        self.write("record_facts", Vec::new(), move |batch| Box::pin(batch.add_facts(facts))).await
    }
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage> {
        facts::after(&self.reader, position, limit).await
    }
    async fn prune_facts(&self, before: Timestamp) -> Result<bool> {
        self.write_alone("prune_facts", move |batch| Box::pin(facts::prune(batch, before))).await
    }
    async fn fact_cursor(&self, name: String) -> Result<i64> {
        let cursor = self.reader.get::<facts::Cursor>(&name).await?;
        Ok(cursor.map_or(0, |cursor| cursor.position))
    }
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()> {
        let cursor = facts::Cursor { name, position };
        self.write("save_fact_cursor", Vec::new(), move |batch| {
            Box::pin(async move { batch.put(&cursor) })
        })
        .await
    }
}

#[async_trait]
impl Admin for Mongo {
    async fn erase_user(&self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()> {
        // What facts say of the person goes in slices of its own; a crash between them is followed by another try.
        while self.write_alone("erase_user", move |batch| Box::pin(facts::erase(batch, id))).await?
        {
        }
        self.write_alone("erase_user", move |batch| {
            Box::pin(async move {
                erase::user(batch, id, at).await?;
                batch.add_facts(facts).await
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
        self.write_alone("erase_messages", move |batch| {
            Box::pin(erase::messages(batch, user, after, at))
        })
        .await
    }
    async fn save_job(&self, job: JobRecord) -> Result<()> {
        self.write("save_job", Vec::new(), move |batch| Box::pin(async move { batch.put(&job) }))
            .await
    }
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn open_jobs(&self) -> Result<Vec<JobRecord>> {
        self.reader.find(doc! { "open": true }, doc! { "_id": 1 }, usize::MAX).await
    }
    async fn put_room_token(&self, token: RoomTokenRecord, facts: Vec<Fact>) -> Result<()> {
        self.write("put_room_token", Vec::new(), move |batch| {
            Box::pin(async move {
                batch.put(&token)?;
                batch.add_facts(facts).await
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
        self.write_alone("remove_room_tokens", move |batch| {
            Box::pin(async move { secrets::remove_tokens(batch, &room).await })
        })
        .await
    }
    async fn prune_room_tokens(&self, now: Timestamp) -> Result<bool> {
        self.write_alone("prune_room_tokens", move |batch| {
            Box::pin(secrets::prune_tokens(batch, now))
        })
        .await
    }
    async fn server_key(&self, name: String, fresh: Vec<u8>) -> Result<Vec<u8>> {
        self.write("server_key", Vec::new(), move |batch| {
            Box::pin(secrets::key_or(batch, name, fresh))
        })
        .await
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
        let retire = self.write_alone("retire", move |batch| {
            Box::pin(log::retire(batch, log_before, log_keep, keys_before, from))
        });
        let (more, place) = retire.await?;
        *self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = place;
        Ok(more)
    }
    async fn take_over(&self) -> Result<()> {
        let (needs, deadline) = (Vec::new(), Duration::from_secs(30));
        self.writer
            .write(Write { what: "take_over", needs, alone: true, deadline, work: nothing })
            .await
    }
    fn engine(&self) -> &'static str {
        "mongodb"
    }
    async fn ping(&self) -> Result<()> {
        let answers = self.reader.database.run_command(doc! { "ping": 1 });
        self.reader.run(answers.into_future()).await?;
        self.writer.check()
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
            self.write_alone("import", move |batch| {
                Box::pin(async move { dump::take(batch, &slice).await })
            })
            .await?;
        }
    }
    async fn close(&self) {
        self.writer.stop().await;
        self.reader.database.client().clone().shutdown().await;
    }
}
