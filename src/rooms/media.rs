//! Publishing and receiving: offers, answers, and which section shows which track.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use switchboard_media::negotiation::{Accept, Connection};
use switchboard_media::{Command, Description, Kind, LayerPreference, PeerKey, Section, TrackKey};
use utoipa::ToSchema;

use super::state::{Link, Member, Offer, Published, Room};
use super::viewers::{UNSUPPORTED, link_takes};
use super::{News, Result, RoomError, Rooms, State};
use crate::event::Event;
use crate::event::room::{
    Permissions, RoomTrackMuted, RoomTrackPublished, RoomTrackUnpublished, SessionDescription,
    Track, TrackLayer, TrackSource,
};
use crate::ids::{ParticipantId, RoomSessionId, Short, TrackId, UserId};

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

    /// Takes an offer to publish, or to publish otherwise than before; `unsent` says what becomes of what the client sends no more.
    pub fn publish(
        &self,
        me: UserId,
        session: RoomSessionId,
        offer: &str,
        orders: &[TrackOrder],
        unsent: Unsent,
    ) -> Result<Publishing> {
        let offer = self.read(offer, SECTIONS)?;
        let (id, _) = self.find(me, session)?;
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let room = rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let member = room.by_session(session).ok_or(RoomError::NotInRoom)?.id;
        let Taken { answer, rev, peer, changed } =
            self.take_offer(room, member, &offer, orders, unsent)?;
        peers.insert(peer, id.clone());
        let tracks = room.by_id(member).map(|member| {
            member.tracks.iter().map(|track| PublishedTrack {
                mid: track.mid.clone(),
                track_id: track.id,
                codec: track.format.codec.name(),
            })
        });
        let tracks = tracks.into_iter().flatten().collect();
        self.reconcile(&mut state, &id, News::Tracks(&changed));
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
        unsent: Unsent,
    ) -> Result<Taken> {
        let (server, key) = (self.sfu.server(), room.key);
        let member = room.by_id(id).ok_or(RoomError::NotInRoom)?;
        self.may_publish(member, offer, orders, unsent)?;
        let known = member.publish.take();
        let before = match &known {
            Some(link) => link.connection.clone(),
            None => Connection::new(server.endpoint().clone(), &room.codecs),
        };
        let mut connection = before.clone();
        let answer =
            connection.answer(offer, |section| match keeps(&before, offer, section, unsent) {
                true => Accept::Receive(before.track_for(section, || server.track())),
                false => Accept::Reject,
            });
        let member = room.by_id(id).ok_or(RoomError::NotInRoom)?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                member.publish = known;
                return Err(error.into());
            }
        };
        let set_up = known.is_some();
        let mut link = known.unwrap_or_else(|| {
            let (peer, connection) = (server.peer(), connection.clone());
            Link::new(peer, connection, &room.id, id, "publish")
        });
        let (peer, plan) = (link.peer, Box::new(connection.plan()));
        server.command(
            key,
            match set_up {
                true => Command::Configure { peer, plan },
                false => Command::Connect { room: key, peer, plan },
            },
        );
        let update = self.update_tracks(room, id, (offer, &connection), orders);
        (link.connection, link.rev, link.set_up) = (connection, link.rev + 1, true);
        let rev = link.rev;
        if let Some(member) = room.by_id(id) {
            member.publish = Some(link);
        }
        let changed = self.announce_update(room, id, &update);
        Ok(Taken { answer, rev, peer, changed })
    }

    /// Whether a member may send what an offer says that it will.
    fn may_publish(
        &self,
        member: &Member,
        offer: &Description,
        orders: &[TrackOrder],
        unsent: Unsent,
    ) -> Result<()> {
        let Permissions { can_publish, sources, .. } = &member.permissions;
        let known = |mid: &str| member.tracks.iter().find(|track| track.mid == mid);
        let mut tracks = 0;
        for section in offer.sections.iter().filter(|it| !it.rejected && it.kind.is_some()) {
            let known = known(&section.mid);
            if !section.direction.sends {
                tracks += usize::from(known.is_some() && unsent == Unsent::Held);
                continue;
            }
            tracks += 1;
            let order = orders.iter().find(|order| order.mid == section.mid);
            let source = source_of(order, known.map(|track| track.source), section.kind);
            if !can_publish || !(sources.is_empty() || sources.contains(&source)) {
                return Err(RoomError::MayNotPublish);
            }
        }
        let most = self.config.tracks_per_participant;
        if tracks > most { Err(RoomError::TrackLimit(most)) } else { Ok(()) }
    }

    /// Makes the tracks of a member those that were agreed on.
    fn update_tracks(
        &self,
        room: &mut Room,
        id: ParticipantId,
        (offer, connection): (&Description, &Connection),
        orders: &[TrackOrder],
    ) -> Update {
        let mut update = Update::default();
        let Some(member) = room.members.iter_mut().find(|member| member.id == id) else {
            return update;
        };
        let sends = |mid: &str| {
            let section = offer.sections.iter().find(|section| section.mid == mid);
            section.is_some_and(|section| section.direction.sends)
        };
        let kept: HashSet<TrackKey> = connection.received().map(|(_, track, ..)| track).collect();
        let (gone, stay): (Vec<_>, Vec<_>) =
            member.tracks.drain(..).partition(|track| !kept.contains(&track.key));
        member.tracks = stay;
        update.gone.extend(gone.iter().map(|track| track.id));
        for (mid, key, format, rids) in connection.received() {
            let sends = sends(mid);
            if let Some(known) = member.tracks.iter_mut().find(|known| known.key == key) {
                if known.held == sends {
                    let before = known.silent();
                    known.held = !sends;
                    if known.silent() != before {
                        update.silenced.push((known.id, key, known.silent()));
                    }
                }
                continue;
            }
            if !sends {
                continue;
            }
            let order = orders.iter().find(|order| order.mid == mid);
            // What goes on in the same section in another form is what it was, unless it is said otherwise.
            let was = gone.iter().find(|track| track.mid == mid);
            let name = order.and_then(|order| order.name.clone()).map(Short::into_string);
            let source = was.map(|track| track.source);
            let published = Published {
                id: TrackId::new(self.clock.id()),
                key,
                mid: mid.to_owned(),
                format,
                source: source_of(order, source, Some(format.codec.kind())),
                name: name.or_else(|| was.and_then(|track| track.name.clone())),
                muted: order.map_or(was.is_some_and(|track| track.muted), |order| order.muted),
                held: false,
                quiet_since: Some(self.clock.now()),
                layers: layers(rids, order),
            };
            if published.muted {
                let mute = Command::Mute { track: key, muted: true };
                self.sfu.server().command(room.key, mute);
            }
            update.new.push(published.shown(id));
            member.tracks.push(published);
        }
        update
    }

    /// Announces what has become of a member's tracks; gives those that are new or gone.
    fn announce_update(&self, room: &mut Room, id: ParticipantId, update: &Update) -> Vec<TrackId> {
        room.note_tracks(id, &update.gone);
        self.notify_unpublished(room, id, &update.gone);
        self.notify_recorder(room, id);
        for track in &update.new {
            room.notify(&self.delivery, Some(id), |stamp| {
                let track = track.clone();
                Event::RoomTrackPublished(Box::new(RoomTrackPublished {
                    stamp,
                    participant_id: id,
                    track,
                }))
            });
        }
        for &(track_id, track, muted) in &update.silenced {
            self.announce_silence(room, (track_id, track), muted, id);
        }
        let new = update.new.iter().map(|track| track.track_id);
        update.gone.iter().copied().chain(new).collect()
    }

    pub(super) fn notify_unpublished(
        &self,
        room: &mut Room,
        owner: ParticipantId,
        gone: &[TrackId],
    ) {
        for &track_id in gone {
            room.notify(&self.delivery, Some(owner), |stamp| {
                Event::RoomTrackUnpublished(RoomTrackUnpublished {
                    stamp,
                    participant_id: owner,
                    track_id,
                })
            });
        }
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
        let Room { key, members, offers, .. } = room;
        let member = members.iter_mut().find(|it| it.id == member).ok_or(RoomError::NotInRoom)?;
        let who = member.id;
        let link = member.subscribe.as_mut().ok_or(RoomError::Stale { have: rev, last: 0 })?;
        if rev != link.rev || link.answered {
            return Err(RoomError::Stale { have: rev, last: link.rev });
        }
        link.connection.take_answer(&answer)?;
        link.answered = true;
        let (server, peer) = (self.sfu.server(), link.peer);
        server.command(*key, Command::Configure { peer, plan: Box::new(link.connection.plan()) });
        for (mid, track) in link.shows.iter() {
            // Into a section that the client holds nothing is sent.
            let open = link.connection.shows(mid);
            let track = offers.get(&track).filter(|_| open).map(|offer| offer.key);
            server.command(*key, Command::Show { peer, mid: mid.to_owned(), track });
        }
        self.reconcile(&mut state, &id, News::Answer(who));
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
            let Some(&Offer { owner, format, .. }) = room.offers.get(&track) else {
                let reason = "TRACK_NOT_FOUND";
                result.rejected.push(NotSubscribed { track_id: track, reason });
                continue;
            };
            let own = owner == member;
            let Some(member) = room.by_id(member) else { continue };
            let takes = member.subscribe.as_ref().is_none_or(|link| link_takes(link, format));
            if own || (wanted && !takes) {
                let reason = if own { "SUBSCRIBE_FORBIDDEN" } else { UNSUPPORTED };
                result.rejected.push(NotSubscribed { track_id: track, reason });
                continue;
            }
            member.choose(track, wanted);
            result.accepted.push(track);
        }
        let news = News::Wishes(member, &result.accepted);
        self.reconcile(&mut state, &id, news);
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
            let answer = self.publish(me, session, offer, &[], Unsent::Held)?.answer;
            return Ok(Some(answer));
        }
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        let link = room.by_id(member).ok_or(RoomError::NotInRoom)?.subscribe.as_mut();
        let link = link.ok_or(RoomError::NoTrack)?;
        link.connection.restart();
        link.offer_again();
        self.reconcile(&mut state, &id, News::Answer(member));
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
            server.command(
                key,
                Command::Prefer { peer, track, preference: wanted, priority, temporal },
            );
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
        let mut tracks = room.members.iter_mut().flat_map(|member| &mut member.tracks);
        let Some(track) = tracks.find(|track| track.id == id) else { return };
        let before = track.silent();
        track.muted = muted;
        let (track, silent) = (track.key, track.silent());
        if silent != before {
            self.announce_silence(room, (id, track), silent, by);
        }
    }

    /// Announces that a track is silent from now on, or no longer.
    fn announce_silence(
        &self,
        room: &mut Room,
        (track_id, track): (TrackId, TrackKey),
        muted: bool,
        by: ParticipantId,
    ) {
        self.sfu.server().command(room.key, Command::Mute { track, muted });
        room.notify(&self.delivery, None, |stamp| {
            Event::RoomTrackMuted(RoomTrackMuted { stamp, track_id, muted, by })
        });
    }
}

/// What becomes of a section in which a client no longer sends, but which it does not reject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsent {
    /// It is held (RFC 3264 §8.4): its track stays, shown as muted.
    Held,
    /// Its track is no longer published.
    Ended,
}

/// What became of an offer to publish.
pub(super) struct Taken {
    pub(super) answer: String,
    pub(super) rev: u64,
    pub(super) peer: PeerKey,
    /// Tracks that are new or gone.
    pub(super) changed: Vec<TrackId>,
}

/// What an offer changes of the tracks of its sender.
#[derive(Default)]
struct Update {
    new: Vec<Track>,
    gone: Vec<TrackId>,
    /// Tracks that are held from now on, or no longer.
    silenced: Vec<(TrackId, TrackKey, bool)>,
}

/// Whether a section of an offer may have a track, now or when it goes on.
fn keeps(before: &Connection, offer: &Description, section: &Section, unsent: Unsent) -> bool {
    if section.direction.sends {
        return true;
    }
    let was = before.received().any(|(mid, ..)| mid == section.mid);
    let publishes = || {
        let sends = |it: &Section| it.direction.sends && !it.rejected && it.kind.is_some();
        before.received().next().is_some() || offer.sections.iter().any(sends)
    };
    // Nothing is ever sent to who publishes, so that a section to receive in is refused at once.
    unsent == Unsent::Held && (was || (!section.direction.receives && publishes()))
}

fn source_of(
    order: Option<&TrackOrder>,
    known: Option<TrackSource>,
    kind: Option<Kind>,
) -> TrackSource {
    let by_kind = match kind {
        Some(Kind::Audio) => TrackSource::Microphone,
        _ => TrackSource::Camera,
    };
    order.and_then(|order| order.source).or(known).unwrap_or(by_kind)
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

pub(super) fn wanted_layer(track: &Published, wish: &LayerWish) -> Result<LayerPreference> {
    let place = |place: usize| LayerPreference::Layer(u8::try_from(place).unwrap_or(u8::MAX));
    match wish.rid.as_str() {
        "off" => Ok(LayerPreference::Off),
        "auto" => {
            // The smallest layer that fills what is shown.
            let fills = |layer: &TrackLayer| {
                let enough = |have: Option<u32>, want: Option<u32>| match (have, want) {
                    (Some(have), Some(want)) => have >= want,
                    _ => false,
                };
                enough(layer.width, wish.max_width) || enough(layer.height, wish.max_height)
            };
            Ok(track.layers.iter().position(fills).map_or(LayerPreference::Auto, place))
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
