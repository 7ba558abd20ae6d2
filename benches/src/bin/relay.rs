//! A relay alone, for `benches/relay`: with somebody inside who echoes at 127.0.0.1:7000, and the same somebody behind a
//! socket at 127.0.0.1:7001. `PORT` is where it listens, `FIRST` to `LAST` are its relayed ports. Prints `ready` and runs until it is killed.

use std::io::{IoSliceMut, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use switchboard_turn::door::{Batch, Insider};
use switchboard_turn::driver::{Server, Settings};
use switchboard_turn::{Credentials, Pace, Quotas, Reach};

struct Echo;

impl Insider for Echo {
    fn receive(&self, packets: &Batch, replies: &mut Batch) {
        for (from, to, payload) in packets.iter() {
            replies.push(to, from, payload);
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let server = Server::start(&Settings {
        listen: vec![address(number("PORT").unwrap_or(3478))],
        listen_tls: vec![],
        certificate: None,
        advertised: vec!["127.0.0.1".parse()?],
        ports: number("FIRST").unwrap_or(17_000)..=number("LAST").unwrap_or(31_999),
        credentials: Credentials::new(b"", [("user".to_owned(), "pass".to_owned())]),
        reach: Reach::Open,
        allow_peers: vec!["127.0.0.0/8".parse()?],
        quotas: Quotas { per_user: 40_000, total: 40_000 },
        permissions: 64,
        old_channels: false,
        pace: Pace::of_kilobits(1_000_000),
        unauthenticated: 1000,
        workers: number("WORKERS").unwrap_or(0).into(),
    })?;
    server.door().register(address(7000), Arc::new(Echo));
    std::thread::spawn(move || echo(&UdpSocket::bind(address(7001)).ok()?).ok());
    std::io::stdout().write_all(b"ready\n")?;
    std::thread::park();
    Ok(())
}

/// The same echo behind a socket, with the batches an SFU would use.
fn echo(socket: &UdpSocket) -> std::io::Result<()> {
    const TRAIN: usize = 65_536;
    let state = UdpSocketState::new(socket.into())?;
    socket.set_nonblocking(false)?;
    let mut bytes = vec![0; 32 * TRAIN];
    let mut meta = [RecvMeta::default(); 32];
    loop {
        // The first of a batch is waited for, the rest is what is there.
        let mut first = [0; 1];
        socket.peek_from(&mut first)?;
        socket.set_nonblocking(true)?;
        let mut trains = bytes.chunks_exact_mut(TRAIN);
        let mut slices: [IoSliceMut<'_>; 32] =
            std::array::from_fn(|_| IoSliceMut::new(trains.next().unwrap_or_default()));
        let received = state.recv(socket.into(), &mut slices, &mut meta)?;
        socket.set_nonblocking(false)?;
        for (meta, train) in meta.iter().take(received).zip(bytes.chunks_exact(TRAIN)) {
            let contents = train.get(..meta.len).unwrap_or_default();
            let segment_size = (meta.stride < meta.len).then_some(meta.stride);
            let back = Transmit {
                destination: meta.addr,
                ecn: None,
                contents,
                segment_size,
                src_ip: None,
            };
            let _ = state.try_send(socket.into(), &back);
        }
    }
}
