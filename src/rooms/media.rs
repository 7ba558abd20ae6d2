//! Publishing and receiving: offers, answers, and which section shows which track.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use switchboard_media::negotiation::{Accept, Connection, Shown};
use switchboard_media::{Command, Description, Format, Kind, PeerKey, TrackKey, Wish};
use utoipa::ToSchema;

use super::state::{Door, Link, Member, Published, Room};
use super::{Result, RoomError, Rooms, State};
use crate::event::Event;
use crate::event::room::{
    OfferedTrack, RoomOffer, RoomTrackMuted, RoomTrackPublished, RoomTrackUnpublished,
    SessionDescription, TrackLayer, TrackSource,
};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, Short, TrackId, UserId};

/// Media sections of a client's offer.
const SECTIONS: usize = 64;

/// What a client says of a track that it publishes.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackOrder {
    /// The section of the offer.
    pub mid: String,
    /// What it shows; by default a microphone or a camera.
    pub source: Option<TrackSource>,
    /// Its name for people.
    pub name: Option<Short<128>>,
    /// Whether it is muted from the beginning.
    #[serde(default)]
    pub muted: bool,
    /// Its layers: those of simulcast by their rid, those of one stream (see `scalability`) as `s0`, `s1`, …
    #[serde(default)]
    pub encodings: Vec<Encoding>,
    /// What one stream carries, as `RTCRtpEncodingParameters.scalabilityMode` names it: `L3T3_KEY` is three spatial and three temporal
    /// layers.
    pub scalability: Option<Short<16>>,
}

/// What a client says of a layer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Encoding {
    pub rid: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub max_fps: Option<u32>,
}

/// A track that is published now.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishedTrack {
    /// The section.
    pub mid: String,
    /// Its name on the wire.
    pub track_id: TrackId,
    /// What it is coded with.
    pub codec: &'static str,
}

/// The answer to an offer to publish.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publishing {
    /// Our answer.
    pub answer: SessionDescription,
    /// Which offer it answers, counted from 1.
    pub rev: u64,
    /// What is published now.
    pub tracks: Vec<PublishedTrack>,
}

/// What became of a wish to receive.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// Tracks that will arrive; `room:offer` follows where that changes something.
    pub accepted: Vec<TrackId>,
    /// Tracks that will not, and why.
    pub rejected: Vec<NotSubscribed>,
}

/// A track that will not arrive.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NotSubscribed {
    pub track_id: TrackId,
    pub reason: &'static str,
}

/// Which layer a viewer wants.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LayerWish {
    /// Of which track.
    pub track_id: TrackId,
    /// `auto`, `off`, or the name of a layer.
    #[serde(default = "auto")]
    pub rid: String,
    /// Pixels that are shown; a larger layer is not wanted.
    pub max_width: Option<u32>,
    /// Pixels that are shown; a larger layer is not wanted.
    pub max_height: Option<u32>,
    /// Pictures in a second; more are left out where the stream has temporal layers.
    pub max_fps: Option<u32>,
    /// The highest first when not everything fits; 128 by default.
    pub priority: Option<u8>,
}

fn auto() -> String {
    "auto".into()
}

impl Rooms {
    pub(super) fn read(&self, text: &str, sections: usize) -> Result<Description> {
        if text.len() > self.sdp_bytes {
            return Err(RoomError::TooLarge { have: text.len(), limit: self.sdp_bytes });
        }
        Ok(Description::parse(text, sections)?)
    }

    /// Takes an offer to publish, or to publish otherwise than before.
    pub fn publish(
        &self,
        me: UserId,
        session: RoomSessionId,
        offer: &str,
        orders: &[TrackOrder],
    ) -> Result<Publishing> {
        let offer = self.read(offer, SECTIONS)?;
        let (id, _) = self.find(me, session)?;
        let mut state = self.state();
        let State { rooms, peers } = &mut *state;
        let room = rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let member = room.by_session(session).ok_or(RoomError::NotInRoom)?.id;
        let (answer, rev, peer) = self.take_offer(room, member, &offer, orders)?;
        peers.insert(peer, id.clone());
        let tracks = room.by_id(member).map(|member| {
            member.tracks.iter().map(|track| PublishedTrack {
                mid: track.mid.clone(),
                track_id: track.id,
                codec: track.format.codec.name(),
            })
        });
        let tracks = tracks.into_iter().flatten().collect();
        self.bring_up_to_date(&mut state, &id);
        let answer = SessionDescription { kind: "answer".into(), sdp: answer };
        Ok(Publishing { answer, rev, tracks })
    }

    /// Answers an offer of media for a member; tells the others what is new and what is gone.
    pub(super) fn take_offer(
        &self,
        room: &mut Room,
        id: ParticipantId,
        offer: &Description,
        orders: &[TrackOrder],
    ) -> Result<(String, u64, PeerKey)> {
        let (server, most) = (self.sfu.server(), self.config.tracks_per_participant);
        let (key, codecs) = (room.key, room.codecs.clone());
        let room_id = room.id.clone();
        let member = room.by_id(id).ok_or(RoomError::NotInRoom)?;
        if !member.permissions.can_publish {
            return Err(RoomError::MayNotPublish);
        }
        let sources = &member.permissions.sources;
        let allowed = |source: TrackSource| sources.is_empty() || sources.contains(&source);
        let of = |mid: &str| orders.iter().find(|order| order.mid == mid);
        let sending = offer.sections.iter().filter(|section| {
            section.direction.sends && !section.rejected && section.kind.is_some()
        });
        for section in sending.clone() {
            let source = source_of(of(&section.mid), section.kind);
            if !allowed(source) {
                return Err(RoomError::MayNotPublish);
            }
        }
        if sending.count() > most {
            return Err(RoomError::TrackLimit(most));
        }
        let mut connection = match &member.publish {
            Some(link) => link.connection.clone(),
            None => Connection::new(server.endpoint().clone(), &codecs),
        };
        let before: HashMap<String, TrackKey> =
            member.tracks.iter().map(|track| (track.mid.clone(), track.key)).collect();
        let answer = connection.answer(offer, |section| match section.direction.sends {
            true => {
                Accept::Receive(before.get(&section.mid).copied().unwrap_or_else(|| server.track()))
            }
            false => Accept::Reject,
        })?;
        let peer = member.publish.as_ref().map_or_else(|| server.peer(), |link| link.peer);
        let rev = member.publish.as_ref().map_or(1, |link| link.rev + 1);
        let plan = Box::new(connection.plan());
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        let kept: Vec<TrackKey> = connection.received().map(|(_, track, ..)| track).collect();
        member.tracks.retain(|track| {
            let stays = kept.contains(&track.key);
            if !stays {
                gone.push(track.id);
            }
            stays
        });
        let mut muted = Vec::new();
        for (mid, track, format, rids) in connection.received() {
            if member.tracks.iter().any(|known| known.key == track) {
                continue;
            }
            let order = of(mid);
            let published = Published {
                id: TrackId::new(self.clock.id()),
                key: track,
                mid: mid.to_owned(),
                format,
                source: source_of(order, Some(format.codec.kind())),
                name: order.and_then(|order| order.name.clone()).map(Short::into_string),
                muted: order.is_some_and(|order| order.muted),
                layers: layers(rids, order),
            };
            if published.muted {
                muted.push(track);
            }
            new.push(published.shown(id));
            member.tracks.push(published);
        }
        let before = member.publish.take();
        let set_up = before.is_some();
        let mut link =
            before.unwrap_or_else(|| Link::new(peer, connection.clone(), &room_id, id, "publish"));
        (link.connection, link.rev, link.set_up) = (connection, rev, true);
        member.publish = Some(link);
        server.tell(
            key,
            match set_up {
                true => Command::Configure { peer, plan },
                false => Command::Connect { room: key, peer, plan },
            },
        );
        muted.into_iter().for_each(|track| server.tell(key, Command::Mute { track, muted: true }));
        self.tell_unpublished(room, id, &gone);
        self.tell_recorder(room, id);
        for track in new {
            room.tell(&self.outbox, Some(id), |stamp| {
                let track = track.clone();
                Event::RoomTrackPublished(Box::new(RoomTrackPublished {
                    stamp,
                    participant_id: id,
                    track,
                }))
            });
        }
        Ok((answer, rev, peer))
    }

    pub(super) fn tell_unpublished(&self, room: &mut Room, owner: ParticipantId, gone: &[TrackId]) {
        for &track_id in gone {
            room.tell(&self.outbox, Some(owner), |stamp| {
                Event::RoomTrackUnpublished(RoomTrackUnpublished {
                    stamp,
                    participant_id: owner,
                    track_id,
                })
            });
        }
    }

    /// Makes what everybody receives what everybody wants.
    pub(super) fn bring_up_to_date(&self, state: &mut State, id: &RoomId) {
        let State { rooms, peers } = state;
        let Some(room) = rooms.get_mut(id) else { return };
        let tracks: Vec<Offer> = room
            .present()
            .flat_map(|member| member.tracks.iter().map(|track| Offer::of(member, track)))
            .collect();
        let (key, codecs) = (room.key, room.codecs.clone());
        for member in room.members.iter_mut().filter(|member| !member.waiting) {
            match member.door {
                Door::Whip => {}
                Door::Whep => self.fill(member, &tracks, key),
                Door::Socket(_) => {
                    let wants_any =
                        tracks.iter().any(|track| track.owner != member.id && wants(member, track));
                    if member.subscribe.is_none() && wants_any {
                        let server = self.sfu.server();
                        let peer = server.peer();
                        let connection = Connection::new(server.endpoint().clone(), &codecs);
                        let link = Link::new(peer, connection, id, member.id, "subscribe");
                        member.subscribe = Some(link);
                        peers.insert(peer, id.clone());
                    }
                    self.arrange(member, &tracks, key);
                }
            }
        }
    }

    /// Makes the sections of a member show what it wants, and offers that.
    fn arrange(&self, member: &mut Member, tracks: &[Offer], room: switchboard_media::RoomKey) {
        let wanted: Vec<&Offer> = tracks
            .iter()
            .filter(|track| track.owner != member.id && wants(member, track))
            .collect();
        let Some(link) = &mut member.subscribe else { return };
        let gone: Vec<String> = link
            .shows
            .iter()
            .filter(|(_, shown)| !wanted.iter().any(|track| track.id == **shown))
            .map(|(mid, _)| mid.clone())
            .collect();
        for mid in gone {
            link.shows.remove(&mid);
            link.connection.show(&mid, None);
            link.stale = true;
            self.sfu.server().tell(room, Command::Show { peer: link.peer, mid, track: None });
        }
        for track in wanted {
            if link.shows.values().any(|shown| *shown == track.id) {
                continue;
            }
            let mid = link.connection.line_for(track.format.codec.kind());
            if !link.connection.takes(&mid, track.format) {
                continue;
            }
            let shown = Shown { stream: track.owner.to_string(), track: track.id.to_string() };
            link.connection.show(&mid, Some(shown));
            link.shows.insert(mid, track.id);
            link.stale = true;
        }
        if link.stale && link.answered {
            self.offer(member, tracks, room);
        }
    }

    /// Offers a member what it can receive.
    fn offer(&self, member: &mut Member, tracks: &[Offer], room: switchboard_media::RoomKey) {
        let Some(link) = &mut member.subscribe else { return };
        link.rev += 1;
        (link.answered, link.stale) = (false, false);
        let sdp = link.connection.offer();
        let (peer, plan) = (link.peer, Box::new(link.connection.plan()));
        let command = match std::mem::replace(&mut link.set_up, true) {
            true => Command::Configure { peer, plan },
            false => Command::Connect { room, peer, plan },
        };
        self.sfu.server().tell(room, command);
        let shows = link.shows.iter().filter_map(|(mid, track)| {
            let owner = tracks.iter().find(|offer| offer.id == *track)?.owner;
            Some(OfferedTrack { mid: mid.clone(), track_id: *track, participant_id: owner })
        });
        let (rev, tracks) = (link.rev, shows.collect());
        let offer = SessionDescription { kind: "offer".into(), sdp };
        member.tell(&self.outbox, |stamp| {
            Event::RoomOffer(Box::new(RoomOffer { stamp, rev, offer, tracks }))
        });
    }

    /// Takes the answer to an offer of ours.
    pub fn answered(
        &self,
        me: UserId,
        session: RoomSessionId,
        rev: u64,
        answer: &str,
    ) -> Result<()> {
        let answer = self.read(answer, usize::MAX)?;
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let keys: HashMap<TrackId, TrackKey> = room
            .members
            .iter()
            .flat_map(|member| member.tracks.iter().map(|track| (track.id, track.key)))
            .collect();
        let key = room.key;
        let member = room.by_id(member).ok_or(RoomError::NotInRoom)?;
        let link = member.subscribe.as_mut().ok_or(RoomError::Stale { have: rev, last: 0 })?;
        if rev != link.rev || link.answered {
            return Err(RoomError::Stale { have: rev, last: link.rev });
        }
        link.connection.take_answer(&answer)?;
        link.answered = true;
        let (server, peer) = (self.sfu.server(), link.peer);
        server.tell(key, Command::Configure { peer, plan: Box::new(link.connection.plan()) });
        for (mid, track) in &link.shows {
            let track = keys.get(track).copied();
            server.tell(key, Command::Show { peer, mid: mid.clone(), track });
        }
        self.bring_up_to_date(&mut state, &id);
        Ok(())
    }

    /// Wishes to receive tracks, or no longer.
    pub fn subscribe(
        &self,
        me: UserId,
        session: RoomSessionId,
        tracks: &[TrackId],
        wanted: bool,
    ) -> Result<Subscribed> {
        let mut result = Subscribed { accepted: Vec::new(), rejected: Vec::new() };
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        if wanted && !room.by_id(member).is_some_and(|member| member.permissions.can_subscribe) {
            return Err(RoomError::MayNotSubscribe);
        }
        for &track in tracks {
            let Some((owner, published)) = room.track(track) else {
                let reason = "TRACK_NOT_FOUND";
                result.rejected.push(NotSubscribed { track_id: track, reason });
                continue;
            };
            let (own, format) = (owner.id == member, published.format);
            let Some(member) = room.by_id(member) else { continue };
            let takes = member.subscribe.as_ref().is_none_or(|link| link_takes(link, format));
            if own || (wanted && !takes) {
                let reason = if own { "SUBSCRIBE_FORBIDDEN" } else { "CODEC_UNSUPPORTED" };
                result.rejected.push(NotSubscribed { track_id: track, reason });
                continue;
            }
            member.choose(track, wanted);
            result.accepted.push(track);
        }
        self.bring_up_to_date(&mut state, &id);
        Ok(result)
    }

    /// Begins ICE anew.
    pub fn restart(
        &self,
        me: UserId,
        session: RoomSessionId,
        offer: Option<&str>,
    ) -> Result<Option<SessionDescription>> {
        if let Some(offer) = offer {
            let answer = self.publish(me, session, offer, &[])?.answer;
            return Ok(Some(answer));
        }
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let member = room.by_id(member).ok_or(RoomError::NotInRoom)?;
        let link = member.subscribe.as_mut().ok_or(RoomError::NoTrack)?;
        link.connection.restart();
        link.offer_again();
        self.bring_up_to_date(&mut state, &id);
        Ok(None)
    }

    /// Which layer of a track a viewer wants.
    pub fn prefer(&self, me: UserId, session: RoomSessionId, wish: &LayerWish) -> Result<()> {
        let server = self.sfu.server().clone();
        self.act(me, session, |room, member| {
            let key = room.key;
            let (_, track) = room.track(wish.track_id).ok_or(RoomError::NoTrack)?;
            let (temporal, wanted) = (temporal(track, wish), wanted_layer(track, wish)?);
            let track = track.key;
            let member = room.by_id(member).ok_or(RoomError::NotInRoom)?;
            let link = member.subscribe.as_ref().ok_or(RoomError::NoTrack)?;
            let priority = wish.priority.unwrap_or(128);
            let peer = link.peer;
            server.tell(key, Command::Prefer { peer, track, wish: wanted, priority, temporal });
            Ok(())
        })
    }

    /// Mutes a track of one's own, or no longer.
    pub fn mute(
        &self,
        me: UserId,
        session: RoomSessionId,
        track: TrackId,
        muted: bool,
    ) -> Result<()> {
        self.act(me, session, |room, member| {
            let (owner, _) = room.track(track).ok_or(RoomError::NoTrack)?;
            if owner.id != member {
                return Err(RoomError::NoTrack);
            }
            self.mute_track(room, track, muted, member);
            Ok(())
        })
    }

    pub(super) fn mute_track(&self, room: &mut Room, id: TrackId, muted: bool, by: ParticipantId) {
        let key = room.key;
        let mut tracks = room.members.iter_mut().flat_map(|member| &mut member.tracks);
        let Some(track) = tracks.find(|track| track.id == id) else { return };
        if track.muted == muted {
            return;
        }
        track.muted = muted;
        let track = track.key;
        self.sfu.server().tell(key, Command::Mute { track, muted });
        room.tell(&self.outbox, None, |stamp| {
            Event::RoomTrackMuted(RoomTrackMuted { stamp, track_id: id, muted, by })
        });
    }

    /// Fills the empty sections of a WHEP viewer with tracks, participant after participant.
    pub(super) fn fill(
        &self,
        member: &mut Member,
        tracks: &[Offer],
        room: switchboard_media::RoomKey,
    ) {
        let only = member.only;
        let Some(link) = &mut member.subscribe else { return };
        let (peer, server) = (link.peer, self.sfu.server());
        let there = |id: &TrackId| tracks.iter().any(|track| track.id == *id);
        let gone: Vec<String> =
            link.shows.iter().filter(|(_, id)| !there(id)).map(|(mid, _)| mid.clone()).collect();
        for mid in gone {
            link.shows.remove(&mid);
            server.tell(room, Command::Show { peer, mid, track: None });
        }
        let lines: Vec<(String, Kind)> =
            link.connection.send_lines().map(|(mid, kind, _)| (mid.to_owned(), kind)).collect();
        for (mid, kind) in lines {
            if link.shows.contains_key(&mid) {
                continue;
            }
            let next = tracks.iter().find(|track| {
                track.format.codec.kind() == kind
                    && only.is_none_or(|only| only == track.owner)
                    && !link.shows.values().any(|shown| *shown == track.id)
                    && link.connection.takes(&mid, track.format)
            });
            let Some(track) = next else { continue };
            link.shows.insert(mid.clone(), track.id);
            server.tell(room, Command::Show { peer, mid, track: Some(track.key) });
        }
    }
}

/// A track that can be received.
pub(super) struct Offer {
    pub(super) id: TrackId,
    pub(super) key: TrackKey,
    pub(super) owner: ParticipantId,
    pub(super) format: Format,
}

impl Offer {
    fn of(member: &Member, track: &Published) -> Self {
        Self { id: track.id, key: track.key, owner: member.id, format: track.format }
    }
}

fn wants(member: &Member, track: &Offer) -> bool {
    member.permissions.can_subscribe && member.chosen(track.id)
}

fn link_takes(link: &Link, format: Format) -> bool {
    let mut lines =
        link.connection.send_lines().filter(|(_, kind, _)| *kind == format.codec.kind()).peekable();
    lines.peek().is_none() || lines.any(|(mid, ..)| link.connection.takes(mid, format))
}

fn source_of(order: Option<&TrackOrder>, kind: Option<Kind>) -> TrackSource {
    let by_kind = match kind {
        Some(Kind::Audio) => TrackSource::Microphone,
        _ => TrackSource::Camera,
    };
    order.and_then(|order| order.source).unwrap_or(by_kind)
}

/// The layers of a track, the lowest first: those of simulcast, or the spatial ones of its one stream.
fn layers(rids: &[String], order: Option<&TrackOrder>) -> Vec<TrackLayer> {
    if !rids.is_empty() {
        return rids.iter().map(|rid| layer(rid, order)).collect();
    }
    let mode = order.and_then(|order| order.scalability.as_ref()).map(Short::as_str);
    let spatial = mode.and_then(|mode| mode.strip_prefix('L')?.chars().next()?.to_digit(10));
    let spatial = spatial.filter(|spatial| (2..=4).contains(spatial)).unwrap_or_default();
    (0..spatial).map(|level| layer(&format!("s{level}"), order)).collect()
}

fn layer(rid: &str, order: Option<&TrackOrder>) -> TrackLayer {
    let said = order.and_then(|order| order.encodings.iter().find(|said| said.rid == rid));
    TrackLayer {
        rid: rid.to_owned(),
        width: said.and_then(|said| said.width),
        height: said.and_then(|said| said.height),
        fps: said.and_then(|said| said.max_fps),
        active: true,
    }
}

/// The highest temporal layer that is wanted: each has twice the pictures of the one below, and browsers make three.
fn temporal(track: &Published, wish: &LayerWish) -> u8 {
    let made = track.layers.iter().filter_map(|layer| layer.fps).max().unwrap_or(30);
    match wish.max_fps {
        Some(most) if most < made / 2 => 0,
        Some(most) if most < made => 1,
        _ => u8::MAX,
    }
}

pub(super) fn wanted_layer(track: &Published, wish: &LayerWish) -> Result<Wish> {
    let place = |place: usize| Wish::Layer(u8::try_from(place).unwrap_or(u8::MAX));
    match wish.rid.as_str() {
        "off" => Ok(Wish::Off),
        "auto" => {
            // The smallest layer that fills what is shown.
            let fills = |layer: &TrackLayer| {
                let enough = |have: Option<u32>, want: Option<u32>| match (have, want) {
                    (Some(have), Some(want)) => have >= want,
                    _ => false,
                };
                enough(layer.width, wish.max_width) || enough(layer.height, wish.max_height)
            };
            Ok(track.layers.iter().position(fills).map_or(Wish::Auto, place))
        }
        rid => {
            let told = || {
                let known: Vec<_> = track.layers.iter().map(|layer| layer.rid.as_str()).collect();
                format!("rid is \"auto\", \"off\" or a layer of the track: {}", known.join(", "))
            };
            let found = track.layers.iter().position(|layer| layer.rid == rid);
            found.map(place).ok_or_else(|| RoomError::Invalid("rid", told()))
        }
    }
}
