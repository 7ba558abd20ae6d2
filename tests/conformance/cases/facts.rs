//! Facts and their consumers.

use super::{S, at, call, fact, missed, people, recording, user};

use switchboard::event::CallStatus;
use switchboard::event::recording::RecordingStatus;
use switchboard::fact::{Fact, FactKind};
use switchboard::ids::{CallId, RecordingId};
use switchboard::store::{CallEnd, CallRecord, Rating, StoreError};
use uuid::Uuid;

/// The numbers that [`fact`] gave to those behind a position, with their positions.
pub(super) async fn facts_behind(store: &S, position: i64, limit: usize) -> Vec<(i64, i64)> {
    let page = store.facts_after(position, limit).await.unwrap();
    let number = |fact: &Fact| fact.data["n"].as_i64().unwrap();
    page.facts.iter().map(|it| (it.position, number(&it.fact))).collect()
}

pub(crate) async fn facts_have_positions_without_a_gap_and_are_read_behind_one(store: S) {
    assert_eq!(store.facts_after(0, 10).await.unwrap(), switchboard::store::FactPage::default());
    let writes = (0..20).map(|n| {
        let store = store.clone();
        let pair = vec![
            fact(2 * n, FactKind::RoomJoined, n).by(Some(user(1))),
            fact(2 * n + 1, FactKind::RoomLeft, n),
        ];
        tokio::spawn(async move { store.record_facts(pair).await.unwrap() })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    store.record_facts(vec![]).await.unwrap();
    let all = facts_behind(&store, 0, 100).await;
    assert_eq!(all.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert!(all.chunks(2).all(|pair| pair[0].1 + 1 == pair[1].1), "a write stays together");
    let page = store.facts_after(37, 2).await.unwrap();
    assert_eq!((page.facts.len(), page.facts[0].position, page.head, page.floor), (2, 38, 40, 1));
    assert!(store.facts_after(40, 2).await.unwrap().facts.is_empty());
    assert_eq!(store.facts_after(i64::MAX, 2).await.unwrap().head, 40);
    let kept = fact(7, FactKind::CallEnded, 9)
        .of_call(CallId::new(Uuid::from_u128(3)))
        .in_room("lobby".parse().unwrap())
        .of_recording(RecordingId::new(Uuid::from_u128(4)))
        .by(Some(user(2)));
    store.record_facts(vec![kept.clone()]).await.unwrap();
    assert_eq!(store.facts_after(40, 2).await.unwrap().facts[0].fact, kept);
}

pub(crate) async fn facts_are_stored_with_the_write_they_describe_or_not_at_all(store: S) {
    people(&store, [1, 2]).await;
    let keyed = |ms| CallRecord { client_id: Some("c".into()), ..call(1, 2, ms) };
    let one = |n, kind| vec![fact(n, kind, 0)];
    let made = store.create_call(keyed(0), one(1, FactKind::CallInitiated)).await.unwrap();
    let repeat = store.create_call(keyed(9), one(2, FactKind::CallInitiated)).await.unwrap();
    assert_eq!(repeat, made);
    let next = CallRecord { status: CallStatus::Ringing, rev: 2, ..made.clone() };
    store.save_call(next.clone(), 1, one(3, FactKind::CallRinging)).await.unwrap();
    let stale = store.save_call(next.clone(), 1, one(4, FactKind::CallRinging)).await;
    assert_eq!(stale, Err(StoreError::Stale { current: 2 }));
    let end = CallEnd { facts: one(5, FactKind::CallEnded), ..missed(&next) };
    store.finish_call(end.clone()).await.unwrap();
    let again = CallEnd { facts: one(6, FactKind::CallEnded), ..end };
    assert_eq!(store.finish_call(again).await, Err(StoreError::Stale { current: 3 }));
    let stars = Rating { user: user(1), stars: 5, issues: Vec::new(), comment: None, at: at(9) };
    store.rate_call(made.id, stars.clone(), one(7, FactKind::CallRated)).await.unwrap();
    let stranger = Rating { user: user(3), ..stars };
    let refused = store.rate_call(made.id, stranger, one(8, FactKind::CallRated)).await;
    assert_eq!(refused, Err(StoreError::NotFound));
    let kept = recording(1, RecordingStatus::Completed, &[1]);
    store.save_recording(kept.clone(), one(9, FactKind::RecordingReady)).await.unwrap();
    store.remove_recording(kept.id, one(10, FactKind::RecordingDeleted)).await.unwrap();
    let gone = store.remove_recording(kept.id, one(11, FactKind::RecordingDeleted)).await;
    assert_eq!(gone, Err(StoreError::NotFound));
    store.set_disabled(user(1), true, at(1), one(12, FactKind::UserDisabled)).await.unwrap();
    let nobody = store.set_disabled(user(9), true, at(1), one(13, FactKind::UserDisabled)).await;
    assert_eq!(nobody, Err(StoreError::NotFound));
    let stored = facts_behind(&store, 0, 100).await;
    let expected = [1, 3, 5, 7, 9, 10, 12];
    assert_eq!(stored.iter().map(|(_, n)| *n).collect::<Vec<_>>(), expected);
    assert_eq!(stored.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
}

pub(crate) async fn pruned_facts_leave_the_newest_and_the_positions_go_on(store: S) {
    let many = (1..=150).map(|n| fact(n, FactKind::RoomJoined, n)).collect();
    store.record_facts(many).await.unwrap();
    assert!(store.prune_facts(at(141)).await.unwrap());
    while store.prune_facts(at(141)).await.unwrap() {}
    let page = store.facts_after(0, 3).await.unwrap();
    assert_eq!((page.floor, page.head, page.facts[0].position), (141, 150, 141));
    while store.prune_facts(at(5000)).await.unwrap() {}
    assert_eq!(facts_behind(&store, 0, 10).await, [(150, 150)], "the newest stays");
    store.record_facts(vec![fact(151, FactKind::RoomLeft, 5001)]).await.unwrap();
    assert_eq!(facts_behind(&store, 150, 10).await, [(151, 151)]);
    // One that is young keeps those behind it, so that what is kept has no gap.
    store.record_facts(vec![fact(152, FactKind::RoomLeft, 1)]).await.unwrap();
    assert!(!store.prune_facts(at(5001)).await.unwrap());
    assert_eq!(facts_behind(&store, 0, 10).await, [(151, 151), (152, 152)]);
}

pub(crate) async fn each_consumer_of_facts_has_a_cursor_of_its_own(store: S) {
    assert_eq!(store.fact_cursor("webhooks".into()).await.unwrap(), 0);
    store.save_fact_cursor("webhooks".into(), 7).await.unwrap();
    store.save_fact_cursor("audit".into(), 3).await.unwrap();
    assert_eq!(store.fact_cursor("webhooks".into()).await.unwrap(), 7);
    store.save_fact_cursor("webhooks".into(), 5).await.unwrap();
    assert_eq!(store.fact_cursor("webhooks".into()).await.unwrap(), 5, "to be read again");
    assert_eq!(store.fact_cursor("audit".into()).await.unwrap(), 3);
}

pub(crate) async fn erasing_a_person_empties_what_facts_say_of_them(store: S) {
    people(&store, [1, 2]).await;
    let facts = (0..240).map(|n| fact(n, FactKind::CallEnded, n).by(Some(user(1 + n % 2))));
    store.record_facts(facts.collect()).await.unwrap();
    let erased = vec![fact(240, FactKind::UserErased, 601).by(Some(user(1)))];
    store.erase_user(user(1), at(601), erased).await.unwrap();
    let page = store.facts_after(0, 1000).await.unwrap();
    assert_eq!(page.facts.len(), 241);
    for (n, it) in page.facts.iter().enumerate().take(240) {
        assert_eq!(it.fact.user, Some(user(1 + i64::try_from(n).unwrap() % 2)));
        assert_eq!(it.fact.data.is_null(), n % 2 == 0, "{it:?}");
    }
    assert_eq!(page.facts[240].fact.kind, FactKind::UserErased);
}
