//! Control messages: bytes become a [`Request`] that cannot be wrong, and answers become bytes again.
//!
//! Attributes behind MESSAGE-INTEGRITY are never seen (RFC 8489 §14.5), and answers carry neither SOFTWARE nor a reason
//! phrase, so that having them sent to a victim gains little.

use std::net::SocketAddr;

use stun_types::attribute::{
    Attribute as _, AttributeFromRaw, AttributeStaticType, AttributeType, AttributeWrite,
    ErrorCode, Fingerprint, MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm,
    PasswordAlgorithmValue, PasswordAlgorithms, Realm, UnknownAttributes, Userhash, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, Message, MessageClass, MessageType, MessageWrite as _,
    MessageWriteExt as _, MessageWriteVec, Method, TransactionId,
};
use turn_types::attribute::{
    AdditionalAddressFamily, ChannelNumber, Data, DontFragment, EvenPort, Lifetime,
    RequestedAddressFamily, RequestedTransport, ReservationToken, XorPeerAddress,
};

use crate::ledger::Family;

pub(crate) use stun_types::message::BINDING;
pub(crate) use turn_types::message::{
    ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA, REFRESH, SEND,
};

/// Bytes in front of the attributes (RFC 8489 §5).
pub(crate) const HEADER: usize = 20;
/// The realm, short because every unauthenticated answer carries it.
pub const REALM: &str = "turn";
/// Room in front of the payload of a Data indication: header, XOR-PEER-ADDRESS of an IPv6 peer, DATA's own header.
pub(crate) const DATA_OVERHEAD: usize = HEADER + 24 + 4;

/// Why a datagram is no message that could be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a STUN message")]
pub(crate) struct Malformed;

/// ADDITIONAL-ADDRESS-FAMILY in draft-martinsen-tram-ssoda.
const DRAFTED_ADDITIONAL_ADDRESS_FAMILY: AttributeType = AttributeType::new(0x8032);

/// What is known to this relay; anything else that must be understood is answered 420 (RFC 8489 §6.3.1).
const KNOWN: [AttributeType; 17] = [
    Username::TYPE,
    Userhash::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
    PasswordAlgorithm::TYPE,
    Fingerprint::TYPE,
    Lifetime::TYPE,
    XorPeerAddress::TYPE,
    Data::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
    EvenPort::TYPE,
    ReservationToken::TYPE,
    ChannelNumber::TYPE,
    DontFragment::TYPE,
];

/// A family as a client names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WantedFamily {
    Known(Family),
    /// A number that is no family here.
    Unknown,
}

/// A request or indication of a client.
pub(crate) struct Request<'a> {
    message: Message<'a>,
    pub(crate) method: Method,
    pub(crate) indication: bool,
}

impl<'a> Request<'a> {
    /// Reads one whole message; responses are refused too, for this side asks nothing.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let [_, _, high, low, ..] = *bytes else { return Err(Malformed) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length % 4 != 0 || bytes.len() != HEADER + length {
            return Err(Malformed);
        }
        let message = Message::from_bytes(bytes).map_err(|_| Malformed)?;
        let indication = match message.class() {
            MessageClass::Request => false,
            MessageClass::Indication => true,
            _ => return Err(Malformed),
        };
        Ok(Self { method: message.method(), message, indication })
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        self.message.transaction_id()
    }

    /// The attribute; `Err` when it is there and cannot be read.
    pub(crate) fn attribute<'m, A>(&'m self) -> Result<Option<A>, Malformed>
    where
        A: AttributeFromRaw<'m> + AttributeStaticType,
        'm: 'a,
    {
        if !self.message.has_attribute(A::TYPE) {
            return Ok(None);
        }
        self.message.attribute::<A>().map(Some).map_err(|_| Malformed)
    }

    pub(crate) fn has<A: AttributeStaticType>(&self) -> bool {
        self.message.has_attribute(A::TYPE)
    }

    /// What must be understood and is not known here.
    pub(crate) fn unknown(&self) -> Vec<AttributeType> {
        let types = self.message.iter_attributes().map(|(_, raw)| raw.get_type());
        types.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind)).collect()
    }

    /// The family that an Allocate request names for its relayed address (RFC 8656 §18.6).
    pub(crate) fn requested_family(&self) -> Result<Option<WantedFamily>, Malformed> {
        self.family(RequestedAddressFamily::TYPE)
    }

    /// The family asked for besides IPv4 (RFC 8656 §18.11), under its number or the one of the draft that coturn's clients use.
    pub(crate) fn additional_family(&self) -> Result<Option<WantedFamily>, Malformed> {
        match self.family(AdditionalAddressFamily::TYPE)? {
            Some(family) => Ok(Some(family)),
            None => self.family(DRAFTED_ADDITIONAL_ADDRESS_FAMILY),
        }
    }

    fn family(&self, kind: AttributeType) -> Result<Option<WantedFamily>, Malformed> {
        let Some(raw) = self.message.raw_attribute(kind) else { return Ok(None) };
        let [family, _, _, _] = *raw.value else { return Err(Malformed) };
        Ok(Some(match family {
            1 => WantedFamily::Known(Family::V4),
            2 => WantedFamily::Known(Family::V6),
            _ => WantedFamily::Unknown,
        }))
    }

    /// Every XOR-PEER-ADDRESS, in order.
    pub(crate) fn peers(&self) -> Result<Vec<SocketAddr>, Malformed> {
        let raw = self.message.iter_attributes().map(|(_, raw)| raw);
        raw.filter(|raw| raw.get_type() == XorPeerAddress::TYPE)
            .map(|raw| XorPeerAddress::from_raw_ref(&raw).map_err(|_| Malformed))
            .map(|peer| Ok(peer?.addr(self.transaction())))
            .collect()
    }

    /// Where the payload of a Send indication lies in the datagram.
    pub(crate) fn data(&self) -> Option<std::ops::Range<usize>> {
        let (offset, raw) = self
            .message
            .iter_attributes()
            .find(|(_, attribute)| attribute.get_type() == Data::TYPE)?;
        Some(offset + 4..offset + 4 + usize::from(raw.length()))
    }

    /// Whether the message is signed with `key`, compared in constant time.
    pub(crate) fn signed_with(&self, key: &IntegrityKey) -> bool {
        self.message.validate_integrity_with_key(key).is_ok()
    }

    /// What an answer repeats of the request.
    pub(crate) fn reference(&self) -> Reference {
        Reference { method: self.method, transaction: self.transaction() }
    }

    /// Starts the answer of success.
    pub(crate) fn success(&self) -> Answer {
        self.reference().success()
    }

    /// Starts an answer of failure.
    pub(crate) fn error(&self, code: u16) -> Answer {
        self.reference().error(code)
    }

    /// 401 and 438: how to sign, and the nonce to do it with (RFC 8489 §9.2.4). 76 bytes.
    pub(crate) fn challenge(&self, code: u16, nonce: &str) -> Answer {
        let mut answer = self.error(code);
        if let (Ok(realm), Ok(nonce)) = (Realm::new(REALM), Nonce::new(nonce)) {
            answer.put(&realm).put(&nonce);
        }
        answer.put(&PasswordAlgorithms::new(&ALGORITHMS));
        answer
    }

    /// 420, naming what was not understood.
    pub(crate) fn not_understood(&self, unknown: &[AttributeType]) -> Answer {
        let mut answer = self.error(ErrorCode::UNKNOWN_ATTRIBUTE);
        answer.put(&UnknownAttributes::new(unknown));
        answer
    }
}

/// What passwords may be hashed with, in the order of preference.
pub(crate) const ALGORITHMS: [PasswordAlgorithmValue; 2] =
    [PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5];

/// What an answer repeats of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    method: Method,
    pub(crate) transaction: TransactionId,
}

impl Reference {
    /// Starts the answer of success.
    pub(crate) fn success(self) -> Answer {
        Answer::of(self, MessageClass::Success)
    }

    /// Starts an answer of failure.
    pub(crate) fn error(self, code: u16) -> Answer {
        let mut answer = Answer::of(self, MessageClass::Error);
        if let Ok(error) = ErrorCode::builder(code).reason("").build() {
            answer.put(&error);
        }
        answer
    }
}

/// An answer under way.
pub(crate) struct Answer(MessageWriteVec);

impl Answer {
    fn of(request: Reference, class: MessageClass) -> Self {
        let kind = MessageType::from_class_method(class, request.method);
        Self(Message::builder(kind, request.transaction, MessageWriteVec::with_capacity(128)))
    }

    /// Adds an attribute; the largest answer is far below what a message holds.
    pub(crate) fn put(&mut self, attribute: &dyn AttributeWrite) -> &mut Self {
        let _ = self.0.add_attribute(attribute);
        self
    }

    /// The bytes, unsigned.
    pub(crate) fn plain(self) -> Vec<u8> {
        self.0.finish()
    }

    /// The bytes, signed with the key and in the way of the request.
    pub(crate) fn signed(mut self, key: &IntegrityKey, algorithm: IntegrityAlgorithm) -> Vec<u8> {
        let _ = self.0.add_message_integrity_with_key(key, algorithm);
        self.0.finish()
    }
}

/// Writes a Data indication (RFC 8656 §11.3) into `out`, which begins empty.
pub(crate) fn data_indication(
    peer: SocketAddr,
    transaction: u128,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let kind = MessageType::from_class_method(MessageClass::Indication, DATA);
    let transaction = TransactionId::from(transaction);
    let capacity = MessageWriteVec::with_capacity(DATA_OVERHEAD + payload.len() + 3);
    let mut message = Message::builder(kind, transaction, capacity);
    let _ = message.add_attribute(&XorPeerAddress::new(peer, transaction));
    let _ = message.add_attribute(&Data::new(payload));
    out.extend_from_slice(&message.finish());
}
