//! `room:leave`, and sockets that are lost.

use super::effect::Effect;
use super::machine::Room;
use super::member::{Caller, Entry};
use super::rule::{Context, Rule};
use super::{Result, Rooms};
use crate::clock::Timestamp;
use crate::event::room::LeaveReason;
use crate::ids::{RoomSessionId, SessionId, UserId};

/// Somebody leaves by itself.
pub(super) struct Leave(pub(super) Caller);

/// Whether a session is there.
pub(super) struct Has(pub(super) Caller);

impl Rooms {
    /// Somebody leaves by itself.
    pub async fn leave(&self, user: UserId, session: RoomSessionId) -> Result<()> {
        self.ask_session(session, Leave(Caller { user, session })).await
    }

    /// Whether a session of this user is there.
    pub async fn has(&self, user: UserId, session: RoomSessionId) -> Result<()> {
        self.ask_session(session, Has(Caller { user, session })).await
    }
}

impl Rule for Leave {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let id = room.caller(self.0)?.id;
        room.remove(id, LeaveReason::Left, with.now);
        Ok(())
    }
}

impl Rule for Has {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        room.caller(self.0).map(drop)
    }
}

impl Room {
    /// A socket is gone; the room waits for its member a while.
    pub(super) fn lose(&mut self, socket: SessionId, now: Timestamp) {
        let own = |entry| entry == Entry::Socket(Some(socket));
        let mut lost = Vec::new();
        for member in self.members.iter_mut().filter(|member| own(member.entry)) {
            member.entry = Entry::Socket(None);
            member.lost = Some(now);
            self.effects.push(Effect::Attach(member.session, None));
            lost.push(member.id);
        }
        lost.into_iter().for_each(|member| self.announce_change(member));
    }
}
