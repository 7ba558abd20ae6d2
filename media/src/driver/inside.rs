//! The SFU as somebody who lives behind the relay's door: datagrams of relayed clients find their worker.

use std::sync::{Arc, Mutex, PoisonError};

use switchboard_turn::door::{Batch, Insider};

use super::strangers::Strangers;
use super::{Directory, Mail, Mailbox};
use crate::Via;

/// See the module.
pub(super) struct Inside {
    directory: Arc<Directory>,
    mailboxes: Vec<Mailbox>,
    strangers: Mutex<Strangers>,
}

impl Inside {
    pub(super) fn new(directory: Arc<Directory>, mailboxes: Vec<Mailbox>) -> Self {
        Self { directory, mailboxes, strangers: Mutex::default() }
    }
}

impl Insider for Inside {
    fn receive(&self, packets: &Batch, _: &mut Batch) {
        let mut sorted: Vec<Batch> = self.mailboxes.iter().map(|_| Batch::default()).collect();
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, to, datagram) in packets.iter() {
            let worker = strangers.worker(&self.directory, from, datagram);
            if let Some(batch) = worker.and_then(|worker| sorted.get_mut(worker)) {
                // It has the limits of the batch that it is a part of.
                batch.push(from, to, datagram);
            }
        }
        drop(strangers);
        for (mailbox, batch) in self.mailboxes.iter().zip(sorted) {
            if !batch.is_empty() {
                // A worker that cannot keep up loses them, as a full socket would.
                mailbox.put(Mail::Datagrams(Via::Door, batch));
            }
        }
    }
}
