//! Publishing and receiving by HTTP alone: WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep).

use switchboard_media::negotiation::{Accept, Connection};
use switchboard_media::{Command, Direction, LayerPreference, RoomKey};

use super::state::{Door, Link, Member, Newcomer, Room};
use super::viewers::nothing_in_common;
use super::{News, Result, RoomError, Rooms, State, Unsent, Visitor, secret};
use crate::event::Event;
use crate::event::room::{Permissions, RoomParticipant};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, UserId};

/// Media sections of one offer: a viewer may ask for a whole room.
const SECTIONS: usize = 256;

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

impl Rooms {
    /// Takes the offer of a WHIP or WHEP client.
    pub fn offer_by_http(
        &self,
        id: &RoomId,
        visitor: Visitor,
        side: Side,
        offer: &str,
    ) -> Result<Resource> {
        let offer = self.read(offer, SECTIONS)?;
        self.open_by_entering(id, visitor.user)?;
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let room = rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        let pass = self.pass_of(room, visitor.token.as_deref(), visitor.user)?;
        self.may_enter(room, &visitor, pass.is_some())?;
        let permissions = pass.map(|pass| pass.permissions).unwrap_or_default();
        if side != Side::Publish && !permissions.can_subscribe {
            return Err(RoomError::MayNotSubscribe);
        }
        let mut member = self.newcomer(visitor, permissions, side);
        let (member_id, session) = (member.id, member.session);
        let mut changed = Vec::new();
        let (answer, peer) = match side {
            Side::Publish => {
                room.members.push(member);
                match self.take_offer(room, member_id, &offer, &[], Unsent::Held) {
                    Ok(taken) => {
                        changed = taken.changed;
                        (taken.answer, taken.peer)
                    }
                    Err(error) => {
                        room.members.retain(|member| member.id != member_id);
                        return Err(error);
                    }
                }
            }
            Side::View(only) => {
                if only.is_some_and(|only| room.by_id(only).is_none()) {
                    return Err(RoomError::NotInRoom);
                }
                let server = self.sfu.server();
                let mut connection = Connection::new(server.endpoint().clone(), &room.codecs);
                let receives = offer.sections.iter().any(|it| it.direction.receives);
                let answer = connection.answer(&offer, |section| match section.direction {
                    Direction { receives: true, .. } => Accept::Send,
                    // A section that is held from the beginning is there all the same.
                    Direction { sends: false, .. } if receives => Accept::Send,
                    Direction { .. } => Accept::Reject,
                })?;
                let nothing = nothing_in_common(&connection, &room.offers, only);
                if let Some((offered, published)) = nothing {
                    return Err(RoomError::NothingInCommon { offered, published });
                }
                let peer = server.peer();
                let plan = Box::new(connection.plan());
                server.command(room.key, Command::Connect { room: room.key, peer, plan });
                member.only = only;
                let mut link = Link::new(peer, connection, id, member.id, "subscribe");
                (link.rev, link.set_up) = (1, true);
                member.subscribe = Some(link);
                room.members.push(member);
                (answer, peer)
            }
        };
        room.empty_since = None;
        peers.insert(peer, id.clone());
        let participant = room.by_id(member_id).map(|member| member.shown());
        if let (Side::Publish, Some(participant)) = (side, participant) {
            room.notify(&self.delivery, Some(member_id), |stamp| {
                let participant = participant.clone();
                Event::RoomJoined(Box::new(RoomParticipant { stamp, participant }))
            });
        }
        let etag = etag(room, member_id).unwrap_or_default();
        let news = match side {
            Side::Publish => News::Tracks(&changed),
            Side::View(_) => News::Member(member_id),
        };
        self.reconcile(&mut state, id, news);
        Ok(Resource { session, answer, etag })
    }

    fn may_enter(&self, room: &Room, visitor: &Visitor, has_pass: bool) -> Result<()> {
        let owner = visitor.operator || room.owner == Some(visitor.user);
        let invited = |people: &Vec<UserId>| people.contains(&visitor.user);
        if !owner && !has_pass && !room.invited.as_ref().is_none_or(invited) {
            return Err(RoomError::NotFound);
        }
        if !owner && room.locked {
            return Err(RoomError::Locked);
        }
        if !owner && room.lobby {
            return Err(RoomError::Lobby);
        }
        // Viewers by HTTP are an audience; the limit is for those who take part.
        let most = self.config.max_viewers.max(room.most);
        if room.members.len() >= most {
            return Err(RoomError::Full(most));
        }
        Ok(())
    }

    fn newcomer(&self, visitor: Visitor, permissions: Permissions, side: Side) -> Member {
        Member::new(Newcomer {
            id: ParticipantId::new(self.clock.id()),
            session: RoomSessionId::new(self.clock.id()),
            secret: secret(),
            door: if side == Side::Publish { Door::Whip } else { Door::Whep },
            user: visitor.user,
            name: visitor.name,
            at: self.clock.now(),
            permissions,
            moderator: false,
            auto_subscribe: false,
            metadata: None,
        })
    }

    fn by_http<T>(
        &self,
        me: UserId,
        session: RoomSessionId,
        act: impl FnOnce(RoomKey, &mut Member) -> Result<T>,
    ) -> Result<T> {
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let key = room.key;
        let member = room.by_id(member).ok_or(RoomError::NotInRoom)?;
        match member.door {
            Door::Whip | Door::Whep => act(key, member),
            Door::Socket(_) => Err(RoomError::NotInRoom),
        }
    }

    /// Takes a fragment (RFC 8840): candidates say nothing new to the lite side; other credentials are an ICE restart, which
    /// is answered with a fragment and an ETag.
    pub fn patch_by_http(
        &self,
        me: UserId,
        session: RoomSessionId,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Option<(String, String)>> {
        let ufrag = fragment
            .lines()
            .find_map(|line| line.trim().strip_prefix("a=ice-ufrag:"))
            .map(str::to_owned);
        let server = self.sfu.server().clone();
        self.by_http(me, session, |room, member| {
            let link = member.publish.as_mut().or(member.subscribe.as_mut());
            let link = link.ok_or(RoomError::NotInRoom)?;
            let current = quoted(link.connection.ufrag());
            let matches = |tag: &str| tag == "*" || tag.split(',').any(|tag| tag.trim() == current);
            let restarts = ufrag.as_deref().is_some_and(|ufrag| !link.connection.is_of(ufrag));
            // RFC 9725 §4.3.3: a restart may name any state.
            if if_match.is_some_and(|tag| !matches(tag)) {
                return Err(RoomError::Changed);
            }
            let Some(ufrag) = ufrag.filter(|_| restarts) else { return Ok(None) };
            link.connection.restarted_by(&ufrag);
            let (peer, plan) = (link.peer, Box::new(link.connection.plan()));
            server.command(room, Command::Configure { peer, plan });
            Ok(Some((link.connection.fragment(), quoted(link.connection.ufrag()))))
        })
    }

    /// Ends a session.
    pub fn end_by_http(&self, me: UserId, session: RoomSessionId) -> Result<()> {
        self.by_http(me, session, |_, _| Ok(()))?;
        self.leave(me, session)
    }

    /// Which layer a WHEP viewer wants of every picture.
    pub fn layer_by_http(&self, me: UserId, session: RoomSessionId, rid: &str) -> Result<()> {
        let (id, member) = self.find(me, session)?;
        self.by_http(me, session, |_, _| Ok(()))?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let (key, member) = (room.key, room.by_id(member).ok_or(RoomError::NotInRoom)?);
        let link = member.subscribe.as_ref().ok_or(RoomError::NoTrack)?;
        let (peer, shown) = (link.peer, link.shows.iter().map(|(_, id)| id).collect::<Vec<_>>());
        for track in shown.into_iter().filter_map(|id| room.track(id)).map(|(_, track)| track) {
            let preference = match (rid, track.layers.iter().position(|layer| layer.rid == rid)) {
                ("off", _) => LayerPreference::Off,
                (_, Some(place)) => LayerPreference::Layer(u8::try_from(place).unwrap_or(u8::MAX)),
                _ => LayerPreference::Auto,
            };
            let (track, priority, temporal) = (track.key, 128, u8::MAX);
            self.sfu
                .server()
                .command(key, Command::Prefer { peer, track, preference, priority, temporal });
        }
        Ok(())
    }
}

fn etag(room: &mut Room, id: ParticipantId) -> Option<String> {
    let member = room.by_id(id)?;
    let link = member.publish.as_ref().or(member.subscribe.as_ref())?;
    Some(quoted(link.connection.ufrag()))
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}
