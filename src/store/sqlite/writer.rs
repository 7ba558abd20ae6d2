//! The one thread that writes. It takes what is waiting, runs it in one transaction, makes it durable with one sync, and
//! only then answers everybody.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::{Result, StoreError, too_late};

/// How many writes may wait before more are refused as [`StoreError::Busy`].
const QUEUE: usize = 8192;
/// How many writes share one transaction at most.
const GROUP: usize = 512;
/// How long a group waits for more, while waiting pays: a sync costs many times what a row does.
const GATHER: Duration = Duration::from_millis(8);

type Settle = Box<dyn FnOnce(Result<()>) + Send>;
/// A write that waits; it does nothing, and gives nothing, when nobody waits for its answer any more.
type Job = Box<dyn FnOnce(&Connection) -> Option<Done> + Send>;

/// A job that has run, its answer held back until the commit.
struct Done {
    failed: bool,
    settle: Settle,
}

pub(super) struct Writer {
    /// How long a write may take, with its time in the queue.
    deadline: Option<Duration>,
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread; a store that never syncs has nothing to wait for (`gathers`).
    pub(super) fn start(
        connection: Connection,
        gathers: bool,
        deadline: Option<Duration>,
    ) -> Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&connection, &jobs, Gathering::new(gathers)));
        let thread = thread.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (queue, thread) = (Mutex::new(Some(queue)), Mutex::new(Some(thread)));
        Ok(Self { deadline, queue, thread })
    }

    /// Runs `job` inside the next group and returns once it is durable. After the deadline the caller gets an error that names
    /// `what`; a job that has not begun by then is dropped, one that has may be stored.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if answer.is_closed() {
                return None;
            }
            let outcome = job(connection);
            let failed = outcome.is_err();
            let settle: Settle = Box::new(move |committed| {
                let _ = answer.send(outcome.and_then(|value| committed.map(|()| value)));
            });
            Some(Done { failed, settle })
        });
        self.enqueue(job)?;
        let answered = match self.deadline {
            Some(deadline) => tokio::time::timeout(deadline, answered)
                .await
                .map_err(|_| too_late("sqlite", what, deadline))?,
            None => answered.await,
        };
        answered.unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".into())))
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

fn run(connection: &Connection, jobs: &Receiver<Job>, mut gathering: Gathering) {
    let mut settles = Vec::with_capacity(GROUP);
    while let Ok(first) = jobs.recv() {
        let waited = gathering.wait();
        let outcome = group(connection, first, jobs, &mut settles);
        gathering.learn(waited, settles.len());
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
struct Gathering {
    gathers: bool,
    score: u32,
    groups: u32,
}

impl Gathering {
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
        if let Some(done) = job(connection) {
            if done.failed && connection.total_changes() != before {
                torn.get_or_insert(StoreError::Unavailable(
                    "a write failed half-way and was rolled back".into(),
                ));
            }
            settles.push(done.settle);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn count(connection: &Connection) -> Result<i64> {
        Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    fn insert(connection: &Connection) -> Result<()> {
        connection.execute("INSERT INTO t VALUES (1)", [])?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_a_writer_at_a_standstill_keeps_waiting_is_answered() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let writer = Arc::new(Writer::start(connection, false, Some(SHORT)).unwrap());
        let (go_on, waits) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let held = {
            let writer = writer.clone();
            tokio::spawn(async move {
                let stands_still = move |connection: &Connection| {
                    begun.send(()).unwrap();
                    waits.recv().unwrap();
                    insert(connection)
                };
                writer.write("held", stands_still).await
            })
        };
        has_begun.await.unwrap();
        let queued = writer.write("queued", insert).await.unwrap_err();
        assert!(queued.retry_helps() && queued.to_string().contains("queued"), "{queued}");
        let held = held.await.unwrap().unwrap_err();
        assert!(held.to_string().contains("held was not done within 0.05 s"), "{held}");
        go_on.send(()).unwrap();
        // What had begun is stored, what had not is dropped, and the writer goes on.
        let stored = loop {
            match writer.write("count", count).await {
                Ok(stored) => break stored,
                Err(error) => assert!(error.retry_helps(), "{error}"),
            }
        };
        assert_eq!(stored, 1);
    }
}
