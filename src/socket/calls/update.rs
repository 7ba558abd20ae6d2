//! `call:update`.

use serde::Deserialize;
use utoipa::ToSchema;

use super::common::OneCall;
use crate::error::Problem;
use crate::event::{CallMedia, CallType};
use crate::ids::CallId;
use crate::socket::context::{Context, Outcome};

/// What the call is to become.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallUpdate)]
pub(in crate::socket) struct Update {
    call_id: CallId,
    call_type: Option<CallType>,
    /// `relay` has media go through the server from now on: the two find no way to each other.
    media: Option<CallMedia>,
}

pub(in crate::socket) async fn update(context: Context, payload: Update) -> Outcome<OneCall> {
    let me = context.session.about.user;
    let calls = &context.app.calls;
    let call = match (payload.call_type, payload.media) {
        (Some(kind), None) => calls.change(me, payload.call_id, kind).await?,
        (None, Some(CallMedia::Relay)) => calls.relay_media(me, payload.call_id).await?,
        _ => {
            let message = "Name callType, or media, which can become \"relay\" only";
            return Err(Problem::invalid("callType", message));
        }
    };
    Ok(OneCall { call })
}
