//! Recordings: who may make them, who is notified, who may see them, and how long they stay. What is written is the business of the
//! [recorder](crate::recorder).

mod access;
mod download;
mod error;
mod follow;
mod link;
mod machine;
mod owner;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use tokio::sync::{OnceCell, mpsc};

pub use self::access::{RecordingTarget, Requester, principal};
use self::access::{may_manage, may_see, shown};
pub use self::error::RecordingError;
pub use self::follow::recover;
pub use self::link::LinkClaim;
use self::machine::Moment;
use self::owner::{Owner, Owners};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::delivery::Delivery;
use crate::event::recording::{
    ActiveRecording, Recording, RecordingMode, RecordingState, RecordingStatus, StopReason,
};
use crate::fact::FactKind;
use crate::ids::{CallId, FactId, RecordingId, RoomId, UserId};
use crate::recorder::{Recorder, RecordingSpec, Unrecorded};
use crate::store::{RecordingQuery, RecordingRecord, Store, StoreError};

type Result<T> = std::result::Result<T, RecordingError>;

/// Recordings that one answer lists.
const PAGE: usize = 50;
/// Changes that rooms may not have looked at yet; owners of recordings then wait.
const CHANGES: usize = 256;

/// See the module.
pub struct Recordings {
    shared: Arc<Shared>,
    /// What links are signed with, once the store has given it.
    key: OnceCell<hmac::Key>,
}

/// What the owners of recordings work with.
struct Shared {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    clock: Clock,
    recorder: Arc<Recorder>,
    config: config::Recordings,
    owners: Owners,
    changes: mpsc::Sender<RecordingChange>,
}

/// The recording of a room began or ended, for its participants.
#[derive(Clone, Debug)]
pub struct RecordingChange {
    /// Which room.
    pub room: RoomId,
    /// Which recording.
    pub recording: RecordingId,
    /// What it does now.
    pub state: RecordingState,
    /// What runs in the room now.
    pub active: Option<ActiveRecording>,
}

/// What there is in all recordings together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Whether recordings can be made at all.
    pub enabled: bool,
    /// Recordings that run.
    pub active: usize,
    /// Recordings that run, and those whose files are being finished.
    pub unfinished: usize,
}

/// Which recordings to list.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Listing {
    pub call: Option<CallId>,
    pub room: Option<RoomId>,
    pub status: Option<RecordingStatus>,
    pub since: Option<Timestamp>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

impl Recordings {
    /// Recordings under this configuration; the receiver gets what participants of rooms are to see of them.
    pub fn new(
        config: &config::Recordings,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        recorder: Arc<Recorder>,
    ) -> (Self, mpsc::Receiver<RecordingChange>) {
        let (changes, receiver) = mpsc::channel(CHANGES);
        let (config, owners) = (config.clone(), Owners::default());
        let shared = Shared { store, delivery, clock, recorder, config, owners, changes };
        (Self { shared: Arc::new(shared), key: OnceCell::new() }, receiver)
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        Stats {
            enabled: self.shared.config.max_parallel > 0,
            active: self.shared.recorder.running(),
            unfinished: self.shared.owners.count(),
        }
    }

    /// Whether people may record by themselves.
    pub fn allows(&self, operator: bool) -> Result<()> {
        match self.shared.config.start {
            config::RecordingStart::Members => Ok(()),
            config::RecordingStart::Operators if operator => Ok(()),
            config::RecordingStart::Operators => Err(RecordingError::Forbidden("an operator")),
        }
    }

    /// Begins a recording. Those who are there are notified before the first byte is written.
    pub async fn start(
        &self,
        by: Option<UserId>,
        target: RecordingTarget,
        mode: RecordingMode,
    ) -> Result<Recording> {
        self.shared.start(by, target, mode).await
    }

    /// A recording that the requester may know of.
    async fn known(&self, requester: Requester, id: RecordingId) -> Result<RecordingRecord> {
        let record = self.shared.store.recording(id).await?;
        let known = record.filter(|record| may_see(record, requester).is_ok());
        known.ok_or(RecordingError::NotFound)
    }

    /// The room of a recording that the requester may know of.
    pub async fn room_of(&self, requester: Requester, id: RecordingId) -> Result<RoomId> {
        Ok(self.known(requester, id).await?.room)
    }

    /// Ends a recording: each member of a call may, and in a room who started it or `moderates`.
    pub async fn stop(
        &self,
        requester: Requester,
        id: RecordingId,
        moderates: bool,
    ) -> Result<Recording> {
        let record = self.known(requester, id).await?;
        if !moderates && record.call.is_none() {
            may_manage(&record, requester)?;
        }
        let stopping = self.shared.owners.stop(id, StopReason::Requested).await?;
        Ok(stopping.unwrap_or_else(|| shown(&record)))
    }

    /// A user agrees to be recorded, or no longer.
    pub async fn consent(&self, me: UserId, id: RecordingId, consents: bool) -> Result<()> {
        let record = self.shared.store.recording(id).await?.ok_or(RecordingError::NotFound)?;
        let present = self.shared.recorder.people(&record.room).unwrap_or_default();
        if !record.members.contains(&me) && !present.contains(&me) {
            return Err(RecordingError::NotFound);
        }
        if self.active(&record.room).is_some_and(|it| it.recording_id == id) {
            self.shared.recorder.consent(&record.room, me, consents);
        }
        Ok(())
    }

    /// Recordings that the requester may see, newest first, and where the next page begins.
    pub async fn list(
        &self,
        requester: Requester,
        listing: Listing,
    ) -> Result<(Vec<Recording>, Option<String>)> {
        let limit = listing.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let before = listing.cursor.as_deref().map(str::parse).transpose();
        let query = RecordingQuery {
            user: (!requester.operator).then_some(requester.user),
            call: listing.call,
            room: listing.room,
            status: listing.status,
            since: listing.since,
            before: before.map_err(|_| RecordingError::Cursor)?,
            limit,
        };
        let found = self.shared.store.recordings(query).await?;
        let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string());
        Ok((found.iter().map(shown).collect(), next))
    }

    /// One recording.
    pub async fn one(&self, requester: Requester, id: RecordingId) -> Result<Recording> {
        Ok(shown(&self.known(requester, id).await?))
    }

    /// The newest recording of a call.
    pub async fn of_call(&self, call: CallId) -> Result<Option<Recording>> {
        let query = RecordingQuery { call: Some(call), limit: 1, ..RecordingQuery::default() };
        let found = self.shared.store.recordings(query).await?;
        Ok(found.first().map(shown))
    }

    /// Deletes a recording with its files: who started it, who moderated the room then, or an operator.
    pub async fn delete(&self, requester: Requester, id: RecordingId) -> Result<()> {
        let record = self.known(requester, id).await?;
        may_manage(&record, requester)?;
        if record.status.is_open() {
            return Err(RecordingError::Running);
        }
        self.shared.forget(&record, Some(requester.user)).await
    }

    /// Has every recording deleted that a person may be in: at once, or as soon as it has ended.
    pub async fn erase(&self, user: UserId) -> Result<()> {
        // Those who came just now may not be stored as members yet.
        for running in self.shared.recorder.recordings_with(user) {
            self.shared.owners.erase(running).await?;
        }
        let mut before = None;
        loop {
            let (user, limit) = (Some(user), PAGE);
            let query = RecordingQuery { user, before, limit, ..RecordingQuery::default() };
            let found = self.shared.store.recordings(query).await?;
            let (full, last) = (found.len() == PAGE, found.last().map(|last| last.id));
            for record in found {
                self.shared.expire(record.id).await?;
            }
            if !full {
                return self.shared.retire().await;
            }
            before = last;
        }
    }

    /// The recording that runs in a room, as its participants see it.
    pub fn active(&self, room: &RoomId) -> Option<ActiveRecording> {
        self.shared.recorder.active(room)
    }

    /// As [`Self::active`] for one of them, and whether what they send is in it.
    pub fn active_for(&self, room: &RoomId, user: UserId) -> Option<(ActiveRecording, bool)> {
        self.shared.recorder.active_for(room, user)
    }

    /// A user who is in a room agrees to every recording of it while they are there.
    pub fn agree(&self, room: &RoomId, user: UserId) {
        self.shared.recorder.agree(room, user);
    }

    /// Ends all recordings and waits until their files are whole, for `patience` at most; what is not done then is recovered at
    /// the next start.
    pub async fn stop_all(&self, reason: StopReason, patience: Duration) {
        let stopped = self.shared.owners.stop_all(reason);
        if tokio::time::timeout(patience, stopped).await.is_err() {
            let unfinished = self.shared.owners.count();
            tracing::warn!(unfinished, "recordings are left to be recovered at the next start");
        }
    }
}

impl Shared {
    async fn start(
        self: &Arc<Self>,
        by: Option<UserId>,
        target: RecordingTarget,
        mode: RecordingMode,
    ) -> Result<Recording> {
        let RecordingTarget { room, people, moderators } = target;
        let (id, now) = (RecordingId::new(self.clock.id()), self.clock.now());
        let spec = RecordingSpec { id, mode, by, at: now };
        let (sender, events) = mpsc::channel(owner::EVENTS);
        let present = self.recorder.reserve(&room, &spec, sender)?;
        let recorder = self.recorder.clone();
        let checked = tokio::task::spawn_blocking(move || recorder.check_disk()).await;
        if let Err(why) = checked.unwrap_or(Err(Unrecorded::Folder)) {
            self.recorder.release(&room, id);
            return Err(why.into());
        }
        let accounts = people.into_iter().chain(present.iter().copied());
        let mut members: Vec<UserId> = accounts.filter(|user| !user.is_guest()).collect();
        members.sort_unstable();
        members.dedup();
        let record = RecordingRecord {
            id,
            call: room.call(),
            room,
            members,
            guests: Vec::new(),
            mode,
            status: RecordingStatus::Recording,
            started_by: by.filter(|user| !user.is_guest()),
            moderators,
            started_at: now,
            stopped_at: None,
            stop_reason: None,
            files: Vec::new(),
            retention_until: None,
            updated_at: now,
        };
        Owner::start(self, record, present, events).await
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), fact: FactId::new(self.clock.id()) }
    }

    /// Has a recording deleted: one that is not over ends first, and its owner deletes it.
    async fn expire(&self, id: RecordingId) -> Result<()> {
        if self.owners.erase(id).await?.is_some() {
            return Ok(());
        }
        // What was read before is old: its owner may have finished it, or deleted it, since.
        if let Some(record) = self.store.recording(id).await? {
            let retention_until = Some(self.clock.now());
            let record = RecordingRecord { retention_until, ..record };
            self.store.save_recording(record, Vec::new()).await?;
        }
        Ok(())
    }

    /// Deletes a recording, because `by` asked for it or its time has come. Files first: a row without files can be tried again.
    async fn forget(&self, record: &RecordingRecord, by: Option<UserId>) -> Result<()> {
        let (recorder, id) = (self.recorder.clone(), record.id);
        let deleted = tokio::task::spawn_blocking(move || recorder.delete(id)).await;
        if !matches!(deleted, Ok(Ok(()))) {
            tracing::error!(recording = %id, ?deleted, "files of a recording could not be deleted");
            return Err(RecordingError::Folder);
        }
        let fact = machine::fact(record, FactKind::RecordingDeleted, self.moment()).by(by);
        match self.store.remove_recording(id, vec![fact]).await {
            Ok(()) => tracing::info!(recording = %id, "deleted"),
            // Its owner, or whoever else was to delete it, was faster.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
