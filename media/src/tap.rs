//! What a recorder gets of a track: its packets in plain text as they are passed on, after retransmission, and the publisher's
//! clock. It never holds a worker up: what finds no room is counted and gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::codec::{Codec, Format};
use crate::history::{CachedPacket, Meta};
use crate::layer::ClockPair;
use crate::numbers::MediaTime;
use crate::parameter_sets::ParameterSets;

/// A part of what a track carries.
#[derive(Clone, Debug)]
pub enum Tapped {
    /// A packet; they come once each, and not always in order.
    Packet(Packet),
    /// The publisher's clock (RFC 3550 §6.4.1).
    Clock(Clock),
    /// What the packets that follow are coded with; it comes first, and whenever that changes.
    Coded(Coded),
}

/// See [`Tapped`].
#[derive(Clone, Debug)]
pub struct Coded {
    /// The codec and its form.
    pub format: Format,
    /// Parameter sets of H.264 that were described or sent before, one NAL unit each.
    pub parameter_sets: Arc<[Vec<u8>]>,
}

/// See [`Tapped`].
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which of the streams of a simulcast track; the numbers of one are nothing to those of another.
    pub layer: u8,
    /// The sequence number, continued over its wraps.
    pub sequence: u64,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// Its marker.
    pub marker: bool,
    /// Redundant audio (RFC 2198).
    pub red: bool,
    /// How the picture is turned (coordination of video orientation, 3GPP TS 26.114 §7.4.5), where the packet says so.
    pub orientation: Option<u8>,
    /// What it carries.
    pub payload: Bytes,
    /// When it came.
    pub at: Instant,
}

/// See [`Tapped`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Of which stream.
    pub layer: u8,
    /// 32.32 fixed point seconds since 1900, by the publisher.
    pub ntp: u64,
    /// The RTP timestamp of that moment.
    pub rtp: u32,
    /// When the report came.
    pub at: Instant,
}

/// The worker's end.
#[derive(Clone, Debug)]
pub struct Tap {
    sender: SyncSender<Tapped>,
    lost: Arc<AtomicU64>,
}

impl PartialEq for Tap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lost, &other.lost)
    }
}

/// The recorder's end; it is over when the track is.
#[derive(Debug)]
pub struct Tapping {
    receiver: Receiver<Tapped>,
    lost: Arc<AtomicU64>,
}

/// A tap that holds `room` packets.
pub fn tap(room: usize) -> (Tap, Tapping) {
    let (sender, receiver) = sync_channel(room);
    let lost = Arc::new(AtomicU64::new(0));
    (Tap { sender, lost: lost.clone() }, Tapping { receiver, lost })
}

impl Tap {
    /// Leaves a part for the recorder.
    pub fn put(&self, part: Tapped) {
        if self.sender.try_send(part).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tapping {
    /// The next part; an error when the track is over and everything was taken.
    pub fn take(&self) -> Result<Option<Tapped>, Over> {
        use std::sync::mpsc::TryRecvError;
        match self.receiver.try_recv() {
            Ok(part) => Ok(Some(part)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Over),
        }
    }

    /// How many parts found no room so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The track is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Over;

/// Bytes of payloads that are copied into one piece of memory: what the worker allocates, the recorder frees, and each time one
/// may have to wait for the other.
const CHUNK: usize = 32 << 10;

/// What a track has brought that a recorder needs which comes later: senders need not repeat it.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    sets: ParameterSets,
    orientation: Option<u8>,
}

impl Brought {
    /// What follows is coded otherwise: the parameter sets of before are no use to it.
    pub(crate) fn begin_format(&mut self) {
        self.sets = ParameterSets::default();
    }

    /// Takes a packet that is passed on.
    pub(crate) fn note(&mut self, codec: Codec, meta: &Meta, payload: &[u8]) {
        self.orientation = meta.orientation.or(self.orientation);
        if codec == Codec::H264 {
            self.sets.note(payload);
        }
    }
}

/// A tap in its track.
#[derive(Debug)]
pub(crate) struct Fitted {
    tap: Tap,
    chunk: BytesMut,
    /// The stream that is recorded, and the best that there is.
    layer: Option<u8>,
    pub(crate) target: Option<u8>,
    /// How the picture was turned before, for the first packet.
    orientation: Option<u8>,
}

impl Fitted {
    /// A tap in a track of `format`; `described` are the parameter sets of its description.
    pub(crate) fn new(tap: Tap, format: Format, described: &[Vec<u8>], brought: &Brought) -> Self {
        let orientation = brought.orientation;
        let chunk = BytesMut::new();
        let mut fitted = Self { tap, chunk, layer: None, target: None, orientation };
        fitted.coded(format, described, brought);
        fitted
    }

    /// From now on the track's packets are of `format`.
    pub(crate) fn coded(&mut self, format: Format, described: &[Vec<u8>], brought: &Brought) {
        let mut sets = ParameterSets::default();
        if format.codec == Codec::H264 {
            described.iter().for_each(|unit| sets.note_unit(unit));
            // What was sent is newer than what was described.
            brought.sets.units().for_each(|unit| sets.note_unit(unit));
        }
        let parameter_sets: Vec<Vec<u8>> = sets.units().map(<[u8]>::to_vec).collect();
        self.tap.put(Tapped::Coded(Coded { format, parameter_sets: parameter_sets.into() }));
        // What comes now may be of another stream with its own clock.
        self.layer = None;
    }

    /// Whether a keyframe of the target is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.layer.is_none() || self.layer != self.target
    }

    /// A layer comes in another stream from now on, which begins with a keyframe.
    pub(crate) fn begin_stream(&mut self, layer: u8) {
        self.layer = self.layer.filter(|&recorded| recorded != layer);
    }

    /// Whether a stream is the one that is recorded; at a keyframe another one may become it.
    fn follows(&mut self, layer: u8, begins: bool) -> bool {
        if begins && self.target == Some(layer) {
            self.layer = Some(layer);
        }
        self.layer == Some(layer)
    }

    pub(crate) fn packet(
        &mut self,
        layer: u8,
        begins: bool,
        clock: Option<ClockPair>,
        kept: &CachedPacket<'_>,
    ) {
        let before = self.layer;
        if !self.follows(layer, begins) {
            return;
        }
        if let Some(clock) = clock.filter(|_| before != self.layer) {
            self.clock(layer, clock);
        }
        let meta = kept.meta;
        if self.chunk.capacity() < kept.payload.len() {
            self.chunk = BytesMut::with_capacity(CHUNK.max(kept.payload.len()));
        }
        self.chunk.extend_from_slice(kept.payload);
        self.tap.put(Tapped::Packet(Packet {
            layer,
            sequence: meta.sequence.count(),
            timestamp: meta.timestamp.0,
            marker: meta.marker,
            red: meta.red,
            orientation: meta.orientation.or(self.orientation.take()),
            payload: self.chunk.split().freeze(),
            at: meta.arrived,
        }));
    }

    pub(crate) fn clock(&self, layer: u8, clock: ClockPair) {
        if self.layer == Some(layer) {
            let ClockPair { ntp, rtp: MediaTime(rtp), at } = clock;
            self.tap.put(Tapped::Clock(Clock { layer, ntp, rtp, at }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::look;
    use crate::dtls::tests::noon;

    const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x02, 0x80, 0xF6, 0x80];
    const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];

    fn meta(sequence: u64, orientation: Option<u8>) -> Meta {
        Meta { orientation, ..Meta::bare(sequence.into(), MediaTime(90_000), noon()) }
    }

    #[test]
    fn a_recorder_that_comes_late_gets_the_sets_and_the_orientation_that_came_before() {
        let (mut brought, format) = (Brought::default(), Format::from(Codec::H264));
        let described = [[SPS, &[0xFF]].concat(), PPS.to_vec()];
        brought.note(format.codec, &meta(1, None), SPS);
        brought.note(format.codec, &meta(2, Some(1)), &[0x65, 0x88]);
        brought.note(format.codec, &meta(3, None), &[0x61, 0xE0]);
        let (tap, tapping) = tap(16);
        let mut fitted = Fitted::new(tap, format, &described, &brought);
        fitted.target = Some(0);
        for sequence in [4, 5] {
            let (meta, payload) = (meta(sequence, None), [0x65, 0x88]);
            assert!(look(format.codec, &payload, None).keyframe);
            let kept = CachedPacket { meta: &meta, dependency: &[], payload: &payload };
            fitted.packet(0, true, None, &kept);
        }
        fitted.coded(Codec::Vp8.into(), &described, &brought);
        let parts: Vec<Tapped> = std::iter::from_fn(|| tapping.take().ok().flatten()).collect();
        let [Tapped::Coded(first), Tapped::Packet(one), Tapped::Packet(two), Tapped::Coded(last)] =
            &*parts
        else {
            panic!("{parts:?}")
        };
        // What came in the stream is newer than what was described.
        assert_eq!(
            (first.format, &*first.parameter_sets),
            (format, &[SPS.to_vec(), PPS.to_vec()][..])
        );
        assert_eq!((one.orientation, two.orientation), (Some(1), None));
        assert_eq!((last.format.codec, last.parameter_sets.len()), (Codec::Vp8, 0));
    }
}
