//! What happens to recordings by itself: calls are recorded by policy, what a crash cut off is finished, and what was kept long
//! enough is deleted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use super::machine::{Machine, Moment};
use super::{RecordingError, RecordingTarget, Recordings, Result, Shared};
use crate::clock::Clock;
use crate::config;
use crate::event::recording::{RecordingStatus, StopReason};
use crate::ids::{FactId, RecordingId};
use crate::recorder::{self, Found, Opened, record_policy};
use crate::store::{RecordingRecord, Store};

/// How often recordings that are to be deleted are looked for, and how many are deleted at once.
const RETENTION: Duration = Duration::from_secs(60);
const SLICE: usize = 50;

impl Recordings {
    /// Records what opens where that is wanted, and deletes what was kept long enough, for as long as the server runs.
    pub async fn follow(self: Arc<Self>, mut opened: Receiver<Opened>) {
        let mut tick = tokio::time::interval(RETENTION);
        let mut starting = JoinSet::new();
        loop {
            let outcome = tokio::select! {
                call = opened.recv() => match call {
                    Some(call) => {
                        let shared = self.shared.clone();
                        starting.spawn(async move { shared.opened(call).await });
                        continue;
                    }
                    None => return,
                },
                Some(started) = starting.join_next() => match started {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        tracing::error!(%error, "the start of a recording panicked");
                        continue;
                    }
                },
                _ = tick.tick() => self.shared.retire().await,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a recording was neither begun nor deleted");
            }
        }
    }

    /// Finishes what a crash has cut off.
    pub async fn resume(&self) -> Result<()> {
        let Shared { store, recorder, clock, config, .. } = &*self.shared;
        recover(store.as_ref(), recorder.root(), clock, config).await?;
        Ok(())
    }
}

impl Shared {
    /// A call or a room can be recorded, and the caller or the policy wants it to be.
    async fn opened(self: &Arc<Self>, Opened { room, by }: Opened) -> Result<()> {
        let policy = record_policy(&self.config, by.is_some());
        if !policy.records() || room.call().is_none() {
            return Ok(());
        }
        let people = self.recorder.people(&room).unwrap_or_default();
        let target = RecordingTarget { room, people, moderators: Vec::new() };
        match self.start(by, target, self.config.mode).await {
            Ok(_) | Err(RecordingError::Already(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes what was kept long enough.
    pub(super) async fn retire(&self) -> Result<()> {
        loop {
            let due = self.store.expired_recordings(self.clock.now(), SLICE).await?;
            let over: Vec<_> = due.into_iter().filter(|it| !it.status.is_open()).collect();
            for record in &over {
                self.forget(record, None).await?;
            }
            if over.len() < SLICE {
                return Ok(());
            }
        }
    }
}

/// Finishes the recordings that no process writes any more; gives what became of each, and how many files it has.
pub async fn recover(
    store: &dyn Store,
    root: &Path,
    clock: &Clock,
    config: &config::Recordings,
) -> Result<Vec<(RecordingId, RecordingStatus, usize)>> {
    let mut done = Vec::new();
    for record in store.open_recordings().await? {
        let (root, id, now) = (root.to_owned(), record.id, clock.now());
        let stopped_at = record.stopped_at.unwrap_or(now);
        let found = tokio::task::spawn_blocking(move || {
            // Before files of participants may make way for the mix.
            let people = recorder::recorded(&root, id);
            (recorder::recover(&root, id, stopped_at), people)
        });
        let (found, people) = match found.await {
            Ok((found, people)) => (Ok(found), people.unwrap_or_default()),
            Err(error) => (Err(error), Vec::new()),
        };
        let files = match found {
            Ok(Ok(Found::Busy)) => continue,
            Ok(Ok(Found::Files(files))) => files,
            Ok(Ok(Found::Nothing)) => Vec::new(),
            other => {
                tracing::error!(recording = %id, ?other, "a recording cannot be recovered");
                Vec::new()
            }
        };
        let mut record = RecordingRecord {
            stopped_at: Some(stopped_at),
            stop_reason: Some(StopReason::Recovered),
            ..record
        };
        for (user, name) in people {
            record.holds(user, name);
        }
        let mut machine = Machine::new(record, config);
        machine.finish(files, now);
        let over = machine.record();
        tracing::info!(recording = %id, status = %over.status, files = over.files.len(), "recovered");
        done.push((id, over.status, over.files.len()));
        let moment = Moment { now, fact: FactId::new(clock.id()) };
        store.save_recording(over.clone(), vec![machine.last_fact(moment)]).await?;
    }
    Ok(done)
}
