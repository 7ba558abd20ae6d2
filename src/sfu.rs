//! The SFU as configured: its start, its figures, and the queues by which its events reach the rules.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use switchboard_media::driver::{Server, Settings, StartError};
use switchboard_media::{Codec, Command, Event, RoomKey};
use switchboard_turn::door::Door;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::config::Media;

/// Events that may wait for the rules.
const EVENTS: usize = 16_384;

/// The SFU, in numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Threads that take media; none when it does not run.
    pub workers: usize,
    /// The counters of the workers, by name, and events that were lost.
    pub counters: BTreeMap<&'static str, u64>,
}

/// How often a worker that has too much before it is tried again, each millisecond.
const TRIES: usize = 5_000;

/// What happens to peers and tracks, for the rules that own them.
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
    fn new(lost: &Arc<AtomicU64>) -> (Notifier, Self) {
        let (sender, queue) = mpsc::channel(EVENTS);
        let beside = Beside::default();
        let lost = Arc::clone(lost);
        (Notifier { queue: sender, beside: Arc::clone(&beside), lost }, Self { queue, beside })
    }

    /// The next event; `None` when the SFU is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        // Only behind a full queue something is put beside it, so that this is looked at again before the queue is empty.
        let waited = self.beside.lock().pop_front();
        match waited {
            Some(event) => Some(event),
            None => self.queue.recv().await,
        }
    }
}

struct Notifier {
    queue: mpsc::Sender<Event>,
    beside: Beside,
    lost: Arc<AtomicU64>,
}

impl Notifier {
    fn notify(&self, event: Event) {
        let Err(TrySendError::Full(event)) = self.queue.try_send(event) else { return };
        if matches!(event, Event::Connected { .. } | Event::Gone { .. }) {
            self.beside.lock().push_back(event);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// See the module.
pub struct Sfu {
    server: Arc<Server>,
    codecs: Vec<Codec>,
    /// Events that no reader had room for.
    lost: Arc<AtomicU64>,
}

impl Sfu {
    /// Opens the media port, which clients of the relay reach by its `door`.
    pub fn start(
        config: &Media,
        door: Option<&Arc<Door>>,
    ) -> Result<(Self, SfuEvents), StartError> {
        let lost = Arc::<AtomicU64>::default();
        let ((to_rooms, rooms), (to_calls, calls)) = (Notices::new(&lost), Notices::new(&lost));
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
        let sfu = Self { server: Arc::new(server), codecs, lost };
        tracing::info!(addresses = ?sfu.server.endpoint().udp, "addresses offered to clients for media");
        Ok((sfu, SfuEvents { rooms, calls }))
    }

    /// Has a worker carry out a command for a room. One that has too much before it is waited for, up to five seconds; after that the command
    /// is dropped, counted and logged.
    pub async fn command(&self, room: RoomKey, mut command: Command) {
        for _ in 0..TRIES {
            match self.server.try_command(room, command) {
                Ok(()) => return,
                Err(refused) => command = refused,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        metrics::counter!("rtc_rtp_dropped_total", "reason" => "room_commands").increment(1);
        tracing::error!(?room, "a worker of the SFU takes no commands; one is dropped");
    }

    /// The SFU that runs.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Codecs that rooms may use unless they say otherwise.
    pub fn codecs(&self) -> &[Codec] {
        &self.codecs
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let mut counters = self.server.counters();
        counters.insert("dropped_events", self.lost.load(Ordering::Relaxed));
        Stats { workers: self.server.workers(), counters }
    }
}

#[cfg(test)]
mod tests {
    use switchboard_media::{Gone, PeerKey, RoomKey};

    use super::*;

    #[tokio::test]
    async fn that_a_peer_is_gone_arrives_however_far_the_reader_is_behind() {
        let lost = Arc::default();
        let (notifier, mut notices) = Notices::new(&lost);
        let chatter = Event::Speakers { room: RoomKey(1), levels: Vec::new() };
        (0..EVENTS + 10).for_each(|_| notifier.notify(chatter.clone()));
        let gone = |peer| Event::Gone { peer: PeerKey(peer), reason: Gone::Silent };
        (1..=3).for_each(|peer| notifier.notify(gone(peer)));
        drop(notifier);

        let mut arrived = Vec::new();
        while let Some(event) = notices.recv().await {
            arrived.push(event);
        }

        assert_eq!((arrived.len(), lost.load(Ordering::Relaxed)), (EVENTS + 3, 10));
        for peer in 1..=3 {
            assert!(arrived.contains(&gone(peer)), "{peer}");
        }
    }
}
