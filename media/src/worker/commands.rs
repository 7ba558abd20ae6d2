//! How a worker carries out commands: who comes, who goes, and who gets what.

use std::sync::Arc;
use std::time::Instant;

use super::{Command, Event, Gone, Note, Worker};
use crate::codec::{Format, Kind};
use crate::peer::{Peer, Receiver};
use crate::plan::{PeerKey, PeerPlan, ReceivePlan, RoomKey, SendPlan, TrackKey};
use crate::sender::{Preferences, SenderState};
use crate::subscription::{LayerPreference, Subscription};
use crate::track::{Owner, Track};

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
            Command::Prefer { peer, track, preference, priority, temporal } => {
                self.prefer(peer, track, (preference, priority, temporal), now);
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
        self.receive(place, receives, now);
        self.send(place, sends, now);
        self.schedule(place, now);
    }

    fn configure(&mut self, place: usize, plan: PeerPlan, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if plan.ice != peer.plan.ice {
            peer.ice.restart(plan.ice.clone());
            let (ice, by_fragment) = (&peer.ice, &mut self.by_fragment);
            peer.fragments.retain(|fragment| {
                let stays = ice.answers_to(fragment);
                if !stays {
                    by_fragment.remove(fragment);
                }
                stays
            });
            peer.fragments.push(plan.ice.ufrag.clone());
            self.by_fragment.insert(plan.ice.ufrag.clone(), place);
        }
        if let (None, Some(fingerprint)) = (peer.plan.fingerprint, plan.fingerprint) {
            peer.dtls.expect(fingerprint);
        }
        let (receives, sends) = (plan.receives.clone(), plan.sends.clone());
        peer.plan = plan;
        self.receive(place, receives, now);
        self.send(place, sends, now);
        self.schedule(place, now);
    }

    /// Makes the tracks of a peer those of its plan.
    fn receive(&mut self, place: usize, plans: Vec<ReceivePlan>, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let before = std::mem::take(&mut peer.receivers);
        // Also where the section is another track from now on: its SSRCs go on, and are not named again.
        let same = |before: &ReceivePlan, plan: &ReceivePlan| {
            (&before.mid, &before.rids) == (&plan.mid, &plan.rids)
        };
        let to = |receiver: &Receiver| plans.iter().position(|plan| same(&receiver.plan, plan));
        let moved: Vec<Option<usize>> = before.iter().map(to).collect();
        peer.move_sections(&moved);
        let room = peer.room;
        let stays =
            |receiver: &&Receiver| !plans.iter().any(|plan| plan.track == receiver.plan.track);
        let gone: Vec<TrackKey> =
            before.iter().filter(stays).map(|receiver| receiver.plan.track).collect();
        gone.into_iter().for_each(|track| self.end_track(track));
        for (receive, plan) in plans.into_iter().enumerate() {
            let track = match self.track_of.get(&plan.track) {
                Some(&track) => {
                    let was = before.iter().find(|it| it.plan.track == plan.track);
                    self.follow_plan(track, was.map(|was| &was.plan), &plan, now);
                    track
                }
                None => {
                    let owner = Owner::Peer(place);
                    let Some(first) = plan.first() else { continue };
                    let mut track =
                        Track::new(plan.track, room, owner, first.format, plan.layers());
                    track.parameter_sets = Arc::clone(&first.parameter_sets);
                    let at = self.tracks.insert(track);
                    self.track_of.insert(plan.track, at);
                    at
                }
            };
            if let Some(peer) = self.peers.get_mut(place) {
                peer.expect(receive, &plan);
                peer.receivers.push(Receiver { plan, track });
            }
        }
    }

    /// A track stays what it is with another plan: its layers are made anew when they are others, and its codec is another one
    /// only when the plan no longer has it.
    fn follow_plan(
        &mut self,
        at: usize,
        before: Option<&ReceivePlan>,
        plan: &ReceivePlan,
        now: Instant,
    ) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        let remade = track.layers.len() != plan.layers()
            || before.is_some_and(|before| before.rids != plan.rids);
        if remade {
            track.remake_layers(plan.layers());
        }
        let format = track.format;
        let same = plan.codecs.iter().find(|codec| codec.format == format);
        if let Some(same) = same {
            track.parameter_sets = Arc::clone(&same.parameter_sets);
        } else if let Some(first) = plan.first() {
            return self.recode(at, first.format, Arc::clone(&first.parameter_sets), now);
        }
        if remade {
            self.notify_mirrors(at);
            self.ask_publisher(at, now);
        }
    }

    /// From now on a track's packets are coded with `format`: each viewer gets them as it takes them, if it does.
    pub(super) fn recode(
        &mut self,
        at: usize,
        format: Format,
        parameter_sets: Arc<[Vec<u8>]>,
        now: Instant,
    ) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.recode(format, parameter_sets, now);
        for subscription in &mut track.subscriptions {
            let viewer = self.peers.get(subscription.viewer);
            let sender = viewer.and_then(|viewer| viewer.senders.get(subscription.sender_at));
            subscription.codec = sender.and_then(|sender| sender.plan.takes(format)).copied();
        }
        if matches!(track.owner, Owner::Peer(_)) {
            self.events.push(Event::Coded { track: track.key, format });
        }
        self.notify_mirrors(at);
        self.ask_publisher(at, now);
    }

    /// Makes the streams to a viewer those of its plan. A stream is what its SSRCs are: one that stays goes on counting, and the
    /// numbers of one that goes are kept.
    fn send(&mut self, place: usize, plans: Vec<SendPlan>, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let ssrcs = |plan: &SendPlan| (plan.ssrc, plan.rtx_ssrc);
        let gone = peer
            .senders
            .iter()
            .filter(|(_, sender)| !plans.iter().any(|plan| ssrcs(plan) == ssrcs(&sender.plan)));
        let gone: Vec<usize> = gone.map(|(sender_at, _)| sender_at).collect();
        let left: Vec<(String, SenderState)> =
            gone.into_iter().filter_map(|sender_at| self.retire(place, sender_at)).collect();
        for plan in plans {
            self.send_one(place, plan, &left, now);
        }
        let Some(peer) = self.peers.get_mut(place) else { return };
        if let Some((_, sender)) = peer.senders.iter().next() {
            peer.own_ssrc = sender.plan.ssrc;
        }
        if !left.is_empty() {
            self.begin_showing(place, now);
        }
    }

    /// Ends a stream to a viewer; returns its section and where its numbers stand.
    fn retire(&mut self, place: usize, sender_at: usize) -> Option<(String, SenderState)> {
        let numbers = self.peers.get(place)?.senders.get(sender_at)?.export();
        self.detach(place, sender_at);
        let peer = self.peers.get_mut(place)?;
        let sender = peer.remove_sender(sender_at)?;
        peer.retire(numbers);
        Some((sender.plan.mid, numbers))
    }

    /// Sets a stream to a viewer up, or goes on with it; one that takes the place of another in its section shows the same.
    fn send_one(
        &mut self,
        place: usize,
        plan: SendPlan,
        left: &[(String, SenderState)],
        now: Instant,
    ) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let before = left.iter().find(|(mid, _)| *mid == plan.mid).map(|(_, state)| *state);
        let Some(sender_at) = peer.sender_of(plan.ssrc) else {
            let Some(sender_at) = peer.add_sender(plan, now) else { return };
            let sender = peer.senders.get_mut(sender_at);
            if let (Some(sender), Some(before)) = (sender, before) {
                (sender.track, sender.preferences) = (before.track, before.preferences);
            }
            let shown = before.and_then(|before| before.track);
            if let Some(&at) = shown.and_then(|track| self.track_of.get(&track)) {
                self.attach(place, sender_at, at, now);
            }
            return;
        };
        let Some(sender) = peer.senders.get_mut(sender_at) else { return };
        if sender.plan.rtx_ssrc != plan.rtx_ssrc {
            // Another section has its SSRC already.
            return;
        }
        sender.plan = plan;
        let track = sender.track.and_then(|track| self.track_of.get(&track));
        let track = track.and_then(|&at| self.tracks.get_mut(at));
        if let (Some(track), Some(subscription)) = (track, sender.subscription)
            && let Some(subscription) = track.subscriptions.get_mut(subscription)
        {
            subscription.codec = sender.plan.takes(track.format).copied();
        }
    }

    fn show(&mut self, place: usize, mid: &str, track: Option<TrackKey>, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let sender_at = peer.senders.iter().find(|(_, sender)| sender.plan.mid == mid);
        let Some((sender_at, sender)) = sender_at else { return };
        if sender.track == track {
            return;
        }
        self.detach(place, sender_at);
        let sender = self.peers.get_mut(place).and_then(|peer| peer.senders.get_mut(sender_at));
        let Some(sender) = sender else { return };
        (sender.track, sender.preferences) = (track, Preferences::default());
        sender.stats.rests();
        if let Some(&at) = track.and_then(|track| self.track_of.get(&track)) {
            self.attach(place, sender_at, at, now);
        }
        self.begin_showing(place, now);
    }

    /// A stream to a viewer gets a track's packets from now on.
    pub(super) fn attach(&mut self, place: usize, sender_at: usize, at: usize, now: Instant) {
        let sender = self.peers.get_mut(place).and_then(|peer| peer.senders.get_mut(sender_at));
        let (Some(sender), Some(track)) = (sender, self.tracks.get_mut(at)) else { return };
        if sender.subscription.is_some() {
            return;
        }
        let codec = sender.plan.takes(track.format).copied();
        let mut subscription = Subscription::new(place, sender_at, codec, sender.preferences);
        if track.format.codec.kind() == Kind::Video {
            let best =
                track.offers_for(subscription.preference, now).last().map(|&(layer, _)| layer);
            subscription.target = match subscription.preference {
                LayerPreference::Off => None,
                _ => best.or(Some(track.worst())),
            };
        } else if subscription.preference == LayerPreference::Off {
            subscription.target = None;
        }
        sender.subscription = Some(track.subscriptions.len());
        track.subscriptions.push(subscription);
    }

    /// A stream to a viewer gets nothing more of what it showed.
    fn detach(&mut self, place: usize, sender_at: usize) {
        let sender = self.peers.get_mut(place).and_then(|peer| peer.senders.get_mut(sender_at));
        let Some(sender) = sender else { return };
        let (track, subscription) = (sender.track.take(), sender.subscription.take());
        let track = track.and_then(|track| self.track_of.get(&track));
        let track = track.and_then(|&at| self.tracks.get_mut(at));
        let (Some(track), Some(gone)) = (track, subscription) else { return };
        if gone < track.subscriptions.len() {
            track.subscriptions.swap_remove(gone);
        }
        if let Some(moved) = track.subscriptions.get(gone)
            && let Some(viewer) = self.peers.get_mut(moved.viewer)
            && let Some(sender) = viewer.senders.get_mut(moved.sender_at)
        {
            sender.subscription = Some(gone);
        }
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
        (preference, priority, temporal): (LayerPreference, u8, u8),
        now: Instant,
    ) {
        let Some(&place) = self.peer_of.get(&peer) else { return };
        let Some(peer) = self.peers.get_mut(place) else { return };
        let at = self.track_of.get(&track);
        for (_, sender) in &mut peer.senders {
            if sender.track != Some(track) {
                continue;
            }
            sender.preferences = Preferences { preference, priority, temporal };
            let track = at.and_then(|&at| self.tracks.get_mut(at));
            let subscription = track.zip(sender.subscription);
            if let Some(it) = subscription.and_then(|(track, at)| track.subscriptions.get_mut(at)) {
                (it.preference, it.priority, it.temporal) = (preference, priority, temporal);
            }
        }
        peer.allocated = Some(now);
        self.schedule(place, now);
    }

    pub(super) fn mute(&mut self, key: TrackKey, muted: bool, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.muted = muted;
        for mirror in &track.mirrors {
            self.across.notify(mirror.worker, Note::Mute { track: key, muted });
        }
        if muted {
            track.level = 0.0;
            track.subscriptions.iter_mut().for_each(Subscription::halt);
        } else {
            self.want_keyframes(at, now);
        }
    }

    pub(super) fn end_track(&mut self, key: TrackKey) {
        let Some(at) = self.track_of.remove(&key) else { return };
        let Some(track) = self.tracks.try_remove(at) else { return };
        self.dirty.retain(|&dirty| dirty != at);
        self.passing = None;
        for mirror in &track.mirrors {
            self.across.notify(mirror.worker, Note::End { track: key });
        }
        for subscription in &track.subscriptions {
            let sender = self
                .peers
                .get_mut(subscription.viewer)
                .and_then(|viewer| viewer.senders.get_mut(subscription.sender_at));
            if let Some(sender) = sender {
                (sender.track, sender.subscription) = (None, None);
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
        let shown = self.peers.get(place).into_iter().flat_map(Peer::shown);
        for (sender_at, _) in shown.collect::<Vec<_>>() {
            self.detach(place, sender_at);
        }
        let Some(peer) = self.peers.try_remove(place) else { return };
        self.peer_of.remove(&peer.key);
        for source in peer.ice.sources() {
            // Another track may be there by now.
            if self.by_source.get(source) == Some(&place) {
                self.by_source.remove(source);
            }
        }
        for fragment in &peer.fragments {
            if self.by_fragment.get(fragment) == Some(&place) {
                self.by_fragment.remove(fragment);
            }
        }
        for receiver in &peer.receivers {
            self.end_track(receiver.plan.track);
        }
        if matches!(reason, Gone::Silent | Gone::Handshake(_)) {
            self.counters.peers_failed.add(1);
        }
        self.events.push(Event::Gone { peer: peer.key, reason });
    }
}
