//! Calls whose media goes through the server: it answers both parties in the name of the other (`media: "relay"`). Neither needs
//! to know of it.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard_media::driver::Server;
use switchboard_media::negotiation::{Bridge, BridgeError, Side};
use switchboard_media::{
    Codec, Command, Description, Event as Media, Gone, PeerKey, RoomKey, TrackKey,
};

use super::live::{Live, signal};
use super::machine::Input;
use super::signal::{Signal, SignalDelivery};
use super::{CallError, Calls, Guard, Result};
use crate::delivery::To;
use crate::error::{Failure as _, Problem};
use crate::event::{
    CallStatus, EndReason, Event, MediaPath, MediaPathChanged, Refused, SignalKind,
};
use crate::ids::{CallId, RoomId, UserId};
use crate::recorder::{Part, Publisher, Recorder};
use crate::sfu::Notices;
use crate::store::CallRecord;

/// Media sections of one description.
const SECTIONS: usize = 64;

/// The server's part in a relayed call.
pub(super) struct Relayed {
    server: Arc<Server>,
    room: RoomKey,
    bridge: Bridge,
    legs: [Leg; 2],
    recorder: Arc<Recorder>,
    place: RoomId,
    people: [Publisher; 2],
}

/// One party's connection.
struct Leg {
    peer: PeerKey,
    set_up: bool,
    connected: bool,
    shows: Vec<(String, Option<TrackKey>)>,
}

impl Leg {
    fn new(server: &Server) -> Self {
        Self { peer: server.peer(), set_up: false, connected: false, shows: Vec::new() }
    }
}

impl Relayed {
    fn new(server: &Arc<Server>, codecs: &[Codec], recorder: &Arc<Recorder>, live: &Live) -> Self {
        let call = &live.record;
        let performer = |user: UserId| Publisher { who: user.to_string(), user, name: None };
        let (place, room) = (RoomId::of_call(call.id), server.open_room());
        recorder.open(&place, room, &[call.from, call.to], live.record_by);
        Self {
            server: server.clone(),
            room,
            bridge: Bridge::new(server.endpoint(), codecs),
            legs: [Leg::new(server), Leg::new(server)],
            recorder: recorder.clone(),
            place,
            people: [call.from, call.to].map(performer),
        }
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        let [caller, callee] = &mut self.legs;
        match side {
            Side::Caller => caller,
            Side::Callee => callee,
        }
    }

    /// Whose connection this is.
    fn side_of(&self, peer: PeerKey) -> Option<Side> {
        let [caller, callee] = &self.legs;
        match () {
            () if caller.peer == peer => Some(Side::Caller),
            () if callee.peer == peer => Some(Side::Callee),
            () => None,
        }
    }

    /// Has the media of one leg be what was agreed on.
    fn configure(&mut self, side: Side) {
        let (room, plan) = (self.room, Box::new(self.bridge.plan(side)));
        let leg = self.leg(side);
        let peer = leg.peer;
        let command = match std::mem::replace(&mut leg.set_up, true) {
            true => Command::Configure { peer, plan },
            false => Command::Connect { room, peer, plan },
        };
        self.server.command(room, command);
    }

    /// Shows each what the other sends.
    fn connect(&mut self) {
        for side in [Side::Caller, Side::Callee] {
            let (room, shows) = (self.room, self.bridge.shows(side));
            let leg = self.leg(side);
            let peer = leg.peer;
            let before = std::mem::replace(&mut leg.shows, shows.clone());
            for (mid, track) in shows.into_iter().filter(|show| !before.contains(show)) {
                self.server.command(room, Command::Show { peer, mid, track });
            }
            self.recorder.sends(&self.place, room, self.performer(side), self.parts(side));
        }
    }

    fn performer(&self, side: Side) -> Publisher {
        let [caller, callee] = &self.people;
        if side == Side::Caller { caller.clone() } else { callee.clone() }
    }

    /// What one party sends; of several pictures the later ones are taken to show a screen.
    fn parts(&self, side: Side) -> Vec<Part> {
        let mut pictures = 0;
        let tracks = self.bridge.tracks(side).into_iter();
        tracks
            .map(|(key, codec, _)| {
                let screen = codec != Codec::Opus && pictures > 0;
                pictures += usize::from(codec != Codec::Opus);
                Part { key, codec, screen }
            })
            .collect()
    }

    /// One party comes with another connection.
    fn renew(&mut self, side: Side) {
        self.bridge.renew(side);
        self.forget(side);
    }

    /// What a worker knew of a connection is gone; the next time it is told anew.
    fn forget(&mut self, side: Side) {
        let fresh = Leg::new(&self.server);
        let Leg { peer, set_up, .. } = std::mem::replace(self.leg(side), fresh);
        if set_up {
            self.server.command(self.room, Command::Close { peer });
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.recorder.close(&self.place, self.room);
        for leg in self.legs.iter().filter(|leg| leg.set_up) {
            self.server.command(self.room, Command::Close { peer: leg.peer });
        }
        self.server.close_room(self.room);
    }
}

fn side_of(call: &CallRecord, user: UserId) -> Side {
    if call.from == user { Side::Caller } else { Side::Callee }
}

impl Calls {
    /// Takes a signal of one side of a relayed call.
    pub(super) async fn relay(
        &self,
        live: &mut Guard,
        me: UserId,
        sent: Signal,
    ) -> Result<SignalDelivery> {
        match sent.kind {
            // Who is asked for by a check answers it: the server needs no candidates of a client (RFC 8445 §2.5, lite).
            SignalKind::IceCandidate => Ok(SignalDelivery { delivered: true, buffered: false }),
            SignalKind::Offer if live.record.status != CallStatus::Accepted => {
                live.early = Some((me, sent.payload));
                Ok(SignalDelivery { delivered: false, buffered: true })
            }
            SignalKind::Offer => self.relay_offer(live, me, &sent.payload).await,
            SignalKind::Answer => self.relay_answer(live, me, &sent.payload).await,
        }
    }

    /// Takes up an offer that came before the call was accepted.
    pub(super) async fn relay_early(&self, live: &mut Guard) {
        let Some((user, offer)) = live.early.take() else { return };
        if let Err(error) = self.relay_offer(live, user, &offer).await {
            self.notify_failed(&live.record, user, error);
        }
    }

    async fn relay_offer(
        &self,
        live: &mut Guard,
        me: UserId,
        offer: &Value,
    ) -> Result<SignalDelivery> {
        let theirs = read("offer", offer)?;
        let side = side_of(&live.record, me);
        let (server, codecs) = (self.sfu.server(), self.sfu.codecs());
        if live.relayed.is_none() {
            live.relayed = Some(Box::new(Relayed::new(server, codecs, &self.recorder, live)));
        }
        let gone = CallError::State(live.record.status, "it does not go through the server");
        let relayed = live.relayed.as_mut().ok_or(gone)?;
        if relayed.bridge.is_other(side, &theirs) {
            relayed.renew(side);
        }
        let offering = relayed.bridge.offer(side, &theirs, || server.track());
        let offering = match offering {
            Ok(offering) => offering,
            Err(error) => return Err(self.unbridged(live, me, "offer", error).await),
        };
        relayed.configure(side.other());
        if offering.answer.is_some() {
            relayed.configure(side);
            relayed.connect();
        }
        self.know_legs(live);
        let peer = live.record.peer_of(me);
        if let Some(sdp) = offering.answer {
            let answer = json!({ "type": "answer", "sdp": sdp });
            let told = signal(&live.record, peer, SignalKind::Answer, answer, None);
            self.pass_on(live, peer, SignalKind::Answer, told)?;
        }
        let offer = json!({ "type": "offer", "sdp": offering.offer });
        let told = signal(&live.record, me, SignalKind::Offer, offer, None);
        self.pass_on(live, me, SignalKind::Offer, told)
    }

    /// Has the server come between the two of a call that runs from one to the other, because of `reason`.
    pub(super) async fn switch_to_relay(
        &self,
        live: &mut Guard,
        reason: &'static str,
    ) -> Result<()> {
        let [from, to] = [live.record.from, live.record.to];
        // As long as the old way works, a connection stays with it and with the keys of the other: only a new one goes over.
        for user in [from, to] {
            let session = live.side(user).session;
            let session = session.and_then(|session| self.delivery.session(user, session));
            if !session.is_some_and(|session| session.relays) {
                return Err(CallError::Direct);
            }
        }
        let described = [from, to].map(|user| live.side(user).described.clone());
        let [Some(caller), Some(callee)] = described else {
            let why =
                "its media cannot be taken over: the two have not described it to each other yet";
            return Err(CallError::State(live.record.status, why));
        };
        let read = |text: &str| {
            Description::parse(text, SECTIONS)
                .map_err(|error| CallError::Sdp("offer", error.to_string()))
        };
        let (caller, callee) = (read(&caller)?, read(&callee)?);
        let (server, codecs) = (self.sfu.server(), self.sfu.codecs());
        let mut relayed = Box::new(Relayed::new(server, codecs, &self.recorder, live));
        let offers = relayed.bridge.take_over(&caller, &callee);
        let offers = offers.map_err(|error| CallError::Codecs(format!("the call {error}")))?;
        if self.advance(live, &Input::Relay).await?.is_none() {
            return Ok(());
        }
        relayed.configure(Side::Caller);
        relayed.configure(Side::Callee);
        live.relayed = Some(relayed);
        self.know_legs(live);
        let path = MediaPathChanged { call_id: live.record.id, media: live.record.media, reason };
        self.notify_both(&live.record, &Event::CallMediaPath(path));
        for (sdp, by) in offers.into_iter().zip([to, from]) {
            let offer = json!({ "type": "offer", "sdp": sdp });
            let told = signal(&live.record, by, SignalKind::Offer, offer, Some(true));
            self.pass_on(live, by, SignalKind::Offer, told)?;
        }
        Ok(())
    }

    async fn relay_answer(
        &self,
        live: &mut Guard,
        me: UserId,
        answer: &Value,
    ) -> Result<SignalDelivery> {
        let theirs = read("answer", answer)?;
        let side = side_of(&live.record, me);
        let server = self.sfu.server();
        let refused = CallError::State(live.record.status, "there is no offer to answer");
        let relayed = live.relayed.as_mut().ok_or(refused)?;
        let answer = match relayed.bridge.answer(side, &theirs, || server.track()) {
            Ok(answer) => answer,
            Err(error) => return Err(self.unbridged(live, me, "answer", error).await),
        };
        relayed.configure(side);
        if answer.is_some() {
            relayed.configure(side.other());
        }
        relayed.connect();
        let Some(sdp) = answer else {
            return Ok(SignalDelivery { delivered: true, buffered: false });
        };
        let answer = json!({ "type": "answer", "sdp": sdp });
        let told = signal(&live.record, me, SignalKind::Answer, answer, None);
        self.pass_on(live, me, SignalKind::Answer, told)
    }

    /// A description leads to nothing. Where nothing was ever agreed on, both are told and the call is over.
    async fn unbridged(
        &self,
        live: &mut Guard,
        me: UserId,
        field: &'static str,
        error: BridgeError,
    ) -> CallError {
        use switchboard_media::DescriptionError::Codec;
        let never = live.relayed.as_ref().is_none_or(|relayed| {
            [Side::Caller, Side::Callee].iter().all(|&side| relayed.bridge.tracks(side).is_empty())
        });
        let mismatch =
            matches!(error, BridgeError::Mismatch { .. } | BridgeError::Description(Codec { .. }));
        if !mismatch {
            return CallError::Sdp(field, error.to_string());
        }
        let error = format!("the {field} {error}");
        if never {
            let peer = live.record.peer_of(me);
            self.notify_failed(&live.record, peer, CallError::Codecs(error.clone()));
            if let Err(error) = self.advance(live, &Input::End(me, EndReason::Failed)).await {
                tracing::warn!(call = %live.record.id, %error, "a call that cannot be is not over");
            }
        }
        CallError::Codecs(error)
    }

    fn notify_failed(&self, call: &CallRecord, user: UserId, error: CallError) {
        let details = error.details();
        let Problem { reason, message, .. } = error.into();
        let refused = Refused {
            error: message.clone(),
            message,
            code: reason.code(),
            status: reason.status().as_u16(),
            event: "webrtc:offer".into(),
            timestamp: self.clock.now(),
            call_id: Some(call.id.to_string()),
            details,
        };
        self.delivery.send(To::User(user), &Event::CallFailed(Box::new(refused)));
    }

    /// Notes whose call the connections are.
    fn know_legs(&self, live: &Guard) {
        if let Some(relayed) = &live.relayed {
            let peers = relayed.legs.iter().map(|leg| leg.peer);
            self.registry.know_legs(live.record.id, peers);
        }
    }

    /// Follows what the SFU tells of relayed calls, for as long as the server runs.
    pub async fn follow(&self, mut events: Notices) {
        while let Some(event) = events.recv().await {
            let (Media::Gone { peer, .. } | Media::Connected { peer, .. }) = event else {
                continue;
            };
            let Some(call) = self.registry.call_of_leg(peer) else { continue };
            let outcome = match event {
                Media::Gone { reason, .. } => self.leg_gone(call, peer, reason).await,
                _ => {
                    self.leg_connected(call, peer).await;
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(%call, %error, "the end of a connection could not be noted");
            }
        }
    }

    async fn leg_connected(&self, call: CallId, peer: PeerKey) {
        let Some(mut live) = self.registry.lock(call).await else { return };
        let Some(relayed) = live.relayed.as_mut() else { return };
        if let Some(side) = relayed.side_of(peer) {
            relayed.leg(side).connected = true;
        }
    }

    /// A connection is over. Who says goodbye is about to hang up, or to come back with another one; who falls silent is lost.
    async fn leg_gone(&self, call: CallId, peer: PeerKey, reason: Gone) -> Result<()> {
        let Some(mut live) = self.registry.lock(call).await else { return Ok(()) };
        let relays = live.record.media == MediaPath::Relay;
        let Some(relayed) = live.relayed.as_mut() else { return Ok(()) };
        let Some(side) = relayed.side_of(peer) else { return Ok(()) };
        if !relayed.leg(side).connected && reason == Gone::Silent {
            // Somebody takes long to answer; the answer still counts.
            relayed.forget(side);
            self.know_legs(&live);
            return Ok(());
        }
        relayed.renew(side);
        self.know_legs(&live);
        let reason = match reason {
            Gone::Closed | Gone::Left => return Ok(()),
            Gone::Silent => EndReason::Network,
            Gone::Handshake(_) => EndReason::Failed,
        };
        let user = if side == Side::Caller { live.record.from } else { live.record.to };
        if relays {
            self.advance(&mut live, &Input::End(user, reason)).await?;
        }
        Ok(())
    }
}

fn read(field: &'static str, payload: &Value) -> Result<Description> {
    let text = payload.get("sdp").and_then(Value::as_str).unwrap_or_default();
    Description::parse(text, SECTIONS).map_err(|error| CallError::Sdp(field, error.to_string()))
}
