//! What a room wants done outside it. The room's task does it in this order.

use std::sync::Arc;

use serde_json::Value;
use switchboard_media::{Command, PeerKey, TrackKey};

use crate::clock::Timestamp;
use crate::event::room::RoomEvent;
use crate::fact::FactKind;
use crate::ids::{RoomSessionId, SessionId, UserId};
use crate::recorder::{Part, Publisher};
use crate::store::{RoomTokenRecord, TokenHash};

/// See the module.
#[derive(Debug)]
pub(super) enum Effect {
    /// Somebody has a session in the room from now on.
    Enter(RoomSessionId, Stay),
    /// The session is over.
    Leave(RoomSessionId),
    /// The socket of a session is another one, or lost.
    Attach(RoomSessionId, Option<SessionId>),
    /// The directory finds the room by this name from now on.
    Register(Name),
    /// The name is nothing any more.
    Forget(Name),
    /// An event for one session.
    Notify { session: RoomSessionId, seq: u64, event: Arc<RoomEvent> },
    /// A command to the SFU.
    Media(Command),
    /// What the recorder is to know.
    Record(Record),
    /// A room token that is stored before anything that follows; the reply is an error when it cannot be, and the token what it was
    /// before. `happened` is what `by` asked for.
    Persist {
        token: Box<RoomTokenRecord>,
        before: Option<Box<RoomTokenRecord>>,
        happened: Option<FactKind>,
        by: Option<UserId>,
    },
    /// A room token lets its bearers in from now on.
    Issue(IssuedToken),
    /// A room token lets nobody in any more.
    Revoke(TokenHash),
    /// The tokens of the room are good no longer.
    RevokeTokens,
    /// Something that happened, for whoever asks later.
    Fact(FactKind, Option<UserId>, Value),
    /// The room is over. It is the last effect.
    End,
}

/// What the server knows of a session besides what the room does.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub(super) user: UserId,
    pub(super) socket: Option<SessionId>,
    /// Whether its user counts as being in a call.
    pub(super) in_call: bool,
}

/// By what a room is found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Name {
    Session(RoomSessionId),
    Peer(PeerKey),
    Track(TrackKey),
}

/// See [`crate::recorder::Recorder`].
#[derive(Debug)]
pub(super) enum Record {
    Open,
    Enter(UserId),
    Leave(UserId),
    Sends(Publisher, Vec<Part>),
    Close,
}

/// A room token as it is looked up by whoever connects.
#[derive(Clone, Debug)]
pub(super) struct IssuedToken {
    pub(super) hash: TokenHash,
    /// The only account that it is for.
    pub(super) user: Option<UserId>,
    pub(super) name: Option<String>,
    pub(super) until: Timestamp,
    pub(super) not_before: Option<Timestamp>,
    /// Those who use it are counted.
    pub(super) counted: bool,
}

impl From<&RoomTokenRecord> for IssuedToken {
    fn from(token: &RoomTokenRecord) -> Self {
        let RoomTokenRecord { hash, user, until, not_before, max_uses, .. } = *token;
        let (name, counted) = (token.name.clone(), max_uses.is_some());
        Self { hash, user, name, until, not_before, counted }
    }
}
