//! Changes of what somebody may, on their way from the rule that makes them to the one place that carries them out for everything
//! that is held: sockets, rooms, calls, relayed ports. Whoever makes a change waits until it is carried out, a second at most.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::event::Role;
use crate::ids::{SessionId, UserId};
use crate::store::TokenHash;

/// Changes that may wait to be carried out; whoever makes another one then waits.
const QUEUE: usize = 256;
/// How long the one who makes a change waits until it is carried out.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessChange {
    /// The account is disabled: everything that the person holds ends.
    AccountDisabled(UserId),
    /// The account is disabled, and what is known of the person is being erased.
    AccountErased(UserId),
    /// The account is enabled again.
    AccountEnabled(UserId),
    /// The newest token of the person says another role.
    RoleChanged(UserId, Role),
    /// A session was ended from another one: what it holds ends with it.
    SessionEnded(UserId, SessionId),
    /// A room token was taken back.
    TokenRevoked(TokenHash),
}

/// A change on its way.
pub struct Announced {
    /// What changed.
    pub change: AccessChange,
    /// Dropped, or sent to, when it is carried out.
    pub done: oneshot::Sender<()>,
}

/// Where changes are announced.
#[derive(Clone)]
pub struct AccessChanges(mpsc::Sender<Announced>);

impl AccessChanges {
    /// The way to the one place, and what arrives there.
    pub fn new() -> (Self, mpsc::Receiver<Announced>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Has a change carried out, and returns when it is, or after a second: it goes on then.
    pub async fn announce(&self, change: AccessChange) {
        let shown = change.clone();
        let carried_out = async {
            let (done, finished) = oneshot::channel();
            if self.0.send(Announced { change, done }).await.is_ok() {
                let _ = finished.await;
            }
        };
        if tokio::time::timeout(PATIENCE, carried_out).await.is_err() {
            metrics::counter!("rtc_access_changes_late_total").increment(1);
            tracing::warn!(change = ?shown, "what somebody may no longer do did not end within a second; it goes on ending");
        }
    }
}
