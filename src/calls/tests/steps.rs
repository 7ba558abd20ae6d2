//! Single steps of a call: what it pushes, what it leaves, and what it refuses.

use futures_util::future::join_all;
use serde_json::{Value, json};
use switchboard_media::{PeerKey, RoomKey, TrackKey};

use super::{SECOND, answer, world};
use crate::calls::command::Command;
use crate::calls::effect::{Connected, Effect, Keys, Step};
use crate::calls::{CallError, End, HistoryQuery, Signal};
use crate::error::{Failure as _, Reason};
use crate::event::{CallStatus, CallType, SignalKind};
use crate::fact::FactKind;
use crate::ids::{FactId, MessageId};
use crate::testing::{person, voice};

/// Names that are always the same: a machine needs no server.
struct Fixed;

impl Keys for Fixed {
    fn room(&self) -> RoomKey {
        RoomKey(1)
    }

    fn peer(&self) -> PeerKey {
        PeerKey(1)
    }

    fn track(&self) -> TrackKey {
        TrackKey(1)
    }

    fn message(&self) -> MessageId {
        MessageId::new(uuid::Uuid::nil())
    }

    fn fact(&self) -> FactId {
        FactId::new(uuid::Uuid::nil())
    }
}

#[tokio::test]
async fn a_write_comes_before_whatever_is_announced() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let id = world.call(&ada, 2).await;
    let record = world.app.store.call(id).await.unwrap().unwrap();
    let rules = world.app.calls.rules.clone();
    let (connected, now) = (Connected::default(), world.clock.now());
    let commands = [
        Command::ShowOn(ben.device.clone()),
        Command::Respond(ben.device.clone(), answer(id, true)),
        Command::Change(person(1), CallType::Video),
        Command::Gather,
        Command::End(person(2), End::of(id)),
    ];
    let mut call = crate::calls::call::Call::stored(rules, record);
    for command in commands {
        let named = format!("{command:?}");
        let mut step = Step::new(now, &connected, &Fixed);
        call.handle(command, &mut step).unwrap();
        assert!(matches!(step.effects.first(), Some(Effect::Persist(_))), "{named}");
        let writes = step.effects.iter().filter(|it| matches!(it, Effect::Persist(_))).count();
        assert_eq!(writes, 1, "{named}");
    }
}

#[tokio::test]
async fn a_call_leaves_its_facts_in_their_order() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    world.app.calls.shown_on(&ben.device, call).await.unwrap();
    world.accept(&ben, call).await;
    world.app.calls.add(&ada.device, call, &[person(3)]).await.unwrap();
    world.wait(3 * SECOND).await;
    world.app.calls.end(person(2), End::of(call)).await.unwrap();
    let rejected = world.call(&ben, 1).await;
    world.app.calls.respond(&ada.device, answer(rejected, false)).await.unwrap();

    let facts = world.app.store.facts_after(0, 100).await.unwrap().facts;
    let of = |id| {
        let facts = facts.iter().filter(move |it| it.fact.call == Some(id));
        facts.map(|it| it.fact.clone()).collect::<Vec<_>>()
    };
    let kinds = |id| of(id).iter().map(|fact| fact.kind).collect::<Vec<_>>();
    assert_eq!(
        kinds(call),
        [
            FactKind::CallInitiated,
            FactKind::CallRinging,
            FactKind::CallAnswered,
            FactKind::CallMediaPath,
            FactKind::CallEnded
        ]
    );
    let ended = of(call).pop().unwrap();
    assert_eq!((ended.user, &ended.data["reason"]), (Some(person(2)), &json!("hangup")));
    assert_eq!(ended.data["duration"], json!(3));
    assert_eq!(
        kinds(rejected),
        [FactKind::CallInitiated, FactKind::CallRejected, FactKind::CallEnded]
    );
}

#[tokio::test]
async fn more_commands_than_may_wait_are_refused_and_the_call_goes_on() {
    let world = world().await;
    let (ada, ben) = (world.connect(person(1)).await, world.connect(person(2)).await);
    let call = world.call(&ada, 2).await;
    let signals = (0..100).map(|_| {
        let (kind, payload) = (SignalKind::IceCandidate, Value::Null);
        let signal = Signal { call, to: None, kind, payload, ice_restart: None };
        world.app.calls.signal(&ada.device, signal)
    });
    // All are sent before the call gets a turn.
    let outcomes = join_all(signals).await;
    let busy = outcomes.iter().filter_map(|it| it.as_ref().err());
    let busy: Vec<Reason> = busy.map(CallError::reason).collect();
    assert!(!busy.is_empty() && busy.iter().all(|it| *it == Reason::CallBusy), "{busy:?}");
    world.accept(&ben, call).await;
    assert_eq!(world.status(&ada).await.0, CallStatus::Accepted);
}

#[tokio::test]
async fn the_same_request_gives_the_same_call_and_another_one_waits_for_its_end() {
    let world = world().await;
    let ada = world.connect(person(1)).await;
    let _ben = world.connect(person(2)).await;
    let request = || crate::calls::CallRequest {
        client_id: Some(serde_json::from_value(json!("once")).unwrap()),
        ..voice(&[person(2)])
    };
    let (first, _) = world.app.calls.start(&ada.device, request()).await.unwrap();
    let (again, _) = world.app.calls.start(&ada.device, request()).await.unwrap();
    assert_eq!(first.call_id, again.call_id);
    let other = world.app.calls.start(&ada.device, voice(&[person(3)])).await;
    assert!(matches!(other, Err(CallError::InProgress(call)) if call == first.call_id));
    world.app.calls.end(person(1), End::of(first.call_id)).await.unwrap();
    // The key still names the call that is over, and nothing is left in the way.
    let (over, _) = world.app.calls.start(&ada.device, request()).await.unwrap();
    assert_eq!((over.call_id, over.status), (first.call_id, CallStatus::Ended));
    assert_eq!(world.app.calls.stats().active, 0);
    world.call(&ada, 3).await;
    let history = world.app.calls.history(person(1), HistoryQuery::default()).await.unwrap();
    assert_eq!(history.calls.len(), 2);
}
