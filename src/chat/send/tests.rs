use serde_json::{Value, json};

use super::{SendMessage, Sent};
use crate::chat::ChatError;
use crate::error::{Failure as _, Reason};
use crate::membership::ConversationRef;
use crate::testing::{World, person};

async fn send(world: &World, from: i64, message: Value) -> Result<Sent, ChatError> {
    let message: SendMessage = serde_json::from_value(message).unwrap();
    world.app.chat.send(person(from), message).await
}

/// Why a message was refused, and which member of it was wrong.
async fn refused(world: &World, message: Value) -> (Reason, Value) {
    let error = send(world, 1, message).await.unwrap_err();
    let field = error.details().map_or(Value::Null, |details| details["field"].clone());
    (error.reason(), field)
}

#[tokio::test]
async fn a_message_reaches_every_device_of_both_and_the_rest_nobody() {
    let world = World::new(|_| {}).await;
    let (phone, tablet) = (world.connect(person(1)).await, world.connect(person(1)).await);
    let (laptop, watch) = (world.connect(person(2)).await, world.connect(person(2)).await);
    let stranger = world.connect(person(3)).await;
    let sent = send(&world, 1, json!({ "toUserId": 2, "content": "hello", "clientId": "a" })).await;
    let message = sent.unwrap().message;
    assert_eq!((message.seq, message.client_id.as_deref()), (1, Some("a")));
    for device in [phone, tablet] {
        let events = device.events();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].0, &events[0].1["content"]), ("message:sent", &json!("hello")));
    }
    for device in [laptop, watch] {
        let (name, payload) = device.events().pop().unwrap();
        assert_eq!((name, &payload["messageId"]), ("message:received", &json!(message.message_id)));
        assert_eq!((&payload["cursor"], &payload["isRead"]), (&json!("1"), &json!(false)));
    }
    assert!(stranger.events().is_empty());
}

#[tokio::test]
async fn both_may_write_first_and_the_numbers_have_no_gap() {
    let world = World::new(|_| {}).await;
    let seqs = futures_util::future::join_all((0..20).map(|n| {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        let world = &world;
        async move { world.write(person(from), person(to), "x").await.seq }
    }));
    let mut seqs = seqs.await;
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_client_id_gives_the_first_message_back_and_announces_nothing() {
    let world = World::new(|_| {}).await;
    let device = world.connect(person(2)).await;
    let message = json!({ "toUserId": 2, "content": "once", "clientId": "a" });
    let first = send(&world, 1, message.clone()).await.unwrap();
    let repeats = (0..10).map(|_| send(&world, 1, message.clone()));
    for repeat in futures_util::future::join_all(repeats).await {
        let repeat = repeat.unwrap();
        assert!(repeat.duplicate);
        assert_eq!(repeat.message.message_id, first.message.message_id);
    }
    assert_eq!(device.named("message:received").len(), 1);
    let other = json!({ "toUserId": 2, "content": "twice", "clientId": "a" });
    assert_eq!(refused(&world, other).await.0, Reason::ClientIdConflict);
    let another = send(&world, 3, json!({ "toUserId": 2, "content": "x", "clientId": "a" })).await;
    assert!(!another.unwrap().duplicate, "another sender has ids of their own");
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_named() {
    let world = World::new(|config| {
        config.limits.content_chars = 10;
        config.limits.content_bytes = 20;
    })
    .await;
    let invalid = Reason::InvalidData;
    for (message, reason, field) in [
        (json!({ "content": "x" }), invalid, "toUserId"),
        (json!({ "toUserId": 2 }), invalid, "content"),
        (json!({ "toUserId": 2, "content": "" }), invalid, "content"),
        (json!({ "toUserId": 1, "content": "x" }), invalid, "toUserId"),
        (json!({ "toUserId": 2, "content": "x", "messageType": "call" }), invalid, "messageType"),
        (json!({ "toUserId": 2, "content": "x", "mentions": vec![3; 101] }), invalid, "mentions"),
        (json!({ "toUserId": 2, "content": "x".repeat(11) }), Reason::ContentTooLong, "content"),
        (json!({ "toUserId": 2, "content": "ü".repeat(11) }), Reason::ContentTooLong, "content"),
    ] {
        assert_eq!(refused(&world, message.clone()).await, (reason, json!(field)), "{message}");
    }
    assert!(send(&world, 1, json!({ "toUserId": 2, "content": "ü".repeat(10) })).await.is_ok());
}

#[tokio::test]
async fn ids_that_are_none_are_named_by_their_member() {
    for (message, field) in [
        (json!({ "toUserId": "x", "content": "x" }), "toUserId"),
        (json!({ "toUserId": -1, "content": "x" }), "toUserId"),
        (json!({ "conversationId": 7, "content": "x" }), "conversationId"),
        (json!({ "toUserId": 2, "content": "x", "replyTo": "" }), "replyTo"),
        (json!({ "toUserId": 2, "content": "x", "mentions": [0] }), "mentions[0]"),
        (json!({ "toUserId": 2, "content": ["x"] }), "content"),
        (json!({ "toUserId": 2, "content": "x", "clientId": "x".repeat(65) }), "clientId"),
    ] {
        let error = serde_path_to_error::deserialize::<_, SendMessage>(&message).unwrap_err();
        assert_eq!(error.path().to_string(), field, "{message}");
    }
}

#[tokio::test]
async fn members_of_the_contract_that_are_not_supported_are_refused_by_name() {
    let world = World::new(|_| {}).await;
    for (member, value) in [
        ("ephemeralSeconds", json!(60)),
        ("attachments", json!(["a"])),
        ("attachments", json!("a")),
        ("attachments", json!({})),
    ] {
        let message = json!({ "toUserId": 2, "content": "x", member: value });
        assert_eq!(refused(&world, message).await, (Reason::InvalidData, json!(member)));
    }
    for nothing in [json!(null), json!([])] {
        let message = json!({ "toUserId": 2, "content": "x", "attachments": nothing });
        assert!(send(&world, 1, message).await.is_ok());
    }
}

#[tokio::test]
async fn a_reply_is_to_a_message_of_the_same_conversation() {
    let world = World::new(|_| {}).await;
    let here = send(&world, 1, json!({ "toUserId": 2, "content": "hello" })).await.unwrap();
    let elsewhere = send(&world, 3, json!({ "toUserId": 2, "content": "hello" })).await.unwrap();
    let reply =
        |to: &Sent| json!({ "toUserId": 1, "content": "hi", "replyTo": to.message.message_id });
    let sent = send(&world, 2, reply(&here)).await.unwrap();
    assert_eq!(sent.message.reply_to, Some(here.message.message_id));
    assert!(matches!(send(&world, 2, reply(&elsewhere)).await, Err(ChatError::ReplyTo)));
    let nowhere = json!({ "toUserId": 1, "content": "hi", "replyTo": uuid::Uuid::new_v4() });
    assert!(matches!(send(&world, 2, nowhere).await, Err(ChatError::ReplyTo)));
}

#[tokio::test]
async fn a_conversation_of_others_and_one_that_does_not_exist_look_the_same() {
    let world = World::new(|_| {}).await;
    let theirs = world.write(person(2), person(3), "private").await.conversation_id;
    for id in [json!(theirs), json!(uuid::Uuid::new_v4())] {
        let refusal = refused(&world, json!({ "conversationId": id, "content": "x" })).await;
        assert_eq!(refusal, (Reason::NotAMember, Value::Null));
    }
    let nobody = json!({ "toUserId": 4711, "content": "x" });
    assert_eq!(refused(&world, nobody).await.0, Reason::UnknownUser);
}

#[tokio::test]
async fn nothing_can_be_written_to_an_erased_account_and_what_was_written_stays() {
    let world = World::new(|_| {}).await;
    let kept = world.write(person(1), person(2), "before").await;
    world.app.store.erase_user(person(2), world.clock.now(), Vec::new()).await.unwrap();
    for to in [json!({ "toUserId": 2 }), json!({ "conversationId": kept.conversation_id })] {
        let mut message = to;
        message["content"] = json!("after");
        assert_eq!(refused(&world, message).await.0, Reason::UnknownUser);
    }
    let first = json!({ "toUserId": 2, "content": "a first message" });
    assert_eq!(send(&world, 3, first).await.unwrap_err().reason(), Reason::UnknownUser);
    let named = ConversationRef::With(person(2));
    let page = world.app.chat.page(person(1), named, None, None, None).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(page.messages[0].content, "before");
}

#[tokio::test]
async fn a_message_to_a_disabled_account_waits_for_it() {
    let world = World::new(|_| {}).await;
    world.app.people.set_disabled(person(2), true).await.unwrap();
    world.write(person(1), person(2), "until you are back").await;
    let unread = world.app.chat.unread(person(2)).await.unwrap();
    assert_eq!(unread.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1]);
}
