//! The payload types and extension numbers of one leg.

use crate::codec::Format;
use crate::description::{Offered, Section};
use crate::rtp::{EXTENSIONS, ExtensionIds};

/// The numbers that a party knows codecs and extensions by: they mean the same for as long as the connection lasts.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    codecs: Vec<(Format, [Option<u8>; 3])>,
    extensions: ExtensionIds,
}

/// The first of each format: what is a number to one party is a format to the other.
pub(super) fn one_of_each(codecs: Vec<Offered>) -> Vec<Offered> {
    let mut formats: Vec<Format> = Vec::new();
    let mut first = |offered: &Offered| {
        let new = !formats.contains(&offered.format);
        formats.push(offered.format);
        new
    };
    codecs.into_iter().filter(|offered| first(offered)).collect()
}

/// Payload types that are given out (RFC 3551 §6, RFC 8829 §5.1.3).
const DYNAMIC: [std::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=63];

impl Numbers {
    /// Notes what the party itself says.
    pub(super) fn learn(&mut self, section: &Section) {
        for offered in one_of_each(section.codecs()) {
            let numbers = [Some(&offered.payload), offered.rtx.as_ref(), offered.red.as_ref()];
            let numbers = numbers.map(|payload| payload.map(|payload| payload.number));
            self.codecs.retain(|(format, _)| *format != offered.format);
            self.codecs.push((offered.format, numbers));
        }
        for (extension, _) in EXTENSIONS {
            if let Some(id) = section.extensions.id(extension) {
                self.extensions.set(extension, id);
            }
        }
    }

    fn is_used(&self, number: u8) -> bool {
        self.codecs.iter().any(|(_, numbers)| numbers.contains(&Some(number)))
    }

    /// A number for a payload type: the known one, the other side's where it is free, or a new one.
    fn number(&mut self, format: Format, which: usize, theirs: u8) -> u8 {
        if let Some((_, numbers)) = self.codecs.iter().find(|(known, _)| *known == format)
            && let Some(Some(known)) = numbers.get(which)
        {
            return *known;
        }
        let free = |number: &u8| !self.is_used(*number);
        let number = Some(theirs).filter(free);
        let number = number.or_else(|| DYNAMIC.into_iter().flatten().find(free)).unwrap_or(theirs);
        if !self.codecs.iter().any(|(known, _)| *known == format) {
            self.codecs.push((format, [None; 3]));
        }
        for (known, numbers) in &mut self.codecs {
            if *known == format
                && let Some(place) = numbers.get_mut(which)
            {
                *place = Some(number);
            }
        }
        number
    }

    /// A codec of the other side under the numbers of this one.
    pub(super) fn translate(&mut self, mut offered: Offered) -> Offered {
        let format = offered.format;
        let own = self.number(format, 0, offered.payload.number);
        offered.payload.number = own;
        if let Some(rtx) = &mut offered.rtx {
            rtx.number = self.number(format, 1, rtx.number);
        }
        if let Some(red) = &mut offered.red {
            red.number = self.number(format, 2, red.number);
            red.parameters = format!("{own}/{own}");
        }
        offered
    }

    pub(super) fn translate_extensions(&mut self, theirs: ExtensionIds) -> ExtensionIds {
        let mut ids = ExtensionIds::default();
        for (extension, _) in EXTENSIONS {
            let Some(theirs) = theirs.id(extension) else { continue };
            let used =
                |id: u8| EXTENSIONS.iter().any(|&(other, _)| self.extensions.id(other) == Some(id));
            let known = self.extensions.id(extension);
            let free = || std::iter::once(theirs).chain(1..=14).find(|&id| !used(id));
            let Some(id) = known.or_else(free) else { continue };
            self.extensions.set(extension, id);
            ids.set(extension, id);
        }
        ids
    }
}
