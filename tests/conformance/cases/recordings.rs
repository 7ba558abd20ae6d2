//! Recordings.

use super::{S, at, recording, user};

use switchboard::event::recording::RecordingStatus;
use switchboard::ids::{CallId, RecordingId, RoomId};
use switchboard::store::{RecordingQuery, RecordingRecord, StoreError};
use uuid::Uuid;

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
