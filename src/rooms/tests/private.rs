//! Rooms as one would expect them: who comes in, who is kept out, and who only watches.

use std::time::Duration;

use super::super::ban::{Banned, LiftBan};
use super::super::open::{Alter, Look, RoomChange};
use super::super::token::{RevokeToken, UseToken};
use super::super::{JoinRequest, Moderation, RoomError, Side, Visitor};
use super::house::{House, Person, camera, description, visitor};
use crate::ids::UserId;

fn receives() -> String {
    description(&[camera("0", &["VP8"]).direction("recvonly")])
}

fn by_token<'a>(house: &'a House, user: UserId, text: &str) -> Result<Person<'a>, RoomError> {
    let token = Some(text.to_owned());
    house.join(JoinRequest { user, token, ..house.request(1) })
}

fn private() -> House {
    House::open(|opening| {
        opening.owner = UserId::new(1);
        opening.invited = UserId::new(2).map(|it| vec![it]);
    })
}

fn kick(house: &House, who: &Person<'_>, ban: bool) {
    let who = who.joined.own.participant_id;
    house.moderate(Moderation::Kick { who, reason: None, ban }).unwrap();
}

#[test]
fn a_room_is_entered_by_its_people_by_a_token_and_by_operators() {
    let house = private();
    house.token("any", |_| {});
    let (owner, member) = (house.enter(1), house.enter(2));
    assert_eq!(house.join(house.request(3)).err(), Some(RoomError::NotFound));
    for side in [Side::Publish, Side::View(None)] {
        let refused = house.text_by_http(3, side, &receives());
        assert_eq!(refused.unwrap_err(), RoomError::NotFound);
    }
    let look = |user| house.ask(Look { me: UserId::new(user) }).is_ok();
    assert_eq!([look(1), look(2), look(3)], [true, true, false]);
    by_token(&house, UserId::new(3).unwrap(), "any").unwrap();
    house.join(JoinRequest { operator: true, ..house.request(4) }).unwrap();
    // Whoever is no member any more leaves; who came otherwise stays.
    let change = RoomChange { members: UserId::new(5).map(|it| vec![it]), ..RoomChange::default() };
    house.ask(Alter { me: owner.user.into(), change, most: None }).unwrap();
    assert_eq!(member.reasons("room:left"), ["revoked"]);
    assert_eq!(house.room().members.len(), 3);
    assert!(house.join(house.request(2)).is_err() && house.join(house.request(5)).is_ok());
}

#[test]
fn who_was_removed_stays_out_until_the_ban_is_lifted() {
    let house = House::open(|opening| opening.owner = UserId::new(1));
    house.token("for one", |token| token.max_uses = Some(1));
    house.token("for all", |_| {});
    let (ann, bob) = (UserId::new(2).unwrap(), UserId::guest(7));
    let kicked = house.enter(2);
    kick(&house, &kicked, false);
    let kicked = house.enter(2);
    kick(&house, &kicked, true);
    assert_eq!(house.join(house.request(2)).err(), Some(RoomError::Banned));
    assert_eq!(by_token(&house, ann, "for all").err(), Some(RoomError::Banned));
    assert_eq!(
        house.text_by_http(2, Side::View(None), &receives()).unwrap_err(),
        RoomError::Banned
    );
    house.join(JoinRequest { operator: true, ..house.request(2) }).unwrap();
    // A token for one is no good for anybody else either.
    let hash = crate::store::TokenHash::of("for one");
    house.ask(UseToken { hash, user: bob }).unwrap();
    let guest = by_token(&house, bob, "for one").unwrap();
    let participant = guest.joined.own.participant_id;
    kick(&house, &guest, true);
    for user in [bob, UserId::guest(8)] {
        assert!(by_token(&house, user, "for one").is_err());
        assert!(house.ask(UseToken { hash, user }).is_err());
    }
    let shared = by_token(&house, UserId::guest(9), "for all").unwrap();
    kick(&house, &shared, true);
    assert!(by_token(&house, UserId::guest(9), "for all").is_err());
    assert!(by_token(&house, UserId::guest(10), "for all").is_ok());
    let lift = |who| house.ask(LiftBan { me: UserId::new(1), who });
    let stranger = house.ask(LiftBan { me: UserId::new(2), who: Banned::User(ann) });
    assert_eq!(stranger.unwrap_err(), RoomError::NotAModerator);
    lift(Banned::User(ann)).unwrap();
    lift(Banned::Participant(participant)).unwrap();
    assert_eq!(lift(Banned::User(ann)).unwrap_err(), RoomError::NoBan);
    assert!(house.join(house.request(2)).is_ok());
    assert!(by_token(&house, bob, "for all").is_ok());
    // The owner is never kept out.
    let owner = house.enter(1);
    kick(&house, &owner, true);
    house.enter(1);
}

#[test]
fn a_token_is_good_for_as_many_as_it_says_and_not_before_it_begins() {
    let house = House::new();
    let begin = house.now().after(Duration::from_secs(60));
    let later = house.token("later", |token| token.not_before = Some(begin));
    let two = house.token("two", |token| token.max_uses = Some(2));
    let enters = |user, text: &str, hash| {
        house.ask(UseToken { hash, user }).and_then(|()| by_token(&house, user, text).map(drop))
    };
    let guest = UserId::guest;
    assert_eq!(by_token(&house, guest(1), "two").err(), Some(RoomError::Token), "not counted");
    enters(guest(1), "two", two).unwrap();
    enters(guest(1), "two", two).unwrap();
    enters(UserId::new(2).unwrap(), "two", two).unwrap();
    assert_eq!(enters(guest(3), "two", two).unwrap_err(), RoomError::Token);
    assert_eq!(house.room().tokens.iter().find(|it| it.hash == two).unwrap().used_by.len(), 2);
    assert_eq!(enters(guest(1), "later", later).unwrap_err(), RoomError::Token);
    house.pass(Duration::from_secs(60));
    enters(guest(1), "later", later).unwrap();
    let revoke = || house.ask(RevokeToken { me: None, hash: later });
    revoke().unwrap();
    assert_eq!(revoke().unwrap_err(), RoomError::NoToken);
    assert_eq!(by_token(&house, guest(4), "later").err(), Some(RoomError::Token));
}

#[test]
fn viewers_take_no_place_of_participants_and_their_own_only_when_they_are_connected() {
    let house = House::open_with(|rules| rules.max_viewers = 2, |opening| opening.most = 2);
    let view = |user| house.text_by_http(user, Side::View(None), &receives());
    let sessions: Vec<_> = (10..120).map(|user| view(user).unwrap().session).collect();
    let (ann, _) = (house.enter(1), house.enter(2));
    assert_eq!(house.join(house.request(3)).err(), Some(RoomError::Full(2)));
    let shown = || {
        let shown = house.room().shown();
        (shown.participants, shown.viewers)
    };
    assert_eq!(shown(), (2, 0));
    sessions.iter().take(3).for_each(|session| house.connect(*session));
    assert_eq!(shown(), (2, 2), "the third is refused");
    assert_eq!(view(200).unwrap_err(), RoomError::Audience(2));
    assert_eq!(house.room().members.len(), 111);
    house.pass(Duration::from_secs(15));
    assert_eq!((shown(), house.room().members.len()), ((2, 2), 4), "who has not connected is gone");
    assert_eq!(house.media().0.len(), 2);
    assert_eq!(ann.count("room:left"), 0);
    let visiting = Visitor { operator: true, ..visitor(4) };
    let publishes = description(&[camera("0", &["VP8"])]);
    assert_eq!(house.visits(visiting, Side::Publish, &publishes).unwrap_err(), RoomError::Full(2));
}

#[test]
fn offers_to_view_that_lead_to_nothing_are_bounded() {
    let house = House::new();
    let view = || house.text_by_http(1, Side::View(None), &receives());
    let taken = (0..300).filter(|_| view().is_ok()).count();
    assert_eq!((taken, view().unwrap_err()), (128, RoomError::Busy));
    house.pass(Duration::from_secs(15));
    assert!(view().is_ok());
}
