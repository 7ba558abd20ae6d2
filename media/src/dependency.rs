//! The dependency descriptor (appendix A of the AV1 RTP specification, used with VP9 as well): which layers a frame belongs to,
//! which selections of layers (*decode targets*) need it, and which frames it needs itself.

use crate::codec::Frame;

/// Templates, decode targets and spatial layers that are followed; streams that have more are passed on whole.
const TEMPLATES: usize = 64;
const TARGETS: usize = 16;
pub(crate) const SPATIAL: usize = 4;
/// Frames that one frame can be said to need; with more of them no viewer switches there.
const NEEDS: usize = 4;

/// What a frame is to a decode target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Indication {
    NotPresent,
    Discardable,
    /// Whoever can decode this frame can decode the target from here on.
    Switch,
    Required,
}

impl Indication {
    fn of(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }

    /// What the packed `indications` of a frame say of a target.
    pub(crate) fn for_target(indications: u32, target: u8) -> Self {
        Self::of(indications.checked_shr(u32::from(target) * 2).unwrap_or_default())
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: u32,
    needs: [u8; NEEDS],
    plain: bool,
}

/// What a keyframe says of all frames that follow.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Structure {
    offset: u8,
    templates: Vec<Template>,
    /// Spatial and temporal layer of each decode target.
    targets: Vec<(u8, u8)>,
}

impl Structure {
    /// Spatial layers.
    pub(crate) fn levels(&self) -> u8 {
        self.targets.iter().map(|&(spatial, _)| spatial + 1).max().unwrap_or_default()
    }

    /// The decode target that shows the spatial layer `level` with the most temporal layers up to `temporal`.
    pub(crate) fn target(&self, level: u8, temporal: u8) -> Option<u8> {
        let of_level = (0..).zip(&self.targets).filter(|(_, (spatial, _))| *spatial == level);
        let fits = of_level.clone().filter(|(_, (_, most))| *most <= temporal);
        let best = fits.max_by_key(|(_, (_, most))| *most);
        best.or_else(|| of_level.min_by_key(|(_, (_, most))| *most)).map(|(target, _)| target)
    }

    /// Reads what a packet's descriptor says of its frame, and what it says of the structure of all that follow.
    pub(crate) fn read(known: Option<&Self>, descriptor: &[u8]) -> Option<(Frame, Option<Self>)> {
        let mut bits = Bits { bytes: descriptor, at: 0 };
        let (start, end) = (bits.flag()?, bits.flag()?);
        let template = bits.take(6)?;
        let number = u16::try_from(bits.take(16)?).ok()?;
        let (mut new, mut custom) = (None, [false; 3]);
        if descriptor.len() > 3 {
            let (structure, active) = (bits.flag()?, bits.flag()?);
            custom = [bits.flag()?, bits.flag()?, bits.flag()?];
            if structure {
                new = Some(Self::parse(&mut bits)?);
            }
            if active {
                let targets = new.as_ref().or(known)?.targets.len();
                bits.take(u32::try_from(targets).ok()?)?;
            }
        }
        let structure = new.as_ref().or(known)?;
        let [custom_indications, custom_needs, _] = custom;
        let index = (template + 64).checked_sub(u32::from(structure.offset))? % 64;
        let template = structure.templates.get(index as usize)?;
        let (mut indications, mut needs, mut plain) =
            (template.indications, template.needs, template.plain);
        if custom_indications {
            indications = bits.indications(structure.targets.len())?;
        }
        if custom_needs {
            (needs, plain) = ([0; NEEDS], true);
            let mut places = needs.iter_mut();
            loop {
                let size = bits.take(2)?;
                if size == 0 {
                    break;
                }
                let difference = bits.take(4 * size)? + 1;
                match (places.next(), u8::try_from(difference)) {
                    (Some(place), Ok(difference)) => *place = difference,
                    _ => plain = false,
                }
            }
        }
        let frame = Frame {
            number,
            start,
            end,
            spatial: template.spatial,
            indications,
            needs: if plain { needs } else { [u8::MAX; NEEDS] },
        };
        Some((frame, new))
    }

    fn parse(bits: &mut Bits<'_>) -> Option<Self> {
        let offset = u8::try_from(bits.take(6)?).ok()?;
        let targets = bits.take(5)? as usize + 1;
        let mut templates: Vec<Template> = Vec::new();
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            if templates.len() == TEMPLATES {
                return None;
            }
            templates.push(Template { spatial, temporal, plain: true, ..Template::default() });
            match bits.take(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => break,
            }
        }
        if targets > TARGETS || usize::from(spatial) >= SPATIAL {
            return None;
        }
        for template in &mut templates {
            template.indications = bits.indications(targets)?;
        }
        for template in &mut templates {
            let mut places = template.needs.iter_mut();
            while bits.flag()? {
                let difference = u8::try_from(bits.take(4)? + 1).ok()?;
                match places.next() {
                    Some(place) => *place = difference,
                    None => template.plain = false,
                }
            }
        }
        let chains = bits.below(u32::try_from(targets).ok()? + 1)?;
        if chains > 0 {
            for _ in 0..targets {
                bits.below(chains)?;
            }
            for _ in 0..templates.len() * chains as usize {
                bits.take(4)?;
            }
        }
        if bits.flag()? {
            for _ in 0..=spatial {
                bits.take(32)?;
            }
        }
        let of = |target: u8| {
            let present = templates.iter().filter(|template| {
                Indication::for_target(template.indications, target) != Indication::NotPresent
            });
            let layers = present.map(|template| (template.spatial, template.temporal));
            layers.fold((0, 0), |(s, t), (spatial, temporal)| (s.max(spatial), t.max(temporal)))
        };
        let targets = (0..u8::try_from(targets).ok()?).map(of).collect();
        Some(Self { offset, templates, targets })
    }
}

/// Reads bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of up to 32 bits.
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// A number below `end`, in as few bits as are needed (`ns(n)` of the specification).
    fn below(&mut self, end: u32) -> Option<u32> {
        let width = u32::BITS - end.leading_zeros();
        let short = (1 << width) - end;
        let number = self.take(width.checked_sub(1)?)?;
        if number < short {
            return Some(number);
        }
        Some((number << 1 | u32::from(self.flag()?)) - short)
    }

    fn indications(&mut self, targets: usize) -> Option<u32> {
        (0..targets).try_fold(0, |packed, target| Some(packed | self.take(2)? << (2 * target)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes descriptors, by the specification's syntax.
    #[derive(Default)]
    struct BitWriter {
        bytes: Vec<u8>,
        at: usize,
    }

    impl BitWriter {
        fn put(&mut self, count: u32, number: u32) {
            for bit in (0..count).rev() {
                if self.at.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                *self.bytes.last_mut().unwrap() |= ((number >> bit & 1) as u8) << (7 - self.at % 8);
                self.at += 1;
            }
        }

        fn below(&mut self, end: u32, number: u32) {
            let width = u32::BITS - end.leading_zeros();
            let short = (1 << width) - end;
            match number < short {
                true => self.put(width - 1, number),
                false => self.put(width, number + short),
            }
        }
    }

    /// Three spatial layers, one temporal: the templates are a keyframe's three frames and a later picture's three. With `key`
    /// upper layers need lower ones only in keyframes (K-SVC), otherwise in every picture.
    pub(crate) fn three_levels(key: bool) -> (Vec<u8>, impl Fn(u16, u8, bool) -> Vec<u8>) {
        let lower = if key { '-' } else { 'R' };
        let targets: [String; 6] = [
            "SSS".into(),
            format!("S{lower}{lower}"),
            "-SS".into(),
            format!("-S{lower}"),
            "--S".into(),
            "--S".into(),
        ];
        let needs: [&[u32]; 6] = if key {
            [&[], &[3], &[1], &[3], &[1], &[3]]
        } else {
            [&[], &[3], &[1], &[3, 1], &[1], &[3, 1]]
        };
        let mut bits = BitWriter::default();
        bits.put(6, 10);
        bits.put(5, 2);
        for next in [0, 2, 0, 2, 0, 3] {
            bits.put(2, next);
        }
        for indication in targets.iter().flat_map(|targets| targets.chars()) {
            bits.put(2, "-DSR".find(indication).unwrap() as u32);
        }
        for needs in needs {
            for need in needs {
                bits.put(1, 1);
                bits.put(4, need - 1);
            }
            bits.put(1, 0);
        }
        bits.below(4, 3);
        for target in 0..3 {
            bits.below(3, target);
        }
        for _ in 0..6 * 3 {
            bits.put(4, 0);
        }
        bits.put(1, 1);
        for size in [240, 135, 480, 270, 960, 540] {
            bits.put(16, size - 1);
        }
        let structure = (bits.at, bits.bytes);
        let bytes = structure.1.clone();
        let descriptor = move |number: u16, spatial: u8, keyframe: bool| {
            let mut bits = BitWriter::default();
            bits.put(2, 3);
            bits.put(6, 10 + u32::from(spatial) * 2 + u32::from(!keyframe));
            bits.put(16, number.into());
            if keyframe && spatial == 0 {
                bits.put(5, 0b10000);
                let mut copy = Bits { bytes: &structure.1, at: 0 };
                for _ in 0..structure.0 {
                    bits.put(1, copy.flag().unwrap().into());
                }
            }
            bits.bytes
        };
        (bytes, descriptor)
    }

    #[test]
    fn a_structure_gives_the_layers_and_what_they_need() {
        for key in [true, false] {
            let (_, descriptor) = three_levels(key);
            let (frame, structure) = Structure::read(None, &descriptor(7, 0, true)).unwrap();
            let structure = structure.unwrap();
            assert_eq!((frame.number, frame.spatial, frame.needs), (7, 0, [0; 4]));
            assert_eq!(structure.levels(), 3);
            assert_eq!([0, 1, 2].map(|level| structure.target(level, 9)), [0, 1, 2].map(Some));
            assert_eq!(structure.target(3, 9), None);

            let (frame, none) =
                Structure::read(Some(&structure), &descriptor(10, 1, false)).unwrap();
            assert!(none.is_none() && frame.start && frame.end && frame.spatial == 1);
            assert_eq!(frame.needs, if key { [3, 0, 0, 0] } else { [3, 1, 0, 0] });
            let upper = if key { Indication::NotPresent } else { Indication::Required };
            let expected = [Indication::NotPresent, Indication::Switch, upper];
            assert_eq!([0, 1, 2].map(|it| Indication::for_target(frame.indications, it)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(0_u8.., 0..80),
            cut in 0_usize..60,
            flip in 0_usize..400,
        ) {
            let (_, descriptor) = three_levels(true);
            let sound = descriptor(1, 0, true);
            let (_, structure) = Structure::read(None, &sound).unwrap();
            let _ = Structure::read(structure.as_ref(), &bytes);
            let _ = Structure::read(None, &bytes);
            let mut broken = sound;
            if let Some(byte) = broken.get_mut(flip / 8) {
                *byte ^= 1 << (flip % 8);
            }
            broken.truncate(cut);
            let _ = Structure::read(structure.as_ref(), &broken);
        }
    }
}
