//! `room:join`: coming in, and coming back after a lost connection.

use serde_json::Value;

use super::connection::PeerConnection;
use super::effect::{Effect, Stay};
use super::machine::Room;
use super::member::{Admission, Entry, Member};
use super::right::{Entrant, Place};
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms, check_metadata};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{Participant, Room as ShownRoom, RoomState};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, SessionId, UserId};
use crate::store::TokenHash;

/// Who wants to come in.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The account.
    pub user: UserId,
    /// An admin or service moderates everywhere.
    pub operator: bool,
    /// The socket.
    pub socket: SessionId,
    /// The name that is shown.
    pub name: String,
    /// A room token.
    pub token: Option<String>,
    /// When it is to leave, where nothing else ends what it came by.
    pub until: Option<Timestamp>,
    /// Whether it wants every track.
    pub auto_subscribe: bool,
    /// What it says of itself.
    pub metadata: Option<Value>,
    /// A session to go on with.
    pub resume: Option<Resume>,
}

/// A session to go on with.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Its id.
    pub session: RoomSessionId,
    /// What `room:join` gave for it.
    pub secret: String,
    /// The last event that arrived.
    pub last: u64,
    /// Whether its peer connections are gone.
    pub fresh: bool,
}

/// Somebody came in.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its session.
    pub session: RoomSessionId,
    /// What a later connection shows to go on with it.
    pub secret: String,
    /// The room.
    pub room: ShownRoom,
    /// Itself.
    pub own: Participant,
    /// The others.
    pub others: Vec<Participant>,
    /// The number of the last event.
    pub seq: u64,
}

impl<'a> From<&'a JoinRequest> for Entrant<'a> {
    fn from(request: &'a JoinRequest) -> Self {
        let JoinRequest { user, operator, until, .. } = *request;
        Self { user, operator, token: request.token.as_deref(), until }
    }
}

/// See the module.
pub(super) struct Join(pub(super) JoinRequest, pub(super) Place);

impl Rooms {
    /// Somebody comes in.
    pub async fn join(&self, id: &RoomId, request: JoinRequest) -> Result<Joined> {
        check_metadata(request.metadata.as_ref())?;
        let (user, socket) = (request.user, request.socket);
        let token = request.token.clone();
        let resumes = request.resume.is_some();
        // Whoever goes on with a session has its place already.
        let place = if resumes { Ok(None) } else { self.place(user, token.as_deref(), false) };
        if !resumes {
            self.open_by_entering(id, user).await?;
        }
        let joined = match self.enter(id, (user, token.as_deref()), Join(request, place)).await {
            Err(RoomError::NotFound) if resumes => Err(RoomError::Resume),
            joined => joined,
        };
        // A socket that closed meanwhile may have been reported lost before the room knew of it.
        if !self.is_connected(user, socket) {
            self.lost(user, socket);
        }
        joined
    }
}

impl Rule for Join {
    type Reply = Joined;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Joined> {
        match &self.0.resume {
            Some(resume) => room.resume(&self.0, resume, with.now),
            None => room.join(self.0, self.1, with),
        }
    }
}

impl Room {
    fn join(
        &mut self,
        request: JoinRequest,
        place: Place,
        with: &mut Context<'_>,
    ) -> Result<Joined> {
        let entry = Entry::Socket(Some(request.socket));
        let again = |member: &&mut Member| member.user == request.user && member.entry == entry;
        if let Some(member) = self.members.iter_mut().find(again) {
            // It is in already, or was let in meanwhile.
            if member.waiting {
                return Err(RoomError::Lobby);
            }
            // It may have missed what it was offered before it knew of its session.
            let unanswered = member.subscribe.as_mut().filter(|it| !it.answered);
            unanswered.into_iter().for_each(PeerConnection::offer_again);
            let id = member.id;
            self.renew(id, request.token.as_deref(), with.now);
            self.reconcile_member(id);
            return self.joined(id);
        }
        let member = self.admit(request, place, with)?;
        let (id, waiting) = (member.id, member.waiting);
        self.enter(member);
        if waiting {
            self.notify_lobby();
            return Err(RoomError::Lobby);
        }
        self.announce(id);
        self.reconcile_member(id);
        self.joined(id)
    }

    /// Takes somebody in.
    pub(super) fn enter(&mut self, member: Member) {
        let socket = match member.entry {
            Entry::Socket(socket) => socket,
            Entry::Whip | Entry::Whep => None,
        };
        // In the room of a call one is in a call, whatever becomes of the call that one came by.
        let in_call = self.id.call().is_some() && socket.is_some();
        let stay = Stay { user: member.user, socket, in_call };
        self.effects.push(Effect::Enter(member.session, stay));
        self.members.push(member);
        self.empty_since = None;
    }

    fn admit(&self, request: JoinRequest, place: Place, with: &mut Context<'_>) -> Result<Member> {
        let entitled = self.entitled(&Entrant::from(&request), with.now)?;
        let token = entitled.token;
        if self.locked && !entitled.in_charge {
            return Err(RoomError::Locked);
        }
        if self.taking_part() >= self.most {
            return Err(RoomError::Full(self.most));
        }
        let owner = self.owner == Some(request.user);
        let name = token.and_then(|token| token.name.clone());
        let mut member = Member::new(Admission {
            id: ParticipantId::new(with.source.id()),
            session: RoomSessionId::new(with.source.id()),
            secret: with.source.secret(),
            entry: Entry::Socket(Some(request.socket)),
            user: request.user,
            named: name.is_some(),
            name: name.unwrap_or(request.name),
            at: with.now,
            right: entitled.right,
            place: place?,
            until: entitled.until,
            operator: request.operator,
            permissions: token.map(|token| token.permissions.clone()).unwrap_or_default(),
            granted: owner || token.is_some_and(|token| token.moderator),
            auto_subscribe: request.auto_subscribe,
            metadata: request.metadata,
        });
        member.waiting = self.lobby && !member.moderator;
        Ok(member)
    }

    fn resume(&mut self, request: &JoinRequest, resume: &Resume, now: Timestamp) -> Result<Joined> {
        let Resume { session, secret, last, fresh } = resume;
        let own = |member: &&mut Member| {
            member.session == *session
                && member.user == request.user
                // The time that it takes to compare hashes says nothing of the secret.
                && TokenHash::of(&member.secret) == TokenHash::of(secret)
                && !member.waiting
                && matches!(member.entry, Entry::Socket(_))
        };
        let member = self.members.iter_mut().find(own).ok_or(RoomError::Resume)?;
        let id = member.id;
        member.entry = Entry::Socket(Some(request.socket));
        member.lost = None;
        self.renew(id, request.token.as_deref(), now);
        self.effects.push(Effect::Attach(*session, Some(request.socket)));
        let Self { members, effects, .. } = self;
        let resent = members.iter().find(|it| it.id == id).map(|it| it.resend(*last, effects));
        if resent == Some(false) {
            // The last offer may be among what is not kept.
            let connection = self.member(id)?.subscribe.as_mut().filter(|it| !it.answered);
            connection.into_iter().for_each(PeerConnection::offer_again);
            let room = self.shown();
            let participants = self.participants().map(Member::shown).collect();
            self.notify_member(id, |stamp| {
                Event::RoomState(Box::new(RoomState { stamp, room, participants }))
            });
        }
        if *fresh {
            self.begin_anew(id);
        }
        self.announce_change(id);
        self.reconcile_member(id);
        self.joined(id)
    }

    /// The peer connections of a member are gone: what was published by them ends, and offers begin anew.
    fn begin_anew(&mut self, id: ParticipantId) {
        let Ok(member) = self.member(id) else { return };
        let connections = [member.publish.take(), member.subscribe.take()];
        let gone: Vec<_> = member.tracks.drain(..).map(|track| track.id).collect();
        member.ended.clear();
        connections.iter().flatten().for_each(|connection| self.hang_up(connection));
        self.unlist_tracks(id, &gone);
        self.record_tracks(id);
        self.reconcile_all(&gone);
    }

    fn joined(&mut self, id: ParticipantId) -> Result<Joined> {
        let room = self.shown();
        let member = self.member(id)?;
        let (session, own, seq) = (member.session, member.shown(), member.seq());
        let secret = member.secret.clone();
        let others = self.participants().filter(|other| other.id != id).map(Member::shown);
        Ok(Joined { session, secret, room, own, others: others.collect(), seq })
    }
}
