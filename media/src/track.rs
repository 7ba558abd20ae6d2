//! A published track: its layers, who gets it, and which packets are to be passed on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::{Format, Kind};
use crate::history::{History, Meta};
use crate::layer::{ClockPair, Layer, Scalable};
use crate::numbers::{BitRate, Extended};
use crate::plan::{RoomKey, TrackKey};
use crate::rtp::{Header, Values};
use crate::subscription::{LayerPreference, Subscription};
use crate::succession::{SourceState, Succession};
use crate::tap::{Brought, Fitted};

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
    formats: Succession<Format>,
    /// Parameter sets of H.264 that its description has.
    pub(crate) parameter_sets: Arc<[Vec<u8>]>,
    /// In the order of the description.
    pub(crate) layers: Vec<Layer>,
    /// Places of the layers by what is measured of them, the worst first.
    order: Vec<u8>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Other workers that show it.
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) muted: bool,
    /// What came in and is to be passed on.
    pub(crate) fresh: Vec<Fresh>,
    /// Until when the rest of their picture is waited for.
    held_until: Option<Instant>,
    /// Layers that were sent when this was last looked at, and those that a viewer wanted.
    pub(crate) sent: Vec<bool>,
    pub(crate) wanted: Vec<bool>,
    /// Loudness, 0 to 1.
    pub(crate) level: f32,
    /// Who records it.
    pub(crate) tap: Option<Fitted>,
    /// What a recorder needs that comes later.
    pub(crate) brought: Brought,
}

/// A packet that came in, by its layer and its continued number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) layer: u8,
    pub(crate) number: Extended,
    /// It is padding alone: nothing to be passed on, and no hole in the numbers of viewers.
    pub(crate) padding: bool,
}

/// What a packet did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Taken {
    /// It is to be passed on, under this number.
    pub(crate) kept: Option<Extended>,
    /// It is padding alone, under this number.
    pub(crate) padding: Option<Extended>,
    /// It shows that packets are missing, or that a keyframe is: when they are to be asked for.
    pub(crate) asks: Option<Instant>,
    /// Another stream began with it.
    pub(crate) begins: bool,
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
            formats: Succession::of(Some(format)),
            parameter_sets: [].into(),
            layers: (0..count).map(|_| Layer::new()).collect(),
            order: (0..=u8::MAX).take(count).collect(),
            subscriptions: Vec::new(),
            mirrors: Vec::new(),
            muted: false,
            fresh: Vec::new(),
            held_until: None,
            sent: vec![false; count],
            wanted: vec![true; count],
            level: 0.0,
            tap: None,
            brought: Brought::default(),
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
        let mut begins = false;
        if repeated.is_none() {
            let replaces = stream.ssrc().is_some();
            match stream.source_state(header.ssrc, !payload.is_empty(), now) {
                SourceState::Late => return Taken::default(),
                SourceState::Begins if replaces => begins = true,
                SourceState::Begins | SourceState::Current => {}
            }
            if begins {
                stream.begin_stream(now);
                self.follow_stream(layer);
            }
        } else if !stream.takes_rtx_from(header.ssrc, now) {
            return Taken::default();
        }
        let Some(stream) = self.layers.get_mut(usize::from(layer)) else { return Taken::default() };
        let lacked = stream.lacks();
        let arrival = stream.arrive(sequence, payload.len(), repeated.is_some(), now);
        stream.stats.arrived(arrival, payload.len(), repeated.is_some());
        let asks = stream.asks(now).filter(|_| stream.lacks() > lacked);
        let taken = Taken { asks, begins, ..Taken::default() };
        let crate::layer::Arrival::New(continued) = arrival else { return taken };
        if repeated.is_none() {
            let since = now.saturating_duration_since(begun);
            stream.time(header.timestamp, self.format.codec.clock(), since);
        }
        if self.muted {
            return taken;
        }
        if payload.is_empty() {
            self.add(Fresh { layer, number: continued, padding: true }, false, now);
            return Taken { padding: Some(continued), ..taken };
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
        let resized = picture.pixels.is_some() && stream.pixels != picture.pixels;
        stream.pixels = picture.pixels.or(stream.pixels);
        let meta = Meta {
            sequence: continued,
            timestamp: header.timestamp,
            marker: header.marker,
            picture,
            prelude: stream.prelude(continued, header.timestamp, &picture),
            red,
            audio_level: values.audio_level,
            orientation: values.orientation,
            playout_delay: values.playout_delay,
            arrived: now,
        };
        self.brought.note(self.format.codec, &meta, payload);
        let kept = stream.history.keep(meta, values.dependency.unwrap_or_default(), payload);
        if resized {
            self.rank(now);
        }
        if kept {
            let whole = self.format.codec.kind() == Kind::Audio || header.marker;
            self.add(Fresh { layer, number: continued, padding: false }, whole, now);
        }
        if let Some(level) = values.audio_level {
            self.follow_level(level);
        }
        Taken { kept: kept.then_some(continued), ..taken }
    }

    /// What the codec of a packet with media is: the one that counts, another one from now on, or one that was replaced. A late
    /// packet of a stream changes nothing.
    pub(crate) fn format_state(
        &mut self,
        layer: u8,
        header: &Header,
        format: Format,
        now: Instant,
    ) -> SourceState {
        let Some(stream) = self.layers.get_mut(usize::from(layer)) else {
            return SourceState::Late;
        };
        let late = stream.peek_source(header.ssrc, header.sequence, now) == SourceState::Late;
        let before = if late { None } else { stream.coded.replace(format) };
        match self.formats.look(format, now) {
            SourceState::Begins if late => SourceState::Late,
            SourceState::Current if late => SourceState::Current,
            // It had followed its publisher, who goes back; other layers may not have followed yet.
            SourceState::Late if before == self.formats.current() => {
                self.formats.begin(format, now)
            }
            _ => self.formats.take(format, now),
        }
    }

    /// From now on its packets are coded with `format`: all layers begin anew.
    pub(crate) fn recode(&mut self, format: Format, parameter_sets: Arc<[Vec<u8>]>, now: Instant) {
        self.formats.begin(format, now);
        self.brought.begin_format();
        (self.format, self.parameter_sets) = (format, parameter_sets);
        self.layers.iter_mut().for_each(Layer::begin_format);
        self.begin_layers();
    }

    /// It has so many layers from now on, which have nothing to do with those before.
    pub(crate) fn remake_layers(&mut self, count: usize) {
        // Their numbers are others, too: requests of viewers for older ones find nothing.
        let offset = self.layers.iter().map(Layer::next_offset).max().unwrap_or(0);
        let before = std::mem::take(&mut self.layers);
        self.layers = (0..count).map(|_| Layer::after(offset)).collect();
        // Counts only grow.
        for (layer, before) in self.layers.iter_mut().zip(before) {
            layer.stats = before.stats;
        }
        self.order = (0..=u8::MAX).take(count).collect();
        (self.sent, self.wanted) = (vec![false; count], vec![true; count]);
        self.layers.iter_mut().for_each(Layer::want_keyframe);
        self.begin_layers();
    }

    /// Viewers and recorder begin anew.
    fn begin_layers(&mut self) {
        self.fresh.clear();
        self.held_until = None;
        let worst = self.worst();
        let count = self.layers.len();
        for subscription in &mut self.subscriptions {
            subscription.halt();
            if subscription.target.is_some_and(|target| usize::from(target) >= count) {
                subscription.target = Some(worst);
            }
        }
        if let Some(tap) = &mut self.tap {
            tap.target = tap.target.filter(|&target| usize::from(target) < count);
            tap.coded(self.format, &self.parameter_sets, &self.brought);
        }
    }

    /// Lays a packet aside to be passed on, at once when a picture is `whole` with it.
    fn add(&mut self, fresh: Fresh, whole: bool, now: Instant) {
        if whole {
            self.held_until = Some(now);
        } else if self.fresh.is_empty() {
            self.held_until = Some(now + HOLD);
        }
        self.fresh.push(fresh);
    }

    /// Another stream has begun in a layer: its viewers go on with a keyframe of it.
    fn follow_stream(&mut self, layer: u8) {
        let one = self.layers.len() == 1;
        for subscription in &mut self.subscriptions {
            if one || subscription.current == Some(layer) {
                subscription.halt();
            }
        }
        if let Some(tap) = &mut self.tap {
            tap.begin_stream(layer);
        }
    }

    /// When its packets are to be passed on: when a picture is whole, or has been waited for long enough.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        self.held_until.filter(|_| !self.fresh.is_empty())
    }

    /// Follows the loudness that the publisher states, in -dBov with a voice flag (RFC 6464).
    fn follow_level(&mut self, level: u8) {
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

    /// Layers that the publisher sends, the worst first, with their rates.
    pub(crate) fn offers(&self, now: Instant) -> Vec<(u8, BitRate)> {
        const LEAST: BitRate = BitRate(30_000);
        if let Some(scalable) = self.scalable() {
            return scalable.offers(now).map(|(level, rate)| (level, rate.max(LEAST))).collect();
        }
        let sent = |&place: &u8| {
            let layer = self.layers.get(usize::from(place))?;
            layer.is_sent(now).then(|| (place, layer.bitrate(now).max(LEAST)))
        };
        self.order.iter().filter_map(sent).collect()
    }

    /// Those that a viewer's wish allows: a named layer or worse ones, the worst that there is where none of them is sent.
    pub(crate) fn offers_for(
        &self,
        preference: LayerPreference,
        now: Instant,
    ) -> Vec<(u8, BitRate)> {
        let mut offers = self.offers(now);
        match preference {
            LayerPreference::Auto => {}
            LayerPreference::Off => offers.clear(),
            LayerPreference::Layer(most) => {
                let most = self.rank_of(most);
                let fits = |&&(layer, _): &&(u8, BitRate)| self.rank_of(layer) <= most;
                offers.truncate(offers.iter().take_while(fits).count().max(1));
            }
        }
        offers
    }

    /// How many layers are worse than this one.
    pub(crate) fn rank_of(&self, layer: u8) -> usize {
        match self.scalable() {
            Some(_) => layer.into(),
            None => self.order.iter().position(|&it| it == layer).unwrap_or(usize::MAX),
        }
    }

    /// Sorts the layers by what is measured of them. Those of which nothing is known stay where they are, and so do those that
    /// differ by little: the bits of a layer rise and fall with what there is to see.
    pub(crate) fn rank(&mut self, now: Instant) {
        let layer = |place: u8| self.layers.get(usize::from(place));
        let known = |place: u8| layer(place).is_some_and(|layer| layer.is_measured(now));
        let better = |one: u8, other: u8| {
            layer(one).zip(layer(other)).is_some_and(|(one, other)| one.is_better_than(other))
        };
        for _ in 1..self.order.len() {
            let mut before: Option<usize> = None;
            for at in 0..self.order.len() {
                let Some(&place) = self.order.get(at).filter(|&&place| known(place)) else {
                    continue;
                };
                let swaps = before.filter(|&before| {
                    self.order.get(before).is_some_and(|&before| better(before, place))
                });
                if let Some(before) = swaps {
                    self.order.swap(before, at);
                }
                before = Some(at);
            }
        }
    }

    /// The best layer that the publisher sends.
    pub(crate) fn best(&self, now: Instant) -> Option<u8> {
        let sent = |place: &&u8| {
            self.layers.get(usize::from(**place)).is_some_and(|layer| layer.is_sent(now))
        };
        self.order.iter().rev().find(sent).copied()
    }

    /// The worst layer, sent or not.
    pub(crate) fn worst(&self) -> u8 {
        self.order.first().copied().unwrap_or(0)
    }

    /// Whether a keyframe of it is of use to any viewer.
    pub(crate) fn has_use_for_keyframes(&self) -> bool {
        self.format.codec.kind() == Kind::Video && !self.muted
    }

    /// Asks for a keyframe of every layer that a viewer waits for.
    pub(crate) fn want_keyframes(&mut self) {
        if !self.has_use_for_keyframes() {
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
        let at = self.layers.iter().position(|layer| layer.ssrc() == Some(ssrc))?;
        self.layers.get_mut(at)?.clock = Some(clock);
        if let (Some(tap), Ok(layer)) = (&self.tap, u8::try_from(at)) {
            tap.clock(layer, clock);
        }
        Some(at)
    }

    /// Lets the recorder have a packet that was kept.
    pub(crate) fn record(&mut self, layer: u8, number: Extended) {
        let Some(tap) = &mut self.tap else { return };
        let Some(stream) = self.layers.get(usize::from(layer)) else { return };
        let Some(kept) = stream.history.kept(number) else { return };
        let one = self.layers.len() == 1;
        if one {
            tap.target = Some(0);
        }
        let waits = tap.waits() && tap.target == Some(layer);
        let first = number.minus(if waits { u64::from(kept.meta.prelude) } else { 0 });
        for number in first.until(number.next()) {
            let Some(packet) = stream.history.kept(number) else { continue };
            tap.packet(layer, one || kept.meta.picture.keyframe, stream.clock, &packet);
        }
    }

    /// Has the recorder get the best stream that there is; true when it waits for a keyframe of it.
    pub(crate) fn guide_tap(&mut self, now: Instant) -> bool {
        let best = self.best(now);
        let Some(tap) = &mut self.tap else { return false };
        tap.target = best.or(tap.target);
        let (waits, target) = (tap.waits(), tap.target);
        if !waits || self.format.codec.kind() == Kind::Audio {
            return false;
        }
        let stream = target.and_then(|target| self.layers.get_mut(usize::from(target)));
        stream.map(Layer::want_keyframe).is_some()
    }
}
