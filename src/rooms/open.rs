//! Rooms from outside: opened, changed, closed, looked at.

use std::collections::BTreeSet;

use serde::Deserialize;
use utoipa::ToSchema;

use super::machine::Room;
use super::member::Member;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::room::{Participant, Room as ShownRoom, RoomCloseReason};
use crate::ids::{RoomId, Short, UserId};
use crate::policy::{Relation, Verb, may};

/// How a room is to be.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomSpec {
    /// Its id; made up when left out.
    pub room_id: Option<RoomId>,
    /// Its name for people.
    pub name: Option<Short<128>>,
    /// Participants at most.
    pub max_participants: Option<usize>,
    /// Whether who comes waits for a moderator.
    pub lobby: bool,
    /// Codecs that may be published, of `opus`, `vp8`, `vp9`, `h264`, `av1`.
    pub codecs: Option<Vec<String>>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Who may come in without a token, 1000 accounts at most; when left out `rooms.join` says whether anybody may.
    pub members: Option<Vec<UserId>>,
}

/// What is to be otherwise in a room.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoomChange {
    /// Whether nobody else may come in.
    pub locked: Option<bool>,
    /// Whether who comes waits for a moderator.
    pub lobby: Option<bool>,
    /// Participants at most.
    pub max_participants: Option<usize>,
    /// Its name for people.
    pub name: Option<Short<128>>,
    /// Who may come in without a token from now on; those who could and cannot any more leave.
    pub members: Option<Vec<UserId>>,
}

/// Looks at a room; `me` is none for an operator.
pub(super) struct Look {
    pub(super) me: Option<UserId>,
}

/// Looks at who is in a room.
pub(super) struct People {
    pub(super) me: Option<UserId>,
}

/// Changes a room.
pub(super) struct Alter {
    pub(super) me: Option<UserId>,
    pub(super) change: RoomChange,
    pub(super) most: Option<usize>,
}

/// Closes a room.
pub(super) struct Close {
    pub(super) me: Option<UserId>,
}

/// Lets more people into the room of a call.
pub(super) struct Invite {
    pub(super) people: Vec<UserId>,
}

/// Whether somebody may record a room.
pub(super) struct MayRecord {
    pub(super) me: Option<UserId>,
}

/// Who moderates a room.
pub(super) struct Moderators;

impl Rooms {
    /// All rooms.
    pub async fn all(&self) -> Vec<ShownRoom> {
        let mut rooms = Vec::new();
        for asked in self.handles().iter().map(|handle| handle.ask(Look::by_operator())) {
            // A room that ends meanwhile is none.
            rooms.extend(asked.await.ok());
        }
        rooms.sort_by(|a: &ShownRoom, b| a.room_id.cmp(&b.room_id));
        rooms
    }

    /// One room, for an operator, its owner or somebody in it.
    pub async fn room(&self, id: &RoomId, me: Option<UserId>) -> Result<ShownRoom> {
        self.ask(id, Look { me }).await
    }

    /// Who is in a room, for an operator, its owner or somebody in it.
    pub async fn participants(&self, id: &RoomId, me: Option<UserId>) -> Result<Vec<Participant>> {
        self.ask(id, People { me }).await
    }

    /// Changes a room.
    pub async fn change(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        change: RoomChange,
    ) -> Result<ShownRoom> {
        check_members(change.members.as_ref())?;
        let most = change.max_participants.map(|most| self.most(Some(most))).transpose()?;
        self.ask(id, Alter { me, change, most }).await
    }

    /// Closes a room.
    pub async fn close(&self, id: &RoomId, me: Option<UserId>) -> Result<()> {
        self.ask(id, Close { me }).await
    }

    /// Opens the room of a call for its people, unless it is open.
    pub async fn open_call(&self, id: &RoomId, people: &[UserId]) -> Result<()> {
        match self.ask(id, Invite { people: people.to_vec() }).await {
            Err(RoomError::NotFound) => {}
            outcome => return outcome,
        }
        match self.open_for(id.clone(), None, Some(people.to_vec()), &RoomSpec::default()).await {
            // Somebody else was faster.
            Err(RoomError::Exists) => self.ask(id, Invite { people: people.to_vec() }).await,
            outcome => outcome.map(drop),
        }
    }

    /// Whether a moderator of the room, or an operator, asks: who may record it.
    pub async fn may_record(&self, id: &RoomId, me: Option<UserId>) -> Result<()> {
        self.ask(id, MayRecord { me }).await
    }

    /// The owner of a room, and who moderates it now.
    pub async fn moderators(&self, id: &RoomId) -> Vec<UserId> {
        self.ask(id, Moderators).await.unwrap_or_default()
    }
}

/// Accounts that may be named as members of a room.
const MEMBERS: usize = 1000;

pub(super) fn check_members(members: Option<&Vec<UserId>>) -> Result<()> {
    match members.map(Vec::len) {
        Some(named) if named > MEMBERS => {
            let why = format!("members names {named} accounts, {MEMBERS} at most; use room tokens");
            Err(RoomError::Invalid("members", why))
        }
        _ => Ok(()),
    }
}

impl Look {
    pub(super) fn by_operator() -> Self {
        Self { me: None }
    }
}

impl Room {
    /// Whether the room is there for `me`: an operator, its owner, or somebody in it.
    pub(super) fn visible(&self, me: Option<UserId>) -> Result<()> {
        if self.lets(me, Verb::SeeRoom) { Ok(()) } else { Err(RoomError::NotFound) }
    }

    /// The same for what only its owner or an operator may do.
    pub(super) fn owned(&self, me: Option<UserId>) -> Result<()> {
        self.visible(me)?;
        if self.lets(me, Verb::ManageRoom) { Ok(()) } else { Err(RoomError::NotAModerator) }
    }

    /// Whether `me`, or an operator where nobody is named, may do something to the room.
    fn lets(&self, me: Option<UserId>, verb: Verb) -> bool {
        me.is_none_or(|me| may(me, verb, self.relation(me)).is_ok())
    }

    /// What a user is to the room, by whichever session says most.
    fn relation(&self, user: UserId) -> Relation {
        let sessions = || self.present().filter(|member| member.user == user);
        match () {
            () if self.owner == Some(user) => Relation::Owner,
            () if sessions().any(|member| member.moderator) => Relation::Moderator,
            () if sessions().next().is_some() => Relation::Member,
            () if self.invited.as_ref().is_some_and(|it| it.contains(&user)) => Relation::Member,
            () => Relation::Stranger,
        }
    }
}

impl Rule for Look {
    type Reply = ShownRoom;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<ShownRoom> {
        room.visible(self.me)?;
        Ok(room.shown())
    }
}

impl Rule for People {
    type Reply = Vec<Participant>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Vec<Participant>> {
        room.visible(self.me)?;
        Ok(room.present().map(Member::shown).collect())
    }
}

impl Rule for Alter {
    type Reply = ShownRoom;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<ShownRoom> {
        let Self { me, change, most } = self;
        room.owned(me)?;
        room.locked = change.locked.unwrap_or(room.locked);
        room.lobby = change.lobby.unwrap_or(room.lobby);
        room.most = most.unwrap_or(room.most);
        if let Some(name) = change.name {
            room.name = Some(name.into_string());
        }
        if let Some(members) = change.members {
            room.invited = Some(members);
            room.end_uninvited(with.now);
        }
        Ok(room.shown())
    }
}

impl Rule for Close {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        room.owned(self.me)?;
        room.close(RoomCloseReason::Ended);
        Ok(())
    }
}

impl Rule for Invite {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        let invited = room.invited.get_or_insert_default();
        let more: Vec<_> = self.people.into_iter().filter(|user| !invited.contains(user)).collect();
        invited.extend(more);
        Ok(())
    }
}

impl Rule for MayRecord {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        room.visible(self.me)?;
        if room.lets(self.me, Verb::RecordRoom) { Ok(()) } else { Err(RoomError::NotAModerator) }
    }
}

impl Rule for Moderators {
    type Reply = Vec<UserId>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Vec<UserId>> {
        let moderators = room.present().filter(|it| it.moderator).map(|it| it.user);
        let all: BTreeSet<UserId> = room.owner.into_iter().chain(moderators).collect();
        Ok(all.into_iter().filter(|user| !user.is_guest()).collect())
    }
}
