//! Publishing and receiving by HTTP alone: WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep).

use std::time::Duration;

use switchboard_media::negotiation::{Accept, Connection};
use switchboard_media::{Command, Description, Direction};

use super::connection::PeerConnection;
use super::effect::{Effect, Name};
use super::machine::Room;
use super::member::{Admission, Caller, Entry, Member, Right};
use super::publish::Unsent;
use super::reconcile::nothing_in_common;
use super::right::{Entitled, Entrant, Place};
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::event::room::{LeaveReason, Permissions};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, UserId};

/// Media sections of one offer: a viewer may ask for a whole room.
const SECTIONS: usize = 256;

/// Viewers of a room that have offered and are not connected yet.
const OFFERS: usize = 128;
/// How long a viewer may take to connect.
pub(super) const CONNECT: Duration = Duration::from_secs(15);

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
    /// When what it showed to the server ends, and its session with it; a PATCH with something newer moves that.
    pub until: Option<Timestamp>,
}

impl<'a> From<&'a Visitor> for Entrant<'a> {
    fn from(visitor: &'a Visitor) -> Self {
        let Visitor { user, operator, until, .. } = *visitor;
        Self { user, operator, token: visitor.token.as_deref(), until }
    }
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
    pub(super) place: Place,
    pub(super) side: Side,
    pub(super) offer: Description,
}

/// A fragment (RFC 8840) for a session.
pub(super) struct PatchByHttp {
    pub(super) by: Caller,
    pub(super) until: Option<Timestamp>,
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
        let offer = self.read(offer, SECTIONS).await?;
        self.open_by_entering(id, visitor.user).await?;
        let (user, token) = (visitor.user, visitor.token.clone());
        let place = self.place(user, token.as_deref(), side != Side::Publish);
        self.enter(id, (user, token.as_deref()), OfferByHttp { visitor, place, side, offer }).await
    }

    /// Takes a fragment (RFC 8840): candidates say nothing new to the lite side; other credentials are an ICE restart, which is
    /// answered with a fragment and an ETag.
    pub async fn patch_by_http(
        &self,
        visitor: &Visitor,
        session: RoomSessionId,
        if_match: Option<String>,
        fragment: &str,
    ) -> Result<Option<(String, String)>> {
        let mut lines = fragment.lines();
        let ufrag = lines.find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
        let (by, until) = (Caller { user: visitor.user, session }, visitor.until);
        let ufrag = ufrag.map(str::to_owned);
        self.ask_session(session, PatchByHttp { by, until, if_match, ufrag }).await
    }

    /// Ends a session.
    pub async fn end_by_http(&self, user: UserId, session: RoomSessionId) -> Result<()> {
        self.ask_session(session, EndByHttp(Caller { user, session })).await
    }
}

impl Rule for OfferByHttp {
    type Reply = Resource;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Resource> {
        let Self { visitor, place, side, offer } = self;
        let entitled = room.may_enter(&visitor, side, with)?;
        let (right, until) = (entitled.right, entitled.until);
        let permissions = entitled.token.map(|it| it.permissions.clone()).unwrap_or_default();
        if side != Side::Publish && !permissions.can_subscribe {
            return Err(RoomError::MayNotSubscribe);
        }
        let mut member = visiting(visitor, (right, until), permissions, side, with);
        member.place = place?;
        match side {
            Side::Publish => room.publish_by_http(member, &offer, with),
            Side::View(only) => room.view_by_http(member, only, &offer, with),
        }
    }
}

impl Rule for PatchByHttp {
    type Reply = Option<(String, String)>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Option<(String, String)>> {
        let Self { by, until, if_match, ufrag } = self;
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
        // Something that is good for longer was shown; a room token is the same as before.
        member.until = until.max(member.until).filter(|_| member.until.is_some());
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
    /// How many take part, those in the lobby included; viewers are an audience.
    pub(super) fn taking_part(&self) -> usize {
        self.members.iter().filter(|member| member.entry != Entry::Whep).count()
    }

    /// How many viewers are connected.
    pub(super) fn watching(&self) -> usize {
        self.viewers().filter(|member| member.is_connected()).count()
    }

    fn offers_to_view(&self) -> usize {
        self.viewers().filter(|member| !member.is_connected()).count()
    }

    fn viewers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.entry == Entry::Whep)
    }

    /// When the first viewer has not connected in time.
    pub(super) fn first_unconnected(&self) -> Option<Timestamp> {
        let waiting = self.viewers().filter(|member| !member.is_connected());
        waiting.map(|member| member.joined_at.after(CONNECT)).min()
    }

    /// Ends the viewers that have not connected in time.
    pub(super) fn end_unconnected(&mut self, now: Timestamp) {
        let late = |it: &&Member| !it.is_connected() && it.joined_at.after(CONNECT) <= now;
        let late: Vec<_> = self.viewers().filter(late).map(|member| member.id).collect();
        late.into_iter().for_each(|member| self.remove(member, LeaveReason::Network, now));
    }

    /// The member of a session that was made by HTTP.
    fn visitor(&mut self, caller: Caller) -> Result<&mut Member> {
        let member = self.caller(caller)?;
        match member.entry {
            Entry::Whip | Entry::Whep => Ok(member),
            Entry::Socket(_) => Err(RoomError::NotInRoom),
        }
    }

    /// Whether somebody may come in by HTTP, and what it may do then.
    fn may_enter(&self, visitor: &Visitor, side: Side, with: &Context<'_>) -> Result<Entitled<'_>> {
        let entitled = self.entitled(&Entrant::from(visitor), with.now)?;
        if !entitled.in_charge && self.locked {
            return Err(RoomError::Locked);
        }
        if !entitled.in_charge && self.lobby {
            return Err(RoomError::Lobby);
        }
        match side {
            Side::Publish if self.taking_part() >= self.most => Err(RoomError::Full(self.most)),
            Side::View(_) if self.watching() >= self.rules.max_viewers => {
                Err(RoomError::Audience(self.rules.max_viewers))
            }
            // They take no place yet, but memory.
            Side::View(_) if self.offers_to_view() >= OFFERS => Err(RoomError::Busy),
            _ => Ok(entitled),
        }
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
    (right, until): (Right, Option<Timestamp>),
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
        named: false,
        at: with.now,
        right,
        place: None,
        until,
        operator: visitor.operator,
        permissions,
        granted: false,
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
