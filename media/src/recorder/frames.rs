//! Packets become frames again. Every length is checked; what cannot be is left out until the next keyframe.

use super::av1::{self, leb128, sized_obu};
use super::webm::Colour;
use super::{h264, vp9};
use crate::codec::{self, Codec, red_primary};
use crate::parameter_sets::ParameterSets;
use crate::tap::Packet;

/// Bytes of a frame.
const FRAME: usize = 8 << 20;

/// A frame that a decoder takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) timestamp: u32,
    pub(super) keyframe: bool,
    /// With a keyframe: the size of its pictures, and what a decoder must know.
    pub(super) size: Option<(u16, u16)>,
    pub(super) private: Vec<u8>,
    pub(super) colour: Option<Colour>,
    /// By how many degrees it has to be turned clockwise to be upright.
    pub(super) rotation: u16,
    pub(super) data: Vec<u8>,
}

/// What a keyframe says of itself.
#[derive(Clone, Debug, Default)]
struct About {
    size: Option<(u16, u16)>,
    private: Vec<u8>,
    colour: Option<Colour>,
}

/// The frame that is being put together.
#[derive(Debug, Default)]
struct Part {
    timestamp: u32,
    keyframe: bool,
    data: Vec<u8>,
    /// Where each frame of a picture with layers ends, and which is its highest one (VP9).
    ends: Vec<usize>,
    spatial: u8,
    /// Where the unit that is in pieces begins (H.264, AV1).
    unit: Option<usize>,
    /// The sequence header (AV1).
    sequence: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Assembler {
    codec: Codec,
    part: Option<Part>,
    /// Without a keyframe what comes cannot be decoded.
    pub(super) broken: bool,
    /// Keyframes of H.264 came, and no parameter sets for them.
    pub(super) lacks_sets: bool,
    sets: ParameterSets,
    layers: vp9::Layers,
    rotation: u16,
}

impl Assembler {
    pub(super) fn new(codec: Codec) -> Self {
        let broken = codec != Codec::Opus;
        Self {
            codec,
            part: None,
            broken,
            lacks_sets: false,
            sets: ParameterSets::default(),
            layers: vp9::Layers::default(),
            rotation: 0,
        }
    }

    /// Takes parameter sets that were described or seen before, one NAL unit each.
    pub(super) fn note_sets(&mut self, sets: &[Vec<u8>]) {
        sets.iter().for_each(|unit| self.sets.note_unit(unit));
    }

    /// Goes on with another stream of the same track: what is known of the track stays.
    pub(super) fn restart(&mut self, codec: Codec) {
        let (sets, rotation) = (std::mem::take(&mut self.sets), self.rotation);
        *self = Self { sets, rotation, ..Self::new(codec) };
    }

    /// Takes the next packet; `gap` where some before it are lost. Gives the frames that are whole now.
    pub(super) fn take(&mut self, packet: &Packet, gap: bool, out: &mut Vec<Frame>) {
        if self.codec == Codec::Opus {
            let payload =
                if packet.red { red_primary(&packet.payload) } else { Some(&*packet.payload) };
            let Some(data) = payload.filter(|data| !data.is_empty()) else { return };
            let (timestamp, data) = (packet.timestamp, data.to_vec());
            out.push(Frame { timestamp, keyframe: true, data, ..Frame::default() });
            return;
        }
        if gap {
            self.part = None;
            self.broken = true;
        }
        if self.part.as_ref().is_some_and(|part| part.timestamp != packet.timestamp) {
            self.finish(out);
        }
        // It is on the last packet of a picture and holds until it changes. The flag that mirrors is left out, as browsers do.
        if let Some(orientation) = packet.orientation {
            self.rotation = u16::from(orientation & 0x03) * 90;
        }
        let timestamp = packet.timestamp;
        let mut part = self.part.take().unwrap_or_else(|| Part { timestamp, ..Part::default() });
        let added = match self.codec {
            Codec::Vp8 => vp8(&mut part, &packet.payload),
            Codec::Vp9 => vp9(&mut part, &packet.payload),
            Codec::H264 => h264(&mut part, &packet.payload),
            Codec::Av1 => av1(&mut part, &packet.payload),
            Codec::Opus => None,
        };
        if added.is_none() || part.data.len() > FRAME {
            self.broken = true;
            return;
        }
        self.part = Some(part);
        if packet.marker {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Vec<Frame>) {
        let Some(mut part) = self.part.take().filter(|part| !part.data.is_empty()) else { return };
        let about = match self.codec {
            Codec::Vp8 => About { size: vp8_size(&part.data), ..About::default() },
            Codec::Vp9 => {
                let (about, layers) = ((part.keyframe, part.spatial), &mut self.layers);
                let picture = layers.picture(&part.data, &part.ends, about);
                let Some((data, size)) = picture else { return };
                part.data = data;
                About { size, ..About::default() }
            }
            Codec::H264 => self.look_at_units(&mut part),
            Codec::Av1 => look_at_obus(&mut part),
            Codec::Opus => About::default(),
        };
        let Part { timestamp, keyframe, data, .. } = part;
        let About { size, private, colour } = about;
        let usable = keyframe && size.is_some();
        if self.broken && !usable || data.is_empty() {
            return;
        }
        self.broken = false;
        let rotation = self.rotation;
        out.push(Frame { timestamp, keyframe: usable, size, private, colour, rotation, data });
    }

    fn look_at_units(&mut self, part: &mut Part) -> About {
        let (mut rest, mut slice) = (part.data.as_slice(), None);
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((unit, after)) = after.split_at_checked(length) else { break };
            match unit.first().map(|first| first & 0x1F) {
                Some(5) => slice = slice.or(Some(unit)),
                Some(7 | 8) => self.sets.note_unit(unit),
                _ => {}
            }
            rest = after;
        }
        let Some(slice) = slice else { return About::default() };
        part.keyframe = true;
        // A slice that is not understood may still be decoded with the sets that there are.
        let newest = self.sets.sequences().last().filter(|_| self.sets.pictures().next().is_some());
        let sequence = self.sets.sequence_of(slice).or(newest);
        self.lacks_sets = sequence.is_none();
        let described = sequence
            .and_then(|set| Some((h264::sequence(set)?, h264::configuration(set, &self.sets)?)));
        let Some((sequence, private)) = described else { return About::default() };
        About { size: Some(sequence.size), private, colour: sequence.colour }
    }
}

/// Drops what a file does not hold, and gives every unit its size (AV1 in Matroska).
fn look_at_obus(part: &mut Part) -> About {
    let mut data = Vec::with_capacity(part.data.len() + 16);
    let mut rest = part.data.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((unit, after)) = after.split_at_checked(length) else { break };
        rest = after;
        let Some(sized) = sized_obu(unit) else { continue };
        match unit.first().map(|first| first >> 3 & 0x0F) {
            // Temporal delimiters, tile lists, padding.
            Some(2 | 8 | 15) | None => continue,
            Some(1) => {
                part.keyframe = true;
                part.sequence.clone_from(&sized);
            }
            Some(_) => {}
        }
        data.extend(sized);
    }
    part.data = data;
    if !part.keyframe {
        return About::default();
    }
    let sequence = av1::sequence(&part.sequence);
    let (size, colour) = sequence.map_or(((1280, 720), None), |it| (it.size, it.colour));
    let private = av1::configuration(&sequence.unwrap_or_default(), &part.sequence);
    About { size: Some(size), private, colour }
}

/// RFC 7741 §4.2.
fn vp8(part: &mut Part, payload: &[u8]) -> Option<()> {
    let (descriptor, data) = codec::vp8(payload)?;
    if part.data.is_empty() {
        if !descriptor.start {
            return None;
        }
        part.keyframe = data.first()? & 1 == 0;
    }
    part.data.extend_from_slice(data);
    Some(())
}

/// RFC 6386 §9.1.
fn vp8_size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[_, _, _, 0x9D, 0x01, 0x2A, a, b, c, d, ..] = frame else { return None };
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3FFF;
    Some((side(a, b), side(c, d))).filter(|&(width, height)| width > 0 && height > 0)
}

fn vp9(part: &mut Part, payload: &[u8]) -> Option<()> {
    let piece = vp9::piece(payload)?;
    if part.data.is_empty() {
        if !piece.begins {
            return None;
        }
        part.keyframe = !piece.inter && piece.spatial == 0;
    }
    part.spatial = piece.spatial;
    part.data.extend_from_slice(piece.data);
    if piece.ends {
        part.ends.push(part.data.len());
    }
    Some(())
}

fn put_unit(part: &mut Part, unit: &[u8]) -> Option<()> {
    if !unit.is_empty() {
        part.data.extend(u32::try_from(unit.len()).ok()?.to_be_bytes());
        part.data.extend_from_slice(unit);
    }
    Some(())
}

/// More of a unit that is in pieces: its length is corrected.
fn lengthen(part: &mut Part, more: &[u8]) -> Option<()> {
    let begin = part.unit?;
    part.data.extend_from_slice(more);
    let length = u32::try_from(part.data.len().checked_sub(begin + 4)?).ok()?;
    part.data.get_mut(begin..begin + 4)?.copy_from_slice(&length.to_be_bytes());
    Some(())
}

/// RFC 6184 §5.6 to §5.8; units with their lengths before them.
fn h264(part: &mut Part, payload: &[u8]) -> Option<()> {
    let &first = payload.first()?;
    match first & 0x1F {
        1..=23 => put_unit(part, payload),
        24 => {
            let mut rest = payload.get(1..)?;
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let (unit, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
                put_unit(part, unit)?;
                rest = after;
            }
            // A byte too many is no length.
            rest.is_empty().then_some(())
        }
        28 => {
            let &fragment = payload.get(1)?;
            if fragment & 0x80 != 0 {
                part.unit = Some(part.data.len());
                part.data.extend([0; 4]);
                lengthen(part, &[first & 0xE0 | fragment & 0x1F])?;
            }
            lengthen(part, payload.get(2..)?)?;
            if fragment & 0x40 != 0 {
                part.unit = None;
            }
            Some(())
        }
        _ => None,
    }
}

/// The aggregation header and the elements behind it (AV1 RTP §4.4); units with their lengths before them.
fn av1(part: &mut Part, payload: &[u8]) -> Option<()> {
    let (&header, mut rest) = payload.split_first()?;
    let (continues, unfinished) = (header & 0x80 != 0, header & 0x40 != 0);
    let count = usize::from(header >> 4 & 0x03);
    if continues != part.unit.is_some() {
        return None;
    }
    let mut place = 0;
    while !rest.is_empty() {
        place += 1;
        let element = if count > 0 && place == count {
            std::mem::take(&mut rest)
        } else {
            let (length, size) = leb128(rest)?;
            let (element, after) = rest.get(size..)?.split_at_checked(length)?;
            rest = after;
            element
        };
        if place == 1 && continues {
            lengthen(part, element)?;
        } else {
            part.unit = Some(part.data.len());
            part.data.extend([0; 4]);
            lengthen(part, element)?;
        }
        if !(rest.is_empty() && unfinished) {
            part.unit = None;
        }
    }
    (place > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::dtls::tests::noon;

    fn packet(timestamp: u32, marker: bool, payload: &[u8], at: Instant) -> Packet {
        let (layer, sequence, red) = (0, 0, false);
        let payload = bytes::Bytes::copy_from_slice(payload);
        let orientation = None;
        Packet { layer, sequence, timestamp, marker, red, orientation, payload, at }
    }

    fn frames(codec: Codec, payloads: &[&[u8]]) -> Vec<Frame> {
        let (mut assembler, mut out) = (Assembler::new(codec), Vec::new());
        for (place, payload) in payloads.iter().enumerate() {
            let last = place + 1 == payloads.len();
            assembler.take(&packet(9, last, payload, noon()), false, &mut out);
        }
        out
    }

    const VP8_KEY: &[u8] = &[0, 0, 0, 0x9D, 0x01, 0x2A, 0x40, 0x01, 0xF0, 0x00, 7];
    const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x02, 0x80, 0xF6, 0x80];

    #[test]
    fn payloads_that_panic_elsewhere_are_left_out() {
        for bad in [&[0x18, 0, 0, 0][..], &[0x18, 0, 9, 1], &[28], &[28, 0x80], &[0x18, 0], &[0]] {
            assert!(frames(Codec::H264, &[bad]).is_empty());
        }
        for bad in [&[0x10, 0x06][..], &[0x10, 0x04], &[0x10], &[0], &[0xC0, 0xFF], &[0x90, 1]] {
            assert!(frames(Codec::Av1, &[bad]).is_empty());
        }
        let vp8 = [&[0x90, 0xF0, 0x80, 1, 2, 3][..], VP8_KEY].concat();
        for cut in 0..7 {
            assert!(frames(Codec::Vp8, &[&vp8[..cut]]).is_empty(), "{cut}");
        }
        let vp9 = [0x9A, 0x80, 1, 0x38, 0, 1, 0, 1, 1, 0x04, 1];
        for cut in 0..vp9.len() {
            assert!(frames(Codec::Vp9, &[&vp9[..cut]]).is_empty(), "{cut}");
        }
    }

    #[test]
    fn a_frame_in_pieces_is_whole_again() {
        let begin = [&[0x10][..], VP8_KEY].concat();
        let found = frames(Codec::Vp8, &[&begin, &[0x00, 1, 2], &[0x00, 3]]);
        let data = [VP8_KEY, &[1, 2, 3]].concat();
        assert_eq!(
            found,
            [Frame {
                timestamp: 9,
                keyframe: true,
                size: Some((320, 240)),
                data,
                ..Frame::default()
            }]
        );
    }

    #[test]
    fn without_a_keyframe_nothing_is_written_after_a_loss() {
        let (mut assembler, mut out) = (Assembler::new(Codec::Vp8), Vec::new());
        let key = [&[0x10][..], VP8_KEY].concat();
        let delta = [0x10, 1, 2, 3];
        let mut send = |timestamp, payload: &[u8], gap| {
            let before = out.len();
            assembler.take(&packet(timestamp, true, payload, noon()), gap, &mut out);
            out.len() - before
        };
        let sent = [
            send(1, &delta, false),
            send(2, &key, false),
            send(3, &delta, false),
            send(4, &delta, true),
            send(5, &delta, false),
            send(6, &key, false),
            send(7, &delta, false),
        ];
        assert_eq!(sent, [0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn units_of_h264_get_their_lengths_and_the_sets_their_record() {
        let pps = [0x68, 1, 2];
        let mut stap = vec![24];
        for unit in [SPS, &pps] {
            stap.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
            stap.extend(unit);
        }
        let found = frames(Codec::H264, &[&stap, &[0x7C, 0x85, 1, 2], &[0x7C, 0x45, 3]]);
        assert_eq!(found.len(), 1);
        assert!(found[0].keyframe && found[0].size == Some((640, 480)), "{:?}", found[0].size);
        assert!(found[0].data.ends_with(&[0, 0, 0, 4, 0x65, 1, 2, 3]));
        assert_eq!(found[0].private[..8], [1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 9]);
    }

    #[test]
    fn redundant_audio_gives_its_newest_block() {
        let payload = [0x80 | 111, 0, 0, 3, 111, 1, 2, 3, 9, 9];
        assert_eq!(red_primary(&payload), Some(&[9, 9][..]));
        assert_eq!(red_primary(&payload[..3]), None);
        assert_eq!(red_primary(&[111]), Some(&[][..]));
    }

    proptest! {
        #[test]
        fn no_payload_does_any_harm(
            codec in prop::sample::select(&Codec::ALL[..]),
            payloads in prop::collection::vec(
                (any::<[u8; 3]>(), prop::collection::vec(any::<u8>(), 0..40), any::<(bool, bool, bool)>()),
                0..12,
            ),
        ) {
            let (mut assembler, mut out) = (Assembler::new(codec), Vec::new());
            for (start, rest, (marker, gap, next)) in payloads {
                let payload = [&start[..], &rest].concat();
                let mut packet = packet(u32::from(next), marker, &payload, noon());
                packet.red = codec == Codec::Opus;
                assembler.take(&packet, gap, &mut out);
            }
            for frame in out {
                prop_assert!(!frame.data.is_empty());
            }
        }
    }
}
