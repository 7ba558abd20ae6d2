//! Offers, answers and candidates: passed from one side of a call to the other, kept for a side that is not there.

use std::sync::Arc;

use serde_json::Value;

use super::call::Call;
use super::device::Device;
use super::effect::{Effect, Passed, Step};
use super::error::{CallError, Result};
use super::reply::{Reply, SignalDelivery};
use super::sdp;
use crate::event::{CallSignal, Event, MediaPath, SignalKind};
use crate::ids::{CallId, SessionId, UserId};
use crate::store::CallRecord;

/// A signal of one side.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Signal {
    pub call: CallId,
    pub to: Option<UserId>,
    pub kind: SignalKind,
    pub payload: Value,
    pub ice_restart: Option<bool>,
}

impl Call {
    /// Passes a signal to the other side, or keeps it until that side answers or comes back.
    pub(super) fn signal(
        &mut self,
        by: &Device,
        sent: Signal,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        let (me, kind) = (by.user, sent.kind);
        self.expect_peer(me, sent.to)?;
        let rules = Arc::clone(&self.rules);
        sdp::check(kind, &sent.payload, &rules.config.limits)?;
        self.adopt(me, by.session, step)?;
        if kind == SignalKind::IceCandidate {
            let most = rules.config.limits.candidates;
            if !self.party(me).takes_candidate(most, step.now) {
                return Err(CallError::Candidates(most));
            }
            let hides = rules.config.call.hide_host_candidates;
            if self.record.media == MediaPath::P2p && hides && sdp::is_private(&sent.payload) {
                return Ok(Reply::Signal(SignalDelivery::WITHHELD));
            }
        }
        if self.record.media == MediaPath::Relay {
            return self.relay(me, sent, step);
        }
        if kind != SignalKind::IceCandidate {
            let text = sent.payload.get("sdp").and_then(Value::as_str);
            self.party(me).described = text.map(Arc::from);
        }
        let signal = signal(&self.record, me, kind, sent.payload, sent.ice_restart);
        self.pass_on(me, kind, signal, step).map(Reply::Signal)
    }

    /// Passes a signal of `me` to the other side where that is there, and keeps it otherwise.
    pub(super) fn pass_on(
        &mut self,
        me: UserId,
        kind: SignalKind,
        signal: CallSignal,
        step: &mut Step<'_>,
    ) -> Result<SignalDelivery> {
        let (to, signal) = (self.record.peer_of(me), Arc::new(signal));
        let (session, lost) = (self.party(to).session, self.party(to).is_lost());
        let mut connections = self.connections(to, step).iter();
        let there = connections.any(|it| session.is_none_or(|session| it.id == session));
        if self.is_accepted() && !lost && there {
            step.push(Effect::Signal(Passed { to, session, kind, signal }));
            return Ok(SignalDelivery::DELIVERED);
        }
        self.keep(to, kind, signal)
    }

    /// Keeps a signal for a side that is not there.
    pub(super) fn keep(
        &mut self,
        to: UserId,
        kind: SignalKind,
        signal: Arc<CallSignal>,
    ) -> Result<SignalDelivery> {
        match self.party(to).keep(kind, signal) {
            true => Ok(SignalDelivery::BUFFERED),
            false => Err(CallError::Unreachable),
        }
    }

    /// The side of `me` is on this connection from now on, unless it is on another that still lives.
    pub(super) fn adopt(
        &mut self,
        me: UserId,
        session: Option<SessionId>,
        step: &mut Step<'_>,
    ) -> Result<()> {
        let Some(session) = session else { return Ok(()) };
        let current = self.party(me).session.filter(|current| *current != session);
        let connections = self.connections(me, step);
        if current.is_some_and(|current| connections.iter().any(|it| it.id == current)) {
            return Err(CallError::AnsweredElsewhere);
        }
        self.party(me).session = Some(session);
        self.come_back(me, step);
        Ok(())
    }

    /// Sends a side what waited for it.
    pub(super) fn flush(&mut self, to: UserId, step: &mut Step<'_>) {
        if self.party(to).is_lost() || self.connections(to, step).is_empty() {
            return;
        }
        let session = self.party(to).session;
        for (kind, signal) in self.party(to).take_waiting() {
            step.push(Effect::Signal(Passed { to, session, kind, signal }));
        }
    }
}

/// A signal with its one payload.
pub(super) fn signal(
    call: &CallRecord,
    from: UserId,
    kind: SignalKind,
    payload: Value,
    ice_restart: Option<bool>,
) -> CallSignal {
    let (mut offer, mut answer, mut candidate) = (None, None, None);
    match kind {
        SignalKind::Offer => offer = Some(payload),
        SignalKind::Answer => answer = Some(payload),
        SignalKind::IceCandidate => candidate = Some(payload),
    }
    CallSignal {
        call_id: call.id,
        from_user_id: from,
        to_user_id: call.peer_of(from),
        offer,
        answer,
        candidate,
        ice_restart,
    }
}

/// The event that passes a signal on.
pub(super) fn event(kind: SignalKind, signal: Arc<CallSignal>) -> Event {
    let signal = Box::new(Arc::unwrap_or_clone(signal));
    match kind {
        SignalKind::Offer => Event::WebrtcOffer(signal),
        SignalKind::Answer => Event::WebrtcAnswer(signal),
        SignalKind::IceCandidate => Event::WebrtcIceCandidate(signal),
    }
}
