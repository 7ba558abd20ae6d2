//! What connections that come and go mean for a call: it rings on new ones, and a side whose connection is lost has a while to
//! come back.

use super::call::Call;
use super::effect::{Effect, Step, Whom};
use super::error::Result;
use super::reply::{Rejoined, Reply};
use super::signal::event;
use crate::event::{CallReference, Event, Incoming};
use crate::ids::{SessionId, UserId};
use crate::store::UserRecord;

/// A connection that opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) user: UserId,
    pub(super) session: SessionId,
    /// Of a client that does not rejoin calls by itself.
    pub(super) legacy: bool,
    /// Caller and callee, where the call rings.
    pub(super) people: Option<(UserRecord, UserRecord)>,
}

impl Call {
    /// A connection opened: it rings where the call rings, and a client of the original is back in the call it was in.
    pub(super) fn session_opened(&mut self, opened: &Opened, step: &mut Step<'_>) -> Reply {
        let Opened { user, session, legacy, people } = opened;
        if self.record.status.is_pending() && self.record.to == *user {
            let people = people.as_ref().map(|(from, to)| (from, to));
            let incoming = Incoming {
                call: self.rules.view.call(&self.record, people, step.now),
                waiting: self.record.waiting,
                record_policy: self.rules.record_policy(self.record_by),
            };
            let event = Event::CallIncoming(Box::new(incoming));
            step.push(Effect::Notify(Whom::Session(*user, *session), event));
        }
        if *legacy && self.party(*user).is_lost() {
            self.party(*user).session = Some(*session);
            self.come_back(*user, step);
            self.flush(*user, step);
        }
        Reply::Done
    }

    /// A connection closed: a side of an accepted call that was on it has a while to come back.
    pub(super) fn session_closed(
        &mut self,
        user: UserId,
        session: SessionId,
        step: &mut Step<'_>,
    ) -> Reply {
        self.shown.remove(&session);
        if self.user_on(session) == Some(user) {
            match self.is_accepted() {
                true if self.record.depends_on(user) => self.lose(user, step),
                // A caller who does not come back while it rings has given up.
                false if self.record.from == user => self.lose(user, step),
                _ => self.party(user).session = None,
            }
        }
        Reply::Done
    }

    /// Comes back to the call after a lost connection.
    pub(super) fn rejoin(
        &mut self,
        me: UserId,
        session: SessionId,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        self.adopt(me, Some(session), step)?;
        let waited = if self.is_accepted() { self.party(me).take_waiting() } else { Vec::new() };
        let buffered = waited.into_iter().map(|(kind, waited)| {
            let event = event(kind, waited);
            (event.name(), event.encode())
        });
        let call = self.view(step.now);
        Ok(Reply::Rejoined(Box::new(Rejoined { call, buffered: buffered.collect() })))
    }

    /// Takes an accepted call over on another device of the same person.
    pub(super) fn take_over(
        &mut self,
        me: UserId,
        session: SessionId,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        self.expect_accepted("only an accepted call can be moved")?;
        let before = self.party(me).session.replace(session);
        self.come_back(me, step);
        // The new device negotiates anew.
        self.party(me).take_waiting();
        if let Some(before) = before.filter(|before| *before != session) {
            let moved = Event::CallMoved(CallReference { call_id: self.record.id });
            step.push(Effect::Notify(Whom::Session(me, before), moved));
        }
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }

    /// Takes up the call after a restart: the two of an accepted one have a while to come back.
    pub(super) fn resume(&mut self, step: &mut Step<'_>) -> Reply {
        if self.is_accepted() {
            let until = step.now.after(self.rules.reconnect_window());
            for user in self.record.bound() {
                self.party(user).lose(step.now, until);
                step.push(Effect::Enter(user));
            }
        }
        Reply::Done
    }
}
