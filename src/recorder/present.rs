//! Who is where something can be recorded, what they agree to, and what they see of it.

use super::Recorder;
use crate::event::recording::ActiveRecording;
use crate::ids::{RecordingId, RoomId, UserId};

impl Recorder {
    /// A user agrees to the recording that runs there, or no longer to any.
    pub fn consent(&self, room: &RoomId, user: UserId, consents: bool) {
        if let Some(source) = self.sources().get_mut(room) {
            source.consent(user, consents);
            self.follow(source);
        }
    }

    /// A user who is there agrees to every recording that runs while they are there.
    pub fn agree(&self, room: &RoomId, user: UserId) {
        if let Some(source) = self.sources().get_mut(room) {
            source.agree(user);
            self.follow(source);
        }
    }

    /// The recording that runs there as one of those who are there sees it, and whether what they send is in it.
    pub fn active_for(&self, room: &RoomId, user: UserId) -> Option<(ActiveRecording, bool)> {
        let active = self.active(room)?;
        let takes = self.sources().get(room).is_some_and(|source| source.may_record(user));
        Some((active, takes))
    }

    /// The recordings that run where this user is.
    pub fn recordings_with(&self, user: UserId) -> Vec<RecordingId> {
        let sources = self.sources();
        let there = sources.values().filter(|source| source.people.contains(&user));
        there.filter_map(|source| Some(source.recording.as_ref()?.shown.recording_id)).collect()
    }

    /// The recording that runs there, as its participants see it.
    pub fn active(&self, room: &RoomId) -> Option<ActiveRecording> {
        let sources = self.sources();
        let running = sources.get(room)?.recording.as_ref()?;
        running.capture.as_ref().map(|_| running.shown.clone())
    }

    /// Users who are there; `None` where nothing can be recorded.
    pub fn people(&self, room: &RoomId) -> Option<Vec<UserId>> {
        self.sources().get(room).map(|source| source.people.clone())
    }
}
