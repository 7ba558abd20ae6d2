//! The SFU as somebody who lives behind the relay's door: datagrams of relayed clients find their worker.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use switchboard_turn::door::{Batch, Insider};

use super::{Directory, Mail, Mailbox};
use crate::Via;
use crate::ice::addressed_to;

/// Relayed addresses that are remembered.
const REMEMBERED: usize = 65_536;

/// See the module.
pub(super) struct Inside {
    directory: Arc<Directory>,
    mailboxes: Vec<Mailbox>,
    /// Which worker has the peer that a relayed address belongs to.
    workers: RwLock<HashMap<SocketAddr, usize>>,
}

impl Inside {
    pub(super) fn new(directory: Arc<Directory>, mailboxes: Vec<Mailbox>) -> Self {
        Self { directory, mailboxes, workers: RwLock::default() }
    }

    /// Whose a datagram is; a check tells it, and then its source is remembered.
    fn worker(&self, from: SocketAddr, datagram: &[u8]) -> Option<usize> {
        let known = || self.workers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(fragment) = addressed_to(datagram) else { return known().get(&from).copied() };
        let worker = self.directory.worker(fragment)?;
        if known().get(&from) != Some(&worker) {
            let mut workers = self.workers.write().unwrap_or_else(PoisonError::into_inner);
            if workers.len() >= REMEMBERED {
                workers.clear();
            }
            workers.insert(from, worker);
        }
        Some(worker)
    }
}

impl Insider for Inside {
    fn receive(&self, packets: &Batch, _: &mut Batch) {
        let mut sorted: Vec<Batch> = self.mailboxes.iter().map(|_| Batch::default()).collect();
        for (from, to, datagram) in packets.iter() {
            let worker = self.worker(from, datagram);
            if let Some(batch) = worker.and_then(|worker| sorted.get_mut(worker)) {
                // It has the limits of the batch that it is a part of.
                batch.push(from, to, datagram);
            }
        }
        for (mailbox, batch) in self.mailboxes.iter().zip(sorted) {
            if !batch.is_empty() {
                // A worker that cannot keep up loses them, as a full socket would.
                mailbox.put(Mail::Datagrams(Via::Door, batch));
            }
        }
    }
}
