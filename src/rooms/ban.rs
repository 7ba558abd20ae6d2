//! Who was removed from a room, and may not come back until a moderator says otherwise.

use super::machine::Room;
use super::member::Right;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::room::Ban;
use crate::ids::{ParticipantId, RoomId, UserId};
use crate::store::RoomTokenRecord;

/// Bans of one room; a further one takes the place of the oldest.
const BANS: usize = 1000;

/// Whose ban is lifted.
#[derive(Clone, Copy, Debug)]
pub enum Banned {
    /// An account.
    User(UserId),
    /// Whoever was this participant; guests have no other name.
    Participant(ParticipantId),
}

/// Looks at the bans of a room.
pub(super) struct ListBans {
    me: Option<UserId>,
}

/// Lifts a ban.
pub(super) struct LiftBan {
    pub(super) me: Option<UserId>,
    pub(super) who: Banned,
}

impl Rooms {
    /// Who may not come back.
    pub async fn bans(&self, id: &RoomId, me: Option<UserId>) -> Result<Vec<Ban>> {
        self.ask(id, ListBans { me }).await
    }

    /// Lets somebody come back.
    pub async fn lift_ban(&self, id: &RoomId, me: Option<UserId>, who: Banned) -> Result<()> {
        self.ask(id, LiftBan { me, who }).await
    }
}

impl Rule for ListBans {
    type Reply = Vec<Ban>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Vec<Ban>> {
        room.owned(self.me)?;
        Ok(room.bans.clone())
    }
}

impl Rule for LiftBan {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        room.owned(self.me)?;
        let before = room.bans.len();
        room.bans.retain(|ban| match self.who {
            Banned::User(user) => ban.user_id != user,
            Banned::Participant(participant) => ban.participant_id != participant,
        });
        if room.bans.len() < before { Ok(()) } else { Err(RoomError::NoBan) }
    }
}

impl Room {
    /// Whether somebody may not come back. The owner and operators always may.
    pub(super) fn is_banned(&self, user: UserId) -> bool {
        self.owner != Some(user) && self.bans.iter().any(|ban| ban.user_id == user)
    }

    /// Has somebody not come back, nor anybody else by a token that was for it alone.
    pub(super) fn ban(&mut self, ban: Ban, right: Right, by: Option<UserId>, now: Timestamp) {
        let user = ban.user_id;
        self.bans.retain(|ban| ban.user_id != user);
        if self.bans.len() >= BANS {
            self.bans.remove(0);
        }
        self.bans.push(ban);
        let Right::Token(hash) = right else { return };
        let alone = |token: &&RoomTokenRecord| {
            token.hash == hash && (token.max_uses == Some(1) || token.user == Some(user))
        };
        if self.tokens.iter().any(|token| alone(&token)) {
            // One that has ended already is no matter.
            let _ = self.revoke_token(hash, by, now);
        }
    }
}
