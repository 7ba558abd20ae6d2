use serde_json::{Value, json};

use crate::chat::ChatError;
use crate::membership::ConversationRef;
use crate::testing::{Client, World, person};

/// The contents of messages in a `sync:batch`.
fn contents(batch: &Value) -> Vec<String> {
    let events = batch["events"].as_array().unwrap().iter();
    events.map(|event| event["payload"]["content"].as_str().unwrap_or_default().into()).collect()
}

async fn resume(world: &World, client: &Client, cursor: i64) -> Option<i64> {
    let (user, session) = (client.device.user, client.session.about.id);
    world.app.chat.send_batch(user, session, cursor).await.unwrap()
}

#[tokio::test]
async fn what_was_missed_comes_in_batches_each_after_the_acknowledgement_of_the_last() {
    let world = World::new(|_| {}).await;
    for n in 1..=250 {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    let client = world.open(person(2));
    let (mut cursor, mut missed) = (Some(0), Vec::new());
    let mut sizes = Vec::new();
    while let Some(from) = cursor {
        cursor = resume(&world, &client, from).await;
        let batch = client.named("sync:batch").pop().unwrap();
        sizes.push(batch["events"].as_array().unwrap().len());
        assert_eq!(batch["more"], json!(cursor.is_some()));
        missed.extend(contents(&batch));
    }
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(missed, (1..=250).map(|n| n.to_string()).collect::<Vec<_>>());
    world.write(person(1), person(2), "live").await;
    assert_eq!(client.names(), ["message:received"]);
}

#[tokio::test]
async fn what_comes_during_the_replay_comes_behind_it_and_once() {
    let world = World::new(|_| {}).await;
    for n in 1..=150 {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    let client = world.open(person(2));
    let next = resume(&world, &client, 0).await.unwrap();
    world.write(person(1), person(2), "meanwhile").await;
    assert_eq!(client.names(), ["sync:batch"], "live events wait for the replay");
    assert_eq!(resume(&world, &client, next).await, None);
    let batch = client.named("sync:batch").pop().unwrap();
    assert_eq!(contents(&batch).last().map(String::as_str), Some("meanwhile"));
    assert!(client.events().is_empty());
    let (head, resumes) = world.app.chat.sync_position(person(2), Some(151)).await.unwrap();
    assert_eq!((head, resumes), (151, true));
}

#[tokio::test]
async fn a_client_that_missed_too_much_or_names_a_foreign_cursor_reloads() {
    let world = World::new(|config| config.chat.sync_limit = 10).await;
    for n in 1..=11 {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    let chat = &world.app.chat;
    for (cursor, resumes) in [(0, false), (1, true), (11, true), (12, false), (-1, false)] {
        let position = chat.sync_position(person(2), Some(cursor)).await.unwrap();
        assert_eq!(position, (11, resumes), "{cursor}");
    }
    let client = world.open(person(2));
    chat.reset_to(person(2), client.session.about.id, 11);
    assert_eq!(client.named("sync:reset"), [json!({ "cursor": "11" })]);
    world.write(person(1), person(2), "live").await;
    assert_eq!(client.names(), ["message:received"]);
}

#[tokio::test]
async fn a_log_that_no_longer_reaches_back_is_said_by_a_reset() {
    let world = World::new(|_| {}).await;
    for n in 1..=20 {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    let (store, now) = (&world.app.store, world.clock.now());
    while store.retire(crate::clock::Timestamp(0), 5, crate::clock::Timestamp(0)).await.unwrap() {}
    let missed = world.app.chat.missed(person(2), 3, 100).await;
    assert!(matches!(missed, Err(ChatError::CursorTooOld)), "at {now}");
    let client = world.open(person(2));
    assert_eq!(resume(&world, &client, 3).await, None);
    assert_eq!(client.named("sync:reset"), [json!({ "cursor": "20" })]);
    world.write(person(1), person(2), "live").await;
    assert_eq!(client.names(), ["message:received"]);
}

#[tokio::test]
async fn a_replayed_read_mark_names_its_message() {
    let world = World::new(|_| {}).await;
    let read = world.write(person(1), person(2), "one").await.message_id;
    world.write(person(1), person(2), "two").await;
    let with = ConversationRef::With(person(1));
    world.app.chat.mark_read(person(2), with, Some(read)).await.unwrap();
    let missed = world.app.chat.missed(person(1), 2, 10).await.unwrap();
    let events = serde_json::to_value(missed.batch).unwrap()["events"].clone();
    assert_eq!(events[0]["event"], "message:read");
    assert_eq!(events[0]["payload"]["upTo"], json!(read));
}

#[tokio::test]
async fn a_client_without_a_cursor_gets_undelivered_messages_again_oldest_first() {
    let world = World::new(|config| config.chat.replay_limit = 3).await;
    for n in 1..=5 {
        world.write(person(1), person(2), &n.to_string()).await;
    }
    let client = world.open(person(2));
    let session = client.session.about.id;
    let (head, _) = world.app.chat.sync_position(person(2), None).await.unwrap();
    world.app.chat.replay_undelivered(person(2), session, head).await.unwrap();
    let received = client.named("message:received");
    let texts: Vec<_> = received.iter().map(|it| it["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["3", "4", "5"]);
    client.acknowledge();
    let (store, user) = (world.app.store.clone(), person(2));
    let mut left = usize::MAX;
    for _ in 0..10_000 {
        left = store.undelivered(user, 10).await.unwrap().len();
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "acknowledged messages count as delivered");
    world.write(person(1), person(2), "live").await;
    assert_eq!(client.names(), ["message:received"]);
}
