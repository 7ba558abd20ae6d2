use std::sync::Arc;

use switchboard::clock::Timestamp;
use switchboard::event::recording::{RecordingMode, RecordingStatus};
use switchboard::event::{CallStatus, CallType, EndReason, MediaPath, MessageType, Platform, Role};
use switchboard::fact::{Fact, FactKind};
use switchboard::ids::{
    CallId, ConversationId, FactId, JobId, MessageId, RecordingId, RoomId, UserId,
};
use switchboard::store::{
    Anchor, CallEnd, CallHistory, CallRecord, DeviceRecord, DirectoryPage, JobRecord, JobState,
    Logged, Mark, MarkKind, MessageExtra, NewMessage, Profile, Rating, RecordingQuery,
    RecordingRecord, RoomTokenRecord, Store, StoreError, TokenHash,
};
use uuid::Uuid;

type S = Arc<dyn Store>;

pub(crate) fn user(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp(1_900_000_000_000 + ms)
}

pub(crate) fn profile(id: i64) -> Profile {
    let (uid, name) = (format!("u-{id}"), Some(format!("User {id}")));
    let (email, mobile, gender, user_type) = (None, None, None, None);
    Profile { user_id: user(id), uid, email, name, mobile, gender, user_type, role: Role::User }
}

pub(crate) async fn people(store: &S, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        store.save_profile(profile(id), at(0)).await.unwrap();
    }
}

pub(crate) fn text(from: i64, to: i64, content: &str, ms: i64) -> NewMessage {
    NewMessage {
        id: MessageId::new(Uuid::new_v4()),
        conversation: ConversationId::direct(user(from), user(to)),
        at: at(ms),
        from: user(from),
        kind: MessageType::Text,
        content: content.into(),
        client_id: None,
        counts: true,
        extra: MessageExtra::default(),
    }
}

pub(crate) fn device(owner: i64, id: &str, name: Option<String>, ms: i64) -> DeviceRecord {
    DeviceRecord {
        user: user(owner),
        device_id: id.into(),
        platform: Platform::Ios,
        name,
        app_version: None,
        push_token: Some("token".into()),
        voip_token: None,
        last_seen: at(ms),
    }
}

pub(crate) fn talk(a: i64, b: i64) -> ConversationId {
    ConversationId::direct(user(a), user(b))
}

pub(crate) fn call(from: i64, to: i64, ms: i64) -> CallRecord {
    CallRecord {
        id: CallId::new(Uuid::new_v4()),
        from: user(from),
        to: user(to),
        conversation: talk(from, to),
        kind: CallType::Voice,
        status: CallStatus::Initiated,
        end_reason: None,
        rev: 1,
        media: MediaPath::P2p,
        client_id: None,
        created_at: at(ms),
        ringing_at: None,
        accepted_at: None,
        ended_at: None,
        deadline: Some(at(ms + 45_000)),
        ended_by: None,
        answered_device: None,
        waiting: false,
        ratings: Vec::new(),
        group: None,
        lost_at: None,
        updated_at: at(ms),
    }
}

pub(crate) fn job(id: u8, owner: i64, state: JobState, ms: i64) -> JobRecord {
    JobRecord {
        id: JobId::new(Uuid::from_u128(id.into())),
        user: user(owner),
        messages: true,
        state,
        total: 2,
        left: 1,
        position: Some((talk(1, 2), 3)),
        error: None,
        created_at: at(0),
        updated_at: at(ms),
    }
}

fn missed(call: &CallRecord) -> CallEnd {
    let over = CallRecord {
        status: CallStatus::Missed,
        end_reason: Some(EndReason::Timeout),
        rev: call.rev + 1,
        ended_at: call.deadline,
        deadline: None,
        updated_at: call.deadline.unwrap(),
        ..call.clone()
    };
    CallEnd {
        call: over,
        expected_rev: call.rev,
        entry: None,
        missed_by: Some(call.to),
        facts: Vec::new(),
    }
}

fn mark(user_id: i64, kind: MarkKind, up_to: i64, ms: i64) -> Mark {
    Mark { user: user(user_id), kind, up_to, at: at(ms) }
}

pub(crate) async fn dump(store: &S) -> Vec<String> {
    let mut lines = Vec::new();
    store
        .export(&mut |line| {
            lines.push(line);
            Ok(())
        })
        .await
        .unwrap();
    lines
}

pub(crate) async fn a_profile_makes_an_account_and_updates_it(store: S) {
    let made = store.save_profile(profile(1), at(5)).await.unwrap();
    assert_eq!((made.created_at, made.profile.name.as_deref()), (at(5), Some("User 1")));
    let nameless = Profile { name: None, email: Some("a@example.net".into()), ..profile(1) };
    let updated = store.save_profile(nameless, at(9)).await.unwrap();
    assert_eq!(updated.profile.name.as_deref(), Some("User 1"), "a token without a name leaves it");
    assert_eq!((updated.created_at, updated.updated_at), (at(5), at(9)));
    assert_eq!(store.user(user(1)).await.unwrap(), Some(updated));
    assert_eq!(store.user(user(2)).await.unwrap(), None);
}

pub(crate) async fn a_uid_belongs_to_one_account(store: S) {
    people(&store, [1]).await;
    let thief = Profile { uid: "u-1".into(), ..profile(2) };
    assert_eq!(store.save_profile(thief, at(1)).await, Err(StoreError::Conflict("uid")));
    assert_eq!(store.user(user(2)).await.unwrap(), None);
}

pub(crate) async fn a_device_is_registered_once_and_belongs_to_its_owner(store: S) {
    people(&store, [1, 2]).await;
    for (id, ms) in [("b", 1), ("a", 2), ("b", 3)] {
        store.save_device(device(1, id, None, ms)).await.unwrap();
    }
    let known = store.devices(user(1)).await.unwrap();
    assert_eq!(known, [device(1, "a", None, 2), device(1, "b", None, 3)]);
    assert_eq!(store.remove_device(user(2), "a".into()).await, Err(StoreError::NotFound));
    store.remove_device(user(1), "a".into()).await.unwrap();
    assert_eq!(store.devices(user(1)).await.unwrap().len(), 1);
    assert_eq!(
        store.save_device(device(9, "x", None, 1)).await,
        Err(StoreError::UnknownUser(user(9)))
    );
}

pub(crate) async fn the_directory_goes_page_by_page_in_order_of_name(store: S) {
    for (id, name) in [(1, "Zoë"), (2, "ada"), (3, "Adam"), (4, "Ada")] {
        store
            .save_profile(Profile { name: Some(name.into()), ..profile(id) }, at(0))
            .await
            .unwrap();
    }
    let page = |after, prefix: &str| DirectoryPage { after, prefix: prefix.into(), limit: 2 };
    let ids = |users: Vec<switchboard::store::UserRecord>| {
        users.iter().map(|u| u.profile.user_id.value()).collect::<Vec<_>>()
    };
    assert_eq!(ids(store.directory(page(None, "")).await.unwrap()), [2, 4]);
    let after = Some(("ada".to_owned(), user(4)));
    assert_eq!(ids(store.directory(page(after.clone(), "")).await.unwrap()), [3, 1]);
    assert_eq!(ids(store.directory(page(after, "ada")).await.unwrap()), [3]);
    assert_eq!(ids(store.directory(page(None, "zo")).await.unwrap()), [1]);
}

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
    assert_eq!((known.plain_cursor, known.last_seen), (4, at(9)), "neither goes back");
}

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

pub(crate) async fn contacts_are_those_one_talked_to(store: S) {
    people(&store, 1..=5).await;
    store.append_message(text(1, 3, "x", 10)).await.unwrap();
    store.append_message(text(4, 1, "x", 20)).await.unwrap();
    store.create_call(call(2, 1, 30), vec![]).await.unwrap();
    store.append_message(text(4, 5, "x", 40)).await.unwrap();
    assert_eq!(store.contacts(user(1), at(0), 10).await.unwrap(), [user(2), user(3), user(4)]);
    assert_eq!(store.contacts(user(1), at(15), 10).await.unwrap(), [user(2), user(4)]);
    assert_eq!(store.contacts(user(1), at(0), 1).await.unwrap(), [user(2)]);
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

pub(crate) fn recording(id: u8, status: RecordingStatus, members: &[i64]) -> RecordingRecord {
    let call = CallId::new(Uuid::from_u128(u128::from(id) % 3));
    RecordingRecord {
        id: RecordingId::new(Uuid::from_u128(id.into())),
        call: Some(call),
        room: RoomId::of_call(call),
        members: members.iter().copied().map(user).collect(),
        mode: RecordingMode::Both,
        status,
        started_by: Some(user(1)),
        moderators: Vec::new(),
        started_at: at(i64::from(id) * 1000),
        stopped_at: None,
        stop_reason: None,
        files: Vec::new(),
        retention_until: Some(at(i64::from(id) * 10_000)),
        updated_at: at(0),
    }
}

pub(crate) async fn recordings_are_seen_by_their_members_until_they_are_removed(store: S) {
    for id in 1..=20 {
        let status =
            if id % 5 == 0 { RecordingStatus::Recording } else { RecordingStatus::Completed };
        let members: &[i64] = if id % 2 == 0 { &[1, 2] } else { &[2, 3] };
        store.save_recording(recording(id, status, members), vec![]).await.unwrap();
    }
    let ids = |found: Vec<RecordingRecord>| {
        found.iter().map(|it| it.id.uuid().as_u128()).collect::<Vec<_>>()
    };
    let of = |user_id: Option<i64>, limit| RecordingQuery {
        user: user_id.map(user),
        limit,
        ..RecordingQuery::default()
    };
    assert_eq!(ids(store.recordings(of(Some(1), 3)).await.unwrap()), [20, 18, 16]);
    let before = Some(RecordingId::new(Uuid::from_u128(16)));
    let next = RecordingQuery { before, ..of(Some(1), 3) };
    assert_eq!(ids(store.recordings(next).await.unwrap()), [14, 12, 10]);
    assert!(store.recordings(of(Some(4), 3)).await.unwrap().is_empty());
    assert_eq!(store.recordings(of(None, 50)).await.unwrap().len(), 20);
    let call = Some(CallId::new(Uuid::from_u128(1)));
    let of_call = RecordingQuery { call, ..of(Some(2), 2) };
    assert_eq!(ids(store.recordings(of_call).await.unwrap()), [19, 16]);
    let any_of_call = RecordingQuery { call, ..of(None, 2) };
    assert_eq!(ids(store.recordings(any_of_call).await.unwrap()), [19, 16]);
    let of_room = RecordingQuery { room: call.map(RoomId::of_call), ..of(None, 2) };
    assert_eq!(ids(store.recordings(of_room).await.unwrap()), [19, 16]);
    let running = RecordingQuery { status: Some(RecordingStatus::Recording), ..of(Some(3), 9) };
    assert_eq!(ids(store.recordings(running).await.unwrap()), [15, 5]);
    let late = RecordingQuery { since: Some(at(18_500)), ..of(Some(2), 9) };
    assert_eq!(ids(store.recordings(late).await.unwrap()), [20, 19]);
    assert_eq!(ids(store.open_recordings().await.unwrap()), [5, 10, 15, 20]);
    assert_eq!(ids(store.expired_recordings(at(30_000), 2).await.unwrap()), [1, 2]);

    // Its next state, with somebody who came late.
    let over = RecordingRecord {
        stopped_at: Some(at(1)),
        retention_until: None,
        ..recording(5, RecordingStatus::Completed, &[2, 3, 4])
    };
    store.save_recording(over.clone(), vec![]).await.unwrap();
    assert_eq!(store.recording(over.id).await.unwrap(), Some(over.clone()));
    assert_eq!(ids(store.recordings(of(Some(4), 3)).await.unwrap()), [5]);
    assert_eq!(ids(store.open_recordings().await.unwrap()), [10, 15, 20]);
    store.remove_recording(over.id, vec![]).await.unwrap();
    assert_eq!(store.recording(over.id).await.unwrap(), None);
    assert!(store.recordings(of(Some(4), 3)).await.unwrap().is_empty());
    assert_eq!(store.remove_recording(over.id, vec![]).await, Err(StoreError::NotFound));
}

pub(crate) fn fact(n: i64, kind: FactKind, ms: i64) -> Fact {
    let id = FactId::new(Uuid::from_u128(u128::try_from(n).unwrap()));
    Fact::new(id, at(ms), kind).with(serde_json::json!({ "n": n }))
}

/// The numbers that [`fact`] gave to those behind a position, with their positions.
async fn facts_behind(store: &S, position: i64, limit: usize) -> Vec<(i64, i64)> {
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
    let many = (1..=1200).map(|n| fact(n, FactKind::RoomJoined, n)).collect();
    store.record_facts(many).await.unwrap();
    assert!(store.prune_facts(at(1101)).await.unwrap());
    while store.prune_facts(at(1101)).await.unwrap() {}
    let page = store.facts_after(0, 3).await.unwrap();
    assert_eq!((page.floor, page.head, page.facts[0].position), (1101, 1200, 1101));
    while store.prune_facts(at(5000)).await.unwrap() {}
    assert_eq!(facts_behind(&store, 0, 10).await, [(1200, 1200)], "the newest stays");
    store.record_facts(vec![fact(1201, FactKind::RoomLeft, 5001)]).await.unwrap();
    assert_eq!(facts_behind(&store, 1200, 10).await, [(1201, 1201)]);
    // One that is young keeps those behind it, so that what is kept has no gap.
    store.record_facts(vec![fact(1202, FactKind::RoomLeft, 1)]).await.unwrap();
    assert!(!store.prune_facts(at(5001)).await.unwrap());
    assert_eq!(facts_behind(&store, 0, 10).await, [(1201, 1201), (1202, 1202)]);
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

pub(crate) fn token(text: &str, room: &str, owner: Option<i64>, ms: i64) -> RoomTokenRecord {
    RoomTokenRecord {
        hash: TokenHash::of(text),
        room: room.parse().unwrap(),
        user: owner.map(user),
        name: Some("Visitor".into()),
        permissions: switchboard::event::room::Permissions::default(),
        moderator: false,
        until: at(ms),
    }
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

pub(crate) async fn erasing_a_person_empties_what_facts_say_of_them(store: S) {
    people(&store, [1, 2]).await;
    let facts = (0..600).map(|n| fact(n, FactKind::CallEnded, n).by(Some(user(1 + n % 2))));
    store.record_facts(facts.collect()).await.unwrap();
    let erased = vec![fact(600, FactKind::UserErased, 601).by(Some(user(1)))];
    store.erase_user(user(1), at(601), erased).await.unwrap();
    let page = store.facts_after(0, 1000).await.unwrap();
    assert_eq!(page.facts.len(), 601);
    for (n, it) in page.facts.iter().enumerate().take(600) {
        assert_eq!(it.fact.user, Some(user(1 + i64::try_from(n).unwrap() % 2)));
        assert_eq!(it.fact.data.is_null(), n % 2 == 0, "{it:?}");
    }
    assert_eq!(page.facts[600].fact.kind, FactKind::UserErased);
}

/// Every read there is, over some of everything: what a server is asked to explain.
#[cfg(feature = "mongo")]
pub(crate) async fn what_clients_ask(store: S) {
    people(&store, 1..=4).await;
    store.save_device(device(1, "phone", None, 0)).await.unwrap();
    for n in 0..30 {
        let client_id = Some(format!("k{n}"));
        let new = NewMessage { client_id, ..text(1 + n % 3, 4, &format!("number {n}"), n) };
        let sent = store.append_message(new).await.unwrap().message;
        store.message(sent.id).await.unwrap();
    }
    store.mark(talk(1, 4), mark(4, MarkKind::Read, 5, 40)).await.unwrap();
    store.mark(talk(1, 4), mark(4, MarkKind::Delivered, 8, 41)).await.unwrap();
    for n in 0..3 {
        let made = store.create_call(call(1, 4, n), vec![]).await.unwrap();
        store.finish_call(missed(&made)).await.unwrap();
    }
    store.create_call(call(2, 4, 9), vec![]).await.unwrap();
    let me = user(4);
    for anchor in [Anchor::Newest, Anchor::Before(5), Anchor::After(2)] {
        store.messages(talk(1, 4), anchor, 5).await.unwrap();
    }
    let first = store.conversations(me, false, None, 2).await.unwrap();
    let next = first.last().map(|last| (last.member.last_activity, last.conversation.id));
    store.conversations(me, false, next, 2).await.unwrap();
    store.unread(me).await.unwrap();
    store.log(me, 2, 50).await.unwrap();
    store.undelivered(me, 50).await.unwrap();
    store.live_calls().await.unwrap();
    let (before, since, until) = (None, Some(at(0)), Some(at(100)));
    let query = CallHistory {
        user: me,
        before,
        skip: 0,
        status: Some(CallStatus::Missed),
        outgoing: Some(false),
        with: Some(user(1)),
        since,
        until,
        limit: 10,
    };
    store.call_history(query).await.unwrap();
    store.missed_calls(me, at(0), 10).await.unwrap();
    store.contacts(me, at(0), 10).await.unwrap();
    store.devices(user(1)).await.unwrap();
    store.users(vec![user(1), user(2)]).await.unwrap();
    let page =
        DirectoryPage { after: Some(("user 1".into(), user(1))), prefix: "u".into(), limit: 2 };
    store.directory(page).await.unwrap();
    store.open_jobs().await.unwrap();
    store.save_recording(recording(1, RecordingStatus::Recording, &[4]), vec![]).await.unwrap();
    for user in [Some(me), None] {
        let query = RecordingQuery { user, limit: 5, ..RecordingQuery::default() };
        store.recordings(query).await.unwrap();
    }
    store.open_recordings().await.unwrap();
    store.expired_recordings(at(0), 5).await.unwrap();
    store.record_facts(vec![fact(1, FactKind::CallEnded, 1).by(Some(me))]).await.unwrap();
    store.facts_after(0, 5).await.unwrap();
    store.prune_facts(at(1)).await.unwrap();
    store.fact_cursor("webhooks".into()).await.unwrap();
    store.put_room_token(token("one", "a", Some(1), 5), vec![]).await.unwrap();
    store.room_tokens("a".parse().unwrap()).await.unwrap();
    store.prune_room_tokens(at(1)).await.unwrap();
    store.remove_room_tokens("a".parse().unwrap()).await.unwrap();
    store.erase_messages(user(1), None, at(50)).await.unwrap();
    store.erase_user(user(1), at(50), vec![]).await.unwrap();
    store.retire(at(10), 5, at(10)).await.unwrap();
}
