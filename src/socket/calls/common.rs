//! What several events of calls share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Call;
use crate::ids::CallId;

/// A call, named.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallWhich)]
pub(in crate::socket) struct Which {
    pub(super) call_id: CallId,
}

/// The call as it stands now.
#[derive(Serialize, ToSchema)]
#[schema(as = CallAck)]
pub(in crate::socket) struct OneCall {
    pub(super) call: Call,
}
