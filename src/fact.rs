//! Facts: what happened, one after the other, for whoever asks later: webhooks, the operators' feed, the audit log, reports of
//! calls. The store appends them in the transaction of what they describe and numbers them without a gap.

use derive_more::Display;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::ids::{CallId, FactId, RecordingId, RoomId, UserId};

/// What happened, by its dotted name.
#[derive(
    Clone, Copy, Debug, Deserialize, Display, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum FactKind {
    /// A call was placed. `user` is the caller.
    #[serde(rename = "call.initiated")]
    #[display("call.initiated")]
    CallInitiated,
    /// A device of the callee rings.
    #[serde(rename = "call.ringing")]
    #[display("call.ringing")]
    CallRinging,
    /// The callee accepted. `user` is the callee.
    #[serde(rename = "call.answered")]
    #[display("call.answered")]
    CallAnswered,
    /// The callee declined. `user` is the callee.
    #[serde(rename = "call.rejected")]
    #[display("call.rejected")]
    CallRejected,
    /// A call is over, however it ended. `user` is who ended it; nobody when it ended by itself.
    #[serde(rename = "call.ended")]
    #[display("call.ended")]
    CallEnded,
    /// The media of a call takes another path: directly, through the relay or through the SFU.
    #[serde(rename = "call.media_path")]
    #[display("call.media_path")]
    CallMediaPath,
    /// A participant rated a call that is over. `user` is the participant.
    #[serde(rename = "call.rated")]
    #[display("call.rated")]
    CallRated,
    /// A room was opened. `user` is its owner.
    #[serde(rename = "room.created")]
    #[display("room.created")]
    RoomCreated,
    /// A participant joined a room.
    #[serde(rename = "room.joined")]
    #[display("room.joined")]
    RoomJoined,
    /// A participant left a room, or was removed from it.
    #[serde(rename = "room.left")]
    #[display("room.left")]
    RoomLeft,
    /// A room was closed.
    #[serde(rename = "room.closed")]
    #[display("room.closed")]
    RoomClosed,
    /// A token for a room was issued. `user` is who asked for it.
    #[serde(rename = "room.token_issued")]
    #[display("room.token_issued")]
    RoomTokenIssued,
    /// A token for a room was taken back. `user` is who did so.
    #[serde(rename = "room.token_revoked")]
    #[display("room.token_revoked")]
    RoomTokenRevoked,
    /// A recording began. `user` is who started it.
    #[serde(rename = "recording.started")]
    #[display("recording.started")]
    RecordingStarted,
    /// A recording stopped; its files are being finished.
    #[serde(rename = "recording.stopped")]
    #[display("recording.stopped")]
    RecordingStopped,
    /// The files of a recording can be fetched.
    #[serde(rename = "recording.ready")]
    #[display("recording.ready")]
    RecordingReady,
    /// A recording failed: there is nothing to fetch.
    #[serde(rename = "recording.failed")]
    #[display("recording.failed")]
    RecordingFailed,
    /// A recording was deleted with its files.
    #[serde(rename = "recording.deleted")]
    #[display("recording.deleted")]
    RecordingDeleted,
    /// An account was closed. `user` is the account.
    #[serde(rename = "user.disabled")]
    #[display("user.disabled")]
    UserDisabled,
    /// An account was opened again. `user` is the account.
    #[serde(rename = "user.enabled")]
    #[display("user.enabled")]
    UserEnabled,
    /// A person was erased. `user` is the account.
    #[serde(rename = "user.erased")]
    #[display("user.erased")]
    UserErased,
    /// A connection was opened. `user` is the account.
    #[serde(rename = "session.opened")]
    #[display("session.opened")]
    SessionOpened,
    /// A connection was closed. `user` is the account.
    #[serde(rename = "session.closed")]
    #[display("session.closed")]
    SessionClosed,
}

impl FactKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::CallInitiated,
        Self::CallRinging,
        Self::CallAnswered,
        Self::CallRejected,
        Self::CallEnded,
        Self::CallMediaPath,
        Self::CallRated,
        Self::RoomCreated,
        Self::RoomJoined,
        Self::RoomLeft,
        Self::RoomClosed,
        Self::RoomTokenIssued,
        Self::RoomTokenRevoked,
        Self::RecordingStarted,
        Self::RecordingStopped,
        Self::RecordingReady,
        Self::RecordingFailed,
        Self::RecordingDeleted,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::UserErased,
        Self::SessionOpened,
        Self::SessionClosed,
    ];
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// Unique, in the order of time; a consumer that gets a fact twice recognises it by this.
    pub id: FactId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: FactKind,
    /// The call that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// The room that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// The account that it concerns; none for guests of a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The recording that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingId>,
    /// The rest, as an object; null for nothing. It holds ids, numbers and reasons, no names and no texts of people; erasing
    /// `user` empties it all the same.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Fact {
    /// A fact that concerns nothing yet.
    pub fn new(id: FactId, at: Timestamp, kind: FactKind) -> Self {
        let (call, room, user, recording) = (None, None, None, None);
        Self { id, at, kind, call, room, user, recording, data: Value::Null }
    }

    /// The fact, of a call.
    #[must_use]
    pub fn of_call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    /// The fact, of a room.
    #[must_use]
    pub fn in_room(self, room: RoomId) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The fact, of an account; a guest of a room has none.
    #[must_use]
    pub fn by(self, user: Option<UserId>) -> Self {
        Self { user: user.filter(|user| !user.is_guest()), ..self }
    }

    /// The fact, of a recording.
    #[must_use]
    pub fn of_recording(self, recording: RecordingId) -> Self {
        Self { recording: Some(recording), ..self }
    }

    /// The fact, with the rest of what is to be known.
    #[must_use]
    pub fn with(self, data: Value) -> Self {
        Self { data, ..self }
    }

    /// The account whose erasure empties `data`; none when there is nothing to empty.
    pub fn data_of(&self) -> Option<UserId> {
        self.user.filter(|user| !self.data.is_null() && !user.is_guest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_by_its_dotted_name_and_read_back() {
        for &kind in FactKind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<FactKind>(&text).unwrap(), kind);
        }
    }

    #[test]
    fn every_kind_is_among_all() {
        let declared = include_str!("fact.rs").matches("    #[serde(rename = \"").count();
        let mut all = FactKind::ALL.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), declared);
    }

    #[test]
    fn a_guest_leaves_no_account_in_a_fact() {
        let id = FactId::new(uuid::Uuid::nil());
        let fact = Fact::new(id, Timestamp(0), FactKind::RoomJoined).by(Some(UserId::guest(7)));
        assert_eq!(fact.user, None);
        let text = serde_json::to_string(&fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), fact);
    }
}
