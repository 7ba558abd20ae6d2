//! Whole calls between connected people, over a store in memory and with a clock that stands still.

mod model;
mod steps;
mod storms;

use std::time::Duration;

use super::{End, HistoryQuery, Respond};
use crate::event::{CallStatus, EndReason};
use crate::ids::{CallId, UserId};
use crate::testing::{Client, World, person, voice};

const SECOND: Duration = Duration::from_secs(1);

async fn world() -> World {
    World::new(|config| {
        config.call.ring_timeout = 20;
        config.call.reconnect_window = 4;
    })
    .await
}

fn answer(call: CallId, accept: bool) -> Respond {
    Respond { call, accept, busy: false, to: None, hold_other: false }
}

impl World {
    async fn call(&self, from: &Client, to: i64) -> CallId {
        self.app.start_call(&from.device, voice(&[person(to)]), false).await.unwrap().0.call_id
    }

    async fn accept(&self, by: &Client, call: CallId) {
        self.app.calls.respond(&by.device, answer(call, true)).await.unwrap();
    }

    fn in_call(&self, user: UserId) -> bool {
        self.app.calls.means.in_call.contains(user)
    }

    async fn status(&self, client: &Client) -> (CallStatus, Option<EndReason>, i64) {
        let me = client.device.user;
        let history = self.app.calls.history(me, HistoryQuery::default()).await.unwrap();
        let newest = history.calls.first().unwrap();
        (newest.status, newest.end_reason, newest.duration)
    }
}

#[tokio::test]
async fn a_rejection_is_stored_and_the_line_free_before_anybody_is_notified() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    world.app.calls.respond(&ben.device, answer(call, false)).await.unwrap();
    let names = ada.names();
    let at = |name| names.iter().position(|sent| *sent == name).expect(name);
    assert!(at("call:response") < at("call:ended"), "{names:?}");
    assert_eq!(world.status(&ada).await.0, CallStatus::Rejected);
    assert_eq!(ada.names(), [""; 0]);

    // What the caller does on `call:response` finds the call over.
    ben.events();
    world.call(&ada, 2).await;
    assert_eq!(ben.names(), ["call:incoming"]);
}

#[tokio::test]
async fn ringing_ends_with_a_caller_who_does_not_come_back() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    world.call(&ada, 2).await;
    world.disconnect(&ada).await;
    ben.events();
    world.wait(3 * SECOND).await;
    assert_eq!(ben.names(), [""; 0], "the caller may come back");
    world.wait(SECOND).await;
    let names = ben.names();
    assert!(names.contains(&"call:ended") && names.contains(&"call:missed"), "{names:?}");
    assert_eq!(world.status(&ben).await.1, Some(EndReason::Network));
}

#[tokio::test]
async fn a_caller_who_comes_back_in_time_goes_on_ringing() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    world.disconnect(&ada).await;
    world.wait(2 * SECOND).await;
    let ada = world.connect(person(1)).await;
    world.app.calls.rejoin(person(1), ada.session.about.id, call).await.unwrap();
    ben.events();
    world.wait(10 * SECOND).await;
    assert_eq!(ben.names(), [""; 0], "neither reconnected, which it never was, nor ended");
    world.accept(&ben, call).await;
    assert!(!ben.names().contains(&"call:reconnecting"));
}

#[tokio::test]
async fn who_answers_a_caller_who_is_away_is_notified_at_once() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    // Another device of the caller is not in the call.
    let _phone = world.connect(person(1)).await;
    world.disconnect(&ada).await;
    world.wait(2 * SECOND).await;
    ben.events();
    world.accept(&ben, call).await;
    assert!(ben.names().contains(&"call:reconnecting"));
    world.wait(3 * SECOND).await;
    assert_eq!(ben.names(), [""; 0], "the window begins with the answer");
    world.wait(SECOND).await;
    assert_eq!(world.status(&ben).await, (CallStatus::Ended, Some(EndReason::Network), 0));
}

#[tokio::test]
async fn a_call_that_ends_by_loss_has_the_length_of_the_talk() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    world.accept(&ben, call).await;
    world.wait(3 * SECOND).await;
    world.disconnect(&ada).await;
    world.wait(SECOND).await;
    world.disconnect(&ben).await;
    world.wait(4 * SECOND).await;
    assert_eq!(world.status(&ada).await, (CallStatus::Ended, Some(EndReason::Network), 3));
}

#[tokio::test]
async fn who_hangs_up_after_adding_somebody_is_free_and_the_ringing_ends() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let cleo = world.connect(person(3)).await;
    let call = world.call(&ada, 2).await;
    world.accept(&ben, call).await;
    world.app.calls.add(&ada.device, call, &[person(3)]).await.unwrap();
    assert!(cleo.names().contains(&"call:incoming"));
    world.app.calls.end(person(1), End::of(call)).await.unwrap();
    let names = cleo.names();
    assert!(names.contains(&"call:cancelled"), "{names:?}");
    assert!(world.app.calls.active(person(1)).await.unwrap().is_empty());
    ben.events();
    world.call(&ada, 2).await;
    assert_eq!(ben.names(), ["call:incoming"]);
}

#[tokio::test]
async fn who_takes_back_the_call_to_one_of_several_goes_on_ringing_the_others() {
    let world = world().await;
    let ada = world.connect(person(1)).await;
    let (ben, cleo) = (world.connect(person(2)).await, world.connect(person(3)).await);
    let order = voice(&[person(2), person(3)]);
    let (_, calls) = world.app.start_call(&ada.device, order, false).await.unwrap();
    let to_ben = calls.unwrap().into_iter().find(|call| call.to_user_id == Some(person(2)));
    ben.events();
    cleo.events();
    world.app.calls.end(person(1), End::of(to_ben.unwrap().call_id)).await.unwrap();
    assert!(ben.names().contains(&"call:cancelled"));
    assert_eq!(cleo.names(), [""; 0]);
}

#[tokio::test]
async fn a_call_of_several_has_its_room_however_it_is_begun() {
    let world = world().await;
    let ada = world.connect(person(1)).await;
    let _others = (world.connect(person(2)).await, world.connect(person(3)).await);
    let by_rest = crate::calls::Device { session: None, ..ada.device.clone() };
    let order = voice(&[person(2), person(3)]);
    let (call, calls) = world.app.start_call(&by_rest, order, false).await.unwrap();
    assert_eq!(calls.map(|calls| calls.len()), Some(2));
    let (room, _) = world.app.calls.meeting(person(1), call.call_id).await.unwrap();
    assert!(world.app.rooms.room(&room, None).await.is_ok());
}
