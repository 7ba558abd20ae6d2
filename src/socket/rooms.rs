//! `room:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::calls::Leg;
use super::context::{Context, Done, Outcome};
use crate::error::{Problem, Reason};
use crate::event::IceServer;
use crate::event::recording::ActiveRecording;
use crate::event::room::{Participant, Room, SessionDescription};
use crate::ids::{CallId, ParticipantId, RoomId, RoomSessionId, Short, TrackId};
use crate::quality;
use crate::rooms::{
    JoinRequest, LayerRequest, Publishing, Resume, RoomError, Subscribed, TrackSpec, Unpublished,
    Unsent,
};

/// A session of a room, named.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomSession)]
pub(super) struct Which {
    pub(super) session_id: RoomSessionId,
}

/// Where to come in, and how.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomJoin)]
pub(super) struct Join {
    room_id: Option<RoomId>,
    call_id: Option<CallId>,
    token: Option<Short<128>>,
    name: Option<Short<120>>,
    #[serde(default = "yes")]
    auto_subscribe: bool,
    metadata: Option<Value>,
    resume: Option<Resuming>,
}

/// A session to go on with.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomResume)]
struct Resuming {
    session_id: RoomSessionId,
    secret: String,
    #[serde(default)]
    last_seq: u64,
    /// The connections are gone too, as after a reload of the page: what was published by them ends, and offers begin anew.
    #[serde(default)]
    fresh: bool,
}

fn yes() -> bool {
    true
}

/// One is in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomJoinAck)]
pub(super) struct JoinAck {
    session_id: RoomSessionId,
    resume_secret: String,
    room: Room,
    #[serde(rename = "self")]
    own: Participant,
    /// The others.
    #[schema(value_type = Vec<Participant>)]
    participants: Box<RawValue>,
    ice_servers: Vec<IceServer>,
    ice_transport_policy: &'static str,
    seq: u64,
    recording: Option<ActiveRecording>,
}

pub(super) async fn join(context: Context, payload: Join) -> Outcome<JoinAck> {
    let app = &context.app;
    if app.is_draining() {
        return Err(RoomError::Draining.into());
    }
    let user = context.session.about.user;
    let room = match (payload.room_id, payload.call_id) {
        (Some(room), None) => {
            // Whoever is in a call may name its room, which is opened then; to everybody else there is no such room.
            if let Some(call) = room.call() {
                let _ = app.open_room(user, call).await;
            }
            room
        }
        (None, Some(call)) => app.open_room(user, call).await?,
        _ => return Err(Problem::invalid("roomId", "Name either roomId or callId")),
    };
    let (token, known) = match &context.guest {
        Some((token, name)) => (Some(token.clone()), Some(name.clone())),
        None => (payload.token.map(Short::into_string), app.people.me(user).await?.name),
    };
    let name = payload.name.map(Short::into_string).or(known);
    let request = JoinRequest {
        user,
        operator: context.role().is_operator(),
        socket: context.session.about.id,
        name: name.unwrap_or_else(|| user.to_string()),
        token,
        until: None,
        auto_subscribe: payload.auto_subscribe,
        metadata: payload.metadata,
        resume: payload.resume.map(|it| Resume {
            session: it.session_id,
            secret: it.secret,
            last: it.last_seq,
            fresh: it.fresh,
        }),
    };
    let token = request.token.clone();
    let joined = app.rooms.join(&room, request).await?;
    let ice = app.room_ice(user, token.as_deref());
    let participants = crate::rooms::write(joined.others).await?;
    Ok(JoinAck {
        session_id: joined.session,
        resume_secret: joined.secret,
        room: joined.room,
        own: joined.own,
        participants,
        ice_servers: ice.ice_servers,
        ice_transport_policy: ice.ice_transport_policy,
        seq: joined.seq,
        recording: app.recordings.active(&room),
    })
}

pub(super) async fn leave(context: Context, payload: Which) -> Outcome<Done> {
    context.app.rooms.leave(context.session.about.user, payload.session_id).await?;
    Ok(Done {})
}

/// What to publish.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomPublish)]
pub(super) struct Publish {
    session_id: RoomSessionId,
    offer: SessionDescription,
    #[serde(default)]
    tracks: Vec<TrackSpec>,
}

pub(super) async fn publish(context: Context, payload: Publish) -> Outcome<Publishing> {
    let sdp = described(&payload.offer, "offer")?;
    let me = context.session.about.user;
    let rooms = &context.app.rooms;
    Ok(rooms.publish(me, payload.session_id, sdp, payload.tracks, Unsent::Held).await?)
}

fn described<'a>(description: &'a SessionDescription, kind: &'static str) -> Outcome<&'a str> {
    if description.kind == kind {
        return Ok(&description.sdp);
    }
    let problem = Problem::invalid(kind, format!("{kind} needs `type` \"{kind}\""));
    Err(Problem { reason: Reason::SdpInvalid, ..problem })
}

/// Tracks no longer to publish: by an offer, or by their names alone.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomUnpublish)]
pub(super) struct Unpublish {
    session_id: RoomSessionId,
    /// Nothing of these is passed on any more, whatever their sections go on carrying.
    #[serde(default)]
    track_ids: Vec<TrackId>,
    /// Sections that are inactive in it, or rejected, are no longer published.
    offer: Option<SessionDescription>,
    /// What else it publishes.
    #[serde(default)]
    tracks: Vec<TrackSpec>,
}

pub(super) async fn unpublish(context: Context, payload: Unpublish) -> Outcome<Unpublished> {
    let offer = payload.offer.as_ref().map(|offer| described(offer, "offer")).transpose()?;
    let offer = offer.map(|offer| (offer, payload.tracks));
    let me = context.session.about.user;
    Ok(context.app.rooms.unpublish(me, payload.session_id, payload.track_ids, offer).await?)
}

/// Tracks to receive, or no longer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomTracks)]
pub(super) struct Tracks {
    session_id: RoomSessionId,
    track_ids: Vec<TrackId>,
}

pub(super) async fn subscribe(context: Context, payload: Tracks) -> Outcome<Subscribed> {
    let me = context.session.about.user;
    Ok(context.app.rooms.subscribe(me, payload.session_id, payload.track_ids, true).await?)
}

pub(super) async fn unsubscribe(context: Context, payload: Tracks) -> Outcome<Subscribed> {
    let me = context.session.about.user;
    Ok(context.app.rooms.subscribe(me, payload.session_id, payload.track_ids, false).await?)
}

/// The answer to a `room:offer`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomAnswer)]
pub(super) struct Answer {
    session_id: RoomSessionId,
    rev: u64,
    answer: SessionDescription,
}

pub(super) async fn answer(context: Context, payload: Answer) -> Outcome<Done> {
    let sdp = described(&payload.answer, "answer")?;
    let me = context.session.about.user;
    context.app.rooms.answered(me, payload.session_id, payload.rev, sdp).await?;
    Ok(Done {})
}

/// One of the two connections of a session.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RoomTarget)]
enum Target {
    Publish,
    Subscribe,
}

/// A candidate of the client; null ends them.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomCandidate)]
#[allow(dead_code)]
pub(super) struct Candidate {
    session_id: RoomSessionId,
    target: Target,
    candidate: Option<Value>,
}

/// The lite side of ICE waits for checks and needs no candidates of the other (RFC 8445 §2.5).
pub(super) async fn candidate(context: Context, payload: Candidate) -> Outcome<Done> {
    context.app.rooms.has(context.session.about.user, payload.session_id).await?;
    Ok(Done {})
}

/// Which connection to begin anew; with an offer for `publish`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomIceRestart)]
pub(super) struct Restart {
    session_id: RoomSessionId,
    target: Target,
    offer: Option<SessionDescription>,
}

/// The answer to the offer, if there was one.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomIceRestartAck)]
pub(super) struct Restarted {
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<SessionDescription>,
}

pub(super) async fn restart(context: Context, payload: Restart) -> Outcome<Restarted> {
    let offer = match (payload.target, &payload.offer) {
        (Target::Publish, None) => {
            return Err(Problem::invalid("offer", "target \"publish\" needs an offer"));
        }
        (Target::Publish, Some(offer)) => Some(described(offer, "offer")?),
        (Target::Subscribe, _) => None,
    };
    let me = context.session.about.user;
    Ok(Restarted { answer: context.app.rooms.restart(me, payload.session_id, offer).await? })
}

/// Which layer of a track to receive.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomLayer)]
pub(super) struct Layer {
    session_id: RoomSessionId,
    #[serde(flatten)]
    request: LayerRequest,
}

/// The layer that arrives now; `room:layer-changed` says when another one does.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomLayerAck)]
pub(super) struct CurrentLayer {
    /// Its name; null when none arrives, or the track has no layers.
    current: Option<String>,
}

pub(super) async fn layer(context: Context, payload: Layer) -> Outcome<CurrentLayer> {
    let me = context.session.about.user;
    let current = context.app.rooms.prefer(me, payload.session_id, payload.request).await?;
    Ok(CurrentLayer { current })
}

/// A track of one's own to mute, or no longer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomMute)]
pub(super) struct Mute {
    session_id: RoomSessionId,
    track_id: TrackId,
    muted: bool,
}

pub(super) async fn mute(context: Context, payload: Mute) -> Outcome<Done> {
    let me = context.session.about.user;
    context.app.rooms.mute(me, payload.session_id, payload.track_id, payload.muted).await?;
    Ok(Done {})
}

/// What a client measured on its two connections.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomStats)]
pub(super) struct Stats {
    session_id: RoomSessionId,
    #[serde(default)]
    pubs: Vec<Leg>,
    #[serde(default)]
    subs: Vec<Leg>,
}

pub(super) async fn stats(context: Context, payload: Stats) -> Outcome<Done> {
    for (name, legs) in [("pubs", &payload.pubs), ("subs", &payload.subs)] {
        if legs.len() > 200 {
            return Err(Problem::invalid(name, format!("{name} may hold 200 at most")));
        }
    }
    context.app.rooms.has(context.session.about.user, payload.session_id).await?;
    quality::note(payload.pubs.iter().chain(&payload.subs).map(Leg::measured));
    Ok(Done {})
}

/// A hand, raised or lowered.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomHandRaise)]
pub(super) struct Hand {
    session_id: RoomSessionId,
    raised: bool,
}

pub(super) async fn hand(context: Context, payload: Hand) -> Outcome<Done> {
    let me = context.session.about.user;
    context.app.rooms.raise(me, payload.session_id, payload.raised).await?;
    Ok(Done {})
}

/// A reaction.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomReact)]
pub(super) struct Reaction {
    session_id: RoomSessionId,
    emoji: Short<16>,
}

pub(super) async fn reaction(context: Context, payload: Reaction) -> Outcome<Done> {
    let me = context.session.about.user;
    context.app.rooms.react(me, payload.session_id, payload.emoji.into_string()).await?;
    Ok(Done {})
}

/// Data for the others.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomSendData)]
pub(super) struct Data {
    session_id: RoomSessionId,
    topic: Short<64>,
    payload: Value,
    to: Option<Vec<ParticipantId>>,
}

pub(super) async fn data(context: Context, payload: Data) -> Outcome<Done> {
    let me = context.session.about.user;
    let what = (payload.topic.into_string(), payload.payload);
    context.app.rooms.data(me, payload.session_id, what, payload.to).await?;
    Ok(Done {})
}

/// What one says of oneself.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomMetadata)]
pub(super) struct Metadata {
    session_id: RoomSessionId,
    metadata: Option<Value>,
    name: Option<Short<120>>,
}

pub(super) async fn metadata(context: Context, payload: Metadata) -> Outcome<Done> {
    let me = context.session.about.user;
    let name = payload.name.map(Short::into_string);
    context.app.rooms.describe(me, payload.session_id, payload.metadata, name).await?;
    Ok(Done {})
}
