//! The owner of one recording, from its start until its files are whole: a task that takes what happens to it one after the
//! other, stores each new state, and announces it then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::Instrument as _;

use super::machine::{Effect, Input, Machine};
use super::{RecordingChange, RecordingError, Result, Shared, shown};
use crate::delivery::To;
use crate::event::recording::{Recording, RecordingStatus, StopReason};
use crate::ids::{RecordingId, UserId};
use crate::recorder::{self, Found, RecorderEvent, RecordingSpec, Unrecorded};
use crate::store::RecordingRecord;

/// Requests that may wait for an owner; more are refused as `UNAVAILABLE`.
const COMMANDS: usize = 64;
/// Users who may come before a recording's owner has looked at the first of them.
pub(super) const EVENTS: usize = 1024;
/// Between two attempts to store what happened, which no client can be asked to repeat.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What a request has an owner do; the reply is the recording as it then stands.
enum Command {
    Stop(StopReason, oneshot::Sender<Recording>),
    Erase(oneshot::Sender<Recording>),
}

/// The recordings that are not over, each with the way to its owner.
#[derive(Default)]
pub(super) struct Owners {
    running: Mutex<HashMap<RecordingId, mpsc::Sender<Command>>>,
    /// One is over.
    ended: Notify,
}

impl Owners {
    fn running(&self) -> MutexGuard<'_, HashMap<RecordingId, mpsc::Sender<Command>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many recordings are not over.
    pub(super) fn count(&self) -> usize {
        self.running().len()
    }

    fn remove(&self, id: RecordingId) {
        self.running().remove(&id);
        self.ended.notify_waiters();
    }

    async fn ask(
        &self,
        id: RecordingId,
        command: impl FnOnce(oneshot::Sender<Recording>) -> Command,
    ) -> Result<Option<Recording>> {
        let Some(owner) = self.running().get(&id).cloned() else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        match owner.try_send(command(reply)) {
            Ok(()) => Ok(answer.await.ok()),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(None),
            Err(mpsc::error::TrySendError::Full(_)) => Err(RecordingError::Busy),
        }
    }

    /// Ends a recording; `None` when it is over already.
    pub(super) async fn stop(
        &self,
        id: RecordingId,
        reason: StopReason,
    ) -> Result<Option<Recording>> {
        self.ask(id, |reply| Command::Stop(reason, reply)).await
    }

    /// Has a recording end and be deleted; `None` when it is over already.
    pub(super) async fn erase(&self, id: RecordingId) -> Result<Option<Recording>> {
        self.ask(id, Command::Erase).await
    }

    /// Ends all recordings, and returns when they are over.
    pub(super) async fn stop_all(&self, reason: StopReason) {
        let ids: Vec<RecordingId> = self.running().keys().copied().collect();
        for id in ids {
            let _ = self.stop(id, reason).await;
        }
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on it counts.
            ended.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// See the module.
pub(super) struct Owner {
    shared: Arc<Shared>,
    machine: Machine,
    events: mpsc::Receiver<RecorderEvent>,
    commands: mpsc::Receiver<Command>,
}

impl Owner {
    /// Starts a recording whose place in the recorder is reserved, and whose recorder sends `events`; gives what is stored of it
    /// once it is announced and runs.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        record: RecordingRecord,
        present: Vec<UserId>,
        events: mpsc::Receiver<RecorderEvent>,
    ) -> Result<Recording> {
        let (id, room) = (record.id, record.room.clone());
        let (sender, commands) = mpsc::channel(COMMANDS);
        shared.owners.running().insert(id, sender);
        let machine = Machine::new(record, &shared.config);
        let owner = Self { shared: shared.clone(), machine, events, commands };
        let (reply, started) = oneshot::channel();
        let span = tracing::info_span!("recording", recording = %id, %room);
        let task = tokio::spawn(owner.run(present, reply).instrument(span));
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await {
                tracing::error!(recording = %id, %error, "the owner of a recording panicked");
                metrics::counter!("rtc_recording_errors_total").increment(1);
                shared.recorder.stop_recording(&room, id, StopReason::Overload);
            }
            shared.owners.remove(id);
        });
        started.await.unwrap_or(Err(RecordingError::Busy))
    }

    async fn run(mut self, present: Vec<UserId>, reply: oneshot::Sender<Result<Recording>>) {
        let started = self.begin(present).await;
        let runs = started.is_ok();
        let _ = reply.send(started);
        while runs && !self.machine.is_over() {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.keep(Input::Recorder(event)).await,
                    None => self.thread_gone().await,
                },
                Some(command) = self.commands.recv() => self.command(command).await,
            }
        }
    }

    /// Stores and announces a recording, then has it begin.
    async fn begin(&mut self, present: Vec<UserId>) -> Result<Recording> {
        let record = self.machine.record();
        let (id, room) = (record.id, record.room.clone());
        let (mode, by, at) = (record.mode, record.started_by, record.started_at);
        if let Err(error) = self.apply(Input::Start(present)).await {
            self.shared.recorder.release(&room, id);
            return Err(error);
        }
        let (recorder, place) = (self.shared.recorder.clone(), room.clone());
        let spec = RecordingSpec { id, mode, by, at };
        let begun = tokio::task::spawn_blocking(move || recorder.begin(&place, &spec)).await;
        if let Err(why) = begun.unwrap_or(Err(Unrecorded::Folder)) {
            self.keep(Input::NotBegun(why)).await;
            return Err(why.into());
        }
        tracing::info!(%mode, ?by, "recording");
        self.keep(Input::Begun).await;
        Ok(shown(self.machine.record()))
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Stop(reason, reply) => {
                let record = self.machine.record();
                self.shared.recorder.stop_recording(&record.room, record.id, reason);
                let _ = reply.send(shown(record));
            }
            Command::Erase(reply) => {
                self.keep(Input::Erase).await;
                let _ = reply.send(shown(self.machine.record()));
            }
        }
    }

    /// The thread ended without a word: it panicked. What it has written is as good as after a crash.
    async fn thread_gone(&mut self) {
        let id = self.machine.record().id;
        tracing::error!("the thread of a recording panicked");
        metrics::counter!("rtc_recording_errors_total").increment(1);
        self.keep(Input::Recorder(RecorderEvent::Stopped(StopReason::Disk))).await;
        let (root, now) = (self.shared.recorder.root().to_owned(), self.shared.clock.now());
        let found = tokio::task::spawn_blocking(move || recorder::recover(&root, id, now)).await;
        let files = match found {
            Ok(Ok(Found::Files(files))) => files,
            _ => Vec::new(),
        };
        self.keep(Input::Recorder(RecorderEvent::Finished { files, problem: None })).await;
    }

    /// As [`Self::apply`], for what has happened whatever the store does: it is tried until it is stored.
    async fn keep(&mut self, input: Input) {
        let mut wait = RETRY;
        let (next, effects) = self.next(input);
        while let Err(error) = self.carry_out(&effects).await {
            tracing::error!(%error, "a recording is not stored; it is tried again");
            metrics::counter!("rtc_recording_errors_total").increment(1);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MOST);
        }
        self.machine = next;
    }

    /// Takes what happened; the machine stays what it was where it cannot be stored.
    async fn apply(&mut self, input: Input) -> Result<()> {
        let (next, effects) = self.next(input);
        self.carry_out(&effects).await?;
        self.machine = next;
        Ok(())
    }

    fn next(&self, input: Input) -> (Machine, Vec<Effect>) {
        let mut next = self.machine.clone();
        let effects = next.handle(input, self.shared.moment());
        (next, effects)
    }

    /// Carries effects out in their order. Only the first of them can fail, so that none is repeated with it.
    async fn carry_out(&self, effects: &[Effect]) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Persist(record, facts) => {
                    let stored =
                        self.shared.store.save_recording((**record).clone(), facts.clone());
                    stored.await?;
                    report(record);
                }
                other => self.act(other).await,
            }
        }
        Ok(())
    }

    async fn act(&self, effect: &Effect) {
        let record = self.machine.record();
        let recorder = &self.shared.recorder;
        match effect {
            Effect::Persist(..) => {}
            Effect::Notify(users, event) => {
                self.shared.delivery.send(To::Users(users.clone()), event);
            }
            Effect::NotifyAll(event) => {
                let present = recorder.people(&record.room).unwrap_or_default();
                let absent = record.members.iter().filter(|user| !present.contains(user));
                let users = present.iter().chain(absent).copied().collect();
                self.shared.delivery.send(To::Users(users), event);
            }
            Effect::ShowRoom(state) => {
                let change = RecordingChange {
                    room: record.room.clone(),
                    recording: record.id,
                    state: *state,
                    active: recorder.active(&record.room),
                };
                // Whoever follows may be gone when the server stops.
                let _ = self.shared.changes.send(change).await;
            }
            Effect::Stop(reason) => recorder.stop_recording(&record.room, record.id, *reason),
            Effect::Release => recorder.release(&record.room, record.id),
            Effect::Delete => {
                // A deletion that fails is tried again every minute, with all that is due.
                if let Err(error) = self.shared.forget(record, None).await {
                    tracing::warn!(%error, "not deleted yet");
                }
            }
        }
    }
}

/// What operators see of a state once it is stored.
fn report(record: &RecordingRecord) {
    let reason = record.stop_reason.map(tracing::field::display);
    match record.status {
        RecordingStatus::Processing => {
            tracing::info!(reason, "recording stopped");
        }
        // That nothing was sent is no error.
        RecordingStatus::Failed => {
            tracing::error!(reason, "recording failed");
            metrics::counter!("rtc_recording_errors_total").increment(1);
        }
        _ => {}
    }
}
