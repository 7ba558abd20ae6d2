//! Calls on the wire.

use derive_more::Display;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::recording::RecordingStatus;
use crate::ids::{CallId, ConversationId, RecordingId, RoomId, UserId};

/// What a call carries.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Display, Eq, Hash, PartialEq, Serialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum CallType {
    #[default]
    Voice,
    Video,
}

/// Where a call stands; the six values of the original. The detail is in [`EndReason`].
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum CallStatus {
    Initiated,
    Ringing,
    Accepted,
    Rejected,
    Ended,
    Missed,
}

impl CallStatus {
    /// Neither answered nor over.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Initiated | Self::Ringing)
    }

    /// Pending or accepted.
    pub fn is_live(self) -> bool {
        self.is_pending() || self == Self::Accepted
    }
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum EndReason {
    Hangup,
    Rejected,
    Busy,
    Cancelled,
    Timeout,
    Network,
    Failed,
    Kicked,
    Unreachable,
    Drain,
}

/// Which way a call's media takes.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Display, Eq, Hash, PartialEq, Serialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum MediaPath {
    #[default]
    P2p,
    Relay,
    Sfu,
}

/// Which way the media of a call of two is to take.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallMedia {
    /// From one to the other, until the server is needed in between.
    Auto,
    /// From one to the other.
    P2p,
    /// Through the server.
    Relay,
}

/// A person in a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Who.
    #[serde(rename = "_id")]
    pub id: UserId,
    /// The same.
    pub user_id: UserId,
    /// The name to show.
    pub name: Option<String>,
    /// With `directory.expose_contact` only.
    pub email: Option<String>,
    /// What kind of user the application says this is.
    pub user_type: Option<String>,
}

/// A device that answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredBy {
    /// Who answered.
    pub user_id: UserId,
    /// On which device.
    pub device_id: Option<String>,
}

/// One call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Its id.
    pub call_id: CallId,
    /// The same, under the name that clients of a document store expect.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub mongo_id: Option<CallId>,
    /// Who called.
    pub from_user_id: UserId,
    /// Who was called; null for a group.
    pub to_user_id: Option<UserId>,
    /// Everyone in it.
    pub user_ids: Vec<UserId>,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Voice or video.
    pub call_type: CallType,
    /// Where it stands.
    pub status: CallStatus,
    /// Why it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// Grows with each change.
    pub rev: i64,
    /// The name of its room; calls of several share one.
    pub room_id: RoomId,
    /// Which way media takes.
    pub media: MediaPath,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the first device showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ringing_at: Option<Timestamp>,
    /// When it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Seconds from acceptance to end, 0 if never accepted.
    pub duration: i64,
    /// Until when it rings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Which device took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<AnsweredBy>,
    /// Who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_user: Option<Person>,
    /// Who was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_user: Option<Person>,
    /// Whether it was recorded.
    pub recording_status: RecordingStatus,
    /// The newest recording of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<RecordingId>,
    /// The last change.
    pub updated_at: Timestamp,
}

/// `call:incoming` and `call:initiated`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incoming {
    /// The call itself.
    #[serde(flatten)]
    pub call: Call,
    /// Whether the receiver is in another call.
    pub waiting: bool,
    /// Whether the call will be recorded.
    pub record_policy: &'static str,
}

/// Accept or reject.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Answer {
    Accept,
    Reject,
}

/// `call:ringing`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ringing {
    /// Which call.
    pub call_id: CallId,
    /// Where it rings.
    pub user_id: UserId,
    /// On how many devices.
    pub devices: usize,
    /// The call's revision.
    pub rev: i64,
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeclineReason {
    /// The callee is in another call.
    Busy,
    /// The callee does not want to.
    Declined,
}

/// `call:response`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Which call.
    pub call_id: CallId,
    /// Accepted or rejected.
    pub response: Answer,
    /// By whom.
    pub from_user_id: UserId,
    /// Why not, when it is rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeclineReason>,
    /// The call as it stands now.
    pub call: Call,
}

/// `call:responded`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Responded {
    /// Which call.
    pub call_id: CallId,
    /// Accepted or rejected.
    pub response: Answer,
    /// The call as it stands now.
    pub call: Call,
}

/// `call:answered-elsewhere`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredElsewhere {
    /// Which call.
    pub call_id: CallId,
    /// The device that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Accepted or rejected.
    pub response: Answer,
}

/// The acknowledgement of `call:respond` and others that change a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Answered {
    /// The call as it stands now.
    pub call: Call,
}

/// `call:ended`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallEnded {
    /// Which call.
    pub call_id: CallId,
    /// Who ended it; absent when nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_user_id: Option<UserId>,
    /// Why.
    pub end_reason: EndReason,
    /// Seconds from acceptance to end.
    pub duration: i64,
    /// The call as it stands now.
    pub call: Call,
}

/// An event about one person in a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallPerson {
    /// Which call.
    pub call_id: CallId,
    /// Whom it is about.
    pub user_id: UserId,
    /// The same.
    pub from_user_id: UserId,
}

/// An event about a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallReference {
    /// Which call.
    pub call_id: CallId,
}

/// `call:no-answer`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoAnswer {
    /// Which call.
    pub call_id: CallId,
    /// For a person.
    pub message: &'static str,
    /// The same for a program.
    pub reason: NoAnswerReason,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoAnswerReason {
    /// It rang for as long as it may.
    Timeout,
    /// The callee was not connected.
    Offline,
}

/// `call:missed-calls`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissedCalls {
    /// How many.
    pub count: usize,
    /// Which, newest first.
    pub calls: Vec<Call>,
}

/// `call:media-path`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaPathChanged {
    /// Which call.
    pub call_id: CallId,
    /// Which way media takes.
    pub media: MediaPath,
    /// Why.
    pub reason: MediaPathReason,
}

/// Why the media of a call takes its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MediaPathReason {
    /// The call was accepted, and the server or the caller wants it so.
    Policy,
    /// The two found no way to each other.
    IceFailed,
    /// It is recorded.
    Recording,
    /// Others were added.
    Group,
}

/// `call:member-joined` and `call:member-left`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallMember {
    /// The first call of the several.
    pub call_id: CallId,
    /// Who.
    pub user_id: UserId,
    /// Where they meet.
    pub room_id: RoomId,
}

/// `call:update-request`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateRequest {
    /// Which call.
    pub call_id: CallId,
    /// Who asks.
    pub from_user_id: UserId,
    /// What the call became.
    pub call_type: CallType,
    /// The call as it stands now.
    pub call: Call,
}

/// Which of the three signals.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs)]
pub enum SignalKind {
    Offer,
    Answer,
    IceCandidate,
}

/// `webrtc:*`: exactly one of `offer`, `answer` and `candidate` is there.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallSignal {
    /// Which call.
    pub call_id: CallId,
    /// Who sent it.
    pub from_user_id: UserId,
    /// For whom it is.
    pub to_user_id: UserId,
    /// `{type, sdp}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<Value>,
    /// `{type, sdp}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// `RTCIceCandidateInit`; null ends the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Value>,
    /// The sender restarts ICE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice_restart: Option<bool>,
}

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` addresses.
    pub urls: Vec<String>,
    /// `expiry:userId[:callId]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Base64 of HMAC-SHA1(secret, username).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Always `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_type: Option<&'static str>,
}
