//! The threads on which rooms work. A description or a list of a hundred participants takes a millisecond or more to write and to
//! read: on the threads of the connections, whoever asks for something small would wait behind all of them.

use std::sync::OnceLock;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use switchboard_media::Description;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{Result, RoomError};

/// Descriptions of so many bytes are read here, smaller ones where they arrive.
const LARGE: usize = 8 << 10;

static THREADS: OnceLock<Runtime> = OnceLock::new();

/// Gives rooms threads of their own, of lower priority than those of the connections, for as long as the process runs.
pub fn start_workers() -> std::io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("rooms")
        .on_thread_start(|| {
            // On Linux each thread has a nice value of its own. That it cannot be changed does no harm.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(5);
        })
        .enable_all()
        .build()?;
    let _ = THREADS.set(threads);
    Ok(())
}

/// Where rooms work: on their own threads, or where the caller is, when they have none.
pub(super) fn workers() -> Handle {
    THREADS.get().map_or_else(Handle::current, |threads| threads.handle().clone())
}

/// Reads a description, a large one on the threads of the rooms.
pub(super) async fn read(text: &str, sections: usize) -> Result<Description> {
    if text.len() < LARGE {
        return Ok(Description::parse(text, sections)?);
    }
    let text = text.to_owned();
    let read = workers().spawn(async move { Description::parse(&text, sections) });
    // It does not panic, and is given up when the process ends.
    Ok(read.await.map_err(|_| RoomError::NotFound)??)
}

/// Writes a long answer as JSON on the threads of the rooms.
pub async fn write(answer: impl Serialize + Send + 'static) -> Result<Box<RawValue>> {
    let written = workers().spawn(async move { to_raw_value(&answer) });
    // It does not panic, and is given up when the process ends.
    let written = written.await.map_err(|_| RoomError::NotFound)?;
    written.map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        RoomError::NotFound
    })
}
