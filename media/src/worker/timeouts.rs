//! What a worker does when time passes: reports, requests, and what each viewer is to get.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Event, Gone, Note, Worker};
use crate::bandwidth::{Candidate, allocate};
use crate::codec::Kind;
use crate::numbers::BitRate;
use crate::peer::Peer;
use crate::plan::{KeyframeFeedback, TrackKey};
use crate::rtcp::{Compound, ReportBlock};
use crate::rtp::Extension;
use crate::subscription::LayerPreference;
use crate::track::{Owner, Track};

/// How often reception is reported, and how often sender reports are sent.
const REPORT: Duration = Duration::from_secs(1);
/// How often what a viewer gets is thought over.
const ALLOCATE: Duration = Duration::from_millis(200);
/// How often missing packets are looked at.
const NACK: Duration = Duration::from_millis(20);
/// How often it is looked at who speaks.
const LISTEN: Duration = Duration::from_millis(250);
/// Loudness below this is silence: -55 dBov.
const AUDIBLE: f32 = 0.56;
/// Speakers that are named.
const SPEAKERS: usize = 5;
/// What a publisher may send who asks for it (REMB).
const PUBLISHER: BitRate = BitRate(4_000_000);
/// What one audio track is taken to need.
const AUDIO: BitRate = BitRate(60_000);

impl Worker {
    /// When [`Self::handle_timeout`] is due.
    pub fn deadline(&self) -> Instant {
        let listen = self.listened + LISTEN;
        let timers = self.timers.peek().map(|Reverse((at, _))| *at);
        let held = self.dirty.iter().filter_map(|&track| self.tracks.get(track)?.ready_at());
        held.chain(timers).fold(listen, Instant::min)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(&place) = self.peer_of.get(&key) else { continue };
            let Some(peer) = self.peers.get_mut(place) else { continue };
            // Otherwise a sooner entry has replaced this one.
            if peer.scheduled.take_if(|scheduled| *scheduled == at).is_some() {
                self.peer_timeout(place, now);
            }
        }
        if now >= self.listened + LISTEN {
            self.listened = now;
            self.listen();
            self.watch_layers(now);
            self.tend_mirrors(now);
            self.give_stats(now);
        }
    }

    fn peer_timeout(&mut self, place: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if now >= peer.ice.deadline() {
            return self.remove(place, Gone::Silent, now);
        }
        if let Err(error) = peer.dtls.handle_timeout(now) {
            return self.remove(place, Gone::Handshake(error), now);
        }
        self.send_handshake(place);
        let next = match self.peers.get(place).is_some_and(|peer| peer.connected) {
            true => self.report(place, now),
            false => None,
        };
        let Some(peer) = self.peers.get(place) else { return };
        let next = [Some(peer.ice.deadline()), peer.dtls.deadline(), next];
        if let Some(next) = next.into_iter().flatten().min() {
            self.schedule(place, next.max(now + Duration::from_millis(1)));
        }
    }

    /// Sends a peer what it is to know; returns when to look again.
    fn report(&mut self, place: usize, now: Instant) -> Option<Instant> {
        let mut next = self.report_to_publisher(place, now);
        let viewer = self.peers.get(place).is_some_and(|peer| peer.shown().next().is_some());
        if viewer {
            self.send_sender_reports(place, now);
            self.note_rests(place);
            let due = self.peers.get(place)?.allocated;
            if due.is_none_or(|due| now >= due) {
                self.share(place, now);
                if let Some(peer) = self.peers.get_mut(place) {
                    peer.allocated = Some(now + ALLOCATE);
                }
            }
            let allocated = self.peers.get(place)?.allocated;
            next = [next, allocated].into_iter().flatten().min();
        }
        next
    }

    fn report_to_publisher(&mut self, place: usize, now: Instant) -> Option<Instant> {
        let peer = self.peers.get_mut(place)?;
        if peer.receivers.is_empty() {
            return None;
        }
        let path = peer.ice.path()?;
        let mut due = vec![peer.reported + REPORT];
        let mut blocks: Vec<ReportBlock> = Vec::new();
        let full = now >= peer.reported + REPORT;
        if full {
            peer.reported = now;
            due = vec![now + REPORT];
            let tracks = &mut self.tracks;
            for receiver in &peer.receivers {
                let layers = tracks.get_mut(receiver.track).map(|track| &mut track.layers);
                blocks.extend(layers.into_iter().flatten().filter_map(|layer| layer.report(now)));
            }
        }
        let begin = self.control.len();
        let mut compound = Compound::new(&mut self.control, peer.own_ssrc, &blocks);
        let mut useful = full;
        let (mut requests, mut keyframes) = (0, 0);
        for receiver in &peer.receivers {
            let Some(track) = self.tracks.get_mut(receiver.track) else { continue };
            let nack = receiver.plan.takes_nack(track.format);
            let asking = receiver.plan.keyframes(track.format);
            let asks = asking != KeyframeFeedback::None && track.has_use_for_keyframes();
            for layer in &mut track.layers {
                let Some(ssrc) = layer.ssrc() else { continue };
                if nack && layer.misses() {
                    self.scratch.clear();
                    layer.ask(now, &mut self.scratch);
                    if !self.scratch.is_empty() {
                        compound.nack(ssrc, &self.scratch);
                        requests += self.scratch.len() as u64;
                    }
                    due.extend(layer.misses().then_some(now + NACK));
                }
                if !asks {
                    continue;
                }
                if layer.asks_for_keyframe(now) {
                    if asking == KeyframeFeedback::Fir {
                        // Each new command has the next number (RFC 5104 §4.3.1.1).
                        layer.intra_request = layer.intra_request.wrapping_add(1);
                        compound.full_intra_request(ssrc, layer.intra_request);
                    } else {
                        compound.keyframe_request(ssrc);
                    }
                    keyframes += 1;
                }
                due.extend(layer.keyframe_deadline(now));
            }
        }
        if full && peer.receivers.iter().any(|receiver| receiver.plan.remb) {
            let ssrcs: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
            compound.remb(PUBLISHER, &ssrcs);
        }
        if peer.arrivals.deadline().is_some_and(|at| now >= at) {
            let ssrc = peer.last_media_ssrc;
            peer.arrivals.report(&mut compound, ssrc);
            useful = true;
        }
        due.extend(peer.arrivals.deadline());
        useful |= requests + keyframes > 0;
        self.counters.packets_requested.add(requests);
        self.counters.keyframes_requested.add(keyframes);
        if useful {
            peer.seal_rtcp(&mut self.control, begin);
        } else {
            self.control.truncate(begin);
        }
        let length = self.control.len() - begin;
        if let (1.., Ok(length)) = (length, u16::try_from(length)) {
            self.control_queue.push_back((path, begin, length));
        }
        due.into_iter().min()
    }

    fn send_sender_reports(&mut self, place: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let Some(path) = peer.ice.path() else { return };
        for sender_at in 0..peer.senders.capacity() {
            let Some(sender) = peer.senders.get_mut(sender_at) else { continue };
            let quiet = sender.reported.is_some_and(|at| now < at + REPORT) || sender.packets == 0;
            let Some(&track) = sender.track.and_then(|track| self.track_of.get(&track)) else {
                continue;
            };
            let Some(track) = self.tracks.get(track).filter(|_| !quiet) else { continue };
            let subscription = sender.subscription.and_then(|it| track.subscriptions.get(it));
            let clock =
                subscription.and_then(|it| it.clock(now, track.format.codec, &track.layers));
            let Some(clock) = clock else { continue };
            sender.reported = Some(now);
            sender.stats.sent_report(clock.0, now);
            let begin = self.control.len();
            let counts = (sender.packets, sender.bytes);
            let ssrc = sender.plan.ssrc;
            Compound::sender_report(&mut self.control, ssrc, clock, counts, CNAME);
            peer.seal_rtcp(&mut self.control, begin);
            let length = self.control.len() - begin;
            if let (1.., Ok(length)) = (length, u16::try_from(length)) {
                self.control_queue.push_back((path, begin, length));
            }
        }
    }

    /// Shares what a viewer's path takes among the pictures it is shown; sound passes unless it is not wished for.
    fn share(&mut self, place: usize, now: Instant) {
        let known = |peer: &Peer| Some(peer.outbound.as_ref()?.bandwidth.estimate(now));
        if self.peers.get(place).and_then(known) == Some(None) {
            self.probe(place, BitRate(0), now);
        }
        let Some(peer) = self.peers.get(place) else { return };
        let Some(outbound) = &peer.outbound else { return };
        let estimate = outbound.bandwidth.estimate(now);
        let carefully = estimate.is_none() && outbound.bandwidth.is_probing(now);
        let mut left = estimate.unwrap_or(BitRate(u64::MAX));
        let mut candidates = Vec::new();
        let mut places = Vec::new();
        let mut sounds = Vec::new();
        for (sender_at, key, subscription) in peer.subscribed() {
            let Some(&at) = self.track_of.get(&key) else { continue };
            let Some(track) = self.tracks.get(at) else { continue };
            if track.format.codec.kind() == Kind::Audio {
                let subscription = track.subscriptions.get(subscription);
                let off = subscription.is_some_and(|it| it.preference == LayerPreference::Off);
                left = left - if off { BitRate(0) } else { AUDIO };
                sounds.push((at, sender_at, (!off).then_some(0)));
                continue;
            }
            let Some(subscription) = track.subscriptions.get(subscription) else { continue };
            let mut layers = track.offers_for(subscription.preference, now);
            if layers.is_empty() && subscription.preference != LayerPreference::Off {
                continue;
            }
            if carefully {
                // A moment later it is known what the path takes.
                layers.truncate(1);
            }
            candidates.push(Candidate {
                priority: subscription.priority,
                layers,
                current: subscription.current,
            });
            places.push((at, sender_at));
        }
        let shares = allocate(left, &candidates);
        let sound = estimate.unwrap_or_default() - left;
        if let Some(more) = next_step(&candidates, &shares) {
            self.probe(place, more + sound, now);
        }
        let pictures =
            places.into_iter().zip(shares).map(|((at, sender_at), share)| (at, sender_at, share));
        for (at, sender_at, share) in sounds.into_iter().chain(pictures) {
            self.give(place, at, sender_at, share, now);
        }
    }

    /// Finds out, when it is the time, whether `rate` would pass.
    fn probe(&mut self, viewer: usize, rate: BitRate, now: Instant) {
        let Some(peer) = self.peers.get_mut(viewer) else { return };
        let (Some(path), Some(outbound)) = (peer.ice.path(), peer.outbound.as_mut()) else {
            return;
        };
        let Some(count) = outbound.bandwidth.wants_probe(rate, now) else { return };
        let tracks = (&self.tracks, &self.track_of);
        let probing = peer.senders.iter_mut().find_map(|(_, sender)| {
            let track = tracks.0.get(*tracks.1.get(&sender.track?)?)?;
            let codec = *sender.plan.takes(track.format)?;
            let numbered = sender.plan.extensions.id(Extension::TransportSequence).is_some();
            (codec.rtx_type.is_some() && numbered).then_some((sender, codec))
        });
        let Some((sender, codec)) = probing else { return outbound.bandwidth.try_more(rate, now) };
        outbound.bandwidth.probe_begins(rate, now);
        for _ in 0..count {
            let begin = self.control.len();
            if !sender.write_probe(outbound, codec, now, &mut self.control) {
                break;
            }
            if let Ok(length) = u16::try_from(self.control.len() - begin) {
                self.control_queue.push_back((path, begin, length));
            }
        }
        outbound.bandwidth.probe_ends();
    }

    fn give(
        &mut self,
        viewer: usize,
        at: usize,
        sender_at: usize,
        share: Option<u8>,
        now: Instant,
    ) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        let (key, scalable) = (track.key, track.scalable().is_some());
        let is_video = track.format.codec.kind() == Kind::Video;
        let sender = self.peers.get(viewer).and_then(|peer| peer.senders.get(sender_at));
        let subscription = sender.and_then(|it| track.subscriptions.get_mut(it.subscription?));
        let Some(subscription) = subscription else { return };
        // One stream of many layers may have a way to another one without a keyframe, which is seen by the next time.
        let patient = scalable && subscription.target != share && subscription.current.is_some();
        subscription.target = share;
        let paused = share.is_none() && subscription.preference != LayerPreference::Off;
        let changed = paused != subscription.notified_paused;
        subscription.notified_paused = paused;
        if share.is_none() {
            subscription.halt();
        }
        let waits = subscription.waits() && !patient && is_video;
        let raises = subscription.current.filter(|_| subscription.waits_for_temporal(now));
        if let Some(stream) = raises.and_then(|layer| track.stream_of(layer)) {
            stream.want_keyframe();
            self.ask_publisher(at, now);
        }
        if let (true, Some(peer)) = (changed, self.peers.get(viewer)) {
            self.events.push(Event::Paused { peer: peer.key, track: key, paused });
        }
        if waits {
            self.want_keyframes(at, now);
        }
    }

    /// Says who speaks, where that has changed.
    fn listen(&mut self) {
        let mut rooms: std::collections::HashMap<_, Vec<(TrackKey, u8)>> =
            self.speakers.keys().map(|&room| (room, Vec::new())).collect();
        for (_, track) in &mut self.tracks {
            if track.format.codec.kind() == Kind::Audio && matches!(track.owner, Owner::Peer(_)) {
                if track.level > AUDIBLE {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "0 to 20"
                    )]
                    let level = (track.level * 20.0) as u8;
                    rooms.entry(track.room).or_default().push((track.key, level));
                }
                // Silence that is not sent (DTX) is silence, too.
                track.level *= 0.85;
            }
        }
        for (room, mut levels) in rooms {
            levels.sort_by_key(|&(track, level)| (Reverse(level), track));
            levels.truncate(SPEAKERS);
            let before = self.speakers.get(&room).map(Vec::as_slice).unwrap_or_default();
            if before == levels {
                continue;
            }
            let named = levels.iter().map(|&(track, level)| (track, f32::from(level) / 20.0));
            self.events.push(Event::Speakers { room, levels: named.collect() });
            match levels.is_empty() {
                true => drop(self.speakers.remove(&room)),
                false => drop(self.speakers.insert(room, levels)),
            }
        }
    }

    /// Says which layers are sent and which are wanted, where that has changed.
    fn watch_layers(&mut self, now: Instant) {
        let mut waiting = Vec::new();
        for (at, track) in &mut self.tracks {
            track.rank(now);
            if track.guide_tap(now) {
                waiting.push(at);
            }
            let single = track.layers.len() < 2 && track.scalable().is_none();
            let sent = track.layers_sent(now);
            // Who sends one layer only is not asked to send fewer.
            let wanted = if single { Vec::new() } else { wanted(track, sent.len()) };
            let silent_yet = single && track.sent.is_empty() && !sent.contains(&true);
            let news = (sent != track.sent && !silent_yet, wanted != track.wanted);
            track.sent.clone_from(&sent);
            track.wanted.clone_from(&wanted);
            match (track.owner, news) {
                (Owner::Worker(owner), (_, true)) => {
                    let to = self.across.number();
                    let note = Note::Wanted { track: track.key, to, layers: wanted };
                    self.across.notify(owner, note);
                }
                (Owner::Worker(_), _) => {}
                (Owner::Peer(_), (is_sent, is_wanted)) => {
                    let key = track.key;
                    let sent = is_sent.then_some(Event::Sent { track: key, layers: sent });
                    let wanted = is_wanted.then_some(Event::Wanted { track: key, layers: wanted });
                    self.events.extend(sent.into_iter().chain(wanted));
                }
            }
        }
        waiting.into_iter().for_each(|track| self.ask_publisher(track, now));
    }
}

/// The rate of all that is shared out and the next step upward; `None` when everybody has what is there.
fn next_step(candidates: &[Candidate], shares: &[Option<u8>]) -> Option<BitRate> {
    let mut all = BitRate::default();
    let mut steps: Vec<(u8, BitRate)> = Vec::new();
    for (candidate, share) in candidates.iter().zip(shares) {
        let reached = candidate.layers.iter().position(|(layer, _)| Some(*layer) == *share);
        let rate = |place: usize| candidate.layers.get(place).map(|&(_, rate)| rate);
        let now = reached.and_then(rate).unwrap_or_default();
        all = all + now;
        let next = reached.map_or(0, |reached| reached + 1);
        let step = |next: BitRate| next + next.part(8) - now.min(next);
        steps.extend(rate(next).map(|next| (candidate.priority, step(next))));
    }
    let (_, step) = steps.into_iter().max_by_key(|&(priority, step)| (priority, Reverse(step)))?;
    Some(all + step)
}

/// Layers that the preference of any viewer allows, by their places; without viewers the worst, so that the next one sees something soon.
fn wanted(track: &Track, count: usize) -> Vec<bool> {
    let most = track.subscriptions.iter().filter_map(|it| match it.preference {
        LayerPreference::Auto => Some(usize::MAX),
        LayerPreference::Layer(layer) => Some(track.rank_of(layer)),
        LayerPreference::Off => None,
    });
    let recorded = track.tap.as_ref().map(|_| usize::MAX);
    let most = most.chain(recorded).max().unwrap_or(0);
    let elsewhere = |layer: usize| {
        track.mirrors.iter().any(|mirror| mirror.wanted.get(layer).is_some_and(|&wanted| wanted))
    };
    let layers = (0..=u8::MAX).take(count);
    layers.map(|layer| track.rank_of(layer) <= most || elsewhere(layer.into())).collect()
}

/// The name that ties our streams together (RFC 7022 §4.2 wants it not to say who we are).
const CNAME: &str = "switchboard";
