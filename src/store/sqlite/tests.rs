use super::Sqlite;
use crate::ids::{CallId, ConversationId, UserId};
use crate::store::{Admin, Facts, Logged, MarkKind, Messages, Users, Webhooks};

/// A store of version 3 as its program wrote it: two people, two messages, marks on the first, a missed call.
const VERSION_3: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store/version-3.sql"));

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_earlier_version_is_migrated_and_its_log_is_read() {
    let folder = std::env::temp_dir().join(format!("switchboard-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("old.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(VERSION_3).unwrap();

    let store = Sqlite::open(&path).unwrap();
    let (ann, ben) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
    let both = ConversationId::direct(ann, ben);
    let page = store.log(ben, 0, 10).await.unwrap();
    assert_eq!((page.floor, page.head, page.entries.len()), (1, 4, 4));
    let whats: Vec<_> = page.entries.into_iter().map(|entry| entry.what).collect();
    assert!(
        matches!(&whats[1], Logged::Message(message, marks) if message.content == "second" && marks.is_empty())
    );
    assert!(
        matches!(&whats[0], Logged::Message(message, marks) if message.seq == 1 && marks.len() == 2)
    );
    assert!(
        matches!(&whats[2], Logged::Mark { conversation, mark } if *conversation == both && mark.kind == MarkKind::Read)
    );
    let call = CallId::new(uuid::Uuid::from_u128(0xc1));
    assert!(matches!(&whats[3], Logged::Missed(missed) if missed.id == call && missed.rev == 2));
    let sender = store.log(ann, 2, 10).await.unwrap();
    let delivered = &sender.entries[0].what;
    assert!(matches!(delivered, Logged::Mark { mark, .. } if mark.kind == MarkKind::Delivered));
    assert_eq!(store.user(ben).await.unwrap().unwrap().legacy_cursor, 1);
    assert_eq!(store.undelivered(ben, 10).await.unwrap().len(), 1);
    assert_eq!(
        store.facts_after(0, 10).await.unwrap().head,
        0,
        "what the new version adds is there"
    );
    assert!(store.pending_deliveries("one".into(), 0, 10).await.unwrap().is_empty());
    store.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
