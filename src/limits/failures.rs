//! A bucket for each network that can be looked at before something is charged to it: whoever failed too often is refused before
//! more is spent on it than a look.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock, Reference as _};
use ipnet::IpNet;
use parking_lot::Mutex;

use super::{TooMany, too_many};

type Instant = <DefaultClock as governor::clock::Clock>::Instant;

/// A token that somebody shows, whose worth is not known yet. It is charged to its network before the backend is asked about it, so
/// that those under way count, and is given back unless the token was bad.
pub struct Attempt<'a> {
    failures: &'a Failures,
    network: IpNet,
    charged: AtomicBool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(failures: &'a Failures, network: IpNet) -> Self {
        Self { failures, network, charged: AtomicBool::new(false) }
    }

    /// Whether a token that nobody knows is worth a question to the backend; not when the network has failed too often.
    pub fn may_ask(&self) -> bool {
        let charged = self.failures.reserve(self.network);
        self.charged.store(charged, Ordering::Relaxed);
        charged
    }

    /// The token was bad, or there was none; `Err` when there were too many before it.
    pub fn failed(self) -> Result<(), TooMany> {
        if self.charged.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.failures.charge(self.network)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if *self.charged.get_mut() && self.failures.on {
            self.failures.pardon(self.network);
        }
    }
}

/// Nanoseconds of a minute.
const MINUTE: u64 = 60_000_000_000;

/// The generic cell rate algorithm (ITU-T I.371), a rate a minute of which all may come at once.
pub(super) struct Failures {
    what: &'static str,
    limit: String,
    on: bool,
    /// Nanoseconds that one failure costs.
    cost: u64,
    clock: DefaultClock,
    begun: Instant,
    /// When the debts of a network are paid, in nanoseconds since the beginning.
    paid_at: Mutex<HashMap<IpNet, u64>>,
}

impl Failures {
    pub(super) fn per_minute(what: &'static str, on: bool, rate: u32) -> Self {
        let clock = DefaultClock::default();
        Self {
            what,
            limit: format!("{rate} a minute from one address"),
            on,
            cost: MINUTE / u64::from(rate.max(1)),
            begun: clock.now(),
            clock,
            paid_at: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64()
    }

    /// Charges one failure; `Err` when there were too many before it.
    pub(super) fn charge(&self, network: IpNet) -> Result<(), TooMany> {
        if !self.on {
            return Ok(());
        }
        let now = self.now();
        let mut all = self.paid_at.lock();
        let paid_at = all.entry(network).or_default();
        self.check(*paid_at, now)?;
        *paid_at = now.max(*paid_at) + self.cost;
        Ok(())
    }

    /// Charges what may become a failure, where there is room for it; who asks may be told nothing yet.
    fn reserve(&self, network: IpNet) -> bool {
        if !self.on {
            return true;
        }
        let now = self.now();
        let mut all = self.paid_at.lock();
        let paid_at = all.get(&network).copied().unwrap_or_default();
        let has_room = paid_at + self.cost <= now + MINUTE;
        if has_room {
            all.insert(network, now.max(paid_at) + self.cost);
        }
        has_room
    }

    /// It was no failure.
    fn pardon(&self, network: IpNet) {
        if let Some(paid_at) = self.paid_at.lock().get_mut(&network) {
            *paid_at = paid_at.saturating_sub(self.cost);
        }
    }

    fn check(&self, paid_at: u64, now: u64) -> Result<(), TooMany> {
        let wait = (paid_at + self.cost).saturating_sub(now + MINUTE);
        if wait == 0 {
            return Ok(());
        }
        metrics::counter!("rtc_rate_limited_total", "what" => self.what).increment(1);
        Err(too_many(self.what, &self.limit, Duration::from_nanos(wait)))
    }

    pub(super) fn len(&self) -> usize {
        self.paid_at.lock().len()
    }

    /// Forgets those whose debts are paid.
    pub(super) fn shrink(&self) {
        let now = self.now();
        let mut all = self.paid_at.lock();
        all.retain(|_, paid_at| *paid_at > now);
        all.shrink_to_fit();
    }
}
