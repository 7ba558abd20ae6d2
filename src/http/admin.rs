//! The relay for operators; tokens for the demo's users, which exist with `--dev` only.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use switchboard_turn::{AllocationView, Transport};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Refusal, Success, ok};
use super::extract::{Body, Operator, Query};
use crate::app::App;
use crate::auth::{Grant, mint};
use crate::error::{Problem, Reason};
use crate::event::Role;
use crate::ids::{Short, UserId};
use crate::people::DEV_PEOPLE;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(dev_token, dev_token_for)).routes(routes!(allocations))
}

/// One allocation of the embedded relay.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Allocation {
    /// Whose it is: a user's id, or the name of a user of `turn.users`.
    user: String,
    /// The call its credential is bound to.
    call_id: Option<String>,
    /// `udp`, `tcp` or `tls`.
    transport: &'static str,
    /// Where the client writes from.
    client: String,
    /// Where its packets come from, as peers see it.
    relayed: Vec<String>,
    /// Seconds since it was opened.
    age: u64,
    /// Seconds until it runs out, unless it is refreshed.
    expires_in: u64,
    /// Addresses it may receive from.
    permissions: usize,
    /// Channels that are bound.
    channels: usize,
    packets_to_peers: u64,
    bytes_to_peers: u64,
    packets_to_client: u64,
    bytes_to_client: u64,
}

impl From<AllocationView> for Allocation {
    fn from(view: AllocationView) -> Self {
        Self {
            user: view.subject.user.to_string(),
            call_id: view.subject.call.map(|call| call.to_string()),
            transport: match view.client.transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                Transport::Tls => "tls",
            },
            client: view.client.remote.to_string(),
            relayed: view.relayed.iter().map(ToString::to_string).collect(),
            age: view.age,
            expires_in: view.expires_in,
            permissions: view.permissions,
            channels: view.channels,
            packets_to_peers: view.to_peers.packets,
            bytes_to_peers: view.to_peers.bytes,
            packets_to_client: view.to_client.packets,
            bytes_to_client: view.to_client.bytes,
        }
    }
}

/// Every allocation of the embedded relay; empty without one.
#[utoipa::path(get, path = "/api/admin/turn/allocations", tag = "Admin", responses((status = 200, body = Success<Vec<Allocation>>)))]
async fn allocations(State(app): State<App>, _: Operator) -> Answer<Vec<Allocation>> {
    let allocations = app.relay.allocations().await.unwrap_or_default();
    Ok(ok(allocations.into_iter().map(Allocation::from).collect(), "Allocations of the relay"))
}

/// Whose token.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct DevParams {
    user_id: UserId,
}

/// A token that only `--dev` gives.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DevToken {
    token: String,
    user_id: UserId,
    expires_at: crate::clock::Timestamp,
}

/// A token for one of the demo's users; exists only with `--dev`.
#[utoipa::path(get, path = "/api/admin/dev-token", tag = "Dev", params(DevParams), responses((status = 200, body = Success<DevToken>)))]
async fn dev_token(
    State(app): State<App>,
    params: Result<Query<DevParams>, Refusal>,
) -> Answer<DevToken> {
    only_dev(&app)?;
    let Query(params) = params?;
    give(&app, params.user_id, None, 86_400)
}

/// Whose token, and for how long.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DevBody {
    user_id: UserId,
    name: Option<Short<120>>,
    /// Seconds.
    ttl: Option<u32>,
}

/// A token for any user; exists only with `--dev`.
#[utoipa::path(post, path = "/api/admin/dev-token", tag = "Dev", request_body = DevBody, responses((status = 200, body = Success<DevToken>)))]
async fn dev_token_for(
    State(app): State<App>,
    body: Result<Body<DevBody>, Refusal>,
) -> Answer<DevToken> {
    only_dev(&app)?;
    let Body(body) = body?;
    give(&app, body.user_id, body.name.map(Short::into_string), body.ttl.unwrap_or(86_400).into())
}

fn only_dev(app: &App) -> Result<(), Refusal> {
    if app.dev { Ok(()) } else { Err(Refusal(Problem::new(Reason::NoRoute, "Endpoint not found"))) }
}

fn give(app: &App, user_id: UserId, name: Option<String>, ttl: i64) -> Answer<DevToken> {
    let known = DEV_PEOPLE
        .iter()
        .find(|(id, _)| *id == user_id.value())
        .map(|(_, name)| (*name).to_owned());
    let exp = app.clock.now().seconds() + ttl;
    let auth = &app.config.auth;
    let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let grant = Grant {
        user_id,
        uid: None,
        email: None,
        name: name.or(known),
        user_type: None,
        role: Role::User,
        exp,
        iss: set(&auth.issuer),
        aud: set(&auth.audience),
    };
    let token = mint(&grant, &auth.jwt_secret).map_err(|error| {
        tracing::error!(%error, "a token cannot be made");
        Refusal(Problem::new(Reason::Internal, "Internal server error"))
    })?;
    let expires_at = crate::clock::Timestamp(exp * 1000);
    Ok(ok(DevToken { token, user_id, expires_at }, "Token for development"))
}
