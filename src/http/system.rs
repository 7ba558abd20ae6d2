//! Health, readiness, metrics, and what the server is. All figures are those of one [`Snapshot`].

use std::sync::OnceLock;

use axum::extract::{FromRequestParts as _, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Refusal, Success, ok};
use super::extract::{Caller, Operator, Query};
use crate::app::App;
use crate::auth::bearer;
use crate::clock::Timestamp;
use crate::error::{Problem, Reason};
use crate::ids::UserId;
use crate::ops::{self, Features, SERVICE, Snapshot, Surface, VERSION};
use crate::socket;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(health))
        .routes(routes!(info))
        .routes(routes!(metrics_text))
        .routes(routes!(sync))
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "System", responses((status = 200, body = String)))]
async fn livez() -> &'static str {
    "ok"
}

/// Whether the server should be sent work.
#[derive(Serialize, ToSchema)]
struct Ready {
    checks: Checks,
}

/// Each part on its own.
#[derive(Serialize, ToSchema)]
struct Checks {
    store: bool,
    draining: bool,
}

/// Ready for work: the store writes, and the server is not going down.
#[utoipa::path(get, path = "/readyz", tag = "System", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn readyz(State(app): State<App>) -> Response {
    let now = app.snapshot().await;
    let status = if now.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = Checks { store: now.store.writes, draining: now.draining };
    (status, Json(Ready { checks })).into_response()
}

/// The original's health, without what is private.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Health {
    status: &'static str,
    timestamp: Timestamp,
    service: &'static str,
    version: &'static str,
    /// `Embedded`, or `Connected` to a server of its own; `Disconnected` when it does not answer.
    database: &'static str,
    /// The storage engine: `sqlite` or `mongodb`.
    storage: &'static str,
    environment: String,
    uptime: u64,
    statistics: Statistics,
}

/// Figures from counters.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    total_users: i64,
    total_messages: i64,
    total_calls: i64,
    active_connections: usize,
    active_calls: usize,
    active_rooms: usize,
    /// How many; for admins, or with `compat.public_health_stats`, who.
    online_users: OnlineUsers,
}

/// How many are online, or who.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum OnlineUsers {
    Count(usize),
    Users(Vec<UserId>),
}

/// Health for people and for monitors of the original.
#[utoipa::path(get, path = "/health", tag = "System", responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn health(State(app): State<App>, request: axum::extract::Request) -> Response {
    let now = app.snapshot().await;
    let detailed = app.config.compat.public_health_stats || is_operator(&app, request).await;
    let online_users = match detailed {
        true => OnlineUsers::Users(app.delivery.online()),
        false => OnlineUsers::Count(now.delivery.users),
    };
    let environment = app.config.server.environment.clone();
    let alive = now.store.totals.is_some();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health::of(&now, environment, online_users))).into_response()
}

/// Whether an operator asks. Monitors, which show no token, are not counted as failures.
async fn is_operator(app: &App, request: axum::extract::Request) -> bool {
    let (mut parts, _) = request.into_parts();
    parts.headers.contains_key(header::AUTHORIZATION)
        && Operator::from_request_parts(&mut parts, app).await.is_ok()
}

impl Health {
    fn of(now: &Snapshot, environment: String, online_users: OnlineUsers) -> Self {
        let alive = now.store.totals.is_some();
        let totals = now.store.totals.unwrap_or_default();
        Self {
            status: match (alive, now.draining) {
                (false, _) => "ERROR",
                (true, true) => "DRAINING",
                (true, false) => "OK",
            },
            timestamp: now.at,
            service: SERVICE,
            version: VERSION,
            database: match now.store.engine {
                _ if !alive => "Disconnected",
                "sqlite" => "Embedded",
                _ => "Connected",
            },
            storage: now.store.engine,
            environment,
            uptime: now.process.uptime.as_secs(),
            statistics: Statistics {
                total_users: totals.users,
                total_messages: totals.messages,
                total_calls: totals.calls,
                active_connections: now.delivery.connections,
                active_calls: now.calls.active,
                active_rooms: now.rooms.rooms,
                online_users,
            },
        }
    }
}

/// What the server is and can.
#[utoipa::path(get, path = "/api/info", tag = "System", responses((status = 200, body = Object)))]
async fn info(State(app): State<App>) -> Json<Value> {
    let features = Features::of(&app.snapshot().await, surface());
    Json(json!({
        "service": SERVICE,
        "version": VERSION,
        "description": "Chat, voice and video calls for an application with its own accounts",
        "protocol": 2,
        "features": features,
        "endpoints": {
            "chat": "/api/chat", "calls": "/api/calls", "rooms": "/api/rooms", "recordings": "/api/recordings",
            "whip": "/whip", "whep": "/whep", "health": "/health", "openapi": "/api/openapi.json",
            "asyncapi": "/api/asyncapi.json", "docs": "/docs",
        },
        "websocket": { "path": "/socket.io/", "events": events() },
        "socketPath": "/socket.io/",
        "whip": features.whip,
        "limits": app.shown_limits(),
    }))
}

fn events() -> Vec<&'static str> {
    crate::event::Event::catalogue().into_iter().map(|event| event.name).collect()
}

/// What this build answers, from the tables by which it does.
fn surface() -> &'static Surface {
    static SURFACE: OnceLock<Surface> = OnceLock::new();
    SURFACE.get_or_init(|| {
        let paths = super::api().into_openapi().paths.paths.into_keys().collect();
        Surface { events: socket::client_events(), paths }
    })
}

/// From where to replay.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SyncParams {
    /// The last cursor the client knows.
    cursor: Option<i64>,
    /// At most 500.
    limit: Option<usize>,
}

/// What was missed since a cursor, for clients that poll.
#[utoipa::path(get, path = "/api/sync", tag = "Chat", params(SyncParams),
    responses((status = 200, body = Success<crate::event::SyncBatch>)))]
async fn sync(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<SyncParams>,
) -> Answer<crate::event::SyncBatch> {
    let needed =
        || Problem::invalid("cursor", "cursor is required; session:ready has the present one");
    let cursor = params.cursor.ok_or_else(needed)?;
    let missed = app.chat.missed(caller.id, cursor, params.limit.unwrap_or(200)).await?;
    Ok(ok(missed.batch, "Events retrieved successfully"))
}

/// Figures for Prometheus, for the scrape token and for admins.
#[utoipa::path(get, path = "/metrics", tag = "System", responses((status = 200, body = String)))]
async fn metrics_text(State(app): State<App>, request: axum::extract::Request) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let wanted = &app.config.metrics.token;
    let by_token = !wanted.is_empty() && bearer(header).is_some_and(|token| wanted.is(token));
    if by_token {
        return render(&app).await;
    }
    let (mut parts, _) = request.into_parts();
    match Operator::from_request_parts(&mut parts, &app).await {
        Ok(Operator) => render(&app).await,
        Err(refusal) if refusal.0.reason == Reason::TokenMissing => {
            let message = "Metrics need metrics.token or an admin's token as bearer";
            Refusal(Problem::new(Reason::TokenMissing, message)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The separate listener of `metrics.listen`, without a token.
pub fn metrics_router(app: &App) -> Router {
    let route = axum::routing::get(async |State(app): State<App>| render(&app).await);
    Router::new().route("/metrics", route).with_state(app.clone())
}

async fn render(app: &App) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, ops::render(&app.snapshot().await)).into_response()
}

#[cfg(test)]
mod tests;
