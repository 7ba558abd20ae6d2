//! Recordings.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};

use super::super::{RecordingQuery, RecordingRecord, Result, StoreError};
use super::batch::WriteBatch;
use super::reader::Reader;
use super::rows::{RecordingMember, StoredDocument, of_user};
use crate::ids::{RecordingId, UserId};

pub(super) fn save(batch: &mut WriteBatch, recording: &RecordingRecord) -> Result<()> {
    batch.put(recording)?;
    for &user in &recording.members {
        batch.put(&RecordingMember { user, recording: recording.id })?;
    }
    Ok(())
}

pub(super) async fn remove(batch: &mut WriteBatch, id: RecordingId) -> Result<()> {
    let recording = batch.get::<RecordingRecord>(&id.to_string()).await?;
    for &user in &recording.ok_or(StoreError::NotFound)?.members {
        batch.remove::<RecordingMember>(&of_user(user, id));
    }
    batch.remove::<RecordingRecord>(&id.to_string());
    Ok(())
}

pub(super) async fn list(reader: &Reader, query: &RecordingQuery) -> Result<Vec<RecordingRecord>> {
    const CHUNK: usize = 100;
    let mut before = query.before;
    let mut found = Vec::new();
    loop {
        let page = match query.user {
            Some(user) => of(reader, user, before, CHUNK).await?,
            None => {
                let mut filter = before.map_or_else(Document::new, |before| {
                    doc! { "_id": { "$lt": before.to_string() } }
                });
                if let Some(call) = query.call {
                    filter.insert("call", call.to_string());
                }
                reader.find::<RecordingRecord>(filter, doc! { "_id": -1 }, CHUNK).await?
            }
        };
        let (full, last) = (page.len() == CHUNK, page.last().map(|recording| recording.id));
        found.extend(page.into_iter().filter(|recording| {
            query.call.is_none_or(|call| recording.call == Some(call))
                && query.room.as_ref().is_none_or(|room| recording.room == *room)
                && query.status.is_none_or(|status| recording.status == status)
                && query.since.is_none_or(|since| recording.started_at >= since)
        }));
        if !full || found.len() >= query.limit {
            found.truncate(query.limit);
            return Ok(found);
        }
        before = last;
    }
}

/// The recordings of a person, newest first.
async fn of(
    reader: &Reader,
    user: UserId,
    before: Option<RecordingId>,
    limit: usize,
) -> Result<Vec<RecordingRecord>> {
    let end = before.unwrap_or(RecordingId::new(uuid::Uuid::max()));
    let range = doc! { "$gte": of_user(user, ""), "$lt": of_user(user, end) };
    let seen =
        reader.find::<RecordingMember>(doc! { "_id": range }, doc! { "_id": -1 }, limit).await?;
    let ids = seen.iter().map(|seen| seen.recording.to_string()).collect();
    let recordings = reader.get_all::<RecordingRecord>(ids).await?;
    let mut recordings: HashMap<RecordingId, RecordingRecord> =
        recordings.into_iter().map(|recording| (recording.id, recording)).collect();
    Ok(seen.iter().filter_map(|seen| recordings.remove(&seen.recording)).collect())
}

impl StoredDocument for RecordingRecord {
    const IN: &'static str = "recordings";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn keys(&self, document: &mut mongodb::bson::RawDocumentBuf) {
        use mongodb::bson::cstr;
        document.append(cstr!("open"), self.status.is_open());
        document.append(
            cstr!("call"),
            self.call.map(|call| call.to_string()).unwrap_or_default().as_str(),
        );
        document.append(cstr!("until"), self.retention_until.map_or(0, |until| until.0));
    }
}
