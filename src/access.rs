//! The one place that ends what somebody may no longer have: whoever changes a rule announces the change, and here it is carried out
//! for everything that a person, a session or a room token holds. What ends with a token's own end ends where that is watched.
//!
//! | held | ended here by |
//! |---|---|
//! | sockets, their subscriptions, queued events and those that wait for their turn | `delivery`, `presence` |
//! | rooms: members by socket, publishers by WHIP, viewers by WHEP, data channels | `rooms` |
//! | calls that ring or run, their relayed legs | `calls` |
//! | allocations of the relay, and credentials for it | `relay` |
//! | what others see: presence, typing | `presence`, `chat` |
//! | requests, cached verdicts on tokens, links to recordings, devices | `people`, which every one of them asks |

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::app::App;
use crate::event::room::LeaveReason;
use crate::event::{CloseReason, Role, SessionClosed};
use crate::ids::UserId;
use crate::policy::Actor;
use crate::revocation::{AccessChange, Announced};

/// When what an account holds is ended again, after the first time: what was under way then has come to its end. A request takes 30 s
/// at most, and an event 5.
const SWEEPS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(31)];

/// Carries out changes of what somebody may, in their order, for as long as the server runs.
pub async fn follow(app: App, mut changes: mpsc::Receiver<Announced>) {
    while let Some(Announced { change, done }) = changes.recv().await {
        tracing::info!(?change, "access changes");
        at_once(&app, &change);
        let app = app.clone();
        // What waits for rooms and calls does not hold up the next change.
        tokio::spawn(async move {
            end_held(&app, &change).await;
            let _ = done.send(());
            sweep(&app, &change).await;
        });
    }
}

/// What is ended without a wait.
fn at_once(app: &App, change: &AccessChange) {
    match *change {
        AccessChange::AccountDisabled(user) | AccessChange::AccountErased(user) => {
            app.relay.shut_out(user);
            app.rooms.end_user(user, LeaveReason::Revoked);
            let closed = SessionClosed::because(CloseReason::UserDisabled);
            app.delivery.close_user(user, &closed);
        }
        AccessChange::AccountEnabled(user) => app.relay.readmit(user),
        AccessChange::RoleChanged(user, role) if !role.is_operator() => {
            app.delivery.lower_role(user, role);
            app.rooms.set_role(user, false);
        }
        AccessChange::RoleChanged(user, _) => app.rooms.set_role(user, true),
        AccessChange::TokenRevoked(token) => {
            // The room that took it back has had those leave whom it let in.
            app.delivery.close_guests(token, &SessionClosed::because(CloseReason::TokenExpired));
        }
        AccessChange::SessionEnded(user, session) => {
            app.rooms.end_socket(session, LeaveReason::Revoked);
            let closed = SessionClosed::because(CloseReason::Kicked);
            app.delivery.close(user, session, closed);
        }
    }
}

async fn end_held(app: &App, change: &AccessChange) {
    match *change {
        AccessChange::AccountDisabled(user) => end_account(app, user, false).await,
        AccessChange::AccountErased(user) => end_account(app, user, true).await,
        AccessChange::AccountEnabled(_) | AccessChange::TokenRevoked(_) => {}
        AccessChange::RoleChanged(user, role) => change_role(app, user, role).await,
        AccessChange::SessionEnded(user, session) => {
            app.calls.revoke(user, Some(session)).await;
        }
    }
}

async fn end_account(app: &App, user: UserId, erased: bool) {
    let calls = app.calls.revoke(user, None);
    let typing = app.chat.end_typing(user);
    let presence = async {
        if let Err(error) = app.presence.revoke(user, erased).await {
            tracing::warn!(%error, %user, "that a person is gone could not be announced");
        }
    };
    tokio::join!(calls, typing, presence);
}

async fn change_role(app: &App, user: UserId, role: Role) {
    if let Err(error) = app.presence.narrow(Actor::new(user, role)).await {
        tracing::warn!(%error, %user, "subscriptions of an operator could not be looked at again");
    }
}

/// Ends once more what an account holds: a request or an event that was let in before may have made something since.
async fn sweep(app: &App, change: &AccessChange) {
    let (AccessChange::AccountDisabled(user) | AccessChange::AccountErased(user)) = *change else {
        return;
    };
    let begun = app.clock.now();
    for after in SWEEPS {
        app.clock.sleep_until(begun.after(after)).await;
        if !app.people.is_disabled(user) {
            return;
        }
        at_once(app, change);
        end_held(app, change).await;
    }
}
