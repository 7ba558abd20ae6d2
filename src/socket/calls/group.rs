//! `call:add`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calls::CallError;
use crate::error::Problem;
use crate::event::Call;
use crate::ids::{CallId, RoomId, UserId};
use crate::socket::context::{Context, Outcome};

/// Whom to add to a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAdd)]
pub(in crate::socket) struct Add {
    call_id: CallId,
    user_ids: Vec<UserId>,
}

/// The call, the room where everybody meets, and who rings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAddAck)]
pub(in crate::socket) struct AddAck {
    call: Call,
    room_id: RoomId,
    calls: Vec<Call>,
    refused: Vec<Refused>,
}

/// Who could not be called.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRefused)]
pub(in crate::socket) struct Refused {
    user_id: UserId,
    reason: &'static str,
    error: String,
}

pub(in crate::socket) async fn add(context: Context, payload: Add) -> Outcome<AddAck> {
    context.app.limits.call(context.session.about.user)?;
    let device = context.device();
    let added = context.app.calls.add(&device, payload.call_id, &payload.user_ids).await?;
    let room_id = context.app.open_room(device.user, payload.call_id).await?;
    let refused = |(user_id, error): (UserId, CallError)| {
        let problem = Problem::from(error);
        Refused { user_id, reason: problem.reason.code(), error: problem.message }
    };
    Ok(AddAck {
        call: added.call,
        room_id,
        calls: added.ringing,
        refused: added.refused.into_iter().map(refused).collect(),
    })
}
