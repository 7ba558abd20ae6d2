//! One timer for all calls: it sleeps until the least deadline.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::ids::CallId;

/// Deadlines of calls. One that no longer holds does no harm: whoever is woken looks again.
#[derive(Default)]
pub(super) struct Timer {
    deadlines: Mutex<BTreeSet<(Timestamp, CallId)>>,
    changed: Notify,
}

impl Timer {
    pub(super) fn arm(&self, at: Timestamp, call: CallId) {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner).insert((at, call));
        self.changed.notify_one();
    }

    /// The next call whose deadline has passed.
    pub(super) async fn next(&self, clock: &Clock) -> CallId {
        loop {
            match self.due(clock.now()) {
                Ok(call) => return call,
                Err(Some(at)) => {
                    tokio::select! {
                        () = clock.sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                Err(None) => self.changed.notified().await,
            }
        }
    }

    /// A call whose deadline has passed, or when the next one does.
    pub(super) fn due(&self, now: Timestamp) -> Result<CallId, Option<Timestamp>> {
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        match deadlines.first().copied() {
            Some((at, call)) if at <= now => {
                deadlines.remove(&(at, call));
                Ok(call)
            }
            first => Err(first.map(|(at, _)| at)),
        }
    }
}
