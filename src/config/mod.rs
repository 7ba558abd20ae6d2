//! What the operator sets: defaults, then `config.toml`, then the environment, then flags. An unknown or impossible key
//! stops the start and is named.

mod check;
mod endpoints;
mod error;
mod hosts;
mod load;
mod networks;
mod secret;
mod section;
mod weakness;

pub use check::weak_secrets;
pub use error::ConfigError;
pub use hosts::HostNames;
pub use load::{Flags, load};
pub use networks::Networks;
pub use secret::{Secret, hide_in_addresses, without_secrets};
pub use section::{
    Audience, Auth, AuthMode, Call, Chat, Compat, Config, Consent, Directory, Ice, Limits,
    LogFormat, Media, Metrics, Presence, RecordingAuto, RecordingStart, Recordings, RoomCreate,
    RoomJoin, Rooms, Server, Socket, Store, Turn, TurnMode, WebhookEndpoint, Webhooks, XUserId,
};
pub use weakness::weakness;
