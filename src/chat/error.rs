//! Why a message, a mark or a page was refused.

use serde_json::{Value, json};

use super::send::MENTIONS;
use crate::error::{Failure, Reason};
use crate::ids::UserId;
use crate::policy::Refusal;
use crate::store::StoreError;

/// Why a message, a mark or a page was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChatError {
    #[error("{0} is required")]
    Required(&'static str),
    #[error("toUserId and content are required")]
    Incomplete(&'static str),
    #[error("This server does not support {0} yet; leave it out")]
    Unsupported(&'static str),
    #[error("replyTo must name a message of the same conversation")]
    ReplyTo,
    #[error("You cannot write to yourself")]
    ToOneself,
    #[error("content has {have} {unit}; at most {limit} are allowed")]
    TooLong { have: usize, limit: usize, unit: &'static str },
    #[error("mentions may name {MENTIONS} people at most")]
    Mentions,
    #[error("messageType must be text, image, audio, video or file")]
    Type,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("You are not a member of this conversation")]
    NotAMember,
    #[error("There is no such message in your conversations")]
    NoMessage,
    #[error("clientId was used before with another message; take a new one for a new message")]
    ClientIdReused,
    #[error("This cursor was not given by this server; start again without it")]
    Cursor,
    #[error("No account has the user id {0}")]
    UnknownUser(UserId),
    #[error(
        "The event log no longer reaches back to this cursor; reload by REST and go on from the newest"
    )]
    CursorTooOld,
    #[error(transparent)]
    Store(StoreError),
}

impl Failure for ChatError {
    fn reason(&self) -> Reason {
        match self {
            Self::Required(_)
            | Self::Incomplete(_)
            | Self::Unsupported(_)
            | Self::ReplyTo
            | Self::ToOneself
            | Self::Type
            | Self::Mentions => Reason::InvalidData,
            Self::TooLong { .. } => Reason::ContentTooLong,
            Self::Refused(refusal) => refusal.reason(),
            Self::NotAMember => Reason::NotAMember,
            Self::NoMessage => Reason::NotFound,
            Self::ClientIdReused => Reason::ClientIdConflict,
            Self::Cursor => Reason::InvalidCursor,
            Self::UnknownUser(_) => Reason::UnknownUser,
            Self::CursorTooOld => Reason::CursorTooOld,
            Self::Store(StoreError::Corrupt(_)) => Reason::MessageFailed,
            Self::Store(error) => error.reason(),
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::ReplyTo => Some(json!({ "field": "replyTo" })),
            Self::Required(field) | Self::Incomplete(field) | Self::Unsupported(field) => {
                Some(json!({ "field": field }))
            }
            Self::ToOneself => Some(json!({ "field": "toUserId" })),
            Self::Type => Some(json!({ "field": "messageType" })),
            Self::Mentions => Some(json!({ "field": "mentions", "limit": MENTIONS })),
            Self::TooLong { limit, unit, .. } => {
                Some(json!({ "field": "content", "limit": limit, "unit": unit }))
            }
            _ => None,
        }
    }
}

impl From<StoreError> for ChatError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownUser(user) => Self::UnknownUser(user),
            StoreError::Conflict("clientId") => Self::ClientIdReused,
            StoreError::NotFound => Self::NotAMember,
            other => Self::Store(other),
        }
    }
}

/// What a chat method gives.
pub type Result<T> = std::result::Result<T, ChatError>;
