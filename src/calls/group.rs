//! Calls of several: everybody who is added has a call of their own with whoever added them, and all share the room of the first.

use super::command::Command;
use super::device::Device;
use super::error::{CallError, Result};
use super::initiate::CallRequest;
use super::service::{Calls, first, may_use};
use crate::event::Call;
use crate::ids::{CallId, RoomId, UserId};
use crate::policy::Verb;

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
    pub async fn add(&self, by: &Device, id: CallId, users: &[UserId]) -> Result<Added> {
        if users.is_empty() || users.len() > PEOPLE {
            return Err(CallError::People(PEOPLE));
        }
        let call = self.ask(by.user, id, Command::Gather).await?.call()?;
        let request = CallRequest {
            to: users.to_vec(),
            kind: call.call_type,
            client_id: None,
            waiting: true,
            ring: true,
            media: None,
            record: false,
        };
        let (ringing, refused) = self.ring_all(by, first(&call), &request).await;
        Ok(Added { call, ringing, refused })
    }

    /// Calls several people at once: the first answer does not end the ringing of the others.
    pub(super) async fn start_group(
        &self,
        by: &Device,
        request: &CallRequest,
    ) -> Result<Vec<Call>> {
        if request.to.len() > PEOPLE {
            return Err(CallError::People(PEOPLE));
        }
        let first = CallId::new(self.means.clock.id());
        // A caller's key names one call.
        let request = CallRequest { client_id: None, ..request.clone() };
        let (ringing, refused) = self.ring_all(by, first, &request).await;
        match refused.into_iter().next() {
            Some((_, error)) if ringing.is_empty() => Err(error),
            _ => Ok(ringing),
        }
    }

    async fn ring_all(
        &self,
        by: &Device,
        first: CallId,
        request: &CallRequest,
    ) -> (Vec<Call>, Vec<(UserId, CallError)>) {
        let (mut ringing, mut refused) = (Vec::new(), Vec::new());
        let mut there = self.means.directory.people_of(first);
        for &to in &request.to {
            if there.contains(&to) {
                continue;
            }
            there.push(to);
            match self.start_one(by, to, request, Some(first)).await {
                Ok(call) => ringing.push(call),
                Err(error) => refused.push((to, error)),
            }
        }
        (ringing, refused)
    }

    /// Everybody who is in a call that runs, or rings for it, and where they meet. Whose own call is over may come back as long as
    /// another of the several runs.
    pub async fn meeting(&self, me: UserId, id: CallId) -> Result<(RoomId, Vec<UserId>)> {
        let record = self.means.store.call(id).await?.ok_or(CallError::NotFound)?;
        may_use(me, Verb::TakePartInCall, record.has(me))?;
        let mut people = self.means.directory.people_of(record.first());
        if people.is_empty() {
            return Err(CallError::Over(Box::new(record)));
        }
        if !people.contains(&me) {
            people.push(me);
        }
        Ok((RoomId::of_call(record.first()), people))
    }
}
