//! Dumps: the lines of [`DumpRow`], in the order of the keys of their documents.

use mongodb::bson::doc;

use super::super::{
    CallRecord, ConversationRecord, DeliveryRecord, DeviceRecord, DumpRow, EndpointRecord,
    JobRecord, LogEntry, MemberRecord, MessageRecord, PlacedFact, RecordingRecord, Result,
    RoomTokenRecord, ServerKey, StoreError, Totals, UserRecord,
};
use super::batch::WriteBatch;
use super::facts::Cursor;
use super::reader::Reader;
use super::rows::{CallKey, CallMember, ClientKey, StoredDocument, StoredMark};
use super::{recordings, users};

/// Rows a slice.
const SLICE: usize = 500;

type Sink<'a> = &'a mut (dyn FnMut(String) -> std::io::Result<()> + Send);

pub(super) async fn export(reader: &Reader, sink: Sink<'_>) -> Result<()> {
    every::<UserRecord>(reader, sink, DumpRow::User).await?;
    every::<DeviceRecord>(reader, sink, DumpRow::Device).await?;
    every::<ConversationRecord>(reader, sink, DumpRow::Conversation).await?;
    every::<MemberRecord>(reader, sink, DumpRow::Member).await?;
    every::<MessageRecord>(reader, sink, DumpRow::Message).await?;
    every::<ClientKey>(reader, sink, |key| {
        let ClientKey { from, client_id, conversation, seq, at } = key;
        DumpRow::ClientId { from, client_id, conversation, seq, at }
    })
    .await?;
    every::<StoredMark>(reader, sink, |StoredMark { conversation, mark }| DumpRow::Mark {
        conversation,
        mark,
    })
    .await?;
    every::<LogEntry>(reader, sink, DumpRow::Log).await?;
    every::<CallRecord>(reader, sink, DumpRow::Call).await?;
    every::<CallMember>(reader, sink, |member| {
        let CallMember { user, call, outgoing, missed, .. } = member;
        DumpRow::CallMember { user, call, outgoing, missed }
    })
    .await?;
    every::<JobRecord>(reader, sink, DumpRow::Job).await?;
    every::<RecordingRecord>(reader, sink, DumpRow::Recording).await?;
    every::<PlacedFact>(reader, sink, DumpRow::Fact).await?;
    every::<Cursor>(reader, sink, |Cursor { name, position }| DumpRow::FactCursor {
        name,
        position,
    })
    .await?;
    // The text of a hash is not in the order of its bytes.
    let mut tokens = reader.all::<RoomTokenRecord>(doc! {}).await?;
    tokens.sort_unstable_by_key(|token| token.hash);
    for token in tokens {
        write(sink, &DumpRow::RoomToken(token))?;
    }
    every::<ServerKey>(reader, sink, DumpRow::ServerKey).await?;
    every::<DeliveryRecord>(reader, sink, DumpRow::Delivery).await?;
    every::<EndpointRecord>(reader, sink, DumpRow::Endpoint).await
}

fn write(sink: Sink<'_>, line: &DumpRow) -> Result<()> {
    let text = serde_json::to_string(line)?;
    sink(text).map_err(|error| StoreError::Unavailable(error.to_string()))
}

async fn every<T: StoredDocument>(
    reader: &Reader,
    sink: Sink<'_>,
    line: fn(T) -> DumpRow,
) -> Result<()> {
    let mut after = String::new();
    loop {
        let behind = doc! { "_id": { "$gt": &after } };
        let rows = reader.find::<T>(behind, doc! { "_id": 1 }, SLICE).await?;
        let full = rows.len() == SLICE;
        if let Some(last) = rows.last() {
            after = last.id();
        }
        for row in rows {
            write(sink, &line(row))?;
        }
        if !full {
            return Ok(());
        }
    }
}

pub(super) async fn refuse_unless_empty(reader: &Reader) -> Result<()> {
    let any = reader.find::<UserRecord>(doc! {}, doc! { "_id": 1 }, 1).await?;
    if any.is_empty() { Ok(()) } else { Err(StoreError::Conflict("store")) }
}

pub(super) async fn take(batch: &mut WriteBatch, lines: &[String]) -> Result<()> {
    // Everything is parsed before anything is written, so that a bad line leaves no half of a slice.
    let rows: Vec<DumpRow> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<serde_json::Result<_>>()?;
    for row in rows {
        put(batch, row).await?;
    }
    Ok(())
}

async fn put(batch: &mut WriteBatch, row: DumpRow) -> Result<()> {
    match row {
        DumpRow::User(user) => {
            users::put(batch, &user, None)?;
            batch.count(|totals: &mut Totals| totals.users += 1).await
        }
        DumpRow::Device(device) => batch.insert(&device),
        DumpRow::Conversation(conversation) => batch.insert(&conversation),
        DumpRow::Member(member) => batch.insert(&member),
        DumpRow::Message(message) => {
            batch.insert(&message)?;
            batch.count(|totals: &mut Totals| totals.messages += 1).await
        }
        DumpRow::ClientId { from, client_id, conversation, seq, at } => {
            batch.insert(&ClientKey { from, client_id, conversation, seq, at })
        }
        DumpRow::Mark { conversation, mark } => batch.insert(&StoredMark { conversation, mark }),
        DumpRow::Log(entry) => batch.insert(&entry),
        DumpRow::Call(call) => {
            if let Some(client_id) = call.client_id.clone() {
                batch.insert(&CallKey { from: call.from, client_id, call: call.id })?;
            }
            batch.insert(&call)?;
            batch.count(|totals: &mut Totals| totals.calls += 1).await
        }
        DumpRow::CallMember { user, call, outgoing, missed } => {
            let call = batch.get::<CallRecord>(&call.to_string()).await?;
            let unknown = || StoreError::Corrupt("a member of an unknown call".into());
            batch.insert(&CallMember::of(&call.ok_or_else(unknown)?, user, outgoing, missed))
        }
        DumpRow::Job(job) => batch.insert(&job),
        DumpRow::Recording(recording) => recordings::save(batch, &recording),
        DumpRow::Fact(fact) => batch.insert(&fact),
        DumpRow::FactCursor { name, position } => batch.put(&Cursor { name, position }),
        DumpRow::RoomToken(token) => batch.put(&token),
        DumpRow::ServerKey(key) => batch.insert(&key),
        DumpRow::Delivery(delivery) => batch.insert(&delivery),
        DumpRow::Endpoint(endpoint) => batch.insert(&endpoint),
    }
}
