//! Streams with real sockets: bursts are answered to their end, and one client keeps no other waiting.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use stun_types::message::{BINDING, MessageClass};
use switchboard_turn::driver::{Server, Settings};

use crate::support::{at, build};
use crate::wire::settings;

/// Bytes of the answer to a Binding request over IPv4.
const ANSWER: usize = 32;

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

fn over_tls() -> Settings {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let certificate = Some((folder.join("cert.pem"), folder.join("key.pem")));
    Settings { listen_tls: vec![at("127.0.0.1:0")], certificate, workers: 1, ..settings() }
}

fn connect_tls(server: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, connect(server))
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn bindings(count: u128) -> Vec<u8> {
    let request = |n: u128| build(n.into(), (MessageClass::Request, BINDING), &[], None);
    (1..=count).flat_map(request).collect()
}

/// The transaction ids of `count` answers, in order.
fn answers(stream: &mut impl std::io::Read, count: usize) -> Vec<u128> {
    let mut bytes = vec![0; count * ANSWER];
    stream.read_exact(&mut bytes).unwrap();
    let transaction = |answer: &[u8]| {
        assert_eq!(answer[..2], [1, 1]);
        u128::from_be_bytes(answer[4..20].try_into().unwrap()) & (u128::MAX >> 32)
    };
    bytes.chunks(ANSWER).map(transaction).collect()
}

#[test]
fn every_message_of_a_burst_over_tls_is_answered() {
    let server = Server::start(&over_tls()).unwrap();
    // More than 64 KiB, and less than what may wait for a client that reads later.
    let burst = bindings(6000);
    for record in [16_384, 1000, 20, 4099] {
        let mut client = connect_tls(server.listening_tls()[0]);
        client.write_all(&bindings(1)).unwrap();
        assert_eq!(answers(&mut client, 1), [1]);
        burst.chunks(record).for_each(|part| client.write_all(part).unwrap());
        assert!(answers(&mut client, 6000).into_iter().eq(1..=6000), "records of {record}");
    }
    server.stop();
}

#[test]
fn a_client_that_never_stops_sending_keeps_no_other_waiting() {
    let server = Server::start(&over_tls()).unwrap();
    let (plain, tls) = (server.listening()[0], server.listening_tls()[0]);
    let stop = Arc::new(AtomicBool::new(false));
    let flood = |mut stream: Box<dyn std::io::Write + Send>| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let burst = bindings(20_000);
            while !stop.load(Ordering::Relaxed) && stream.write_all(&burst).is_ok() {}
        })
    };
    let floods = [flood(Box::new(connect(plain))), flood(Box::new(connect_tls(tls)))];
    let mut others = (connect(plain), connect_tls(tls));
    for _ in 0..50 {
        others.0.write_all(&bindings(1)).unwrap();
        others.1.write_all(&bindings(1)).unwrap();
        assert_eq!(answers(&mut others.0, 1), [1]);
        assert_eq!(answers(&mut others.1, 1), [1]);
    }
    stop.store(true, Ordering::Relaxed);
    server.stop();
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}
