//! Deliveries of webhooks, and their endpoints.

use super::{S, at, dump};

use switchboard::fact::FactKind;
use switchboard::ids::{DeliveryId, FactId};
use switchboard::store::{DeliveryQuery, DeliveryRecord, DeliveryState, EndpointRecord};
use uuid::Uuid;

pub(crate) fn delivery(n: u8, endpoint: &str, position: i64) -> DeliveryRecord {
    DeliveryRecord {
        id: DeliveryId::new(Uuid::from_u128(n.into())),
        endpoint: endpoint.into(),
        position,
        fact: FactId::new(Uuid::from_u128(u128::try_from(position).unwrap())),
        event: FactKind::CallEnded,
        subject: format!("call:{n}"),
        state: DeliveryState::Pending,
        attempts: 0,
        queued_at: at(position),
        next_at: at(position),
        attempted_at: None,
        status: None,
        error: None,
        finished_at: None,
    }
}

fn over(delivery: DeliveryRecord, state: DeliveryState, ms: i64) -> DeliveryRecord {
    let (attempted_at, finished_at) = (Some(at(ms)), Some(at(ms)));
    let (status, error) = match state {
        DeliveryState::Failed => (Some(500), Some("500 Internal Server Error".to_owned())),
        _ => (Some(204), None),
    };
    DeliveryRecord { state, attempts: 3, attempted_at, status, error, finished_at, ..delivery }
}

async fn listed(store: &S, query: DeliveryQuery) -> Vec<u128> {
    let found = store.deliveries(DeliveryQuery { limit: 10, ..query }).await.unwrap();
    found.iter().map(|it| it.id.uuid().as_u128()).collect()
}

pub(crate) async fn deliveries_are_queued_together_with_the_cursor_of_their_endpoint(store: S) {
    let cursor = async || store.fact_cursor("webhooks:one".into()).await.unwrap();
    let two = vec![delivery(2, "one", 12), delivery(1, "one", 11)];
    store.queue_deliveries(two, "webhooks:one".into(), 14).await.unwrap();
    store.queue_deliveries(vec![delivery(3, "two", 11)], "webhooks:two".into(), 11).await.unwrap();
    assert_eq!(cursor().await, 14);
    store.queue_deliveries(vec![], "webhooks:one".into(), 20).await.unwrap();
    assert_eq!(cursor().await, 20);
    let pending = async |endpoint: &str, position, limit| {
        let found = store.pending_deliveries(endpoint.into(), position, limit).await.unwrap();
        found.iter().map(|it| it.position).collect::<Vec<_>>()
    };
    assert_eq!(pending("one", 0, 10).await, [11, 12], "in the order of the facts");
    assert_eq!(pending("one", 0, 1).await, [11]);
    assert_eq!(pending("one", 11, 10).await, [12]);
    assert_eq!(pending("two", 0, 10).await, [11]);
    let done = over(delivery(1, "one", 11), DeliveryState::Delivered, 5);
    let given_up = over(delivery(2, "one", 12), DeliveryState::Failed, 6);
    store.save_deliveries(vec![done.clone(), given_up.clone()]).await.unwrap();
    assert_eq!(pending("one", 0, 10).await, [0_i64; 0]);
    assert_eq!(store.delivery(done.id).await.unwrap(), Some(done));
    assert_eq!(store.delivery(given_up.id).await.unwrap(), Some(given_up.clone()));
    assert_eq!(store.delivery(DeliveryId::new(Uuid::from_u128(9))).await.unwrap(), None);
    store.save_deliveries(vec![delivery(2, "one", 12)]).await.unwrap();
    assert_eq!(pending("one", 0, 10).await, [12], "one that is sent again is pending again");
    let lines = dump(&store).await;
    assert_eq!(lines.iter().filter(|line| line.contains("\"t\":\"delivery\"")).count(), 3);
}

pub(crate) async fn deliveries_are_listed_by_state_and_endpoint_and_those_that_are_over_pruned(
    store: S,
) {
    let all = vec![
        over(delivery(1, "one", 1), DeliveryState::Delivered, 100),
        over(delivery(2, "one", 2), DeliveryState::Failed, 200),
        over(delivery(3, "two", 1), DeliveryState::Failed, 300),
        delivery(4, "one", 4),
    ];
    store.save_deliveries(all).await.unwrap();
    let any = DeliveryQuery::default;
    assert_eq!(listed(&store, any()).await, [4, 3, 2, 1]);
    let before = Some(DeliveryId::new(Uuid::from_u128(3)));
    assert_eq!(listed(&store, DeliveryQuery { before, ..any() }).await, [2, 1]);
    let failed = || DeliveryQuery { state: Some(DeliveryState::Failed), ..any() };
    assert_eq!(listed(&store, failed()).await, [3, 2]);
    assert_eq!(listed(&store, DeliveryQuery { before, ..failed() }).await, [2]);
    let of_one = |query| DeliveryQuery { endpoint: Some("one".into()), ..query };
    assert_eq!(listed(&store, of_one(any())).await, [4, 2, 1]);
    assert_eq!(listed(&store, of_one(failed())).await, [2]);
    assert_eq!(store.deliveries(DeliveryQuery { limit: 2, ..any() }).await.unwrap().len(), 2);
    while store.prune_deliveries(at(300)).await.unwrap() {}
    assert_eq!(
        listed(&store, any()).await,
        [4, 3],
        "what is pending, and what was over later, stays"
    );
}

pub(crate) async fn an_endpoint_is_known_by_its_name(store: S) {
    assert_eq!(store.endpoint("one".into()).await.unwrap(), None);
    let one = EndpointRecord { name: "one".into(), configuration: "a".into(), disabled_at: None };
    store.save_endpoint(one.clone()).await.unwrap();
    let disabled = EndpointRecord { disabled_at: Some(at(1)), ..one };
    store.save_endpoint(disabled.clone()).await.unwrap();
    assert_eq!(store.endpoint("one".into()).await.unwrap(), Some(disabled));
    assert_eq!(store.endpoint("two".into()).await.unwrap(), None);
}
