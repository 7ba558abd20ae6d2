//! The sections of `config.toml`. A test compares them to it, key by key.

mod auth;
mod limits;
mod network;
mod people;
mod rooms;
mod server;
mod webhooks;

use serde::{Deserialize, Serialize};

pub use auth::{Auth, AuthMode, Store};
pub use limits::Limits;
pub use network::{Ice, Media, Turn, TurnMode};
pub use people::{Audience, Call, Chat, Directory, Presence};
pub use rooms::{Consent, RecordingAuto, RecordingStart, Recordings, RoomCreate, RoomJoin, Rooms};
pub use server::{Compat, LogFormat, Metrics, Server, Socket, XUserId};
pub use webhooks::{WebhookEndpoint, Webhooks};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`: where it listens and how it stops.
    pub server: Server,
    /// `[auth]`: who may come in.
    pub auth: Auth,
    /// `[store]`: where data lives.
    pub store: Store,
    /// `[socket]`: Socket.IO connections.
    pub socket: Socket,
    /// `[limits]`: what one client may ask for.
    pub limits: Limits,
    /// `[chat]`: messages.
    pub chat: Chat,
    /// `[call]`: ringing and calls.
    pub call: Call,
    /// `[presence]`: who sees whom.
    pub presence: Presence,
    /// `[directory]`: the list of people.
    pub directory: Directory,
    /// `[ice]`: how clients find a way to each other.
    pub ice: Ice,
    /// `[turn]`: the relay for people behind NATs and firewalls, the embedded one or an external one such as coturn.
    pub turn: Turn,
    /// `[media]`: the SFU, which takes and forwards the media of rooms.
    pub media: Media,
    /// `[rooms]`: group rooms.
    pub rooms: Rooms,
    /// `[recordings]`: calls through the server and rooms, written to files.
    pub recordings: Recordings,
    /// `[webhooks]`: what happened, sent to the application's backend.
    pub webhooks: Webhooks,
    /// `[metrics]`: figures for Prometheus.
    pub metrics: Metrics,
    /// `[compat]`: like the service this one replaces.
    pub compat: Compat,
}
