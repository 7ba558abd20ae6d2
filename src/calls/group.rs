//! Calls of several: everybody who is added has a call of their own with whoever added them, and all share the room of the first.

use super::machine::Input;
use super::{Actor, CallError, CallRequest, Calls, Guard, Result};
use crate::delivery::To;
use crate::event::{Call, CallMember, CallStatus, Event, MediaPathChanged};
use crate::ids::{CallId, RoomId, UserId};

/// People of one call at most.
const PEOPLE: usize = 50;

/// What came of adding people.
#[derive(Debug)]
pub struct Added {
    /// The call they were added to.
    pub call: Call,
    /// The calls that ring now.
    pub ringing: Vec<Call>,
    /// Who could not be called, and why.
    pub refused: Vec<(UserId, CallError)>,
}

impl Calls {
    /// Makes an accepted call one of several, and rings these people for it.
    pub async fn add(&self, by: &Actor, id: CallId, users: &[UserId]) -> Result<Added> {
        if users.is_empty() || users.len() > PEOPLE {
            return Err(CallError::People(PEOPLE));
        }
        let mut live = self.running(by.user, id).await?;
        if live.record.status != CallStatus::Accepted {
            return Err(CallError::State(live.record.status, "add people once it is accepted"));
        }
        if self.advance(&mut live, &Input::Gather).await?.is_some() {
            let media = live.record.media;
            let path = MediaPathChanged { call_id: id, media, reason: "group" };
            self.notify_both(&live.record, &Event::CallMediaPath(path));
        }
        let (first, kind, call) = (live.record.first(), live.record.kind, self.shown(&live.record));
        drop(live);
        let order = CallRequest {
            to: users.to_vec(),
            kind,
            client_id: None,
            waiting: true,
            ring: true,
            media: None,
            record: false,
        };
        let (ringing, refused) = self.ring_all(by, first, &order).await;
        Ok(Added { call, ringing, refused })
    }

    /// Calls several people at once: the first answer does not end the ringing of the others.
    pub(super) async fn start_group(&self, by: &Actor, order: &CallRequest) -> Result<Vec<Call>> {
        if order.to.len() > PEOPLE {
            return Err(CallError::People(PEOPLE));
        }
        let first = CallId::new(self.clock.id());
        // A caller's key names one call.
        let order = CallRequest { client_id: None, ..order.clone() };
        let (ringing, refused) = self.ring_all(by, first, &order).await;
        match refused.into_iter().next() {
            Some((_, error)) if ringing.is_empty() => Err(error),
            _ => Ok(ringing),
        }
    }

    async fn ring_all(
        &self,
        by: &Actor,
        first: CallId,
        order: &CallRequest,
    ) -> (Vec<Call>, Vec<(UserId, CallError)>) {
        let (mut ringing, mut refused) = (Vec::new(), Vec::new());
        let mut there = self.registry.people_of(first);
        for &to in &order.to {
            if there.contains(&to) {
                continue;
            }
            there.push(to);
            match self.start_one(by, to, order, Some(first)).await {
                Ok(call) => ringing.push(call),
                Err(error) => refused.push((to, error)),
            }
        }
        (ringing, refused)
    }

    /// Everybody who is in a call that runs, or rings for it, and where they meet. Whose own call is over may come back as long as
    /// another of the several runs.
    pub async fn meeting(&self, me: UserId, id: CallId) -> Result<(RoomId, Vec<UserId>)> {
        let record = self.store.call(id).await?.filter(|call| call.has(me));
        let record = record.ok_or(CallError::NotFound)?;
        let mut people = self.registry.people_of(record.first());
        if people.is_empty() {
            return Err(CallError::Over(Box::new(record)));
        }
        if !people.contains(&me) {
            people.push(me);
        }
        Ok((RoomId::of_call(record.first()), people))
    }

    /// Tells everybody in a call of several that one of them came or went.
    pub(super) fn notify_group(&self, live: &Guard, event: fn(CallMember) -> Event) {
        let Some(first) = live.record.group else { return };
        let user_id = live.record.to;
        let member = CallMember { call_id: first, user_id, room_id: RoomId::of_call(first) };
        for person in self.registry.people_of(first) {
            if person != user_id {
                self.delivery.send(To::User(person), &event(member.clone()));
            }
        }
    }
}
