//! Messages and event logs.

use super::{S, at, dump, mark, people, talk, text, user};

use switchboard::ids::{ConversationId, MessageId};
use switchboard::store::{Anchor, Logged, MarkKind, MessageExtra, NewMessage, StoreError};
use uuid::Uuid;

pub(crate) async fn a_message_to_nobody_is_refused_and_leaves_nothing(store: S) {
    people(&store, [1]).await;
    let before = dump(&store).await;
    assert_eq!(
        store.append_message(text(1, 99, "hello", 1)).await,
        Err(StoreError::UnknownUser(user(99)))
    );
    let group =
        NewMessage { conversation: ConversationId::new(Uuid::new_v4()), ..text(1, 2, "hello", 1) };
    assert_eq!(store.append_message(group).await, Err(StoreError::NotFound));
    assert_eq!(dump(&store).await, before);
}

pub(crate) async fn numbers_have_no_gap_and_no_twin_under_concurrency(store: S) {
    people(&store, [1, 2]).await;
    let sends = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
            store.append_message(text(from, to, "x", n)).await.unwrap().message.seq
        })
    });
    let mut seqs = Vec::new();
    for send in sends.collect::<Vec<_>>() {
        seqs.push(send.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
    assert_eq!(store.unread(user(1)).await.unwrap(), [(talk(1, 2), 32)]);
}

pub(crate) async fn a_repeated_client_id_gives_the_first_message_back(store: S) {
    people(&store, [1, 2]).await;
    let keyed = |ms| NewMessage { client_id: Some("k".into()), ..text(1, 2, "hello", ms) };
    let first = store.append_message(keyed(1)).await.unwrap();
    let again = store.append_message(keyed(2)).await.unwrap();
    assert!(!first.duplicate && again.duplicate && again.cursors.is_empty());
    assert_eq!(first.message, again.message);
    let other_sender = NewMessage { client_id: Some("k".into()), ..text(2, 1, "hello", 3) };
    assert!(!store.append_message(other_sender).await.unwrap().duplicate);
}

pub(crate) async fn a_client_id_with_another_text_is_refused(store: S) {
    people(&store, [1, 2, 3]).await;
    let keyed =
        |to, content: &str| NewMessage { client_id: Some("k".into()), ..text(1, to, content, 1) };
    store.append_message(keyed(2, "hello")).await.unwrap();
    assert_eq!(store.append_message(keyed(2, "bye")).await, Err(StoreError::Conflict("clientId")));
    assert_eq!(
        store.append_message(keyed(3, "hello")).await,
        Err(StoreError::Conflict("clientId"))
    );
}

pub(crate) async fn a_hundred_repeats_at_once_store_one_message(store: S) {
    people(&store, [1, 2]).await;
    let sends = (0..100).map(|_| {
        let store = store.clone();
        let keyed = NewMessage { client_id: Some("k".into()), ..text(1, 2, "hello", 1) };
        tokio::spawn(async move { store.append_message(keyed).await.unwrap() })
    });
    let mut fresh = 0;
    for send in sends.collect::<Vec<_>>() {
        fresh += usize::from(!send.await.unwrap().duplicate);
    }
    assert_eq!(fresh, 1);
    assert_eq!(store.messages(talk(1, 2), Anchor::Newest, 200).await.unwrap().messages.len(), 1);
}

pub(crate) async fn pages_lead_backwards_and_forwards_without_overlap(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=25 {
        store.append_message(text(1, 2, &n.to_string(), n)).await.unwrap();
    }
    let seqs = async |anchor| {
        let page = store.messages(talk(1, 2), anchor, 10).await.unwrap();
        assert_eq!(page.head, 25);
        page.messages.iter().map(|message| message.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Anchor::Newest).await, (16..=25).collect::<Vec<_>>());
    assert_eq!(seqs(Anchor::Before(16)).await, (6..=15).collect::<Vec<_>>());
    assert_eq!(seqs(Anchor::Before(6)).await, (1..=5).collect::<Vec<_>>());
    assert_eq!(seqs(Anchor::Before(1)).await, Vec::<i64>::new());
    assert_eq!(seqs(Anchor::After(0)).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(seqs(Anchor::After(25)).await, Vec::<i64>::new());
    let nothing = store.messages(talk(1, 9), Anchor::Newest, 10).await.unwrap();
    assert_eq!((nothing.messages.len(), nothing.head), (0, 0));
}

pub(crate) async fn odd_texts_come_back_exactly(store: S) {
    people(&store, [1, 2]).await;
    let texts = [
        "\u{0}nul\u{0}",
        "\u{202e}abc",
        "👩‍👩‍👧‍👦",
        "'; DROP TABLE messages; --",
        "%_\\",
        "e\u{301}",
        "\u{10ffff}",
        " ",
    ];
    for content in texts {
        let sent = store.append_message(text(1, 2, content, 1)).await.unwrap().message;
        assert_eq!(store.message(sent.id).await.unwrap().unwrap().content, content);
    }
    let extra = MessageExtra {
        mentions: vec![user(2)],
        reply_to: Some(MessageId::new(Uuid::new_v4())),
        ..MessageExtra::default()
    };
    let sent = store
        .append_message(NewMessage { extra: extra.clone(), ..text(1, 2, "x", 1) })
        .await
        .unwrap()
        .message;
    assert_eq!(store.message(sent.id).await.unwrap().unwrap().extra, extra);
}

pub(crate) async fn an_event_log_is_gap_free_and_replays_in_order(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=3 {
        store.append_message(text(1, 2, "x", n)).await.unwrap();
    }
    store.mark(talk(1, 2), mark(2, MarkKind::Delivered, 3, 4)).await.unwrap();
    store.mark(talk(1, 2), mark(2, MarkKind::Read, 3, 5)).await.unwrap();
    let sender = store.log(user(1), 0, 100).await.unwrap();
    assert_eq!(
        sender.entries.iter().map(|entry| entry.cursor).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    let receiver = store.log(user(2), 2, 100).await.unwrap();
    assert_eq!((receiver.head, receiver.floor, receiver.entries.len()), (4, 1, 2));
    assert!(
        matches!(&receiver.entries[0].what, Logged::Message(message, marks) if message.seq == 3 && marks.len() == 2)
    );
    assert!(
        matches!(receiver.entries[1].what, Logged::Mark { mark, .. } if mark.kind == MarkKind::Read)
    );
    assert_eq!(store.log(user(3), 0, 10).await.unwrap(), switchboard::store::LogPage::default());
}

pub(crate) async fn what_reached_a_device_is_not_replayed(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=6 {
        store.append_message(text(1, 2, "x", n)).await.unwrap();
    }
    store.append_message(text(2, 1, "mine", 7)).await.unwrap();
    let waiting = async |limit| {
        let found = store.undelivered(user(2), limit).await.unwrap();
        found.iter().map(|(_, message)| message.seq).collect::<Vec<_>>()
    };
    assert_eq!(waiting(100).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(waiting(2).await, [5, 6], "the newest, oldest first");
    store.mark(talk(1, 2), mark(2, MarkKind::Delivered, 2, 8)).await.unwrap();
    assert_eq!(waiting(100).await, [3, 4, 5, 6]);
    store.touch_user(user(2), at(9), 4).await.unwrap();
    assert_eq!(waiting(100).await, [5, 6]);
    store.touch_user(user(2), at(1), 2).await.unwrap();
    let known = store.user(user(2)).await.unwrap().unwrap();
    assert_eq!((known.legacy_cursor, known.last_seen), (4, at(9)), "neither goes back");
}
