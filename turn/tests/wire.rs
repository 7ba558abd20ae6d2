//! The driver with real sockets: other people's client, slow clients, floods, the door, and a certificate that is renewed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use stun_types::attribute::AttributeWrite;
use stun_types::message::{BINDING, MessageClass};
use switchboard_turn::door::{Batch, Insider};
use switchboard_turn::driver::{Server, Settings};
use switchboard_turn::{Credentials, Pace, Quotas, Reach};
use turn::client::{Client, ClientConfig};
use turn_types::attribute::RequestedTransport;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION};
use webrtc_util::conn::Conn;

use crate::support::{Answer, SECRET, Signature, at, build};

const LOCAL: &str = "127.0.0.1:0";

pub fn settings() -> Settings {
    Settings {
        listen: vec![at(LOCAL)],
        listen_tls: vec![],
        certificate: None,
        advertised: vec!["127.0.0.1".parse().unwrap()],
        ports: 49_152..=65_535,
        credentials: Credentials::new(SECRET, [("ann".to_owned(), "password".to_owned())]),
        reach: Reach::Open,
        allow_peers: vec!["127.0.0.0/8".parse().unwrap()],
        quotas: Quotas { per_user: 1000, total: 1000 },
        permissions: 16,
        old_channels: false,
        pace: Pace::default(),
        unauthenticated: 100,
        workers: 2,
    }
}

fn counter(server: &Server, name: &str) -> u64 {
    server.counters()[name]
}

/// A client by hand, for what a good one would not do.
struct ByHand {
    socket: UdpSocket,
    nonce: String,
    transaction: u128,
}

impl ByHand {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(LOCAL).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut client = Self { socket, nonce: String::new(), transaction: 1 };
        let challenge =
            client.exchange(&build(1.into(), (MessageClass::Request, ALLOCATE), &[], None));
        let message = challenge.message();
        client.nonce =
            message.attribute::<stun_types::attribute::Nonce>().unwrap().nonce().to_owned();
        client
    }

    fn exchange(&self, request: &[u8]) -> Answer {
        self.socket.send(request).unwrap();
        let mut answer = [0; 1500];
        let length = self.socket.recv(&mut answer).unwrap();
        Answer(answer[..length].to_vec())
    }

    fn ask(
        &mut self,
        method: stun_types::message::Method,
        attributes: impl FnOnce(stun_types::message::TransactionId) -> Vec<Box<dyn AttributeWrite>>,
    ) -> Answer {
        self.transaction += 1;
        let transaction = self.transaction.into();
        let attributes = attributes(transaction);
        let attributes: Vec<&dyn AttributeWrite> = attributes.iter().map(|one| &**one).collect();
        let ann =
            Signature { username: "ann".into(), password: "password".into(), realm: "turn".into() };
        let signature = Some((&ann, self.nonce.as_str()));
        self.exchange(&build(transaction, (MessageClass::Request, method), &attributes, signature))
    }

    fn allocate(&mut self) -> SocketAddr {
        self.ask(ALLOCATE, |_| vec![Box::new(RequestedTransport::new(17))]).relayed()[0]
    }

    fn permit(&mut self, peer: &str) -> u16 {
        use turn_types::attribute::XorPeerAddress;
        let peer = at(peer);
        let peer = |transaction| -> Vec<Box<dyn AttributeWrite>> {
            vec![Box::new(XorPeerAddress::new(peer, transaction))]
        };
        self.ask(CREATE_PERMISSION, peer).code()
    }

    fn bind(&mut self, number: u16, peer: SocketAddr) -> u16 {
        use turn_types::attribute::{ChannelNumber, XorPeerAddress};
        let answer = self.ask(CHANNEL_BIND, |transaction| {
            vec![
                Box::new(ChannelNumber::new(number)),
                Box::new(XorPeerAddress::new(peer, transaction)),
            ]
        });
        answer.code()
    }
}

#[tokio::test]
async fn the_client_of_the_turn_crate_is_served() {
    let server = Server::start(&settings()).unwrap();
    let address = server.listening()[0];
    let socket = Arc::new(tokio::net::UdpSocket::bind(LOCAL).await.unwrap());
    let config = ClientConfig {
        stun_serv_addr: address.to_string(),
        turn_serv_addr: address.to_string(),
        username: "ann".into(),
        password: "password".into(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: socket,
        vnet: None,
    };
    let client = Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    let relayed = client.allocate().await.unwrap();
    let outside = relayed.local_addr().unwrap();
    let peer = tokio::net::UdpSocket::bind(LOCAL).await.unwrap();
    relayed.send_to(b"ping", peer.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 100];
    for n in 0..300_u32 {
        let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"ping"[..], outside));
        peer.send_to(&n.to_be_bytes(), from).await.unwrap();
        let (length, from) = relayed.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&n.to_be_bytes()[..], peer.local_addr().unwrap()));
        relayed.send_to(b"ping", from).await.unwrap();
    }
    assert_eq!(server.allocations().len(), 1);
    relayed.close().await.unwrap();
    client.close().await.unwrap();
    server.stop();
}

struct Echo;

impl Insider for Echo {
    fn receive(&self, packets: &Batch, replies: &mut Batch) {
        for (from, to, payload) in packets.iter() {
            replies.push(to, from, payload);
        }
    }
}

#[test]
fn who_lives_inside_answers_without_a_socket_and_can_speak_from_any_thread() {
    let server =
        Server::start(&Settings { reach: Reach::Inside, allow_peers: vec![], ..settings() })
            .unwrap();
    let (echo, media) = (at("127.0.0.1:7000"), at("127.0.0.1:7001"));
    server.door().register(echo, Arc::new(Echo));
    server.door().register(media, Arc::new(Echo));
    let mut clients: Vec<ByHand> = (0..20).map(|_| ByHand::new(server.listening()[0])).collect();
    for client in &mut clients {
        let relayed = client.allocate();
        // Each worker learns of the addresses for itself.
        until("the address inside to be known", || client.bind(0x4000, echo) == 0);
        assert_eq!(client.exchange(b"\x40\x00\x00\x04ping").0, b"\x40\x00\x00\x04ping");
        let mut batch = Batch::default();
        batch.push(media, relayed, b"unasked");
        assert_eq!(server.door().send(&batch), 0);
        let mut probe = [0; 100];
        assert!(client.socket.recv(&mut probe).is_ok(), "the permission is for the address");
        assert_ne!(client.bind(0x4001, at("127.0.0.1:7002")), 0, "no relayed address");
    }
    assert!(counter(&server, "packets_inside") >= 60);
    assert!(server.allocations().iter().all(|view| view.relayed.len() == 1));
    let mut nowhere = Batch::default();
    nowhere.push(media, at("127.0.0.1:50000"), b"x");
    assert!(server.door().send(&nowhere) <= 1);
    server.stop();
}

#[test]
fn a_full_queue_drops_and_counts_and_goes_on() {
    struct Loud;
    impl Insider for Loud {
        fn receive(&self, packets: &Batch, replies: &mut Batch) {
            for (from, to, payload) in packets.iter() {
                while replies.push(to, from, payload) {}
            }
        }
    }
    let server = Server::start(&settings()).unwrap();
    let loud = at("127.0.0.2:7000");
    server.door().register(loud, Arc::new(Loud));
    let mut client = ByHand::new(server.listening()[0]);
    client.allocate();
    assert_eq!(client.bind(0x4000, loud), 0);
    for _ in 0..50 {
        client.socket.send(b"\x40\x00\x00\x04ping").unwrap();
    }
    client.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    until("the loud one to answer", || {
        client.socket.send(b"\x40\x00\x00\x04ping").unwrap();
        client.socket.recv(&mut [0; 1500]).is_ok()
    });
    let mut other = ByHand::new(server.listening()[0]);
    other.allocate();
    server.stop();
}

#[test]
fn slow_and_foreign_streams_are_closed_and_hold_nobody_up() {
    let server = Server::start(&settings()).unwrap();
    let address = server.listening()[0];
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut begun = TcpStream::connect(address).unwrap();
    begun.write_all(b"\x00\x03\xFF\xFC").unwrap();
    let mut web = TcpStream::connect(address).unwrap();
    web.write_all(b"\x16\x03\x01 TLS where none is").unwrap();
    web.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(web.read(&mut [0; 10]).unwrap(), 0, "closed at once");
    let mut good = TcpStream::connect(address).unwrap();
    let request = build(1.into(), (MessageClass::Request, BINDING), &[], None);
    // In pieces, and two at once.
    good.write_all(&request[..7]).unwrap();
    std::thread::sleep(Duration::from_millis(50)); // paces the stream: the first piece is read by itself
    good.write_all(&[&request[7..], &request[..]].concat()).unwrap();
    let mut answers = [0; 64];
    good.read_exact(&mut answers).unwrap();
    assert_eq!((&answers[..2], &answers[32..34]), (&[1, 1][..], &[1, 1][..]));
    for stream in silent.iter_mut().chain([&mut begun]) {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "closed after ten seconds");
    }
    assert!(counter(&server, "streams_closed") >= 51);
    server.stop();
}

/// Resident memory of this process, in KiB.
fn resident() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4
}

/// Allocate requests with one byte changed, from fifty sources.
struct Rubbish {
    sockets: Vec<UdpSocket>,
    seed: Vec<u8>,
    to: SocketAddr,
    state: u64,
    sent: u64,
}

impl Rubbish {
    fn new(to: SocketAddr) -> Self {
        let source = |n| UdpSocket::bind(format!("127.0.1.{n}:0")).unwrap();
        let attributes: [&dyn AttributeWrite; 1] = [&RequestedTransport::new(17)];
        let seed = build(9.into(), (MessageClass::Request, ALLOCATE), &attributes, None);
        Self { sockets: (1..=50).map(source).collect(), seed, to, state: 1, sent: 0 }
    }

    fn send(&mut self) {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut datagram = self.seed.clone();
        let place = (self.state >> 40) as usize % datagram.len();
        datagram[place] = (self.state >> 32) as u8;
        let socket = &self.sockets[(self.state >> 50) as usize % self.sockets.len()];
        self.sent += u64::from(socket.send_to(&datagram, self.to).is_ok());
    }
}

#[test]
fn a_flood_of_rubbish_takes_nothing_from_a_stream_that_runs() {
    let server = Arc::new(Server::start(&settings()).unwrap());
    let address = server.listening()[0];
    let peer = UdpSocket::bind(LOCAL).unwrap();
    let mut client = ByHand::new(address);
    let relayed = client.allocate();
    assert_eq!(client.bind(0x4000, peer.local_addr().unwrap()), 0);
    // Ten datagrams of rubbish before every packet; `FLOOD_SECONDS` adds a thread that sends them as fast as it can, which is
    // more than an unoptimized build keeps up with.
    let seconds = std::env::var("FLOOD_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let begun = std::time::Instant::now();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = (seconds > 0).then(|| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut rubbish = Rubbish::new(address);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rubbish.send();
            }
            rubbish.sent
        })
    });
    let mut rubbish = Rubbish::new(address);
    peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut buffer, mut early) = ([0; 100], 0);
    for n in 0_u32.. {
        if n >= 2000 && begun.elapsed().as_secs() >= seconds {
            break;
        }
        if n == 500 {
            early = resident();
        }
        (0..10).for_each(|_| rubbish.send());
        client.socket.send(&[&b"\x40\x00\x00\x04"[..], &n.to_be_bytes()].concat()).unwrap();
        let (length, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&n.to_be_bytes()[..], relayed));
        peer.send_to(&n.to_be_bytes(), relayed).unwrap();
        let length = client.socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[4..length], n.to_be_bytes());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let grown = resident() - early;
    let sent = rubbish.sent + flood.map_or(0, |flood| flood.join().unwrap());
    let rate = sent as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} datagrams a second, {grown} KiB more after the first 500 answers");
    // The memory is that of the process: other tests run in it unless this one was asked for by name, to be long.
    assert!(seconds == 0 || grown < 4096, "{grown} KiB more");
    assert!(sent > 5000);
    assert!(counter(&server, "dropped_malformed") > 0);
    assert_eq!(server.open(), 1);
    server.stop();
}

#[test]
fn an_allocation_opens_a_real_port_and_its_end_closes_it() {
    let server = Server::start(&settings()).unwrap();
    let mut client = ByHand::new(server.listening()[0]);
    let relayed = client.allocate();
    assert!(UdpSocket::bind(relayed).is_err(), "bound before it is answered");
    assert_eq!(client.bind(0x4000, at("127.0.0.9:1")), 0);
    server.revoke("ann", Duration::from_secs(60));
    until("the port to be free", || UdpSocket::bind(relayed).is_ok());
    assert_eq!(client.ask(ALLOCATE, |_| vec![Box::new(RequestedTransport::new(17))]).code(), 401);
    server.stop();
}

/// Waits until `what` holds, which may take a moment and must not take long.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what} in vain");
        std::thread::yield_now();
    }
}

#[test]
fn where_nobody_outside_is_reached_no_port_is_bound() {
    let inside = Settings { reach: Reach::Inside, allow_peers: vec![], ..settings() };
    let server = Server::start(&inside).unwrap();
    let mut client = ByHand::new(server.listening()[0]);
    let relayed = client.allocate();
    assert!(UdpSocket::bind(relayed).is_ok());
    server.stop();
}

/// Ports of a range, few and outside of what the kernel picks from, so that tests at the same time do not meet.
fn ports(first: u16, count: u16) -> std::ops::RangeInclusive<u16> {
    first..=first + count - 1
}

#[test]
fn allocations_succeed_beside_a_program_that_takes_ports_of_the_range() {
    let range = ports(21_000, 400);
    let server = Server::start(&Settings { ports: range.clone(), ..settings() }).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let other = std::thread::spawn({
        let (stop, mut state) = (Arc::clone(&stop), 0x9E37_79B9_7F4A_7C15_u64);
        move || {
            println!("seed {state}");
            let (mut held, mut taken) = (std::collections::VecDeque::new(), 0_u64);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let port = range.start() + u16::try_from((state >> 33) % 400).unwrap();
                if let Ok(socket) = UdpSocket::bind(("127.0.0.1", port)) {
                    held.push_back(socket);
                    taken += 1;
                }
                if held.len() > 200 {
                    held.pop_front();
                }
            }
            taken
        }
    });
    let mut clients: Vec<ByHand> = (0..100).map(|_| ByHand::new(server.listening()[0])).collect();
    for client in &mut clients {
        let relayed = client.allocate();
        assert_eq!(client.bind(0x4000, at("127.0.0.9:1")), 0, "{relayed}");
        assert_eq!(client.permit("127.0.0.8:1"), 0, "{relayed}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(other.join().unwrap() > 200);
    assert_eq!((counter(&server, "refused_ports"), server.open()), (0, 100));
    server.stop();
}

#[test]
fn a_range_is_used_to_its_last_free_port_and_pairs_are_bound_whole() {
    use turn_types::attribute::EvenPort;
    let range = ports(22_000, 20);
    let server = Server::start(&Settings { ports: range.clone(), ..settings() }).unwrap();
    // All but 22_006, 22_007 and 22_011.
    let others: Vec<UdpSocket> = range
        .filter(|port| ![22_006, 22_007, 22_011].contains(port))
        .map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap())
        .collect();
    let mut clients: Vec<ByHand> = (0..3).map(|_| ByHand::new(server.listening()[0])).collect();
    let pair = clients[0].ask(ALLOCATE, |_| {
        vec![Box::new(RequestedTransport::new(17)), Box::new(EvenPort::new(true))]
    });
    assert_eq!(pair.relayed()[0].port(), 22_006);
    assert!(UdpSocket::bind("127.0.0.1:22007").is_err(), "the reserved port is bound too");
    assert_eq!(clients[1].allocate().port(), 22_011);
    let none = clients[2].ask(ALLOCATE, |_| vec![Box::new(RequestedTransport::new(17))]);
    assert_eq!(none.code(), 508);
    assert!(counter(&server, "ports_taken") > 0 && counter(&server, "refused_ports") == 1);
    let token = pair.message().attribute::<turn_types::attribute::ReservationToken>().unwrap();
    let token = token.token();
    let taken = clients[2].ask(ALLOCATE, |_| {
        vec![
            Box::new(RequestedTransport::new(17)),
            Box::new(turn_types::attribute::ReservationToken::new(token)),
        ]
    });
    assert_eq!(taken.relayed()[0].port(), 22_007, "whichever worker it came to");
    assert_eq!(clients[2].bind(0x4000, at("127.0.0.9:1")), 0);
    drop(others);
    server.stop();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind(LOCAL).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::start(&Settings { listen: vec![address], ..settings() }).err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let first = Server::start(&settings()).unwrap();
    let again = Settings { listen: first.listening().to_vec(), ..settings() };
    assert!(Server::start(&again).is_err(), "two relays must not share a port");
    first.stop();
}
