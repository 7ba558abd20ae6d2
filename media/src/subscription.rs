//! What one viewer gets of one track: which layer, and how its packets are renumbered so that the viewer sees one stream
//! without a twin, and no gap but those that the network made.

mod passed;
mod timing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::passed::Passed;
use crate::codec::{Codec, Frame, Kind, Vp8};
use crate::dependency::{Indication, Structure};
use crate::history::Meta;
use crate::layer::Layer;
use crate::numbers::{Extended, MediaTime};
use crate::plan::SendCodec;
use crate::sender::{Preferences, Rewritten, Sender};

/// Renumberings that are remembered for packets that come late, and for requests.
const EPOCHS: usize = 128;
/// Temporal layers that a descriptor can name (three bits).
const TEMPORAL: u8 = 7;
/// How long more temporal layers wait for a picture that allows them, before a keyframe is asked for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the viewer asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LayerPreference {
    /// The best that fits.
    #[default]
    Auto,
    /// Nothing for now.
    Off,
    /// This layer, by its place in the description, or a worse one where it does not fit.
    Layer(u8),
}

/// From one packet of a layer on, how packets are renumbered and which of them are passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    pub(crate) layer: u8,
    /// The number of its first packet.
    from: Extended,
    /// From a packet's number to the one that the viewer sees.
    sequence: i64,
    /// Ticks from a packet's timestamp to the one that the viewer sees.
    timestamp: u32,
    picture: u16,
    base_layer: u8,
    frame: u16,
    /// A switch began it: what its layer sent before belongs to an older run.
    begins_run: bool,
    /// Temporal layers above this one are left out.
    temporal: u8,
    /// Of a stream that carries all layers: the spatial layer, and the decode target that shows it.
    selected: Option<(u8, u8)>,
}

impl Epoch {
    /// How a packet of this epoch looks to the viewer; `None` when it is left out. First sending and RTX both ask here, so that
    /// they never differ.
    pub(crate) fn rewritten(&self, meta: &Meta) -> Option<Rewritten> {
        let mut marker = meta.marker;
        match (self.selected, meta.picture.frame) {
            (Some((level, target)), Some(frame)) => {
                if Indication::for_target(frame.indications, target) == Indication::NotPresent {
                    return None;
                }
                // The viewer's picture ends with the highest spatial layer that it gets.
                marker |= frame.end && frame.spatial == level;
            }
            _ if self.leaves_out(meta) => return None,
            _ => {}
        }
        Some(Rewritten {
            sequence: meta.sequence.shifted(self.sequence)?,
            timestamp: meta.timestamp.plus(self.timestamp),
            picture: self.picture,
            base_layer: self.base_layer,
            red: meta.red,
            marker,
            frame: self.frame,
        })
    }

    fn leaves_out(&self, meta: &Meta) -> bool {
        let temporal = meta.picture.vp8.and_then(|vp8| vp8.temporal);
        temporal.is_some_and(|(temporal, _)| temporal > self.temporal)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The viewer and its stream, by their places.
    pub(crate) viewer: usize,
    pub(crate) sender_at: usize,
    /// How the viewer takes the track's codec; `None` when not at all.
    pub(crate) codec: Option<SendCodec>,
    pub(crate) preference: LayerPreference,
    pub(crate) priority: u8,
    /// The layer that arrives, and the one that is wanted.
    pub(crate) current: Option<u8>,
    pub(crate) target: Option<u8>,
    /// Temporal layers above this one are left out.
    pub(crate) temporal: u8,
    /// What the viewer was notified of last: whether it is paused.
    pub(crate) notified_paused: bool,
    epochs: VecDeque<Epoch>,
    highest: Extended,
    passed: Passed,
    /// RTP timestamp of the VP8 picture that was left out last.
    left_out: Option<MediaTime>,
    /// RTP timestamp of the picture that began last, of a stream with descriptors.
    unit: Option<MediaTime>,
    /// Since when temporal layers are left out that are wished for.
    withheld: Option<Instant>,
}

impl Subscription {
    pub(crate) fn new(
        viewer: usize,
        sender_at: usize,
        codec: Option<SendCodec>,
        preferences: Preferences,
    ) -> Self {
        let Preferences { preference, priority, temporal } = preferences;
        Self {
            viewer,
            sender_at,
            codec,
            preference,
            priority,
            current: None,
            target: Some(0),
            temporal,
            notified_paused: false,
            epochs: VecDeque::new(),
            highest: Extended::default(),
            passed: Passed::default(),
            left_out: None,
            unit: None,
            withheld: None,
        }
    }

    /// Whether it waits for a keyframe of its target.
    pub(crate) fn waits(&self) -> bool {
        self.target.is_some() && self.current != self.target
    }

    /// Stops at once; what comes next begins anew.
    pub(crate) fn halt(&mut self) {
        self.current = None;
    }

    /// Where the packets begin that `meta`, number `number` of `layer`, makes of use: a keyframe's parameter sets are right before
    /// it, and were of no use without it.
    pub(crate) fn begin_at(&self, layer: u8, meta: &Meta) -> Extended {
        let waits = self.current != Some(layer) && self.target == Some(layer);
        meta.sequence.minus(if waits { u64::from(meta.prelude) } else { 0 })
    }

    /// How `meta` of `layer` is to look; `None` when the viewer does not get it. A layer that is waited for is switched to when
    /// the packet `begins` a keyframe; the second value says whether that happened.
    pub(crate) fn take(
        &mut self,
        layer: u8,
        (meta, begins): (&Meta, bool),
        codec: Codec,
        layers: &[Layer],
        sender: &mut Sender,
    ) -> (Option<Rewritten>, bool) {
        // VP8 has numbers of its own to be closed up.
        if let ([only], Some(frame), None) = (layers, meta.picture.frame, meta.picture.vp8)
            && let Some(scalable) = &only.scalable
        {
            return self.take_frame(&frame, &scalable.structure, meta, codec, layers, sender);
        }
        let mut switched = false;
        if self.current != Some(layer) {
            let begins = begins || codec.kind() == Kind::Audio || meta.picture.keyframe;
            if self.target != Some(layer) || !begins {
                return (None, false);
            }
            self.switch(layer, meta, codec, layers, sender);
            switched = true;
        } else if self.target.is_none() {
            return (None, false);
        } else if meta.sequence > self.highest {
            self.choose_temporal(meta);
        }
        (self.pass(layer, meta, sender), switched)
    }

    /// The same for a packet of a stream that carries all layers; `current` and `target` are spatial ones.
    fn take_frame(
        &mut self,
        frame: &Frame,
        structure: &Structure,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sender: &mut Sender,
    ) -> (Option<Rewritten>, bool) {
        let top = structure.levels().saturating_sub(1);
        let before = self.current;
        let mut temporal = self.epochs.back().map_or(self.temporal, |epoch| epoch.temporal);
        match (before, self.target.map(|target| target.min(top))) {
            (None, Some(target)) if meta.picture.keyframe => {
                self.switch(0, meta, codec, layers, sender);
                self.passed = Passed::default();
                (self.current, temporal) = (Some(target), self.temporal);
            }
            (None, _) => return (None, false),
            (Some(current), Some(target)) if frame.start && meta.sequence > self.highest => {
                temporal = self.temporal_of(frame, structure, meta, (current.min(top), temporal));
                let decodable = meta.picture.keyframe || self.passed.all(frame);
                let shows = structure.target(target, temporal).unwrap_or_default();
                let indication = Indication::for_target(frame.indications, shows);
                if current != target && decodable && indication == Indication::Switch {
                    self.current = Some(target);
                }
            }
            _ => {}
        }
        let switched = before != self.current;
        let Some(level) = self.current.map(|level| level.min(top)) else { return (None, false) };
        let target = structure.target(level, temporal).unwrap_or_default();
        self.select(meta, temporal, Some((level, target)));
        let rewritten = self.pass(0, meta, sender);
        if rewritten.is_some() {
            self.passed.note(frame.number);
        }
        (rewritten, switched)
    }

    /// The temporal layers that are passed from the beginning of a frame on: fewer at the beginning of any picture, more where the
    /// descriptor says that one may switch up to them.
    fn temporal_of(
        &mut self,
        frame: &Frame,
        structure: &Structure,
        meta: &Meta,
        (level, temporal): (u8, u8),
    ) -> u8 {
        if self.unit.replace(meta.timestamp) == Some(meta.timestamp) {
            return temporal;
        }
        let wished = self.temporal;
        let (now, best) = (structure.target(level, temporal), structure.target(level, wished));
        if wished < temporal || meta.picture.keyframe || now == best {
            self.withheld = None;
            return wished;
        }
        self.withheld.get_or_insert(meta.arrived);
        let switches = |&more: &u8| {
            let target = structure.target(level, more);
            let may = target.map(|target| Indication::for_target(frame.indications, target));
            target != now && may == Some(Indication::Switch)
        };
        let steps = (temporal.saturating_add(1)..wished.min(TEMPORAL)).rev();
        let decodable = self.passed.all(frame);
        std::iter::once(wished)
            .chain(steps)
            .find(switches)
            .filter(|_| decodable)
            .unwrap_or(temporal)
    }

    /// The same for VP8: one layer more at a time, at a picture that needs none but those of the lowest temporal layer
    /// (RFC 7741 §4.2, Y), all at a keyframe.
    fn choose_temporal(&mut self, meta: &Meta) {
        let Some(vp8) = meta.picture.vp8.filter(|vp8| vp8.start) else { return };
        let (Some((temporal, syncs)), Some(last)) = (vp8.temporal, self.epochs.back()) else {
            return;
        };
        let most = last.temporal;
        if most >= self.temporal {
            self.withheld = None;
        }
        let next = match most {
            _ if meta.picture.keyframe => self.temporal,
            _ if self.temporal < most => self.temporal,
            _ if temporal > most && temporal <= self.temporal => {
                self.withheld.get_or_insert(meta.arrived);
                if !syncs || temporal != most + 1 {
                    return;
                }
                temporal
            }
            _ => return,
        };
        self.withheld = None;
        self.select(meta, next, None);
    }

    /// Whether temporal layers that are wished for have waited so long for a place to begin that a keyframe is to give it.
    pub(crate) fn waits_for_temporal(&self, now: Instant) -> bool {
        self.withheld.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }

    /// From this packet on the viewer gets those layers.
    fn select(&mut self, meta: &Meta, temporal: u8, selected: Option<(u8, u8)>) {
        match self.epochs.back_mut() {
            Some(last) if (last.temporal, last.selected) == (temporal, selected) => {}
            Some(last) if last.from == meta.sequence => {
                (last.temporal, last.selected) = (temporal, selected);
            }
            Some(&mut last) if meta.sequence > self.highest => self.begin(Epoch {
                from: meta.sequence,
                begins_run: false,
                temporal,
                selected,
                ..last
            }),
            _ => {}
        }
    }

    /// How the packet looks that the viewer gets, if it does.
    fn pass(&mut self, layer: u8, meta: &Meta, sender: &mut Sender) -> Option<Rewritten> {
        let Some(rewritten) = self.covering(layer, meta.sequence)?.rewritten(meta) else {
            self.leave_out_picture(meta);
            return None;
        };
        self.highest = self.highest.max(meta.sequence);
        remember(sender, meta, &rewritten);
        Some(rewritten)
    }

    /// The epoch that a packet belongs to which was not sent yet. Only the run that goes on counts: a late packet of an older one
    /// would get a number that was given to another packet, or will be.
    fn covering(&self, layer: u8, sequence: Extended) -> Option<&Epoch> {
        for epoch in self.epochs.iter().rev() {
            if epoch.layer == layer && sequence >= epoch.from {
                return Some(epoch);
            }
            if epoch.begins_run {
                return None;
            }
        }
        None
    }

    /// The packet that was sent with this continued sequence number: the epoch that it was sent in, and its own number.
    pub(crate) fn origin(&self, sent: Extended) -> Option<(Epoch, Extended)> {
        let covers =
            |epoch: &&Epoch| epoch.from.shifted(epoch.sequence).is_some_and(|first| sent >= first);
        let epoch = *self.epochs.iter().rev().find(covers)?;
        Some((epoch, sent.shifted(-epoch.sequence)?))
    }

    /// A packet of padding alone leaves no hole in the viewer's numbers.
    pub(crate) fn pass_over(&mut self, layer: u8, sequence: Extended) {
        let follows = self.epochs.back().is_some_and(|epoch| epoch.layer == layer);
        if follows && self.current.is_some() {
            self.leave_out(sequence, 0);
        }
    }

    /// Leaves out a packet of a picture, and counts the picture once.
    fn leave_out_picture(&mut self, meta: &Meta) {
        let another = meta.picture.vp8.is_some() && self.left_out != Some(meta.timestamp);
        if another && meta.sequence > self.highest {
            self.left_out = Some(meta.timestamp);
        }
        self.leave_out(meta.sequence, u16::from(another));
    }

    /// Closes the gap that a packet leaves which is not passed on, and that of the pictures that begin with it. What is missing
    /// before it keeps its number.
    fn leave_out(&mut self, sequence: Extended, pictures: u16) {
        if sequence <= self.highest {
            return;
        }
        self.highest = sequence;
        let Some(last) = self.epochs.back_mut() else { return };
        let after = Epoch {
            from: sequence.next(),
            sequence: last.sequence - 1,
            picture: last.picture.wrapping_sub(pictures),
            ..*last
        };
        if last.from == sequence {
            // It has not numbered anything.
            *last = after;
        } else {
            self.begin(Epoch { begins_run: false, ..after });
        }
    }

    fn begin(&mut self, epoch: Epoch) {
        if self.epochs.len() == EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(epoch);
    }

    fn switch(&mut self, layer: u8, meta: &Meta, codec: Codec, layers: &[Layer], sender: &Sender) {
        let timestamp = self.next_timestamp(layer, meta, codec, layers, sender);
        let vp8 = meta.picture.vp8.unwrap_or_default();
        let picture = vp8
            .picture
            .map_or(0, |(_, _, number)| sender.picture.wrapping_add(1).wrapping_sub(number));
        let base_layer = vp8
            .base_layer
            .map_or(0, |(_, number)| sender.base_layer.wrapping_add(1).wrapping_sub(number));
        let frame = meta
            .picture
            .frame
            .map_or(0, |frame| sender.frame.wrapping_add(1).wrapping_sub(frame.number));
        let sequence = sender.next.distance(meta.sequence);
        let timestamp = timestamp.since(meta.timestamp);
        let from = meta.sequence;
        self.begin(Epoch {
            layer,
            from,
            sequence,
            timestamp,
            picture,
            base_layer,
            frame,
            begins_run: true,
            temporal: self.temporal,
            selected: None,
        });
        self.current = Some(layer);
        self.highest = meta.sequence.minus(1);
        self.withheld = None;
    }
}

/// Notes the numbers that the viewer sees; what comes late does not turn them back.
fn remember(sender: &mut Sender, meta: &Meta, rewritten: &Rewritten) {
    if let Some(frame) = meta.picture.frame {
        let number = frame.number.wrapping_add(rewritten.frame);
        if number.wrapping_sub(sender.frame) < 0x8000 {
            sender.frame = number;
        }
    }
    if let Some(vp8) = meta.picture.vp8 {
        remember_vp8(sender, vp8, rewritten);
    }
}

fn remember_vp8(sender: &mut Sender, vp8: Vp8, rewritten: &Rewritten) {
    if let Some((_, length, number)) = vp8.picture {
        let mask = if length == 2 { 0x7FFF } else { 0x7F };
        let number = number.wrapping_add(rewritten.picture) & mask;
        // What comes late does not turn the number back.
        if number.wrapping_sub(sender.picture) & mask < mask / 2 {
            sender.picture = number;
        }
    }
    if let Some((_, number)) = vp8.base_layer {
        let number = number.wrapping_add(rewritten.base_layer);
        if number.wrapping_sub(sender.base_layer) < 128 {
            sender.base_layer = number;
        }
    }
}
