//! Answering a call, and what the two do with it while it runs.

use super::machine::Input;
use super::{Actor, CallError, Calls, Guard, Result, expect_peer};
use crate::delivery::To;
use crate::event::{
    Answer, AnsweredElsewhere, Call, CallPerson, CallReference, CallType, EndReason, Event,
    MediaPathChanged, Responded, Response, Ringing, UpdateRequest,
};
use crate::ids::{CallId, SessionId, UserId};

/// An answer to a call.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Respond {
    pub call: CallId,
    pub accept: bool,
    /// Rejected because in another call.
    pub busy: bool,
    pub to: Option<UserId>,
    /// Put the other calls of the one who answers on hold.
    pub hold_other: bool,
}

impl Calls {
    /// A device of the person called shows the call; the caller hears of the first.
    pub async fn shown_on(&self, by: &Actor, id: CallId) -> Result<()> {
        let mut live = self.running(by.user, id).await?;
        let first = self.advance(&mut live, &Input::Shown(by.user)).await?.is_some();
        live.shown.extend(by.session);
        if first {
            let (call_id, user_id, rev) = (id, by.user, live.record.rev);
            let ringing = Ringing { call_id, user_id, devices: live.shown.len().max(1), rev };
            self.delivery.send(To::User(live.record.from), &Event::CallRinging(ringing));
        }
        Ok(())
    }

    /// Takes or refuses a call. The first answer of any device counts.
    pub async fn respond(&self, by: &Actor, answer: Respond) -> Result<Call> {
        let mut live = self.running(by.user, answer.call).await?;
        expect_peer(&live.record, by.user, answer.to)?;
        let waited = self.clock.now().since(live.record.created_at);
        if answer.accept {
            self.advance(&mut live, &Input::Accept(by.user, by.device_id.clone())).await?;
            metrics::histogram!("rtc_call_setup_seconds").record(waited.as_secs_f64());
            self.join(&mut live, by).await;
        } else {
            let reason = if answer.busy { EndReason::Busy } else { EndReason::Rejected };
            self.notify_answer(&mut live, by, Input::Reject(by.user, reason)).await?;
        }
        let call = self.shown(&live.record);
        drop(live);
        if answer.accept && answer.hold_other {
            self.hold_others(by.user, answer.call).await?;
        }
        Ok(call)
    }

    /// Both are in the call now: who waits is told, and what waited is passed on.
    async fn join(&self, live: &mut Guard, by: &Actor) {
        let (from, to, id) = (live.record.from, live.record.to, live.record.id);
        live.side(to).session = by.session;
        for user in live.record.bound() {
            self.in_call.enter(user);
        }
        self.notify_responded(live, by, Answer::Accept, None);
        self.notify_group(live, Event::CallMemberJoined);
        let (media, reason) = (live.record.media, "policy");
        let path = MediaPathChanged { call_id: id, media, reason };
        self.notify_both(&live.record, &Event::CallMediaPath(path));
        let away = live.side(from).is_lost() || !self.delivery.is_online(from);
        if away && live.record.depends_on(from) {
            self.lose(live, from);
        }
        for user in [to, from] {
            self.flush(live, user);
        }
        self.relay_early(live).await;
    }

    async fn notify_answer(&self, live: &mut Guard, by: &Actor, input: Input) -> Result<()> {
        let busy = matches!(input, Input::Reject(_, EndReason::Busy));
        let next = super::machine::step(&live.record, &input, self.clock.now())?;
        if let Some(next) = next {
            let reason = Some(if busy { "busy" } else { "declined" });
            let announce = |calls: &Self, live: &Guard| {
                calls.notify_responded(live, by, Answer::Reject, reason)
            };
            self.finish(live, next, announce).await?;
        }
        Ok(())
    }

    fn notify_responded(
        &self,
        live: &Guard,
        by: &Actor,
        response: Answer,
        reason: Option<&'static str>,
    ) {
        let (call_id, call) = (live.record.id, self.shown(&live.record));
        let told =
            Response { call_id, response, from_user_id: by.user, reason, call: call.clone() };
        self.delivery.send(To::User(live.record.from), &Event::CallResponse(Box::new(told)));
        self.delivery.send(
            To::User(by.user),
            &Event::CallResponded(Box::new(Responded { call_id, response, call })),
        );
        let elsewhere =
            AnsweredElsewhere { call_id, device_name: by.device_name.clone(), response };
        self.delivery
            .send(To::UserExcept(by.user, by.session), &Event::CallAnsweredElsewhere(elsewhere));
    }

    async fn hold_others(&self, me: UserId, but: CallId) -> Result<()> {
        for id in self.registry.of(me) {
            if id != but
                && let Some(mut live) = self.registry.lock(id).await
                && live.record.accepted_at.is_some()
            {
                self.set_held(&mut live, me, true);
            }
        }
        Ok(())
    }

    /// Puts a call on hold, or takes it back.
    pub async fn hold(&self, me: UserId, id: CallId, on: bool) -> Result<()> {
        let mut live = self.running(me, id).await?;
        if live.record.accepted_at.is_none() {
            return Err(CallError::State(live.record.status, "only an accepted call can be held"));
        }
        self.set_held(&mut live, me, on);
        Ok(())
    }

    fn set_held(&self, live: &mut Guard, me: UserId, on: bool) {
        let changed = if on { live.held.insert(me) } else { live.held.remove(&me) };
        if changed {
            let by = CallPerson { call_id: live.record.id, user_id: me, from_user_id: me };
            let event = if on { Event::CallHeld(by) } else { Event::CallUnheld(by) };
            self.delivery.send(To::User(live.record.peer_of(me)), &event);
        }
    }

    /// Makes a voice call a video call, or the reverse; the other side is asked to follow.
    pub async fn change(&self, me: UserId, id: CallId, kind: CallType) -> Result<Call> {
        let mut live = self.running(me, id).await?;
        let changed = self.advance(&mut live, &Input::Change(me, kind)).await?;
        let call = self.shown(&live.record);
        if changed.is_some() {
            let asked = UpdateRequest {
                call_id: id,
                from_user_id: me,
                call_type: kind,
                call: call.clone(),
            };
            self.delivery.send(
                To::User(live.record.peer_of(me)),
                &Event::CallUpdateRequest(Box::new(asked)),
            );
        }
        Ok(call)
    }

    /// Takes an accepted call over on another device of the same person.
    pub async fn take_over(&self, me: UserId, session: SessionId, id: CallId) -> Result<Call> {
        let mut live = self.running(me, id).await?;
        if live.record.accepted_at.is_none() {
            return Err(CallError::State(live.record.status, "only an accepted call can be moved"));
        }
        let before = live.side(me).session.replace(session);
        self.come_back(&mut live, me);
        live.side(me).take_waiting();
        if let Some(before) = before.filter(|before| *before != session) {
            let moved = Event::CallMoved(CallReference { call_id: id });
            self.delivery.send(To::Session(me, before), &moved);
        }
        Ok(self.shown(&live.record))
    }
}
