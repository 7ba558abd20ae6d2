//! The SFU as an insider of the relay: datagrams of relayed clients find their worker. Each worker of the relay
//! has a visitor of its own, so that nothing is shared on the way of a packet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchboard_turn::door::{Batch, Batches, Visitor};

use super::clock;
use super::directory::Directory;
use super::foreign_sources::ForeignSources;
use super::mailbox::{Mail, Mailbox};
use crate::{Counters, Via};

/// Batches of one worker of the relay that are kept for the next packets.
const KEPT: usize = 16;
/// How often those who left are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Inside {
    directory: Arc<Directory>,
    mailboxes: Vec<Mailbox>,
    foreign_sources: ForeignSources,
    swept: Instant,
    /// What waits for each worker of the SFU.
    sorted: Vec<Batch>,
    batches: Batches,
    counters: Arc<Counters>,
}

impl Inside {
    /// A visitor; what it drops is counted in `counters`, which no other one has.
    pub(super) fn new(
        directory: Arc<Directory>,
        mailboxes: Vec<Mailbox>,
        counters: Arc<Counters>,
    ) -> Self {
        let batches = Batches::new(KEPT);
        let sorted = mailboxes.iter().map(|_| batches.lend()).collect();
        let (foreign_sources, swept) = (ForeignSources::default(), clock::now());
        Self { directory, mailboxes, foreign_sources, swept, sorted, batches, counters }
    }
}

impl Visitor for Inside {
    fn receive(&mut self, packets: &Batch, _: &mut Batch) {
        for (from, to, datagram) in packets.iter() {
            let worker = self.foreign_sources.worker(&self.directory, from, datagram);
            match worker.and_then(|worker| self.sorted.get_mut(worker)) {
                // It has the limits of the batch that it is a part of.
                Some(batch) => drop(batch.push(from, to, datagram)),
                None => self.counters.dropped_unknown.add(1),
            }
        }
        for (mailbox, batch) in self.mailboxes.iter().zip(&mut self.sorted) {
            let count = batch.len() as u64;
            if count == 0 {
                continue;
            }
            // A worker that cannot keep up loses them, as a full socket would.
            let batch = std::mem::replace(batch, self.batches.lend());
            if !mailbox.put(Mail::Datagrams(Via::Door, batch)) {
                self.counters.dropped_full.add(count);
            }
        }
        let now = clock::now();
        if now >= self.swept + SWEEP {
            self.swept = now;
            self.foreign_sources.sweep(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::mailbox::{MAIL, mailbox};
    use crate::ice::tests::check;
    use crate::{IceCredentials, PeerKey};

    #[test]
    fn datagrams_of_relayed_clients_go_to_the_worker_of_their_peer() {
        let directory = Arc::new(Directory::default());
        let credentials = IceCredentials::generate();
        directory.enter(PeerKey(1), credentials.clone(), 1);
        let (mut mailboxes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (mailbox, inlet) = mailbox().unwrap();
            mailboxes.push(mailbox);
            ends.push(inlet.mail);
        }
        let counters = Arc::new(Counters::default());
        let mut inside = Inside::new(directory, mailboxes, Arc::clone(&counters));
        let (from, to) = (([127, 0, 0, 1], 50_000).into(), ([127, 0, 0, 1], 3478).into());
        let mut visit = |datagrams: &[&[u8]]| {
            let mut batch = Batch::default();
            for datagram in datagrams {
                batch.push(from, to, datagram);
            }
            inside.receive(&batch, &mut Batch::default());
        };
        visit(&[&[0x80; 100]]);
        let check = check(&credentials, 1, true);
        visit(&[&check, &[0x80; 100], &[0x80; 50]]);
        let lengths = |mail: &std::sync::mpsc::Receiver<Mail>| {
            let Ok(Mail::Datagrams(Via::Door, batch)) = mail.try_recv() else { return vec![] };
            batch.iter().map(|(_, _, datagram)| datagram.len()).collect()
        };
        assert_eq!(lengths(&ends[1]), [check.len(), 100, 50]);
        let counted = |name| counters.read().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!((counted("dropped_unknown"), counted("dropped_full")), (1, 0));
        for _ in 0..MAIL + 3 {
            visit(&[&[0x80; 70], &[0x80; 71]]);
        }
        assert_eq!(counted("dropped_full"), 6, "a full mailbox");
        assert!((0..MAIL).all(|_| lengths(&ends[1]) == [70, 71]));
        assert!(lengths(&ends[1]).is_empty() && lengths(&ends[0]).is_empty());
    }
}
