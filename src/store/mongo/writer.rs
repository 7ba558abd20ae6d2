//! The one task that writes. A group of writes is first stored whole in one document, the intent, and then written to its
//! collections; whoever comes after a crash writes the last intent once more, which changes nothing that is there already.
//! So no write is ever half done, and no server needs transactions. The intent also names the server that may write
//! (`lease.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::{Result, StoreError, too_late};
use super::batch::WriteBatch;
use super::lease::{WriterLease, lost};
use super::reader::Reader;
use super::rows::StoredDocument;

/// How many writes may wait before more are refused as [`StoreError::Busy`].
const QUEUE: usize = 8192;
/// How many writes share one intent at most.
const GROUP: usize = 512;
/// How many bytes share one intent; a document holds 16 MiB.
const GROUP_BYTES: usize = 4 << 20;

type Settle = Box<dyn FnOnce(Result<()>) + Send>;
type Work = Box<dyn for<'a> FnOnce(&'a mut WriteBatch) -> BoxFuture<'a, Done> + Send>;

/// A write that waits.
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

/// What a write is: its name, what it will read, whether it must see everything before it in the database, how long it may take
/// with its time in the queue, and what it does.
pub(super) struct Write<F> {
    pub(super) what: &'static str,
    pub(super) needs: Vec<(&'static str, String)>,
    pub(super) alone: bool,
    pub(super) deadline: Duration,
    pub(super) work: F,
}

/// Names a document that a write will ask for.
pub(super) fn need<T: StoredDocument>(id: String) -> (&'static str, String) {
    (T::IN, id)
}

impl Writer {
    pub(super) fn start(reader: Reader) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let lease = WriterLease::new(reader.database.clone(), lost.clone());
        let task = tokio::spawn(run(lease, WriteBatch::new(reader), jobs));
        Self { lost, queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Runs a write inside the next group and returns once it is durable.
    pub(super) async fn write<T, F>(&self, write: Write<F>) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut WriteBatch) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel::<Result<T>>();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let asks = answer.clone();
        let is_wanted = Box::new(move || {
            let answer = asks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            answer.as_ref().is_some_and(|answer| !answer.is_closed())
        });
        let run = write.work;
        let work: Work = Box::new(move |batch| {
            Box::pin(async move {
                let outcome = run(batch).await;
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
        match tokio::time::timeout(write.deadline, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::Unavailable("the write was not done; try again".into())),
            Err(_) => Err(too_late("mongodb", write.what, write.deadline)),
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

    /// Whether another server has taken the lease.
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

async fn run(mut lease: WriterLease, mut batch: WriteBatch, mut jobs: mpsc::Receiver<Job>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return lease.give_back().await,
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
        // Whoever no longer waits has an error as the answer; nothing is written for them any more.
        group.retain(|job| (job.is_wanted)());
        if group.is_empty() {
            continue;
        }
        let mut settles = Vec::with_capacity(group.len());
        let outcome = one_group(&mut lease, &mut batch, group, &mut settles).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, writes = settles.len(), "a group of writes failed");
            batch.forget_all();
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
    lease: &mut WriterLease,
    batch: &mut WriteBatch,
    group: Vec<Job>,
    settles: &mut Vec<Settle>,
) -> Result<()> {
    lease.ready(batch).await?;
    batch.begin(lease.group + 1);
    batch.prefetch(group.iter().flat_map(|job| job.needs.iter().cloned()).collect()).await?;
    let mut torn = None;
    for job in group {
        if torn.is_none() && batch.bytes() > GROUP_BYTES {
            lease.commit(batch).await?;
            for settle in settles.drain(..) {
                settle(Ok(()));
            }
            batch.begin(lease.group + 1);
        }
        let before = batch.bytes();
        let done = (job.work)(batch).await;
        if done.failed && batch.bytes() != before {
            let message = "a write failed half-way and was rolled back";
            torn.get_or_insert(StoreError::Unavailable(message.into()));
        }
        settles.push(done.settle);
    }
    match torn {
        Some(error) => Err(error),
        None => lease.commit(batch).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &mut WriteBatch) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_an_absent_database_keeps_waiting_is_answered() {
        let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:1/").await.unwrap();
        let writer = Writer::start(Reader::new(client.database("none")));
        let (needs, deadline) = (Vec::new(), Duration::from_millis(50));
        let write = Write { what: "save_job", needs, alone: false, deadline, work: nothing };
        let refused = writer.write(write).await.unwrap_err();
        assert!(refused.retry_helps(), "{refused}");
        assert!(refused.to_string().contains("save_job was not done within 0.05 s"), "{refused}");
    }
}
