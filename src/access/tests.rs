use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::{End, Respond};
use crate::event::Role;
use crate::ids::{CallId, UserId};
use crate::policy::Actor;
use crate::revocation::AccessChange;
use crate::testing::{Client, World, person, voice};

/// The call that Ada has with Ben, who took it.
async fn call(world: &World, ada: &Client, ben: &Client) -> CallId {
    let (call, _) = world.app.calls.start(&ada.device, voice(&[person(2)])).await.unwrap();
    let answer =
        Respond { call: call.call_id, accept: true, busy: false, to: None, hold_other: false };
    world.app.calls.respond(&ben.device, answer).await.unwrap();
    call.call_id
}

fn ended(client: &Client) -> Vec<(Value, Value)> {
    let ended = client.named("call:ended").into_iter();
    ended.map(|it| (it["endReason"].clone(), it["fromUserId"].clone())).collect()
}

async fn disable(world: &World, user: UserId) {
    world.app.people.set_disabled(user, true).await.unwrap();
}

#[tokio::test]
async fn a_disabled_persons_call_is_over_for_the_other_when_the_answer_comes() {
    let world = World::new(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    call(&world, &ada, &ben).await;
    ben.events();
    disable(&world, person(1)).await;
    assert_eq!(ended(&ben), [(json!("kicked"), json!(1))]);
    assert_eq!(world.app.calls.count(), 0);
}

#[tokio::test]
async fn what_rings_ends_whoever_of_the_two_is_disabled() {
    for disabled in [1, 2] {
        let world = World::new(|_| {}).await;
        let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
        world.app.calls.start(&ada.device, voice(&[person(2)])).await.unwrap();
        let other = if disabled == 1 { &ben } else { &ada };
        other.events();
        disable(&world, person(disabled)).await;
        assert_eq!(ended(other), [(json!("kicked"), json!(disabled))]);
        assert_eq!(world.app.calls.count(), 0);
    }
}

#[tokio::test]
async fn a_call_of_several_goes_on_without_the_one_who_began_it() {
    let world = World::new(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let cem = world.connect(person(3)).await;
    let (_, calls) =
        world.app.calls.start(&ada.device, voice(&[person(2), person(3)])).await.unwrap();
    for (client, call) in [&ben, &cem].into_iter().zip(calls.unwrap()) {
        let call = call.call_id;
        let answer = Respond { call, accept: true, busy: false, to: None, hold_other: false };
        world.app.calls.respond(&client.device, answer).await.unwrap();
    }
    ben.events();
    disable(&world, person(1)).await;
    assert!(ended(&ben).is_empty(), "Ben and Cem talk on");
    disable(&world, person(3)).await;
    assert!(ended(&cem).is_empty(), "a session that is over gets nothing");
}

#[tokio::test]
async fn a_session_that_is_ended_takes_its_call_along_and_no_other() {
    let world = World::new(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let second = world.connect(person(1)).await;
    let id = call(&world, &ada, &ben).await;
    ben.events();
    let end = |client: &Client| {
        let change = AccessChange::SessionEnded(person(1), client.session.about.id);
        world.app.access.announce(change)
    };
    end(&second).await;
    assert_eq!(second.named("session:closed").pop().unwrap()["reason"], "KICKED");
    assert!(ended(&ben).is_empty() && !ada.session.is_closed());
    end(&ada).await;
    assert_eq!(ended(&ben), [(json!("kicked"), json!(1))]);
    let over = world.app.calls.end(person(2), End::of(id)).await.unwrap();
    assert_eq!(over.end_reason, Some(crate::event::EndReason::Kicked));
}

#[tokio::test]
async fn what_was_under_way_when_an_account_was_disabled_ends_too() {
    let world = World::new(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    disable(&world, person(1)).await;
    ben.events();
    // A request that was let in before.
    call(&world, &ada, &ben).await;
    world.clock.advance(Duration::from_secs(1));
    world.until(|| world.app.calls.count() == 0).await;
    assert_eq!(ended(&ben), [(json!("kicked"), json!(1))]);
    call(&world, &ada, &ben).await;
    world.app.people.set_disabled(person(1), false).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(1)).await; // paces load: what would be due is looked at here
    assert_eq!(world.app.calls.count(), 1, "the account is enabled again");
}

#[tokio::test]
async fn others_see_at_once_that_a_disabled_person_is_gone_and_types_no_longer() {
    let world = World::new(|_| {}).await;
    let (_ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    world.write(person(1), person(2), "hello").await;
    let (app, followed) = (&world.app, [person(1)]);
    let session = ben.session.about.id;
    app.presence.subscribe(Actor::from(person(2)), session, &followed).await.unwrap();
    let conversation = crate::membership::ConversationRef::With(person(2));
    app.chat.start_typing(person(1), conversation).await.unwrap();
    ben.events();
    disable(&world, person(1)).await;
    let events = ben.events();
    let names: Vec<_> = events.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"typing:stop"), "{names:?}");
    let status = events.iter().find(|(name, _)| *name == "user:status").unwrap();
    assert_eq!((&status.1["userId"], &status.1["isOnline"]), (&json!(1), &json!(false)));
}

#[tokio::test]
async fn subscriptions_end_with_the_account_that_has_them_and_to_one_that_is_erased() {
    let world = World::new(|_| {}).await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    world.write(person(1), person(2), "hello").await;
    let presence = &world.app.presence;
    for (client, other) in [(&ada, person(2)), (&ben, person(1))] {
        let about = &client.session.about;
        presence.subscribe(Actor::from(about.user), about.id, &[other]).await.unwrap();
    }
    assert_eq!(presence.stats().subscriptions, 2);
    disable(&world, person(1)).await;
    assert_eq!(presence.stats().subscriptions, 1, "Ben's stays for the day on which Ada is back");
    world.app.people.erase(person(1), false).await.unwrap();
    assert_eq!(presence.stats().subscriptions, 0);
}

#[tokio::test]
async fn an_operator_who_is_one_no_longer_follows_contacts_only() {
    let world = World::new(|_| {}).await;
    let ada = world.connect(person(1)).await;
    world.write(person(1), person(2), "hello").await;
    let about = &ada.session.about;
    let admin = Actor::new(person(1), Role::Admin);
    let all = [person(2), person(3), person(4)];
    world.app.presence.subscribe(admin, about.id, &all).await.unwrap();
    ada.session.set_role(Role::Admin);
    assert_eq!(world.app.presence.stats().subscriptions, 3);
    world.app.access.announce(AccessChange::RoleChanged(person(1), Role::User)).await;
    assert_eq!(world.app.presence.stats().subscriptions, 1);
    assert_eq!(ada.session.role(), Role::User);
}
