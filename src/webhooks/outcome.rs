//! What an attempt means for its delivery.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{DeliveryRecord, DeliveryState};

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// A status of 2xx.
    Taken(u16),
    /// Another status, and for how long the endpoint wants no more requests.
    Refused(u16, Option<Duration>),
    /// No answer, and why.
    Unreachable(String),
    /// The store does not say what was to be sent.
    Unknown,
    /// The store has forgotten what was to be sent.
    Forgotten,
}

impl Answer {
    /// The status of an answer by HTTP.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Taken(status) | Self::Refused(status, _) => Some(*status),
            Self::Unreachable(_) | Self::Unknown | Self::Forgotten => None,
        }
    }

    /// Why it was not taken.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Taken(_) => None,
            Self::Refused(status @ 300..400, _) => Some(format!(
                "answered {status}; redirects are not followed, name the last address"
            )),
            Self::Refused(status, _) => Some(format!("answered {status}")),
            Self::Unreachable(why) => Some(why.clone()),
            Self::Unknown => Some("the store does not answer".into()),
            Self::Forgotten => {
                Some("the fact is older than store.fact_days and was forgotten".into())
            }
        }
    }
}

/// The first wait; each further one is three times as long.
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// For how long an endpoint may ask for silence.
const MOST_SILENCE: Duration = Duration::from_secs(24 * 3600);
/// How soon what the store did not give is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long to wait after so many attempts; `jitter` is 0 to 1.
pub(super) fn wait(attempts: u32, jitter: f64) -> Duration {
    let factor = 3_u32.saturating_pow(attempts.saturating_sub(1).min(20));
    let wait = FIRST.saturating_mul(factor).min(LONGEST);
    wait.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.4, 0.8))
}

/// A delivery after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settled {
    pub(super) record: DeliveryRecord,
    /// How it is counted.
    pub(super) counted: Option<&'static str>,
    /// The endpoint wants nothing any more.
    pub(super) gone: bool,
    /// Until when the endpoint wants nothing.
    pub(super) silent_until: Option<Timestamp>,
}

/// Applies what came of an attempt that ended `now`. A delivery is given up when its next attempt would come later than `retry_for` after
/// it was queued; each has one attempt at least.
pub(super) fn settle(
    before: DeliveryRecord,
    answer: &Answer,
    now: Timestamp,
    retry_for: Duration,
    jitter: f64,
) -> Settled {
    if *answer == Answer::Unknown {
        let record = DeliveryRecord { next_at: now.after(AGAIN), ..before };
        return Settled { record, counted: None, gone: false, silent_until: None };
    }
    let silence = match answer {
        Answer::Refused(_, silence) => silence.map(|silence| silence.min(MOST_SILENCE)),
        _ => None,
    };
    let attempts = before.attempts.saturating_add(1);
    let next_at = now.after(wait(attempts, jitter).max(silence.unwrap_or_default()));
    let gone = matches!(answer, Answer::Refused(410, _));
    let late = next_at > before.queued_at.after(retry_for);
    let state = match answer {
        Answer::Taken(_) => DeliveryState::Delivered,
        Answer::Forgotten => DeliveryState::Failed,
        _ if gone || late => DeliveryState::Failed,
        _ => DeliveryState::Pending,
    };
    let counted = match state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        DeliveryState::Pending => "retried",
    };
    let record = DeliveryRecord {
        state,
        attempts,
        next_at,
        attempted_at: Some(now),
        status: answer.status(),
        error: answer.error(),
        finished_at: (state != DeliveryState::Pending).then_some(now),
        ..before
    };
    let silent_until = silence.map(|silence| now.after(silence));
    Settled { record, counted: Some(counted), gone, silent_until }
}

/// A delivery that is not tried any more.
pub(super) fn give_up(record: DeliveryRecord, now: Timestamp, why: &str) -> DeliveryRecord {
    let (state, error) = (DeliveryState::Failed, Some(why.to_owned()));
    DeliveryRecord { state, error, finished_at: Some(now), ..record }
}
