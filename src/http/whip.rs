//! `/whip` and `/whep`: publishing and receiving by HTTP alone (RFC 9725, draft-ietf-wish-whep).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Refusal;
use super::extract::{Entrant, Path, Query, Text};
use crate::app::App;
use crate::error::{Problem, Reason};
use crate::ids::{ParticipantId, RoomId, RoomSessionId};
use crate::rooms::{Resource, Side, Visitor};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

type Outcome = Result<Response, Refusal>;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(publish, publish_options))
        .routes(routes!(patch, end))
        .routes(routes!(view, view_options))
        .routes(routes!(view_one, view_one_options))
        .routes(routes!(patch_view, end_view))
        .routes(routes!(layer))
}

/// The body, when it is of this type.
fn body<'a>(headers: &HeaderMap, wanted: &str, text: &'a str) -> Result<&'a str, Refusal> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|said| said.split(';').next()).unwrap_or_default().trim();
    if said.eq_ignore_ascii_case(wanted) {
        return Ok(text);
    }
    let message = format!("Content-Type must be {wanted}, not {said:?}");
    Err(Problem::new(Reason::MediaType, message).into())
}

/// ICE servers as `Link` headers (RFC 9725 §4.6).
fn links(app: &App, visitor: &Visitor) -> Vec<HeaderValue> {
    let servers = app.room_ice(visitor.user, visitor.token.as_deref()).ice_servers;
    let mut links = Vec::new();
    for server in servers {
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
                link += &format!(
                    "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
                );
            }
            links.extend(HeaderValue::from_str(&link));
        }
    }
    links
}

async fn offer(
    app: &App,
    visitor: Visitor,
    headers: &HeaderMap,
    (room, side): (RoomId, Side),
    text: &str,
) -> Outcome {
    let text = body(headers, SDP, text)?;
    let resource = app.rooms.offer_by_http(&room, visitor.clone(), side, text).await?;
    // Who is not let in gets no credentials.
    let links = links(app, &visitor);
    let Resource { session, answer, etag } = resource;
    let kind = if side == Side::Publish { "whip" } else { "whep" };
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::LOCATION, value(&format!("/{kind}/sessions/{session}")));
    headers.insert(header::ETAG, value(&etag));
    headers.insert(HeaderName::from_static("accept-patch"), HeaderValue::from_static(FRAGMENT));
    for link in links {
        headers.append(header::LINK, link);
    }
    Ok(response)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether the publisher agrees to recordings of the room.
#[derive(serde::Deserialize)]
struct PublishQuery {
    recording: Option<Agreement>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Agreement {
    Consent,
}

/// What says that a recording runs, and whether it takes what this publisher sends.
const RECORDING: HeaderName = HeaderName::from_static("switchboard-recording");

/// Publishes into a room; the answer is in the body, the session in `Location`. `recording=consent` agrees to every recording that
/// runs meanwhile; the header `Switchboard-Recording` names the one that runs.
#[utoipa::path(post, path = "/whip/{roomId}", tag = "WHIP and WHEP", params(("roomId" = String, Path), ("recording" = Option<String>, Query, description = "`consent` agrees to recordings")), request_body(content = String, content_type = "application/sdp"), responses((status = 201, body = String, content_type = "application/sdp", headers(("Switchboard-Recording" = String, description = "The recording that runs, and whether it takes what is sent: `<recordingId>; mode=tracks; taken=no`")))))]
async fn publish(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(room): Path<RoomId>,
    Query(query): Query<PublishQuery>,
    headers: HeaderMap,
    Text(text): Text,
) -> Outcome {
    let user = visitor.user;
    let mut response = offer(&app, visitor, &headers, (room.clone(), Side::Publish), &text).await?;
    if let Some(Agreement::Consent) = query.recording {
        app.recordings.agree(&room, user);
    }
    if let Some((active, takes)) = app.recordings.active_for(&room, user) {
        let (id, mode) = (active.recording_id, active.mode);
        let taken = if takes { "yes" } else { "no" };
        let shown = value(&format!("{id}; mode={mode}; taken={taken}"));
        response.headers_mut().insert(RECORDING, shown);
    }
    Ok(response)
}

/// Receives a whole room, participant after participant.
#[utoipa::path(post, path = "/whep/{roomId}", tag = "WHIP and WHEP", params(("roomId" = String, Path)), request_body(content = String, content_type = "application/sdp"), responses((status = 201, body = String, content_type = "application/sdp")))]
async fn view(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(room): Path<RoomId>,
    headers: HeaderMap,
    Text(text): Text,
) -> Outcome {
    offer(&app, visitor, &headers, (room, Side::View(None)), &text).await
}

/// Receives one participant.
#[utoipa::path(post, path = "/whep/{roomId}/{participantId}", tag = "WHIP and WHEP", params(("roomId" = String, Path), ("participantId" = String, Path)), request_body(content = String, content_type = "application/sdp"), responses((status = 201, body = String, content_type = "application/sdp")))]
async fn view_one(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path((room, who)): Path<(RoomId, ParticipantId)>,
    headers: HeaderMap,
    Text(text): Text,
) -> Outcome {
    offer(&app, visitor, &headers, (room, Side::View(Some(who))), &text).await
}

fn options(app: &App, visitor: &Visitor) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .insert(HeaderName::from_static("accept-post"), HeaderValue::from_static(SDP));
    for link in links(app, visitor) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

/// What may be posted, and the ICE servers.
#[utoipa::path(options, path = "/whip/{roomId}", tag = "WHIP and WHEP", params(("roomId" = String, Path)), responses((status = 204)))]
async fn publish_options(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    _: Path<RoomId>,
) -> Response {
    options(&app, &visitor)
}

/// What may be posted, and the ICE servers.
#[utoipa::path(options, path = "/whep/{roomId}", tag = "WHIP and WHEP", params(("roomId" = String, Path)), responses((status = 204)))]
async fn view_options(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    _: Path<RoomId>,
) -> Response {
    options(&app, &visitor)
}

/// What may be posted, and the ICE servers.
#[utoipa::path(options, path = "/whep/{roomId}/{participantId}", tag = "WHIP and WHEP", params(("roomId" = String, Path), ("participantId" = String, Path)), responses((status = 204)))]
async fn view_one_options(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    _: Path<(RoomId, ParticipantId)>,
) -> Response {
    options(&app, &visitor)
}

async fn patched(
    app: &App,
    visitor: &Visitor,
    session: RoomSessionId,
    headers: &HeaderMap,
    text: &str,
) -> Outcome {
    let text = body(headers, FRAGMENT, text)?;
    let tag = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let tag = tag.map(str::to_owned);
    let patched = app.rooms.patch_by_http(visitor, session, tag, text).await?;
    let Some((fragment, etag)) = patched else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response = fragment.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
    response.headers_mut().insert(header::ETAG, value(&etag));
    Ok(response)
}

/// A candidate, or an ICE restart.
#[utoipa::path(patch, path = "/whip/sessions/{sessionId}", tag = "WHIP and WHEP", params(("sessionId" = String, Path)), request_body(content = String, content_type = "application/trickle-ice-sdpfrag"), responses((status = 204), (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag")))]
async fn patch(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(session): Path<RoomSessionId>,
    headers: HeaderMap,
    Text(text): Text,
) -> Outcome {
    patched(&app, &visitor, session, &headers, &text).await
}

/// A candidate, or an ICE restart.
#[utoipa::path(patch, path = "/whep/sessions/{sessionId}", tag = "WHIP and WHEP", params(("sessionId" = String, Path)), request_body(content = String, content_type = "application/trickle-ice-sdpfrag"), responses((status = 204), (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag")))]
async fn patch_view(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(session): Path<RoomSessionId>,
    headers: HeaderMap,
    Text(text): Text,
) -> Outcome {
    patched(&app, &visitor, session, &headers, &text).await
}

/// Ends publishing.
#[utoipa::path(delete, path = "/whip/sessions/{sessionId}", tag = "WHIP and WHEP", params(("sessionId" = String, Path)), responses((status = 200)))]
async fn end(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(session): Path<RoomSessionId>,
) -> Outcome {
    app.rooms.end_by_http(visitor.user, session).await?;
    Ok(StatusCode::OK.into_response())
}

/// Ends receiving.
#[utoipa::path(delete, path = "/whep/sessions/{sessionId}", tag = "WHIP and WHEP", params(("sessionId" = String, Path)), responses((status = 200)))]
async fn end_view(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(session): Path<RoomSessionId>,
) -> Outcome {
    app.rooms.end_by_http(visitor.user, session).await?;
    Ok(StatusCode::OK.into_response())
}

/// Which layer a viewer wants: the name of one, `auto`, or `off`.
#[utoipa::path(post, path = "/whep/sessions/{sessionId}/layer", tag = "WHIP and WHEP", params(("sessionId" = String, Path)), request_body = LayerChoice, responses((status = 204)))]
async fn layer(
    State(app): State<App>,
    Entrant(visitor): Entrant,
    Path(session): Path<RoomSessionId>,
    super::extract::Body(choice): super::extract::Body<LayerChoice>,
) -> Outcome {
    app.rooms.layer_by_http(visitor.user, session, choice.rid).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A layer.
#[derive(serde::Deserialize, utoipa::ToSchema)]
pub(super) struct LayerChoice {
    rid: String,
}
