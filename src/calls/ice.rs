//! How clients find a way to each other: STUN servers, and time-limited credentials for a TURN relay
//! (draft-uberti-behave-turn-rest, the scheme that coturn takes too).

use serde::Serialize;
use utoipa::ToSchema;

use super::Calls;
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
        let (ice, ttl) = (&self.config.ice, self.config.turn.credential_ttl);
        let expires_at = self.clock.now().after(std::time::Duration::from_secs(ttl));
        let stun = |url: &String| IceServer {
            urls: vec![url.clone()],
            username: None,
            credential: None,
            credential_type: None,
        };
        let mut ice_servers: Vec<_> = ice.stun_servers.iter().map(stun).collect();
        ice_servers.extend(self.relay.ice_server(user, call, expires_at.seconds()));
        let ice_transport_policy = if ice.relay_only { "relay" } else { "all" };
        WebrtcConfig { ice_servers, ice_transport_policy, ttl, expires_at }
    }
}
