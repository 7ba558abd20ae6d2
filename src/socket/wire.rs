//! How an event leaves: over a Socket.IO socket, and how a connection is ended when its buffer takes nothing any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socketioxide::extract::SocketRef;
use socketioxide::{AckError, SendError, SocketError};

use crate::delivery::{Confirm, Frame, Wire, WireError};
use crate::peer::AbortHandle;

/// How long a device has to acknowledge a message.
const CONFIRM: Duration = Duration::from_secs(5);

/// The socket of a session, until it is closed.
pub(super) struct Line {
    socket: Mutex<Option<SocketRef>>,
    severable: Option<AbortHandle>,
}

impl Line {
    pub(super) fn new(socket: SocketRef) -> Arc<Self> {
        let severable = socket.req_parts().extensions.get().cloned();
        Arc::new(Self { socket: Mutex::new(Some(socket)), severable })
    }

    /// Forgets the socket, so that the two do not keep each other alive.
    pub(super) fn release(&self) -> Option<SocketRef> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The side of a [`Line`] that the delivery holds.
pub(super) struct Sender(pub(super) Arc<Line>);

impl Wire for Sender {
    fn send(&self, frame: &Frame, confirm: Option<Confirm>) -> Result<(), WireError> {
        let socket = self.0.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket.as_ref().ok_or(WireError::Closed)?;
        let Some(confirm) = confirm else {
            return socket.emit(frame.name, &*frame.payload).map_err(|error| meaning(&error));
        };
        let asked = socket.emit_with_ack::<_, serde_json::Value>(frame.name, &*frame.payload);
        let acknowledged = asked.map_err(|error| meaning(&error))?;
        tokio::spawn(async move {
            let answer = tokio::time::timeout(CONFIRM, acknowledged).await;
            // An acknowledgement without arguments is one too.
            confirm(matches!(answer, Ok(Ok(_) | Err(AckError::Decode(_)))));
        });
        Ok(())
    }

    fn close(&self) {
        let Some(socket) = self.0.release() else { return };
        // A client that reads nothing does not even take the notice; its connection is cut below it.
        if socket.disconnect().is_err()
            && let Some(severable) = &self.0.severable
        {
            severable.sever();
        }
    }
}

fn meaning(error: &SendError) -> WireError {
    match error {
        SendError::Socket(SocketError::InternalChannelFull) => WireError::Full,
        _ => WireError::Closed,
    }
}
