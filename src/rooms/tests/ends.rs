//! What a person or a token holds in rooms, and its end: others are notified, and nothing of it is left at the SFU.

use std::time::Duration;

use super::super::follow::Notice;
use super::super::join::Join;
use super::super::member::Caller;
use super::super::whip::PatchByHttp;
use super::super::{Grant, JoinRequest, Moderation, RoomError, Side, Visitor};
use super::house::{House, Person, camera, description, microphone, visitor};
use crate::event::room::LeaveReason;
use crate::ids::UserId;

const MINUTE: Duration = Duration::from_secs(60);

fn by_token<'a>(house: &'a House, user: UserId, text: &str) -> Result<Person<'a>, RoomError> {
    let token = Some(text.to_owned());
    house.join(JoinRequest { user, token, ..house.request(1) })
}

fn sends() -> String {
    description(&[camera("0", &["VP8"])])
}

fn receives() -> String {
    description(&[camera("0", &["VP8"]).direction("recvonly")])
}

#[test]
fn an_account_that_is_ended_leaves_by_every_door_and_the_others_are_notified() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    ann.publish(&[microphone("0")]).unwrap();
    bob.answer();
    house.by_http(1, Side::Publish, &[camera("0", &["VP8"])]).unwrap();
    house.text_by_http(1, Side::View(None), &receives()).unwrap();
    house.by_http(3, Side::Publish, &[camera("0", &["VP8"])]).unwrap();
    let others = house.room().members.iter().filter(|it| it.user != ann.user).count();
    house.note(Notice::EndUser(ann.user, LeaveReason::Revoked));
    assert_eq!(house.room().members.len(), others);
    assert_eq!(bob.reasons("room:left"), ["revoked", "revoked"], "viewers are no participants");
    assert_eq!(bob.count("room:track-unpublished"), 2);
    assert_eq!(ann.reasons("room:left")[0], "revoked", "and it is notified itself");
    let (peers, tracks) = house.media();
    assert_eq!((peers.len(), tracks.len()), (2, 1), "what others have is there still");
}

#[test]
fn who_came_by_a_socket_that_is_ended_leaves_at_once_and_by_no_other_door() {
    let house = House::new();
    let (ann, bob) = (house.enter(1), house.enter(2));
    house.by_http(1, Side::Publish, &[camera("0", &["VP8"])]).unwrap();
    house.note(Notice::EndSocket(ann.socket, LeaveReason::Expired));
    assert_eq!(bob.reasons("room:left"), ["expired"]);
    assert_eq!(house.room().members.iter().filter(|it| it.user == ann.user).count(), 1);
}

#[test]
fn who_came_by_a_token_leaves_at_its_end_unless_it_has_shown_a_newer_one() {
    let house = House::new();
    let bob = house.enter(2);
    let until = |minutes| house.now().after(MINUTE * minutes);
    house.token("short", |token| token.until = until(1));
    house.token("long", |token| token.until = until(10));
    let (guest, account) = (UserId::guest(7), UserId::new(5).unwrap());
    by_token(&house, guest, "short").unwrap();
    let renewed = by_token(&house, account, "short").unwrap();
    let again = JoinRequest {
        user: account,
        socket: renewed.socket,
        token: Some("long".into()),
        ..house.request(5)
    };
    house.ask(Join(again.clone(), Ok(None))).unwrap();
    // An older one takes nothing away.
    house.ask(Join(JoinRequest { token: Some("short".into()), ..again }, Ok(None))).unwrap();
    let visiting = Visitor { user: UserId::guest(8), token: Some("short".into()), ..visitor(1) };
    house.visits(visiting, Side::Publish, &sends()).unwrap();
    house.pass(MINUTE - Duration::from_millis(1));
    assert_eq!(house.room().members.len(), 4);
    house.pass(Duration::from_millis(1));
    assert_eq!(bob.reasons("room:left"), ["expired", "expired"]);
    assert_eq!(by_token(&house, guest, "short").err(), Some(RoomError::Token));
    house.pass(MINUTE * 9);
    assert_eq!(bob.reasons("room:left").len(), 3);
    assert_eq!(renewed.reasons("room:left").last().unwrap(), "expired");
    assert_eq!(house.media().0.len(), 1, "only the peer of who is left");
}

#[test]
fn a_session_by_http_ends_with_what_was_shown_unless_a_patch_shows_something_newer() {
    let house = House::new();
    let bob = house.enter(2);
    let until = |minutes| Some(house.now().after(MINUTE * minutes));
    let first = |user| Visitor { until: until(1), ..visitor(user) };
    let patched = house.visits(first(3), Side::Publish, &sends()).unwrap();
    house.visits(first(4), Side::Publish, &sends()).unwrap();
    let viewer = house.visits(first(5), Side::View(None), &receives()).unwrap().session;
    house.connect(viewer);
    let by = Caller { user: UserId::new(3).unwrap(), session: patched.session };
    let patch = |until, if_match: &str| {
        let if_match = Some(if_match.to_owned());
        house.ask(PatchByHttp { by, until, if_match, ufrag: None })
    };
    assert_eq!(patch(until(60), "\"another\"").unwrap_err(), RoomError::Changed);
    patch(until(3), &patched.etag).unwrap();
    patch(until(2), &patched.etag).unwrap();
    let foreign = Caller { user: UserId::new(4).unwrap(), ..by };
    let foreign = PatchByHttp { by: foreign, until: until(60), if_match: None, ufrag: None };
    assert_eq!(house.ask(foreign).unwrap_err(), RoomError::NotInRoom);
    house.pass(MINUTE);
    assert_eq!(bob.reasons("room:left"), ["expired"]);
    assert_eq!(house.room().members.len(), 2, "the viewer has gone as well");
    house.pass(MINUTE * 2);
    assert_eq!(bob.reasons("room:left").len(), 2);
    assert_eq!(house.room().members.len(), 1);
}

#[test]
fn a_token_that_is_ended_lets_nobody_in_and_takes_out_whom_it_let_in() {
    let house = House::new();
    let bob = house.enter(2);
    let (one, _) = (house.token("one", |_| {}), house.token("two", |_| {}));
    let guest = |n| UserId::guest(n);
    by_token(&house, guest(1), "one").unwrap();
    by_token(&house, guest(2), "two").unwrap();
    let visiting = Visitor { user: guest(3), token: Some("one".into()), ..visitor(1) };
    house.visits(visiting.clone(), Side::View(None), &receives()).unwrap();
    house.note(Notice::EndToken(one));
    assert_eq!(bob.reasons("room:left"), ["revoked"]);
    assert_eq!(house.room().members.len(), 2);
    assert_eq!(by_token(&house, guest(1), "one").err(), Some(RoomError::Token));
    let refused = house.visits(visiting, Side::Publish, &sends());
    assert_eq!(refused.unwrap_err(), RoomError::Token);
    assert!(by_token(&house, guest(4), "two").is_ok());
}

#[test]
fn who_is_no_operator_any_more_moderates_only_what_it_may_otherwise() {
    let house = House::open(|opening| opening.owner = UserId::new(1));
    let operator = |user| JoinRequest { operator: true, ..house.request(user) };
    let (owner, other) = (house.join(operator(1)).unwrap(), house.join(operator(2)).unwrap());
    let bob = house.enter(3);
    let moderates = |who: &Person<'_>| {
        let mut room = house.room();
        room.member(who.joined.own.participant_id).unwrap().moderator
    };
    let set = |who: &Person<'_>, operator| house.note(Notice::Role(who.user, operator));
    assert!(moderates(&owner) && moderates(&other) && !moderates(&bob));
    [&owner, &other, &bob].into_iter().for_each(|who| set(who, false));
    assert!(moderates(&owner) && !moderates(&other) && !moderates(&bob));
    assert_eq!(bob.count("room:participant-updated"), 1);
    set(&other, true);
    assert!(moderates(&other));
    // What a moderator has said stays, however often the role is noted.
    let who = other.joined.own.participant_id;
    let grant = |moderator| {
        let grant = Grant { moderator: Some(moderator), ..Grant::default() };
        house.moderate(Moderation::Permit(who, grant)).unwrap();
    };
    grant(false);
    set(&other, true);
    assert!(!moderates(&other));
    grant(true);
    set(&other, false);
    assert!(moderates(&other));
}

#[test]
fn who_was_in_a_room_as_an_operator_only_leaves_it_with_the_role() {
    let house = House::open(|opening| opening.invited = UserId::new(1).map(|it| vec![it]));
    let ann = house.enter(1);
    let operator = |user| JoinRequest { operator: true, ..house.request(user) };
    let by_role = house.join(operator(2)).unwrap();
    let invited = house.join(operator(1)).unwrap();
    let visiting = Visitor { operator: true, ..visitor(3) };
    house.visits(visiting, Side::Publish, &sends()).unwrap();
    for user in [1, 2, 3] {
        house.note(Notice::Role(UserId::new(user).unwrap(), false));
    }
    assert_eq!(ann.reasons("room:left"), ["revoked", "revoked"]);
    assert_eq!(by_role.reasons("room:left")[0], "revoked");
    assert!(house.room().member(invited.joined.own.participant_id).is_ok());
    assert_eq!(house.room().members.len(), 2);
}
