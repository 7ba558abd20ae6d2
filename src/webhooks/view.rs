//! What operators see of webhooks.

use serde::Serialize;
use utoipa::ToSchema;

use super::Figures;
use super::endpoint::Endpoint;
use crate::clock::Timestamp;
use crate::config::without_secrets;
use crate::ids::{DeliveryId, FactId};
use crate::store::{DeliveryRecord, DeliveryState};

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// A fact for an endpoint, and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Names it.
    pub delivery_id: DeliveryId,
    /// The value of `webhook-id`, however often it is sent.
    pub webhook_id: FactId,
    /// The endpoint's name.
    pub endpoint: String,
    /// What happened, such as `call.ended`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to, such as `call:…`; of one subject, one delivery goes after the other.
    pub subject: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it is to be delivered.
    pub queued_at: Timestamp,
    /// When it is tried next, at the earliest; null when it is over.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was tried last.
    pub last_attempt_at: Option<Timestamp>,
    /// What the endpoint answered last, as an HTTP status.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Since when it is over.
    pub finished_at: Option<Timestamp>,
}

impl From<DeliveryRecord> for Delivery {
    fn from(record: DeliveryRecord) -> Self {
        let pending = record.state == DeliveryState::Pending;
        Self {
            delivery_id: record.id,
            webhook_id: record.fact,
            endpoint: record.endpoint,
            kind: record.event.to_string(),
            subject: record.subject,
            state: record.state,
            attempts: record.attempts,
            queued_at: record.queued_at,
            next_attempt_at: pending.then_some(record.next_at),
            last_attempt_at: record.attempted_at,
            last_status: record.status,
            last_error: record.error,
            finished_at: record.finished_at,
        }
    }
}

/// An endpoint as it is configured, and how it does.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Its name.
    pub name: String,
    /// Its address, without what is secret in it.
    pub url: String,
    /// What it wants; empty: everything.
    pub events: Vec<String>,
    /// Deliveries that are pending.
    pub pending: usize,
    /// Since when the oldest of them has been.
    pub oldest_pending_since: Option<Timestamp>,
    /// When it answered 410 Gone; nothing is sent to it until its configuration changes.
    pub disabled_at: Option<Timestamp>,
}

impl EndpointView {
    pub(super) fn of(endpoint: &Endpoint, figures: Figures) -> Self {
        Self {
            name: endpoint.name.clone(),
            url: without_secrets(endpoint.url.as_str()).into_owned(),
            events: endpoint.events().to_vec(),
            pending: figures.pending,
            oldest_pending_since: figures.oldest,
            disabled_at: figures.disabled_at,
        }
    }
}

/// What became of a test event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The endpoint's name.
    pub endpoint: String,
    /// Whether it took the event.
    pub delivered: bool,
    /// What it answered, as an HTTP status; null when it did not.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<String>,
    /// Milliseconds until the answer.
    pub ms: u64,
}
