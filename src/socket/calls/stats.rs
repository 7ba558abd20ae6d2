//! `call:stats`: what clients measure.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::Problem;
use crate::ids::CallId;
use crate::quality::{self, Measured};
use crate::socket::context::{Context, Done, Outcome};

/// Figures of one leg.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::socket) struct Leg {
    rtt_ms: Option<f64>,
    jitter_ms: Option<f64>,
    loss_pct: Option<f64>,
}

/// Figures of a running call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallStats)]
pub(in crate::socket) struct Stats {
    call_id: CallId,
    legs: Vec<Leg>,
}

impl Leg {
    pub(in crate::socket) fn measured(&self) -> Measured {
        Measured { rtt_ms: self.rtt_ms, jitter_ms: self.jitter_ms, loss_pct: self.loss_pct }
    }
}

pub(in crate::socket) async fn stats(context: Context, payload: Stats) -> Outcome<Done> {
    if payload.legs.len() > 16 {
        return Err(Problem::invalid("legs", "legs may hold 16 at most"));
    }
    context.app.calls.runs(context.session.about.user, payload.call_id).await?;
    quality::note(payload.legs.iter().map(Leg::measured));
    Ok(Done {})
}
