//! `call:rate` and `call:ack-missed`: calls that are over.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::Problem;
use crate::ids::{CallId, Short};
use crate::socket::context::{Context, Done, Outcome};

/// What one thought of a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRate)]
pub(in crate::socket) struct Rate {
    call_id: CallId,
    /// 1 (bad) to 5 (good).
    stars: u8,
    #[serde(default)]
    issues: Vec<Short<40>>,
    comment: Option<Short<500>>,
}

pub(in crate::socket) async fn rate(context: Context, payload: Rate) -> Outcome<Done> {
    if !(1..=5).contains(&payload.stars) {
        return Err(Problem::invalid("stars", "stars must be 1 to 5"));
    }
    if payload.issues.len() > 10 {
        return Err(Problem::invalid("issues", "issues may name 10 at most"));
    }
    let issues = payload.issues.into_iter().map(Short::into_string).collect();
    let (me, comment) = (context.session.about.user, payload.comment.map(Short::into_string));
    context.app.calls.rate(me, payload.call_id, payload.stars, issues, comment).await?;
    Ok(Done {})
}

/// Missed calls that were seen.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAckMissed)]
pub(in crate::socket) struct AckMissed {
    call_ids: Vec<CallId>,
}

pub(in crate::socket) async fn ack_missed(context: Context, payload: AckMissed) -> Outcome<Done> {
    if payload.call_ids.len() > 200 {
        return Err(Problem::invalid("callIds", "callIds may name 200 calls at most"));
    }
    context.app.calls.ack_missed(context.session.about.user, payload.call_ids).await?;
    Ok(Done {})
}
