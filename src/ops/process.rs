//! The process as the kernel sees it.

use std::time::Duration;

use switchboard_turn::driver::Descriptors;

/// Where Linux says how much memory the process has, and of which kind.
const STATUS: &str = "/proc/self/status";
/// Where Linux lists the open descriptors.
const DESCRIPTORS: &str = "/proc/self/fd";

/// This process, in numbers. What the system does not say is `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Process {
    /// Since the start.
    pub uptime: Duration,
    /// Descriptors that are open.
    pub descriptors: Option<usize>,
    /// Descriptors that may be open.
    pub descriptors_most: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Resident memory.
    pub memory: Option<Memory>,
}

/// Resident memory by what is behind it, in bytes. Only the first kind grows with a leak; pages of mapped files, which the embedded
/// store has up to 256 MiB of, are given back whenever another process needs them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Heap, stacks and what else no file is behind (`RssAnon`).
    pub anonymous: u64,
    /// Pages of files: the program itself, and the mapped database (`RssFile`).
    pub file_backed: u64,
}

impl Process {
    /// The process now.
    pub(super) fn now(uptime: Duration) -> Self {
        let status = std::fs::read_to_string(STATUS).unwrap_or_default();
        let listed = std::fs::read_dir(DESCRIPTORS).ok();
        Self {
            uptime,
            // One of them is the list's own.
            descriptors: listed.map(|listed| listed.count().saturating_sub(1)),
            descriptors_most: Descriptors::of_this_process().map(|most| most.soft),
            threads: field(&status, "Threads"),
            memory: memory(&status),
        }
    }
}

/// Resident memory now.
pub fn resident() -> Option<Memory> {
    memory(&std::fs::read_to_string(STATUS).ok()?)
}

fn memory(status: &str) -> Option<Memory> {
    let bytes = |name| field(status, name).map(|kilobytes| kilobytes * 1024);
    Some(Memory { anonymous: bytes("RssAnon")?, file_backed: bytes("RssFile")? })
}

/// A number of `/proc/self/status` (proc_pid_status(5)).
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_files_is_kept_apart_from_the_heap() {
        let status = "Name:\tswitchboard\nVmRSS:\t  30000 kB\nRssAnon:\t   20000 kB\nRssFile:\t    9000 kB\nThreads:\t7\n";
        let memory = memory(status).unwrap();
        assert_eq!(memory, Memory { anonymous: 20_000 * 1024, file_backed: 9000 * 1024 });
        assert_eq!((field(status, "Threads"), field(status, "Rss")), (Some(7), None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_of_both_kinds_threads_and_descriptors() {
        let before = Process::now(Duration::ZERO);
        let held: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let process = Process::now(Duration::ZERO);
        let memory = process.memory.unwrap();
        assert!(memory.anonymous > 0 && memory.file_backed > 0, "{memory:?}");
        assert!(process.threads.unwrap() > 0 && process.descriptors_most.unwrap() > 0);
        // Other tests open and close theirs meanwhile.
        assert!(process.descriptors.unwrap() > before.descriptors.unwrap().saturating_sub(50) / 2);
        drop(held);
    }
}
