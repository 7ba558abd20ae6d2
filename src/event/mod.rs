//! What the server sends its clients: the objects of the wire and every event that carries them.

mod call;
mod message;
pub mod recording;
pub mod room;
mod user;

pub use call::{
    Answer, Answered, AnsweredBy, AnsweredElsewhere, Call, CallEnded, CallMedia, CallMember,
    CallPerson, CallReference, CallSignal, CallStatus, CallType, DeclineReason, EndReason,
    IceServer, Incoming, MediaPath, MediaPathChanged, MediaPathReason, MissedCalls, NoAnswer,
    NoAnswerReason, Person, Responded, Response, Ringing, SignalKind, UpdateRequest,
};
pub use message::{
    CallEntry, Conversation, ConversationKind, Delivered, MarkedRead, Message, MessageType, Read,
    Typing,
};
pub use user::{Device, Gender, Platform, Presence, PresenceMode, Role, User, UserStatus};

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::{SessionId, UserId};

macro_rules! events {
    ($(#[doc = $about:literal] $variant:ident($payload:ty) = $name:literal,)*) => {
        /// An event for clients.
        #[derive(Clone, Debug)]
        pub enum Event { $(#[doc = $about] $variant($payload),)* }

        impl Event {
            /// The event's name on the wire.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The payload, encoded.
            pub fn encode(&self) -> Box<RawValue> {
                let encoded = match self { $(Self::$variant(payload) => serde_json::value::to_raw_value(payload),)* };
                encoded.unwrap_or_else(|_| RawValue::NULL.to_owned())
            }

            /// Name, sentence and payload schema of every event, for the API description.
            pub fn catalogue() -> Vec<Described> {
                vec![$(Described {
                    name: $name,
                    about: $about.trim(),
                    schema: (&Schema::<$payload>(PhantomData)).name(),
                    register: (&Schema::<$payload>(PhantomData)).register(),
                },)*]
            }
        }
    };
}

/// An event as the API description shows it.
pub struct Described {
    /// The name on the wire.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// The name of the payload's schema.
    pub schema: String,
    /// Collects that schema and those it refers to.
    pub register: fn(&mut Schemas),
}

/// The schema of a payload: that of what is in the box, where it is boxed.
struct Schema<T>(PhantomData<T>);

impl<T: ToSchema> Schema<Box<T>> {
    fn name(&self) -> String {
        T::name().into_owned()
    }

    fn register(&self) -> fn(&mut Schemas) {
        register::<T>
    }
}

/// The same for payloads that are not boxed; methods of the type itself come first.
trait Unboxed {
    fn name(&self) -> String;
    fn register(&self) -> fn(&mut Schemas);
}

impl<T: ToSchema> Unboxed for Schema<T> {
    fn name(&self) -> String {
        T::name().into_owned()
    }

    fn register(&self) -> fn(&mut Schemas) {
        register::<T>
    }
}

/// Named JSON schemas.
pub type Schemas = Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>;

/// Collects the schema of `T` and of all that it refers to.
pub fn register<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

events! {
    /// The session is authenticated and its events flow.
    SessionReady(Box<SessionReady>) = "session:ready",
    /// The token ends soon; answer with `session:refresh`.
    SessionTokenExpiring(TokenExpiring) = "session:token-expiring",
    /// The server ends this session, and why.
    SessionClosed(SessionClosed) = "session:closed",
    /// An older session gives way because the user has too many.
    SessionReplaced(SessionClosed) = "session:replaced",
    /// A message arrived; on all devices of every receiver.
    MessageReceived(Box<Message>) = "message:received",
    /// A message of one's own is stored; on all devices of the sender.
    MessageSent(Box<Message>) = "message:sent",
    /// Messages reached a device of the other person.
    MessageDelivered(Delivered) = "message:delivered",
    /// The other person has read.
    MessageRead(Read) = "message:read",
    /// One's own read mark moved; on all devices of the reader.
    MessageMarkedRead(MarkedRead) = "message:markedRead",
    /// The same under its other name; live only.
    MessageMarkedReadAlias(MarkedRead) = "message:marked-read",
    /// The other person is typing.
    TypingStart(Typing) = "typing:start",
    /// The other person is no longer typing.
    TypingStop(Typing) = "typing:stop",
    /// A person came, went, or changed presence.
    UserStatus(UserStatus) = "user:status",
    /// The presence of everyone the user may see, once after connecting.
    PresenceSnapshot(Snapshot) = "presence:snapshot",
    /// Missed events; answer with `sync:ack` for the next batch.
    SyncBatch(SyncBatch) = "sync:batch",
    /// Too much was missed: reload by REST and go on from this cursor.
    SyncReset(SyncReset) = "sync:reset",
    /// Somebody calls; on all devices of the person called.
    CallIncoming(Box<Incoming>) = "call:incoming",
    /// The call is stored and on its way; to the caller.
    CallInitiated(Box<Incoming>) = "call:initiated",
    /// A device of the person called shows the call.
    CallRinging(Ringing) = "call:ringing",
    /// The person called answered; to the caller.
    CallResponse(Box<Response>) = "call:response",
    /// The call was answered; on all devices of the one who answered.
    CallResponded(Box<Responded>) = "call:responded",
    /// Another device answered: stop ringing.
    CallAnsweredElsewhere(AnsweredElsewhere) = "call:answered-elsewhere",
    /// The call is over; to all devices of both.
    CallEnded(Box<CallEnded>) = "call:ended",
    /// The caller gave up before an answer.
    CallCancelled(CallPerson) = "call:cancelled",
    /// Nobody answered in time; to the caller.
    CallNoAnswer(NoAnswer) = "call:no-answer",
    /// A call was missed; to the person called.
    CallMissed(Box<Call>) = "call:missed",
    /// Calls missed while away, once after connecting without a cursor.
    CallMissedCalls(MissedCalls) = "call:missed-calls",
    /// The other side lost its connection to the server.
    CallReconnecting(CallPerson) = "call:reconnecting",
    /// The other side is back.
    CallReconnected(CallPerson) = "call:reconnected",
    /// Which way media takes.
    CallMediaPath(MediaPathChanged) = "call:media-path",
    /// The other side put the call on hold.
    CallHeld(CallPerson) = "call:held",
    /// The other side took the call back.
    CallUnheld(CallPerson) = "call:unheld",
    /// The other side asks for video.
    CallUpdateRequest(Box<UpdateRequest>) = "call:update-request",
    /// Somebody who was added to a call is in it.
    CallMemberJoined(CallMember) = "call:member-joined",
    /// Somebody who was added to a call is in it no longer.
    CallMemberLeft(CallMember) = "call:member-left",
    /// The call went on at another device of the user.
    CallMoved(CallReference) = "call:moved",
    /// A session description or candidate of the other side.
    WebrtcOffer(Box<CallSignal>) = "webrtc:offer",
    /// The answer of the other side.
    WebrtcAnswer(Box<CallSignal>) = "webrtc:answer",
    /// An ICE candidate of the other side.
    WebrtcIceCandidate(Box<CallSignal>) = "webrtc:ice-candidate",
    /// A call event failed, for clients that pass no acknowledgement.
    CallFailed(Box<Refused>) = "call:failed",
    /// An event failed, for clients that pass no acknowledgement.
    Error(Box<Refused>) = "error",
    /// What is said and shown is recorded from now on.
    RecordingStarted(Box<recording::RecordingNotice>) = "recording:started",
    /// It is recorded no longer.
    RecordingStopped(Box<recording::RecordingNotice>) = "recording:stopped",
    /// The files of a recording can be fetched.
    RecordingReady(Box<recording::RecordingReady>) = "recording:ready",
    /// A recording has come to nothing.
    RecordingFailed(Box<recording::RecordingFailed>) = "recording:failed",
    /// Whoever agrees to be recorded says so with `recording:consent`.
    RecordingConsentRequest(Box<recording::ConsentRequest>) = "recording:consent-request",
    /// A recording of the room has begun or ended.
    RoomRecording(room::RoomRecording) = "room:recording",
    /// Somebody came into the room.
    RoomJoined(Box<room::RoomParticipant>) = "room:joined",
    /// Somebody left the room.
    RoomLeft(room::RoomLeft) = "room:left",
    /// A participant is otherwise than before.
    RoomParticipantUpdated(Box<room::RoomParticipant>) = "room:participant-updated",
    /// A track can be received from now on.
    RoomTrackPublished(Box<room::RoomTrackPublished>) = "room:track-published",
    /// A track can no longer be received.
    RoomTrackUnpublished(room::RoomTrackUnpublished) = "room:track-unpublished",
    /// A track was muted, or is no longer.
    RoomTrackMuted(room::RoomTrackMuted) = "room:track-muted",
    /// What can be received; answer with `room:answer`.
    RoomOffer(Box<room::RoomOffer>) = "room:offer",
    /// Another layer of a track arrives.
    RoomLayerChanged(room::RoomLayerChanged) = "room:layer-changed",
    /// Which layers of one's own track somebody wants.
    RoomPublishLayers(room::RoomPublishLayers) = "room:publish-layers",
    /// No layer of a track fits the path; sound goes on.
    RoomTrackPaused(room::RoomTrackFlow) = "room:track-paused",
    /// A track fits the path again.
    RoomTrackResumed(room::RoomTrackFlow) = "room:track-resumed",
    /// Who is heard, on change.
    RoomSpeakers(room::RoomSpeakers) = "room:speakers",
    /// Data of another participant.
    RoomData(Box<room::RoomData>) = "room:data",
    /// A moderator has put somebody in the middle, or nobody.
    RoomSpotlight(room::RoomSpotlight) = "room:spotlight",
    /// The server goes down.
    RoomDrain(room::RoomDrain) = "room:drain",
    /// A hand was raised or lowered.
    RoomHand(room::RoomHand) = "room:hand",
    /// A reaction.
    RoomReaction(room::RoomReaction) = "room:reaction",
    /// Who waits to be let in; to moderators.
    RoomLobby(room::RoomLobby) = "room:lobby",
    /// A moderator did something to one.
    RoomModerated(room::RoomModerated) = "room:moderated",
    /// The room is over.
    RoomClosed(room::RoomClosed) = "room:closed",
    /// The whole room, where not all that was missed could be told.
    RoomState(Box<room::RoomState>) = "room:state",
}

/// `session:ready`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionReady {
    /// This connection.
    pub session_id: SessionId,
    /// Who the server takes the client for; null for a guest of a room.
    #[schema(value_type = Option<UserId>, required = true)]
    pub user_id: UserId,
    /// The server's time.
    pub server_time: Timestamp,
    /// Where the user's event log stands.
    pub cursor: String,
    /// Whether the missed events follow as `sync:batch`.
    pub resumed: bool,
    /// The version of this contract.
    pub protocol: u8,
    /// The limits that a client should know.
    pub limits: Limits,
    /// Seconds for which fetched ICE servers are good.
    pub ice_ttl: u64,
}

/// The limits that a client should know; `config.toml` has all.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Unicode characters of a message.
    pub content_chars: usize,
    /// Bytes of a message.
    pub content_bytes: usize,
    /// Bytes of a session description.
    pub sdp_bytes: usize,
    /// Rows of a page.
    pub page_max: usize,
    /// Messages, sustained.
    pub messages_per_second: u32,
    /// Messages at once.
    pub messages_burst: u32,
    /// Calls started.
    pub calls_per_minute: u32,
    /// REST requests.
    pub rest_per_minute: u32,
}

/// `session:token-expiring`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenExpiring {
    /// The token's `exp`.
    pub expires_at: Timestamp,
}

/// `session:closed`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionClosed {
    /// Why.
    pub reason: CloseReason,
    /// When to come back, with `SERVER_DRAIN` and `PROTOCOL_ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_after_ms: Option<u64>,
}

impl SessionClosed {
    /// An end without a word about coming back.
    pub fn because(reason: CloseReason) -> Self {
        Self { reason, reconnect_after_ms: None }
    }

    /// The same, and when to come back.
    #[must_use]
    pub fn reconnect_after(self, milliseconds: u64) -> Self {
        Self { reconnect_after_ms: Some(milliseconds), ..self }
    }
}

/// Why the server ends a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CloseReason {
    /// The user has more sessions than a user may; the oldest gives way.
    Replaced,
    /// The client did not read what it was sent. It may reconnect, with its cursor.
    SlowConsumer,
    /// The user ended the session from another one, or an operator did.
    Kicked,
    /// The account was closed; a reconnection is refused.
    UserDisabled,
    /// The server goes down; reconnect after `reconnectAfterMs`.
    ServerDrain,
    /// The token ended and no fresh one came.
    TokenExpired,
    /// The client sent more than it may, or could not be brought up to date; reconnect after `reconnectAfterMs`.
    ProtocolError,
}

/// `presence:snapshot`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Snapshot {
    /// One state a person.
    pub states: Vec<UserStatus>,
}

/// One event of a user's log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogEntry {
    /// Its place in the user's log.
    pub cursor: String,
    /// The event's name.
    pub event: &'static str,
    /// The event's payload.
    #[schema(value_type = Object)]
    pub payload: Box<RawValue>,
    /// When it happened.
    pub at: Timestamp,
}

/// `sync:batch`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncBatch {
    /// What was missed, oldest first.
    pub events: Vec<LogEntry>,
    /// Where the log stands after these.
    pub cursor: String,
    /// Whether another batch follows the acknowledgement.
    pub more: bool,
}

/// `sync:reset`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncReset {
    /// From where to go on.
    pub cursor: String,
}

/// `error` and `call:failed`: message and string code as the original sent them.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// What went wrong.
    pub message: String,
    /// The stable machine code.
    pub code: &'static str,
    /// The same sentence again.
    pub error: String,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// The event that failed.
    pub event: String,
    /// When.
    pub timestamp: Timestamp,
    /// The call concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Particulars such as `field`, `retryAfterMs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}
