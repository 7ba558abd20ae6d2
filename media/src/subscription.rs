//! What one viewer gets of one track: which layer, and how its packets are renumbered so that the viewer sees one stream
//! without a twin, and no gap but those that the network made.

use std::collections::VecDeque;
use std::time::Instant;

use crate::codec::{Codec, Frame, Kind, Vp8};
use crate::dependency::{Indication, Structure};
use crate::history::Meta;
use crate::layer::Layer;
use crate::plan::SendCodec;
use crate::sending::{Rewritten, Sending};

/// Renumberings that are remembered for packets that come late, and for requests.
const EPOCHS: usize = 128;

/// What the viewer asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wish {
    /// The best that fits.
    #[default]
    Auto,
    /// Nothing for now.
    Off,
    /// This layer, counted from the lowest, or a lower one where it does not fit.
    Layer(u8),
}

/// From one packet on, by how much numbers change.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    layer: u8,
    from: u64,
    sequence: i64,
    timestamp: u32,
    picture: u16,
    base_layer: u8,
    frame: u16,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The viewer and his stream, by their places.
    pub(crate) viewer: usize,
    pub(crate) line: usize,
    /// How the viewer takes the track's codec; `None` when not at all.
    pub(crate) codec: Option<SendCodec>,
    pub(crate) wish: Wish,
    pub(crate) priority: u8,
    /// The layer that arrives, and the one that is wanted.
    pub(crate) current: Option<u8>,
    pub(crate) target: Option<u8>,
    /// Temporal layers above this one are left out.
    pub(crate) temporal: u8,
    /// What the viewer was told last about a pause.
    pub(crate) told_paused: bool,
    epochs: VecDeque<Epoch>,
    highest: u64,
    passed: Passed,
}

impl Subscription {
    pub(crate) fn new(viewer: usize, line: usize, codec: Option<SendCodec>) -> Self {
        Self {
            viewer,
            line,
            codec,
            wish: Wish::Auto,
            priority: 128,
            current: None,
            target: Some(0),
            temporal: u8::MAX,
            told_paused: false,
            epochs: VecDeque::new(),
            highest: 0,
            passed: Passed::default(),
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

    /// How `meta` of `layer` is to look; `None` when the viewer does not get it. The second value tells whether this packet
    /// switched the layer.
    pub(crate) fn take(
        &mut self,
        layer: u8,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sending: &mut Sending,
    ) -> (Option<Rewritten>, bool) {
        // VP8 has numbers of its own to be closed up.
        if let ([only], Some(frame), None) = (layers, meta.picture.frame, meta.picture.vp8)
            && let Some(scalable) = &only.scalable
        {
            return self.take_frame(&frame, &scalable.structure, meta, codec, layers, sending);
        }
        let mut switched = false;
        if self.current != Some(layer) {
            let begins = codec.kind() == Kind::Audio || meta.picture.keyframe;
            if self.target != Some(layer) || !begins {
                return (None, false);
            }
            self.switch(layer, meta, codec, layers, sending);
            switched = true;
        } else if self.skips(meta) {
            return (None, false);
        }
        if self.target.is_none() {
            return (None, switched);
        }
        self.highest = self.highest.max(meta.sequence);
        let rewritten = self.rewritten(layer, meta);
        remember(sending, meta, rewritten.as_ref());
        (rewritten, switched)
    }

    /// The same for a packet of a stream that carries all layers; `current` and `target` are spatial ones.
    fn take_frame(
        &mut self,
        frame: &Frame,
        structure: &Structure,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sending: &mut Sending,
    ) -> (Option<Rewritten>, bool) {
        let top = structure.levels().saturating_sub(1);
        let temporal = self.temporal;
        let is = |level: u8| {
            let target = structure.target(level, temporal).unwrap_or_default();
            Indication::for_target(frame.indications, target)
        };
        let before = self.current;
        match (before, self.target.map(|target| target.min(top))) {
            (None, Some(target)) if meta.picture.keyframe => {
                self.switch(0, meta, codec, layers, sending);
                self.passed = Passed::default();
                self.current = Some(target);
            }
            (None, _) => return (None, false),
            (Some(current), Some(target)) if current != target && frame.start => {
                let decodable = meta.picture.keyframe || self.passed.all(frame);
                if decodable && is(target) == Indication::Switch {
                    self.current = Some(target);
                }
            }
            _ => {}
        }
        let switched = before != self.current;
        let Some(level) = self.current.map(|level| level.min(top)) else { return (None, false) };
        if is(level) == Indication::NotPresent {
            self.leave_out(meta, 0);
            return (None, switched);
        }
        self.passed.note(frame.number);
        self.highest = self.highest.max(meta.sequence);
        let rewritten = self.rewritten(0, meta).map(|rewritten| Rewritten {
            marker: rewritten.marker || (frame.end && frame.spatial == level),
            ..rewritten
        });
        remember(sending, meta, rewritten.as_ref());
        (rewritten, switched)
    }

    fn rewritten(&self, layer: u8, meta: &Meta) -> Option<Rewritten> {
        let covers = |epoch: &&Epoch| epoch.layer == layer && meta.sequence >= epoch.from;
        let epoch = self.epochs.iter().rev().find(covers)?;
        Some(Rewritten {
            sequence: meta.sequence.checked_add_signed(epoch.sequence)?,
            timestamp: meta.timestamp.wrapping_add(epoch.timestamp),
            picture: epoch.picture,
            base_layer: epoch.base_layer,
            red: meta.red,
            marker: meta.marker,
            frame: epoch.frame,
        })
    }

    /// The packet that was sent with this continued sequence number: its layer, its own number, and how it looked.
    pub(crate) fn origin(&self, sent: u64) -> Option<(u8, u64)> {
        let covers = |epoch: &&Epoch| {
            epoch.from.checked_add_signed(epoch.sequence).is_some_and(|first| sent >= first)
        };
        let epoch = self.epochs.iter().rev().find(covers)?;
        Some((epoch.layer, sent.checked_add_signed(-epoch.sequence)?))
    }

    /// How a kept packet looked when it was sent.
    pub(crate) fn looked(&self, layer: u8, meta: &Meta) -> Option<Rewritten> {
        self.rewritten(layer, meta)
    }

    /// Leaves out pictures of upper temporal layers, and closes the gap in all numbers.
    fn skips(&mut self, meta: &Meta) -> bool {
        let Some(vp8) = meta.picture.vp8 else { return false };
        let Some((temporal, _)) = vp8.temporal else { return false };
        if temporal <= self.temporal {
            return false;
        }
        self.leave_out(meta, u16::from(vp8.start));
        true
    }

    /// Closes the gap that a packet leaves which is not passed on, and that of the pictures that begin with it.
    fn leave_out(&mut self, meta: &Meta, pictures: u16) {
        if meta.sequence == self.highest + 1
            && let Some(&last) = self.epochs.back()
        {
            self.highest = meta.sequence;
            self.begin(Epoch {
                from: meta.sequence + 1,
                sequence: last.sequence - 1,
                picture: last.picture.wrapping_sub(pictures),
                ..last
            });
        }
    }

    fn begin(&mut self, epoch: Epoch) {
        if self.epochs.len() == EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(epoch);
    }

    fn switch(
        &mut self,
        layer: u8,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sending: &Sending,
    ) {
        let timestamp = self.next_timestamp(layer, meta, codec, layers, sending);
        let vp8 = meta.picture.vp8.unwrap_or_default();
        let picture = vp8
            .picture
            .map_or(0, |(_, _, number)| sending.picture.wrapping_add(1).wrapping_sub(number));
        let base_layer = vp8
            .base_layer
            .map_or(0, |(_, number)| sending.base_layer.wrapping_add(1).wrapping_sub(number));
        let frame = meta
            .picture
            .frame
            .map_or(0, |frame| sending.frame.wrapping_add(1).wrapping_sub(frame.number));
        let sequence = sending.next.cast_signed() - meta.sequence.cast_signed();
        let timestamp = timestamp.wrapping_sub(meta.timestamp);
        let from = meta.sequence;
        self.begin(Epoch { layer, from, sequence, timestamp, picture, base_layer, frame });
        self.current = Some(layer);
        self.highest = meta.sequence;
    }

    /// The timestamp that the first packet of a new layer gets: on the time line of what was shown before, and after it.
    fn next_timestamp(
        &self,
        layer: u8,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sending: &Sending,
    ) -> u32 {
        let Some(last_at) = sending.last_at else { return meta.timestamp };
        let same_clock = || {
            let (before, after) = (self.current?, layer);
            let epoch = self.epochs.back().filter(|epoch| epoch.layer == before)?;
            let before = layers.get(usize::from(before))?.clock?;
            let after = layers.get(usize::from(after))?.clock?;
            let ahead = seconds(after.ntp.wrapping_sub(before.ntp)) * f64::from(codec.clock());
            #[expect(clippy::cast_possible_truncation, reason = "modulo the RTP clock")]
            let ahead = ahead.round() as i64 as u32;
            let shown = before.rtp.wrapping_add(ahead).wrapping_sub(after.rtp);
            Some(meta.timestamp.wrapping_add(shown).wrapping_add(epoch.timestamp))
        };
        let passed = meta.arrived.saturating_duration_since(last_at);
        let by_arrival = sending.last_timestamp.wrapping_add(ticks(passed, codec).max(1));
        match same_clock() {
            // Clocks that are sound agree with the time that has passed to within a second.
            Some(timestamp)
                if timestamp.wrapping_sub(sending.last_timestamp).cast_signed() > 0
                    && timestamp.wrapping_sub(by_arrival).cast_signed().unsigned_abs()
                        < codec.clock() =>
            {
                timestamp
            }
            _ => by_arrival,
        }
    }

    /// RTP time of this viewer's stream at `now`, and the publisher's NTP time then; for sender reports.
    pub(crate) fn clock(&self, now: Instant, codec: Codec, layers: &[Layer]) -> Option<(u64, u32)> {
        let epoch = self.epochs.back().filter(|_| self.current.is_some())?;
        let clock = layers.get(usize::from(epoch.layer))?.clock?;
        let passed = now.saturating_duration_since(clock.at);
        let ntp = clock.ntp.wrapping_add(ntp(passed));
        let rtp = clock.rtp.wrapping_add(ticks(passed, codec)).wrapping_add(epoch.timestamp);
        Some((ntp, rtp))
    }
}

/// Which of the last 64 frames were passed on.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    newest: u16,
    frames: u64,
}

impl Passed {
    fn note(&mut self, number: u16) {
        let ahead = number.wrapping_sub(self.newest);
        if ahead < 0x8000 {
            self.frames = self.frames.checked_shl(ahead.into()).unwrap_or_default() | 1;
            self.newest = number;
        } else {
            self.frames |= 1_u64.checked_shl(ahead.wrapping_neg().into()).unwrap_or_default();
        }
    }

    /// Whether all were that a frame needs.
    fn all(&self, frame: &Frame) -> bool {
        frame.needs.iter().filter(|&&need| need != 0).all(|&need| {
            let behind = self.newest.wrapping_sub(frame.number.wrapping_sub(need.into()));
            self.frames.checked_shr(behind.into()).is_some_and(|frames| frames & 1 == 1)
        })
    }
}

/// Notes the numbers that the viewer sees; what comes late does not turn them back.
fn remember(sending: &mut Sending, meta: &Meta, rewritten: Option<&Rewritten>) {
    let Some(rewritten) = rewritten else { return };
    if let Some(frame) = meta.picture.frame {
        let number = frame.number.wrapping_add(rewritten.frame);
        if number.wrapping_sub(sending.frame) < 0x8000 {
            sending.frame = number;
        }
    }
    if let Some(vp8) = meta.picture.vp8 {
        remember_vp8(sending, vp8, rewritten);
    }
}

fn remember_vp8(sending: &mut Sending, vp8: Vp8, rewritten: &Rewritten) {
    if let Some((_, length, number)) = vp8.picture {
        let mask = if length == 2 { 0x7FFF } else { 0x7F };
        let number = number.wrapping_add(rewritten.picture) & mask;
        // What comes late does not turn the number back.
        if number.wrapping_sub(sending.picture) & mask < mask / 2 {
            sending.picture = number;
        }
    }
    if let Some((_, number)) = vp8.base_layer {
        let number = number.wrapping_add(rewritten.base_layer);
        if number.wrapping_sub(sending.base_layer) < 128 {
            sending.base_layer = number;
        }
    }
}

/// A signed difference of NTP times in seconds.
fn seconds(difference: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "differences are small")]
    let difference = difference.cast_signed() as f64;
    difference / 4_294_967_296.0
}

/// A duration in 32.32 fixed point seconds.
pub(crate) fn ntp(duration: std::time::Duration) -> u64 {
    u64::try_from((duration.as_nanos() << 32) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// A duration in ticks of a codec's RTP clock.
#[expect(clippy::cast_possible_truncation, reason = "modulo the RTP clock")]
pub(crate) fn ticks(duration: std::time::Duration, codec: Codec) -> u32 {
    (duration.as_micros() * u128::from(codec.clock()) / 1_000_000) as u32
}
