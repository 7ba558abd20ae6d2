//! The driver: sockets, threads and the clock around [`Worker`].
//!
//! Each worker has a socket of its own on the one UDP port; the kernel spreads flows over them. A flow whose peer lives with
//! another worker is handed over to it in batches, after its first check has shown whose it is. TCP connections move to the
//! worker of their peer, and what clients send through the relay of this process comes by its [`Door`].

mod clock;
mod directory;
mod foreign_sources;
mod inside;
mod mailbox;
mod places;
mod running;
mod streams;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use switchboard_turn::door::Door;
use switchboard_turn::driver::{own_addresses, udp};

use self::directory::Directory;
use self::inside::Inside;
use self::mailbox::{COMMANDS, Inlet, Mailbox, WorkerCommand, mailbox};
use self::places::{Places, Way};
use self::running::{Parts, Running};
use crate::negotiation::Endpoint;
use crate::{
    Command, Counters, Event, Identity, IdentityError, PeerKey, RoomKey, TrackKey, Worker,
};

/// How long a command waits for room.
const PATIENCE: Duration = Duration::from_millis(100);

/// How the SFU is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to receive media on.
    pub listen: Vec<SocketAddr>,
    /// Addresses to take TCP connections on (RFC 6544, passive); port 0 is that of `listen` at the same place.
    pub listen_tcp: Vec<SocketAddr>,
    /// Addresses that clients get; the ports are those of `listen`. Empty: those of `listen`.
    pub advertised: Vec<IpAddr>,
    /// Workers; 0 is one for every two cores, 16 at most.
    pub workers: usize,
}

/// Why the SFU cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot receive media on {address} ({transport}): {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP or TCP.
        transport: &'static str,
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

/// A worker has too many commands before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the media worker is busy: {COMMANDS} commands wait for it; try again in a moment")]
pub struct Busy;

/// An SFU that runs.
pub struct Server {
    /// Of the workers, of this, and of each worker of the relay that visits.
    counters: Arc<Mutex<Vec<Arc<Counters>>>>,
    /// Those of this, which change only while the places are locked.
    own: Arc<Counters>,
    mailboxes: Vec<Mailbox>,
    door: Arc<OnceLock<Arc<Door>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    endpoint: Endpoint,
    listening: Vec<SocketAddr>,
    directory: Arc<Directory>,
    places: Mutex<Places>,
    next: AtomicU64,
}

impl Server {
    /// Opens the sockets and starts the workers; `on_event` is called on their threads and must not wait.
    pub fn start(
        settings: &Settings,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let identity = Arc::new(Identity::generate()?);
        let (listening, listening_tcp) = unshared(&settings.listen, &settings.listen_tcp)?;
        let endpoint = Endpoint {
            fingerprint: identity.fingerprint(),
            udp: advertised(&listening, &settings.advertised),
            tcp: advertised(&listening_tcp, &settings.advertised),
        };
        let on_event: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(on_event);
        let directory = Arc::new(Directory::default());
        let door = Arc::new(OnceLock::new());
        let ends: Vec<(Mailbox, Inlet)> =
            (0..workers(settings.workers)).map(|_| mailbox()).collect::<io::Result<_>>()?;
        let mailboxes: Vec<Mailbox> = ends.iter().map(|(mailbox, _)| mailbox.clone()).collect();
        let own = Arc::<Counters>::default();
        let (mut counters, mut threads) = (vec![Arc::clone(&own)], Vec::new());
        for (number, (_, inlet)) in ends.into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(&identity), clock::now());
            counters.push(worker.counters());
            let sockets = open(&listening, "UDP", udp::listen_udp)?;
            let running = Running::new(Parts {
                number,
                worker,
                sockets: listening.iter().copied().zip(sockets).collect(),
                listeners: open(&listening_tcp, "TCP", udp::listen_tcp)?,
                inlet,
                mailboxes: mailboxes.clone(),
                directory: Arc::clone(&directory),
                door: Arc::clone(&door),
                on_event: Arc::clone(&on_event),
            })?;
            let thread = std::thread::Builder::new().name(format!("media-{number}"));
            threads.push(thread.spawn(move || running.run())?);
        }
        Ok(Self {
            counters: Arc::new(Mutex::new(counters)),
            own,
            places: Mutex::new(Places::new(mailboxes.len())),
            mailboxes,
            door,
            threads: Mutex::new(threads),
            endpoint,
            listening,
            directory,
            next: AtomicU64::new(1),
        })
    }

    /// From now on clients of the relay of this process reach the media port through its door, without the kernel.
    pub fn live_behind(&self, door: &Arc<Door>) {
        if self.door.set(Arc::clone(door)).is_err() {
            return;
        }
        for address in self.endpoint.udp.iter().chain(&self.listening) {
            let (directory, mailboxes) = (Arc::clone(&self.directory), self.mailboxes.clone());
            let all = Arc::clone(&self.counters);
            door.register_each(*address, move || {
                let counters = Arc::<Counters>::default();
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(Arc::clone(&counters));
                Box::new(Inside::new(Arc::clone(&directory), mailboxes.clone(), counters))
            });
        }
    }

    /// The addresses of this process that clients get.
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

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a new room, which [`Self::open`] opens.
    pub fn room(&self) -> RoomKey {
        RoomKey(self.key())
    }

    /// Opens a room under its name.
    pub fn open(&self, room: RoomKey) {
        self.places().open(room);
    }

    /// Opens a room.
    pub fn open_room(&self) -> RoomKey {
        let key = self.room();
        self.open(key);
        key
    }

    /// Forgets a room whose peers are closed.
    pub fn close_room(&self, room: RoomKey) {
        self.places().close(room);
    }

    /// Has the worker that it is about carry out a command of `room`. A worker that has too many before it is waited for, for a
    /// tenth of a second; then the command is dropped, counted and logged. The end of a peer is always taken. Who can answer that
    /// the server is busy asks [`Self::try_command`].
    pub fn command(&self, room: RoomKey, mut command: Command) {
        let until = clock::now() + PATIENCE;
        while let Err(refused) = self.pass(room, command) {
            command = refused;
            if clock::now() >= until {
                let _locked = self.places();
                self.own.dropped_commands.add(1);
                return tracing::error!(cause = %Busy, "a command to the SFU is dropped");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The same without waiting; an `Err` changes nothing. The end of a peer is always taken.
    pub fn try_command(&self, room: RoomKey, command: Command) -> Result<(), Busy> {
        self.pass(room, command).map_err(|_| Busy)
    }

    /// Gives a command back for which there is no room.
    fn pass(&self, room: RoomKey, command: Command) -> Result<(), Command> {
        let mut places = self.places();
        let Some(worker) = places.worker(room, &command) else { return Ok(()) };
        let Some(mailbox) = self.mailboxes.get(worker) else { return Ok(()) };
        if !mailbox.has_room() && !matches!(command, Command::Close { .. }) {
            return Err(command);
        }
        let Some(Way { fetch, enter, leave, .. }) = places.way(room, &command) else {
            return Ok(());
        };
        if let Some((peer, credentials)) = enter {
            self.directory.enter(peer, credentials, worker);
        }
        if !leave.is_empty() {
            self.directory.leave(&leave);
        }
        if let Some((track, owner)) = fetch {
            mailbox.command(WorkerCommand::Fetch(track, owner));
        }
        // Still locked: what is ordered of a peer arrives in the order in which it was decided.
        mailbox.command(WorkerCommand::Do(command));
        Ok(())
    }

    /// Each counter's name, and the sum over the workers.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        let all = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in all.iter().flat_map(|counters| counters.read()) {
            *sums.entry(name).or_default() += value;
        }
        sums
    }

    /// Stops the workers.
    pub fn stop(&self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.command(WorkerCommand::Stop));
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

/// The addresses with the ports that were left open (port 0) chosen. No other process may have one, since the workers share it.
fn unshared(
    udp: &[SocketAddr],
    tcp: &[SocketAddr],
) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), StartError> {
    let (mut chosen, mut chosen_tcp) = (Vec::new(), Vec::new());
    for (place, &address) in udp.iter().enumerate() {
        let mut tries = 0;
        let (own, stream) = loop {
            let failed = |cause| StartError::Listen { address, transport: "UDP", cause };
            let own = UdpSocket::bind(address).and_then(|it| it.local_addr()).map_err(failed)?;
            let Some(&wanted) = tcp.get(place) else { break (own, None) };
            let follows = wanted.port() == 0;
            let wanted = if follows { SocketAddr::new(wanted.ip(), own.port()) } else { wanted };
            match TcpListener::bind(wanted) {
                Ok(_) => break (own, Some(wanted)),
                // Another free port may be free for both.
                Err(_) if follows && address.port() == 0 && tries < 16 => tries += 1,
                Err(cause) => {
                    return Err(StartError::Listen { address: wanted, transport: "TCP", cause });
                }
            }
        };
        chosen.push(own);
        chosen_tcp.extend(stream);
    }
    Ok((chosen, chosen_tcp))
}

fn open<S>(
    addresses: &[SocketAddr],
    transport: &'static str,
    listen: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<Vec<S>, StartError> {
    let failed = |address| move |cause| StartError::Listen { address, transport, cause };
    addresses.iter().map(|&address| listen(address).map_err(failed(address))).collect()
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

/// What clients get: each advertised address with the port of the listener of its family.
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::{IceCredentials, PeerPlan};

    #[test]
    fn a_busy_worker_refuses_commands_and_takes_the_ends_of_peers() {
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            listen_tcp: vec![],
            advertised: vec![],
            workers: 1,
        };
        // Whoever takes the first event holds the worker up.
        let (entered, began) = channel();
        let (release, held) = channel::<()>();
        let ways = Mutex::new((entered, held));
        let server = Server::start(&settings, move |event| {
            let ways = ways.lock().unwrap();
            let _ = ways.0.send(event);
            let _ = ways.1.recv();
        });
        let server = server.unwrap();
        let room = server.open_room();
        let connect = || {
            let ice = IceCredentials::generate();
            let plan = PeerPlan { ice, fingerprint: None, receives: vec![], sends: vec![] };
            let peer = server.peer();
            (peer, Command::Connect { room, peer, plan: Box::new(plan) })
        };
        let (first, connecting) = connect();
        let (second, other) = connect();
        for command in [connecting, other, Command::Close { peer: first }] {
            server.command(room, command);
        }
        assert!(matches!(began.recv().unwrap(), Event::Gone { peer, .. } if peer == first));

        let mute = || Command::Mute { track: server.track(), muted: true };
        let taken = (0..).take_while(|_| server.try_command(room, mute()).is_ok()).count();
        assert_eq!(taken, COMMANDS);
        let (third, connecting) = connect();
        assert_eq!(server.try_command(room, connecting.clone()), Err(Busy));
        server.command(room, connecting);
        assert_eq!(server.counters()["dropped_commands"], 1);
        assert_eq!(server.places().worker(room, &Command::Close { peer: third }), None);
        assert_eq!(server.try_command(room, Command::Close { peer: second }), Ok(()));

        drop(release);
        assert!(matches!(began.recv().unwrap(), Event::Gone { peer, .. } if peer == second));
        server.stop();
    }
}
