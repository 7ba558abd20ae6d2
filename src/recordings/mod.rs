//! Recordings: who may make them, who is told, who may see them, and how long they stay. What is written is the business of the
//! [recorder](crate::recorder).

mod error;
mod follow;
mod link;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ring::hmac;

pub use self::error::RecordingError;
pub use self::follow::recover;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::delivery::{Delivery, To};
use crate::event::Event;
use crate::event::recording::{
    ActiveRecording, ConsentRequest, FileKind, Recording, RecordingFailed, RecordingFile,
    RecordingMode, RecordingNotice, RecordingStatus,
};
use crate::ids::{CallId, FileId, RecordingId, RoomId, UserId};
use crate::recorder::{Recorder, RecordingSpec, Unrecorded};
use crate::store::{RecordingQuery, RecordingRecord, Store};

type Result<T> = std::result::Result<T, RecordingError>;

/// Recordings that one answer lists.
const PAGE: usize = 50;

type Changed =
    Box<dyn Fn(&RoomId, RecordingId, &'static str, Option<&ActiveRecording>) + Send + Sync>;

/// See the module.
pub struct Recordings {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    clock: Clock,
    recorder: Arc<Recorder>,
    config: config::Recordings,
    key: hmac::Key,
    changed: OnceLock<Changed>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    /// The account, or the guest.
    pub user: UserId,
    /// An admin or the application's backend.
    pub operator: bool,
}

/// Where to record.
#[derive(Clone, Debug)]
pub struct Place {
    /// The room, also of a call.
    pub room: RoomId,
    /// Everybody who belongs there, whether they are there now or not.
    pub people: Vec<UserId>,
    /// The owner of a room and its moderators.
    pub moderators: Vec<UserId>,
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
    /// Recordings under this configuration.
    pub fn new(
        config: &config::Recordings,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        recorder: Arc<Recorder>,
    ) -> Self {
        let key = link::key();
        let changed = OnceLock::new();
        Self { store, delivery, clock, recorder, config: config.clone(), key, changed }
    }

    /// Has `tell` called with what everybody in a room is to see of a recording: which, its state, and what it is while it runs.
    pub fn on_change(
        &self,
        tell: impl Fn(&RoomId, RecordingId, &'static str, Option<&ActiveRecording>)
        + Send
        + Sync
        + 'static,
    ) {
        let _ = self.changed.set(Box::new(tell));
    }

    fn change(&self, room: &RoomId, id: RecordingId, state: &'static str) {
        if let Some(tell) = self.changed.get() {
            tell(room, id, state, self.recorder.active(room).as_ref());
        }
    }

    /// Whether people may record by themselves.
    pub fn allows(&self, operator: bool) -> Result<()> {
        match self.config.start {
            config::RecordingStart::Members => Ok(()),
            config::RecordingStart::Operators if operator => Ok(()),
            config::RecordingStart::Operators => Err(RecordingError::Forbidden("an operator")),
        }
    }

    /// Begins a recording. Everybody there is told before the first byte is written.
    pub async fn start(
        &self,
        by: Option<UserId>,
        place: &Place,
        mode: RecordingMode,
    ) -> Result<Recording> {
        let room = &place.room;
        let (recorder, place_of) = (self.recorder.clone(), room.clone());
        let checked = tokio::task::spawn_blocking(move || recorder.check(&place_of)).await;
        checked.unwrap_or(Err(Unrecorded::Folder))?;
        let present = self.recorder.people(room).unwrap_or_default();
        let now = self.clock.now();
        let mut members: Vec<UserId> = place.people.iter().chain(&present).copied().collect();
        members.retain(|user| !user.is_guest());
        members.sort_unstable();
        members.dedup();
        let record = RecordingRecord {
            id: RecordingId::new(self.clock.id()),
            call: room.call(),
            room: room.clone(),
            members,
            mode,
            status: RecordingStatus::Recording,
            started_by: by.filter(|user| !user.is_guest()),
            moderators: place.moderators.clone(),
            started_at: now,
            stopped_at: None,
            stop_reason: None,
            files: Vec::new(),
            retention_until: None,
            updated_at: now,
        };
        self.store.save_recording(record.clone(), Vec::new()).await?;
        let notice = Event::RecordingStarted(Box::new(RecordingNotice {
            recording: shown(&record),
            by: record.started_by,
        }));
        self.notify(&record, &present, &notice);
        let beginning = RecordingSpec { id: record.id, mode, by: record.started_by, at: now };
        let (recorder, place) = (self.recorder.clone(), room.clone());
        let begun = tokio::task::spawn_blocking(move || recorder.start(&place, &beginning)).await;
        if let Err(why) = begun.unwrap_or(Err(Unrecorded::Folder)) {
            let over = RecordingRecord {
                status: RecordingStatus::Failed,
                stopped_at: Some(self.clock.now()),
                ..record.clone()
            };
            self.store.save_recording(over.clone(), Vec::new()).await?;
            self.notify_failed(&over, &present, "it could not begin");
            return Err(why.into());
        }
        tracing::info!(recording = %record.id, %room, %mode, by = ?by, "recording");
        if self.config.consent == config::Consent::Required {
            let asked = Event::RecordingConsentRequest(Box::new(ConsentRequest {
                recording: shown(&record),
            }));
            self.notify(&record, &present, &asked);
            if let Some(by) = by {
                self.recorder.consent(room, by, true);
            }
        }
        self.change(room, record.id, "recording");
        Ok(shown(&record))
    }

    /// Tells everybody whom a recording concerns.
    fn notify(&self, record: &RecordingRecord, present: &[UserId], event: &Event) {
        let absent = record.members.iter().filter(|user| !present.contains(user));
        for &user in present.iter().chain(absent) {
            self.delivery.send(To::User(user), event);
        }
    }

    fn notify_failed(&self, record: &RecordingRecord, present: &[UserId], reason: &str) {
        // That nothing was sent is no error.
        if record.status == RecordingStatus::Failed {
            metrics::counter!("rtc_recording_errors_total").increment(1);
        }
        let failed = RecordingFailed { recording_id: record.id, reason: reason.to_owned() };
        self.notify(record, present, &Event::RecordingFailed(Box::new(failed)));
    }

    /// A recording that the asking one may know of.
    async fn known(&self, asking: Requester, id: RecordingId) -> Result<RecordingRecord> {
        let record = self.store.recording(id).await?;
        let may = |record: &RecordingRecord| {
            manages(record, asking) || record.members.contains(&asking.user)
        };
        record.filter(may).ok_or(RecordingError::NotFound)
    }

    /// Which room a recording that the asking one may know of runs in.
    pub async fn room_of(&self, asking: Requester, id: RecordingId) -> Result<RoomId> {
        Ok(self.known(asking, id).await?.room)
    }

    /// Ends a recording: anybody of a call may, and in a room who started it or `moderates`.
    pub async fn stop(
        &self,
        asking: Requester,
        id: RecordingId,
        moderates: bool,
    ) -> Result<Recording> {
        let record = self.known(asking, id).await?;
        if !(manages(&record, asking) || moderates || record.call.is_some()) {
            return Err(RecordingError::Forbidden("who started it, or a moderator"));
        }
        let runs = self.recorder.active(&record.room).is_some_and(|it| it.recording_id == id);
        if runs {
            self.recorder.stop(&record.room, "requested");
        }
        Ok(shown(&record))
    }

    /// Somebody agrees to be recorded, or no longer.
    pub async fn consent(&self, me: UserId, id: RecordingId, consents: bool) -> Result<()> {
        let record = self.store.recording(id).await?.ok_or(RecordingError::NotFound)?;
        let present = self.recorder.people(&record.room).unwrap_or_default();
        if !record.members.contains(&me) && !present.contains(&me) {
            return Err(RecordingError::NotFound);
        }
        if self.recorder.active(&record.room).is_some_and(|it| it.recording_id == id) {
            self.recorder.consent(&record.room, me, consents);
        }
        Ok(())
    }

    /// Recordings that the asking one may see, newest first, and where the next page begins.
    pub async fn list(
        &self,
        asking: Requester,
        listing: Listing,
    ) -> Result<(Vec<Recording>, Option<String>)> {
        let limit = listing.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let before = listing.cursor.as_deref().map(str::parse).transpose();
        let query = RecordingQuery {
            user: (!asking.operator).then_some(asking.user),
            call: listing.call,
            room: listing.room,
            status: listing.status,
            since: listing.since,
            before: before.map_err(|_| RecordingError::Cursor)?,
            limit,
        };
        let found = self.store.recordings(query).await?;
        let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string());
        Ok((found.iter().map(shown).collect(), next))
    }

    /// One recording.
    pub async fn one(&self, asking: Requester, id: RecordingId) -> Result<Recording> {
        Ok(shown(&self.known(asking, id).await?))
    }

    /// The newest recording of each call that has one.
    pub async fn of_call(&self, call: CallId) -> Result<Option<Recording>> {
        let query = RecordingQuery { call: Some(call), limit: 1, ..RecordingQuery::default() };
        let found = self.store.recordings(query).await?;
        Ok(found.first().map(shown))
    }

    /// Deletes a recording with its files: who started it, who moderated the room then, or an operator.
    pub async fn delete(&self, asking: Requester, id: RecordingId) -> Result<()> {
        let record = self.known(asking, id).await?;
        if !manages(&record, asking) {
            return Err(RecordingError::Forbidden("who started it, a moderator, or an operator"));
        }
        if record.status.is_open() {
            return Err(RecordingError::Running);
        }
        self.forget(&record).await
    }

    /// Has everything deleted soon that a person may have been recorded in.
    pub async fn expire(&self, user: UserId) -> Result<()> {
        let mut before = None;
        loop {
            let (user, limit) = (Some(user), PAGE);
            let query = RecordingQuery { user, before, limit, ..RecordingQuery::default() };
            let found = self.store.recordings(query).await?;
            let (full, last) = (found.len() == PAGE, found.last().map(|last| last.id));
            for record in found {
                let runs = self.recorder.active(&record.room);
                if runs.is_some_and(|it| it.recording_id == record.id) {
                    self.recorder.stop(&record.room, "erased");
                }
                let retention_until = Some(self.clock.now());
                self.store
                    .save_recording(RecordingRecord { retention_until, ..record }, Vec::new())
                    .await?;
            }
            if !full {
                return self.retire().await;
            }
            before = last;
        }
    }

    /// Files first: a row without files can be tried again.
    async fn forget(&self, record: &RecordingRecord) -> Result<()> {
        let (recorder, id) = (self.recorder.clone(), record.id);
        let deleted = tokio::task::spawn_blocking(move || recorder.delete(id)).await;
        if !matches!(deleted, Ok(Ok(()))) {
            tracing::error!(recording = %id, ?deleted, "files of a recording could not be deleted");
            return Err(RecordingError::Folder);
        }
        self.store.remove_recording(id, Vec::new()).await?;
        tracing::info!(recording = %id, "deleted");
        Ok(())
    }

    /// A file of a recording, and where it is.
    pub async fn file(
        &self,
        asking: Requester,
        id: RecordingId,
        file: FileId,
    ) -> Result<(RecordingFile, PathBuf)> {
        let record = self.known(asking, id).await?;
        self.file_of(&record, file)
    }

    fn file_of(&self, record: &RecordingRecord, id: FileId) -> Result<(RecordingFile, PathBuf)> {
        if record.status != RecordingStatus::Completed {
            return Err(RecordingError::NotReady(record.status));
        }
        let file = record.files.iter().find(|file| file.file_id == id);
        let file = file.ok_or(RecordingError::NoFile)?.clone();
        let path = self.recorder.path(record.id, &file);
        // What somebody put there in its place is not what was recorded.
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if is_file { Ok((file, path)) } else { Err(RecordingError::NoFile) }
    }

    /// The path and query under which everybody may fetch a file for a while, and until when.
    pub async fn link(
        &self,
        asking: Requester,
        id: RecordingId,
        file: FileId,
    ) -> Result<(String, Timestamp)> {
        let record = self.known(asking, id).await?;
        self.file_of(&record, file)?;
        Ok(self.signed(id, file))
    }

    /// See [`Self::link`], of a file that is known to be there.
    pub fn signed(&self, id: RecordingId, file: FileId) -> (String, Timestamp) {
        let until = self.clock.now().after(Duration::from_secs(self.config.link_ttl));
        let signature = link::sign(&self.key, id, file, until);
        let query = format!("expires={}&signature={signature}", until.0);
        (format!("/api/recordings/{id}/files/{file}?{query}"), until)
    }

    /// The file that a link is good for.
    pub async fn linked(
        &self,
        id: RecordingId,
        file: FileId,
        (expires, signature): (i64, &str),
    ) -> Result<(RecordingFile, PathBuf)> {
        let until = Timestamp(expires);
        let good = link::verify(&self.key, id, file, until, signature);
        if !good || until <= self.clock.now() {
            return Err(RecordingError::Link);
        }
        let record = self.store.recording(id).await?.ok_or(RecordingError::Link)?;
        self.file_of(&record, file)
    }

    /// What everybody in a room sees of a recording that runs there.
    pub fn active(&self, room: &RoomId) -> Option<ActiveRecording> {
        self.recorder.active(room)
    }
}

/// Whether a recording is for the asking one to stop and to delete, wherever that one was while it ran.
fn manages(record: &RecordingRecord, asking: Requester) -> bool {
    let own = record.started_by == Some(asking.user);
    asking.operator || own || record.moderators.contains(&asking.user)
}

/// The file that stands for a whole recording where only one can be named: everybody's voice, or the longest.
pub fn principal(recording: &Recording) -> Option<&RecordingFile> {
    let mix = recording.files.iter().find(|file| file.kind == FileKind::Mix);
    let tracks = recording.files.iter().filter(|file| file.kind != FileKind::Manifest);
    mix.or_else(|| tracks.max_by_key(|file| (file.kind == FileKind::Video, file.duration_ms)))
}

/// A recording as clients see it.
fn shown(record: &RecordingRecord) -> Recording {
    Recording {
        recording_id: record.id,
        call_id: record.call,
        room_id: record.room.clone(),
        mode: record.mode,
        status: record.status,
        started_at: record.started_at,
        stopped_at: record.stopped_at,
        stop_reason: record.stop_reason.clone(),
        started_by: record.started_by,
        user_ids: record.members.clone(),
        files: record.files.clone(),
        retention_until: record.retention_until,
    }
}
