//! Why something about a recording was refused.

use serde_json::{Value, json};

use crate::error::{Failure, Reason};
use crate::event::recording::RecordingStatus;
use crate::ids::RecordingId;
use crate::recorder::Unrecorded;
use crate::store::StoreError;

/// Why something about a recording was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RecordingError {
    #[error("There is no such recording")]
    NotFound,
    #[error("There is no such file in this recording")]
    NoFile,
    #[error("Only {0} may do that")]
    Forbidden(&'static str),
    #[error("Nobody sends anything through the server there; a call needs media \"relay\"")]
    NoMedia,
    #[error("It is recorded already; stop that recording first")]
    Already(RecordingId),
    #[error("The recording is {0}; its files can be fetched once it is completed")]
    NotReady(RecordingStatus),
    #[error("The recording still runs; stop it first")]
    Running,
    #[error("The disk for recordings has less room than recordings.min_free_bytes")]
    DiskFull,
    #[error("As many recordings run as recordings.max_parallel allows; try again later")]
    Full,
    #[error(
        "The folder for recordings cannot be written; the operator has to look at recordings.dir"
    )]
    Folder,
    #[error("This recording has too many requests waiting; try again in a second")]
    Busy,
    #[error("This link is over or was changed; ask for a new one with ?link=1")]
    Link,
    #[error("This cursor was not given by this server; start again without it")]
    Cursor,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for RecordingError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound | Self::NoFile | Self::Link => Reason::NotFound,
            Self::Forbidden(_) | Self::NoMedia => Reason::RecordingForbidden,
            Self::Already(_) => Reason::AlreadyRecording,
            Self::NotReady(_) | Self::Running => Reason::RecordingNotReady,
            Self::DiskFull => Reason::DiskFull,
            Self::Full | Self::Folder | Self::Busy => Reason::Unavailable,
            Self::Cursor => Reason::InvalidCursor,
            Self::Store(error) => error.reason(),
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::Already(id) => Some(json!({ "recordingId": id })),
            Self::NotReady(status) => Some(json!({ "recordingStatus": status })),
            _ => None,
        }
    }
}

impl From<Unrecorded> for RecordingError {
    fn from(why: Unrecorded) -> Self {
        match why {
            Unrecorded::NoMedia => Self::NoMedia,
            Unrecorded::Already(id) => Self::Already(id),
            Unrecorded::Full => Self::Full,
            Unrecorded::DiskFull => Self::DiskFull,
            Unrecorded::Folder => Self::Folder,
        }
    }
}
