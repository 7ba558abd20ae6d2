//! One worker: its rooms, peers and tracks, and the way of a packet through them. It owns no socket, thread or clock.
//!
//! Give it datagrams and the time, then take what it has to send with [`Worker::poll_output`] until there is no more. A packet is
//! opened once; when a batch is through, every viewer's packets are written one behind the other, so that they can leave
//! together.

mod across;
mod command;
mod commands;
mod event;
mod export;
mod feedback;
mod output;
mod stats;
mod taps;
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
pub use self::command::Command;
pub use self::event::{Event, Gone};
pub use self::export::PeerState;
pub use self::output::Transmit;
use crate::codec::Format;
use crate::counters::Counters;
use crate::dtls::{Identity, Keys, Progress};
use crate::ice::{Checked, Source, addressed_to};
use crate::peer::{Opened, Peer, Refused};
use crate::plan::{PayloadUse, PeerKey, RoomKey, TrackKey};
use crate::rtp::{Values, is_rtcp};
use crate::succession::SourceState;
use crate::track::Track;

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

    /// Queues a datagram that is not media.
    fn queue(&mut self, to: Source, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        if length > 0 {
            self.control_queue.push_back((to, self.control.len(), length));
            self.control.extend_from_slice(datagram);
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
