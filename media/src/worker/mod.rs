//! One worker: its rooms, peers and tracks, and the way of a packet through them. It owns no socket, thread or clock.
//!
//! Give it datagrams and the time, then take what it has to send with [`Worker::poll_output`] until there is no more. A packet is
//! opened once; when a batch is through, every viewer's packets are written one behind the other, so that they can leave
//! together.

mod across;
mod commands;
mod export;
mod stats;
#[cfg(test)]
mod tests;
mod timeouts;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use slab::Slab;

use self::across::Across;
pub(crate) use self::across::{Note, Packets};
pub use self::commands::Command;
pub use self::export::PeerState;
use crate::codec::Format;
use crate::counters::Counters;
use crate::dtls::{DtlsError, Identity, Keys, Progress};
use crate::ice::{Checked, Source, addressed_to};
use crate::layer::ClockPair;
use crate::peer::{Opened, Peer, Refused};
use crate::plan::{PayloadUse, PeerKey, RoomKey, TrackKey};
use crate::rtcp::{Rtcp, read};
use crate::rtp::{Values, is_rtcp};
use crate::stats::{PeerStats, noted};
use crate::succession::SourceState;
use crate::track::{Fresh, Track};

/// Something that happened to a peer or a track.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Keys are agreed on and media can flow.
    Connected {
        /// Who.
        peer: PeerKey,
        /// Since the peer was set up, in milliseconds.
        after_ms: u32,
    },
    /// The peer is gone and forgotten.
    Gone {
        /// Who.
        peer: PeerKey,
        /// Why.
        reason: Gone,
    },
    /// The publisher sends other layers than before.
    Sent {
        /// Which track.
        track: TrackKey,
        /// For each layer, in the order of the description.
        layers: Vec<bool>,
    },
    /// Viewers want other layers than before.
    Wanted {
        /// Which track.
        track: TrackKey,
        /// For each layer, in the order of the description.
        layers: Vec<bool>,
    },
    /// A viewer gets another layer.
    Switched {
        /// Who.
        peer: PeerKey,
        /// Of which track.
        track: TrackKey,
        /// The layer, by its place in the description.
        layer: u8,
    },
    /// A viewer's path no longer takes, or takes again, any layer of a track.
    Paused {
        /// Who.
        peer: PeerKey,
        /// Which track.
        track: TrackKey,
        /// Whether it is paused now.
        paused: bool,
    },
    /// The publisher's packets are coded otherwise than before.
    Coded {
        /// Which track.
        track: TrackKey,
        /// What with.
        format: Format,
    },
    /// How the streams of a peer fare: every five seconds, and once at its end.
    Stats(Box<PeerStats>),
    /// Who speaks, the loudest first.
    Speakers {
        /// Where.
        room: RoomKey,
        /// Tracks and their loudness, 0 to 1.
        levels: Vec<(TrackKey, f32)>,
    },
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    /// A command closed it.
    Closed,
    /// It said goodbye.
    Left,
    /// It was silent for 30 s.
    Silent,
    /// Its handshake failed.
    Handshake(DtlsError),
}

/// Datagrams for one destination, one behind the other.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// Where they go.
    pub to: Source,
    /// All of them.
    pub bytes: &'a [u8],
    /// How long each is.
    pub lengths: &'a [u16],
}

impl Transmit<'_> {
    /// Each datagram.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes;
        self.lengths.iter().map_while(move |&length| {
            let (datagram, after) = rest.split_at_checked(length.into())?;
            rest = after;
            Some(datagram)
        })
    }
}

/// See the module.
pub struct Worker {
    identity: Arc<Identity>,
    pub(crate) counters: Arc<Counters>,
    peers: Slab<Peer>,
    peer_of: HashMap<PeerKey, usize>,
    by_fragment: HashMap<String, usize>,
    by_source: HashMap<Source, usize>,
    tracks: Slab<Track>,
    track_of: HashMap<TrackKey, usize>,
    timers: BinaryHeap<Reverse<(Instant, PeerKey)>>,
    /// Tracks with packets that are to be passed on; the one of which that is being done, and which viewer is next.
    dirty: Vec<usize>,
    passing: Option<usize>,
    cursor: usize,
    burst: Vec<u8>,
    lengths: Vec<u16>,
    /// Datagrams that are not media, or are media sent again.
    control: Vec<u8>,
    control_queue: VecDeque<(Source, usize, u16)>,
    events: Vec<Event>,
    listened: Instant,
    speakers: HashMap<RoomKey, Vec<(TrackKey, u8)>>,
    scratch: Vec<u16>,
    began: Instant,
    across: Across,
}

impl Worker {
    /// A worker without peers.
    pub fn new(identity: Arc<Identity>, now: Instant) -> Self {
        Self {
            identity,
            counters: Arc::default(),
            peers: Slab::new(),
            peer_of: HashMap::new(),
            by_fragment: HashMap::new(),
            by_source: HashMap::new(),
            tracks: Slab::new(),
            track_of: HashMap::new(),
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            passing: None,
            cursor: 0,
            burst: Vec::new(),
            lengths: Vec::new(),
            control: Vec::new(),
            control_queue: VecDeque::new(),
            events: Vec::new(),
            listened: now,
            speakers: HashMap::new(),
            scratch: Vec::new(),
            began: now,
            across: Across::default(),
        }
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Whether a peer of this worker is reached at `source`.
    pub fn knows(&self, source: &Source) -> bool {
        self.by_source.contains_key(source)
    }

    /// What happened since this was asked last.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Takes a datagram; it is opened in place. False when it belongs to none of this worker's peers.
    pub fn handle_datagram(&mut self, source: Source, datagram: &mut [u8], now: Instant) -> bool {
        // RFC 7983.
        match datagram.first() {
            Some(128..=191) => {
                let Some(&place) = self.by_source.get(&source) else { return false };
                match is_rtcp(datagram) {
                    true => self.handle_rtcp(place, datagram, now),
                    false => self.handle_rtp(place, datagram, now),
                }
                true
            }
            Some(0..=3) => self.handle_check(source, datagram, now),
            Some(20..=63) => {
                let Some(&place) = self.by_source.get(&source) else { return false };
                self.handle_dtls(place, datagram, now);
                true
            }
            _ => {
                self.counters.dropped_unknown.add(1);
                true
            }
        }
    }

    fn handle_check(&mut self, source: Source, datagram: &[u8], now: Instant) -> bool {
        let Some(fragment) = addressed_to(datagram) else {
            self.counters.dropped_unknown.add(1);
            return true;
        };
        let Some(&place) = self.by_fragment.get(fragment) else { return false };
        let Some(peer) = self.peers.get_mut(place) else { return false };
        match peer.ice.handle(now, source, datagram) {
            Checked::Drop => self.counters.dropped_forged.add(1),
            Checked::Reply { bytes, forgotten } => {
                if let Some(gone) = forgotten
                    && self.by_source.get(&gone) == Some(&place)
                {
                    self.by_source.remove(&gone);
                }
                if peer.ice.knows(&source) {
                    self.by_source.insert(source, place);
                }
                self.queue(source, &bytes);
            }
        }
        true
    }

    fn handle_dtls(&mut self, place: usize, datagram: &[u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.plan.fingerprint.is_none() {
            // The right certificate is not known yet; the client repeats itself.
            return;
        }
        let progress = peer.dtls.read(now, datagram);
        self.send_handshake(place);
        match progress {
            Ok(Progress::None) => {}
            Ok(Progress::Closed) => return self.remove(place, Gone::Left, now),
            Ok(Progress::Keys(keys)) => self.secure(place, keys, now),
            Err(error) => return self.remove(place, Gone::Handshake(error), now),
        }
        self.schedule(place, now);
    }

    /// The handshake is finished: media can flow.
    fn secure(&mut self, place: usize, keys: Keys, now: Instant) {
        if let Some(peer) = self.peers.get_mut(place) {
            peer.secure(keys);
            let after = u32::try_from(peer.age(now).as_millis()).unwrap_or(u32::MAX);
            peer.connected = true;
            self.events.push(Event::Connected { peer: peer.key, after_ms: after });
            self.counters.peers_connected.add(1);
        }
        self.begin_showing(place, now);
    }

    /// Gives a peer its keys without a handshake.
    #[cfg(fuzzing)]
    pub(crate) fn establish(&mut self, peer: PeerKey, keys: Keys, now: Instant) {
        if let Some(&place) = self.peer_of.get(&peer) {
            self.secure(place, keys, now);
            self.schedule(place, now);
        }
    }

    fn send_handshake(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let path = peer.ice.path();
        let datagrams: Vec<BytesMut> = std::iter::from_fn(|| peer.dtls.poll_transmit()).collect();
        for datagram in datagrams {
            if let Some(path) = path {
                self.queue(path, &datagram);
            }
        }
    }

    fn handle_rtp(&mut self, place: usize, datagram: &mut [u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let opened = match peer.open(datagram) {
            Ok(opened) => opened,
            Err(refused) => return self.count_refused(refused),
        };
        self.counters.packets_received.add(1);
        self.counters.bytes_received.add(datagram.len() as u64);
        if self.pass_on(place, opened, datagram, now).is_none() {
            self.counters.dropped_malformed.add(1);
        }
    }

    /// Gives an opened packet to its track; `None` when it is cut short.
    fn pass_on(
        &mut self,
        place: usize,
        opened: Opened,
        datagram: &[u8],
        now: Instant,
    ) -> Option<()> {
        let packet = datagram.get(..opened.length)?;
        let Opened { header, encoding, .. } = opened;
        let peer = self.peers.get_mut(place)?;
        let receiver = peer.receivers.get(encoding.section)?;
        let plan = &receiver.plan;
        let values = Values::read(&header, packet, &plan.extensions);
        if !encoding.rtx {
            peer.last_media_ssrc = header.ssrc;
        }
        if let Some(sequence) = values.transport_sequence {
            peer.arrivals.note(sequence, now.saturating_duration_since(peer.begun), now);
        }
        let payload = header.payload(packet)?;
        let (coded, used) = plan.payload(header.payload_type)?;
        if (used == PayloadUse::Rtx) != encoding.rtx {
            return None;
        }
        let red = used == PayloadUse::Redundant;
        let (repeated, payload) = match (encoding.rtx, payload.split_first_chunk::<2>()) {
            (false, _) => (None, payload),
            (true, Some((&sequence, payload))) => (Some(u16::from_be_bytes(sequence)), payload),
            // Padding that probes the path.
            (true, None) => return Some(()),
        };
        let (begun, place_of_track) = (peer.begun, receiver.track);
        let needs_feedback = peer.arrivals.deadline();
        let track = self.tracks.get_mut(place_of_track)?;
        let state = match repeated {
            _ if payload.is_empty() => SourceState::Current,
            // What comes again is of the codec that its first sending had.
            Some(_) if coded.format != track.format => SourceState::Late,
            Some(_) => SourceState::Current,
            None => track.format_state(encoding.layer, &header, coded.format, now),
        };
        let payload = match state {
            SourceState::Current | SourceState::Begins => payload,
            // It is counted as received, and to viewers it is what padding is.
            SourceState::Late => {
                self.counters.dropped_codec.add(1);
                &[]
            }
        };
        if state == SourceState::Begins {
            let (format, sets) = (coded.format, Arc::clone(&coded.parameter_sets));
            self.recode(place_of_track, format, sets, now);
        }
        let track = self.tracks.get_mut(place_of_track)?;
        let was_clean = track.fresh.is_empty();
        let taken =
            track.take(encoding.layer, (&header, &values, payload), repeated, red, (begun, now));
        if was_clean && !track.fresh.is_empty() {
            self.dirty.push(place_of_track);
        }
        if let (Some(number), true) = (taken.kept, track.tap.is_some()) {
            track.record(encoding.layer, number);
        }
        if let (Some(number), false) = (taken.kept.or(taken.padding), track.mirrors.is_empty()) {
            let packet = (&header, &values, payload);
            let lost = self.across.hand_over(track, encoding.layer, packet, number.wire(), red);
            self.counters.dropped_full.add(lost);
        }
        let at_once = (taken.begins || state == SourceState::Begins).then_some(now);
        for at in [at_once, taken.asks, needs_feedback].into_iter().flatten() {
            self.schedule(place, at);
        }
        Some(())
    }

    fn count_refused(&self, refused: Refused) {
        match refused {
            Refused::Malformed => self.counters.dropped_malformed.add(1),
            Refused::Replayed => self.counters.dropped_replayed.add(1),
            Refused::Forged => self.counters.dropped_forged.add(1),
            Refused::Unknown => self.counters.dropped_unannounced.add(1),
        }
    }

    fn handle_rtcp(&mut self, place: usize, datagram: &mut [u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let length = match peer.open_rtcp(datagram) {
            Ok(length) => length,
            Err(refused) => return self.count_refused(refused),
        };
        let mut narrower = false;
        let mut wanted: Vec<(usize, u16)> = Vec::new();
        let mut keyframes: Vec<usize> = Vec::new();
        let (tracks, across) = (&mut self.tracks, &mut self.across);
        read(datagram.get(..length).unwrap_or_default(), |said| {
            match noted(peer, said, now) {
                Rtcp::SenderReport { ssrc, ntp, rtp } => {
                    let clock = ClockPair { ntp, rtp, at: now };
                    for receiver in &peer.receivers {
                        let Some(track) = tracks.get_mut(receiver.track) else { continue };
                        let Some(layer) = track.note_clock(ssrc, clock) else { continue };
                        for mirror in &track.mirrors {
                            across.notify(
                                mirror.worker,
                                Note::Clock { track: track.key, layer, clock },
                            );
                        }
                    }
                }
                Rtcp::KeyframeRequest { ssrc } => keyframes.extend(peer.sender_of(ssrc)),
                Rtcp::FullIntraRequest { from, ssrc, sequence } => {
                    keyframes.extend(peer.sender_of(ssrc).filter(|&sender_at| {
                        peer.senders
                            .get_mut(sender_at)
                            .is_some_and(|it| it.stats.is_new(from, sequence))
                    }));
                }
                Rtcp::Nack { ssrc, sequence } => {
                    if let Some(sender_at) = peer.sender_of(ssrc) {
                        wanted.push((sender_at, sequence));
                    }
                }
                Rtcp::Remb { bitrate } => {
                    if let Some(outbound) = &mut peer.outbound {
                        outbound.bandwidth.remb(bitrate, now);
                    }
                }
                Rtcp::Twcc(twcc) => {
                    if let Some(outbound) = &mut peer.outbound {
                        narrower |= outbound.bandwidth.feedback(&twcc, now);
                    }
                }
                // What viewers report of loss is a number to show; what is believed of the path comes by transport-wide feedback.
                Rtcp::Report(_) | Rtcp::Bye { .. } => {}
            }
        });
        if narrower {
            // What no longer fits is not to wait for its turn.
            peer.allocated = Some(now);
            self.schedule(place, now);
        }
        keyframes.into_iter().for_each(|sender_at| self.keyframe_wanted(place, sender_at, now));
        self.send_again(place, &wanted, now);
    }

    /// A viewer cannot go on without a keyframe.
    fn keyframe_wanted(&mut self, viewer: usize, sender_at: usize, now: Instant) {
        self.counters.keyframes_wanted.add(1);
        let Some(at) = self.track_shown(viewer, sender_at) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let sender = self.peers.get(viewer).and_then(|peer| peer.senders.get(sender_at));
        let subscription = sender.and_then(|it| track.subscriptions.get(it.subscription?));
        let current = subscription.and_then(|it| it.current.or(it.target));
        if let Some(stream) = current.and_then(|layer| track.stream_of(layer)) {
            stream.want_keyframe();
            self.ask_publisher(at, now);
        }
    }

    fn track_shown(&self, viewer: usize, sender_at: usize) -> Option<usize> {
        let key = self.peers.get(viewer)?.senders.get(sender_at)?.track?;
        self.track_of.get(&key).copied()
    }

    /// Sends what a viewer missed once more.
    fn send_again(&mut self, viewer: usize, wanted: &[(usize, u16)], now: Instant) {
        for &(sender_at, sequence) in wanted {
            let sent = self.send_one_again(viewer, sender_at, sequence, now);
            self.counters.packets_resent.add(u64::from(sent.unwrap_or(false)));
        }
    }

    fn send_one_again(
        &mut self,
        viewer: usize,
        sender_at: usize,
        sequence: u16,
        now: Instant,
    ) -> Option<bool> {
        let track = self.track_shown(viewer, sender_at)?;
        let track = self.tracks.get(track)?;
        let format = track.format;
        let peer = self.peers.get_mut(viewer)?;
        let path = peer.ice.path()?;
        let (sender, outbound) = (peer.senders.get_mut(sender_at)?, peer.outbound.as_mut()?);
        let sent = sender.next.latest(sequence);
        let subscription = track.subscriptions.get(sender.subscription?)?;
        let (epoch, origin) = subscription.origin(sent)?;
        let kept = track.history(epoch.layer)?.kept(origin)?;
        let looked = epoch.rewritten(kept.meta)?;
        let codec = *sender.plan.takes(format)?;
        let begin = self.control.len();
        let written = sender.rewrite_lost(outbound, codec, &kept, &looked, now, &mut self.control);
        if written {
            let length = u16::try_from(self.control.len() - begin).unwrap_or(u16::MAX);
            self.control_queue.push_back((path, begin, length));
        }
        Some(written)
    }

    /// Queues a datagram that is not media.
    fn queue(&mut self, to: Source, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        if length > 0 {
            self.control_queue.push_back((to, self.control.len(), length));
            self.control.extend_from_slice(datagram);
        }
    }

    /// The next datagrams to send; `None` when there is nothing left, and not before.
    pub fn poll_output(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if let Some((to, begin, length)) = self.control_queue.pop_front() {
            // What follows for the same destination leaves together with it.
            self.lengths.clear();
            self.lengths.push(length);
            let mut end = begin + usize::from(length);
            let follows =
                |next: &mut (Source, usize, u16), end: usize| next.0 == to && next.1 == end;
            while let Some((.., length)) =
                self.control_queue.pop_front_if(|next| follows(next, end))
            {
                self.lengths.push(length);
                end += usize::from(length);
            }
            let bytes = self.control.get(begin..end).unwrap_or_default();
            return Some(Transmit { to, bytes, lengths: &self.lengths });
        }
        self.control.clear();
        let to = self.next_burst(now)?;
        Some(Transmit { to, bytes: &self.burst, lengths: &self.lengths })
    }

    /// The next track whose packets are to be passed on now.
    fn next_track(&mut self, now: Instant) -> Option<usize> {
        let tracks = &self.tracks;
        let ready = |&place: &usize| {
            let ready_at = tracks.get(place).and_then(Track::ready_at);
            ready_at.is_none_or(|at| at <= now)
        };
        let at = self.dirty.iter().rposition(ready)?;
        self.cursor = 0;
        self.passing = Some(self.dirty.swap_remove(at));
        self.passing
    }

    /// Writes the packets of one track for the next of its viewers.
    fn next_burst(&mut self, now: Instant) -> Option<Source> {
        loop {
            let place = match self.passing {
                Some(place) => place,
                None => self.next_track(now)?,
            };
            let Some(track) = self.tracks.get_mut(place) else {
                self.passing = None;
                continue;
            };
            let scalable = track.scalable().is_some();
            let Some(subscription) = track.subscriptions.get_mut(self.cursor) else {
                track.fresh.clear();
                self.passing = None;
                continue;
            };
            self.cursor += 1;
            if subscription.current.is_none() && subscription.target.is_none() {
                continue;
            }
            let Some(peer) = self.peers.get_mut(subscription.viewer) else { continue };
            let Some(path) = peer.ice.path() else { continue };
            let Some(outbound) = peer.outbound.as_mut() else { continue };
            let Some(sender) = peer.senders.get_mut(subscription.sender_at) else { continue };
            let Some(codec) = subscription.codec else {
                self.counters.dropped_codec.add(track.fresh.len() as u64);
                continue;
            };
            self.burst.clear();
            self.lengths.clear();
            for &Fresh { layer, number, padding } in &track.fresh {
                if padding {
                    subscription.pass_over(layer, number);
                    continue;
                }
                let concerns = [subscription.current, subscription.target].contains(&Some(layer));
                if !concerns && !scalable {
                    continue;
                }
                let Some(stream) = track.layers.get(usize::from(layer)) else { continue };
                let Some(last) = stream.history.kept(number) else { continue };
                let first = subscription.begin_at(layer, last.meta);
                for number in first.until(number.next()) {
                    let Some(kept) = stream.history.kept(number) else { continue };
                    let taken = (kept.meta, last.meta.picture.keyframe);
                    let (rewritten, switched) =
                        subscription.take(layer, taken, track.format.codec, &track.layers, sender);
                    if switched && (scalable || track.layers.len() > 1) {
                        let layer = subscription.current.unwrap_or(layer);
                        let (peer, track) = (peer.key, track.key);
                        self.events.push(Event::Switched { peer, track, layer });
                    }
                    let Some(rewritten) = rewritten else { continue };
                    let begin = self.burst.len();
                    if sender.write(outbound, codec, &kept, &rewritten, now, &mut self.burst) {
                        let length = self.burst.len() - begin;
                        self.lengths.push(u16::try_from(length).unwrap_or(u16::MAX));
                    }
                }
            }
            if !self.lengths.is_empty() {
                self.counters.packets_sent.add(self.lengths.len() as u64);
                self.counters.bytes_sent.add(self.burst.len() as u64);
                return Some(path);
            }
        }
    }

    /// Sees to it that the peer's timers are looked at, at the latest at `at`.
    fn schedule(&mut self, place: usize, at: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.scheduled.is_none_or(|scheduled| at < scheduled) {
            peer.scheduled = Some(at);
            self.timers.push(Reverse((at, peer.key)));
        }
    }

    /// What a track is coded with.
    pub fn format(&self, track: TrackKey) -> Option<Format> {
        self.tracks.get(*self.track_of.get(&track)?).map(|track| track.format)
    }
}
