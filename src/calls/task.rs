//! The task that owns a call: it takes one command after the other, has the call handle it, and carries out the effects in
//! their order. It sleeps until the call's own deadline.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::call::Call;
use super::command::Command;
use super::effect::{Effect, FollowUp, Step, Write};
use super::error::{CallError, Result};
use super::handle::Envelope;
use super::means::{Means, Written};
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::store::CallFinished;

/// How long after a write that failed it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the end of a call whose task panics is tried.
const PANICS: u32 = 3;

/// See the module.
pub(super) struct Task {
    means: Arc<Means>,
    /// As it stands when every effect of its last command is carried out.
    call: Call,
    commands: mpsc::Receiver<Envelope>,
    /// What must happen and failed, and when it is tried again.
    retry: Option<(Timestamp, Command)>,
    /// A write failed, and may have been made all the same.
    doubtful: bool,
    panics: u32,
}

impl Task {
    /// Runs a call from its first command on; the future ends with the call.
    pub(super) fn start(
        means: Arc<Means>,
        call: Call,
        commands: mpsc::Receiver<Envelope>,
        first: Command,
    ) -> oneshot::Receiver<Result<Reply>> {
        let (reply, replied) = oneshot::channel();
        let mut task = Self { means, call, commands, retry: None, doubtful: false, panics: 0 };
        let (call, user) = (task.call.record.id, task.call.record.from);
        let running = async move {
            let first = Envelope { command: first, reply: Some(reply) };
            task.supervise(first).await;
        };
        tokio::spawn(running.instrument(tracing::info_span!("call", %call, %user)));
        replied
    }

    /// Runs the call, and ends it should its task panic.
    async fn supervise(&mut self, first: Envelope) {
        let mut first = Some(first);
        while AssertUnwindSafe(self.run(first.take())).catch_unwind().await.is_err() {
            self.panics += 1;
            tracing::error!(panics = self.panics, "the task of a call panicked; the call ends");
            metrics::counter!("rtc_call_panics_total").increment(1);
            if self.panics >= PANICS {
                break;
            }
            self.doubtful = true;
            self.retry = Some((self.means.clock.now(), Command::Fail));
        }
        if self.call.stored {
            let record = &self.call.record;
            let reason = record.end_reason.map(tracing::field::debug);
            tracing::info!(status = %record.status, reason, "the call is over");
        }
        // Whoever still waits for a reply finds the call over.
        self.means.directory.remove(self.call.record.id);
        self.commands.close();
    }

    async fn run(&mut self, first: Option<Envelope>) {
        if let Some(Envelope { command, reply }) = first {
            self.take(command, reply).await;
            if self.call.stored {
                tracing::info!(status = %self.call.record.status, "a call");
            }
        }
        while self.call.is_live() || self.doubtful {
            let due = self.due();
            let means = Arc::clone(&self.means);
            let wake = async move {
                match due {
                    Some(due) => means.clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                envelope = self.commands.recv() => match envelope {
                    Some(Envelope { command, reply }) => self.take(command, reply).await,
                    None => return,
                },
                () = wake => self.take(Command::Expire, None).await,
            }
        }
    }

    /// When something is to be done without a command.
    fn due(&self) -> Option<Timestamp> {
        let deadline = self.call.deadline().filter(|_| self.call.is_live());
        match &self.retry {
            Some((at, _)) => Some(*at),
            None => deadline,
        }
    }

    async fn take(&mut self, command: Command, reply: Option<oneshot::Sender<Result<Reply>>>) {
        let outcome = self.attempt(command).await;
        match reply {
            Some(reply) => drop(reply.send(outcome)),
            None => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a change of a call is not stored and is tried again");
                }
            }
        }
    }

    /// Carries a command out; before one that writes comes what failed before.
    async fn attempt(&mut self, command: Command) -> Result<Reply> {
        if command.writes()
            && let Err(error) = self.catch_up().await
        {
            if command.must_happen() {
                self.try_again(command);
            }
            return Err(error);
        }
        match command {
            Command::Initiate(_) => {}
            _ if self.call.is_live() => {}
            _ if !self.call.stored => return Err(CallError::NotFound),
            _ => return Err(CallError::Over(Box::new(self.call.record.clone()))),
        }
        let outcome = self.execute(command).await;
        if self.doubtful
            && let Err(error) = self.reconcile().await
        {
            tracing::debug!(%error, "what became of a write is not known yet");
        }
        outcome
    }

    /// Agrees with the store again, and does what could not be stored before.
    async fn catch_up(&mut self) -> Result<()> {
        if self.doubtful {
            self.reconcile().await?;
        }
        let now = self.means.clock.now();
        match self.retry.take_if(|(at, _)| *at <= now) {
            Some((_, due)) if self.call.is_live() => self.execute(due).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Reads what the store has of the call, after a write that failed.
    async fn reconcile(&mut self) -> Result<()> {
        let found = self.means.store.call(self.call.record.id).await;
        let found = found.inspect_err(|_| self.try_again(Command::Expire))?;
        self.doubtful = false;
        self.execute(Command::Adopt(found.map(Box::new))).await.map(drop)
    }

    fn try_again(&mut self, command: Command) {
        let kept = self.retry.take().map(|(_, command)| command);
        let kept = kept.filter(|kept| !matches!(kept, Command::Expire));
        self.retry = Some((self.means.clock.now().after(RETRY), kept.unwrap_or(command)));
    }

    /// Handles a command and what follows from it. What nobody would ask for again is tried again where the store fails.
    async fn execute(&mut self, command: Command) -> Result<Reply> {
        let again = command.must_happen().then(|| command.clone());
        let handled = self.handle(command).await;
        if let (Err(CallError::Store(_)), Some(again)) = (&handled, again) {
            self.try_again(again);
        }
        let (reply, follow_up) = handled?;
        match follow_up {
            None => Ok(reply),
            Some(FollowUp::Busy) => {
                self.handle(Command::FollowUp(FollowUp::Busy)).await.map(|it| it.0)
            }
            Some(end) => Ok(self.follow(end, reply).await),
        }
    }

    /// Ends a call that cannot go on; the reply to the command that led to it stays a refusal where it is one.
    async fn follow(&mut self, end: FollowUp, reply: Reply) -> Reply {
        let command = Command::FollowUp(end);
        match self.handle(command.clone()).await {
            Ok((ended, _)) if !matches!(reply, Reply::Refused(_)) => ended,
            Ok(_) => reply,
            Err(error) => {
                tracing::warn!(%error, "a call that cannot go on is not over");
                self.try_again(command);
                reply
            }
        }
    }

    /// Handles one command; the new state is taken over once its effects are carried out.
    async fn handle(&mut self, command: Command) -> Result<(Reply, Option<FollowUp>)> {
        let means = Arc::clone(&self.means);
        let connected = means.connected(&self.call.record);
        let mut next = self.call.clone();
        let mut step = Step::new(means.clock.now(), &connected, &*means);
        let mut reply = next.handle(command, &mut step)?;
        let (effects, follow_up) = (step.effects, step.follow_up);
        self.note_peers(&self.call, &next);
        let (id, mut finished) = (next.record.id, CallFinished::default());
        for effect in effects {
            match effect {
                Effect::Persist(write) => match self.persist(write, &next).await? {
                    Written::Done(written) => finished = *written,
                    Written::Repeat(first) => {
                        means.directory.remove(id);
                        let call = means.view.call(&first, None, means.clock.now());
                        return Ok((Reply::Call(Box::new(call)), None));
                    }
                },
                Effect::Signal(passed) => {
                    if let Some(kept) = means.pass(&mut next, passed)
                        && matches!(reply, Reply::Signal(_))
                    {
                        reply = kept.map_or_else(|it| Reply::Refused(Box::new(it)), Reply::Signal);
                    }
                }
                Effect::Missed(call) => {
                    if let Some(cursor) = finished.missed_cursor {
                        let event = Event::CallMissed(call);
                        means.delivery.send_logged(next.record.to, cursor, &event, None);
                    }
                }
                Effect::Entry => {
                    if let Some(entry) = finished.entry.take() {
                        means.view.notify(&entry);
                    }
                }
                Effect::Media(media) => means.act_on_media(media).await,
                other => means.carry_out(id, other),
            }
        }
        self.call = next;
        Ok((reply, follow_up))
    }

    /// Makes a write, without which the call stays as it was.
    async fn persist(&mut self, write: Write, next: &Call) -> Result<Written> {
        let outcome = self.means.write(write).await;
        if outcome.is_err() {
            // It may have reached the disk all the same.
            self.doubtful = true;
            self.note_peers(next, &self.call);
        } else if let (None, Some(at)) = (self.call.record.accepted_at, next.record.accepted_at) {
            let waited = at.since(next.record.created_at);
            metrics::histogram!("rtc_call_setup_seconds").record(waited.as_secs_f64());
        }
        outcome
    }

    /// Notes whose call the connections with the SFU are, before they can say anything.
    fn note_peers(&self, before: &Call, now: &Call) {
        let peers = |call: &Call| call.relayed.as_ref().map(|relayed| relayed.peers());
        if peers(before) != peers(now) {
            let peers = peers(now);
            let peers = peers.as_ref().map_or(&[][..], |peers| peers.as_slice());
            self.means.directory.note_peers(now.record.id, peers);
        }
    }
}
