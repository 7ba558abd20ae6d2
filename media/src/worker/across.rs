//! A room whose viewers live on several workers: a track's packets, opened once by the worker of its publisher (its *owner*), go to
//! the others in plain text. They keep and forward them like packets of their own, and leave to it what only its worker can do:
//! ask the publisher for keyframes.

use std::collections::HashMap;
use std::time::Instant;

use super::Worker;
use crate::codec::Format;
use crate::layer::ClockPair;
use crate::plan::{RoomKey, TrackKey};
use crate::rtp::{Header, Values};
use crate::track::{Mirror, Owner, Track};

/// What one worker notifies another of.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// Viewers of the worker `to` are to get a track that lives here.
    Want { track: TrackKey, to: usize },
    /// They no longer are.
    Leave { track: TrackKey, to: usize },
    /// What viewers there wish for, the lowest layer first.
    Wanted { track: TrackKey, to: usize, layers: Vec<bool> },
    /// Viewers there wait for a keyframe.
    Keyframe { track: TrackKey, layer: usize },
    /// What the track that was wanted is; its packets follow.
    Begin { track: TrackKey, room: RoomKey, format: Format, muted: bool, layers: Vec<Known> },
    /// It is made of other layers from now on, or coded otherwise.
    Coded { track: TrackKey, format: Format, layers: Vec<Known> },
    /// A sender report of the publisher.
    Clock { track: TrackKey, layer: usize, clock: ClockPair },
    /// Whether it is passed on.
    Mute { track: TrackKey, muted: bool },
    /// There is no such track, or no longer.
    End { track: TrackKey },
}

/// What is known of a layer that others know already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    ssrc: Option<u32>,
    clock: Option<ClockPair>,
}

impl Known {
    fn of(track: &Track) -> Vec<Self> {
        let layers = track.layers.iter();
        layers.map(|layer| Self { ssrc: layer.ssrc(), clock: layer.clock }).collect()
    }

    fn put(layers: &[Self], track: &mut Track) {
        for (layer, known) in track.layers.iter_mut().zip(layers) {
            layer.comes_from(known.ssrc);
            layer.clock = known.clock;
        }
    }
}

/// A packet of a track that lives elsewhere, without its bytes.
#[derive(Clone, Copy, Debug)]
struct Packet {
    track: TrackKey,
    layer: u8,
    format: Format,
    header: Header,
    red: bool,
    audio_level: Option<u8>,
    orientation: Option<u8>,
    playout_delay: Option<[u8; 3]>,
    dependency: usize,
    payload: usize,
}

/// Packets for another worker, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    packets: Vec<Packet>,
    bytes: Vec<u8>,
}

impl Packets {
    /// Bytes that are handed over together at most.
    const MOST: usize = 1 << 20;

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// All of them; what comes next is taken to be as much.
    pub(crate) fn take(&mut self) -> Self {
        let next = Self {
            packets: Vec::with_capacity(self.packets.len()),
            bytes: Vec::with_capacity(self.bytes.len()),
        };
        std::mem::replace(self, next)
    }

    fn push(&mut self, packet: Packet, dependency: &[u8], payload: &[u8]) -> bool {
        if self.bytes.len() + dependency.len() + payload.len() > Self::MOST {
            return false;
        }
        self.packets.push(packet);
        self.bytes.extend_from_slice(dependency);
        self.bytes.extend_from_slice(payload);
        true
    }
}

/// What a worker has with the others.
#[derive(Debug, Default)]
pub(super) struct Across {
    number: usize,
    notes: Vec<(usize, Note)>,
    packets: Vec<Packets>,
    /// Owners of the tracks that are shown here and live elsewhere, whether they have begun or not.
    owners: HashMap<TrackKey, usize>,
}

impl Across {
    pub(super) fn notify(&mut self, worker: usize, note: Note) {
        self.notes.push((worker, note));
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Where a track lives that is shown here and lives elsewhere.
    pub(super) fn lives_at(&self, track: TrackKey) -> Option<(TrackKey, usize)> {
        self.owners.get(&track).map(|&owner| (track, owner))
    }

    pub(super) fn forget(&mut self, track: TrackKey) {
        self.owners.remove(&track);
    }

    /// Lays a packet aside for every other worker that shows its track; returns for how many there was no room.
    pub(super) fn hand_over(
        &mut self,
        track: &Track,
        layer: u8,
        (header, values, payload): (&Header, &Values<'_>, &[u8]),
        sequence: u16,
        red: bool,
    ) -> u64 {
        let dependency = values.dependency.unwrap_or_default();
        // Others see a retransmission as the packet that it restores.
        let stream = track.layers.get(usize::from(layer));
        let ssrc = stream.and_then(crate::layer::Layer::ssrc).unwrap_or(header.ssrc);
        let packet = Packet {
            track: track.key,
            layer,
            format: track.format,
            header: header.restored(ssrc, sequence),
            red,
            audio_level: values.audio_level,
            orientation: values.orientation,
            playout_delay: values.playout_delay,
            dependency: dependency.len(),
            payload: payload.len(),
        };
        let mut lost = 0;
        for mirror in &track.mirrors {
            if self.packets.len() <= mirror.worker {
                self.packets.resize_with(mirror.worker + 1, Packets::default);
            }
            let Some(packets) = self.packets.get_mut(mirror.worker) else { continue };
            lost += u64::from(!packets.push(packet, dependency, payload));
        }
        lost
    }
}

impl Worker {
    /// Which of several it is.
    pub(crate) fn is_number(&mut self, number: usize) {
        self.across.number = number;
    }

    /// What others are to be notified of.
    pub(crate) fn notes(&mut self) -> std::vec::Drain<'_, (usize, Note)> {
        self.across.notes.drain(..)
    }

    /// Packets for others, by the number of their worker.
    pub(crate) fn packets(&mut self) -> impl Iterator<Item = (usize, &mut Packets)> {
        self.across.packets.iter_mut().enumerate().filter(|(_, packets)| packets.len() > 0)
    }

    /// Viewers here are to be shown a track that lives with another worker.
    pub(crate) fn expect_track(&mut self, track: TrackKey, owner: usize) {
        if owner != self.across.number && self.across.owners.insert(track, owner).is_none() {
            let to = self.across.number;
            self.across.notify(owner, Note::Want { track, to });
        }
    }

    /// Takes a note of another worker.
    pub(crate) fn handle_note(&mut self, note: Note, now: Instant) {
        match note {
            Note::Want { track, to } => self.begin_mirror(track, to),
            Note::Leave { track, to } => {
                if let Some(track) = self.track_mut(track) {
                    track.mirrors.retain(|mirror| mirror.worker != to);
                }
            }
            Note::Wanted { track, to, layers } => {
                let mirrors = self.track_mut(track).map(|track| track.mirrors.iter_mut());
                for mirror in mirrors.into_iter().flatten().filter(|it| it.worker == to) {
                    mirror.wanted.clone_from(&layers);
                }
            }
            Note::Keyframe { track, layer } => {
                let Some(&at) = self.track_of.get(&track) else { return };
                let layer = self.tracks.get_mut(at).and_then(|it| it.layers.get_mut(layer));
                layer.into_iter().for_each(crate::layer::Layer::want_keyframe);
                self.ask_publisher(at, now);
            }
            Note::Begin { track, room, format, muted, layers } => {
                self.mirror(track, room, format, muted, &layers, now);
            }
            Note::Coded { track, format, layers } => {
                self.recode_mirror(track, format, &layers, now)
            }
            Note::Clock { track, layer, clock } => {
                let layer = self.track_mut(track).and_then(|it| it.layers.get_mut(layer));
                if let Some(layer) = layer {
                    layer.clock = Some(clock);
                }
            }
            Note::Mute { track, muted } => self.mute(track, muted, now),
            Note::End { track } => {
                self.across.forget(track);
                self.end_track(track);
            }
        }
    }

    fn track_mut(&mut self, track: TrackKey) -> Option<&mut Track> {
        self.tracks.get_mut(*self.track_of.get(&track)?)
    }

    /// From now on another worker gets a track's packets.
    fn begin_mirror(&mut self, key: TrackKey, to: usize) {
        let Some(track) = self.track_mut(key) else {
            return self.across.notify(to, Note::End { track: key });
        };
        let wanted = track.wanted.clone();
        track.mirrors.retain(|mirror| mirror.worker != to);
        track.mirrors.push(Mirror { worker: to, wanted });
        let layers = Known::of(track);
        let (room, format, muted) = (track.room, track.format, track.muted);
        self.across.notify(to, Note::Begin { track: key, room, format, muted, layers });
    }

    /// Has the other workers that show a track know what it is made of now.
    pub(super) fn notify_mirrors(&mut self, at: usize) {
        let Some(track) = self.tracks.get(at) else { return };
        for mirror in &track.mirrors {
            let (layers, format) = (Known::of(track), track.format);
            self.across.notify(mirror.worker, Note::Coded { track: track.key, format, layers });
        }
    }

    /// A track that lives elsewhere is made of other layers, or coded otherwise.
    fn recode_mirror(&mut self, key: TrackKey, format: Format, layers: &[Known], now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let remade = track.layers.len() != layers.len();
        if remade {
            track.remake_layers(layers.len());
            Known::put(layers, track);
        }
        // Packets that name the format may have been here first.
        if remade || track.format != format {
            self.recode(at, format, [].into(), now);
        }
    }

    /// A track that lives elsewhere and that viewers here wait for.
    fn mirror(
        &mut self,
        key: TrackKey,
        room: RoomKey,
        format: Format,
        muted: bool,
        layers: &[Known],
        now: Instant,
    ) {
        let Some(&owner) = self.across.owners.get(&key) else { return };
        if self.track_of.contains_key(&key) {
            return;
        }
        let mut track = Track::new(key, room, Owner::Worker(owner), format, layers.len());
        track.muted = muted;
        Known::put(layers, &mut track);
        let at = self.tracks.insert(track);
        self.track_of.insert(key, at);
        let waiting: Vec<(usize, usize)> = self
            .peers
            .iter()
            .flat_map(|(place, peer)| {
                peer.shown().map(move |(sender_at, shown)| (place, sender_at, shown))
            })
            .filter(|&(.., shown)| shown == key)
            .map(|(place, sender_at, _)| (place, sender_at))
            .collect();
        for (place, sender_at) in waiting {
            self.attach(place, sender_at, at, now);
            self.begin_showing(place, now);
        }
    }

    /// Takes packets that another worker has opened.
    pub(crate) fn handle_packets(&mut self, packets: &Packets, now: Instant) {
        let mut rest = packets.bytes.as_slice();
        let began = self.began;
        for packet in &packets.packets {
            let Some((dependency, after)) = rest.split_at_checked(packet.dependency) else {
                return;
            };
            let Some((payload, after)) = after.split_at_checked(packet.payload) else { return };
            rest = after;
            let Some(&at) = self.track_of.get(&packet.track) else { continue };
            if self.tracks.get(at).is_some_and(|track| track.format != packet.format) {
                self.recode(at, packet.format, [].into(), now);
            }
            let Some(track) = self.tracks.get_mut(at) else { continue };
            let values = Values {
                audio_level: packet.audio_level,
                orientation: packet.orientation,
                playout_delay: packet.playout_delay,
                dependency: (!dependency.is_empty()).then_some(dependency),
                ..Values::default()
            };
            let was_clean = track.fresh.is_empty();
            let packet_of = (&packet.header, &values, payload);
            track.take(packet.layer, packet_of, None, packet.red, (began, now));
            if was_clean && !track.fresh.is_empty() {
                self.dirty.push(at);
            }
        }
    }

    /// Has the publisher of a track asked for what is wanted of it.
    pub(super) fn ask_publisher(&mut self, at: usize, now: Instant) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        match track.owner {
            Owner::Peer(place) => self.schedule(place, now),
            Owner::Worker(_) if !track.has_use_for_keyframes() => {}
            Owner::Worker(owner) => {
                let key = track.key;
                for (layer, stream) in track.layers.iter_mut().enumerate() {
                    if stream.asks_for_keyframe(now) {
                        self.across.notify(owner, Note::Keyframe { track: key, layer });
                    }
                }
            }
        }
    }

    /// Looks after the tracks that live elsewhere: what is wanted there is asked for again until it comes, and what no viewer is
    /// shown any more is given back.
    pub(super) fn tend_mirrors(&mut self, now: Instant) {
        if self.across.owners.is_empty() {
            return;
        }
        let mirrored: Vec<(TrackKey, usize)> =
            self.across.owners.iter().map(|(&track, &owner)| (track, owner)).collect();
        for (key, owner) in mirrored {
            let Some(&at) = self.track_of.get(&key) else { continue };
            let Some(track) = self.tracks.get_mut(at) else { continue };
            track.layers.iter_mut().for_each(crate::layer::Layer::forgive);
            if !track.subscriptions.is_empty() {
                self.ask_publisher(at, now);
                continue;
            }
            self.across.forget(key);
            let to = self.across.number;
            self.across.notify(owner, Note::Leave { track: key, to });
            self.end_track(key);
        }
    }
}
