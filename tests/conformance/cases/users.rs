//! People.

use super::{S, at, call, device, people, profile, text, user};

use switchboard::store::{DirectoryPage, Profile, StoreError};

pub(crate) async fn a_profile_makes_an_account_and_updates_it(store: S) {
    let made = store.save_profile(profile(1), at(5)).await.unwrap();
    assert_eq!((made.created_at, made.profile.name.as_deref()), (at(5), Some("User 1")));
    let nameless = Profile { name: None, email: Some("a@example.net".into()), ..profile(1) };
    let updated = store.save_profile(nameless, at(9)).await.unwrap();
    assert_eq!(updated.profile.name.as_deref(), Some("User 1"), "a token without a name leaves it");
    assert_eq!((updated.created_at, updated.updated_at), (at(5), at(9)));
    assert_eq!(store.user(user(1)).await.unwrap(), Some(updated));
    assert_eq!(store.user(user(2)).await.unwrap(), None);
}

pub(crate) async fn a_uid_belongs_to_one_account(store: S) {
    people(&store, [1]).await;
    let thief = Profile { uid: "u-1".into(), ..profile(2) };
    assert_eq!(store.save_profile(thief, at(1)).await, Err(StoreError::Conflict("uid")));
    assert_eq!(store.user(user(2)).await.unwrap(), None);
}

pub(crate) async fn a_device_is_registered_once_and_belongs_to_its_owner(store: S) {
    people(&store, [1, 2]).await;
    for (id, ms) in [("b", 1), ("a", 2), ("b", 3)] {
        store.save_device(device(1, id, None, ms)).await.unwrap();
    }
    let known = store.devices(user(1)).await.unwrap();
    assert_eq!(known, [device(1, "a", None, 2), device(1, "b", None, 3)]);
    assert_eq!(store.remove_device(user(2), "a".into()).await, Err(StoreError::NotFound));
    store.remove_device(user(1), "a".into()).await.unwrap();
    assert_eq!(store.devices(user(1)).await.unwrap().len(), 1);
    assert_eq!(
        store.save_device(device(9, "x", None, 1)).await,
        Err(StoreError::UnknownUser(user(9)))
    );
}

pub(crate) async fn the_directory_goes_page_by_page_in_order_of_name(store: S) {
    for (id, name) in [(1, "Zoë"), (2, "ada"), (3, "Adam"), (4, "Ada")] {
        store
            .save_profile(Profile { name: Some(name.into()), ..profile(id) }, at(0))
            .await
            .unwrap();
    }
    let page = |after, prefix: &str| DirectoryPage { after, prefix: prefix.into(), limit: 2 };
    let ids = |users: Vec<switchboard::store::UserRecord>| {
        users.iter().map(|u| u.profile.user_id.value()).collect::<Vec<_>>()
    };
    assert_eq!(ids(store.directory(page(None, "")).await.unwrap()), [2, 4]);
    let after = Some(("ada".to_owned(), user(4)));
    assert_eq!(ids(store.directory(page(after.clone(), "")).await.unwrap()), [3, 1]);
    assert_eq!(ids(store.directory(page(after, "ada")).await.unwrap()), [3]);
    assert_eq!(ids(store.directory(page(None, "zo")).await.unwrap()), [1]);
}

pub(crate) async fn contacts_are_those_one_talked_to(store: S) {
    people(&store, 1..=5).await;
    store.append_message(text(1, 3, "x", 10)).await.unwrap();
    store.append_message(text(4, 1, "x", 20)).await.unwrap();
    store.create_call(call(2, 1, 30), vec![]).await.unwrap();
    store.append_message(text(4, 5, "x", 40)).await.unwrap();
    assert_eq!(store.contacts(user(1), at(0), 10).await.unwrap(), [user(2), user(3), user(4)]);
    assert_eq!(store.contacts(user(1), at(15), 10).await.unwrap(), [user(2), user(4)]);
    assert_eq!(store.contacts(user(1), at(0), 1).await.unwrap(), [user(2)]);
}
