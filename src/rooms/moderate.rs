//! What moderators do: rights, the lobby, the lock, the end.

use super::machine::Room;
use super::member::Caller;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{
    Ban, LeaveReason, ModerationAction, Participant, Permissions, RoomCloseReason, RoomModerated,
    RoomParticipant, RoomSpotlight, TrackKind, TrackSource,
};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, TrackId, UserId};
use crate::policy::{Relation, Verb, may};

/// Something that only a moderator may do.
#[derive(Clone, Debug)]
pub enum Moderation {
    /// Mutes the tracks of this kind, or all.
    Mute(ParticipantId, Option<TrackKind>),
    /// Removes a participant, which may not come back where it is banned.
    Kick {
        /// Whom.
        who: ParticipantId,
        /// Why, in words.
        reason: Option<String>,
        /// Until a moderator says otherwise.
        ban: bool,
    },
    /// Changes what a participant may do.
    Permit(ParticipantId, Grant),
    /// Lets somebody in from the lobby, or not.
    Admit(ParticipantId, bool),
    /// Locks the room, or opens it.
    Lock(bool),
    /// Puts a participant in the middle for everybody, or none.
    Spotlight(Option<ParticipantId>),
    /// Ends the room.
    End,
}

/// A change of what a participant may do; what is left out stays as it is.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Grant {
    pub can_publish: Option<bool>,
    pub can_subscribe: Option<bool>,
    pub can_data: Option<bool>,
    pub sources: Option<Vec<TrackSource>>,
    pub moderator: Option<bool>,
}

impl Grant {
    /// Exactly these permissions.
    pub fn all(permissions: Permissions, moderator: Option<bool>) -> Self {
        let Permissions { can_publish, can_subscribe, can_data, sources } = permissions;
        Self {
            can_publish: Some(can_publish),
            can_subscribe: Some(can_subscribe),
            can_data: Some(can_data),
            sources: Some(sources),
            moderator,
        }
    }
}

/// Who acts.
pub(super) enum By {
    /// A participant, who has to be a moderator.
    Participant(Caller),
    /// From outside: an operator, or else this user, who has to be the owner.
    Outside(Option<UserId>),
}

/// See the module.
pub(super) struct Moderate {
    pub(super) by: By,
    pub(super) what: Moderation,
}

impl Rooms {
    /// A moderator acts in the room of its session.
    pub async fn moderate(
        &self,
        user: UserId,
        session: RoomSessionId,
        what: Moderation,
    ) -> Result<()> {
        let by = By::Participant(Caller { user, session });
        self.ask_session(session, Moderate { by, what }).await.map(drop)
    }

    /// An operator or the owner acts from outside; gives the participant concerned, one that is removed as it was.
    pub async fn moderate_from_outside(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        what: Moderation,
    ) -> Result<Option<Participant>> {
        self.ask(id, Moderate { by: By::Outside(me), what }).await
    }
}

impl Rule for Moderate {
    type Reply = Option<Participant>;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Option<Participant>> {
        let user = match self.by {
            By::Outside(me) => me,
            By::Participant(caller) => Some(caller.user),
        };
        let by = match self.by {
            By::Outside(me) => room.owned(me).map(|()| None)?,
            By::Participant(caller) => {
                let member = room.caller(caller)?;
                let relation =
                    if member.moderator { Relation::Moderator } else { Relation::Member };
                may(member.user, Verb::ModerateRoom, relation)
                    .map_err(|_| RoomError::NotAModerator)?;
                Some(member.id)
            }
        };
        room.moderate(by, user, self.what, with.now)
    }
}

impl Room {
    fn moderate(
        &mut self,
        by: Option<ParticipantId>,
        user: Option<UserId>,
        what: Moderation,
        now: Timestamp,
    ) -> Result<Option<Participant>> {
        let concerned = match what {
            Moderation::Lock(locked) => {
                self.locked = locked;
                return Ok(None);
            }
            Moderation::Spotlight(who) => {
                self.put_in_the_middle(who)?;
                return Ok(None);
            }
            Moderation::End => {
                self.close(RoomCloseReason::Ended);
                return Ok(None);
            }
            Moderation::Kick { who, reason, ban } => {
                let member = self.member(who)?;
                let (shown, user_id, right) = (member.shown(), member.user, member.right);
                self.notify_moderated(who, ModerationAction::Kick, by, reason);
                self.remove(who, LeaveReason::Kicked, now);
                if ban {
                    let (participant_id, name) = (who, shown.name.clone());
                    let ban = Ban { user_id, participant_id, name, banned_at: now };
                    self.ban(ban, right, user, now);
                }
                return Ok(Some(shown));
            }
            Moderation::Admit(who, false) => {
                let shown = self.waiting(who)?;
                self.notify_moderated(who, ModerationAction::Refused, by, None);
                self.remove(who, LeaveReason::Refused, now);
                return Ok(Some(shown));
            }
            Moderation::Admit(who, true) => {
                self.admit_from_lobby(who)?;
                who
            }
            Moderation::Mute(who, kind) => {
                self.mute_remote(who, kind, by)?;
                who
            }
            Moderation::Permit(who, grant) => {
                self.permit(who, grant)?;
                who
            }
        };
        Ok(Some(self.member(concerned)?.shown()))
    }

    fn put_in_the_middle(&mut self, who: Option<ParticipantId>) -> Result<()> {
        who.map(|who| self.member(who).map(drop)).transpose()?;
        self.spotlight = who;
        self.notify(None, |stamp| {
            Event::RoomSpotlight(RoomSpotlight { stamp, participant_id: who })
        });
        Ok(())
    }

    fn mute_remote(
        &mut self,
        who: ParticipantId,
        kind: Option<TrackKind>,
        by: Option<ParticipantId>,
    ) -> Result<()> {
        let tracks = self.member(who)?.shown().tracks;
        let tracks = tracks.into_iter().filter(|track| kind.is_none_or(|kind| kind == track.kind));
        for track in tracks {
            self.mute_track(track.track_id, true, by.unwrap_or(who));
        }
        self.notify_moderated(who, ModerationAction::Mute, by, None);
        Ok(())
    }

    fn permit(&mut self, who: ParticipantId, grant: Grant) -> Result<()> {
        let member = self.member(who)?;
        let rights = &mut member.permissions;
        rights.can_publish = grant.can_publish.unwrap_or(rights.can_publish);
        rights.can_subscribe = grant.can_subscribe.unwrap_or(rights.can_subscribe);
        rights.can_data = grant.can_data.unwrap_or(rights.can_data);
        if let Some(sources) = grant.sources {
            rights.sources = sources;
        }
        grant.moderator.into_iter().for_each(|moderator| member.set_moderator(moderator));
        self.silence(who);
        self.notify_rights(who);
        self.reconcile_member(who);
        Ok(())
    }

    /// Mutes what somebody may no longer publish.
    fn silence(&mut self, who: ParticipantId) {
        let Ok(member) = self.member(who) else { return };
        let may = |source| may_publish(&member.permissions, source);
        let forbidden = member.tracks.iter().filter(|track| !may(track.source));
        let forbidden: Vec<TrackId> = forbidden.map(|track| track.id).collect();
        forbidden.into_iter().for_each(|track| self.mute_track(track, true, who));
    }

    fn waiting(&mut self, who: ParticipantId) -> Result<Participant> {
        let member = self.member(who)?;
        if member.waiting { Ok(member.shown()) } else { Err(RoomError::NotInRoom) }
    }

    fn admit_from_lobby(&mut self, who: ParticipantId) -> Result<()> {
        let participant = self.waiting(who)?;
        self.member(who)?.waiting = false;
        self.notify_member(who, |stamp| {
            Event::RoomJoined(Box::new(RoomParticipant { stamp, participant }))
        });
        self.notify_lobby();
        self.announce(who);
        self.reconcile_member(who);
        Ok(())
    }

    fn notify_moderated(
        &mut self,
        who: ParticipantId,
        action: ModerationAction,
        by: Option<ParticipantId>,
        reason: Option<String>,
    ) {
        self.notify_member(who, |stamp| {
            Event::RoomModerated(RoomModerated { stamp, action, by, reason })
        });
    }
}

/// Whether permissions allow to publish a source.
pub(super) fn may_publish(permissions: &Permissions, source: TrackSource) -> bool {
    let Permissions { can_publish, sources, .. } = permissions;
    *can_publish && (sources.is_empty() || sources.contains(&source))
}
