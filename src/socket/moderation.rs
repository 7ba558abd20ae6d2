//! `room:*` of moderators: decode, one rule, encode.

use serde::Deserialize;
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use super::rooms::Which;
use crate::event::room::{Permissions, TrackKind, TrackSource};
use crate::ids::{ParticipantId, RoomSessionId, Short};
use crate::rooms::{Grant, Moderation};

fn yes() -> bool {
    true
}

/// Another participant, and what is to become of it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomModerate)]
pub(super) struct Moderate {
    session_id: RoomSessionId,
    participant_id: ParticipantId,
    kind: Option<TrackKind>,
    reason: Option<Short<200>>,
    #[serde(default = "yes")]
    admit: bool,
    /// Of `room:kick`: whether it may not come back until the ban is lifted.
    #[serde(default = "yes")]
    ban: bool,
}

/// What another participant may do from now on; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomPermit)]
pub(super) struct Permit {
    session_id: RoomSessionId,
    participant_id: ParticipantId,
    can_publish: Option<bool>,
    can_subscribe: Option<bool>,
    can_data: Option<bool>,
    sources: Option<Vec<TrackSource>>,
    moderator: Option<bool>,
    /// All of them at once, as older clients say it; what is left out of this is allowed.
    permissions: Option<Permissions>,
}

async fn moderate(context: &Context, session: RoomSessionId, what: Moderation) -> Outcome<Done> {
    context.app.rooms.moderate(context.session.about.user, session, what).await?;
    Ok(Done {})
}

pub(super) async fn mute_remote(context: Context, payload: Moderate) -> Outcome<Done> {
    let what = Moderation::Mute(payload.participant_id, payload.kind);
    moderate(&context, payload.session_id, what).await
}

pub(super) async fn kick(context: Context, payload: Moderate) -> Outcome<Done> {
    let reason = payload.reason.map(Short::into_string);
    let (who, ban) = (payload.participant_id, payload.ban);
    let what = Moderation::Kick { who, reason, ban };
    moderate(&context, payload.session_id, what).await
}

pub(super) async fn permissions(context: Context, payload: Permit) -> Outcome<Done> {
    let Permit { session_id, participant_id, moderator, .. } = payload;
    let grant = match payload.permissions {
        Some(permissions) => Grant::all(permissions, moderator),
        None => Grant {
            can_publish: payload.can_publish,
            can_subscribe: payload.can_subscribe,
            can_data: payload.can_data,
            sources: payload.sources,
            moderator,
        },
    };
    moderate(&context, session_id, Moderation::Permit(participant_id, grant)).await
}

pub(super) async fn admit(context: Context, payload: Moderate) -> Outcome<Done> {
    let what = Moderation::Admit(payload.participant_id, payload.admit);
    moderate(&context, payload.session_id, what).await
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
    moderate(&context, payload.session_id, Moderation::Lock(payload.locked)).await
}

/// Which participant is to be in the middle; none, when it is left out.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomSpotlightSet)]
pub(super) struct Spotlight {
    session_id: RoomSessionId,
    participant_id: Option<ParticipantId>,
}

pub(super) async fn spotlight(context: Context, payload: Spotlight) -> Outcome<Done> {
    let what = Moderation::Spotlight(payload.participant_id);
    moderate(&context, payload.session_id, what).await
}

pub(super) async fn end(context: Context, payload: Which) -> Outcome<Done> {
    moderate(&context, payload.session_id, Moderation::End).await
}
