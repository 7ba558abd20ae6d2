//! The thread of a recording, stepped in virtual time with taps that a test fills.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::sync_channel;

use switchboard_media::driver::Settings;
use switchboard_media::tap::{Packet, Tap, Tapped, tap};
use switchboard_media::{Codec, TrackKey};

use super::super::files::{Found, recover};
use super::super::{Part, Publisher};
use super::*;
use crate::ids::UserId;

/// A writer in virtual time, and the moment at which it begins.
fn writer(root: &std::path::Path) -> (Writer, Instant) {
    let settings = Settings {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        listen_tcp: Vec::new(),
        advertised: Vec::new(),
        workers: 1,
    };
    let clock = Clock::system();
    let id = RecordingId::new(clock.id());
    let began = clock.instant();
    let setup = WriterSetup {
        id,
        room: "standup".parse().unwrap(),
        key: RoomKey(1),
        mode: RecordingMode::Tracks,
        at: clock.now(),
        folder: root.join(id.to_string()),
        config: config::Recordings { min_free_bytes: 0, ..config::Recordings::default() },
        clock,
        server: Arc::new(Server::start(&settings, |_| {}).unwrap()),
        added: sync_channel(1).1,
        reason: Arc::default(),
        events: tokio::sync::mpsc::channel(8).0,
    };
    (Writer { began, ..Writer::begin(setup).unwrap() }, began)
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("switchboard-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    path
}

fn comes(writer: &mut Writer, number: u64) -> Tap {
    let (tap, tapping) = tap(1024);
    let user = UserId::new(i64::try_from(number).unwrap() + 1).unwrap();
    let by = Publisher { who: user.to_string(), user, name: None };
    let part = Part { key: TrackKey(number), codec: Codec::Opus, screen: false };
    writer.add(AddedTrack { by, part, tapping });
    tap
}

fn speaks(tap: &Tap, ms: u64, began: Instant) {
    tap.put(Tapped::Packet(Packet {
        layer: 0,
        sequence: 1000 + ms / 20,
        timestamp: u32::try_from(ms * 48).unwrap(),
        marker: true,
        red: false,
        orientation: None,
        payload: vec![0x78; 40].into(),
        at: began + Duration::from_millis(ms),
    }));
}

/// Forty people, two at a time, each for eight seconds.
fn come_and_go(writer: &mut Writer, began: Instant) -> usize {
    let (mut there, mut most) = (Vec::new(), 0);
    for ms in (0..160_000).step_by(20) {
        if ms % 4000 == 0 {
            there.push(comes(writer, ms / 4000));
            let gone = there.len().saturating_sub(2);
            there.drain(..gone);
        }
        there.iter().for_each(|tap| speaks(tap, ms, began));
        if ms % 100 == 0 {
            writer.look(began + Duration::from_millis(ms)).unwrap();
            most = most.max(writer.outputs.len());
        }
    }
    most
}

#[test]
fn files_of_those_who_have_been_gone_for_ten_seconds_are_whole_while_others_are_recorded() {
    let root = folder("gone");
    let (mut writer, began) = writer(&root);
    let most = come_and_go(&mut writer, began);
    assert!((4..=6).contains(&most), "{most} files are looked at");
    let names = |end: &str| {
        let names = std::fs::read_dir(&writer.setup.folder).unwrap();
        names.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().ends_with(end)).count()
    };
    assert!(names(".webm") >= 34 && names(".part") <= 6);
    // Each is listed once, by a line of its own.
    let list = std::fs::read_to_string(writer.setup.folder.join("files.jsonl")).unwrap();
    assert_eq!(list.lines().count(), 40);
    let files = writer.finish(StopReason::Requested);
    assert_eq!(files.len(), 41, "and the manifest");
    for (place, file) in files.iter().take(40).enumerate() {
        let begins = u64::try_from(place).unwrap() * 4000;
        assert!(file.start_offset_ms.abs_diff(begins) < 100, "{file:?}");
        // The last comes with four seconds left.
        let length = if place == 39 { 4000 } else { 8000 };
        assert!(file.duration_ms.abs_diff(length) < 100 && file.sha256.len() == 64, "{file:?}");
    }
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn after_a_crash_whole_files_and_those_that_were_written_are_found() {
    let root = folder("crash");
    let (mut writer, began) = writer(&root);
    come_and_go(&mut writer, began);
    let (id, now) = (writer.setup.id, writer.setup.clock.now());
    drop(writer);
    let files = match recover(&root, id, now).unwrap() {
        Found::Files(files) => files,
        other => panic!("{other:?}"),
    };
    assert_eq!(files.len(), 41);
    assert!(files.iter().take(38).all(|file| file.duration_ms.abs_diff(8000) < 1300));
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn who_comes_back_soon_goes_on_in_the_same_file() {
    let root = folder("back");
    let (mut writer, began) = writer(&root);
    let mut there = Some(comes(&mut writer, 1));
    for ms in (0..60_000).step_by(20) {
        match ms {
            10_000 | 30_000 => there = None,
            // After 8 s, and after 15.
            18_000 | 45_000 => there = Some(comes(&mut writer, 1)),
            _ => {}
        }
        there.iter().for_each(|tap| speaks(tap, ms, began));
        if ms % 100 == 0 {
            writer.look(began + Duration::from_millis(ms)).unwrap();
        }
    }
    let files = writer.finish(StopReason::Requested);
    let offsets: Vec<u64> = files.iter().take(2).map(|it| it.start_offset_ms / 1000).collect();
    assert_eq!((files.len(), offsets), (3, vec![0, 45]));
    std::fs::remove_dir_all(root).unwrap();
}
