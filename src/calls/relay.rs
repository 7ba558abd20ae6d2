//! Signals of a call whose media goes through the server, which answers each side in the name of the other.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard_media::negotiation::BridgeError;
use switchboard_media::{Description, DescriptionError, Gone, PeerKey};

use super::call::Call;
use super::effect::{FollowUp, Step};
use super::error::{CallError, Result};
use super::relayed::{Relayed, side_of};
use super::reply::{Reply, SignalDelivery};
use super::signal::{Signal, signal};
use super::states::Input;
use crate::error::{Failure as _, Problem};
use crate::event::{
    EndReason, Event, MediaPath, MediaPathChanged, MediaPathReason, Refused, SignalKind,
};
use crate::ids::UserId;

/// Media sections of one description.
const SECTIONS: usize = 64;

impl Call {
    /// Takes a signal of one side of a relayed call.
    pub(super) fn relay(&mut self, me: UserId, sent: Signal, step: &mut Step<'_>) -> Result<Reply> {
        match sent.kind {
            // Who is asked for by a check answers it: the server needs no candidates of a client (RFC 8445 §2.5, lite).
            SignalKind::IceCandidate => Ok(Reply::Signal(SignalDelivery::DELIVERED)),
            SignalKind::Offer if !self.is_accepted() => {
                self.early = Some((me, sent.payload));
                Ok(Reply::Signal(SignalDelivery::BUFFERED))
            }
            SignalKind::Offer => self.relay_offer(me, &sent.payload, step),
            SignalKind::Answer => self.relay_answer(me, &sent.payload, step),
        }
    }

    /// Takes up an offer that came before the call was accepted.
    pub(super) fn relay_early(&mut self, step: &mut Step<'_>) {
        let Some((user, offer)) = self.early.take() else { return };
        let (relayed, done) = (self.relayed.clone(), step.effects.len());
        match self.relay_offer(user, &offer, step) {
            Ok(Reply::Refused(error)) => self.notify_failed(user, *error, step),
            Ok(_) => {}
            Err(error) => {
                // What came of the offer until it failed is dropped.
                self.relayed = relayed;
                step.effects.truncate(done);
                self.notify_failed(user, error, step);
            }
        }
    }

    /// The server's part, which begins with the first offer.
    fn bridge(&mut self, step: &mut Step<'_>) -> Arc<Relayed> {
        self.relayed.take().unwrap_or_else(|| {
            let relayed = Relayed::new(&self.rules, step.keys, &self.record);
            relayed.open(self.record_by, step);
            Arc::new(relayed)
        })
    }

    fn relay_offer(&mut self, me: UserId, offer: &Value, step: &mut Step<'_>) -> Result<Reply> {
        let theirs = read("offer", offer)?;
        let side = side_of(&self.record, me);
        let mut shared = self.bridge(step);
        let relayed = Arc::make_mut(&mut shared);
        if relayed.bridge.is_other(side, &theirs) {
            relayed.renew(side, step);
        }
        let keys = step.keys;
        let offering = relayed.bridge.offer(side, &theirs, || keys.track());
        if let Ok(offering) = &offering {
            relayed.configure(side.other(), step);
            if offering.answer.is_some() {
                relayed.configure(side, step);
                relayed.connect(step);
            }
        }
        self.relayed = Some(shared);
        let offering = match offering {
            Ok(offering) => offering,
            Err(error) => return self.unbridged(me, "offer", &error, step),
        };
        let peer = self.record.peer_of(me);
        if let Some(sdp) = offering.answer {
            let answer = json!({ "type": "answer", "sdp": sdp });
            let answer = signal(&self.record, peer, SignalKind::Answer, answer, None);
            self.pass_on(peer, SignalKind::Answer, answer, step)?;
        }
        let offer = json!({ "type": "offer", "sdp": offering.offer });
        let offer = signal(&self.record, me, SignalKind::Offer, offer, None);
        self.pass_on(me, SignalKind::Offer, offer, step).map(Reply::Signal)
    }

    fn relay_answer(&mut self, me: UserId, answer: &Value, step: &mut Step<'_>) -> Result<Reply> {
        let theirs = read("answer", answer)?;
        let side = side_of(&self.record, me);
        let refused = CallError::State(self.record.status, "there is no offer to answer");
        let mut shared = self.relayed.take().ok_or(refused)?;
        let relayed = Arc::make_mut(&mut shared);
        let keys = step.keys;
        let answer = relayed.bridge.answer(side, &theirs, || keys.track());
        if let Ok(answer) = &answer {
            relayed.configure(side, step);
            if answer.is_some() {
                relayed.configure(side.other(), step);
            }
            relayed.connect(step);
        }
        self.relayed = Some(shared);
        let sdp = match answer {
            Ok(Some(sdp)) => sdp,
            Ok(None) => return Ok(Reply::Signal(SignalDelivery::DELIVERED)),
            Err(error) => return self.unbridged(me, "answer", &error, step),
        };
        let answer = json!({ "type": "answer", "sdp": sdp });
        let answer = signal(&self.record, me, SignalKind::Answer, answer, None);
        self.pass_on(me, SignalKind::Answer, answer, step).map(Reply::Signal)
    }

    /// A description leads to nothing. Where nothing was ever agreed on, both are notified and the call ends.
    fn unbridged(
        &self,
        me: UserId,
        field: &'static str,
        error: &BridgeError,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        let mismatch = matches!(
            error,
            BridgeError::Mismatch { .. } | BridgeError::Description(DescriptionError::Codec { .. })
        );
        if !mismatch {
            return Err(CallError::Sdp(field, error.to_string()));
        }
        let error = format!("the {field} {error}");
        if self.relayed.as_ref().is_none_or(|relayed| !relayed.carries_tracks()) {
            self.notify_failed(self.record.peer_of(me), CallError::Codecs(error.clone()), step);
            step.follow_up = Some(FollowUp::End(me, EndReason::Failed));
        }
        Ok(Reply::Refused(Box::new(CallError::Codecs(error))))
    }

    fn notify_failed(&self, user: UserId, error: CallError, step: &mut Step<'_>) {
        let details = error.details();
        let Problem { reason, message, .. } = error.into();
        let refused = Refused {
            error: message.clone(),
            message,
            code: reason.code(),
            status: reason.status().as_u16(),
            event: "webrtc:offer".into(),
            timestamp: step.now,
            call_id: Some(self.record.id.to_string()),
            details,
        };
        step.notify(user, Event::CallFailed(Box::new(refused)));
    }

    /// Has the server come between the two of a call that runs from one to the other, because of `reason`.
    pub(super) fn switch_to_relay(
        &mut self,
        reason: MediaPathReason,
        step: &mut Step<'_>,
    ) -> Result<()> {
        let [from, to] = [self.record.from, self.record.to];
        // As long as the old way works, a connection stays with it and with the keys of the other: only a new one goes over.
        for user in [from, to] {
            let session = self.party(user).session;
            let mut connections = self.connections(user, step).iter();
            if !connections.any(|it| Some(it.id) == session && it.relays) {
                return Err(CallError::Direct);
            }
        }
        let described = [from, to].map(|user| self.party(user).described.clone());
        let [Some(caller), Some(callee)] = described else {
            let why =
                "its media cannot be taken over: the two have not described it to each other yet";
            return Err(CallError::State(self.record.status, why));
        };
        let (caller, callee) = (parse("offer", &caller)?, parse("offer", &callee)?);
        let mut relayed = Relayed::new(&self.rules, step.keys, &self.record);
        let offers = relayed.bridge.take_over(&caller, &callee);
        let offers = offers.map_err(|error| CallError::Codecs(format!("the call {error}")))?;
        if !self.advance(&Input::Relay(reason), step)? {
            return Ok(());
        }
        relayed.open(self.record_by, step);
        relayed.configure(side_of(&self.record, from), step);
        relayed.configure(side_of(&self.record, to), step);
        self.relayed = Some(Arc::new(relayed));
        let (call_id, media) = (self.record.id, self.record.media);
        self.notify_both(Event::CallMediaPath(MediaPathChanged { call_id, media, reason }), step);
        for (sdp, by) in offers.into_iter().zip([to, from]) {
            let offer = json!({ "type": "offer", "sdp": sdp });
            let offer = signal(&self.record, by, SignalKind::Offer, offer, Some(true));
            self.pass_on(by, SignalKind::Offer, offer, step)?;
        }
        Ok(())
    }

    /// The SFU has a connection of this call.
    pub(super) fn peer_connected(&mut self, peer: PeerKey) {
        let Some(relayed) = self.relayed.as_mut() else { return };
        if let Some(side) = relayed.side_of(peer) {
            Arc::make_mut(relayed).connected(side);
        }
    }

    /// A connection with the SFU is over. A client that closes it is about to hang up, or to come back with another one; one
    /// that falls silent is lost.
    pub(super) fn peer_gone(
        &mut self,
        peer: PeerKey,
        reason: Gone,
        step: &mut Step<'_>,
    ) -> Result<()> {
        let (from, to, relays) =
            (self.record.from, self.record.to, self.record.media == MediaPath::Relay);
        let Some(relayed) = self.relayed.as_mut() else { return Ok(()) };
        let Some(side) = relayed.side_of(peer) else { return Ok(()) };
        let user = if side == side_of(&self.record, from) { from } else { to };
        match reason {
            // A client that takes long to answer may still do so.
            Gone::Silent if !relayed.has_connected(side) => {
                Arc::make_mut(relayed).forget(side, step);
            }
            Gone::Silent if relays => {
                self.advance(&Input::End(user, EndReason::Network), step)?;
            }
            Gone::Handshake(_) if relays => {
                self.advance(&Input::End(user, EndReason::Failed), step)?;
            }
            _ => Arc::make_mut(relayed).renew(side, step),
        }
        Ok(())
    }
}

fn read(field: &'static str, payload: &Value) -> Result<Description> {
    parse(field, payload.get("sdp").and_then(Value::as_str).unwrap_or_default())
}

fn parse(field: &'static str, text: &str) -> Result<Description> {
    Description::parse(text, SECTIONS).map_err(|error| CallError::Sdp(field, error.to_string()))
}
