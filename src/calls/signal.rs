//! Offers, answers and candidates: passed from one side of a call to the other, kept for a side that is not there.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::live::{Live, signal};
use super::{Actor, CallError, Calls, Guard, Result, expect_peer, sdp};
use crate::delivery::To;
use crate::event::{Call, CallSignal, CallStatus, Event, MediaPath, SignalKind};
use crate::ids::{CallId, SessionId, UserId};

/// What became of a signal.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct SignalDelivery {
    /// It went to a connection of the other side.
    pub delivered: bool,
    /// It waits for the other side.
    pub buffered: bool,
}

/// A call that a client came back to, with what waited for it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Rejoined {
    pub call: Call,
    /// Names and payloads of events, in the order in which they must be applied.
    pub buffered: Vec<(&'static str, Box<RawValue>)>,
}

/// A signal of one side.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Signal {
    pub call: CallId,
    pub to: Option<UserId>,
    pub kind: SignalKind,
    pub payload: Value,
    pub ice_restart: Option<bool>,
}

impl Calls {
    /// Passes a signal to the other side, or keeps it until that side answers or comes back.
    pub async fn signal(&self, by: &Actor, sent: Signal) -> Result<SignalDelivery> {
        let (me, kind) = (by.user, sent.kind);
        let mut live = self.running(me, sent.call).await?;
        expect_peer(&live.record, me, sent.to)?;
        sdp::check(kind, &sent.payload, &self.config.limits)?;
        self.adopt(&mut live, me, by.session)?;
        if kind == SignalKind::IceCandidate {
            let most = self.config.limits.candidates;
            if !live.side(me).takes_candidate(most, self.clock.now()) {
                return Err(CallError::Candidates(most));
            }
            if live.record.media == MediaPath::P2p
                && self.config.call.hide_host_candidates
                && sdp::is_private(&sent.payload)
            {
                return Ok(SignalDelivery { delivered: false, buffered: false });
            }
        }
        if live.record.media == MediaPath::Relay {
            return self.relay(&mut live, me, sent).await;
        }
        if kind != SignalKind::IceCandidate {
            let text = sent.payload.get("sdp").and_then(Value::as_str);
            live.side(me).described = text.map(str::to_owned);
        }
        let told = signal(&live.record, me, kind, sent.payload, sent.ice_restart);
        self.pass_on(&mut live, me, kind, told)
    }

    pub(super) fn pass_on(
        &self,
        live: &mut Guard,
        me: UserId,
        kind: SignalKind,
        told: CallSignal,
    ) -> Result<SignalDelivery> {
        let peer = live.record.peer_of(me);
        let there = live.record.status == CallStatus::Accepted && !live.side(peer).is_lost();
        if there && self.hand_over(peer, live.side(peer).session, &event(kind, told.clone())) {
            return Ok(SignalDelivery { delivered: true, buffered: false });
        }
        if live.side(peer).keep(kind, told) {
            Ok(SignalDelivery { delivered: false, buffered: true })
        } else {
            Err(CallError::Unreachable)
        }
    }

    /// Sends an event to the connection a side is on, or to all of them while nobody knows which; false when there is none.
    fn hand_over(&self, user: UserId, session: Option<SessionId>, event: &Event) -> bool {
        let to = session.map_or(To::User(user), |session| To::Session(user, session));
        self.delivery.send(to, event).delivered > 0
    }

    /// The side of `me` is on this connection from now on, unless it is on another that still lives.
    fn adopt(&self, live: &mut Guard, me: UserId, session: Option<SessionId>) -> Result<()> {
        let Some(session) = session else { return Ok(()) };
        let current = live.side(me).session;
        let elsewhere = |other| other != session && self.delivery.is_open(me, other);
        if current.is_some_and(elsewhere) {
            return Err(CallError::AnsweredElsewhere);
        }
        live.side(me).session = Some(session);
        self.come_back(live, me);
        Ok(())
    }

    /// Sends a side what waited for it.
    pub(super) fn flush(&self, live: &mut Guard, user: UserId) {
        let (session, there) = (live.side(user).session, !live.side(user).is_lost());
        if there && self.delivery.is_online(user) {
            for (kind, waited) in live.side(user).take_waiting() {
                self.hand_over(user, session, &event(kind, waited));
            }
        }
    }

    /// Comes back to a call after a lost connection.
    pub async fn rejoin(&self, me: UserId, session: SessionId, id: CallId) -> Result<Rejoined> {
        let mut live = match self.running(me, id).await {
            Err(CallError::Over(_)) => return Err(CallError::Gone),
            outcome => outcome?,
        };
        self.adopt(&mut live, me, Some(session))?;
        let waited = if is_accepted(&live) { live.side(me).take_waiting() } else { Vec::new() };
        let buffered = waited.into_iter().map(|(kind, waited)| {
            let event = event(kind, waited);
            (event.name(), event.encode())
        });
        Ok(Rejoined { call: self.shown(&live.record), buffered: buffered.collect() })
    }
}

fn is_accepted(live: &Live) -> bool {
    live.record.status == CallStatus::Accepted
}

fn event(kind: SignalKind, signal: CallSignal) -> Event {
    let signal = Box::new(signal);
    match kind {
        SignalKind::Offer => Event::WebrtcOffer(signal),
        SignalKind::Answer => Event::WebrtcAnswer(signal),
        SignalKind::IceCandidate => Event::WebrtcIceCandidate(signal),
    }
}
