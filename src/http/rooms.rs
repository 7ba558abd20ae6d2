//! `/api/rooms`, for the application's backend, admins, owners and participants.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, created, ok, with};
use super::extract::{Body, Caller, Path};
use crate::app::App;
use crate::clock::Timestamp;
use crate::event::room::{Ban, Participant, Room, TrackKind, TrackSource};
use crate::ids::{ParticipantId, RoomId, Short, UserId};
use crate::revocation::AccessChange;
use crate::rooms::{
    Banned, Grant, Issued, ListedToken, Moderation, RoomChange, RoomError, RoomSpec, RoomTokenSpec,
};
use crate::store::TokenHash;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, open))
        .routes(routes!(room, change, close))
        .routes(routes!(participants))
        .routes(routes!(kick))
        .routes(routes!(mute))
        .routes(routes!(permit))
        .routes(routes!(tokens, issue_token))
        .routes(routes!(revoke_token))
        .routes(routes!(bans))
        .routes(routes!(lift_ban))
}

impl Caller {
    /// Who looks: an operator sees everything.
    fn looking(self) -> Option<UserId> {
        if self.operates() { None } else { Some(self.id) }
    }

    pub(super) fn operates(self) -> bool {
        self.role.is_operator()
    }
}

/// All rooms; for operators.
#[utoipa::path(get, path = "", tag = "Rooms", responses((status = 200, body = Success<Vec<Room>>)))]
async fn list(State(app): State<App>, caller: Caller) -> Answer<Vec<Room>> {
    if !caller.operates() {
        return Err(RoomError::NotAModerator.into());
    }
    let rooms = app.rooms.all().await;
    let total = i64::try_from(rooms.len()).ok();
    Ok(with(rooms, Meta { message: "Rooms retrieved successfully", total, ..Meta::default() }))
}

/// Opens a room.
#[utoipa::path(post, path = "", tag = "Rooms", request_body = RoomSpec, responses((status = 201, body = Success<Room>)))]
async fn open(
    State(app): State<App>,
    caller: Caller,
    Body(spec): Body<RoomSpec>,
) -> Result<Response, Refusal> {
    if !caller.operates() && !app.rooms.opens_by_entering() {
        return Err(RoomError::NotAModerator.into());
    }
    let room = app.rooms.open(caller.looking(), &spec).await?;
    Ok(created(&format!("/api/rooms/{}", room.room_id), room, "Room opened"))
}

/// One room.
#[utoipa::path(get, path = "/{roomId}", tag = "Rooms", params(("roomId" = String, Path)), responses((status = 200, body = Success<Room>)))]
async fn room(State(app): State<App>, caller: Caller, Path(id): Path<RoomId>) -> Answer<Room> {
    Ok(ok(app.rooms.room(&id, caller.looking()).await?, "Room retrieved successfully"))
}

/// Changes a room; for its owner and operators.
#[utoipa::path(patch, path = "/{roomId}", tag = "Rooms", params(("roomId" = String, Path)), request_body = RoomChange, responses((status = 200, body = Success<Room>)))]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RoomId>,
    Body(change): Body<RoomChange>,
) -> Answer<Room> {
    Ok(ok(app.rooms.change(&id, caller.looking(), change).await?, "Room changed"))
}

/// Closes a room; for its owner and operators.
#[utoipa::path(delete, path = "/{roomId}", tag = "Rooms", params(("roomId" = String, Path)), responses((status = 200, body = Success<Closed>)))]
async fn close(State(app): State<App>, caller: Caller, Path(id): Path<RoomId>) -> Answer<Closed> {
    app.rooms.close(&id, caller.looking()).await?;
    Ok(ok(Closed { room_id: id }, "Room closed"))
}

/// A room that was closed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomClosing)]
struct Closed {
    room_id: RoomId,
}

/// Who is in a room.
#[utoipa::path(get, path = "/{roomId}/participants", tag = "Rooms", params(("roomId" = String, Path)), responses((status = 200, body = Success<Vec<Participant>>)))]
async fn participants(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RoomId>,
) -> Answer<Vec<Participant>> {
    let people = app.rooms.participants(&id, caller.looking()).await?;
    Ok(ok(people, "Participants retrieved successfully"))
}

/// An operator or the owner acts on one participant.
async fn moderate(
    app: &App,
    caller: Caller,
    room: &RoomId,
    what: Moderation,
    message: &'static str,
) -> Answer<Participant> {
    let shown = app.rooms.moderate_from_outside(room, caller.looking(), what).await?;
    Ok(ok(shown.ok_or(RoomError::NotInRoom)?, message))
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomKick)]
struct Kick {
    reason: Option<Short<200>>,
    /// Whether it may not come back until the ban is lifted.
    #[serde(default = "yes")]
    ban: bool,
}

fn yes() -> bool {
    true
}

/// Removes a participant.
#[utoipa::path(post, path = "/{roomId}/participants/{participantId}/kick", tag = "Rooms", params(("roomId" = String, Path), ("participantId" = String, Path)), request_body = Kick, responses((status = 200, body = Success<Participant>)))]
async fn kick(
    State(app): State<App>,
    caller: Caller,
    Path((id, who)): Path<(RoomId, ParticipantId)>,
    Body(kick): Body<Kick>,
) -> Answer<Participant> {
    let (reason, ban) = (kick.reason.map(Short::into_string), kick.ban);
    let what = Moderation::Kick { who, reason, ban };
    moderate(&app, caller, &id, what, "Participant removed").await
}

/// What to mute.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomMuting)]
struct Muting {
    kind: Option<TrackKind>,
}

/// Mutes a participant.
#[utoipa::path(post, path = "/{roomId}/participants/{participantId}/mute", tag = "Rooms", params(("roomId" = String, Path), ("participantId" = String, Path)), request_body = Muting, responses((status = 200, body = Success<Participant>)))]
async fn mute(
    State(app): State<App>,
    caller: Caller,
    Path((id, who)): Path<(RoomId, ParticipantId)>,
    Body(muting): Body<Muting>,
) -> Answer<Participant> {
    moderate(&app, caller, &id, Moderation::Mute(who, muting.kind), "Participant muted").await
}

/// What a participant may do from now on; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomPermits)]
struct Permits {
    can_publish: Option<bool>,
    can_subscribe: Option<bool>,
    can_data: Option<bool>,
    sources: Option<Vec<TrackSource>>,
    moderator: Option<bool>,
}

/// Changes what a participant may do.
#[utoipa::path(post, path = "/{roomId}/participants/{participantId}/permissions", tag = "Rooms", params(("roomId" = String, Path), ("participantId" = String, Path)), request_body = Permits, responses((status = 200, body = Success<Participant>)))]
async fn permit(
    State(app): State<App>,
    caller: Caller,
    Path((id, who)): Path<(RoomId, ParticipantId)>,
    Body(permits): Body<Permits>,
) -> Answer<Participant> {
    let grant = Grant {
        can_publish: permits.can_publish,
        can_subscribe: permits.can_subscribe,
        can_data: permits.can_data,
        sources: permits.sources,
        moderator: permits.moderator,
    };
    moderate(&app, caller, &id, Moderation::Permit(who, grant), "Permissions changed").await
}

/// A right to come in: the `token` of `room:join`. Where it names no user it is a token to connect with as well, for people without
/// an account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomToken)]
struct Token {
    token: String,
    /// What it is called by `GET` and `DELETE`.
    #[schema(value_type = String)]
    token_id: TokenHash,
    /// Where a person may be sent to, as `rooms.join_url` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    join_url: Option<String>,
    expires_at: Timestamp,
}

/// Gives out a right to come in; for its owner and operators.
#[utoipa::path(post, path = "/{roomId}/tokens", tag = "Rooms", params(("roomId" = String, Path)), request_body = RoomTokenSpec, responses((status = 200, body = Success<Token>)))]
async fn issue_token(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RoomId>,
    Body(spec): Body<RoomTokenSpec>,
) -> Answer<Token> {
    let Issued { text: token, id: token_id, until: expires_at } =
        app.rooms.issue_token(&id, caller.looking(), spec).await?;
    let template = Some(&app.config.rooms.join_url).filter(|template| !template.is_empty());
    let join_url = template
        .map(|template| template.replace("{roomId}", &id.to_string()).replace("{token}", &token));
    Ok(ok(Token { token, token_id, join_url, expires_at }, "Token given"))
}

/// The tokens of a room that have not ended, without their texts; for its owner and operators.
#[utoipa::path(get, path = "/{roomId}/tokens", tag = "Rooms", params(("roomId" = String, Path)), responses((status = 200, body = Success<Vec<ListedToken>>)))]
async fn tokens(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RoomId>,
) -> Answer<Vec<ListedToken>> {
    Ok(ok(app.rooms.tokens(&id, caller.looking()).await?, "Tokens retrieved successfully"))
}

/// Takes a token back: whom it let in leaves. For the owner and operators.
#[utoipa::path(delete, path = "/{roomId}/tokens/{tokenId}", tag = "Rooms", params(("roomId" = String, Path), ("tokenId" = String, Path)), responses((status = 200, body = Success<Revoked>)))]
async fn revoke_token(
    State(app): State<App>,
    caller: Caller,
    Path((id, token_id)): Path<(RoomId, TokenHash)>,
) -> Answer<Revoked> {
    app.rooms.revoke_token(&id, caller.looking(), token_id).await?;
    app.access.announce(AccessChange::TokenRevoked(token_id)).await;
    Ok(ok(Revoked { token_id }, "Token revoked"))
}

/// A token that is good no longer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomTokenRevoked)]
struct Revoked {
    #[schema(value_type = String)]
    token_id: TokenHash,
}

/// Who was removed and may not come back; for the owner and operators.
#[utoipa::path(get, path = "/{roomId}/bans", tag = "Rooms", params(("roomId" = String, Path)), responses((status = 200, body = Success<Vec<Ban>>)))]
async fn bans(State(app): State<App>, caller: Caller, Path(id): Path<RoomId>) -> Answer<Vec<Ban>> {
    Ok(ok(app.rooms.bans(&id, caller.looking()).await?, "Bans retrieved successfully"))
}

/// Lets somebody come back: an account by its id, a guest by the id of the participant that it was.
#[utoipa::path(delete, path = "/{roomId}/bans/{userId}", tag = "Rooms", params(("roomId" = String, Path), ("userId" = String, Path)), responses((status = 200, body = Success<Lifted>)))]
async fn lift_ban(
    State(app): State<App>,
    caller: Caller,
    Path((id, who)): Path<(RoomId, String)>,
) -> Answer<Lifted> {
    let participant = who.parse().ok().map(Banned::Participant);
    let banned = who.parse().ok().map(Banned::User).or(participant).ok_or(RoomError::NoBan)?;
    app.rooms.lift_ban(&id, caller.looking(), banned).await?;
    Ok(ok(Lifted { lifted: who }, "Ban lifted"))
}

/// A ban that is lifted.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomBanLifted)]
struct Lifted {
    lifted: String,
}
