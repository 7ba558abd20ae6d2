//! The door between the relay and whoever lives in the same process (the SFU): packets between them never enter the kernel.
//!
//! What passes is checked as on the wire: the allocation lives, it has a permission for the other side, and it keeps to
//! its bandwidth. An insider is found by his exact address and port. Queues are bounded and nobody is called back on the same stack.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::driver::Mailbox;
use crate::ledger::{Family, Ledger};

/// Packets of one batch at most.
pub const BATCH_PACKETS: usize = 512;
/// Bytes of one batch at most.
pub const BATCH_BYTES: usize = 1 << 20;

/// Packets on their way, one behind the other in one piece of memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    packets: Vec<Packet>,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    end: usize,
}

impl Batch {
    /// Adds a packet; false when the batch is full.
    pub fn push(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let full = self.packets.len() >= BATCH_PACKETS;
        if full || self.bytes.len() + payload.len() > BATCH_BYTES {
            return false;
        }
        self.bytes.extend_from_slice(payload);
        self.packets.push(Packet { from, to, end: self.bytes.len() });
        true
    }

    /// Where each packet comes from, where it goes, and what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr, &[u8])> {
        let mut begin = 0;
        self.packets.iter().filter_map(move |packet| {
            let payload = self.bytes.get(begin..packet.end)?;
            begin = packet.end;
            Some((packet.from, packet.to, payload))
        })
    }

    /// How many packets.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes all packets out and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }
}

/// Somebody who lives in this process.
pub trait Insider: Send + Sync {
    /// Takes packets that clients sent to him, each from a relayed address. It runs on a worker of the relay and must not wait;
    /// what he answers at once goes into `replies` (from his address, to a relayed one), the rest through [`Door::send`].
    fn receive(&self, packets: &Batch, replies: &mut Batch);
}

/// Who lives at which address.
pub(crate) type Insiders = HashMap<SocketAddr, Arc<dyn Insider>>;

/// See the module.
pub struct Door {
    insiders: RwLock<Insiders>,
    version: AtomicU64,
    ledger: Arc<Ledger>,
    mailboxes: OnceLock<Vec<Mailbox>>,
}

impl Door {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            insiders: RwLock::default(),
            version: AtomicU64::new(0),
            ledger,
            mailboxes: OnceLock::new(),
        }
    }

    pub(crate) fn open(&self, mailboxes: Vec<Mailbox>) {
        let _ = self.mailboxes.set(mailboxes);
    }

    /// From now on packets to `address` go to `insider`.
    pub fn register(&self, address: SocketAddr, insider: Arc<dyn Insider>) {
        self.insiders.write().unwrap_or_else(PoisonError::into_inner).insert(address, insider);
        self.changed();
    }

    /// From now on nobody lives at `address`.
    pub fn unregister(&self, address: SocketAddr) {
        self.insiders.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        self.changed();
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.mailboxes.get().into_iter().flatten().for_each(Mailbox::wake);
    }

    /// Who lives where, when that is not what version `seen` was.
    pub(crate) fn since(&self, seen: &mut u64) -> Option<Insiders> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.insiders.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Sends packets to relayed addresses, from any thread. Returns how many were dropped because a queue was full or nobody
    /// has such an address.
    pub fn send(&self, packets: &Batch) -> usize {
        let mut dropped = 0;
        let mailboxes = self.mailboxes.get().map(Vec::as_slice).unwrap_or_default();
        let mut sorted: Vec<Batch> = mailboxes.iter().map(|_| Batch::default()).collect();
        for (from, to, payload) in packets.iter() {
            let home = self.ledger.home(Family::of(to.ip()), to.port());
            let batch = home.and_then(|home| sorted.get_mut(usize::from(home.worker)));
            dropped += usize::from(!batch.is_some_and(|batch| batch.push(from, to, payload)));
        }
        for (mailbox, batch) in mailboxes.iter().zip(sorted) {
            let count = batch.len();
            if count > 0 && !mailbox.put(batch) {
                dropped += count;
            }
        }
        dropped
    }
}
