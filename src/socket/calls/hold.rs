//! `call:hold` and `call:resume-hold`.

use super::common::Which;
use crate::socket::context::{Context, Done, Outcome};

pub(in crate::socket) async fn hold(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.hold(context.session.about.user, payload.call_id, true).await?;
    Ok(Done {})
}

pub(in crate::socket) async fn resume_hold(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.hold(context.session.about.user, payload.call_id, false).await?;
    Ok(Done {})
}
