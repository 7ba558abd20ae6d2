//! Facts as the store numbers them, and how far their consumers are.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::clock::Timestamp;
use crate::fact::Fact;

/// What happened, in order.
#[async_trait]
pub trait Facts: Send + Sync {
    /// Appends facts that no other write brings along, in their order. O(k log n).
    async fn record_facts(&self, facts: Vec<Fact>) -> Result<()>;
    /// The facts behind `position`, at most `limit`. Positions grow by one from fact to fact, and a fact appears only after
    /// those before it. O(log n + k).
    async fn facts_after(&self, position: i64, limit: usize) -> Result<FactPage>;
    /// Forgets the oldest facts, up to the first that is not from before `before`, some hundred a call; true when there is
    /// more. The newest stays. O(k log n).
    async fn prune_facts(&self, before: Timestamp) -> Result<bool>;
    /// The position up to which a consumer has read; 0 for one that has read nothing. O(log n).
    async fn fact_cursor(&self, name: String) -> Result<i64>;
    /// Notes how far a consumer has read; a smaller position has it read again. O(log n).
    async fn save_fact_cursor(&self, name: String, position: i64) -> Result<()>;
}

/// A fact in its place.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PlacedFact {
    /// 1 for the first fact of a store; the next one has the next number.
    pub position: i64,
    /// What happened.
    pub fact: Fact,
}

/// A slice of the facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FactPage {
    /// In the order of their positions, without a gap.
    pub facts: Vec<PlacedFact>,
    /// The position of the newest fact; 0 where there is none.
    pub head: i64,
    /// The position of the oldest fact that is kept; 0 where there is none. Who has read less has missed what was pruned.
    pub floor: i64,
}
