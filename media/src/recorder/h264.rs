//! H.264 in a file: what its sequence parameter sets say (ITU-T H.264 §7.3.2.1.1), and the record that a decoder begins with.

use super::bits::Bits;
use super::webm::Colour;
use crate::parameter_sets::ParameterSets;

/// Profiles whose sets name the chroma format and the bit depth.
const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sequence {
    /// Width and height of what is shown.
    pub(super) size: (u16, u16),
    /// Of a high profile: `chroma_format_idc`, and the bits of luma and chroma beyond eight.
    high: Option<[u8; 3]>,
    pub(super) colour: Option<Colour>,
}

/// Reads a sequence parameter set.
pub(super) fn sequence(sps: &[u8]) -> Option<Sequence> {
    let plain = unescaped(sps);
    let mut bits = Bits::new(plain.get(1..)?);
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.golomb()?;
    let high = if HIGH.contains(&profile) { Some(chroma(&mut bits)?) } else { None };
    bits.golomb()?;
    skip_order_count(&mut bits)?;
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
    let chroma = high.map_or(1, |[chroma, ..]| chroma);
    let (across, down) =
        (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    let cut = |whole: u32, a: u32, b: u32, unit: u32| {
        whole.checked_sub(a.checked_add(b)?.checked_mul(unit)?).filter(|&rest| rest > 0)
    };
    let width = cut(width.checked_mul(16)?, left, right, across)?;
    let height = cut(height.checked_mul(16 * fields)?, top, bottom, down * fields)?;
    let size = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    Some(Sequence { size, high, colour: colour(&mut bits) })
}

/// Bytes that keep start codes from appearing are taken out (§7.4.1).
fn unescaped(unit: &[u8]) -> Vec<u8> {
    let (mut plain, mut zeros) = (Vec::with_capacity(unit.len()), 0);
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

fn chroma(bits: &mut Bits<'_>) -> Option<[u8; 3]> {
    let small = |bits: &mut Bits<'_>| u8::try_from(bits.golomb()?).ok().filter(|it| *it < 8);
    let format = small(bits)?;
    if format == 3 {
        bits.bit()?;
    }
    let depths = [small(bits)?, small(bits)?];
    bits.bit()?;
    if bits.bit()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.bit()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some([format, depths[0], depths[1]])
}

/// §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn skip_order_count(bits: &mut Bits<'_>) -> Option<()> {
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
    Some(())
}

/// What the usability information says of colours (§E.1.1).
fn colour(bits: &mut Bits<'_>) -> Option<Colour> {
    const EXTENDED: u32 = 255;
    if !bits.bit()? {
        return None;
    }
    if bits.bit()? && bits.number(8)? == EXTENDED {
        bits.number(32)?;
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if !bits.bit()? {
        return None;
    }
    bits.number(3)?;
    let full = bits.bit()?;
    let mut colour = Colour { full, ..Colour::default() };
    if bits.bit()? {
        let mut code = || u8::try_from(bits.number(8)?).ok();
        (colour.primaries, colour.transfer, colour.matrix) = (code()?, code()?, code()?);
    }
    Some(colour)
}

/// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1.2): profile and level are those of the set that comes first.
pub(super) fn configuration(first: &[u8], sets: &ParameterSets) -> Option<Vec<u8>> {
    let &[_, profile, compatible, level, ..] = first else { return None };
    let others = sets.sequences().filter(|set| *set != first);
    let sequences: Vec<&[u8]> = std::iter::once(first).chain(others).collect();
    let pictures: Vec<&[u8]> = sets.pictures().collect();
    let mut record = vec![1, profile, compatible, level, 0xFF];
    record.push(0xE0 | u8::try_from(sequences.len()).ok()?);
    put(&mut record, &sequences)?;
    record.push(u8::try_from(pictures.len()).ok()?);
    put(&mut record, &pictures)?;
    if let Some([chroma, luma_depth, chroma_depth]) = sequence(first)?.high {
        record.extend([0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0]);
    }
    Some(record)
}

fn put(record: &mut Vec<u8>, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        record.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    Some(())
}
