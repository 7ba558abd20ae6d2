//! Names of things: typed ids that cannot be wrong once they exist.

use std::fmt;
use std::str::FromStr;

use derive_more::Display;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

/// An account of the application, `1 ..= 2^53 - 1`; a JSON number on output. Inside, a guest of a room has one, too, which nobody
/// else sees: it is null on output.
#[derive(Clone, Copy, Debug, Display, Eq, Hash, Ord, PartialEq, PartialOrd, ToSchema)]
#[schema(value_type = u64, minimum = 1, maximum = 9007199254740991_u64, example = 4711)]
pub struct UserId(i64);

impl UserId {
    /// The largest integer that JavaScript keeps exact, 2^53 − 1.
    pub const MAX: i64 = (1 << 53) - 1;

    /// The id behind `value`, or `None` outside `1 ..= 2^53 - 1`.
    pub fn new(value: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&value).then_some(Self(value))
    }

    /// Somebody without an account.
    pub fn guest(seed: u64) -> Self {
        Self(-1 - (seed & Self::MAX.cast_unsigned()).cast_signed())
    }

    /// Whether there is no account behind it.
    pub fn is_guest(self) -> bool {
        self.0 < 0
    }

    /// The plain number.
    pub fn value(self) -> i64 {
        self.0
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_guest() { serializer.serialize_none() } else { serializer.serialize_i64(self.0) }
    }
}

impl FromStr for UserId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = digits.then(|| text.parse().ok()).flatten();
        value.and_then(Self::new).ok_or(InvalidId("a user id, an integer from 1 to 2^53-1"))
    }
}

/// Why a text is no id: what it should have been.
#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
pub struct InvalidId(&'static str);

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UserIdVisitor)
    }
}

struct UserIdVisitor;

impl Visitor<'_> for UserIdVisitor {
    type Value = UserId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user id, an integer from 1 to 2^53-1")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<UserId, E> {
        UserId::new(value)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<UserId, E> {
        let id = i64::try_from(value).ok().and_then(UserId::new);
        id.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<UserId, E> {
        value.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str("text"), &self))
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Display, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize, ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String, format = "uuid")]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId("a UUID"))
            }
        }
    };
}

uuid_id!(
    /// Names one call for its whole life; `callId` on the wire.
    CallId
);
uuid_id!(
    /// Names a participant for as long as it is in a room; `participantId` on the wire.
    ParticipantId
);
uuid_id!(
    /// Names a participant's session in a room; `sessionId` of `room:*`.
    RoomSessionId
);
uuid_id!(
    /// Names a published track; `trackId` on the wire.
    TrackId
);
uuid_id!(
    /// Names one piece of work that goes on after its request; `jobId` on the wire.
    JobId
);
uuid_id!(
    /// Names one recording; `recordingId` on the wire.
    RecordingId
);
uuid_id!(
    /// Names one file of a recording; `fileId` on the wire.
    FileId
);
uuid_id!(
    /// Names one message; `messageId` on the wire.
    MessageId
);
uuid_id!(
    /// Names one conversation; `conversationId` on the wire.
    ConversationId
);
uuid_id!(
    /// Names one fact.
    FactId
);
uuid_id!(
    /// Names one delivery of a fact to an endpoint of webhooks; `deliveryId` on the wire.
    DeliveryId
);
uuid_id!(
    /// Names one socket connection; `sessionId` on the wire.
    SessionId
);

impl ConversationId {
    /// The one conversation of two people: a UUIDv8 (RFC 9562 §5.8) made of the two ids, so that it needs no look-up and
    /// both sides may write first at the same moment. 61 bits hold the smaller id, 61 the larger.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = (a.min(b).0 as u128, a.max(b).0 as u128);
        let (top, middle, bottom) =
            (low >> 5, ((low & 0x1f) << 1) | (high >> 60), high & ((1 << 60) - 1));
        Self(Uuid::from_u128((top << 80) | (8 << 76) | (middle << 64) | (0b10 << 62) | bottom))
    }

    /// The two people of a direct conversation, smaller id first; `None` for a group.
    pub fn pair(self) -> Option<(UserId, UserId)> {
        if self.0.get_version_num() != 8 {
            return None;
        }
        let bits = self.0.as_u128();
        let (top, middle) = (bits >> 80, (bits >> 64) & 0xfff);
        let low = i64::try_from((top << 5) | (middle >> 1)).ok().and_then(UserId::new)?;
        let high = i64::try_from(((middle & 1) << 60) | (bits & ((1 << 60) - 1)))
            .ok()
            .and_then(UserId::new)?;
        (low < high && Self::direct(low, high) == self).then_some((low, high))
    }

    /// The other person of a direct conversation of `me`; `None` for a group or a conversation of others.
    pub fn peer_of(self, me: UserId) -> Option<UserId> {
        let (low, high) = self.pair()?;
        if me == low { Some(high) } else { (me == high).then_some(low) }
    }
}

/// A text of `1 ..= N` Unicode scalar values without control characters.
#[derive(Clone, Debug, Display, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Short<const N: usize>(String);

impl<const N: usize> Short<N> {
    /// Checks a text.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = !text.is_empty()
            && text.chars().take(N + 1).count() <= N
            && !text.contains(char::is_control);
        fits.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de, const N: usize> Deserialize<'de> for Short<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let complaint = || {
            D::Error::custom(format!(
                "expected 1 to {N} characters, none of them control characters"
            ))
        };
        Self::new(text).ok_or_else(complaint)
    }
}

impl<const N: usize> utoipa::PartialSchema for Short<N> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let text = utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String);
        text.min_length(Some(1)).max_length(Some(N)).into()
    }
}

impl<const N: usize> ToSchema for Short<N> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Text{N}").into()
    }
}

/// Names a room. That of a call has a name of its own kind, which no other room can have.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RoomId {
    /// 1 to 64 letters, digits, `-` and `_`.
    Named(RoomName),
    /// The room of a call; `call_` and the call's id on the wire.
    Call(CallId),
}

/// The name of a room that is not a call's.
#[derive(Clone, Debug, Display, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomName(String);

impl RoomId {
    /// The room of a call.
    pub fn of_call(call: CallId) -> Self {
        Self::Call(call)
    }

    /// A fresh name.
    pub fn fresh(id: Uuid) -> Self {
        Self::Named(RoomName(id.to_string()))
    }

    /// The call whose room it is.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::Named(_) => None,
            Self::Call(call) => Some(*call),
        }
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Call(call) => write!(f, "call_{call}"),
        }
    }
}

impl FromStr for RoomId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if let Some(call) = text.strip_prefix("call_").and_then(|call| call.parse().ok()) {
            return Ok(Self::Call(call));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        let error = InvalidId("a room id, 1 to 64 letters, digits, - and _");
        if fits { Ok(Self::Named(RoomName(text.to_owned()))) } else { Err(error) }
    }
}

impl Serialize for RoomId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoomId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl utoipa::PartialSchema for RoomId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let text = utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String);
        let text = text.max_length(Some(64)).pattern(Some("^[A-Za-z0-9_-]+$"));
        text.description(Some("Names a room: 1 to 64 letters, digits, `-` and `_`.")).into()
    }
}

impl ToSchema for RoomId {}

/// The idempotency key a client gives to a message or a call.
pub type ClientId = Short<64>;
/// Names one device of a user, chosen by the device.
pub type DeviceId = Short<64>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_direct_conversation_id_gives_its_two_people_back(a in 1..=UserId::MAX, b in 1..=UserId::MAX) {
            prop_assume!(a != b);
            let (a, b) = (UserId(a), UserId(b));
            let id = ConversationId::direct(a, b);
            prop_assert_eq!(id, ConversationId::direct(b, a));
            prop_assert_eq!(id.pair(), Some((a.min(b), a.max(b))));
            prop_assert_eq!(id.0.get_version_num(), 8);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn the_name_of_a_calls_room_is_nothing_but_that() {
        let call = CallId::new(Uuid::from_u128(0x0198_f1d0_1111_7222_8333_4444_5555_6666));
        let text = format!("call_{call}");
        assert_eq!(RoomId::of_call(call).to_string(), text);
        for text in [text.clone(), text.replace("call_0198f1d0-", "call_0198F1D0-")] {
            assert_eq!(text.parse::<RoomId>().unwrap().call(), Some(call), "{text}");
        }
        for named in ["call_", "call_1", "calls", "a-b_C9", &"x".repeat(64)] {
            let room: RoomId = named.parse().unwrap();
            assert_eq!((room.call(), room.to_string().as_str()), (None, named));
        }
        for bad in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<RoomId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_id_is_a_positive_safe_integer_or_its_decimal_text() {
        for good in ["7", "\"7\"", "9007199254740991"] {
            assert!(serde_json::from_str::<UserId>(good).is_ok(), "{good}");
        }
        for bad in [
            "0",
            "-1",
            "9007199254740992",
            "1e400",
            "1.5",
            "\"\"",
            "\"1x\"",
            "{\"$gt\":\"\"}",
            "[]",
            "null",
        ] {
            assert!(serde_json::from_str::<UserId>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_peer_of_a_conversation_is_the_other_of_its_two_people() {
        let [a, b, c] = [1, 2, 3].map(UserId);
        let id = ConversationId::direct(b, a);
        assert_eq!((id.peer_of(a), id.peer_of(b), id.peer_of(c)), (Some(b), Some(a), None));
        let group = ConversationId::new(Uuid::nil());
        assert_eq!((group.pair(), group.peer_of(a)), (None, None));
    }

    #[test]
    fn a_uuid_that_looks_like_a_direct_conversation_has_two_different_people_in_order() {
        let genuine = ConversationId::direct(UserId(7), UserId(9)).uuid().as_u128();
        for bit in 0..128 {
            let altered = ConversationId::new(Uuid::from_u128(genuine ^ (1 << bit)));
            if let Some((low, high)) = altered.pair() {
                assert!(low < high && ConversationId::direct(low, high) == altered, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_guest_is_nobody_on_the_wire_and_cannot_be_sent_by_a_client() {
        let guest = UserId::guest(u64::MAX);
        assert!(guest.is_guest() && !UserId(1).is_guest());
        assert_eq!(serde_json::to_string(&guest).unwrap(), "null");
        assert_eq!(serde_json::to_string(&UserId(4711)).unwrap(), "4711");
        let text = guest.value().to_string();
        assert!(serde_json::from_str::<UserId>(&text).is_err() && text.parse::<UserId>().is_err());
        assert!((0..1000).all(|seed| UserId::guest(seed).is_guest()));
    }

    #[test]
    fn a_short_text_counts_characters_and_has_no_control_characters() {
        let read = |text: &str| serde_json::from_value::<Short<4>>(text.into());
        for good in ["a", "abcd", "ä🦀ß€", "a b"] {
            assert_eq!(read(good).unwrap().as_str(), good);
        }
        for bad in ["", "abcde", "🦀🦀🦀🦀🦀", "a\nb", "\u{0}", "\u{7f}"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("1 to 4 characters"), "{bad:?}: {error}");
        }
        assert!(serde_json::from_str::<Short<4>>("7").is_err());
        assert_eq!(serde_json::to_string(&Short::<4>::new("ab").unwrap()).unwrap(), "\"ab\"");
    }

    #[test]
    fn a_room_id_is_plain_enough_for_a_path_and_says_whose_call_it_is() {
        let longest = "x".repeat(64);
        for good in ["a", "Stand-up_7", &longest] {
            assert_eq!(good.parse::<RoomId>().unwrap().to_string(), good);
        }
        for bad in ["", "a b", "a/b", "..", "ä", "a\n", "a%2f", &format!("{longest}x")] {
            assert!(bad.parse::<RoomId>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<RoomId>(bad.into()).is_err(), "{bad:?}");
        }
        let call = CallId::new(Uuid::from_u128(7));
        assert_eq!(RoomId::of_call(call).call(), Some(call));
        assert_eq!(RoomId::fresh(Uuid::from_u128(7)).call(), None);
        assert_eq!("call_nonsense".parse::<RoomId>().unwrap().call(), None);
    }

    #[test]
    fn a_uuid_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = MessageId::new(Uuid::from_u128(u128::MAX / 3));
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert_eq!(serde_json::from_value::<MessageId>(id.to_string().into()).unwrap(), id);
        for bad in ["", "7", "0190a0b0-0000-7000-8000", "0190a0b0-0000-7000-8000-00000000000g"] {
            let error = bad.parse::<MessageId>().unwrap_err();
            assert_eq!(error.to_string(), "expected a UUID");
        }
    }
}
