//! VP9 in a file: all layers of a picture go together, and of them the highest is shown, since players show every frame that says so.
//! A picture that lacks a layer for once is not shown at all. (Sections are those of the VP9 bitstream specification, version 0.6.)

use super::bits::Bits;

/// Frames that go together at most (annex B), and how many of them may be of pictures before.
const TOGETHER: usize = 8;
const HELD: usize = 5;

type Size = (u16, u16);

/// What is known of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    /// The sizes of the pictures that a frame may refer to, which it need not repeat.
    references: [Option<Size>; 8],
    /// The layer that was shown last.
    shown: u8,
    /// Frames of pictures that lack it: those that follow may refer to them.
    held: Vec<Vec<u8>>,
}

/// What the uncompressed header of a frame says (§6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Header {
    /// Predicted from other pictures.
    inter: bool,
    shown: bool,
    size: Size,
    /// The references that it takes the place of, a bit each.
    refreshes: u8,
    /// Its length in bits.
    length: usize,
}

/// What a payload adds to its picture (RFC 9628 §4.2).
pub(super) struct Piece<'a> {
    /// Of which layer.
    pub(super) spatial: u8,
    /// Predicted from other pictures.
    pub(super) inter: bool,
    /// The first of its frame, and the last.
    pub(super) begins: bool,
    pub(super) ends: bool,
    pub(super) data: &'a [u8],
}

/// Reads the payload descriptor.
pub(super) fn piece(payload: &[u8]) -> Option<Piece<'_>> {
    let &first = payload.first()?;
    let has = |bit: u8| first & bit != 0;
    let mut at = 1;
    if has(0x80) {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let mut spatial = 0;
    if has(0x20) {
        spatial = payload.get(at)? >> 1 & 0x07;
        at += if has(0x10) { 1 } else { 2 };
    }
    if has(0x10) && has(0x40) {
        // Up to three references.
        for _ in 0..3 {
            let more = payload.get(at)? & 1 != 0;
            at += 1;
            if !more {
                break;
            }
        }
    }
    if has(0x02) {
        let &structure = payload.get(at)?;
        at += 1;
        if structure & 0x10 != 0 {
            at += 4 * (usize::from(structure >> 5) + 1);
        }
        if structure & 0x08 != 0 {
            let pictures = *payload.get(at)?;
            at += 1;
            for _ in 0..pictures {
                at += 1 + usize::from(payload.get(at)? >> 2 & 0x03);
            }
        }
    }
    let data = payload.get(at..)?;
    let (inter, begins, ends) = (has(0x40), has(0x08), has(0x04));
    Some(Piece { spatial, inter, begins, ends, data })
}

impl Layers {
    /// Takes a picture whose frames end at `ends` and whose highest layer is `spatial`. Gives what goes into the file, if something is
    /// to be shown, and the size of that.
    pub(super) fn picture(
        &mut self,
        data: &[u8],
        ends: &[usize],
        (keyframe, spatial): (bool, u8),
    ) -> Option<(Vec<u8>, Option<Size>)> {
        let whole = [data.len()];
        let several = ends.len() <= TOGETHER && ends.last() == Some(&data.len());
        let ends = if several { ends } else { &whole };
        if keyframe {
            self.held.clear();
        }
        let waits = !keyframe && spatial < self.shown && self.held.len() + ends.len() <= HELD;
        let (mut begin, mut size) = (0, None);
        for (place, &end) in (1..).zip(ends) {
            let frame = data.get(begin..end)?;
            begin = end;
            let header = header(frame, &self.references);
            if let Some(header) = header {
                self.note(&header);
                size = Some(header.size);
            }
            let hides = header.filter(|header| header.shown && (waits || place < ends.len()));
            self.held.push(match hides {
                Some(header) => hide(frame, &header)?,
                None => frame.to_vec(),
            });
        }
        if waits {
            return None;
        }
        self.shown = spatial;
        let mut frames = std::mem::take(&mut self.held);
        // More than go together: what is shown is the last.
        frames.drain(..frames.len().saturating_sub(TOGETHER));
        Some((superframe(frames), size))
    }

    fn note(&mut self, header: &Header) {
        for (place, known) in self.references.iter_mut().enumerate() {
            if header.refreshes >> place & 1 == 1 {
                *known = Some(header.size);
            }
        }
    }
}

/// Frames with an index at the end (annex B); one needs none.
fn superframe(mut frames: Vec<Vec<u8>>) -> Vec<u8> {
    if frames.len() == 1 {
        return frames.remove(0);
    }
    let marker = 0xC0 | 3 << 3 | u8::try_from(frames.len() - 1).unwrap_or(0);
    let mut out = frames.concat();
    out.push(marker);
    let length = |frame: &Vec<u8>| u32::try_from(frame.len()).unwrap_or(0).to_le_bytes();
    out.extend(frames.iter().flat_map(length));
    out.push(marker);
    out
}

/// Reads the header of a frame of profile 0 that is not a repetition of another (§6.2 to §6.2.14).
fn header(frame: &[u8], references: &[Option<Size>; 8]) -> Option<Header> {
    const KEY: u32 = 0x49_83_42;
    let mut bits = Bits::new(frame);
    if bits.number(2)? != 2 || bits.number(2)? != 0 || bits.bit()? {
        return None;
    }
    let (predicted, shown, resilient) = (bits.bit()?, bits.bit()?, bits.bit()?);
    let intra_only = predicted && !shown && bits.bit()?;
    if predicted && !resilient {
        bits.number(2)?;
    }
    let inter = predicted && !intra_only;
    let (mut refreshes, mut size) = (0xFF, None);
    if !inter && bits.number(24)? != KEY {
        return None;
    }
    if !predicted && bits.number(3)? != 7 {
        bits.bit()?;
    }
    if predicted {
        refreshes = u8::try_from(bits.number(8)?).ok()?;
    }
    if inter {
        let mut named = [0; 3];
        for name in &mut named {
            *name = bits.number(3)? as usize;
            bits.bit()?;
        }
        for name in named {
            if bits.bit()? {
                size = Some((*references.get(name)?)?);
                break;
            }
        }
    }
    let size = match size {
        Some(size) => size,
        None => {
            let mut side = || u16::try_from(bits.number(16)? + 1).ok();
            (side()?, side()?)
        }
    };
    if bits.bit()? {
        bits.number(32)?;
    }
    if inter {
        bits.bit()?;
        if !bits.bit()? {
            bits.number(2)?;
        }
    }
    if !resilient {
        bits.number(2)?;
    }
    bits.number(2)?;
    skip_filters(&mut bits)?;
    skip_segments(&mut bits)?;
    // Tiles are between 256 and 4,096 samples wide.
    let columns = u32::from(size.0).div_ceil(64);
    let least = (0..).find(|&log| 64 << log >= columns)?;
    let most = (1..).find(|&log| columns >> log < 4)? - 1;
    for _ in least..most {
        if !bits.bit()? {
            break;
        }
    }
    if bits.bit()? {
        bits.bit()?;
    }
    bits.number(16)?;
    Some(Header { inter, shown, size, refreshes, length: bits.position() })
}

/// The loop filter and the quantization (§6.2.8, §6.2.9).
fn skip_filters(bits: &mut Bits<'_>) -> Option<()> {
    bits.number(9)?;
    if bits.bit()? && bits.bit()? {
        for _ in 0..6 {
            if bits.bit()? {
                bits.number(7)?;
            }
        }
    }
    bits.number(8)?;
    for _ in 0..3 {
        if bits.bit()? {
            bits.number(5)?;
        }
    }
    Some(())
}

/// Segmentation (§6.2.11).
fn skip_segments(bits: &mut Bits<'_>) -> Option<()> {
    if !bits.bit()? {
        return Some(());
    }
    let probabilities = |bits: &mut Bits<'_>, count| {
        for _ in 0..count {
            if bits.bit()? {
                bits.number(8)?;
            }
        }
        Some(())
    };
    if bits.bit()? {
        probabilities(bits, 7)?;
        if bits.bit()? {
            probabilities(bits, 3)?;
        }
    }
    if bits.bit()? {
        bits.bit()?;
        for _ in 0..8 {
            // A value and its sign, of the quantizer, the filter, the reference and what is skipped.
            for length in [9, 7, 2, 0] {
                if bits.bit()? {
                    bits.number(length)?;
                }
            }
        }
    }
    Some(())
}

/// Writes a frame that is shown as one that is not. Where others predict it the header says then that it is not intra-only, and gets
/// longer by that bit.
fn hide(frame: &[u8], header: &Header) -> Option<Vec<u8>> {
    const SHOWN: u8 = 0x02;
    let mut out = Vec::with_capacity(frame.len() + 1);
    let (first, rest) = frame.split_first()?;
    out.push(first & !SHOWN);
    if !header.inter {
        out.extend_from_slice(rest);
        return Some(out);
    }
    let mut bits = Bits::new(rest);
    let (mut byte, mut count) = (0_u8, 1);
    for _ in 8..header.length {
        byte = byte << 1 | u8::from(bits.bit()?);
        count += 1;
        if count == 8 {
            out.push(byte);
            (byte, count) = (0, 0);
        }
    }
    if count > 0 {
        out.push(byte << (8 - count));
    }
    out.extend_from_slice(frame.get(header.length.div_ceil(8)..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use proptest::prelude::*;

    use super::*;

    /// Bits of a frame: a keyframe, or one that is predicted and states its size.
    fn frame(key: bool, size: Size, more: &str) -> Vec<u8> {
        let mut text = if key {
            // Marker, profile, shown; sync code, colours.
            format!("10 00 0 0 1 0 {:024b} 001 0", 0x49_83_42)
        } else {
            // The same; no reset; refreshes the second; three references; size of none.
            "10 00 0 1 1 0 00 00000010 000 0 001 0 010 0 000".to_owned()
        };
        text += &format!("{:016b} {:016b} 0", size.0 - 1, size.1 - 1);
        text += if key { "" } else { "1 1" };
        // Contexts, filters, quantization, segments.
        text += more;
        let digits: Vec<u8> =
            text.bytes().filter(|digit| *digit != b' ').map(|digit| digit - b'0').collect();
        let mut bytes: Vec<u8> = digits
            .chunks(8)
            .map(|chunk| {
                (0..8).fold(0, |byte, place| byte << 1 | chunk.get(place).copied().unwrap_or(0))
            })
            .collect();
        bytes.extend([0xAA, 0xBB, 0xCC]);
        bytes
    }

    /// Nothing special; no tile increment, as up to 448 samples have; three bytes of compressed header.
    const PLAIN: &str = "1 0 00 000011 000 0 00100000 0 0 0 0 0 0000000000000011";
    const SEGMENTS: &str = "1 0 00 000011 000 1 1 1 0000001 0 0 0 0 0 00100000 1 00001 0 0 \
        1 1 1 11110000 0 0 0 0 0 0 1 0 1 00001111 0 1 1 \
        1 000000001 0 0 0 0000 0000 0000 0000 0000 0000 0001 0 0000000000000011";

    #[test]
    fn headers_are_read_to_their_end() {
        for more in [PLAIN, SEGMENTS] {
            for key in [true, false] {
                let frame = frame(key, (320, 180), more);
                let header = header(&frame, &[None; 8]).unwrap();
                assert_eq!((header.inter, header.shown, header.size), (!key, true, (320, 180)));
                assert_eq!(header.refreshes, if key { 0xFF } else { 2 });
                assert_eq!(header.length.div_ceil(8), frame.len() - 3, "{key} {more}");
            }
        }
    }

    /// The frames that go together.
    fn apart(mut data: Vec<u8>) -> Vec<Vec<u8>> {
        let marker = data.pop().unwrap();
        assert_eq!(marker & 0xF8, 0xD8, "an index of lengths of four bytes");
        let index = data.split_off(data.len() - 4 * usize::from((marker & 7) + 1) - 1);
        assert_eq!(index[0], marker);
        let length = |four: &[u8]| u32::from_le_bytes(four.try_into().unwrap()) as usize;
        let frames =
            index[1..].chunks(4).map(|four| data.drain(..length(four)).collect()).collect();
        assert!(data.is_empty());
        frames
    }

    fn shown(frames: &[Vec<u8>], layers: &Layers) -> Vec<bool> {
        frames.iter().map(|frame| header(frame, &layers.references).unwrap().shown).collect()
    }

    fn take(
        layers: &mut Layers,
        frames: &[Vec<u8>],
        spatial: u8,
    ) -> Option<(Vec<u8>, Option<Size>)> {
        let mut end = 0;
        let ends: Vec<usize> = frames
            .iter()
            .map(|frame| {
                end += frame.len();
                end
            })
            .collect();
        let keyframe = frames[0][0] & 4 == 0;
        layers.picture(&frames.concat(), &ends, (keyframe, spatial))
    }

    #[test]
    fn of_a_picture_with_layers_the_highest_is_shown() {
        let frames = [
            frame(true, (160, 90), PLAIN),
            frame(false, (320, 180), SEGMENTS),
            frame(false, (440, 248), PLAIN),
        ];
        let mut layers = Layers::default();
        let (data, size) = take(&mut layers, &frames, 2).unwrap();
        assert_eq!(size, Some((440, 248)));
        assert_eq!(layers.references[..3], [Some((160, 90)), Some((440, 248)), Some((160, 90))]);
        let found = apart(data);
        assert_eq!(shown(&found, &layers), [false, false, true]);
        for (after, before) in found.iter().zip(&frames) {
            assert!(after.ends_with(&[0xAA, 0xBB, 0xCC]));
            assert!((0..=1).contains(&(after.len() - before.len())));
        }
    }

    #[test]
    fn a_picture_that_lacks_a_layer_goes_unseen_with_the_next_until_there_are_many() {
        let (low, high) = (frame(false, (320, 180), PLAIN), frame(false, (440, 248), PLAIN));
        let key = frame(true, (320, 180), PLAIN);
        let mut layers = Layers::default();
        assert!(take(&mut layers, &[key.clone(), high.clone()], 1).is_some());
        assert_eq!(take(&mut layers, from_ref(&low), 0), None);
        assert_eq!(take(&mut layers, from_ref(&low), 0), None);
        let (data, size) = take(&mut layers, &[low.clone(), high.clone()], 1).unwrap();
        assert_eq!(
            (shown(&apart(data), &layers), size),
            (vec![false, false, false, true], Some((440, 248)))
        );
        for _ in 0..5 {
            assert_eq!(take(&mut layers, from_ref(&low), 0), None);
        }
        let (data, size) = take(&mut layers, from_ref(&low), 0).unwrap();
        assert_eq!(
            (shown(&apart(data), &layers), size),
            (vec![false, false, false, false, false, true], Some((320, 180)))
        );
        // That is the layer that is shown now; a higher one comes at once.
        assert_eq!(take(&mut layers, from_ref(&low), 0), Some((low.clone(), Some((320, 180)))));
        assert!(take(&mut layers, &[low.clone(), high.clone()], 1).is_some());
        assert_eq!(take(&mut layers, &[low], 0), None);
        // A keyframe needs nothing of before.
        assert_eq!(take(&mut layers, from_ref(&key), 0), Some((key, Some((320, 180)))));
    }

    #[test]
    fn a_size_that_is_that_of_a_reference_is_known() {
        let mut layers = Layers::default();
        take(&mut layers, &[frame(true, (320, 180), PLAIN)], 0);
        let text = frame(false, (1, 1), PLAIN);
        // The first bit of "none of them" is set, and the 34 of the size and the other two are taken out.
        let bits = |byte: &u8| (0..8).map(|place| byte >> (7 - place) & 1).collect::<Vec<_>>();
        let mut digits: Vec<u8> = text.iter().flat_map(bits).collect();
        digits[30] = 1;
        digits.drain(31..65);
        let bytes = digits.chunks(8).map(|chunk| chunk.iter().fold(0, |byte, bit| byte << 1 | bit));
        let short: Vec<u8> = bytes.collect();
        assert_eq!(header(&short, &layers.references).unwrap().size, (320, 180));
        assert_eq!(header(&short, &[None; 8]), None);
    }

    proptest! {
        #[test]
        fn what_is_hidden_is_the_same_but_for_that(mut bytes in prop::collection::vec(any::<u8>(), 20..80), known in any::<(u16, u16)>()) {
            let references = [Some(known); 8];
            bytes[0] = 0x86 | bytes[0] & 1;
            let Some(before) = header(&bytes, &references) else { return Ok(()) };
            let hidden = hide(&bytes, &before).unwrap();
            let after = header(&hidden, &references).unwrap();
            prop_assert_eq!(after, Header { shown: false, length: before.length + 1, ..before });
            prop_assert_eq!(&hidden[after.length.div_ceil(8)..], &bytes[before.length.div_ceil(8)..]);
        }
    }
}
