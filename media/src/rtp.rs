//! RTP packets (RFC 3550 §5.1, RFC 8285): bytes become a [`Header`] that cannot be wrong, and a header becomes bytes again.

use crate::numbers::{Extended, MediaTime};

/// Bytes of a header without contributing sources and extensions.
pub(crate) const FIXED_HEADER: usize = 12;
/// Header extensions that are understood, in the order of their place in [`ExtensionIds`].
pub(crate) const EXTENSIONS: [(Extension, &str); 9] = [
    (Extension::Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    (Extension::Rid, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
    (Extension::RepairedRid, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
    (
        Extension::TransportSequence,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    ),
    (Extension::SendTime, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    (Extension::AudioLevel, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    (Extension::Orientation, "urn:3gpp:video-orientation"),
    (Extension::PlayoutDelay, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
    (
        Extension::Dependency,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    ),
];

/// A header extension by its meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    TransportSequence,
    SendTime,
    AudioLevel,
    Orientation,
    PlayoutDelay,
    Dependency,
}

/// The numbers that one connection has agreed on for header extensions; 0 is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExtensionIds([u8; EXTENSIONS.len()]);

impl ExtensionIds {
    pub(crate) fn id(&self, extension: Extension) -> Option<u8> {
        self.0.get(extension as usize).copied().filter(|&id| id != 0)
    }

    pub(crate) fn set(&mut self, extension: Extension, id: u8) {
        if let Some(place) = self.0.get_mut(extension as usize) {
            *place = id;
        }
    }

    fn meaning(&self, id: u8) -> Option<Extension> {
        let place = self.0.iter().position(|&known| known == id)?;
        EXTENSIONS.get(place).map(|&(extension, _)| extension)
    }
}

/// What the header of a packet says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: MediaTime,
    pub(crate) ssrc: u32,
    padded: bool,
    /// Where the payload begins.
    pub(crate) length: usize,
    extensions: (u16, usize, usize),
}

impl Header {
    /// Reads a header; `None` when its lengths do not fit into `packet`.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] =
            *packet.first_chunk::<FIXED_HEADER>()?;
        if first >> 6 != 2 {
            return None;
        }
        let mut length = FIXED_HEADER + 4 * usize::from(first & 0x0F);
        let mut extensions = (0, length, length);
        if first & 0x10 != 0 {
            let &[p0, p1, l0, l1] = packet.get(length..)?.first_chunk::<4>()?;
            let begin = length + 4;
            length = begin + 4 * usize::from(u16::from_be_bytes([l0, l1]));
            extensions = (u16::from_be_bytes([p0, p1]), begin, length);
        }
        (length <= packet.len()).then_some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7F,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: MediaTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            padded: first & 0x20 != 0,
            length,
            extensions,
        })
    }

    /// The same as the packet of `ssrc` that a retransmission restores.
    pub(crate) fn restored(self, ssrc: u32, sequence: u16) -> Self {
        Self { ssrc, sequence, ..self }
    }

    /// The payload without its padding; `None` when the padding is longer than what there is.
    pub(crate) fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let payload = packet.get(self.length..)?;
        if !self.padded {
            return Some(payload);
        }
        let padding = usize::from(*payload.last()?);
        if padding == 0 {
            return None;
        }
        payload.get(..payload.len().checked_sub(padding)?)
    }

    /// The header extensions (RFC 8285 §4.2 and §4.3); what is cut short ends the walk.
    pub(crate) fn extensions<'a>(&self, packet: &'a [u8]) -> Elements<'a> {
        let (profile, begin, end) = self.extensions;
        let two_bytes = profile & 0xFFF0 == 0x1000;
        let known = two_bytes || profile == 0xBEDE;
        let rest = if known { packet.get(begin..end).unwrap_or_default() } else { &[] };
        Elements { rest, two_bytes }
    }
}

/// Walks over header extensions: number and value.
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
    two_bytes: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((&0, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        let (id, length, rest) = match (self.two_bytes, self.rest) {
            (true, &[id, length, ref rest @ ..]) => (id, usize::from(length), rest),
            (false, &[head, ref rest @ ..]) if head >> 4 != 15 => {
                (head >> 4, usize::from(head & 0x0F) + 1, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((id, value))
    }
}

/// What the header extensions of one packet say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) mid: Option<&'a [u8]>,
    pub(crate) rid: Option<&'a [u8]>,
    pub(crate) repaired_rid: Option<&'a [u8]>,
    pub(crate) transport_sequence: Option<u16>,
    pub(crate) audio_level: Option<u8>,
    pub(crate) orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    pub(crate) dependency: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    pub(crate) fn read(header: &Header, packet: &'a [u8], ids: &ExtensionIds) -> Self {
        let mut values = Self::default();
        for (id, value) in header.extensions(packet) {
            match ids.meaning(id) {
                Some(Extension::Mid) => values.mid = Some(value),
                Some(Extension::Rid) => values.rid = Some(value),
                Some(Extension::RepairedRid) => values.repaired_rid = Some(value),
                Some(Extension::TransportSequence) => {
                    values.transport_sequence =
                        value.first_chunk::<2>().map(|&bytes| u16::from_be_bytes(bytes));
                }
                Some(Extension::AudioLevel) => values.audio_level = value.first().copied(),
                Some(Extension::Orientation) => values.orientation = value.first().copied(),
                Some(Extension::PlayoutDelay) => {
                    values.playout_delay = value.first_chunk::<3>().copied();
                }
                Some(Extension::Dependency) => values.dependency = Some(value),
                Some(Extension::SendTime) | None => {}
            }
        }
        values
    }
}

/// Appends a packet to `out` piece by piece.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    extensions: usize,
    two_bytes: bool,
}

impl<'a> Writer<'a> {
    /// Begins with the fixed header.
    pub(crate) fn new(
        out: &'a mut Vec<u8>,
        (payload_type, marker): (u8, bool),
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
    ) -> Self {
        let begin = out.len();
        let [s0, s1] = sequence.to_be_bytes();
        let [t0, t1, t2, t3] = timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = ssrc.to_be_bytes();
        let second = payload_type | u8::from(marker) << 7;
        out.extend_from_slice(&[0x80, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]);
        Self { out, begin, extensions: 0, two_bytes: false }
    }

    /// Chooses the form of extensions that can be longer than 16 bytes; to be called before the first.
    pub(crate) fn long_extensions(&mut self) {
        self.two_bytes = true;
    }

    /// Adds a header extension of 1 to 16 bytes (255 in the long form).
    pub(crate) fn extension(&mut self, id: Option<u8>, value: &[u8]) {
        self.extension_of(id, &[value]);
    }

    /// The same with a value of several pieces.
    pub(crate) fn extension_of(&mut self, id: Option<u8>, pieces: &[&[u8]]) {
        let Some(id) = id else { return };
        if self.extensions == 0 {
            self.extensions = self.out.len();
            let profile: [u8; 4] =
                if self.two_bytes { [0x10, 0, 0, 0] } else { [0xBE, 0xDE, 0, 0] };
            self.out.extend_from_slice(&profile);
        }
        #[expect(clippy::cast_possible_truncation, reason = "values are short")]
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>() as u8;
        match self.two_bytes {
            true => self.out.extend_from_slice(&[id, length]),
            false => self.out.push(id << 4 | length.wrapping_sub(1) & 0x0F),
        }
        pieces.iter().for_each(|piece| self.out.extend_from_slice(piece));
    }

    /// Ends the header; returns its length.
    pub(crate) fn finish(self) -> usize {
        if self.extensions > 0 {
            let filled = self.out.len() - self.extensions;
            self.out.resize(self.extensions + filled.next_multiple_of(4), 0);
            #[expect(clippy::cast_possible_truncation, reason = "values are short")]
            let words = (filled.div_ceil(4) - 1) as u16;
            if let Some(length) = self.out.get_mut(self.extensions + 2..self.extensions + 4) {
                length.copy_from_slice(&words.to_be_bytes());
            }
            if let Some(first) = self.out.get_mut(self.begin) {
                *first |= 0x10;
            }
        }
        self.out.len() - self.begin
    }
}

/// Continues 16-bit sequence numbers over their wraps (RFC 3711 §3.3.1, appendix A of RFC 3550).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Unwrapper {
    highest: Option<Extended>,
}

impl Unwrapper {
    /// The continued number of `sequence`: the one nearest to the highest that was noted.
    pub(crate) fn peek(&self, sequence: u16) -> Extended {
        self.highest.map_or(Extended::first(sequence), |highest| highest.nearest(sequence))
    }

    /// Notes that a packet with this continued number is genuine.
    pub(crate) fn note(&mut self, continued: Extended) {
        self.highest = Some(self.highest.map_or(continued, |highest| highest.max(continued)));
    }

    pub(crate) fn highest(&self) -> Option<Extended> {
        self.highest
    }
}

/// Whether a datagram is RTCP rather than RTP (RFC 5761 §4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut ids = ExtensionIds::default();
        ids.set(Extension::TransportSequence, 5);
        ids.set(Extension::Dependency, 9);
        for long in [false, true] {
            let mut out = vec![7; 3];
            let mut writer = Writer::new(&mut out, (96, true), 65_535, 77, 0xDEAD_BEEF);
            if long {
                writer.long_extensions();
            }
            writer.extension(ids.id(Extension::TransportSequence), &[1, 2]);
            writer.extension(ids.id(Extension::Rid), b"none");
            writer.extension(ids.id(Extension::Dependency), if long { &[3; 20] } else { &[3; 16] });
            let length = writer.finish();
            out.extend_from_slice(b"payload");
            let packet = &out[3..];
            let header = Header::parse(packet).unwrap();
            assert_eq!(
                (header.length, header.sequence, header.ssrc),
                (length, 65_535, 0xDEAD_BEEF)
            );
            assert!(
                header.marker && header.payload_type == 96 && header.timestamp == MediaTime(77)
            );
            assert_eq!(header.payload(packet), Some(&b"payload"[..]));
            let values = Values::read(&header, packet, &ids);
            assert_eq!(values.transport_sequence, Some(0x0102));
            assert_eq!(values.dependency.map(<[u8]>::len), Some(if long { 20 } else { 16 }));
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let sound = [0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9];
        assert!(Header::parse(&sound).is_some());
        assert!(Header::parse(&sound[..11]).is_none(), "cut short");
        for first in [0x00, 0x40, 0xC0, 0x8F, 0x90] {
            let mut packet = sound;
            packet[0] = first;
            assert!(Header::parse(&packet).is_none(), "{first:#x}");
        }
        let padded = |padding: u8| {
            let packet = [&[0xA0], &sound[1..], &[1, 2, padding]].concat();
            Header::parse(&packet).unwrap().payload(&packet).map(<[u8]>::len)
        };
        assert_eq!([padded(1), padded(3), padded(4), padded(0)], [Some(2), Some(0), None, None]);
    }

    #[test]
    fn numbers_go_on_over_wraps_and_disorder() {
        let mut unwrapper = Unwrapper::default();
        let mut seen = Vec::new();
        for sequence in [65_534, 65_535, 1, 0, 2, 65_533] {
            let continued = unwrapper.peek(sequence);
            unwrapper.note(continued);
            seen.push(continued.reported());
        }
        assert_eq!(seen, [65_534, 65_535, 65_537, 65_536, 65_538, 65_533]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0_u8.., 0..100)) {
            if let Some(header) = Header::parse(&bytes) {
                let _ = header.payload(&bytes);
                let mut ids = ExtensionIds::default();
                ids.set(Extension::Mid, 1);
                let _ = Values::read(&header, &bytes, &ids);
            }
        }
    }
}
