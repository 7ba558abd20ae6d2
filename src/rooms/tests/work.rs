//! How much work a change is: what is encoded once, what waits, and what is not done twice.

use serde_json::json;

use super::super::follow::Notice;
use super::super::join::Join;
use super::super::layers::{LayerRequest, PreferLayer};
use super::super::moderate::Moderation;
use super::super::publish::{Publish, TrackSpec, Unsent};
use super::super::say::SendData;
use super::super::unpublish::Unpublish;
use super::super::{Grant, Resume, RoomError};
use super::house::{House, Person, camera, description, layered, microphone};
use switchboard_media::{Command, Description, Event as Media};

fn send(house: &House, from: &Person<'_>, bytes: usize) {
    let (topic, payload) = ("slides".to_owned(), json!("x".repeat(bytes)));
    let by = from.caller();
    house.ask(SendData { by, topic, payload, bytes, to: None }).unwrap();
}

#[test]
fn data_for_a_hundred_is_encoded_once_and_kept_once_within_the_bound() {
    let house = House::new();
    let people: Vec<_> = (1..=100).map(|user| house.enter(user)).collect();
    house.encoded();
    send(&house, &people[0], 15_000);
    assert_eq!(house.encoded(), 1);
    let data = |person: &Person<'_>| {
        let frames = person.frames().into_iter();
        frames.filter(|frame| frame.name == "room:data").collect::<Vec<_>>()
    };
    let first = &data(&people[1])[0];
    assert!(people[1..].iter().all(|it| std::sync::Arc::ptr_eq(&data(it)[0], first)));
    assert_eq!(data(&people[0]).len(), 0);
    // Each has a place of its own among what it is sent.
    let places: Vec<_> = people[1..]
        .iter()
        .map(|it| it.events().last().unwrap().1["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(places.iter().max().unwrap() - places.iter().min().unwrap(), 98);

    (0..600).for_each(|_| send(&house, &people[0], 15_000));
    let most = house.room().rules.replay_bytes;
    assert!(house.room().members.iter().all(|member| member.kept_bytes() <= most));
}

#[test]
fn who_missed_more_than_is_kept_is_sent_the_whole_room() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let resume = |last| Resume {
        session: bob.joined.session,
        secret: bob.joined.secret.clone(),
        last,
        fresh: false,
    };
    house.note(Notice::Lost(bob.socket));
    send(&house, &ann, 15_000);
    let missed = bob.joined.seq;
    let back =
        house.join(super::super::JoinRequest { resume: Some(resume(missed)), ..house.request(2) });
    assert_eq!(bob.names().last(), Some(&"room:data"));
    house.note(Notice::Lost(back.unwrap().socket));
    (0..20).for_each(|_| send(&house, &ann, 15_000));
    house
        .join(super::super::JoinRequest { resume: Some(resume(missed)), ..house.request(2) })
        .unwrap();
    assert_eq!(bob.names().last(), Some(&"room:state"));
    let wrong = Resume { secret: "guessed".into(), ..resume(missed) };
    let refused = super::super::JoinRequest { resume: Some(wrong), ..house.request(2) };
    assert_eq!(house.ask(Join(refused, Ok(None))).unwrap_err(), RoomError::Resume);
}

#[test]
fn a_join_is_answered_before_the_others_are_brought_up_to_date_and_none_of_them_twice() {
    let house = House::new();
    let people: Vec<_> = (1..=40).map(|user| house.enter(user)).collect();
    let publish = |person: &Person<'_>| {
        let offer = description(&[microphone("0"), camera("1", &["VP8"])]);
        let offer = Description::parse(&offer, 64).unwrap();
        let by = person.caller();
        house.ask_only(Publish { by, offer, specs: Vec::new(), unsent: Unsent::Held }).unwrap()
    };
    people.iter().for_each(|person| drop(publish(person)));
    house.commands();
    let late = house.ask_only(Join(house.request(99), Ok(None))).unwrap();
    assert_eq!(late.others.iter().map(|other| other.tracks.len()).sum::<usize>(), 80);
    let made = house.commands();
    assert!(made.is_empty(), "nothing was negotiated for it");
    // Forty published, which concerns each of them: still each is one step, and gets one offer.
    assert_eq!(house.work(), 41);
    assert!(people.iter().all(|person| person.offers() == [(1, 78)]));
    assert_eq!(house.work(), 0);
}

#[test]
fn what_is_unpublished_by_name_ends_although_its_section_goes_on() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let sections = [microphone("0"), camera("1", &["VP8"])];
    let before = ann.publish(&sections).unwrap();
    bob.answer();
    let camera = before.tracks[1].track_id;
    let key = house.key(camera);
    house.commands();
    let by = ann.caller();
    let ended = house.ask(Unpublish { by, tracks: vec![camera], offer: None }).unwrap();
    assert_eq!((ended.tracks.len(), ended.answer.is_none()), (1, true));
    assert_eq!(bob.count("room:track-unpublished"), 1);
    assert!(house.commands().contains(&Command::Mute { track: key, muted: true }));
    let again = house.ask(Unpublish { by, tracks: vec![camera], offer: None });
    assert_eq!(again.unwrap_err(), RoomError::NoTrack);
    // An offer about something else does not bring it back.
    assert_eq!(ann.publish(&sections).unwrap().tracks.len(), 1);
    // To name its section does, and so does to stop and begin again.
    let spec = TrackSpec {
        mid: "1".into(),
        source: None,
        name: None,
        muted: false,
        encodings: Vec::new(),
        scalability: None,
    };
    let offer = Description::parse(&description(&sections), 64).unwrap();
    let named = Publish { by, offer, specs: vec![spec], unsent: Unsent::Held };
    house.commands();
    let back = house.ask(named).unwrap();
    assert_eq!(back.tracks.len(), 2);
    assert_ne!(back.tracks[1].track_id, camera);
    assert!(house.commands().contains(&Command::Mute { track: key, muted: false }));
    let track = back.tracks[1].track_id;
    house.ask(Unpublish { by, tracks: vec![track], offer: None }).unwrap();
    let held = sections.clone().map(|section| section.direction("inactive"));
    assert_eq!(ann.publish(&held).unwrap().tracks.len(), 1);
    assert_eq!(ann.publish(&sections).unwrap().tracks.len(), 2);
}

#[test]
fn the_layer_that_arrives_is_said_with_the_reason_why_it_changed() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let track_id = ann.publish(&[layered("0", &["VP8"])]).unwrap().tracks[0].track_id;
    bob.answer();
    let track = house.key(track_id);
    let peer = house.room().members[1].subscribe.as_ref().unwrap().peer;
    let switched = |layer| house.event(Media::Switched { peer, track, layer });
    let ask = |rid: &str| {
        let request = LayerRequest {
            track_id,
            rid: rid.into(),
            max_width: None,
            max_height: None,
            max_fps: None,
            priority: None,
        };
        house.ask(PreferLayer { by: bob.caller(), request }).unwrap()
    };
    assert_eq!(ask("auto"), None);
    switched(0);
    assert_eq!(ask("h").as_deref(), Some("q"));
    switched(1);
    assert_eq!(ask("h").as_deref(), Some("h"));
    switched(0);
    switched(2);
    house.event(Media::Sent { track, layers: vec![true, true, false] });
    switched(1);
    let reasons = ["bandwidth", "requested", "bandwidth", "bandwidth", "publisher"];
    assert_eq!(bob.reasons("room:layer-changed"), reasons);
    house.event(Media::Paused { peer, track, paused: true });
    assert_eq!(ask("q"), None);
}

#[test]
fn what_a_grant_leaves_out_stays_as_it_is() {
    let house = House::new();
    let ann = house.enter(1);
    let who = ann.joined.own.participant_id;
    let grant = |grant| house.moderate(Moderation::Permit(who, grant)).unwrap();
    let rights = || house.room().member(who).unwrap().shown();
    grant(Grant { can_publish: Some(false), ..Grant::default() });
    grant(Grant { moderator: Some(true), ..Grant::default() });
    let shown = rights();
    assert!(!shown.permissions.can_publish && shown.permissions.can_data && shown.moderator);
}
