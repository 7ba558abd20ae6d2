//! `session:*`, `presence:*` and `sync:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use crate::clock::Timestamp;
use crate::error::{Problem, Reason};
use crate::event::{PresenceMode, SyncBatch, UserStatus};
use crate::ids::UserId;
use crate::presence::CONTACTS;

/// Whose status to get.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresencePeople)]
pub(super) struct People {
    user_ids: Vec<UserId>,
}

/// Their states.
#[derive(Serialize, ToSchema)]
#[schema(as = PresenceStates)]
pub(super) struct States {
    states: Vec<UserStatus>,
}

fn within_limit(people: People) -> Outcome<Vec<UserId>> {
    match people.user_ids.len() <= CONTACTS {
        true => Ok(people.user_ids),
        false => {
            let message = format!("userIds may name {CONTACTS} people at most");
            Err(Problem::invalid("userIds", message))
        }
    }
}

pub(super) async fn subscribe(context: Context, payload: People) -> Outcome<States> {
    let users = within_limit(payload)?;
    let (by, session) = (context.policy_actor(), context.session.about.id);
    Ok(States { states: context.app.presence.subscribe(by, session, &users).await? })
}

pub(super) async fn unsubscribe(context: Context, payload: People) -> Outcome<Done> {
    let (me, session) = (context.user(), context.session.about.id);
    context.app.presence.unsubscribe(me, session, &within_limit(payload)?);
    Ok(Done {})
}

/// How one wants to be seen.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresenceSet)]
pub(super) struct SetPresence {
    presence: PresenceMode,
    status_text: Option<String>,
}

pub(super) async fn set_presence(context: Context, payload: SetPresence) -> Outcome<Done> {
    if payload.status_text.as_ref().is_some_and(|text| text.chars().count() > 140) {
        return Err(Problem::invalid("statusText", "statusText may have 140 characters at most"));
    }
    let me = context.session.about.user;
    context.app.people.change(me, None, payload.status_text, Some(payload.presence)).await?;
    context.app.presence.announce(me).await?;
    Ok(Done {})
}

/// From where to replay.
#[derive(Deserialize, ToSchema)]
#[schema(as = SyncPull)]
pub(super) struct Pull {
    #[schema(value_type = String)]
    cursor: Value,
    limit: Option<usize>,
}

pub(super) async fn pull(context: Context, payload: Pull) -> Outcome<SyncBatch> {
    let (me, cursor) = (context.session.about.user, number(&payload.cursor)?);
    Ok(context.app.chat.missed(me, cursor, payload.limit.unwrap_or(200)).await?.batch)
}

/// How far a client has come.
#[derive(Deserialize, ToSchema)]
#[schema(as = SyncAck)]
pub(super) struct Cursor {
    #[schema(value_type = String)]
    cursor: Value,
}

pub(super) async fn sync_ack(context: Context, payload: Cursor) -> Outcome<Done> {
    context.confirm_batch(number(&payload.cursor)?).await?;
    Ok(Done {})
}

fn number(cursor: &Value) -> Outcome<i64> {
    let number = match cursor {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    let invalid =
        || Problem::new(Reason::InvalidCursor, "This cursor was not given by this server");
    number.filter(|number| *number >= 0).ok_or_else(invalid)
}

/// A fresh token of the same user.
#[derive(Deserialize, ToSchema)]
#[schema(as = SessionRefresh)]
pub(super) struct Refresh {
    token: String,
}

/// Until when the session is good now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionRefreshAck)]
pub(super) struct Refreshed {
    expires_at: Timestamp,
}

pub(super) async fn refresh(context: Context, payload: Refresh) -> Outcome<Refreshed> {
    context.app.limits.refresh(context.session.about.user)?;
    let identity = context.app.auth.authenticate(&payload.token).await?;
    if identity.user_id != context.session.about.user {
        return Err(Problem::new(
            Reason::IdentityMismatch,
            "The token belongs to another user than this session",
        ));
    }
    let role = context.app.people.admit_refreshed(&identity).await?;
    context.session.set_role(role);
    context.session.set_expires_at(identity.expires_at);
    Ok(Refreshed { expires_at: identity.expires_at })
}

/// The client's time.
#[derive(Deserialize, ToSchema)]
#[schema(as = SessionPing)]
pub(super) struct Ping {
    #[schema(value_type = f64)]
    t: Option<f64>,
}

/// The client's time back, and the server's.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionPong)]
pub(super) struct Pong {
    t: Option<f64>,
    server_time: Timestamp,
}

pub(super) async fn ping(context: Context, payload: Ping) -> Outcome<Pong> {
    Ok(Pong { t: payload.t, server_time: context.app.clock.now() })
}
