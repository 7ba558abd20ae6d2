//! Events of rooms. Each carries the participant's own `seq`, gap-free, and the session it is for.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Event;
use crate::clock::Timestamp;
use crate::event::recording::RecordingMode;
use crate::ids::{ParticipantId, RecordingId, RoomId, RoomSessionId, TrackId, UserId};

/// The place of an event among those of a session of a room.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// Counts from 1.
    pub seq: u64,
    /// The session that `room:join` gave.
    pub session_id: RoomSessionId,
}

impl Stamp {
    /// The text that a stamp is in the payload, where it comes first.
    fn text(self) -> String {
        format!(r#"{{"seq":{},"sessionId":"{}""#, self.seq, self.session_id)
    }
}

/// An event of a room, encoded once for everybody who gets it: only the stamp differs from one participant to the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoomEvent {
    /// The event's name.
    pub name: &'static str,
    /// The payload without the stamp, with which it begins.
    rest: Box<str>,
}

impl RoomEvent {
    /// Encodes an event.
    pub fn new(event: impl FnOnce(Stamp) -> Event) -> Self {
        let stamp = Stamp { seq: 0, session_id: RoomSessionId::new(uuid::Uuid::nil()) };
        let event = event(stamp);
        let encoded = event.encode();
        let rest = encoded.get().strip_prefix(&stamp.text());
        debug_assert!(rest.is_some(), "{} does not begin with its stamp", event.name());
        Self { name: event.name(), rest: rest.unwrap_or("}").into() }
    }

    /// The whole payload for one participant.
    pub fn stamped(&self, stamp: Stamp) -> Box<RawValue> {
        let payload = stamp.text() + &self.rest;
        RawValue::from_string(payload).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Whether it is of use at once or not at all.
    pub fn is_droppable(&self) -> bool {
        matches!(self.name, "room:data" | "room:reaction" | "room:speakers")
    }

    /// Bytes that it takes in memory, however many participants share it.
    pub fn bytes(&self) -> usize {
        self.rest.len()
    }
}

/// Why a participant left.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// It said so.
    Left,
    /// Its connection was lost and did not come back in time.
    Network,
    /// A moderator removed it.
    Kicked,
    /// A moderator did not let it in from the lobby.
    Refused,
    /// What it came by has ended: a room token, or the token of the account.
    Expired,
    /// What it came by was taken back: the account, its role or a room token.
    Revoked,
}

/// Why a room is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoomCloseReason {
    /// A moderator, its owner or the application ended it.
    Ended,
    /// Nobody was there for a while.
    Empty,
    /// Its `expiresAt` has come.
    Expired,
    /// The server failed in it; the log says how. Join again to open it anew.
    Failed,
}

/// Why nothing of a track arrives, or something again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub enum FlowReason {
    /// No layer of it fits the path.
    #[serde(rename = "bandwidth")]
    Bandwidth,
    /// The client's answers take none of its codecs.
    #[serde(rename = "CODEC_UNSUPPORTED")]
    CodecUnsupported,
}

/// Why a track is not subscribed to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RejectReason {
    /// Nobody publishes it.
    TrackNotFound,
    /// It is one's own.
    SubscribeForbidden,
    /// The client's answers take none of its codecs.
    CodecUnsupported,
}

/// Why another layer of a track arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayerReason {
    /// The viewer asked for it by `room:layer`.
    Requested,
    /// What fits the path has changed.
    Bandwidth,
    /// The publisher sends the layer before no longer.
    Publisher,
}

/// What a moderator did to a participant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum ModerationAction {
    Kick,
    Refused,
    Mute,
}

/// A room.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Its name on the wire.
    pub room_id: RoomId,
    /// Its name for people.
    pub name: Option<String>,
    /// The user who made it; null: the application.
    pub owner: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Nobody else may come in.
    pub locked: bool,
    /// Who comes waits for a moderator.
    pub lobby: bool,
    /// Participants at most.
    pub max_participants: usize,
    /// Participants that are there.
    pub participants: usize,
    /// Viewers by WHEP that are connected.
    pub viewers: usize,
    /// Tracks that are published.
    pub tracks: usize,
    /// Codecs that may be published.
    pub codecs: Vec<&'static str>,
    /// Who a moderator has put in the middle.
    pub spotlight: Option<ParticipantId>,
}

/// What a participant may do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Permissions {
    /// Publish tracks.
    pub can_publish: bool,
    /// Receive tracks.
    pub can_subscribe: bool,
    /// Send data, reactions and a raised hand.
    pub can_data: bool,
    /// What it may publish; empty: everything.
    pub sources: Vec<TrackSource>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { can_publish: true, can_subscribe: true, can_data: true, sources: Vec::new() }
    }
}

/// Sound or pictures.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum TrackKind {
    Audio,
    Video,
}

/// What a track shows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum TrackSource {
    Microphone,
    Camera,
    Screen,
    ScreenAudio,
    Custom,
}

/// A layer of a track.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackLayer {
    /// Its name in the description.
    pub rid: String,
    /// Pixels, as the publisher said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels, as the publisher said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames in a second at most, as the publisher said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Whether it is sent.
    #[serde(default)]
    pub active: bool,
}

/// A published track.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// Its name on the wire.
    pub track_id: TrackId,
    /// Whose it is.
    pub participant_id: ParticipantId,
    /// Sound or pictures.
    pub kind: TrackKind,
    /// What it shows.
    pub source: TrackSource,
    /// Its name for people.
    pub name: Option<String>,
    /// Whether it is muted.
    pub muted: bool,
    /// What it is coded with.
    pub codec: &'static str,
    /// Its simulcast layers, the lowest first.
    pub layers: Vec<TrackLayer>,
}

/// Whether a participant is connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Connectivity {
    New,
    Connected,
    Reconnecting,
}

/// Somebody in a room.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Its name on the wire.
    pub participant_id: ParticipantId,
    /// The account.
    pub user_id: Option<UserId>,
    /// Its name for people.
    pub name: String,
    /// When it came.
    pub joined_at: Timestamp,
    /// What it publishes.
    pub tracks: Vec<Track>,
    /// What it may do.
    pub permissions: Permissions,
    /// Whether it may moderate.
    pub moderator: bool,
    /// Whether its hand is raised.
    pub hand_raised: bool,
    /// Whether it is connected.
    pub connection: Connectivity,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// Somebody who may not come back.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomBan)]
pub struct Ban {
    /// The account; null for a guest.
    #[schema(value_type = Option<UserId>)]
    pub user_id: UserId,
    /// What it was called in the room as it was removed.
    pub participant_id: ParticipantId,
    /// Its name for people.
    pub name: String,
    /// Since when.
    pub banned_at: Timestamp,
}

/// A session description.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SessionDescription {
    /// `offer` or `answer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text (RFC 8866).
    pub sdp: String,
}

/// Which section shows which track.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferedTrack {
    /// The section.
    pub mid: String,
    /// The track.
    pub track_id: TrackId,
    /// Whose it is.
    pub participant_id: ParticipantId,
}

/// Whether a layer is wanted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WantedLayer {
    /// Its name in the description.
    pub rid: String,
    /// Whether somebody wants it.
    pub active: bool,
}

/// A participant who speaks.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Speaker {
    /// Who.
    pub participant_id: ParticipantId,
    /// Loudness, 0 to 1.
    pub level: f32,
}

macro_rules! room_events {
    ($(#[doc = $about:literal] $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            #[doc = $about]
            #[derive(Clone, Debug, Serialize, ToSchema)]
            #[serde(rename_all = "camelCase")]
            #[allow(missing_docs)]
            pub struct $name {
                #[serde(flatten)]
                pub stamp: Stamp,
                $($(#[$meta])* pub $field: $type,)*
            }
        )*
    };
}

room_events! {
    /// Somebody came in, or is otherwise than before.
    RoomParticipant { participant: Participant, }
    /// Somebody left.
    RoomLeft { participant_id: ParticipantId, reason: LeaveReason, }
    /// A track can be received from now on.
    RoomTrackPublished { participant_id: ParticipantId, track: Track, }
    /// A track can no longer be received.
    RoomTrackUnpublished { participant_id: ParticipantId, track_id: TrackId, }
    /// A track was muted, or is no longer.
    RoomTrackMuted { track_id: TrackId, muted: bool, by: ParticipantId, }
    /// What can be received; answer with `room:answer` and the same `rev`.
    RoomOffer { rev: u64, offer: SessionDescription, tracks: Vec<OfferedTrack>, }
    /// Another layer of a track arrives.
    RoomLayerChanged {
        track_id: TrackId,
        rid: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        width: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        height: Option<u32>,
        reason: LayerReason,
    }
    /// Which layers somebody wants: the others need not be sent.
    RoomPublishLayers { track_id: TrackId, layers: Vec<WantedLayer>, }
    /// A track does not fit the path, or fits again.
    RoomTrackFlow { track_id: TrackId, reason: FlowReason, }
    /// Who speaks, the loudest first.
    RoomSpeakers { speakers: Vec<Speaker>, dominant: Option<ParticipantId>, }
    /// Data of another participant.
    RoomData { participant_id: ParticipantId, topic: String, payload: Value, }
    /// A moderator has put somebody in the middle, or nobody.
    RoomSpotlight { participant_id: Option<ParticipantId>, }
    /// The server goes down: come back, and join again, after `deadline` at the latest.
    RoomDrain { deadline: Timestamp, }
    /// A hand was raised or lowered.
    RoomHand { participant_id: ParticipantId, raised: bool, }
    /// A reaction.
    RoomReaction { participant_id: ParticipantId, emoji: String, }
    /// Who waits to be let in; to moderators.
    RoomLobby { waiting: Vec<Participant>, }
    /// A moderator did something to one.
    RoomModerated { action: ModerationAction, by: Option<ParticipantId>, reason: Option<String>, }
    /// A recording of the room has begun (`recording`) or ended (`stopped`).
    RoomRecording {
        recording_id: RecordingId,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<RecordingMode>,
        by: Option<UserId>,
    }
    /// The room is over.
    RoomClosed { reason: RoomCloseReason, }
    /// Everything, where not all events that were missed are kept.
    RoomState { room: Room, participants: Vec<Participant>, }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_encoded_once_reads_for_each_as_if_it_were_encoded_for_it_alone() {
        let stamp = Stamp { seq: 4711, session_id: RoomSessionId::new(uuid::Uuid::max()) };
        let left = |stamp| {
            let participant_id = ParticipantId::new(uuid::Uuid::nil());
            Event::RoomLeft(RoomLeft { stamp, participant_id, reason: LeaveReason::Network })
        };
        let data = |stamp| {
            let participant_id = ParticipantId::new(uuid::Uuid::nil());
            let (topic, payload) = ("seq".to_owned(), serde_json::json!({"seq": 0}));
            Event::RoomData(Box::new(RoomData { stamp, participant_id, topic, payload }))
        };
        let events: [&dyn Fn(Stamp) -> Event; 2] = [&left, &data];
        for event in events {
            assert_eq!(RoomEvent::new(event).stamped(stamp).get(), event(stamp).encode().get());
        }
    }
}
