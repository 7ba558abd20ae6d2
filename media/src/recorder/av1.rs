//! AV1 in a file: open bitstream units with their sizes, and what a sequence header says. (Sections are those of the AV1 bitstream
//! specification.)

use super::bits::Bits;
use super::webm::Colour;

/// What a sequence header says (§5.5.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sequence {
    /// The largest width and height.
    pub(super) size: (u16, u16),
    pub(super) colour: Option<Colour>,
    /// The profile and the first operating point's level and tier.
    profile: u8,
    level: u8,
    tier: bool,
    /// Bit depth, monochrome, subsampling and its position, as the second byte of the configuration record has them.
    format: u8,
}

/// LEB128, and how many bytes it takes (§4.10.5).
pub(super) fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (place, &byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// A unit with its size in it (§5.3).
pub(super) fn sized_obu(unit: &[u8]) -> Option<Vec<u8>> {
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

fn payload(sized: &[u8]) -> Option<&[u8]> {
    let header = if sized.first()? & 0x04 != 0 { 2 } else { 1 };
    let (length, size) = leb128(sized.get(header..)?)?;
    sized.get(header + size..header + size + length)
}

/// Reads a sequence header that has its size.
pub(super) fn sequence(sized: &[u8]) -> Option<Sequence> {
    let mut bits = Bits::new(payload(sized)?);
    let mut sequence = Sequence { profile: small(&mut bits, 3)?, ..Sequence::default() };
    bits.bit()?;
    let reduced = bits.bit()?;
    if reduced {
        sequence.level = small(&mut bits, 5)?;
    } else {
        operating_points(&mut bits, &mut sequence)?;
    }
    let (across, down) = (bits.number(4)? + 1, bits.number(4)? + 1);
    let mut side = |count| u16::try_from(bits.number(count)?.checked_add(1)?).ok();
    sequence.size = (side(across)?, side(down)?);
    // A stream of which no more is understood is one of eight bits and 4:2:0, which browsers send.
    sequence.format = 0x0C;
    if skip_tools(&mut bits, reduced).is_some() {
        let _ = colours(&mut bits, &mut sequence);
    }
    Some(sequence)
}

fn small(bits: &mut Bits<'_>, count: u32) -> Option<u8> {
    u8::try_from(bits.number(count)?).ok()
}

fn operating_points(bits: &mut Bits<'_>, sequence: &mut Sequence) -> Option<()> {
    let mut delay_bits = None;
    if bits.bit()? {
        bits.number(32)?;
        bits.number(32)?;
        if bits.bit()? {
            uvlc(bits)?;
        }
        if bits.bit()? {
            delay_bits = Some(bits.number(5)? + 1);
            bits.number(32)?;
            bits.number(10)?;
        }
    }
    let delayed = bits.bit()?;
    for place in 0..=bits.number(5)? {
        bits.number(12)?;
        let level = small(bits, 5)?;
        let tier = level > 7 && bits.bit()?;
        if place == 0 {
            (sequence.level, sequence.tier) = (level, tier);
        }
        if let Some(count) = delay_bits
            && bits.bit()?
        {
            bits.number(count)?;
            bits.number(count)?;
            bits.bit()?;
        }
        if delayed && bits.bit()? {
            bits.number(4)?;
        }
    }
    Some(())
}

/// §4.10.3.
fn uvlc(bits: &mut Bits<'_>) -> Option<()> {
    let mut zeros = 0;
    while !bits.bit()? {
        zeros += 1;
        if zeros >= 32 {
            return Some(());
        }
    }
    bits.number(zeros).map(drop)
}

fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    const CHOSEN: u32 = 2;
    if !reduced && bits.bit()? {
        bits.number(7)?;
    }
    // Superblocks of 128, filter intra, the edge filter.
    bits.number(3)?;
    if !reduced {
        // Interintra, masked, warped, dual filter.
        bits.number(4)?;
        let order_hint = bits.bit()?;
        if order_hint {
            bits.number(2)?;
        }
        let screen = if bits.bit()? { CHOSEN } else { bits.number(1)? };
        if screen > 0 && !bits.bit()? {
            bits.bit()?;
        }
        if order_hint {
            bits.number(3)?;
        }
    }
    // Super resolution, CDEF, restoration.
    bits.number(3).map(drop)
}

/// §5.5.2.
fn colours(bits: &mut Bits<'_>, sequence: &mut Sequence) -> Option<()> {
    const RGB: (u8, u8, u8) = (1, 13, 0);
    let deep = bits.bit()?;
    let twelve = sequence.profile == 2 && deep && bits.bit()?;
    let ten = deep && !twelve;
    let mono = sequence.profile != 1 && bits.bit()?;
    let described = bits.bit()?;
    let mut codes = (2, 2, 2);
    if described {
        codes = (small(bits, 8)?, small(bits, 8)?, small(bits, 8)?);
    }
    let mut full = false;
    let (mut across, mut down, mut position) = (true, true, 0);
    if mono {
        full = bits.bit()?;
    } else if codes == RGB {
        (full, across, down) = (true, false, false);
    } else {
        full |= bits.bit()?;
        (across, down) = match sequence.profile {
            0 => (true, true),
            1 => (false, false),
            _ if twelve => {
                let across = bits.bit()?;
                (across, across && bits.bit()?)
            }
            _ => (true, false),
        };
        if across && down {
            position = small(bits, 2)?;
        }
    }
    let flags = [ten || twelve, twelve, mono, across, down];
    let flags = flags.iter().fold(0, |flags, &flag| flags << 1 | u8::from(flag));
    sequence.format = flags << 2 | position;
    let (primaries, transfer, matrix) = codes;
    sequence.colour = (described || full).then_some(Colour { full, primaries, transfer, matrix });
    Some(())
}

/// The AV1CodecConfigurationRecord of a sequence header that has its size (AV1 in ISOBMFF §2.3.3).
pub(super) fn configuration(sequence: &Sequence, sized: &[u8]) -> Vec<u8> {
    let tier = u8::from(sequence.tier) << 7;
    let mut record =
        vec![0x81, sequence.profile << 5 | sequence.level & 0x1F, tier | sequence.format, 0];
    record.extend_from_slice(sized);
    record
}
