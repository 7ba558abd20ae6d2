//! Recordings in a whole server over a store in memory, with taps that a test fills in place of a worker of the SFU.

mod doors;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use switchboard_media::tap::{Packet, Tapped};
use switchboard_media::{Codec, RoomKey, TrackKey};

use super::{LinkClaim, Listing, RecordingError, RecordingTarget, Recordings, Requester, recover};
use crate::clock::Timestamp;
use crate::config::{Config, Consent, RecordingAuto};
use crate::event::Role;
use crate::event::recording::{Recording, RecordingMode, RecordingStatus, StopReason};
use crate::ids::{CallId, RecordingId, RoomId, UserId};
use crate::recorder::{Part, Publisher};
use crate::store::Profile;
use crate::testing::{Client, World, person};

const KEY: RoomKey = RoomKey(7);

async fn world(change: impl FnOnce(&mut Config)) -> World {
    World::new(|config| {
        config.recordings.min_free_bytes = 0;
        change(config);
    })
    .await
}

fn of(user: i64) -> Requester {
    Requester { user: person(user), operator: false }
}

/// A call of 1 and 2 that goes through the server.
fn a_call(world: &World) -> RecordingTarget {
    let room = RoomId::of_call(CallId::new(world.clock.id()));
    let people = vec![person(1), person(2)];
    world.app.recorder.open(&room, KEY, &people, None);
    RecordingTarget { room, people, moderators: Vec::new() }
}

/// A room of 1 and 2 that 3 owns from outside.
fn a_room(world: &World) -> RecordingTarget {
    let room: RoomId = "standup".parse().unwrap();
    world.app.recorder.open(&room, KEY, &[person(1), person(2)], None);
    RecordingTarget { room, people: Vec::new(), moderators: vec![person(3)] }
}

fn voice_of(user: i64) -> TrackKey {
    TrackKey(u64::try_from(user).unwrap())
}

/// What waits for a moment outside virtual time: a thread, the disk.
async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // paces looks: up to ten seconds
    }
    panic!("never: {what}");
}

/// What a client was sent, up to the first event of this name.
async fn up_to(client: &Client, last: &str) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for _ in 0..2000 {
        all.extend(client.events());
        if all.iter().any(|(name, _)| *name == last) {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // paces looks: up to ten seconds
    }
    panic!("never: {last} after {all:?}");
}

fn names(events: &[(&'static str, Value)]) -> Vec<&'static str> {
    events.iter().map(|(name, _)| *name).collect()
}

impl World {
    /// A user sends a voice.
    fn publish(&self, room: &RoomId, user: i64) {
        let who = Publisher { who: user.to_string(), user: person(user), name: None };
        let part = Part { key: voice_of(user), codec: Codec::Opus, screen: false };
        self.app.recorder.sends(room, KEY, who, vec![part]);
    }

    fn is_tapped(&self, user: i64) -> bool {
        self.app.recorder.taps.lock().unwrap().contains_key(&voice_of(user))
    }

    /// Two seconds of a voice come to the tap.
    fn speak(&self, user: i64) {
        let tap = self.app.recorder.taps.lock().unwrap().get(&voice_of(user)).cloned().unwrap();
        let began = self.clock.instant();
        for n in 0..100 {
            tap.put(Tapped::Packet(Packet {
                layer: 0,
                sequence: n,
                timestamp: u32::try_from(n * 960).unwrap(),
                marker: true,
                red: false,
                orientation: None,
                payload: vec![0x78; 40].into(),
                at: began + Duration::from_millis(n * 20),
            }));
        }
    }

    async fn record(&self, by: i64, target: &RecordingTarget) -> Recording {
        let (by, mode) = (Some(person(by)), RecordingMode::Tracks);
        self.app.recordings.start(by, target.clone(), mode).await.unwrap()
    }

    fn folder(&self, id: RecordingId) -> PathBuf {
        self.app.recorder.root().join(id.to_string())
    }

    async fn is_gone(&self, id: RecordingId) -> bool {
        let operator = Requester { user: person(5), operator: true };
        let found = self.app.recordings.one(operator, id).await;
        matches!(found, Err(RecordingError::NotFound)) && !self.folder(id).exists()
    }

    /// Waits until the recording and its files are gone.
    async fn until_gone(&self, id: RecordingId) {
        for _ in 0..2000 {
            if self.is_gone(id).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // paces looks: up to ten seconds
        }
        panic!("never gone: {id}");
    }

    /// A call of 1 and 2 that was recorded, with one file.
    async fn recorded(&self, ada: &Client) -> Recording {
        let target = a_call(self);
        self.publish(&target.room, 1);
        let id = self.record(1, &target).await.recording_id;
        self.speak(1);
        self.app.recordings.stop(of(1), id, false).await.unwrap();
        up_to(ada, "recording:ready").await;
        self.app.recordings.one(of(1), id).await.unwrap()
    }
}

#[tokio::test]
async fn everybody_is_notified_of_the_start_the_end_and_the_files() {
    let world = world(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let target = a_call(&world);
    world.publish(&target.room, 1);
    let recording = world.record(1, &target).await;
    assert_eq!(recording.user_ids, [person(1), person(2)]);
    assert_eq!(ben.names(), ["recording:started"]);
    assert!(world.is_tapped(1) && !world.is_tapped(2));
    world.publish(&target.room, 2);
    assert!(world.is_tapped(2), "who begins to send is recorded");
    world.speak(1);
    let id = recording.recording_id;
    world.app.recordings.stop(of(2), id, false).await.unwrap();
    assert!(!world.is_tapped(1) && !world.is_tapped(2));
    for client in [&ada, &ben] {
        let events = up_to(client, "recording:ready").await;
        let expected = ["recording:started", "recording:stopped", "recording:ready"];
        assert!(expected.ends_with(&names(&events)), "{events:?}");
    }
    let ready = world.app.recordings.one(of(2), id).await.unwrap();
    assert_eq!(ready.status, RecordingStatus::Completed);
    assert_eq!(ready.stop_reason, Some(StopReason::Requested));
    assert_eq!(ready.files.len(), 2, "a voice and the manifest");
    let (_, path) = world.app.recordings.file(of(2), id, ready.files[0].file_id).await.unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), ready.files[0].bytes);
    assert_eq!(world.app.recordings.stats().unfinished, 0);
}

#[tokio::test]
async fn links_outlive_a_restart_and_end_with_their_time() {
    let world = world(|_| {}).await;
    let ada = world.connect(person(1)).await;
    let recording = world.recorded(&ada).await;
    let (id, file) = (recording.recording_id, recording.files[0].file_id);
    let (url, until) = world.app.recordings.link(of(2), id, file).await.unwrap();
    let signature = url.split("signature=").nth(1).unwrap().to_owned();
    let shared = &world.app.recordings.shared;
    let (config, recorder) = (&shared.config, shared.recorder.clone());
    let (store, delivery) = (shared.store.clone(), shared.delivery.clone());
    let (restarted, _) = Recordings::new(config, world.clock.clone(), store, delivery, recorder);
    let (user, next) = (person(2), Timestamp(until.0 + 1));
    let claim = LinkClaim { user, until };
    assert!(restarted.linked(id, file, claim, &signature).await.is_ok());
    let other = recording.files[1].file_id;
    for (file, user, until) in [(other, user, until), (file, user, next), (file, person(1), until)]
    {
        let refused = restarted.linked(id, file, LinkClaim { user, until }, &signature).await;
        assert!(matches!(refused, Err(RecordingError::Link)));
    }
    world.clock.advance(Duration::from_secs(shared.config.link_ttl));
    let late = restarted.linked(id, file, claim, &signature).await;
    assert!(matches!(late, Err(RecordingError::Link)));
}

#[tokio::test]
async fn a_link_ends_with_the_account_or_the_role_of_whoever_was_given_it() {
    let world = world(|_| {}).await;
    let ada = world.connect(person(1)).await;
    let recording = world.recorded(&ada).await;
    let (id, file) = (recording.recording_id, recording.files[0].file_id);
    let recordings = &world.app.recordings;
    let follow = async |user: UserId, (url, until): &(String, Timestamp)| {
        let signature = url.split("signature=").nth(1).unwrap();
        assert!(url.contains(&format!("&user={user}&")), "{url}");
        let claim = LinkClaim { user, until: *until };
        recordings.linked(id, file, claim, signature).await.is_ok()
    };
    let role = async |role: Role| {
        let profile = world.app.store.user(person(5)).await.unwrap().unwrap().profile;
        let profile = Profile { role, ..profile };
        world.app.store.save_profile(profile, world.clock.now()).await.unwrap();
    };
    role(Role::Admin).await;
    let admin = Requester { user: person(5), operator: true };
    let (of_ben, of_admin) = (
        recordings.link(of(2), id, file).await.unwrap(),
        recordings.link(admin, id, file).await.unwrap(),
    );
    assert!(follow(person(2), &of_ben).await && follow(person(5), &of_admin).await);
    role(Role::User).await;
    assert!(follow(person(2), &of_ben).await && !follow(person(5), &of_admin).await);
    world.app.people.set_disabled(person(2), true).await.unwrap();
    assert!(!follow(person(2), &of_ben).await, "the account is disabled");
    world.app.people.set_disabled(person(2), false).await.unwrap();
    assert!(follow(person(2), &of_ben).await);
    world.app.people.erase(person(2), false).await.unwrap();
    assert!(!follow(person(2), &of_ben).await, "the account is erased");
}

#[tokio::test]
async fn facts_of_a_recording_come_in_the_order_of_its_life() {
    let world = world(|_| {}).await;
    let ada = world.connect(person(1)).await;
    let id = world.recorded(&ada).await.recording_id;
    world.app.recordings.delete(of(1), id).await.unwrap();
    let page = world.app.store.facts_after(0, 100).await.unwrap();
    let facts = page.facts.iter().map(|placed| &placed.fact);
    let of_it: Vec<_> = facts.filter(|fact| fact.recording == Some(id)).collect();
    let kinds: Vec<String> = of_it.iter().map(|fact| fact.kind.to_string()).collect();
    let expected =
        ["recording.started", "recording.stopped", "recording.ready", "recording.deleted"];
    assert_eq!(kinds, expected);
    assert_eq!((of_it[0].user, of_it[3].user), (Some(person(1)), Some(person(1))));
    assert!(of_it.iter().all(|fact| fact.call.is_some()));
}

#[tokio::test]
async fn a_recording_in_which_nobody_sent_anything_is_no_failure() {
    let world = world(|_| {}).await;
    let ada = world.connect(person(1)).await;
    let target = a_call(&world);
    let id = world.record(1, &target).await.recording_id;
    world.app.recorder.close(&target.room, KEY);
    let events = up_to(&ada, "recording:failed").await;
    assert_eq!(events.last().unwrap().1["reason"], "ended");
    let over = world.app.recordings.one(of(1), id).await.unwrap();
    assert_eq!(over.status, RecordingStatus::NoRecording);
}

#[tokio::test]
async fn two_who_start_at_once_start_one_recording() {
    let world = world(|config| config.recordings.max_parallel = 1).await;
    let ben = world.connect(person(2)).await;
    let target = a_call(&world);
    let start =
        |by| world.app.recordings.start(Some(person(by)), target.clone(), RecordingMode::Tracks);
    let (first, second) = tokio::join!(start(1), start(2));
    let id = first.unwrap().recording_id;
    assert!(matches!(second, Err(RecordingError::Already(other)) if other == id));
    assert_eq!(ben.names(), ["recording:started"]);
    let room: RoomId = "other".parse().unwrap();
    world.app.recorder.open(&room, KEY, &[], None);
    let other = RecordingTarget { room, ..target };
    let full = world.app.recordings.start(None, other, RecordingMode::Tracks).await;
    assert!(matches!(full, Err(RecordingError::Full)));
}

#[tokio::test]
async fn nothing_is_recorded_where_nothing_goes_through_the_server() {
    let world = world(|_| {}).await;
    let target = a_call(&world);
    world.app.recorder.close(&target.room, KEY);
    let refused = world.app.recordings.start(None, target, RecordingMode::Tracks).await;
    assert!(matches!(refused, Err(RecordingError::NoMedia)));
}

#[tokio::test]
async fn a_room_is_managed_by_who_started_it_and_its_moderators_wherever_they_are() {
    let world = world(|_| {}).await;
    let recordings = &world.app.recordings;
    let target = a_room(&world);
    let id = world.record(3, &target).await.recording_id;
    for manager in [of(3), Requester { user: person(5), operator: true }] {
        assert!(recordings.one(manager, id).await.is_ok());
        assert!(matches!(recordings.delete(manager, id).await, Err(RecordingError::Running)));
    }
    assert!(recordings.one(of(1), id).await.is_ok(), "who is there sees it");
    let refused = recordings.stop(of(1), id, false).await;
    assert!(matches!(refused, Err(RecordingError::Refused(_))));
    assert!(matches!(recordings.delete(of(1), id).await, Err(RecordingError::Refused(_))));
    for refused in [
        recordings.one(of(4), id).await.err(),
        recordings.stop(of(4), id, true).await.err(),
        recordings.delete(of(4), id).await.err(),
        recordings.consent(person(4), id, true).await.err(),
    ] {
        assert!(matches!(refused, Some(RecordingError::NotFound)), "{refused:?}");
    }
    recordings.stop(of(3), id, false).await.unwrap();
    until("it is over", || recordings.stats().unfinished == 0).await;
    recordings.delete(of(3), id).await.unwrap();
    assert!(world.is_gone(id).await);
}

#[tokio::test]
async fn who_comes_later_is_notified_once_and_may_see_it() {
    let world = world(|_| {}).await;
    let (dan, guest) = (world.connect(person(4)).await, UserId::new(-5));
    let target = a_room(&world);
    let id = world.record(3, &target).await.recording_id;
    world.app.recorder.enter(&target.room, person(4));
    world.app.recorder.enter(&target.room, person(4));
    guest.into_iter().for_each(|guest| world.app.recorder.enter(&target.room, guest));
    up_to(&dan, "recording:started").await;
    let listed = world.app.recordings.list(of(4), Listing::default()).await.unwrap().0;
    assert_eq!(listed[0].recording_id, id);
    world.app.recordings.stop(of(3), id, false).await.unwrap();
    let events = up_to(&dan, "recording:failed").await;
    assert_eq!(names(&events), ["recording:stopped", "recording:failed"]);
    let over = world.app.recordings.one(of(4), id).await.unwrap();
    assert_eq!(over.user_ids, [person(1), person(2), person(4)]);
}

#[tokio::test]
async fn where_consent_is_required_only_those_who_agree_are_recorded() {
    let world = world(|config| config.recordings.consent = Consent::Required).await;
    let ben = world.connect(person(2)).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    world.publish(&target.room, 2);
    let id = world.record(1, &target).await.recording_id;
    assert_eq!(ben.names(), ["recording:started", "recording:consent-request"]);
    assert!(world.is_tapped(1), "who starts it has agreed");
    assert!(!world.is_tapped(2));
    world.app.recordings.consent(person(2), id, true).await.unwrap();
    assert!(world.is_tapped(2));
    world.app.recordings.consent(person(2), id, false).await.unwrap();
    assert!(!world.is_tapped(2));
}

#[tokio::test]
async fn calls_are_recorded_by_policy_and_when_the_caller_asks() {
    let policy = world(|config| config.recordings.auto = RecordingAuto::Accepted).await;
    let ada = policy.connect(person(1)).await;
    a_call(&policy);
    let events = up_to(&ada, "recording:started").await;
    assert_eq!(events[0].1["by"], Value::Null);
    // The policy is for calls.
    let target = a_room(&policy);
    assert!(policy.app.recordings.active(&target.room).is_none());

    let off = world(|_| {}).await;
    let ada = off.connect(person(1)).await;
    let room = RoomId::of_call(CallId::new(off.clock.id()));
    off.app.recorder.open(&room, KEY, &[person(1), person(2)], Some(person(2)));
    let events = up_to(&ada, "recording:started").await;
    assert_eq!(events[0].1["by"], 2);
}

#[tokio::test]
async fn a_recording_is_deleted_when_it_was_kept_long_enough() {
    let world = world(|config| config.recordings.retention_days = 3).await;
    let ada = world.connect(person(1)).await;
    let recording = world.recorded(&ada).await;
    let day = Duration::from_secs(86_400);
    world.clock.advance(3 * day - Duration::from_secs(1));
    world.app.recordings.shared.retire().await.unwrap();
    assert!(world.app.recordings.one(of(1), recording.recording_id).await.is_ok());
    world.clock.advance(Duration::from_secs(2));
    world.app.recordings.shared.retire().await.unwrap();
    assert!(world.is_gone(recording.recording_id).await);
}

#[tokio::test]
async fn what_an_erased_person_is_recorded_in_is_deleted_also_while_it_runs() {
    let world = world(|_| {}).await;
    let ada = world.connect(person(1)).await;
    let before = world.recorded(&ada).await.recording_id;
    let target = a_call(&world);
    world.publish(&target.room, 2);
    let running = world.record(1, &target).await.recording_id;
    world.speak(2);
    world.app.recordings.erase(person(2)).await.unwrap();
    let events = up_to(&ada, "recording:failed").await;
    assert_eq!(names(&events), ["recording:started", "recording:stopped", "recording:failed"]);
    assert_eq!(events[2].1["reason"], "erased");
    until("it is over", || world.app.recordings.stats().unfinished == 0).await;
    world.until_gone(before).await;
    world.until_gone(running).await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_recording_costs_nothing_that_was_written() {
    let world = world(|_| {}).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    let id = world.record(1, &target).await.recording_id;
    world.speak(1);
    let written = || {
        let names = std::fs::read_dir(world.folder(id)).unwrap().flatten();
        let parts = names.filter(|it| it.file_name().to_string_lossy().ends_with(".part"));
        parts.map(|part| part.metadata().unwrap().len()).sum::<u64>() > 1000
    };
    until("a cluster is written", written).await;

    // While a process writes it, another one leaves it alone.
    let (store, config) = (&world.app.store, &world.app.config.recordings);
    let root = world.app.recorder.root();
    let found = recover(store.as_ref(), root, &world.clock, config).await.unwrap();
    assert!(found.is_empty());

    // What a crash leaves on the disk.
    let copy = root.join("crashed");
    std::fs::create_dir_all(copy.join(id.to_string())).unwrap();
    for file in std::fs::read_dir(world.folder(id)).unwrap().flatten() {
        std::fs::copy(file.path(), copy.join(id.to_string()).join(file.file_name())).unwrap();
    }
    let found = recover(store.as_ref(), &copy, &world.clock, config).await.unwrap();
    assert_eq!(found, [(id, RecordingStatus::Completed, 2)]);
    let over = world.app.recordings.one(of(1), id).await.unwrap();
    assert_eq!(over.stop_reason, Some(StopReason::Recovered));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_not_stored_is_not_announced_and_can_be_tried_again() {
    let world = world(|_| {}).await;
    let ben = world.connect(person(2)).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    world.app.store.close().await;
    let start = || world.app.recordings.start(None, target.clone(), RecordingMode::Tracks);
    for _ in 0..2 {
        assert!(matches!(start().await, Err(RecordingError::Store(_))));
    }
    assert_eq!(ben.names(), [""; 0]);
    assert!(!world.is_tapped(1) && !world.app.recorder.root().join("recording.json").exists());
    assert!(world.app.recordings.active(&target.room).is_none());
    until("its owner is gone", || world.app.recordings.stats().unfinished == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_not_stored_is_not_announced() {
    let world = world(|_| {}).await;
    let ben = world.connect(person(2)).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    let id = world.record(1, &target).await.recording_id;
    world.speak(1);
    assert_eq!(ben.names(), ["recording:started"]);
    world.app.store.close().await;
    world.app.recorder.stop(&target.room, StopReason::Length);
    let whole = || {
        let names = std::fs::read_dir(world.folder(id)).unwrap().flatten();
        names.filter(|it| it.file_name().to_string_lossy().ends_with(".json")).count() == 2
    };
    until("the files and the manifest are whole", whole).await;
    assert_eq!(ben.names(), [""; 0]);
    assert_eq!(world.app.recordings.stats().unfinished, 1, "its owner tries again");
}

#[tokio::test]
async fn a_server_that_stops_waits_until_recordings_are_whole() {
    let world = world(|_| {}).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    let id = world.record(1, &target).await.recording_id;
    world.speak(1);
    world.app.recordings.stop_all(StopReason::Drain, Duration::from_secs(20)).await;
    let over = world.app.recordings.one(of(1), id).await.unwrap();
    assert_eq!(
        (over.status, over.stop_reason),
        (RecordingStatus::Completed, Some(StopReason::Drain))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signalling_goes_on_while_the_disk_stands_still() {
    let world = world(|_| {}).await;
    let target = a_call(&world);
    world.publish(&target.room, 1);
    let (go_on, disk) = std::sync::mpsc::channel();
    *world.app.recorder.disk.lock().unwrap() = Some(disk);
    let (app, own) = (world.app.clone(), target.clone());
    let starting =
        tokio::spawn(async move { app.recordings.start(None, own, RecordingMode::Tracks).await });
    until("the taps are laid", || world.is_tapped(1)).await;

    let (recorder, room) = (world.app.recorder.clone(), target.room.clone());
    let (done, waiting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        recorder.enter(&room, person(4));
        recorder.consent(&room, person(4), true);
        recorder.leave(&room, person(4));
        let other: RoomId = "elsewhere".parse().unwrap();
        recorder.open(&other, RoomKey(8), &[], None);
        recorder.close(&other, RoomKey(8));
        done.send(()).unwrap();
    });
    waiting.recv_timeout(Duration::from_secs(10)).expect("no lock waits for the disk");
    world.publish(&target.room, 2);
    assert!(world.is_tapped(2) && !starting.is_finished());
    go_on.send(()).unwrap();
    assert_eq!(starting.await.unwrap().unwrap().status, RecordingStatus::Recording);
}
