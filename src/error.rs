//! What the server says when it cannot do what was asked: one stable reason, one sentence, one shape.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock::Timestamp;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal $status:literal,)*) => {
        /// The stable machine code of a failure; each belongs to one HTTP status.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                let number: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

reasons! {
    /// The request is not what the contract says; `details.field` names the place.
    InvalidData = "INVALID_DATA" 400,
    /// A session description or candidate that cannot be one.
    SdpInvalid = "SDP_INVALID" 400,
    /// A cursor this server never gave.
    InvalidCursor = "INVALID_CURSOR" 400,
    /// No token came with the request.
    TokenMissing = "TOKEN_MISSING" 401,
    /// The token cannot be trusted.
    TokenInvalid = "TOKEN_INVALID" 401,
    /// The token was good until its `exp`.
    TokenExpired = "TOKEN_EXPIRED" 401,
    /// The caller may not do this.
    Forbidden = "FORBIDDEN" 403,
    /// A claimed identity that is not the token's.
    IdentityMismatch = "IDENTITY_MISMATCH" 403,
    /// The caller is not in this conversation.
    NotAMember = "NOT_A_MEMBER" 403,
    /// The caller is no moderator of this room.
    NotAModerator = "NOT_A_MODERATOR" 403,
    /// The caller may not publish this here.
    PublishForbidden = "PUBLISH_FORBIDDEN" 403,
    /// The caller may not receive here.
    SubscribeForbidden = "SUBSCRIBE_FORBIDDEN" 403,
    /// The caller may not send data here.
    DataForbidden = "DATA_FORBIDDEN" 403,
    /// The caller may not record this, or it cannot be.
    RecordingForbidden = "RECORDING_FORBIDDEN" 403,
    /// The account was disabled.
    UserDisabled = "USER_DISABLED" 403,
    /// The thing does not exist, or not for this caller.
    NotFound = "NOT_FOUND" 404,
    /// No endpoint has this path.
    NoRoute = "NO_ROUTE" 404,
    /// Nobody has this user id.
    UnknownUser = "UNKNOWN_USER" 404,
    /// The call does not exist, or not for this caller.
    CallNotFound = "CALL_NOT_FOUND" 404,
    /// The room does not exist, or not for this caller.
    RoomNotFound = "ROOM_NOT_FOUND" 404,
    /// Nobody publishes such a track here.
    TrackNotFound = "TRACK_NOT_FOUND" 404,
    /// The path exists, the method does not.
    MethodNotAllowed = "METHOD_NOT_ALLOWED" 405,
    /// No codec is known to both sides.
    CodecUnsupported = "CODEC_UNSUPPORTED" 406,
    /// The two of a call have no codec in common.
    CodecMismatch = "CODEC_MISMATCH" 406,
    /// The body of the request did not come in time.
    RequestTimeout = "REQUEST_TIMEOUT" 408,
    /// The state of the thing has moved on.
    Conflict = "CONFLICT" 409,
    /// The same `clientId` came with another body.
    ClientIdConflict = "CLIENT_ID_CONFLICT" 409,
    /// The call is in a state that does not allow this.
    CallState = "CALL_STATE" 409,
    /// The caller already rings somebody.
    CallInProgress = "CALL_IN_PROGRESS" 409,
    /// Both called each other; the surviving call is in `details.call`.
    CallMerged = "CALL_MERGED" 409,
    /// Another device of the user was faster.
    AnsweredElsewhere = "ANSWERED_ELSEWHERE" 409,
    /// The person called is in another call and takes no second one.
    UserBusy = "USER_BUSY" 409,
    /// The room has as many participants as it may.
    RoomFull = "ROOM_FULL" 409,
    /// A moderator has locked the room.
    RoomLocked = "ROOM_LOCKED" 409,
    /// A moderator has to let the caller in; `room:joined` tells when.
    LobbyWait = "LOBBY_WAIT" 409,
    /// The caller publishes as many tracks as it may.
    TrackLimit = "TRACK_LIMIT" 409,
    /// An answer to an offer that is not the last one.
    StaleRev = "STALE_REV" 409,
    /// It is recorded already; `details.recordingId` says by which.
    AlreadyRecording = "ALREADY_RECORDING" 409,
    /// A recording that is not completed yet.
    RecordingNotReady = "RECORDING_NOT_READY" 409,
    /// The event log no longer reaches back that far.
    CursorTooOld = "CURSOR_TOO_OLD" 410,
    /// The call is over.
    CallGone = "CALL_GONE" 410,
    /// The session of the room is over, or the secret is another.
    ResumeFailed = "RESUME_FAILED" 410,
    /// What was to be changed has changed meanwhile (`If-Match`).
    PreconditionFailed = "PRECONDITION_FAILED" 412,
    /// A text over the limit.
    ContentTooLong = "CONTENT_TOO_LONG" 413,
    /// A request body over the limit.
    BodyTooLarge = "BODY_TOO_LARGE" 413,
    /// A session description over the limit.
    SdpTooLarge = "SDP_TOO_LARGE" 413,
    /// A body that is not JSON.
    MediaType = "UNSUPPORTED_MEDIA_TYPE" 415,
    /// A description without anything that can be sent or received here.
    NoMedia = "NO_MEDIA" 422,
    /// Neither a device nor a buffer could take the signal.
    PeerUnreachable = "PEER_UNREACHABLE" 424,
    /// Nobody is there to ring.
    UserOffline = "USER_OFFLINE" 424,
    /// Too much, too fast; `details.retryAfterMs` says how long to wait.
    RateLimited = "RATE_LIMITED" 429,
    /// Our fault; the cause is in the log under the request id.
    Internal = "INTERNAL" 500,
    /// A message could not be stored.
    MessageFailed = "MESSAGE_FAILED" 500,
    /// A read mark could not be stored.
    MarkReadFailed = "MARK_READ_FAILED" 500,
    /// A call could not be made.
    CallFailed = "CALL_FAILED" 500,
    /// A response to a call could not be stored.
    CallResponseFailed = "CALL_RESPONSE_FAILED" 500,
    /// The end of a call could not be stored.
    CallEndFailed = "CALL_END_FAILED" 500,
    /// Not now; trying again helps.
    Unavailable = "UNAVAILABLE" 503,
    /// More waits for this call than may; `details.retryAfterMs` says when to try again.
    CallBusy = "CALL_BUSY" 503,
    /// The room has more before it than it can take; `details.retryAfterMs` says when to try again.
    RoomBusy = "ROOM_BUSY" 503,
    /// The server is going down; reconnect to its successor.
    Draining = "DRAINING" 503,
    /// The disk is full.
    DiskFull = "DISK_FULL" 507,
}

/// An error of some module, seen from the wire.
pub trait Failure: std::error::Error {
    /// The stable code for it.
    fn reason(&self) -> Reason;

    /// Machine-readable particulars, such as `field` or `retryAfterMs`.
    fn details(&self) -> Option<Value> {
        None
    }
}

/// A failure on its way out. The causes of a 5xx stay in the log.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The stable code.
    pub reason: Reason,
    /// The sentence for a person.
    pub message: String,
    /// Particulars for a program.
    pub details: Option<Value>,
}

impl Problem {
    /// A failure with a sentence and nothing else.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    /// `INVALID_DATA` at `field`.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let details = serde_json::json!({ "field": field });
        Self { reason: Reason::InvalidData, message: message.into(), details: Some(details) }
    }

    /// The body of an answer over HTTP.
    pub fn body(&self, at: Timestamp, request_id: Option<String>) -> ErrorBody {
        let code = self.reason.status().as_u16();
        let reason = self.reason.code();
        ErrorBody {
            error: self.message.clone(),
            code,
            reason,
            timestamp: at,
            request_id,
            details: self.details.clone(),
            available_endpoints: None,
        }
    }

    /// The body of a negative acknowledgement.
    pub fn ack(&self, at: Timestamp) -> Value {
        let mut body =
            serde_json::to_value(self.body(at, None)).unwrap_or_else(|_| Value::Object(Map::new()));
        if let Some(fields) = body.as_object_mut() {
            fields.insert("ok".into(), Value::Bool(false));
        }
        body
    }

    /// How long to wait before trying again, when that is known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.details.as_ref()?.get("retryAfterMs")?.as_u64()
    }
}

impl<F: Failure> From<F> for Problem {
    fn from(failure: F) -> Self {
        let reason = failure.reason();
        if reason.status().as_u16() != 500 {
            return Self { reason, message: failure.to_string(), details: failure.details() };
        }
        tracing::error!(cause = %failure, reason = reason.code(), "request failed");
        Self { reason, message: "Internal server error".into(), details: None }
    }
}

/// `{"error","code","reason","timestamp","requestId"?,"details"?}`: every error of REST and every negative ack.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What went wrong and what to do, for a person.
    pub error: String,
    /// The HTTP status.
    pub code: u16,
    /// The stable machine code.
    pub reason: &'static str,
    /// When.
    pub timestamp: Timestamp,
    /// Under which id the server logged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Particulars such as `field`, `limit`, `retryAfterMs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// With `NO_ROUTE`: what there is, `METHOD /path` each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_endpoints: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the cause is X")]
    struct Broken(Reason);

    impl Failure for Broken {
        fn reason(&self) -> Reason {
            self.0
        }

        fn details(&self) -> Option<Value> {
            Some(serde_json::json!({ "field": "place", "retryAfterMs": 1500 }))
        }
    }

    #[test]
    fn every_reason_has_a_code_of_its_own_and_a_status_of_an_error() {
        let mut codes = HashSet::new();
        for reason in Reason::ALL {
            let code = reason.code();
            assert!(codes.insert(code), "{code} stands twice");
            assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{code}");
            assert!(
                reason.status().is_client_error() || reason.status().is_server_error(),
                "{code}"
            );
        }
    }

    #[test]
    fn every_reason_stands_in_the_protocol() {
        let protocol = include_str!("../docs/protocol.md");
        let missing: Vec<_> = Reason::ALL
            .iter()
            .map(|it| it.code())
            .filter(|code| !protocol.contains(code))
            .collect();
        assert!(missing.is_empty(), "docs/protocol.md does not name {missing:?}");
    }

    #[test]
    fn the_cause_of_an_internal_error_is_not_shown() {
        for reason in Reason::ALL {
            let problem = Problem::from(Broken(*reason));
            let internal = reason.status() == StatusCode::INTERNAL_SERVER_ERROR;
            assert_eq!(problem.message.contains("cause"), !internal, "{}", reason.code());
            assert_eq!(problem.details.is_none(), internal, "{}", reason.code());
        }
    }

    #[test]
    fn an_error_has_the_same_shape_in_an_answer_and_in_an_acknowledgement() {
        let problem = Problem::from(Broken(Reason::CallState));
        let body = serde_json::to_value(problem.body(Timestamp(0), Some("r-1".into()))).unwrap();
        let wanted = serde_json::json!({
            "error": "the cause is X", "code": 409, "reason": "CALL_STATE",
            "timestamp": "1970-01-01T00:00:00.000Z", "requestId": "r-1",
            "details": { "field": "place", "retryAfterMs": 1500 },
        });
        assert_eq!(body, wanted.clone());
        let mut ack = problem.ack(Timestamp(0));
        assert_eq!(ack.as_object_mut().unwrap().remove("ok"), Some(false.into()));
        let mut without = wanted;
        without.as_object_mut().unwrap().remove("requestId");
        assert_eq!(ack, without);
        assert_eq!(problem.retry_after_ms(), Some(1500));
    }

    #[test]
    fn an_invalid_value_is_named_by_its_place() {
        let problem = Problem::invalid("toUserId", "toUserId is required");
        assert_eq!(problem.reason, Reason::InvalidData);
        assert_eq!(problem.details.as_ref().unwrap()["field"], "toUserId");
        assert_eq!(Problem::new(Reason::NotFound, "no").retry_after_ms(), None);
    }
}
