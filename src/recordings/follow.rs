//! What happens to recordings by itself: they end, are finished after a crash, and are deleted when their time has come.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::{Place, RecordingError, Recordings, Result, shown};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::delivery::To;
use crate::event::Event;
use crate::event::recording::{
    ConsentRequest, RecordingFile, RecordingNotice, RecordingReady, RecordingStatus,
};
use crate::ids::{RecordingId, RoomId, UserId};
use crate::recorder::{self, Found, RecorderEvent};
use crate::store::{RecordingRecord, Store};

/// How often it is looked for what is to be deleted, and how much at once.
const RETENTION: Duration = Duration::from_secs(60);
const SLICE: usize = 50;

impl Recordings {
    /// Follows the recorder, for as long as the server runs.
    pub async fn follow(self: Arc<Self>, mut hearing: Receiver<RecorderEvent>) {
        let mut tick = tokio::time::interval(RETENTION);
        loop {
            let outcome = tokio::select! {
                event = hearing.recv() => match event {
                    Some(event) => self.on_recorder_event(event).await,
                    None => return,
                },
                _ = tick.tick() => self.retire().await,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "what became of a recording could not be noted");
            }
        }
    }

    async fn on_recorder_event(&self, event: RecorderEvent) -> Result<()> {
        match event {
            RecorderEvent::Opened { room, by } => self.opened(room, by).await,
            RecorderEvent::Entered { id, user } => self.entered(id, user).await,
            RecorderEvent::Stopped { id, reason } => self.stopped(id, reason).await,
            RecorderEvent::Finished { id, files, problem } => {
                self.finished(id, files, problem).await
            }
        }
    }

    /// Something can be recorded somewhere, and the caller or the policy wants it to be.
    async fn opened(&self, room: RoomId, by: Option<UserId>) -> Result<()> {
        let policy = self.config.auto == config::RecordingAuto::Accepted && room.call().is_some();
        if by.is_none() && !policy {
            return Ok(());
        }
        let people = self.recorder.people(&room).unwrap_or_default();
        let place = Place { room, people, moderators: Vec::new() };
        match self.start(by, &place, self.config.mode).await {
            Ok(_) | Err(RecordingError::Already(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Somebody comes while it runs: it concerns that one, too.
    async fn entered(&self, id: RecordingId, user: UserId) -> Result<()> {
        let record = self.store.recording(id).await?.ok_or(RecordingError::NotFound)?;
        let notice = RecordingNotice { recording: shown(&record), by: record.started_by };
        self.delivery.send(To::User(user), &Event::RecordingStarted(Box::new(notice)));
        if self.config.consent == config::Consent::Required {
            let asked = ConsentRequest { recording: shown(&record) };
            self.delivery.send(To::User(user), &Event::RecordingConsentRequest(Box::new(asked)));
        }
        if !user.is_guest() && !record.members.contains(&user) {
            let mut members = record.members.clone();
            members.push(user);
            members.sort_unstable();
            self.store.save_recording(RecordingRecord { members, ..record }, Vec::new()).await?;
        }
        Ok(())
    }

    async fn stopped(&self, id: RecordingId, reason: &'static str) -> Result<()> {
        self.recorder.stopped(id);
        let record = self.store.recording(id).await?.ok_or(RecordingError::NotFound)?;
        let now = self.clock.now();
        let record = RecordingRecord {
            status: RecordingStatus::Processing,
            stopped_at: Some(now),
            stop_reason: Some(reason.to_owned()),
            updated_at: now,
            ..record
        };
        self.store.save_recording(record.clone(), Vec::new()).await?;
        let present = self.recorder.people(&record.room).unwrap_or_default();
        let notice = RecordingNotice { recording: shown(&record), by: None };
        self.notify(&record, &present, &Event::RecordingStopped(Box::new(notice)));
        self.change(&record.room, id, "stopped");
        tracing::info!(recording = %id, reason, "recording stopped");
        Ok(())
    }

    async fn finished(
        &self,
        id: RecordingId,
        files: Vec<RecordingFile>,
        problem: Option<&'static str>,
    ) -> Result<()> {
        let mut record = self.store.recording(id).await?.ok_or(RecordingError::NotFound)?;
        // Something was sent, and there is a reason why nothing of it can be fetched.
        if let Some(problem) = problem.filter(|_| files.is_empty()) {
            record.stop_reason = Some(problem.to_owned());
        }
        let over = finished(record, files, self.clock.now(), &self.config);
        self.store.save_recording(over.clone(), Vec::new()).await?;
        let present = self.recorder.people(&over.room).unwrap_or_default();
        match over.status {
            RecordingStatus::Completed => {
                let notice = RecordingReady { recording: shown(&over) };
                self.notify(&over, &present, &Event::RecordingReady(Box::new(notice)));
            }
            _ => {
                let reason = over.stop_reason.clone().unwrap_or_default();
                self.notify_failed(&over, &present, &reason);
            }
        }
        Ok(())
    }

    /// Finishes what a crash has cut off.
    pub async fn resume(&self) -> Result<()> {
        let root = self.recorder.root().to_owned();
        recover(self.store.as_ref(), &root, &self.clock, &self.config).await?;
        Ok(())
    }

    /// Deletes what has been kept long enough.
    pub(super) async fn retire(&self) -> Result<()> {
        loop {
            let due = self.store.expired_recordings(self.clock.now(), SLICE).await?;
            let over: Vec<_> = due.into_iter().filter(|it| !it.status.is_open()).collect();
            for record in &over {
                self.forget(record).await?;
            }
            if over.len() < SLICE {
                return Ok(());
            }
        }
    }
}

/// The last state of a recording.
fn finished(
    record: RecordingRecord,
    files: Vec<RecordingFile>,
    now: Timestamp,
    config: &config::Recordings,
) -> RecordingRecord {
    let kept = Duration::from_secs(config.retention_days.saturating_mul(86_400));
    let cut = matches!(
        record.stop_reason.as_deref(),
        Some("folder-gone" | "disk" | "missing-parameter-sets")
    );
    let status = match files.is_empty() {
        // Nobody sent anything: no error, and nothing to fetch.
        true if !cut => RecordingStatus::NoRecording,
        true => RecordingStatus::Failed,
        false => RecordingStatus::Completed,
    };
    RecordingRecord {
        status,
        files,
        // What is to be deleted sooner stays so.
        retention_until: record
            .retention_until
            .or_else(|| (config.retention_days > 0).then(|| now.after(kept))),
        updated_at: now,
        ..record
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
        let found =
            tokio::task::spawn_blocking(move || recorder::recover(&root, id, stopped_at)).await;
        let files = match found {
            Ok(Ok(Found::Busy)) => continue,
            Ok(Ok(Found::Files(files))) => files,
            Ok(Ok(Found::Nothing)) => Vec::new(),
            other => {
                tracing::error!(recording = %id, ?other, "a recording cannot be recovered");
                Vec::new()
            }
        };
        let record = RecordingRecord {
            stopped_at: Some(stopped_at),
            stop_reason: Some("recovered".into()),
            ..record
        };
        let over = finished(record, files, now, config);
        tracing::info!(recording = %id, status = %over.status, files = over.files.len(), "recovered");
        done.push((id, over.status, over.files.len()));
        store.save_recording(over, Vec::new()).await?;
    }
    Ok(done)
}
