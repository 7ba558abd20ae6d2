//! An event as it leaves: encoded once, shared by all who get it.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::event::Event;
use crate::ids::ConversationId;

/// Where a message stands: the `seq`th of its conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub struct Position {
    pub conversation: ConversationId,
    pub seq: i64,
}

/// An encoded event. Clones share the payload.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The event's name.
    pub name: &'static str,
    /// The payload.
    pub payload: Arc<RawValue>,
    /// Its number in the user's event log.
    pub cursor: Option<i64>,
    /// Of a received message: where it stands, so that the acknowledgement of a device counts as delivery.
    pub position: Option<Position>,
    /// Of use at once or not at all: where a client reads slowly it is dropped before anything else.
    pub droppable: bool,
}

impl Frame {
    /// Encodes an event that is in no log.
    pub fn new(event: &Event) -> Self {
        let (name, payload) = (event.name(), event.encode().into());
        Self { name, payload, cursor: None, position: None, droppable: false }
    }

    /// Bytes of the payload.
    pub(super) fn bytes(&self) -> usize {
        self.payload.get().len()
    }
}
