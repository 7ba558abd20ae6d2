//! By what right somebody is in a room, and what ends that from outside: the end of a token, of an account, of a role.

use super::command::Request;
use super::effect::Effect;
use super::follow::Notice;
use super::machine::Room;
use super::member::{Entry, Member, Right};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{LeaveReason, RoomLeft, RoomParticipant};
use crate::ids::{ParticipantId, RoomId, SessionId, UserId};
use crate::ledger::{self, Full, Holder, Resource as Held};
use crate::store::{RoomTokenRecord, TokenHash};

/// Who asks to be let in, by whichever way.
pub(super) struct Entrant<'a> {
    pub(super) user: UserId,
    pub(super) operator: bool,
    pub(super) token: Option<&'a str>,
    /// When what it showed to the server ends.
    pub(super) until: Option<Timestamp>,
}

/// What an entrant takes of what its account or its token may hold, or why there is nothing left of that.
pub(super) type Place = std::result::Result<Option<ledger::Entry>, Full>;

/// What an entrant may do in the room.
pub(super) struct Entitled<'a> {
    pub(super) right: Right,
    pub(super) token: Option<&'a RoomTokenRecord>,
    /// Opened the room, or is an operator.
    pub(super) in_charge: bool,
    pub(super) until: Option<Timestamp>,
}

impl Rooms {
    /// Ends every session of an account in every room, by whichever way it came.
    pub fn end_user(&self, user: UserId, reason: LeaveReason) {
        self.outside.directory.end(user, reason);
        for room in self.outside.directory.by_user(user) {
            room.note(Notice::EndUser(user, reason));
        }
    }

    /// Ends what came into rooms by this socket, which is not to come back.
    pub fn end_socket(&self, socket: SessionId, reason: LeaveReason) {
        for room in self.outside.directory.by_socket(socket) {
            room.note(Notice::EndSocket(socket, reason));
        }
    }

    /// Notes whether an account is an operator's from now on. Who moderated as an operator only does so no longer, and who was in a
    /// room as an operator only leaves it.
    pub fn set_role(&self, user: UserId, operator: bool) {
        for room in self.outside.directory.by_user(user) {
            room.note(Notice::Role(user, operator));
        }
    }
}

impl Rooms {
    /// What somebody takes who comes in: of its account, or of the token that lets a guest in.
    pub(super) fn place(&self, user: UserId, token: Option<&str>, views: bool) -> Place {
        let (resource, holder) = match token {
            Some(token) if user.is_guest() => {
                let resource = if views { Held::BearerViewer } else { Held::Bearer };
                (resource, Holder::Token(TokenHash::of(token)))
            }
            // Without a token no guest comes in.
            _ if user.is_guest() => return Ok(None),
            _ if views => (Held::Viewer, Holder::User(user)),
            _ => (Held::Participant, Holder::User(user)),
        };
        self.ledger.hold(resource, holder).map(Some)
    }

    /// Lets an account in, unless it is ended while its request is on its way: the room has it leave then.
    pub(super) async fn enter<R: Request>(
        &self,
        id: &RoomId,
        (user, token): (UserId, Option<&str>),
        request: R,
    ) -> Result<R::Reply> {
        self.use_token(id, token, user).await?;
        let handle = self.outside.directory.room(id).ok_or(RoomError::NotFound)?;
        let before = self.outside.directory.endings();
        let entered = handle.ask(request).await?;
        let Some(reason) = self.outside.directory.ended_since(before, user) else {
            return Ok(entered);
        };
        handle.note(Notice::EndUser(user, reason));
        Err(RoomError::NotFound)
    }
}

impl Room {
    /// By what right somebody may come in.
    pub(super) fn entitled(&self, entrant: &Entrant<'_>, now: Timestamp) -> Result<Entitled<'_>> {
        let Entrant { user, operator, token, until } = *entrant;
        if !operator && self.is_banned(user) {
            return Err(RoomError::Banned);
        }
        let token = self.token(token, user, now)?;
        let right = match token {
            _ if self.owner == Some(user) => Right::Invited,
            Some(token) => Right::Token(token.hash),
            None if self.invites(user) => Right::Invited,
            None if operator => Right::Operator,
            None => return Err(RoomError::NotFound),
        };
        let end = token.filter(|token| right == Right::Token(token.hash)).map(|token| token.until);
        let until = [end, until].into_iter().flatten().min();
        Ok(Entitled { right, token, in_charge: operator || self.owner == Some(user), until })
    }

    /// Whether an account needs no token.
    pub(super) fn invites(&self, user: UserId) -> bool {
        self.owner == Some(user)
            || self.invited.as_ref().is_none_or(|people| people.contains(&user))
    }

    /// Notes that a member has shown a token again, perhaps one that is good for longer.
    pub(super) fn renew(&mut self, id: ParticipantId, token: Option<&str>, now: Timestamp) {
        let Some(user) = self.members.iter().find(|it| it.id == id).map(|it| it.user) else {
            return;
        };
        let Ok(Some(token)) = self.token(token, user, now) else { return };
        let (hash, until) = (token.hash, token.until);
        let Ok(member) = self.member(id) else { return };
        if matches!(member.right, Right::Token(_)) && member.until.is_some_and(|end| end < until) {
            (member.right, member.until) = (Right::Token(hash), Some(until));
        }
    }

    /// When the right of the first member ends.
    pub(super) fn first_end(&self) -> Option<Timestamp> {
        self.members.iter().filter_map(|member| member.until).min()
    }

    /// Has those leave whose right has ended.
    pub(super) fn end_rights(&mut self, now: Timestamp) {
        let over = |member: &Member| member.until.is_some_and(|until| until <= now);
        self.end_members(over, LeaveReason::Expired, now);
    }

    /// Has an account leave.
    pub(super) fn end_user(&mut self, user: UserId, reason: LeaveReason, now: Timestamp) {
        self.end_members(|member| member.user == user, reason, now);
    }

    /// Has those leave who came by a socket.
    pub(super) fn end_socket(&mut self, socket: SessionId, reason: LeaveReason, now: Timestamp) {
        self.end_members(|member| member.entry == Entry::Socket(Some(socket)), reason, now);
    }

    /// Has those leave whom a token let in.
    pub(super) fn end_token(&mut self, hash: TokenHash, now: Timestamp) {
        self.withdraw(hash);
        self.effects.push(Effect::Revoke(hash));
        self.end_members(|it| it.right == Right::Token(hash), LeaveReason::Revoked, now);
    }

    /// Has those leave who were let in as the people of the room and are none of them any more.
    pub(super) fn end_uninvited(&mut self, now: Timestamp) {
        let people: Vec<_> = self.members.iter().map(|it| it.user).collect();
        let others: Vec<_> = people.into_iter().filter(|user| !self.invites(*user)).collect();
        let over = |it: &Member| it.right == Right::Invited && others.contains(&it.user);
        self.end_members(over, LeaveReason::Revoked, now);
    }

    /// Notes whether an account is an operator's.
    pub(super) fn set_role(&mut self, user: UserId, operator: bool, now: Timestamp) {
        if !operator && !self.invites(user) {
            let only = |it: &Member| it.user == user && it.right == Right::Operator;
            self.end_members(only, LeaveReason::Revoked, now);
        }
        let mut changed = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.user == user) {
            if std::mem::replace(&mut member.operator, operator) == operator {
                continue;
            }
            if !operator && member.right == Right::Operator {
                member.right = Right::Invited;
            }
            let moderator = member.may_moderate(operator);
            if std::mem::replace(&mut member.moderator, moderator) != moderator {
                changed.push(member.id);
            }
        }
        changed.into_iter().for_each(|member| self.notify_rights(member));
    }

    /// Sends a member, and everybody else, what it may do from now on.
    pub(super) fn notify_rights(&mut self, who: ParticipantId) {
        let Ok(member) = self.member(who) else { return };
        let participant = member.shown();
        self.notify_member(who, |stamp| {
            Event::RoomParticipantUpdated(Box::new(RoomParticipant { stamp, participant }))
        });
        self.announce_change(who);
    }

    /// Removes members, each of which is notified why.
    fn end_members(&mut self, over: impl Fn(&Member) -> bool, reason: LeaveReason, now: Timestamp) {
        let over: Vec<_> = self.members.iter().filter(|it| over(it)).map(|it| it.id).collect();
        for participant_id in over {
            self.notify_member(participant_id, |stamp| {
                Event::RoomLeft(RoomLeft { stamp, participant_id, reason })
            });
            self.remove(participant_id, reason, now);
        }
    }
}
