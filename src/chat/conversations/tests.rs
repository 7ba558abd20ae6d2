use std::time::Duration;

use crate::error::{Failure as _, Reason};
use crate::ids::ConversationId;
use crate::membership::ConversationRef;
use crate::testing::{World, person};

#[tokio::test]
async fn conversations_are_listed_by_their_newest_message_page_by_page() {
    let world = World::new(|_| {}).await;
    for peer in [2, 3, 4, 5, 2] {
        world.clock.advance(Duration::from_secs(1));
        world.write(person(peer), person(1), &format!("from {peer}")).await;
    }
    let (mut peers, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let chat = &world.app.chat;
        let page = chat.conversations(person(1), false, cursor.as_deref(), Some(3)).await.unwrap();
        peers.extend(page.conversations.iter().map(|it| it.mongo_id.unwrap().value()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(peers, [2, 5, 4, 3]);
    let archived = world.app.chat.conversations(person(1), true, None, None).await.unwrap();
    assert!(archived.conversations.is_empty());
    let foreign = world.app.chat.conversations(person(1), false, Some("bQox"), None).await;
    assert_eq!(foreign.unwrap_err().reason(), Reason::InvalidCursor);
}

#[tokio::test]
async fn a_conversation_shows_its_member_what_waits() {
    let world = World::new(|_| {}).await;
    let id = world.write(person(2), person(1), "one").await.conversation_id;
    world.write(person(2), person(1), "two").await;
    let (chat, me) = (&world.app.chat, person(1));
    let shown = chat.conversation(me, id).await.unwrap();
    assert_eq!((shown.unread_count, shown.last_seq, shown.read_up_to_seq), (2, 2, 0));
    assert_eq!((shown.last_message.as_str(), shown.member_count), ("two", 2));
    assert_eq!(shown.other_user.unwrap().name.as_deref(), Some("Person 2"));
    assert_eq!(chat.unread(me).await.unwrap(), [(id, 2)]);
    chat.mark_read(me, ConversationRef::Id(id), None).await.unwrap();
    assert!(chat.unread(me).await.unwrap().is_empty());
}

#[tokio::test]
async fn strangers_and_conversations_that_have_not_begun_are_answered_alike() {
    let world = World::new(|_| {}).await;
    let theirs = world.write(person(2), person(3), "x").await.conversation_id;
    let unbegun = ConversationId::direct(person(1), person(4));
    for id in [theirs, unbegun, ConversationId::new(uuid::Uuid::new_v4())] {
        let refused = world.app.chat.conversation(person(1), id).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::NotAMember);
        assert_eq!(refused.to_string(), "You are not a member of this conversation");
    }
}
