//! Acknowledgements of received messages: a device that acknowledges has the message, and whoever keeps the delivery marks reads
//! that from one bounded channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::mpsc;

use super::{Frame, OnAck, Position};
use crate::ids::UserId;

/// How many receipts wait for their reader at most.
pub(super) const WAITING: usize = 8192;
/// How many received messages a device may leave unacknowledged before it is no longer asked to.
const UNANSWERED: u32 = 8;

/// A device of `user` has the message at `position`, and all before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub struct Receipt {
    pub user: UserId,
    pub position: Position,
}

/// Where receipts come out.
pub type Receipts = mpsc::Receiver<Receipt>;

/// What a session knows of its client's acknowledgements.
pub(super) struct Acknowledgements {
    user: UserId,
    unanswered: AtomicU32,
    receipts: mpsc::Sender<Receipt>,
}

impl Acknowledgements {
    pub(super) fn new(user: UserId, receipts: mpsc::Sender<Receipt>) -> Arc<Self> {
        Arc::new(Self { user, unanswered: AtomicU32::new(0), receipts })
    }

    /// What to do with the acknowledgement of this event; `None` when none is asked for.
    pub(super) fn ask(self: &Arc<Self>, frame: &Frame) -> Option<OnAck> {
        let position = frame.position?;
        if self.unanswered.load(Ordering::Relaxed) >= UNANSWERED {
            return None;
        }
        let (this, receipt) = (self.clone(), Receipt { user: self.user, position });
        Some(Box::new(move |acknowledged| this.answered(acknowledged, receipt)))
    }

    fn answered(&self, acknowledged: bool, receipt: Receipt) {
        if !acknowledged {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.unanswered.store(0, Ordering::Relaxed);
        // A lost receipt leaves the message undelivered: a later one of the same conversation, or its reading, makes up for it.
        if self.receipts.try_send(receipt).is_err() {
            metrics::counter!("rtc_receipts_dropped_total").increment(1);
        }
    }
}
