//! A running call, as a machine: its commands change it and push effects. It has no lock, clock, store or connection.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::effect::{Connection, Effect, Step, Whom, Write};
use super::error::{CallError, Result};
use super::facts;
use super::party::Party;
use super::relayed::Relayed;
use super::rules::Rules;
use super::states::{self, Input};
use crate::clock::Timestamp;
use crate::event::{
    self, CallEnded, CallMember, CallPerson, CallStatus, EndReason, Event, MessageType, NoAnswer,
    NoAnswerReason,
};
use crate::ids::{RoomId, SessionId, UserId};
use crate::store::{CallEnd, CallRecord, MessageExtra, NewMessage};

/// See the module.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) rules: Arc<Rules>,
    pub(super) record: CallRecord,
    /// Whether the store has it.
    pub(super) stored: bool,
    /// Connections that show it ringing.
    pub(super) shown: HashSet<SessionId>,
    /// Who put it on hold.
    pub(super) held: HashSet<UserId>,
    /// The server's part where media goes through it; copied when it changes.
    pub(super) relayed: Option<Arc<Relayed>>,
    /// Who wants it to be recorded from the beginning.
    pub(super) record_by: Option<UserId>,
    /// An offer from before the acceptance, and whose it is.
    pub(super) early: Option<(UserId, Value)>,
    caller: Party,
    callee: Party,
}

impl Call {
    /// A call that is not stored yet; the caller is on this connection.
    pub(super) fn new(rules: Arc<Rules>, record: CallRecord, caller: Option<SessionId>) -> Self {
        Self {
            rules,
            record,
            stored: false,
            shown: HashSet::new(),
            held: HashSet::new(),
            relayed: None,
            record_by: None,
            early: None,
            caller: Party::on(caller),
            callee: Party::default(),
        }
    }

    /// A call that the store has.
    pub(super) fn stored(rules: Arc<Rules>, record: CallRecord) -> Self {
        Self { stored: true, ..Self::new(rules, record, None) }
    }

    /// Whether it is neither over nor refused by the store.
    pub(super) fn is_live(&self) -> bool {
        self.stored && self.record.status.is_live()
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.record.status == CallStatus::Accepted
    }

    /// The end of one of the two.
    pub(super) fn party(&mut self, user: UserId) -> &mut Party {
        if user == self.record.from { &mut self.caller } else { &mut self.callee }
    }

    /// When it next changes by itself.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let until = self.lost().map(|(_, until)| until);
        self.record.deadline.into_iter().chain(until).min()
    }

    fn lost(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        [&self.caller, &self.callee].into_iter().filter_map(|party| party.lost)
    }

    /// When the first side was lost, once one has been lost for too long.
    fn lost_since(&self, now: Timestamp) -> Option<Timestamp> {
        let given_up = self.lost().any(|(_, until)| now >= until);
        self.lost().map(|(since, _)| since).min().filter(|_| given_up)
    }

    /// The one whose connection this is.
    pub(super) fn user_on(&self, session: SessionId) -> Option<UserId> {
        match Some(session) {
            on if self.caller.session == on => Some(self.record.from),
            on if self.callee.session == on => Some(self.record.to),
            _ => None,
        }
    }

    /// The connections of one of the two.
    pub(super) fn connections<'a>(&self, user: UserId, step: &Step<'a>) -> &'a [Connection] {
        match user == self.record.from {
            true => &step.connected.caller,
            false => &step.connected.callee,
        }
    }

    /// As clients see it.
    pub(super) fn view(&self, now: Timestamp) -> event::Call {
        self.rules.view.call(&self.record, None, now)
    }

    /// Refuses what needs an accepted call.
    pub(super) fn expect_accepted(&self, why: &'static str) -> Result<()> {
        match self.is_accepted() {
            true => Ok(()),
            false => Err(CallError::State(self.record.status, why)),
        }
    }

    /// A named peer must be the peer.
    pub(super) fn expect_peer(&self, me: UserId, to: Option<UserId>) -> Result<()> {
        match to.is_some_and(|to| to != self.record.peer_of(me)) {
            true => Err(CallError::OtherPeer),
            false => Ok(()),
        }
    }

    /// Takes the next state, has it stored, and announces the end where it is one. `false` when the input changes nothing.
    pub(super) fn advance(&mut self, input: &Input, step: &mut Step<'_>) -> Result<bool> {
        let Some(next) = states::step(&self.record, input, step.now)? else { return Ok(false) };
        if next.status.is_live() {
            let expected_rev = self.record.rev;
            let facts = facts::of_change(&self.record, &next, input, step);
            step.push(Effect::Persist(Write::Save { call: next.clone(), expected_rev, facts }));
            self.record = next;
        } else {
            self.conclude(next, step);
            self.announce_end(step);
        }
        Ok(true)
    }

    /// Ends what is due.
    pub(super) fn expire(&mut self, step: &mut Step<'_>) -> Result<()> {
        let input = self.lost_since(step.now).map_or(Input::Timeout, Input::Lost);
        self.advance(&input, step).map(drop)
    }

    /// Has the end stored, and gives back what the call held.
    pub(super) fn conclude(&mut self, over: CallRecord, step: &mut Step<'_>) {
        let missed_by = states::is_missed(&over).then_some(over.to);
        let entry = self.rules.config.chat.call_entries.then(|| entry(&over, step));
        let (expected_rev, facts) = (self.record.rev, facts::of_end(&over, step));
        let end = CallEnd { call: over.clone(), expected_rev, entry, missed_by, facts };
        step.push(Effect::Persist(Write::Finish(Box::new(end))));
        self.record = over;
        self.release(step);
    }

    /// Gives back what the call held.
    pub(super) fn release(&mut self, step: &mut Step<'_>) {
        if self.record.accepted_at.is_some() {
            self.record.bound().for_each(|user| step.push(Effect::Leave(user)));
            self.notify_group(Event::CallMemberLeft, step);
        }
        step.push(Effect::Unlist);
        if let Some(relayed) = self.relayed.take() {
            relayed.close(step);
        }
        step.push(Effect::EndRelay);
    }

    /// Notifies both of the end.
    pub(super) fn announce_end(&self, step: &mut Step<'_>) {
        let (record, view) = (&self.record, self.view(step.now));
        let (call_id, end_reason) = (record.id, record.end_reason.unwrap_or(EndReason::Hangup));
        if record.end_reason == Some(EndReason::Timeout) {
            let online = !step.connected.callee.is_empty();
            let (reason, message) = match online {
                true => (NoAnswerReason::Timeout, "Nobody answered"),
                false => (NoAnswerReason::Offline, "The person called is not connected"),
            };
            let no_answer = NoAnswer { call_id, message, reason };
            step.notify(record.from, Event::CallNoAnswer(no_answer));
        }
        let ended = CallEnded {
            call_id,
            from_user_id: record.ended_by,
            end_reason,
            duration: view.duration,
            call: view.clone(),
        };
        self.notify_both(Event::CallEnded(Box::new(ended)), step);
        if end_reason == EndReason::Cancelled {
            let by = CallPerson { call_id, user_id: record.from, from_user_id: record.from };
            step.notify(record.to, Event::CallCancelled(by));
        }
        step.push(Effect::Missed(Box::new(view)));
        step.push(Effect::Entry);
    }

    pub(super) fn notify_both(&self, event: Event, step: &mut Step<'_>) {
        step.push(Effect::Notify(Whom::Users(vec![self.record.from, self.record.to]), event));
    }

    /// Notifies the other side of what became of one.
    pub(super) fn notify_peer(
        &self,
        user: UserId,
        event: fn(CallPerson) -> Event,
        step: &mut Step<'_>,
    ) {
        let person = CallPerson { call_id: self.record.id, user_id: user, from_user_id: user };
        step.notify(self.record.peer_of(user), event(person));
    }

    /// Notifies everybody in a call of several that one of them came or went.
    pub(super) fn notify_group(&self, event: fn(CallMember) -> Event, step: &mut Step<'_>) {
        let Some(first) = self.record.group else { return };
        let user_id = self.record.to;
        let member = CallMember { call_id: first, user_id, room_id: RoomId::of_call(first) };
        step.push(Effect::Notify(Whom::Group { first, except: user_id }, event(member)));
    }

    /// The connection of a side is lost: it has a while to come back, and the other one is notified once both are in the call.
    pub(super) fn lose(&mut self, user: UserId, step: &mut Step<'_>) {
        let until = step.now.after(self.rules.reconnect_window());
        self.party(user).lose(step.now, until);
        if self.is_accepted() {
            self.notify_peer(user, Event::CallReconnecting, step);
        }
    }

    /// A side is there again; the other is notified when it was lost.
    pub(super) fn come_back(&mut self, user: UserId, step: &mut Step<'_>) {
        if self.party(user).lost.take().is_some() && self.is_accepted() {
            self.notify_peer(user, Event::CallReconnected, step);
        }
    }
}

/// The message that a finished call leaves in its conversation.
fn entry(call: &CallRecord, step: &Step<'_>) -> NewMessage {
    let now = step.now;
    let about = event::CallEntry {
        call_id: call.id,
        call_type: call.kind,
        status: call.status,
        end_reason: call.end_reason,
        duration: call.duration(now),
    };
    NewMessage {
        id: step.keys.message(),
        conversation: call.conversation,
        at: now,
        from: call.from,
        kind: MessageType::Call,
        content: states::summary(call, now),
        client_id: None,
        counts: states::is_missed(call),
        extra: MessageExtra { call: Some(about), ..MessageExtra::default() },
    }
}
