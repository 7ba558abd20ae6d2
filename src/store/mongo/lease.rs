//! The lease to write: one server writes to a database at a time. The intent names it; a server that takes over puts its own name
//! there, and the one before finds that out with its next intent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{RawDocumentBuf, doc, rawdoc};

use super::super::{Result, StoreError};
use super::apply::{Again, apply, changes_of, command, intent};
use super::batch::WriteBatch;
use super::reader::{DEADLINE, within_deadline};
use super::rows::damaged;
use crate::clock::Clock;

/// How long to wait for what was given up, on a database that changes documents in two steps.
const LINGER: Duration = Duration::from_secs(2);

/// Which server may write, and how far the writing has come.
pub(super) struct WriterLease {
    database: Database,
    name: String,
    /// The last group whose intent is stored.
    pub(super) group: i64,
    taken: bool,
    lost: Arc<AtomicBool>,
    /// The last intent may not have been stored, or not have been carried out.
    unsure: bool,
    /// The database may still be at work on what was asked of it before.
    lingers: bool,
}

impl WriterLease {
    pub(super) fn new(database: Database, lost: Arc<AtomicBool>) -> Self {
        let name = uuid::Uuid::new_v4().to_string();
        Self { database, name, group: 0, taken: false, lost, unsure: true, lingers: false }
    }

    /// Makes sure that this server holds the lease and that the last intent is carried out.
    pub(super) async fn ready(&mut self, batch: &mut WriteBatch) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(lost());
        }
        if !self.unsure {
            return Ok(());
        }
        batch.forget_all();
        let intent = if self.taken {
            let lingers = self.lingers && self.changes_in_two_steps().await?;
            tokio::time::sleep(if lingers { LINGER } else { Duration::ZERO }).await;
            self.intent().await?
        } else {
            self.take().await?
        };
        if intent.get_str("writer").map_err(damaged)? != self.name {
            self.lost.store(true, Ordering::Relaxed);
            return Err(lost());
        }
        (self.taken, self.lingers) = (true, false);
        let group = intent.get_i64("group").map_err(damaged)?;
        if group > 0 {
            apply(&self.database, group, &changes_of(&intent)?, Again::Yes).await?;
        }
        self.group = group;
        self.unsure = false;
        Ok(())
    }

    async fn intent(&self) -> Result<RawDocumentBuf> {
        let meta = self.database.collection::<RawDocumentBuf>("meta");
        let intent = within_deadline(meta.find_one(doc! { "_id": "intent" }).into_future()).await?;
        intent.ok_or_else(|| damaged("the intent is gone"))
    }

    /// Puts this server's name into the intent; what comes back is the intent that is to be carried out.
    async fn take(&self) -> Result<RawDocumentBuf> {
        let meta = self.database.collection::<RawDocumentBuf>("meta");
        loop {
            let mine =
                doc! { "$set": { "writer": &self.name }, "$setOnInsert": { "group": 0_i64 } };
            let take = meta.find_one_and_update(doc! { "_id": "intent" }, mine).upsert(true);
            let before = within_deadline(take.into_future()).await?;
            let before = before.as_ref().and_then(|before| before.get_str("writer").ok());
            let crashed = before.filter(|writer| !writer.is_empty());
            if crashed.is_none() || !self.changes_in_two_steps().await? {
                return self.intent().await;
            }
            tokio::time::sleep(LINGER).await;
            let intent = self.intent().await?;
            if before == Some(self.name.as_str()) || intent.get_str("writer").ok() != before {
                return Ok(intent);
            }
            // The last intent of the one before came late and put its name back: once more.
        }
    }

    /// FerretDB looks for a document and changes it in two steps, so that what was asked and given up, by this server or by
    /// one that died, may undo what is written after it.
    async fn changes_in_two_steps(&self) -> Result<bool> {
        let info = self.database.run_command(doc! { "buildInfo": 1 });
        Ok(within_deadline(info.into_future()).await?.keys().any(|key| key.starts_with("ferretdb")))
    }

    /// Gives the lease back, so that the next server need not wonder what this one left.
    pub(super) async fn give_back(&self) {
        if !self.taken || self.unsure || self.lost.load(Ordering::Relaxed) {
            return;
        }
        let meta = self.database.collection::<RawDocumentBuf>("meta");
        let mine = doc! { "_id": "intent", "writer": &self.name };
        let nobody = doc! { "$set": { "writer": "" } };
        if let Err(error) = within_deadline(meta.update_one(mine, nobody).into_future()).await {
            tracing::debug!(%error, "the lease to write could not be given back");
        }
    }

    /// Stores the intent and carries it out. What was given up after the deadline may still be done later.
    pub(super) async fn commit(&mut self, batch: &WriteBatch) -> Result<()> {
        let begun = Clock::system().instant();
        let outcome = self.store_and_apply(batch).await;
        self.lingers |= outcome.is_err() && begun.elapsed() >= DEADLINE;
        outcome
    }

    async fn store_and_apply(&mut self, batch: &WriteBatch) -> Result<()> {
        if batch.changes.values().all(std::collections::BTreeMap::is_empty) {
            return Ok(());
        }
        let group = batch.group;
        self.unsure = true;
        let intent = intent(&self.name, group, &batch.changes);
        let update = rawdoc! {
            "update": "meta",
            // An intent that comes late finds that another group has been.
            "updates": [{ "q": { "_id": "intent", "writer": self.name.as_str(), "group": self.group }, "u": intent }],
            "writeConcern": { "w": "majority", "j": true },
        };
        let answer = command(&self.database, update, Again::No).await?;
        if answer.get_i32("n").unwrap_or(0) != 1 {
            let meta = self.database.collection::<RawDocumentBuf>("meta");
            let now =
                within_deadline(meta.find_one(doc! { "_id": "intent" }).into_future()).await?;
            if now.is_some_and(|now| now.get_str("writer").is_ok_and(|writer| writer == self.name))
            {
                return Err(StoreError::Unavailable(
                    "an earlier write came late; try again".into(),
                ));
            }
            self.lost.store(true, Ordering::Relaxed);
            tracing::error!(
                "another switchboard has taken over this database; this one writes no more"
            );
            return Err(lost());
        }
        self.group = group;
        apply(&self.database, group, &batch.changes, Again::No).await?;
        self.unsure = false;
        Ok(())
    }
}

pub(super) fn lost() -> StoreError {
    StoreError::Unavailable("another switchboard has taken over this database".into())
}
