//! One thread: a worker, its sockets, and what other threads leave for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use switchboard_turn::door::Batch;
use switchboard_turn::driver::udp::{self, Inbox, Route, UdpSocketState};

use super::{Directory, Mailbox, Told, Wake, clock};
use crate::ice::addressed_to;
use crate::{Event, Source, Transmit, Via, Worker};

/// Batches that a socket may give in one round, so that time and commands get their turn.
const BATCHES: usize = 4;
/// Bytes that are taken before what they lead to is sent.
const TOGETHER: usize = 128 << 10;
/// Sources of other workers that are remembered.
const STRANGERS: usize = 65_536;
/// What an event is about when it is not a socket.
const WAKE: u64 = u64::MAX;

/// What a thread is made of.
pub(super) struct Parts {
    pub(super) number: usize,
    pub(super) worker: Worker,
    /// Each with whether it speaks IPv4.
    pub(super) sockets: Vec<(bool, UdpSocket)>,
    pub(super) told: Receiver<Told>,
    pub(super) mail: Receiver<Batch>,
    pub(super) wake: Wake,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) directory: Arc<Directory>,
    pub(super) tell: Arc<dyn Fn(Event) + Send + Sync>,
}

pub(super) struct Running {
    parts: Parts,
    epoll: Epoll,
    offload: UdpSocketState,
    inbox: Inbox,
    scratch: Vec<u8>,
    /// Which worker has the peer of a source that writes here.
    strangers: HashMap<SocketAddr, usize>,
    across: Vec<Batch>,
}

impl Running {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(parts.wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        for (index, (_, socket)) in (0..).zip(&parts.sockets) {
            epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        }
        Ok(Self {
            epoll,
            offload: udp::offload()?,
            inbox: Inbox::new(),
            scratch: Vec::new(),
            strangers: HashMap::new(),
            across: parts.mailboxes.iter().map(|_| Batch::default()).collect(),
            parts,
        })
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); 16];
        loop {
            let left = self.parts.worker.deadline().saturating_duration_since(clock::now());
            let left = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(left)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    return tracing::error!(%error, "a media worker cannot wait for events");
                }
            };
            for event in events.iter().take(ready) {
                match usize::try_from(event.data()) {
                    Ok(index) if event.data() != WAKE => self.receive(index),
                    _ => drop(self.parts.wake.read()),
                }
            }
            let now = clock::now();
            if self.take_orders(now) {
                return;
            }
            self.take_mail(now);
            self.parts.worker.handle_timeout(now);
            self.send(now);
            self.hand_over();
            let tell = &self.parts.tell;
            self.parts.worker.events().for_each(|event| tell(event));
        }
    }

    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(told) = self.parts.told.try_recv() {
            match told {
                Told::Stop => return true,
                Told::Do(command) => self.parts.worker.handle_command(command, now),
            }
        }
        false
    }

    fn receive(&mut self, index: usize) {
        for _ in 0..BATCHES {
            let Some((_, socket)) = self.parts.sockets.get(index) else { return };
            let Ok(trains) = self.inbox.receive(socket, &self.offload) else { return };
            let now = clock::now();
            let mut taken = 0;
            for train in 0..trains {
                let Some((meta, bytes)) = self.inbox.train_mut(train) else { continue };
                let source = Source { via: Via::Udp, remote: meta.addr, local: meta.dst_ip };
                for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                    if !self.parts.worker.handle_datagram(source, datagram, now) {
                        let elsewhere = elsewhere(
                            &mut self.strangers,
                            &self.parts.directory,
                            meta.addr,
                            datagram,
                        );
                        let own = self.parts.number;
                        let batch = elsewhere.filter(|&worker| worker != own);
                        let batch = batch.and_then(|worker| self.across.get_mut(worker));
                        let to = SocketAddr::new(
                            meta.dst_ip.unwrap_or(IpAddr::from([0, 0, 0, 0])),
                            u16::from(meta.dst_ip.is_some()),
                        );
                        let counters = &self.parts.worker.counters;
                        match batch.map(|batch| batch.push(meta.addr, to, datagram)) {
                            None => counters.dropped_unknown.add(1),
                            Some(true) => counters.handed_over.add(1),
                            Some(false) => counters.dropped_full.add(1),
                        }
                    }
                }
                // A frame's packets came together and leave together, while they are in the cache.
                taken += meta.len;
                if taken >= TOGETHER {
                    taken = 0;
                    send(&mut self.parts.worker, &self.parts.sockets, &self.offload, now);
                }
            }
            send(&mut self.parts.worker, &self.parts.sockets, &self.offload, now);
            if trains < udp::BATCH {
                return;
            }
        }
    }

    fn take_mail(&mut self, now: Instant) {
        while let Ok(batch) = self.parts.mail.try_recv() {
            for (remote, to, datagram) in batch.iter() {
                let local = (to.port() != 0).then_some(to.ip());
                let source = Source { via: Via::Udp, remote, local };
                self.scratch.clear();
                self.scratch.extend_from_slice(datagram);
                if !self.parts.worker.handle_datagram(source, &mut self.scratch, now) {
                    self.parts.worker.counters.dropped_unknown.add(1);
                }
            }
            self.send(now);
        }
    }

    fn send(&mut self, now: Instant) {
        send(&mut self.parts.worker, &self.parts.sockets, &self.offload, now);
    }

    fn hand_over(&mut self) {
        for (batch, mailbox) in self.across.iter_mut().zip(&self.parts.mailboxes) {
            let count = batch.len();
            if count > 0 && !mailbox.put(std::mem::take(batch)) {
                self.parts.worker.counters.dropped_full.add(count as u64);
            }
        }
    }
}

/// Whose a datagram is that belongs to none of this worker's peers. A check tells it, and then its source is remembered.
fn elsewhere(
    strangers: &mut HashMap<SocketAddr, usize>,
    directory: &Directory,
    remote: SocketAddr,
    datagram: &[u8],
) -> Option<usize> {
    let Some(fragment) = addressed_to(datagram) else { return strangers.get(&remote).copied() };
    let worker = directory.worker(fragment)?;
    if strangers.len() >= STRANGERS {
        strangers.clear();
    }
    strangers.insert(remote, worker);
    Some(worker)
}

/// Sends all that the worker has to send: datagrams of one size for one destination by one call.
fn send(
    worker: &mut Worker,
    sockets: &[(bool, UdpSocket)],
    offload: &UdpSocketState,
    now: Instant,
) {
    let most = offload.max_gso_segments();
    let mut lost = 0;
    while let Some(Transmit { to, bytes, lengths }) = worker.poll_output(now) {
        let socket = sockets.iter().find(|(v4, _)| *v4 == to.remote.is_ipv4());
        let Some((_, socket)) = socket else { continue };
        let route = Route { socket: (), to: to.remote, from: to.local, ecn: None };
        let (mut rest, mut lengths) = (bytes, lengths);
        while let Some(&segment) = lengths.first() {
            let segment = usize::from(segment);
            // Equal ones, and one shorter at the end.
            let equal = lengths
                .iter()
                .take(most)
                .take_while(|&&length| usize::from(length) == segment)
                .count();
            let tail =
                lengths.get(equal).filter(|&&length| equal < most && usize::from(length) < segment);
            let mut count = equal + usize::from(tail.is_some());
            let mut length = equal * segment + tail.map_or(0, |&tail| usize::from(tail));
            if length > udp::BYTES {
                count = (udp::BYTES / segment.max(1)).min(equal).max(1);
                length = count * segment;
            }
            let Some((run, after)) = rest.split_at_checked(length) else { break };
            let sent = udp::send(socket, offload, &route, run, segment, count);
            lost += sent.full + sent.failed;
            rest = after;
            lengths = lengths.get(count..).unwrap_or_default();
        }
    }
    worker.counters.dropped_full.add(lost);
}
