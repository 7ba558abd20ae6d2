//! What can be recorded in one call or room, and the recording that runs there. Plain data: which tracks a recording has to take
//! follows from it.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use switchboard_media::tap::Tapping;
use switchboard_media::{Codec, RoomKey, TrackKey};
use tokio::sync::mpsc;

use super::{Part, Publisher, RecorderEvent, RecordingSpec, Unrecorded};
use crate::event::recording::{ActiveRecording, StopReason};
use crate::ids::{RecordingId, UserId};

/// Why a recording is to end, once it is.
pub(super) type Reason = Arc<OnceLock<StopReason>>;

/// A track that is to be recorded until its tap is over.
pub(super) struct AddedTrack {
    pub(super) by: Publisher,
    pub(super) part: Part,
    pub(super) tapping: Tapping,
}

/// See the module.
pub(super) struct RecordingSource {
    pub(super) key: RoomKey,
    /// Users who are there.
    pub(super) people: Vec<UserId>,
    /// Those of them who agree to every recording while they are there.
    agreed: Vec<UserId>,
    /// What each publisher sends.
    pub(super) published: Vec<(Publisher, Vec<Part>)>,
    pub(super) recording: Option<Running>,
}

/// A recording that runs, or is about to.
pub(super) struct Running {
    pub(super) shown: ActiveRecording,
    consented: Vec<UserId>,
    /// Guests whose tracks it took, which its owner knows.
    named: Vec<String>,
    /// Its owner.
    pub(super) events: mpsc::Sender<RecorderEvent>,
    /// Its thread, once it has begun.
    pub(super) capture: Option<Capture>,
}

/// The rules' end of a recording's thread, which ends when this is dropped.
pub(super) struct Capture {
    pub(super) added: SyncSender<AddedTrack>,
    pub(super) reason: Reason,
    /// Tracks whose packets go to it.
    pub(super) tapped: Vec<TrackKey>,
}

impl RecordingSource {
    pub(super) fn new(key: RoomKey, people: Vec<UserId>) -> Self {
        Self { key, people, agreed: Vec::new(), published: Vec::new(), recording: None }
    }

    /// Takes the place of a recording that is about to begin.
    pub(super) fn reserve(
        &mut self,
        spec: &RecordingSpec,
        consent: bool,
        events: mpsc::Sender<RecorderEvent>,
    ) -> Result<Vec<UserId>, Unrecorded> {
        if let Some(running) = &self.recording {
            return Err(Unrecorded::Already(running.shown.recording_id));
        }
        let shown = ActiveRecording {
            recording_id: spec.id,
            mode: spec.mode,
            started_at: spec.at,
            by: spec.by.filter(|user| !user.is_guest()),
            consent,
        };
        let consented = spec.by.into_iter().collect();
        self.recording =
            Some(Running { shown, consented, named: Vec::new(), events, capture: None });
        Ok(self.people.clone())
    }

    pub(super) fn is_recording(&self, id: RecordingId) -> bool {
        self.recording.as_ref().is_some_and(|running| running.shown.recording_id == id)
    }

    /// A publisher sends just these tracks from now on.
    pub(super) fn publish(&mut self, by: Publisher, parts: Vec<Part>) {
        self.published.retain(|(known, _)| known.who != by.who);
        if !parts.is_empty() {
            self.published.push((by, parts));
        }
    }

    /// The tracks that the recording which runs here takes: of those who may be recorded, and of the kinds that it keeps.
    pub(super) fn wanted(&self) -> Vec<(Publisher, Part)> {
        let Some(running) = &self.recording else { return Vec::new() };
        let mode = running.shown.mode;
        let tracks = self.published.iter().filter(|(by, _)| self.may_record(by.user));
        tracks
            .flat_map(|(by, parts)| parts.iter().map(move |part| (by.clone(), *part)))
            .filter(|(_, part)| mode.keeps_tracks() || part.codec == Codec::Opus)
            .collect()
    }

    /// Whether the recording that runs here may take what a user sends.
    pub(super) fn may_record(&self, user: UserId) -> bool {
        let Some(running) = &self.recording else { return false };
        !running.shown.consent || running.consented.contains(&user) || self.agreed.contains(&user)
    }

    /// Notes that a user is there; whether that is new.
    pub(super) fn enters(&mut self, user: UserId) -> bool {
        let new = !self.people.contains(&user);
        if new {
            self.people.push(user);
        }
        new
    }

    /// A user is there no longer, and what they agreed to for that time is over.
    pub(super) fn leaves(&mut self, user: UserId) {
        self.people.retain(|known| *known != user);
        self.agreed.retain(|known| *known != user);
    }

    /// Notes that a user who is there agrees to every recording.
    pub(super) fn agree(&mut self, user: UserId) {
        if self.people.contains(&user) && !self.agreed.contains(&user) {
            self.agreed.push(user);
        }
    }

    /// Notes whether a user agrees to the recording that runs here.
    pub(super) fn consent(&mut self, user: UserId, consents: bool) {
        let Some(running) = &mut self.recording else { return };
        running.consented.retain(|known| *known != user);
        if consents {
            running.consented.push(user);
        } else {
            self.agreed.retain(|known| *known != user);
        }
    }

    /// The name of a guest whose tracks the recording takes and whom its owner does not know yet.
    pub(super) fn names(&mut self, by: &Publisher) -> Option<String> {
        let running = self.recording.as_mut().filter(|running| running.capture.is_some())?;
        if !by.user.is_guest() || running.named.contains(&by.who) {
            return None;
        }
        running.named.push(by.who.clone());
        Some(by.name.clone().unwrap_or_else(|| by.who.clone()))
    }
}
