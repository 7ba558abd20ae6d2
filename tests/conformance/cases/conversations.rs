//! Conversations and marks.

use super::{S, mark, people, talk, text, user};

use switchboard::store::{Anchor, MarkKind, NewMessage, StoreError};

pub(crate) async fn read_marks_only_go_forward_and_count_what_is_left(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=5 {
        store.append_message(text(1, 2, "x", n)).await.unwrap();
    }
    let own = NewMessage { counts: false, ..text(1, 2, "a finished call", 6) };
    store.append_message(own).await.unwrap();
    let marked = store.mark(talk(1, 2), mark(2, MarkKind::Read, 2, 10)).await.unwrap();
    assert_eq!((marked.up_to, marked.moved, marked.unread), (2, true, 3));
    let back = store.mark(talk(1, 2), mark(2, MarkKind::Read, 1, 11)).await.unwrap();
    assert_eq!((back.up_to, back.moved, back.unread), (2, false, 3));
    let all = store.mark(talk(1, 2), mark(2, MarkKind::Read, i64::MAX, 12)).await.unwrap();
    assert_eq!((all.up_to, all.unread), (6, 0));
    let stranger = store.mark(talk(1, 2), mark(3, MarkKind::Read, 1, 13)).await;
    assert_eq!(stranger, Err(StoreError::NotFound));
}

pub(crate) async fn two_read_marks_commute(store: S) {
    people(&store, [1, 2, 3]).await;
    for peer in [2, 3] {
        for n in 1..=4 {
            store.append_message(text(1, peer, "x", n)).await.unwrap();
        }
    }
    for (peer, order) in [(2, [2, 3]), (3, [3, 2])] {
        for up_to in order {
            store.mark(talk(1, peer), mark(peer, MarkKind::Read, up_to, 5)).await.unwrap();
        }
        let member = store.member(talk(1, peer), user(peer)).await.unwrap().unwrap();
        assert_eq!((member.read, member.delivered, member.unread), (3, 3, 1));
    }
}

pub(crate) async fn marks_tell_when_each_message_was_delivered_and_read(store: S) {
    people(&store, [1, 2]).await;
    for n in 1..=4 {
        store.append_message(text(1, 2, "x", n)).await.unwrap();
    }
    store.mark(talk(1, 2), mark(2, MarkKind::Delivered, 3, 10)).await.unwrap();
    store.mark(talk(1, 2), mark(2, MarkKind::Read, 1, 20)).await.unwrap();
    store.mark(talk(1, 2), mark(2, MarkKind::Read, 4, 30)).await.unwrap();
    let page = store.messages(talk(1, 2), Anchor::After(1), 2).await.unwrap();
    assert_eq!(page.marks, [mark(2, MarkKind::Delivered, 3, 10), mark(2, MarkKind::Read, 4, 30)]);
}

pub(crate) async fn conversations_are_listed_by_last_activity(store: S) {
    people(&store, 1..=6).await;
    for (n, peer) in [2, 3, 4, 5, 6, 3].into_iter().enumerate() {
        store
            .append_message(text(peer, 1, &format!("from {peer}"), i64::try_from(n).unwrap()))
            .await
            .unwrap();
    }
    let first = store.conversations(user(1), false, None, 3).await.unwrap();
    let peers = |listed: &[switchboard::store::Listed]| {
        listed.iter().map(|l| l.peer.as_ref().unwrap().profile.user_id.value()).collect::<Vec<_>>()
    };
    assert_eq!(peers(&first), [3, 6, 5]);
    assert_eq!((first[0].member.unread, first[0].conversation.preview.as_str()), (2, "from 3"));
    let last = &first[2];
    let rest = store
        .conversations(user(1), false, Some((last.member.last_activity, last.conversation.id)), 3)
        .await
        .unwrap();
    assert_eq!(peers(&rest), [4, 2]);
    assert!(store.conversations(user(1), true, None, 3).await.unwrap().is_empty());
}
