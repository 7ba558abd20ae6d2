//! The door between the relay and whoever lives in the same process (the SFU): packets between them never enter the kernel.
//!
//! What passes is checked as on the wire: the allocation lives, it has a permission for the other side, and it keeps to
//! its bandwidth. An insider is found by its exact address and port. Queues are bounded, and no caller is called back on the same stack.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nix::sys::eventfd::EventFd;

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
    /// Where its memory is used again.
    owner: Option<SyncSender<Batch>>,
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

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(owner) = self.owner.take() else { return };
        self.clear();
        let (bytes, packets) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.packets));
        let batch = Self { bytes, packets, owner: None };
        // Beyond what is kept it is given back to the system.
        let _ = owner.try_send(batch);
    }
}

/// The batches of one thread: each comes back, from whichever thread, when it is dropped, and is lent again. Nothing is shared
/// and no thread waits.
#[derive(Debug)]
pub struct Batches {
    owner: SyncSender<Batch>,
    back: Receiver<Batch>,
}

impl Batches {
    /// None yet; `kept` at most wait for their next use.
    pub fn new(kept: usize) -> Self {
        let (owner, back) = sync_channel(kept);
        Self { owner, back }
    }

    /// An empty batch.
    pub fn lend(&self) -> Batch {
        let mut batch = self.back.try_recv().unwrap_or_default();
        batch.owner = Some(self.owner.clone());
        batch
    }
}

/// Where other threads leave packets for a worker of the relay.
#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) batches: SyncSender<Batch>,
    pub(crate) wake: Arc<EventFd>,
}

impl Mailbox {
    /// Leaves a batch; false when there is no room.
    pub(crate) fn put(&self, batch: Batch) -> bool {
        let put = self.batches.try_send(batch).is_ok();
        self.wake();
        put
    }

    pub(crate) fn wake(&self) {
        let _ = self.wake.write(1);
    }
}

/// A receiver of datagrams in this process.
pub trait Insider: Send + Sync {
    /// Takes packets that clients sent to it, each from a relayed address. It runs on a worker of the relay and must not wait;
    /// what it answers at once goes into `replies` (from its address, to a relayed one), the rest through [`Door::send`].
    fn receive(&self, packets: &Batch, replies: &mut Batch);
}

/// What one worker of the relay has of an insider: a state of its own, so that workers need not wait for one another.
pub trait Visitor: Send {
    /// Takes packets as [`Insider::receive`] does.
    fn receive(&mut self, packets: &Batch, replies: &mut Batch);
}

/// A visitor of one who has no state.
struct Stateless(Arc<dyn Insider>);

impl Visitor for Stateless {
    fn receive(&mut self, packets: &Batch, replies: &mut Batch) {
        self.0.receive(packets, replies);
    }
}

/// Who lives at which address, for one worker.
pub(crate) type Insiders = HashMap<SocketAddr, Box<dyn Visitor>>;

/// Makes the visitor of one more worker.
type Introduce = Arc<dyn Fn() -> Box<dyn Visitor> + Send + Sync>;

/// See the module.
pub struct Door {
    insiders: RwLock<HashMap<SocketAddr, Introduce>>,
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
        self.register_each(address, move || Box::new(Stateless(Arc::clone(&insider))));
    }

    /// From now on packets to `address` go to a visitor of each worker, which `introduce` makes.
    pub fn register_each(
        &self,
        address: SocketAddr,
        introduce: impl Fn() -> Box<dyn Visitor> + Send + Sync + 'static,
    ) {
        let mut insiders = self.insiders.write().unwrap_or_else(PoisonError::into_inner);
        insiders.insert(address, Arc::new(introduce));
        drop(insiders);
        self.changed();
    }

    /// From now on no insider has `address`.
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
        let insiders = self.insiders.read().unwrap_or_else(PoisonError::into_inner);
        Some(insiders.iter().map(|(&address, introduce)| (address, introduce())).collect())
    }

    /// The worker at which a relayed address lives.
    fn worker(&self, relayed: SocketAddr) -> Option<usize> {
        let home = self.ledger.home(Family::of(relayed.ip()), relayed.port())?;
        Some(usize::from(home.worker))
    }

    fn mailboxes(&self) -> &[Mailbox] {
        self.mailboxes.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Sends packets to relayed addresses, from any thread. Returns how many were dropped because a queue was full or no
    /// allocation has such an address.
    pub fn send(&self, packets: &Batch) -> usize {
        let mut dropped = 0;
        let mut sorted: Vec<Batch> = self.mailboxes().iter().map(|_| Batch::default()).collect();
        for (from, to, payload) in packets.iter() {
            let batch = self.worker(to).and_then(|worker| sorted.get_mut(worker));
            dropped += usize::from(!batch.is_some_and(|batch| batch.push(from, to, payload)));
        }
        for (mailbox, batch) in self.mailboxes().iter().zip(sorted) {
            let count = batch.len();
            if count > 0 && !mailbox.put(batch) {
                dropped += count;
            }
        }
        dropped
    }
}

/// The way of one thread through the door to relayed addresses.
pub struct Outward {
    door: Arc<Door>,
    /// What waits for each worker of the relay.
    waiting: Vec<Batch>,
    batches: Batches,
}

impl Outward {
    /// Batches that are kept for the next packets.
    const KEPT: usize = 16;

    /// The way through `door`.
    pub fn new(door: Arc<Door>) -> Self {
        let batches = Batches::new(Self::KEPT);
        let waiting = door.mailboxes().iter().map(|_| batches.lend()).collect();
        Self { door, waiting, batches }
    }

    /// Lays a packet aside until [`Self::send`]; returns how many were dropped because a queue was full or no allocation
    /// has such an address.
    pub fn push(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> usize {
        let Some(worker) = self.door.worker(to) else { return 1 };
        let Some(batch) = self.waiting.get_mut(worker) else { return 1 };
        if batch.push(from, to, payload) {
            return 0;
        }
        let dropped = self.send_to(worker);
        let batch = self.waiting.get_mut(worker);
        dropped + usize::from(!batch.is_some_and(|batch| batch.push(from, to, payload)))
    }

    /// Sends what was laid aside; returns how many packets were dropped because a queue was full.
    pub fn send(&mut self) -> usize {
        (0..self.waiting.len()).map(|worker| self.send_to(worker)).sum()
    }

    fn send_to(&mut self, worker: usize) -> usize {
        let Some(batch) = self.waiting.get_mut(worker).filter(|batch| !batch.is_empty()) else {
            return 0;
        };
        let batch = std::mem::replace(batch, self.batches.lend());
        let count = batch.len();
        let put = self.door.mailboxes().get(worker).is_some_and(|mailbox| mailbox.put(batch));
        if put { 0 } else { count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_empty_and_with_its_memory() {
        let batches = Batches::new(2);
        let address = ([127, 0, 0, 1], 1).into();
        let mut lent: Vec<Batch> = (0..4).map(|_| batches.lend()).collect();
        for batch in &mut lent {
            assert!(batch.is_empty());
            batch.push(address, address, &[7; 1000]);
        }
        std::thread::spawn(move || drop(lent)).join().unwrap();
        let again: Vec<Batch> = (0..3).map(|_| batches.lend()).collect();
        let kept = again.iter().filter(|batch| batch.bytes.capacity() >= 1000).count();
        assert_eq!(kept, 2, "no more than are to be kept");
        assert!(again.iter().all(|batch| batch.is_empty() && batch.bytes.is_empty()));
        drop(batches);
        drop(again);
    }
}
