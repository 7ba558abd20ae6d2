//! All voices in one file, made of the files of the participants once they are whole. Sound that is missing for a moment
//! is made up from what was before; what is missing for longer is silence.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;

use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder};
use switchboard_media::Codec;
use switchboard_media::recorder::{Block, Blocks, FileTrack, FileWriter};

/// Samples of a frame of 20 ms, of a millisecond, and of the longest frame there is (RFC 6716 §2.1.4).
const FRAME: usize = 960;
const MS: u64 = 48;
const LONGEST: usize = 5760;
/// Samples that may be made up in one place: 60 ms.
const MADE_UP: u64 = 2880;
/// Times in a file are whole milliseconds: what is off by less than this is not.
const JITTER: u64 = 10 * MS;
/// Bits in a second.
const BITRATE: u32 = 48_000;

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// A voice: a track of a file, decoded as it is needed.
struct Voice {
    /// Samples from the beginning of the recording to that of the file.
    offset: u64,
    decoder: Decoder,
    /// Samples that are decoded and not used, and where the first of them is.
    samples: VecDeque<i16>,
    begin: u64,
    placed: bool,
}

/// A file with its voices.
struct Source {
    blocks: Blocks,
    voices: Vec<(usize, Voice)>,
    /// A packet that is not due yet.
    next: Option<Block>,
    over: bool,
}

impl Voice {
    fn end(&self) -> u64 {
        self.begin + self.samples.len() as u64
    }

    /// Takes a packet that belongs at `at`, when everything before `now` is mixed.
    fn take(&mut self, at: u64, now: u64, packet: &[u8]) {
        let mut pcm = [0_i16; LONGEST];
        if !self.placed {
            (self.begin, self.placed) = (at, true);
        }
        let end = self.end();
        if at > end + JITTER {
            let missing = at - end;
            if missing <= MADE_UP {
                let room = usize::try_from(missing).unwrap_or(0) / 120 * 120;
                let made_up = pcm.get_mut(..room).unwrap_or_default();
                if let Ok(count) = self.decoder.decode(&[], made_up, DecodeMode::Normal) {
                    self.samples.extend(made_up.get(..count).unwrap_or_default());
                }
            }
            if self.end() < now {
                // What was missing meanwhile is mixed as silence.
                self.samples.clear();
                self.begin = now;
            }
            let silent = at.saturating_sub(self.end());
            self.samples.extend(std::iter::repeat_n(0, usize::try_from(silent).unwrap_or(0)));
        }
        // A packet that cannot be decoded is a gap; the next one shows how long.
        if let Ok(count) = self.decoder.decode(packet, &mut pcm, DecodeMode::Normal) {
            self.samples.extend(pcm.get(..count).unwrap_or_default());
        }
    }

    /// Adds the samples from `at` on to a frame, and forgets them.
    fn add(&mut self, at: u64, frame: &mut [i32; FRAME]) {
        for (n, sum) in frame.iter_mut().enumerate() {
            if at + n as u64 >= self.begin
                && let Some(sample) = self.samples.pop_front()
            {
                *sum += i32::from(sample);
                self.begin += 1;
            }
        }
    }
}

impl Source {
    fn open(path: &Path, offset_ms: u64) -> io::Result<Option<Self>> {
        let Some(blocks) = Blocks::of(File::open(path)?)? else { return Ok(None) };
        let offset = offset_ms * MS;
        let mut voices = Vec::new();
        for (place, codec) in blocks.tracks().iter().enumerate() {
            if *codec == Codec::Opus {
                let decoder = Decoder::new(48_000, Channels::Mono).map_err(failed)?;
                let samples = VecDeque::new();
                let voice = Voice { offset, decoder, samples, begin: 0, placed: false };
                voices.push((place, voice));
            }
        }
        Ok(Some(Self { blocks, voices, next: None, over: false }))
    }

    /// Reads what belongs before `end`, when everything before `now` is mixed.
    fn read_to(&mut self, end: u64, now: u64) -> io::Result<()> {
        while !self.over {
            let next = match self.next.take() {
                Some(next) => Some(next),
                None => self.blocks.read()?,
            };
            let Some(block) = next else {
                self.over = true;
                break;
            };
            let voice = self.voices.iter_mut().find(|(place, _)| *place == block.track);
            let Some((_, voice)) = voice else { continue };
            let at = voice.offset + block.at * MS;
            if at >= end {
                self.next = Some(block);
                break;
            }
            voice.take(at, now, &block.data);
        }
        Ok(())
    }

    fn ended(&self, at: u64) -> bool {
        self.over && self.voices.iter().all(|(_, voice)| voice.end() <= at)
    }
}

/// Mixes the voices of files, each with its milliseconds since the beginning of the recording, into a new one; gives the
/// milliseconds that it covers, `None` where there is no sound.
pub(super) fn mix(
    sources: &[(std::path::PathBuf, u64)],
    write: &mut dyn FnMut(switchboard_media::recorder::Write) -> io::Result<()>,
) -> io::Result<Option<u64>> {
    // In the order in which they are needed, the first one last: files of those who come and go are open while they are needed.
    let mut later = Vec::new();
    for (path, offset) in sources {
        if Source::open(path, *offset)?.is_some_and(|source| !source.voices.is_empty()) {
            later.push((path, *offset));
        }
    }
    if later.is_empty() {
        return Ok(None);
    }
    later.sort_by_key(|(_, offset)| std::cmp::Reverse(*offset));
    let mut open: Vec<Source> = Vec::new();
    let encoder = Encoder::builder(48_000, Channels::Mono, Application::Audio).complexity(5);
    let mut encoder = encoder.build().map_err(failed)?;
    encoder.set_bitrate(Bitrate::Bits(BITRATE)).map_err(failed)?;
    let (mut file, begin) = FileWriter::new(&[FileTrack::of(Codec::Opus)]);
    write(begin)?;
    let mut at = 0;
    let mut packet = [0; 4000];
    loop {
        let end = at + FRAME as u64;
        while let Some((path, offset)) = later.pop_if(|(_, offset)| *offset * MS < end) {
            open.extend(Source::open(path, offset)?);
        }
        for source in &mut open {
            source.read_to(end, at)?;
        }
        open.retain(|source| !source.ended(at));
        if open.is_empty() && later.is_empty() {
            break;
        }
        let mut sums = [0_i32; FRAME];
        for (_, voice) in open.iter_mut().flat_map(|source| &mut source.voices) {
            voice.add(at, &mut sums);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is clamped")]
        let frame = sums.map(|sum| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        let length = encoder.encode(&frame, &mut packet).map_err(failed)?;
        let data = packet.get(..length).unwrap_or_default().to_vec();
        let block = Block { track: 0, at: at / MS, keyframe: true, data };
        if let Some(cluster) = file.push(block) {
            write(cluster)?;
        }
        at = end;
    }
    for rest in file.finish() {
        write(rest)?;
    }
    Ok(Some(file.duration()))
}
