//! One worker: its own listeners, allocations and relay sockets, and one loop around [`Relay`]. Nothing on the way of a packet
//! is shared with another worker.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::outgoing::Run;
use super::relaying::Core;
use super::sockets::{self, Expected, Inbox, Reserved};
use super::tls::Certificate;
use super::{Command, Mailbox, Wake, clock};
use crate::channel;
use crate::door::{Batch, Door, Insiders};
use crate::{Client, Family, Relay, SocketKey, Transport};

/// Events of one round at most.
const EVENTS: usize = 256;
/// Batches that a listener may give in one round, so that the others get their turn.
const BATCHES: usize = 4;
/// Bytes read from a stream at once.
const SCRATCH: usize = 64 << 10;
/// How often the wall clock and the streams are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How long connections wait in the kernel when the process has no descriptor for them.
const BACK_OFF: Duration = Duration::from_millis(250);

/// What an event is about, in the 64 bits epoll keeps for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token {
    Wake,
    Listener(u32),
    Acceptor(u32),
    Stream(u32),
    Relay(SocketKey),
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        let (kind, index) = match self {
            Self::Wake => (0, 0),
            Self::Listener(index) => (1, index),
            Self::Acceptor(index) => (2, index),
            Self::Stream(index) => (3, index),
            Self::Relay(SocketKey { allocation, family: Family::V4 }) => (4, allocation),
            Self::Relay(SocketKey { allocation, family: Family::V6 }) => (5, allocation),
        };
        u64::from(index) | kind << 32
    }

    fn unpack(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        let index = bits as u32;
        match bits >> 32 {
            1 => Self::Listener(index),
            2 => Self::Acceptor(index),
            3 => Self::Stream(index),
            4 => Self::Relay(SocketKey { allocation: index, family: Family::V4 }),
            5 => Self::Relay(SocketKey { allocation: index, family: Family::V6 }),
            _ => Self::Wake,
        }
    }
}

/// A TCP listener.
pub(super) struct Acceptor {
    pub(super) socket: TcpListener,
    pub(super) certificate: Option<Arc<Certificate>>,
}

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) relay: Relay,
    pub(super) listeners: Vec<UdpSocket>,
    pub(super) acceptors: Vec<Acceptor>,
    /// Where relay sockets are bound.
    pub(super) bind: Vec<IpAddr>,
    /// What all workers keep for reservations.
    pub(super) reserved: Arc<Reserved>,
    pub(super) streams: usize,
    pub(super) door: Arc<Door>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) mail: Receiver<Batch>,
    pub(super) commands: Receiver<Command>,
    pub(super) wake: Wake,
}

pub(super) struct Worker {
    epoll: Epoll,
    inbox: Inbox,
    scratch: Vec<u8>,
    mail: Receiver<Batch>,
    commands: Receiver<Command>,
    wake: Wake,
    listeners: Vec<UdpSocket>,
    /// What each listener gave lately.
    expected: Vec<Expected>,
    acceptors: Vec<Acceptor>,
    /// Until when connections wait in the kernel.
    accept_again: Option<Instant>,
    /// The log has it that there are no descriptors for connections.
    reported: bool,
    housekeeping: Instant,
    /// How many times it has woken up.
    round: u64,
    /// Streams whose next turn no event of the kernel announces.
    scheduled: Vec<u32>,
    core: Core,
}

impl Worker {
    pub(super) fn new(parts: Parts, now: Instant) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let watch = |fd: &dyn AsFd, token: Token| {
            epoll.add(fd.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token.pack()))
        };
        watch(&*parts.wake, Token::Wake)?;
        for (index, listener) in (0..).zip(&parts.listeners) {
            watch(listener, Token::Listener(index))?;
        }
        for (index, acceptor) in (0..).zip(&parts.acceptors) {
            watch(&acceptor.socket, Token::Acceptor(index))?;
        }
        let core = Core {
            counters: parts.relay.counters(),
            relay: parts.relay,
            offload: sockets::offload()?,
            bind: parts.bind,
            sockets: HashMap::new(),
            reserved: parts.reserved,
            streams: Slab::new(),
            stream_of: HashMap::new(),
            streams_of: HashMap::new(),
            most_streams: parts.streams,
            dirty: Vec::new(),
            to_clients: Run::new(),
            to_peers: Run::new(),
            door: parts.door,
            door_seen: 0,
            insiders: Insiders::new(),
            inside: Vec::new(),
            across: parts.mailboxes.iter().map(|_| Batch::default()).collect(),
            mailboxes: parts.mailboxes,
            message: Vec::new(),
        };
        Ok(Self {
            epoll,
            inbox: Inbox::new(),
            scratch: vec![0; SCRATCH],
            mail: parts.mail,
            commands: parts.commands,
            wake: parts.wake,
            expected: parts.listeners.iter().map(|_| Expected::default()).collect(),
            listeners: parts.listeners,
            acceptors: parts.acceptors,
            accept_again: None,
            reported: false,
            housekeeping: now,
            round: 0,
            scheduled: Vec::new(),
            core,
        })
    }

    /// Works until a command stops it.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let now = clock::now();
            let deadline = self.core.relay.deadline();
            let deadline = self.accept_again.map_or(deadline, |again| again.min(deadline));
            let left = deadline.saturating_duration_since(now);
            let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            let left = if self.scheduled.is_empty() { left } else { 0 };
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(left)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    return tracing::error!(%error, "a TURN worker cannot wait for events");
                }
            };
            let now = clock::now();
            self.round += 1;
            let scheduled = std::mem::take(&mut self.scheduled);
            for event in events.iter().take(ready) {
                self.handle(Token::unpack(event.data()), event.events(), now);
            }
            for index in scheduled {
                self.take_turn(index, now);
            }
            if self.accept_again.is_some_and(|again| now >= again) {
                self.accept_again = None;
                self.watch_acceptors(EpollFlags::EPOLLIN);
                (0..).zip(0..self.acceptors.len()).for_each(|(index, _)| self.accept(index, now));
            }
            self.core.relay.handle_timeout(now);
            self.core.carry_out(&self.epoll, &self.listeners, now);
            self.core.settle(&self.epoll, &self.listeners, now);
            if self.housekeep(now) {
                return;
            }
        }
    }

    /// Commands and what is done now and then; true when it is time to stop.
    fn housekeep(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => return true,
                Command::Revoke(user_or_call) => self.core.relay.revoke(&user_or_call),
                Command::List(answer) => drop(answer.send(self.core.relay.allocations(now))),
            }
            self.core.carry_out(&self.epoll, &self.listeners, now);
        }
        if now < self.housekeeping {
            return false;
        }
        self.housekeeping = now + HOUSEKEEPING;
        self.core.relay.set_wall(now, clock::unix());
        self.core.close_overdue(&self.epoll, now);
        false
    }

    fn handle(&mut self, token: Token, events: EpollFlags, now: Instant) {
        match token {
            Token::Wake => self.take_mail(now),
            Token::Listener(index) => self.receive_from_clients(index, now),
            Token::Acceptor(index) => self.accept(index, now),
            Token::Stream(index) => self.receive_from_stream(index, events, now),
            Token::Relay(socket) => self.receive_from_peers(socket, now),
        }
    }

    fn take_mail(&mut self, now: Instant) {
        let _ = self.wake.read();
        while let Ok(batch) = self.mail.try_recv() {
            self.core.deliver_inside(&batch, &self.listeners, now);
        }
        self.core.refresh_insiders();
    }

    fn receive_from_clients(&mut self, index: u32, now: Instant) {
        let Some(listener) = self.listeners.get(index as usize) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "there are few listeners")]
        let number = index as u16;
        let Some(expected) = self.expected.get_mut(index as usize) else { return };
        for _ in 0..BATCHES {
            let most = expected.most();
            let received = self.inbox.receive_at_most(most, listener, &self.core.offload);
            let Ok(trains) = received else { return };
            expected.note(trains);
            for (meta, bytes) in (0..trains).filter_map(|index| self.inbox.train(index)) {
                let client = Client {
                    transport: Transport::Udp,
                    listener: number,
                    remote: meta.addr,
                    local: meta.dst_ip,
                };
                for datagram in bytes.chunks(meta.stride.max(1)) {
                    self.core.take_from_client(client, datagram, meta.ecn, now);
                    self.core.carry_out(&self.epoll, &self.listeners, now);
                }
            }
            if trains < most {
                return;
            }
        }
    }

    fn receive_from_peers(&mut self, key: SocketKey, now: Instant) {
        let round = self.round;
        let Some(socket) = self.core.sockets.get_mut(&key) else { return };
        if !socket.trains {
            let room = channel::HEADER;
            let Ok((length, peer)) = self.inbox.receive_one(&socket.socket, room) else { return };
            socket.warm(round);
            return self.core.relay_in_place(
                key,
                peer,
                &mut self.inbox,
                length,
                &self.listeners,
                now,
            );
        }
        let most = socket.expected.most();
        let received = self.inbox.receive_at_most(most, &socket.socket, &self.core.offload);
        let Ok(trains) = received else { return };
        socket.expected.note(trains);
        for (meta, bytes) in (0..trains).filter_map(|index| self.inbox.train(index)) {
            for datagram in bytes.chunks(meta.stride.max(1)) {
                let toward = self.core.relay.handle_peer(key, meta.addr, datagram.len(), now);
                let Some(toward) = toward else { continue };
                self.core.queue_for_client(toward, datagram, meta.ecn, &self.listeners);
            }
        }
    }

    fn accept(&mut self, index: u32, now: Instant) {
        let Some(acceptor) = self.acceptors.get(index as usize) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "there are few listeners")]
        let listener = index as u16;
        loop {
            let (socket, remote) = match acceptor.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if is_exhausted(&error) => return self.back_off(&error, now),
                // It was closed before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => return,
            };
            self.reported = false;
            let tls = acceptor.certificate.as_ref().map(|certificate| certificate.current());
            let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
            let local = socket.local_addr().ok().map(|local| local.ip());
            let client = Client { transport, listener, remote, local };
            let tls = tls.map(rustls::ServerConnection::new).transpose();
            let Ok(tls) = tls else { continue };
            self.core.open_stream(&self.epoll, socket, client, tls.map(Box::new), now);
        }
    }

    /// The kernel goes on announcing what cannot be accepted: nothing is accepted for a while.
    fn back_off(&mut self, error: &io::Error, now: Instant) {
        self.core.counters.refused_descriptors.add(1);
        if !std::mem::replace(&mut self.reported, true) {
            tracing::error!(%error, "connections to the relay wait: the process may open no more descriptors; raise its limit (ulimit -n, LimitNOFILE)");
        }
        self.accept_again = Some(now + BACK_OFF);
        self.watch_acceptors(EpollFlags::empty());
    }

    fn watch_acceptors(&self, events: EpollFlags) {
        for (index, acceptor) in (0..).zip(&self.acceptors) {
            let mut event = EpollEvent::new(events, Token::Acceptor(index).pack());
            if let Err(error) = self.epoll.modify(acceptor.socket.as_fd(), &mut event) {
                tracing::error!(%error, "a listener of the relay cannot be watched");
            }
        }
    }

    fn receive_from_stream(&mut self, index: u32, events: EpollFlags, now: Instant) {
        let Some(stream) = self.core.streams.get(index as usize) else { return };
        if events.contains(EpollFlags::EPOLLOUT) {
            self.core.dirty.push(index);
        }
        // A scheduled stream has its turn anyway, and no more than one a round.
        if !stream.scheduled {
            self.read_stream(index, now);
        }
    }

    /// The turn of a stream that no event announces.
    fn take_turn(&mut self, index: u32, now: Instant) {
        let Some(stream) = self.core.streams.get_mut(index as usize) else { return };
        if std::mem::take(&mut stream.scheduled) {
            self.read_stream(index, now);
        }
    }

    /// One portion of a stream. The kernel announces what is left in the socket, the next round takes what is left above it.
    fn read_stream(&mut self, index: u32, now: Instant) {
        let Some(stream) = self.core.streams.get_mut(index as usize) else { return };
        let client = stream.client;
        let Ok(portion) = stream.read(&mut self.scratch, now) else {
            return self.core.close_stream(&self.epoll, index);
        };
        let bytes = stream.take();
        let Ok(used) = self.core.frames(&client, &bytes, now) else {
            return self.core.close_stream(&self.epoll, index);
        };
        self.core.carry_out(&self.epoll, &self.listeners, now);
        if portion.ended {
            return self.core.close_stream(&self.epoll, index);
        }
        // What was carried out may have closed it.
        let stream = self.core.streams.get_mut(index as usize).filter(|it| it.client == client);
        let Some(stream) = stream else { return };
        stream.keep(bytes, used, now);
        if portion.more {
            stream.scheduled = true;
            self.scheduled.push(index);
        }
        self.core.dirty.push(index);
    }
}

/// Whether the process or the system has nothing left to accept a connection with.
fn is_exhausted(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let exhausted = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw(code)))
}
