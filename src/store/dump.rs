//! The canonical dump: one line of JSON a row, kind after kind in the order below, each in the order of its key. Every engine
//! writes and reads the same lines.

use serde::{Deserialize, Serialize};

use super::{
    CallRecord, ConversationRecord, DeliveryRecord, DeviceRecord, EndpointRecord, JobRecord,
    LogEntry, Mark, MemberRecord, MessageRecord, PlacedFact, RecordingRecord, RoomTokenRecord,
    ServerKey, UserRecord,
};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, UserId};

/// One row of a dump.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "t", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum DumpRow {
    /// By id.
    User(UserRecord),
    /// By user, then device.
    Device(DeviceRecord),
    /// By id.
    Conversation(ConversationRecord),
    /// By conversation, then user.
    Member(MemberRecord),
    /// By conversation, then number.
    Message(MessageRecord),
    /// An idempotency key; by sender, then key.
    ClientId {
        from: UserId,
        client_id: String,
        conversation: ConversationId,
        seq: i64,
        at: Timestamp,
    },
    /// By conversation, then delivered before read, then user, then number.
    Mark { conversation: ConversationId, mark: Mark },
    /// By user, then cursor.
    Log(LogEntry),
    /// By id.
    Call(CallRecord),
    /// By user, then time of the call, then call.
    CallMember { user: UserId, call: CallId, outgoing: bool, missed: bool },
    /// By id.
    Job(JobRecord),
    /// By id.
    Recording(RecordingRecord),
    /// By position.
    Fact(PlacedFact),
    /// How far a consumer of facts is; by name.
    FactCursor { name: String, position: i64 },
    /// By hash.
    RoomToken(RoomTokenRecord),
    /// By name.
    ServerKey(ServerKey),
    /// By id.
    Delivery(DeliveryRecord),
    /// By name.
    Endpoint(EndpointRecord),
}
