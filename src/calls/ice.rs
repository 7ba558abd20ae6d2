//! How clients find a way to each other: STUN servers, and time-limited credentials for a TURN relay
//! (draft-uberti-behave-turn-rest, the scheme that coturn takes too).

use serde::Serialize;
use utoipa::ToSchema;

use super::service::Calls;
use crate::clock::Timestamp;
use crate::event::IceServer;
use crate::ids::{CallId, UserId};

/// `RTCConfiguration` for one user, and until when it is good.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebrtcConfig {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// `all`, or `relay` when only relayed candidates may be used.
    pub ice_transport_policy: &'static str,
    /// Seconds for which the credentials are good.
    pub ttl: u64,
    /// The same as a moment.
    pub expires_at: Timestamp,
}

impl Calls {
    /// The ICE servers for `user`; the credential is bound to `call` when one is named.
    pub fn webrtc_config(&self, user: UserId, call: Option<CallId>) -> WebrtcConfig {
        let (ttl, expires_at) = self.credential_end();
        let relay = self.means.relay.ice_server(user, call, expires_at.seconds());
        self.with_relay(relay, ttl, expires_at)
    }

    /// The ICE servers for a guest of a room, and until when their token is good; no relay without them.
    pub fn guest_webrtc_config(
        &self,
        guest: UserId,
        bounds: Option<(&str, Timestamp)>,
    ) -> WebrtcConfig {
        let (ttl, expires_at) = self.credential_end();
        let Some((room, until)) = bounds else { return self.with_relay(None, ttl, expires_at) };
        let expires_at = expires_at.min(until);
        let left = expires_at.seconds() - self.means.clock.now().seconds();
        let relay = self.means.relay.guest_ice_server(guest, room, expires_at.seconds());
        self.with_relay(relay, ttl.min(u64::try_from(left).unwrap_or_default()), expires_at)
    }

    fn credential_end(&self) -> (u64, Timestamp) {
        let ttl = self.rules.config.turn.credential_ttl;
        (ttl, self.means.clock.now().after(std::time::Duration::from_secs(ttl)))
    }

    fn with_relay(
        &self,
        relay: Option<IceServer>,
        ttl: u64,
        expires_at: Timestamp,
    ) -> WebrtcConfig {
        let ice = &self.rules.config.ice;
        let stun = |url: &String| IceServer {
            urls: vec![url.clone()],
            username: None,
            credential: None,
            credential_type: None,
        };
        let mut ice_servers: Vec<_> = ice.stun_servers.iter().map(stun).collect();
        ice_servers.extend(relay);
        let ice_transport_policy = if ice.relay_only { "relay" } else { "all" };
        WebrtcConfig { ice_servers, ice_transport_policy, ttl, expires_at }
    }
}
