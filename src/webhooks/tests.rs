//! Whole deliveries in virtual time, to a receiver that does what a test says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::config::{Secret, WebhookEndpoint};
use crate::fact::{Fact, FactKind};
use crate::http::backend::{Received, Receiver};
use crate::ids::{CallId, FactId, UserId};
use crate::store::DeliveryState;
use crate::store::sqlite::Sqlite;
use crate::testing::failing::{Chances, FailingStore};

const SECRET: &str = "whsec_kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEuU1oXbVq0Yzc=";
const HOUR: Duration = Duration::from_secs(3600);

type Headers = Vec<(&'static str, &'static str)>;

/// Endpoints of a configuration over a store, until it is stopped.
struct House {
    store: Arc<dyn Store>,
    clock: Clock,
    webhooks: Arc<Webhooks>,
    running: JoinHandle<()>,
}

fn config(url: &str, change: impl FnOnce(&mut config::Webhooks)) -> config::Webhooks {
    let endpoint =
        WebhookEndpoint { name: "one".into(), url: url.into(), ..WebhookEndpoint::default() };
    let mut config = config::Webhooks {
        endpoints: vec![endpoint],
        secret: Secret::new(SECRET),
        ..config::Webhooks::default()
    };
    change(&mut config);
    config
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Sqlite::in_memory().unwrap())
}

impl House {
    /// Starts delivering, and waits until every endpoint has taken up where it was.
    async fn open(config: &config::Webhooks, store: Arc<dyn Store>, clock: &Clock) -> Self {
        let webhooks = Webhooks::new(config, false, clock.clone(), store.clone());
        let webhooks = Arc::new(webhooks);
        let running = tokio::spawn(webhooks.clone().run());
        for endpoint in &config.endpoints {
            let begun = async || store.endpoint(endpoint.name.clone()).await;
            while !matches!(begun().await, Ok(Some(_))) {
                tokio::time::sleep(Duration::from_millis(1)).await; // paces the looks
            }
        }
        Self { store, clock: clock.clone(), webhooks, running }
    }

    /// The server goes down, and what is stored stays.
    async fn close(self) -> Arc<dyn Store> {
        self.webhooks.stop();
        self.running.await.unwrap();
        self.store
    }

    async fn happened(&self, facts: Vec<Fact>) {
        self.store.record_facts(facts).await.unwrap();
    }

    async fn states(&self) -> Vec<(DeliveryState, u32)> {
        let (all, _) = self.webhooks.deliveries(Listing::default()).await.unwrap();
        all.into_iter().rev().map(|it| (it.state, it.attempts)).collect()
    }

    /// Waits until the oldest delivery is over, or is tried later.
    async fn until_nothing_is_due(&self) {
        let tried = async {
            loop {
                let (all, _) = self.webhooks.deliveries(Listing::default()).await.unwrap();
                let due = all.last().and_then(|oldest| oldest.next_attempt_at);
                if due.is_none_or(|due| due > self.clock.now()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await; // paces the looks
            }
        };
        tokio::time::timeout(Duration::from_secs(10), tried).await.expect("it is not tried");
    }

    /// Waits until every delivery is as `wanted` says, by its state and attempts.
    async fn until_states(&self, wanted: &[(DeliveryState, u32)]) {
        let met = async {
            while self.states().await != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await; // paces the looks
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), met).await.is_err() {
            panic!("they are {:?}, and should be {wanted:?}", self.states().await);
        }
    }
}

/// Waits until something is so that others do on their own.
async fn until(what: impl Fn() -> bool) {
    let met = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await; // paces the looks
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.expect("it has not come to be");
}

/// Step `n` of a call.
fn step(call: u128, n: i64) -> Fact {
    let fact = Fact::new(FactId::new(Uuid::new_v4()), Timestamp(n), FactKind::CallRated);
    fact.of_call(CallId::new(Uuid::from_u128(call))).with(json!({ "n": n }))
}

/// Call and step of a request.
fn of(received: &Received) -> (u128, i64) {
    let data = received.json()["data"].clone();
    let call: Uuid = data["callId"].as_str().unwrap().parse().unwrap();
    (call.as_u128(), data["n"].as_i64().unwrap())
}

fn steps(receiver: &Receiver) -> Vec<(u128, i64)> {
    receiver.received().iter().map(of).collect()
}

fn clock() -> Clock {
    Clock::manual(Timestamp(1_900_000_000_000))
}

const DELIVERED: DeliveryState = DeliveryState::Delivered;
const FAILED: DeliveryState = DeliveryState::Failed;
const PENDING: DeliveryState = DeliveryState::Pending;

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_sent_signed_and_what_happened_before_or_is_not_wanted_is_not() {
    let receiver = Receiver::start(|_| (204, Headers::new())).await;
    let (store, clock) = (memory(), clock());
    store.record_facts(vec![step(9, 9)]).await.unwrap();
    let only_calls = config(&receiver.url, |it| it.endpoints[0].events = vec!["call.*".into()]);
    let house = House::open(&only_calls, store, &clock).await;
    let id = FactId::new(Uuid::new_v4());
    let erased = Fact::new(id, Timestamp(0), FactKind::UserErased).by(UserId::new(3));
    house.happened(vec![erased, step(1, 1)]).await;
    house.until_states(&[(DELIVERED, 1)]).await;
    let [request] = &receiver.received()[..] else { panic!("{:?}", receiver.received()) };
    assert_eq!(request.header("content-type"), "application/json");
    let at = clock.now().seconds().to_string();
    assert_eq!(request.header("webhook-timestamp"), at);
    let id = request.header("webhook-id");
    let endpoint = Endpoint::new(&only_calls.endpoints[0], &only_calls.secret, false).unwrap();
    let signature = endpoint.signature(id, clock.now(), &request.body);
    assert_eq!(request.header("webhook-signature"), signature);
    assert_eq!((&request.json()["type"], of(request)), (&json!("call.rated"), (1, 1)));
    let (listed, next) = house.webhooks.deliveries(Listing::default()).await.unwrap();
    assert_eq!((listed[0].webhook_id.to_string().as_str(), next), (id, None));
    assert_eq!((listed[0].last_status, listed[0].next_attempt_at), (Some(204), None));
    assert_eq!(house.webhooks.stats(), Stats::default());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_of_a_call_waits_for_the_one_before_and_other_calls_do_not() {
    let status = Arc::new(AtomicU16::new(503));
    let said = status.clone();
    let answer = move |it: &Received| {
        let status = if of(it) == (1, 1) { said.load(Ordering::SeqCst) } else { 200 };
        (status, Headers::new())
    };
    let receiver = Receiver::start(answer).await;
    let house = House::open(&config(&receiver.url, |_| ()), memory(), &clock()).await;
    house.happened(vec![step(1, 1), step(2, 1), step(1, 2), step(2, 2), step(1, 3)]).await;
    let waiting = [(PENDING, 1), (DELIVERED, 1), (PENDING, 0), (DELIVERED, 1), (PENDING, 0)];
    house.until_states(&waiting).await;
    for attempts in 2..=5 {
        house.clock.advance(outcome::wait(attempts - 1, 1.0));
        let mut waiting = waiting;
        waiting[0].1 = attempts;
        house.until_states(&waiting).await;
    }
    assert!(!steps(&receiver).contains(&(1, 2)), "{:?}", steps(&receiver));
    let tried: Vec<_> = receiver.received().into_iter().filter(|it| of(it) == (1, 1)).collect();
    let id = tried[0].header("webhook-id");
    assert!(tried.len() == 5 && tried.iter().all(|it| it.header("webhook-id") == id));
    let times: Vec<i64> =
        tried.iter().map(|it| it.header("webhook-timestamp").parse().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "each attempt has its own time: {times:?}");
    assert_eq!(house.webhooks.stats().pending, 3);
    status.store(200, Ordering::SeqCst);
    house.clock.advance(HOUR);
    house
        .until_states(&[
            (DELIVERED, 6),
            (DELIVERED, 1),
            (DELIVERED, 1),
            (DELIVERED, 1),
            (DELIVERED, 1),
        ])
        .await;
    let first: Vec<_> = steps(&receiver).into_iter().filter(|it| it.0 == 1).skip(5).collect();
    assert_eq!(first, [(1, 1), (1, 2), (1, 3)]);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_given_up_after_a_day_and_makes_way_for_the_next() {
    let answer = |it: &Received| (if of(it).1 == 1 { 500 } else { 200 }, Headers::new());
    let receiver = Receiver::start(answer).await;
    let house = House::open(&config(&receiver.url, |_| ()), memory(), &clock()).await;
    house.happened(vec![step(1, 1), step(1, 2)]).await;
    house.until_states(&[(PENDING, 1), (PENDING, 0)]).await;
    let mut hours = 0;
    while house.states().await[0].0 == PENDING {
        assert!(hours < 40);
        house.clock.advance(HOUR);
        hours += 1;
        // Whatever is due is tried before time goes on.
        house.until_nothing_is_due().await;
    }
    assert!((20..=26).contains(&hours), "given up after {hours} hours");
    until(|| house.webhooks.stats().pending == 0).await;
    let states = house.states().await;
    assert_eq!((states[0].0, states[1]), (FAILED, (DELIVERED, 1)));
    let failed = Listing { state: Some(FAILED), ..Listing::default() };
    let (failed, _) = house.webhooks.deliveries(failed).await.unwrap();
    assert_eq!(
        (failed[0].last_status, failed[0].last_error.as_deref()),
        (Some(500), Some("answered 500"))
    );
    // It stays in the list for days, and no longer.
    assert!(!house.webhooks.prune().await.unwrap());
    assert_eq!(house.states().await.len(), 2);
    house.clock.advance(HOUR * 24 * 8);
    house.webhooks.prune().await.unwrap();
    assert!(house.states().await.is_empty());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_an_endpoint_until_its_configuration_changes() {
    let status = Arc::new(AtomicU16::new(410));
    let said = status.clone();
    let receiver = Receiver::start(move |_| (said.load(Ordering::SeqCst), Headers::new())).await;
    let (known, clock) = (config(&receiver.url, |_| ()), clock());
    let house = House::open(&known, memory(), &clock).await;
    house.happened(vec![step(1, 1), step(1, 2), step(1, 3)]).await;
    house.until_states(&[(FAILED, 1), (FAILED, 0), (FAILED, 0)]).await;
    until(|| house.webhooks.stats() == Stats { disabled: 1, ..Stats::default() }).await;
    assert!(house.webhooks.endpoints()[0].disabled_at.is_some());
    let (listed, _) = house.webhooks.deliveries(Listing::default()).await.unwrap();
    assert!(listed[0].last_error.as_ref().unwrap().contains("410"));
    let again = house.webhooks.resend(listed[0].delivery_id).await;
    assert!(matches!(again, Err(WebhookError::Disabled)), "{again:?}");
    status.store(200, Ordering::SeqCst);
    house.happened(vec![step(2, 1)]).await;
    // A restart with the same configuration changes nothing.
    let house = House::open(&known, house.close().await, &clock).await;
    until(|| house.webhooks.stats().disabled == 1).await;
    assert_eq!(receiver.received().len(), 1);
    let other = config(&receiver.url, |it| it.endpoints[0].events = vec!["*".into()]);
    let house = House::open(&other, house.close().await, &clock).await;
    let mut more = 0;
    while receiver.received().len() == 1 {
        // What happened meanwhile is not sent; when it has begun again is seen by what comes.
        more += 1;
        house.happened(vec![step(3, more)]).await;
        tokio::time::sleep(Duration::from_millis(5)).await; // paces the looks
    }
    assert_eq!((of(&receiver.received()[1]).0, house.webhooks.stats().disabled), (3, 0));
    let listed = house.webhooks.deliveries(Listing { state: Some(FAILED), ..Listing::default() });
    let (listed, _) = listed.await.unwrap();
    house.webhooks.resend(listed[0].delivery_id).await.unwrap();
    until(|| receiver.received().iter().any(|it| of(it).0 == 1 && of(it).1 == 3)).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_asks_for_silence_gets_it() {
    let status = Arc::new(AtomicU16::new(429));
    let said = status.clone();
    let answer = move |_: &Received| (said.load(Ordering::SeqCst), vec![("retry-after", "900")]);
    let receiver = Receiver::start(answer).await;
    let house = House::open(&config(&receiver.url, |it| it.parallel = 1), memory(), &clock()).await;
    house.happened(vec![step(1, 1)]).await;
    house.until_states(&[(PENDING, 1)]).await;
    status.store(200, Ordering::SeqCst);
    house.happened(vec![step(2, 1)]).await;
    until(|| house.webhooks.stats().pending == 2).await;
    house.clock.advance(Duration::from_secs(899));
    // While tests come through, which do not wait, nothing else does.
    for _ in 0..30 {
        house.webhooks.test(None).await.unwrap();
    }
    let received = receiver.received();
    let tests = received.iter().filter(|it| it.json()["type"] == "webhook.test").count();
    assert_eq!((received.len(), tests), (31, 30));
    house.clock.advance(Duration::from_secs(2));
    house.until_states(&[(DELIVERED, 2), (DELIVERED, 1)]).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_redirects_or_takes_too_long_says_so() {
    let moved = Receiver::start(|_| (302, vec![("location", "http://127.0.0.1:1/")])).await;
    let nobody = "http://127.0.0.1:1/hooks?token=hidden".to_owned();
    for (url, status, why) in
        [(moved.url.clone(), Some(302), "redirects are not followed"), (nobody, None, "refused")]
    {
        let house = House::open(&config(&url, |_| ()), memory(), &clock()).await;
        house.happened(vec![step(1, 1)]).await;
        house.until_states(&[(PENDING, 1)]).await;
        let (listed, _) = house.webhooks.deliveries(Listing::default()).await.unwrap();
        let error = listed[0].last_error.clone().unwrap();
        assert_eq!(listed[0].last_status, status);
        assert!(error.contains(why) && !error.contains("hidden"), "{error}");
        let tested = house.webhooks.test(None).await.unwrap();
        assert_eq!((tested.delivered, tested.status, tested.error), (false, status, Some(error)));
        assert!(!house.webhooks.endpoints()[0].url.contains("hidden"));
        house.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_sent_again_under_the_same_id_and_tests_are_not_listed() {
    let receiver = Receiver::start(|_| (200, Headers::new())).await;
    let two = config(&receiver.url, |it| {
        let other = WebhookEndpoint { name: "two".into(), ..it.endpoints[0].clone() };
        it.endpoints[0].events = vec!["call.*".into()];
        it.endpoints.push(WebhookEndpoint { events: vec!["user.*".into()], ..other });
    });
    let house = House::open(&two, memory(), &clock()).await;
    house.happened(vec![step(1, 1)]).await;
    house.until_states(&[(DELIVERED, 1)]).await;
    let (listed, _) = house.webhooks.deliveries(Listing::default()).await.unwrap();
    house.webhooks.resend(listed[0].delivery_id).await.unwrap();
    until(|| receiver.received().len() == 2).await;
    let received = receiver.received();
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    house.until_states(&[(DELIVERED, 1)]).await;
    let unknown = house.webhooks.resend(DeliveryId::new(Uuid::nil())).await;
    assert!(matches!(unknown, Err(WebhookError::NoDelivery)), "{unknown:?}");
    assert!(matches!(house.webhooks.test(None).await, Err(WebhookError::Ambiguous)));
    assert!(matches!(house.webhooks.test(Some("x")).await, Err(WebhookError::NoEndpoint(_))));
    assert!(house.webhooks.test(Some("two")).await.unwrap().delivered);
    assert_eq!(receiver.received()[2].json()["type"], "webhook.test");
    assert_eq!(house.states().await.len(), 1);
    let names: Vec<_> = house.webhooks.endpoints().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["one", "two"]);
    // Without its endpoint, a delivery cannot be sent.
    let without = config(&receiver.url, |it| it.endpoints[0].name = "three".into());
    let house = House::open(&without, house.close().await, &clock()).await;
    let removed = house.webhooks.resend(listed[0].delivery_id).await;
    assert!(matches!(removed, Err(WebhookError::Removed(_))), "{removed:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_bounded_and_the_rest_waits_among_the_facts() {
    let status = Arc::new(AtomicU16::new(500));
    let said = status.clone();
    let receiver = Receiver::start(move |_| (said.load(Ordering::SeqCst), Headers::new())).await;
    let house = House::open(&config(&receiver.url, |it| it.pending = 16), memory(), &clock()).await;
    house.happened((0..300).map(|n| step(n.try_into().unwrap(), n)).collect()).await;
    house.until_states(&[(PENDING, 1); 16]).await;
    assert_eq!(house.webhooks.stats().pending, 16);
    assert_eq!(
        house
            .store
            .deliveries(DeliveryQuery { limit: 100, ..Default::default() })
            .await
            .unwrap()
            .len(),
        16
    );
    status.store(200, Ordering::SeqCst);
    house.clock.advance(HOUR);
    let mut all = Vec::new();
    until(|| steps(&receiver).iter().filter(|it| it.1 >= 16).count() == 284).await;
    all.extend(steps(&receiver).into_iter().skip(16));
    all.sort_unstable();
    assert_eq!(all, (0..300).map(|n| (n.try_into().unwrap(), n)).collect::<Vec<_>>());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_or_forgotten_before_it_was_sent_is_not_sent() {
    let status = Arc::new(AtomicU16::new(500));
    let said = status.clone();
    let receiver = Receiver::start(move |_| (said.load(Ordering::SeqCst), Headers::new())).await;
    let house = House::open(&config(&receiver.url, |_| ()), memory(), &clock()).await;
    house.happened(vec![step(1, 1), step(2, 2), step(3, 3)]).await;
    house.until_states(&[(PENDING, 1), (PENDING, 1), (PENDING, 1)]).await;
    while house.store.prune_facts(Timestamp(3)).await.unwrap() {}
    status.store(200, Ordering::SeqCst);
    house.clock.advance(HOUR);
    house.until_states(&[(FAILED, 2), (FAILED, 2), (DELIVERED, 2)]).await;
    let (listed, _) = house.webhooks.deliveries(Listing::default()).await.unwrap();
    assert!(listed[2].last_error.as_ref().unwrap().contains("store.fact_days"));
    house.close().await;
}

/// Runs over a store that fails, with restarts, against an endpoint that refuses now and then.
async fn through_failures(seed: u64) {
    const CALLS: u128 = 6;
    const STEPS: i64 = 12;
    let refusals = std::sync::Mutex::new(crate::testing::dice::Dice::new(seed));
    let refusals = Arc::new(refusals);
    let answer = move |_: &Received| {
        let refuses = refusals.lock().unwrap().chance(200);
        (if refuses { 503 } else { 200 }, Headers::new())
    };
    let receiver = Receiver::start(answer).await;
    let (store, known, clock) =
        (FailingStore::over(memory()), config(&receiver.url, |_| ()), clock());
    let mut house = House::open(&known, store.clone(), &clock).await;
    store.fail_by_chance(seed, Chances { writes: 150, reads: 100 });
    for n in 0..STEPS {
        for call in 0..CALLS {
            store.inner.record_facts(vec![step(call, n)]).await.unwrap();
        }
        clock.advance(Duration::from_secs(7));
        if n % 5 == 4 {
            house = House::open(&known, house.close().await, &clock).await;
        }
    }
    store.fail_by_chance(seed, Chances::default());
    let wanted = usize::try_from(STEPS).unwrap() * usize::try_from(CALLS).unwrap();
    let distinct = || {
        let ids: std::collections::HashSet<String> =
            receiver.received().iter().map(|it| it.header("webhook-id").to_owned()).collect();
        ids.len()
    };
    let all = async {
        while distinct() < wanted || house.states().await.iter().any(|it| it.0 != DELIVERED) {
            clock.advance(Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await; // paces the looks
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("some never came");
    // First attempts of a call come in the order in which it happened, and whatever comes twice has the id it had.
    let mut last = HashMap::<u128, i64>::new();
    let mut ids = HashMap::<(u128, i64), String>::new();
    for request in receiver.received() {
        let (call, n) = of(&request);
        let id = request.header("webhook-id").to_owned();
        assert_eq!(*ids.entry((call, n)).or_insert_with(|| id.clone()), id, "seed {seed}");
        let newest = last.entry(call).or_insert(-1);
        assert!(n <= *newest + 1, "seed {seed}: call {call} is at {newest} and gets {n}");
        *newest = n.max(*newest);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_order_is_kept_through_failures_of_the_store_and_restarts() {
    for seed in [1, 2, 3, 4] {
        println!("seed {seed}");
        through_failures(seed).await;
    }
}
