//! Publishing and receiving by HTTP alone: WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep).

use switchboard_media::negotiation::{Accept, Connection};
use switchboard_media::{Command, Description, Direction};

use super::connection::PeerConnection;
use super::effect::{Effect, Name};
use super::machine::Room;
use super::member::{Admission, Caller, Entry, Member};
use super::publish::Unsent;
use super::reconcile::nothing_in_common;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::event::room::{LeaveReason, Permissions};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, UserId};

/// Media sections of one offer: a viewer may ask for a whole room.
const SECTIONS: usize = 256;

/// Who comes by HTTP.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The account, or the guest.
    pub user: UserId,
    /// The name that is shown.
    pub name: String,
    /// An admin or service may enter everywhere.
    pub operator: bool,
    /// A room token.
    pub token: Option<String>,
}

/// Which way media goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// WHIP.
    Publish,
    /// WHEP, of one participant or of all.
    View(Option<ParticipantId>),
}

/// A session made by HTTP.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name.
    pub session: RoomSessionId,
    /// Our answer.
    pub answer: String,
    /// Changes with every ICE restart.
    pub etag: String,
}

/// The offer of a WHIP or WHEP client.
pub(super) struct OfferByHttp {
    pub(super) visitor: Visitor,
    pub(super) side: Side,
    pub(super) offer: Description,
}

/// A fragment (RFC 8840) for a session.
pub(super) struct PatchByHttp {
    pub(super) by: Caller,
    pub(super) if_match: Option<String>,
    pub(super) ufrag: Option<String>,
}

/// Ends a session that was made by HTTP.
pub(super) struct EndByHttp(pub(super) Caller);

impl Rooms {
    /// Takes the offer of a WHIP or WHEP client.
    pub async fn offer_by_http(
        &self,
        id: &RoomId,
        visitor: Visitor,
        side: Side,
        offer: &str,
    ) -> Result<Resource> {
        let offer = self.read(offer, SECTIONS)?;
        self.open_by_entering(id, visitor.user).await?;
        self.ask(id, OfferByHttp { visitor, side, offer }).await
    }

    /// Takes a fragment (RFC 8840): candidates say nothing new to the lite side; other credentials are an ICE restart, which is
    /// answered with a fragment and an ETag.
    pub async fn patch_by_http(
        &self,
        user: UserId,
        session: RoomSessionId,
        if_match: Option<String>,
        fragment: &str,
    ) -> Result<Option<(String, String)>> {
        let mut lines = fragment.lines();
        let ufrag = lines.find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
        let (by, ufrag) = (Caller { user, session }, ufrag.map(str::to_owned));
        self.ask_session(session, PatchByHttp { by, if_match, ufrag }).await
    }

    /// Ends a session.
    pub async fn end_by_http(&self, user: UserId, session: RoomSessionId) -> Result<()> {
        self.ask_session(session, EndByHttp(Caller { user, session })).await
    }
}

impl Rule for OfferByHttp {
    type Reply = Resource;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Resource> {
        let Self { visitor, side, offer } = self;
        let permissions = room.may_enter(&visitor, with)?;
        if side != Side::Publish && !permissions.can_subscribe {
            return Err(RoomError::MayNotSubscribe);
        }
        let member = visiting(visitor, permissions, side, with);
        match side {
            Side::Publish => room.publish_by_http(member, &offer, with),
            Side::View(only) => room.view_by_http(member, only, &offer, with),
        }
    }
}

impl Rule for PatchByHttp {
    type Reply = Option<(String, String)>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Option<(String, String)>> {
        let Self { by, if_match, ufrag } = self;
        let member = room.visitor(by)?;
        let connection = member.publish.as_mut().or(member.subscribe.as_mut());
        let connection = connection.ok_or(RoomError::NotInRoom)?;
        let negotiation = &mut connection.negotiation;
        let current = quoted(negotiation.ufrag());
        let matches = |tag: &str| tag == "*" || tag.split(',').any(|tag| tag.trim() == current);
        // RFC 9725 §4.3.3: a restart may name any state.
        if if_match.is_some_and(|tag| !matches(&tag)) {
            return Err(RoomError::Changed);
        }
        let Some(ufrag) = ufrag.filter(|ufrag| !negotiation.is_of(ufrag)) else { return Ok(None) };
        negotiation.restarted_by(&ufrag);
        let answer = (negotiation.fragment(), quoted(negotiation.ufrag()));
        let (peer, plan) = (connection.peer, Box::new(negotiation.plan()));
        room.media(Command::Configure { peer, plan });
        Ok(Some(answer))
    }
}

impl Rule for EndByHttp {
    type Reply = ();

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<()> {
        let id = room.visitor(self.0)?.id;
        room.remove(id, LeaveReason::Left, with.now);
        Ok(())
    }
}

impl Room {
    /// The member of a session that was made by HTTP.
    fn visitor(&mut self, caller: Caller) -> Result<&mut Member> {
        let member = self.caller(caller)?;
        match member.entry {
            Entry::Whip | Entry::Whep => Ok(member),
            Entry::Socket(_) => Err(RoomError::NotInRoom),
        }
    }

    /// Whether somebody may come in by HTTP, and what it may do then.
    fn may_enter(&self, visitor: &Visitor, with: &Context<'_>) -> Result<Permissions> {
        let token = self.token(visitor.token.as_deref(), visitor.user, with.now)?;
        let owner = visitor.operator || self.owner == Some(visitor.user);
        let invited = |people: &Vec<UserId>| people.contains(&visitor.user);
        if !owner && token.is_none() && !self.invited.as_ref().is_none_or(invited) {
            return Err(RoomError::NotFound);
        }
        if !owner && self.locked {
            return Err(RoomError::Locked);
        }
        if !owner && self.lobby {
            return Err(RoomError::Lobby);
        }
        // Viewers by HTTP are an audience; the limit is for those who take part.
        let most = self.rules.max_viewers.max(self.most);
        if self.members.len() >= most {
            return Err(RoomError::Full(most));
        }
        Ok(token.map(|token| token.permissions.clone()).unwrap_or_default())
    }

    fn publish_by_http(
        &mut self,
        member: Member,
        offer: &Description,
        with: &mut Context<'_>,
    ) -> Result<Resource> {
        let (id, session) = (member.id, member.session);
        let (empty_since, effects) = (self.empty_since, self.effects.len());
        self.enter(member);
        let answer = match self.take_offer(id, offer, &[], Unsent::Held, with) {
            Ok((answer, _)) => answer,
            Err(error) => {
                // Nobody came.
                self.members.retain(|member| member.id != id);
                self.effects.truncate(effects);
                self.empty_since = empty_since;
                return Err(error);
            }
        };
        let etag = etag(self.member(id)?)?;
        self.announce(id);
        Ok(Resource { session, answer, etag })
    }

    fn view_by_http(
        &mut self,
        mut member: Member,
        only: Option<ParticipantId>,
        offer: &Description,
        with: &mut Context<'_>,
    ) -> Result<Resource> {
        only.map(|only| self.member(only).map(drop)).transpose()?;
        let mut negotiation = Connection::new(self.rules.endpoint.clone(), &self.codecs);
        let receives = offer.sections.iter().any(|it| it.direction.receives);
        let answer = negotiation.answer(offer, |section| match section.direction {
            Direction { receives: true, .. } => Accept::Send,
            // A section that is held from the beginning is there all the same.
            Direction { sends: false, .. } if receives => Accept::Send,
            Direction { .. } => Accept::Reject,
        })?;
        let nothing = nothing_in_common(&negotiation, self.tracks.values(), only);
        if let Some((offered, published)) = nothing {
            return Err(RoomError::NothingInCommon { offered, published });
        }
        let (id, session) = (member.id, member.session);
        let (room, peer) = (self.key, with.source.peer());
        let plan = Box::new(negotiation.plan());
        let mut connection = PeerConnection::new(peer, negotiation, &self.id, id, "subscribe");
        (connection.rev, connection.set_up) = (1, true);
        member.only = only;
        member.subscribe = Some(connection);
        let etag = etag(&member)?;
        self.enter(member);
        self.note_joined(id);
        self.effects.push(Effect::Register(Name::Peer(peer)));
        self.media(Command::Connect { room, peer, plan });
        self.reconcile_member(id);
        Ok(Resource { session, answer, etag })
    }
}

fn visiting(
    visitor: Visitor,
    permissions: Permissions,
    side: Side,
    with: &mut Context<'_>,
) -> Member {
    Member::new(Admission {
        id: ParticipantId::new(with.source.id()),
        session: RoomSessionId::new(with.source.id()),
        secret: with.source.secret(),
        entry: if side == Side::Publish { Entry::Whip } else { Entry::Whep },
        user: visitor.user,
        name: visitor.name,
        at: with.now,
        permissions,
        moderator: false,
        auto_subscribe: false,
        metadata: None,
    })
}

fn etag(member: &Member) -> Result<String> {
    let connection = member.publish.as_ref().or(member.subscribe.as_ref());
    Ok(quoted(connection.ok_or(RoomError::NotInRoom)?.negotiation.ufrag()))
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}
