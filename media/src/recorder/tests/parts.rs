//! Where a file ends and another begins, and what each says of its pictures.

use super::*;
use crate::codec::{Format, Profile};
use crate::tap::{Coded, Tap};

/// Constrained baseline of 640 × 480, high of 320 × 240 with colours, and a picture parameter set for each.
const BASELINE: &[u8] = &[0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x02, 0x80, 0xF6, 0x80];
const HIGH: &[u8] = &[0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFA, 0x10];
const PICTURES: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];

/// A recorder in virtual time whose files are in memory.
struct Studio {
    recorder: Recorder,
    noon: Instant,
    ms: u64,
    /// The number of the first packet.
    first: u64,
    files: Vec<Vec<u8>>,
    whole: Vec<Whole>,
    keyframes: usize,
}

impl Studio {
    fn new() -> Self {
        let (noon, ms, first, keyframes) = (noon(), 0, 0, 0);
        let (files, whole) = (Vec::new(), Vec::new());
        Self { recorder: Recorder::new(noon), noon, ms, first, files, whole, keyframes }
    }

    fn track(&mut self, key: u64, codec: Codec) -> Tap {
        let (tap, tapping) = tap(1024);
        self.recorder.add(TrackKey(key), codec, tapping);
        tap
    }

    /// A whole picture, or 20 ms of sound.
    fn send(&self, tap: &Tap, payload: &[u8], orientation: Option<u8>, clock: u64) {
        tap.put(Tapped::Packet(Packet {
            layer: 0,
            sequence: self.first + self.ms / 20,
            timestamp: u32::try_from(self.ms * clock).unwrap(),
            marker: true,
            red: false,
            orientation,
            payload: payload.to_vec().into(),
            at: self.noon + Duration::from_millis(self.ms),
        }));
    }

    fn picture(&self, tap: &Tap, keyframe: bool, orientation: Option<u8>) {
        self.send(tap, &payload(true, self.ms, keyframe, 0), orientation, 90);
    }

    fn step(&mut self, ms: u64) {
        self.ms += ms;
        if self.ms.is_multiple_of(100) {
            let work = self.recorder.poll(self.noon + Duration::from_millis(self.ms));
            self.take(work);
        }
    }

    fn take(&mut self, work: Work) {
        self.keyframes += work.keyframes.len();
        for write in work.writes {
            assert!(write.file + 1 >= self.files.len(), "files come one after the other");
            self.files.resize(write.file + 1, Vec::new());
            put(&mut self.files[write.file], vec![write]);
        }
        self.whole.extend(work.whole);
    }

    fn finish(&mut self) {
        let work = self.recorder.finish(self.noon + Duration::from_millis(self.ms));
        self.take(work);
        assert_eq!(self.whole.len(), self.files.len());
    }
}

fn rotations(studio: &Studio) -> Vec<Vec<u16>> {
    let tracks = studio.whole.iter().map(|whole| &whole.tracks);
    tracks.map(|all| all.iter().map(|track| track.rotation).collect()).collect()
}

#[test]
fn a_file_says_how_it_is_turned_and_a_phone_that_is_turned_begins_another() {
    let mut studio = Studio::new();
    let (camera, voice) = (studio.track(1, Codec::Vp8), studio.track(2, Codec::Opus));
    for n in 0..600_u64 {
        studio.send(&voice, &payload(false, studio.ms, true, 0), None, 48);
        // Held upright, then on its side from 4 s on; where nothing is said it stays as it was. Keyframes come at request.
        let orientation = match n {
            0..200 if n % 10 == 0 => Some(0x01),
            200 => Some(0x00),
            400..600 => Some(0x06),
            _ => None,
        };
        let keyframe = n == 0 || studio.keyframes > 0 && n % 25 == 0;
        studio.keyframes = studio.keyframes.saturating_sub(usize::from(keyframe));
        studio.picture(&camera, keyframe, orientation);
        studio.step(20);
    }
    studio.finish();
    assert_eq!(rotations(&studio), [[90, 0], [0, 0], [180, 0]]);
    let mut taken_before = [None; 2];
    for (whole, file) in studio.whole.iter().zip(&studio.files) {
        assert_eq!(whole.tracks.len(), 2);
        let blocks = blocks(file);
        assert_eq!(blocks[0].2[0] & 1, 0, "a file begins with a keyframe");
        for video in [true, false] {
            let place = usize::from(video);
            for (at, _, data) in blocks.iter().filter(|block| block.1 == video) {
                let taken = taken(video, data);
                assert!(taken_before[place].is_none_or(|before| taken == before + 20));
                taken_before[place] = Some(taken);
                let lies = at + whole.offset.cast_signed();
                assert!((lies - taken.cast_signed()).abs() <= 21, "{lies} of {taken}");
            }
        }
    }
    assert_eq!(taken_before, [Some(11_980); 2], "nothing is missing");
    // Soon after it is turned, and not only when a keyframe would have come.
    assert!((4000..5100).contains(&studio.whole[1].offset), "{}", studio.whole[1].offset);
}

#[test]
fn the_rotation_is_that_of_the_matroska_projection_and_is_found_again() {
    let turned = [(0, 0, None), (1, 90, Some(-90.0)), (2, 180, Some(-180.0)), (3, 270, Some(90.0))];
    for (byte, rotation, roll) in turned {
        let mut studio = Studio::new();
        let camera = studio.track(1, Codec::Vp8);
        for n in 0..100 {
            studio.picture(&camera, n == 0, Some(byte | 0x08));
            studio.step(20);
        }
        studio.finish();
        assert_eq!(rotations(&studio), [[rotation]]);
        let projection = [&[0x76, 0x75, 0x88][..], &roll.unwrap_or(9.0_f64).to_be_bytes()].concat();
        let written = studio.files[0].windows(projection.len()).any(|it| it == projection);
        assert_eq!(written, roll.is_some(), "{rotation}");
        let path = std::env::temp_dir()
            .join(format!("switchboard-turned-{rotation}-{}", std::process::id()));
        std::fs::write(&path, &studio.files[0]).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(recover(&file).unwrap().unwrap().rotation, rotation);
        std::fs::remove_file(path).unwrap();
    }
}

/// A keyframe of each codec, and a picture that is none.
fn pictures(codec: Codec) -> [Vec<u8>; 2] {
    match codec {
        Codec::Vp8 => [payload(true, 0, true, 0), payload(true, 0, false, 0)],
        // One layer, profile 0, 64 × 64.
        Codec::Vp9 => {
            let key =
                [0x82, 0x49, 0x83, 0x42, 0x00, 0x03, 0xF0, 0x03, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            [
                [&[0x0C][..], &key].concat(),
                [&[0x4C][..], &[0x86, 0, 0x40, 0x92, 0, 0, 0, 0]].concat(),
            ]
        }
        Codec::H264 => [vec![0x65, 0x88, 0x84, 0x21], vec![0x61, 0xE0, 0x21]],
        // A sequence header of 176 × 144, and a frame.
        Codec::Av1 => {
            let header = [0x08, 0, 0, 0, 0x24, 0xC4, 0xFF, 0xDF, 0x00, 0x68, 0x02];
            let length = u8::try_from(header.len()).unwrap();
            let key = [&[0x08, length][..], &header, &[3, 0x30, 0x10, 0x00]].concat();
            [key, vec![0x10, 0x30, 0x20, 0x00]]
        }
        Codec::Opus => [payload(false, 0, true, 0), payload(false, 0, true, 0)],
    }
}

fn coded(format: Format) -> Tapped {
    let sets = [BASELINE.to_vec(), PICTURES.to_vec()];
    let sets = if format.codec == Codec::H264 { sets.to_vec() } else { Vec::new() };
    Tapped::Coded(Coded { format, parameter_sets: sets.into() })
}

#[test]
fn another_codec_in_the_middle_begins_another_file_of_each_pair() {
    let video = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
    for (before, after) in video.into_iter().flat_map(|one| video.map(|other| (one, other))) {
        if before == after {
            continue;
        }
        let mut studio = Studio::new();
        let (camera, voice) = (studio.track(1, before), studio.track(2, Codec::Opus));
        camera.put(coded(before.into()));
        for (codec, first) in [(before, 100_000), (after, 500)] {
            if codec == after {
                camera.put(coded(after.into()));
            }
            let [key, delta] = pictures(codec);
            for n in 0..100 {
                studio.first = first;
                studio.send(&camera, if n % 25 == 0 { &key } else { &delta }, None, 90);
                studio.first = 0;
                studio.send(&voice, &payload(false, studio.ms, true, 0), None, 48);
                studio.step(20);
            }
        }
        studio.finish();
        let codecs: Vec<Vec<Codec>> = studio
            .whole
            .iter()
            .map(|whole| whole.tracks.iter().map(|track| track.codec).collect())
            .collect();
        assert_eq!(codecs.len(), 2, "{before:?} to {after:?}: {codecs:?}");
        for (codecs, codec) in codecs.iter().zip([before, after]) {
            let mut found = codecs.clone();
            found.sort_by_key(|codec| codec.name());
            let mut wanted = [codec, Codec::Opus];
            wanted.sort_by_key(|codec| codec.name());
            assert_eq!(found, wanted, "{before:?} to {after:?}");
        }
        let begins = studio.whole[1].offset;
        assert!((1900..2200).contains(&begins), "{before:?} to {after:?}: {begins}");
        assert!(studio.whole.iter().all(|whole| whole.duration > 1700), "{before:?} to {after:?}");
    }
}

#[test]
fn a_profile_that_changes_is_another_format_and_its_record_is_that_of_its_set() {
    let mut studio = Studio::new();
    let camera = studio.track(1, Codec::H264);
    let high = Format { profile: Profile::High, ..Codec::H264.into() };
    for format in [Codec::H264.into(), high] {
        let set = if format == high { HIGH } else { BASELINE };
        let parameter_sets = [set.to_vec(), PICTURES.to_vec()].to_vec().into();
        camera.put(Tapped::Coded(Coded { format, parameter_sets }));
        let [key, delta] = pictures(Codec::H264);
        for n in 0..50 {
            studio.send(&camera, if n % 25 == 0 { &key } else { &delta }, None, 90);
            studio.step(20);
        }
    }
    studio.finish();
    let records: Vec<&[u8]> = studio.whole.iter().map(|it| &*it.tracks[0].private).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0][..6], [1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1]);
    assert_eq!(records[1][..6], [1, 0x64, 0x00, 0x0D, 0xFF, 0xE1]);
    // Chroma format and bit depths, which only the high profiles have.
    assert!(records[0].ends_with(PICTURES) && records[1].ends_with(&[0xFD, 0xF8, 0xF8, 0]));
    assert_eq!(studio.whole[1].tracks[0].size, (320, 240));
}

#[test]
fn h264_is_recorded_with_sets_that_the_stream_does_not_have_and_named_without() {
    for described in [true, false] {
        let mut studio = Studio::new();
        let camera = studio.track(1, Codec::H264);
        if described {
            camera.put(coded(Codec::H264.into()));
        }
        let [key, delta] = pictures(Codec::H264);
        for n in 0..100 {
            studio.send(&camera, if n % 25 == 0 { &key } else { &delta }, None, 90);
            studio.step(20);
        }
        let lacking = studio.recorder.lacking_parameter_sets();
        studio.finish();
        assert_eq!(studio.recorder.lacking_parameter_sets(), lacking);
        assert_eq!(lacking, if described { vec![] } else { vec![TrackKey(1)] });
        assert_eq!(studio.whole.len(), usize::from(described));
        if described {
            assert_eq!(studio.whole[0].tracks[0].size, (640, 480));
        }
    }
}

#[test]
fn the_size_of_a_track_is_that_of_its_largest_picture() {
    let mut studio = Studio::new();
    let camera = studio.track(1, Codec::Vp8);
    let sizes = [(160, 90), (320, 180), (1280, 720), (640, 360)];
    for n in 0..200_usize {
        let (width, height): (u16, u16) = sizes[n / 50];
        let mut picture = payload(true, studio.ms, n % 50 == 0, 0);
        picture[7..9].copy_from_slice(&width.to_le_bytes());
        picture[9..11].copy_from_slice(&height.to_le_bytes());
        studio.send(&camera, &picture, None, 90);
        studio.step(20);
    }
    studio.finish();
    assert_eq!(studio.whole[0].tracks[0].size, (1280, 720));
    // PixelWidth, PixelHeight.
    let written = [0xB0, 0x82, 0x05, 0x00, 0xBA, 0x82, 0x02, 0xD0];
    let tracks = &studio.files[0][..usize::try_from(CLUSTERS_AT).unwrap()];
    assert!(tracks.windows(written.len()).any(|it| it == written));
    assert!(tracks.windows(3).any(|it| it == b"und"), "the language");
}
