//! What commands to a call give.

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::{CallError, Result};
use crate::event;

/// What became of a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SignalDelivery {
    /// It went to a connection of the other side.
    pub delivered: bool,
    /// It waits for the other side.
    pub buffered: bool,
}

impl SignalDelivery {
    pub(super) const DELIVERED: Self = Self { delivered: true, buffered: false };
    pub(super) const BUFFERED: Self = Self { delivered: false, buffered: true };
    /// It is kept from the other side on purpose.
    pub(super) const WITHHELD: Self = Self { delivered: false, buffered: false };
}

/// A call that a client came back to, with what waited for it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Rejoined {
    pub call: event::Call,
    /// Names and payloads of events, in the order in which they must be applied.
    pub buffered: Vec<(&'static str, Box<RawValue>)>,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Call(Box<event::Call>),
    Signal(SignalDelivery),
    Rejoined(Box<Rejoined>),
    /// The command has effects, and yet it is refused.
    Refused(Box<CallError>),
}

impl Reply {
    /// A refusal as the error that it is.
    pub(super) fn accepted(self) -> Result<Self> {
        match self {
            Self::Refused(error) => Err(*error),
            other => Ok(other),
        }
    }

    /// The call as it stands now.
    pub(super) fn call(self) -> Result<event::Call> {
        match self {
            Self::Call(call) => Ok(*call),
            other => Err(CallError::Reply(other.name())),
        }
    }

    pub(super) fn signal(self) -> Result<SignalDelivery> {
        match self {
            Self::Signal(delivery) => Ok(delivery),
            other => Err(CallError::Reply(other.name())),
        }
    }

    pub(super) fn rejoined(self) -> Result<Rejoined> {
        match self {
            Self::Rejoined(rejoined) => Ok(*rejoined),
            other => Err(CallError::Reply(other.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Call(_) => "call",
            Self::Signal(_) => "signal",
            Self::Rejoined(_) => "rejoined",
            Self::Refused(_) => "refused",
        }
    }
}
