//! Recordings on the wire.

use derive_more::Display;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::{CallId, FileId, RecordingId, RoomId, UserId};

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingMode {
    /// A file for each participant.
    #[default]
    #[display("tracks")]
    Tracks,
    /// One file with all voices.
    #[display("audio-mix")]
    AudioMix,
    /// Both.
    #[display("both")]
    Both,
}

impl RecordingMode {
    /// Whether all voices are mixed.
    pub fn mixes(self) -> bool {
        self != Self::Tracks
    }

    /// Whether the participants' files are kept.
    pub fn keeps_tracks(self) -> bool {
        self != Self::AudioMix
    }
}

/// Where a recording stands; the words of the original.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum RecordingStatus {
    Pending,
    Recording,
    Processing,
    Completed,
    Failed,
    NoRecording,
}

impl RecordingStatus {
    /// Whether something is still to come.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Recording | Self::Processing)
    }

    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Recording => "recording",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::NoRecording => "no_recording",
        }
    }
}

/// Why a recording stopped, or why there is none.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[display(rename_all = "kebab-case")]
pub enum StopReason {
    /// A person asked for it.
    Requested,
    /// The call or the room is over.
    Ended,
    /// A call of two became one of several, which is recorded anew where that is wanted.
    Moved,
    /// `recordings.max_minutes`.
    Length,
    /// `recordings.max_bytes`.
    Size,
    /// The disk has less room than `recordings.min_free_bytes`.
    DiskFull,
    /// The folder of the recording, or a file in it, was taken away.
    FolderGone,
    /// The disk refused a write.
    Disk,
    /// The server does not keep up.
    Overload,
    /// The server stops.
    Drain,
    /// A person in it is erased.
    Erased,
    /// The process that wrote it was cut off; the files were made whole afterwards.
    Recovered,
    /// H.264 was sent whose parameter sets are nowhere to be found.
    MissingParameterSets,
}

impl StopReason {
    /// Whether a recording without any file has failed for this reason; otherwise nothing was sent.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::FolderGone | Self::Disk | Self::MissingParameterSets)
    }
}

/// What participants of a room see of a recording.
#[derive(Clone, Copy, Debug, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[display(rename_all = "kebab-case")]
pub enum RecordingState {
    /// It runs.
    Recording,
    /// It takes nothing more.
    Stopped,
}

impl RecordingState {
    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Stopped => "stopped",
        }
    }
}

/// Whether a call is recorded from its beginning, and because of what.
#[derive(Clone, Copy, Debug, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[display(rename_all = "kebab-case")]
pub enum RecordPolicy {
    /// It is not, until a person starts it.
    Off,
    /// The caller asked for it.
    Requested,
    /// `recordings.auto`: every accepted call.
    Accepted,
}

impl RecordPolicy {
    /// Whether the call is recorded, and so goes through the server.
    pub fn records(self) -> bool {
        self != Self::Off
    }
}

/// What a file of a recording holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Sound of one participant.
    Audio,
    /// Pictures of one participant, with the sound that belongs to them.
    Video,
    /// All voices.
    Mix,
    /// What the other files are and how they fit together, as JSON.
    Manifest,
}

/// A file of a recording.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingFile {
    /// Its id.
    pub file_id: FileId,
    /// What it holds.
    pub kind: FileKind,
    /// Who is in it; null for guests, and for what is of all participants.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// The participant of a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<String>,
    /// The name that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `camera` (with the microphone) or `screen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `opus`, `vp8`, `vp9`, `h264`, `av1`; in the order of the file's tracks.
    pub codecs: Vec<String>,
    /// The first of them that is pictures, or that is sound.
    pub codec: String,
    /// `webm`, `mkv` or `json`.
    pub container: String,
    /// Its length.
    pub bytes: u64,
    /// Milliseconds from the beginning of the recording to that of the file.
    pub start_offset_ms: u64,
    /// Milliseconds that it covers.
    pub duration_ms: u64,
    /// By how many degrees the pictures have to be turned clockwise: 0, 90, 180 or 270. Players that read the file's projection do so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<u16>,
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A recording.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Its id.
    pub recording_id: RecordingId,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
    /// The room.
    pub room_id: RoomId,
    /// What is recorded.
    pub mode: RecordingMode,
    /// Where it stands.
    pub status: RecordingStatus,
    /// When the first byte could be written.
    pub started_at: Timestamp,
    /// When it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// Who started it; null for the server's own policy.
    pub started_by: Option<UserId>,
    /// The users who may have been recorded.
    pub user_ids: Vec<UserId>,
    /// Names of guests who were recorded.
    pub guests: Vec<String>,
    /// What there is to download, once it is completed.
    pub files: Vec<RecordingFile>,
    /// When it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_until: Option<Timestamp>,
}

/// `recording:started` and `recording:stopped`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordingNotice {
    /// The recording.
    pub recording: Recording,
    /// Who did it; null for the server.
    pub by: Option<UserId>,
}

/// `recording:ready`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordingReady {
    /// The recording with its files.
    pub recording: Recording,
}

/// `recording:failed`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingFailed {
    /// Which.
    pub recording_id: RecordingId,
    /// Why.
    pub reason: StopReason,
}

/// `recording:consent-request`: whoever does not consent is not recorded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsentRequest {
    /// The recording.
    pub recording: Recording,
}

/// What the participants of a room see of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRecording {
    /// Which.
    pub recording_id: RecordingId,
    /// What is recorded.
    pub mode: RecordingMode,
    /// Since when.
    pub started_at: Timestamp,
    /// Who started it; null for the server's own policy.
    pub by: Option<UserId>,
    /// Whether it waits for each one's consent.
    pub consent: bool,
}
