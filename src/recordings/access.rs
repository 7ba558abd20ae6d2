//! Who asks, what is recorded, and who may see and manage it.

use crate::event::recording::{FileKind, Recording, RecordingFile};
use crate::ids::{RoomId, UserId};
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
    /// Everybody who belongs there, whether they are there now or not.
    pub people: Vec<UserId>,
    /// The owner of a room and its moderators.
    pub moderators: Vec<UserId>,
}

/// Whether a recording exists for the requester.
pub(super) fn may_see(record: &RecordingRecord, requester: Requester) -> bool {
    manages(record, requester) || record.members.contains(&requester.user)
}

/// Whether the requester may stop and delete a recording, wherever they were while it ran.
pub(super) fn manages(record: &RecordingRecord, requester: Requester) -> bool {
    let own = record.started_by == Some(requester.user);
    requester.operator || own || record.moderators.contains(&requester.user)
}

/// The file that stands for a whole recording where only one can be named: everybody's voice, or the longest.
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
        files: record.files.clone(),
        retention_until: record.retention_until,
    }
}
