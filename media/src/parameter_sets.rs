//! Parameter sets of H.264 that a track has brought or its description names (ITU-T H.264 §7.4.1.2.1): without them its pictures
//! cannot be decoded, and senders repeat them as seldom as once.

use crate::recorder::bits::Bits;

/// Sets that are kept, and bytes of one.
const COUNT: usize = 8;
const BYTES: usize = 1 << 10;
/// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 §5.2).
const SEQUENCE: u8 = 7;
const PICTURE: u8 = 8;
const STAP_A: u8 = 24;

/// The newest sets of each id, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterSets {
    units: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Keeps the sets of an RTP payload: single NAL units and STAP-A (RFC 6184 §5.6, §5.7.1). A set in fragments is left out.
    pub(crate) fn note(&mut self, payload: &[u8]) {
        let Some(&first) = payload.first() else { return };
        match first & 0x1F {
            SEQUENCE | PICTURE => self.note_unit(payload),
            STAP_A => {
                let mut rest = payload.get(1..).unwrap_or_default();
                while let Some((&[high, low], after)) = rest.split_first_chunk::<2>() {
                    let length = u16::from_be_bytes([high, low]).into();
                    let Some((unit, behind)) = after.split_at_checked(length) else { return };
                    self.note_unit(unit);
                    rest = behind;
                }
            }
            _ => {}
        }
    }

    /// Keeps a NAL unit if it is a set, in place of the one with its id.
    pub(crate) fn note_unit(&mut self, unit: &[u8]) {
        let Some(name) = name(unit).filter(|_| unit.len() <= BYTES) else { return };
        // Encoders repeat their sets with each keyframe: nothing is allocated for that.
        if self.units.iter().any(|known| known == unit) {
            return;
        }
        match self.units.iter_mut().find(|known| self::name(known) == Some(name)) {
            Some(known) => {
                known.clear();
                known.extend_from_slice(unit);
            }
            None => {
                if self.units.len() == COUNT {
                    self.units.remove(0);
                }
                self.units.push(unit.to_vec());
            }
        }
    }

    /// The sets, one NAL unit each: sequence parameter sets first.
    pub(crate) fn units(&self) -> impl Iterator<Item = &[u8]> {
        self.of(SEQUENCE).chain(self.of(PICTURE))
    }

    /// The sequence parameter sets.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = &[u8]> {
        self.of(SEQUENCE)
    }

    /// The picture parameter sets.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = &[u8]> {
        self.of(PICTURE)
    }

    fn of(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let of = move |unit: &&Vec<u8>| unit.first().is_some_and(|first| first & 0x1F == kind);
        self.units.iter().filter(of).map(Vec::as_slice)
    }

    /// The sequence parameter set that a slice refers to by its picture parameter set (ITU-T H.264 §7.3.3); both have to be known.
    pub(crate) fn sequence_of(&self, slice: &[u8]) -> Option<&[u8]> {
        let mut bits = Bits::new(slice.get(1..)?);
        bits.golomb()?;
        bits.golomb()?;
        let picture = bits.golomb()?;
        let picture = self.pictures().find(|set| name(set) == Some((PICTURE, picture)))?;
        let mut bits = Bits::new(picture.get(1..)?);
        bits.golomb()?;
        let sequence = bits.golomb()?;
        self.sequences().find(|set| name(set) == Some((SEQUENCE, sequence)))
    }
}

/// The type and the id of a parameter set (ITU-T H.264 §7.3.2.1.1, §7.3.2.2).
fn name(unit: &[u8]) -> Option<(u8, u32)> {
    let kind = unit.first()? & 0x1F;
    let before = match kind {
        SEQUENCE => 4,
        PICTURE => 1,
        _ => return None,
    };
    Some((kind, Bits::new(unit.get(before..)?).golomb()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x02, 0x80, 0xF6, 0x80];
    const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];

    #[test]
    fn sets_are_found_in_single_units_and_aggregates_and_newer_ones_replace_them() {
        let mut sets = ParameterSets::default();
        sets.note(PPS);
        let mut aggregate = vec![0x78];
        for unit in [SPS, &[0x65, 0x88, 0x84]] {
            aggregate.extend(u16::try_from(unit.len()).unwrap().to_be_bytes());
            aggregate.extend(unit);
        }
        sets.note(&aggregate);
        assert_eq!(sets.units().collect::<Vec<_>>(), [SPS, PPS]);
        let larger = [SPS, &[0x80]].concat();
        sets.note(&larger);
        assert_eq!(sets.units().collect::<Vec<_>>(), [&larger, PPS]);
        // A slice of picture parameter set 0, then of set 1, which is unknown.
        assert_eq!(sets.sequence_of(&[0x65, 0b1000_1000, 0x80]), Some(&*larger));
        assert_eq!(sets.sequence_of(&[0x65, 0b1101_0000]), None);
    }

    #[test]
    fn sets_are_bounded_in_number_and_size_and_no_bytes_do_harm() {
        let mut sets = ParameterSets::default();
        for id in 0..60_u8 {
            // The id follows as ue(v) of seven bits and less.
            sets.note(&[0x68, id, 0xFF]);
        }
        assert!(sets.units().count() <= COUNT, "{}", sets.units().count());
        sets.note(&[&[0x67][..], &[0xFF; BYTES]].concat());
        assert!(sets.units().all(|unit| unit.len() <= BYTES));
        for bad in [&[][..], &[24], &[24, 0], &[24, 0, 9, 0x67], &[0x67], &[0x68], &[0x68, 0]] {
            sets.note(bad);
            sets.sequence_of(bad);
        }
    }
}
