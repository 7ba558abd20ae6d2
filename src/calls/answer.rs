//! Answering a call: it is shown on devices, and the first answer of any of them counts.

use super::call::Call;
use super::device::Device;
use super::effect::{Effect, Step, Whom};
use super::error::Result;
use super::reply::Reply;
use super::states::{self, Input};
use crate::event::{
    Answer, AnsweredElsewhere, DeclineReason, EndReason, Event, MediaPathChanged, MediaPathReason,
    Responded, Response, Ringing,
};
use crate::ids::{CallId, UserId};

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

impl Call {
    /// A device of the callee shows the call; the caller is notified of the first.
    pub(super) fn show_on(&mut self, by: &Device, step: &mut Step<'_>) -> Result<Reply> {
        let first = self.advance(&Input::Shown(by.user), step)?;
        self.shown.extend(by.session);
        if first {
            let (call_id, user_id, rev) = (self.record.id, by.user, self.record.rev);
            let ringing = Ringing { call_id, user_id, devices: self.shown.len().max(1), rev };
            step.notify(self.record.from, Event::CallRinging(ringing));
        }
        Ok(Reply::Done)
    }

    /// Takes or refuses a call. The first answer of any device counts.
    pub(super) fn respond(
        &mut self,
        by: &Device,
        answer: &Respond,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        self.expect_peer(by.user, answer.to)?;
        match answer.accept {
            true => {
                self.advance(&Input::Accept(by.user, by.device_id.clone()), step)?;
                self.begin(by, step);
            }
            false => self.reject(by, answer.busy, step)?,
        }
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }

    /// Both are in the call now: the caller is notified, and the signals that waited are passed on.
    fn begin(&mut self, by: &Device, step: &mut Step<'_>) {
        let (from, to, call_id) = (self.record.from, self.record.to, self.record.id);
        self.party(to).session = by.session;
        self.record.bound().for_each(|user| step.push(Effect::Enter(user)));
        self.notify_responded(by, Answer::Accept, None, step);
        self.notify_group(Event::CallMemberJoined, step);
        let (media, reason) = (self.record.media, MediaPathReason::Policy);
        self.notify_both(Event::CallMediaPath(MediaPathChanged { call_id, media, reason }), step);
        let away = self.party(from).is_lost() || self.connections(from, step).is_empty();
        if away && self.record.depends_on(from) {
            self.lose(from, step);
        }
        for user in [to, from] {
            self.flush(user, step);
        }
        self.relay_early(step);
    }

    fn reject(&mut self, by: &Device, busy: bool, step: &mut Step<'_>) -> Result<()> {
        let (why, reason) = match busy {
            true => (EndReason::Busy, DeclineReason::Busy),
            false => (EndReason::Rejected, DeclineReason::Declined),
        };
        let input = Input::Reject(by.user, why);
        if let Some(next) = states::step(&self.record, &input, step.now)? {
            self.conclude(next, step);
            self.notify_responded(by, Answer::Reject, Some(reason), step);
            self.announce_end(step);
        }
        Ok(())
    }

    fn notify_responded(
        &self,
        by: &Device,
        response: Answer,
        reason: Option<DeclineReason>,
        step: &mut Step<'_>,
    ) {
        let (call_id, call) = (self.record.id, self.view(step.now));
        let to_caller =
            Response { call_id, response, from_user_id: by.user, reason, call: call.clone() };
        step.notify(self.record.from, Event::CallResponse(Box::new(to_caller)));
        let to_callee = Responded { call_id, response, call };
        step.notify(by.user, Event::CallResponded(Box::new(to_callee)));
        let elsewhere =
            AnsweredElsewhere { call_id, device_name: by.device_name.clone(), response };
        step.push(Effect::Notify(
            Whom::UserExcept(by.user, by.session),
            Event::CallAnsweredElsewhere(elsewhere),
        ));
    }
}
