//! A sender with a network in virtual time: what is in the file, and when, against when it was taken.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;

use super::ebml::{self, elements};
use super::webm::CLUSTERS_AT;
use super::*;
use crate::dtls::tests::noon;
use crate::tap::{Clock, Packet, tap};

mod parts;
mod stalls;

/// What happens to packets on their way, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Every so many-th packet is lost and comes this much later.
    loss: Option<(u64, Option<u64>)>,
    /// Packets take up to this much longer, each differently.
    jitter: u64,
    /// Sound is muted in this span.
    mute: Option<(u64, u64)>,
    /// The sender's media clocks are this much too fast.
    ppm: i64,
    /// RTP begins shortly before its numbers wrap.
    wrap: bool,
    /// No sender reports.
    silent: bool,
}

const SECONDS: u64 = 30;
/// The ways of pictures and sound take differently long.
const DELAYS: [u64; 2] = [140, 20];

/// A payload that says when it was taken.
fn payload(video: bool, taken: u64, keyframe: bool, part: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    if video {
        bytes.push(if part == 0 { 0x10 } else { 0 });
        if part == 0 {
            bytes.extend([u8::from(!keyframe), 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01]);
            bytes.extend(taken.to_be_bytes());
        }
    } else {
        bytes.push(0x78);
        bytes.extend(taken.to_be_bytes());
    }
    bytes.extend([part; 20]);
    bytes
}

/// When the frame of a block was taken.
fn taken(video: bool, data: &[u8]) -> u64 {
    let at = if video { 10 } else { 1 };
    u64::from_be_bytes(data[at..at + 8].try_into().unwrap())
}

struct Recorded {
    file: Vec<u8>,
    keyframes: usize,
    gaps: Vec<Gap>,
    offset: u64,
}

/// Where a recording was after some time: milliseconds and bytes.
type Steps = Vec<(u64, usize)>;

fn put(file: &mut Vec<u8>, writes: Vec<Write>) {
    for Write { at, bytes, .. } in writes {
        let at = at.map_or(file.len(), |at| usize::try_from(at).unwrap());
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}

fn record(weather: Weather) -> (Recorded, Steps) {
    let noon = noon();
    let after = |ms: u64| noon + Duration::from_millis(ms);
    let mut recorder = Recorder::new(noon);
    let taps = [Codec::Vp8, Codec::Opus].map(|codec| {
        let (tap, tapping) = tap(4096);
        recorder.add(TrackKey(u64::from(codec.clock())), codec, tapping);
        tap
    });
    // What arrives when.
    let mut sky: BTreeMap<(u64, u64), (usize, Tapped)> = BTreeMap::new();
    let mut count = 0;
    let ticks = |place: usize, ms: u64| {
        let clock = [90, 48][place];
        ms.cast_signed() * clock * (1_000_000 + weather.ppm) / 1_000_000
    };
    let origin = |place: usize| match weather.wrap {
        true => u32::MAX - [900_000, 300_000][place],
        false => [77_777, 5_555_555][place],
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it wraps")]
    let stamp = |place: usize, ms: u64| origin(place).wrapping_add(ticks(place, ms) as u32);
    let mut sequences: [u64; 2] =
        if weather.wrap { [65_500 + 65_536; 2] } else { [100_000, 70_000] };
    for ms in 0..SECONDS * 1000 {
        let picture = ms % 40 == 0;
        let sound = ms % 20 == 0 && weather.mute.is_none_or(|(from, to)| !(from..to).contains(&ms));
        for place in [0, 1].into_iter().filter(|&place| [picture, sound][place]) {
            let video = place == 0;
            for part in 0..if video { 3 } else { 1 } {
                count += 1;
                let spread = count * 7919 % (weather.jitter + 1);
                let lost = weather.loss.filter(|(every, _)| count % every == 0);
                let more = match lost {
                    Some((_, None)) => None,
                    Some((_, Some(repaired))) => Some(repaired),
                    None => Some(spread),
                };
                let sequence = sequences[place];
                sequences[place] += 1;
                let Some(more) = more else { continue };
                let at = ms + DELAYS[place] + more;
                let packet = Packet {
                    layer: 0,
                    sequence,
                    timestamp: stamp(place, ms),
                    marker: part == 2,
                    red: false,
                    orientation: None,
                    payload: payload(video, ms, ms % 4000 == 0, part).into(),
                    at: after(at),
                };
                sky.insert((at, count), (place, Tapped::Packet(packet)));
            }
        }
        let reports = [300, 1000].contains(&ms) || ms % 5000 == 0 && ms > 0;
        if reports && !weather.silent {
            for place in [0, 1] {
                count += 1;
                let at = ms + DELAYS[place];
                let ntp = (3_900_000_000 << 32) + (ms << 32) / 1000;
                let clock = Clock { layer: 0, ntp, rtp: stamp(place, ms), at: after(at) };
                sky.insert((at, count), (place, Tapped::Clock(clock)));
            }
        }
    }
    let (mut file, mut keyframes, mut steps) = (Vec::new(), 0, Vec::new());
    for ms in (0..SECONDS * 1000 + 1000).step_by(100) {
        while let Some(entry) = sky.first_entry().filter(|entry| entry.key().0 <= ms) {
            let (place, part) = entry.remove();
            taps[place].put(part);
        }
        let work = recorder.poll(after(ms));
        keyframes += work.keyframes.len();
        put(&mut file, work.writes);
        steps.push((ms, file.len()));
    }
    put(&mut file, recorder.finish(after(SECONDS * 1000 + 1000)).writes);
    assert_eq!(taps.len(), 2);
    let (gaps, offset) = (recorder.gaps().to_vec(), recorder.offset().unwrap());
    (Recorded { file, keyframes, gaps, offset }, steps)
}

/// The blocks of a file: milliseconds, whether it is a picture, and what it holds.
fn blocks(file: &[u8]) -> Vec<(i64, bool, Vec<u8>)> {
    let mut found = Vec::new();
    for (id, content) in elements(&file[usize::try_from(CLUSTERS_AT).unwrap()..]) {
        if id != ebml::CLUSTER {
            continue;
        }
        let mut begin = 0;
        for (id, part) in elements(content) {
            match id {
                ebml::TIMESTAMP => begin = ebml::number(part).cast_signed(),
                ebml::SIMPLE_BLOCK => {
                    let offset = i64::from(i16::from_be_bytes([part[1], part[2]]));
                    let video = part[4..].get(3..6) == Some(&[0x9D, 0x01, 0x2A]);
                    found.push((begin + offset, video, part[4..].to_vec()));
                }
                _ => {}
            }
        }
    }
    found
}

/// The least and the most by which sound is behind pictures, in milliseconds, and how many of each there are.
fn behind(file: &[u8]) -> ((i64, i64), usize, usize) {
    let blocks = blocks(file);
    let mut last = [i64::MIN; 2];
    let mut shifts = [Vec::new(), Vec::new()];
    for (at, video, data) in &blocks {
        let track = usize::from(!video);
        assert!(*at > last[track], "time goes on");
        last[track] = *at;
        shifts[track].push((*at, at - taken(*video, data).cast_signed()));
    }
    let [pictures, sounds] = &shifts;
    let mut spread = (i64::MAX, i64::MIN);
    for (at, sound) in sounds {
        let near = pictures.iter().min_by_key(|(other, _)| (other - at).abs()).unwrap();
        spread = (spread.0.min(sound - near.1), spread.1.max(sound - near.1));
    }
    (spread, pictures.len(), sounds.len())
}

#[test]
fn sound_and_pictures_stay_together_in_any_weather() {
    let repaired = Some((50, Some(80)));
    let all = Weather {
        loss: repaired,
        jitter: 30,
        mute: Some((8000, 14_400)),
        ppm: 300,
        wrap: true,
        silent: false,
    };
    let fair = Weather::default();
    for (weather, pictures, sounds) in [
        (fair, 750, 1500),
        (Weather { jitter: 30, ..fair }, 750, 1500),
        (Weather { loss: repaired, ..fair }, 750, 1500),
        (Weather { ppm: 300, ..fair }, 750, 1500),
        (Weather { wrap: true, ..fair }, 750, 1500),
        (Weather { mute: Some((8000, 14_400)), ..fair }, 750, 1180),
        (all, 750, 1180),
    ] {
        let (recorded, _) = record(weather);
        let ((least, most), seen, sounds_read) = behind(&recorded.file);
        assert!(least >= -6 && most <= 6, "{weather:?}: {least} to {most} ms");
        assert_eq!((seen, sounds_read), (pictures, sounds), "{weather:?}");
        let muted: Vec<u64> = recorded.gaps.iter().map(|gap| gap.to - gap.from).collect();
        assert_eq!(muted.len(), usize::from(weather.mute.is_some()), "{muted:?}");
    }
}

#[test]
fn without_sender_reports_the_difference_of_the_ways_remains() {
    let (recorded, _) = record(Weather { silent: true, ..Weather::default() });
    let ((least, most), seen, sounds_read) = behind(&recorded.file);
    assert_eq!((seen, sounds_read), (750, 1500));
    assert!(least >= -125 && most <= -115, "{least} to {most} ms");
}

#[test]
fn after_a_loss_pictures_wait_for_a_keyframe_that_is_asked_for() {
    let (recorded, _) = record(Weather { loss: Some((50, None)), ..Weather::default() });
    let (_, seen, sounds_read) = behind(&recorded.file);
    assert!(recorded.keyframes > 20, "{}", recorded.keyframes);
    // There is one each four seconds only, and something is lost each second.
    assert!((50..700).contains(&seen) && sounds_read > 1400, "{seen} {sounds_read}");
    let first = blocks(&recorded.file).into_iter().find(|block| block.1).unwrap();
    assert_eq!(first.2[0] & 1, 0, "a keyframe");
}

#[test]
fn what_was_taken_is_on_the_disk_within_1200_ms() {
    let (recorded, steps) = record(Weather { jitter: 30, ..Weather::default() });
    for (ms, length) in steps.into_iter().filter(|(ms, _)| (3000..SECONDS * 1000).contains(ms)) {
        let blocks = blocks(&recorded.file[..length]);
        for video in [true, false] {
            let newest = blocks.iter().rfind(|block| block.1 == video).unwrap();
            let lost = ms - taken(video, &newest.2);
            assert!(lost <= 1200, "at {ms} ms: {lost} ms, pictures: {video}");
        }
    }
    assert!(recorded.offset < 200);
}

#[test]
fn any_cut_plays_after_recovery_and_recovery_changes_nothing_twice() {
    let (recorded, steps) = record(Weather::default());
    let unfinished = steps.last().unwrap().1;
    let path = std::env::temp_dir().join(format!("switchboard-cut-{}", std::process::id()));
    let whole = blocks(&recorded.file).len();
    for cut in (5000..unfinished).step_by(unfinished / 40).chain([0, 1, 300, 4096, unfinished]) {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all_at(&recorded.file[..cut], 0).unwrap();
        let Some(found) = recover(&file).unwrap() else {
            assert!(cut < 30_000, "a cut at {cut} holds something");
            continue;
        };
        let read = || std::fs::read(&path).unwrap();
        let once = read();
        assert_eq!(found.bytes, once.len() as u64);
        let kept = blocks(&once);
        assert!(kept.len() <= whole && !kept.is_empty());
        assert!(found.duration >= u64::try_from(kept.last().unwrap().0).unwrap());
        // Segment, Cues and duration are there.
        let (id, size, head) = ebml::head(&once[64..]).unwrap();
        assert_eq!((id, size), (ebml::SEGMENT, Some((once.len() - 64 - head) as u64)));
        assert!(elements(&once[4096..]).any(|(id, cues)| id == ebml::CUES && !cues.is_empty()));
        recover(&file).unwrap().unwrap();
        assert_eq!(read(), once);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_track_that_misbehaves_stops_alone_and_jumps_do_not_stall() {
    let noon = noon();
    let mut recorder = Recorder::new(noon);
    let (sound, tapping) = tap(4096);
    recorder.add(TrackKey(1), Codec::Opus, tapping);
    let mut taps = vec![sound];
    for (key, codec) in [(2, Codec::H264), (3, Codec::Av1), (4, Codec::Vp8), (5, Codec::Vp9)] {
        let (tap, tapping) = tap(4096);
        recorder.add(TrackKey(key), codec, tapping);
        taps.push(tap);
    }
    let mut file = Vec::new();
    for n in 0..2000_u64 {
        let at = noon + Duration::from_millis(n * 20);
        // Timestamps jump by 2^31, numbers by 32,768 forward and back.
        let jump = if n >= 1000 { 1 << 31 } else { 0_u32 };
        let number = 100_000 + n + if (500..1500).contains(&n) { 32_768 } else { 0 };
        let timestamp = (u32::try_from(n).unwrap() * 960).wrapping_add(jump);
        for (place, tap) in taps.iter().enumerate() {
            let payload: Vec<u8> = match place {
                0 => payload(false, n * 20, true, 0),
                1 => [0x18, 0, 0, 0].into(),
                2 => [0x10, [6, 4][usize::from(n % 2 == 0)]].into(),
                _ => [0x90, 0x80, 0x80][..usize::try_from(n % 4).unwrap()].into(),
            };
            tap.put(Tapped::Packet(Packet {
                layer: 0,
                sequence: number,
                timestamp,
                marker: true,
                red: false,
                orientation: None,
                payload: payload.into(),
                at,
            }));
        }
        if n % 5 == 0 {
            put(&mut file, recorder.poll(at).writes);
        }
    }
    put(&mut file, recorder.finish(noon + Duration::from_secs(41)).writes);
    let sounds_read = blocks(&file);
    assert!(sounds_read.len() > 1900, "{}", sounds_read.len());
    let span = sounds_read.last().unwrap().0 - sounds_read[0].0;
    assert!((39_000..41_000).contains(&span), "{span}");
}

/// The packet of a frame that needs no other, one every 20 ms.
fn whole(noon: Instant, n: u64, video: bool) -> Tapped {
    Tapped::Packet(Packet {
        layer: 0,
        sequence: n,
        timestamp: u32::try_from(n).unwrap() * if video { 1800 } else { 960 },
        marker: true,
        red: false,
        orientation: None,
        payload: payload(video, n * 20, true, 0).into(),
        at: noon + Duration::from_millis(n * 20),
    })
}

#[test]
fn a_camera_that_comes_later_finds_room_in_the_file() {
    let noon = noon();
    let after = |ms: u64| noon + Duration::from_millis(ms);
    let mut recorder = Recorder::new(noon);
    let packet = |n: u64, video: bool| whole(noon, n, video);
    let (sound, tapping) = tap(64);
    recorder.add(TrackKey(1), Codec::Opus, tapping);
    let mut cameras = Vec::new();
    let mut file = Vec::new();
    for n in 0..1000_u64 {
        sound.put(packet(n, false));
        if n == 300 || n == 700 {
            let (camera, tapping) = tap(64);
            recorder.add(TrackKey(n), Codec::Vp8, tapping);
            cameras.push(camera);
        }
        if n == 500 {
            cameras.clear();
        }
        cameras.last().inspect(|camera| camera.put(packet(n, true)));
        if n % 5 == 0 {
            put(&mut file, recorder.poll(after(n * 20)).writes);
        }
    }
    put(&mut file, recorder.finish(after(20_000)).writes);
    assert_eq!(
        recorder.tracks().iter().map(|it| it.codec).collect::<Vec<_>>(),
        [Codec::Opus, Codec::Vp8]
    );
    let (_, seen, sounds_read) = behind(&file);
    assert!(seen > 490 && sounds_read == 1000, "{seen} {sounds_read}");
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn what_finds_no_room_is_lost_once() {
    let noon = noon();
    let mut recorder = Recorder::new(noon);
    let (sound, tapping) = tap(64);
    recorder.add(TrackKey(1), Codec::Opus, tapping);
    let mut n = 0_u64;
    let mut speak = |count: u64| {
        for _ in 0..count {
            sound.put(whole(noon, n, false));
            n += 1;
        }
        noon + Duration::from_millis(n * 20)
    };
    recorder.poll(speak(50));
    // It is not polled for 4 s; what the numbers show later is the same.
    recorder.poll(speak(200));
    assert_eq!(recorder.lost(), 136);
    recorder.poll(speak(50));
    assert_eq!(recorder.lost(), 136);
    // And at the end nothing comes any more that could show it.
    recorder.finish(speak(74));
    assert_eq!(recorder.lost(), 146);
}
