//! Who is reached by which name, for all threads.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::ice::{addressed_to, is_authentic};
use crate::{IceCredentials, PeerKey};

/// Which worker answers to a user name fragment, and by which password its checks are authentic.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    entries: RwLock<HashMap<String, Entry>>,
    /// How often a peer left.
    leavers: AtomicU64,
}

#[derive(Clone, Debug)]
struct Entry {
    worker: usize,
    peer: PeerKey,
    credentials: IceCredentials,
}

impl Directory {
    /// The worker and the peer that a check is for. One that is not authentic is for none.
    pub(crate) fn owner(&self, check: &[u8]) -> Option<(usize, PeerKey)> {
        let fragment = addressed_to(check)?;
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let Entry { worker, peer, credentials } = entries.get(fragment)?.clone();
        drop(entries);
        is_authentic(check, &credentials).then_some((worker, peer))
    }

    pub(super) fn enter(&self, peer: PeerKey, credentials: IceCredentials, worker: usize) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(credentials.ufrag.clone(), Entry { worker, peer, credentials });
    }

    pub(super) fn leave(&self, fragments: &[String]) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for fragment in fragments {
            entries.remove(fragment);
        }
        drop(entries);
        self.leavers.fetch_add(1, Ordering::Release);
    }

    pub(super) fn leavers(&self) -> u64 {
        self.leavers.load(Ordering::Acquire)
    }

    pub(super) fn peers(&self) -> HashSet<PeerKey> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.peer).collect()
    }
}
