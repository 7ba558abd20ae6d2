//! What is known of a running call beside its record: which connection each side uses, and what waits for a side that is
//! not there.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::relayed::Relayed;
use crate::clock::Timestamp;
use crate::event::{CallSignal, SignalKind};
use crate::ids::{SessionId, UserId};
use crate::store::CallRecord;

/// Candidates that wait for one side at most.
const WAITING_CANDIDATES: usize = 200;

/// A running call.
pub(super) struct Live {
    pub(super) record: CallRecord,
    /// Connections that show it ringing.
    pub(super) shown: HashSet<SessionId>,
    /// Who put it on hold.
    pub(super) held: HashSet<UserId>,
    /// What the server does where media goes through it.
    pub(super) relayed: Option<Box<Relayed>>,
    /// Who wants it to be recorded from the beginning.
    pub(super) record_by: Option<UserId>,
    /// An offer from before the acceptance, and whose it is.
    pub(super) early: Option<(UserId, Value)>,
    sides: HashMap<UserId, Side>,
}

/// One person's end of a call.
#[derive(Default)]
pub(super) struct Side {
    /// The connection it is on; `None` while nobody knows (a call made by REST, or before an answer).
    pub(super) session: Option<SessionId>,
    /// When its connection was lost, and until when it may come back.
    pub(super) lost: Option<(Timestamp, Timestamp)>,
    waiting: Waiting,
    /// What it last said of its media, while that does not go through the server.
    pub(super) described: Option<String>,
    candidates_since: Timestamp,
    candidates: u32,
}

/// Signals for a side that is not there: the newest offer, the newest answer, and candidates.
#[derive(Default)]
struct Waiting {
    offer: Option<CallSignal>,
    answer: Option<CallSignal>,
    candidates: Vec<CallSignal>,
}

impl Live {
    pub(super) fn new(record: CallRecord, caller: Option<SessionId>) -> Self {
        let mut sides = HashMap::new();
        sides.insert(record.from, Side { session: caller, ..Side::default() });
        sides.insert(record.to, Side::default());
        Self {
            record,
            shown: HashSet::new(),
            held: HashSet::new(),
            relayed: None,
            record_by: None,
            early: None,
            sides,
        }
    }

    /// The end of one of the two.
    pub(super) fn side(&mut self, user: UserId) -> &mut Side {
        self.sides.entry(user).or_default()
    }

    /// When this call next wants attention.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let until = self.lost().map(|(_, until)| until);
        self.record.deadline.into_iter().chain(until).min()
    }

    fn lost(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.sides.values().filter_map(|side| side.lost)
    }

    /// When the first side was lost, once one has been lost for too long.
    pub(super) fn lost_since(&self, now: Timestamp) -> Option<Timestamp> {
        let given_up = self.lost().any(|(_, until)| now >= until);
        self.lost().map(|(since, _)| since).min().filter(|_| given_up)
    }

    /// The one whose connection this is.
    pub(super) fn user_on(&self, session: SessionId) -> Option<UserId> {
        self.sides.iter().find(|(_, side)| side.session == Some(session)).map(|(user, _)| *user)
    }
}

impl Side {
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
    pub(super) fn keep(&mut self, kind: SignalKind, signal: CallSignal) -> bool {
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
    pub(super) fn take_waiting(&mut self) -> Vec<(SignalKind, CallSignal)> {
        let Waiting { offer, answer, candidates } = std::mem::take(&mut self.waiting);
        let offer = offer.map(|signal| (SignalKind::Offer, signal));
        let answer = answer.map(|signal| (SignalKind::Answer, signal));
        let candidates = candidates.into_iter().map(|signal| (SignalKind::IceCandidate, signal));
        offer.into_iter().chain(answer).chain(candidates).collect()
    }
}

/// A signal with its one payload.
pub(super) fn signal(
    call: &CallRecord,
    from: UserId,
    kind: SignalKind,
    payload: Value,
    ice_restart: Option<bool>,
) -> CallSignal {
    let (mut offer, mut answer, mut candidate) = (None, None, None);
    match kind {
        SignalKind::Offer => offer = Some(payload),
        SignalKind::Answer => answer = Some(payload),
        SignalKind::IceCandidate => candidate = Some(payload),
    }
    CallSignal {
        call_id: call.id,
        from_user_id: from,
        to_user_id: call.peer_of(from),
        offer,
        answer,
        candidate,
        ice_restart,
    }
}
