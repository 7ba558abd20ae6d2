//! `/api/me`, `/api/users`, `/api/sessions`, and the directory.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, ok, with};
use super::extract::{Body, Caller, Operator, Path, Query};
use crate::app::App;
use crate::clock::Timestamp;
use crate::delivery::SessionInfo;
use crate::error::{Problem, Reason};
use crate::event::{Device, Gender, Limits, Platform, PresenceMode, User};
use crate::ids::{JobId, SessionId, Short, UserId};
use crate::people::{DirectoryQuery, Upsert};
use crate::revocation::AccessChange;
use crate::store::{DeviceRecord, JobRecord, JobState};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(me, change_me))
        .routes(routes!(put_user, delete_user))
        .routes(routes!(job))
        .routes(routes!(sessions))
        .routes(routes!(end_session))
        .routes(routes!(devices, register))
        .routes(routes!(unregister))
}

/// Mounted at `/api/chat` and, as in the original, at `/v1`.
pub(super) fn directory_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(directory)).routes(routes!(person))
}

/// Oneself, with role and limits.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    #[serde(flatten)]
    user: User,
    /// What the role allows beyond the ordinary.
    permissions: Vec<&'static str>,
    /// The limits in force.
    limits: Limits,
}

/// Who the token says one is.
#[utoipa::path(get, path = "/me", tag = "Users", responses((status = 200, body = Success<Me>)))]
async fn me(State(app): State<App>, caller: Caller) -> Answer<Me> {
    let user = app.people.me(caller.id).await?;
    let permissions = if caller.role.is_operator() { vec!["admin"] } else { Vec::new() };
    Ok(ok(Me { user, permissions, limits: app.shown_limits() }, "Profile retrieved successfully"))
}

/// A change of one's own profile; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeMe {
    name: Option<Short<120>>,
    /// At most 140 characters; empty removes it.
    status_text: Option<String>,
    presence: Option<PresenceMode>,
}

/// Changes one's own profile.
#[utoipa::path(patch, path = "/me", tag = "Users", request_body = ChangeMe, responses((status = 200, body = Success<User>)))]
async fn change_me(
    State(app): State<App>,
    caller: Caller,
    Body(change): Body<ChangeMe>,
) -> Answer<User> {
    if change.status_text.as_ref().is_some_and(|text| text.chars().count() > 140) {
        return Err(
            Problem::invalid("statusText", "statusText may have 140 characters at most").into()
        );
    }
    let name = change.name.map(Short::into_string);
    let user = app.people.change(caller.id, name, change.status_text, change.presence).await?;
    app.presence.announce(caller.id).await?;
    Ok(ok(user, "Profile updated successfully"))
}

/// What the backend says of a person.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutUser {
    uid: Short<64>,
    email: Option<Short<254>>,
    name: Option<Short<120>>,
    mobile: Option<Short<32>>,
    gender: Option<Gender>,
    user_type: Option<Short<40>>,
    /// `true` disables the account and ends everything that the person holds; `false` enables it again.
    disabled: Option<bool>,
}

/// Makes or updates an account at the backend's word.
#[utoipa::path(put, path = "/users/{userId}", tag = "Users", params(("userId" = UserId, Path)), request_body = PutUser,
    responses((status = 200, body = Success<User>)))]
async fn put_user(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<UserId>,
    Body(put): Body<PutUser>,
) -> Answer<User> {
    let upsert = Upsert {
        uid: put.uid.into_string(),
        email: put.email.map(Short::into_string),
        name: put.name.map(Short::into_string),
        mobile: put.mobile.map(Short::into_string),
        gender: put.gender,
        user_type: put.user_type.map(Short::into_string),
    };
    let mut user = app.people.upsert(id, upsert).await?;
    if let Some(disabled) = put.disabled {
        app.people.set_disabled(id, disabled).await?;
        user.disabled = Some(disabled);
    }
    Ok(ok(user, "User saved successfully"))
}

/// What to erase beside the account.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EraseParams {
    /// `messages`, `recordings`, or both with a comma.
    erase: Option<String>,
}

/// The job that erases.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Begun {
    job_id: JobId,
}

/// Closes an account and erases what is known of the person; with `erase=messages` also what the person wrote, which leaves
/// tombstones in the conversations; with `erase=recordings` also every recording that the person may be heard in, within a minute.
#[utoipa::path(delete, path = "/users/{userId}", tag = "Users", params(("userId" = UserId, Path), EraseParams),
    responses((status = 202, body = Success<Begun>)))]
async fn delete_user(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<UserId>,
    Query(params): Query<EraseParams>,
) -> Result<Response, Refusal> {
    let (mut messages, mut recordings) = (false, false);
    let named = params.erase.iter().flat_map(|named| named.split(',')).map(str::trim);
    for what in named.filter(|what| !what.is_empty()) {
        match what {
            "messages" => messages = true,
            "recordings" => recordings = true,
            _ => {
                return Err(
                    Problem::invalid("erase", "erase may name messages and recordings").into()
                );
            }
        }
    }
    if recordings {
        app.recordings.erase(id).await?;
    }
    let job_id = app.people.erase(id, messages).await?;
    let meta = Meta {
        code: StatusCode::ACCEPTED.as_u16(),
        message: "User is being erased",
        ..Meta::default()
    };
    let body = axum::Json(Success { data: Begun { job_id }, meta });
    Ok((StatusCode::ACCEPTED, body).into_response())
}

/// What has become of a job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    job_id: JobId,
    state: JobState,
    /// Percent.
    progress: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<JobRecord> for Job {
    fn from(job: JobRecord) -> Self {
        let progress = match job.state {
            JobState::Done => 100,
            _ if job.total == 0 => 0,
            _ => (job.total - job.left) * 100 / job.total,
        };
        Self { job_id: job.id, state: job.state, progress, error: job.error }
    }
}

/// How far an erasure has come.
#[utoipa::path(get, path = "/jobs/{jobId}", tag = "Users", params(("jobId" = JobId, Path)), responses((status = 200, body = Success<Job>)))]
async fn job(State(app): State<App>, _: Operator, Path(id): Path<JobId>) -> Answer<Job> {
    Ok(ok(app.people.job(id).await?.into(), "Job retrieved successfully"))
}

/// One of one's own connections.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    transport: &'static str,
    connected_at: Timestamp,
    last_activity: Timestamp,
    address: String,
    user_agent: String,
}

/// One's own connections.
#[utoipa::path(get, path = "/sessions", tag = "Users", responses((status = 200, body = Success<Vec<Session>>)))]
async fn sessions(State(app): State<App>, caller: Caller) -> Answer<Vec<Session>> {
    let show = |session: SessionInfo| Session {
        session_id: session.id,
        device_id: session.device_id,
        device_name: session.device_name,
        transport: if session.websocket { "websocket" } else { "polling" },
        connected_at: session.connected_at,
        last_activity: session.last_activity,
        address: session.address,
        user_agent: session.user_agent,
    };
    let sessions = app.delivery.sessions(caller.id).into_iter().map(show).collect();
    Ok(ok(sessions, "Sessions retrieved successfully"))
}

/// The connection that was ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedSession {
    session_id: SessionId,
}

/// Ends one of one's own connections.
#[utoipa::path(delete, path = "/sessions/{sessionId}", tag = "Users", params(("sessionId" = SessionId, Path)),
    responses((status = 200, body = Success<EndedSession>)))]
async fn end_session(
    State(app): State<App>,
    caller: Caller,
    Path(session_id): Path<SessionId>,
) -> Answer<EndedSession> {
    if !app.delivery.is_open(caller.id, session_id) {
        return Err(Refusal(Problem::new(Reason::NotFound, "You have no such session")));
    }
    app.access.announce(AccessChange::SessionEnded(caller.id, session_id)).await;
    Ok(ok(EndedSession { session_id }, "Session ended successfully"))
}

/// A device to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterBody {
    device_id: Short<64>,
    platform: Platform,
    name: Option<Short<64>>,
    app_version: Option<Short<32>>,
    /// For messages.
    push_token: Option<Short<4096>>,
    /// For ringing.
    voip_token: Option<Short<4096>>,
}

/// One's own devices.
#[utoipa::path(get, path = "/devices", tag = "Users", responses((status = 200, body = Success<Vec<Device>>)))]
async fn devices(State(app): State<App>, caller: Caller) -> Answer<Vec<Device>> {
    Ok(ok(app.people.devices(caller.id).await?, "Devices retrieved successfully"))
}

/// Registers one of one's own devices, or registers it anew.
#[utoipa::path(post, path = "/devices", tag = "Users", request_body = RegisterBody, responses((status = 200, body = Success<Device>)))]
async fn register(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<RegisterBody>,
) -> Answer<Device> {
    let device = DeviceRecord {
        user: caller.id,
        device_id: body.device_id.into_string(),
        platform: body.platform,
        name: body.name.map(Short::into_string),
        app_version: body.app_version.map(Short::into_string),
        push_token: body.push_token.map(Short::into_string),
        voip_token: body.voip_token.map(Short::into_string),
        last_seen: Timestamp::default(),
    };
    Ok(ok(app.people.register(device).await?, "Device registered successfully"))
}

/// The device that was forgotten.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForgottenDevice {
    device_id: String,
}

/// Forgets one of one's own devices.
#[utoipa::path(delete, path = "/devices/{deviceId}", tag = "Users", params(("deviceId" = String, Path)),
    responses((status = 200, body = Success<ForgottenDevice>)))]
async fn unregister(
    State(app): State<App>,
    caller: Caller,
    Path(device_id): Path<String>,
) -> Answer<ForgottenDevice> {
    app.people.unregister(caller.id, device_id.clone()).await?;
    Ok(ok(ForgottenDevice { device_id }, "Device removed successfully"))
}

/// Which part of the directory to show.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct DirectoryParams {
    /// At most 500.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Beginning of the name.
    q: Option<Short<64>>,
    /// Only people who are, or are not, connected.
    online: Option<bool>,
    /// User ids, separated by commas, 200 at most.
    ids: Option<String>,
}

/// Everyone but oneself: online first, then by last sign of life.
#[utoipa::path(get, path = "/users", tag = "Users", params(DirectoryParams), responses((status = 200, body = Success<Vec<User>>)))]
async fn directory(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<DirectoryParams>,
) -> Answer<Vec<User>> {
    let query = DirectoryQuery {
        cursor: params.cursor,
        limit: params.limit,
        prefix: params.q.map(Short::into_string),
        online: params.online,
        ids: params.ids.as_deref().map(ids).transpose()?,
    };
    let page = query.cursor.is_none().then_some(1);
    let slice = app.people.directory(caller.id, query).await?;
    let total = i64::try_from(slice.users.len()).ok();
    let message = "Users retrieved successfully";
    let (next_cursor, limit) = (Some(slice.next_cursor), Some(slice.limit));
    Ok(with(slice.users, Meta { message, total, page, next_cursor, limit, ..Meta::default() }))
}

fn ids(text: &str) -> Result<Vec<UserId>, Problem> {
    let ids: Result<Vec<UserId>, _> =
        text.split(',').filter(|id| !id.trim().is_empty()).map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|error| Problem::invalid("ids", format!("ids: {error}")))?;
    if ids.len() > 200 {
        Err(Problem::invalid("ids", "ids may name 200 people at most"))
    } else {
        Ok(ids)
    }
}

/// One person.
#[utoipa::path(get, path = "/users/{userId}", tag = "Users", params(("userId" = UserId, Path)),
    responses((status = 200, body = Success<User>)))]
async fn person(State(app): State<App>, _: Caller, Path(id): Path<UserId>) -> Answer<User> {
    Ok(ok(app.people.person(id).await?, "User retrieved successfully"))
}
