//! What a call wants done: its commands push effects, and its task carries them out in their order. Nothing behind a write happens
//! before it is stored.

use std::sync::Arc;

use switchboard_media::{Command as MediaCommand, PeerKey, RoomKey, TrackKey};

use crate::clock::Timestamp;
use crate::event::{self, CallSignal, EndReason, Event, SignalKind};
use crate::fact::Fact;
use crate::ids::{CallId, FactId, MessageId, RoomId, SessionId, UserId};
use crate::recorder::{Part, Publisher};
use crate::store::{CallEnd, CallRecord};

/// A change of the store, with the facts that it makes.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// A new call.
    Create(CallRecord, Vec<Fact>),
    /// The next state of a call.
    Save { call: CallRecord, expected_rev: i64, facts: Vec<Fact> },
    /// The last state of a call, and what it leaves behind.
    Finish(Box<CallEnd>),
}

/// Who an event is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Whom {
    /// All connections of a user.
    User(UserId),
    /// All connections of these users.
    Users(Vec<UserId>),
    /// All connections of a user but the one that caused the event.
    UserExcept(UserId, Option<SessionId>),
    /// One connection of a user.
    Session(UserId, SessionId),
    /// Everybody in the calls that share the room of `first`, but one.
    Group { first: CallId, except: UserId },
}

/// A signal for one side of a call.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) to: UserId,
    /// The connection that the side is on; all of them while that is unknown.
    pub(super) session: Option<SessionId>,
    pub(super) kind: SignalKind,
    pub(super) signal: Arc<CallSignal>,
}

/// An effect on the SFU.
pub(super) enum Media {
    /// Opens the room that a [`Keys::room`] names.
    Open(RoomKey),
    /// Has a worker do something.
    Command(RoomKey, MediaCommand),
    /// Forgets a room whose peers are closed.
    Close(RoomKey),
}

/// An effect on the recorder.
pub(super) enum Record {
    /// Something can be recorded from now on.
    Open { place: RoomId, room: RoomKey, people: [UserId; 2], by: Option<UserId> },
    /// One side sends just this from now on.
    Sends { place: RoomId, room: RoomKey, by: Publisher, parts: Vec<Part> },
    /// It is over; a recording ends with it.
    Close { place: RoomId, room: RoomKey },
}

/// See the module.
pub(super) enum Effect {
    /// Stores something, and waits until it is. Where that fails, the effects that follow are dropped.
    Persist(Write),
    /// Sends an event.
    Notify(Whom, Event),
    /// Passes a signal on; one that reaches no connection waits for its side.
    Signal(Passed),
    /// Sends `call:missed` at the place that the write before gave it in the callee's event log.
    Missed(Box<event::Call>),
    /// Sends the entry that the write before left in the conversation.
    Entry,
    /// A user is in one call more.
    Enter(UserId),
    /// A user is in one call less.
    Leave(UserId),
    /// The call is no longer in the way of others.
    Unlist,
    /// Does something at the SFU.
    Media(Media),
    /// Does something at the recorder.
    Record(Record),
    /// Ends what the TURN relay does for the call.
    EndRelay,
}

/// A command that a call gives itself once the effects of the one before are carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FollowUp {
    /// The callee is in another call, and the caller does not want to wait.
    Busy,
    /// The call cannot go on, because of what this user sent.
    End(UserId, EndReason),
}

/// Fresh names.
pub(super) trait Keys: Send + Sync {
    fn room(&self) -> RoomKey;
    fn peer(&self) -> PeerKey;
    fn track(&self) -> TrackKey;
    fn message(&self) -> MessageId;
    fn fact(&self) -> FactId;
}

/// A connection of one of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Connection {
    pub(super) id: SessionId,
    /// Makes a new peer connection when a call goes over to the server.
    pub(super) relays: bool,
}

/// The connections of the two at the moment of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Connected {
    pub(super) caller: Vec<Connection>,
    pub(super) callee: Vec<Connection>,
}

/// The circumstances of one command, and the effects that it has.
pub(super) struct Step<'a> {
    pub(super) now: Timestamp,
    pub(super) connected: &'a Connected,
    pub(super) keys: &'a dyn Keys,
    pub(super) effects: Vec<Effect>,
    pub(super) follow_up: Option<FollowUp>,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: Timestamp, connected: &'a Connected, keys: &'a dyn Keys) -> Self {
        Self { now, connected, keys, effects: Vec::new(), follow_up: None }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Sends an event to all connections of a user.
    pub(super) fn notify(&mut self, user: UserId, event: Event) {
        self.push(Effect::Notify(Whom::User(user), event));
    }

    pub(super) fn media(&mut self, room: RoomKey, command: MediaCommand) {
        self.push(Effect::Media(Media::Command(room, command)));
    }
}
