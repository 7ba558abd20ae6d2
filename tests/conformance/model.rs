//! Random operations, run against an engine and against the model.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switchboard::event::{CallStatus, EndReason, MessageType, PresenceMode};
use switchboard::fact::FactKind;
use switchboard::ids::{CallId, MessageId, RoomId};
use switchboard::store::sqlite::Sqlite;
use switchboard::store::{
    Anchor, CallEnd, CallHistory, CallRecord, DirectoryPage, JobState, Mark, MarkKind, NewMessage,
    Profile, Rating, Settings, Store,
};
use uuid::Uuid;

use super::cases::{at, call, device, dump, fact, job, profile, talk, text, token, user};
use crate::support::Folder;
use crate::support::oracle::Oracle;

#[derive(Clone, Debug)]
enum Op {
    Profile { id: i64, uid: i64, named: bool },
    Settings { id: i64, text: Option<String>, mode: Option<PresenceMode> },
    Touch { id: i64, cursor: i64 },
    Device { user: i64, id: u8, named: bool },
    RemoveDevice { user: i64, id: u8 },
    Send { from: i64, to: i64, content: String, key: Option<u8>, counts: bool },
    Mark { user: i64, peer: i64, kind: MarkKind, up_to: i64 },
    Page { a: i64, b: i64, anchor: Anchor, limit: usize },
    List { user: i64, limit: usize },
    Log { user: i64, cursor: i64, limit: usize },
    Undelivered { user: i64, limit: usize },
    Contacts { user: i64, since: i64 },
    Directory { prefix: String, limit: usize },
    Call { from: i64, to: i64, key: Option<u8> },
    Answer { nth: usize, rev: i64 },
    Finish { nth: usize, entry: bool, missed: bool },
    History { user: i64, outgoing: Option<bool>, status: Option<CallStatus>, limit: usize },
    Missed { user: i64 },
    Rate { user: i64, nth: usize, stars: u8 },
    AckMissed { user: i64, nth: usize },
    EraseUser { id: i64 },
    EraseMessages { user: i64 },
    Job { user: i64, id: u8, state: JobState },
    Disable { id: i64, disabled: bool },
    Facts { user: i64, count: usize },
    FactsAfter { position: i64, limit: usize },
    PruneFacts { before: i64 },
    FactCursor { name: u8, position: i64 },
    RoomToken { text: u8, room: u8, user: Option<i64>, lasts: i64 },
    RemoveRoomTokens { room: u8 },
    PruneRoomTokens,
    ServerKey { name: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let person = || 1..=4_i64;
    let key = || prop::option::of(0..6_u8);
    let kind = prop_oneof![Just(MarkKind::Delivered), Just(MarkKind::Read)];
    let anchor = prop_oneof![
        Just(Anchor::Newest),
        (0..30_i64).prop_map(Anchor::Before),
        (0..30_i64).prop_map(Anchor::After)
    ];
    let mode = prop::option::of(prop_oneof![Just(PresenceMode::Auto), Just(PresenceMode::Dnd)]);
    let state = prop_oneof![Just(JobState::Queued), Just(JobState::Running), Just(JobState::Done)];
    let status =
        prop::option::of(prop_oneof![Just(CallStatus::Missed), Just(CallStatus::Accepted)]);
    prop_oneof![
        2 => (person(), person(), any::<bool>()).prop_map(|(id, uid, named)| Op::Profile { id, uid, named }),
        1 => (person(), prop::option::of("[a-c]{0,3}"), mode).prop_map(|(id, text, mode)| Op::Settings { id, text, mode }),
        1 => (person(), 0..20_i64).prop_map(|(id, cursor)| Op::Touch { id, cursor }),
        1 => (person(), 0..3_u8, any::<bool>()).prop_map(|(user, id, named)| Op::Device { user, id, named }),
        1 => (person(), 0..3_u8).prop_map(|(user, id)| Op::RemoveDevice { user, id }),
        12 => (person(), person(), "\\PC{1,12}", key(), any::<bool>())
            .prop_map(|(from, to, content, key, counts)| Op::Send { from, to, content, key, counts }),
        6 => (person(), person(), kind, 0..40_i64).prop_map(|(user, peer, kind, up_to)| Op::Mark { user, peer, kind, up_to }),
        3 => (person(), person(), anchor, 1..8_usize).prop_map(|(a, b, anchor, limit)| Op::Page { a, b, anchor, limit }),
        2 => (person(), 1..5_usize).prop_map(|(user, limit)| Op::List { user, limit }),
        3 => (person(), 0..40_i64, 1..20_usize).prop_map(|(user, cursor, limit)| Op::Log { user, cursor, limit }),
        2 => (person(), 1..10_usize).prop_map(|(user, limit)| Op::Undelivered { user, limit }),
        1 => (person(), 0..200_i64).prop_map(|(user, since)| Op::Contacts { user, since }),
        1 => ("[uU]?", 1..4_usize).prop_map(|(prefix, limit)| Op::Directory { prefix: prefix.to_lowercase(), limit }),
        3 => (person(), person(), key()).prop_map(|(from, to, key)| Op::Call { from, to, key }),
        2 => (0..20_usize, 1..3_i64).prop_map(|(nth, rev)| Op::Answer { nth, rev }),
        3 => (0..20_usize, any::<bool>(), any::<bool>()).prop_map(|(nth, entry, missed)| Op::Finish { nth, entry, missed }),
        1 => (person(), prop::option::of(any::<bool>()), status, 1..6_usize)
            .prop_map(|(user, outgoing, status, limit)| Op::History { user, outgoing, status, limit }),
        1 => person().prop_map(|user| Op::Missed { user }),
        1 => (person(), 0..20_usize, 1..6_u8).prop_map(|(user, nth, stars)| Op::Rate { user, nth, stars }),
        1 => (person(), 0..20_usize).prop_map(|(user, nth)| Op::AckMissed { user, nth }),
        1 => person().prop_map(|id| Op::EraseUser { id }),
        1 => person().prop_map(|user| Op::EraseMessages { user }),
        1 => (person(), 0..4_u8, state).prop_map(|(user, id, state)| Op::Job { user, id, state }),
        1 => (person(), any::<bool>()).prop_map(|(id, disabled)| Op::Disable { id, disabled }),
        2 => (person(), 0..4_usize).prop_map(|(user, count)| Op::Facts { user, count }),
        2 => (0..60_i64, 1..20_usize).prop_map(|(position, limit)| Op::FactsAfter { position, limit }),
        1 => (0..200_i64).prop_map(|before| Op::PruneFacts { before }),
        1 => (0..3_u8, 0..60_i64).prop_map(|(name, position)| Op::FactCursor { name, position }),
        2 => (0..8_u8, 0..3_u8, prop::option::of(person()), 1..100_i64)
            .prop_map(|(text, room, user, lasts)| Op::RoomToken { text, room, user, lasts }),
        1 => (0..3_u8).prop_map(|room| Op::RemoveRoomTokens { room }),
        1 => Just(Op::PruneRoomTokens),
        1 => (0..3_u8).prop_map(|name| Op::ServerKey { name }),
    ]
}

/// Runs the operations on both; any difference fails with the step at which it showed.
async fn compare(store: Arc<dyn Store>, ops: Vec<Op>) {
    let mut model = Oracle::default();
    let mut calls: Vec<CallId> = Vec::new();
    for (step, op) in ops.into_iter().enumerate() {
        // Times repeat and sometimes stand still, as real clocks do.
        let ms = i64::try_from(step).unwrap() / 2;
        one(&*store, &mut model, &mut calls, op, ms, step).await;
    }
    assert_eq!(dump(&store).await, model.export(), "the dumps differ");
    assert_eq!(store.totals().await.unwrap(), model.totals());
}

#[allow(clippy::too_many_lines)]
async fn one(
    store: &dyn Store,
    model: &mut Oracle,
    calls: &mut Vec<CallId>,
    op: Op,
    ms: i64,
    step: usize,
) {
    let message = format!("step {step}: {op:?}");
    let happened =
        |kind, who: i64| vec![fact(step.try_into().unwrap(), kind, ms).by(Some(user(who)))];
    let nth = |calls: &[CallId], n: usize| calls.get(n % calls.len().max(1)).copied();
    match op {
        Op::Profile { id, uid, named } => {
            let new = Profile {
                uid: format!("u-{uid}"),
                name: named.then(|| format!("U{id}")),
                ..profile(id)
            };
            assert_eq!(
                store.save_profile(new.clone(), at(ms)).await,
                model.save_profile(new, at(ms)),
                "{message}"
            );
        }
        Op::Settings { id, text, mode } => {
            let settings = Settings { name: None, status_text: text, presence: mode };
            let expected = model.save_settings(user(id), settings.clone(), at(ms));
            assert_eq!(
                store.save_settings(user(id), settings, at(ms)).await,
                expected,
                "{message}"
            );
        }
        Op::Touch { id, cursor } => {
            store.touch_user(user(id), at(ms), cursor).await.unwrap();
            model.touch_user(user(id), at(ms), cursor);
        }
        Op::Device { user: who, id, named } => {
            let new = device(who, &id.to_string(), named.then(|| "Phone".into()), ms);
            assert_eq!(store.save_device(new.clone()).await, model.save_device(new), "{message}");
            assert_eq!(
                store.devices(user(who)).await.unwrap(),
                model.devices(user(who)),
                "{message}"
            );
        }
        Op::RemoveDevice { user: who, id } => {
            let expected = model.remove_device(user(who), id.to_string());
            assert_eq!(store.remove_device(user(who), id.to_string()).await, expected, "{message}");
        }
        Op::Send { from, to, .. } if from == to => {}
        Op::Send { from, to, content, key, counts } => {
            let id = MessageId::new(Uuid::from_u128(step as u128));
            let client_id = key.map(|key| key.to_string());
            let new = NewMessage { id, client_id, counts, ..text(from, to, &content, ms) };
            assert_eq!(
                store.append_message(new.clone()).await,
                model.append_message(new),
                "{message}"
            );
            assert_eq!(store.message(id).await.unwrap(), model.message(id), "{message}");
        }
        Op::Mark { user: who, peer, .. } if who == peer => {}
        Op::Mark { user: who, peer, kind, up_to } => {
            let mark = Mark { user: user(who), kind, up_to, at: at(ms) };
            assert_eq!(
                store.mark(talk(who, peer), mark).await,
                model.mark(talk(who, peer), mark),
                "{message}"
            );
            assert_eq!(
                store.unread(user(who)).await.unwrap(),
                model.unread(user(who)),
                "{message}"
            );
        }
        Op::Page { a, b, .. } if a == b => {}
        Op::Page { a, b, anchor, limit } => {
            let expected = model.messages(talk(a, b), anchor, limit);
            assert_eq!(
                store.messages(talk(a, b), anchor, limit).await.unwrap(),
                expected,
                "{message}"
            );
        }
        Op::List { user: who, limit } => {
            let first = store.conversations(user(who), false, None, limit).await.unwrap();
            assert_eq!(first, model.conversations(user(who), false, None, limit), "{message}");
            let next = first.last().map(|last| (last.member.last_activity, last.conversation.id));
            let rest = store.conversations(user(who), false, next, limit).await.unwrap();
            assert_eq!(rest, model.conversations(user(who), false, next, limit), "{message}");
        }
        Op::Log { user: who, cursor, limit } => {
            assert_eq!(
                store.log(user(who), cursor, limit).await.unwrap(),
                model.log_page(user(who), cursor, limit),
                "{message}"
            );
        }
        Op::Undelivered { user: who, limit } => {
            assert_eq!(
                store.undelivered(user(who), limit).await.unwrap(),
                model.undelivered(user(who), limit),
                "{message}"
            );
        }
        Op::Contacts { user: who, since } => {
            let expected = model.contacts(user(who), at(since), 100);
            assert_eq!(
                store.contacts(user(who), at(since), 100).await.unwrap(),
                expected,
                "{message}"
            );
        }
        Op::Directory { prefix, limit } => {
            let page = DirectoryPage { after: None, prefix, limit };
            assert_eq!(
                store.directory(page.clone()).await.unwrap(),
                model.directory(&page),
                "{message}"
            );
            let all = (1..=4).map(user).collect::<Vec<_>>();
            assert_eq!(store.users(all.clone()).await.unwrap(), model.users(&all), "{message}");
        }
        Op::Call { from, to, .. } if from == to => {}
        Op::Call { from, to, key } => {
            let id = CallId::new(Uuid::from_u128(1 << 100 | step as u128));
            let new = CallRecord {
                id,
                client_id: key.map(|key| format!("c{key}")),
                ..call(from, to, ms)
            };
            let facts = happened(FactKind::CallInitiated, from);
            let made = store.create_call(new.clone(), facts.clone()).await.unwrap();
            assert_eq!(made, model.create_call(new, facts), "{message}");
            calls.push(made.id);
        }
        Op::Answer { nth: n, rev } => {
            let Some(known) = nth(calls, n).and_then(|id| model.call(id)) else { return };
            let facts = happened(FactKind::CallAnswered, known.to.value());
            let next = CallRecord {
                status: CallStatus::Accepted,
                rev: known.rev + 1,
                updated_at: at(ms),
                ..known
            };
            assert_eq!(
                store.save_call(next.clone(), rev, facts.clone()).await,
                model.save_call(next, rev, facts),
                "{message}"
            );
            assert_eq!(store.live_calls().await.unwrap(), model.live_calls(), "{message}");
        }
        Op::Finish { nth: n, entry, missed } => {
            let Some(known) =
                nth(calls, n).and_then(|id| model.call(id)).filter(|call| call.status.is_live())
            else {
                return;
            };
            let (status, end_reason) = (CallStatus::Missed, Some(EndReason::Timeout));
            let over = CallRecord {
                status,
                end_reason,
                rev: known.rev + 1,
                updated_at: at(ms),
                ..known.clone()
            };
            let id = MessageId::new(Uuid::from_u128(1 << 101 | step as u128));
            let (from, to) = (known.from.value(), known.to.value());
            let line = NewMessage { id, kind: MessageType::Call, ..text(from, to, "Missed", ms) };
            // A line needs people who exist; the server has looked them up before it starts a call.
            let exist = model.users(&[known.from, known.to]).len() == 2;
            let entry = (entry && exist).then_some(line);
            let end = CallEnd {
                call: over,
                expected_rev: known.rev,
                entry,
                missed_by: missed.then_some(known.to),
                facts: happened(FactKind::CallEnded, from),
            };
            assert_eq!(store.finish_call(end.clone()).await, model.finish_call(end), "{message}");
        }
        Op::History { user: who, outgoing, status, limit } => {
            let (before, since, until, with) = (None, None, None, None);
            let query = CallHistory {
                user: user(who),
                before,
                skip: 0,
                status,
                outgoing,
                with,
                since,
                until,
                limit,
            };
            assert_eq!(
                store.call_history(query.clone()).await.unwrap(),
                model.call_history(&query),
                "{message}"
            );
        }
        Op::Missed { user: who } => {
            let expected = model.missed_calls(user(who), at(0), 10);
            assert_eq!(
                store.missed_calls(user(who), at(0), 10).await.unwrap(),
                expected,
                "{message}"
            );
        }
        Op::Rate { user: who, nth: n, stars } => {
            let Some(id) = nth(calls, n) else { return };
            let facts = happened(FactKind::CallRated, who);
            let rating = Rating {
                user: user(who),
                stars,
                issues: vec!["echo".into()],
                comment: None,
                at: at(ms),
            };
            assert_eq!(
                store.rate_call(id, rating.clone(), facts.clone()).await,
                model.rate_call(id, rating, facts),
                "{message}"
            );
            assert_eq!(store.call(id).await.unwrap(), model.call(id), "{message}");
        }
        Op::AckMissed { user: who, nth: n } => {
            let Some(id) = nth(calls, n) else { return };
            store.ack_missed(user(who), vec![id]).await.unwrap();
            model.ack_missed(user(who), &[id]);
        }
        Op::EraseUser { id } => {
            let facts = happened(FactKind::UserErased, id);
            let expected = model.erase_user(user(id), at(ms), facts.clone());
            assert_eq!(store.erase_user(user(id), at(ms), facts).await, expected, "{message}");
        }
        Op::EraseMessages { user: who } => {
            let mut after = None;
            while let Some(next) =
                store.erase_messages(user(who), after, at(ms)).await.unwrap().next
            {
                after = Some(next);
            }
            model.erase_messages(user(who), at(ms));
        }
        Op::Job { user: who, id, state } => {
            let new = job(id, who, state, ms);
            store.save_job(new.clone()).await.unwrap();
            assert_eq!(store.job(new.id).await.unwrap(), Some(new.clone()), "{message}");
            model.save_job(new);
            assert_eq!(store.open_jobs().await.unwrap(), model.open_jobs(), "{message}");
        }
        Op::Disable { id, disabled } => {
            let kind = if disabled { FactKind::UserDisabled } else { FactKind::UserEnabled };
            let facts = happened(kind, id);
            let expected = model.set_disabled(user(id), disabled, at(ms), facts.clone());
            let answer = store.set_disabled(user(id), disabled, at(ms), facts).await;
            assert_eq!(answer, expected, "{message}");
        }
        Op::Facts { user: who, count } => {
            let facts: Vec<_> =
                (0..count).flat_map(|_| happened(FactKind::RoomJoined, who)).collect();
            store.record_facts(facts.clone()).await.unwrap();
            model.record_facts(facts);
        }
        Op::FactsAfter { position, limit } => {
            let expected = model.facts_after(position, limit);
            assert_eq!(store.facts_after(position, limit).await.unwrap(), expected, "{message}");
        }
        Op::PruneFacts { before } => {
            while store.prune_facts(at(before)).await.unwrap() {}
            model.prune_facts(at(before));
        }
        Op::FactCursor { name, position } => {
            let name = format!("consumer-{name}");
            let expected = model.fact_cursor(&name);
            assert_eq!(store.fact_cursor(name.clone()).await.unwrap(), expected, "{message}");
            store.save_fact_cursor(name.clone(), position).await.unwrap();
            model.save_fact_cursor(name, position);
        }
        Op::RoomToken { text, room, user: owner, lasts } => {
            let new = token(&format!("t{text}"), &format!("r{room}"), owner, ms + lasts);
            let facts = happened(FactKind::RoomTokenIssued, 1);
            let (hash, room) = (new.hash, new.room.clone());
            store.put_room_token(new.clone(), facts.clone()).await.unwrap();
            model.put_room_token(new, facts);
            assert_eq!(store.room_token(hash).await.unwrap(), model.room_token(hash), "{message}");
            let expected = model.room_tokens(&room);
            assert_eq!(store.room_tokens(room).await.unwrap(), expected, "{message}");
        }
        Op::RemoveRoomTokens { room } => {
            let room: RoomId = format!("r{room}").parse().unwrap();
            model.remove_room_tokens(&room);
            store.remove_room_tokens(room).await.unwrap();
        }
        Op::PruneRoomTokens => {
            while store.prune_room_tokens(at(ms)).await.unwrap() {}
            model.prune_room_tokens(at(ms));
        }
        Op::ServerKey { name } => {
            let (name, fresh) = (format!("key-{name}"), vec![u8::try_from(step % 256).unwrap()]);
            let expected = model.server_key(name.clone(), fresh.clone());
            assert_eq!(store.server_key(name, fresh).await.unwrap(), expected, "{message}");
        }
    }
}

/// Short sequences that shrink to a small example when they fail.
#[test]
fn short_random_sequences_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&prop::collection::vec(op(), 1..120), |ops| {
        runtime.block_on(async {
            let store: Arc<dyn Store> = Arc::new(Sqlite::in_memory().unwrap());
            compare(store.clone(), ops).await;
            store.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}

/// Sequences of a thousand operations, each in a database of its own, on whatever speaks MongoDB's protocol here; as many as
/// `MODEL_SEQUENCES` says, of `MODEL_OPERATIONS` each.
#[cfg(feature = "mongo")]
#[test]
fn random_operations_agree_on_mongo_wire() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    use switchboard::store::mongo::Mongo;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(number("MODEL_SEQUENCES", 2)).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    });
    let outcome =
        runner.run(&prop::collection::vec(op(), number("MODEL_OPERATIONS", 1_000)), |ops| {
            let Some(uri) = crate::support::mongo::fresh_database() else { return Ok(()) };
            runtime.block_on(async {
                let store: Arc<dyn Store> = Arc::new(Mongo::open(&uri).await.unwrap());
                compare(store.clone(), ops).await;
                store.close().await;
            });
            Ok(())
        });
    outcome.unwrap();
}

/// One long sequence, on file.
#[test]
fn ten_thousand_random_operations_give_equal_answers_and_dumps() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    });
    let outcome = runner.run(&prop::collection::vec(op(), 10_000), |ops| {
        let folder = Folder::new();
        runtime.block_on(async {
            let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.0.join("model.db")).unwrap());
            compare(store.clone(), ops).await;
            store.close().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
