//! Health, readiness, metrics, and what the server is.

use std::sync::OnceLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{StatusCode, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
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
use crate::store::Totals;

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
    let store = store_answers(&app).await;
    let draining = app.is_draining();
    let status = if store && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { checks: Checks { store, draining } })).into_response()
}

async fn store_answers(app: &App) -> bool {
    let ping = tokio::time::timeout(std::time::Duration::from_secs(2), app.store.ping());
    matches!(ping.await, Ok(Ok(())))
}

/// The original's health, without what is nobody's business.
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
async fn health(State(app): State<App>, operator: Result<Operator, Refusal>) -> Response {
    let totals = app.store.totals().await;
    let alive = totals.is_ok();
    let Totals { users, messages, calls } = totals.unwrap_or_default();
    let online = app.delivery.online();
    let detailed = app.config.compat.public_health_stats || operator.is_ok();
    let health = Health {
        status: if !alive {
            "ERROR"
        } else if app.is_draining() {
            "DRAINING"
        } else {
            "OK"
        },
        timestamp: app.clock.now(),
        service: "switchboard",
        version: env!("CARGO_PKG_VERSION"),
        database: match app.store.engine() {
            _ if !alive => "Disconnected",
            "sqlite" => "Embedded",
            _ => "Connected",
        },
        storage: app.store.engine(),
        environment: app.config.server.environment.clone(),
        uptime: app.clock.now().since(app.started_at).as_secs(),
        statistics: Statistics {
            total_users: users,
            total_messages: messages,
            total_calls: calls,
            active_connections: app.delivery.connections(),
            active_calls: app.calls.count(),
            active_rooms: app.rooms.stats().rooms,
            online_users: match detailed {
                true => OnlineUsers::Users(online),
                false => OnlineUsers::Count(online.len()),
            },
        },
    };
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// What the server is and can.
#[utoipa::path(get, path = "/api/info", tag = "System", responses((status = 200, body = Object)))]
async fn info(State(app): State<App>) -> Json<Value> {
    // Whatever comes by WHIP or WHEP comes into a room, and rooms are where media arrives.
    let rooms = app.rooms.stats().media;
    let recording = rooms && app.config.recordings.max_parallel > 0;
    Json(json!({
        "service": "switchboard",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Chat, voice and video calls for an application with its own accounts",
        "protocol": 2,
        "features": {
            "chat": true, "receipts": true, "presence": true, "typing": true, "offlineDelivery": true, "sync": true,
            "calls": true, "groups": false, "attachments": false, "search": false, "rooms": rooms, "recording": recording,
            "turn": app.relay.is_offered(), "whip": rooms, "whep": rooms,
        },
        "endpoints": {
            "chat": "/api/chat", "calls": "/api/calls", "rooms": "/api/rooms", "recordings": "/api/recordings",
            "whip": "/whip", "whep": "/whep", "health": "/health", "openapi": "/api/openapi.json",
            "asyncapi": "/api/asyncapi.json", "docs": "/docs",
        },
        "websocket": { "path": "/socket.io/", "events": events() },
        "socketPath": "/socket.io/",
        "whip": rooms,
        "limits": app.shown_limits(),
    }))
}

fn events() -> Vec<&'static str> {
    crate::event::Event::catalogue().into_iter().map(|event| event.name).collect()
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

/// What was missed since a cursor, for those who poll.
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
    let by_token = !wanted.is_empty() && bearer(header) == Some(wanted.expose());
    if by_token {
        return render();
    }
    let (mut parts, _) = request.into_parts();
    match <Operator as axum::extract::FromRequestParts<App>>::from_request_parts(&mut parts, &app)
        .await
    {
        Ok(Operator) => render(),
        Err(refusal) if refusal.0.reason == Reason::TokenMissing => {
            let message = "Metrics need metrics.token or an admin's token as bearer";
            Refusal(Problem::new(Reason::TokenMissing, message)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The separate listener of `metrics.listen`, without a token.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", axum::routing::get(async || render()))
}

fn render() -> Response {
    let text = recorder().map(|recorder| {
        recorder.run_upkeep();
        recorder.render()
    });
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, text.unwrap_or_default()).into_response()
}

/// The one recorder of this process; installed at the first call.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let seconds = [
            0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
        ];
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds);
        let handle = builder.ok()?.install_recorder().ok()?;
        zeroes();
        Some(handle)
    };
    RECORDER.get_or_init(install).as_ref()
}

/// Starts recording; every name is there from the beginning, zero included.
pub fn start_metrics() {
    let _ = recorder();
}

/// Gauges without labels.
const GAUGES: [&str; 7] = [
    "rtc_calls_active",
    "rtc_rooms",
    "rtc_participants",
    "rtc_socket_connections",
    "rtc_turn_allocations",
    "rtc_recording_active",
    "rtc_draining",
];
/// Counters without labels.
const COUNTERS: [&str; 7] = [
    "rtc_srtp_auth_failures_total",
    "rtc_srtp_replay_total",
    "rtc_turn_bytes_total",
    "rtc_slow_consumers_total",
    "rtc_recording_bytes_total",
    "rtc_recording_errors_total",
    "rtc_recording_gap_seconds_total",
];
/// Counters of which each series has a label: its name, and a value that is there from the beginning.
const LABELLED: [(&str, &str, &str); 16] = [
    ("rtc_rtp_packets_total", "direction", "in"),
    ("rtc_rtp_packets_total", "direction", "out"),
    ("rtc_rtp_bytes_total", "direction", "in"),
    ("rtc_rtp_bytes_total", "direction", "out"),
    ("rtc_nack_total", "direction", "in"),
    ("rtc_nack_total", "direction", "out"),
    ("rtc_pli_total", "direction", "in"),
    ("rtc_pli_total", "direction", "out"),
    ("rtc_ice_state_total", "state", "connected"),
    ("rtc_ice_state_total", "state", "failed"),
    ("rtc_rtp_dropped_total", "reason", "events"),
    ("rtc_calls_total", "outcome", "hangup"),
    ("rtc_turn_denied_total", "reason", "none"),
    ("rtc_auth_failures_total", "reason", "signature"),
    ("rtc_socket_events_total", "event", "message:send"),
    ("rtc_rate_limited_total", "what", "messages"),
];
/// Distributions.
const HISTOGRAMS: [&str; 6] = [
    "rtc_call_setup_seconds",
    "rtc_media_setup_seconds",
    "rtc_message_ack_seconds",
    "rtc_rtt_seconds",
    "rtc_jitter_seconds",
    "rtc_loss_ratio",
];

fn zeroes() {
    GAUGES.iter().for_each(|&gauge| metrics::gauge!(gauge).set(0));
    metrics::gauge!("rtc_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    COUNTERS.iter().for_each(|&counter| metrics::counter!(counter).absolute(0));
    for (counter, label, value) in LABELLED {
        metrics::counter!(counter, label => value).absolute(0);
    }
    for histogram in HISTOGRAMS {
        let _ = metrics::histogram!(histogram);
    }
    for (kind, direction) in [("audio", "in"), ("audio", "out"), ("video", "in"), ("video", "out")]
    {
        metrics::gauge!("rtc_tracks", "kind" => kind, "direction" => direction).set(0);
    }
    let _ = metrics::histogram!("rtc_quality_mos", "kind" => "audio");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sources(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if !path.ends_with("http/system.rs") {
                into.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_metric_that_is_there_from_the_beginning_is_set_by_some_part() {
        let mut text = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
        let labelled = LABELLED.iter().map(|(name, ..)| *name);
        let others = ["rtc_tracks", "rtc_quality_mos"];
        for name in
            [&GAUGES[..], &COUNTERS, &HISTOGRAMS, &others].concat().into_iter().chain(labelled)
        {
            assert!(text.contains(&format!("\"{name}\"")), "nothing sets {name}");
        }
    }
}
