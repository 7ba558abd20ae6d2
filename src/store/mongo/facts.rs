//! Facts and how far their consumers are.

use mongodb::bson::{RawDocumentBuf, cstr, doc};
use serde::{Deserialize, Serialize};

use super::super::{FactPage, PlacedFact, Result};
use super::reader::Reader;
use super::rows::{Kept, wide};
use super::unit::Unit;
use crate::clock::Timestamp;
use crate::ids::UserId;

impl Kept for PlacedFact {
    const IN: &'static str = "facts";
    fn id(&self) -> String {
        wide(self.position)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("data_of"), self.fact.data_of().map_or(0, UserId::value));
    }
}

/// How far a consumer is.
#[derive(Deserialize, Serialize)]
pub(super) struct Cursor {
    pub(super) name: String,
    pub(super) position: i64,
}

impl Kept for Cursor {
    const IN: &'static str = "fact_cursors";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// The position of the newest fact.
pub(super) async fn head(reader: &Reader) -> Result<i64> {
    let newest = reader.find::<PlacedFact>(doc! {}, doc! { "_id": -1 }, 1).await?;
    Ok(newest.first().map_or(0, |newest| newest.position))
}

pub(super) async fn after(reader: &Reader, position: i64, limit: usize) -> Result<FactPage> {
    let behind = doc! { "_id": { "$gt": wide(position.clamp(0, 9_999_999_999_999_999)) } };
    let found = reader.find::<PlacedFact>(behind, doc! { "_id": 1 }, limit);
    let oldest = reader.find::<PlacedFact>(doc! {}, doc! { "_id": 1 }, 1);
    let (mut facts, oldest, head) = futures_util::try_join!(found, oldest, head(reader))?;
    // A group that is being written appears in the order of its positions; should a server show a later one first, it waits.
    let first = facts.first().map_or(0, |first| first.position);
    let whole = (first..).zip(&facts).take_while(|(expected, it)| it.position == *expected).count();
    facts.truncate(whole);
    Ok(FactPage { facts, head, floor: oldest.first().map_or(0, |oldest| oldest.position) })
}

/// How many rows one call forgets or changes.
const SLICE: usize = 500;

pub(super) async fn prune(unit: &mut Unit, before: Timestamp) -> Result<bool> {
    // The newest stays: it carries the positions on.
    let head = head(&unit.reader).await?;
    let older = doc! { "_id": { "$lt": wide(head) } };
    let oldest = unit.reader.find::<PlacedFact>(older, doc! { "_id": 1 }, SLICE).await?;
    let old: Vec<_> = oldest.iter().take_while(|it| it.fact.at < before).collect();
    for it in &old {
        unit.remove::<PlacedFact>(&it.id());
    }
    Ok(old.len() == SLICE)
}

/// Empties what some facts say of a person; true when there is more.
pub(super) async fn erase(unit: &mut Unit, user: UserId) -> Result<bool> {
    let theirs = doc! { "data_of": user.value() };
    let found = unit.reader.find::<PlacedFact>(theirs, doc! { "_id": 1 }, SLICE).await?;
    let more = found.len() == SLICE;
    for PlacedFact { position, fact } in found {
        unit.put(&PlacedFact { position, fact: fact.with(serde_json::Value::Null) })?;
    }
    Ok(more)
}
