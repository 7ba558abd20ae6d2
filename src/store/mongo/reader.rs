//! Reading, with a deadline for every operation and a bound on how many run at once.

use std::sync::Arc;
use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use tokio::sync::Semaphore;

use super::super::{Result, StoreError};
use super::rows::{StoredDocument, damaged, record};

/// How long one operation may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);
/// How many reads run at once; more wait, within the deadline.
const AT_ONCE: usize = 64;

#[derive(Clone)]
pub(super) struct Reader {
    pub(super) database: Database,
    gate: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(database: Database) -> Self {
        Self { database, gate: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs one operation within the deadline.
    pub(super) async fn run<T>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        let gated = async {
            let _permit = self.gate.acquire().await;
            operation.await
        };
        within_deadline(gated).await
    }

    /// The records that match, in this order, at most `limit`.
    pub(super) async fn find<T: StoredDocument>(
        &self,
        filter: Document,
        sort: Document,
        limit: usize,
    ) -> Result<Vec<T>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let batch = u32::try_from(limit).unwrap_or(1000).min(1000);
        let collection = self.database.collection::<RawDocumentBuf>(T::IN);
        let find = async {
            let find = collection.find(filter).sort(sort);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut cursor = find.limit(limit).batch_size(batch).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(record(cursor.current()));
            }
            Ok(found)
        };
        self.run(find).await?.into_iter().collect()
    }

    /// All that match, in any order.
    pub(super) async fn all<T: StoredDocument>(&self, filter: Document) -> Result<Vec<T>> {
        let collection = self.database.collection::<RawDocumentBuf>(T::IN);
        let find = async {
            let mut cursor = collection.find(filter).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(record(cursor.current()));
            }
            Ok(found)
        };
        self.run(find).await?.into_iter().collect()
    }

    /// The record of this key.
    pub(super) async fn get<T: StoredDocument>(&self, id: &str) -> Result<Option<T>> {
        let collection = self.database.collection::<RawDocumentBuf>(T::IN);
        let found = self.run(collection.find_one(doc! { "_id": id }).into_future()).await?;
        found.map(|found| record(&found)).transpose()
    }

    /// The records of these keys, in any order.
    pub(super) async fn get_all<T: StoredDocument>(&self, ids: Vec<String>) -> Result<Vec<T>> {
        match &*ids {
            [] => Ok(Vec::new()),
            [id] => Ok(self.get(id).await?.into_iter().collect()),
            _ => self.all(doc! { "_id": { "$in": ids } }).await,
        }
    }

    /// The documents of these keys as they are stored.
    pub(super) async fn documents(
        &self,
        collection: &str,
        ids: Vec<String>,
    ) -> Result<Vec<RawDocumentBuf>> {
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let filter = match &*ids {
            [id] => doc! { "_id": id },
            _ => doc! { "_id": { "$in": ids } },
        };
        let find = async {
            let mut cursor = collection.find(filter).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(RawDocumentBuf::from_bytes(cursor.current().as_bytes().to_vec())?);
            }
            Ok(found)
        };
        self.run(find).await
    }

    /// How many match.
    pub(super) async fn count<T: StoredDocument>(&self, filter: Document) -> Result<i64> {
        let collection = self.database.collection::<RawDocumentBuf>(T::IN);
        let count = self.run(collection.count_documents(filter).into_future()).await?;
        i64::try_from(count).map_err(damaged)
    }
}

/// Runs something within the deadline, past the bound of reads: what the one writer does.
pub(super) async fn within_deadline<T>(
    operation: impl Future<Output = mongodb::error::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(DEADLINE, operation).await {
        Ok(outcome) => outcome.map_err(|error| failed(&error)),
        Err(_) => Err(StoreError::Unavailable("the database does not answer in time".into())),
    }
}

/// What an error of the driver means for the caller.
pub(super) fn failed(error: &Error) -> StoreError {
    /// OutOfDiskSpace.
    const FULL: i32 = 14031;
    match &*error.kind {
        ErrorKind::Command(command) if command.code == FULL => StoreError::Full,
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == FULL => StoreError::Full,
        ErrorKind::BsonDeserialization(_) | ErrorKind::InvalidResponse { .. } => damaged(error),
        ErrorKind::Authentication { .. } => StoreError::Unavailable(
            "the database refuses the user or password of store.mongodb_uri".into(),
        ),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
