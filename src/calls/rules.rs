//! What a call must know of the server it runs on: plain data, the same for all calls.

use std::sync::Arc;
use std::time::Duration;

use switchboard_media::Codec;
use switchboard_media::negotiation::Endpoint;

use crate::config::{Config, RecordingAuto};
use crate::event::CallMedia;
use crate::ids::UserId;
use crate::view::CallView;

/// See the module.
pub(super) struct Rules {
    pub(super) config: Arc<Config>,
    /// Where clients reach the SFU.
    pub(super) endpoint: Endpoint,
    /// What media through the server may be coded with.
    pub(super) codecs: Vec<Codec>,
    /// How calls are shown.
    pub(super) view: CallView,
}

impl Rules {
    /// For how long a side whose connection is lost may come back.
    pub(super) fn reconnect_window(&self) -> Duration {
        Duration::from_secs(self.config.call.reconnect_window)
    }

    /// For how long a call rings.
    pub(super) fn ring_timeout(&self) -> Duration {
        Duration::from_secs(self.config.call.ring_timeout)
    }

    /// Which way media takes: where the server is to be in between, nobody gets around it.
    pub(super) fn media(&self, wanted: Option<CallMedia>, record: bool) -> CallMedia {
        let policy = self.config.recordings.auto == RecordingAuto::Accepted;
        match self.config.call.media {
            CallMedia::Relay => CallMedia::Relay,
            _ if record || policy => CallMedia::Relay,
            otherwise => wanted.unwrap_or(otherwise),
        }
    }

    /// Whether a call is recorded from the beginning, and at whose request, for those whom it rings.
    pub(super) fn record_policy(&self, record_by: Option<UserId>) -> &'static str {
        match self.config.recordings.auto {
            RecordingAuto::Accepted => "accepted",
            RecordingAuto::Off if record_by.is_some() => "requested",
            RecordingAuto::Off => "off",
        }
    }
}
