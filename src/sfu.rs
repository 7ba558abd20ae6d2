//! The SFU as configured: started, counted, and its events on their way to the rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use switchboard_media::driver::{Server, Settings, StartError};
use switchboard_media::{Codec, Event};
use switchboard_turn::door::Door;
use tokio::sync::mpsc;

use crate::config::Media;

/// Events that may wait for the rules.
const EVENTS: usize = 16_384;

/// What happens to peers and tracks, for those whose they are.
pub struct Heard {
    /// All of it, for rooms.
    pub rooms: mpsc::Receiver<Event>,
    /// Connections that are there or gone, for calls.
    pub calls: mpsc::Receiver<Event>,
}

/// See the module.
pub struct Sfu {
    server: Arc<Server>,
    codecs: Vec<Codec>,
}

impl Sfu {
    /// Opens the media port, which clients of the relay reach by its `door`.
    pub fn start(config: &Media, door: Option<&Arc<Door>>) -> Result<(Self, Heard), StartError> {
        let (tell, rooms) = mpsc::channel(EVENTS);
        let (tell_calls, calls) = mpsc::channel(EVENTS);
        let settings = Settings {
            listen: vec![SocketAddr::new(config.host, config.udp_port)],
            listen_tcp: vec![SocketAddr::new(config.host, config.tcp_port)],
            advertised: config.advertised_ips.clone(),
            workers: config.workers,
        };
        let server = Server::start(&settings, move |event| {
            let for_calls = matches!(event, Event::Connected { .. } | Event::Gone { .. });
            let lost = for_calls && tell_calls.try_send(event.clone()).is_err();
            if tell.try_send(event).is_err() || lost {
                metrics::counter!("rtc_rtp_dropped_total", "reason" => "events").increment(1);
            }
        })?;
        if let Some(door) = door {
            server.live_behind(door);
        }
        let codecs = config.codecs.iter().filter_map(|name| Codec::named(name)).collect();
        let sfu = Self { server: Arc::new(server), codecs };
        tracing::info!(addresses = ?sfu.server.endpoint().udp, "clients are told these addresses for media");
        Ok((sfu, Heard { rooms, calls }))
    }

    /// The SFU that runs.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Codecs that rooms may use unless they say otherwise.
    pub fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// Keeps Prometheus informed.
    pub async fn keep_counting(self: Arc<Self>) {
        loop {
            for (name, value) in self.server.counters() {
                let (name, label) = match name {
                    "packets_received" => ("rtc_rtp_packets_total", Some(("direction", "in"))),
                    "packets_sent" => ("rtc_rtp_packets_total", Some(("direction", "out"))),
                    "bytes_received" => ("rtc_rtp_bytes_total", Some(("direction", "in"))),
                    "bytes_sent" => ("rtc_rtp_bytes_total", Some(("direction", "out"))),
                    "packets_requested" => ("rtc_nack_total", Some(("direction", "out"))),
                    "packets_resent" => ("rtc_nack_total", Some(("direction", "in"))),
                    "keyframes_requested" => ("rtc_pli_total", Some(("direction", "out"))),
                    "keyframes_wanted" => ("rtc_pli_total", Some(("direction", "in"))),
                    "dropped_forged" => ("rtc_srtp_auth_failures_total", None),
                    "dropped_replayed" => ("rtc_srtp_replay_total", None),
                    "peers_connected" => ("rtc_ice_state_total", Some(("state", "connected"))),
                    "peers_failed" => ("rtc_ice_state_total", Some(("state", "failed"))),
                    "handed_over" => ("rtc_media_handed_over_total", None),
                    other => (
                        "rtc_rtp_dropped_total",
                        Some(("reason", other.trim_start_matches("dropped_"))),
                    ),
                };
                match label {
                    Some((key, label)) => metrics::counter!(name, key => label).absolute(value),
                    None => metrics::counter!(name).absolute(value),
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
