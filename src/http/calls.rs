//! `/api/calls` (and `/v1/calls`).

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, ok, with};
use super::extract::{Body, Caller, Path, Query};
use super::recordings::started;
use crate::app::App;
use crate::calls::{CallRequest, End, HistoryQuery, Respond, Signal, WebrtcConfig};
use crate::clock::Timestamp;
use crate::error::{Problem, Reason};
use crate::event::recording::{Recording, RecordingMode, RecordingStatus};
use crate::event::{Call, CallMedia, CallStatus, CallType, SignalKind};
use crate::ids::{CallId, ClientId, RecordingId, UserId};
use crate::recordings::principal;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(history))
        .routes(routes!(initiate))
        .routes(routes!(active))
        .routes(routes!(webrtc_config))
        .routes(routes!(call))
        .routes(routes!(set_status))
        .routes(routes!(ice_candidate))
        .routes(routes!(recording))
        .routes(routes!(record))
}

/// Made by oneself, or made to oneself.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Direction {
    In,
    Out,
}

/// Which calls to list.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// The original's page number, from 1.
    page: Option<usize>,
    /// At most 200.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Only calls in this state.
    #[param(inline)]
    status: Option<CallStatus>,
    /// `in` or `out`.
    #[param(inline)]
    direction: Option<Direction>,
    /// Only calls with this person.
    with_user_id: Option<UserId>,
    /// Only calls made since then.
    since: Option<Timestamp>,
    /// Only calls made until then.
    until: Option<Timestamp>,
}

/// One's calls, newest first.
#[utoipa::path(get, path = "/history", tag = "Calls", params(HistoryParams), responses((status = 200, body = Success<Vec<Call>>)))]
async fn history(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<HistoryParams>,
) -> Answer<Vec<Call>> {
    let query = HistoryQuery {
        cursor: params.cursor,
        page: params.page.unwrap_or(1),
        limit: params.limit,
        status: params.status,
        outgoing: params.direction.map(|direction| direction == Direction::Out),
        with: params.with_user_id,
        since: params.since,
        until: params.until,
    };
    let history = app.calls.history(caller.id, query).await?;
    let message = "Call history retrieved successfully";
    let total = i64::try_from(history.calls.len()).ok();
    let page = Some(i64::try_from(params.page.unwrap_or(1)).unwrap_or(1));
    let (limit, next_cursor) = (Some(history.limit), Some(history.next_cursor));
    Ok(with(history.calls, Meta { message, total, page, limit, next_cursor, ..Meta::default() }))
}

/// Whom to call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitiateBody {
    to_user_id: Option<UserId>,
    to_user_ids: Option<Vec<UserId>>,
    #[serde(default)]
    call_type: CallType,
    client_id: Option<ClientId>,
    media: Option<CallMedia>,
    /// Whether to record it from the beginning.
    #[serde(default)]
    record: bool,
    /// false only notes the call.
    #[serde(default = "yes")]
    ring: bool,
}

fn yes() -> bool {
    true
}

/// Calls somebody; rings exactly as `call:initiate` does.
#[utoipa::path(post, path = "/initiate", tag = "Calls", request_body = InitiateBody, responses((status = 200, body = Success<Call>)))]
async fn initiate(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<InitiateBody>,
) -> Answer<Call> {
    let request = CallRequest {
        to: CallRequest::people(body.to_user_id, body.to_user_ids),
        kind: body.call_type,
        client_id: body.client_id,
        waiting: true,
        ring: body.ring,
        media: body.media,
        record: body.record,
    };
    let (call, _) = app.start_call(&caller.device(), request, caller.operates()).await?;
    Ok(ok(call, "Call initiated successfully"))
}

/// One's calls that ring or run.
#[utoipa::path(get, path = "/active", tag = "Calls", responses((status = 200, body = Success<Vec<Call>>)))]
async fn active(State(app): State<App>, caller: Caller) -> Answer<Vec<Call>> {
    Ok(ok(app.calls.active(caller.id).await?, "Active calls retrieved successfully"))
}

/// To which call the credential is bound.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ConfigParams {
    call_id: Option<CallId>,
}

/// STUN and TURN servers with a credential of one's own.
#[utoipa::path(get, path = "/webrtc-config", tag = "Calls", params(ConfigParams),
    responses((status = 200, body = Success<WebrtcConfig>)))]
async fn webrtc_config(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<ConfigParams>,
) -> Answer<WebrtcConfig> {
    if let Some(call) = params.call_id {
        app.calls.call(caller.id, call).await?;
    }
    Ok(ok(
        app.calls.webrtc_config(caller.id, params.call_id),
        "WebRTC configuration retrieved successfully",
    ))
}

/// One call.
#[utoipa::path(get, path = "/{callId}", tag = "Calls", params(("callId" = CallId, Path)), responses((status = 200, body = Success<Call>)))]
async fn call(State(app): State<App>, caller: Caller, Path(id): Path<CallId>) -> Answer<Call> {
    Ok(ok(app.calls.call(caller.id, id).await?, "Call retrieved successfully"))
}

/// What a client makes of a call.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NewStatus {
    Ringing,
    Accepted,
    Rejected,
    Ended,
}

/// The next state, and with it a session description for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusBody {
    status: NewStatus,
    #[schema(value_type = Option<Object>)]
    sdp_offer: Option<Value>,
    #[schema(value_type = Option<Object>)]
    sdp_answer: Option<Value>,
}

/// Moves a call on, with the same rules and events as the socket.
#[utoipa::path(patch, path = "/{callId}/status", tag = "Calls", params(("callId" = CallId, Path)), request_body = StatusBody,
    responses((status = 200, body = Success<Call>)))]
async fn set_status(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<CallId>,
    Body(body): Body<StatusBody>,
) -> Answer<Call> {
    let device = caller.device();
    let respond = |accept| Respond { call: id, accept, busy: false, to: None, hold_other: false };
    match body.status {
        NewStatus::Ringing => app.calls.shown_on(&device, id).await?,
        NewStatus::Accepted => app.calls.respond(&device, respond(true)).await.map(|_| ())?,
        NewStatus::Rejected => app.calls.respond(&device, respond(false)).await.map(|_| ())?,
        NewStatus::Ended => app.calls.end(caller.id, End::of(id)).await.map(|_| ())?,
    }
    for (kind, name, sdp) in [
        (SignalKind::Offer, "offer", body.sdp_offer),
        (SignalKind::Answer, "answer", body.sdp_answer),
    ] {
        if let Some(sdp) = sdp {
            // The original takes the bare text too.
            let payload = if sdp.is_string() { json!({ "type": name, "sdp": sdp }) } else { sdp };
            app.calls
                .signal(&device, Signal { call: id, to: None, kind, payload, ice_restart: None })
                .await?;
        }
    }
    Ok(ok(app.calls.call(caller.id, id).await?, "Call status updated successfully"))
}

/// A candidate for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateBody {
    #[schema(value_type = Object)]
    candidate: Option<Value>,
    sdp_m_line_index: Option<i64>,
    sdp_mid: Option<String>,
}

/// The candidate that was passed on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidatePassed {
    call_id: CallId,
    #[schema(value_type = Object)]
    candidate: Value,
}

/// Passes an ICE candidate to the other side; it is not kept in the call.
#[utoipa::path(post, path = "/{callId}/ice-candidate", tag = "Calls", params(("callId" = CallId, Path)),
    request_body = CandidateBody, responses((status = 200, body = Success<CandidatePassed>)))]
async fn ice_candidate(
    State(app): State<App>,
    caller: Caller,
    Path(call_id): Path<CallId>,
    Body(body): Body<CandidateBody>,
) -> Answer<CandidatePassed> {
    let candidate =
        body.candidate.ok_or_else(|| Problem::invalid("candidate", "candidate is required"))?;
    let candidate = match candidate {
        Value::String(line) => {
            json!({ "candidate": line, "sdpMLineIndex": body.sdp_m_line_index, "sdpMid": body.sdp_mid })
        }
        other => other,
    };
    let kind = SignalKind::IceCandidate;
    let signal =
        Signal { call: call_id, to: None, kind, payload: candidate.clone(), ice_restart: None };
    app.calls.signal(&caller.device(), signal).await?;
    Ok(ok(CandidatePassed { call_id, candidate }, "ICE candidate added successfully"))
}

/// What the original says of a recording.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallRecording {
    call_id: CallId,
    recording_id: RecordingId,
    /// A link to the voices of all, or to the longest file; good without a token for a while.
    recording_url: String,
    expires_at: Timestamp,
    recording_status: RecordingStatus,
    recording_size: u64,
    duration: i64,
    call_type: CallType,
}

/// The recording of a call, as the original answers: the newest one, once it is completed.
#[utoipa::path(get, path = "/{callId}/recording", tag = "Calls", params(("callId" = CallId, Path)),
    responses((status = 200, body = Success<CallRecording>), (status = 404, body = crate::error::ErrorBody)))]
async fn recording(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<CallId>,
) -> Answer<CallRecording> {
    let call = app.calls.call(caller.id, id).await?;
    let found = app.recordings.of_call(id).await?;
    let status = found.as_ref().map_or(RecordingStatus::NoRecording, |found| found.status);
    let file = found.as_ref().filter(|_| status == RecordingStatus::Completed).and_then(principal);
    let Some((found, file)) = found.as_ref().zip(file) else {
        return Err(Refusal(Problem {
            reason: Reason::NotFound,
            message: "Recording not available".into(),
            details: Some(json!({ "recordingStatus": status })),
        }));
    };
    let (recording_url, expires_at) =
        app.recordings.signed(caller.id, found.recording_id, file.file_id).await?;
    let view = CallRecording {
        call_id: id,
        recording_id: found.recording_id,
        recording_url,
        expires_at,
        recording_status: status,
        recording_size: file.bytes,
        duration: call.duration,
        call_type: call.call_type,
    };
    Ok(ok(view, "Recording retrieved successfully"))
}

/// What to make of a call.
#[derive(Deserialize, ToSchema)]
pub(super) struct RecordBody {
    mode: Option<RecordingMode>,
}

/// Records a call.
#[utoipa::path(post, path = "/{callId}/recordings", tag = "Calls", params(("callId" = CallId, Path)),
    request_body = RecordBody, responses((status = 201, body = Success<Recording>)))]
async fn record(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<CallId>,
    Body(body): Body<RecordBody>,
) -> Result<Response, Refusal> {
    Ok(started(app.record_call(caller.requester(), id, body.mode).await?))
}
