//! A new call: what is asked for, and how it begins to ring.

use super::call::Call;
use super::effect::{Effect, FollowUp, Step, Write};
use super::error::{CallError, Result};
use super::facts;
use super::reply::Reply;
use super::rules::Rules;
use super::states::Input;
use crate::clock::Timestamp;
use crate::event::{
    Answer, CallMedia, CallStatus, CallType, DeclineReason, Event, Incoming, MediaPath, Response,
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

    /// The record of a call to one person, one of several where `group` is the first.
    pub(super) fn record(
        &self,
        id: CallId,
        (from, to): (UserId, UserId),
        group: Option<CallId>,
        rules: &Rules,
        now: Timestamp,
    ) -> CallRecord {
        CallRecord {
            id,
            from,
            to,
            conversation: ConversationId::direct(from, to),
            kind: self.kind,
            status: CallStatus::Initiated,
            end_reason: None,
            rev: 1,
            media: match rules.media(self.media, self.record) {
                _ if group.is_some() => MediaPath::Sfu,
                CallMedia::Relay => MediaPath::Relay,
                CallMedia::P2p | CallMedia::Auto => MediaPath::P2p,
            },
            client_id: self.client_id.clone().map(ClientId::into_string),
            created_at: now,
            ringing_at: None,
            accepted_at: None,
            ended_at: None,
            deadline: Some(now.after(rules.ring_timeout())),
            ended_by: None,
            answered_device: None,
            waiting: false,
            ratings: Vec::new(),
            group,
            lost_at: None,
            updated_at: now,
        }
    }
}

/// How a new call begins.
#[derive(Clone, Debug)]
pub(super) struct Initiate {
    /// Caller and callee.
    pub(super) people: (UserRecord, UserRecord),
    /// Whether the callee is in another call.
    pub(super) in_call: bool,
    /// Whether to ring somebody who is in another call.
    pub(super) waiting: bool,
    /// Whether to ring at all.
    pub(super) ring: bool,
}

impl Call {
    /// Stores a new call and rings all devices of the callee.
    pub(super) fn initiate(&mut self, initiate: &Initiate, step: &mut Step<'_>) -> Reply {
        let Initiate { people: (from, to), in_call, .. } = initiate;
        self.record.waiting = *in_call;
        self.stored = true;
        let facts = facts::of_beginning(&self.record, step);
        step.push(Effect::Persist(Write::Create(self.record.clone(), facts)));
        let call = self.rules.view.call(&self.record, Some((from, to)), step.now);
        let record_policy = self.rules.record_policy(self.record_by);
        let event = |waiting| Box::new(Incoming { call: call.clone(), waiting, record_policy });
        step.notify(self.record.from, Event::CallInitiated(event(false)));
        if *in_call && !initiate.waiting {
            step.follow_up = Some(FollowUp::Busy);
        } else if initiate.ring {
            step.notify(self.record.to, Event::CallIncoming(event(*in_call)));
        }
        Reply::Call(Box::new(call))
    }

    /// The callee is busy: the call ends before it rings.
    pub(super) fn turn_away(&mut self, step: &mut Step<'_>) -> Result<Reply> {
        let (from, from_user_id, call_id) = (self.record.from, self.record.to, self.record.id);
        self.advance(&Input::Busy, step)?;
        let call = self.view(step.now);
        let response = Response {
            call_id,
            response: Answer::Reject,
            from_user_id,
            reason: Some(DeclineReason::Busy),
            call: call.clone(),
        };
        step.notify(from, Event::CallResponse(Box::new(response)));
        Ok(Reply::Refused(Box::new(CallError::Busy(Box::new(call)))))
    }
}
