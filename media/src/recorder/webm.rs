//! A WebM or Matroska file (RFC 9559) that any cut leaves playable: everything is appended, cluster by cluster, but for the
//! descriptions at the beginning, which have room to change in. When it is finished it gets its duration, its cues and its sizes.
//!
//! ```text
//! 0     EBML head
//! 64    Segment, of unknown size until it is finished
//! 76    room for the SeekHead
//! 256   Info, with room for the duration
//! 384   Tracks, with room for more of them
//! 4096  clusters, then Cues
//! ```

use super::ebml::{
    CLUSTER, CUES, EBML, INFO, Id, SEEK_HEAD, SEGMENT, SIMPLE_BLOCK, TIMESTAMP, TRACKS, UNKNOWN,
    VOID, Writer, elements, head, number,
};
use crate::codec::Codec;

const SEGMENT_AT: u64 = 64;
/// Where the content of the segment begins, which positions count from.
const CONTENT_AT: u64 = 76;
const INFO_AT: u64 = 256;
const TRACKS_AT: u64 = 384;
const POSE_ROLL: Id = 0x7675;
/// Where clusters begin.
pub(super) const CLUSTERS_AT: u64 = 4096;

/// A track of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileTrack {
    /// What it is coded with.
    pub codec: Codec,
    /// The width and height of its largest picture.
    pub size: (u16, u16),
    /// By how many degrees a player has to turn its pictures clockwise: 0, 90, 180 or 270.
    pub rotation: u16,
    /// How its samples become colours, where that is known.
    pub colour: Option<Colour>,
    /// What a decoder must know before the first frame.
    pub private: Vec<u8>,
}

impl FileTrack {
    /// A track of which no more is known.
    pub fn of(codec: Codec) -> Self {
        Self { codec, size: (0, 0), rotation: 0, colour: None, private: Vec::new() }
    }
}

/// How samples become colours (ITU-T H.273).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Colour {
    /// Samples use all their values.
    pub full: bool,
    /// `ColourPrimaries`; 2 is unspecified.
    pub primaries: u8,
    /// `TransferCharacteristics`; 2 is unspecified.
    pub transfer: u8,
    /// `MatrixCoefficients`; 2 is unspecified.
    pub matrix: u8,
}

impl Default for Colour {
    fn default() -> Self {
        Self { full: false, primaries: 2, transfer: 2, matrix: 2 }
    }
}

/// A frame at its place in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block<D = Vec<u8>> {
    /// The track, counted from 0.
    pub track: usize,
    /// Milliseconds since the beginning of the file.
    pub at: u64,
    /// Whether it needs no other.
    pub keyframe: bool,
    /// The frame.
    pub data: D,
}

/// Where decoding can begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cue {
    pub(super) at: u64,
    pub(super) track: usize,
    /// Where the cluster is in the file.
    pub(super) cluster: u64,
}

/// What is known of a file without its clusters.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) cues: Vec<Cue>,
    /// Milliseconds from the beginning to the end of the last block.
    pub(super) duration: u64,
    /// Where the next cluster goes.
    pub(super) end: u64,
}

/// The beginning of a file, [`CLUSTERS_AT`] bytes: written first, and once more whenever a track is added.
pub(super) fn beginning(tracks: &[FileTrack]) -> Vec<u8> {
    let matroska = tracks.iter().any(|track| track.codec == Codec::H264);
    let mut file = Writer::default();
    file.group(EBML, |head| {
        head.number(0x4286, 1); // EBMLVersion
        head.number(0x42F7, 1); // EBMLReadVersion
        head.number(0x42F2, 4); // EBMLMaxIDLength
        head.number(0x42F3, 8); // EBMLMaxSizeLength
        head.text(0x4282, if matroska { "matroska" } else { "webm" });
        head.number(0x4287, 4); // DocTypeVersion
        head.number(0x4285, 2); // DocTypeReadVersion
        head.void_to(59);
    });
    file.id(SEGMENT);
    file.0.extend_from_slice(&UNKNOWN);
    file.void_to(256);
    file.0.extend_from_slice(&info(None));
    file.void_to(384);
    file.group(TRACKS, |all| {
        for (place, track) in (1..).zip(tracks) {
            all.group(0xAE, |entry| describe(entry, place, track));
        }
    });
    file.void_to(4096);
    file.0
}

/// The Info element; its length does not depend on the duration.
fn info(duration: Option<u64>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.group(INFO, |info| {
        info.number(0x2A_D7B1, 1_000_000); // TimestampScale: milliseconds
        info.text(0x4D80, "switchboard"); // MuxingApp
        info.text(0x5741, "switchboard"); // WritingApp
        match duration {
            #[expect(clippy::cast_precision_loss, reason = "less than 2^52 ms")]
            Some(duration) => info.float(0x4489, duration as f64),
            None => info.bytes(VOID, &[0; 9]),
        }
    });
    writer.0
}

/// What a codec is called in a file, and the type of its tracks.
fn codec_id(codec: Codec) -> (&'static str, u64) {
    match codec {
        Codec::Opus => ("A_OPUS", 2),
        Codec::Vp8 => ("V_VP8", 1),
        Codec::Vp9 => ("V_VP9", 1),
        Codec::H264 => ("V_MPEG4/ISO/AVC", 1),
        Codec::Av1 => ("V_AV1", 1),
    }
}

fn describe(entry: &mut Writer, place: u64, track: &FileTrack) {
    entry.number(0xD7, place); // TrackNumber
    entry.number(0x73C5, place); // TrackUID
    entry.number(0x9C, 0); // FlagLacing
    let (id, kind) = codec_id(track.codec);
    entry.text(0x22_B59C, "und"); // Language
    entry.text(0x86, id); // CodecID
    entry.number(0x83, kind); // TrackType
    if track.codec == Codec::Opus {
        entry.number(0x56AA, 6_500_000); // CodecDelay, ns: 312 samples
        entry.number(0x56BB, 80_000_000); // SeekPreRoll, ns
        entry.group(0xE1, |audio| {
            audio.float(0xB5, 48_000.0); // SamplingFrequency
            audio.number(0x9F, 2); // Channels
        });
        entry.bytes(0x63A2, &opus_head());
    } else {
        entry.group(0xE0, |video| {
            video.number(0xB0, track.size.0.into()); // PixelWidth
            video.number(0xBA, track.size.1.into()); // PixelHeight
            if let Some(colour) = track.colour {
                video.group(0x55B0, |all| {
                    all.number(0x55B1, colour.matrix.into()); // MatrixCoefficients
                    all.number(0x55B9, if colour.full { 2 } else { 1 }); // Range
                    all.number(0x55BA, colour.transfer.into()); // TransferCharacteristics
                    all.number(0x55BB, colour.primaries.into()); // Primaries
                });
            }
            if track.rotation != 0 {
                video.group(0x7670, |projection| {
                    projection.number(0x7671, 0); // ProjectionType: rectangular
                    projection.float(POSE_ROLL, roll(track.rotation));
                });
            }
        });
        if !track.private.is_empty() {
            entry.bytes(0x63A2, &track.private);
        }
    }
}

/// The roll of a picture that has to be turned clockwise: counter-clockwise, between -180 and 180 (RFC 9559 §5.1.4.1.28.46).
fn roll(rotation: u16) -> f64 {
    let clockwise = f64::from(rotation % 360);
    if clockwise > 180.0 { 360.0 - clockwise } else { -clockwise }
}

/// By how many degrees clockwise the pictures of a track entry have to be turned.
fn rotation_of(entry: &[u8]) -> u16 {
    let inside = |bytes, wanted| elements(bytes).find(|&(id, _)| id == wanted).map(|(_, it)| it);
    let roll = inside(entry, 0xE0).and_then(|video| inside(video, 0x7670));
    let roll = roll.and_then(|projection| inside(projection, POSE_ROLL));
    let roll = roll.and_then(|roll| roll.first_chunk::<8>());
    let roll = roll.map_or(0.0, |roll| f64::from_be_bytes(*roll));
    [90, 180, 270].into_iter().find(|&rotation| self::roll(rotation) == roll).unwrap_or(0)
}

/// RFC 7845 §5.1: two channels, 312 samples of pre-skip, 48 kHz.
fn opus_head() -> [u8; 19] {
    let mut head = *b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0";
    let (skip, rate) = (312_u16.to_le_bytes(), 48_000_u32.to_le_bytes());
    for (place, byte) in head.iter_mut().skip(10).zip(skip.into_iter().chain(rate)) {
        *place = byte;
    }
    head
}

/// A cluster of blocks that are in order; none of them is more than 30 s behind the first.
pub(super) fn cluster(blocks: &[Block], index: &mut Index) -> Vec<u8> {
    let Some(first) = blocks.first() else { return Vec::new() };
    let mut content = Writer::default();
    content.number(TIMESTAMP, first.at);
    for block in blocks {
        let offset = block.at.cast_signed() - first.at.cast_signed();
        let offset = offset.clamp(i16::MIN.into(), i16::MAX.into());
        let offset = i16::try_from(offset).unwrap_or(i16::MAX);
        let flags = if block.keyframe { 0x80 } else { 0 };
        let number = u8::try_from(block.track + 1).unwrap_or(1) | 0x80;
        let [high, low] = offset.to_be_bytes();
        content.id(SIMPLE_BLOCK);
        content.long_size(block.data.len() as u64 + 4);
        content.0.extend_from_slice(&[number, high, low, flags]);
        content.0.extend_from_slice(&block.data);
        index.note(block);
    }
    let mut cluster = Writer::default();
    cluster.bytes(CLUSTER, &content.0);
    index.end += cluster.0.len() as u64;
    cluster.0
}

impl Index {
    pub(super) fn new() -> Self {
        Self { end: CLUSTERS_AT, ..Self::default() }
    }

    fn note<D>(&mut self, block: &Block<D>) {
        // A second between cues of a track is enough.
        let last = self.cues.iter().rfind(|cue| cue.track == block.track);
        if block.keyframe && last.is_none_or(|cue| block.at >= cue.at + 1000) {
            self.cues.push(Cue { at: block.at, track: block.track, cluster: self.end });
        }
        self.duration = self.duration.max(block.at + 20);
    }

    /// What makes a file whole that ends behind its last cluster: bytes, each with their place in the file.
    pub(super) fn finish(&self, pictures: Option<usize>) -> Vec<(u64, Vec<u8>)> {
        let mut cues = Writer::default();
        // Where there are pictures, sound alone is no place to begin at.
        let pictures = pictures.filter(|it| self.cues.iter().any(|cue| cue.track == *it));
        let useful = self.cues.iter().filter(|cue| pictures.is_none_or(|it| it == cue.track));
        cues.group(CUES, |all| {
            for cue in useful {
                all.group(0xBB, |point| {
                    point.number(0xB3, cue.at); // CueTime
                    point.group(0xB7, |position| {
                        position.number(0xF7, cue.track as u64 + 1); // CueTrack
                        position.number(0xF1, cue.cluster - CONTENT_AT); // CueClusterPosition
                    });
                });
            }
        });
        let end = self.end + cues.0.len() as u64;
        let mut seek = Writer::default();
        let places = [(INFO, INFO_AT), (TRACKS, TRACKS_AT), (CUES, self.end)];
        seek.group(SEEK_HEAD, |all| {
            for (id, at) in places {
                all.group(0x4DBB, |entry| {
                    entry.bytes(0x53AB, &id.to_be_bytes()); // SeekID
                    entry.number(0x53AC, at - CONTENT_AT); // SeekPosition
                });
            }
        });
        seek.void_to(180);
        let mut size = Writer::default();
        size.long_size(end - CONTENT_AT);
        vec![
            (self.end, cues.0),
            (CONTENT_AT, seek.0),
            (INFO_AT, info(Some(self.duration))),
            (SEGMENT_AT + 4, size.0),
        ]
    }
}

/// Reads the descriptions at the beginning of a file of ours: what each track, in order, is coded with, and its rotation. `None` when
/// it is no such file.
pub(super) fn read_beginning(bytes: &[u8]) -> Option<Vec<(Codec, u16)>> {
    let (id, _, _) = head(bytes.get(usize::try_from(SEGMENT_AT).ok()?..)?)?;
    let tracks = bytes.get(usize::try_from(TRACKS_AT).ok()?..)?;
    let (found, content) = elements(tracks).next()?;
    if id != SEGMENT || found != TRACKS {
        return None;
    }
    let codec = |entry| {
        let (_, id) = elements(entry).find(|&(id, _)| id == 0x86)?;
        Codec::ALL.into_iter().find(|&codec| codec_id(codec).0.as_bytes() == id)
    };
    elements(content)
        .filter(|&(id, _)| id == 0xAE)
        .map(|(_, entry)| Some((codec(entry)?, rotation_of(entry))))
        .collect()
}

/// The blocks of a whole cluster; `None` when it is not one of ours.
pub(super) fn blocks(content: &[u8]) -> Option<impl Iterator<Item = Block<&[u8]>>> {
    let mut parts = elements(content);
    let (TIMESTAMP, begin) = parts.next()? else { return None };
    let begin = number(begin);
    Some(parts.filter_map(move |part| match part {
        (SIMPLE_BLOCK, &[track, high, low, flags, ref data @ ..]) => Some(Block {
            track: usize::from(track & 0x7F).saturating_sub(1),
            at: begin.saturating_add_signed(i16::from_be_bytes([high, low]).into()),
            keyframe: flags & 0x80 != 0,
            data,
        }),
        _ => None,
    }))
}

/// Notes the blocks of a whole cluster, which is `whole` bytes long in the file; false when it is not one.
pub(super) fn read_cluster(content: &[u8], whole: u64, index: &mut Index) -> bool {
    let Some(blocks) = blocks(content) else { return false };
    blocks.for_each(|block| index.note(&block));
    index.end += whole;
    true
}
