//! What a packet meets on its way through a worker, between the sockets and [`Relay`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use quinn_udp::{EcnCodepoint, UdpSocketState};
use slab::Slab;

use super::Mailbox;
use super::outgoing::{Route, Run, Sent};
use super::sockets::{Inbox, RelaySocket};
use super::stream::Stream;
use super::worker::Token;
use crate::channel;
use crate::counters::Counters;
use crate::door::{Batch, Door, Insiders};
use crate::framer;
use crate::message;
use crate::{Client, Framing, Onward, Output, Relay, SocketKey, Toward, Transport};

/// Padding.
const ZEROES: [u8; 3] = [0; 3];
/// Streams of one source at most.
const STREAMS_PER_SOURCE: u32 = 512;

/// What a packet meets on its way, apart from the memory it was received into.
pub(super) struct Core {
    pub(super) relay: Relay,
    pub(super) counters: Arc<Counters>,
    pub(super) offload: UdpSocketState,
    pub(super) bind: Vec<IpAddr>,
    pub(super) sockets: HashMap<SocketKey, RelaySocket>,
    pub(super) streams: Slab<Stream>,
    pub(super) stream_of: HashMap<Client, u32>,
    pub(super) streams_of: HashMap<IpAddr, u32>,
    pub(super) most_streams: usize,
    /// Streams that have something to send.
    pub(super) dirty: Vec<u32>,
    pub(super) to_clients: Run<u16>,
    pub(super) to_peers: Run<SocketKey>,
    pub(super) door: Arc<Door>,
    pub(super) door_seen: u64,
    pub(super) insiders: Insiders,
    /// What waits for each insider.
    pub(super) inside: Vec<(SocketAddr, Batch)>,
    /// What waits for the allocations of each worker.
    pub(super) across: Vec<Batch>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) message: Vec<u8>,
}

impl Core {
    /// One datagram or frame of a client.
    pub(super) fn take_from_client(
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

    pub(super) fn queue_for_peer(&mut self, route: Route<SocketKey>, payload: &[u8]) {
        if !self.to_peers.takes(&route, payload.len(), self.offload.max_gso_segments()) {
            self.flush_to_peers();
        }
        self.to_peers.push(route, &[payload]);
    }

    pub(super) fn flush_to_peers(&mut self) {
        let socket = self.to_peers.route().and_then(|route| self.sockets.get(&route.socket));
        let sent = self.to_peers.flush(socket.map(|socket| &socket.socket), &self.offload);
        self.count(sent);
    }

    pub(super) fn flush_to_clients(&mut self, listeners: &[UdpSocket]) {
        let socket =
            self.to_clients.route().and_then(|route| listeners.get(usize::from(route.socket)));
        let sent = self.to_clients.flush(socket, &self.offload);
        self.count(sent);
    }

    pub(super) fn count(&self, sent: Sent) {
        if sent.full > 0 {
            self.counters.dropped_full.add(sent.full);
        }
        if sent.failed > 0 {
            self.counters.dropped_unsendable.add(sent.failed);
        }
    }

    /// Queues a packet for somebody inside; false when there is no room.
    pub(super) fn put_inside(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        if self.insiders.contains_key(&to) {
            if let Some((_, batch)) = self.inside.iter_mut().find(|(address, _)| *address == to) {
                return batch.push(from, to, payload);
            }
            let mut batch = Batch::default();
            let room = batch.push(from, to, payload);
            self.inside.push((to, batch));
            return room;
        }
        self.put_across(from, to, payload)
    }

    /// Queues a packet for the worker at which a relayed address lives; false when there is none, or no room.
    pub(super) fn put_across(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let home = self.relay.home_of(to);
        let batch = home.and_then(|home| self.across.get_mut(usize::from(home.worker)));
        batch.is_some_and(|batch| batch.push(from, to, payload))
    }

    /// A packet that lies in the inbox with room for a header in front of it.
    pub(super) fn relay_in_place(
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

    pub(super) fn queue_for_client(
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
                let padding = ZEROES.get(..padding).unwrap_or_default();
                self.frame(&toward.client, &[&header, payload, padding], ecn, listeners);
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
    pub(super) fn frame(
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
    pub(super) fn deliver_inside(&mut self, batch: &Batch, listeners: &[UdpSocket], now: Instant) {
        for (from, to, payload) in batch.iter() {
            if let Some(toward) = self.relay.handle_inside(from, to, payload.len(), now) {
                self.queue_for_client(toward, payload, None, listeners);
            }
        }
    }

    /// Ends a round: everything that waits goes where it belongs.
    pub(super) fn settle(&mut self, epoll: &Epoll, listeners: &[UdpSocket], now: Instant) {
        self.visit_insiders();
        self.send_across(listeners, now);
        self.flush_to_peers();
        self.flush_to_clients(listeners);
        while let Some(index) = self.dirty.pop() {
            self.flush_stream(epoll, index);
        }
    }

    /// Gives each insider what waits for him, once; what he answers goes to its worker like everything from inside.
    pub(super) fn visit_insiders(&mut self) {
        let mut replies = Batch::default();
        for (address, mut batch) in std::mem::take(&mut self.inside) {
            if batch.is_empty() {
                continue;
            }
            if let Some(insider) = self.insiders.get_mut(&address) {
                insider.receive(&batch, &mut replies);
            }
            batch.clear();
            self.inside.push((address, batch));
            for (from, to, payload) in replies.iter() {
                if !self.put_across(from, to, payload) {
                    self.counters.dropped_full.add(1);
                }
            }
            replies.clear();
        }
    }

    pub(super) fn send_across(&mut self, listeners: &[UdpSocket], now: Instant) {
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

    pub(super) fn refresh_insiders(&mut self) {
        let Some(insiders) = self.door.since(&mut self.door_seen) else { return };
        self.relay.set_insiders(insiders.keys().copied().collect());
        self.inside.retain(|(address, _)| insiders.contains_key(address));
        self.insiders = insiders;
    }

    /// Does what the relay orders.
    pub(super) fn carry_out(&mut self, epoll: &Epoll, listeners: &[UdpSocket]) {
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
    }

    pub(super) fn open_socket(
        &mut self,
        epoll: &Epoll,
        key: SocketKey,
        address: SocketAddr,
    ) -> bool {
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

    pub(super) fn close_socket(&mut self, epoll: &Epoll, key: SocketKey) {
        if self.to_peers.route().is_some_and(|route| route.socket == key) {
            self.flush_to_peers();
        }
        if let Some(socket) = self.sockets.remove(&key) {
            let _ = epoll.delete(&socket.socket);
        }
    }

    pub(super) fn open_stream(
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

    pub(super) fn close_stream(&mut self, epoll: &Epoll, index: u32) {
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

    pub(super) fn flush_stream(&mut self, epoll: &Epoll, index: u32) {
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
    pub(super) fn frames(
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

    pub(super) fn close_overdue(&mut self, epoll: &Epoll, now: Instant) {
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
