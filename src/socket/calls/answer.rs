//! `call:ringing` and `call:respond`.

use serde::Deserialize;
use utoipa::ToSchema;

use super::common::{OneCall, Which};
use crate::calls::Respond as Answering;
use crate::ids::{CallId, UserId};
use crate::socket::context::{Context, Done, Outcome};

pub(in crate::socket) async fn ringing(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.shown_on(&context.device(), payload.call_id).await?;
    Ok(Done {})
}

/// An answer; anything but `accept` refuses, as in the original.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRespond)]
pub(in crate::socket) struct Respond {
    call_id: CallId,
    response: String,
    to_user_id: Option<UserId>,
    reason: Option<Declined>,
    #[serde(default)]
    hold_other: bool,
}

/// Why a call is refused.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Declined {
    Busy,
    Declined,
}

pub(in crate::socket) async fn respond(context: Context, payload: Respond) -> Outcome<OneCall> {
    let answering = Answering {
        call: payload.call_id,
        accept: payload.response == "accept",
        busy: payload.reason == Some(Declined::Busy),
        to: payload.to_user_id,
        hold_other: payload.hold_other,
    };
    Ok(OneCall { call: context.app.calls.respond(&context.device(), answering).await? })
}
