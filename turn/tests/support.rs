//! A relay on a bench: clients speak to it, the time is ours, and what it orders is carried out without sockets.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun_types::attribute::{
    AttributeFromRaw, AttributeStaticType, AttributeWrite, ErrorCode, Nonce, Realm, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite as _, MessageWriteExt as _, MessageWriteVec, Method, TransactionId,
};
use switchboard_turn::{
    Client, Credentials, Family, Framing, Ledger, Onward, Output, Pace, Policy, Quotas, Reach,
    Relay, Rules, SocketKey, Toward, Transport, Unopened, channel,
};
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The time on the wall when a bench begins.
pub const NOON: u64 = 1_800_000_000;
/// The relayed addresses.
pub const OURS: &str = "192.0.2.1";
pub const OURS_V6: &str = "2001:db8::1";
/// A peer on the public internet.
pub const PEER: &str = "9.9.9.9:5000";
pub const PEER_V6: &str = "[2620:fe::9]:5000";

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A client that writes from `address` by UDP.
pub fn client(address: &str) -> Client {
    Client { transport: Transport::Udp, listener: 0, remote: at(address), local: None }
}

/// How the bench is set up.
pub struct Setup {
    pub reach: Reach,
    pub allow: Vec<&'static str>,
    pub quotas: Quotas,
    pub ports: std::ops::RangeInclusive<u16>,
    pub permissions: usize,
    pub kilobits: u64,
    pub unauthenticated: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            reach: Reach::Open,
            allow: vec![],
            quotas: Quotas { per_user: 10, total: 100 },
            ports: 50_000..=50_999,
            permissions: 8,
            kilobits: 0,
            unauthenticated: 1000,
        }
    }
}

pub struct Bench {
    pub relay: Relay,
    pub ledger: Arc<Ledger>,
    pub now: Instant,
    /// Sockets that are open, with the relayed address each stands for.
    pub open: HashMap<SocketKey, SocketAddr>,
    /// Sockets that are kept for reservations.
    pub reserved: HashSet<SocketAddr>,
    /// Ports that another program has.
    pub others: HashSet<u16>,
    /// Why no socket can be opened.
    pub no_sockets: Option<Unopened>,
    /// Sockets that were to be opened.
    pub tried: usize,
    pub hung_up: Vec<Client>,
    nonces: HashMap<Client, String>,
    transaction: u128,
}

/// Who signs, and with what.
#[derive(Clone)]
pub struct Signature {
    pub username: String,
    pub password: String,
    pub realm: String,
}

/// A signature of `user` that is good for an hour.
pub fn signed_by(user: &str) -> Signature {
    signed_until(NOON + 3600, user)
}

pub fn signed_until(expires: u64, user: &str) -> Signature {
    let (username, password) = Credentials::new(SECRET, []).mint(expires, user, None).unwrap();
    Signature { username, password, realm: "turn".into() }
}

impl Signature {
    fn key(&self, algorithm: IntegrityAlgorithm) -> IntegrityKey {
        let (name, word, realm) = (&self.username, &self.password, &self.realm);
        LongTermKeyCredentials::new(name.clone(), word.clone(), realm.clone()).make_key(algorithm)
    }
}

/// An answer, as bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer(pub Vec<u8>);

impl Answer {
    pub fn message(&self) -> Message<'_> {
        Message::from_bytes(&self.0).unwrap()
    }

    /// The error code; 0 is success.
    pub fn code(&self) -> u16 {
        let message = self.message();
        if message.has_class(MessageClass::Success) {
            return 0;
        }
        message.attribute::<ErrorCode>().unwrap().code()
    }

    pub fn relayed(&self) -> Vec<SocketAddr> {
        let message = self.message();
        let addresses = message.iter_attributes().filter_map(|(_, raw)| {
            let relayed = XorRelayedAddress::from_raw_ref(&raw).ok()?;
            Some(relayed.addr(message.transaction_id()))
        });
        addresses.collect()
    }

    pub fn lifetime(&self) -> u32 {
        self.message().attribute::<Lifetime>().unwrap().seconds()
    }

    pub fn has<A: AttributeStaticType>(&self) -> bool {
        self.message().has_attribute(A::TYPE)
    }
}

pub type Attributes<'a> = &'a [&'a dyn AttributeWrite];

impl Default for Bench {
    fn default() -> Self {
        Self::new(Setup::default())
    }
}

impl Bench {
    #[allow(clippy::disallowed_methods)]
    pub fn new(setup: Setup) -> Self {
        let advertised: Vec<IpAddr> = vec![OURS.parse().unwrap(), OURS_V6.parse().unwrap()];
        let policy = Policy {
            reach: setup.reach,
            allow: setup.allow.iter().map(|range| range.parse().unwrap()).collect(),
            own: advertised.iter().copied().chain(["10.0.0.5".parse().unwrap()]).collect(),
            listening: HashSet::from([3478]),
        };
        let rules = Rules {
            credentials: Credentials::new(SECRET, [("door".to_owned(), "bell-bell".to_owned())]),
            policy,
            advertised,
            permissions: setup.permissions,
            old_channels: false,
            pace: Pace::of_kilobits(setup.kilobits),
            unauthenticated: setup.unauthenticated,
        };
        let ledger = Arc::new(Ledger::new(setup.ports, setup.quotas));
        let now = Instant::now();
        let relay = Relay::new(0, Arc::new(rules), Arc::clone(&ledger), &[7; 32], (now, NOON));
        Self {
            relay,
            ledger,
            now,
            open: HashMap::new(),
            reserved: HashSet::new(),
            others: HashSet::new(),
            no_sockets: None,
            tried: 0,
            hung_up: vec![],
            nonces: HashMap::new(),
            transaction: 1,
        }
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.relay.handle_timeout(self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) -> Vec<(Client, Answer)> {
        let mut answers = Vec::new();
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Reply { client, bytes } => answers.push((client, Answer(bytes))),
                Output::Close(key) => assert!(self.open.remove(&key).is_some()),
                Output::HangUp(client) => self.hung_up.push(client),
                Output::Open { socket, address, pair } => {
                    let outcome = self.open_socket(socket, address, pair);
                    self.relay.handle_opened(socket, outcome, self.now);
                }
                Output::CloseReserved(address) => drop(self.reserved.remove(&address)),
            }
        }
        answers
    }

    fn open_socket(
        &mut self,
        socket: SocketKey,
        address: SocketAddr,
        pair: bool,
    ) -> Result<(), Unopened> {
        self.tried += 1;
        if let Some(unopened) = self.no_sockets {
            return Err(unopened);
        }
        let next = SocketAddr::new(address.ip(), address.port() + 1);
        let wanted = [address, next];
        let wanted = if pair { &wanted[..] } else { &wanted[..1] };
        if wanted.iter().any(|address| self.others.contains(&address.port())) {
            return Err(Unopened::Taken);
        }
        self.reserved.remove(&address);
        if pair {
            assert!(self.reserved.insert(next), "{next} is reserved already");
        }
        assert!(!self.open.values().any(|open| wanted.contains(open)), "{address} is open already");
        assert!(self.open.insert(socket, address).is_none());
        Ok(())
    }

    /// Sends bytes; what comes back at once.
    pub fn raw(&mut self, client: Client, bytes: &[u8]) -> (Option<Onward>, Vec<Answer>) {
        let onward = self.relay.handle_client(client, bytes, self.now);
        let answers = self.carry_out();
        assert!(answers.iter().all(|(to, _)| *to == client), "an answer to another client");
        (onward, answers.into_iter().map(|(_, answer)| answer).collect())
    }

    pub fn transaction(&mut self) -> TransactionId {
        self.transaction += 1;
        self.transaction.into()
    }

    /// A message with `attributes`, signed when a signature with its nonce is there.
    pub fn build(
        &mut self,
        kind: (MessageClass, Method),
        attributes: Attributes<'_>,
        signature: Option<(&Signature, &str)>,
    ) -> Vec<u8> {
        let transaction = self.transaction();
        build(transaction, kind, attributes, signature)
    }

    /// The nonce that `client` was given.
    pub fn nonce(&mut self, client: Client) -> String {
        if let Some(nonce) = self.nonces.get(&client) {
            return nonce.clone();
        }
        let request = self.build((MessageClass::Request, ALLOCATE), &[], None);
        let (_, answers) = self.raw(client, &request);
        let nonce = answers[0].message().attribute::<Nonce>().unwrap().nonce().to_owned();
        self.nonces.insert(client, nonce.clone());
        nonce
    }

    pub fn forget_nonces(&mut self) {
        self.nonces.clear();
    }

    /// Asks with a signature, and the nonce that the relay gave.
    pub fn ask(
        &mut self,
        client: Client,
        signature: &Signature,
        method: Method,
        attributes: Attributes<'_>,
    ) -> Answer {
        let nonce = self.nonce(client);
        let kind = (MessageClass::Request, method);
        let request = self.build(kind, attributes, Some((signature, &nonce)));
        let (onward, mut answers) = self.raw(client, &request);
        assert_eq!((onward, answers.len()), (None, 1), "one answer to one request");
        answers.remove(0)
    }

    pub fn allocate(&mut self, client: Client, user: &str) -> Answer {
        self.ask(client, &signed_by(user), ALLOCATE, &[&RequestedTransport::new(17)])
    }

    pub fn refresh(&mut self, client: Client, user: &str, lifetime: u32) -> Answer {
        self.ask(client, &signed_by(user), REFRESH, &[&Lifetime::new(lifetime)])
    }

    pub fn permit(&mut self, client: Client, user: &str, peers: &[&str]) -> Answer {
        let nonce = self.nonce(client);
        let transaction = self.transaction();
        let peers: Vec<_> =
            peers.iter().map(|peer| XorPeerAddress::new(at(peer), transaction)).collect();
        let attributes: Vec<&dyn AttributeWrite> = peers.iter().map(|peer| peer as _).collect();
        let kind = (MessageClass::Request, CREATE_PERMISSION);
        let bytes = build(transaction, kind, &attributes, Some((&signed_by(user), &nonce)));
        self.raw(client, &bytes).1.remove(0)
    }

    pub fn bind(&mut self, client: Client, user: &str, number: u16, peer: &str) -> Answer {
        let nonce = self.nonce(client);
        let transaction = self.transaction();
        let peer = XorPeerAddress::new(at(peer), transaction);
        let kind = (MessageClass::Request, CHANNEL_BIND);
        let attributes: Attributes<'_> = &[&ChannelNumber::new(number), &peer];
        let bytes = build(transaction, kind, attributes, Some((&signed_by(user), &nonce)));
        self.raw(client, &bytes).1.remove(0)
    }

    /// A Send indication; where it goes.
    pub fn send(&mut self, client: Client, peer: &str, payload: &[u8]) -> Option<Onward> {
        let transaction = self.transaction();
        let peer = XorPeerAddress::new(at(peer), transaction);
        let attributes: Attributes<'_> = &[&peer, &Data::new(payload)];
        let bytes = build(transaction, (MessageClass::Indication, SEND), attributes, None);
        let (onward, answers) = self.raw(client, &bytes);
        assert!(answers.is_empty(), "an indication is never answered");
        onward
    }

    pub fn channel_data(&mut self, client: Client, number: u16, payload: &[u8]) -> Option<Onward> {
        let mut bytes = vec![];
        bytes.extend(number.to_be_bytes());
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        let (onward, answers) = self.raw(client, &bytes);
        assert!(answers.is_empty(), "channel data is never answered");
        onward
    }

    /// A packet from outside to a relayed address; how it reaches the client.
    pub fn peer_sends(&mut self, relayed: SocketAddr, peer: &str) -> Option<Toward> {
        let key = *self.open.iter().find(|(_, address)| **address == relayed)?.0;
        self.relay.handle_peer(key, at(peer), 100, self.now)
    }
}

pub fn build(
    transaction: TransactionId,
    (class, method): (MessageClass, Method),
    attributes: Attributes<'_>,
    signature: Option<(&Signature, &str)>,
) -> Vec<u8> {
    let kind = MessageType::from_class_method(class, method);
    let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
    attributes.iter().for_each(|attribute| message.add_attribute(*attribute).unwrap());
    if let Some((signature, nonce)) = signature {
        message.add_attribute(&Username::new(&signature.username).unwrap()).unwrap();
        message.add_attribute(&Realm::new(&signature.realm).unwrap()).unwrap();
        message.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
        let sha1 = IntegrityAlgorithm::Sha1;
        message.add_message_integrity_with_key(&signature.key(sha1), sha1).unwrap();
    }
    message.finish()
}

/// Whether a packet went to a peer outside.
pub fn went_outside(onward: Option<&Onward>, to: &str) -> bool {
    matches!(onward, Some(Onward::Outside { peer, .. }) if *peer == at(to))
}

pub fn as_channel(number: u16) -> Framing {
    Framing::Channel(channel::Number::new(number).unwrap())
}

pub fn key(allocation: u32) -> SocketKey {
    SocketKey { allocation, family: Family::V4 }
}
