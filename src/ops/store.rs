//! The state of the store.

use std::time::Duration;

use moka::future::Cache;

use crate::store::{Store, Totals};

/// How long the store may take before it counts as one that does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// For so long a trial write stands for later ones: a trial costs a sync, and clients without a token may cause it.
const FRESH: Duration = Duration::from_secs(1);

/// The store, in numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreState {
    /// The engine: `sqlite` or `mongodb`.
    pub engine: &'static str,
    /// Whether it took a write within the last second.
    pub writes: bool,
    /// How much is in it; `None` when it does not answer.
    pub totals: Option<Totals>,
}

/// Asks the store how it is, with one trial write at a time.
pub struct StoreProbe(Cache<(), bool>);

impl Default for StoreProbe {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1).time_to_live(FRESH).build())
    }
}

impl StoreProbe {
    /// The state of the store now; the trial write may be a second old.
    pub async fn state(&self, store: &dyn Store) -> StoreState {
        let trial =
            async { matches!(tokio::time::timeout(PATIENCE, store.ping()).await, Ok(Ok(()))) };
        let (writes, totals) = tokio::join!(
            self.0.get_with((), trial),
            tokio::time::timeout(PATIENCE, store.totals())
        );
        let totals = totals.ok().and_then(Result::ok);
        StoreState { engine: store.engine(), writes, totals }
    }
}
