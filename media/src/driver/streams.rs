//! TCP connections of clients that get no UDP through (RFC 6544, passive; framing of RFC 4571 §2).

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use slab::Slab;

/// Bytes that may wait for a client that reads slowly; more packets are dropped, as UDP would.
const WAITING: usize = 256 << 10;
/// Bytes of the longest frame.
const FRAME: usize = 4096;
/// Bytes of the first frame, which must be a check, at most.
const FIRST_FRAME: usize = 1000;
/// How long a connection may belong to no peer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of one worker, and of one address among them.
const STREAMS: usize = 4096;
const STREAMS_PER_ADDRESS: u16 = 256;

/// A connection on its way to the worker of its peer, and what came by it.
pub(crate) struct Arrived {
    pub(super) socket: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Stream {
    socket: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) local: Option<IpAddr>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Until when it must have shown whose it is; then this is looked at again now and then.
    until: Instant,
    /// Whether a peer has been found that it belongs to.
    pub(super) owned: bool,
    /// Whether the kernel is asked to notify when there is room again.
    pub(super) waits: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    all: Slab<Stream>,
    of_address: HashMap<IpAddr, u16>,
}

impl Streams {
    /// Takes a connection in; `None` when there are too many.
    pub(super) fn open(&mut self, arrived: Arrived, now: Instant) -> Option<u32> {
        let Arrived { socket, remote, bytes } = arrived;
        let count = self.of_address.entry(remote.ip()).or_default();
        if self.all.len() >= STREAMS || *count >= STREAMS_PER_ADDRESS {
            return None;
        }
        socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).ok()?;
        let local = socket.local_addr().ok().map(|address| address.ip());
        *count += 1;
        let place = self.all.insert(Stream {
            socket,
            remote,
            local,
            incoming: bytes,
            outgoing: Vec::new(),
            until: now + PATIENCE,
            owned: false,
            waits: false,
        });
        u32::try_from(place).ok()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Stream> {
        self.all.get_mut(place as usize)
    }

    /// Takes a connection out, with what came by it and was not a whole frame.
    pub(super) fn take(&mut self, place: u32) -> Option<Arrived> {
        let stream = self.all.try_remove(place as usize)?;
        if let Some(count) = self.of_address.get_mut(&stream.remote.ip()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_address.remove(&stream.remote.ip());
            }
        }
        Some(Arrived { socket: stream.socket, remote: stream.remote, bytes: stream.incoming })
    }

    /// Connections that belong to no peer, by what `belongs` says of them, and have had their time.
    pub(super) fn overdue(
        &mut self,
        now: Instant,
        belongs: impl Fn(u32, &Stream) -> bool,
    ) -> Vec<u32> {
        let mut overdue = Vec::new();
        for (place, stream) in &mut self.all {
            let Ok(place) = u32::try_from(place) else { continue };
            if belongs(place, stream) {
                stream.until = now + PATIENCE;
            } else if now >= stream.until {
                overdue.push(place);
            }
        }
        overdue
    }
}

impl Stream {
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads what there is, up to what `scratch` holds; the end of the stream is an `Err`. Returns whether there may be more.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        match self.socket.read(scratch) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.incoming.extend_from_slice(scratch.get(..length).unwrap_or_default());
                Ok(length == scratch.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts the next frame into `into`; `None` while it is not whole. An `Err` is no frame that we would take.
    pub(super) fn frame(&self, into: &mut Vec<u8>) -> Result<Option<usize>, ()> {
        let Some((&header, rest)) = self.incoming.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(header));
        let most = if self.owned { FRAME } else { FIRST_FRAME };
        if length == 0 || length > most {
            return Err(());
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        into.clear();
        into.extend_from_slice(frame);
        Ok(Some(2 + length))
    }

    /// The next frame begins `length` bytes further.
    pub(super) fn advance(&mut self, length: usize) {
        self.incoming.drain(..length.min(self.incoming.len()));
        if self.incoming.is_empty() && self.incoming.capacity() > FRAME {
            self.incoming = Vec::new();
        }
    }

    /// Queues a frame; false when too much waits already.
    pub(super) fn write(&mut self, datagram: &[u8]) -> bool {
        let Ok(length) = u16::try_from(datagram.len()) else { return false };
        if self.outgoing.len() + datagram.len() > WAITING {
            return false;
        }
        self.outgoing.extend_from_slice(&length.to_be_bytes());
        self.outgoing.extend_from_slice(datagram);
        true
    }

    /// Sends what waits; true when some of it still does.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        let waits = loop {
            match self.outgoing.get(sent..) {
                None | Some([]) => break Ok(false),
                Some(rest) => match self.socket.write(rest) {
                    Ok(length) => sent += length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(true),
                    Err(error) => break Err(error),
                },
            }
        };
        self.outgoing.drain(..sent);
        waits
    }
}
