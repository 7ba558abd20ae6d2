//! TLS without sockets: bytes lie in memory, and an empty one would block.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection};

use super::{Portion, flush_plain, flush_tls, read_some, read_tls};
use crate::driver::probe::AsItIs;
use crate::driver::tls::Certificate;

/// What lies between two ends, of which one call takes `at_once` bytes at most.
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    at_once: usize,
    closed: bool,
}

impl Pipe {
    fn new() -> Self {
        Self { bytes: VecDeque::new(), room: usize::MAX, at_once: usize::MAX, closed: false }
    }
}

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && !self.closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = to.len().min(self.at_once);
        self.bytes.read(&mut to[..length])
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = from.len().min(self.room).min(self.at_once);
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.bytes.extend(&from[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends after their handshake, with what lies on the way to the server.
fn connected() -> (ClientConnection, ServerConnection, Pipe) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let certificate = Certificate::read(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
    let mut server = ServerConnection::new(certificate.current()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AsItIs(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    client.set_buffer_limit(None);
    let (mut there, mut back) = (Pipe::new(), Pipe::new());
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        let portion = read_tls(&mut server, &mut there, &mut [0; 10]).unwrap();
        assert_eq!(portion, Portion::default());
        flush_tls(&mut server, &mut back, &mut Vec::new()).unwrap();
        while !back.bytes.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    while client.wants_write() {
        client.write_tls(&mut there).unwrap();
    }
    (client, server, there)
}

/// Sends `payload` in records of the sizes in `records`, over and over.
fn send(client: &mut ClientConnection, to: &mut Pipe, payload: &[u8], records: &[usize]) {
    let mut rest = payload;
    for &record in records.iter().cycle() {
        let (now, later) = rest.split_at(record.min(rest.len()));
        client.writer().write_all(now).unwrap();
        while client.wants_write() {
            client.write_tls(to).unwrap();
        }
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

/// Reads as a worker does: again at once only while there is more.
fn read_turns(server: &mut ServerConnection, from: &mut Pipe, scratch: usize) -> (Vec<u8>, bool) {
    let (mut read, mut scratch) = (Vec::new(), vec![0; scratch]);
    loop {
        let portion = read_tls(server, from, &mut scratch).unwrap();
        read.extend(&scratch[..portion.length]);
        if !portion.more {
            return (read, portion.ended);
        }
    }
}

#[test]
fn a_burst_is_read_to_its_end_whatever_its_records_and_the_memory_are() {
    let payload: Vec<u8> = (0..300_000_u32).flat_map(|n| (n as u16).to_be_bytes()).collect();
    let sizes: [&[usize]; 6] =
        [&[16_384], &[1], &[1200, 36], &[5, 16_384, 1, 4000], &[4096], &[16_383, 2]];
    for (records, length) in
        sizes.into_iter().zip([600_000, 20_000, 600_000, 400_000, 65_537, 131_072])
    {
        for scratch in [64 << 10, 1000, 16_384, 16_385] {
            let (mut client, mut server, mut there) = connected();
            send(&mut client, &mut there, &payload[..length], records);
            let (read, ended) = read_turns(&mut server, &mut there, scratch);
            assert!(read == payload[..length], "{records:?} by {scratch}: {} read", read.len());
            assert!(!ended && there.bytes.is_empty());
        }
    }
}

#[test]
fn a_turn_is_bounded_by_the_memory_and_by_steps() {
    let (mut client, mut server, mut there) = connected();
    send(&mut client, &mut there, &[7; 200_000], &[16_384]);
    let portion = read_tls(&mut server, &mut there, &mut [0; 65_536]).unwrap();
    assert_eq!(portion, Portion { length: 65_536, more: true, ended: false });
    assert!(!there.bytes.is_empty(), "the rest waits for the next turns");

    let (mut client, mut server, mut there) = connected();
    send(&mut client, &mut there, &[7; 5000], &[1]);
    there.at_once = 1;
    let portion = read_tls(&mut server, &mut there, &mut [0; 65_536]).unwrap();
    assert!(portion.more && portion.length < 5000, "{portion:?}");
}

#[test]
fn what_lies_before_the_end_of_a_stream_is_read() {
    for closes in [true, false] {
        let (mut client, mut server, mut there) = connected();
        send(&mut client, &mut there, &[7; 70_000], &[16_384]);
        if closes {
            client.send_close_notify();
            client.write_tls(&mut there).unwrap();
        } else {
            there.closed = true;
        }
        let (read, ended) = read_turns(&mut server, &mut there, 64 << 10);
        assert_eq!((read.len(), ended), (70_000, true));
    }
    let mut plain = Pipe::new();
    plain.write_all(b"last words").unwrap();
    plain.closed = true;
    let mut scratch = [0; 64];
    assert_eq!(read_some(&mut plain, &mut scratch).unwrap().length, 10);
    assert!(read_some(&mut plain, &mut scratch).unwrap().ended);
}

#[test]
fn what_waits_to_be_sent_leaves_in_order_as_room_comes() {
    let payload: Vec<u8> = (0..100_000_u32).flat_map(|n| (n as u16).to_be_bytes()).collect();
    for at_once in [1000, usize::MAX] {
        let mut plain = Pipe { room: 0, at_once, ..Pipe::new() };
        let mut outgoing = payload.clone();
        while flush_plain(&mut plain, &mut outgoing).unwrap() {
            plain.room = 70_000;
        }
        assert!(outgoing.is_empty() && plain.bytes.iter().copied().eq(payload.iter().copied()));

        let (mut client, mut server, _) = connected();
        let mut there = Pipe { room: 0, at_once, ..Pipe::new() };
        let mut outgoing = payload.clone();
        let mut received = Vec::new();
        loop {
            let waits = flush_tls(&mut server, &mut there, &mut outgoing).unwrap();
            while !there.bytes.is_empty() {
                client.read_tls(&mut there).unwrap();
                client.process_new_packets().unwrap();
                let _ = client.reader().read_to_end(&mut received);
            }
            if !waits {
                break;
            }
            there.room = 70_000;
        }
        assert!(
            outgoing.is_empty() && received == payload,
            "{} of {}",
            received.len(),
            payload.len()
        );
    }
}
