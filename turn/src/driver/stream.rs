//! A client's stream, plain or under TLS, without blocking.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ServerConnection;

use crate::Client;

/// Bytes that may wait for a client that reads slowly; more packets are dropped, as UDP would.
const WAITING: usize = 256 << 10;
/// How long a client may take for its handshake and first message, and for the rest of any message it has begun.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stream may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);

pub(super) struct Stream {
    pub(super) socket: TcpStream,
    pub(super) client: Client,
    tls: Option<Box<ServerConnection>>,
    /// What has come and is not a whole frame yet.
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    opened: Instant,
    heard: bool,
    /// Since when a frame has been begun and not ended.
    begun: Option<Instant>,
    /// When it was last seen with an allocation.
    allocated: Instant,
    /// Whether the kernel is asked to tell when there is room again.
    pub(super) waits: bool,
}

impl Stream {
    pub(super) fn new(
        socket: TcpStream,
        client: Client,
        tls: Option<Box<ServerConnection>>,
        now: Instant,
    ) -> Self {
        Self {
            socket,
            client,
            tls,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            opened: now,
            heard: false,
            begun: None,
            allocated: now,
            waits: false,
        }
    }

    /// Reads what there is, at most what `scratch` holds, and returns how much it was; the end of the stream is an `Err`.
    pub(super) fn read(&mut self, scratch: &mut [u8], now: Instant) -> io::Result<usize> {
        let length = match &mut self.tls {
            None => read_some(&mut self.socket, scratch)?,
            Some(tls) => read_tls(tls, &mut self.socket, scratch)?,
        };
        self.incoming.extend_from_slice(scratch.get(..length).unwrap_or_default());
        if !self.incoming.is_empty() {
            self.begun.get_or_insert(now);
        }
        Ok(length)
    }

    /// Takes out what has come, for [`Self::keep`] to put the rest back.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming)
    }

    /// Puts back what is not a whole frame, after `used` bytes were.
    pub(super) fn keep(&mut self, mut bytes: Vec<u8>, used: usize) {
        if used > 0 {
            self.heard = true;
            self.begun = None;
        }
        bytes.drain(..used);
        // An idle stream is to hold no memory.
        if !bytes.is_empty() {
            self.incoming = bytes;
        }
    }

    /// Queues a frame made of `parts`; false when too much waits already.
    pub(super) fn write(&mut self, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.outgoing.len() + length > WAITING {
            return false;
        }
        parts.iter().for_each(|part| self.outgoing.extend_from_slice(part));
        true
    }

    /// Sends what waits; true when some of it still does.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            return flush_tls(tls, &mut self.socket, &mut self.outgoing);
        }
        while !self.outgoing.is_empty() {
            match self.socket.write(&self.outgoing) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        if self.outgoing.capacity() > 4096 {
            self.outgoing = Vec::new();
        }
        Ok(false)
    }

    /// Says goodbye as TLS wants it; whether it arrives does not matter.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Whether it is to be closed: slow, or of no use.
    pub(super) fn is_overdue(&mut self, has_allocation: bool, now: Instant) -> bool {
        if has_allocation {
            self.allocated = now;
        }
        let silent = !self.heard && now > self.opened + PATIENCE;
        let slow = self.begun.is_some_and(|begun| now > begun + PATIENCE);
        silent || slow || now > self.allocated + IDLE
    }
}

fn flush_tls(
    tls: &mut ServerConnection,
    socket: &mut TcpStream,
    outgoing: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        if !outgoing.is_empty() && !tls.is_handshaking() {
            let taken = tls.writer().write(outgoing)?;
            outgoing.drain(..taken);
        }
        if !tls.wants_write() {
            return Ok(false);
        }
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn read_some(socket: &mut TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
    match socket.read(scratch) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        read => read,
    }
}

fn read_tls(
    tls: &mut ServerConnection,
    socket: &mut TcpStream,
    scratch: &mut [u8],
) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let ended = match tls.read_tls(socket) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(length),
            Err(error) => return Err(error),
        };
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            let space = scratch.get_mut(length..).unwrap_or_default();
            match tls.reader().read(space) {
                Ok(read) if read > 0 => length += read,
                Ok(_) if length < scratch.len() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
