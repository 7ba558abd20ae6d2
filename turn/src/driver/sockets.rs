//! UDP sockets: those that clients write to, and those of relayed addresses.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams (or trains of equal ones) that one call receives.
pub const BATCH: usize = 32;
/// Bytes of the largest train.
const TRAIN: usize = 65_536;
/// Bytes from one train to the next: no power of two, so that they do not all fall into the same lines of the caches.
const STRIDE: usize = TRAIN + 2112;
/// Bytes the kernel keeps for a listener that many clients write to.
const LISTENER_BUFFER: usize = 4 << 20;
/// Bytes the kernel keeps for one relayed address.
const RELAY_BUFFER: usize = 1 << 20;

/// Opens a UDP socket that shares its address with those of the other workers.
pub fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = shared(address, Type::DGRAM, Protocol::UDP)?;
    let _ = socket.set_recv_buffer_size(LISTENER_BUFFER);
    let _ = socket.set_send_buffer_size(LISTENER_BUFFER);
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    receive_in_trains(&socket, address.is_ipv4())?;
    // On a wildcard address the answer must come from where the client wrote to.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        _ => {}
    }
    Ok(socket)
}

/// Opens a TCP listener that shares its address with those of the other workers.
pub fn listen_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = shared(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn shared(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Has equal datagrams of one sender received as one train (UDP_GRO), with their ECN bits.
fn receive_in_trains(socket: &UdpSocket, v4: bool) -> io::Result<()> {
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
    match v4 {
        true => setsockopt(socket, sockopt::IpRecvTos, &true)?,
        false => setsockopt(socket, sockopt::Ipv6RecvTClass, &true)?,
    }
    Ok(())
}

/// What the kernel can do for UDP, found out on a socket that is thrown away: on the sockets of clients nothing is to change.
pub fn offload() -> io::Result<UdpSocketState> {
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .or_else(|_| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)))?;
    UdpSocketState::new((&probe).into())
}

/// How many trains to make room for: what came lately, with room to see that there is more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected(usize);

impl Expected {
    pub(super) fn most(self) -> usize {
        (2 * self.0).clamp(2, BATCH)
    }

    pub(super) fn note(&mut self, received: usize) {
        // What came less often is forgotten slowly: bursts come again.
        self.0 = received.max(self.0 - self.0.div_ceil(8).min(self.0));
    }
}

/// The socket of a relayed address.
pub(super) struct RelaySocket {
    pub(super) socket: UdpSocket,
    /// Whether it receives in trains, which pays while much arrives, and costs while little does.
    pub(super) trains: bool,
    pub(super) expected: Expected,
    /// In how many rounds one after the other something was there, and the last of them.
    warmth: u8,
    last_round: u64,
    /// Whether it forbids fragmentation, as a client has once asked for.
    whole: bool,
}

impl RelaySocket {
    /// Opens `address`, on `bind` where that is another one (behind a 1:1 NAT).
    pub(super) fn open(address: SocketAddr, bind: IpAddr) -> io::Result<Self> {
        let address = SocketAddr::new(bind, address.port());
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        let _ = socket.set_recv_buffer_size(RELAY_BUFFER);
        socket.bind(&address.into())?;
        Ok(Self {
            socket: socket.into(),
            trains: false,
            expected: Expected::default(),
            warmth: 0,
            last_round: 0,
            whole: false,
        })
    }

    /// Notes a round in which something was there; the third in a row makes it receive in trains.
    pub(super) fn warm(&mut self, round: u64) {
        let again = self.last_round + 1 == round;
        self.last_round = round;
        self.warmth = if again { self.warmth.saturating_add(1) } else { 0 };
        if self.warmth >= 2 && !self.trains {
            let v4 = self.socket.local_addr().is_ok_and(|address| address.is_ipv4());
            self.trains = receive_in_trains(&self.socket, v4).is_ok();
        }
    }

    /// Forbids fragmentation from now on (RFC 8656 §15; Linux knows it for a socket, not for a datagram).
    pub(super) fn keep_whole(&mut self) {
        if !self.whole {
            self.whole = UdpSocketState::new((&self.socket).into()).is_ok();
            self.trains |= self.whole;
        }
    }
}

/// Sockets of reserved ports. The allocation that takes one up may live on another worker than the one that reserved it.
#[derive(Default)]
pub(super) struct Reserved(Mutex<HashMap<SocketAddr, RelaySocket>>);

impl Reserved {
    pub(super) fn keep(&self, address: SocketAddr, socket: RelaySocket) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address, socket);
    }

    pub(super) fn take(&self, address: SocketAddr) -> Option<RelaySocket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&address)
    }
}

/// Memory that datagrams are received into.
pub struct Inbox {
    bytes: Box<[u8]>,
    pub(super) meta: [RecvMeta; BATCH],
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// Memory for one batch.
    pub fn new() -> Self {
        let bytes = vec![0; BATCH * STRIDE].into_boxed_slice();
        Self { bytes, meta: [RecvMeta::default(); BATCH] }
    }

    /// Receives as many trains as one call gives; returns how many.
    pub fn receive(&mut self, socket: &UdpSocket, state: &UdpSocketState) -> io::Result<usize> {
        self.receive_at_most(BATCH, socket, state)
    }

    /// Receives `most` trains at most: room for fewer costs less to prepare. Returns how many.
    pub(super) fn receive_at_most(
        &mut self,
        most: usize,
        socket: &UdpSocket,
        state: &UdpSocketState,
    ) -> io::Result<usize> {
        let mut trains = self.bytes.chunks_exact_mut(STRIDE);
        let mut slices: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| {
            IoSliceMut::new(
                trains.next().and_then(|train| train.get_mut(..TRAIN)).unwrap_or_default(),
            )
        });
        let slices = slices.get_mut(..most.clamp(1, BATCH)).unwrap_or_default();
        state.recv(socket.into(), slices, &mut self.meta)
    }

    /// Receives one datagram behind `room` bytes that are left free in front of it; returns its length and sender.
    pub(super) fn receive_one(
        &mut self,
        socket: &UdpSocket,
        room: usize,
    ) -> io::Result<(usize, SocketAddr)> {
        let space = self.bytes.get_mut(room..TRAIN).unwrap_or_default();
        socket.recv_from(space)
    }

    /// The train at `index`.
    pub(super) fn train(&self, index: usize) -> Option<(RecvMeta, &[u8])> {
        let meta = *self.meta.get(index)?;
        let begin = index * STRIDE;
        Some((meta, self.bytes.get(begin..begin + meta.len)?))
    }

    /// The train at `index`, to be worked on in place.
    pub fn train_mut(&mut self, index: usize) -> Option<(RecvMeta, &mut [u8])> {
        let meta = *self.meta.get(index)?;
        let begin = index * STRIDE;
        Some((meta, self.bytes.get_mut(begin..begin + meta.len)?))
    }

    /// The beginning of the memory.
    pub(super) fn front(&mut self, length: usize) -> &mut [u8] {
        self.bytes.get_mut(..length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Expected};

    #[test]
    fn room_is_made_for_what_comes_and_for_seeing_that_there_is_more() {
        let mut expected = Expected::default();
        assert_eq!(expected.most(), 2);
        for most in [4, 8, 16, BATCH, BATCH] {
            expected.note(expected.most());
            assert_eq!(expected.most(), most);
        }
        (0..8).for_each(|_| expected.note(1));
        assert!((4..BATCH).contains(&expected.most()), "a burst is remembered for a while");
        (0..100).for_each(|_| expected.note(1));
        assert_eq!(expected.most(), 2);
    }
}
