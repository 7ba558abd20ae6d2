//! Who asks, what is recorded, and who may see and manage it.

use crate::event::Role;
use crate::event::recording::{FileKind, Recording, RecordingFile};
use crate::ids::{RoomId, UserId};
use crate::policy::{Actor, Refusal, Relation, Verb, may};
use crate::store::RecordingRecord;

/// The one who asks for something.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    /// The account, or the guest.
    pub user: UserId,
    /// An admin or the application's backend.
    pub operator: bool,
}

/// What is to be recorded.
#[derive(Clone, Debug)]
pub struct RecordingTarget {
    /// The room, also of a call.
    pub room: RoomId,
    /// The users who belong there, whether they are there now or not.
    pub people: Vec<UserId>,
    /// The owner of a room and its moderators.
    pub moderators: Vec<UserId>,
}

impl From<Requester> for Actor {
    fn from(Requester { user, operator }: Requester) -> Self {
        Self::new(user, if operator { Role::Admin } else { Role::User })
    }
}

/// What a user is to a recording, wherever they were while it ran.
fn relation(record: &RecordingRecord, user: UserId) -> Relation {
    match () {
        () if record.started_by == Some(user) => Relation::Owner,
        () if record.moderators.contains(&user) => Relation::Moderator,
        () if record.members.contains(&user) => Relation::Member,
        () => Relation::Stranger,
    }
}

/// Whether the requester may see a recording; to others it does not exist.
pub(super) fn may_see(record: &RecordingRecord, requester: Requester) -> Result<(), Refusal> {
    may(requester, Verb::SeeRecording, relation(record, requester.user))
}

/// Whether the requester may delete a recording, and stop one of a room.
pub(super) fn may_manage(record: &RecordingRecord, requester: Requester) -> Result<(), Refusal> {
    may(requester, Verb::ManageRecording, relation(record, requester.user))
}

/// The file that stands for a whole recording where only one can be named: the mix, or the longest.
pub fn principal(recording: &Recording) -> Option<&RecordingFile> {
    let mix = recording.files.iter().find(|file| file.kind == FileKind::Mix);
    let tracks = recording.files.iter().filter(|file| file.kind != FileKind::Manifest);
    mix.or_else(|| tracks.max_by_key(|file| (file.kind == FileKind::Video, file.duration_ms)))
}

/// A recording as clients see it.
pub(super) fn shown(record: &RecordingRecord) -> Recording {
    Recording {
        recording_id: record.id,
        call_id: record.call,
        room_id: record.room.clone(),
        mode: record.mode,
        status: record.status,
        started_at: record.started_at,
        stopped_at: record.stopped_at,
        stop_reason: record.stop_reason,
        started_by: record.started_by,
        user_ids: record.members.clone(),
        guests: record.guests.clone(),
        files: record.files.clone(),
        retention_until: record.retention_until,
    }
}
