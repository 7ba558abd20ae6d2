//! The metric families, once: what is not in this table is not counted, and what is in it is counted by the part that it names. Tests
//! compare the table to the source and to a running server.

use super::Snapshot;

/// The kind of a family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A number that the snapshot has.
    Gauge,
    /// A number that grows.
    Counter,
    /// A distribution.
    Histogram,
}

/// The part whose figures a family has; those of a part that is off are not shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub enum Part {
    Server,
    Sfu,
    Relay,
    Recorder,
}

impl Part {
    /// Whether the part runs.
    pub fn runs(self, now: &Snapshot) -> bool {
        match self {
            Self::Server => true,
            Self::Sfu => now.receives_media(),
            Self::Relay => now.relay.embedded.is_some(),
            Self::Recorder => now.records(),
        }
    }
}

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The labels of each of its series.
    pub labels: &'static [&'static str],
    /// Whose figures it has.
    pub part: Part,
    /// What it says, and in which unit.
    pub help: &'static str,
}

macro_rules! families {
    ($($part:ident $kind:ident $name:literal $([$($label:literal),+])? $help:literal,)*) => {
        /// Every family.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($($label),+)?],
            part: Part::$part,
            help: $help,
        },)*];
    };
}

families! {
    Server Gauge "rtc_build_info" ["version"] "1, with the version of the build",
    Server Gauge "rtc_uptime_seconds" "seconds since the start",
    Server Gauge "rtc_draining" "1 while the server goes down",
    Server Gauge "rtc_process_descriptors" "open descriptors",
    Server Gauge "rtc_process_descriptors_limit" "descriptors that may be open",
    Server Gauge "rtc_process_threads" "threads",
    Server Gauge "rtc_process_memory_bytes" ["kind"] "resident memory: anonymous (heap, stacks), or file (the program, the mapped database), which the kernel takes back at need",
    Server Gauge "rtc_store_writable" ["engine"] "1 when the store took a write within the last second",
    Server Counter "rtc_store_deadline_total" ["engine"] "writes that were answered before they were done, after five seconds",
    Server Gauge "rtc_store_rows" ["kind"] "users, messages and calls in the store",
    Server Gauge "rtc_auth_cached" "answers of the authentication backend that are kept",
    Server Counter "rtc_access_changes_late_total" "changes of what somebody may that were not carried out within a second",
    Server Counter "rtc_http_connections_cut_total" ["why"] "TCP connections that were ended: `unread` (the client took nothing for 30 s), `descriptors` (none was left for clients), `strangers` (one without a token made room for another address)",
    Server Counter "rtc_auth_failures_total" ["reason"] "requests and connections without a valid token",
    Server Counter "rtc_auth_key_readings_total" ["result"] "readings of the JWKS",
    Server Gauge "rtc_limits_counted" "users and networks whose requests are counted at present",
    Server Gauge "rtc_held" ["resource", "by"] "what addresses, accounts, room tokens and all together hold at present, by the bound of [limits]",
    Server Counter "rtc_held_refused_total" ["resource", "by"] "what was refused because its holder had as much as it may",
    Server Counter "rtc_rate_limited_total" ["what"] "what was refused because it came too fast",
    Server Gauge "rtc_socket_connections" "Socket.IO sessions",
    Server Gauge "rtc_users_online" ["kind"] "accounts and guests with a session",
    Server Gauge "rtc_presence_subscriptions" "people that sessions follow by presence:subscribe",
    Server Counter "rtc_presence_subscriptions_refused_total" "subscriptions that were refused because of their number",
    Server Counter "rtc_receipts_dropped_total" "acknowledgements of devices for which there was no room",
    Server Counter "rtc_events_dropped_total" "data of rooms, reactions and speakers that a client read too slowly for",
    Server Counter "rtc_slow_consumers_total" "sessions that were cut because they did not read",
    Server Counter "rtc_socket_events_total" ["event", "result"] "events of clients, by what became of them",
    Server Counter "rtc_socket_events_late_total" "events whose handling took longer than the answer may take",
    Server Counter "rtc_socket_old_clients_total" "connections of Socket.IO 2 or older, which are refused",
    Server Histogram "rtc_message_ack_seconds" "from the arrival of a message to its acknowledgement",
    Server Gauge "rtc_webhook_pending" "deliveries to endpoints of webhooks that are pending",
    Server Gauge "rtc_webhook_oldest_seconds" "for how long the oldest of them has been",
    Server Gauge "rtc_webhook_endpoints_disabled" "endpoints that answered 410 Gone and get nothing until their configuration changes",
    Server Counter "rtc_webhook_deliveries_total" ["outcome"] "deliveries: delivered, retried (an attempt failed), failed (given up), missed (forgotten before they were sent)",
    Server Gauge "rtc_calls_active" "calls that are not over",
    Server Gauge "rtc_calls_ringing" "calls that ring",
    Server Counter "rtc_call_commands_refused_total" "commands for which the queue of a call had no room",
    Server Counter "rtc_call_panics_total" "panics of the task of a call",
    Server Counter "rtc_calls_total" ["outcome"] "calls that are over",
    Server Counter "rtc_call_ratings_total" ["stars"] "opinions on calls",
    Server Histogram "rtc_call_setup_seconds" "from the beginning of a call to its acceptance",
    Server Histogram "rtc_rtt_seconds" "round-trip times that clients measured",
    Server Histogram "rtc_jitter_seconds" "jitter that clients measured",
    Server Histogram "rtc_loss_ratio" "shares of lost packets that clients measured",
    Server Histogram "rtc_quality_mos" ["kind"] "estimated mean opinion scores",
    Sfu Gauge "rtc_rooms" "rooms",
    Sfu Counter "rtc_room_busy_total" "commands for which the queue of a room had no room",
    Sfu Counter "rtc_room_failures_total" "panics of the task of a room",
    Server Counter "rtc_facts_lost_total" "facts of rooms that could not be stored",
    Sfu Gauge "rtc_participants" "participants of rooms",
    Sfu Gauge "rtc_viewers" "viewers of rooms by WHEP that are connected",
    Sfu Gauge "rtc_tracks" ["kind", "direction"] "tracks that are published (in), and sections that show one (out)",
    Sfu Gauge "rtc_media_workers" "threads that take media",
    Sfu Histogram "rtc_media_setup_seconds" "from the answer to a connection of media",
    Sfu Counter "rtc_rtp_packets_total" ["direction"] "packets of media",
    Sfu Counter "rtc_rtp_bytes_total" ["direction"] "bytes of media",
    Sfu Counter "rtc_nack_total" ["direction"] "packets that viewers missed and got again (in), and that publishers were asked for (out)",
    Sfu Counter "rtc_pli_total" ["direction"] "keyframes that viewers asked for (in), and that publishers were asked for (out)",
    Sfu Counter "rtc_srtp_auth_failures_total" "packets that were not authentic",
    Sfu Counter "rtc_srtp_replay_total" "packets that came a second time",
    Sfu Counter "rtc_ice_state_total" ["state"] "connections of media that were made, and that failed",
    Sfu Counter "rtc_media_handed_over_total" "datagrams handed over to another worker",
    Sfu Counter "rtc_rtp_dropped_total" ["reason"] "what was dropped",
    Recorder Gauge "rtc_recording_active" "recordings that run",
    Recorder Counter "rtc_recording_bytes_total" "bytes written",
    Recorder Counter "rtc_recording_errors_total" "what could not be recorded or stored",
    Recorder Counter "rtc_recording_gap_seconds_total" "seconds that are missing in files",
    Relay Gauge "rtc_turn_allocations" "open allocations",
    Relay Gauge "rtc_turn_ports_used" "relayed ports that allocations and reservations have",
    Relay Counter "rtc_turn_bytes_total" "bytes relayed, both ways",
    Relay Counter "rtc_turn_denied_total" ["reason"] "requests that were refused",
    Relay Counter "rtc_turn_commands_refused_total" "commands that a worker of the relay had no room for",
    Relay Counter "rtc_turn_allocations_opened_total" "allocations opened",
    Relay Counter "rtc_turn_allocations_closed_total" "allocations closed",
    Relay Counter "rtc_turn_ports_taken_total" "ports of the range that another program had",
    Relay Counter "rtc_turn_packets_to_peers_total" "packets from clients to peers",
    Relay Counter "rtc_turn_packets_to_clients_total" "packets from peers to clients",
    Relay Counter "rtc_turn_packets_inside_total" "packets handed over within the process",
    Relay Counter "rtc_turn_bytes_to_peers_total" "bytes from clients to peers",
    Relay Counter "rtc_turn_bytes_to_clients_total" "bytes from peers to clients",
    Relay Counter "rtc_turn_dropped_unpermitted_total" "packets without an allocation, channel or permission",
    Relay Counter "rtc_turn_dropped_bandwidth_total" "packets over the bandwidth of their allocation",
    Relay Counter "rtc_turn_dropped_full_total" "packets for which a queue or socket had no room",
    Relay Counter "rtc_turn_dropped_unsendable_total" "packets that the kernel refused",
    Relay Counter "rtc_turn_dropped_malformed_total" "datagrams that are neither channel data nor a message",
    Relay Counter "rtc_turn_dropped_unanswered_total" "unauthenticated requests beyond the limit of their source",
    Relay Counter "rtc_turn_streams_closed_total" "connections of clients that were slow, idle or spoke something else",
}
