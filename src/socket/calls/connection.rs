//! `call:move` and `call:rejoin`: the same call on another connection.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::common::Which;
use crate::event::{Call, IceServer};
use crate::ids::CallId;
use crate::socket::context::{Context, Outcome};

/// The call, on this device now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallMovedAck)]
pub(in crate::socket) struct Moved {
    call: Call,
    ice_servers: Vec<IceServer>,
}

pub(in crate::socket) async fn take_over(context: Context, payload: Which) -> Outcome<Moved> {
    let about = &context.session.about;
    let call = context.app.calls.take_over(about.user, about.id, payload.call_id).await?;
    let ice_servers =
        context.app.calls.webrtc_config(about.user, Some(payload.call_id)).ice_servers;
    Ok(Moved { call, ice_servers })
}

/// Which call to come back to, and what the client last knew of it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRejoin)]
pub(in crate::socket) struct Rejoin {
    call_id: CallId,
    #[allow(dead_code)]
    last_rev: Option<i64>,
}

/// The call as it stands, and what waited.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRejoinAck)]
pub(in crate::socket) struct Rejoined {
    call: Call,
    buffered: Vec<Waited>,
    ice_servers: Vec<IceServer>,
}

/// An event that waited.
#[derive(Serialize, ToSchema)]
struct Waited {
    event: &'static str,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

pub(in crate::socket) async fn rejoin(context: Context, payload: Rejoin) -> Outcome<Rejoined> {
    let about = &context.session.about;
    let back = context.app.calls.rejoin(about.user, about.id, payload.call_id).await?;
    let buffered =
        back.buffered.into_iter().map(|(event, payload)| Waited { event, payload }).collect();
    let ice_servers =
        context.app.calls.webrtc_config(about.user, Some(payload.call_id)).ice_servers;
    Ok(Rejoined { call: back.call, buffered, ice_servers })
}
