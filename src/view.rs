//! Records as clients see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::delivery::{Delivery, Position};
use crate::event::recording::RecordingStatus;
use crate::event::{
    AnsweredBy, Call, Conversation, Delivered, Event, LogEntry, MarkedRead, Message, Person,
    Presence, PresenceMode, Read, User, UserStatus,
};
use crate::ids::{ConversationId, MessageId, RoomId, UserId};
use crate::incall::InCall;
use crate::store::{
    Appended, CallRecord, Listed, LogRecord, Logged, Mark, MarkKind, MessageRecord, UserRecord,
};

/// Turns records into the objects of the wire.
#[derive(Clone)]
pub struct View {
    config: Arc<Config>,
    delivery: Arc<Delivery>,
    in_call: Arc<InCall>,
}

/// How much of a person to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// What everyone may see.
    Public,
    /// What the person, and operators, may see.
    Full,
}

impl View {
    /// A view under this configuration.
    pub fn new(config: Arc<Config>, delivery: Arc<Delivery>, in_call: Arc<InCall>) -> Self {
        Self { config, delivery, in_call }
    }

    fn mongo<T>(&self, id: T) -> Option<T> {
        self.config.compat.mongo_ids.then_some(id)
    }

    /// A person.
    pub fn user(&self, record: &UserRecord, detail: Detail) -> User {
        let status = self.status(record);
        let profile = &record.profile;
        let full = detail == Detail::Full;
        let contact = full || self.config.directory.expose_contact;
        User {
            user_id: profile.user_id,
            mongo_id: self.mongo(profile.user_id),
            uid: profile.uid.clone(),
            name: profile.name.clone(),
            user_type: profile.user_type.clone(),
            is_online: status.is_online,
            last_seen: status.last_seen,
            presence: status.presence,
            in_call: status.in_call,
            status_text: status.status_text,
            email: profile.email.clone().filter(|_| contact),
            mobile: profile.mobile.clone().filter(|_| contact),
            gender: profile.gender.filter(|_| contact),
            role: full.then_some(profile.role),
            disabled: full.then_some(record.disabled),
            created_at: full.then_some(record.created_at),
            updated_at: full.then_some(record.updated_at),
        }
    }

    /// How a person is.
    pub fn status(&self, record: &UserRecord) -> UserStatus {
        let user_id = record.profile.user_id;
        let active = self.delivery.last_activity(user_id);
        let is_online = active.is_some();
        let presence = match record.presence {
            _ if !is_online => Presence::Offline,
            PresenceMode::Auto => Presence::Online,
            PresenceMode::Away => Presence::Away,
            PresenceMode::Dnd => Presence::Dnd,
        };
        UserStatus {
            user_id,
            is_online,
            last_seen: active.unwrap_or(record.last_seen).max(record.last_seen),
            presence,
            in_call: self.in_call.contains(user_id),
            status_text: record.status_text.clone(),
        }
    }

    /// A message with the marks that say when it was delivered and read.
    pub fn message(&self, record: &MessageRecord, marks: &[Mark]) -> Message {
        let to = record.conversation.peer_of(record.from);
        let first = |kind: Option<MarkKind>| {
            let reaching = |mark: &&Mark| {
                Some(mark.user) == to
                    && mark.up_to >= record.seq
                    && kind.is_none_or(|kind| mark.kind == kind)
            };
            marks.iter().filter(reaching).map(|mark| mark.at).min()
        };
        let (read_at, delivered_at) = (first(Some(MarkKind::Read)), first(None));
        let extra = &record.extra;
        Message {
            message_id: record.id,
            mongo_id: self.mongo(record.id),
            client_id: record.client_id.clone(),
            conversation_id: record.conversation,
            seq: record.seq,
            from_user_id: record.from,
            to_user_id: to,
            content: record.content.clone(),
            message_type: record.kind,
            attachments: extra.attachments.clone(),
            reply_to: extra.reply_to,
            mentions: extra.mentions.clone(),
            reactions: BTreeMap::new(),
            is_read: read_at.is_some(),
            read_at,
            delivered_at,
            version: extra.edits + 1,
            edited_at: extra.edited_at,
            deleted_at: extra.deleted_at,
            created_at: record.at,
            updated_at: [extra.edited_at, extra.deleted_at, read_at]
                .into_iter()
                .flatten()
                .max()
                .unwrap_or(record.at),
            expires_at: extra.expires_at,
            call: extra.call.clone(),
            cursor: None,
        }
    }

    /// A conversation as its member `me` sees it.
    pub fn conversation(&self, listed: &Listed, me: UserId) -> Conversation {
        let (record, member) = (&listed.conversation, &listed.member);
        let peer = record.id.peer_of(me);
        Conversation {
            conversation_id: record.id,
            mongo_id: peer.and_then(|peer| self.mongo(peer)),
            kind: record.kind,
            name: record.title.clone(),
            member_count: record.member_count,
            last_message: record.preview.clone(),
            last_message_id: record.last_id,
            last_message_time: record.last_at,
            last_message_type: record.last_kind,
            last_seq: record.seq,
            unread_count: member.unread,
            read_up_to_seq: member.read,
            muted_until: None,
            archived: member.archived,
            other_user: listed.peer.as_ref().map(|peer| self.user(peer, Detail::Public)),
            created_at: record.created_at,
            updated_at: record.last_at,
        }
    }

    /// The event about a mark for `user`: `up_to` is the message that a read mark stands at.
    pub fn mark(
        &self,
        user: UserId,
        conversation: ConversationId,
        mark: Mark,
        (up_to, unread): (Option<MessageId>, i64),
        cursor: Option<i64>,
    ) -> Event {
        let cursor = cursor.map(|cursor| cursor.to_string());
        match mark.kind {
            MarkKind::Delivered => Event::MessageDelivered(Delivered {
                conversation_id: conversation,
                up_to_seq: mark.up_to,
                by_user_id: mark.user,
                delivered_at: mark.at,
                cursor,
            }),
            MarkKind::Read if mark.user == user => Event::MessageMarkedRead(MarkedRead {
                with_user_id: conversation.peer_of(user),
                conversation_id: conversation,
                up_to_seq: mark.up_to,
                unread_count: unread,
                cursor,
            }),
            MarkKind::Read => Event::MessageRead(Read {
                by_user_id: mark.user,
                conversation_id: conversation,
                up_to,
                up_to_seq: mark.up_to,
                read_at: mark.at,
                cursor,
            }),
        }
    }

    /// The event about a message for `user`.
    pub fn message_event(
        &self,
        user: UserId,
        record: &MessageRecord,
        marks: &[Mark],
        cursor: i64,
    ) -> Event {
        let message =
            Box::new(Message { cursor: Some(cursor.to_string()), ..self.message(record, marks) });
        if record.from == user {
            Event::MessageSent(message)
        } else {
            Event::MessageReceived(message)
        }
    }

    /// Sends a stored message to every member, to each at its place in the event log.
    pub fn notify(&self, appended: &Appended) {
        let message = &appended.message;
        for (user, cursor) in &appended.cursors {
            let event = self.message_event(*user, message, &[], *cursor);
            let position = (*user != message.from)
                .then_some(Position { conversation: message.conversation, seq: message.seq });
            self.delivery.send_logged(*user, *cursor, &event, position);
        }
    }

    /// An entry of `user`'s event log as it is replayed; `up_to` as for [`Self::mark`].
    pub fn log_entry(
        &self,
        user: UserId,
        record: &LogRecord,
        up_to: Option<MessageId>,
        now: Timestamp,
    ) -> LogEntry {
        let event = match &record.what {
            Logged::Message(message, marks) => {
                self.message_event(user, message, marks, record.cursor)
            }
            Logged::Mark { conversation, mark } => {
                self.mark(user, *conversation, *mark, (up_to, 0), Some(record.cursor))
            }
            Logged::Missed(call) => Event::CallMissed(Box::new(self.call(call, None, now))),
        };
        LogEntry {
            cursor: record.cursor.to_string(),
            event: event.name(),
            payload: event.encode(),
            at: record.at,
        }
    }

    /// A call; with `people`, caller and callee in full.
    pub fn call(
        &self,
        record: &CallRecord,
        people: Option<(&UserRecord, &UserRecord)>,
        now: Timestamp,
    ) -> Call {
        self.calls().call(record, people, now)
    }

    /// How calls are shown.
    pub fn calls(&self) -> CallView {
        CallView {
            mongo_ids: self.config.compat.mongo_ids,
            expose_contact: self.config.directory.expose_contact,
        }
    }
}

/// How calls are shown, for rules that have nothing else of the server.
#[derive(Clone, Copy, Debug)]
pub struct CallView {
    mongo_ids: bool,
    expose_contact: bool,
}

impl CallView {
    /// A call; with `people`, caller and callee in full.
    pub fn call(
        &self,
        record: &CallRecord,
        people: Option<(&UserRecord, &UserRecord)>,
        now: Timestamp,
    ) -> Call {
        Call {
            call_id: record.id,
            mongo_id: self.mongo_ids.then_some(record.id),
            from_user_id: record.from,
            to_user_id: Some(record.to),
            user_ids: vec![record.from, record.to],
            conversation_id: record.conversation,
            call_type: record.kind,
            status: record.status,
            end_reason: record.end_reason,
            rev: record.rev,
            room_id: RoomId::of_call(record.first()),
            media: record.media,
            created_at: record.created_at,
            ringing_at: record.ringing_at,
            start_time: record.accepted_at,
            end_time: record.ended_at,
            duration: record.duration(now),
            expires_at: record.deadline.filter(|_| record.status.is_pending()),
            answered_by: record.accepted_at.map(|_| AnsweredBy {
                user_id: record.to,
                device_id: record.answered_device.clone(),
            }),
            from_user: people.map(|(from, _)| self.person(from)),
            to_user: people.map(|(_, to)| self.person(to)),
            recording_status: RecordingStatus::NoRecording,
            recording_id: None,
            updated_at: record.updated_at,
        }
    }

    fn person(&self, record: &UserRecord) -> Person {
        let profile = &record.profile;
        Person {
            id: profile.user_id,
            user_id: profile.user_id,
            name: profile.name.clone(),
            email: profile.email.clone().filter(|_| self.expose_contact),
            user_type: profile.user_type.clone(),
        }
    }
}

/// An opaque page cursor.
pub fn cursor(parts: &[&str]) -> String {
    BASE64.encode(parts.join("\n"))
}

/// The parts of a page cursor, or `None` for one that we never gave.
pub fn open_cursor(text: &str) -> Option<Vec<String>> {
    let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() <= 512)?;
    Some(String::from_utf8(bytes).ok()?.split('\n').map(str::to_owned).collect())
}
