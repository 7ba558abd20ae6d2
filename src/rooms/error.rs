//! Why something is not possible in a room.

use switchboard_media::DescriptionError;

use crate::error::{Failure, Reason};
use crate::store::StoreError;

/// See the module.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RoomError {
    /// There is no such room for this caller.
    #[error("There is no such room")]
    NotFound,
    /// There is no such session or participant.
    #[error("There is no such participant in this room; join it first")]
    NotInRoom,
    /// There is no such track.
    #[error("No participant publishes such a track in this room")]
    NoTrack,
    /// A name that is taken.
    #[error("There is a room of that id already")]
    Exists,
    /// As many as may be.
    #[error("The room has its {0} participants; wait until one leaves")]
    Full(usize),
    /// As many viewers as may be.
    #[error("The room has its {0} viewers (rooms.max_viewers); wait until one leaves")]
    Audience(usize),
    /// As many rooms as may be.
    #[error("The server has its {0} rooms (rooms.max_rooms)")]
    TooMany(usize),
    /// Closed by a moderator.
    #[error("The room is locked; ask a moderator to open it")]
    Locked,
    /// Somebody has to open.
    #[error("A moderator has to let you in; wait for room:joined")]
    Lobby,
    /// As many tracks as may be.
    #[error("A participant may publish {0} tracks; unpublish one first")]
    TrackLimit(usize),
    /// Rights.
    #[error("You may not publish this here")]
    MayNotPublish,
    /// Rights.
    #[error("You may not receive here")]
    MayNotSubscribe,
    /// Rights.
    #[error("You may not send data here")]
    MayNotSendData,
    /// Rights.
    #[error("Only a moderator of the room may do this")]
    NotAModerator,
    /// Removed by a moderator.
    #[error("You were removed from this room; a moderator has to lift the ban")]
    Banned,
    /// There is no such ban.
    #[error("Nobody of that name is banned from this room")]
    NoBan,
    /// There is no such token.
    #[error("There is no such token of this room, or it has ended")]
    NoToken,
    /// A room token that is none.
    #[error("This room token is not valid, or no longer")]
    Token,
    /// The session is over.
    #[error("This session of the room is over; join again")]
    Resume,
    /// An answer to an older offer.
    #[error("The answer is to revision {have}, the last offer is {last}; answer that one")]
    Stale {
        /// What came.
        have: u64,
        /// What was expected.
        last: u64,
    },
    /// Somebody else changed it.
    #[error("The session has another ETag by now; read it again")]
    Changed,
    /// A field that is wrong.
    #[error("{1}")]
    Invalid(&'static str, String),
    /// A description too long.
    #[error("The description has {have} bytes; at most {limit} are taken")]
    TooLarge {
        /// What came.
        have: usize,
        /// What may come.
        limit: usize,
    },
    /// A description that cannot be used.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// A viewer takes nothing of what is published.
    #[error(
        "None of the sections takes what is published: {offered}; the room has {published}. Offer one of these codecs"
    )]
    NothingInCommon {
        /// What the sections take.
        offered: String,
        /// What the room has.
        published: String,
    },
    /// More waits for the room than may.
    #[error("The room has too much before it; try again in a moment")]
    Busy,
    /// What the account or the token holds already is all that it may.
    #[error(transparent)]
    Held(#[from] crate::ledger::Full),
    /// More, faster than may be.
    #[error(
        "Too many {what} in this room: at most {per_second} a second, {burst} at once; try again in {retry_after_ms} ms"
    )]
    #[allow(missing_docs)]
    TooFast { what: &'static str, per_second: u64, burst: u64, retry_after_ms: u64 },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server is going down.
    #[error("The server is going down; reconnect")]
    Draining,
}

/// Milliseconds after which a room that was busy is worth another try.
const RETRY_MS: u64 = 250;

impl Failure for RoomError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound => Reason::RoomNotFound,
            Self::NotInRoom => Reason::NotFound,
            Self::NoTrack => Reason::TrackNotFound,
            Self::Exists => Reason::Conflict,
            Self::Full(_) | Self::Audience(_) => Reason::RoomFull,
            Self::TooMany(_) => Reason::Unavailable,
            Self::Locked => Reason::RoomLocked,
            Self::Lobby => Reason::LobbyWait,
            Self::TrackLimit(_) => Reason::TrackLimit,
            Self::MayNotPublish => Reason::PublishForbidden,
            Self::MayNotSubscribe => Reason::SubscribeForbidden,
            Self::MayNotSendData => Reason::DataForbidden,
            Self::NotAModerator => Reason::NotAModerator,
            Self::Token => Reason::TokenInvalid,
            Self::Banned => Reason::Forbidden,
            Self::NoBan | Self::NoToken => Reason::NotFound,
            Self::Resume => Reason::ResumeFailed,
            Self::Stale { .. } => Reason::StaleRev,
            Self::Changed => Reason::PreconditionFailed,
            Self::Invalid(..) => Reason::InvalidData,
            Self::TooLarge { .. } => Reason::SdpTooLarge,
            Self::Description(DescriptionError::Invalid(_)) => Reason::SdpInvalid,
            Self::Description(DescriptionError::NoMedia(_)) => Reason::NoMedia,
            Self::Description(DescriptionError::Codec { .. }) => Reason::CodecUnsupported,
            Self::NothingInCommon { .. } => Reason::CodecUnsupported,
            Self::Busy => Reason::RoomBusy,
            Self::TooFast { .. } => Reason::RateLimited,
            Self::Held(full) => full.reason(),
            Self::Store(error) => error.reason(),
            Self::Draining => Reason::Draining,
        }
    }

    fn details(&self) -> Option<serde_json::Value> {
        match self {
            Self::Held(full) => full.details(),
            Self::Busy => Some(serde_json::json!({ "retryAfterMs": RETRY_MS })),
            Self::TooFast { retry_after_ms, .. } => {
                Some(serde_json::json!({ "retryAfterMs": retry_after_ms }))
            }
            Self::Invalid(field, _) => Some(serde_json::json!({ "field": field })),
            Self::TooLarge { limit, .. } => Some(serde_json::json!({ "limit": limit })),
            Self::TrackLimit(limit) | Self::Full(limit) | Self::Audience(limit) => {
                Some(serde_json::json!({ "limit": limit }))
            }
            _ => None,
        }
    }
}
