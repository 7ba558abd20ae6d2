//! Where no descriptor is left, connections wait in the kernel, and the relay asks for them now and then instead of without a
//! pause. A program of its own: the limit is that of the whole process.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use switchboard_turn::driver::{Server, Settings};
use switchboard_turn::{Credentials, Pace, Quotas, Reach};

/// A Binding request (RFC 8489 §5).
const BINDING: [u8; 20] =
    [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

fn settings() -> Settings {
    Settings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        listen_tls: vec![],
        certificate: None,
        advertised: vec![[127, 0, 0, 1].into()],
        ports: 49_152..=65_535,
        credentials: Credentials::new(b"secret", []),
        reach: Reach::Open,
        allow_peers: vec![],
        quotas: Quotas { per_user: 10, total: 10 },
        permissions: 16,
        old_channels: false,
        pace: Pace::default(),
        unauthenticated: 100,
        workers: 1,
    }
}

/// Takes every descriptor that the process may have.
fn take_all() -> Vec<File> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let highest = numbers.max().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, highest + 1, hard).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn connections_wait_while_there_are_no_descriptors_and_are_served_afterwards() {
    let server = Server::start(&settings()).unwrap();
    let refused = || server.counters()["refused_descriptors"];
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let taken = take_all();
    client.connect(&server.listening()[0].into()).unwrap();
    let mut client = TcpStream::from(client);
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(&BINDING).unwrap();

    let mut looks = 0;
    while refused() < 3 {
        // Paces the test: the third attempt comes half a second after the first.
        std::thread::sleep(Duration::from_millis(5));
        looks += 1;
        assert!(looks < 4000, "{} attempts to accept", refused());
    }
    assert!(refused() < 20, "{} attempts to accept: it does not pause", refused());

    drop(taken);
    let mut answer = [0; 32];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..2], [1, 1], "a success response to the Binding request");
    server.stop();
}
