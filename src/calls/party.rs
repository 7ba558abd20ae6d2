//! One person's end of a call: which connection it is on, whether that is lost, and the signals that wait for it.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{CallSignal, SignalKind};
use crate::ids::SessionId;

/// Candidates that wait for one side at most.
const WAITING_CANDIDATES: usize = 200;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Party {
    /// The connection it is on; `None` while that is unknown (a call made by REST, or before an answer).
    pub(super) session: Option<SessionId>,
    /// Since when its connection is lost, and until when it may come back.
    pub(super) lost: Option<(Timestamp, Timestamp)>,
    waiting: Waiting,
    /// The last session description that it sent, while its media does not go through the server.
    pub(super) described: Option<Arc<str>>,
    candidates_since: Timestamp,
    candidates: u32,
}

/// Signals for a side that is not there: the newest offer, the newest answer, and candidates.
#[derive(Clone, Debug, Default)]
struct Waiting {
    offer: Option<Arc<CallSignal>>,
    answer: Option<Arc<CallSignal>>,
    candidates: Vec<Arc<CallSignal>>,
}

impl Party {
    pub(super) fn on(session: Option<SessionId>) -> Self {
        Self { session, ..Self::default() }
    }

    /// Notes that its connection is lost; what was lost before stays lost since then.
    pub(super) fn lose(&mut self, now: Timestamp, until: Timestamp) {
        let since = self.lost.map_or(now, |(since, _)| since);
        self.lost = Some((since, until));
    }

    /// Whether its connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Counts a candidate from this side; false when there are too many in 30 s.
    pub(super) fn takes_candidate(&mut self, most: u32, now: Timestamp) -> bool {
        if now.since(self.candidates_since).as_secs() >= 30 {
            (self.candidates_since, self.candidates) = (now, 0);
        }
        self.candidates += 1;
        self.candidates <= most
    }

    /// Keeps a signal for this side; false when there is no room.
    pub(super) fn keep(&mut self, kind: SignalKind, signal: Arc<CallSignal>) -> bool {
        match kind {
            SignalKind::Offer => {
                // Candidates that came before belong to the offer that this one replaces.
                self.waiting.candidates.clear();
                self.waiting.offer = Some(signal);
            }
            SignalKind::Answer => self.waiting.answer = Some(signal),
            SignalKind::IceCandidate if self.waiting.candidates.len() >= WAITING_CANDIDATES => {
                return false;
            }
            SignalKind::IceCandidate => self.waiting.candidates.push(signal),
        }
        true
    }

    /// Takes what waits, in the order in which it must be applied.
    pub(super) fn take_waiting(&mut self) -> Vec<(SignalKind, Arc<CallSignal>)> {
        let Waiting { offer, answer, candidates } = std::mem::take(&mut self.waiting);
        let offer = offer.map(|signal| (SignalKind::Offer, signal));
        let answer = answer.map(|signal| (SignalKind::Answer, signal));
        let candidates = candidates.into_iter().map(|signal| (SignalKind::IceCandidate, signal));
        offer.into_iter().chain(answer).chain(candidates).collect()
    }
}
