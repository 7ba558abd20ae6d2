//! Facts as the store numbers them.

use serde::{Deserialize, Serialize};

use crate::fact::Fact;

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
