//! What connections that come and go mean for calls.

use super::{Calls, Guard, Result};
use crate::delivery::{SessionInfo, To};
use crate::event::{CallPerson, CallStatus, Event, Incoming};
use crate::ids::UserId;

impl Calls {
    /// A connection opened: it rings for calls that ring, and a client of the original is back in the call it was in.
    pub async fn session_opened(&self, session: &SessionInfo) -> Result<()> {
        let user = session.user;
        for id in self.registry.of(user) {
            let Some(mut live) = self.registry.lock(id).await else { continue };
            if live.record.status.is_pending() && live.record.to == user {
                let people = self.people(&live.record).await?;
                let call = self.view.call(
                    &live.record,
                    people.as_ref().map(|(a, b)| (a, b)),
                    self.clock.now(),
                );
                let record_policy = self.record_policy(live.record_by);
                let incoming = Incoming { call, waiting: live.record.waiting, record_policy };
                let incoming = Event::CallIncoming(Box::new(incoming));
                self.delivery.send(To::Session(user, session.id), &incoming);
            }
            if session.legacy && live.side(user).is_lost() {
                live.side(user).session = Some(session.id);
                self.come_back(&mut live, user);
                self.flush(&mut live, user);
            }
        }
        Ok(())
    }

    /// A connection closed: a side of an accepted call that was on it has a while to come back.
    pub async fn session_closed(&self, session: &SessionInfo) {
        let user = session.user;
        for id in self.registry.of(user) {
            let Some(mut live) = self.registry.lock(id).await else { continue };
            live.shown.remove(&session.id);
            if live.user_on(session.id) != Some(user) {
                continue;
            }
            let accepted = live.record.status == CallStatus::Accepted;
            match accepted && live.record.depends_on(user) {
                true => self.lose(&mut live, user),
                // A caller who does not come back while it rings has given up.
                false if !accepted && live.record.from == user => self.lose(&mut live, user),
                false => live.side(user).session = None,
            }
        }
    }

    /// The connection of a side is lost: it has a while to come back, and the other one is notified once both are in the call.
    pub(super) fn lose(&self, live: &mut Guard, user: UserId) {
        let now = self.clock.now();
        live.side(user).lose(now, now.after(self.reconnect_window()));
        self.arm(live);
        if live.record.status == CallStatus::Accepted {
            self.notify_peer(live, user, Event::CallReconnecting);
        }
    }

    /// A side is there again; the other is told when it was lost.
    pub(super) fn come_back(&self, live: &mut Guard, user: UserId) {
        if live.side(user).lost.take().is_some() && live.record.status == CallStatus::Accepted {
            self.notify_peer(live, user, Event::CallReconnected);
        }
    }

    fn notify_peer(&self, live: &Guard, user: UserId, event: fn(CallPerson) -> Event) {
        let person = CallPerson { call_id: live.record.id, user_id: user, from_user_id: user };
        self.delivery.send(To::User(live.record.peer_of(user)), &event(person));
    }
}
