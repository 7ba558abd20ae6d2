//! Rooms with their tasks, in a whole server without sockets.

use std::time::Duration;

use serde_json::Value;

use super::super::command::Request;
use super::super::follow::Notice;
use super::super::handle::{COMMANDS, RoomHandle};
use super::super::open::{Look, Moderators};
use super::super::{
    Issued, JoinRequest, RoomChange, RoomError, RoomSpec, RoomTokenSpec, Side, Visitor,
};
use crate::config::{RoomCreate, RoomJoin};
use crate::error::Failure;
use crate::event::room::{Connectivity, LeaveReason, Room as ShownRoom};
use crate::fact::FactKind;
use crate::ids::{CallId, RoomId, UserId};
use crate::ledger::{Holder, Resource as Held};
use crate::rooms::Joined;
use crate::store::TokenHash;
use crate::testing::{Client, World, person, voice};

fn joins(client: &Client) -> JoinRequest {
    JoinRequest {
        user: client.device.user,
        operator: false,
        socket: client.session.about.id,
        name: "somebody".into(),
        token: None,
        until: None,
        auto_subscribe: true,
        metadata: None,
        resume: None,
    }
}

impl World {
    async fn room(&self, name: &str) -> ShownRoom {
        let spec = RoomSpec { room_id: Some(name.parse().unwrap()), ..RoomSpec::default() };
        self.app.rooms.open(None, &spec).await.unwrap()
    }

    async fn join(&self, room: &RoomId, client: &Client) -> Joined {
        self.app.rooms.join(room, joins(client)).await.unwrap()
    }

    fn handle(&self, room: &RoomId) -> RoomHandle {
        self.app.rooms.outside.directory.room(room).unwrap()
    }

    /// Time passes, and what is due in rooms happens.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        for handle in self.app.rooms.handles() {
            // Between two requests a room looks at the clock.
            let _ = handle.ask(Moderators).await;
            let _ = handle.ask(Moderators).await;
        }
    }
}

/// Waits for a state; a test that waits in vain fails.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // paces looks: ten thousand at most
    }
    panic!("waited in vain");
}

#[tokio::test]
async fn a_room_that_fails_is_closed_for_its_members_and_the_server_lives() {
    let world = World::new(|_| {}).await;
    let (room, other) = (world.room("fails").await.room_id, world.room("goes-on").await.room_id);
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let joined = world.join(&room, &ada).await;
    world.join(&room, &ben).await;
    world.join(&other, &ada).await;
    let issued = world.app.rooms.issue_token(&room, None, RoomTokenSpec::default()).await;
    let token = issued.unwrap().text;
    let sequence = |events: &[(&str, Value)]| events.last().unwrap().1["seq"].as_u64().unwrap();
    let last = sequence(&ada.events());
    world.handle(&room).note(Notice::Panic);

    let rooms = &world.app.rooms;
    until(|| rooms.outside.directory.room(&room).is_none()).await;
    let events = ada.events();
    assert_eq!(events[0].0, "room:closed");
    assert_eq!(events[0].1["reason"], "failed");
    assert_eq!(sequence(&events), last + 1);
    assert_eq!(ben.events().last().unwrap().1["reason"], "failed");
    assert_eq!(rooms.has(ada.device.user, joined.session).await, Err(RoomError::NotInRoom));
    assert!(rooms.guest(&token, "").is_none());
    assert!(rooms.room(&other, None).await.is_ok());
    assert_eq!(rooms.stats().rooms, 1);
    // And it can be opened anew.
    world.room("fails").await;
    world.join(&room, &ada).await;
}

#[tokio::test]
async fn a_room_that_has_too_much_before_it_says_so() {
    let (handle, inbox) = RoomHandle::new("busy".parse().unwrap(), switchboard_media::RoomKey(1));
    let asking: Vec<_> = (0..COMMANDS)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.ask(Moderators).await })
        })
        .collect();
    // Each of them has its turn.
    for _ in 0..COMMANDS {
        tokio::task::yield_now().await;
    }
    let refused = handle.ask(Moderators).await.unwrap_err();
    assert_eq!(refused, RoomError::Busy);
    let problem = crate::error::Problem::from(refused.clone());
    assert_eq!((problem.reason.code(), problem.reason.status().as_u16()), ("ROOM_BUSY", 503));
    assert!(refused.details().unwrap()["retryAfterMs"].is_u64());
    // Whoever asked a room that is gone meanwhile finds none.
    drop(inbox);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Err(RoomError::NotFound));
    }
    let _: fn(Look) -> _ = Request::command;
}

#[tokio::test]
async fn a_socket_that_closed_while_its_join_was_on_the_way_is_lost() {
    let world = World::new(|_| {}).await;
    let room = world.room("r").await.room_id;
    let ada = world.connect(person(1)).await;
    world.app.delivery.remove(ada.device.user, ada.session.about.id);
    world.app.rooms.lost(ada.device.user, ada.session.about.id);
    let _ = world.join(&room, &ada).await;
    let people = world.app.rooms.participants(&room, None).await.unwrap();
    assert_eq!(people[0].connection, Connectivity::Reconnecting);
    world.pass(Duration::from_secs(29)).await;
    assert_eq!(world.app.rooms.participants(&room, None).await.unwrap().len(), 1);
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(world.app.rooms.participants(&room, None).await.unwrap().len(), 0);
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(world.app.rooms.room(&room, None).await.unwrap_err(), RoomError::NotFound);
}

#[tokio::test]
async fn the_room_of_a_call_is_neither_made_nor_entered_by_its_name() {
    let world = World::new(|config| config.rooms.create = RoomCreate::Anyone).await;
    let rooms = &world.app.rooms;
    let (ada, _ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let (cleo, eve) = (world.connect(person(3)).await, world.connect(person(4)).await);
    let nobodys = RoomId::of_call(CallId::new(uuid::Uuid::from_u128(7)));
    let visitor = |user: UserId| Visitor {
        user,
        name: "a camera".into(),
        operator: false,
        token: None,
        until: None,
    };
    let offer = crate::rooms::tests::offer();
    let named = RoomSpec { room_id: Some(nobodys.clone()), ..RoomSpec::default() };
    assert!(matches!(rooms.open(None, &named).await, Err(RoomError::Invalid("roomId", _))));

    let order = voice(&[person(2), person(3)]);
    let (call, _) = world.app.start_call(&ada.device, order, false).await.unwrap();
    let (calls, _) = world.app.calls.meeting(person(1), call.call_id).await.unwrap();
    for room in [&nobodys, &calls] {
        assert_eq!(rooms.join(room, joins(&eve)).await.unwrap_err(), RoomError::NotFound);
        for side in [Side::Publish, Side::View(None)] {
            let refused = rooms.offer_by_http(room, visitor(person(4)), side, &offer).await;
            assert_eq!(refused.unwrap_err(), RoomError::NotFound);
        }
    }
    assert_eq!(rooms.stats().rooms, 1, "nobody's was not made");
    assert!(rooms.join(&calls, joins(&cleo)).await.is_ok());
    // Whoever is in a room of a call is in a call, for as long as it is in the room.
    assert!(rooms.outside.in_call.contains(person(3)));
    world.handle(&calls).note(Notice::Panic);
    until(|| !rooms.outside.in_call.contains(person(3))).await;
}

#[tokio::test]
async fn a_guest_is_known_by_its_token_as_long_as_the_room_is_open() {
    let world = World::new(|_| {}).await;
    let rooms = &world.app.rooms;
    let room = world.room("r").await.room_id;
    let spec = RoomTokenSpec { ttl: Some(60), ..RoomTokenSpec::default() };
    let Issued { text: token, until, .. } = rooms.issue_token(&room, None, spec).await.unwrap();
    let guest = rooms.guest(&token, "a").unwrap();
    assert!(guest.user.is_guest() && guest.until == until);
    assert_ne!(guest.user, rooms.guest(&token, "b").unwrap().user);
    assert_eq!(rooms.guest(&token, "a").unwrap().user, guest.user);
    assert!(rooms.bounds(&token).is_some());
    let client = world.connect(guest.user).await;
    assert_eq!(rooms.join(&room, joins(&client)).await.unwrap_err(), RoomError::NotFound);
    let with = JoinRequest { token: Some(token.clone()), ..joins(&client) };
    let joined = rooms.join(&room, with).await.unwrap();
    assert_eq!(joined.own.user_id, None);
    world.clock.advance(Duration::from_secs(60));
    assert!(rooms.guest(&token, "a").is_none());
    let own = RoomTokenSpec { user_id: Some(person(1)), ..RoomTokenSpec::default() };
    let own = rooms.issue_token(&room, None, own).await.unwrap().text;
    assert!(rooms.guest(&own, "a").is_none() && rooms.bounds(&own).is_some());
    rooms.close(&room, None).await.unwrap();
    assert!(rooms.bounds(&own).is_none());
    assert_eq!(client.events().last().unwrap().1["reason"], "expired", "with its token");
}

/// What happened in rooms, and why.
async fn facts(world: &World) -> Vec<(FactKind, Value)> {
    let page = world.app.store.facts_after(0, 100).await.unwrap();
    let facts = page.facts.into_iter().filter(|it| it.fact.room.is_some());
    facts.map(|it| (it.fact.kind, it.fact.data["reason"].clone())).collect()
}

#[tokio::test]
async fn what_happens_in_a_room_is_a_fact_in_order() {
    let world = World::new(|_| {}).await;
    let room = world.room("r").await.room_id;
    let ada = world.connect(person(1)).await;
    let joined = world.join(&room, &ada).await;
    world.app.rooms.issue_token(&room, None, RoomTokenSpec::default()).await.unwrap();
    world.app.rooms.leave(person(1), joined.session).await.unwrap();
    world.app.rooms.close(&room, None).await.unwrap();
    let mut found = Vec::new();
    for _ in 0..10_000 {
        found = facts(&world).await;
        if found.len() == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // paces looks: ten thousand at most
    }
    // The token's is stored with the token, the others a moment after what they are about.
    found.retain(|(kind, _)| *kind != FactKind::RoomTokenIssued);
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.to_string()).collect();
    assert_eq!(kinds, ["room.created", "room.joined", "room.left", "room.closed"]);
    assert_eq!((&found[2].1, &found[3].1), (&"left".into(), &"ended".into()));
}

#[tokio::test]
async fn a_room_token_is_good_after_a_restart_and_not_after_the_room_was_closed() {
    let world = World::new(|_| {}).await;
    let room = world.room("r").await.room_id;
    let rooms = &world.app.rooms;
    let spec = || RoomTokenSpec { moderator: true, ..RoomTokenSpec::default() };
    let token = rooms.issue_token(&room, None, spec()).await.unwrap().text;
    // Another process with the same store.
    let store = world.app.store.clone();
    let after = World::over(|_| {}, move |_| store).await;
    assert!(after.app.rooms.guest(&token, "").is_none(), "nobody has opened the room yet");
    after.room("r").await;
    let guest = after.app.rooms.guest(&token, "").unwrap();
    let client = after.connect(guest.user).await;
    let with = JoinRequest { token: Some(token.clone()), ..joins(&client) };
    assert!(after.app.rooms.join(&room, with).await.unwrap().own.moderator);
    after.app.rooms.close(&room, None).await.unwrap();
    after.room("r").await;
    assert!(after.app.rooms.guest(&token, "").is_none());
}

#[tokio::test]
async fn what_an_account_and_a_token_hold_in_all_rooms_ends_at_once() {
    let world = World::new(|_| {}).await;
    let rooms = &world.app.rooms;
    let (one, two) = (world.room("one").await.room_id, world.room("two").await.room_id);
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    for room in [&one, &two] {
        world.join(room, &ada).await;
        world.join(room, &ben).await;
    }
    let token = rooms.issue_token(&one, None, RoomTokenSpec::default()).await.unwrap().text;
    let guest = world.connect(rooms.guest(&token, "a").unwrap().user).await;
    let with = JoinRequest { token: Some(token.clone()), ..joins(&guest) };
    rooms.join(&one, with).await.unwrap();
    let people = async |room: &RoomId| rooms.participants(room, None).await.unwrap().len();
    assert_eq!((people(&one).await, people(&two).await), (3, 2));

    rooms.end_user(person(1), LeaveReason::Revoked);
    assert_eq!((people(&one).await, people(&two).await), (2, 1));
    let left: Vec<_> = ben.named("room:left").iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(left, ["revoked", "revoked"]);
    assert!(rooms.outside.directory.by_user(person(1)).is_empty());

    rooms.revoke_token(&one, None, TokenHash::of(&token)).await.unwrap();
    assert_eq!(people(&one).await, 1);
    assert_eq!(ben.named("room:left")[0]["reason"], "revoked");
    assert!(rooms.guest(&token, "a").is_none() && rooms.bounds(&token).is_none());
    // An account that is opened again comes in again.
    world.join(&two, &ada).await;
}

#[tokio::test]
async fn an_account_that_is_ended_while_it_enters_is_not_in() {
    let world = World::new(|_| {}).await;
    let rooms = &world.app.rooms;
    let room = world.room("r").await.room_id;
    let ada = world.connect(person(1)).await;
    let joining = rooms.join(&room, joins(&ada));
    tokio::pin!(joining);
    // The request is in the room's queue.
    assert!(poll_once(&mut joining).await.is_none());
    rooms.end_user(person(1), LeaveReason::Revoked);
    assert_eq!(joining.await.unwrap_err(), RoomError::NotFound);
    assert!(rooms.participants(&room, None).await.unwrap().is_empty());
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn what_accounts_and_tokens_hold_in_rooms_is_bounded_and_given_back_also_by_a_room_that_fails()
 {
    let world = World::new(|config| {
        config.rooms.create = RoomCreate::Anyone;
        let limits = &mut config.limits;
        (limits.rooms_per_user, limits.room_sessions_per_user) = (1, 2);
        (limits.room_sessions_per_token, limits.viewers_per_user) = (2, 1);
    })
    .await;
    let rooms = &world.app.rooms;
    let room = world.room("r").await.room_id;
    let held = |resource, holder| world.app.ledger.held(resource, holder);
    let (ada, second, third) = (
        world.connect(person(1)).await,
        world.connect(person(1)).await,
        world.connect(person(1)).await,
    );
    world.join(&room, &ada).await;
    let last = world.join(&room, &second).await;
    let refused = rooms.join(&room, joins(&third)).await.unwrap_err();
    assert_eq!(refused.reason().code(), "RATE_LIMITED");
    assert_eq!(refused.details().unwrap()["limit"], "limits.room_sessions_per_user");
    world.join(&room, &ada).await;
    rooms.leave(person(1), last.session).await.unwrap();
    world.join(&room, &third).await;
    let own = |user| Holder::User(person(user));
    assert_eq!(held(Held::Participant, own(1)), 2);

    let token = rooms.issue_token(&room, None, RoomTokenSpec::default()).await.unwrap().text;
    let mut guests = Vec::new();
    for device in ["a", "b", "c"] {
        let guest = world.connect(rooms.guest(&token, device).unwrap().user).await;
        let with = JoinRequest { token: Some(token.clone()), ..joins(&guest) };
        guests.push(rooms.join(&room, with).await.err().map(|it| it.reason().code()));
    }
    assert_eq!(guests, [None, None, Some("RATE_LIMITED")]);

    let visitor = Visitor {
        user: person(2),
        name: "a screen".into(),
        operator: false,
        token: None,
        until: None,
    };
    let offer = super::super::tests::offer().replace("a=sendonly", "a=recvonly");
    let view = || rooms.offer_by_http(&room, visitor.clone(), Side::View(None), &offer);
    view().await.unwrap();
    assert!(matches!(view().await, Err(RoomError::Held(_))));
    // What is refused by the room takes nothing.
    let nothing = rooms.offer_by_http(&room, visitor.clone(), Side::Publish, &offer).await;
    assert!(nothing.is_err() && held(Held::Participant, own(2)) == 0);

    let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
    let ben = world.connect(person(2)).await;
    world.join(&one, &ben).await;
    assert!(matches!(rooms.join(&two, joins(&ben)).await, Err(RoomError::Held(_))));
    assert_eq!(held(Held::Room, own(2)), 1);

    for name in [&room, &one] {
        world.handle(name).note(Notice::Panic);
    }
    until(|| {
        let all = [Held::Room, Held::Participant, Held::Bearer, Held::Viewer];
        let stats = world.app.ledger.stats();
        stats.iter().filter(|it| all.contains(&it.resource)).all(|it| it.amount == 0)
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_revoked_or_used_up_is_so_after_a_restart_and_nothing_is_said_that_is_not_stored()
 {
    let world = World::new(|_| {}).await;
    let room = world.room("r").await.room_id;
    let rooms = &world.app.rooms;
    let issue = async |max_uses| {
        let spec = RoomTokenSpec { max_uses, ..RoomTokenSpec::default() };
        rooms.issue_token(&room, None, spec).await.unwrap()
    };
    let (revoked, once, kept) = (issue(None).await, issue(Some(1)).await, issue(None).await);
    let listed = rooms.tokens(&room, None).await.unwrap();
    assert_eq!(listed.len(), 3);
    rooms.revoke_token(&room, None, revoked.id).await.unwrap();
    let again = rooms.revoke_token(&room, None, revoked.id).await;
    assert_eq!(again.unwrap_err(), RoomError::NoToken);
    let guest = world.connect(rooms.guest(&once.text, "a").unwrap().user).await;
    let with = |client: &Client| JoinRequest { token: Some(once.text.clone()), ..joins(client) };
    rooms.join(&room, with(&guest)).await.unwrap();

    let store = world.app.store.clone();
    let after = World::over(|_| {}, move |_| store).await;
    after.room("r").await;
    let rooms = &after.app.rooms;
    assert!(rooms.guest(&revoked.text, "").is_none() && rooms.guest(&kept.text, "").is_some());
    let (same, other) = ("a", "b");
    let mut came = Vec::new();
    for device in [other, same] {
        let client = after.connect(rooms.guest(&once.text, device).unwrap().user).await;
        came.push(rooms.join(&room, with(&client)).await.is_ok());
    }
    assert_eq!(came, [false, true]);
}

#[tokio::test]
async fn a_room_that_somebody_opened_by_entering_is_theirs_alone() {
    let world = World::new(|config| {
        config.rooms.create = RoomCreate::Anyone;
        config.rooms.join = RoomJoin::Members;
    })
    .await;
    let rooms = &world.app.rooms;
    let room = "mine".parse().unwrap();
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    world.join(&room, &ada).await;
    assert_eq!(rooms.join(&room, joins(&ben)).await.unwrap_err(), RoomError::NotFound);
    let members = Some(vec![person(2)]);
    let change = RoomChange { members: members.clone(), ..RoomChange::default() };
    rooms.change(&room, Some(person(1)), change).await.unwrap();
    world.join(&room, &ben).await;
    // What the application opens is for whom it names, and else for nobody.
    let closed = world.room("closed").await.room_id;
    assert_eq!(rooms.join(&closed, joins(&ben)).await.unwrap_err(), RoomError::NotFound);
    let spec = RoomSpec { members, ..RoomSpec::default() };
    let named = rooms.open(None, &spec).await.unwrap().room_id;
    world.join(&named, &ben).await;
    assert_eq!(rooms.join(&named, joins(&ada)).await.unwrap_err(), RoomError::NotFound);
}
