//! A published track: its layers, who gets it, and which packets are to be passed on.

use std::time::{Duration, Instant};

use crate::codec::{Format, Kind};
use crate::history::{History, Meta};
use crate::layer::{ClockPair, Layer, Scalable};
use crate::plan::{RoomKey, TrackKey};
use crate::rtp::{Header, Values};
use crate::subscription::Subscription;
use crate::tap::Fitted;

/// How long the packets of a picture wait for its last one, so that they leave together.
const HOLD: Duration = Duration::from_millis(1);

/// Where a track comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    /// A peer of this worker, by its place.
    Peer(usize),
    /// Another worker, which has its publisher.
    Worker(usize),
}

/// A worker on which a track is shown, too, and what is wished for there.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) worker: usize,
    pub(crate) wanted: Vec<bool>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) key: TrackKey,
    pub(crate) room: RoomKey,
    pub(crate) owner: Owner,
    pub(crate) format: Format,
    pub(crate) layers: Vec<Layer>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Other workers that show it.
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) muted: bool,
    /// What came in and is to be passed on: layer and number.
    pub(crate) fresh: Vec<(u8, u64)>,
    /// Until when the rest of their picture is waited for.
    held_until: Option<Instant>,
    /// Layers that were sent when this was last looked at, and those that somebody wanted.
    pub(crate) sent: Vec<bool>,
    pub(crate) wanted: Vec<bool>,
    /// Loudness, 0 to 1.
    pub(crate) level: f32,
    /// Who records it.
    pub(crate) tap: Option<Fitted>,
}

/// What a packet did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Taken {
    /// It is to be passed on, under this number.
    pub(crate) kept: Option<u64>,
    pub(crate) lacks: bool,
}

impl Track {
    pub(crate) fn new(
        key: TrackKey,
        room: RoomKey,
        owner: Owner,
        format: Format,
        layers: usize,
    ) -> Self {
        let count = layers.max(1);
        Self {
            key,
            room,
            owner,
            format,
            layers: (0..count).map(|_| Layer::new()).collect(),
            subscriptions: Vec::new(),
            mirrors: Vec::new(),
            muted: false,
            fresh: Vec::new(),
            held_until: None,
            sent: vec![false; count],
            wanted: vec![true; count],
            level: 0.0,
            tap: None,
        }
    }

    /// Takes a packet of `layer`, in plain text. `repeated` is the sequence number that a retransmission restores.
    pub(crate) fn take(
        &mut self,
        layer: u8,
        (header, values, payload): (&Header, &Values<'_>, &[u8]),
        repeated: Option<u16>,
        red: bool,
        (begun, now): (Instant, Instant),
    ) -> Taken {
        let Some(stream) = self.layers.get_mut(usize::from(layer)) else { return Taken::default() };
        let sequence = repeated.unwrap_or(header.sequence);
        if repeated.is_none() {
            stream.ssrc.get_or_insert(header.ssrc);
        }
        let arrival = stream.arrive(sequence, payload.len(), repeated.is_some(), now);
        stream.stats.arrived(arrival, payload.len(), repeated.is_some());
        let lacks = stream.lacks();
        let crate::layer::Arrival::New(continued) = arrival else {
            return Taken { kept: None, lacks };
        };
        if repeated.is_none() {
            let since = now.saturating_duration_since(begun);
            stream.time(header.timestamp, self.format.codec.clock(), since);
        }
        if payload.is_empty() || self.muted {
            return Taken { kept: None, lacks };
        }
        let mut picture = crate::codec::look(self.format.codec, payload, values.dependency);
        let described = values.dependency.filter(|_| self.format.codec.kind() == Kind::Video);
        let described = described.and_then(|it| stream.describe(it, payload.len(), now));
        if let Some((frame, begins)) = described {
            (picture.frame, picture.keyframe) = (Some(frame), begins);
        }
        if picture.keyframe {
            stream.keyframe_begins();
        }
        let meta = Meta {
            sequence: continued,
            timestamp: header.timestamp,
            marker: header.marker,
            picture,
            red,
            audio_level: values.audio_level,
            orientation: values.orientation,
            playout_delay: values.playout_delay,
            arrived: now,
        };
        let kept = stream.history.keep(meta, values.dependency.unwrap_or_default(), payload);
        if kept {
            let whole = self.format.codec.kind() == Kind::Audio || header.marker;
            if whole {
                self.held_until = Some(now);
            } else if self.fresh.is_empty() {
                self.held_until = Some(now + HOLD);
            }
            self.fresh.push((layer, continued));
        }
        if let Some(level) = values.audio_level {
            self.hear(level);
        }
        Taken { kept: kept.then_some(continued), lacks }
    }

    /// When its packets are to be passed on: when a picture is whole, or has been waited for long enough.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.held_until.filter(|_| !self.fresh.is_empty())
    }

    /// Follows the loudness that the publisher states, in -dBov with a voice flag (RFC 6464).
    fn hear(&mut self, level: u8) {
        let loud = (127.0 - f32::from(level & 0x7F)) / 127.0;
        let weight = if loud > self.level { 0.3 } else { 0.05 };
        self.level += (loud - self.level) * weight;
    }

    /// The history of a layer.
    pub(crate) fn history(&self, layer: u8) -> Option<&History> {
        self.layers.get(usize::from(layer)).map(|layer| &layer.history)
    }

    /// What the track is made of when its layers come in one stream.
    pub(crate) fn scalable(&self) -> Option<&Scalable> {
        let [layer] = self.layers.as_slice() else { return None };
        layer.scalable.as_deref().filter(|scalable| scalable.structure.levels() > 1)
    }

    /// Whether each layer is sent, the lowest first.
    pub(crate) fn layers_sent(&self, now: Instant) -> Vec<bool> {
        match self.scalable() {
            Some(scalable) => scalable.sent(now).collect(),
            None => self.layers.iter().map(|layer| layer.is_sent(now)).collect(),
        }
    }

    /// The stream that brings a layer.
    pub(crate) fn stream_of(&mut self, layer: u8) -> Option<&mut Layer> {
        let place = if self.scalable().is_some() { 0 } else { usize::from(layer) };
        self.layers.get_mut(place)
    }

    /// Layers that the publisher sends, the lowest first, with their bits in a second.
    pub(crate) fn offers(&self, now: Instant) -> Vec<(u8, u64)> {
        const LEAST: u64 = 30_000;
        if let Some(scalable) = self.scalable() {
            return scalable.offers(now).map(|(level, bits)| (level, bits.max(LEAST))).collect();
        }
        let sent = |(place, layer): (u8, &Layer)| {
            layer.is_sent(now).then(|| (place, layer.bitrate(now).max(LEAST)))
        };
        (0..).zip(&self.layers).filter_map(sent).collect()
    }

    /// Asks for a keyframe of every layer that somebody waits for.
    pub(crate) fn want_keyframes(&mut self) {
        if self.format.codec.kind() == Kind::Audio || self.muted {
            return;
        }
        let waiting = self.subscriptions.iter().filter(|it| it.waits());
        let targets: Vec<u8> = waiting.filter_map(|it| it.target).collect();
        for target in targets {
            if let Some(stream) = self.stream_of(target) {
                stream.want_keyframe();
            }
        }
    }

    /// Takes a sender report of one of the layers; returns which.
    pub(crate) fn note_clock(&mut self, ssrc: u32, clock: ClockPair) -> Option<usize> {
        let at = self.layers.iter().position(|layer| layer.ssrc == Some(ssrc))?;
        self.layers.get_mut(at)?.clock = Some(clock);
        if let (Some(tap), Ok(layer)) = (&self.tap, u8::try_from(at)) {
            tap.clock(layer, clock);
        }
        Some(at)
    }

    /// Lets the recorder have a packet that was kept.
    pub(crate) fn record(&mut self, layer: u8, number: u64) {
        let Some(tap) = &mut self.tap else { return };
        let Some(stream) = self.layers.get(usize::from(layer)) else { return };
        let Some(kept) = stream.history.kept(number) else { return };
        let one = self.layers.len() == 1;
        if one {
            tap.target = Some(0);
        }
        tap.packet(layer, one || kept.meta.picture.keyframe, stream.clock, &kept);
    }

    /// Has the recorder get the best stream that there is; true when it waits for a keyframe of it.
    pub(crate) fn guide_tap(&mut self, now: Instant) -> bool {
        let best =
            (0..).zip(&self.layers).filter(|(_, layer)| layer.is_sent(now)).map(|it| it.0).last();
        let Some(tap) = &mut self.tap else { return false };
        tap.target = best.or(tap.target);
        let (waits, target) = (tap.waits(), tap.target);
        if !waits || self.format.codec.kind() == Kind::Audio {
            return false;
        }
        let stream = target.and_then(|target| self.layers.get_mut(usize::from(target)));
        stream.map(Layer::want_keyframe).is_some()
    }

    /// The subscription of a viewer's line.
    pub(crate) fn subscription(&self, viewer: usize, line: usize) -> Option<&Subscription> {
        self.subscriptions.iter().find(|it| it.viewer == viewer && it.line == line)
    }

    /// The same, to be changed.
    pub(crate) fn subscription_mut(
        &mut self,
        viewer: usize,
        line: usize,
    ) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|it| it.viewer == viewer && it.line == line)
    }
}
