//! What delivers to one endpoint: it reads the facts behind its cursor, stores a delivery for each that the endpoint wants, together with
//! the cursor, and sends what is due.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::endpoint::Endpoint;
use super::outcome::{Answer, Settled, give_up, settle};
use super::queue::Queue;
use super::sender::Sender;
use super::{Figures, Result, WebhookError, payload};
use crate::clock::{Clock, Timestamp};
use crate::ids::DeliveryId;
use crate::store::{
    DeliveryRecord, DeliveryState, EndpointRecord, PlacedFact, Result as StoreResult, Store,
};

/// How many facts or deliveries are read at once.
const SLICE: usize = 200;
/// How long to wait when the store does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How long attempts under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// Why what was pending is given up.
const GONE: &str =
    "the endpoint answered 410 Gone; nothing is sent to it until its configuration changes";

/// What the tasks of all endpoints share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Store>,
    pub(super) sender: Sender,
    pub(super) rules: Rules,
}

/// How deliveries are tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// For how long one is tried.
    pub(super) retry_for: Duration,
    /// How many requests there are at the same time.
    pub(super) parallel: usize,
    /// How many may be pending.
    pub(super) pending: usize,
    /// How often new facts are looked for.
    pub(super) poll: Duration,
}

/// A request to send a delivery again.
pub(super) struct Resend {
    pub(super) id: DeliveryId,
    pub(super) reply: oneshot::Sender<Result<DeliveryRecord>>,
}

/// See the module.
pub(super) struct Task {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    figures: Arc<Mutex<Figures>>,
    queue: Queue,
    /// Up to which fact it has read; none before the store has answered.
    cursor: Option<i64>,
    disabled_at: Option<Timestamp>,
    under_way: FuturesUnordered<BoxFuture<'static, (DeliveryRecord, Answer)>>,
    /// What came of attempts, until it is stored.
    settled: Vec<Settled>,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        endpoint: Arc<Endpoint>,
        figures: Arc<Mutex<Figures>>,
    ) -> Self {
        let (queue, under_way) = (Queue::default(), FuturesUnordered::new());
        let (cursor, disabled_at, settled) = (None, None, Vec::new());
        Self { shared, endpoint, figures, queue, cursor, disabled_at, under_way, settled }
    }

    /// Delivers until `stop` says so.
    pub(super) async fn run(
        mut self,
        mut resends: mpsc::Receiver<Resend>,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            let rest = match self.step().await {
                Ok(rest) => rest,
                Err(error) => {
                    let endpoint = &self.endpoint.name;
                    tracing::warn!(%error, endpoint, "webhooks wait for the store");
                    // What the store has done is read anew.
                    self.cursor = None;
                    PAUSE.min(self.shared.rules.poll * 4)
                }
            };
            self.show();
            tokio::select! {
                Some(over) = self.under_way.next(), if !self.under_way.is_empty() => self.note(over),
                Some(Resend { id, reply }) = resends.recv() => drop(reply.send(self.resend(id).await)),
                () = tokio::time::sleep(rest) => {}
                _ = stop.changed() => {}
            }
        }
        self.finish().await;
    }

    /// Stores what is over, reads what is new, begins what is due; gives how long nothing is to be done.
    async fn step(&mut self) -> StoreResult<Duration> {
        self.store_settled().await?;
        let cursor = match self.cursor {
            Some(cursor) => cursor,
            None => self.begin().await?,
        };
        if self.disabled_at.is_some() {
            return Ok(self.shared.rules.poll);
        }
        let read_all = self.read_facts(cursor).await?;
        self.begin_attempts();
        if !read_all {
            return Ok(Duration::ZERO);
        }
        let now = self.shared.clock.now();
        let due = self.queue.deadline().filter(|_| self.has_room());
        let due = due.map_or(Duration::MAX, |due| due.since(now));
        Ok(due.min(self.shared.rules.poll))
    }

    /// Takes up what the store knows of the endpoint. A new one begins with what happens from now on, and so does one that was disabled
    /// under another configuration.
    async fn begin(&mut self) -> StoreResult<i64> {
        let store = &self.shared.store;
        let (name, configuration) = (&self.endpoint.name, &self.endpoint.configuration);
        let known = store.endpoint(name.clone()).await?;
        let same = known.as_ref().is_some_and(|known| known.configuration == *configuration);
        let was_disabled = known.as_ref().and_then(|known| known.disabled_at);
        if known.is_none() || was_disabled.is_some() && !same {
            let head = store.facts_after(i64::MAX, 1).await?.head;
            store.save_fact_cursor(self.endpoint.cursor(), head).await?;
        }
        if !same {
            let (name, configuration) = (name.clone(), configuration.clone());
            let record = EndpointRecord { name, configuration, disabled_at: None };
            store.save_endpoint(record).await?;
        }
        let cursor = store.fact_cursor(self.endpoint.cursor()).await?;
        self.read_pending().await?;
        self.disabled_at = was_disabled.filter(|_| same);
        if self.disabled_at.is_some() {
            self.give_all_up().await?;
        }
        self.cursor = Some(cursor);
        Ok(cursor)
    }

    async fn read_pending(&mut self) -> StoreResult<()> {
        let mut position = i64::MIN;
        loop {
            let name = self.endpoint.name.clone();
            let page = self.shared.store.pending_deliveries(name, position, SLICE).await?;
            let full = page.len() == SLICE;
            for record in page {
                position = record.position;
                self.queue.add(record);
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Queues what happened behind the cursor, as far as there is room; false when there may be more.
    async fn read_facts(&mut self, cursor: i64) -> StoreResult<bool> {
        let room = self.shared.rules.pending.saturating_sub(self.queue.len());
        if room == 0 {
            return Ok(true);
        }
        let page = self.shared.store.facts_after(cursor, SLICE.min(room)).await?;
        let Some(last) = page.facts.last().map(|last| last.position) else { return Ok(true) };
        let first = page.facts.first().map_or(last, |first| first.position);
        if first > cursor + 1 {
            let missed = u64::try_from(first - cursor - 1).unwrap_or_default();
            let endpoint = &self.endpoint.name;
            tracing::error!(endpoint, missed, "facts were forgotten before they were delivered");
            count("missed", missed);
        }
        let wanted = page.facts.iter().filter(|it| self.endpoint.wants(it.fact.kind));
        let deliveries: Vec<_> = wanted.map(|it| self.delivery(it)).collect();
        let store = &self.shared.store;
        store.queue_deliveries(deliveries.clone(), self.endpoint.cursor(), last).await?;
        self.cursor = Some(last);
        deliveries.into_iter().for_each(|delivery| self.queue.add(delivery));
        Ok(last >= page.head)
    }

    fn delivery(&self, PlacedFact { position, fact }: &PlacedFact) -> DeliveryRecord {
        let now = self.shared.clock.now();
        DeliveryRecord {
            id: DeliveryId::new(self.shared.clock.id()),
            endpoint: self.endpoint.name.clone(),
            position: *position,
            fact: fact.id,
            event: fact.kind,
            subject: payload::subject(fact),
            state: DeliveryState::Pending,
            attempts: 0,
            queued_at: now,
            next_at: now,
            attempted_at: None,
            status: None,
            error: None,
            finished_at: None,
        }
    }

    fn has_room(&self) -> bool {
        self.under_way.len() + self.settled.len() < self.shared.rules.parallel
    }

    fn begin_attempts(&mut self) {
        while self.has_room() {
            let Some(record) = self.queue.next(self.shared.clock.now()) else { return };
            let (shared, endpoint) = (self.shared.clone(), self.endpoint.clone());
            self.under_way.push(Box::pin(async move {
                let answer = attempt(&shared, &endpoint, &record).await;
                (record, answer)
            }));
        }
    }

    /// An attempt is over.
    fn note(&mut self, (record, answer): (DeliveryRecord, Answer)) {
        let (now, jitter) = (self.shared.clock.now(), jitter());
        self.settled.push(settle(record, &answer, now, self.shared.rules.retry_for, jitter));
    }

    /// Stores what came of attempts; only then the next of their subjects may be sent.
    async fn store_settled(&mut self) -> StoreResult<()> {
        if self.settled.is_empty() {
            return Ok(());
        }
        if self.settled.iter().any(|it| it.gone) {
            self.disable().await?;
        }
        let now = self.shared.clock.now();
        if self.disabled_at.is_some() {
            for it in self.settled.iter_mut().filter(|it| it.record.finished_at.is_none()) {
                it.record = give_up(it.record.clone(), now, GONE);
            }
        }
        let records: Vec<_> = self.settled.iter().map(|it| it.record.clone()).collect();
        self.shared.store.save_deliveries(records).await?;
        for Settled { record, counted, silent_until, .. } in std::mem::take(&mut self.settled) {
            counted.into_iter().for_each(|outcome| count(outcome, 1));
            silent_until.into_iter().for_each(|until| self.queue.be_silent(until));
            self.queue.settle(&record);
        }
        Ok(())
    }

    /// The endpoint wants nothing any more.
    async fn disable(&mut self) -> StoreResult<()> {
        if self.disabled_at.is_none() {
            let disabled_at = Some(self.shared.clock.now());
            let (name, configuration) = (&self.endpoint.name, &self.endpoint.configuration);
            let (name, configuration) = (name.clone(), configuration.clone());
            tracing::warn!(endpoint = name, "an endpoint answered 410 and is disabled");
            let record = EndpointRecord { name, configuration, disabled_at };
            self.shared.store.save_endpoint(record).await?;
            self.disabled_at = disabled_at;
        }
        self.give_all_up().await
    }

    /// Gives up whatever is pending and not under way.
    async fn give_all_up(&mut self) -> StoreResult<()> {
        let now = self.shared.clock.now();
        let records: Vec<_> =
            self.queue.take_all().into_iter().map(|it| give_up(it, now, GONE)).collect();
        for slice in records.chunks(SLICE) {
            self.shared.store.save_deliveries(slice.to_vec()).await?;
            count("failed", slice.len() as u64);
        }
        Ok(())
    }

    async fn resend(&mut self, id: DeliveryId) -> Result<DeliveryRecord> {
        if self.disabled_at.is_some() {
            return Err(WebhookError::Disabled);
        }
        let known = self.shared.store.delivery(id).await?.ok_or(WebhookError::NoDelivery)?;
        let now = self.shared.clock.now();
        if let Some(pending) = self.queue.hasten(&known, now) {
            return Ok(pending);
        }
        if self.queue.len() >= self.shared.rules.pending {
            return Err(WebhookError::Busy);
        }
        let (state, attempts, finished_at) = (DeliveryState::Pending, 0, None);
        let (queued_at, next_at) = (now, now);
        let again = DeliveryRecord { state, attempts, queued_at, next_at, finished_at, ..known };
        self.shared.store.save_deliveries(vec![again.clone()]).await?;
        self.queue.add(again.clone());
        Ok(again)
    }

    /// Lets attempts under way end, for a moment, and stores what came of them. What is not stored is sent again after the restart.
    async fn finish(&mut self) {
        let rest = async {
            while let Some(over) = self.under_way.next().await {
                self.note(over);
            }
        };
        let _ = tokio::time::timeout(FAREWELL, rest).await;
        if let Err(error) = self.store_settled().await {
            tracing::warn!(%error, "what came of webhooks could not be stored; they are sent again");
        }
    }

    fn show(&self) {
        let (pending, oldest) = (self.queue.len(), self.queue.oldest());
        let shown = Figures { pending, oldest, disabled_at: self.disabled_at };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

fn count(outcome: &'static str, by: u64) {
    metrics::counter!("rtc_webhook_deliveries_total", "outcome" => outcome).increment(by);
}

/// Reads what a delivery is about, and sends it.
async fn attempt(shared: &Shared, endpoint: &Endpoint, record: &DeliveryRecord) -> Answer {
    let found = shared.store.facts_after(record.position - 1, 1).await;
    let Ok(page) = found else { return Answer::Unknown };
    let fact = page.facts.into_iter().find(|it| it.position == record.position);
    let Some(PlacedFact { fact, .. }) = fact else { return Answer::Forgotten };
    let (id, now) = (fact.id.to_string(), shared.clock.now());
    shared.sender.send(endpoint, &id, now, payload::of(&fact)).await
}

/// A number from 0 to 1, which is not to be foreseen but need not be secret.
fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(random) / f64::from(u32::MAX)
}
