use std::time::Duration;

use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::event::Role;
use crate::people::{PeopleError, Upsert};
use crate::testing::{World, person};

fn token(user: i64) -> Identity {
    Identity {
        user_id: person(user),
        uid: None,
        email: None,
        name: None,
        role: Role::User,
        user_type: None,
        issued_at: None,
        expires_at: Timestamp(i64::MAX),
    }
}

#[tokio::test]
async fn an_account_comes_into_being_with_its_first_token() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    assert!(matches!(people.me(person(77)).await, Err(PeopleError::Unknown)));
    let name = Some("Ada".to_owned());
    people.admit(&Identity { name, ..token(77) }).await.unwrap();
    let me = people.me(person(77)).await.unwrap();
    assert_eq!((me.name.as_deref(), me.uid.as_str()), (Some("Ada"), "77"));
}

#[tokio::test]
async fn later_tokens_change_what_they_say_and_nothing_else() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    let email = Some("a@example.org".to_owned());
    people.admit(&Identity { email, ..token(1) }).await.unwrap();
    people.change(person(1), Some("Chosen".into()), None, None).await.unwrap();
    let renamed = Identity { name: Some("Of the token".into()), role: Role::Admin, ..token(1) };
    people.admit(&renamed).await.unwrap();
    let me = people.me(person(1)).await.unwrap();
    assert_eq!(me.name.as_deref(), Some("Chosen"), "a chosen name is not undone");
    assert_eq!(me.email.as_deref(), Some("a@example.org"));
    assert_eq!(me.role, Some(Role::Admin));
}

#[tokio::test]
async fn two_accounts_cannot_have_one_uid() {
    let world = World::new(|_| {}).await;
    let uid = Some("u2".to_owned());
    let taken = world.app.people.admit(&Identity { uid, ..token(1) }).await;
    assert!(matches!(taken, Err(PeopleError::UidTaken)));
}

#[tokio::test]
async fn a_disabled_account_is_refused_at_once_and_let_in_again_when_enabled() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    people.admit_again(&token(1)).await.unwrap();
    let client = world.connect(person(1)).await;
    people.set_disabled(person(1), true).await.unwrap();
    let closed = client.named("session:closed").pop().unwrap();
    assert_eq!(closed["reason"], "USER_DISABLED");
    assert!(client.session.is_closed());
    assert!(matches!(people.admit(&token(1)).await, Err(PeopleError::Disabled)));
    assert!(matches!(people.admit_again(&token(1)).await, Err(PeopleError::Disabled)));
    people.set_disabled(person(1), false).await.unwrap();
    people.admit_again(&token(1)).await.unwrap();
    let unknown = people.set_disabled(person(4711), true).await;
    assert!(matches!(unknown, Err(PeopleError::Unknown)));
}

#[tokio::test]
async fn what_another_way_changed_is_seen_after_half_a_minute_at_the_latest() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    people.admit_again(&token(1)).await.unwrap();
    // Past this server, as another one of a cluster would.
    world.app.store.set_disabled(person(1), true, world.clock.now(), Vec::new()).await.unwrap();
    people.admit_again(&token(1)).await.unwrap();
    world.clock.advance(Duration::from_secs(31));
    assert!(matches!(people.admit_again(&token(1)).await, Err(PeopleError::Disabled)));
}

#[tokio::test]
async fn the_backend_makes_and_changes_accounts() {
    let world = World::new(|_| {}).await;
    let put = |uid: &str, name: &str| Upsert {
        uid: uid.into(),
        email: None,
        name: Some(name.into()),
        mobile: None,
        gender: None,
        user_type: None,
    };
    let people = &world.app.people;
    let made = people.upsert(person(50), put("fifty", "Fifty")).await.unwrap();
    assert_eq!((made.uid.as_str(), made.role), ("fifty", Some(Role::User)));
    let changed = people.upsert(person(50), put("fifty", "Fifty-one")).await.unwrap();
    assert_eq!(changed.name.as_deref(), Some("Fifty-one"));
    let taken = people.upsert(person(51), put("fifty", "Other")).await;
    assert!(matches!(taken, Err(PeopleError::UidTaken)));
}

fn issued(role: Role, at: i64) -> Identity {
    Identity { role, issued_at: Some(Timestamp(at)), ..token(1) }
}

#[tokio::test]
async fn the_newest_token_takes_operators_rights_from_older_ones_and_from_what_they_opened() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    let client = world.connect(person(1)).await;
    let (admin, user) = (issued(Role::Admin, 1000), issued(Role::User, 2000));
    assert_eq!(people.admit(&admin).await.unwrap(), Role::Admin);
    client.session.set_role(Role::Admin);
    assert_eq!(people.admit_again(&user).await.unwrap(), Role::User);
    assert_eq!(client.session.role(), Role::User, "the socket of the older token");
    for _ in 0..2 {
        assert_eq!(people.admit_again(&admin).await.unwrap(), Role::User, "it is the older one");
        assert_eq!(people.admit(&admin).await.unwrap(), Role::User);
    }
    assert_eq!(people.me(person(1)).await.unwrap().role, Some(Role::User));
    let again = issued(Role::Admin, 3000);
    assert_eq!(people.admit_again(&again).await.unwrap(), Role::Admin);
    assert_eq!(people.admit_again(&user).await.unwrap(), Role::User, "by its own token");
    assert_eq!(people.me(person(1)).await.unwrap().role, Some(Role::Admin));
}

#[tokio::test]
async fn tokens_without_a_time_of_issue_count_for_themselves_and_one_that_replaces_another_is_newer()
 {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    let client = world.connect(person(1)).await;
    client.session.set_role(Role::Admin);
    let (admin, user) = (Identity { role: Role::Admin, ..token(1) }, token(1));
    for _ in 0..2 {
        assert_eq!(people.admit_again(&admin).await.unwrap(), Role::Admin);
        assert_eq!(people.admit_again(&user).await.unwrap(), Role::User);
    }
    assert_eq!(client.session.role(), Role::Admin, "which of the two is newer is not known");
    people.admit(&admin).await.unwrap();
    assert_eq!(people.admit_refreshed(&user).await.unwrap(), Role::User);
    assert_eq!(client.session.role(), Role::User);
}

#[tokio::test]
async fn of_two_tokens_of_one_second_the_lower_role_counts() {
    let people = World::new(|_| {}).await.app.people.clone();
    for (role, given) in
        [(Role::Admin, Role::Admin), (Role::User, Role::User), (Role::Admin, Role::User)]
    {
        assert_eq!(people.admit(&issued(role, 1000)).await.unwrap(), given);
    }
}

#[tokio::test]
async fn what_was_read_of_an_account_before_it_was_disabled_does_not_come_back() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    people.admit_again(&token(1)).await.unwrap();
    let before = world.app.store.user(person(1)).await.unwrap().unwrap();
    people.set_disabled(person(1), true).await.unwrap();
    people.known().remember(&before, world.clock.now());
    assert!(matches!(people.admit_again(&token(1)).await, Err(PeopleError::Disabled)));
}
