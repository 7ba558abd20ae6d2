use std::time::Duration;

use crate::membership::ConversationRef;
use crate::testing::{World, person};

/// Time passes on both clocks: the rules' own, and the one that tasks sleep by.
async fn pass(world: &World, time: Duration) {
    world.clock.advance(time);
    tokio::time::sleep(time).await; // paces a paused clock
}

async fn two() -> (World, crate::testing::Client, ConversationRef) {
    let world = World::new(|_| {}).await;
    let other = world.connect(person(2)).await;
    tokio::time::pause();
    (world, other, ConversationRef::With(person(2)))
}

#[tokio::test]
async fn typing_ends_by_itself_after_six_seconds() {
    let (world, other, with) = two().await;
    world.app.chat.start_typing(person(1), with).await.unwrap();
    pass(&world, Duration::from_millis(5900)).await;
    assert_eq!(other.names(), ["typing:start"]);
    pass(&world, Duration::from_millis(200)).await;
    assert_eq!(other.names(), ["typing:stop"]);
    pass(&world, Duration::from_secs(20)).await;
    assert!(other.names().is_empty());
}

#[tokio::test]
async fn typing_on_lasts_six_seconds_from_the_last_start() {
    let (world, other, with) = two().await;
    for _ in 0..3 {
        world.app.chat.start_typing(person(1), with).await.unwrap();
        pass(&world, Duration::from_secs(4)).await;
    }
    assert_eq!(other.names(), ["typing:start"; 3]);
    pass(&world, Duration::from_secs(3)).await;
    assert_eq!(other.names(), ["typing:stop"]);
}

#[tokio::test]
async fn a_stop_ends_typing_once_and_a_message_ends_it_without_an_event() {
    let (world, other, with) = two().await;
    world.app.chat.start_typing(person(1), with).await.unwrap();
    world.app.chat.stop_typing(person(1), with).await.unwrap();
    pass(&world, Duration::from_secs(10)).await;
    assert_eq!(other.names(), ["typing:start", "typing:stop"]);

    world.app.chat.start_typing(person(1), with).await.unwrap();
    tokio::time::resume();
    world.write(person(1), person(2), "done").await;
    tokio::time::pause();
    pass(&world, Duration::from_secs(10)).await;
    assert_eq!(other.names(), ["typing:start", "message:received"]);
}

#[tokio::test]
async fn strangers_cannot_show_that_they_type() {
    let (world, other, _) = two().await;
    let theirs = ConversationRef::Id(crate::ids::ConversationId::direct(person(2), person(3)));
    assert!(world.app.chat.start_typing(person(1), theirs).await.is_err());
    assert!(
        world.app.chat.start_typing(person(2), ConversationRef::With(person(2))).await.is_err()
    );
    assert!(other.names().is_empty());
}
