//! The SFU as configured: started, counted, and its events on their way to the rules.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard_media::driver::{Server, Settings, StartError};
use switchboard_media::{Codec, Event};
use switchboard_turn::door::Door;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::config::Media;

/// Events that may wait for the rules.
const EVENTS: usize = 16_384;

/// What happens to peers and tracks, for those whose they are.
pub struct SfuEvents {
    /// All of it, for rooms.
    pub rooms: Notices,
    /// Connections that are there or gone, for calls.
    pub calls: Notices,
}

/// Events on their way to one reader. What is lost of them when the reader falls behind is only what comes again by itself: that a
/// peer is there or gone waits beside the queue, without which its participant would stay for ever.
pub struct Notices {
    queue: mpsc::Receiver<Event>,
    beside: Beside,
}

/// At most two a peer: that it is there, and that it is gone.
type Beside = Arc<Mutex<VecDeque<Event>>>;

impl Notices {
    fn new() -> (Notifier, Self) {
        let (sender, queue) = mpsc::channel(EVENTS);
        let beside = Beside::default();
        (Notifier { queue: sender, beside: Arc::clone(&beside) }, Self { queue, beside })
    }

    /// The next event; `None` when the SFU is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        // Only behind a full queue something is put beside it, so that this is looked at again before the queue is empty.
        let waited = self.beside.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match waited {
            Some(event) => Some(event),
            None => self.queue.recv().await,
        }
    }
}

struct Notifier {
    queue: mpsc::Sender<Event>,
    beside: Beside,
}

impl Notifier {
    fn notify(&self, event: Event) {
        let Err(TrySendError::Full(event)) = self.queue.try_send(event) else { return };
        if matches!(event, Event::Connected { .. } | Event::Gone { .. }) {
            self.beside.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        } else {
            metrics::counter!("rtc_rtp_dropped_total", "reason" => "events").increment(1);
        }
    }
}

/// See the module.
pub struct Sfu {
    server: Arc<Server>,
    codecs: Vec<Codec>,
}

impl Sfu {
    /// Opens the media port, which clients of the relay reach by its `door`.
    pub fn start(
        config: &Media,
        door: Option<&Arc<Door>>,
    ) -> Result<(Self, SfuEvents), StartError> {
        let ((to_rooms, rooms), (to_calls, calls)) = (Notices::new(), Notices::new());
        let settings = Settings {
            listen: vec![SocketAddr::new(config.host, config.udp_port)],
            listen_tcp: vec![SocketAddr::new(config.host, config.tcp_port)],
            advertised: config.advertised_ips.clone(),
            workers: config.workers,
        };
        let server = Server::start(&settings, move |event| {
            if matches!(event, Event::Connected { .. } | Event::Gone { .. }) {
                to_calls.notify(event.clone());
            }
            to_rooms.notify(event);
        })?;
        if let Some(door) = door {
            server.live_behind(door);
        }
        let codecs = config.codecs.iter().filter_map(|name| Codec::named(name)).collect();
        let sfu = Self { server: Arc::new(server), codecs };
        tracing::info!(addresses = ?sfu.server.endpoint().udp, "addresses offered to clients for media");
        Ok((sfu, SfuEvents { rooms, calls }))
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

#[cfg(test)]
mod tests {
    use switchboard_media::{Gone, PeerKey, RoomKey};

    use super::*;

    #[tokio::test]
    async fn that_a_peer_is_gone_arrives_however_far_the_reader_is_behind() {
        let (notifier, mut notices) = Notices::new();
        let chatter = Event::Speakers { room: RoomKey(1), levels: Vec::new() };
        (0..EVENTS + 10).for_each(|_| notifier.notify(chatter.clone()));
        let gone = |peer| Event::Gone { peer: PeerKey(peer), reason: Gone::Silent };
        (1..=3).for_each(|peer| notifier.notify(gone(peer)));
        drop(notifier);

        let mut arrived = Vec::new();
        while let Some(event) = notices.recv().await {
            arrived.push(event);
        }

        assert_eq!(arrived.len(), EVENTS + 3);
        for peer in 1..=3 {
            assert!(arrived.contains(&gone(peer)), "{peer}");
        }
    }
}
