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
            let first =
                self.deadlines.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
            match first {
                Some((at, call)) if at <= clock.now() => {
                    self.deadlines
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&(at, call));
                    return call;
                }
                Some((at, _)) => {
                    tokio::select! {
                        () = clock.sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }
}
