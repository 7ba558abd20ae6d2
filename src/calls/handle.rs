//! The way to a running call: a bounded queue of commands, and a reply to each.

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::error::{CallError, Result};
use super::reply::Reply;
use crate::ids::{CallId, UserId};
use crate::store::CallRecord;

/// Commands that may wait for a call.
const QUEUE: usize = 64;

/// A command on its way, and where the reply goes.
pub(super) struct Envelope {
    pub(super) command: Command,
    pub(super) reply: Option<oneshot::Sender<Result<Reply>>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct CallHandle {
    pub(super) id: CallId,
    /// Caller and callee.
    pub(super) people: [UserId; 2],
    queue: mpsc::Sender<Envelope>,
}

impl CallHandle {
    /// A handle, and the queue of the task behind it.
    pub(super) fn new(record: &CallRecord) -> (Self, mpsc::Receiver<Envelope>) {
        let (queue, commands) = mpsc::channel(QUEUE);
        (Self { id: record.id, people: [record.from, record.to], queue }, commands)
    }

    /// Whether `user` is one of the two.
    pub(super) fn has(&self, user: UserId) -> bool {
        self.people.contains(&user)
    }

    /// Has the call carry out a command; `None` when it ended before.
    pub(super) async fn ask(&self, command: Command) -> Result<Option<Reply>> {
        let (reply, replied) = oneshot::channel();
        match self.queue.try_send(Envelope { command, reply: Some(reply) }) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Ok(None),
            Err(TrySendError::Full(_)) => {
                metrics::counter!("rtc_call_commands_refused_total").increment(1);
                return Err(CallError::QueueFull(QUEUE));
            }
        }
        match replied.await {
            Ok(reply) => reply?.accepted().map(Some),
            Err(_) if self.queue.is_closed() => Ok(None),
            Err(_) => Err(CallError::Panicked),
        }
    }

    /// Has the call carry out what happened already, whether it is asked for or not: it waits for room in the queue.
    pub(super) async fn report(&self, command: Command) -> Result<()> {
        let (reply, replied) = oneshot::channel();
        if self.queue.send(Envelope { command, reply: Some(reply) }).await.is_err() {
            return Ok(());
        }
        match replied.await {
            Ok(reply) => reply?.accepted().map(drop),
            Err(_) => Ok(()),
        }
    }

    /// As [`Self::report`], without waiting for it.
    pub(super) fn notify(&self, command: Command) {
        let Err(error) = self.queue.try_send(Envelope { command, reply: None }) else { return };
        let TrySendError::Full(envelope) = error else { return };
        let queue = self.queue.clone();
        tokio::spawn(async move {
            // A call that is over meanwhile needs it no longer.
            let _ = queue.send(envelope).await;
        });
    }
}
