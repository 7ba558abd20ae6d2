//! The driver: sockets, threads and the clock around [`Worker`].
//!
//! Each worker has a socket of its own on the one UDP port; the kernel spreads flows over them. A flow whose peer lives with
//! another worker is handed over to it in batches, after its first check has told whose it is.

mod clock;
mod running;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use switchboard_turn::door::Batch;
use switchboard_turn::driver::{own_addresses, udp};

use self::running::{Parts, Running};
use crate::negotiation::Endpoint;
use crate::{
    Command, Counters, Event, Identity, IdentityError, PeerKey, RoomKey, TrackKey, Worker,
};

/// Batches that may wait for one worker.
const MAIL: usize = 64;

pub(crate) type Wake = Arc<EventFd>;

/// How the SFU is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to receive media on.
    pub listen: Vec<SocketAddr>,
    /// Addresses that clients are told; the ports are those of `listen`. Empty: those of `listen`.
    pub advertised: Vec<IpAddr>,
    /// Workers; 0 is one for every two cores, 16 at most.
    pub workers: usize,
}

/// Why the SFU cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot receive media on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The system gives no threads or descriptors.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// What other threads tell a worker.
pub(crate) enum Told {
    Stop,
    Do(Command),
}

/// Where other threads leave datagrams for a worker.
#[derive(Clone)]
pub(crate) struct Mailbox {
    batches: SyncSender<Batch>,
    wake: Wake,
}

impl Mailbox {
    pub(crate) fn put(&self, batch: Batch) -> bool {
        let put = self.batches.try_send(batch).is_ok();
        let _ = self.wake.write(1);
        put
    }
}

/// Which worker answers to a user name fragment.
#[derive(Debug, Default)]
pub(crate) struct Directory(RwLock<HashMap<String, usize>>);

impl Directory {
    pub(crate) fn worker(&self, fragment: &str) -> Option<usize> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(fragment).copied()
    }

    fn enter(&self, fragment: &str, worker: usize) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(fragment.into(), worker);
    }

    fn leave(&self, fragments: &[String]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for fragment in fragments {
            known.remove(fragment);
        }
    }
}

struct Hand {
    told: Sender<Told>,
    wake: Wake,
    counters: Arc<Counters>,
    /// Rooms that live there.
    rooms: AtomicUsize,
}

/// An SFU that runs.
pub struct Server {
    hands: Vec<Hand>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    endpoint: Endpoint,
    listening: Vec<SocketAddr>,
    directory: Arc<Directory>,
    rooms: Mutex<HashMap<RoomKey, usize>>,
    peers: Mutex<HashMap<PeerKey, (usize, Vec<String>)>>,
    next: AtomicU64,
}

impl Server {
    /// Opens the sockets and starts the workers; `tell` is called on their threads and must not wait.
    pub fn start(
        settings: &Settings,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let identity = Arc::new(Identity::generate()?);
        let listening = unshared(&settings.listen)?;
        let endpoint = Endpoint {
            fingerprint: identity.fingerprint(),
            udp: advertised(&listening, &settings.advertised),
            tcp: Vec::new(),
        };
        let tell: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(tell);
        let directory = Arc::new(Directory::default());
        let mut ends = Vec::new();
        for _ in 0..workers(settings.workers) {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            let wake = Arc::new(EventFd::from_flags(flags).map_err(io::Error::from)?);
            let (batches, mail) = sync_channel(MAIL);
            ends.push((Mailbox { batches, wake }, mail));
        }
        let mailboxes: Vec<Mailbox> = ends.iter().map(|(mailbox, _)| mailbox.clone()).collect();
        let (mut hands, mut threads) = (Vec::new(), Vec::new());
        for (number, (mailbox, mail)) in ends.into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(&identity), clock::now());
            let counters = worker.counters();
            let (told, receiver) = channel();
            let sockets = listening
                .iter()
                .map(|&address| {
                    let failed = |cause| StartError::Listen { address, cause };
                    udp::listen_udp(address).map_err(failed)
                })
                .collect::<Result<Vec<UdpSocket>, _>>()?;
            let sockets = listening.iter().map(SocketAddr::is_ipv4).zip(sockets).collect();
            let running = Running::new(Parts {
                number,
                worker,
                sockets,
                told: receiver,
                mail,
                wake: Arc::clone(&mailbox.wake),
                mailboxes: mailboxes.clone(),
                directory: Arc::clone(&directory),
                tell: Arc::clone(&tell),
            })?;
            let thread = std::thread::Builder::new().name(format!("media-{number}"));
            threads.push(thread.spawn(move || running.run())?);
            hands.push(Hand { told, wake: mailbox.wake, counters, rooms: AtomicUsize::new(0) });
        }
        Ok(Self {
            hands,
            threads: Mutex::new(threads),
            endpoint,
            listening,
            directory,
            rooms: Mutex::default(),
            peers: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    /// What clients are told of this process.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where media is received.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    fn key(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A name for a new track.
    pub fn track(&self) -> TrackKey {
        TrackKey(self.key())
    }

    /// A name for a new peer.
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.key())
    }

    /// Opens a room, with the worker that has the fewest.
    pub fn open_room(&self) -> RoomKey {
        let key = RoomKey(self.key());
        let least = self.hands.iter().enumerate();
        let least = least.min_by_key(|(_, hand)| hand.rooms.load(Ordering::Relaxed));
        if let Some((worker, hand)) = least {
            hand.rooms.fetch_add(1, Ordering::Relaxed);
            self.rooms.lock().unwrap_or_else(PoisonError::into_inner).insert(key, worker);
        }
        key
    }

    /// Forgets a room whose peers are closed.
    pub fn close_room(&self, room: RoomKey) {
        let worker = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).remove(&room);
        if let Some(hand) = worker.and_then(|worker| self.hands.get(worker)) {
            hand.rooms.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Has the worker of `room` carry out a command.
    pub fn tell(&self, room: RoomKey, command: Command) {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&worker) = rooms.get(&room) else { return };
        drop(rooms);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match &command {
            Command::Connect { peer, plan, .. } | Command::Configure { peer, plan } => {
                self.directory.enter(&plan.ice.ufrag, worker);
                let (_, fragments) = peers.entry(*peer).or_insert((worker, Vec::new()));
                if !fragments.contains(&plan.ice.ufrag) {
                    fragments.push(plan.ice.ufrag.clone());
                }
            }
            Command::Close { peer } => {
                if let Some((_, fragments)) = peers.remove(peer) {
                    self.directory.leave(&fragments);
                }
            }
            _ => {}
        }
        drop(peers);
        if let Some(hand) = self.hands.get(worker) {
            let _ = hand.told.send(Told::Do(command));
            let _ = hand.wake.write(1);
        }
    }

    /// Each counter's name, and the sum over the workers.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (name, value) in self.hands.iter().flat_map(|hand| hand.counters.read()) {
            *sums.entry(name).or_default() += value;
        }
        sums
    }

    /// Stops the workers.
    pub fn stop(&self) {
        for hand in &self.hands {
            let _ = hand.told.send(Told::Stop);
            let _ = hand.wake.write(1);
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media worker had died");
            }
        }
    }
}

fn workers(wanted: usize) -> usize {
    // Few workers with full batches need less of the processor than many with single packets.
    let half = || std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).min(16);
    if wanted == 0 { half() } else { wanted.min(64) }
}

/// The addresses with the ports that were left open (port 0) chosen. Each must be nobody else's, since the workers share it.
fn unshared(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, StartError> {
    let chosen = |&address: &SocketAddr| {
        let bound = UdpSocket::bind(address).and_then(|socket| socket.local_addr());
        bound.map_err(|cause| StartError::Listen { address, cause })
    };
    addresses.iter().map(chosen).collect()
}

/// The addresses of this machine's interfaces; the loopback ones only where there are no others.
fn reachable_addresses() -> Vec<IpAddr> {
    let mut all = own_addresses();
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    all.retain(|ip| !link_local(ip));
    if all.iter().any(|ip| !ip.is_loopback()) {
        all.retain(|ip| !ip.is_loopback());
    }
    all
}

/// What clients are told: each advertised address with the port of the listener of its family.
fn advertised(listening: &[SocketAddr], advertised: &[IpAddr]) -> Vec<SocketAddr> {
    let own: Vec<IpAddr>;
    let advertised = match advertised {
        [] if listening.iter().any(|address| address.ip().is_unspecified()) => {
            own = reachable_addresses();
            own.as_slice()
        }
        [] => return listening.to_vec(),
        named => named,
    };
    let with_port = |ip: &IpAddr| {
        let same = listening.iter().find(|address| address.is_ipv4() == ip.is_ipv4());
        same.map(|address| SocketAddr::new(*ip, address.port()))
    };
    advertised.iter().filter_map(with_port).collect()
}
