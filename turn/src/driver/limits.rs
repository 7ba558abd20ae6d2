//! How many descriptors this process may open: each relayed address takes one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Limits of open descriptors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Descriptors {
    /// How many may be open.
    pub soft: u64,
    /// How far the process may raise that by itself.
    pub hard: u64,
}

impl Descriptors {
    /// Those of this process; `None` when the system does not say.
    pub fn of_this_process() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        Some(Self { soft, hard })
    }

    /// Raises what may be open to what may be had, for the whole process.
    pub fn raise() -> Option<Self> {
        let Self { soft, hard } = Self::of_this_process()?;
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
        }
        Self::of_this_process()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_may_be_open_is_raised_to_what_may_be_had() {
        let before = Descriptors::of_this_process().unwrap();
        let after = Descriptors::raise().unwrap();
        assert_eq!((after.soft, after.hard), (before.hard, before.hard));
    }
}
