//! One picture of the server as it is now: each part gives its figures, and health, `/api/info`, `/metrics` and `doctor` read the
//! picture and nothing else.

mod families;
mod features;
mod metrics;
mod process;
mod store;

pub use self::families::{FAMILIES, Family, Kind, Part};
pub use self::features::{Features, Surface};
pub use self::metrics::{render, start, upkeep};
pub use self::process::{Memory, Process, resident};
pub use self::store::{StoreProbe, StoreState};
use crate::auth::Auth;
use crate::calls::Calls;
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::ledger::{Held, Ledger};
use crate::limits::Limits;
use crate::presence::Presence;
use crate::recordings::Recordings;
use crate::relay::Relay;
use crate::rooms::Rooms;
use crate::sfu::Sfu;
use crate::store::Store;
use crate::webhooks::Webhooks;
use crate::{auth, calls, delivery, limits, presence, recordings, relay, rooms, sfu, webhooks};

/// The name under which the server presents itself.
pub const SERVICE: &str = "switchboard";
/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The parts that are asked.
#[allow(missing_docs)]
pub struct Parts<'a> {
    pub store: &'a dyn Store,
    pub probe: &'a StoreProbe,
    pub auth: &'a Auth,
    pub limits: &'a Limits,
    pub ledger: &'a Ledger,
    pub delivery: &'a Delivery,
    pub presence: &'a Presence,
    pub calls: &'a Calls,
    pub rooms: &'a Rooms,
    pub recordings: &'a Recordings,
    pub webhooks: &'a Webhooks,
    pub relay: &'a Relay,
    pub sfu: &'a Sfu,
    pub draining: bool,
    pub started_at: Timestamp,
}

/// What every part said at one moment.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Snapshot {
    pub at: Timestamp,
    pub draining: bool,
    pub process: Process,
    pub store: StoreState,
    pub auth: auth::Stats,
    pub limits: limits::Stats,
    pub ledger: Vec<Held>,
    pub delivery: delivery::Stats,
    pub presence: presence::Stats,
    pub calls: calls::Stats,
    pub rooms: rooms::Stats,
    pub recordings: recordings::Stats,
    pub webhooks: webhooks::Stats,
    pub relay: relay::Stats,
    pub sfu: sfu::Stats,
}

impl Snapshot {
    /// Asks every part.
    pub async fn take(parts: &Parts<'_>, at: Timestamp) -> Self {
        let store = parts.probe.state(parts.store).await;
        Self {
            at,
            draining: parts.draining,
            process: Process::now(at.since(parts.started_at)),
            store,
            auth: parts.auth.stats(),
            limits: parts.limits.stats(),
            ledger: parts.ledger.stats(),
            delivery: parts.delivery.stats(),
            presence: parts.presence.stats(),
            calls: parts.calls.stats(),
            rooms: parts.rooms.stats(),
            recordings: parts.recordings.stats(),
            webhooks: parts.webhooks.stats(),
            relay: parts.relay.stats(),
            sfu: parts.sfu.stats(),
        }
    }

    /// Whether media of rooms and of relayed calls is received.
    pub fn receives_media(&self) -> bool {
        self.sfu.workers > 0
    }

    /// Whether something can be recorded.
    pub fn records(&self) -> bool {
        self.receives_media() && self.recordings.enabled
    }

    /// Whether the server should be sent work.
    pub fn is_ready(&self) -> bool {
        self.store.writes && !self.draining
    }
}
