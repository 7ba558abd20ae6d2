//! Socket.IO: connections, their events, and nothing of what the events mean.

mod api;
mod calls;
mod chat;
mod connect;
mod connection;
mod context;
mod expiry;
mod incoming;
mod recordings;
mod rooms;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod transport;

use std::time::Duration;

use socketioxide::{ParserConfig, SocketIo, layer::SocketIoLayer};

use crate::app::App;

pub use api::describe;
pub use expiry::watch_tokens;

/// A handle by which everything is closed at the end.
pub type Sockets = SocketIo;

/// The layer that serves `/socket.io/`.
pub fn layer(app: &App) -> (SocketIoLayer, Sockets) {
    let config = &app.config.socket;
    let parser = ParserConfig::common()
        .max_incoming_binaries(4)
        .max_incoming_binary_buf_size(config.max_payload)
        .packet_completion_timeout(Duration::from_secs(10));
    let (layer, io) = SocketIo::builder()
        .with_state(app.clone())
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
    (layer, io)
}
