//! Webhooks: what happened, sent to the application's backend as Standard Webhooks (<https://www.standardwebhooks.com>). Each endpoint reads
//! the facts with a cursor of its own and has a task that delivers what it wants: of one call or room in order, different ones side by side,
//! again and again for about a day. Deliveries are stored before they are sent, so that a restart loses none.

mod endpoint;
mod error;
mod outcome;
mod payload;
mod queue;
mod sender;
mod task;
#[cfg(test)]
mod tests;
mod view;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::endpoint::Endpoint;
pub use self::error::WebhookError;
use self::outcome::Answer;
use self::sender::Sender;
use self::task::{Resend, Rules, Shared, Task};
pub use self::view::{Delivery, EndpointView, Listing, TestResult};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::ids::DeliveryId;
use crate::store::{DeliveryQuery, DeliveryRecord, Store};

type Result<T> = std::result::Result<T, WebhookError>;

/// How many requests to send again may wait for one endpoint.
const RESENDS: usize = 64;
/// How long a request to send again waits for its endpoint's task.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an endpoint looks for new facts.
const POLL: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 250 });
/// Rows of a page.
const PAGE: usize = 50;

/// Webhooks, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Deliveries that are pending.
    pub pending: usize,
    /// For how long the oldest of them has been.
    pub oldest: Duration,
    /// Endpoints that want nothing more.
    pub disabled: usize,
}

/// What an endpoint's task says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    pending: usize,
    oldest: Option<Timestamp>,
    disabled_at: Option<Timestamp>,
}

/// An endpoint and the way to its task.
struct Line {
    endpoint: Arc<Endpoint>,
    figures: Arc<Mutex<Figures>>,
    resends: mpsc::Sender<Resend>,
    /// Until the task takes it.
    requests: Mutex<Option<mpsc::Receiver<Resend>>>,
}

impl Line {
    fn figures(&self) -> Figures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Webhooks {
    lines: Vec<Line>,
    shared: Arc<Shared>,
    keep: Duration,
    stop: watch::Sender<bool>,
}

impl Webhooks {
    /// The endpoints of a configuration, which was checked.
    pub fn new(config: &config::Webhooks, dev: bool, clock: Clock, store: Arc<dyn Store>) -> Self {
        let endpoints = config.endpoints.iter().filter_map(|it| {
            let endpoint = Endpoint::new(it, &config.secret, dev);
            let wrong = |why| tracing::error!(endpoint = it.name, why, "an endpoint is left out");
            endpoint.map_err(wrong).ok()
        });
        let line = |endpoint| {
            let (resends, requests) = mpsc::channel(RESENDS);
            let (endpoint, figures) = (Arc::new(endpoint), Arc::default());
            Line { endpoint, figures, resends, requests: Mutex::new(Some(requests)) }
        };
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
        let rules = Rules {
            retry_for: hours(config.retry_hours),
            parallel: config.parallel,
            pending: config.pending,
            poll: POLL,
        };
        let sender = Sender::new(Duration::from_secs(config.deadline));
        Self {
            lines: endpoints.map(line).collect(),
            shared: Arc::new(Shared { clock, store, sender, rules }),
            keep: hours(config.keep_days.saturating_mul(24)),
            stop: watch::Sender::new(false),
        }
    }

    /// Delivers until [`Webhooks::stop`].
    pub async fn run(self: Arc<Self>) {
        let tasks = self.lines.iter().filter_map(|line| {
            let mut requests = line.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let (endpoint, figures) = (line.endpoint.clone(), line.figures.clone());
            let task = Task::new(self.shared.clone(), endpoint, figures);
            Some(task.run(requests.take()?, self.stop.subscribe()))
        });
        futures_util::future::join_all(tasks).await;
    }

    /// Begins no more attempts; [`Webhooks::run`] ends when those under way are over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Forgets deliveries that have been over for long, some hundred a call; true when there is more.
    pub async fn prune(&self) -> crate::store::Result<bool> {
        let before = self.shared.clock.now().before(self.keep);
        self.shared.store.prune_deliveries(before).await
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let figures: Vec<_> = self.lines.iter().map(Line::figures).collect();
        let now = self.shared.clock.now();
        let oldest = figures.iter().filter_map(|it| it.oldest).min();
        Stats {
            pending: figures.iter().map(|it| it.pending).sum(),
            oldest: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            disabled: figures.iter().filter(|it| it.disabled_at.is_some()).count(),
        }
    }

    /// The endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        self.lines.iter().map(|line| EndpointView::of(&line.endpoint, line.figures())).collect()
    }

    /// A page of deliveries, newest first, and where the next one begins.
    pub async fn deliveries(&self, listing: Listing) -> Result<(Vec<Delivery>, Option<String>)> {
        let before = listing.cursor.map(|text| text.parse::<DeliveryId>());
        let before = before.transpose().map_err(|_| WebhookError::Cursor)?;
        let limit = listing.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let (endpoint, state) = (listing.endpoint, listing.state);
        let query = DeliveryQuery { endpoint, state, before, limit };
        let found = self.shared.store.deliveries(query).await?;
        let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string());
        Ok((found.into_iter().map(Delivery::from).collect(), next))
    }

    /// Sends a delivery again: one that is over begins anew, one that is pending is tried at once.
    pub async fn resend(&self, id: DeliveryId) -> Result<Delivery> {
        let known = self.shared.store.delivery(id).await?.ok_or(WebhookError::NoDelivery)?;
        let line = self.lines.iter().find(|line| line.endpoint.name == known.endpoint);
        let line = line.ok_or(WebhookError::Removed(known.endpoint))?;
        let (reply, replied) = oneshot::channel();
        line.resends.try_send(Resend { id, reply }).map_err(|_| WebhookError::Busy)?;
        let replied = tokio::time::timeout(PATIENCE, replied).await;
        let record: DeliveryRecord =
            replied.map_err(|_| WebhookError::Busy)?.map_err(|_| WebhookError::Busy)??;
        Ok(record.into())
    }

    /// Sends a test event to an endpoint, once, and waits for the answer; it may be left out when there is only one.
    pub async fn test(&self, name: Option<&str>) -> Result<TestResult> {
        let line = match (name, &*self.lines) {
            (None, [only]) => only,
            (None, []) => return Err(WebhookError::NoneConfigured),
            (None, _) => return Err(WebhookError::Ambiguous),
            (Some(name), lines) => lines
                .iter()
                .find(|line| line.endpoint.name == name)
                .ok_or_else(|| WebhookError::NoEndpoint(name.to_owned()))?,
        };
        let (endpoint, clock) = (&line.endpoint, &self.shared.clock);
        let begun = clock.instant();
        let (id, now) = (clock.id().to_string(), clock.now());
        let answer = self.shared.sender.send(endpoint, &id, now, payload::of_test(now)).await;
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(TestResult {
            endpoint: endpoint.name.clone(),
            delivered: matches!(answer, Answer::Taken(_)),
            status: answer.status(),
            error: answer.error(),
            ms,
        })
    }
}
