//! Erasure, jobs, secrets, retention, dumps.

use super::facts::facts_behind;
use super::{
    S, at, call, delivery, device, dump, fact, job, mark, missed, people, recording, talk, text,
    token, user,
};

use std::sync::Arc;

use switchboard::event::recording::RecordingStatus;
use switchboard::fact::FactKind;
use switchboard::store::{
    Anchor, EndpointRecord, JobRecord, JobState, MarkKind, NewMessage, RecordingQuery,
    RoomTokenRecord, StoreError, TokenHash,
};

pub(crate) async fn retiring_keeps_the_newest_entry_and_the_bounds(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=10 {
        let keyed = NewMessage { client_id: Some(n.to_string()), ..text(1, 2, "x", n) };
        store.append_message(keyed).await.unwrap();
    }
    assert!(!store.retire(at(4), 1000, at(3)).await.unwrap());
    let page = store.log(user(1), 0, 100).await.unwrap();
    assert_eq!((page.floor, page.head), (4, 10));
    let again = |n: i64| NewMessage { client_id: Some(n.to_string()), ..text(1, 2, "x", 20) };
    assert!(store.append_message(again(3)).await.unwrap().duplicate, "a young key is kept");
    assert!(!store.append_message(again(2)).await.unwrap().duplicate, "an old key is free again");
    store.retire(at(0), 3, at(0)).await.unwrap();
    assert_eq!(store.log(user(2), 0, 100).await.unwrap().floor, 9);
    store.retire(at(1000), 0, at(0)).await.unwrap();
    let page = store.log(user(2), 0, 100).await.unwrap();
    assert_eq!((page.floor, page.head), (11, 11), "the newest stays");
}

pub(crate) async fn a_dump_goes_into_an_empty_store_and_comes_out_equal(store: S) {
    people(&store, [1, 2, 3]).await;
    for n in 1..=3 {
        store
            .append_message(NewMessage { client_id: Some(n.to_string()), ..text(1, 2, "x", n) })
            .await
            .unwrap();
    }
    store.mark(talk(1, 2), mark(2, MarkKind::Read, 2, 9)).await.unwrap();
    let made = store.create_call(call(1, 3, 20), vec![]).await.unwrap();
    store.finish_call(missed(&made)).await.unwrap();
    let kept = recording(1, RecordingStatus::Completed, &[1, 3]);
    store.save_recording(kept.clone(), vec![]).await.unwrap();
    let facts = (1..=5).map(|n| fact(n, FactKind::RoomJoined, n)).collect();
    store.record_facts(facts).await.unwrap();
    while store.prune_facts(at(3)).await.unwrap() {}
    store.save_fact_cursor("webhooks".into(), 4).await.unwrap();
    for text in ["one", "two", "three"] {
        store.put_room_token(token(text, "a", None, 10), vec![]).await.unwrap();
    }
    store.server_key("links".into(), vec![7; 32]).await.unwrap();
    let deliveries = vec![delivery(1, "one", 1), delivery(2, "one", 2)];
    store.queue_deliveries(deliveries, "webhooks:one".into(), 2).await.unwrap();
    let (name, configuration, disabled_at) = ("one".into(), "a".into(), Some(at(1)));
    store.save_endpoint(EndpointRecord { name, configuration, disabled_at }).await.unwrap();
    let lines = dump(&store).await;
    let copy: S = Arc::new(switchboard::store::sqlite::Sqlite::in_memory().unwrap());
    copy.import(&mut lines.clone().into_iter().map(Ok)).await.unwrap();
    assert_eq!(dump(&copy).await, lines);
    assert_eq!(copy.totals().await.unwrap(), store.totals().await.unwrap());
    let own = RecordingQuery { user: Some(user(3)), limit: 9, ..RecordingQuery::default() };
    assert_eq!(copy.recordings(own).await.unwrap(), [kept]);
    let next = copy.append_message(text(2, 1, "goes on", 30)).await.unwrap();
    assert_eq!((next.message.seq, next.cursors), (4, vec![(user(1), 5), (user(2), 5)]));
    copy.record_facts(vec![fact(6, FactKind::RoomLeft, 30)]).await.unwrap();
    assert_eq!(facts_behind(&copy, 4, 9).await, [(5, 5), (6, 6)]);
    assert_eq!(copy.server_key("links".into(), vec![8]).await.unwrap(), [7; 32]);
    copy.close().await;
}

pub(crate) async fn a_dump_does_not_go_into_a_filled_store(store: S) {
    people(&store, [1]).await;
    let lines = dump(&store).await;
    assert_eq!(
        store.import(&mut lines.into_iter().map(Ok)).await,
        Err(StoreError::Conflict("store"))
    );
}

pub(crate) async fn totals_count(store: S) {
    people(&store, [1, 2, 1]).await;
    store.append_message(text(1, 2, "x", 1)).await.unwrap();
    store.create_call(call(1, 2, 2), vec![]).await.unwrap();
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.users, totals.messages, totals.calls), (2, 1, 1));
}

pub(crate) async fn an_erased_person_leaves_tombstones_and_a_closed_account(store: S) {
    people(&store, [1, 2, 3]).await;
    store.save_device(device(1, "phone", None, 0)).await.unwrap();
    for n in 0..600 {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        store.append_message(text(from, to, &format!("number {n}"), n)).await.unwrap();
    }
    store.append_message(text(1, 3, "a secret", 2000)).await.unwrap();
    store.append_message(text(2, 3, "of others", 2000)).await.unwrap();

    store.erase_user(user(1), at(3000), vec![]).await.unwrap();
    let account = store.user(user(1)).await.unwrap().unwrap();
    assert!(account.disabled && account.profile.name.is_none());
    assert!(store.devices(user(1)).await.unwrap().is_empty());
    assert_eq!(store.erase_user(user(9), at(0), vec![]).await, Err(StoreError::NotFound));

    let (mut after, mut calls, mut lefts) = (None, 0, Vec::new());
    loop {
        let erased = store.erase_messages(user(1), after, at(3000)).await.unwrap();
        calls += 1;
        lefts.push(erased.left);
        after = erased.next;
        if after.is_none() {
            break;
        }
    }
    assert!(
        calls >= 3 && lefts.is_sorted_by(|a, b| a >= b) && lefts.last() == Some(&0),
        "{lefts:?}"
    );

    let unknown = Err(StoreError::UnknownUser(user(1)));
    assert_eq!(store.append_message(text(2, 1, "too late", 3000)).await, unknown);
    assert_eq!(store.append_message(text(4, 1, "too late", 3000)).await, unknown);
    assert!(store.conversation(talk(4, 1)).await.unwrap().is_none());

    let page = store.messages(talk(1, 2), Anchor::Newest, 1000).await.unwrap();
    assert_eq!(page.messages.len(), 600);
    for message in &page.messages {
        let mine = message.from == user(1);
        assert_eq!(mine, message.content.is_empty(), "{message:?}");
        assert_eq!(mine, message.extra.deleted_at == Some(at(3000)), "{message:?}");
    }
    assert_eq!(store.conversation(talk(1, 3)).await.unwrap().unwrap().preview, "");
    assert_eq!(store.conversation(talk(2, 3)).await.unwrap().unwrap().preview, "of others");
}

pub(crate) async fn a_job_is_open_until_it_is_over(store: S) {
    let first = job(1, 1, JobState::Queued, 0);
    store.save_job(first.clone()).await.unwrap();
    assert_eq!(store.open_jobs().await.unwrap(), std::slice::from_ref(&first));
    let over = JobRecord { state: JobState::Done, left: 0, ..first.clone() };
    store.save_job(over.clone()).await.unwrap();
    assert!(store.open_jobs().await.unwrap().is_empty());
    assert_eq!(store.job(first.id).await.unwrap(), Some(over));
}

pub(crate) async fn a_room_token_is_kept_as_a_hash_until_it_ends(store: S) {
    people(&store, [1]).await;
    let tokens = [
        token("one", "a", None, 10),
        token("two", "a", Some(1), 20),
        token("three", "b", None, 30),
    ];
    for token in &tokens {
        let issued = vec![fact(1, FactKind::RoomTokenIssued, 0)];
        store.put_room_token(token.clone(), issued).await.unwrap();
    }
    assert_eq!(store.facts_after(0, 10).await.unwrap().head, 3);
    let hashes = |mut tokens: Vec<RoomTokenRecord>| {
        tokens.sort_by_key(|token| token.hash);
        tokens
    };
    let of = async |room: &str| store.room_tokens(room.parse().unwrap()).await.unwrap();
    assert_eq!(of("a").await, hashes(tokens[..2].to_vec()));
    assert_eq!(store.room_token(TokenHash::of("three")).await.unwrap(), Some(tokens[2].clone()));
    assert_eq!(store.room_token(TokenHash::of("four")).await.unwrap(), None);
    let lines = dump(&store).await;
    assert!(lines.iter().all(|line| !line.contains("\"one\"") && !line.contains("three")));
    assert!(!store.prune_room_tokens(at(10)).await.unwrap());
    assert_eq!(of("a").await, [tokens[1].clone()]);
    store.erase_user(user(1), at(11), vec![]).await.unwrap();
    assert!(of("a").await.is_empty(), "a token that names an erased person is gone");
    store.remove_room_tokens("b".parse().unwrap()).await.unwrap();
    assert!(of("b").await.is_empty());
}

pub(crate) async fn a_key_of_the_server_is_made_once(store: S) {
    let mut made = std::collections::BTreeSet::new();
    let asks = (0..20_u8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.server_key("links".into(), vec![n; 32]).await.unwrap() })
    });
    for ask in asks.collect::<Vec<_>>() {
        made.insert(ask.await.unwrap());
    }
    assert_eq!(made.len(), 1);
    let other = store.server_key("other".into(), vec![99]).await.unwrap();
    assert_eq!(other, [99]);
}
