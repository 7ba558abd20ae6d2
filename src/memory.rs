//! Gives memory back to the system. After a rush the C library's allocator keeps what was freed below anything that is still in use,
//! and the process would look as large as its worst minute for as long as it lives.
//!
//! The one file with foreign code in it: no other allocator gave memory back without costing more for each message and each connection
//! (docs/decisions.md), and `malloc_trim` has no safe wrapper.

use std::time::Duration;

use crate::ops;

/// How often the process looks at itself.
const EVERY: Duration = Duration::from_secs(10);
/// How much must have been freed for that the allocator's locks are held for some milliseconds.
const WORTH: u64 = 8 << 20;

/// Looks for the ends of rushes on a thread of its own, for as long as the process runs.
pub fn give_back() -> std::io::Result<()> {
    let mut rush = Rush::default();
    std::thread::Builder::new().name("memory".into()).spawn(move || {
        loop {
            std::thread::sleep(EVERY);
            if resident().is_some_and(|now| rush.is_over(now)) {
                trim();
                rush.lowest = resident().unwrap_or_default();
            }
        }
    })?;
    Ok(())
}

fn resident() -> Option<u64> {
    ops::resident().map(|memory| memory.anonymous)
}

/// When memory may have become free.
#[derive(Debug, Default)]
struct Rush {
    /// Bytes after memory was given back the last time.
    lowest: u64,
    /// Bytes at the last look.
    last: u64,
}

impl Rush {
    /// Whether the process is larger than it was, and grows no longer.
    fn is_over(&mut self, now: u64) -> bool {
        let grows = now > self.last + WORTH / 8;
        self.last = now;
        !grows && now > self.lowest + WORTH
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: it takes no pointer, and takes the allocator's own locks (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_is_given_back_when_a_rush_is_over_and_not_before() {
        let mut rush = Rush { lowest: 15 * MIB, last: 15 * MIB };
        for (mib, over) in [(15, false), (40, false), (60, false), (60, true)] {
            assert_eq!(rush.is_over(mib * MIB), over, "{mib}");
        }
        // Nothing was free: it is all in use, and is left alone until there is more.
        rush.lowest = 60 * MIB;
        for (mib, over) in [(61, false), (62, false), (67, false), (69, false), (69, true)] {
            assert_eq!(rush.is_over(mib * MIB), over, "{mib}");
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn freed_memory_below_what_is_in_use_is_given_back() {
        // Other tests of this process take memory meanwhile: one try of many shows it.
        let given_back = || {
            let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 16 << 10]).collect();
            let kept = vec![1_u8; 16 << 10];
            let most = resident().unwrap();
            drop(pieces);
            trim();
            let least = resident().unwrap();
            drop(kept);
            most.saturating_sub(least)
        };
        let tries: Vec<u64> = (0..50).map(|_| given_back()).collect();
        assert!(tries.iter().any(|&bytes| bytes > 48 * MIB), "{tries:?}");
    }
}
