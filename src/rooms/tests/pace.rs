//! How much participants may send to each other, and what of it is kept.

use std::time::Duration;

use serde_json::json;

use super::super::leave::Leave;
use super::super::pace::Paces;
use super::super::say::{Describe, Raise, React, SendData};
use super::super::{JoinRequest, RoomError};
use super::house::{House, Person};
use crate::config::Limits;
use crate::error::Failure;
use crate::ids::UserId;

fn limited() -> House {
    House::open_with(|rules| rules.paces = Paces::new(&Limits::default()), |_| {})
}

fn data(house: &House, from: &Person<'_>, bytes: usize) -> Result<(), RoomError> {
    let (topic, payload) = (String::new(), json!("x".repeat(bytes)));
    house.ask(SendData { by: from.caller(), topic, payload, bytes, to: None })
}

/// How many of a hundred pass, and the last refusal.
fn passing(mut one: impl FnMut() -> Result<(), RoomError>) -> (usize, Option<RoomError>) {
    let outcomes: Vec<_> = (0..100).map(|_| one()).collect();
    let passed = outcomes.iter().filter(|it| it.is_ok()).count();
    (passed, outcomes.into_iter().rev().find_map(Result::err))
}

#[test]
fn what_a_participant_sends_has_a_rate_in_events_and_in_bytes_and_says_when_to_go_on() {
    let house = limited();
    let (ann, bob) = (house.enter(1), house.enter(2));
    let (passed, refused) = passing(|| data(&house, &ann, 10));
    assert_eq!(passed, 60);
    let refused = refused.unwrap();
    assert_eq!(refused.reason().code(), "RATE_LIMITED");
    let wait = refused.details().unwrap()["retryAfterMs"].as_u64().unwrap();
    assert_eq!(wait, 34, "30 a second");
    house.pass(Duration::from_millis(wait - 1));
    assert!(data(&house, &ann, 10).is_err());
    house.pass(Duration::from_millis(1));
    data(&house, &ann, 10).unwrap();
    // Nobody else pays for it, and bytes count as well: 262,144 at once.
    assert_eq!(passing(|| data(&house, &bob, 15_000)).0, 17);
    house.pass(Duration::from_secs(60));
    assert_eq!(passing(|| data(&house, &bob, 15_000)).0, 17);
    assert_eq!(bob.count("room:data"), 61);
}

#[test]
fn metadata_reactions_and_hands_have_rates_and_to_come_again_begins_none_anew() {
    let house = limited();
    let ann = house.enter(1);
    let describe = |by| Describe { by, metadata: Some(json!({})), name: None };
    assert_eq!(passing(|| house.ask(describe(ann.caller()))).0, 10);
    let react = |by| React { by, emoji: "!".into() };
    assert_eq!(passing(|| house.ask(react(ann.caller()))).0, 20);
    assert!(house.ask(Raise { by: ann.caller(), raised: true }).is_err());
    house.ask(Leave(ann.caller())).unwrap();
    let again = house.enter(1);
    assert_eq!(passing(|| house.ask(describe(again.caller()))).0, 0);
    house.pass(Duration::from_secs(10));
    house.ask(Leave(again.caller())).unwrap();
    assert_eq!(passing(|| house.ask(react(house.enter(2).caller()))).0, 20);
}

#[test]
fn what_a_room_keeps_is_bounded_however_many_send_and_who_missed_more_gets_the_whole_room() {
    const MOST: usize = 200_000;
    let house = House::open_with(|rules| rules.room_replay_bytes = MOST, |_| {});
    let people: Vec<_> = (1..=20).map(|user| house.enter(user)).collect();
    for round in 0..20 {
        for person in &people {
            data(&house, person, 5000 + round).unwrap();
            assert!(house.room().kept.bytes() <= MOST);
        }
    }
    let held = |house: &House| {
        let room = house.room();
        room.members.iter().map(super::super::member::Member::kept_bytes).max().unwrap()
    };
    assert!(held(&house) <= MOST);
    assert!(held(&house) > MOST / 2, "what fits is kept, by all who got it");
}

#[test]
fn a_name_that_a_token_gave_stays() {
    let house = House::new();
    house.token("named", |token| token.name = Some("Ann of the bank".into()));
    house.token("plain", |_| {});
    let join = |guest, text: &str| {
        let token = Some(text.to_owned());
        house.join(JoinRequest { user: UserId::guest(guest), token, ..house.request(1) }).unwrap()
    };
    let (named, plain) = (join(1, "named"), join(2, "plain"));
    let describe = |who: &Person<'_>, metadata, name: Option<&str>| {
        house.ask(Describe { by: who.caller(), metadata, name: name.map(str::to_owned) })
    };
    let refused = describe(&named, None, Some("the director")).unwrap_err();
    assert!(matches!(refused, RoomError::Invalid("name", _)), "{refused:?}");
    describe(&named, Some(json!({ "mood": "fine" })), None).unwrap();
    describe(&plain, None, Some("Ann of the bank")).unwrap();
    let shown = |who: &Person<'_>| {
        let mut room = house.room();
        room.member(who.joined.own.participant_id).unwrap().name.clone()
    };
    assert_eq!(
        (shown(&named), shown(&plain)),
        ("Ann of the bank".into(), "Ann of the bank".into())
    );
}
