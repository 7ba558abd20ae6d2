//! Where the running calls are, and what the start of another one must know of them. A map behind a mutex that is never held
//! across a wait; the calls themselves belong to their tasks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use switchboard_media::PeerKey;

use super::handle::CallHandle;
use crate::event::CallStatus;
use crate::ids::{CallId, UserId};
use crate::store::CallRecord;

/// See the module.
#[derive(Default)]
pub(super) struct Directory(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    calls: HashMap<CallId, Entry>,
    by_user: HashMap<UserId, Vec<CallId>>,
    /// The calls that share the room of a first one.
    groups: HashMap<CallId, Vec<CallId>>,
    /// Whose call a connection with the SFU is.
    peers: HashMap<PeerKey, CallId>,
}

struct Entry {
    handle: CallHandle,
    from: UserId,
    to: UserId,
    status: CallStatus,
    client_id: Option<String>,
    group: Option<CallId>,
    peers: Vec<PeerKey>,
}

/// How a new call stands to the running ones.
pub(super) enum Place {
    /// It is in nobody's way; and whether the callee is in another call.
    Taken { in_call: bool },
    /// The same request came before.
    Repeat(CallId),
    /// The caller already rings somebody.
    InProgress(CallId),
    /// The callee is calling the caller.
    Glare(CallId),
}

/// How many calls there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Calls that ring or run.
    pub active: usize,
    /// Those that ring.
    pub pending: usize,
    /// Users in them.
    pub users: usize,
}

impl Directory {
    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a new call, unless a running one stands in its way.
    pub(super) fn reserve(&self, record: &CallRecord, handle: CallHandle) -> Place {
        let mut listed = self.listed();
        if let Some(taken) = listed.obstacle(record) {
            return taken;
        }
        let in_call = listed.of(record.to).any(|(_, call)| match call.status {
            CallStatus::Accepted => call.group.is_none() || call.to == record.to,
            _ => call.from == record.to,
        });
        listed.add(record, handle);
        Place::Taken { in_call }
    }

    /// Lists a call that ran before.
    pub(super) fn add(&self, record: &CallRecord, handle: CallHandle) {
        self.listed().add(record, handle);
    }

    /// The way to a running call.
    pub(super) fn handle(&self, id: CallId) -> Option<CallHandle> {
        self.listed().calls.get(&id).map(|call| call.handle.clone())
    }

    /// The way to the call whose connection with the SFU this is.
    pub(super) fn handle_of_peer(&self, peer: PeerKey) -> Option<CallHandle> {
        let listed = self.listed();
        let id = listed.peers.get(&peer)?;
        listed.calls.get(id).map(|call| call.handle.clone())
    }

    /// The running calls of a user, and whether each rings that user.
    pub(super) fn of(&self, user: UserId) -> Vec<(CallHandle, bool)> {
        let listed = self.listed();
        let rings = |call: &Entry| call.status.is_pending() && call.to == user;
        listed.of(user).map(|(_, call)| (call.handle.clone(), rings(call))).collect()
    }

    /// The calls by which a user rings others for the call of several that began with `first`.
    pub(super) fn rung_by(&self, user: UserId, first: CallId) -> Vec<CallHandle> {
        let listed = self.listed();
        let rings = |call: &Entry| {
            call.from == user && call.status.is_pending() && call.group == Some(first)
        };
        let calls = listed.of(user).filter(|(_, call)| rings(call));
        calls.map(|(_, call)| call.handle.clone()).collect()
    }

    /// Everybody in the calls that share the room of `first`.
    pub(super) fn people_of(&self, first: CallId) -> Vec<UserId> {
        let listed = self.listed();
        let others = listed.groups.get(&first).into_iter().flatten();
        let calls = std::iter::once(&first).chain(others);
        let people: BTreeSet<UserId> = calls
            .filter_map(|id| listed.calls.get(id))
            .flat_map(|call| [call.from, call.to])
            .collect();
        people.into_iter().collect()
    }

    /// Notes the new state of a running call.
    pub(super) fn note(&self, record: &CallRecord) {
        if let Some(call) = self.listed().calls.get_mut(&record.id) {
            call.status = record.status;
        }
    }

    /// Notes which connections with the SFU a call has.
    pub(super) fn note_peers(&self, id: CallId, peers: &[PeerKey]) {
        let mut listed = self.listed();
        let Listed { calls, peers: by_peer, .. } = &mut *listed;
        let Some(call) = calls.get_mut(&id) else { return };
        for gone in &call.peers {
            by_peer.remove(gone);
        }
        call.peers = peers.to_vec();
        by_peer.extend(peers.iter().map(|peer| (*peer, id)));
    }

    /// Forgets a call.
    pub(super) fn remove(&self, id: CallId) {
        self.listed().remove(id);
    }

    /// Every running call.
    #[cfg(test)]
    pub(super) fn handles(&self) -> Vec<CallHandle> {
        self.listed().calls.values().map(|call| call.handle.clone()).collect()
    }

    pub(super) fn stats(&self) -> Stats {
        let listed = self.listed();
        let pending = listed.calls.values().filter(|call| call.status.is_pending()).count();
        Stats { active: listed.calls.len(), pending, users: listed.by_user.len() }
    }
}

impl Listed {
    fn of(&self, user: UserId) -> impl Iterator<Item = (CallId, &Entry)> {
        let calls = self.by_user.get(&user).into_iter().flatten();
        calls.filter_map(|id| Some((*id, self.calls.get(id)?)))
    }

    /// The call that stands in the way of a new one.
    fn obstacle(&self, record: &CallRecord) -> Option<Place> {
        let pending = || self.of(record.from).filter(|(_, call)| call.status.is_pending());
        let together = |call: &Entry| record.group.is_some() && call.group == record.group;
        let own = |(_, call): &(CallId, &Entry)| call.from == record.from && !together(call);
        if let Some((id, own)) = pending().find(own) {
            let repeat =
                own.client_id.is_some() && own.client_id == record.client_id && own.to == record.to;
            return Some(if repeat { Place::Repeat(id) } else { Place::InProgress(id) });
        }
        let (id, _) = pending().find(|(_, call)| call.from == record.to)?;
        Some(Place::Glare(id))
    }

    fn add(&mut self, record: &CallRecord, handle: CallHandle) {
        let CallRecord { id, from, to, status, client_id, group, .. } = record.clone();
        for user in [from, to] {
            self.by_user.entry(user).or_default().push(id);
        }
        if let Some(first) = group {
            self.groups.entry(first).or_default().push(id);
        }
        let entry = Entry { handle, from, to, status, client_id, group, peers: Vec::new() };
        self.calls.insert(id, entry);
        report(self.calls.len());
    }

    fn remove(&mut self, id: CallId) {
        let Some(call) = self.calls.remove(&id) else { return };
        for peer in &call.peers {
            self.peers.remove(peer);
        }
        for user in [call.from, call.to] {
            take(&mut self.by_user, &user, id);
        }
        if let Some(first) = call.group {
            take(&mut self.groups, &first, id);
        }
        report(self.calls.len());
    }
}

/// Takes a call off a list, and the list away with the last.
fn take<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<CallId>>, key: &K, id: CallId) {
    if let Some(list) = lists.get_mut(key) {
        list.retain(|other| *other != id);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn report(calls: usize) {
    metrics::gauge!("rtc_calls_active").set(calls as f64);
}
