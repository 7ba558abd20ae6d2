//! `/api/recordings`: lists, files, and links to them.

use std::path::PathBuf;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, created, ok, with};
use super::extract::{Body, Caller, Path, Query, prove};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Problem;
use crate::event::recording::{Recording, RecordingFile, RecordingMode, RecordingStatus};
use crate::ids::{CallId, FileId, RecordingId, RoomId, UserId};
use crate::recordings::{LinkClaim, Listing, RecordingError, Requester};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(one, delete))
        .routes(routes!(stop))
        .routes(routes!(file))
}

impl Caller {
    pub(super) fn requester(self) -> Requester {
        Requester { user: self.id, operator: self.operates() }
    }
}

/// Which recordings to list.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    call_id: Option<CallId>,
    #[param(value_type = Option<String>)]
    room_id: Option<RoomId>,
    #[param(inline)]
    status: Option<RecordingStatus>,
    /// Only recordings begun since then.
    since: Option<Timestamp>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// At most 50.
    limit: Option<usize>,
}

/// Recordings that one may see, newest first.
#[utoipa::path(get, path = "", tag = "Recordings", params(ListParams), responses((status = 200, body = Success<Vec<Recording>>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Answer<Vec<Recording>> {
    let listing = Listing {
        call: params.call_id,
        room: params.room_id,
        status: params.status,
        since: params.since,
        cursor: params.cursor,
        limit: params.limit,
    };
    let (recordings, next) = app.recordings.list(caller.requester(), listing).await?;
    let message = "Recordings retrieved successfully";
    Ok(with(recordings, Meta { message, next_cursor: Some(next), ..Meta::default() }))
}

/// What to record: a call or a room.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartBody {
    call_id: Option<CallId>,
    #[schema(value_type = Option<String>)]
    room_id: Option<RoomId>,
    mode: Option<RecordingMode>,
}

/// Begins a recording; its members are notified before the first byte is written.
#[utoipa::path(post, path = "", tag = "Recordings", request_body = StartBody, responses((status = 201, body = Success<Recording>)))]
async fn start(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<StartBody>,
) -> Result<Response, Refusal> {
    let recording = match (body.call_id, body.room_id) {
        (Some(call), None) => app.record_call(caller.requester(), call, body.mode).await?,
        (None, Some(room)) => app.record_room(caller.requester(), &room, body.mode).await?,
        _ => return Err(Problem::invalid("callId", "Name either callId or roomId").into()),
    };
    Ok(started(recording))
}

pub(super) fn started(recording: Recording) -> Response {
    let at = format!("/api/recordings/{}", recording.recording_id);
    created(&at, recording, "Recording started")
}

/// One recording.
#[utoipa::path(get, path = "/{recordingId}", tag = "Recordings", params(("recordingId" = RecordingId, Path)), responses((status = 200, body = Success<Recording>)))]
async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RecordingId>,
) -> Answer<Recording> {
    let recording = app.recordings.one(caller.requester(), id).await?;
    Ok(ok(recording, "Recording retrieved successfully"))
}

/// The recording that is gone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deleted {
    recording_id: RecordingId,
}

/// Deletes a recording with its files; for who started it, and operators.
#[utoipa::path(delete, path = "/{recordingId}", tag = "Recordings", params(("recordingId" = RecordingId, Path)), responses((status = 200, body = Success<Deleted>)))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RecordingId>,
) -> Answer<Deleted> {
    app.recordings.delete(caller.requester(), id).await?;
    Ok(ok(Deleted { recording_id: id }, "Recording deleted"))
}

/// Ends a recording.
#[utoipa::path(post, path = "/{recordingId}/stop", tag = "Recordings", params(("recordingId" = RecordingId, Path)), responses((status = 200, body = Success<Recording>)))]
async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<RecordingId>,
) -> Answer<Recording> {
    let recording = app.stop_recording(caller.requester(), id).await?;
    Ok(ok(recording, "Recording stops"))
}

/// How a file is fetched.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FileParams {
    /// 1 gives a link that needs no token, instead of the file.
    link: Option<u8>,
    /// Of such a link.
    expires: Option<i64>,
    /// Of such a link.
    user: Option<UserId>,
    /// Of such a link.
    signature: Option<String>,
}

/// A link to a file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    /// The path and query; whoever has it may fetch the file.
    url: String,
    /// Until when.
    expires_at: Timestamp,
}

/// A file of a recording, or a link to it; `Range` gives a part (RFC 9110 §14).
#[utoipa::path(get, path = "/{recordingId}/files/{fileId}", tag = "Recordings",
    params(("recordingId" = RecordingId, Path), ("fileId" = FileId, Path), FileParams),
    responses((status = 200, body = Success<Link>), (status = 206)))]
async fn file(
    State(app): State<App>,
    Path((id, file)): Path<(RecordingId, FileId)>,
    Query(params): Query<FileParams>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    if let (Some(expires), Some(signature)) = (params.expires, &params.signature) {
        // One without a user is of an older version.
        let user = params.user.ok_or(RecordingError::Link)?;
        let claim = LinkClaim { user, until: Timestamp(expires) };
        let (file, path) = app.recordings.linked(id, file, claim, signature).await?;
        prove(&parts);
        return Ok(serve(&app, user, &file, path, parts).await);
    }
    let caller = Caller::from_request_parts(&mut parts, &app).await?;
    if params.link == Some(1) {
        let (url, expires_at) = app.recordings.link(caller.requester(), id, file).await?;
        return Ok(ok(Link { url, expires_at }, "Link made").into_response());
    }
    let (file, path) = app.recordings.file(caller.requester(), id, file).await?;
    Ok(serve(&app, caller.id, &file, path, parts).await)
}

/// What is asked before each piece of a file: a download that runs ends with the account, and with the operator's rights by which it
/// began.
fn may_go_on(app: App, user: UserId) -> impl Fn() -> Result<(), axum::Error> + Send + 'static {
    let operated = !app.people.is_no_operator(user);
    move || match app.people.is_disabled(user) || (operated && app.people.is_no_operator(user)) {
        true => Err(axum::Error::new(RecordingError::Link)),
        false => Ok(()),
    }
}

/// Sends a file, as long as the one who gets it may have it.
async fn serve(
    app: &App,
    user: UserId,
    file: &RecordingFile,
    path: PathBuf,
    mut parts: http::request::Parts,
) -> Response {
    // A file of a completed recording does not change any more.
    let tag = format!("\"{}-{}\"", file.file_id, file.bytes);
    if let Some(known) = parts.headers.remove(header::IF_RANGE)
        && !is_current(known.to_str().unwrap_or_default(), &tag, &path).await
    {
        parts.headers.remove(header::RANGE);
    }
    let may = may_go_on(app.clone(), user);
    let mut response = whole_or_part(path, parts).await.map(|body| {
        let chunks = body.into_data_stream();
        axum::body::Body::from_stream(
            chunks.map(move |chunk| chunk.and_then(|it| may().map(|()| it))),
        )
    });
    let sound = file.codecs.iter().all(|codec| codec == "opus");
    let kind = match file.container.as_str() {
        "webm" if sound => "audio/webm",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        _ => "application/json",
    };
    let named = format!("inline; filename=\"{}.{}\"", file.file_id, file.container);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Ok(named) = HeaderValue::from_str(&named) {
        headers.insert(header::CONTENT_DISPOSITION, named);
    }
    response
}

async fn whole_or_part(path: PathBuf, parts: http::request::Parts) -> Response {
    let request = http::Request::from_parts(parts, axum::body::Body::empty());
    let Ok(response) = ServeFile::new(path).oneshot(request).await;
    response.map(axum::body::Body::new)
}

/// Whether what a client has a part of is what is there now (RFC 9110 §13.1.5): the same entity tag, a strong one, or exactly the
/// date of the file.
async fn is_current(known: &str, tag: &str, path: &std::path::Path) -> bool {
    if known.starts_with(['"', 'W']) && known.ends_with('"') {
        return known == tag;
    }
    let (parts, ()) = http::Request::new(()).into_parts();
    let now = whole_or_part(path.to_owned(), parts).await;
    now.headers().get(header::LAST_MODIFIED).is_some_and(|date| date == known)
}
