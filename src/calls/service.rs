//! The calls of this server: who asks for something is led to the call that it is about.

use std::sync::Arc;

use switchboard_media::Event as MediaEvent;

use super::answer::Respond;
use super::call::Call;
use super::command::Command;
use super::connection::Opened;
use super::device::Device;
use super::directory::{Directory, Place, Stats};
use super::end::End;
use super::error::{CallError, Result};
use super::handle::CallHandle;
use super::initiate::{CallRequest, Initiate};
use super::means::Means;
use super::reply::{Rejoined, Reply, SignalDelivery};
use super::rules::Rules;
use super::signal::Signal;
use super::task::Task;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{Delivery, SessionInfo};
use crate::event::{self, CallType};
use crate::ids::{CallId, RoomId, SessionId, UserId};
use crate::incall::InCall;
use crate::policy::{Relation, Verb, may};
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::{Notices, Sfu};
use crate::store::{CallRecord, Store, UserRecord};
use crate::view::View;

/// See the module.
pub struct Calls {
    pub(super) means: Arc<Means>,
    pub(super) rules: Arc<Rules>,
}

impl Calls {
    /// Calls under this configuration; [`Calls::resume`] brings back those of before a restart.
    pub fn new(
        config: Arc<Config>,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
        in_call: Arc<InCall>,
        (relay, sfu, recorder): (Arc<Relay>, Arc<Sfu>, Arc<Recorder>),
    ) -> Self {
        let rules = Rules {
            config,
            endpoint: sfu.server().endpoint().clone(),
            codecs: sfu.codecs().to_vec(),
            view: view.calls(),
        };
        let directory = Directory::default();
        let means =
            Means { store, delivery, view, clock, in_call, relay, sfu, recorder, directory };
        Self { means: Arc::new(means), rules: Arc::new(rules) }
    }

    /// Takes up the calls of before a restart: ringing ones keep their deadline, accepted ones wait for both to come back.
    pub async fn resume(&self) -> Result<()> {
        for record in self.means.store.live_calls().await? {
            let (handle, commands) = CallHandle::new(&record);
            self.means.directory.add(&record, handle);
            let call = Call::stored(Arc::clone(&self.rules), record);
            let resumed = Task::start(Arc::clone(&self.means), call, commands, Command::Resume);
            resumed.await.map_err(|_| CallError::Panicked)??;
        }
        Ok(())
    }

    /// How many calls run.
    pub fn count(&self) -> usize {
        self.stats().active
    }

    /// How many calls there are.
    pub fn stats(&self) -> Stats {
        self.means.directory.stats()
    }

    /// Has a running call that `me` is in carry out a command; the finished call as an error otherwise.
    pub(super) async fn ask(&self, me: UserId, id: CallId, command: Command) -> Result<Reply> {
        if let Some(handle) = self.means.directory.handle(id) {
            may_use(me, Verb::TakePartInCall, handle.has(me))?;
            if let Some(reply) = handle.ask(command).await? {
                return Ok(reply);
            }
        }
        match self.means.store.call(id).await? {
            Some(record) => {
                may_use(me, Verb::TakePartInCall, record.has(me))?;
                Err(CallError::Over(Box::new(record)))
            }
            None => Err(CallError::NotFound),
        }
    }

    /// Caller and callee; `None` when one of them has no account.
    pub(super) async fn people(
        &self,
        from: UserId,
        to: UserId,
    ) -> Result<Option<(UserRecord, UserRecord)>> {
        let mut found = self.means.store.users(vec![from, to]).await?.into_iter();
        let (Some(low), Some(high)) = (found.next(), found.next()) else { return Ok(None) };
        Ok(Some(if low.profile.user_id == from { (low, high) } else { (high, low) }))
    }

    /// Calls one person, or several at once: then the calls that ring are named as well.
    pub async fn start(
        &self,
        by: &Device,
        request: CallRequest,
    ) -> Result<(event::Call, Option<Vec<event::Call>>)> {
        match request.to.as_slice() {
            [] => Err(CallError::NobodyCalled),
            &[to] => Ok((self.start_one(by, to, &request, None).await?, None)),
            _ => {
                let ringing = self.start_group(by, &request).await?;
                let first = ringing.first().cloned().ok_or(CallError::NobodyCalled)?;
                Ok((first, Some(ringing)))
            }
        }
    }

    /// Begins a call to one person, one of several where `group` is the first.
    pub(super) async fn start_one(
        &self,
        by: &Device,
        to: UserId,
        request: &CallRequest,
        group: Option<CallId>,
    ) -> Result<event::Call> {
        let (from, means) = (by.user, &self.means);
        if from == to {
            return Err(CallError::ToOneself);
        }
        let people = self.people(from, to).await?.ok_or(CallError::UnknownUser(to))?;
        if !self.rules.config.call.ring_offline && !means.delivery.is_online(to) {
            return Err(CallError::Offline);
        }
        let (id, now) = (CallId::new(means.clock.id()), means.clock.now());
        let record = request.record(id, (from, to), group, &self.rules, now);
        let (handle, commands) = CallHandle::new(&record);
        let in_call = match means.directory.reserve(&record, handle) {
            Place::InProgress(call) => return Err(CallError::InProgress(call)),
            Place::Repeat(call) => return self.call(from, call).await,
            Place::Glare(call) => return self.merge(by, call).await,
            Place::Taken { in_call } => in_call || means.in_call.contains(to),
        };
        let CallRequest { waiting, ring, record: recorded, .. } = *request;
        let mut call = Call::new(Arc::clone(&self.rules), record, by.session);
        call.record_by = recorded.then_some(from);
        let initiate = Command::Initiate(Box::new(Initiate { people, in_call, waiting, ring }));
        let begun = Task::start(Arc::clone(means), call, commands, initiate);
        begun.await.map_err(|_| CallError::Panicked)??.accepted()?.call()
    }

    /// Both called each other: the call that was first goes on, and counts as accepted by both.
    async fn merge(&self, by: &Device, first: CallId) -> Result<event::Call> {
        let accept =
            Respond { call: first, accept: true, busy: false, to: None, hold_other: false };
        let call = self.respond(by, accept).await?;
        Err(CallError::Merged(Box::new(call)))
    }

    /// A device of the callee shows the call.
    pub async fn shown_on(&self, by: &Device, id: CallId) -> Result<()> {
        self.ask(by.user, id, Command::ShowOn(by.clone())).await.map(drop)
    }

    /// Takes or refuses a call. The first answer of any device counts.
    pub async fn respond(&self, by: &Device, answer: Respond) -> Result<event::Call> {
        let (me, id, holds) = (by.user, answer.call, answer.accept && answer.hold_other);
        let call = self.ask(me, id, Command::Respond(by.clone(), answer)).await?.call()?;
        if holds {
            for (other, _) in self.means.directory.of(me) {
                // One that rings stays as it is.
                if other.id != id
                    && matches!(
                        other.ask(Command::Hold(me, true)).await,
                        Err(CallError::QueueFull(_))
                    )
                {
                    tracing::warn!(call = %other.id, "a call is not on hold: too much waits for it");
                }
            }
        }
        Ok(call)
    }

    /// Passes a signal to the other side, or keeps it until that side answers or comes back.
    pub async fn signal(&self, by: &Device, signal: Signal) -> Result<SignalDelivery> {
        let id = signal.call;
        self.ask(by.user, id, Command::Signal(by.clone(), signal)).await?.signal()
    }

    /// Ends a call, or gives it up; ending one that is over is no error.
    pub async fn end(&self, me: UserId, end: End) -> Result<event::Call> {
        let call = match self.ask(me, end.call, Command::End(me, end)).await {
            Ok(reply) => reply.call()?,
            Err(CallError::Over(record)) => return Ok(self.view(&record)),
            Err(error) => return Err(error),
        };
        // Who takes back the call to one of several goes on ringing the others; who leaves it does not.
        if call.start_time.is_some() {
            for rung in self.means.directory.rung_by(me, first(&call)) {
                rung.report(Command::StopRinging(me)).await?;
            }
        }
        Ok(call)
    }

    /// Ends the calls of a person who may no longer take part in any, or of one of the person's sessions.
    pub async fn revoke(&self, user: UserId, session: Option<SessionId>) {
        let calls = self.means.directory.of(user);
        let ending = calls.iter().map(|(handle, _)| async move {
            if let Err(error) = handle.report(Command::Revoke(user, session)).await {
                tracing::warn!(call = %handle.id, %error, "a call of somebody who may no longer take part is not over; it is tried again");
            }
        });
        futures_util::future::join_all(ending).await;
    }

    /// Puts a call on hold, or takes it back.
    pub async fn hold(&self, me: UserId, id: CallId, on: bool) -> Result<()> {
        self.ask(me, id, Command::Hold(me, on)).await.map(drop)
    }

    /// Makes a voice call a video call, or the reverse; the other side is asked to follow.
    pub async fn change(&self, me: UserId, id: CallId, kind: CallType) -> Result<event::Call> {
        self.ask(me, id, Command::Change(me, kind)).await?.call()
    }

    /// Has media go through the server from now on, where the two find no way to each other.
    pub async fn relay_media(&self, me: UserId, id: CallId) -> Result<event::Call> {
        self.ask(me, id, Command::RelayMedia).await?.call()
    }

    /// Takes an accepted call over on another device of the same person.
    pub async fn take_over(
        &self,
        me: UserId,
        session: SessionId,
        id: CallId,
    ) -> Result<event::Call> {
        self.ask(me, id, Command::TakeOver(me, session)).await?.call()
    }

    /// Comes back to a call after a lost connection.
    pub async fn rejoin(&self, me: UserId, session: SessionId, id: CallId) -> Result<Rejoined> {
        match self.ask(me, id, Command::Rejoin(me, session)).await {
            Err(CallError::Over(_)) => Err(CallError::Gone),
            reply => reply?.rejoined(),
        }
    }

    /// Where an accepted call can be recorded, and who is in it; `me` is in it, or an operator asks. Its media goes through the
    /// server then.
    pub async fn recordable(
        &self,
        me: Option<UserId>,
        id: CallId,
    ) -> Result<(RoomId, Vec<UserId>)> {
        let handle = self.means.directory.handle(id).ok_or(CallError::NotFound)?;
        if let Some(me) = me {
            may_use(me, Verb::RecordCall, handle.has(me))?;
        }
        let call = handle.ask(Command::Record).await?.ok_or(CallError::NotFound)?.call()?;
        Ok((call.room_id.clone(), self.means.directory.people_of(first(&call))))
    }

    /// Whether `me` is in a call that runs.
    pub async fn runs(&self, me: UserId, id: CallId) -> Result<()> {
        self.ask(me, id, Command::Look).await.map(drop)
    }

    /// The calls of `me` that run.
    pub async fn active(&self, me: UserId) -> Result<Vec<event::Call>> {
        let mut calls = Vec::new();
        for (handle, _) in self.means.directory.of(me) {
            if let Some(reply) = handle.ask(Command::Look).await? {
                calls.push(reply.call()?);
            }
        }
        Ok(calls)
    }

    /// A connection opened: it rings for calls that ring, and a client of the original is back in the call it was in.
    pub async fn session_opened(&self, session: &SessionInfo) -> Result<()> {
        let (user, legacy) = (session.user, session.legacy);
        for (handle, rings) in self.means.directory.of(user) {
            let [from, to] = handle.people;
            let people = if rings { self.people(from, to).await? } else { None };
            let opened = Opened { user, session: session.id, legacy, people };
            handle.report(Command::SessionOpened(Box::new(opened))).await?;
        }
        Ok(())
    }

    /// A connection closed: a side of a call that was on it has a while to come back.
    pub async fn session_closed(&self, session: &SessionInfo) {
        let (user, id) = (session.user, session.id);
        for (handle, _) in self.means.directory.of(user) {
            if let Err(error) = handle.report(Command::SessionClosed(user, id)).await {
                tracing::warn!(call = %handle.id, %error, "a call did not learn that a connection closed");
            }
        }
    }

    /// Follows what happens to the connections of relayed calls, for as long as the server runs.
    pub async fn follow(&self, mut events: Notices) {
        while let Some(event) = events.recv().await {
            let (peer, command) = match event {
                MediaEvent::Gone { peer, reason } => (peer, Command::PeerGone(peer, reason)),
                MediaEvent::Connected { peer, .. } => (peer, Command::PeerConnected(peer)),
                _ => continue,
            };
            if let Some(handle) = self.means.directory.handle_of_peer(peer) {
                handle.notify(command);
            }
        }
    }

    /// A call as clients see it.
    pub(super) fn view(&self, record: &CallRecord) -> event::Call {
        self.rules.view.call(record, None, self.means.clock.now())
    }

    /// Ends what is due at this moment.
    #[cfg(test)]
    pub(crate) async fn expire_due(&self) {
        for handle in self.means.directory.handles() {
            // A store that fails is a test's own doing.
            let _ = handle.report(Command::Expire).await;
        }
    }
}

/// The first of the calls that share a room with this one.
pub(super) fn first(call: &event::Call) -> CallId {
    call.room_id.call().unwrap_or(call.call_id)
}

/// Whether `user`, who is in a call or is not, may do something with it; for others there is no such call.
pub(super) fn may_use(user: UserId, verb: Verb, is_in: bool) -> Result<()> {
    let relation = if is_in { Relation::Member } else { Relation::Stranger };
    may(user, verb, relation).map_err(|_| CallError::NotFound)
}
