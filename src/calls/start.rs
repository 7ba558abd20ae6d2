//! Starting a call.

use std::time::Duration;

use super::live::Live;
use super::machine::Input;
use super::registry::Place;
use super::{Actor, CallError, Calls, Guard, Result};
use crate::config::RecordingAuto;
use crate::delivery::To;
use crate::event::{
    Answer, Call, CallMedia, CallStatus, CallType, Event, Incoming, MediaPath, Response,
};
use crate::ids::{CallId, ClientId, ConversationId, UserId};
use crate::store::{CallRecord, UserRecord};

/// A call to be made.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CallRequest {
    /// Whom to call; several meet in a room.
    pub to: Vec<UserId>,
    pub kind: CallType,
    pub client_id: Option<ClientId>,
    /// Whether to ring somebody who is in another call.
    pub waiting: bool,
    /// Whether to ring at all, or only to note the call.
    pub ring: bool,
    /// Which way the caller wants media to take.
    pub media: Option<CallMedia>,
    /// Whether the caller wants it to be recorded from the beginning; it then goes through the server.
    pub record: bool,
}

impl CallRequest {
    /// Everybody in the two fields that a client names people by.
    pub fn people(one: Option<UserId>, several: Option<Vec<UserId>>) -> Vec<UserId> {
        let mut people = several.unwrap_or_default();
        people.extend(one.filter(|one| !people.contains(one)));
        people
    }
}

impl Calls {
    /// Calls one person, or several at once: then the calls that ring are named as well.
    pub async fn start(&self, by: &Actor, order: CallRequest) -> Result<(Call, Option<Vec<Call>>)> {
        match order.to.as_slice() {
            [] => Err(CallError::NobodyCalled),
            &[to] => Ok((self.start_one(by, to, &order, None).await?, None)),
            _ => {
                let ringing = self.start_group(by, &order).await?;
                let first = ringing.first().cloned().ok_or(CallError::NobodyCalled)?;
                Ok((first, Some(ringing)))
            }
        }
    }

    /// Stores a new call, one of several where `group` is the first, and rings all devices of the person called.
    pub(super) async fn start_one(
        &self,
        by: &Actor,
        to: UserId,
        order: &CallRequest,
        group: Option<CallId>,
    ) -> Result<Call> {
        let from = by.user;
        if from == to {
            return Err(CallError::ToOneself);
        }
        let record = self.fresh((from, to), order, group);
        let people = self.people(&record).await?.ok_or(CallError::UnknownUser(to))?;
        if !self.config.call.ring_offline && !self.delivery.is_online(to) {
            return Err(CallError::Offline);
        }
        let mut live = Live::new(record, by.session);
        live.record_by = order.record.then_some(from);
        match self.registry.reserve(live) {
            Place::InProgress(call) => Err(CallError::InProgress(call)),
            Place::Repeat(call) => self.call(from, call).await,
            Place::Glare(call) => self.merge(by, call).await,
            Place::Taken { live, in_call } => {
                let in_call = in_call || self.in_call.contains(to);
                self.ring(live, order, in_call, &people).await
            }
        }
    }

    fn fresh(
        &self,
        (from, to): (UserId, UserId),
        order: &CallRequest,
        group: Option<CallId>,
    ) -> CallRecord {
        let now = self.clock.now();
        CallRecord {
            id: CallId::new(self.clock.id()),
            from,
            to,
            conversation: ConversationId::direct(from, to),
            kind: order.kind,
            status: CallStatus::Initiated,
            end_reason: None,
            rev: 1,
            media: match self.way(order) {
                _ if group.is_some() => MediaPath::Sfu,
                CallMedia::Relay => MediaPath::Relay,
                CallMedia::P2p | CallMedia::Auto => MediaPath::P2p,
            },
            client_id: order.client_id.clone().map(ClientId::into_string),
            created_at: now,
            ringing_at: None,
            accepted_at: None,
            ended_at: None,
            deadline: Some(now.after(Duration::from_secs(self.config.call.ring_timeout))),
            ended_by: None,
            answered_device: None,
            waiting: false,
            ratings: Vec::new(),
            group,
            lost_at: None,
            updated_at: now,
        }
    }

    /// Which way media takes: where the server is to be in between, nobody gets around it.
    fn way(&self, order: &CallRequest) -> CallMedia {
        let policy = self.config.recordings.auto == RecordingAuto::Accepted;
        match self.config.call.media {
            CallMedia::Relay => CallMedia::Relay,
            _ if order.record || policy => CallMedia::Relay,
            otherwise => order.media.unwrap_or(otherwise),
        }
    }

    /// Whether a call is recorded from the beginning, and by whose wish, for those whom it rings.
    pub(super) fn record_policy(&self, record: Option<UserId>) -> &'static str {
        match self.config.recordings.auto {
            RecordingAuto::Accepted => "accepted",
            RecordingAuto::Off if record.is_some() => "requested",
            RecordingAuto::Off => "off",
        }
    }

    async fn ring(
        &self,
        mut live: Guard,
        order: &CallRequest,
        in_call: bool,
        people: &(UserRecord, UserRecord),
    ) -> Result<Call> {
        live.record.waiting = in_call;
        let stored = self.store.create_call(live.record.clone(), Vec::new()).await;
        let stored = stored.inspect_err(|_| self.withdraw(&mut live))?;
        if stored.id != live.record.id {
            self.withdraw(&mut live);
            return Ok(self.shown(&stored));
        }
        self.arm(&live);
        let shown = self.view.call(&live.record, Some((&people.0, &people.1)), self.clock.now());
        let record_policy = self.record_policy(live.record_by);
        let told = |waiting| Box::new(Incoming { call: shown.clone(), waiting, record_policy });
        self.delivery.send(To::User(live.record.from), &Event::CallInitiated(told(false)));
        if in_call && !order.waiting {
            return self.turn_away(&mut live).await;
        }
        if order.ring {
            self.delivery.send(To::User(live.record.to), &Event::CallIncoming(told(in_call)));
        }
        Ok(shown)
    }

    /// Takes back a call that was not stored.
    fn withdraw(&self, live: &mut Guard) {
        live.record.status = CallStatus::Ended;
        self.registry.remove(&live.record);
    }

    /// The person called is busy: the call ends before it rings.
    async fn turn_away(&self, live: &mut Guard) -> Result<Call> {
        let (from, to, call_id) = (live.record.from, live.record.to, live.record.id);
        self.advance(live, &Input::Busy).await?;
        let call = self.shown(&live.record);
        let response = Response {
            call_id,
            response: Answer::Reject,
            from_user_id: to,
            reason: Some("busy"),
            call: call.clone(),
        };
        self.delivery.send(To::User(from), &Event::CallResponse(Box::new(response)));
        Err(CallError::Busy(Box::new(call)))
    }

    /// Both called each other: the call that was first goes on, and counts as accepted by both.
    async fn merge(&self, by: &Actor, first: CallId) -> Result<Call> {
        let respond =
            super::Respond { call: first, accept: true, busy: false, to: None, hold_other: false };
        let call = self.respond(by, respond).await?;
        Err(CallError::Merged(Box::new(call)))
    }
}
