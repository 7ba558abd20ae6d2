use serde_json::{Value, json};

use super::*;
use crate::ids::UserId;
use crate::testing::{World, person};

async fn connection(world: &World, guest: bool) -> (Arc<Connection>, crate::testing::Client) {
    let user = if guest { UserId::guest(7) } else { person(1) };
    let client = if guest { world.open(user) } else { world.connect(user).await };
    let token = guest.then(|| ("token".to_owned(), "Guest".to_owned()));
    let session = client.session.clone();
    (Arc::new(Connection::new(world.app.clone(), session, token)), client)
}

async fn ask(connection: &Arc<Connection>, name: &str, payload: Value) -> Result<Value, Problem> {
    let answer = connection.answer(Asked::event(name, &payload)).await?;
    Ok(serde_json::from_str(answer.get()).unwrap())
}

fn message(text: &str) -> Value {
    json!({ "toUserId": 2, "content": text })
}

#[tokio::test]
async fn an_event_is_answered_after_five_seconds_and_takes_effect_all_the_same() {
    let world = World::new(|_| {}).await;
    let (connection, client) = connection(&world, false).await;
    let turn = connection.sending.lock().await;
    tokio::time::pause();
    let mut answer = Box::pin(ask(&connection, "message:send", message("x")));
    let early = tokio::time::timeout(Duration::from_millis(4900), &mut answer).await;
    assert!(early.is_err(), "it has five seconds");
    let late = tokio::time::timeout(Duration::from_millis(200), &mut answer).await;
    let problem = late.expect("an answer within the deadline").unwrap_err();
    assert_eq!(problem.reason, Reason::Unavailable);
    assert!(problem.message.contains("may still take effect"), "{}", problem.message);
    tokio::time::resume();
    drop(turn);
    world.until(|| !client.named("message:sent").is_empty()).await;
}

#[tokio::test]
async fn messages_of_a_connection_are_stored_in_their_order() {
    let world = World::new(|_| {}).await;
    let (connection, client) = connection(&world, false).await;
    let first = world.write(person(2), person(1), "hello").await;
    client.events();
    let mut handling = Vec::new();
    for n in 0..30 {
        let mut payload = message(&n.to_string());
        // A reply is looked up first, which must not let later messages pass.
        if n % 3 == 0 {
            payload["replyTo"] = json!(first.message_id);
        }
        let connection = connection.clone();
        let mut event =
            Box::pin(async move { ask(&connection, "message:send", payload).await.unwrap() });
        if futures_util::poll!(&mut event).is_pending() {
            handling.push(tokio::spawn(event));
        }
    }
    for event in handling {
        event.await.unwrap();
    }
    let sent = client.named("message:sent");
    let texts: Vec<_> = sent.iter().map(|it| it["content"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_named() {
    let world = World::new(|_| {}).await;
    let (connection, _client) = connection(&world, false).await;
    for (name, payload, field) in [
        ("message:send", json!({ "toUserId": "x", "content": "x" }), "toUserId"),
        ("message:send", json!({ "toUserId": 2 }), "content"),
        (
            "message:send",
            json!({ "toUserId": 2, "content": "x", "ephemeralSeconds": 5 }),
            "ephemeralSeconds",
        ),
        ("message:markRead", json!({}), "withUserId"),
        ("message:markRead", json!({ "withUserId": 2, "upTo": "7" }), "upTo"),
        ("message:history", json!({ "conversationId": 7 }), "conversationId"),
        ("message:delivered", json!({ "messageIds": [] }), "messageIds"),
        ("message:delivered", json!({ "messageIds": ["x"] }), "messageIds[0]"),
        ("typing:start", json!({}), "toUserId"),
        ("presence:subscribe", json!({ "userIds": vec![2; 501] }), "userIds"),
        ("presence:set", json!({ "presence": "gone" }), "presence"),
        (
            "presence:set",
            json!({ "presence": "auto", "statusText": "x".repeat(141) }),
            "statusText",
        ),
        ("message:nothing", json!({}), "event"),
    ] {
        let problem = ask(&connection, name, payload.clone()).await.unwrap_err();
        let named = problem.details.as_ref().map(|details| details["field"].clone());
        assert_eq!(problem.reason, Reason::InvalidData, "{name} {payload}");
        assert_eq!(named, Some(json!(field)), "{name} {payload}");
    }
    for cursor in [json!("x"), json!(-1), json!({}), json!(1.5)] {
        let problem = ask(&connection, "sync:pull", json!({ "cursor": cursor })).await.unwrap_err();
        assert_eq!(problem.reason, Reason::InvalidCursor);
    }
}

#[tokio::test]
async fn a_guest_of_a_room_has_the_events_of_rooms_and_no_others() {
    let world = World::new(|_| {}).await;
    let (connection, _client) = connection(&world, true).await;
    for (name, payload) in [
        ("message:send", message("x")),
        ("message:history", json!({ "withUserId": 2 })),
        ("presence:subscribe", json!({ "userIds": [2] })),
        ("sync:pull", json!({ "cursor": "0" })),
        ("call:initiate", json!({ "toUserId": 2 })),
    ] {
        let problem = ask(&connection, name, payload).await.unwrap_err();
        assert_eq!(problem.reason, Reason::Forbidden, "{name}");
    }
    let problem =
        ask(&connection, "room:leave", json!({ "sessionId": uuid::Uuid::new_v4() })).await;
    assert_ne!(problem.unwrap_err().reason, Reason::Forbidden);
}
