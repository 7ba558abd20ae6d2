//! Socket.IO: connections, their events, and nothing of what the events mean.

mod api;
mod calls;
mod chat;
mod connect;
mod connection;
mod context;
mod dispatch;
mod expiry;
mod incoming;
mod moderation;
mod recordings;
mod rooms;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use socketioxide::{ParserConfig, SocketIo, layer::SocketIoLayer};
use tokio::sync::mpsc;

use crate::app::App;

pub use api::{client_events, describe};
pub use expiry::watch_tokens;
pub use wires::Wires;

/// A handle by which everything is closed at the end.
pub type Sockets = SocketIo;

/// What the HTTP side needs to serve `/socket.io/`.
pub struct SocketParts {
    /// The layer that serves it.
    pub layer: SocketIoLayer,
    /// The handle to all sockets.
    pub io: Sockets,
    /// Where upgrades to a websocket are noted.
    pub wires: Arc<Wires>,
    /// The Engine.IO sessions by polling that are to be closed.
    pub closing: mpsc::Receiver<String>,
}

/// Serves `/socket.io/`.
pub fn layer(app: &App) -> SocketParts {
    let (wires, closing) = Wires::new();
    let config = &app.config.socket;
    let parser = ParserConfig::common()
        .max_incoming_binaries(4)
        .max_incoming_binary_buf_size(config.max_payload)
        .packet_completion_timeout(Duration::from_secs(10));
    let (layer, io) = SocketIo::builder()
        .with_state(app.clone())
        .with_state(wires.clone())
        .with_parser(parser)
        .req_path("/socket.io")
        .ping_interval(Duration::from_secs(config.ping_interval))
        .ping_timeout(Duration::from_secs(config.ping_timeout))
        .connect_timeout(Duration::from_secs(config.connect_timeout))
        .max_payload(config.max_payload as u64)
        .ws_max_message_size(config.max_payload)
        .ws_max_frame_size(config.max_payload)
        .ws_read_buffer_size(256)
        .build_layer();
    connect::register(&io);
    SocketParts { layer, io, wires, closing }
}
