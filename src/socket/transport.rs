//! How an event leaves: over a Socket.IO socket, and how a connection is ended when its buffer takes nothing any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socketioxide::extract::SocketRef;
use socketioxide::{AckError, SendError, SocketError};

use super::wires::Wire;
use crate::delivery::{Frame, OnAck, Transport, TransportError};

/// How long a device has to acknowledge a message.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// The socket of a session, until it is closed, and the connection under it.
pub(super) struct SocketSlot {
    socket: Mutex<Option<SocketRef>>,
    pub(super) wire: Wire,
}

impl SocketSlot {
    pub(super) fn new(socket: SocketRef, wire: Wire) -> Arc<Self> {
        Arc::new(Self { socket: Mutex::new(Some(socket)), wire })
    }

    /// Forgets the socket, so that the two do not keep each other alive.
    pub(super) fn release(&self) -> Option<SocketRef> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The side of a [`SocketSlot`] that the delivery holds.
pub(super) struct SocketTransport(pub(super) Arc<SocketSlot>);

impl Transport for SocketTransport {
    fn send(&self, frame: &Frame, on_ack: Option<OnAck>) -> Result<(), TransportError> {
        let socket = self.0.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = socket.as_ref().ok_or(TransportError::Closed)?;
        let Some(on_ack) = on_ack else {
            return socket.emit(frame.name, &*frame.payload).map_err(|error| meaning(&error));
        };
        let asked = socket.emit_with_ack::<_, serde_json::Value>(frame.name, &*frame.payload);
        let acknowledged = asked.map_err(|error| meaning(&error))?;
        tokio::spawn(async move {
            let answer = tokio::time::timeout(ACKNOWLEDGE, acknowledged).await;
            // An acknowledgement without arguments is one too.
            on_ack(matches!(answer, Ok(Ok(_) | Err(AckError::Decode(_)))));
        });
        Ok(())
    }

    fn close(&self) {
        let Some(socket) = self.0.release() else { return };
        // A client that reads nothing does not even take the notice; its connection is aborted below it.
        if socket.disconnect().is_err() {
            self.cut();
        }
    }

    fn cut(&self) {
        self.0.wire.cut();
    }
}

fn meaning(error: &SendError) -> TransportError {
    match error {
        SendError::Socket(SocketError::InternalChannelFull) => TransportError::Full,
        _ => TransportError::Closed,
    }
}
