//! What surrounds every request: its id and span, the address it comes from, how long it may take, and the body of its failure.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tracing::Instrument;

use super::engine::{self, EngineIo};
use super::origin::{self, ByProxy};
use super::{body, docs, forwarded, host};
use crate::app::App;
use crate::config::Networks;
use crate::error::{Problem, Reason};
use crate::peer::ClientAddress;

/// How long a REST request may take, its body included.
const DEADLINE: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the edge around the router.
pub(super) fn wrap(router: Router, app: &App) -> Router {
    let router = router
        .layer(from_fn_with_state(EngineIo::new(app), engine::around))
        .layer(from_fn_with_state(app.clone(), body::admit));
    host::warn_if_exposed(app);
    origin::around_cors(router, &app.config)
        .layer(from_fn_with_state(app.clone(), origin::check))
        .layer(from_fn_with_state(app.clone(), host::check))
        .layer(from_fn_with_state(app.clone(), surround))
}

/// Gives the request its id, its address and its span, and a failure its body.
async fn surround(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = format!("r-{}", &app.clock.id().simple().to_string()[20..]);
    let (method, path) = (request.method(), short(request.uri().path()));
    let span =
        tracing::info_span!("request", request = id, %method, path, user = tracing::field::Empty);
    span.in_scope(|| tracing::debug!("begins"));
    place(&mut request, &app.config.server.trusted_proxies);
    if engine::is_engine(&request) {
        detach(&mut request);
    }
    let begun = app.clock.instant();
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = with_body(response, refusal(&app, &problem, &id));
    }
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::debug!(status, ms = begun.elapsed().as_secs_f64() * 1000.0, "answered")
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers are about people; those that are not say so themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A failure with its body. What the handler and CORS said in headers stays, so that pages of other origins can read why; the length
/// was that of another body.
fn with_body(without: Response, mut refusal: Response) -> Response {
    let (about, _) = without.into_parts();
    let own = std::mem::replace(refusal.headers_mut(), about.headers);
    refusal.headers_mut().remove(header::CONTENT_LENGTH);
    refusal.headers_mut().extend(own);
    refusal
}

/// Notes where a request comes from.
fn place(request: &mut Request, trusted: &Networks) {
    let peer = request.extensions().get();
    let peer = peer.map(|ConnectInfo(address): &ConnectInfo<SocketAddr>| address.ip());
    let address = peer.map(|peer| forwarded::client_address(peer, request.headers(), trusted));
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    request.extensions_mut().insert(ClientAddress(address));
    if peer.is_some_and(|peer| trusted.contains(peer)) {
        request.extensions_mut().insert(ByProxy);
    }
}

/// Copies the head of a request. Its parts are slices of the buffer it was read into, and a websocket, which keeps its head
/// for as long as it lives, would keep all 8 KiB of it.
fn detach(request: &mut Request) {
    for value in request.headers_mut().values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
    if let Ok(copy) = request.uri().to_string().parse() {
        *request.uri_mut() = copy;
    }
}

/// The body of a failure.
fn refusal(app: &App, problem: &Problem, id: &str) -> Response {
    let now = app.clock.now();
    let mut status = problem.reason.status();
    let mut body = problem.body(now, Some(id.to_owned()));
    let invalid_token = matches!(problem.reason, Reason::TokenInvalid | Reason::TokenExpired);
    if invalid_token && app.config.compat.invalid_token_403 {
        status = StatusCode::FORBIDDEN;
        body.code = status.as_u16();
    }
    if problem.reason == Reason::NoRoute {
        body.available_endpoints = Some(docs::endpoints(app.dev));
    }
    let mut response = (status, Json(body)).into_response();
    if let Some(wait) = problem.retry_after_ms() {
        response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The beginning of a path, for the log.
fn short(path: &str) -> &str {
    path.get(..path.floor_char_boundary(200)).unwrap_or_default()
}

/// Ends a request that takes too long; Socket.IO is outside of it.
pub(super) async fn deadline(State(_): State<App>, request: Request<Body>, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.extensions_mut().insert(Problem::new(
                Reason::Unavailable,
                "The request took longer than 30 seconds",
            ));
            response
        }
    }
}
