//! Gives memory back to the system. After a rush the C library's allocator keeps what was freed below anything that is still in use,
//! and the process would look as large as its worst minute for as long as it lives.
//!
//! The one file with foreign code in it: no other allocator gave memory back without costing more for each message and each connection
//! (docs/decisions.md), and `malloc_trim` has no safe wrapper.

use std::time::Duration;

/// How often the allocator is looked at.
const EVERY: Duration = Duration::from_secs(10);
/// How much must have become free for that the allocator's locks are held for some milliseconds.
const WORTH: u64 = 8 << 20;

/// Looks for what rushes have left on a thread of its own, for as long as the process runs.
pub fn give_back() -> std::io::Result<()> {
    let mut left = Left::default();
    std::thread::Builder::new().name("memory".into()).spawn(move || {
        loop {
            std::thread::sleep(EVERY);
            if left.is_worth_it(system::free()) {
                system::trim();
                left.given_back = system::free();
            }
        }
    })?;
    Ok(())
}

/// What the allocator keeps that nobody uses.
#[derive(Debug, Default)]
struct Left {
    /// Bytes of it that were given back, and are not in use again. They count as free in the allocator's books all the same.
    given_back: u64,
}

impl Left {
    /// Whether there is enough to give back, of so many bytes that are free.
    fn is_worth_it(&mut self, free: u64) -> bool {
        self.given_back = self.given_back.min(free);
        free > self.given_back + WORTH
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod system {
    /// Bytes that were freed and not used again.
    pub(super) fn free() -> u64 {
        // SAFETY: it takes no pointer, takes the allocator's own locks, and gives numbers (mallinfo2(3)).
        let info = unsafe { libc::mallinfo2() };
        u64::try_from(info.fordblks).unwrap_or(u64::MAX)
    }

    pub(super) fn trim() {
        // SAFETY: it takes no pointer, and takes the allocator's own locks (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other allocators give back by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod system {
    pub(super) fn free() -> u64 {
        0
    }

    pub(super) fn trim() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_became_free_is_given_back_once() {
        let mut left = Left::default();
        assert!(!left.is_worth_it(8 * MIB) && left.is_worth_it(9 * MIB));
        left.given_back = 9 * MIB;
        assert!(!left.is_worth_it(9 * MIB) && !left.is_worth_it(17 * MIB));
        // Half of it is in use again, and becomes free once more.
        assert!(!left.is_worth_it(4 * MIB) && left.is_worth_it(13 * MIB));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn freed_memory_below_what_is_in_use_is_given_back() {
        let resident = || crate::ops::resident().unwrap().anonymous;
        // Other tests of this process take memory meanwhile: one try of many shows it.
        let given_back = || {
            let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 16 << 10]).collect();
            let kept = vec![1_u8; 16 << 10];
            let used = system::free();
            drop(pieces);
            let (most, free) = (resident(), system::free());
            system::trim();
            let least = resident();
            drop(kept);
            (free.saturating_sub(used) / MIB, most.saturating_sub(least) / MIB)
        };
        let tries: Vec<(u64, u64)> = (0..50).map(|_| given_back()).collect();
        assert!(tries.iter().any(|&(free, back)| free > 48 && back > 48), "{tries:?}");
    }
}
