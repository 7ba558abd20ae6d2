//! The embedded engine: SQLite in one file, one writer thread with group commit, a pool of readers.

mod calls;
mod columns;
mod conversations;
mod dump;
mod erase;
mod facts;
mod log;
mod marks;
mod messages;
mod plans;
mod readers;
mod recordings;
mod replay;
mod schema;
mod secrets;
mod store;
#[cfg(test)]
mod tests;
mod users;
mod webhooks;
mod writer;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use self::columns::{Doc, Name, count, failed, select};
use self::readers::Readers;
use self::writer::Writer;
use super::{DEADLINE, Result};
use crate::fact::Fact;

pub use plans::explain;

/// The embedded engine.
pub struct Sqlite {
    writer: Writer,
    /// Absent for a store in memory, where the writer reads as well.
    readers: Option<Readers>,
}

impl Sqlite {
    /// Opens the file, makes or migrates it, and starts the writer.
    pub fn open(path: &Path) -> Result<Self> {
        let mut connection = Connection::open(path).map_err(failed)?;
        tune(&connection, WRITER_MAP).map_err(failed)?;
        // Every commit waits for the disk: an acknowledged write survives the loss of power.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        schema::migrate(&mut connection)?;
        let readers = Readers::open(path, 4)?;
        let writer = Writer::start(connection, true, Some(DEADLINE))?;
        Ok(Self { writer, readers: Some(readers) })
    }

    /// A store that is gone with the process.
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        tune(&connection, 0).map_err(failed)?;
        schema::migrate(&mut connection)?;
        // It waits for no disk.
        Ok(Self { writer: Writer::start(connection, false, None)?, readers: None })
    }

    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(what, job).await
    }

    /// A write, and the facts that it brings along.
    async fn write_with<T: Send + 'static>(
        &self,
        what: &'static str,
        facts: Vec<Fact>,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let with_facts = move |c: &Connection| {
            let outcome = job(c)?;
            facts::append(c, &facts)?;
            Ok(outcome)
        };
        self.writer.write(what, with_facts).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.readers {
            Some(readers) => readers.read(job).await,
            None => self.writer.write("a read", job).await,
        }
    }
}

/// Bytes of the file that the writer maps, and each of the readers. What is mapped counts as resident once it was looked at, in each
/// connection anew, until the kernel needs the memory: 64 + 4 × 32 MiB at most. Behind that SQLite reads into its cache.
const WRITER_MAP: i64 = 64 << 20;
const READER_MAP: i64 = 32 << 20;

fn tune(connection: &Connection, map: i64) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    // A plan never depends on the values bound to it, so that a statement is planned once.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -2_000)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", map)?;
    connection.pragma_update(None, "wal_autocheckpoint", 8000)
}
