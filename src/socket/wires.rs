//! The connections under Engine.IO sessions, and how they end: a client is asked to go by the end of its namespace, and one that stays
//! is cut a second later. The library leaves such a connection open, for other namespaces, of which there are none here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use tokio::sync::mpsc;

use crate::peer::AbortHandle;

/// How long a client may take to close a connection whose session is over.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// Sessions without a websocket that may wait to be closed.
const QUEUE: usize = 1024;
/// Upgrades that are noted before those of sessions that are gone are looked for.
const NOTED: usize = 256;

/// The websockets of sessions that began by polling, and the way to the sessions that have none.
pub struct Wires {
    upgraded: Mutex<Upgraded>,
    polling: mpsc::Sender<String>,
}

#[derive(Default)]
struct Upgraded {
    by_session: HashMap<String, AbortHandle>,
    /// How many were left when those of sessions that are gone were dropped last.
    kept: usize,
}

impl Wires {
    /// No connections yet, and the names of the sessions by polling that are to be closed.
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<String>) {
        let (polling, closing) = mpsc::channel(QUEUE);
        (Arc::new(Self { upgraded: Mutex::default(), polling }), closing)
    }

    /// Notes the websocket that a session goes over to.
    pub fn upgraded(&self, io: &SocketIo, session: &str, websocket: AbortHandle) {
        let mut upgraded = self.upgraded.lock();
        upgraded.by_session.insert(session.to_owned(), websocket);
        if upgraded.by_session.len() > 2 * upgraded.kept + NOTED {
            upgraded.by_session.retain(|session, _| is_connected(io, session));
            upgraded.kept = upgraded.by_session.len();
        }
    }

    fn forget(&self, session: &str) -> Option<AbortHandle> {
        self.upgraded.lock().by_session.remove(session)
    }

    fn cut(&self, session: &str, own: Option<&AbortHandle>) {
        if let Some(websocket) = self.forget(session).as_ref().or(own) {
            websocket.sever();
            return;
        }
        if self.polling.try_send(session.to_owned()).is_err() {
            let (polling, session) = (self.polling.clone(), session.to_owned());
            tokio::spawn(async move { polling.send(session).await });
        }
    }
}

fn is_connected(io: &SocketIo, session: &str) -> bool {
    // There is no namespace any more when the server is going down.
    let Some(sockets) = io.of("/") else { return false };
    session.parse().is_ok_and(|session| sockets.get_socket(session).is_some())
}

/// The connection of one Engine.IO session.
#[derive(Clone)]
pub(super) struct Wire {
    session: String,
    /// Its connection, where it began as a websocket.
    own: Option<AbortHandle>,
    wires: Arc<Wires>,
    io: SocketIo,
}

impl Wire {
    pub(super) fn of(socket: &SocketRef, wires: Arc<Wires>, io: SocketIo) -> Self {
        let is_upgrade = socket.req_parts().headers.contains_key(http::header::UPGRADE);
        let own = is_upgrade.then(|| socket.req_parts().extensions.get().cloned()).flatten();
        Self { session: socket.id.to_string(), own, wires, io }
    }

    /// Ends the connection at once.
    pub(super) fn cut(&self) {
        self.wires.cut(&self.session, self.own.as_ref());
    }

    /// The connection is gone.
    pub(super) fn forget(&self) {
        self.wires.forget(&self.session);
    }

    /// Ends the connection in a second, unless it has a session again by then.
    pub(super) async fn cut_later(self) {
        tokio::time::sleep(GRACE).await;
        if !is_connected(&self.io, &self.session) {
            self.cut();
        }
    }
}
