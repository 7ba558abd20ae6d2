//! `webrtc:offer`, `webrtc:answer` and `webrtc:ice-candidate`.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::calls::{Signal, SignalDelivery};
use crate::event::SignalKind;
use crate::ids::{CallId, UserId};
use crate::socket::context::{Context, Outcome};

/// An offer for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebrtcOffer)]
pub(in crate::socket) struct Offer {
    call_id: CallId,
    to_user_id: Option<UserId>,
    #[schema(value_type = Object)]
    offer: Value,
    ice_restart: Option<bool>,
}

/// An answer for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebrtcAnswer)]
pub(in crate::socket) struct AnswerSignal {
    call_id: CallId,
    to_user_id: Option<UserId>,
    #[schema(value_type = Object)]
    answer: Value,
}

/// An ICE candidate for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebrtcIceCandidate)]
pub(in crate::socket) struct Candidate {
    call_id: CallId,
    to_user_id: Option<UserId>,
    #[serde(default)]
    #[schema(value_type = Object)]
    candidate: Value,
}

pub(in crate::socket) async fn offer(context: Context, payload: Offer) -> Outcome<SignalDelivery> {
    let Offer { call_id, to_user_id, offer, ice_restart } = payload;
    signal(
        &context,
        Signal {
            call: call_id,
            to: to_user_id,
            kind: SignalKind::Offer,
            payload: offer,
            ice_restart,
        },
    )
    .await
}

pub(in crate::socket) async fn answer(
    context: Context,
    payload: AnswerSignal,
) -> Outcome<SignalDelivery> {
    let AnswerSignal { call_id, to_user_id, answer } = payload;
    signal(
        &context,
        Signal {
            call: call_id,
            to: to_user_id,
            kind: SignalKind::Answer,
            payload: answer,
            ice_restart: None,
        },
    )
    .await
}

pub(in crate::socket) async fn candidate(
    context: Context,
    payload: Candidate,
) -> Outcome<SignalDelivery> {
    let Candidate { call_id, to_user_id, candidate } = payload;
    let kind = SignalKind::IceCandidate;
    signal(
        &context,
        Signal { call: call_id, to: to_user_id, kind, payload: candidate, ice_restart: None },
    )
    .await
}

async fn signal(context: &Context, signal: Signal) -> Outcome<SignalDelivery> {
    context.limits.signal()?;
    Ok(context.app.calls.signal(&context.device(), signal).await?)
}
