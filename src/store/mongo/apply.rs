//! Carrying out a group of writes: the intent in which it is stored whole, and what is written to the collections.

use mongodb::Database;
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr, rawdoc};

use super::super::{Result, StoreError};
use super::batch::{Change, Changes, key};
use super::reader::within_deadline;
use super::rows::damaged;

/// The error of a key that is there already.
const DUPLICATE: i32 = 11000;

pub(super) fn intent(name: &str, group: i64, changes: &Changes) -> RawDocumentBuf {
    let mut list = RawArrayBuf::new();
    for (collection, changes) in changes {
        for (id, change) in changes {
            let mut entry = RawDocumentBuf::new();
            entry.append(cstr!("c"), *collection);
            match change {
                Change::Insert(document) => entry.append(cstr!("insert"), document.as_ref()),
                Change::Put(document) => entry.append(cstr!("put"), document.as_ref()),
                Change::Remove => entry.append(cstr!("remove"), id.as_str()),
            }
            list.push(entry);
        }
    }
    rawdoc! { "_id": "intent", "writer": name, "group": group, "changes": list }
}

pub(super) fn changes_of(intent: &RawDocument) -> Result<Changes> {
    let mut changes = Changes::new();
    for entry in intent.get_array("changes").map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let entry = entry.as_document().ok_or_else(|| damaged("an intent without changes"))?;
        let collection = super::schema::name(entry.get_str("c").map_err(damaged)?)?;
        let (id, change) = if let Ok(document) = entry.get_document("insert") {
            (key(document)?, Change::Insert(document.to_owned()))
        } else if let Ok(document) = entry.get_document("put") {
            (key(document)?, Change::Put(document.to_owned()))
        } else {
            (entry.get_str("remove").map_err(damaged)?, Change::Remove)
        };
        changes.entry(collection).or_default().insert(id.to_owned(), change);
    }
    Ok(changes)
}

/// Carries out a group, rows before what points at them. Doing it again, also late, changes nothing: a document that a later
/// group wrote is left alone.
pub(super) async fn apply(
    database: &Database,
    group: i64,
    changes: &Changes,
    again: Again,
) -> Result<()> {
    let points =
        |collection: &str| matches!(collection, "members" | "log" | "call_members" | "facts");
    for pointing in [false, true] {
        let stage = changes.iter().filter(|(collection, _)| points(collection) == pointing);
        let writes =
            stage.map(|(collection, changes)| write(database, collection, group, changes, again));
        for outcome in futures_util::future::join_all(writes).await {
            outcome?;
        }
    }
    Ok(())
}

async fn write(
    database: &Database,
    collection: &str,
    group: i64,
    changes: &std::collections::BTreeMap<String, Change>,
    again: Again,
) -> Result<()> {
    let (mut inserts, mut puts, mut removes) = (Vec::new(), Vec::new(), RawArrayBuf::new());
    let mut removed = 0;
    for (id, change) in changes {
        let older = rawdoc! { "_id": id.as_str(), "g": { "$lt": group } };
        match change {
            Change::Insert(document) => {
                inserts.push(document.as_ref());
            }
            Change::Put(document) => {
                puts.push(rawdoc! { "q": older, "u": document.clone(), "upsert": true });
            }
            Change::Remove => {
                removes.push(rawdoc! { "q": older, "limit": 1 });
                removed += 1;
            }
        }
    }
    let concern = rawdoc! { "w": "majority", "j": true };
    if !inserts.is_empty() {
        // Facts appear in the order of their positions, so that a consumer that reads meanwhile passes over none.
        let ordered = collection == "facts";
        let at_once = if ordered && again == Again::Yes { 1 } else { inserts.len() };
        for inserts in inserts.chunks(at_once) {
            let mut documents = RawArrayBuf::new();
            inserts.iter().for_each(|insert| documents.push(*insert));
            let insert = rawdoc! { "insert": collection, "documents": documents, "ordered": ordered, "writeConcern": concern.clone() };
            command(database, insert, again).await?;
        }
    }
    // A put that was done before is an error, at which some servers leave the rest undone, ordered or not.
    let at_once = if again == Again::Yes { 1 } else { puts.len().max(1) };
    for puts in puts.chunks(at_once) {
        let mut updates = RawArrayBuf::new();
        puts.iter().for_each(|put| updates.push(put.as_ref()));
        let update = rawdoc! { "update": collection, "updates": updates, "ordered": false, "writeConcern": concern.clone() };
        command(database, update, again).await?;
    }
    if removed > 0 {
        let delete = rawdoc! { "delete": collection, "deletes": removes, "ordered": false, "writeConcern": concern };
        command(database, delete, again).await?;
    }
    Ok(())
}

/// Whether a group may have been written before.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Again {
    Yes,
    No,
}

/// Runs a command that writes. A key that is there already is no failure when it may have been written before; when it
/// cannot, somebody else wrote, and nothing must be acknowledged.
pub(super) async fn command(
    database: &Database,
    command: RawDocumentBuf,
    again: Again,
) -> Result<Document> {
    let answer = within_deadline(database.run_raw_command(command).into_future()).await?;
    for error in answer.get_array("writeErrors").into_iter().flatten() {
        let Some(error) = error.as_document() else { continue };
        let message = error.get_str("errmsg").unwrap_or_default();
        let foreign = message.contains("index:") && !message.contains("_id_");
        let known = error.get_i32("code").is_ok_and(|code| code == DUPLICATE) && !foreign;
        if !known || again == Again::No {
            tracing::error!(message, "the database refuses a write");
            return Err(StoreError::Unavailable(format!(
                "the database refuses a write: {message}"
            )));
        }
    }
    match answer.get_document("writeConcernError") {
        Ok(error) => Err(StoreError::Unavailable(format!("the write is not safe: {error}"))),
        Err(_) => Ok(answer),
    }
}
