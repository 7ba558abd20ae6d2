//! `call:*` and `webrtc:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::table::{Context, Done, Outcome};
use crate::calls::{CallError, CallRequest, Respond as Answering, Signal, SignalDelivery};
use crate::error::Problem;
use crate::event::{Call, CallMedia, CallType, EndReason, IceServer, SignalKind};
use crate::ids::{CallId, ClientId, RoomId, Short, UserId};
use crate::quality::{self, Measured};

/// A call, named.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallWhich)]
pub(super) struct Which {
    call_id: CallId,
}

/// The call as it stands now.
#[derive(Serialize, ToSchema)]
#[schema(as = CallAck)]
pub(super) struct OneCall {
    call: Call,
}

/// The call; of several, all that ring now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallInitiateAck)]
pub(super) struct Initiated {
    call: Call,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<Call>>,
}

/// Whom to call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallInitiate)]
pub(super) struct Initiate {
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

pub(super) async fn initiate(context: Context, payload: Initiate) -> Outcome<Initiated> {
    let order = CallRequest {
        to: CallRequest::people(payload.to_user_id, payload.to_user_ids),
        kind: payload.call_type,
        client_id: payload.client_id,
        waiting: payload.waiting,
        ring: true,
        media: payload.media,
        record: payload.record,
    };
    let operates = context.role.is_operator();
    let (call, calls) = context.app.start_call(&context.actor(), order, operates).await?;
    Ok(Initiated { call, calls })
}

/// Whom to add to a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAdd)]
pub(super) struct Add {
    call_id: CallId,
    user_ids: Vec<UserId>,
}

/// The call, the room where everybody meets, and who rings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAddAck)]
pub(super) struct AddAck {
    call: Call,
    room_id: RoomId,
    calls: Vec<Call>,
    refused: Vec<Refused>,
}

/// Who could not be called.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRefused)]
pub(super) struct Refused {
    user_id: UserId,
    reason: &'static str,
    error: String,
}

pub(super) async fn add(context: Context, payload: Add) -> Outcome<AddAck> {
    context.app.limits.call(context.session.about.user)?;
    let actor = context.actor();
    let added = context.app.calls.add(&actor, payload.call_id, &payload.user_ids).await?;
    let room_id = context.app.open_room(actor.user, payload.call_id).await?;
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

pub(super) async fn ringing(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.shown_on(&context.actor(), payload.call_id).await?;
    Ok(Done {})
}

/// An answer; anything but `accept` refuses, as in the original.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRespond)]
pub(super) struct Respond {
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

pub(super) async fn respond(context: Context, payload: Respond) -> Outcome<OneCall> {
    let answering = Answering {
        call: payload.call_id,
        accept: payload.response == "accept",
        busy: payload.reason == Some(Declined::Busy),
        to: payload.to_user_id,
        hold_other: payload.hold_other,
    };
    Ok(OneCall { call: context.app.calls.respond(&context.actor(), answering).await? })
}

pub(super) async fn cancel(context: Context, payload: Which) -> Outcome<OneCall> {
    let me = context.session.about.user;
    Ok(OneCall { call: context.app.calls.end(me, payload.call_id, None, None).await? })
}

/// The end of a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallEnd)]
pub(super) struct End {
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

pub(super) async fn end(context: Context, payload: End) -> Outcome<OneCall> {
    let reason = payload.reason.map(|reason| match reason {
        EndedFor::Hangup => EndReason::Hangup,
        EndedFor::Failed => EndReason::Failed,
        EndedFor::Network => EndReason::Network,
    });
    let me = context.session.about.user;
    Ok(OneCall {
        call: context.app.calls.end(me, payload.call_id, payload.to_user_id, reason).await?,
    })
}

pub(super) async fn hold(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.hold(context.session.about.user, payload.call_id, true).await?;
    Ok(Done {})
}

pub(super) async fn resume_hold(context: Context, payload: Which) -> Outcome<Done> {
    context.app.calls.hold(context.session.about.user, payload.call_id, false).await?;
    Ok(Done {})
}

/// What the call is to become.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallUpdate)]
pub(super) struct Update {
    call_id: CallId,
    call_type: Option<CallType>,
    /// `relay` has media go through the server from now on: the two find no way to each other.
    media: Option<CallMedia>,
}

pub(super) async fn update(context: Context, payload: Update) -> Outcome<OneCall> {
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

/// The call, on this device now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallMovedAck)]
pub(super) struct Moved {
    call: Call,
    ice_servers: Vec<IceServer>,
}

pub(super) async fn take_over(context: Context, payload: Which) -> Outcome<Moved> {
    let about = &context.session.about;
    let call = context.app.calls.take_over(about.user, about.id, payload.call_id).await?;
    let ice_servers =
        context.app.calls.webrtc_config(about.user, Some(payload.call_id)).ice_servers;
    Ok(Moved { call, ice_servers })
}

/// Which call to come back to, and what the client last knew of it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRejoin)]
pub(super) struct Rejoin {
    call_id: CallId,
    #[allow(dead_code)]
    last_rev: Option<i64>,
}

/// The call as it stands, and what waited.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRejoinAck)]
pub(super) struct Rejoined {
    call: Call,
    buffered: Vec<Waited>,
    ice_servers: Vec<IceServer>,
}

/// An event that waited.
#[derive(Serialize, ToSchema)]
struct Waited {
    event: &'static str,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

pub(super) async fn rejoin(context: Context, payload: Rejoin) -> Outcome<Rejoined> {
    let about = &context.session.about;
    let back = context.app.calls.rejoin(about.user, about.id, payload.call_id).await?;
    let buffered =
        back.buffered.into_iter().map(|(event, payload)| Waited { event, payload }).collect();
    let ice_servers =
        context.app.calls.webrtc_config(about.user, Some(payload.call_id)).ice_servers;
    Ok(Rejoined { call: back.call, buffered, ice_servers })
}

/// What one thought of a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallRate)]
pub(super) struct Rate {
    call_id: CallId,
    /// 1 (bad) to 5 (good).
    stars: u8,
    #[serde(default)]
    issues: Vec<Short<40>>,
    comment: Option<Short<500>>,
}

pub(super) async fn rate(context: Context, payload: Rate) -> Outcome<Done> {
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

/// Figures of one leg.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leg {
    rtt_ms: Option<f64>,
    jitter_ms: Option<f64>,
    loss_pct: Option<f64>,
}

/// Figures of a running call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallStats)]
pub(super) struct Stats {
    call_id: CallId,
    legs: Vec<Leg>,
}

impl Leg {
    pub(super) fn measured(&self) -> Measured {
        Measured { rtt_ms: self.rtt_ms, jitter_ms: self.jitter_ms, loss_pct: self.loss_pct }
    }
}

pub(super) async fn stats(context: Context, payload: Stats) -> Outcome<Done> {
    if payload.legs.len() > 16 {
        return Err(Problem::invalid("legs", "legs may hold 16 at most"));
    }
    context.app.calls.runs(context.session.about.user, payload.call_id).await?;
    quality::note(payload.legs.iter().map(Leg::measured));
    Ok(Done {})
}

/// Missed calls that were seen.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallAckMissed)]
pub(super) struct AckMissed {
    call_ids: Vec<CallId>,
}

pub(super) async fn ack_missed(context: Context, payload: AckMissed) -> Outcome<Done> {
    if payload.call_ids.len() > 200 {
        return Err(Problem::invalid("callIds", "callIds may name 200 calls at most"));
    }
    context.app.calls.ack_missed(context.session.about.user, payload.call_ids).await?;
    Ok(Done {})
}

/// An offer for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebrtcOffer)]
pub(super) struct Offer {
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
pub(super) struct AnswerSignal {
    call_id: CallId,
    to_user_id: Option<UserId>,
    #[schema(value_type = Object)]
    answer: Value,
}

/// An ICE candidate for the other side.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebrtcIceCandidate)]
pub(super) struct Candidate {
    call_id: CallId,
    to_user_id: Option<UserId>,
    #[serde(default)]
    #[schema(value_type = Object)]
    candidate: Value,
}

pub(super) async fn offer(context: Context, payload: Offer) -> Outcome<SignalDelivery> {
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

pub(super) async fn answer(context: Context, payload: AnswerSignal) -> Outcome<SignalDelivery> {
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

pub(super) async fn candidate(context: Context, payload: Candidate) -> Outcome<SignalDelivery> {
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
    Ok(context.app.calls.signal(&context.actor(), signal).await?)
}
