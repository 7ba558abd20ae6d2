use std::time::Duration;

use super::watchers::{SUBSCRIPTIONS, Watchers};
use super::{CONTACTS, PresenceError, Stats};
use crate::config::Audience;
use crate::event::{Role, UserStatus};
use crate::ids::{SessionId, UserId};
use crate::policy::Actor;
use crate::testing::{Client, World, person};

async fn world(audience: Audience) -> World {
    World::new(|config| config.presence.audience = audience).await
}

async fn subscribe(
    world: &World,
    client: &Client,
    role: Role,
    users: &[UserId],
) -> Result<Vec<UserStatus>, PresenceError> {
    let by = Actor::new(client.device.user, role);
    world.app.presence.subscribe(by, client.session.about.id, users).await
}

fn ids(states: &[UserStatus]) -> Vec<UserId> {
    states.iter().map(|state| state.user_id).collect()
}

/// A person comes, with what happens then.
async fn arrive(world: &World, user: i64) -> Client {
    let first = !world.app.delivery.is_online(person(user));
    let client = world.connect(person(user)).await;
    world.app.presence.arrived(&client.session.about, first).await.unwrap();
    client
}

#[tokio::test]
async fn contacts_get_each_others_status_and_strangers_do_not() {
    let world = world(Audience::Contacts).await;
    world.write(person(1), person(2), "we know each other").await;
    let (friend, stranger) = (arrive(&world, 2).await, arrive(&world, 3).await);
    friend.events();
    stranger.events();
    let client = arrive(&world, 1).await;
    let snapshot = client.named("presence:snapshot").pop().unwrap();
    assert_eq!(snapshot["states"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot["states"][0]["isOnline"], true);
    let status = friend.named("user:status");
    assert_eq!(status.len(), 1);
    assert_eq!(status[0]["userId"], 1);
    assert!(stranger.events().is_empty());
    arrive(&world, 1).await;
    assert!(friend.named("user:status").is_empty(), "a second device is no news");
}

#[tokio::test]
async fn a_contact_of_long_ago_is_a_stranger() {
    let world = world(Audience::Contacts).await;
    world.write(person(1), person(2), "long ago").await;
    world.clock.advance(Duration::from_secs(91 * 86_400));
    let friend = arrive(&world, 2).await;
    friend.events();
    arrive(&world, 1).await;
    assert!(friend.named("user:status").is_empty());
}

/// The last session of a person ends, and the grace begins; `end_grace` is over when what it brings has happened.
async fn leave(world: &World, client: &Client) -> tokio::task::JoinHandle<()> {
    let user = client.device.user;
    world.clock.advance(Duration::from_secs(1));
    world.app.delivery.remove(user, client.session.about.id);
    let presence = world.app.presence.clone();
    let left = tokio::spawn(async move { presence.left(user, 0).await.unwrap() });
    // What is stored says that the grace begins.
    while world.app.store.user(user).await.unwrap().unwrap().last_seen < world.clock.now() {
        tokio::task::yield_now().await;
    }
    // The store answers in its order: behind this, the rule has its answer, and its time runs.
    world.app.store.ping().await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    left
}

async fn end_grace(left: tokio::task::JoinHandle<()>) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    left.await.unwrap();
}

#[tokio::test]
async fn a_break_within_the_grace_is_no_news() {
    let world = world(Audience::All).await;
    let (watching, client) = (arrive(&world, 2).await, arrive(&world, 1).await);
    watching.events();
    let left = leave(&world, &client).await;
    let client = arrive(&world, 1).await;
    end_grace(left).await;
    assert!(watching.named("user:status").is_empty(), "neither gone nor back");
    let left = leave(&world, &client).await;
    assert!(watching.named("user:status").is_empty());
    end_grace(left).await;
    let status = watching.named("user:status");
    assert_eq!(status.len(), 1);
    assert_eq!(
        (&status[0]["isOnline"], &status[0]["presence"]),
        (&false.into(), &"offline".into())
    );
}

#[tokio::test]
async fn subscriptions_obey_the_audience() {
    for (audience, expected) in [
        (Audience::Contacts, vec![person(2), person(1)]),
        (Audience::None, vec![person(1)]),
        (Audience::All, vec![person(2), person(3), person(1)]),
    ] {
        let world = world(audience).await;
        world.write(person(1), person(2), "we know each other").await;
        let client = world.connect(person(1)).await;
        let all = [person(2), person(3), person(1)];
        let mut seen = ids(&subscribe(&world, &client, Role::User, &all).await.unwrap());
        seen.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(seen, expected, "{audience:?}");
        client.events();
        world.app.presence.announce(person(3)).await.unwrap();
        let status = client.named("user:status");
        assert_eq!(!status.is_empty(), matches!(audience, Audience::All), "{audience:?}");
    }
}

#[tokio::test]
async fn an_operator_may_follow_anyone_and_gets_what_changes() {
    let world = world(Audience::None).await;
    let client = world.connect(person(1)).await;
    let seen = subscribe(&world, &client, Role::Admin, &[person(2), person(4711)]).await.unwrap();
    assert_eq!(ids(&seen), [person(2)], "unknown people are left out");
    arrive(&world, 2).await;
    assert_eq!(client.named("user:status")[0]["isOnline"], true);
    let (user, session) = (person(1), client.session.about.id);
    world.app.presence.unsubscribe(user, session, &[person(2)]);
    world.app.presence.announce(person(2)).await.unwrap();
    assert!(client.events().is_empty());
}

#[tokio::test]
async fn a_session_follows_so_many_people_and_no_more_however_often_it_asks() {
    let world = world(Audience::All).await;
    let client = world.connect(person(1)).await;
    let people = |from: i64| (from..from + 100).map(person).collect::<Vec<_>>();
    for hundred in 0..5 {
        subscribe(&world, &client, Role::User, &people(1 + 100 * hundred)).await.unwrap();
        subscribe(&world, &client, Role::User, &people(1)).await.unwrap();
    }
    for _ in 0..100 {
        let refused = subscribe(&world, &client, Role::User, &people(450)).await.unwrap_err();
        assert!(matches!(refused, PresenceError::TooMany { would: 549 }), "{refused}");
    }
    let presence = &world.app.presence;
    assert_eq!(presence.stats(), Stats { subscriptions: CONTACTS, subscribers: 1 });
    presence.unsubscribe(person(1), client.session.about.id, &people(1));
    subscribe(&world, &client, Role::User, &people(501)).await.unwrap();
    presence.forget(person(1), client.session.about.id);
    assert_eq!(presence.stats(), Stats::default());
}

#[tokio::test]
async fn a_session_that_ended_meanwhile_leaves_nothing_behind() {
    let world = world(Audience::All).await;
    let client = world.connect(person(1)).await;
    world.app.delivery.remove(person(1), client.session.about.id);
    subscribe(&world, &client, Role::User, &[person(2)]).await.unwrap();
    assert_eq!(world.app.presence.stats(), Stats::default());
}

#[test]
fn the_server_follows_so_many_people_and_gives_the_places_back() {
    let mut watchers = Watchers::default();
    let session = |n: u128| SessionId::new(uuid::Uuid::from_u128(n));
    let people: Vec<_> = (1..=500).map(person).collect();
    let full = u128::try_from(SUBSCRIPTIONS / CONTACTS).unwrap();
    for n in 0..full {
        watchers.add(person(1), session(n), &people).unwrap();
    }
    let refused = watchers.add(person(1), session(full), &people[..1]);
    assert!(matches!(refused, Err(PresenceError::Full { limit: SUBSCRIPTIONS })));
    assert_eq!(watchers.stats().subscriptions, SUBSCRIPTIONS);
    watchers.remove(person(1), session(0), &people[..1]);
    watchers.add(person(1), session(full), &people[..1]).unwrap();
    for n in 0..=full {
        watchers.forget(person(1), session(n));
    }
    assert_eq!(watchers.stats(), Stats::default());
    assert_eq!(watchers.of(person(1)).count(), 0);
}
