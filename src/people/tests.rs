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
