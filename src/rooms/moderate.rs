//! What moderators do, and what participants say: rights, hands, reactions, data.

use serde_json::Value;

use super::state::{Member, Room};
use super::{News, Result, RoomError, Rooms, check_metadata, notify_lobby};
use crate::event::Event;
use crate::event::room::{
    Participant, Permissions, RoomData, RoomHand, RoomModerated, RoomReaction, RoomSpotlight,
    TrackKind,
};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, TrackId, UserId};

/// Bytes of data for others, as JSON.
const DATA: usize = 15 << 10;

/// Something that only a moderator may do.
#[derive(Clone, Debug)]
pub enum Moderation {
    /// Mutes the tracks of this kind, or all.
    Mute(ParticipantId, Option<TrackKind>),
    /// Sends somebody out.
    Kick(ParticipantId, Option<String>),
    /// Changes what somebody may do.
    Permit(ParticipantId, Permissions, Option<bool>),
    /// Lets somebody in, or not.
    Admit(ParticipantId, bool),
    /// Locks the room, or opens it.
    Lock(bool),
    /// Puts somebody in the middle for everybody, or nobody.
    Spotlight(Option<ParticipantId>),
    /// Ends the room.
    End,
}

impl Rooms {
    /// A moderator acts in the room of its session.
    pub fn moderate(&self, me: UserId, session: RoomSessionId, what: Moderation) -> Result<()> {
        let (id, member) = self.find(me, session)?;
        let moderator = |room: &mut Room| room.by_id(member).is_some_and(|member| member.moderator);
        if !self.state().rooms.get_mut(&id).is_some_and(moderator) {
            return Err(RoomError::NotAModerator);
        }
        self.carry_out(&id, Some(member), what)
    }

    /// An operator or the owner acts from outside.
    pub fn moderate_from_outside(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        what: Moderation,
    ) -> Result<()> {
        self.owned(id, me, |_| Ok(()))?;
        self.carry_out(id, None, what)
    }

    /// One participant as it is now.
    pub fn participant(&self, id: &RoomId, who: ParticipantId) -> Result<Participant> {
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        room.by_id(who).map(|member| member.shown()).ok_or(RoomError::NotInRoom)
    }

    fn carry_out(&self, id: &RoomId, by: Option<ParticipantId>, what: Moderation) -> Result<()> {
        match what {
            Moderation::End => {
                self.shut(id, "ended");
                return Ok(());
            }
            Moderation::Kick(who, reason) => {
                self.notify_moderated(id, who, "kick", by, reason)?;
                self.remove(id, who, "kicked");
                return Ok(());
            }
            Moderation::Admit(who, false) => {
                self.notify_moderated(id, who, "refused", by, None)?;
                self.remove(id, who, "refused");
                return Ok(());
            }
            Moderation::Admit(who, true) => return self.admit_from_lobby(id, who),
            _ => {}
        }
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        match what {
            Moderation::Lock(locked) => room.locked = locked,
            Moderation::Spotlight(participant_id) => {
                if participant_id.is_some_and(|who| room.by_id(who).is_none()) {
                    return Err(RoomError::NotInRoom);
                }
                room.spotlight = participant_id;
                room.notify(&self.delivery, None, |stamp| {
                    Event::RoomSpotlight(RoomSpotlight { stamp, participant_id })
                });
            }
            Moderation::Mute(who, kind) => {
                let member = room.by_id(who).ok_or(RoomError::NotInRoom)?;
                let concerned = |kind_of: TrackKind| kind.is_none_or(|kind| kind == kind_of);
                let shown = member.shown();
                let tracks: Vec<TrackId> = shown
                    .tracks
                    .iter()
                    .filter(|track| concerned(track.kind))
                    .map(|track| track.track_id)
                    .collect();
                tracks
                    .into_iter()
                    .for_each(|track| self.mute_track(room, track, true, by.unwrap_or(who)));
                drop(state);
                self.notify_moderated(id, who, "mute", by, None)?;
            }
            Moderation::Permit(who, permissions, moderator) => {
                let member = room.by_id(who).ok_or(RoomError::NotInRoom)?;
                member.permissions = permissions;
                member.moderator = moderator.unwrap_or(member.moderator);
                let session = member.session;
                self.silence(room, who);
                let participant = room.by_id(who).map(|member| member.shown());
                if let (Some(participant), Some(member)) = (participant, room.by_id(who)) {
                    member.notify(&self.delivery, |stamp| {
                        let told = crate::event::room::RoomParticipant { stamp, participant };
                        Event::RoomParticipantUpdated(Box::new(told))
                    });
                }
                self.changed(room, session);
                self.reconcile(&mut state, id, News::Member(who));
            }
            _ => {}
        }
        Ok(())
    }

    /// Mutes what somebody may no longer publish.
    fn silence(&self, room: &mut Room, who: ParticipantId) {
        let Some(member) = room.by_id(who) else { return };
        let rights = member.permissions.clone();
        let may = |source| {
            rights.can_publish && (rights.sources.is_empty() || rights.sources.contains(&source))
        };
        let tracks: Vec<TrackId> =
            member.tracks.iter().filter(|track| !may(track.source)).map(|track| track.id).collect();
        tracks.into_iter().for_each(|track| self.mute_track(room, track, true, who));
    }

    fn notify_moderated(
        &self,
        id: &RoomId,
        who: ParticipantId,
        action: &'static str,
        by: Option<ParticipantId>,
        reason: Option<String>,
    ) -> Result<()> {
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        let member = room.by_id(who).ok_or(RoomError::NotInRoom)?;
        member.notify(&self.delivery, |stamp| {
            Event::RoomModerated(RoomModerated { stamp, action, by, reason })
        });
        Ok(())
    }

    fn admit_from_lobby(&self, id: &RoomId, who: ParticipantId) -> Result<()> {
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        let member = room.by_id(who).filter(|member| member.waiting).ok_or(RoomError::NotInRoom)?;
        member.waiting = false;
        let (session, participant) = (member.session, member.shown());
        member.notify(&self.delivery, |stamp| {
            let told = crate::event::room::RoomParticipant { stamp, participant };
            Event::RoomJoined(Box::new(told))
        });
        notify_lobby(room, &self.delivery);
        self.announce(room, session);
        self.reconcile(&mut state, id, News::Member(who));
        Ok(())
    }

    /// Raises or lowers one's hand.
    pub fn raise(&self, me: UserId, session: RoomSessionId, raised: bool) -> Result<()> {
        self.speak_up(me, session, |room, member, delivery| {
            member_of(room, member)?.hand_raised = raised;
            room.notify(delivery, None, |stamp| {
                Event::RoomHand(RoomHand { stamp, participant_id: member, raised })
            });
            Ok(())
        })
    }

    /// Shows a reaction.
    pub fn react(&self, me: UserId, session: RoomSessionId, emoji: &str) -> Result<()> {
        self.speak_up(me, session, |room, member, delivery| {
            room.notify(delivery, None, |stamp| {
                Event::RoomReaction(RoomReaction {
                    stamp,
                    participant_id: member,
                    emoji: emoji.to_owned(),
                })
            });
            Ok(())
        })
    }

    /// Sends data to everybody else, or to some.
    pub fn data(
        &self,
        me: UserId,
        session: RoomSessionId,
        (topic, payload): (&str, &Value),
        to: Option<&[ParticipantId]>,
    ) -> Result<()> {
        let bytes = payload.to_string().len();
        if bytes > DATA {
            let why = format!("payload has {bytes} bytes as JSON; at most {DATA} are sent");
            return Err(RoomError::Invalid("payload", why));
        }
        self.speak_up(me, session, |room, member, delivery| {
            for other in
                room.members.iter_mut().filter(|other| !other.waiting && other.id != member)
            {
                if to.is_none_or(|to| to.contains(&other.id)) {
                    let (topic, payload) = (topic.to_owned(), payload.clone());
                    other.notify(delivery, |stamp| {
                        Event::RoomData(Box::new(RoomData {
                            stamp,
                            participant_id: member,
                            topic,
                            payload,
                        }))
                    });
                }
            }
            Ok(())
        })
    }

    /// Says something of oneself.
    pub fn describe(
        &self,
        me: UserId,
        session: RoomSessionId,
        metadata: Option<Value>,
        name: Option<String>,
    ) -> Result<()> {
        check_metadata(metadata.as_ref())?;
        self.act(me, session, |room, member| {
            let member = member_of(room, member)?;
            if let Some(metadata) = metadata {
                member.metadata = Some(metadata).filter(|metadata| !metadata.is_null());
            }
            if let Some(name) = name {
                member.name = name;
            }
            self.changed(room, session);
            Ok(())
        })
    }

    fn speak_up<T>(
        &self,
        me: UserId,
        session: RoomSessionId,
        act: impl FnOnce(&mut Room, ParticipantId, &super::state::Outboxes) -> Result<T>,
    ) -> Result<T> {
        self.act(me, session, |room, member| {
            if !member_of(room, member)?.permissions.can_data {
                return Err(RoomError::MayNotSendData);
            }
            act(room, member, &self.delivery)
        })
    }
}

fn member_of(room: &mut Room, id: ParticipantId) -> Result<&mut Member> {
    room.by_id(id).ok_or(RoomError::NotInRoom)
}
