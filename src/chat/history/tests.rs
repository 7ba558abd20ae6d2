use super::Pages;
use crate::chat::ChatError;
use crate::error::{Failure as _, Reason};
use crate::membership::ConversationRef;
use crate::testing::{World, person};

fn with() -> ConversationRef {
    ConversationRef::With(person(2))
}

async fn conversation_of(messages: i64) -> World {
    let world = World::new(|_| {}).await;
    for n in 1..=messages {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    world
}

fn numbers(page: &Pages) -> Vec<i64> {
    page.messages.iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn cursors_lead_through_all_messages_in_both_directions() {
    let world = conversation_of(25).await;
    let page = |before: Option<String>, after: Option<String>| {
        let chat = world.app.chat.clone();
        async move {
            let (before, after) = (before.as_deref(), after.as_deref());
            chat.page(person(1), with(), before, after, Some(10)).await.unwrap()
        }
    };
    let newest = page(None, None).await;
    assert_eq!(numbers(&newest), (16..=25).collect::<Vec<_>>());
    assert_eq!((newest.next_cursor.as_ref(), newest.head, newest.limit), (None, 25, 10));
    let older = page(newest.prev_cursor, None).await;
    assert_eq!(numbers(&older), (6..=15).collect::<Vec<_>>());
    let oldest = page(older.prev_cursor, None).await;
    assert_eq!(numbers(&oldest), (1..=5).collect::<Vec<_>>());
    assert_eq!(oldest.prev_cursor, None);
    let newer = page(None, oldest.next_cursor).await;
    assert_eq!(numbers(&newer), (6..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_pages_of_the_original_count_from_the_newest_or_from_the_oldest() {
    let world = conversation_of(25).await;
    let chat = &world.app.chat;
    for (page, expected) in [(0, 16..=25), (1, 16..=25), (2, 6..=15), (3, 1..=5)] {
        let found = chat.page_from_newest(person(1), person(2), page, Some(10)).await.unwrap();
        assert_eq!(numbers(&found), expected.collect::<Vec<_>>(), "page {page}");
    }
    for (page, expected) in [(1, 1..=10), (3, 21..=25)] {
        let found = chat.page_from_oldest(person(1), person(2), page, Some(10)).await.unwrap();
        assert_eq!(numbers(&found), expected.collect::<Vec<_>>(), "page {page}");
    }
    for page in [4, i64::MAX] {
        let found = chat.page_from_newest(person(1), person(2), page, Some(10)).await.unwrap();
        assert!(numbers(&found).is_empty());
        let found = chat.page_from_oldest(person(1), person(2), page, Some(10)).await.unwrap();
        assert!(numbers(&found).is_empty());
    }
}

#[tokio::test]
async fn a_page_around_a_message_has_what_was_before_and_after() {
    let world = conversation_of(25).await;
    let all = world.app.chat.page(person(2), with(), None, None, None).await;
    assert!(matches!(all, Err(ChatError::ToOneself)));
    let named = ConversationRef::With(person(1));
    let all = world.app.chat.page(person(2), named, None, None, Some(200)).await.unwrap();
    let around =
        world.app.chat.around(person(1), with(), all.messages[11].message_id, Some(5)).await;
    assert_eq!(numbers(&around.unwrap()), [10, 11, 12, 13, 14]);
    let first = world.app.chat.around(person(1), with(), all.messages[0].message_id, Some(5)).await;
    assert_eq!(numbers(&first.unwrap()), [1, 2, 3, 4, 5]);
    let elsewhere = world.write(person(3), person(4), "x").await.message_id;
    let around = world.app.chat.around(person(1), with(), elsewhere, None).await;
    assert!(matches!(around, Err(ChatError::NoMessage)));
}

#[tokio::test]
async fn a_cursor_of_another_list_or_of_nobody_is_refused() {
    let world = conversation_of(1).await;
    let listed = world.app.chat.conversations(person(1), false, None, Some(1)).await.unwrap();
    let foreign = listed.next_cursor.unwrap();
    for cursor in [foreign.as_str(), "", "x", "🦀", "bQpu"] {
        let page = world.app.chat.page(person(1), with(), Some(cursor), None, None).await;
        assert_eq!(page.unwrap_err().reason(), Reason::InvalidCursor, "{cursor}");
    }
}

#[tokio::test]
async fn strangers_read_nothing_and_limits_are_kept() {
    let world = conversation_of(3).await;
    let conversation = crate::ids::ConversationId::direct(person(1), person(2));
    let named = ConversationRef::Id(conversation);
    let page = world.app.chat.page(person(3), named, None, None, None).await;
    assert_eq!(page.unwrap_err().reason(), Reason::NotAMember);
    let most = world.app.config.limits.page_max;
    for (wanted, given) in [(Some(0), 1), (Some(usize::MAX), most)] {
        let page = world.app.chat.page(person(1), named, None, None, wanted).await.unwrap();
        assert_eq!(page.limit, given);
    }
}
