//! Elements of EBML (RFC 8794), as far as a recording needs them: written whole into memory, walked in a file.

/// An element's name, with its marker bits as written.
pub(super) type Id = u32;

pub(super) const EBML: Id = 0x1A45_DFA3;
pub(super) const SEGMENT: Id = 0x1853_8067;
pub(super) const SEEK_HEAD: Id = 0x114D_9B74;
pub(super) const INFO: Id = 0x1549_A966;
pub(super) const TRACKS: Id = 0x1654_AE6B;
pub(super) const CLUSTER: Id = 0x1F43_B675;
pub(super) const CUES: Id = 0x1C53_BB6B;
pub(super) const VOID: Id = 0xEC;
pub(super) const TIMESTAMP: Id = 0xE7;
pub(super) const SIMPLE_BLOCK: Id = 0xA3;

/// A size that is not known yet, in eight bytes.
pub(super) const UNKNOWN: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Writes elements one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn id(&mut self, id: Id) {
        let bytes = id.to_be_bytes();
        let skipped = (id.leading_zeros() / 8) as usize;
        self.0.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// A size in eight bytes (RFC 8794 §4).
    pub(super) fn long_size(&mut self, size: u64) {
        self.0.extend_from_slice(&(size | 1 << 56).to_be_bytes());
    }

    fn size(&mut self, size: usize) {
        match u16::try_from(size) {
            Ok(short @ 0..=0x7E) => self.0.push(0x80 | short.to_be_bytes()[1]),
            Ok(short @ 0..=0x3FFE) => self.0.extend_from_slice(&(short | 0x4000).to_be_bytes()),
            _ => self.long_size(size as u64),
        }
    }

    pub(super) fn bytes(&mut self, id: Id, value: &[u8]) {
        self.id(id);
        self.size(value.len());
        self.0.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, id: Id, value: &str) {
        self.bytes(id, value.as_bytes());
    }

    pub(super) fn number(&mut self, id: Id, value: u64) {
        let bytes = value.to_be_bytes();
        let skipped = ((value | 1).leading_zeros() / 8) as usize;
        self.bytes(id, bytes.get(skipped..).unwrap_or_default());
    }

    pub(super) fn float(&mut self, id: Id, value: f64) {
        self.bytes(id, &value.to_be_bytes());
    }

    /// An element of elements.
    pub(super) fn group(&mut self, id: Id, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(id, &inner.0);
    }

    /// Fills up to `size` bytes, which must be none or more than one, with nothing.
    pub(super) fn void_to(&mut self, size: usize) {
        let Some(left) = size.checked_sub(self.0.len()) else { return };
        match left {
            0 | 1 => {}
            2..=9 => {
                self.0.extend_from_slice(&[0xEC, 0x80 | u8::try_from(left - 2).unwrap_or(0)]);
                self.0.resize(size, 0);
            }
            _ => {
                self.id(VOID);
                self.long_size(left as u64 - 9);
                self.0.resize(size, 0);
            }
        }
    }
}

/// The name and the size of an element, and how many bytes they take; the size is `None` where it is unknown. `None` when `bytes`
/// ends before.
pub(super) fn head(bytes: &[u8]) -> Option<(Id, Option<u64>, usize)> {
    let &first = bytes.first()?;
    let id_length = first.leading_zeros() as usize + 1;
    if id_length > 4 {
        return None;
    }
    let id = bytes.get(..id_length)?.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
    let rest = bytes.get(id_length..)?;
    let length = rest.first()?.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let whole = rest.get(..length)?.iter().fold(0, |size, &byte| size << 8 | u64::from(byte));
    let mask = (1_u64 << (7 * length)) - 1;
    let size = Some(whole & mask).filter(|&size| size != mask);
    Some((id, size, id_length + length))
}

/// The elements in `bytes`, as long as they are whole: name and content.
pub(super) fn elements(bytes: &[u8]) -> impl Iterator<Item = (Id, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (id, size, length) = head(rest)?;
        let size = usize::try_from(size?).ok()?;
        let (content, after) = rest.get(length..)?.split_at_checked(size)?;
        rest = after;
        Some((id, content))
    })
}

/// An unsigned number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.group(INFO, |inner| {
            inner.number(TIMESTAMP, 1_000_000);
            inner.bytes(SIMPLE_BLOCK, &[7; 20_000]);
            inner.bytes(SIMPLE_BLOCK, &[7; 300]);
        });
        for gap in [0, 2, 9, 10, 11, 300] {
            let before = writer.0.len();
            writer.void_to(before + gap);
            assert_eq!(writer.0.len(), before + gap);
        }
        let found: Vec<(Id, usize)> =
            elements(&writer.0).map(|(id, content)| (id, content.len())).collect();
        assert_eq!(found[0].0, INFO);
        assert!(found[1..].iter().all(|&(id, _)| id == VOID) && found.len() == 6, "{found:?}");
        let (_, info) = elements(&writer.0).next().unwrap();
        let inner: Vec<(Id, usize)> = elements(info).map(|(id, it)| (id, it.len())).collect();
        assert_eq!(inner, [(TIMESTAMP, 3), (SIMPLE_BLOCK, 20_000), (SIMPLE_BLOCK, 300)]);
        for cut in 0..writer.0.len() {
            elements(&writer.0[..cut]).for_each(drop);
        }
        assert_eq!(
            head(&[0x18, 0x53, 0x80, 0x67, 0x01, 255, 255, 255, 255, 255, 255, 255]),
            Some((SEGMENT, None, 12))
        );
    }
}
