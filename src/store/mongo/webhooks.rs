//! Deliveries of webhooks, and their endpoints.

use async_trait::async_trait;
use mongodb::bson::{RawDocumentBuf, cstr, doc};

use super::super::{DeliveryQuery, DeliveryRecord, EndpointRecord, Result, Webhooks};
use super::Mongo;
use super::batch::WriteBatch;
use super::facts::Cursor;
use super::rows::StoredDocument;
use crate::clock::Timestamp;
use crate::ids::DeliveryId;

impl StoredDocument for DeliveryRecord {
    const IN: &'static str = "deliveries";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("endpoint"), self.endpoint.as_str());
        document.append(cstr!("position"), self.position);
        document.append(cstr!("state"), self.state.word());
        document.append(cstr!("finished_at"), self.finished_at.map_or(0, |at| at.0));
    }
}

impl StoredDocument for EndpointRecord {
    const IN: &'static str = "webhook_endpoints";
    fn id(&self) -> String {
        self.name.clone()
    }
}

#[async_trait]
impl Webhooks for Mongo {
    async fn queue_deliveries(
        &self,
        deliveries: Vec<DeliveryRecord>,
        cursor: String,
        position: i64,
    ) -> Result<()> {
        self.write("queue_deliveries", Vec::new(), move |batch| {
            Box::pin(async move {
                deliveries.iter().try_for_each(|delivery| batch.put(delivery))?;
                batch.put(&Cursor { name: cursor, position })
            })
        })
        .await
    }
    async fn save_deliveries(&self, deliveries: Vec<DeliveryRecord>) -> Result<()> {
        self.write("save_deliveries", Vec::new(), move |batch| {
            Box::pin(async move { deliveries.iter().try_for_each(|it| batch.put(it)) })
        })
        .await
    }
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.reader.get(&id.to_string()).await
    }
    async fn pending_deliveries(
        &self,
        endpoint: String,
        position: i64,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>> {
        let behind =
            doc! { "endpoint": endpoint, "state": "pending", "position": { "$gt": position } };
        self.reader.find(behind, doc! { "position": 1, "_id": 1 }, limit).await
    }
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<DeliveryRecord>> {
        let mut filter = doc! {};
        if let Some(state) = query.state {
            filter.insert("state", state.word());
        }
        if let Some(endpoint) = query.endpoint {
            filter.insert("endpoint", endpoint);
        }
        if let Some(before) = query.before {
            filter.insert("_id", doc! { "$lt": before.to_string() });
        }
        self.reader.find(filter, doc! { "_id": -1 }, query.limit).await
    }
    async fn prune_deliveries(&self, before: Timestamp) -> Result<bool> {
        self.write_alone("prune_deliveries", move |batch| Box::pin(prune(batch, before))).await
    }
    async fn endpoint(&self, name: String) -> Result<Option<EndpointRecord>> {
        self.reader.get(&name).await
    }
    async fn save_endpoint(&self, endpoint: EndpointRecord) -> Result<()> {
        self.write("save_endpoint", Vec::new(), move |batch| {
            Box::pin(async move { batch.put(&endpoint) })
        })
        .await
    }
}

/// How many rows one call forgets: some servers find the place of each anew.
const SLICE: usize = 100;

async fn prune(batch: &mut WriteBatch, before: Timestamp) -> Result<bool> {
    let over = doc! { "finished_at": { "$gt": 0_i64, "$lt": before.0 } };
    let sort = doc! { "finished_at": 1, "_id": 1 };
    let over = batch.reader.find::<DeliveryRecord>(over, sort, SLICE).await?;
    for delivery in &over {
        batch.remove::<DeliveryRecord>(&delivery.id());
    }
    Ok(over.len() == SLICE)
}
