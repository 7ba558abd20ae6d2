//! Calls.

use super::{S, at, call, missed, people, text, user};

use switchboard::event::{CallStatus, MessageType};
use switchboard::store::{CallEnd, CallHistory, CallRecord, NewMessage, StoreError};

pub(crate) async fn a_call_moves_only_from_the_revision_it_was_at(store: S) {
    people(&store, [1, 2]).await;
    let made = store
        .create_call(CallRecord { client_id: Some("c".into()), ..call(1, 2, 0) }, vec![])
        .await
        .unwrap();
    let repeat = store
        .create_call(CallRecord { client_id: Some("c".into()), ..call(1, 2, 9) }, vec![])
        .await
        .unwrap();
    assert_eq!(repeat, made);
    let ringing = CallRecord { status: CallStatus::Ringing, rev: 2, ..made.clone() };
    store.save_call(ringing.clone(), 1, vec![]).await.unwrap();
    assert_eq!(
        store.save_call(ringing.clone(), 1, vec![]).await,
        Err(StoreError::Stale { current: 2 })
    );
    assert_eq!(store.save_call(call(1, 2, 0), 1, vec![]).await, Err(StoreError::NotFound));
    assert_eq!(store.live_calls().await.unwrap(), std::slice::from_ref(&ringing));
    store.finish_call(missed(&ringing)).await.unwrap();
    assert!(store.live_calls().await.unwrap().is_empty());
}

pub(crate) async fn a_missed_call_is_listed_until_acknowledged(store: S) {
    people(&store, [1, 2]).await;
    let made = store.create_call(call(1, 2, 0), vec![]).await.unwrap();
    let entry = NewMessage { kind: MessageType::Call, ..text(1, 2, "Missed voice call", 45_000) };
    let finished =
        store.finish_call(CallEnd { entry: Some(entry), ..missed(&made) }).await.unwrap();
    assert_eq!(finished.missed_cursor, Some(1));
    assert_eq!(finished.entry.unwrap().cursors, [(user(1), 1), (user(2), 2)]);
    let waiting = store.missed_calls(user(2), at(-1), 10).await.unwrap();
    assert_eq!(waiting.iter().map(|call| call.id).collect::<Vec<_>>(), [made.id]);
    assert!(store.missed_calls(user(2), at(1), 10).await.unwrap().is_empty());
    store.ack_missed(user(1), vec![made.id]).await.unwrap();
    assert_eq!(
        store.missed_calls(user(2), at(-1), 10).await.unwrap().len(),
        1,
        "only the one who missed it"
    );
    store.ack_missed(user(2), vec![made.id]).await.unwrap();
    assert!(store.missed_calls(user(2), at(-1), 10).await.unwrap().is_empty());
}

pub(crate) async fn call_history_filters_and_pages(store: S) {
    people(&store, [1, 2, 3]).await;
    let mut made = Vec::new();
    for (n, (from, to)) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3)].into_iter().enumerate() {
        made.push(
            store.create_call(call(from, to, i64::try_from(n).unwrap()), vec![]).await.unwrap(),
        );
    }
    store.finish_call(missed(&made[1])).await.unwrap();
    let all = CallHistory {
        user: user(1),
        before: None,
        skip: 0,
        status: None,
        outgoing: None,
        with: None,
        since: None,
        until: None,
        limit: 10,
    };
    let ids = async |query: CallHistory| {
        let found = store.call_history(query).await.unwrap();
        found
            .iter()
            .map(|call| made.iter().position(|known| known.id == call.id).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(all.clone()).await, [3, 2, 1, 0]);
    assert_eq!(ids(CallHistory { outgoing: Some(true), ..all.clone() }).await, [2, 0]);
    assert_eq!(ids(CallHistory { with: Some(user(2)), ..all.clone() }).await, [1, 0]);
    assert_eq!(ids(CallHistory { status: Some(CallStatus::Missed), ..all.clone() }).await, [1]);
    assert_eq!(
        ids(CallHistory { since: Some(at(1)), until: Some(at(2)), ..all.clone() }).await,
        [2, 1]
    );
    assert_eq!(
        ids(CallHistory { before: Some((at(2), made[2].id)), limit: 1, ..all.clone() }).await,
        [1]
    );
    assert_eq!(ids(CallHistory { skip: 3, ..all }).await, [0]);
}
