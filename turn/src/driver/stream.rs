//! A client's stream, plain or under TLS, without blocking.

use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ServerConnection;

use crate::Client;

/// Bytes that may wait for a client that reads slowly; more packets are dropped, as UDP would.
const WAITING: usize = 256 << 10;
/// Steps of decrypting in one turn, so that records without payload hold up no other client.
const READS: usize = 256;
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
    spoken: bool,
    /// Since when a frame has been begun and not ended.
    begun: Option<Instant>,
    /// When it was last seen with an allocation.
    allocated: Instant,
    /// Whether the kernel is asked for an event when there is room again.
    pub(super) waits: bool,
    /// Whether its next turn is scheduled without an event of the kernel.
    pub(super) scheduled: bool,
}

/// What one read of a stream gave.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Portion {
    /// Bytes in front of the scratch memory.
    pub(super) length: usize,
    /// Whether there may be more that is decrypted already: no event of the kernel announces it.
    pub(super) more: bool,
    /// Whether the client has ended its side behind these bytes.
    pub(super) ended: bool,
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
            spoken: false,
            begun: None,
            allocated: now,
            waits: false,
            scheduled: false,
        }
    }

    /// Reads what there is, at most what `scratch` holds.
    pub(super) fn read(&mut self, scratch: &mut [u8], now: Instant) -> io::Result<Portion> {
        let portion = match &mut self.tls {
            None => read_some(&mut self.socket, scratch)?,
            Some(tls) => read_tls(tls, &mut self.socket, scratch)?,
        };
        self.incoming.extend_from_slice(scratch.get(..portion.length).unwrap_or_default());
        if !self.incoming.is_empty() {
            self.begun.get_or_insert(now);
        }
        Ok(portion)
    }

    /// Takes out what has come, for [`Self::keep`] to put the rest back.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.incoming)
    }

    /// Puts back what is not a whole frame, after `used` bytes were.
    pub(super) fn keep(&mut self, mut bytes: Vec<u8>, used: usize, now: Instant) {
        bytes.drain(..used);
        if used > 0 {
            self.spoken = true;
            // The rest begins a message whose time runs from now on.
            self.begun = (!bytes.is_empty()).then_some(now);
        }
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
        let waits = match &mut self.tls {
            None => flush_plain(&mut self.socket, &mut self.outgoing)?,
            Some(tls) => flush_tls(tls, &mut self.socket, &mut self.outgoing)?,
        };
        if self.outgoing.is_empty() && self.outgoing.capacity() > 4096 {
            self.outgoing = Vec::new();
        }
        Ok(waits)
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
        let silent = !self.spoken && now > self.opened + PATIENCE;
        let slow = self.begun.is_some_and(|begun| now > begun + PATIENCE);
        silent || slow || now > self.allocated + IDLE
    }
}

fn flush_plain(socket: &mut impl io::Write, outgoing: &mut Vec<u8>) -> io::Result<bool> {
    let mut sent = 0;
    let outcome = loop {
        match outgoing.get(sent..) {
            None | Some([]) => break Ok(false),
            Some(rest) => match socket.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(true),
                Err(error) => break Err(error),
            },
        }
    };
    outgoing.drain(..sent);
    outcome
}

fn flush_tls(
    tls: &mut ServerConnection,
    socket: &mut impl io::Write,
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
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// Reads once; what the kernel keeps is announced by its next event.
fn read_some(socket: &mut impl Read, scratch: &mut [u8]) -> io::Result<Portion> {
    match socket.read(scratch) {
        Ok(length) => Ok(Portion { length, more: false, ended: length == 0 }),
        Err(error) if is_for_later(&error) => Ok(Portion::default()),
        Err(error) => Err(error),
    }
}

/// Decrypts what has come until `scratch` is full or the socket is empty. What is decrypted already is taken first: rustls
/// reads nothing while it keeps more than a record of it, and a socket that is empty says nothing about it.
fn read_tls(
    tls: &mut ServerConnection,
    socket: &mut impl Read,
    scratch: &mut [u8],
) -> io::Result<Portion> {
    let mut portion = Portion::default();
    for _ in 0..READS {
        let space = scratch.get_mut(portion.length..).unwrap_or_default();
        if space.is_empty() {
            break;
        }
        match tls.reader().read(space) {
            Ok(0) => return Ok(Portion { ended: true, ..portion }),
            Ok(length) => {
                portion.length += length;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The stream has ended without a close_notify.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Portion { ended: true, ..portion });
            }
            Err(error) => return Err(error),
        }
        match tls.read_tls(socket) {
            // Rustls notes the end and its reader says so once it is empty.
            Ok(_) => {}
            Err(error) if is_for_later(&error) => return Ok(portion),
            Err(error) => return Err(error),
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(Portion { more: true, ..portion })
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
