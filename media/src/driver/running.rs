//! One thread: a worker, its sockets, and what other threads leave for it.

mod out;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use switchboard_turn::door::{Batch, Batches, Door, Outward};
use switchboard_turn::driver::udp::{self, Inbox, UdpSocketState};

use super::clock;
use super::directory::Directory;
use super::foreign_sources::ForeignSources;
use super::mailbox::{Inlet, Mail, Mailbox, NOTES, WorkerCommand};
use super::streams::{Arrived, Streams};
use crate::worker::Note;
use crate::{Event, Source, Via, Worker};

/// Batches that a socket may give in one round, so that time and commands get their turn.
const BATCHES: usize = 4;
/// Bytes that are taken before what they lead to is sent.
const TOGETHER: usize = 128 << 10;
/// Bytes that are read from a stream at once.
const READ: usize = 16 << 10;
/// Notes that wait for another worker besides those that it has room for.
const NOTES_WAITING: usize = 16 * NOTES;
/// Batches for other workers that are kept for the next packets.
const KEPT: usize = 16;
/// How often connections are looked at that belong to no peer.
const SWEEP: Duration = Duration::from_secs(1);
/// What an event is about: the number of a socket, or one of these with the number of a listener or a connection.
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 32;
const STREAM: u64 = 2 << 32;

/// What a thread is made of.
pub(super) struct Parts {
    pub(super) number: usize,
    pub(super) worker: Worker,
    pub(super) sockets: Vec<(SocketAddr, UdpSocket)>,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) inlet: Inlet,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) directory: Arc<Directory>,
    pub(super) door: Arc<OnceLock<Arc<Door>>>,
    pub(super) on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

pub(super) struct Running {
    inbox: Inbox,
    scratch: Vec<u8>,
    read: Box<[u8]>,
    out: Out,
    hub: Hub,
}

/// The worker, and its ways to the others.
struct Hub {
    number: usize,
    worker: Worker,
    inlet: Inlet,
    stopping: bool,
    mailboxes: Vec<Mailbox>,
    /// Notes for each other worker for which there was no room yet.
    notes: Vec<VecDeque<Note>>,
    directory: Arc<Directory>,
    on_event: Arc<dyn Fn(Event) + Send + Sync>,
    foreign_sources: ForeignSources,
    across: Vec<Batch>,
    batches: Batches,
}

/// All ways out.
struct Out {
    epoll: Epoll,
    offload: UdpSocketState,
    sockets: Vec<(SocketAddr, UdpSocket)>,
    listeners: Vec<TcpListener>,
    streams: Streams,
    swept: Instant,
    door: Arc<OnceLock<Arc<Door>>>,
    /// The way through it, once there is one.
    outward: Option<Outward>,
}

impl Running {
    pub(super) fn new(mut parts: Parts) -> io::Result<Self> {
        parts.worker.is_number(parts.number);
        let batches = Batches::new(KEPT);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(parts.inlet.wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        for (index, (_, socket)) in (0..).zip(&parts.sockets) {
            epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        }
        for (index, listener) in (LISTENER..).zip(&parts.listeners) {
            epoll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        }
        Ok(Self {
            inbox: Inbox::new(),
            scratch: Vec::new(),
            read: vec![0; READ].into_boxed_slice(),
            out: Out {
                epoll,
                offload: udp::offload()?,
                sockets: parts.sockets,
                listeners: parts.listeners,
                streams: Streams::default(),
                swept: clock::now(),
                door: parts.door,
                outward: None,
            },
            hub: Hub {
                number: parts.number,
                worker: parts.worker,
                inlet: parts.inlet,
                stopping: false,
                notes: parts.mailboxes.iter().map(|_| VecDeque::new()).collect(),
                across: parts.mailboxes.iter().map(|_| batches.lend()).collect(),
                batches,
                mailboxes: parts.mailboxes,
                directory: parts.directory,
                on_event: parts.on_event,
                foreign_sources: ForeignSources::default(),
            },
        })
    }

    /// Works until it is to stop.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        while !self.hub.stopping {
            let deadline = self.hub.worker.deadline().min(self.out.swept + SWEEP);
            let left = deadline.saturating_duration_since(clock::now());
            let left = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
            let ready = match self.out.epoll.wait(&mut events, EpollTimeout::from(left)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    return tracing::error!(%error, "a media worker cannot wait for events");
                }
            };
            for event in events.iter().take(ready) {
                let number = u32::try_from(event.data() & u64::from(u32::MAX)).unwrap_or_default();
                match event.data() {
                    WAKE => drop(self.hub.inlet.wake.read()),
                    at if at >= STREAM => self.serve_stream(number),
                    at if at >= LISTENER => self.accept(number),
                    _ => self.receive(number as usize),
                }
            }
            let now = clock::now();
            self.hub.take_orders(now);
            self.take_mail(now);
            self.hub.worker.handle_timeout(now);
            self.out.send(&mut self.hub.worker, now);
            self.hub.hand_over();
            if self.out.sweep(&self.hub.worker, now) {
                self.hub.foreign_sources.sweep(&self.hub.directory);
            }
            let on_event = &self.hub.on_event;
            self.hub.worker.events().for_each(|event| on_event(event));
        }
    }

    fn receive(&mut self, index: usize) {
        for _ in 0..BATCHES {
            let Some((_, socket)) = self.out.sockets.get(index) else { return };
            let Ok(trains) = self.inbox.receive(socket, &self.out.offload) else { return };
            let now = clock::now();
            let mut taken = 0;
            for train in 0..trains {
                let Some((meta, bytes)) = self.inbox.train_mut(train) else { continue };
                let source = Source { via: Via::Udp, remote: meta.addr, local: meta.dst_ip };
                for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                    self.hub.take(source, datagram, now);
                }
                // A frame's packets came together and leave together, while they are in the cache.
                taken += meta.len;
                if taken >= TOGETHER {
                    taken = 0;
                    self.hub.hand_over();
                    self.out.send(&mut self.hub.worker, now);
                }
            }
            self.hub.hand_over();
            self.out.send(&mut self.hub.worker, now);
            if trains < udp::BATCH {
                return;
            }
        }
    }

    fn take_mail(&mut self, now: Instant) {
        while let Ok(mail) = self.hub.inlet.mail.try_recv() {
            match mail {
                Mail::Datagrams(via, batch) => {
                    for (remote, to, datagram) in batch.iter() {
                        let local = (to.port() != 0).then_some(to.ip());
                        self.scratch.clear();
                        self.scratch.extend_from_slice(datagram);
                        let source = Source { via, remote, local };
                        if !self.hub.handle(source, &mut self.scratch, now) {
                            self.hub.worker.counters.dropped_unknown.add(1);
                        }
                    }
                    self.out.send(&mut self.hub.worker, now);
                }
                Mail::Packets(packets) => {
                    self.hub.worker.handle_packets(&packets, now);
                    self.out.send(&mut self.hub.worker, now);
                }
                Mail::Stream(arrived) => {
                    if let Some(place) = self.out.open_stream(arrived, now) {
                        self.take_frames(place, now);
                    }
                }
            }
        }
    }

    fn accept(&mut self, index: u32) {
        let Some(listener) = self.out.listeners.get(index as usize) else { return };
        let mut accepted = Vec::new();
        while let Ok((socket, remote)) = listener.accept() {
            accepted.push(Arrived { socket, remote, bytes: Vec::new() });
        }
        let now = clock::now();
        for arrived in accepted {
            self.out.open_stream(arrived, now);
        }
    }

    fn serve_stream(&mut self, place: u32) {
        let now = clock::now();
        for _ in 0..BATCHES {
            let Some(stream) = self.out.streams.get_mut(place) else { return };
            let Ok(more) = stream.read(&mut self.read) else {
                self.out.streams.take(place);
                return;
            };
            self.take_frames(place, now);
            if !more {
                break;
            }
        }
        self.out.flush_stream(place);
    }

    fn take_frames(&mut self, place: u32, now: Instant) {
        loop {
            let Some(stream) = self.out.streams.get_mut(place) else { return };
            let (remote, local) = (stream.remote, stream.local);
            match stream.frame(&mut self.scratch) {
                Ok(Some(length)) => {
                    let source = Source { via: Via::Tcp(place), remote, local };
                    let taken = self.hub.handle(source, &mut self.scratch, now);
                    let owner = if taken { None } else { self.hub.owner(&self.scratch) };
                    if let Some(other) = owner.filter(|&owner| owner != self.hub.number) {
                        // The whole connection belongs to another worker.
                        return self.move_stream(place, other);
                    }
                    stream.advance(length);
                    stream.owned = stream.owned || self.hub.worker.knows(&source);
                    if !taken {
                        self.hub.worker.counters.dropped_unknown.add(1);
                    }
                }
                Ok(None) => break,
                Err(()) => {
                    self.hub.worker.counters.dropped_malformed.add(1);
                    self.out.streams.take(place);
                    return;
                }
            }
        }
        self.out.send(&mut self.hub.worker, now);
    }

    fn move_stream(&mut self, place: u32, owner: usize) {
        let Some(arrived) = self.out.streams.take(place) else { return };
        let _ = self.out.epoll.delete(&arrived.socket);
        let left = self.hub.mailboxes.get(owner).map(|to| to.put(Mail::Stream(arrived)));
        match left {
            Some(true) => self.hub.worker.counters.handed_over.add(1),
            _ => self.hub.worker.counters.dropped_full.add(1),
        }
    }
}

impl Hub {
    fn take_orders(&mut self, now: Instant) {
        // Notes are carried out last and taken out first: the orders that they follow from are there already.
        let notes: Vec<Note> = self.inlet.notes.try_iter().take(NOTES).collect();
        while let Some(command) = self.inlet.command() {
            match command {
                WorkerCommand::Stop => self.stopping = true,
                WorkerCommand::Do(command) => self.worker.handle_command(command, now),
                WorkerCommand::Fetch(track, owner) => self.worker.expect_track(track, owner),
            }
        }
        for note in notes {
            self.worker.handle_note(note, now);
        }
    }

    /// The worker that an authentic check is for.
    fn owner(&self, datagram: &[u8]) -> Option<usize> {
        self.directory.owner(datagram).map(|(worker, _)| worker)
    }

    /// Gives a datagram to the worker; false when it belongs to none of its peers.
    fn handle(&mut self, source: Source, datagram: &mut [u8], now: Instant) -> bool {
        if self.worker.handle_datagram(source, datagram, now) {
            return true;
        }
        if self.owner(datagram) != Some(self.number) {
            return false;
        }
        // The client was quicker than the order to set its peer up.
        self.take_orders(now);
        self.worker.handle_datagram(source, datagram, now)
    }

    /// Gives a datagram to the worker, or lays it aside for the one that it belongs to.
    fn take(&mut self, source: Source, datagram: &mut [u8], now: Instant) {
        if self.handle(source, datagram, now) {
            return;
        }
        let elsewhere = self.foreign_sources.worker(&self.directory, source.remote, datagram);
        let counters = &self.worker.counters;
        let batch = elsewhere.filter(|&worker| worker != self.number);
        let batch = batch.and_then(|worker| self.across.get_mut(worker));
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        let to =
            SocketAddr::new(source.local.unwrap_or(unspecified), u16::from(source.local.is_some()));
        match batch.map(|batch| batch.push(source.remote, to, datagram)) {
            None => counters.dropped_unknown.add(1),
            Some(true) => counters.handed_over.add(1),
            Some(false) => counters.dropped_full.add(1),
        }
    }

    /// Gives other workers their notes; what one has no room for waits, within limits.
    fn leave_notes(&mut self) {
        let mut lost = 0;
        for (worker, note) in self.worker.notes() {
            match self.notes.get_mut(worker) {
                Some(waiting) if waiting.len() < NOTES_WAITING => waiting.push_back(note),
                _ => lost += 1,
            }
        }
        for (waiting, mailbox) in self.notes.iter_mut().zip(&self.mailboxes) {
            mailbox.note(waiting);
        }
        self.worker.counters.dropped_notes.add(lost);
    }

    /// Gives other workers what is theirs.
    fn hand_over(&mut self) {
        self.leave_notes();
        let mut lost = 0;
        for (worker, packets) in self.worker.packets() {
            let (count, packets) = (packets.len() as u64, packets.take());
            let mailbox = self.mailboxes.get(worker);
            if !mailbox.is_some_and(|mailbox| mailbox.put(Mail::Packets(packets))) {
                lost += count;
            }
        }
        self.worker.counters.dropped_full.add(lost);
        for (batch, mailbox) in self.across.iter_mut().zip(&self.mailboxes) {
            let count = batch.len() as u64;
            if count == 0 {
                continue;
            }
            let batch = std::mem::replace(batch, self.batches.lend());
            if !mailbox.put(Mail::Datagrams(Via::Udp, batch)) {
                self.worker.counters.dropped_full.add(count);
            }
        }
    }
}
