//! Users' event logs.

use std::collections::HashMap;

use mongodb::bson::doc;

use super::super::entry::LogTarget;
use super::super::{
    CallRecord, LogEntry, LogKind, LogPage, LogRecord, Logged, Mark, MemberRecord, MessageRecord,
    Result, UserRecord,
};
use super::batch::{WriteBatch, newest};
use super::messages;
use super::reader::Reader;
use super::rows::{ClientKey, end_of, in_conversation, log_id, user_id};
use crate::clock::Timestamp;
use crate::ids::{ConversationId, UserId};

pub(super) async fn page(
    reader: &Reader,
    user: UserId,
    cursor: i64,
    limit: usize,
) -> Result<LogPage> {
    let prefix = user_id(user);
    let (all, end) = (doc! { "_id": { "$gt": &prefix, "$lt": end_of(&prefix) } }, end_of(&prefix));
    let behind = doc! { "_id": { "$gt": log_id(user, cursor.max(0)), "$lt": end } };
    let entries = async {
        // Numbers have a width; behind the widest there is nothing.
        if cursor > 9_999_999_999_999_999 {
            return Ok(Vec::new());
        }
        reader.find::<LogEntry>(behind, doc! { "_id": 1 }, limit).await
    };
    let oldest = reader.find::<LogEntry>(all, doc! { "_id": 1 }, 1);
    let (entries, oldest, head) = futures_util::try_join!(entries, oldest, newest(reader, user))?;
    let floor = oldest.first().map_or(0, |entry| entry.cursor);
    Ok(LogPage { entries: resolve(reader, entries).await?, head, floor })
}

/// Looks up what the entries point at: messages, marks and calls, each kind at once.
async fn resolve(reader: &Reader, entries: Vec<LogEntry>) -> Result<Vec<LogRecord>> {
    let mut spans: HashMap<ConversationId, (i64, i64)> = HashMap::new();
    let mut ids = Vec::new();
    let mut calls = Vec::new();
    for entry in &entries {
        match entry.target() {
            LogTarget::Message(conversation, seq) => {
                ids.push(in_conversation(conversation, seq));
                let span = spans.entry(conversation).or_insert((seq, seq));
                *span = (span.0.min(seq), span.1.max(seq));
            }
            LogTarget::Missed(call) => calls.push(call.to_string()),
            LogTarget::Mark(..) => {}
        }
    }
    calls.sort_unstable();
    calls.dedup();
    let (found, calls) = futures_util::try_join!(
        reader.get_all::<MessageRecord>(ids),
        reader.get_all::<CallRecord>(calls)
    )?;
    let found: HashMap<_, _> =
        found.into_iter().map(|message| ((message.conversation, message.seq), message)).collect();
    let calls: HashMap<_, _> = calls.into_iter().map(|call| (call.id, call)).collect();
    let mut marks: HashMap<ConversationId, (Vec<MemberRecord>, Vec<Mark>)> = HashMap::new();
    for (conversation, (first, last)) in spans {
        let members = messages::pair_of(reader, conversation).await?;
        let over = messages::over(reader, conversation, &members, first, last).await?;
        marks.insert(conversation, (members, over));
    }
    let resolved = entries.into_iter().map(|entry| {
        let gone = || entry.dangling();
        let what = match entry.target() {
            LogTarget::Message(conversation, seq) => {
                let message = found.get(&(conversation, seq)).ok_or_else(gone)?;
                let (members, over) = marks.get(&conversation).ok_or_else(gone)?;
                Logged::Message(message.clone(), messages::of_one(over, members, seq))
            }
            LogTarget::Mark(conversation, mark) => Logged::Mark { conversation, mark },
            LogTarget::Missed(call) => Logged::Missed(calls.get(&call).ok_or_else(gone)?.clone()),
        };
        Ok(entry.resolved(what))
    });
    resolved.collect()
}

pub(super) async fn undelivered(
    reader: &Reader,
    user: UserId,
    limit: usize,
) -> Result<Vec<(i64, MessageRecord)>> {
    const CHUNK: usize = 200;
    let prefix = user_id(user);
    let cursor = reader.get::<UserRecord>(&prefix).await?.map_or(0, |user| user.legacy_cursor);
    let mut delivered: HashMap<ConversationId, i64> = HashMap::new();
    let mut waiting: Vec<LogEntry> = Vec::new();
    let mut end = end_of(&prefix);
    loop {
        let range = doc! { "_id": { "$gt": log_id(user, cursor), "$lt": &end } };
        let entries = reader.find::<LogEntry>(range, doc! { "_id": -1 }, CHUNK).await?;
        let (full, last) = (entries.len() == CHUNK, entries.last().map(|last| last.cursor));
        let received =
            entries.into_iter().filter(|entry| entry.what == LogKind::Message && entry.by != user);
        let received: Vec<_> = received.collect();
        let mut unknown: Vec<_> =
            received.iter().map(|entry| ConversationId::new(entry.place)).collect();
        unknown.retain(|conversation| !delivered.contains_key(conversation));
        unknown.sort_unstable();
        unknown.dedup();
        let ids = unknown.iter().map(|id| in_conversation(*id, user.value())).collect();
        for member in reader.get_all::<MemberRecord>(ids).await? {
            delivered.insert(member.conversation, member.delivered);
        }
        waiting.extend(received.into_iter().filter(|entry| {
            let place = ConversationId::new(entry.place);
            entry.number > delivered.get(&place).copied().unwrap_or(i64::MAX)
        }));
        match last {
            Some(last) if full && waiting.len() < limit => end = log_id(user, last),
            _ => break,
        }
    }
    waiting.truncate(limit);
    waiting.reverse();
    let id = |entry: &LogEntry| in_conversation(ConversationId::new(entry.place), entry.number);
    let messages = reader.get_all::<MessageRecord>(waiting.iter().map(id).collect()).await?;
    let messages: HashMap<_, _> = messages
        .into_iter()
        .map(|message| ((message.conversation, message.seq), message))
        .collect();
    let found = waiting.iter().filter_map(|entry| {
        let place = (ConversationId::new(entry.place), entry.number);
        Some((entry.cursor, messages.get(&place)?.clone()))
    });
    Ok(found.collect())
}

/// How many rows one call forgets, and how many users it looks at.
const SLICE: usize = 500;
const USERS: usize = 200;

/// Forgets some old rows; goes on behind the user `from` and says where to go on, `None` at the end.
pub(super) async fn retire(
    batch: &mut WriteBatch,
    log_before: Timestamp,
    log_keep: i64,
    keys_before: Timestamp,
    from: Option<UserId>,
) -> Result<(bool, Option<UserId>)> {
    let old = doc! { "at": { "$lt": keys_before.0 } };
    let keys = batch.reader.find::<ClientKey>(old, doc! { "at": 1 }, SLICE).await?;
    let mut gone = keys.len();
    for key in keys {
        batch.remove::<ClientKey>(&super::rows::of_user(key.from, &key.client_id));
    }
    let mut place = from;
    for _ in 0..USERS {
        if gone >= SLICE {
            return Ok((true, place));
        }
        let behind = place.map_or_else(String::new, |user| end_of(&user_id(user)));
        let first = doc! { "_id": { "$gt": behind } };
        let next = batch.reader.find::<LogEntry>(first, doc! { "_id": 1 }, 1).await?;
        let Some(user) = next.first().map(|entry| entry.user) else { return Ok((false, None)) };
        place = Some(user);
        // The newest entry stays: it carries the user's cursor on.
        let head = newest(&batch.reader, user).await?;
        let range = doc! { "_id": { "$gt": user_id(user), "$lt": log_id(user, head) } };
        let oldest = batch.reader.find::<LogEntry>(range, doc! { "_id": 1 }, SLICE - gone).await?;
        let old = |entry: &&LogEntry| entry.at < log_before || entry.cursor <= head - log_keep;
        for entry in oldest.iter().take_while(old) {
            batch.remove::<LogEntry>(&log_id(user, entry.cursor));
            gone += 1;
        }
    }
    // The rest in a minute: the walk costs two queries a user.
    Ok((false, place))
}
