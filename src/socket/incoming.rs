//! One event as it came: its name, its first argument still as text, and whether the client waits for an acknowledgement.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value};
use socketioxide::socket::Socket;

use crate::error::Problem;

/// An event of a client.
pub(super) struct Incoming {
    value: Value,
    ack: Option<AckSender>,
}

impl FromMessageParts<LocalAdapter> for Incoming {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket<LocalAdapter>>,
        value: &mut Value,
        ack_id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        let ack = match ack_id {
            Some(_) => Some(AckSender::from_message_parts(socket, value, ack_id)?),
            None => None,
        };
        Ok(Self { value: value.clone(), ack })
    }
}

impl Incoming {
    /// Splits it into what is asked and who waits for the answer.
    pub(super) fn split(self) -> (Asked, Option<AckSender>) {
        (Asked(self.value), self.ack)
    }
}

/// Events of one client that wait for their turn, and whether one is being handled.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) waiting: VecDeque<Incoming>,
    pub(super) busy: bool,
}

/// The text of an event.
pub(super) struct Asked(Value);

#[cfg(test)]
impl Asked {
    /// An event with this name and argument.
    pub(super) fn event(name: &str, payload: &serde_json::Value) -> Self {
        Self(Value::Str(serde_json::json!([name, payload]).to_string().into(), None))
    }
}

impl Asked {
    /// An event as its text, for tests.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(Value::Str(text.to_owned().into(), None))
    }

    /// The event's name and its first argument; further ones are ignored.
    pub(super) fn parts(&self) -> Result<Parts<'_>, Problem> {
        match &self.0 {
            Value::Str(_, Some(binary)) if !binary.is_empty() => {
                let name = serde_json::from_str::<Parts<'_>>(self.text())
                    .map(|parts| parts.name.into_owned());
                let field = name.unwrap_or_default();
                Err(Problem::invalid(&field, "binary data is not taken; send JSON"))
            }
            Value::Str(text, _) => serde_json::from_str(text.as_str())
                .map_err(|error| Problem::invalid("", format!("not JSON: {error}"))),
            Value::Bytes(_) => Err(Problem::invalid("", "binary data is not taken; send JSON")),
        }
    }

    fn text(&self) -> &str {
        match &self.0 {
            Value::Str(text, _) => text.as_str(),
            Value::Bytes(_) => "",
        }
    }

    /// The event's name, as far as it can be read.
    pub(super) fn name(&self) -> String {
        serde_json::from_str::<Name>(self.text())
            .map(|Name(name)| name.chars().take(64).collect())
            .unwrap_or_default()
    }
}

/// Name and first argument.
pub(super) struct Parts<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) payload: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Packet;
        impl<'de> Visitor<'de> for Packet {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of the event's name and its argument")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parts<'de>, A::Error> {
                let missing = || serde::de::Error::invalid_length(0, &self);
                let name: Cow<'de, str> = seq.next_element::<Text<'de>>()?.ok_or_else(missing)?.0;
                let payload = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Parts { name, payload })
            }
        }
        deserializer.deserialize_seq(Packet)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that begins with a name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Name, A::Error> {
                let name = seq.next_element()?.unwrap_or_default();
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Name(name))
            }
        }
        deserializer.deserialize_seq(First)
    }
}

/// Reads an argument; what is wrong with it is named by its place.
pub(super) fn parse<T: DeserializeOwned>(payload: Option<&RawValue>) -> Result<T, Problem> {
    let text = payload.map_or("null", RawValue::get);
    if !text.starts_with('{') {
        return Err(Problem::invalid("", "the event needs an object as its argument"));
    }
    serde_json::from_str(text).or_else(|_| {
        // Once more, slowly, to learn where.
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let field = error.path().to_string();
            let why = error.inner().to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            Problem::invalid(
                &field,
                if field == "." { why.to_owned() } else { format!("{field}: {why}") },
            )
        })
    })
}
