//! One stream of RTP as it goes out to a viewer: the owner of its sequence numbers, through every switch of layer or track.

use std::time::Instant;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::bandwidth::Bandwidth;
use crate::codec::{red_primary, rename_red};
use crate::history::{CachedPacket, Meta};
use crate::numbers::{Extended, MediaTime};
use crate::plan::{SendCodec, SendPlan, TrackKey};
use crate::rtp::{Extension, Writer};
use crate::srtp::{Direction, OVERHEAD, Window};
use crate::stats::Outgoing;
use crate::subscription::LayerPreference;

/// Bytes of retransmissions in a second, besides half of what is sent anew.
const RESEND_FLOOR: u64 = 60_000;
/// Bytes of padding in a packet that only probes (RFC 3550 §5.1: the last byte counts them).
const PADDING: usize = 240;

/// How a packet is to look to the viewer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rewritten {
    pub(crate) sequence: Extended,
    pub(crate) timestamp: MediaTime,
    /// Added to VP8 picture ids and TL0PICIDX.
    pub(crate) picture: u16,
    pub(crate) base_layer: u8,
    pub(crate) red: bool,
    /// The last packet of a picture.
    pub(crate) marker: bool,
    /// Added to the frame numbers of dependency descriptors.
    pub(crate) frame: u16,
}

/// What all streams to one peer share.
pub(crate) struct Outbound {
    pub(crate) keys: Direction,
    pub(crate) bandwidth: Bandwidth,
    /// Seconds in 6.18 fixed point, for abs-send-time.
    pub(crate) epoch: Instant,
}

impl Outbound {
    /// Seals the packet at the end of `out` that begins at `begin`, and takes it back when that fails.
    fn seal(
        &mut self,
        out: &mut Vec<u8>,
        (begin, header): (usize, usize),
        (ssrc, number): (u32, Extended),
        now: Instant,
    ) -> bool {
        let sealed =
            number.index().is_some_and(|it| self.keys.seal(out, begin, header, ssrc, it).is_ok());
        if !sealed {
            out.truncate(begin);
            return false;
        }
        self.bandwidth.sent(out.len() - begin, now);
        true
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) plan: SendPlan,
    /// What it shows now.
    pub(crate) track: Option<TrackKey>,
    /// The place of its subscription among those of the track.
    pub(crate) subscription: Option<usize>,
    pub(crate) preferences: Preferences,
    /// The next sequence number.
    pub(crate) next: Extended,
    pub(crate) last_timestamp: MediaTime,
    pub(crate) last_at: Option<Instant>,
    /// The last VP8 picture id and TL0PICIDX.
    pub(crate) picture: u16,
    pub(crate) base_layer: u8,
    /// The last frame number in a dependency descriptor.
    pub(crate) frame: u16,
    rtx_next: Extended,
    sealed: Window,
    rtx_sealed: Window,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
    allowance: (Option<Instant>, u64),
    /// When the last sender report went out.
    pub(crate) reported: Option<Instant>,
    pub(crate) stats: Outgoing,
}

/// What the viewer prefers of what a stream shows; it goes on when the track is made anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preferences {
    pub(crate) preference: LayerPreference,
    pub(crate) priority: u8,
    pub(crate) temporal: u8,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { preference: LayerPreference::Auto, priority: 128, temporal: u8::MAX }
    }
}

/// Where the numbers of one SSRC stand: none is given to two packets.
#[derive(Clone, Copy, Debug)]
struct Count {
    ssrc: u32,
    next: Extended,
    sealed: Window,
}

/// Every number of a stream that must go on, for a successor or for the day when its SSRCs are used again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderState {
    counts: [Count; 2],
    pub(crate) track: Option<TrackKey>,
    pub(crate) preferences: Preferences,
    last_timestamp: MediaTime,
    started: bool,
    picture: (u16, u8, u16),
    sent: (u32, u32),
}

impl SenderState {
    /// The same when nothing is shown there any more.
    pub(crate) fn retired(self) -> Self {
        Self { track: None, ..self }
    }

    /// Whether it is what a plan describes.
    pub(crate) fn is_of(&self, plan: &SendPlan) -> bool {
        self.counts.map(|count| count.ssrc) == [plan.ssrc, plan.rtx_ssrc]
    }

    /// The SSRC of its media.
    fn ssrc(&self) -> u32 {
        let [media, _] = self.counts;
        media.ssrc
    }
}

impl Sender {
    pub(crate) fn export(&self) -> SenderState {
        let count = |ssrc, next, sealed| Count { ssrc, next, sealed };
        SenderState {
            counts: [
                count(self.plan.ssrc, self.next, self.sealed),
                count(self.plan.rtx_ssrc, self.rtx_next, self.rtx_sealed),
            ],
            track: self.track,
            preferences: self.preferences,
            last_timestamp: self.last_timestamp,
            started: self.last_at.is_some(),
            picture: (self.picture, self.base_layer, self.frame),
            sent: (self.packets, self.bytes),
        }
    }

    /// Goes on where its SSRCs were left; what the viewer is shown is not part of it.
    pub(crate) fn resume(&mut self, state: &SenderState, now: Instant) {
        for count in state.counts {
            if count.ssrc == self.plan.ssrc {
                (self.next, self.sealed) = (count.next, count.sealed);
            } else if count.ssrc == self.plan.rtx_ssrc {
                (self.rtx_next, self.rtx_sealed) = (count.next, count.sealed);
            }
        }
        if state.ssrc() == self.plan.ssrc {
            self.last_timestamp = state.last_timestamp;
            self.last_at = state.started.then_some(now);
            (self.picture, self.base_layer, self.frame) = state.picture;
            (self.packets, self.bytes) = state.sent;
        }
    }

    pub(crate) fn new(plan: SendPlan) -> Self {
        let mut random = [0_u8; 4];
        // Without random bytes numbers begin at 0, which RFC 3550 §5.1 only advises against.
        let _ = SystemRandom::new().fill(&mut random);
        let [a, b, c, d] = random;
        let number =
            |high: u8, low: u8| Extended::first(u16::from_be_bytes([high & 0x3F, low]) + 1);
        Self {
            plan,
            track: None,
            subscription: None,
            preferences: Preferences::default(),
            next: number(a, b),
            last_timestamp: MediaTime::default(),
            last_at: None,
            picture: 0,
            base_layer: 0,
            frame: 0,
            rtx_next: number(c, d),
            sealed: Window::default(),
            rtx_sealed: Window::default(),
            packets: 0,
            bytes: 0,
            allowance: (None, RESEND_FLOOR),
            reported: None,
            stats: Outgoing::default(),
        }
    }

    /// Appends the sealed packet to `out`; false when that index was sealed before.
    pub(crate) fn write(
        &mut self,
        outbound: &mut Outbound,
        codec: SendCodec,
        packet: &CachedPacket<'_>,
        rewritten: &Rewritten,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(index) = rewritten.sequence.index().filter(|&it| self.sealed.is_new(it)) else {
            return false;
        };
        let payload_type = match codec.red_type {
            Some(red) if rewritten.red => red,
            _ => codec.payload_type,
        };
        let place = (payload_type, self.plan.ssrc, rewritten.sequence);
        if !self.append(outbound, (place, codec), packet, rewritten, None, now, out) {
            return false;
        }
        self.sealed.note(index);
        if rewritten.sequence >= self.next {
            self.next = rewritten.sequence.next();
            self.last_timestamp = rewritten.timestamp;
            self.last_at = Some(now);
        }
        self.packets = self.packets.wrapping_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "it wraps (RFC 3550 §6.4.1)")]
        let octets = packet.payload.len() as u32;
        self.bytes = self.bytes.wrapping_add(octets);
        self.stats.sent(octets, rewritten.marker, now);
        self.allowance.1 += u64::from(octets) / 2;
        true
    }

    /// Appends a retransmission (RFC 4588 §4) of what was sent as `rewritten`; false when there is no such stream or it is too
    /// much.
    pub(crate) fn rewrite_lost(
        &mut self,
        outbound: &mut Outbound,
        codec: SendCodec,
        packet: &CachedPacket<'_>,
        rewritten: &Rewritten,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(rtx_type) = codec.rtx_type else { return false };
        let length = packet.payload.len() as u64;
        let number = self.rtx_next;
        let Some(index) = number.index().filter(|&it| self.rtx_sealed.is_new(it)) else {
            return false;
        };
        if !self.may_resend(length, now) {
            return false;
        }
        let place = (rtx_type, self.plan.rtx_ssrc, number);
        let original = Some(rewritten.sequence.wire());
        if !self.append(outbound, (place, codec), packet, rewritten, original, now, out) {
            return false;
        }
        self.rtx_sealed.note(index);
        self.rtx_next = number.next();
        self.stats.resent();
        true
    }

    /// Appends a packet of padding alone on the stream of retransmissions, to probe the path; false when there is none.
    pub(crate) fn write_probe(
        &mut self,
        outbound: &mut Outbound,
        codec: SendCodec,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(rtx_type) = codec.rtx_type else { return false };
        let number = self.rtx_next;
        let Some(index) = number.index().filter(|&it| self.rtx_sealed.is_new(it)) else {
            return false;
        };
        let begin = out.len();
        let meta = Meta::bare(number, self.last_timestamp, now);
        let nothing = CachedPacket { meta: &meta, dependency: &[], payload: &[] };
        let place = (rtx_type, self.plan.rtx_ssrc, number);
        let header =
            self.header(outbound, place, &nothing, (self.last_timestamp, false, 0), now, out);
        if let Some(first) = out.get_mut(begin) {
            *first |= 0x20;
        }
        out.resize(out.len() + PADDING - 1, 0);
        out.extend(u8::try_from(PADDING));
        if !outbound.seal(out, (begin, header), (self.plan.rtx_ssrc, number), now) {
            return false;
        }
        self.rtx_sealed.note(index);
        self.rtx_next = number.next();
        true
    }

    /// Appends one sealed packet; `original` is the number that stands in front of a retransmission's payload.
    #[expect(
        clippy::too_many_arguments,
        reason = "two streams, and one way to write their packets"
    )]
    fn append(
        &self,
        outbound: &mut Outbound,
        (place, codec): ((u8, u32, Extended), SendCodec),
        packet: &CachedPacket<'_>,
        rewritten: &Rewritten,
        original: Option<u16>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let (_, ssrc, number) = place;
        let begin = out.len();
        let header = self.header(
            outbound,
            place,
            packet,
            (rewritten.timestamp, rewritten.marker, rewritten.frame),
            now,
            out,
        );
        if let Some(original) = original {
            out.extend_from_slice(&original.to_be_bytes());
        }
        let payload = out.len();
        if rewritten.red {
            let taken = match codec.red_type {
                Some(_) => Some(packet.payload),
                None => red_primary(packet.payload),
            };
            let Some(taken) = taken else {
                out.truncate(begin);
                return false;
            };
            out.extend_from_slice(taken);
            if codec.red_type.is_some() {
                rename_red(out.get_mut(payload..).unwrap_or_default(), codec.payload_type);
            }
        } else {
            out.extend_from_slice(packet.payload);
            renumber(out, payload, packet, rewritten);
        }
        outbound.seal(out, (begin, header), (ssrc, number), now)
    }

    /// Retransmissions may take half of what is sent anew, and a little besides.
    fn may_resend(&mut self, length: u64, now: Instant) -> bool {
        let (since, left) = &mut self.allowance;
        let begun = *since.get_or_insert(now);
        let passed = now.saturating_duration_since(begun).as_millis();
        if passed >= 100 {
            let gained = u64::try_from(passed).unwrap_or(1_000).min(1_000) * RESEND_FLOOR / 1_000;
            *left = (*left + gained).min(20 * RESEND_FLOOR);
            *since = Some(now);
        }
        if *left < length {
            return false;
        }
        *left -= length;
        true
    }

    /// Writes a header with the extensions of this connection; returns its length.
    fn header(
        &self,
        outbound: &mut Outbound,
        (payload_type, ssrc, number): (u8, u32, Extended),
        packet: &CachedPacket<'_>,
        (timestamp, marker, frame): (MediaTime, bool, u16),
        now: Instant,
        out: &mut Vec<u8>,
    ) -> usize {
        out.reserve(packet.payload.len() + 64 + OVERHEAD);
        let sequence = number.wire();
        let mut writer = Writer::new(out, (payload_type, marker), sequence, timestamp.0, ssrc);
        let ids = &self.plan.extensions;
        if packet.dependency.len() > 16 && ids.id(Extension::Dependency).is_some() {
            writer.long_extensions();
        }
        if let Some(id) = ids.id(Extension::TransportSequence) {
            writer.extension(Some(id), &outbound.bandwidth.number().to_be_bytes());
        }
        if let Some(id) = ids.id(Extension::SendTime) {
            let micros = now.saturating_duration_since(outbound.epoch).as_micros();
            let [.., high, middle, low] = ((micros << 18) / 1_000_000).to_be_bytes();
            writer.extension(Some(id), &[high, middle, low]);
        }
        if let Some(level) = packet.meta.audio_level {
            writer.extension(ids.id(Extension::AudioLevel), &[level]);
        }
        if let Some(orientation) = packet.meta.orientation {
            writer.extension(ids.id(Extension::Orientation), &[orientation]);
        }
        if let Some(delay) = packet.meta.playout_delay {
            writer.extension(ids.id(Extension::PlayoutDelay), &delay);
        }
        if !packet.dependency.is_empty() {
            write_descriptor(&mut writer, ids.id(Extension::Dependency), packet.dependency, frame);
        }
        writer.finish()
    }
}

/// Writes a dependency descriptor with another frame number, which stands behind the first byte: a viewer takes a keyframe with a
/// lower number than the last one for an old one.
fn write_descriptor(writer: &mut Writer<'_>, id: Option<u8>, descriptor: &[u8], frame: u16) {
    let Some((&[first, high, low], rest)) = descriptor.split_first_chunk() else { return };
    let [high, low] = u16::from_be_bytes([high, low]).wrapping_add(frame).to_be_bytes();
    writer.extension_of(id, &[&[first, high, low], rest]);
}

/// Writes the numbers of VP8 pictures that this viewer is to see.
fn renumber(out: &mut [u8], payload: usize, packet: &CachedPacket<'_>, rewritten: &Rewritten) {
    let Some(vp8) = packet.meta.picture.vp8 else { return };
    if let Some((place, length, number)) = vp8.picture {
        let at = payload + usize::from(place);
        let number = number.wrapping_add(rewritten.picture);
        let [high, low] = number.to_be_bytes();
        match length {
            2 => {
                if let Some(bytes) = out.get_mut(at..at + 2) {
                    bytes.copy_from_slice(&[high | 0x80, low]);
                }
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte = low & 0x7F;
                }
            }
        }
    }
    if let Some((place, number)) = vp8.base_layer
        && let Some(byte) = out.get_mut(payload + usize::from(place))
    {
        *byte = number.wrapping_add(rewritten.base_layer);
    }
}
