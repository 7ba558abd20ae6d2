use serde_json::json;

use super::newest;
use crate::chat::ChatError;
use crate::delivery::{Position, Receipt};
use crate::ids::ConversationId;
use crate::membership::ConversationRef;
use crate::testing::{World, person};

#[tokio::test]
async fn reading_is_seen_on_all_devices_of_both() {
    let world = World::new(|_| {}).await;
    let writer = [world.connect(person(1)).await, world.connect(person(1)).await];
    let reader = [world.connect(person(2)).await, world.connect(person(2)).await];
    world.write(person(1), person(2), "one").await;
    let last = world.write(person(1), person(2), "two").await;
    writer.iter().chain(&reader).for_each(|device| drop(device.events()));

    let with = ConversationRef::With(person(1));
    let mark = world.app.chat.mark_read(person(2), with, None).await.unwrap();
    assert_eq!((mark.up_to, mark.unread, mark.moved), (2, 0, true));
    for device in &writer {
        let read = device.named("message:read").pop().unwrap();
        assert_eq!((&read["upTo"], &read["upToSeq"]), (&json!(last.message_id), &json!(2)));
        assert_eq!(read["byUserId"], json!(2));
    }
    for device in &reader {
        let events = device.events();
        let names: Vec<_> = events.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["message:markedRead", "message:marked-read"]);
        assert_eq!(
            (&events[0].1["withUserId"], &events[0].1["unreadCount"]),
            (&json!(1), &json!(0))
        );
    }
    let mark = world.app.chat.mark_read(person(2), with, None).await.unwrap();
    assert!(!mark.moved);
    assert!(writer.iter().chain(&reader).all(|device| device.events().is_empty()));
}

#[tokio::test]
async fn a_read_mark_moves_up_to_a_message_and_never_back() {
    let world = World::new(|_| {}).await;
    let (mut ids, with) = (Vec::new(), ConversationRef::With(person(1)));
    for text in ["one", "two", "three"] {
        ids.push(world.write(person(1), person(2), text).await.message_id);
    }
    let read = |id| world.app.chat.mark_read(person(2), with, Some(id));
    let mark = read(ids[1]).await.unwrap();
    assert_eq!((mark.up_to, mark.unread, mark.moved), (2, 1, true));
    let mark = read(ids[0]).await.unwrap();
    assert_eq!((mark.up_to, mark.unread, mark.moved), (2, 1, false));
    let elsewhere = world.write(person(3), person(2), "other").await.message_id;
    assert!(matches!(read(elsewhere).await, Err(ChatError::NoMessage)));
    let unbegun = ConversationRef::With(person(4));
    let mark = world.app.chat.mark_read(person(2), unbegun, None).await.unwrap();
    assert_eq!((mark.up_to, mark.moved), (0, false), "nothing to mark is no error");
}

#[tokio::test]
async fn the_acknowledgement_of_a_device_is_delivery_to_the_person() {
    let world = World::new(|_| {}).await;
    let (writer, reader) = (world.connect(person(1)).await, world.connect(person(2)).await);
    for text in ["one", "two", "three"] {
        world.write(person(1), person(2), text).await;
    }
    writer.events();
    reader.acknowledge();
    let mut seen = Vec::new();
    world
        .until(|| {
            seen.extend(writer.named("message:delivered"));
            seen.iter().any(|delivered| delivered["upToSeq"] == json!(3))
        })
        .await;
    assert_eq!(seen.last().unwrap()["byUserId"], json!(2));
    assert!(reader.named("message:delivered").is_empty(), "it is news for the writer");
}

#[tokio::test]
async fn of_reported_messages_those_of_others_to_oneself_count() {
    let world = World::new(|_| {}).await;
    let first = world.write(person(1), person(2), "to me").await.message_id;
    let second = world.write(person(1), person(2), "to me, too").await.message_id;
    let own = world.write(person(2), person(1), "mine").await.message_id;
    let private = world.write(person(3), person(4), "not for me").await.message_id;
    let nothing = crate::ids::MessageId::new(uuid::Uuid::new_v4());
    let writer = world.connect(person(1)).await;
    writer.session.release(3);
    let ids = vec![second, first, own, private, nothing];
    let count = world.app.chat.delivered_ids(person(2), ids).await.unwrap();
    assert_eq!(count, 2);
    let delivered = writer.named("message:delivered");
    assert_eq!(delivered.len(), 1, "one mark a conversation");
    assert_eq!(delivered[0]["upToSeq"], json!(2));
}

#[tokio::test]
async fn a_message_has_receipts_for_the_members_of_its_conversation_only() {
    let world = World::new(|_| {}).await;
    let message = world.write(person(1), person(2), "hello").await;
    let (id, chat) = (message.message_id, &world.app.chat);
    let receipt = chat.receipts(person(1), id).await.unwrap().pop().unwrap();
    assert_eq!((receipt.user_id, receipt.delivered_at, receipt.read_at), (person(2), None, None));

    world.clock.advance(std::time::Duration::from_secs(1));
    let delivered = Some(world.clock.now());
    chat.delivered(person(2), message.conversation_id, 1).await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(1));
    let read = Some(world.clock.now());
    chat.mark_read(person(2), ConversationRef::With(person(1)), None).await.unwrap();
    for reader in [1, 2] {
        let receipts = chat.receipts(person(reader), id).await.unwrap();
        assert_eq!(receipts.len(), 1);
        assert_eq!((receipts[0].delivered_at, receipts[0].read_at), (delivered, read));
    }
    assert!(matches!(chat.receipts(person(3), id).await, Err(ChatError::NoMessage)));
    let later = world.write(person(1), person(2), "later").await.message_id;
    assert_eq!(chat.receipts(person(1), later).await.unwrap()[0].read_at, None);
}

#[test]
fn of_many_receipts_the_newest_of_each_conversation_is_kept() {
    let receipt = |user, other, seq| {
        let conversation = ConversationId::direct(person(user), person(other));
        Receipt { user: person(user), position: Position { conversation, seq } }
    };
    let receipts = [receipt(1, 2, 3), receipt(1, 2, 5), receipt(1, 2, 4), receipt(2, 1, 1)];
    let kept: Vec<_> = newest(receipts.into_iter()).into_iter().collect();
    let conversation = ConversationId::direct(person(1), person(2));
    assert_eq!(kept, [((person(1), conversation), 5), ((person(2), conversation), 1)]);
}
