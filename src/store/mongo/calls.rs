//! Calls.

use std::collections::HashMap;

use mongodb::bson::doc;

use super::super::{
    CallEnd, CallFinished, CallHistory, CallRecord, LogEntry, Rating, Result, StoreError, Totals,
};
use super::batch::WriteBatch;
use super::messages;
use super::reader::Reader;
use super::rows::{
    CallKey, CallMember, StoredDocument, call_at, call_member_id, end_of, of_user, user_id,
};
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, UserId};

pub(super) async fn create(
    batch: &mut WriteBatch,
    call: CallRecord,
    facts: Vec<Fact>,
) -> Result<CallRecord> {
    if let Some(client_id) = call.client_id.clone() {
        let key = batch.get::<CallKey>(&of_user(call.from, &client_id)).await?;
        if let Some(key) = key {
            let first = batch.get::<CallRecord>(&key.call.to_string()).await?;
            return first.ok_or_else(|| StoreError::Corrupt("a key without its call".into()));
        }
        batch.insert(&CallKey { from: call.from, client_id, call: call.id })?;
    }
    batch.insert(&call)?;
    for (user, outgoing) in [(call.from, true), (call.to, false)] {
        batch.insert(&CallMember::of(&call, user, outgoing, false))?;
    }
    batch.count(|totals: &mut Totals| totals.calls += 1).await?;
    batch.add_facts(facts).await?;
    Ok(call)
}

pub(super) async fn save(
    batch: &mut WriteBatch,
    call: &CallRecord,
    expected_rev: i64,
) -> Result<()> {
    let stored = batch.get::<CallRecord>(&call.id()).await?;
    match stored.map(|stored| stored.rev) {
        None => Err(StoreError::NotFound),
        Some(current) if current != expected_rev => Err(StoreError::Stale { current }),
        Some(_) => batch.put(call),
    }
}

pub(super) async fn finish(batch: &mut WriteBatch, end: CallEnd) -> Result<CallFinished> {
    save(batch, &end.call, end.expected_rev).await?;
    let call = &end.call;
    let missed_cursor = match end.missed_by {
        Some(user) => {
            set_missed(batch, call, user, true).await?;
            Some(batch.log(LogEntry::missed(user, call)).await?)
        }
        None => None,
    };
    let entry = match end.entry {
        Some(entry) => Some(messages::append(batch, entry).await?),
        None => None,
    };
    batch.add_facts(end.facts).await?;
    Ok(CallFinished { entry, missed_cursor })
}

async fn set_missed(
    batch: &mut WriteBatch,
    call: &CallRecord,
    user: UserId,
    missed: bool,
) -> Result<()> {
    let id = call_member_id(user, call.created_at, call.id);
    match batch.get::<CallMember>(&id).await? {
        Some(member) => batch.put(&CallMember { missed, ..member }),
        None => Ok(()),
    }
}

pub(super) async fn rate(batch: &mut WriteBatch, id: CallId, rating: Rating) -> Result<()> {
    let call = batch.get::<CallRecord>(&id.to_string()).await?;
    let mut call = call.filter(|call| call.has(rating.user)).ok_or(StoreError::NotFound)?;
    call.ratings.retain(|earlier| earlier.user != rating.user);
    call.ratings.push(rating);
    batch.put(&call)
}

pub(super) async fn ack_missed(batch: &mut WriteBatch, user: UserId, ids: &[CallId]) -> Result<()> {
    for id in ids {
        if let Some(call) = batch.get::<CallRecord>(&id.to_string()).await? {
            set_missed(batch, &call, user, false).await?;
        }
    }
    Ok(())
}

pub(super) async fn live(reader: &Reader) -> Result<Vec<CallRecord>> {
    let mut calls = reader.all::<CallRecord>(doc! { "live": true }).await?;
    calls.sort_unstable_by_key(|call| (call.created_at, call.id));
    Ok(calls)
}

async fn calls_of(reader: &Reader, members: &[CallMember]) -> Result<HashMap<CallId, CallRecord>> {
    let ids = members.iter().map(|member| member.call.to_string()).collect();
    let calls = reader.get_all::<CallRecord>(ids).await?;
    Ok(calls.into_iter().map(|call| (call.id, call)).collect())
}

pub(super) async fn history(reader: &Reader, query: &CallHistory) -> Result<Vec<CallRecord>> {
    const CHUNK: usize = 200;
    let prefix = user_id(query.user);
    let mut end = end_of(&prefix);
    if let Some(until) = query.until {
        end = end.min(end_of(&call_at(query.user, until)));
    }
    if let Some((at, call)) = query.before {
        end = end.min(call_member_id(query.user, at, call));
    }
    let start = query.since.map_or(prefix, |since| call_at(query.user, since));
    let (mut skip, mut found) = (query.skip, Vec::new());
    loop {
        let mut filter = doc! { "_id": { "$gte": &start, "$lt": &end } };
        if let Some(outgoing) = query.outgoing {
            filter.insert("outgoing", outgoing);
        }
        if let Some(with) = query.with {
            filter.insert("peer", with.value());
        }
        let members = reader.find::<CallMember>(filter, doc! { "_id": -1 }, CHUNK).await?;
        let mut calls = calls_of(reader, &members).await?;
        let (full, last) = (members.len() == CHUNK, members.last().map(StoredDocument::id));
        for member in members {
            let Some(call) = calls.remove(&member.call) else { continue };
            if query.status.is_some_and(|status| status != call.status) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
            } else if found.len() < query.limit {
                found.push(call);
            }
        }
        match last {
            Some(last) if full && found.len() < query.limit => end = last,
            _ => return Ok(found),
        }
    }
}

pub(super) async fn missed(
    reader: &Reader,
    user: UserId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<CallRecord>> {
    let range = doc! { "$gte": call_at(user, since), "$lt": end_of(&user_id(user)) };
    let filter = doc! { "missed": true, "_id": range };
    let members = reader.find::<CallMember>(filter, doc! { "_id": -1 }, limit).await?;
    let mut calls = calls_of(reader, &members).await?;
    Ok(members.iter().filter_map(|member| calls.remove(&member.call)).collect())
}
