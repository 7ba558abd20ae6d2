//! What is to be delivered to endpoints of webhooks, and what became of it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Result;
use crate::clock::Timestamp;
use crate::fact::FactKind;
use crate::ids::{DeliveryId, FactId};

/// Deliveries and the endpoints that they go to.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Stores deliveries, and that the consumer `cursor` has read the facts up to `position`: both, or neither. O(k log n).
    async fn queue_deliveries(
        &self,
        deliveries: Vec<DeliveryRecord>,
        cursor: String,
        position: i64,
    ) -> Result<()>;
    /// Stores what became of deliveries. O(k log n).
    async fn save_deliveries(&self, deliveries: Vec<DeliveryRecord>) -> Result<()>;
    /// A delivery. O(log n).
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>>;
    /// Deliveries to an endpoint that are pending, in the order of their facts behind `position`. O(log n + k).
    async fn pending_deliveries(
        &self,
        endpoint: String,
        position: i64,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>>;
    /// Deliveries, newest first. O(log n + k) without an endpoint.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<DeliveryRecord>>;
    /// Forgets deliveries that were over before `before`, some hundred a call; true when there is more. O(k log n).
    async fn prune_deliveries(&self, before: Timestamp) -> Result<bool>;
    /// What is known of an endpoint. O(log n).
    async fn endpoint(&self, name: String) -> Result<Option<EndpointRecord>>;
    /// Stores what is known of an endpoint. O(log n).
    async fn save_endpoint(&self, endpoint: EndpointRecord) -> Result<()>;
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It is tried, or waits for its next attempt or for the one before it.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Failed,
}

impl DeliveryState {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// One fact for one endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeliveryRecord {
    /// Unique; a later delivery has a greater one.
    pub id: DeliveryId,
    /// The name of the endpoint.
    pub endpoint: String,
    /// The position of the fact. What it says is read when it is sent, so that what was erased is not sent.
    pub position: i64,
    /// Which fact; what identifies it to the endpoint, however often it is sent.
    pub fact: FactId,
    /// What happened.
    pub event: FactKind,
    /// What it happened to: of one subject, one delivery goes after the other.
    pub subject: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it is to be delivered.
    pub queued_at: Timestamp,
    /// When it is tried next, at the earliest.
    pub next_at: Timestamp,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_at: Option<Timestamp>,
    /// What the endpoint answered last, as an HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// Which deliveries.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Older than this one.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: usize,
}

/// An endpoint, as it was last configured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EndpointRecord {
    /// Its name in the configuration.
    pub name: String,
    /// A digest of its configuration.
    pub configuration: String,
    /// Since when it wants nothing more, until its configuration changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
}
