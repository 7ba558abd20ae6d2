//! Tokens end while sockets are open: clients are warned a minute before, and cut when the leeway that every token has is over. A
//! guest's is the room token, which can also be taken back, or end with its room.

use std::collections::HashSet;
use std::time::Duration;

use crate::app::App;
use crate::delivery::Frame;
use crate::event::room::LeaveReason;
use crate::event::{CloseReason, Event, SessionClosed, TokenExpiring};

const WARN: Duration = Duration::from_secs(60);

/// Looks at all sessions every second, for as long as the server runs.
pub async fn watch_tokens(app: App) {
    // The token ends that were announced, so that each is announced once.
    let mut warned = HashSet::new();
    let leeway = Duration::from_secs(app.config.auth.leeway);
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = app.clock.now();
        let mut ending = HashSet::new();
        for session in app.delivery.open_sessions() {
            let end = session.expires_at();
            let revoked = session.about.token.is_some_and(|hash| !app.rooms.knows_token(hash));
            if revoked || end.after(leeway) <= now {
                let reason = if revoked { LeaveReason::Revoked } else { LeaveReason::Expired };
                app.rooms.end_socket(session.about.id, reason);
                session.close(SessionClosed::because(CloseReason::TokenExpired));
            } else if end.before(WARN) <= now {
                let key = (session.about.id, end);
                if !warned.contains(&key) {
                    session.deliver(Frame::new(&Event::SessionTokenExpiring(TokenExpiring {
                        expires_at: end,
                    })));
                }
                ending.insert(key);
            }
        }
        warned = ending;
    }
}
