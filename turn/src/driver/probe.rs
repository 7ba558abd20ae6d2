//! Asks a relay for an allocation as a client would, and gives it back: does it work, and what does an outside client see?

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username, XorMappedAddress};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite as _, MessageWriteExt as _, MessageWriteVec, Method, TransactionId,
};
use turn_types::attribute::{Lifetime, RequestedTransport, XorRelayedAddress};

use crate::Transport;
use crate::message::{ALLOCATE, REFRESH};

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The protocol number of UDP.
const UDP: u8 = 17;

/// What a client was given.
#[derive(Clone, Copy, Debug)]
pub struct Allocated {
    /// Where its packets would come from.
    pub relayed: SocketAddr,
    /// Where the relay saw the client.
    pub mapped: SocketAddr,
}

/// Why nothing was given.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The relay cannot be reached or does not answer.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// The relay says no.
    #[error("the relay answers {0}")]
    Refused(u16),
    /// What answers is no relay.
    #[error("what answers there is no TURN relay")]
    Foreign,
}

trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

enum Wire {
    Datagrams(UdpSocket),
    Stream(Box<dyn Line>),
}

/// Allocates at `server` and gives it back. The certificate of a TLS listener is taken as it is.
pub fn probe(
    server: SocketAddr,
    transport: Transport,
    username: &str,
    password: &str,
) -> Result<Allocated, ProbeError> {
    let mut wire = connect(server, transport)?;
    let challenge = wire.ask(ALLOCATE, &[&RequestedTransport::new(UDP)], None)?;
    let challenge = Message::from_bytes(&challenge).map_err(|_| ProbeError::Foreign)?;
    let nonce = challenge.attribute::<Nonce>().map_err(|_| ProbeError::Foreign)?;
    let realm = challenge.attribute::<Realm>().map_err(|_| ProbeError::Foreign)?.realm().to_owned();
    let signer = LongTermKeyCredentials::new(username.into(), password.into(), realm);
    let signer = Some((&signer, nonce.nonce()));
    let answer = wire.ask(ALLOCATE, &[&RequestedTransport::new(UDP)], signer)?;
    let answer = Message::from_bytes(&answer).map_err(|_| ProbeError::Foreign)?;
    if !answer.has_class(MessageClass::Success) {
        let code = answer.attribute::<ErrorCode>().map_err(|_| ProbeError::Foreign)?.code();
        return Err(ProbeError::Refused(code));
    }
    let transaction = answer.transaction_id();
    let relayed = answer.attribute::<XorRelayedAddress>().map_err(|_| ProbeError::Foreign)?;
    let mapped = answer.attribute::<XorMappedAddress>().map_err(|_| ProbeError::Foreign)?;
    wire.ask(REFRESH, &[&Lifetime::new(0)], signer)?;
    Ok(Allocated { relayed: relayed.addr(transaction), mapped: mapped.addr(transaction) })
}

fn connect(server: SocketAddr, transport: Transport) -> io::Result<Wire> {
    if transport == Transport::Udp {
        let any = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        return Ok(Wire::Datagrams(socket));
    }
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if transport == Transport::Tcp {
        return Ok(Wire::Stream(Box::new(stream)));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AsItIs(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(server.ip().into());
    let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(Wire::Stream(Box::new(StreamOwned::new(tls, stream))))
}

impl Wire {
    fn ask(
        &mut self,
        method: Method,
        attributes: &[&dyn AttributeWrite],
        signer: Option<(&LongTermKeyCredentials, &str)>,
    ) -> io::Result<Vec<u8>> {
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut request = Message::builder(kind, TransactionId::generate(), MessageWriteVec::new());
        let written = write(&mut request, attributes, signer);
        written.map_err(io::Error::other)?;
        self.exchange(&request.finish())
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; 1500];
        match self {
            Self::Datagrams(socket) => {
                socket.send(request)?;
                let length = socket.recv(&mut answer)?;
                answer.truncate(length);
            }
            Self::Stream(stream) => {
                stream.write_all(request)?;
                stream.flush()?;
                let mut header = [0; 20];
                stream.read_exact(&mut header)?;
                let [_, _, high, low, ..] = header;
                answer.truncate(usize::from(u16::from_be_bytes([high, low])));
                stream.read_exact(&mut answer)?;
                answer.splice(0..0, header);
            }
        }
        Ok(answer)
    }
}

fn write(
    request: &mut MessageWriteVec,
    attributes: &[&dyn AttributeWrite],
    signer: Option<(&LongTermKeyCredentials, &str)>,
) -> Result<(), stun_types::message::StunWriteError> {
    attributes.iter().try_for_each(|attribute| request.add_attribute(*attribute))?;
    let Some((signer, nonce)) = signer else { return Ok(()) };
    request.add_attribute(&Username::new(signer.username())?)?;
    request.add_attribute(&Realm::new(signer.realm())?)?;
    request.add_attribute(&Nonce::new(nonce)?)?;
    let sha1 = IntegrityAlgorithm::Sha1;
    request.add_message_integrity_with_key(&signer.make_key(sha1), sha1)
}

/// Takes any certificate: this client has nothing to lose.
#[derive(Debug)]
pub(super) struct AsItIs(pub(super) Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AsItIs {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
