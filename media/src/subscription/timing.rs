//! The time line of what one viewer gets: it goes on over changes of layers.

use std::time::{Duration, Instant};

use super::Subscription;
use crate::codec::Codec;
use crate::history::Meta;
use crate::layer::Layer;
use crate::numbers::MediaTime;
use crate::sender::Sender;

impl Subscription {
    /// The timestamp that the first packet of a new layer gets: on the time line of what was shown before, and after it.
    pub(super) fn next_timestamp(
        &self,
        layer: u8,
        meta: &Meta,
        codec: Codec,
        layers: &[Layer],
        sender: &Sender,
    ) -> MediaTime {
        let Some(last_at) = sender.last_at else { return meta.timestamp };
        let same_clock = || {
            let (before, after) = (self.current?, layer);
            let epoch = self.epochs.back().filter(|epoch| epoch.layer == before)?;
            let before = layers.get(usize::from(before))?.clock?;
            let after = layers.get(usize::from(after))?.clock?;
            let ahead = seconds(after.ntp.wrapping_sub(before.ntp)) * f64::from(codec.clock());
            #[expect(clippy::cast_possible_truncation, reason = "modulo the RTP clock")]
            let ahead = ahead.round() as i64 as u32;
            let shown = before.rtp.plus(ahead).since(after.rtp);
            Some(meta.timestamp.plus(shown).plus(epoch.timestamp))
        };
        let passed = meta.arrived.saturating_duration_since(last_at);
        let by_arrival = sender.last_timestamp.plus(ticks(passed, codec).max(1));
        match same_clock() {
            // Clocks that are sound agree with the time that has passed to within a second.
            Some(timestamp)
                if timestamp.distance(sender.last_timestamp) > 0
                    && timestamp.distance(by_arrival).unsigned_abs() < codec.clock() =>
            {
                timestamp
            }
            _ => by_arrival,
        }
    }

    /// RTP time of this viewer's stream at `now`, and the publisher's NTP time then; for sender reports.
    pub(crate) fn clock(
        &self,
        now: Instant,
        codec: Codec,
        layers: &[Layer],
    ) -> Option<(u64, MediaTime)> {
        let epoch = self.epochs.back().filter(|_| self.current.is_some())?;
        let clock = layers.get(usize::from(epoch.layer))?.clock?;
        let passed = now.saturating_duration_since(clock.at);
        let ntp = clock.ntp.wrapping_add(ntp(passed));
        let rtp = clock.rtp.plus(ticks(passed, codec)).plus(epoch.timestamp);
        Some((ntp, rtp))
    }
}

/// A signed difference of NTP times in seconds.
fn seconds(difference: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "differences are small")]
    let difference = difference.cast_signed() as f64;
    difference / 4_294_967_296.0
}

/// A duration in 32.32 fixed point seconds.
fn ntp(duration: Duration) -> u64 {
    u64::try_from((duration.as_nanos() << 32) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// A duration in ticks of a codec's RTP clock.
#[expect(clippy::cast_possible_truncation, reason = "modulo the RTP clock")]
fn ticks(duration: Duration, codec: Codec) -> u32 {
    (duration.as_micros() * u128::from(codec.clock()) / 1_000_000) as u32
}
