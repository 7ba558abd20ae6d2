//! The one thread that writes. It takes what is waiting, runs it in one transaction, makes it durable with one sync, and
//! only then answers everybody.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::{Result, StoreError};

/// How many writes may wait before more are refused as [`StoreError::Busy`].
const QUEUE: usize = 8192;
/// How many writes share one transaction at most.
const GROUP: usize = 512;
/// How long a group waits for more, while waiting pays: a sync costs many times what a row does.
const GATHER: Duration = Duration::from_millis(8);

type Settle = Box<dyn FnOnce(Result<()>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Done + Send>;

/// A job that has run, its answer held back until the commit.
struct Done {
    failed: bool,
    settle: Settle,
}

pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread; a store that never syncs has nothing to wait for (`gathers`).
    pub(super) fn start(connection: Connection, gathers: bool) -> Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&connection, &jobs, Patience::new(gathers)));
        let thread = thread.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `job` inside the next group and returns once it is durable.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = job(connection);
            let failed = outcome.is_err();
            let settle: Settle = Box::new(move |committed| {
                let _ = answer.send(outcome.and_then(|value| committed.map(|()| value)));
            });
            Done { failed, settle }
        });
        self.enqueue(job)?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".into())))
    }

    fn enqueue(&self, job: Job) -> Result<()> {
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let closed = || StoreError::Unavailable("the store is closed".into());
        match queue.as_ref().ok_or_else(closed)?.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
        }
    }

    /// Writes what is waiting, then ends the thread. Blocks.
    pub(super) fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, jobs: &Receiver<Job>, mut patience: Patience) {
    let mut settles = Vec::with_capacity(GROUP);
    while let Ok(first) = jobs.recv() {
        let waited = patience.wait();
        let outcome = group(connection, first, jobs, &mut settles);
        patience.learn(waited, settles.len());
        if let Err(error) = &outcome {
            tracing::error!(%error, writes = settles.len(), "a group of writes was rolled back");
            let _ = connection.execute_batch("ROLLBACK");
        }
        for settle in settles.drain(..) {
            settle(outcome.clone());
        }
    }
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Whether to wait for company. It pays when others write meanwhile, and only costs time when the one who waits for the
/// answer is the only one who writes; so it is tried now and then, and kept up for as long as it helps.
struct Patience {
    gathers: bool,
    score: u32,
    groups: u32,
}

impl Patience {
    fn new(gathers: bool) -> Self {
        Self { gathers, score: 0, groups: 0 }
    }

    fn wait(&mut self) -> bool {
        self.groups = self.groups.wrapping_add(1);
        let waits = self.gathers && (self.score > 0 || self.groups.is_multiple_of(32));
        if waits {
            std::thread::sleep(GATHER);
        }
        waits
    }

    fn learn(&mut self, waited: bool, group: usize) {
        if group > 1 {
            self.score = (self.score + 2).min(16);
        } else if waited {
            self.score = self.score.saturating_sub(1);
        }
    }
}

/// One transaction. A job checks before it writes, so one that fails has written nothing; should one fail half-way all the
/// same, the whole group is rolled back and everybody is asked to try again.
fn group(
    connection: &Connection,
    first: Job,
    jobs: &Receiver<Job>,
    settles: &mut Vec<Settle>,
) -> Result<()> {
    let begun =
        connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
    let mut torn = begun.map(|_| ()).map_err(super::failed).err();
    let mut next = Some(first);
    while let Some(job) = next {
        let before = connection.total_changes();
        let done = job(connection);
        if done.failed && connection.total_changes() != before {
            torn.get_or_insert(StoreError::Unavailable(
                "a write failed half-way and was rolled back".into(),
            ));
        }
        settles.push(done.settle);
        next = if settles.len() < GROUP { jobs.try_recv().ok() } else { None };
    }
    match torn {
        Some(error) => Err(error),
        None => connection
            .prepare_cached("COMMIT")
            .and_then(|mut c| c.execute([]))
            .map(|_| ())
            .map_err(super::failed),
    }
}
