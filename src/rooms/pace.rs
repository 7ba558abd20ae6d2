//! How much a participant may send to the others of its room: data, what it says of itself, reactions and hands.

use std::collections::HashMap;

use super::{Result, RoomError};
use crate::clock::Timestamp;
use crate::config;
use crate::ids::UserId;

/// A budget that fills again with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    what: &'static str,
    /// 0: without a bound.
    per_second: u64,
    burst: u64,
}

/// The budgets of each participant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paces {
    data: Pace,
    data_bytes: Pace,
    metadata: Pace,
    reactions: Pace,
}

impl Paces {
    pub(super) fn new(limits: &config::Limits) -> Self {
        let pace = |what, per_second: u32, burst: u32| {
            let per_second = if limits.rate_limits { u64::from(per_second) } else { 0 };
            Pace { what, per_second, burst: u64::from(burst.max(1)) }
        };
        let bytes = (limits.room_data_bytes_per_second, limits.room_data_bytes_burst);
        Self {
            data: pace("room:data events", limits.room_data_per_second, limits.room_data_burst),
            data_bytes: pace("bytes of room:data", bytes.0, bytes.1),
            metadata: pace(
                "room:metadata events",
                limits.room_metadata_per_second,
                limits.room_metadata_burst,
            ),
            reactions: pace(
                "reactions and raised hands",
                limits.room_reactions_per_second,
                limits.room_reactions_burst,
            ),
        }
    }
}

/// What of a budget is used up, in thousandths, as of a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    amount: u64,
    at: Timestamp,
}

impl Used {
    /// The same at another moment.
    fn at(self, pace: Pace, now: Timestamp) -> Self {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let amount = self.amount.saturating_sub(passed.saturating_mul(pace.per_second));
        Self { amount, at: now }
    }

    /// The same with `amount` more; an error when that is too much.
    fn with(self, pace: Pace, amount: u64, now: Timestamp) -> Result<Self> {
        if pace.per_second == 0 {
            return Ok(self);
        }
        let used = self.at(pace, now);
        let wanted = used.amount.saturating_add(amount.saturating_mul(1000));
        let most = pace.burst.saturating_mul(1000);
        if wanted <= most {
            return Ok(Self { amount: wanted, ..used });
        }
        let retry_after_ms = (wanted - most).div_ceil(pace.per_second);
        let Pace { what, per_second, burst } = pace;
        Err(RoomError::TooFast { what, per_second, burst, retry_after_ms })
    }
}

/// What one user has used up.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    data: Used,
    data_bytes: Used,
    metadata: Used,
    reactions: Used,
}

/// What the users of a room have used up. It outlives their sessions, so that nobody begins anew by coming again.
#[derive(Default)]
pub(super) struct Sent(HashMap<UserId, Budget>);

impl Sent {
    fn of(&mut self, user: UserId) -> &mut Budget {
        self.0.entry(user).or_default()
    }

    /// So many bytes of data more.
    pub(super) fn data(
        &mut self,
        user: UserId,
        bytes: usize,
        paces: &Paces,
        now: Timestamp,
    ) -> Result<()> {
        let budget = self.of(user);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let data = budget.data.with(paces.data, 1, now)?;
        budget.data_bytes = budget.data_bytes.with(paces.data_bytes, bytes, now)?;
        budget.data = data;
        Ok(())
    }

    /// Something more that a participant says of itself.
    pub(super) fn metadata(&mut self, user: UserId, paces: &Paces, now: Timestamp) -> Result<()> {
        let budget = self.of(user);
        budget.metadata = budget.metadata.with(paces.metadata, 1, now)?;
        Ok(())
    }

    /// A reaction more, or a hand.
    pub(super) fn reaction(&mut self, user: UserId, paces: &Paces, now: Timestamp) -> Result<()> {
        let budget = self.of(user);
        budget.reactions = budget.reactions.with(paces.reactions, 1, now)?;
        Ok(())
    }

    /// Forgets those who have used up nothing any more; to be called when somebody leaves.
    pub(super) fn shrink(&mut self, paces: &Paces, now: Timestamp) {
        self.0.retain(|_, budget| {
            let used = [
                budget.data.at(paces.data, now),
                budget.data_bytes.at(paces.data_bytes, now),
                budget.metadata.at(paces.metadata, now),
                budget.reactions.at(paces.reactions, now),
            ];
            used.iter().any(|used| used.amount > 0)
        });
    }
}
