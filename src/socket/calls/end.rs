//! `call:cancel` and `call:end`.

use serde::Deserialize;
use utoipa::ToSchema;

use super::common::{OneCall, Which};
use crate::calls::End as Ending;
use crate::event::EndReason;
use crate::ids::{CallId, UserId};
use crate::socket::context::{Context, Outcome};

pub(in crate::socket) async fn cancel(context: Context, payload: Which) -> Outcome<OneCall> {
    let me = context.session.about.user;
    Ok(OneCall { call: context.app.calls.end(me, Ending::of(payload.call_id)).await? })
}

/// The end of a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallEnd)]
pub(in crate::socket) struct End {
    call_id: CallId,
    to_user_id: Option<UserId>,
    reason: Option<EndedFor>,
}

/// Why a call is ended.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EndedFor {
    Hangup,
    Failed,
    Network,
}

pub(in crate::socket) async fn end(context: Context, payload: End) -> Outcome<OneCall> {
    let reason = payload.reason.map(|reason| match reason {
        EndedFor::Hangup => EndReason::Hangup,
        EndedFor::Failed => EndReason::Failed,
        EndedFor::Network => EndReason::Network,
    });
    let me = context.session.about.user;
    let end = Ending { call: payload.call_id, to: payload.to_user_id, reason };
    Ok(OneCall { call: context.app.calls.end(me, end).await? })
}
