//! Deliveries of webhooks, and their endpoints.

use async_trait::async_trait;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};

use super::super::{DeliveryQuery, DeliveryRecord, EndpointRecord, Result, Webhooks};
use super::{Doc, Sqlite, facts};
use crate::clock::Timestamp;
use crate::ids::DeliveryId;

#[async_trait]
impl Webhooks for Sqlite {
    async fn queue_deliveries(
        &self,
        deliveries: Vec<DeliveryRecord>,
        cursor: String,
        position: i64,
    ) -> Result<()> {
        let queue = move |c: &Connection| {
            deliveries.iter().try_for_each(|delivery| save(c, delivery))?;
            facts::save_cursor(c, &cursor, position)
        };
        self.write("queue_deliveries", queue).await
    }
    async fn save_deliveries(&self, deliveries: Vec<DeliveryRecord>) -> Result<()> {
        let all = move |c: &Connection| deliveries.iter().try_for_each(|it| save(c, it));
        self.write("save_deliveries", all).await
    }
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        let sql = "SELECT doc FROM deliveries WHERE id = ?1";
        self.read(move |c| {
            let found = c.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
            Ok(found.map(|Doc(delivery)| delivery))
        })
        .await
    }
    async fn pending_deliveries(
        &self,
        endpoint: String,
        position: i64,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>> {
        self.read(move |c| select(c, PENDING, &[&endpoint, &position, &limit])).await
    }
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<DeliveryRecord>> {
        self.read(move |c| list(c, &query)).await
    }
    async fn prune_deliveries(&self, before: Timestamp) -> Result<bool> {
        let prune = move |c: &Connection| {
            Ok(c.prepare_cached(PRUNE_DELIVERIES)?.execute((before, SLICE))? == SLICE)
        };
        self.write("prune_deliveries", prune).await
    }
    async fn endpoint(&self, name: String) -> Result<Option<EndpointRecord>> {
        let sql = "SELECT doc FROM webhook_endpoints WHERE name = ?1";
        self.read(move |c| {
            let found = c.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
            Ok(found.map(|Doc(endpoint)| endpoint))
        })
        .await
    }
    async fn save_endpoint(&self, endpoint: EndpointRecord) -> Result<()> {
        self.write("save_endpoint", move |c| put_endpoint(c, &endpoint)).await
    }
}

pub(super) fn save(c: &Connection, delivery: &DeliveryRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO deliveries (id, endpoint, position, state, finished_at, doc)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (state, doc) = (delivery.state.word(), serde_json::to_string(delivery)?);
    let (endpoint, at) = (&delivery.endpoint, delivery.finished_at);
    c.prepare_cached(sql)?.execute((delivery.id, endpoint, delivery.position, state, at, doc))?;
    Ok(())
}

pub(super) fn put_endpoint(c: &Connection, endpoint: &EndpointRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO webhook_endpoints (name, doc) VALUES (?1, ?2)";
    c.prepare_cached(sql)?.execute((&endpoint.name, serde_json::to_string(endpoint)?))?;
    Ok(())
}

pub(super) const PENDING: &str = "SELECT doc FROM deliveries
    WHERE endpoint = ?1 AND state = 'pending' AND position > ?2 ORDER BY position, id LIMIT ?3";
pub(super) const OF_STATE: &str = "SELECT doc FROM deliveries
    WHERE state = ?4 AND id < ?1 AND (?2 IS NULL OR endpoint = ?2) ORDER BY id DESC LIMIT ?3";
pub(super) const ALL_DELIVERIES: &str = "SELECT doc FROM deliveries
    WHERE id < ?1 AND (?2 IS NULL OR endpoint = ?2) ORDER BY id DESC LIMIT ?3";

fn list(c: &Connection, query: &DeliveryQuery) -> Result<Vec<DeliveryRecord>> {
    let before = query.before.unwrap_or(DeliveryId::new(uuid::Uuid::max()));
    match query.state {
        Some(state) => {
            select(c, OF_STATE, &[&before, &query.endpoint, &query.limit, &state.word()])
        }
        None => select(c, ALL_DELIVERIES, &[&before, &query.endpoint, &query.limit]),
    }
}

/// How many rows one call forgets.
const SLICE: usize = 500;

pub(super) const PRUNE_DELIVERIES: &str = "DELETE FROM deliveries WHERE id IN
    (SELECT id FROM deliveries WHERE finished_at < ?1 AND finished_at IS NOT NULL ORDER BY finished_at, id LIMIT ?2)";

fn select(c: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<DeliveryRecord>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| row.get(0))?;
    rows.map(|doc| Ok(doc.map(|Doc(delivery)| delivery)?)).collect()
}
