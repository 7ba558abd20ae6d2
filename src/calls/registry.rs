//! The running calls. A map behind a mutex that is never held across a wait; each call behind a lock of its own, which is,
//! so that a call takes one step after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_media::PeerKey;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::live::Live;
use crate::event::CallStatus;
use crate::ids::{CallId, UserId};
use crate::store::CallRecord;

#[derive(Default)]
pub(super) struct Registry(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    calls: HashMap<CallId, Arc<AsyncMutex<Live>>>,
    by_user: HashMap<UserId, Vec<Brief>>,
    /// Connections of relayed calls, and those of each.
    legs: HashMap<PeerKey, CallId>,
    legs_of: HashMap<CallId, Vec<PeerKey>>,
}

/// What the start of another call must know of a running one.
#[derive(Clone)]
struct Brief {
    id: CallId,
    from: UserId,
    to: UserId,
    status: CallStatus,
    client_id: Option<String>,
    group: Option<CallId>,
}

/// How a new call stands to the running ones.
pub(super) enum Place {
    /// Here it is, locked; and whether the person called is in another call.
    Taken { live: OwnedMutexGuard<Live>, in_call: bool },
    /// The same order came before.
    Repeat(CallId),
    /// The caller already rings somebody.
    InProgress(CallId),
    /// The person called is calling the caller.
    Glare(CallId),
}

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for a new call, unless a running one stands in its way.
    pub(super) fn reserve(&self, live: Live) -> Place {
        let mut inner = self.inner();
        let record = &live.record;
        let pending = |user| {
            inner.of(user).iter().filter(|call| call.status.is_pending()).collect::<Vec<_>>()
        };
        let together = |call: &Brief| record.group.is_some() && call.group == record.group;
        let own = |call: &&&Brief| call.from == record.from && !together(call);
        if let Some(own) = pending(record.from).iter().find(own) {
            let repeat =
                own.client_id.is_some() && own.client_id == record.client_id && own.to == record.to;
            return if repeat { Place::Repeat(own.id) } else { Place::InProgress(own.id) };
        }
        if let Some(theirs) = pending(record.from).iter().find(|call| call.from == record.to) {
            return Place::Glare(theirs.id);
        }
        let in_call = inner.of(record.to).iter().any(|call| match call.status {
            CallStatus::Accepted => call.group.is_none() || call.to == record.to,
            _ => call.from == record.to,
        });
        let id = record.id;
        // The map is locked, so nobody else can reach the new call before it is.
        match inner.add(live).try_lock_owned() {
            Ok(live) => Place::Taken { live, in_call },
            Err(_) => Place::InProgress(id),
        }
    }

    pub(super) fn add(&self, live: Live) {
        self.inner().add(live);
    }

    /// Locks a running call; `None` when it does not run (any more).
    pub(super) async fn lock(&self, id: CallId) -> Option<OwnedMutexGuard<Live>> {
        let slot = self.inner().calls.get(&id).cloned()?;
        let live = slot.lock_owned().await;
        live.record.status.is_live().then_some(live)
    }

    /// Notes the new state of a running call.
    pub(super) fn note(&self, record: &CallRecord) {
        let mut inner = self.inner();
        for user in [record.from, record.to] {
            let briefs = inner.by_user.get_mut(&user).into_iter().flatten();
            briefs
                .filter(|brief| brief.id == record.id)
                .for_each(|brief| brief.status = record.status);
        }
    }

    /// Forgets a call.
    pub(super) fn remove(&self, record: &CallRecord) {
        let mut inner = self.inner();
        inner.calls.remove(&record.id);
        for leg in inner.legs_of.remove(&record.id).unwrap_or_default() {
            inner.legs.remove(&leg);
        }
        for user in [record.from, record.to] {
            if let Some(briefs) = inner.by_user.get_mut(&user) {
                briefs.retain(|brief| brief.id != record.id);
                if briefs.is_empty() {
                    inner.by_user.remove(&user);
                }
            }
        }
    }

    /// Notes which connections with the server a call has.
    pub(super) fn know_legs(&self, call: CallId, peers: impl Iterator<Item = PeerKey>) {
        let mut inner = self.inner();
        let peers: Vec<PeerKey> = peers.collect();
        for gone in inner.legs_of.insert(call, peers.clone()).unwrap_or_default() {
            inner.legs.remove(&gone);
        }
        inner.legs.extend(peers.into_iter().map(|peer| (peer, call)));
    }

    /// Whose connection with the server this is.
    pub(super) fn call_of_leg(&self, peer: PeerKey) -> Option<CallId> {
        self.inner().legs.get(&peer).copied()
    }

    /// The running calls of a user.
    pub(super) fn of(&self, user: UserId) -> Vec<CallId> {
        self.inner().of(user).iter().map(|brief| brief.id).collect()
    }

    /// The calls by which a user rings others for the call of several that began with `first`.
    pub(super) fn rung_by(&self, user: UserId, first: CallId) -> Vec<CallId> {
        let inner = self.inner();
        let rings = |call: &&Brief| {
            call.from == user && call.status.is_pending() && call.group == Some(first)
        };
        inner.of(user).iter().filter(rings).map(|call| call.id).collect()
    }

    /// Everybody in the calls that share the room of `first`.
    pub(super) fn people_of(&self, first: CallId) -> Vec<UserId> {
        let inner = self.inner();
        let together = |call: &Brief| call.id == first || call.group == Some(first);
        let calls = inner.by_user.iter();
        calls.filter(|(_, calls)| calls.iter().any(together)).map(|(user, _)| *user).collect()
    }
}

/// Calls, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Calls that are not over.
    pub active: usize,
    /// Those of them that ring.
    pub pending: usize,
}

impl super::Calls {
    /// What there is now.
    pub fn stats(&self) -> Stats {
        let inner = self.registry.inner();
        let mut stats = Stats { active: inner.calls.len(), pending: 0 };
        for (user, calls) in &inner.by_user {
            let rings = |call: &&Brief| call.from == *user && call.status.is_pending();
            stats.pending += calls.iter().filter(rings).count();
        }
        stats
    }
}

impl Calls {
    fn of(&self, user: UserId) -> &[Brief] {
        self.by_user.get(&user).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, live: Live) -> Arc<AsyncMutex<Live>> {
        let CallRecord { id, from, to, status, client_id, group, .. } = live.record.clone();
        for user in [from, to] {
            let brief = Brief { id, from, to, status, client_id: client_id.clone(), group };
            self.by_user.entry(user).or_default().push(brief);
        }
        let slot = Arc::new(AsyncMutex::new(live));
        self.calls.insert(id, slot.clone());
        slot
    }
}
