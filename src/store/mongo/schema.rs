//! Collections, indexes and their version. Steps are only added.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use super::super::{Result, StoreError};
use super::reader::within_deadline;

/// The version of this program.
const VERSION: i64 = 4;

/// Collection and keys of every index beside that of `_id`.
fn indexes() -> [(&'static str, Document); 18] {
    [
        ("users", doc! { "name_key": 1, "_id": 1 }),
        ("members", doc! { "user": 1, "archived": 1, "last_activity": -1, "conversation": -1 }),
        ("messages", doc! { "message": 1 }),
        ("client_ids", doc! { "at": 1 }),
        ("marks", doc! { "conversation": 1, "up_to": 1 }),
        ("calls", doc! { "live": 1, "created_at": 1 }),
        ("call_members", doc! { "missed": 1, "_id": -1 }),
        ("jobs", doc! { "open": 1, "_id": 1 }),
        ("recordings", doc! { "open": 1, "_id": 1 }),
        ("recordings", doc! { "call": 1, "_id": -1 }),
        ("recordings", doc! { "until": 1, "_id": 1 }),
        ("facts", doc! { "data_of": 1, "_id": 1 }),
        ("room_tokens", doc! { "room": 1, "_id": 1 }),
        ("room_tokens", doc! { "user": 1, "_id": 1 }),
        ("room_tokens", doc! { "until": 1, "_id": 1 }),
        ("deliveries", doc! { "endpoint": 1, "state": 1, "position": 1, "_id": 1 }),
        ("deliveries", doc! { "state": 1, "_id": -1 }),
        ("deliveries", doc! { "finished_at": 1, "_id": 1 }),
    ]
}

/// Makes what is missing; a newer database is refused.
pub(super) async fn migrate(database: &Database) -> Result<()> {
    let meta = database.collection::<Document>("meta");
    let known = within_deadline(meta.find_one(doc! { "_id": "schema" }).into_future()).await?;
    let version = known.and_then(|known| known.get_i64("version").ok()).unwrap_or(0);
    if version > VERSION {
        let message = format!(
            "the database is of version {version}, this program knows up to {VERSION}; use a newer switchboard"
        );
        return Err(StoreError::Unavailable(message));
    }
    if version == VERSION {
        return Ok(());
    }
    for (collection, keys) in indexes() {
        let name = keys.keys().map(String::as_str).collect::<Vec<_>>().join("_");
        let command = doc! { "createIndexes": collection, "indexes": [{ "key": keys, "name": format!("by_{name}") }] };
        within_deadline(database.run_command(command).into_future()).await?;
    }
    let versioned = doc! { "_id": "schema", "version": VERSION };
    let replace = meta.replace_one(doc! { "_id": "schema" }, versioned).upsert(true);
    within_deadline(replace.into_future()).await?;
    Ok(())
}

/// The collections that writes may name.
const NAMES: [&str; 22] = [
    "users",
    "uids",
    "devices",
    "conversations",
    "members",
    "messages",
    "client_ids",
    "marks",
    "log",
    "calls",
    "call_keys",
    "call_members",
    "jobs",
    "recordings",
    "recording_members",
    "facts",
    "fact_cursors",
    "room_tokens",
    "server_keys",
    "deliveries",
    "webhook_endpoints",
    "meta",
];

/// A collection by the name that an intent gives it.
pub(super) fn name(text: &str) -> Result<&'static str> {
    let known = NAMES.iter().find(|name| **name == text);
    known.copied().ok_or_else(|| super::rows::damaged(format!("an intent for {text}")))
}
