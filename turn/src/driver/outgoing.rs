//! Datagrams on their way out. Those of one size to one address leave together, by one call with UDP segmentation.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use quinn_udp::{EcnCodepoint, Transmit, UdpSocketState};

/// Bytes that leave by one call at most: a datagram's greatest length, less the headers.
pub const BYTES: usize = 65_535 - 48;

/// Where a datagram leaves and where it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route<K> {
    /// The socket it leaves by.
    pub socket: K,
    /// Where it goes.
    pub to: SocketAddr,
    /// The address of this machine that it comes from, where the socket has several.
    pub from: Option<IpAddr>,
    /// What the header says about congestion.
    pub ecn: Option<EcnCodepoint>,
}

/// Datagrams of one size for one route.
pub(super) struct Run<K> {
    route: Option<Route<K>>,
    segment: usize,
    count: usize,
    /// A shorter datagram is the last of its run.
    closed: bool,
    bytes: Vec<u8>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Datagrams for which a buffer had no room.
    pub full: u64,
    /// Datagrams that the kernel would not send.
    pub failed: u64,
}

impl<K: Copy + PartialEq> Run<K> {
    pub(super) fn new() -> Self {
        Self { route: None, segment: 0, count: 0, closed: false, bytes: Vec::with_capacity(BYTES) }
    }

    /// Whether a datagram of `length` bytes may go along.
    pub(super) fn takes(&self, route: &Route<K>, length: usize, most: usize) -> bool {
        match &self.route {
            None => true,
            Some(current) => {
                !self.closed
                    && length <= self.segment
                    && self.count < most
                    && self.bytes.len() + length <= BYTES
                    && length > 0
                    && current == route
            }
        }
    }

    /// Adds a datagram made of `parts` that [`Self::takes`] said yes to.
    pub(super) fn push(&mut self, route: Route<K>, parts: &[&[u8]]) {
        let before = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let length = self.bytes.len() - before;
        if self.route.is_none() {
            self.route = Some(route);
            self.segment = length;
        }
        self.closed = length < self.segment;
        self.count += 1;
    }

    pub(super) fn route(&self) -> Option<Route<K>> {
        self.route
    }

    /// Sends what there is by `socket` and begins anew.
    pub(super) fn flush(&mut self, socket: Option<&UdpSocket>, state: &UdpSocketState) -> Sent {
        let Some(route) = self.route.take() else { return Sent::default() };
        let sent = match socket {
            Some(socket) => send(socket, state, &route, &self.bytes, self.segment, self.count),
            None => Sent::default(),
        };
        self.bytes.clear();
        (self.count, self.closed) = (0, false);
        sent
    }
}

/// Sends `count` datagrams of `segment` bytes each (the last may be shorter) by one call, or one by one where that cannot be.
pub fn send<K>(
    socket: &UdpSocket,
    state: &UdpSocketState,
    route: &Route<K>,
    bytes: &[u8],
    segment: usize,
    count: usize,
) -> Sent {
    let transmit = |contents, segment_size| Transmit {
        destination: route.to,
        ecn: route.ecn,
        contents,
        segment_size,
        src_ip: route.from,
    };
    if count == 1 && route.ecn.is_none() && route.from.is_none() {
        // Without control data the kernel has less to read and to check.
        return match socket.send_to(bytes, route.to) {
            Ok(_) => Sent::default(),
            Err(error) if is_full(&error) => Sent { full: 1, failed: 0 },
            Err(_) => Sent { full: 0, failed: 1 },
        };
    }
    let many = (count > 1).then_some(segment);
    match state.try_send(socket.into(), &transmit(bytes, many)) {
        Ok(()) => Sent::default(),
        Err(error) if is_full(&error) => Sent { full: count as u64, failed: 0 },
        // Segmentation may be what the route's device cannot do: one by one, then.
        Err(_) if count > 1 => {
            let mut sent = Sent::default();
            for datagram in bytes.chunks(segment) {
                match state.try_send(socket.into(), &transmit(datagram, None)) {
                    Ok(()) => {}
                    Err(error) if is_full(&error) => sent.full += 1,
                    Err(_) => sent.failed += 1,
                }
            }
            sent
        }
        Err(_) => Sent { full: 0, failed: 1 },
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}
