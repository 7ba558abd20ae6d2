//! What a forwarder must know of the codecs: where a picture that needs no other begins, and how VP8 numbers its pictures.
//! Payloads are never decoded, and every length is checked.

/// A codec by its name in SDP.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184, packetization mode 1.
    H264,
    /// The AV1 RTP specification of the Alliance for Open Media.
    Av1,
}

/// What kind of media.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Opus, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    /// Sound or pictures.
    pub fn kind(self) -> Kind {
        if self == Self::Opus { Kind::Audio } else { Kind::Video }
    }

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::H264 => "h264",
            Self::Av1 => "av1",
        }
    }

    /// The codec of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Ticks of the RTP clock in a second.
    pub(crate) fn clock(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }
}

/// A profile of H.264, as far as it decides who can decode a stream (RFC 6184 §8.1, ITU-T H.264 annex A).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Profile {
    /// A subset of all the others.
    ConstrainedBaseline,
    /// Profile 66 without the constraint.
    Baseline,
    /// Profile 77.
    Main,
    /// Profile 100, constrained or not.
    High,
}

/// What sender and receiver have to agree on: the codec and, of H.264, the profile and the packetization mode (RFC 6184 §8.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// The profile of H.264; constrained baseline for all other codecs.
    pub profile: Profile,
    /// Packetization mode 0 of H.264: one NAL unit in each packet.
    pub single_unit: bool,
}

impl Format {
    /// Whether who takes this format can be sent a stream of the other one.
    pub fn takes(self, sent: Self) -> bool {
        // What baseline has beyond its constrained form (slices in any order or twice) no encoder for WebRTC makes.
        let baseline = matches!(sent.profile, Profile::ConstrainedBaseline | Profile::Baseline);
        let profile = self.profile == sent.profile || baseline;
        // A receiver of mode 1 takes packets of single units, too (RFC 6184 §6.3).
        let mode = sent.single_unit || !self.single_unit;
        self.codec == sent.codec && (self.codec != Codec::H264 || (profile && mode))
    }
}

impl From<Codec> for Format {
    /// The form that every implementation of the codec has.
    fn from(codec: Codec) -> Self {
        Self { codec, profile: Profile::ConstrainedBaseline, single_unit: false }
    }
}

/// What the first bytes of a payload say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Picture {
    /// A picture that can be shown without any other begins here.
    pub(crate) keyframe: bool,
    /// Parameter sets of H.264 and no picture: a keyframe begins with them when it follows in the same access unit.
    pub(crate) parameters: bool,
    /// Width times height, where the packet says so.
    pub(crate) pixels: Option<u32>,
    pub(crate) vp8: Option<Vp8>,
    /// What a dependency descriptor says of it.
    pub(crate) frame: Option<Frame>,
}

/// A frame of a stream with layers: one spatial layer of a picture.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) number: u16,
    /// Its first packet, and its last.
    pub(crate) start: bool,
    pub(crate) end: bool,
    pub(crate) spatial: u8,
    /// What it is to each decode target, two bits each.
    pub(crate) indications: u32,
    /// How many frames before it are those that it needs; 0 is none.
    pub(crate) needs: [u8; 4],
}

/// The payload descriptor of VP8 (RFC 7741 §4.2), as far as it is rewritten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Vp8 {
    /// Where the picture id is, its length in bytes, and its value.
    pub(crate) picture: Option<(u8, u8, u16)>,
    /// Where TL0PICIDX is, and its value.
    pub(crate) base_layer: Option<(u8, u8)>,
    /// Temporal layer, and whether one may switch up to it here.
    pub(crate) temporal: Option<(u8, bool)>,
    /// The first packet of a picture.
    pub(crate) start: bool,
}

/// Looks at the beginning of a payload.
pub(crate) fn look(codec: Codec, payload: &[u8], dependency: Option<&[u8]>) -> Picture {
    let picture = |keyframe| Picture { keyframe, ..Picture::default() };
    match codec {
        Codec::Opus => Picture::default(),
        Codec::Vp8 => vp8_picture(payload).unwrap_or_default(),
        Codec::Vp9 => {
            let keyframe = vp9_keyframe(payload).unwrap_or(false);
            Picture { pixels: vp9_pixels(payload).filter(|_| keyframe), ..picture(keyframe) }
        }
        Codec::H264 => h264_picture(payload).unwrap_or_default(),
        Codec::Av1 => picture(av1_keyframe(payload, dependency)),
    }
}

fn vp8_picture(payload: &[u8]) -> Option<Picture> {
    let (vp8, data) = vp8(payload)?;
    let keyframe = vp8.start && data.first()? & 1 == 0;
    let pixels = vp8_pixels(data).filter(|_| keyframe);
    Some(Picture { keyframe, pixels, vp8: Some(vp8), ..Picture::default() })
}

/// The size of a keyframe stands behind its tag and start code (RFC 6386 §9.1), each side in 14 bits.
fn vp8_pixels(data: &[u8]) -> Option<u32> {
    let &[_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = data.first_chunk()? else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    Some(side(w0, w1) * side(h0, h1))
}

/// The payload descriptor, and what is behind it.
pub(crate) fn vp8(payload: &[u8]) -> Option<(Vp8, &[u8])> {
    let &first = payload.first()?;
    let mut vp8 = Vp8 { start: first & 0x10 != 0 && first & 0x07 == 0, ..Vp8::default() };
    let mut at = 1_usize;
    if first & 0x80 != 0 {
        let &flags = payload.get(at)?;
        at += 1;
        if flags & 0x80 != 0 {
            let &high = payload.get(at)?;
            let place = u8::try_from(at).ok()?;
            if high & 0x80 != 0 {
                let &low = payload.get(at + 1)?;
                vp8.picture = Some((place, 2, u16::from_be_bytes([high & 0x7F, low])));
                at += 2;
            } else {
                vp8.picture = Some((place, 1, high.into()));
                at += 1;
            }
        }
        if flags & 0x40 != 0 {
            vp8.base_layer = Some((u8::try_from(at).ok()?, *payload.get(at)?));
            at += 1;
        }
        if flags & 0x30 != 0 {
            let &temporal = payload.get(at)?;
            vp8.temporal = (flags & 0x20 != 0).then_some((temporal >> 6, temporal & 0x20 != 0));
            at += 1;
        }
    }
    Some((vp8, payload.get(at..)?))
}

/// Not inter-predicted, the beginning of a picture, the lowest spatial layer (RFC 9628 §4.2).
fn vp9_keyframe(payload: &[u8]) -> Option<bool> {
    let &first = payload.first()?;
    let (picture, inter, layers, begins) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x08 != 0);
    if inter || !begins {
        return Some(false);
    }
    let mut at = 1;
    if picture {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let spatial = if layers { payload.get(at)? >> 1 & 7 } else { 0 };
    Some(spatial == 0)
}

/// The largest size of the scalability structure (RFC 9628 §4.2.1), which stands in the first packet of a keyframe.
fn vp9_pixels(payload: &[u8]) -> Option<u32> {
    let &first = payload.first()?;
    if first & 0x02 == 0 {
        return None;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    if first & 0x20 != 0 {
        at += if first & 0x10 != 0 { 1 } else { 2 };
    }
    let &structure = payload.get(at)?;
    if structure & 0x10 == 0 {
        return None;
    }
    let last = at + 1 + 4 * usize::from(structure >> 5);
    let &[w0, w1, h0, h1] = payload.get(last..)?.first_chunk()?;
    Some(u32::from(u16::from_be_bytes([w0, w1])) * u32::from(u16::from_be_bytes([h0, h1])))
}

/// A slice of an IDR picture, or parameter sets (RFC 6184 §5.4), which alone are no picture.
fn h264_picture(payload: &[u8]) -> Option<Picture> {
    const IDR: u8 = 5;
    const SEQUENCE: u8 = 7;
    const PICTURE: u8 = 8;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let mut picture = Picture::default();
    let mut note = |unit: u8| match unit & 0x1F {
        IDR => picture.keyframe = true,
        SEQUENCE | PICTURE => picture.parameters = true,
        _ => {}
    };
    let &first = payload.first()?;
    match first & 0x1F {
        STAP_A => {
            let mut rest = payload.get(1..)?;
            while let Some((&[high, low], after)) = rest.split_first_chunk::<2>() {
                let (unit, behind) =
                    after.split_at_checked(u16::from_be_bytes([high, low]).into())?;
                note(*unit.first()?);
                rest = behind;
            }
        }
        FU_A => {
            let &header = payload.get(1)?;
            if header & 0x80 != 0 {
                note(header);
            }
        }
        _ => note(first),
    }
    picture.parameters &= !picture.keyframe;
    Some(picture)
}

/// A new coded video sequence (the N bit), or a dependency descriptor that carries the structure.
fn av1_keyframe(payload: &[u8], dependency: Option<&[u8]>) -> bool {
    let structure = dependency.is_some_and(|descriptor| {
        // start_of_frame, end_of_frame, template id; then template_dependency_structure_present_flag.
        descriptor.first().is_some_and(|first| first & 0x80 != 0)
            && descriptor.get(3).is_some_and(|flags| flags & 0x80 != 0)
    });
    structure || payload.first().is_some_and(|head| head & 0x88 == 0x08)
}

/// Where the newest block of a RED payload lies, which is what a viewer without RED gets (RFC 2198 §3).
pub(crate) fn red_primary(payload: &[u8]) -> Option<&[u8]> {
    let mut rest = payload;
    let mut older = 0;
    loop {
        let (&first, after) = rest.split_first()?;
        if first & 0x80 == 0 {
            return after.get(older..);
        }
        let (&[_, _, high, low], after) = rest.split_first_chunk::<4>()?;
        older += usize::from(u16::from_be_bytes([high & 0x03, low]));
        rest = after;
    }
}

/// Names all blocks of a RED payload by the number that the viewer knows their codec by.
pub(crate) fn rename_red(payload: &mut [u8], payload_type: u8) {
    let mut at = 0;
    while let Some(first) = payload.get_mut(at) {
        let more = *first & 0x80;
        *first = more | payload_type;
        if more == 0 {
            return;
        }
        at += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vp8_descriptor_gives_picture_layer_and_keyframe() {
        let payload = [0x90, 0xE0, 0x80 | 0x12, 0x34, 0x07, 0x60, 0x10, 0, 0, 0x9D];
        let picture = look(Codec::Vp8, &payload, None);
        let expected = Vp8 {
            picture: Some((2, 2, 0x1234)),
            base_layer: Some((4, 7)),
            temporal: Some((1, true)),
            start: true,
        };
        let whole = Picture { keyframe: true, vp8: Some(expected), ..Picture::default() };
        assert_eq!(picture, whole);
        let mut later = payload;
        later[6] |= 1;
        assert!(!look(Codec::Vp8, &later, None).keyframe);
        later[0] &= !0x10;
        assert!(!look(Codec::Vp8, &later, None).vp8.unwrap().start);
    }

    #[test]
    fn keyframes_say_how_large_they_are() {
        let vp8 = [0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x42, 0xE0, 0x01];
        assert_eq!(look(Codec::Vp8, &vp8, None).pixels, Some(640 * 480), "scaling is not size");
        // Picture id, layer indices, a structure of two layers.
        let vp9 = [0xAA, 0x01, 0, 0, 0x30, 1, 64, 0, 180, 2, 128, 1, 104, 0x82];
        assert_eq!(look(Codec::Vp9, &vp9, None).pixels, Some(640 * 360));
        for length in 0..13 {
            assert_eq!(look(Codec::Vp9, &vp9[..length.min(12)], None).pixels, None);
        }
    }

    #[test]
    fn the_newest_block_of_red_is_the_last_one() {
        // Two older blocks of 3 and 1 bytes, and the newest.
        let mut payload = vec![0x80 | 111, 0, 0, 3, 0x80 | 111, 0, 0, 1, 111, 1, 2, 3, 4, 5, 6];
        assert_eq!(red_primary(&payload), Some(&[5, 6][..]));
        rename_red(&mut payload, 96);
        assert_eq!((payload[0], payload[4], payload[8]), (0x80 | 96, 0x80 | 96, 96));
        for length in 0..12 {
            assert_eq!(red_primary(&payload[..length]), None);
            rename_red(&mut payload.clone()[..length], 96);
        }
    }

    #[test]
    fn keyframes_of_the_other_codecs() {
        let key = |codec, payload: &[u8]| look(codec, payload, None).keyframe;
        assert!(key(Codec::Vp9, &[0x88, 0x01, 0x00]) && !key(Codec::Vp9, &[0xC8, 0x01, 0x00]));
        assert!(!key(Codec::Vp9, &[0xA8, 0x01, 0x02]), "an upper spatial layer");
        assert!(key(Codec::H264, &[0x65, 0]) && !key(Codec::H264, &[0x61, 0]));
        let sets = [0x78, 0, 1, 0x67, 0, 1, 0x68];
        let whole = [&sets[..], &[0, 1, 0x65]].concat();
        assert!(key(Codec::H264, &whole), "a STAP-A with parameters and picture");
        let alone = look(Codec::H264, &sets, None);
        assert!(!alone.keyframe && alone.parameters, "a STAP-A with parameters alone");
        for unit in [0x67, 0x68] {
            let alone = look(Codec::H264, &[unit, 1, 2], None);
            assert!(!alone.keyframe && alone.parameters);
        }
        assert!(key(Codec::H264, &[0x7C, 0x85]) && !key(Codec::H264, &[0x7C, 0x05]));
        assert!(key(Codec::Av1, &[0x18]) && !key(Codec::Av1, &[0x10]));
    }

    #[test]
    fn payloads_cut_anywhere_are_no_keyframes_and_no_panics() {
        let payloads: [&[u8]; 7] = [
            &[0x18, 0, 0, 0],
            &[0x10, 0x06],
            &[0x10, 0x04],
            &[0x90, 0xF0, 0x92, 0x34, 7, 0x60, 0x10],
            &[0xFF; 12],
            &[0x78, 0, 9, 0x67],
            &[],
        ];
        for payload in payloads {
            for length in 0..=payload.len() {
                for codec in Codec::ALL {
                    look(codec, &payload[..length], Some(&payload[..length]));
                }
            }
        }
    }
}
