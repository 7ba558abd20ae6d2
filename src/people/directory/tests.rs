//! The directory, over a store in memory.

use super::DirectoryQuery;
use crate::testing::{World, person};

#[tokio::test]
async fn pages_of_the_directory_are_full_without_the_one_who_asks() {
    let world = World::new(|_| {}).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let query = DirectoryQuery { limit: Some(2), cursor, ..DirectoryQuery::default() };
        let page = world.app.people.directory(person(2), query).await.unwrap();
        assert!(page.next_cursor.is_none() || page.users.len() == 2);
        seen.extend(page.users.iter().map(|user| user.user_id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 3, 4, 5].map(person));
}

fn ids(users: &[crate::event::User]) -> Vec<i64> {
    users.iter().map(|user| user.user_id.value()).collect()
}

#[tokio::test]
async fn those_who_are_connected_come_first_and_can_be_listed_alone() {
    let world = World::new(|_| {}).await;
    let (_phone, _tablet) = (world.connect(person(4)).await, world.connect(person(4)).await);
    let everyone = world.app.people.directory(person(1), DirectoryQuery::default()).await.unwrap();
    assert_eq!(ids(&everyone.users)[0], 4);
    assert!(everyone.users[0].is_online && !everyone.users[1].is_online);
    for (online, expected) in [(true, vec![4]), (false, vec![2, 3, 5])] {
        let query = DirectoryQuery { online: Some(online), ..DirectoryQuery::default() };
        let mut found = ids(&world.app.people.directory(person(1), query).await.unwrap().users);
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_the_name_and_by_id() {
    let world = World::new(|_| {}).await;
    world.app.people.change(person(3), Some("Çelik".into()), None, None).await.unwrap();
    let query = DirectoryQuery { prefix: Some("çe".into()), ..DirectoryQuery::default() };
    let found = world.app.people.directory(person(1), query).await.unwrap();
    assert_eq!(ids(&found.users), [3]);
    let named = Some(vec![person(2), person(1), person(4711)]);
    let query = DirectoryQuery { ids: named, ..DirectoryQuery::default() };
    let found = world.app.people.directory(person(1), query).await.unwrap();
    assert_eq!(ids(&found.users), [2], "neither oneself nor who is unknown");
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let world = World::new(|_| {}).await;
    for cursor in ["", "x", "bQox"] {
        let query = DirectoryQuery { cursor: Some(cursor.into()), ..DirectoryQuery::default() };
        let refused = world.app.people.directory(person(1), query).await;
        assert!(matches!(refused, Err(crate::people::PeopleError::Cursor)), "{cursor}");
    }
}

#[tokio::test]
async fn contact_data_is_for_oneself() {
    let world = World::new(|_| {}).await;
    let people = &world.app.people;
    let put = crate::people::Upsert {
        uid: "u2".into(),
        email: Some("b@example.org".into()),
        name: None,
        mobile: Some("123".into()),
        gender: None,
        user_type: None,
    };
    people.upsert(person(2), put).await.unwrap();
    let shown = people.person(person(2)).await.unwrap();
    assert_eq!((shown.email, shown.mobile, shown.role), (None, None, None));
    let own = people.me(person(2)).await.unwrap();
    assert_eq!((own.email.as_deref(), own.mobile.as_deref()), (Some("b@example.org"), Some("123")));
}
