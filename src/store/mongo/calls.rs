//! Calls.

use std::collections::HashMap;

use mongodb::bson::doc;

use super::super::{
    CallEnd, CallFinished, CallHistory, CallRecord, LogKind, Rating, Result, StoreError, Totals,
};
use super::messages;
use super::reader::Reader;
use super::rows::{CallKey, Entry, Kept, Part, call_at, call_member_id, end_of, of_user, user_id};
use super::unit::Unit;
use crate::clock::Timestamp;
use crate::fact::Fact;
use crate::ids::{CallId, UserId};

pub(super) async fn create(
    unit: &mut Unit,
    call: CallRecord,
    facts: Vec<Fact>,
) -> Result<CallRecord> {
    if let Some(client_id) = call.client_id.clone() {
        let key = unit.get::<CallKey>(&of_user(call.from, &client_id)).await?;
        if let Some(key) = key {
            let first = unit.get::<CallRecord>(&key.call.to_string()).await?;
            return first.ok_or_else(|| StoreError::Corrupt("a key without its call".into()));
        }
        unit.insert(&CallKey { from: call.from, client_id, call: call.id })?;
    }
    unit.insert(&call)?;
    for (user, outgoing) in [(call.from, true), (call.to, false)] {
        unit.insert(&Part::of(&call, user, outgoing, false))?;
    }
    unit.count(|totals: &mut Totals| totals.calls += 1).await?;
    unit.add_facts(facts).await?;
    Ok(call)
}

pub(super) async fn save(unit: &mut Unit, call: &CallRecord, expected_rev: i64) -> Result<()> {
    let stored = unit.get::<CallRecord>(&call.id()).await?;
    match stored.map(|stored| stored.rev) {
        None => Err(StoreError::NotFound),
        Some(current) if current != expected_rev => Err(StoreError::Stale { current }),
        Some(_) => unit.put(call),
    }
}

pub(super) async fn finish(unit: &mut Unit, end: CallEnd) -> Result<CallFinished> {
    save(unit, &end.call, end.expected_rev).await?;
    let call = &end.call;
    let missed_cursor = match end.missed_by {
        Some(user) => {
            set_missed(unit, call, user, true).await?;
            let (place, number, by) = (call.id.uuid(), call.rev, call.from);
            let (at, what) = (call.updated_at, LogKind::Missed);
            Some(unit.log(Entry { user, cursor: 0, at, what, place, number, by }).await?)
        }
        None => None,
    };
    let entry = match end.entry {
        Some(entry) => Some(messages::append(unit, entry).await?),
        None => None,
    };
    unit.add_facts(end.facts).await?;
    Ok(CallFinished { entry, missed_cursor })
}

async fn set_missed(unit: &mut Unit, call: &CallRecord, user: UserId, missed: bool) -> Result<()> {
    let id = call_member_id(user, call.created_at, call.id);
    match unit.get::<Part>(&id).await? {
        Some(part) => unit.put(&Part { missed, ..part }),
        None => Ok(()),
    }
}

pub(super) async fn rate(unit: &mut Unit, id: CallId, rating: Rating) -> Result<()> {
    let call = unit.get::<CallRecord>(&id.to_string()).await?;
    let mut call = call.filter(|call| call.has(rating.user)).ok_or(StoreError::NotFound)?;
    call.ratings.retain(|earlier| earlier.user != rating.user);
    call.ratings.push(rating);
    unit.put(&call)
}

pub(super) async fn ack_missed(unit: &mut Unit, user: UserId, ids: &[CallId]) -> Result<()> {
    for id in ids {
        if let Some(call) = unit.get::<CallRecord>(&id.to_string()).await? {
            set_missed(unit, &call, user, false).await?;
        }
    }
    Ok(())
}

pub(super) async fn live(reader: &Reader) -> Result<Vec<CallRecord>> {
    let mut calls = reader.all::<CallRecord>(doc! { "live": true }).await?;
    calls.sort_unstable_by_key(|call| (call.created_at, call.id));
    Ok(calls)
}

async fn calls_of(reader: &Reader, parts: &[Part]) -> Result<HashMap<CallId, CallRecord>> {
    let ids = parts.iter().map(|part| part.call.to_string()).collect();
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
        let parts = reader.find::<Part>(filter, doc! { "_id": -1 }, CHUNK).await?;
        let mut calls = calls_of(reader, &parts).await?;
        let (full, last) = (parts.len() == CHUNK, parts.last().map(Kept::id));
        for part in parts {
            let Some(call) = calls.remove(&part.call) else { continue };
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
    let parts = reader.find::<Part>(filter, doc! { "_id": -1 }, limit).await?;
    let mut calls = calls_of(reader, &parts).await?;
    Ok(parts.iter().filter_map(|part| calls.remove(&part.call)).collect())
}
