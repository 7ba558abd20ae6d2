//! The one place of the SFU that reads the time.

use std::time::Instant;

/// A moment that only moves forward.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}
