//! `room:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::calls::Leg;
use super::context::{Context, Done, Outcome};
use crate::error::{Problem, Reason};
use crate::event::IceServer;
use crate::event::recording::ActiveRecording;
use crate::event::room::{Participant, Permissions, Room, SessionDescription, TrackKind};
use crate::ids::{CallId, ParticipantId, RoomId, RoomSessionId, Short, TrackId};
use crate::quality;
use crate::rooms::{
    Joining, LayerWish, Moderation, Publishing, Resuming, RoomError, Subscribed, TrackOrder, Unsent,
};

/// A session of a room, named.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomSession)]
pub(super) struct Which {
    session_id: RoomSessionId,
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
    resume: Option<Resume>,
}

/// A session to go on with.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomResume)]
struct Resume {
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
    participants: Vec<Participant>,
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
        (Some(room), None) => room,
        (None, Some(call)) => context.app.open_room(context.session.about.user, call).await?,
        _ => return Err(Problem::invalid("roomId", "Name either roomId or callId")),
    };
    let (token, known) = match &context.guest {
        Some((token, name)) => (Some(token.clone()), Some(name.clone())),
        None => (payload.token.map(Short::into_string), app.people.me(user).await?.name),
    };
    let name = payload.name.map(Short::into_string).or(known);
    let joining = Joining {
        user,
        operator: context.role.is_operator(),
        socket: context.session.about.id,
        name: name.unwrap_or_else(|| user.to_string()),
        token,
        auto_subscribe: payload.auto_subscribe,
        metadata: payload.metadata,
        resume: payload.resume.map(|it| Resuming {
            session: it.session_id,
            secret: it.secret,
            last: it.last_seq,
            fresh: it.fresh,
        }),
    };
    let joined = app.rooms.join(&room, &joining)?;
    let ice = app.room_ice(user, joining.token.as_deref());
    Ok(JoinAck {
        session_id: joined.session,
        resume_secret: joined.secret,
        room: joined.room,
        own: joined.own,
        participants: joined.others,
        ice_servers: ice.ice_servers,
        ice_transport_policy: ice.ice_transport_policy,
        seq: joined.seq,
        recording: app.recordings.active(&room),
    })
}

pub(super) async fn leave(context: Context, payload: Which) -> Outcome<Done> {
    context.app.rooms.leave(context.session.about.user, payload.session_id)?;
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
    tracks: Vec<TrackOrder>,
}

pub(super) async fn publish(context: Context, payload: Publish) -> Outcome<Publishing> {
    let sdp = described(&payload.offer, "offer")?;
    let me = context.session.about.user;
    Ok(context.app.rooms.publish(me, payload.session_id, sdp, &payload.tracks, Unsent::Held)?)
}

fn described<'a>(description: &'a SessionDescription, kind: &'static str) -> Outcome<&'a str> {
    if description.kind == kind {
        return Ok(&description.sdp);
    }
    let problem = Problem::invalid(kind, format!("{kind} needs `type` \"{kind}\""));
    Err(Problem { reason: Reason::SdpInvalid, ..problem })
}

/// Tracks no longer to publish.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomUnpublish)]
pub(super) struct Unpublish {
    session_id: RoomSessionId,
    /// Sections that are inactive in it, or rejected, are no longer published.
    offer: SessionDescription,
    /// What else it publishes.
    #[serde(default)]
    tracks: Vec<TrackOrder>,
}

pub(super) async fn unpublish(context: Context, payload: Unpublish) -> Outcome<Publishing> {
    let sdp = described(&payload.offer, "offer")?;
    let me = context.session.about.user;
    Ok(context.app.rooms.publish(me, payload.session_id, sdp, &payload.tracks, Unsent::Ended)?)
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
    Ok(context.app.rooms.subscribe(me, payload.session_id, &payload.track_ids, true)?)
}

pub(super) async fn unsubscribe(context: Context, payload: Tracks) -> Outcome<Subscribed> {
    let me = context.session.about.user;
    Ok(context.app.rooms.subscribe(me, payload.session_id, &payload.track_ids, false)?)
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
    context.app.rooms.answered(context.session.about.user, payload.session_id, payload.rev, sdp)?;
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
    context.app.rooms.has(context.session.about.user, payload.session_id)?;
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
    Ok(Restarted { answer: context.app.rooms.restart(me, payload.session_id, offer)? })
}

/// Which layer of a track to receive.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomLayer)]
pub(super) struct Layer {
    session_id: RoomSessionId,
    #[serde(flatten)]
    wish: LayerWish,
}

pub(super) async fn layer(context: Context, payload: Layer) -> Outcome<Done> {
    context.app.rooms.prefer(context.session.about.user, payload.session_id, &payload.wish)?;
    Ok(Done {})
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
    context.app.rooms.mute(me, payload.session_id, payload.track_id, payload.muted)?;
    Ok(Done {})
}

/// Somebody else, and what is to become of it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomModerate)]
pub(super) struct Moderate {
    session_id: RoomSessionId,
    participant_id: ParticipantId,
    kind: Option<TrackKind>,
    reason: Option<Short<200>>,
    permissions: Option<Permissions>,
    moderator: Option<bool>,
    #[serde(default = "yes")]
    admit: bool,
}

fn moderate(context: &Context, session: RoomSessionId, what: Moderation) -> Outcome<Done> {
    context.app.rooms.moderate(context.session.about.user, session, what)?;
    Ok(Done {})
}

pub(super) async fn mute_remote(context: Context, payload: Moderate) -> Outcome<Done> {
    let what = Moderation::Mute(payload.participant_id, payload.kind);
    moderate(&context, payload.session_id, what)
}

pub(super) async fn kick(context: Context, payload: Moderate) -> Outcome<Done> {
    let reason = payload.reason.map(Short::into_string);
    moderate(&context, payload.session_id, Moderation::Kick(payload.participant_id, reason))
}

pub(super) async fn permissions(context: Context, payload: Moderate) -> Outcome<Done> {
    let Some(permissions) = payload.permissions else {
        return Err(Problem::invalid("permissions", "permissions is missing"));
    };
    let what = Moderation::Permit(payload.participant_id, permissions, payload.moderator);
    moderate(&context, payload.session_id, what)
}

pub(super) async fn admit(context: Context, payload: Moderate) -> Outcome<Done> {
    let what = Moderation::Admit(payload.participant_id, payload.admit);
    moderate(&context, payload.session_id, what)
}

/// Whether the room is to be locked.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomLock)]
pub(super) struct Lock {
    session_id: RoomSessionId,
    locked: bool,
}

pub(super) async fn lock(context: Context, payload: Lock) -> Outcome<Done> {
    moderate(&context, payload.session_id, Moderation::Lock(payload.locked))
}

/// Who is to be in the middle; nobody, when it is left out.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomSpotlightSet)]
pub(super) struct Spotlight {
    session_id: RoomSessionId,
    participant_id: Option<ParticipantId>,
}

pub(super) async fn spotlight(context: Context, payload: Spotlight) -> Outcome<Done> {
    moderate(&context, payload.session_id, Moderation::Spotlight(payload.participant_id))
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
    context.app.rooms.has(context.session.about.user, payload.session_id)?;
    quality::note(payload.pubs.iter().chain(&payload.subs).map(Leg::measured));
    Ok(Done {})
}

pub(super) async fn end(context: Context, payload: Which) -> Outcome<Done> {
    moderate(&context, payload.session_id, Moderation::End)
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
    context.app.rooms.raise(context.session.about.user, payload.session_id, payload.raised)?;
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
    context.app.rooms.react(me, payload.session_id, payload.emoji.as_str())?;
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
    let what = (payload.topic.as_str(), &payload.payload);
    context.app.rooms.data(me, payload.session_id, what, payload.to.as_deref())?;
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
    context.app.rooms.describe(me, payload.session_id, payload.metadata, name)?;
    Ok(Done {})
}
