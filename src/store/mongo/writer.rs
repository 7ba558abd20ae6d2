//! The one task that writes. A group of writes is first stored whole in one document, the intent, and then written to its
//! collections; whoever comes after a crash writes the last intent once more, which changes nothing that is there already.
//! So no write is ever half done, and no server needs transactions. The intent also says whose turn it is to write: a server
//! that takes over puts its name there, and the one before finds that out with its next intent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use mongodb::Database;
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr, doc, rawdoc};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::{Result, StoreError};
use super::reader::{DEADLINE, Reader, within_deadline};
use super::rows::{Kept, damaged};
use super::unit::{Change, Changes, Unit, key};
use crate::clock::Clock;

/// How many writes may wait before more are refused as [`StoreError::Busy`].
const QUEUE: usize = 8192;
/// How many writes share one intent at most.
const GROUP: usize = 512;
/// How many bytes share one intent; a document holds 16 MiB.
const GROUP_BYTES: usize = 4 << 20;
/// How long a write may take, with its time in the queue.
pub(super) const PATIENCE: Duration = Duration::from_millis(4800);
/// The error of a key that is there already.
const DUPLICATE: i32 = 11000;
/// How long to wait for what was given up, on a database that changes documents in two steps.
const LINGER: Duration = Duration::from_secs(2);

type Settle = Box<dyn FnOnce(Result<()>) + Send>;
type Work = Box<dyn for<'a> FnOnce(&'a mut Unit) -> BoxFuture<'a, Done> + Send>;

/// A write that waits for its turn.
struct Job {
    needs: Vec<(&'static str, String)>,
    alone: bool,
    is_wanted: Box<dyn Fn() -> bool + Send>,
    work: Work,
}

/// A write that has run, its answer held back until it is durable.
struct Done {
    failed: bool,
    settle: Settle,
}

pub(super) struct Writer {
    lost: Arc<AtomicBool>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a write is: what it will read, whether it must see everything before it in the database, and what it does.
pub(super) struct Write<F> {
    pub(super) needs: Vec<(&'static str, String)>,
    pub(super) alone: bool,
    pub(super) patience: Duration,
    pub(super) work: F,
}

/// Names a document that a write will ask for.
pub(super) fn need<T: Kept>(id: String) -> (&'static str, String) {
    (T::IN, id)
}

impl Writer {
    pub(super) fn start(reader: Reader) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let turn = Turn::new(reader.database.clone(), lost.clone());
        let task = tokio::spawn(run(turn, Unit::new(reader), jobs));
        Self { lost, queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Runs a write inside the next group and returns once it is durable.
    pub(super) async fn write<T, F>(&self, write: Write<F>) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Unit) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel::<Result<T>>();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let asks = answer.clone();
        let is_wanted = Box::new(move || {
            let answer = asks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            answer.as_ref().is_some_and(|answer| !answer.is_closed())
        });
        let run = write.work;
        let work: Work = Box::new(move |unit| {
            Box::pin(async move {
                let outcome = run(unit).await;
                let failed = outcome.is_err();
                let settle: Settle = Box::new(move |committed| {
                    let taken =
                        answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                    if let Some(answer) = taken {
                        let _ = answer.send(outcome.and_then(|value| committed.map(|()| value)));
                    }
                });
                Done { failed, settle }
            })
        });
        self.enqueue(Job { needs: write.needs, alone: write.alone, is_wanted, work })?;
        match tokio::time::timeout(write.patience, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::Unavailable("the write was not done; try again".into())),
            Err(_) => Err(StoreError::Unavailable("the database does not answer in time".into())),
        }
    }

    fn enqueue(&self, job: Job) -> Result<()> {
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let closed = || StoreError::Unavailable("the store is closed".into());
        match queue.as_ref().ok_or_else(closed)?.try_send(job) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Whether another server has taken the turn.
    pub(super) fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) { Err(lost()) } else { Ok(()) }
    }

    /// Writes what is waiting, then ends the task.
    pub(super) async fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn run(mut turn: Turn, mut unit: Unit, mut jobs: mpsc::Receiver<Job>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return turn.give_back().await,
            },
        };
        let mut group = vec![first];
        while group.len() < GROUP && !group.iter().any(|job| job.alone) {
            match jobs.try_recv() {
                Ok(job) if job.alone => {
                    next = Some(job);
                    break;
                }
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        // Whoever gave up waiting was told so; nothing is written for them any more.
        group.retain(|job| (job.is_wanted)());
        if group.is_empty() {
            continue;
        }
        let mut settles = Vec::with_capacity(group.len());
        let outcome = one_group(&mut turn, &mut unit, group, &mut settles).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, writes = settles.len(), "a group of writes failed");
            unit.forget_all();
        }
        for settle in settles {
            settle(outcome.clone());
        }
        if outcome.is_err() {
            // Not in a tight circle while the database is away.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs the writes of a group, stores the intent, and carries it out. Writes beyond the bytes of one intent make another.
async fn one_group(
    turn: &mut Turn,
    unit: &mut Unit,
    group: Vec<Job>,
    settles: &mut Vec<Settle>,
) -> Result<()> {
    turn.ready(unit).await?;
    unit.begin(turn.group + 1);
    unit.prefetch(group.iter().flat_map(|job| job.needs.iter().cloned()).collect()).await?;
    let mut torn = None;
    for job in group {
        if torn.is_none() && unit.bytes() > GROUP_BYTES {
            turn.commit(unit).await?;
            for settle in settles.drain(..) {
                settle(Ok(()));
            }
            unit.begin(turn.group + 1);
        }
        let before = unit.bytes();
        let done = (job.work)(unit).await;
        if done.failed && unit.bytes() != before {
            let message = "a write failed half-way and was rolled back";
            torn.get_or_insert(StoreError::Unavailable(message.into()));
        }
        settles.push(done.settle);
    }
    match torn {
        Some(error) => Err(error),
        None => turn.commit(unit).await,
    }
}

/// Whose turn it is to write, and how far the writing has come.
struct Turn {
    database: Database,
    name: String,
    /// The last group whose intent is stored.
    group: i64,
    taken: bool,
    lost: Arc<AtomicBool>,
    /// The last intent may not have been stored, or not have been carried out.
    unsure: bool,
    /// The database may still be at work on what was asked of it before.
    lingers: bool,
}

impl Turn {
    fn new(database: Database, lost: Arc<AtomicBool>) -> Self {
        let name = uuid::Uuid::new_v4().to_string();
        Self { database, name, group: 0, taken: false, lost, unsure: true, lingers: false }
    }

    /// Makes sure that it is this server's turn and that the last intent is carried out.
    async fn ready(&mut self, unit: &mut Unit) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(lost());
        }
        if !self.unsure {
            return Ok(());
        }
        unit.forget_all();
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

    /// Gives the turn back, so that the next server need not wonder what this one left.
    async fn give_back(&self) {
        if !self.taken || self.unsure || self.lost.load(Ordering::Relaxed) {
            return;
        }
        let meta = self.database.collection::<RawDocumentBuf>("meta");
        let mine = doc! { "_id": "intent", "writer": &self.name };
        let nobody = doc! { "$set": { "writer": "" } };
        if let Err(error) = within_deadline(meta.update_one(mine, nobody).into_future()).await {
            tracing::debug!(%error, "the turn could not be given back");
        }
    }

    /// Stores the intent and carries it out. What was given up after the deadline may still be done later.
    async fn commit(&mut self, unit: &Unit) -> Result<()> {
        let begun = Clock::system().instant();
        let outcome = self.store_and_apply(unit).await;
        self.lingers |= outcome.is_err() && begun.elapsed() >= DEADLINE;
        outcome
    }

    async fn store_and_apply(&mut self, unit: &Unit) -> Result<()> {
        if unit.changes.values().all(std::collections::BTreeMap::is_empty) {
            return Ok(());
        }
        let group = unit.group;
        self.unsure = true;
        let intent = intent(&self.name, group, &unit.changes);
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
        apply(&self.database, group, &unit.changes, Again::No).await?;
        self.unsure = false;
        Ok(())
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("another switchboard has taken over this database".into())
}

fn intent(name: &str, group: i64, changes: &Changes) -> RawDocumentBuf {
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

fn changes_of(intent: &RawDocument) -> Result<Changes> {
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
async fn apply(database: &Database, group: i64, changes: &Changes, again: Again) -> Result<()> {
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
enum Again {
    Yes,
    No,
}

/// Runs a command that writes. A key that is there already is no failure when it may have been written before; when it
/// cannot, somebody else wrote, and nothing must be acknowledged.
async fn command(database: &Database, command: RawDocumentBuf, again: Again) -> Result<Document> {
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
