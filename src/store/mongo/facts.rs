//! Facts and how far their consumers are.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::super::{FactPage, PlacedFact, Result, StoreError, UserRecord};
use super::batch::{WriteBatch, newest_fact};
use super::reader::Reader;
use super::rows::{StoredDocument, user_id, wide};
use crate::clock::Timestamp;
use crate::ids::UserId;

/// How far a consumer is.
#[derive(Deserialize, Serialize)]
pub(super) struct Cursor {
    pub(super) name: String,
    pub(super) position: i64,
}

impl StoredDocument for Cursor {
    const IN: &'static str = "fact_cursors";
    fn id(&self) -> String {
        self.name.clone()
    }
}

pub(super) async fn after(reader: &Reader, position: i64, limit: usize) -> Result<FactPage> {
    let behind = doc! { "_id": { "$gt": wide(position.clamp(0, 9_999_999_999_999_999)) } };
    let found = reader.find::<PlacedFact>(behind, doc! { "_id": 1 }, limit);
    let oldest = reader.find::<PlacedFact>(doc! {}, doc! { "_id": 1 }, 1);
    let (mut facts, oldest, head) = futures_util::try_join!(found, oldest, newest_fact(reader))?;
    // A group that is being written appears in the order of its positions; should a server show a later one first, it waits.
    let first = facts.first().map_or(0, |first| first.position);
    let whole = (first..).zip(&facts).take_while(|(expected, it)| it.position == *expected).count();
    facts.truncate(whole);
    Ok(FactPage { facts, head, floor: oldest.first().map_or(0, |oldest| oldest.position) })
}

/// How many rows one call forgets or changes: some servers find the place of each anew.
const SLICE: usize = 25;

pub(super) async fn prune(batch: &mut WriteBatch, before: Timestamp) -> Result<bool> {
    // The newest stays: it carries the positions on.
    let head = newest_fact(&batch.reader).await?;
    let older = doc! { "_id": { "$lt": wide(head) } };
    let oldest = batch.reader.find::<PlacedFact>(older, doc! { "_id": 1 }, SLICE).await?;
    let old: Vec<_> = oldest.iter().take_while(|it| it.fact.at < before).collect();
    for it in &old {
        batch.remove::<PlacedFact>(&it.id());
    }
    Ok(old.len() == SLICE)
}

/// Empties what some facts say of a person; true when there is more.
pub(super) async fn erase(batch: &mut WriteBatch, user: UserId) -> Result<bool> {
    if batch.get::<UserRecord>(&user_id(user)).await?.is_none() {
        return Err(StoreError::NotFound);
    }
    let theirs = doc! { "data_of": user.value() };
    let found = batch.reader.find::<PlacedFact>(theirs, doc! { "_id": 1 }, SLICE).await?;
    let more = found.len() == SLICE;
    for PlacedFact { position, fact } in found {
        batch.put(&PlacedFact { position, fact: fact.with(serde_json::Value::Null) })?;
    }
    Ok(more)
}
