//! What handlers take in: the caller, and bodies, queries and paths that cannot be wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use super::body;
use crate::app::App;
use crate::auth::{self, AuthError, bearer};
use crate::calls::Device;
use crate::clock::Timestamp;
use crate::config::XUserId;
use crate::error::{Problem, Reason};
use crate::event::Role;
use crate::ids::UserId;
use crate::limits::Attempt;
use crate::peer::{ClientAddress, Stranger};
use crate::policy::{self, Relation, Verb};
use crate::rooms::{Guest, Visitor};

/// The person whose token came with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) id: UserId,
    pub(super) role: Role,
    /// When the token ends.
    pub(super) expires_at: Timestamp,
}

impl Caller {
    /// The one who acts in a call, over REST.
    pub(super) fn device(self) -> Device {
        Device { user: self.id, session: None, device_id: None, device_name: None }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let token = token(&parts.headers).map(str::to_owned).or_else(|| query_token(app, parts));
        let attempt = app.limits.attempt(address(parts));
        let identity = match token {
            Some(token) => app.auth.authenticate_if(&token, || attempt.may_ask()).await,
            None => Err(AuthError::Missing),
        };
        let identity = identity.map_err(|error| reject_unauthenticated(attempt, error))?;
        tracing::Span::current().record("user", identity.user_id.value());
        app.limits.rest(identity.user_id)?;
        if app.config.compat.x_user_id == XUserId::Check {
            check_claim(&parts.headers, identity.user_id)?;
        }
        let role = app.people.admit_again(&identity).await?;
        prove(parts);
        Ok(Self { id: identity.user_id, role, expires_at: identity.expires_at })
    }
}

/// Who enters a room by HTTP: a person with an account, or a guest with a room token.
pub(super) struct Entrant(pub(super) Visitor);

impl FromRequestParts<App> for Entrant {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let token = token(&parts.headers).map(str::to_owned);
        if let Some(guest) = token.as_deref().and_then(|token| app.rooms.guest(token, "http")) {
            app.limits.rest(guest.user)?;
            prove(parts);
            let Guest { user, name, until } = guest;
            let until = Some(until);
            return Ok(Self(Visitor { user, name, operator: false, token, until }));
        }
        let caller = Caller::from_request_parts(parts, app).await?;
        let me = app.people.me(caller.id).await?;
        let name = me.name.unwrap_or_else(|| caller.id.to_string());
        let operator = caller.operates();
        let leeway = Duration::from_secs(app.config.auth.leeway);
        let until = Some(caller.expires_at.after(leeway));
        Ok(Self(Visitor { user: caller.id, name, operator, token: None, until }))
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Of two headers neither counts: a proxy might have checked the other one.
    if values.next().is_some() { None } else { bearer(Some(value)) }
}

fn query_token(app: &App, parts: &Parts) -> Option<String> {
    let query = parts.uri.query().filter(|_| app.config.compat.query_token);
    auth::query_token(query).map(str::to_owned)
}

/// Counts a request without a valid token against its address.
fn reject_unauthenticated(attempt: Attempt<'_>, error: AuthError) -> Refusal {
    metrics::counter!("rtc_auth_failures_total", "reason" => error.label()).increment(1);
    if !error.is_of_token() {
        return error.into();
    }
    match attempt.failed() {
        Ok(()) => error.into(),
        Err(refused) => refused.into(),
    }
}

fn address(parts: &Parts) -> &str {
    parts.extensions.get().map(|ClientAddress(address)| address.as_str()).unwrap_or_default()
}

/// The connection has shown a valid token.
pub(super) fn prove(parts: &Parts) {
    if let Some(stranger) = parts.extensions.get::<Arc<Stranger>>() {
        stranger.prove();
    }
}

fn check_claim(headers: &HeaderMap, user: UserId) -> Result<(), Problem> {
    let Some(claim) = headers.get("x-user-id") else { return Ok(()) };
    let claimed = claim.to_str().ok().and_then(|claim| claim.trim().parse().ok());
    if claimed == Some(user) {
        return Ok(());
    }
    let message =
        "x-user-id is not the user of the token; leave the header out, the token names the user";
    Err(Problem::new(Reason::IdentityMismatch, message))
}

/// The application's backend, or an admin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, key)) = value.and_then(|value| value.split_once(' '))
            && scheme.eq_ignore_ascii_case("apikey")
        {
            return if app.auth.is_api_key(key.trim()) {
                prove(parts);
                Ok(Self)
            } else {
                let attempt = app.limits.attempt(address(parts));
                Err(reject_unauthenticated(attempt, AuthError::Invalid("api_key")))
            };
        }
        let caller = Caller::from_request_parts(parts, app).await?;
        let actor = policy::Actor::new(caller.id, caller.role);
        policy::may(actor, Verb::Operate, Relation::Stranger)?;
        Ok(Self)
    }
}

/// The bytes of a body.
async fn whole(request: Request, app: &App) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, app).await.map_err(|rejection| {
        let response: Response = rejection.into_response();
        if response.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
            return Refusal(body::too_large(app.config.limits.body_bytes));
        }
        Refusal(Problem::invalid("", "The body was cut short"))
    })
}

/// A body of text.
#[derive(Debug)]
pub(super) struct Text(pub(super) String);

impl FromRequest<App> for Text {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let bytes = whole(request, app).await?;
        let text = String::from_utf8(bytes.into());
        text.map(Self).map_err(|_| Problem::invalid("", "The body is not UTF-8").into())
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !kind.is_empty()
            && !kind.trim_start().to_ascii_lowercase().starts_with("application/json")
        {
            return Err(Problem::new(
                Reason::MediaType,
                "Send JSON with content-type: application/json",
            )
            .into());
        }
        let bytes = whole(request, app).await?;
        let deserializer = &mut serde_json::Deserializer::from_slice(if bytes.is_empty() {
            b"{}"
        } else {
            &bytes
        });
        Ok(Self(serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let field = error.path().to_string();
            let why = error.inner().to_string();
            Problem::invalid(&field, if field == "." { why } else { format!("{field}: {why}") })
        })?))
    }
}

/// A query string.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, app).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::invalid("query", rejection.body_text()).into()),
        }
    }
}

/// The variable parts of a path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match axum::extract::Path::<T>::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Problem::invalid("path", rejection.body_text()).into()),
        }
    }
}
