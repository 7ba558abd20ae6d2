//! Why something about a call was refused.

use serde_json::{Value, json};

use crate::error::{Failure, Reason};
use crate::event::{Call, CallStatus};
use crate::ids::{CallId, UserId};
use crate::store::{CallRecord, StoreError};

/// What a method about calls gives.
pub type Result<T> = std::result::Result<T, CallError>;

/// Why something about a call was refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CallError {
    #[error("toUserId is required")]
    NobodyCalled,
    #[error("You cannot call yourself")]
    ToOneself,
    #[error("Name 1 to {0} people")]
    People(usize),
    #[error("Nobody has the user id {0}")]
    UnknownUser(UserId),
    #[error("You are already calling somebody; end that call first")]
    InProgress(CallId),
    #[error("The person called is in another call")]
    Busy(Box<Call>),
    #[error("The person called is not connected")]
    Offline,
    #[error("You called each other; both are in one call now")]
    Merged(Box<Call>),
    #[error("There is no such call")]
    NotFound,
    #[error("The call is over")]
    Over(Box<CallRecord>),
    #[error("The call is over")]
    Gone,
    #[error("The call is {0}: {1}")]
    State(CallStatus, &'static str),
    #[error("The call was answered on another device")]
    AnsweredElsewhere,
    #[error("toUserId is not the other person of this call")]
    OtherPeer,
    #[error("{0} {1}")]
    Sdp(&'static str, String),
    #[error(
        "The media of this call goes from one to the other, and their devices cannot move it to the server; call with media \"relay\", or with record"
    )]
    Direct,
    #[error("{0}")]
    Codecs(String),
    #[error("sdp has {have} bytes; at most {limit} are allowed")]
    SdpTooLarge { have: usize, limit: usize },
    #[error("More than {0} candidates in 30 seconds")]
    Candidates(u32),
    #[error("The other person is not connected and too much waits already")]
    Unreachable,
    #[error("This cursor was not given by this server; start again without it")]
    Cursor,
    #[error("{0} commands wait for this call, as many as may; try again in a moment")]
    QueueFull(usize),
    #[error("the task of the call panicked")]
    Panicked,
    #[error("a command to a call got the reply `{0}`, which is another's")]
    Reply(&'static str),
    #[error(transparent)]
    Store(StoreError),
}

impl Failure for CallError {
    fn reason(&self) -> Reason {
        match self {
            Self::NobodyCalled | Self::ToOneself | Self::People(_) | Self::OtherPeer => {
                Reason::InvalidData
            }
            Self::UnknownUser(_) => Reason::UnknownUser,
            Self::InProgress(_) => Reason::CallInProgress,
            Self::Busy(_) => Reason::UserBusy,
            Self::Offline => Reason::UserOffline,
            Self::Merged(_) => Reason::CallMerged,
            Self::NotFound => Reason::CallNotFound,
            Self::Over(_) | Self::State(..) => Reason::CallState,
            Self::Gone => Reason::CallGone,
            Self::AnsweredElsewhere => Reason::AnsweredElsewhere,
            Self::Sdp(..) => Reason::SdpInvalid,
            Self::SdpTooLarge { .. } => Reason::SdpTooLarge,
            Self::Codecs(_) => Reason::CodecMismatch,
            Self::Direct => Reason::RecordingForbidden,
            Self::Candidates(_) => Reason::RateLimited,
            Self::Unreachable => Reason::PeerUnreachable,
            Self::Cursor => Reason::InvalidCursor,
            Self::QueueFull(_) => Reason::CallBusy,
            Self::Panicked | Self::Reply(_) | Self::Store(StoreError::Corrupt(_)) => {
                Reason::CallFailed
            }
            Self::Store(error) => error.reason(),
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::NobodyCalled | Self::ToOneself | Self::OtherPeer => {
                Some(json!({ "field": "toUserId" }))
            }
            Self::People(limit) => Some(json!({ "field": "userIds", "limit": limit })),
            Self::InProgress(call) => Some(json!({ "callId": call })),
            Self::Busy(call) | Self::Merged(call) => Some(json!({ "call": call })),
            Self::Over(record) => {
                Some(json!({ "status": record.status, "endReason": record.end_reason }))
            }
            Self::State(status, _) => Some(json!({ "status": status })),
            Self::Sdp(field, _) => Some(json!({ "field": field })),
            Self::SdpTooLarge { limit, .. } => Some(json!({ "field": "sdp", "limit": limit })),
            Self::QueueFull(_) => Some(json!({ "retryAfterMs": 1000 })),
            Self::Candidates(limit) => Some(json!({ "limit": limit, "retryAfterMs": 30_000 })),
            _ => None,
        }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownUser(user) => Self::UnknownUser(user),
            other => Self::Store(other),
        }
    }
}
