//! The cases, grouped as the traits of the store are, and what they are made of.

mod admin;
mod call_log;
mod conversations;
mod facts;
mod messages;
mod recordings;
mod users;
mod webhooks;

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
    Mark, MarkKind, MessageExtra, NewMessage, Profile, RecordingQuery, RecordingRecord,
    RoomTokenRecord, Store, TokenHash,
};
use uuid::Uuid;

pub(crate) use self::admin::*;
pub(crate) use self::call_log::*;
pub(crate) use self::conversations::*;
pub(crate) use self::facts::*;
pub(crate) use self::messages::*;
pub(crate) use self::recordings::*;
pub(crate) use self::users::*;
pub(crate) use self::webhooks::*;

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

pub(crate) fn recording(id: u8, status: RecordingStatus, members: &[i64]) -> RecordingRecord {
    let call = CallId::new(Uuid::from_u128(u128::from(id) % 3));
    RecordingRecord {
        id: RecordingId::new(Uuid::from_u128(id.into())),
        call: Some(call),
        room: RoomId::of_call(call),
        members: members.iter().copied().map(user).collect(),
        guests: vec!["Visitor".into()],
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

pub(crate) fn fact(n: i64, kind: FactKind, ms: i64) -> Fact {
    let id = FactId::new(Uuid::from_u128(u128::try_from(n).unwrap()));
    Fact::new(id, at(ms), kind).with(serde_json::json!({ "n": n }))
}

pub(crate) fn token(text: &str, room: &str, owner: Option<i64>, ms: i64) -> RoomTokenRecord {
    RoomTokenRecord {
        hash: TokenHash::of(text),
        room: room.parse().unwrap(),
        user: owner.map(user),
        name: Some("Visitor".into()),
        permissions: switchboard::event::room::Permissions::default(),
        moderator: false,
        not_before: None,
        max_uses: None,
        used_by: Vec::new(),
        until: at(ms),
    }
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
    let over =
        switchboard::store::DeliveryRecord { finished_at: Some(at(1)), ..delivery(2, "one", 2) };
    store
        .queue_deliveries(vec![delivery(1, "one", 1), over], "webhooks:one".into(), 2)
        .await
        .unwrap();
    store.pending_deliveries("one".into(), 0, 5).await.unwrap();
    for state in [None, Some(switchboard::store::DeliveryState::Pending)] {
        let query = switchboard::store::DeliveryQuery { state, limit: 5, ..Default::default() };
        store.deliveries(query).await.unwrap();
    }
    store.prune_deliveries(at(5)).await.unwrap();
    store.erase_messages(user(1), None, at(50)).await.unwrap();
    store.erase_user(user(1), at(50), vec![]).await.unwrap();
    store.retire(at(10), 5, at(10)).await.unwrap();
}
