//! One worker: its own listeners, allocations and relay sockets, and one loop around [`Relay`]. Nothing on the way of a packet
//! is shared with another worker.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quinn_udp::{EcnCodepoint, UdpSocketState};
use slab::Slab;

use super::outgoing::{Route, Run, Sent};
use super::sockets::{self, BATCH, Inbox, RelaySocket};
use super::stream::Stream;
use super::tls::Certificate;
use super::{Command, Mailbox, Wake, clock};
use crate::channel;
use crate::counters::Counters;
use crate::door::{Batch, Door, Insiders};
use crate::framer;
use crate::message;
use crate::{Client, Family, Framing, Onward, Output, Relay, SocketKey, Toward, Transport};

/// Events of one round at most.
const EVENTS: usize = 256;
/// Batches that a listener may give in one round, so that the others get their turn.
const BATCHES: usize = 4;
/// Bytes read from a stream at once.
const SCRATCH: usize = 64 << 10;
/// Streams of one source at most.
const STREAMS_PER_SOURCE: u32 = 512;
/// How often the wall clock and the streams are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What an event is about, in the 64 bits epoll keeps for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    Wake,
    Listener(u32),
    Acceptor(u32),
    Stream(u32),
    Relay(SocketKey),
}

impl Token {
    fn pack(self) -> u64 {
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
    acceptors: Vec<Acceptor>,
    housekeeping: Instant,
    core: Core,
}

/// What a packet meets on its way, apart from the memory it was received into.
struct Core {
    relay: Relay,
    counters: Arc<Counters>,
    offload: UdpSocketState,
    bind: Vec<IpAddr>,
    sockets: HashMap<SocketKey, RelaySocket>,
    streams: Slab<Stream>,
    stream_of: HashMap<Client, u32>,
    streams_of: HashMap<IpAddr, u32>,
    most_streams: usize,
    /// Streams that have something to send.
    dirty: Vec<u32>,
    to_clients: Run<u16>,
    to_peers: Run<SocketKey>,
    door: Arc<Door>,
    door_seen: u64,
    insiders: Insiders,
    /// What waits for each insider.
    inside: Vec<(SocketAddr, Batch)>,
    /// What waits for the allocations of each worker.
    across: Vec<Batch>,
    mailboxes: Vec<Mailbox>,
    message: Vec<u8>,
    round: u64,
    last_round: HashMap<SocketKey, u64>,
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
            round: 0,
            last_round: HashMap::new(),
        };
        Ok(Self {
            epoll,
            inbox: Inbox::new(),
            scratch: vec![0; SCRATCH],
            mail: parts.mail,
            commands: parts.commands,
            wake: parts.wake,
            listeners: parts.listeners,
            acceptors: parts.acceptors,
            housekeeping: now,
            core,
        })
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let now = clock::now();
            let left = self.core.relay.deadline().saturating_duration_since(now);
            let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            let ready = match self.epoll.wait(&mut events, EpollTimeout::from(left)) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    return tracing::error!(%error, "a TURN worker cannot wait for events");
                }
            };
            let now = clock::now();
            self.core.round += 1;
            for event in events.iter().take(ready) {
                self.handle(Token::unpack(event.data()), event.events(), now);
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
        for _ in 0..BATCHES {
            let Ok(trains) = self.inbox.receive(listener, &self.core.offload) else { return };
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
            if trains < BATCH {
                return;
            }
        }
    }

    fn receive_from_peers(&mut self, key: SocketKey, now: Instant) {
        let round = self.core.round;
        let Some(socket) = self.core.sockets.get_mut(&key) else { return };
        if !socket.trains {
            let room = channel::HEADER;
            let Ok((length, peer)) = self.inbox.receive_one(&socket.socket, room) else { return };
            let last = self.core.last_round.insert(key, round);
            socket.warm(last.is_some_and(|last| last + 1 == round));
            return self.core.relay_in_place(
                key,
                peer,
                &mut self.inbox,
                length,
                &self.listeners,
                now,
            );
        }
        let Ok(trains) = self.inbox.receive(&socket.socket, &self.core.offload) else { return };
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
        while let Ok((socket, remote)) = acceptor.socket.accept() {
            let tls = acceptor.certificate.as_ref().map(|certificate| certificate.current());
            let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
            let local = socket.local_addr().ok().map(|local| local.ip());
            let client = Client { transport, listener, remote, local };
            let tls = tls.map(rustls::ServerConnection::new).transpose();
            let Ok(tls) = tls else { continue };
            self.core.open_stream(&self.epoll, socket, client, tls.map(Box::new), now);
        }
    }

    fn receive_from_stream(&mut self, index: u32, events: EpollFlags, now: Instant) {
        let Some(stream) = self.core.streams.get_mut(index as usize) else { return };
        let client = stream.client;
        if events.contains(EpollFlags::EPOLLOUT) {
            self.core.dirty.push(index);
        }
        let mut more = true;
        while more {
            let Some(stream) = self.core.streams.get_mut(index as usize) else { return };
            let Ok(length) = stream.read(&mut self.scratch, now) else {
                return self.core.close_stream(&self.epoll, index);
            };
            more = length == self.scratch.len();
            let bytes = stream.take();
            let Ok(used) = self.core.frames(&client, &bytes, now) else {
                return self.core.close_stream(&self.epoll, index);
            };
            self.core.carry_out(&self.epoll, &self.listeners, now);
            if let Some(stream) = self.core.streams.get_mut(index as usize) {
                stream.keep(bytes, used);
            }
        }
        self.core.dirty.push(index);
    }
}

impl Core {
    /// One datagram or frame of a client.
    fn take_from_client(
        &mut self,
        client: Client,
        datagram: &[u8],
        ecn: Option<EcnCodepoint>,
        now: Instant,
    ) {
        match self.relay.handle_client(client, datagram, now) {
            None => {}
            Some(Onward::Outside { socket, peer, payload, whole }) => {
                let Some(payload) = datagram.get(payload) else { return };
                if whole && let Some(socket) = self.sockets.get_mut(&socket) {
                    socket.keep_whole();
                }
                self.queue_for_peer(Route { socket, to: peer, from: None, ecn }, payload);
            }
            Some(Onward::Inside { from, to, payload }) => {
                let Some(payload) = datagram.get(payload) else { return };
                if !self.put_inside(from, to, payload) {
                    self.counters.dropped_full.add(1);
                }
            }
        }
    }

    fn queue_for_peer(&mut self, route: Route<SocketKey>, payload: &[u8]) {
        if !self.to_peers.takes(&route, payload.len(), self.offload.max_gso_segments()) {
            self.flush_to_peers();
        }
        self.to_peers.push(route, &[payload]);
    }

    fn flush_to_peers(&mut self) {
        let socket = self.to_peers.route().and_then(|route| self.sockets.get(&route.socket));
        let sent = self.to_peers.flush(socket.map(|socket| &socket.socket), &self.offload);
        self.count(sent);
    }

    fn flush_to_clients(&mut self, listeners: &[UdpSocket]) {
        let socket =
            self.to_clients.route().and_then(|route| listeners.get(usize::from(route.socket)));
        let sent = self.to_clients.flush(socket, &self.offload);
        self.count(sent);
    }

    fn count(&self, sent: Sent) {
        if sent.full > 0 {
            self.counters.dropped_full.add(sent.full);
        }
        if sent.failed > 0 {
            self.counters.dropped_unsendable.add(sent.failed);
        }
    }

    /// Queues a packet for somebody inside; false when there is no room.
    fn put_inside(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        if self.insiders.contains_key(&to) {
            if let Some((_, batch)) = self.inside.iter_mut().find(|(address, _)| *address == to) {
                return batch.push(from, to, payload);
            }
            let mut batch = Batch::default();
            let room = batch.push(from, to, payload);
            self.inside.push((to, batch));
            return room;
        }
        let home = self.relay.home_of(to);
        let batch = home.and_then(|home| self.across.get_mut(usize::from(home.worker)));
        batch.is_some_and(|batch| batch.push(from, to, payload))
    }

    /// A packet that lies in the inbox with room for a header in front of it.
    fn relay_in_place(
        &mut self,
        key: SocketKey,
        peer: SocketAddr,
        inbox: &mut Inbox,
        length: usize,
        listeners: &[UdpSocket],
        now: Instant,
    ) {
        let Some(toward) = self.relay.handle_peer(key, peer, length, now) else { return };
        let room = inbox.front(channel::HEADER + length);
        let (Framing::Channel(number), Transport::Udp, Ok(short), Some((header, _))) = (
            toward.framing,
            toward.client.transport,
            u16::try_from(length),
            room.split_first_chunk_mut::<{ channel::HEADER }>(),
        ) else {
            let payload = room.get(channel::HEADER..).unwrap_or_default();
            return self.queue_for_client(toward, payload, None, listeners);
        };
        *header = channel::header(number, short);
        self.flush_to_clients(listeners);
        self.to_clients.push(route(&toward.client, None), &[room]);
        self.flush_to_clients(listeners);
    }

    fn queue_for_client(
        &mut self,
        toward: Toward,
        payload: &[u8],
        ecn: Option<EcnCodepoint>,
        listeners: &[UdpSocket],
    ) {
        match toward.framing {
            Framing::Channel(number) => {
                let Ok(length) = u16::try_from(payload.len()) else { return };
                let header = channel::header(number, length);
                let padded = toward.client.transport != Transport::Udp;
                let padding = if padded { channel::padding(payload.len()) } else { 0 };
                let padding = [0; 3].get(..padding).unwrap_or_default().to_vec();
                self.frame(&toward.client, &[&header, payload, &padding], ecn, listeners);
            }
            Framing::Data { peer, transaction } => {
                let mut message = std::mem::take(&mut self.message);
                message.clear();
                message::data_indication(peer, transaction, payload, &mut message);
                self.frame(&toward.client, &[&message], ecn, listeners);
                self.message = message;
            }
        }
    }

    /// Sends one datagram or frame to a client.
    fn frame(
        &mut self,
        client: &Client,
        parts: &[&[u8]],
        ecn: Option<EcnCodepoint>,
        listeners: &[UdpSocket],
    ) {
        if client.transport != Transport::Udp {
            let index = self.stream_of.get(client).copied();
            let stream = index.and_then(|index| self.streams.get_mut(index as usize));
            match stream.is_some_and(|stream| stream.write(parts)) {
                true => self.dirty.extend(index.filter(|index| self.dirty.last() != Some(index))),
                false => self.counters.dropped_full.add(1),
            }
            return;
        }
        let route = route(client, ecn);
        let length = parts.iter().map(|part| part.len()).sum();
        if !self.to_clients.takes(&route, length, self.offload.max_gso_segments()) {
            self.flush_to_clients(listeners);
        }
        self.to_clients.push(route, parts);
    }

    /// Hands packets from inside to the allocations that live here.
    fn deliver_inside(&mut self, batch: &Batch, listeners: &[UdpSocket], now: Instant) {
        for (from, to, payload) in batch.iter() {
            if let Some(toward) = self.relay.handle_inside(from, to, payload.len(), now) {
                self.queue_for_client(toward, payload, None, listeners);
            }
        }
    }

    /// Ends a round: everything that waits goes where it belongs.
    fn settle(&mut self, epoll: &Epoll, listeners: &[UdpSocket], now: Instant) {
        self.visit_insiders();
        self.send_across(listeners, now);
        self.flush_to_peers();
        self.flush_to_clients(listeners);
        while let Some(index) = self.dirty.pop() {
            self.flush_stream(epoll, index);
        }
    }

    /// Gives each insider what waits for him, once; what he answers goes to its worker like everything from inside.
    fn visit_insiders(&mut self) {
        let mut replies = Batch::default();
        for (address, mut batch) in std::mem::take(&mut self.inside) {
            if batch.is_empty() {
                continue;
            }
            if let Some(insider) = self.insiders.get(&address) {
                insider.receive(&batch, &mut replies);
            }
            batch.clear();
            self.inside.push((address, batch));
            for (from, to, payload) in replies.iter() {
                let home = self.relay.home_of(to);
                let across = home.and_then(|home| self.across.get_mut(usize::from(home.worker)));
                if !across.is_some_and(|batch| batch.push(from, to, payload)) {
                    self.counters.dropped_full.add(1);
                }
            }
            replies.clear();
        }
    }

    fn send_across(&mut self, listeners: &[UdpSocket], now: Instant) {
        for worker in 0..self.across.len() {
            let Some(batch) = self.across.get_mut(worker).filter(|batch| !batch.is_empty()) else {
                continue;
            };
            let mut batch = std::mem::take(batch);
            if worker == usize::from(self.relay.worker) {
                self.deliver_inside(&batch, listeners, now);
                batch.clear();
                if let Some(place) = self.across.get_mut(worker) {
                    *place = batch;
                }
                continue;
            }
            let count = batch.len() as u64;
            if !self.mailboxes.get(worker).is_some_and(|mailbox| mailbox.put(batch)) {
                self.counters.dropped_full.add(count);
            }
        }
    }

    fn refresh_insiders(&mut self) {
        let Some(insiders) = self.door.since(&mut self.door_seen) else { return };
        self.relay.set_insiders(insiders.keys().copied().collect());
        self.inside.retain(|(address, _)| insiders.contains_key(address));
        self.insiders = insiders;
    }

    /// Does what the relay orders.
    fn carry_out(&mut self, epoll: &Epoll, listeners: &[UdpSocket], now: Instant) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Reply { client, bytes } => self.frame(&client, &[&bytes], None, listeners),
                Output::Close(key) => self.close_socket(epoll, key),
                Output::HangUp(client) => {
                    if let Some(&index) = self.stream_of.get(&client) {
                        self.close_stream(epoll, index);
                    }
                }
                Output::Open { sockets, client, opened, failed } => {
                    let all = sockets.into_iter().fold(true, |all, (key, address)| {
                        let opened = self.open_socket(epoll, key, address);
                        if !opened {
                            self.relay.handle_unopened(key);
                        }
                        all && opened
                    });
                    let answer = if all { opened } else { failed };
                    self.frame(&client, &[&answer], None, listeners);
                }
            }
        }
        let _ = now;
    }

    fn open_socket(&mut self, epoll: &Epoll, key: SocketKey, address: SocketAddr) -> bool {
        let bind = self.bind.iter().copied().find(|bind| bind.is_ipv4() == address.is_ipv4());
        let opened = RelaySocket::open(address, bind.unwrap_or(address.ip())).and_then(|socket| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Relay(key).pack());
            epoll.add(&socket.socket, event)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.sockets.insert(key, socket).is_none(),
            Err(error) => {
                tracing::warn!(port = address.port(), %error, "a relayed port cannot be opened");
                false
            }
        }
    }

    fn close_socket(&mut self, epoll: &Epoll, key: SocketKey) {
        if self.to_peers.route().is_some_and(|route| route.socket == key) {
            self.flush_to_peers();
        }
        self.last_round.remove(&key);
        if let Some(socket) = self.sockets.remove(&key) {
            let _ = epoll.delete(&socket.socket);
        }
    }

    fn open_stream(
        &mut self,
        epoll: &Epoll,
        socket: std::net::TcpStream,
        client: Client,
        tls: Option<Box<rustls::ServerConnection>>,
        now: Instant,
    ) {
        let source = self.streams_of.entry(client.remote.ip()).or_default();
        if self.streams.len() >= self.most_streams || *source >= STREAMS_PER_SOURCE {
            self.counters.streams_closed.add(1);
            return;
        }
        let ready = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
        let entry = self.streams.vacant_entry();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are fewer descriptors than that"
        )]
        let index = entry.key() as u32;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Stream(index).pack());
        if ready.is_err() || epoll.add(&socket, event).is_err() {
            return;
        }
        *source += 1;
        entry.insert(Stream::new(socket, client, tls, now));
        self.stream_of.insert(client, index);
    }

    fn close_stream(&mut self, epoll: &Epoll, index: u32) {
        let Some(mut stream) = self.streams.try_remove(index as usize) else { return };
        stream.say_goodbye();
        let _ = epoll.delete(&stream.socket);
        let source = stream.client.remote.ip();
        if let Some(count) = self.streams_of.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.streams_of.remove(&source);
            }
        }
        if self.stream_of.get(&stream.client) == Some(&index) {
            self.stream_of.remove(&stream.client);
        }
        self.relay.handle_stream_closed(&stream.client);
    }

    fn flush_stream(&mut self, epoll: &Epoll, index: u32) {
        let Some(stream) = self.streams.get_mut(index as usize) else { return };
        let Ok(waits) = stream.flush() else { return self.close_stream(epoll, index) };
        if waits != stream.waits {
            stream.waits = waits;
            let out = if waits { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let flags = EpollFlags::EPOLLIN | out;
            let _ = epoll
                .modify(&stream.socket, &mut EpollEvent::new(flags, Token::Stream(index).pack()));
        }
    }

    /// Takes whole frames from the front of `bytes`; returns how many bytes they took.
    fn frames(
        &mut self,
        client: &Client,
        bytes: &[u8],
        now: Instant,
    ) -> Result<usize, framer::Foreign> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..)
            && let Some(length) = framer::frame(rest)?
            && let Some(frame) = rest.get(..length)
        {
            used += length;
            self.take_from_client(*client, frame, None, now);
        }
        Ok(used)
    }

    fn close_overdue(&mut self, epoll: &Epoll, now: Instant) {
        let overdue: Vec<u32> = self
            .streams
            .iter_mut()
            .filter_map(|(index, stream)| {
                let has_allocation = self.relay.clients.contains_key(&stream.client);
                #[expect(clippy::cast_possible_truncation, reason = "as in `open_stream`")]
                stream.is_overdue(has_allocation, now).then_some(index as u32)
            })
            .collect();
        for index in overdue {
            self.counters.streams_closed.add(1);
            self.close_stream(epoll, index);
        }
    }
}

fn route(client: &Client, ecn: Option<EcnCodepoint>) -> Route<u16> {
    Route { socket: client.listener, to: client.remote, from: client.local, ecn }
}
