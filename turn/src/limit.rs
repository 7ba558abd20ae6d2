//! Limits per source in memory of constant size: sources share slots by a keyed hash, so that no source can choose which slot it
//! empties, and a flood from invented addresses costs no byte.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Instant;

/// How many slots; a power of two.
const SLOTS: usize = 1 << 16;

/// Token buckets of sources.
pub(crate) struct Limiter {
    slots: Box<[Slot]>,
    hasher: RandomState,
    epoch: Instant,
    /// Tokens that come back in a second.
    rate: u32,
    /// Tokens a slot holds.
    burst: u32,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Milliseconds since the epoch at which the slot would be full again.
    full_at: u64,
}

impl Limiter {
    pub(crate) fn new(rate: u32, burst: u32, epoch: Instant) -> Self {
        let slots = vec![Slot::default(); SLOTS].into_boxed_slice();
        Self { slots, hasher: RandomState::new(), epoch, rate: rate.max(1), burst }
    }

    /// Takes a token of `source`; false when it has none left. An IPv6 source is its /64.
    #[expect(clippy::cast_possible_truncation, reason = "a slot needs the low bits only")]
    pub(crate) fn allows(&mut self, source: IpAddr, now: Instant) -> bool {
        let key = match source {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ (1 << 63),
        };
        let slot = self.hasher.hash_one(key) as usize & (SLOTS - 1);
        let Some(slot) = self.slots.get_mut(slot) else { return false };
        let now = now.saturating_duration_since(self.epoch).as_millis() as u64;
        // The generic cell rate algorithm (ITU-T I.371): one number a slot.
        let next = slot.full_at.max(now) + 1000 / u64::from(self.rate);
        if next > now + 1000 * u64::from(self.burst) / u64::from(self.rate) {
            return false;
        }
        slot.full_at = next;
        true
    }
}
