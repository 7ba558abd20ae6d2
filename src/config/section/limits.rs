//! `[limits]`: what one client may ask for.

use serde::{Deserialize, Serialize};

/// `[limits]`: what one client may ask for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// false switches all rate limits off, and the bounds on what addresses, accounts and room tokens hold, for load tests only; the log
    /// says so loudly.
    pub rate_limits: bool,
    /// Unicode characters of a message.
    pub content_chars: usize,
    /// Bytes of a message.
    pub content_bytes: usize,
    /// Bytes of a JSON body.
    pub body_bytes: usize,
    /// Bytes of a session description.
    pub sdp_bytes: usize,
    /// Bytes of an ICE candidate line.
    pub candidate_bytes: usize,
    /// ICE candidates of one side of a call in 30 seconds.
    pub candidates: u32,
    /// Rows of a page when the client names no limit.
    pub page: usize,
    /// Rows of a page at most; a larger wish is clamped.
    pub page_max: usize,
    /// People of a directory page at most.
    pub users_page_max: usize,
    /// Connections of one user; a further one replaces the oldest.
    pub sessions_per_user: usize,
    /// Devices of one user that are registered for pushes; a further one replaces the one that was registered longest ago.
    pub devices_per_user: usize,
    /// Messages of one user, sustained.
    pub messages_per_second: u32,
    /// Messages of one user at once.
    pub messages_burst: u32,
    /// Messages of one user in a minute.
    pub messages_per_minute: u32,
    /// Typing events of one user; more are dropped without an error.
    pub typing_per_second: u32,
    /// Calls one user may start in a minute.
    pub calls_per_minute: u32,
    /// `webrtc:*` events of one connection, sustained.
    pub signals_per_second: u32,
    /// `webrtc:*` events of one connection at once.
    pub signals_burst: u32,
    /// Events of any kind of one connection, sustained; ten times as many end it.
    pub events_per_second: u32,
    /// `room:data` of one participant of a room, sustained.
    pub room_data_per_second: u32,
    /// `room:data` of one participant at once.
    pub room_data_burst: u32,
    /// Bytes of `room:data` of one participant, sustained.
    pub room_data_bytes_per_second: u32,
    /// Bytes of `room:data` of one participant at once.
    pub room_data_bytes_burst: u32,
    /// `room:metadata` of one participant, sustained.
    pub room_metadata_per_second: u32,
    /// `room:metadata` of one participant at once.
    pub room_metadata_burst: u32,
    /// `room:reaction` and `room:hand` of one participant, sustained.
    pub room_reactions_per_second: u32,
    /// `room:reaction` and `room:hand` of one participant at once.
    pub room_reactions_burst: u32,
    /// REST requests of one user in a minute.
    pub rest_per_minute: u32,
    /// Requests and connections without a valid token from one address in a minute.
    pub anonymous_per_minute: u32,
    /// Handshakes of Socket.IO from one address (a /64 of IPv6) in a minute, whatever token comes after them.
    pub handshakes_per_minute: u32,
    /// Handshakes of Socket.IO from one address at once, as after a restart.
    pub handshakes_burst: u32,
    /// Fresh tokens that the connections of one account may show in a minute (`session:refresh`).
    pub refreshes_per_minute: u32,
    /// Connections of all users; more are refused with a hint to come back.
    pub connections: usize,
    /// TCP connections from one address (a /64 of IPv6); 0: without a bound. Those of `server.trusted_proxies` are not counted.
    pub connections_per_network: usize,
    /// TCP connections in all that have shown no valid token yet; 0: without a bound. When there are more, the oldest of the address
    /// that has most of them is closed.
    pub strangers: usize,
    /// Connections of Socket.IO from one address that have not shown a token yet; 0: without a bound.
    pub handshakes_per_network: usize,
    /// The same from all addresses together; 0: without a bound.
    pub handshakes: usize,
    /// Bytes of request bodies from one address that are under way at the same time; 0: without a bound.
    pub upload_bytes_per_network: usize,
    /// Rooms that one account has open, of those that it opened itself; 0: without a bound.
    pub rooms_per_user: usize,
    /// Sessions in rooms of one account, in all rooms together; 0: without a bound.
    pub room_sessions_per_user: usize,
    /// Sessions in rooms of those whom one room token lets in; 0: without a bound.
    pub room_sessions_per_token: usize,
    /// Viewers by WHEP of one account; 0: without a bound.
    pub viewers_per_user: usize,
    /// Viewers by WHEP whom one room token lets in; 0: without a bound.
    pub viewers_per_token: usize,
    /// With `auth.mode = "introspect"`: questions to the backend that wait for an answer at the same time; 0: without a bound.
    pub backend_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_limits: true,
            content_chars: 8000,
            content_bytes: 32_768,
            body_bytes: 1_048_576,
            sdp_bytes: 131_072,
            candidate_bytes: 2048,
            candidates: 100,
            page: 50,
            page_max: 200,
            users_page_max: 500,
            sessions_per_user: 10,
            devices_per_user: 50,
            messages_per_second: 20,
            messages_burst: 40,
            messages_per_minute: 600,
            typing_per_second: 5,
            calls_per_minute: 10,
            signals_per_second: 100,
            signals_burst: 300,
            events_per_second: 200,
            room_data_per_second: 30,
            room_data_burst: 60,
            room_data_bytes_per_second: 65_536,
            room_data_bytes_burst: 262_144,
            room_metadata_per_second: 2,
            room_metadata_burst: 10,
            room_reactions_per_second: 5,
            room_reactions_burst: 20,
            rest_per_minute: 300,
            anonymous_per_minute: 60,
            handshakes_per_minute: 600,
            handshakes_burst: 200,
            refreshes_per_minute: 30,
            connections: 50_000,
            connections_per_network: 200,
            strangers: 2000,
            handshakes_per_network: 50,
            handshakes: 2000,
            upload_bytes_per_network: 16 << 20,
            rooms_per_user: 20,
            room_sessions_per_user: 50,
            room_sessions_per_token: 30,
            viewers_per_user: 50,
            viewers_per_token: 200,
            backend_requests: 32,
        }
    }
}
