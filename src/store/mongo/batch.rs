//! What a group of writes changes, before any of it is written: each write sees what the ones before it did.

use std::collections::{BTreeMap, HashMap};

use mongodb::bson::{RawDocument, RawDocumentBuf, doc};

use super::super::{LogEntry, PlacedFact, Result, Totals};
use super::reader::Reader;
use super::rows::{StoredDocument, document, end_of, record, user_id};
use crate::fact::Fact;
use crate::ids::UserId;

/// How many documents are remembered from group to group, and of which collections: those that writes ask for again.
const REMEMBERED: usize = 50_000;
const WORTH_IT: [&str; 5] = ["users", "uids", "conversations", "members", "meta"];

/// What becomes of one document.
#[derive(Clone)]
pub(super) enum Change {
    /// It is new.
    Insert(RawDocumentBuf),
    /// It takes the place of what was there.
    Put(RawDocumentBuf),
    /// It goes.
    Remove,
}

/// The changes of a group: by collection, then by key.
pub(super) type Changes = HashMap<&'static str, BTreeMap<String, Change>>;

type Known = HashMap<&'static str, BTreeMap<String, Option<RawDocumentBuf>>>;

/// A group of writes in the making. Nobody else writes, so what was read once stays true.
pub(super) struct WriteBatch {
    pub(super) reader: Reader,
    pub(super) group: i64,
    pub(super) changes: Changes,
    known: Known,
    heads: HashMap<UserId, i64>,
    /// The position of the newest fact, once it was asked for.
    newest_fact: Option<i64>,
    bytes: usize,
}

impl WriteBatch {
    pub(super) fn new(reader: Reader) -> Self {
        let (known, heads) = (Known::new(), HashMap::new());
        let changes = Changes::new();
        Self { reader, group: 0, changes, known, heads, newest_fact: None, bytes: 0 }
    }

    /// Begins the next group.
    pub(super) fn begin(&mut self, group: i64) {
        self.group = group;
        self.changes.clear();
        self.bytes = 0;
        self.known.retain(|collection, _| WORTH_IT.contains(collection));
        let remembered: usize = self.known.values().map(BTreeMap::len).sum();
        if remembered + self.heads.len() > REMEMBERED {
            self.forget_all();
        }
    }

    /// Forgets what is known, because it may no longer be true.
    pub(super) fn forget_all(&mut self) {
        self.known.clear();
        self.heads.clear();
        self.newest_fact = None;
    }

    /// Bytes that the group writes so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads what the writes of a group will ask for, each collection at once.
    pub(super) async fn prefetch(&mut self, needs: Vec<(&'static str, String)>) -> Result<()> {
        let mut missing: HashMap<&'static str, Vec<String>> = HashMap::new();
        for (collection, id) in needs {
            let known = self.known.entry(collection).or_default();
            if !known.contains_key(&id) {
                // Until it is found, it is not there.
                known.insert(id.clone(), None);
                missing.entry(collection).or_default().push(id);
            }
        }
        let reader = &self.reader;
        let reads = missing.into_iter().map(async |(collection, ids)| {
            Ok::<_, super::super::StoreError>((
                collection,
                reader.documents(collection, ids).await?,
            ))
        });
        let found = futures_util::future::join_all(reads).await;
        for documents in found {
            let (collection, documents) = documents.inspect_err(|_| self.known.clear())?;
            for document in documents {
                let id = document.get_str("_id").map_err(super::rows::damaged)?.to_owned();
                self.known.entry(collection).or_default().insert(id, Some(document));
            }
        }
        Ok(())
    }

    /// The record of this key, as the group sees it.
    pub(super) async fn get<T: StoredDocument>(&mut self, id: &str) -> Result<Option<T>> {
        match self.changes.get(T::IN).and_then(|changes| changes.get(id)) {
            Some(Change::Insert(document) | Change::Put(document)) => {
                return record(document).map(Some);
            }
            Some(Change::Remove) => return Ok(None),
            None => {}
        }
        if !self.known.get(T::IN).is_some_and(|known| known.contains_key(id)) {
            let found = self.reader.documents(T::IN, vec![id.to_owned()]).await?.pop();
            self.known.entry(T::IN).or_default().insert(id.to_owned(), found);
        }
        let known = self.known.get(T::IN).and_then(|known| known.get(id)).and_then(Option::as_ref);
        known.map(|document| record(document)).transpose()
    }

    fn change<T: StoredDocument>(&mut self, row: &T, is_new: bool) -> Result<()> {
        let (id, document) = (row.id(), document(row, self.group)?);
        self.bytes += document.as_bytes().len();
        if WORTH_IT.contains(&T::IN) {
            self.known.entry(T::IN).or_default().insert(id.clone(), Some(document.clone()));
        }
        let changes = self.changes.entry(T::IN).or_default();
        let is_new = is_new || matches!(changes.get(&id), Some(Change::Insert(_)));
        changes.insert(id, if is_new { Change::Insert(document) } else { Change::Put(document) });
        Ok(())
    }

    /// Stores a record that was not there.
    pub(super) fn insert<T: StoredDocument>(&mut self, row: &T) -> Result<()> {
        self.change(row, true)
    }

    /// Stores a record in place of what was there, if anything.
    pub(super) fn put<T: StoredDocument>(&mut self, row: &T) -> Result<()> {
        self.change(row, false)
    }

    /// Removes a record.
    pub(super) fn remove<T: StoredDocument>(&mut self, id: &str) {
        self.known.entry(T::IN).or_default().insert(id.to_owned(), None);
        self.changes.entry(T::IN).or_default().insert(id.to_owned(), Change::Remove);
    }

    /// Records that this group adds, from one key on and below another.
    pub(super) fn added<T: StoredDocument>(&self, from: &str, end: &str) -> Result<Vec<T>> {
        let Some(changes) = self.changes.get(T::IN) else { return Ok(Vec::new()) };
        let within = changes.range(from.to_owned()..end.to_owned());
        let added = within.filter_map(|(_, change)| match change {
            Change::Insert(document) => Some(record::<T>(document)),
            Change::Put(_) | Change::Remove => None,
        });
        added.collect()
    }

    /// Adds an entry behind the last one of its user's log; gives its cursor.
    pub(super) async fn log(&mut self, entry: LogEntry) -> Result<i64> {
        let cursor = self.head(entry.user).await? + 1;
        let user = entry.user;
        self.insert(&LogEntry { cursor, ..entry })?;
        self.heads.insert(user, cursor);
        Ok(cursor)
    }

    async fn head(&mut self, user: UserId) -> Result<i64> {
        if let Some(head) = self.heads.get(&user) {
            return Ok(*head);
        }
        let head = newest(&self.reader, user).await?;
        self.heads.insert(user, head);
        Ok(head)
    }

    /// Appends facts behind the newest.
    pub(super) async fn add_facts(&mut self, facts: Vec<Fact>) -> Result<()> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut position = match self.newest_fact {
            Some(position) => position,
            None => newest_fact(&self.reader).await?,
        };
        for fact in facts {
            position += 1;
            self.insert(&PlacedFact { position, fact })?;
        }
        self.newest_fact = Some(position);
        Ok(())
    }

    /// Adds to the counters.
    pub(super) async fn count(&mut self, add: impl FnOnce(&mut Totals) + Send) -> Result<()> {
        let mut totals = self.get::<Totals>("totals").await?.unwrap_or_default();
        add(&mut totals);
        self.put(&totals)
    }
}

/// Where a user's log ends.
pub(super) async fn newest(reader: &Reader, user: UserId) -> Result<i64> {
    let prefix = user_id(user);
    let range = doc! { "_id": { "$gt": &prefix, "$lt": end_of(&prefix) } };
    let found = reader.find::<LogEntry>(range, doc! { "_id": -1 }, 1).await?;
    Ok(found.first().map_or(0, |entry| entry.cursor))
}

/// The position of the newest fact.
pub(super) async fn newest_fact(reader: &Reader) -> Result<i64> {
    let newest = reader.find::<PlacedFact>(doc! {}, doc! { "_id": -1 }, 1).await?;
    Ok(newest.first().map_or(0, |newest| newest.position))
}

/// The key of a stored document.
pub(super) fn key(document: &RawDocument) -> Result<&str> {
    document.get_str("_id").map_err(super::rows::damaged)
}
