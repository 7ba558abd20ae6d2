//! The driver: sockets, threads and the clock around [`Relay`].

mod clock;
mod limits;
mod outgoing;
mod probe;
mod relaying;
mod sockets;
mod stream;
mod tls;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::eventfd::{EfdFlags, EventFd};
use ring::rand::{SecureRandom as _, SystemRandom};

/// UDP as the drivers of this house use it: many datagrams by one call, both ways.
pub mod udp {
    pub use super::outgoing::{BYTES, Route, Sent, send};
    pub use super::sockets::{BATCH, Inbox, listen_tcp, listen_udp, offload};
    pub use quinn_udp::{RecvMeta, UdpSocketState};
}

pub use self::limits::Descriptors;
pub use self::probe::{Allocated, ProbeError, probe};
pub use self::tls::{Certificate, CertificateError};
use self::worker::{Acceptor, Parts, Worker};
use crate::door::{Batch, Door, Mailbox};
use crate::{
    AllocationView, Counters, Credentials, Family, Ledger, Pace, Policy, Quotas, Reach, Relay,
    Rules,
};

/// Batches that may wait for one worker.
const MAIL: usize = 256;
/// Commands that may wait for one worker.
const COMMANDS: usize = 1024;
/// How long a worker may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(2);
/// Streams beyond one for each allocation.
const SPARE_STREAMS: usize = 1024;

pub(crate) type Wake = Arc<EventFd>;

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to listen on, for UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on for TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// PEM files of the certificate chain and its private key, for TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The relayed addresses that clients are given, of each family at most one.
    pub advertised: Vec<IpAddr>,
    /// The relayed ports.
    pub ports: RangeInclusive<u16>,
    /// Secrets and users of clients.
    pub credentials: Credentials,
    /// How far clients reach.
    pub reach: Reach,
    /// Ranges of peers allowed besides public addresses.
    pub allow_peers: Vec<IpNet>,
    /// Limits on allocations.
    pub quotas: Quotas,
    /// Permissions and channels of one allocation.
    pub permissions: usize,
    /// Whether the channel numbers of RFC 5766 that RFC 8656 took away may be bound.
    pub old_channels: bool,
    /// Bandwidth of one allocation each way.
    pub pace: Pace,
    /// Answers to unauthenticated requests of one source in a second.
    pub unauthenticated: u32,
    /// Workers; 0 is one for every two cores, 8 at most.
    pub workers: usize,
}

/// Why a relay cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({transport}): {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP or TCP.
        transport: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS is asked for and there is no certificate.
    #[error("TLS needs a certificate and its private key")]
    NoCertificate,
    /// The system gives no threads, descriptors or random bytes.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

pub(crate) enum Command {
    Stop,
    Revoke(Arc<str>),
    List(Sender<Vec<AllocationView>>),
}

struct Hand {
    commands: SyncSender<Command>,
    wake: Wake,
    counters: Arc<Counters>,
    /// Commands that found its queue full.
    refused: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Hand {
    /// Gives the worker a command; false when it is gone, or has too many to carry out. Only for the command to stop is the queue
    /// waited for: whoever stops a worker waits for its end anyway.
    fn send(&self, command: Command) -> bool {
        let sent = match command {
            Command::Stop => {
                let _ = self.wake.write(1);
                self.commands.send(Command::Stop).is_ok()
            }
            other => match self.commands.try_send(other) {
                Ok(()) => true,
                Err(TrySendError::Disconnected(_)) => false,
                Err(TrySendError::Full(_)) => {
                    self.refused.fetch_add(1, Relaxed);
                    tracing::error!("a TURN worker does not keep up with commands; one is lost");
                    false
                }
            },
        };
        let _ = self.wake.write(1);
        sent
    }
}

/// What the workers of one relay are started with.
struct WorkerSetup<'a> {
    settings: &'a Settings,
    rules: &'a Arc<Rules>,
    ledger: &'a Arc<Ledger>,
    door: &'a Arc<Door>,
    key: &'a [u8; 32],
    /// Addresses for UDP and TCP, and for TLS.
    listeners: (&'a [SocketAddr], &'a [SocketAddr]),
    certificate: Option<&'a Arc<Certificate>>,
    reserved: &'a Arc<sockets::Reserved>,
    mailboxes: &'a [Mailbox],
    refused: &'a Arc<AtomicU64>,
}

impl WorkerSetup<'_> {
    /// Starts a worker with listeners of its own.
    fn start(
        &self,
        number: u8,
        (mailbox, mail): (Mailbox, Receiver<Batch>),
    ) -> Result<Hand, StartError> {
        let (now, (listen, listen_tls)) = (clock::now(), self.listeners);
        let (rules, ledger) = (Arc::clone(self.rules), Arc::clone(self.ledger));
        let relay = Relay::new(number, rules, ledger, self.key, (now, clock::unix()));
        let counters = relay.counters();
        let (commands, receiver) = sync_channel(COMMANDS);
        let mut acceptors = acceptors(listen, None)?;
        acceptors.extend(self::acceptors(listen_tls, self.certificate)?);
        let parts = Parts {
            relay,
            listeners: listeners(listen)?,
            acceptors,
            bind: bind_addresses(&self.settings.advertised),
            reserved: Arc::clone(self.reserved),
            streams: self.settings.quotas.total as usize / self.mailboxes.len().max(1)
                + SPARE_STREAMS,
            door: Arc::clone(self.door),
            mailboxes: self.mailboxes.to_vec(),
            mail,
            commands: receiver,
            wake: Arc::clone(&mailbox.wake),
        };
        let worker = Worker::new(parts, now)?;
        let thread = std::thread::Builder::new().name(format!("turn-{number}"));
        let thread = thread.spawn(move || worker.run())?;
        let refused = Arc::clone(self.refused);
        Ok(Hand { commands, wake: mailbox.wake, counters, refused, thread })
    }
}

/// A relay that runs.
pub struct Server {
    hands: Mutex<Vec<Hand>>,
    counters: Vec<Arc<Counters>>,
    refused: Arc<AtomicU64>,
    ledger: Arc<Ledger>,
    door: Arc<Door>,
    certificate: Option<Arc<Certificate>>,
    listening: Vec<SocketAddr>,
    listening_tls: Vec<SocketAddr>,
}

impl Server {
    /// Opens the listeners and starts the workers.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let certificate = match &settings.certificate {
            Some((chain, key)) => Some(Arc::new(Certificate::read(chain, key)?)),
            None if settings.listen_tls.is_empty() => None,
            None => return Err(StartError::NoCertificate),
        };
        let ledger = Arc::new(Ledger::new(settings.ports.clone(), settings.quotas));
        let door = Arc::new(Door::new(Arc::clone(&ledger)));
        let listen = unshared(&settings.listen)?;
        let listen_tls = unshared(&settings.listen_tls)?;
        let rules = Arc::new(rules(settings, &listen, &listen_tls));
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;

        let workers = workers(settings.workers);
        let mut ends = Vec::new();
        for _ in 0..workers {
            let wake = Arc::new(
                EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
                    .map_err(io::Error::from)?,
            );
            let (batches, mail) = sync_channel(MAIL);
            ends.push((Mailbox { batches, wake }, mail));
        }
        let reserved = Arc::new(sockets::Reserved::default());
        let mailboxes: Vec<Mailbox> = ends.iter().map(|(mailbox, _)| mailbox.clone()).collect();
        door.open(mailboxes.clone());
        let refused = Arc::<AtomicU64>::default();
        let setup = WorkerSetup {
            settings,
            rules: &rules,
            ledger: &ledger,
            door: &door,
            key: &key,
            listeners: (&listen, &listen_tls),
            certificate: certificate.as_ref(),
            reserved: &reserved,
            mailboxes: &mailboxes,
            refused: &refused,
        };
        let hands = (0..).zip(ends).map(|(number, end)| setup.start(number, end));
        let hands = hands.collect::<Result<Vec<Hand>, StartError>>()?;
        Ok(Self {
            counters: hands.iter().map(|hand| Arc::clone(&hand.counters)).collect(),
            hands: Mutex::new(hands),
            refused,
            ledger,
            door,
            certificate,
            listening: listen,
            listening_tls: listen_tls,
        })
    }

    /// Where it listens for UDP and TCP.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Where it listens for TLS.
    pub fn listening_tls(&self) -> &[SocketAddr] {
        &self.listening_tls
    }

    /// The door for what lives in this process.
    pub fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// Each counter's name, and the sum over the workers.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::from([("commands_refused", self.refused.load(Relaxed))]);
        for (name, value) in self.counters.iter().flat_map(|counters| counters.read()) {
            *sums.entry(name).or_default() += value;
        }
        sums
    }

    /// Allocations that are open.
    pub fn open(&self) -> u32 {
        self.ledger.allocations()
    }

    /// Every allocation. Waits for the workers, two seconds at most: not for an async task.
    pub fn allocations(&self) -> Vec<AllocationView> {
        let (answer, answers) = channel();
        let asked = self.command_all(|| Command::List(answer.clone()));
        drop(answer);
        let until = clock::now() + PATIENCE;
        let next = |answers: &Receiver<Vec<AllocationView>>| {
            answers.recv_timeout(until.saturating_duration_since(clock::now())).ok()
        };
        (0..asked).map_while(|_| next(&answers)).flatten().collect()
    }

    /// Closes the allocations of a user or call, and takes no credentials of theirs for so long: until the last has run out.
    pub fn revoke(&self, user_or_call: &str, how_long: Duration) {
        self.ledger.shut_out(user_or_call, clock::now() + how_long);
        let name: Arc<str> = user_or_call.into();
        self.command_all(|| Command::Revoke(Arc::clone(&name)));
    }

    /// Takes credentials of this user again.
    pub fn readmit(&self, user: &str) {
        self.ledger.readmit(user);
    }

    /// Opens no more allocations; those there are run on.
    pub fn drain(&self) {
        self.ledger.drain();
    }

    /// Reads the certificate again when its files have changed.
    pub fn refresh_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            certificate.refresh();
        }
    }

    /// Stops the workers and closes everything.
    pub fn stop(&self) {
        self.command_all(|| Command::Stop);
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        for hand in hands.drain(..) {
            if hand.thread.join().is_err() {
                tracing::error!("a TURN worker had died");
            }
        }
    }

    fn command_all(&self, command: impl Fn() -> Command) -> usize {
        let hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        hands.iter().filter(|hand| hand.send(command())).count()
    }
}

fn workers(wanted: usize) -> usize {
    // Few workers with full batches need less of the processor than many with single packets.
    let half = || std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).min(8);
    if wanted == 0 { half() } else { wanted.min(64) }
}

fn rules(settings: &Settings, listen: &[SocketAddr], listen_tls: &[SocketAddr]) -> Rules {
    let listening = listen.iter().chain(listen_tls).map(SocketAddr::port).collect();
    let policy = Policy {
        reach: settings.reach,
        allow: settings.allow_peers.clone(),
        own: settings.advertised.iter().copied().chain(own_addresses()).collect(),
        listening,
    };
    Rules {
        credentials: settings.credentials.clone(),
        policy,
        advertised: settings.advertised.clone(),
        permissions: settings.permissions,
        old_channels: settings.old_channels,
        pace: settings.pace,
        unauthenticated: settings.unauthenticated,
    }
}

/// The addresses of this machine's interfaces.
pub fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| interface.address);
    addresses
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

/// Where relay sockets are bound: to the advertised address, or, where it is not this machine's (behind a 1:1 NAT), to any.
fn bind_addresses(advertised: &[IpAddr]) -> Vec<IpAddr> {
    let here = |ip: &IpAddr| UdpSocket::bind((*ip, 0)).is_ok();
    let any = |ip: &IpAddr| match Family::of(*ip) {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    advertised.iter().map(|ip| if here(ip) { *ip } else { any(ip) }).collect()
}

/// The addresses with the ports that were left open (port 0) chosen. No other program may have one of them: the workers share
/// theirs, and would share them with another process too.
fn unshared(addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, StartError> {
    let chosen = |&address: &SocketAddr| {
        let failed = |transport| move |cause| StartError::Listen { address, transport, cause };
        let tcp = std::net::TcpListener::bind(address).map_err(failed("TCP"))?;
        let chosen = tcp.local_addr().map_err(failed("TCP"))?;
        UdpSocket::bind(chosen).map_err(failed("UDP"))?;
        Ok(chosen)
    };
    addresses.iter().map(chosen).collect()
}

fn listeners(addresses: &[SocketAddr]) -> Result<Vec<UdpSocket>, StartError> {
    let open = |&address| {
        let failed = |cause| StartError::Listen { address, transport: "UDP", cause };
        sockets::listen_udp(address).map_err(failed)
    };
    addresses.iter().map(open).collect()
}

fn acceptors(
    addresses: &[SocketAddr],
    certificate: Option<&Arc<Certificate>>,
) -> Result<Vec<Acceptor>, StartError> {
    let open = |&address| {
        let failed = |cause| StartError::Listen { address, transport: "TCP", cause };
        let socket = sockets::listen_tcp(address).map_err(failed)?;
        Ok(Acceptor { socket, certificate: certificate.cloned() })
    };
    addresses.iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A worker that takes no command until the test lets it.
    fn hand(queue: usize) -> (Hand, Receiver<Command>) {
        let (commands, receiver) = sync_channel(queue);
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
        let thread = std::thread::spawn(|| {});
        let (counters, refused) = (Arc::default(), Arc::default());
        (Hand { commands, wake, counters, refused, thread }, receiver)
    }

    #[test]
    fn commands_beyond_the_queue_are_refused_and_counted() {
        let (hand, receiver) = hand(2);
        let revoke = || Command::Revoke("7".into());
        let sent: Vec<bool> = (0..5).map(|_| hand.send(revoke())).collect();
        assert_eq!(sent, [true, true, false, false, false]);
        assert_eq!(hand.refused.load(Relaxed), 3);
        assert!(matches!(receiver.try_recv(), Ok(Command::Revoke(_))));
        assert!(hand.send(revoke()));
    }

    #[test]
    fn the_command_to_stop_is_never_refused() {
        let (hand, receiver) = hand(1);
        assert!(hand.send(Command::Revoke("7".into())));
        let worker = std::thread::spawn(move || {
            let stops = |command: Command| matches!(command, Command::Stop);
            receiver.into_iter().any(stops)
        });
        assert!(hand.send(Command::Stop));
        assert!(worker.join().unwrap());
    }
}
