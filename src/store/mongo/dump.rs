//! Dumps: the lines of [`Line`], in the order of the keys of their documents.

use mongodb::bson::doc;

use super::super::{
    CallRecord, ConversationRecord, DeviceRecord, JobRecord, Line, MemberRecord, MessageRecord,
    PlacedFact, RecordingRecord, Result, RoomTokenRecord, ServerKey, StoreError, Totals,
    UserRecord,
};
use super::facts::Cursor;
use super::reader::Reader;
use super::rows::{CallKey, ClientKey, Entry, Kept, Part, Step};
use super::unit::Unit;
use super::{people, recordings};

/// Rows a slice.
const SLICE: usize = 500;

type Sink<'a> = &'a mut (dyn FnMut(String) -> std::io::Result<()> + Send);

pub(super) async fn export(reader: &Reader, sink: Sink<'_>) -> Result<()> {
    every::<UserRecord>(reader, sink, Line::User).await?;
    every::<DeviceRecord>(reader, sink, Line::Device).await?;
    every::<ConversationRecord>(reader, sink, Line::Conversation).await?;
    every::<MemberRecord>(reader, sink, Line::Member).await?;
    every::<MessageRecord>(reader, sink, Line::Message).await?;
    every::<ClientKey>(reader, sink, |key| {
        let ClientKey { from, client_id, conversation, seq, at } = key;
        Line::ClientId { from, client_id, conversation, seq, at }
    })
    .await?;
    every::<Step>(reader, sink, |step| Line::Mark {
        conversation: step.conversation,
        mark: step.mark,
    })
    .await?;
    every::<Entry>(reader, sink, |entry| {
        let Entry { user, cursor, at, what, place, number, by } = entry;
        Line::Log { user, cursor, at, what, place, number, by }
    })
    .await?;
    every::<CallRecord>(reader, sink, Line::Call).await?;
    every::<Part>(reader, sink, |part| {
        let Part { user, call, outgoing, missed, .. } = part;
        Line::CallMember { user, call, outgoing, missed }
    })
    .await?;
    every::<JobRecord>(reader, sink, Line::Job).await?;
    every::<RecordingRecord>(reader, sink, Line::Recording).await?;
    every::<PlacedFact>(reader, sink, Line::Fact).await?;
    every::<Cursor>(reader, sink, |Cursor { name, position }| Line::FactCursor { name, position })
        .await?;
    // The text of a hash is not in the order of its bytes.
    let mut tokens = reader.all::<RoomTokenRecord>(doc! {}).await?;
    tokens.sort_unstable_by_key(|token| token.hash);
    for token in tokens {
        write(sink, &Line::RoomToken(token))?;
    }
    every::<ServerKey>(reader, sink, Line::ServerKey).await
}

fn write(sink: Sink<'_>, line: &Line) -> Result<()> {
    let text = serde_json::to_string(line)?;
    sink(text).map_err(|error| StoreError::Unavailable(error.to_string()))
}

async fn every<T: Kept>(reader: &Reader, sink: Sink<'_>, line: fn(T) -> Line) -> Result<()> {
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

pub(super) async fn take(unit: &mut Unit, lines: &[String]) -> Result<()> {
    // Everything is parsed before anything is written, so that a bad line leaves no half of a slice.
    let lines: Vec<Line> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<serde_json::Result<_>>()?;
    for line in lines {
        put(unit, line).await?;
    }
    Ok(())
}

async fn put(unit: &mut Unit, line: Line) -> Result<()> {
    match line {
        Line::User(user) => {
            people::put(unit, &user, None)?;
            unit.count(|totals: &mut Totals| totals.users += 1).await
        }
        Line::Device(device) => unit.insert(&device),
        Line::Conversation(conversation) => unit.insert(&conversation),
        Line::Member(member) => unit.insert(&member),
        Line::Message(message) => {
            unit.insert(&message)?;
            unit.count(|totals: &mut Totals| totals.messages += 1).await
        }
        Line::ClientId { from, client_id, conversation, seq, at } => {
            unit.insert(&ClientKey { from, client_id, conversation, seq, at })
        }
        Line::Mark { conversation, mark } => unit.insert(&Step { conversation, mark }),
        Line::Log { user, cursor, at, what, place, number, by } => {
            unit.insert(&Entry { user, cursor, at, what, place, number, by })
        }
        Line::Call(call) => {
            if let Some(client_id) = call.client_id.clone() {
                unit.insert(&CallKey { from: call.from, client_id, call: call.id })?;
            }
            unit.insert(&call)?;
            unit.count(|totals: &mut Totals| totals.calls += 1).await
        }
        Line::CallMember { user, call, outgoing, missed } => {
            let call = unit.get::<CallRecord>(&call.to_string()).await?;
            let unknown = || StoreError::Corrupt("a member of an unknown call".into());
            unit.insert(&Part::of(&call.ok_or_else(unknown)?, user, outgoing, missed))
        }
        Line::Job(job) => unit.insert(&job),
        Line::Recording(recording) => recordings::save(unit, &recording),
        Line::Fact(fact) => unit.insert(&fact),
        Line::FactCursor { name, position } => unit.put(&Cursor { name, position }),
        Line::RoomToken(token) => unit.put(&token),
        Line::ServerKey(key) => unit.insert(&key),
    }
}
