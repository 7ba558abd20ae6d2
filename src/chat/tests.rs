//! What a message may ask for, over a store in memory.

use serde_json::{Value, json};

use super::{ChatError, SendMessage, Sent};
use crate::testing::{World, person};

async fn send(world: &World, from: i64, message: Value) -> Result<Sent, ChatError> {
    let letter: SendMessage = serde_json::from_value(message).unwrap();
    world.app.chat.send(person(from), letter.draft()?).await
}

#[tokio::test]
async fn what_is_not_done_yet_is_refused_by_its_name() {
    let world = World::new(|_| {}).await;
    for (member, value) in [("ephemeralSeconds", json!(60)), ("attachments", json!(["a"]))] {
        let refused =
            send(&world, 1, json!({ "toUserId": 2, "content": "x", member: value })).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(member), "{error}");
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
    assert!(send(&world, 2, reply(&here)).await.is_ok());
    assert!(matches!(send(&world, 2, reply(&elsewhere)).await, Err(ChatError::ReplyTo)));
    let nowhere = json!({ "toUserId": 1, "content": "hi", "replyTo": uuid::Uuid::new_v4() });
    assert!(matches!(send(&world, 2, nowhere).await, Err(ChatError::ReplyTo)));
}
