//! `call:initiate`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calls::CallRequest;
use crate::event::{Call, CallMedia, CallType};
use crate::ids::{ClientId, UserId};
use crate::socket::context::{Context, Outcome};

/// The call; of several, all that ring now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallInitiateAck)]
pub(in crate::socket) struct Initiated {
    call: Call,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<Call>>,
}

/// Whom to call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallInitiate)]
pub(in crate::socket) struct Initiate {
    to_user_id: Option<UserId>,
    to_user_ids: Option<Vec<UserId>>,
    #[serde(default)]
    call_type: CallType,
    client_id: Option<ClientId>,
    media: Option<CallMedia>,
    /// Whether to record it from the beginning.
    #[serde(default)]
    record: bool,
    #[serde(default = "yes")]
    waiting: bool,
}

fn yes() -> bool {
    true
}

pub(in crate::socket) async fn initiate(context: Context, payload: Initiate) -> Outcome<Initiated> {
    let request = CallRequest {
        to: CallRequest::people(payload.to_user_id, payload.to_user_ids),
        kind: payload.call_type,
        client_id: payload.client_id,
        waiting: payload.waiting,
        ring: true,
        media: payload.media,
        record: payload.record,
    };
    let operates = context.role().is_operator();
    let (call, calls) = context.app.start_call(&context.device(), request, operates).await?;
    Ok(Initiated { call, calls })
}
