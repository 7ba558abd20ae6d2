//! What the rules tell a worker: who comes, who goes, and who gets what.

use std::sync::Arc;
use std::time::Instant;

use super::{Event, Gone, Note, Worker};
use crate::codec::Kind;
use crate::peer::{Peer, Receiving};
use crate::plan::{PeerKey, PeerPlan, ReceivePlan, RoomKey, TrackKey};
use crate::sending::Sending;
use crate::subscription::{Subscription, Wish};
use crate::tap::{Fitted, Tap};
use crate::track::{Owner, Track};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Sets a peer up.
    Connect {
        /// Where.
        room: RoomKey,
        /// Who.
        peer: PeerKey,
        /// How.
        plan: Box<PeerPlan>,
    },
    /// Something else was agreed on with a peer.
    Configure {
        /// Who.
        peer: PeerKey,
        /// How it is from now on.
        plan: Box<PeerPlan>,
    },
    /// Ends a peer connection, and the tracks that came by it.
    Close {
        /// Who.
        peer: PeerKey,
    },
    /// From now on a section of a peer shows a track, in place of what it showed.
    Show {
        /// Who.
        peer: PeerKey,
        /// The section.
        mid: String,
        /// The track; `None` shows nothing.
        track: Option<TrackKey>,
    },
    /// What a viewer wants of a track.
    Prefer {
        /// Who.
        peer: PeerKey,
        /// Of which track.
        track: TrackKey,
        /// What.
        wish: Wish,
        /// Which comes first when not everything fits; the higher the sooner.
        priority: u8,
        /// The highest temporal layer.
        temporal: u8,
    },
    /// Stops passing a track on, whatever its publisher goes on sending, or begins again.
    Mute {
        /// Which.
        track: TrackKey,
        /// Whether it is muted.
        muted: bool,
    },
    /// Has a recorder get a track from its publisher's worker, in place of the one that did; `None` ends that.
    Tap {
        /// Which.
        track: TrackKey,
        /// Where to.
        tap: Option<Tap>,
    },
    /// A recorder cannot go on without a keyframe.
    Keyframe {
        /// Of which track.
        track: TrackKey,
    },
}

impl Worker {
    /// Carries out a command.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect { room, peer, plan } => self.connect(room, peer, *plan, now),
            Command::Configure { peer, plan } => {
                if let Some(&place) = self.peer_of.get(&peer) {
                    self.configure(place, *plan, now);
                }
            }
            Command::Close { peer } => {
                if let Some(&place) = self.peer_of.get(&peer) {
                    self.remove(place, Gone::Closed, now);
                }
            }
            Command::Show { peer, mid, track } => {
                if let Some(&place) = self.peer_of.get(&peer) {
                    self.show(place, &mid, track, now);
                }
            }
            Command::Prefer { peer, track, wish, priority, temporal } => {
                self.prefer(peer, track, (wish, priority, temporal), now);
            }
            Command::Mute { track, muted } => self.mute(track, muted, now),
            Command::Tap { track, tap } => self.tap(track, tap, now),
            Command::Keyframe { track } => self.keyframe_for_tap(track, now),
        }
    }

    pub(super) fn connect(&mut self, room: RoomKey, key: PeerKey, plan: PeerPlan, now: Instant) {
        if self.peer_of.contains_key(&key) {
            return;
        }
        let (receives, sends) = (plan.receives.clone(), plan.sends.clone());
        let fragment = plan.ice.ufrag.clone();
        let peer = Peer::new(key, room, Arc::clone(&self.identity), plan, now);
        let place = self.peers.insert(peer);
        self.peer_of.insert(key, place);
        self.by_fragment.insert(fragment, place);
        self.receive(place, receives);
        self.send(place, sends);
        self.schedule(place, now);
    }

    fn configure(&mut self, place: usize, plan: PeerPlan, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if plan.ice != peer.plan.ice {
            peer.ice.restart(plan.ice.clone());
            self.by_fragment.retain(|it, &mut at| at != place || peer.ice.answers_to(it));
            self.by_fragment.insert(plan.ice.ufrag.clone(), place);
        }
        if let (None, Some(fingerprint)) = (peer.plan.fingerprint, plan.fingerprint) {
            peer.dtls.expect(fingerprint);
        }
        let (receives, sends) = (plan.receives.clone(), plan.sends.clone());
        peer.plan = plan;
        self.receive(place, receives);
        self.send(place, sends);
        self.schedule(place, now);
    }

    /// Makes the tracks of a peer those of its plan.
    fn receive(&mut self, place: usize, plans: Vec<ReceivePlan>) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let before = std::mem::take(&mut peer.receiving);
        let same = |before: &ReceivePlan, plan: &ReceivePlan| {
            (before.track, &before.mid, &before.rids) == (plan.track, &plan.mid, &plan.rids)
        };
        let to = |receiving: &Receiving| plans.iter().position(|plan| same(&receiving.plan, plan));
        let moved: Vec<Option<usize>> = before.iter().map(to).collect();
        peer.rehome(&moved);
        let room = peer.room;
        let stays =
            |receiving: &&Receiving| !plans.iter().any(|plan| plan.track == receiving.plan.track);
        let gone: Vec<TrackKey> =
            before.iter().filter(stays).map(|receiving| receiving.plan.track).collect();
        gone.into_iter().for_each(|track| self.end_track(track));
        for (receive, plan) in plans.into_iter().enumerate() {
            let track = match self.track_of.get(&plan.track) {
                Some(&track) => track,
                None => {
                    let owner = Owner::Peer(place);
                    let Some(format) = plan.first().map(|first| first.format) else { continue };
                    let track = Track::new(plan.track, room, owner, format, plan.rids.len());
                    let at = self.tracks.insert(track);
                    self.track_of.insert(plan.track, at);
                    at
                }
            };
            if let Some(peer) = self.peers.get_mut(place) {
                peer.expect(receive, &plan);
                peer.receiving.push(Receiving { plan, track });
            }
        }
    }

    /// Makes the lines of a viewer those of its plan; a line that stays goes on counting.
    fn send(&mut self, place: usize, plans: Vec<crate::plan::SendPlan>) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        for plan in plans {
            match peer.sending.iter_mut().find(|sending| sending.plan.mid == plan.mid) {
                Some(sending) => sending.plan = plan,
                None => peer.sending.push(Sending::new(plan)),
            }
        }
        if let Some(sending) = peer.sending.first() {
            peer.own_ssrc = sending.plan.ssrc;
        }
        for (line, key) in peer.shown() {
            let Some(sending) = peer.sending.get(line) else { continue };
            let track = self.track_of.get(&key).and_then(|&track| self.tracks.get_mut(track));
            let Some(track) = track else { continue };
            let codec = sending.plan.takes(track.format).copied();
            if let Some(subscription) = track.subscription_mut(place, line) {
                subscription.codec = codec;
            }
        }
    }

    fn show(&mut self, place: usize, mid: &str, track: Option<TrackKey>, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let Some(line) = peer.sending.iter().position(|sending| sending.plan.mid == mid) else {
            return;
        };
        let Some(sending) = peer.sending.get_mut(line) else { return };
        if sending.track == track {
            return;
        }
        let before = std::mem::replace(&mut sending.track, track);
        sending.stats.rests();
        if let Some(&before) = before.and_then(|before| self.track_of.get(&before))
            && let Some(track) = self.tracks.get_mut(before)
        {
            track.subscriptions.retain(|it| it.viewer != place || it.line != line);
        }
        if let Some(&at) = track.and_then(|track| self.track_of.get(&track)) {
            self.attach(place, line, at, now);
        }
        self.begin_showing(place, now);
    }

    /// A viewer's line gets a track's packets from now on.
    pub(super) fn attach(&mut self, place: usize, line: usize, at: usize, now: Instant) {
        let sending = self.peers.get(place).and_then(|peer| peer.sending.get(line));
        let (Some(sending), Some(track)) = (sending, self.tracks.get_mut(at)) else { return };
        let codec = sending.plan.takes(track.format).copied();
        let mut subscription = Subscription::new(place, line, codec);
        if track.format.codec.kind() == Kind::Video {
            subscription.target = track.offers(now).last().map(|&(layer, _)| layer).or(Some(0));
        }
        track.subscriptions.push(subscription);
    }

    /// Has keyframes asked for, once the viewer is there.
    pub(super) fn begin_showing(&mut self, place: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if !peer.connected {
            return;
        }
        peer.allocated = Some(now);
        let shown: Vec<TrackKey> = peer.shown().map(|(_, track)| track).collect();
        for track in
            shown.iter().filter_map(|track| self.track_of.get(track).copied()).collect::<Vec<_>>()
        {
            self.want_keyframes(track, now);
        }
        self.schedule(place, now);
    }

    pub(super) fn want_keyframes(&mut self, at: usize, now: Instant) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.want_keyframes();
        self.ask_publisher(at, now);
    }

    fn prefer(
        &mut self,
        peer: PeerKey,
        track: TrackKey,
        (wish, priority, temporal): (Wish, u8, u8),
        now: Instant,
    ) {
        let Some(&place) = self.peer_of.get(&peer) else { return };
        let Some(&at) = self.track_of.get(&track) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        for subscription in track.subscriptions.iter_mut().filter(|it| it.viewer == place) {
            subscription.wish = wish;
            subscription.priority = priority;
            subscription.temporal = temporal;
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.allocated = Some(now);
        }
        self.schedule(place, now);
    }

    pub(super) fn mute(&mut self, key: TrackKey, muted: bool, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.muted = muted;
        for mirror in &track.mirrors {
            self.across.tell(mirror.worker, Note::Mute { track: key, muted });
        }
        if muted {
            track.level = 0.0;
            track.subscriptions.iter_mut().for_each(Subscription::halt);
        } else {
            self.want_keyframes(at, now);
        }
    }

    fn tap(&mut self, key: TrackKey, tap: Option<Tap>, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.tap = tap.map(Fitted::new);
        if track.guide_tap(now) {
            self.ask_publisher(at, now);
        }
    }

    fn keyframe_for_tap(&mut self, key: TrackKey, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let target = track.tap.as_ref().and_then(|tap| tap.target).unwrap_or(0);
        if let Some(stream) = track.layers.get_mut(usize::from(target)) {
            stream.want_keyframe();
        }
        self.ask_publisher(at, now);
    }

    pub(super) fn end_track(&mut self, key: TrackKey) {
        let Some(at) = self.track_of.remove(&key) else { return };
        let Some(track) = self.tracks.try_remove(at) else { return };
        self.dirty.retain(|&dirty| dirty != at);
        self.passing = None;
        for mirror in &track.mirrors {
            self.across.tell(mirror.worker, Note::End { track: key });
        }
        for subscription in &track.subscriptions {
            let line = self
                .peers
                .get_mut(subscription.viewer)
                .and_then(|viewer| viewer.sending.get_mut(subscription.line));
            if let Some(line) = line {
                line.track = None;
            }
        }
    }

    /// Forgets a peer, its tracks and what it was shown.
    pub(super) fn remove(&mut self, place: usize, reason: Gone, now: Instant) {
        self.give_stats_of(place, now);
        if let Some(peer) = self.peers.get_mut(place) {
            peer.dtls.close(now);
        }
        self.send_handshake(place);
        let Some(peer) = self.peers.try_remove(place) else { return };
        self.peer_of.remove(&peer.key);
        for source in peer.ice.sources() {
            // Somebody else may be there by now.
            if self.by_source.get(source) == Some(&place) {
                self.by_source.remove(source);
            }
        }
        self.by_fragment.retain(|_, &mut at| at != place);
        for receiving in &peer.receiving {
            self.end_track(receiving.plan.track);
        }
        for (_, track) in peer.shown() {
            if let Some(&at) = self.track_of.get(&track)
                && let Some(track) = self.tracks.get_mut(at)
            {
                track.subscriptions.retain(|it| it.viewer != place);
            }
        }
        if matches!(reason, Gone::Silent | Gone::Handshake(_)) {
            self.counters.peers_failed.add(1);
        }
        self.events.push(Event::Gone { peer: peer.key, reason });
    }
}
