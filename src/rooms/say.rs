//! What participants say to each other: hands, reactions, data, and what each says of itself.

use serde_json::Value;

use super::machine::Room;
use super::member::Caller;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms, check_metadata};
use crate::event::Event;
use crate::event::room::{RoomData, RoomHand, RoomReaction};
use crate::ids::{ParticipantId, RoomSessionId, UserId};

/// Bytes of data for others, as JSON.
const DATA: usize = 15 << 10;

/// Raises or lowers one's hand.
pub(super) struct Raise {
    pub(super) by: Caller,
    pub(super) raised: bool,
}

/// Shows a reaction.
pub(super) struct React {
    pub(super) by: Caller,
    pub(super) emoji: String,
}

/// Sends data to everybody else, or to some.
pub(super) struct SendData {
    pub(super) by: Caller,
    pub(super) topic: String,
    pub(super) payload: Value,
    /// Bytes of the payload as JSON.
    pub(super) bytes: usize,
    pub(super) to: Option<Vec<ParticipantId>>,
}

/// Says something of oneself.
pub(super) struct Describe {
    pub(super) by: Caller,
    pub(super) metadata: Option<Value>,
    pub(super) name: Option<String>,
}

impl Rooms {
    /// Raises or lowers one's hand.
    pub async fn raise(&self, user: UserId, session: RoomSessionId, raised: bool) -> Result<()> {
        self.ask_session(session, Raise { by: Caller { user, session }, raised }).await
    }

    /// Shows a reaction.
    pub async fn react(&self, user: UserId, session: RoomSessionId, emoji: String) -> Result<()> {
        self.ask_session(session, React { by: Caller { user, session }, emoji }).await
    }

    /// Sends data to everybody else, or to some.
    pub async fn data(
        &self,
        user: UserId,
        session: RoomSessionId,
        (topic, payload): (String, Value),
        to: Option<Vec<ParticipantId>>,
    ) -> Result<()> {
        let bytes = payload.to_string().len();
        if bytes > DATA {
            let why = format!("payload has {bytes} bytes as JSON; at most {DATA} are sent");
            return Err(RoomError::Invalid("payload", why));
        }
        let by = Caller { user, session };
        self.ask_session(session, SendData { by, topic, payload, bytes, to }).await
    }

    /// Says something of oneself.
    pub async fn describe(
        &self,
        user: UserId,
        session: RoomSessionId,
        metadata: Option<Value>,
        name: Option<String>,
    ) -> Result<()> {
        check_metadata(metadata.as_ref())?;
        let by = Caller { user, session };
        self.ask_session(session, Describe { by, metadata, name }).await
    }
}

impl Room {
    /// The caller, if it may send data, reactions and a raised hand.
    fn speaker(&mut self, caller: Caller) -> Result<ParticipantId> {
        let member = self.caller(caller)?;
        if member.permissions.can_data { Ok(member.id) } else { Err(RoomError::MayNotSendData) }
    }
}

impl Rule for Raise {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let participant_id = room.speaker(self.by)?;
        room.sent.reaction(self.by.user, &room.rules.paces, with.now)?;
        let raised = self.raised;
        room.member(participant_id)?.hand_raised = raised;
        room.notify(None, |stamp| Event::RoomHand(RoomHand { stamp, participant_id, raised }));
        Ok(())
    }
}

impl Rule for React {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let (participant_id, emoji) = (room.speaker(self.by)?, self.emoji);
        room.sent.reaction(self.by.user, &room.rules.paces, with.now)?;
        let event = |stamp| Event::RoomReaction(RoomReaction { stamp, participant_id, emoji });
        room.notify(None, event);
        Ok(())
    }
}

impl Rule for SendData {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let participant_id = room.speaker(self.by)?;
        let bytes = self.bytes + self.topic.len();
        room.sent.data(self.by.user, bytes, &room.rules.paces, with.now)?;
        let Self { topic, payload, to, .. } = self;
        let chosen = |id| to.as_ref().is_none_or(|to| to.contains(&id));
        room.notify_where(
            |member| member.id != participant_id && chosen(member.id),
            |stamp| Event::RoomData(Box::new(RoomData { stamp, participant_id, topic, payload })),
        );
        Ok(())
    }
}

impl Rule for Describe {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let named = room.caller(self.by)?.named;
        if named && self.name.is_some() {
            let why = "Your name was given by the room token; leave name out";
            return Err(RoomError::Invalid("name", why.into()));
        }
        room.sent.metadata(self.by.user, &room.rules.paces, with.now)?;
        let member = room.caller(self.by)?;
        if let Some(metadata) = self.metadata {
            member.metadata = Some(metadata).filter(|metadata| !metadata.is_null());
        }
        if let Some(name) = self.name {
            member.name = name;
        }
        let id = member.id;
        room.announce_change(id);
        Ok(())
    }
}
