//! Packets become frames again. Every length is checked; what cannot be is left out until the next keyframe.

use super::bits::Bits;
use super::vp9;
use crate::codec::{self, Codec, red_primary};
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
    pub(super) data: Vec<u8>,
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
}

/// See the module.
#[derive(Debug)]
pub(super) struct Assembler {
    codec: Codec,
    part: Option<Part>,
    /// Without a keyframe what comes cannot be decoded.
    pub(super) broken: bool,
    sps: Vec<u8>,
    pps: Vec<u8>,
    sequence: Vec<u8>,
    layers: vp9::Layers,
}

impl Assembler {
    pub(super) fn new(codec: Codec) -> Self {
        let broken = codec != Codec::Opus;
        Self {
            codec,
            part: None,
            broken,
            sps: Vec::new(),
            pps: Vec::new(),
            sequence: Vec::new(),
            layers: vp9::Layers::default(),
        }
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
        let (size, private) = match self.codec {
            Codec::Vp8 => (vp8_size(&part.data), Vec::new()),
            Codec::Vp9 => {
                let (about, layers) = ((part.keyframe, part.spatial), &mut self.layers);
                let picture = layers.picture(&part.data, &part.ends, about);
                let Some((data, size)) = picture else { return };
                part.data = data;
                (size, Vec::new())
            }
            Codec::H264 => self.look_at_units(&mut part),
            Codec::Av1 => self.look_at_obus(&mut part),
            Codec::Opus => (None, Vec::new()),
        };
        let Part { timestamp, keyframe, data, .. } = part;
        let usable = keyframe && size.is_some();
        if self.broken && !usable {
            return;
        }
        self.broken = false;
        out.push(Frame { timestamp, keyframe: usable, size, private, data });
    }

    fn look_at_units(&mut self, part: &mut Part) -> (Option<(u16, u16)>, Vec<u8>) {
        let mut rest = part.data.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((unit, after)) = after.split_at_checked(length) else { break };
            match unit.first().map(|first| first & 0x1F) {
                Some(5) => part.keyframe = true,
                Some(7) => self.sps = unit.to_vec(),
                Some(8) => self.pps = unit.to_vec(),
                _ => {}
            }
            rest = after;
        }
        if !part.keyframe {
            return (None, Vec::new());
        }
        (sps_size(&self.sps), self.avc_configuration().unwrap_or_default())
    }

    /// ISO/IEC 14496-15 §5.3.3.1.2.
    fn avc_configuration(&self) -> Option<Vec<u8>> {
        let &[_, profile, compatible, level, ..] = self.sps.as_slice() else { return None };
        let mut record = vec![1, profile, compatible, level, 0xFF, 0xE1];
        record.extend(u16::try_from(self.sps.len()).ok()?.to_be_bytes());
        record.extend(&self.sps);
        record.push(1);
        record.extend(u16::try_from(self.pps.len()).ok()?.to_be_bytes());
        record.extend(&self.pps);
        Some(record)
    }

    /// Drops what a file does not hold, and gives every unit its size (AV1 in Matroska).
    fn look_at_obus(&mut self, part: &mut Part) -> (Option<(u16, u16)>, Vec<u8>) {
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
                    self.sequence.clone_from(&sized);
                }
                Some(_) => {}
            }
            data.extend(sized);
        }
        part.data = data;
        if !part.keyframe || part.data.is_empty() {
            return (None, Vec::new());
        }
        // av1C of 8 bit 4:2:0, which profile 0 of WebRTC is.
        let header = obu_payload(&self.sequence).unwrap_or_default();
        let profile = header.first().map_or(0, |first| first >> 5);
        let mut private = vec![0x81, profile << 5 | 8, 0x0C, 0];
        private.extend(&self.sequence);
        (Some(av1_size(header).unwrap_or((1280, 720))), private)
    }
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

/// ITU-T H.264 §7.3.2.1.1.
fn sps_size(sps: &[u8]) -> Option<(u16, u16)> {
    // Bytes that keep start codes from appearing are taken out.
    let (mut plain, mut zeros) = (Vec::with_capacity(sps.len()), 0);
    for &byte in sps {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    let mut bits = Bits::new(plain.get(1..)?);
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.golomb()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128].contains(&profile) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.bit()?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.bit()?;
        if bits.bit()? {
            // Scaling lists of their own are nothing that WebRTC encoders write.
            return None;
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => drop(bits.golomb()?),
        1 => {
            bits.bit()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            for _ in 0..bits.golomb()?.min(255) {
                bits.signed_golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.bit()?;
    let (width, height) = (bits.golomb()?.checked_add(1)?, bits.golomb()?.checked_add(1)?);
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?;
    }
    bits.bit()?;
    let mut crop = [0; 4];
    if bits.bit()? {
        for side in &mut crop {
            *side = bits.golomb()?;
        }
    }
    let [left, right, top, bottom] = crop;
    let fields = if frames_only { 1 } else { 2 };
    let (across, down) =
        (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let cut = |whole: u32, a: u32, b: u32, unit: u32| {
        whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?).filter(|&rest| rest > 0)
    };
    let width = cut(width.checked_mul(16)?, left, right, across)?;
    let height = cut(height.checked_mul(16 * fields)?, top, bottom, down * fields)?;
    Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?))
}

/// LEB128, and how many bytes it takes (AV1 bitstream §4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (place, &byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
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

/// A unit with its size in it (AV1 bitstream §5.3).
fn sized_obu(unit: &[u8]) -> Option<Vec<u8>> {
    let &first = unit.first()?;
    let header = if first & 0x04 != 0 { 2 } else { 1 };
    let payload = if first & 0x02 != 0 {
        let (length, size) = leb128(unit.get(header..)?)?;
        unit.get(header + size..header + size + length)?
    } else {
        unit.get(header..)?
    };
    let mut sized = vec![first | 0x02];
    sized.extend_from_slice(unit.get(1..header)?);
    let mut length = payload.len();
    loop {
        let low = u8::try_from(length & 0x7F).unwrap_or(0);
        length >>= 7;
        sized.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    sized.extend_from_slice(payload);
    Some(sized)
}

fn obu_payload(sized: &[u8]) -> Option<&[u8]> {
    let header = if sized.first()? & 0x04 != 0 { 2 } else { 1 };
    let (length, size) = leb128(sized.get(header..)?)?;
    sized.get(header + size..header + size + length)
}

/// The largest size of a sequence (AV1 bitstream §5.5.1).
fn av1_size(header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(header);
    bits.number(3)?;
    bits.bit()?;
    if bits.bit()? {
        bits.number(5)?;
    } else {
        if bits.bit()? {
            // Timing is nothing that WebRTC encoders write.
            return None;
        }
        let delayed = bits.bit()?;
        for _ in 0..=bits.number(5)? {
            bits.number(12)?;
            if bits.number(5)? > 7 {
                bits.bit()?;
            }
            if delayed && bits.bit()? {
                bits.number(4)?;
            }
        }
    }
    let (across, down) = (bits.number(4)? + 1, bits.number(4)? + 1);
    let mut side = |count| u16::try_from(bits.number(count)?.checked_add(1)?).ok();
    Some((side(across)?, side(down)?))
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
                private: Vec::new(),
                data
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
