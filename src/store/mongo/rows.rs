//! What is kept in which collection. The `_id` of every document is its key as text whose order is the order of the key, so
//! that the index every collection has answers most queries; `doc` is the record, and beside it stands what other queries
//! ask for.

use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{
    RawDocument, RawDocumentBuf, cstr, deserialize_from_slice, serialize_to_raw_document_buf,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{
    CallRecord, ConversationRecord, DeviceRecord, JobRecord, LogEntry, Mark, MarkKind,
    MemberRecord, MessageRecord, PlacedFact, Result, StoreError, Totals, UserRecord,
};
use crate::clock::Timestamp;
use crate::ids::{CallId, ConversationId, RecordingId, UserId};

/// A record and its place.
pub(super) trait StoredDocument: Serialize + DeserializeOwned + Send + Sync {
    /// The collection.
    const IN: &'static str;

    /// The key.
    fn id(&self) -> String;

    /// What queries ask for beside the key.
    fn keys(&self, _: &mut RawDocumentBuf) {}
}

/// A number in keys: of one width, so that text order is the order of numbers.
pub(super) fn wide(number: i64) -> String {
    format!("{number:016}")
}

pub(super) fn user_id(user: UserId) -> String {
    wide(user.value())
}

pub(super) fn in_conversation(conversation: ConversationId, number: i64) -> String {
    format!("{conversation}:{number:016}")
}

pub(super) fn of_user(user: UserId, rest: impl std::fmt::Display) -> String {
    format!("{:016}:{rest}", user.value())
}

/// Where a user's log, or calls, end: behind every key of the user.
pub(super) fn end_of(prefix: &str) -> String {
    format!("{prefix};")
}

pub(super) fn log_id(user: UserId, cursor: i64) -> String {
    of_user(user, wide(cursor))
}

pub(super) fn call_at(user: UserId, at: Timestamp) -> String {
    of_user(user, wide(at.0.max(0)))
}

pub(super) fn call_member_id(user: UserId, at: Timestamp, call: CallId) -> String {
    format!("{}:{call}", call_at(user, at))
}

/// A document as it is stored: key, the group of writes it came with, what queries ask for, and the record.
pub(super) fn document<T: StoredDocument>(row: &T, group: i64) -> Result<RawDocumentBuf> {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), row.id().as_str());
    document.append(cstr!("g"), group);
    row.keys(&mut document);
    let record = serialize_to_raw_document_buf(&HumanReadable(row)).map_err(damaged)?;
    document.append(cstr!("doc"), record);
    Ok(document)
}

/// The record in a document.
pub(super) fn record<T: StoredDocument>(document: &RawDocument) -> Result<T> {
    let record = document.get_document("doc").map_err(damaged)?;
    let HumanReadable(row) = deserialize_from_slice(record.as_bytes()).map_err(damaged)?;
    Ok(row)
}

pub(super) fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

impl StoredDocument for UserRecord {
    const IN: &'static str = "users";
    fn id(&self) -> String {
        user_id(self.profile.user_id)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("name_key"), self.name_key().as_str());
    }
}

/// Whose a uid is.
#[derive(Deserialize, Serialize)]
pub(super) struct Uid {
    pub(super) uid: String,
    pub(super) user: UserId,
}

impl StoredDocument for Uid {
    const IN: &'static str = "uids";
    fn id(&self) -> String {
        self.uid.clone()
    }
}

impl StoredDocument for DeviceRecord {
    const IN: &'static str = "devices";
    fn id(&self) -> String {
        of_user(self.user, &self.device_id)
    }
}

impl StoredDocument for ConversationRecord {
    const IN: &'static str = "conversations";
    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl StoredDocument for MemberRecord {
    const IN: &'static str = "members";
    fn id(&self) -> String {
        in_conversation(self.conversation, self.user.value())
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("user"), self.user.value());
        document.append(cstr!("archived"), self.archived);
        document.append(cstr!("last_activity"), self.last_activity.0);
        document.append(cstr!("conversation"), self.conversation.to_string().as_str());
        document.append(cstr!("unread"), self.unread);
    }
}

impl StoredDocument for MessageRecord {
    const IN: &'static str = "messages";
    fn id(&self) -> String {
        in_conversation(self.conversation, self.seq)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("message"), self.id.to_string().as_str());
        document.append(cstr!("from"), self.from.value());
        document.append(cstr!("counts"), self.counts);
    }
}

/// An idempotency key and the message it stands for.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct ClientKey {
    pub(super) from: UserId,
    pub(super) client_id: String,
    pub(super) conversation: ConversationId,
    pub(super) seq: i64,
    pub(super) at: Timestamp,
}

impl StoredDocument for ClientKey {
    const IN: &'static str = "client_ids";
    fn id(&self) -> String {
        of_user(self.from, &self.client_id)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("at"), self.at.0);
    }
}

/// A mark as it was set, which says when.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct StoredMark {
    pub(super) conversation: ConversationId,
    pub(super) mark: Mark,
}

impl StoredDocument for StoredMark {
    const IN: &'static str = "marks";
    fn id(&self) -> String {
        let kind = i64::from(self.mark.kind == MarkKind::Read);
        let user = wide(self.mark.user.value());
        format!("{}:{kind}:{user}:{:016}", self.conversation, self.mark.up_to)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("conversation"), self.conversation.to_string().as_str());
        document.append(cstr!("up_to"), self.mark.up_to);
    }
}

impl StoredDocument for LogEntry {
    const IN: &'static str = "log";
    fn id(&self) -> String {
        log_id(self.user, self.cursor)
    }
}

impl StoredDocument for CallRecord {
    const IN: &'static str = "calls";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("live"), self.status.is_live());
        document.append(cstr!("created_at"), self.created_at.0);
    }
}

/// Which call a caller's idempotency key stands for.
#[derive(Deserialize, Serialize)]
pub(super) struct CallKey {
    pub(super) from: UserId,
    pub(super) client_id: String,
    pub(super) call: CallId,
}

impl StoredDocument for CallKey {
    const IN: &'static str = "call_keys";
    fn id(&self) -> String {
        of_user(self.from, &self.client_id)
    }
}

/// A call in the history of one of the two.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct CallMember {
    pub(super) user: UserId,
    pub(super) call: CallId,
    pub(super) at: Timestamp,
    pub(super) peer: UserId,
    pub(super) outgoing: bool,
    pub(super) missed: bool,
}

impl CallMember {
    pub(super) fn of(call: &CallRecord, user: UserId, outgoing: bool, missed: bool) -> Self {
        let (at, peer) = (call.created_at, call.peer_of(user));
        Self { user, call: call.id, at, peer, outgoing, missed }
    }
}

impl StoredDocument for CallMember {
    const IN: &'static str = "call_members";
    fn id(&self) -> String {
        call_member_id(self.user, self.at, self.call)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("peer"), self.peer.value());
        document.append(cstr!("outgoing"), self.outgoing);
        document.append(cstr!("missed"), self.missed);
    }
}

/// Who may see a recording.
#[derive(Deserialize, Serialize)]
pub(super) struct RecordingMember {
    pub(super) user: UserId,
    pub(super) recording: RecordingId,
}

impl StoredDocument for RecordingMember {
    const IN: &'static str = "recording_members";
    fn id(&self) -> String {
        of_user(self.user, self.recording)
    }
}

impl StoredDocument for JobRecord {
    const IN: &'static str = "jobs";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("open"), self.state.is_open());
    }
}

impl StoredDocument for Totals {
    const IN: &'static str = "meta";
    fn id(&self) -> String {
        "totals".into()
    }
}

impl StoredDocument for PlacedFact {
    const IN: &'static str = "facts";
    fn id(&self) -> String {
        wide(self.position)
    }
    fn keys(&self, document: &mut RawDocumentBuf) {
        document.append(cstr!("data_of"), self.fact.data_of().map_or(0, UserId::value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::LogTarget;

    /// Entries of two logs as version 2 of the database holds them, one a line: messages, marks, a missed call.
    const LOG: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store/log.bson.hex"));

    fn bytes(line: &str) -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(pair).collect()
    }

    #[test]
    fn log_entries_of_an_earlier_version_are_read_and_written_back_byte_by_byte() {
        let mut targets = Vec::new();
        for line in LOG.lines() {
            let stored = RawDocumentBuf::from_bytes(bytes(line)).unwrap();
            let entry: LogEntry = record(&stored).unwrap();
            assert_eq!(stored.get_str("_id").unwrap(), entry.id());
            assert_eq!(document(&entry, stored.get_i64("g").unwrap()).unwrap(), stored);
            targets.push(entry.target());
        }
        let (one, two) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let both = ConversationId::direct(one, two);
        let of = |kind| Mark { user: two, kind, up_to: 1, at: Timestamp(1_899_999_960_003) };
        let (first, second) = (LogTarget::Message(both, 1), LogTarget::Message(both, 2));
        let delivered = LogTarget::Mark(both, of(MarkKind::Delivered));
        let read = LogTarget::Mark(both, of(MarkKind::Read));
        let missed = LogTarget::Missed(CallId::new(uuid::Uuid::from_u128(0xc1)));
        let expected = [first, second, delivered, read, first, second, read, missed];
        assert_eq!(targets, expected);
    }
}
