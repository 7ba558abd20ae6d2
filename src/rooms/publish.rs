//! `room:publish`: what a participant sends, as its offer describes it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use switchboard_media::negotiation::{Accept, Connection};
use switchboard_media::{Command, Description, Kind, Section, TrackKey};
use utoipa::ToSchema;

use super::connection::PeerConnection;
use super::effect::{Effect, Name};
use super::machine::Room;
use super::member::{Caller, Member};
use super::moderate::may_publish;
use super::rule::{Context, Rule};
use super::track::Published;
use super::{Result, RoomError, Rooms};
use crate::event::Event;
use crate::event::room::{RoomTrackPublished, SessionDescription, Track, TrackLayer, TrackSource};
use crate::ids::{ParticipantId, RoomSessionId, Short, TrackId, UserId};

/// Media sections of a client's offer.
const SECTIONS: usize = 64;

/// What a client says of a track that it publishes.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackSpec {
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

/// What becomes of a section in which a client no longer sends, but which it does not reject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsent {
    /// It is held (RFC 3264 §8.4): its track stays, shown as muted.
    Held,
    /// Its track is no longer published.
    Ended,
}

/// An offer to publish, or to publish otherwise than before; `unsent` says what becomes of what the client sends no more.
pub(super) struct Publish {
    pub(super) by: Caller,
    pub(super) offer: Description,
    pub(super) specs: Vec<TrackSpec>,
    pub(super) unsent: Unsent,
}

impl Rooms {
    /// Takes an offer to publish, or to publish otherwise than before.
    pub async fn publish(
        &self,
        user: UserId,
        session: RoomSessionId,
        offer: &str,
        specs: Vec<TrackSpec>,
        unsent: Unsent,
    ) -> Result<Publishing> {
        let offer = self.read_offer(offer).await?;
        let by = Caller { user, session };
        self.ask_session(session, Publish { by, offer, specs, unsent }).await
    }

    pub(super) async fn read_offer(&self, text: &str) -> Result<Description> {
        self.read(text, SECTIONS).await
    }
}

impl Rule for Publish {
    type Reply = Publishing;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Publishing> {
        let id = room.caller(self.by)?.id;
        let (answer, rev) = room.take_offer(id, &self.offer, &self.specs, self.unsent, with)?;
        let answer = SessionDescription { kind: "answer".into(), sdp: answer };
        Ok(Publishing { answer, rev, tracks: room.published(id) })
    }
}

impl Room {
    /// What a member publishes now.
    pub(super) fn published(&self, id: ParticipantId) -> Vec<PublishedTrack> {
        let member = self.members.iter().find(|member| member.id == id);
        let tracks = member.into_iter().flat_map(|member| &member.tracks);
        let shown = tracks.map(|track| PublishedTrack {
            mid: track.mid.clone(),
            track_id: track.id,
            codec: track.format.codec.name(),
        });
        shown.collect()
    }

    /// Answers an offer of media for a member, and announces what is new and what is gone; gives the answer and the number of the
    /// offer.
    pub(super) fn take_offer(
        &mut self,
        id: ParticipantId,
        offer: &Description,
        specs: &[TrackSpec],
        unsent: Unsent,
        with: &mut Context<'_>,
    ) -> Result<(String, u64)> {
        let most = self.rules.tracks_per_participant;
        let member = self.member(id)?;
        check_offer(member, offer, specs, unsent, most)?;
        let before = member.publish.as_ref().map(|known| known.negotiation.clone());
        let before =
            before.unwrap_or_else(|| Connection::new(self.rules.endpoint.clone(), &self.codecs));
        let mut negotiation = before.clone();
        let answer =
            negotiation.answer(offer, |section| match keeps(&before, offer, section, unsent) {
                true => Accept::Receive(before.track_for(section, || with.source.track())),
                false => Accept::Reject,
            })?;
        let known = self.member(id)?.publish.take();
        let mut connection = match known {
            Some(connection) => connection,
            None => {
                let peer = with.source.peer();
                self.effects.push(Effect::Register(Name::Peer(peer)));
                PeerConnection::new(peer, negotiation.clone(), &self.id, id, "publish")
            }
        };
        let (peer, plan) = (connection.peer, Box::new(negotiation.plan()));
        let room = self.key;
        self.media(match std::mem::replace(&mut connection.set_up, true) {
            true => Command::Configure { peer, plan },
            false => Command::Connect { room, peer, plan },
        });
        (connection.negotiation, connection.rev) = (negotiation, connection.rev + 1);
        let rev = connection.rev;
        let update = self.update_tracks(id, (offer, &connection.negotiation), specs, with)?;
        self.member(id)?.publish = Some(connection);
        self.announce_update(id, update);
        Ok((answer, rev))
    }

    /// Makes the tracks of a member those that were agreed on.
    fn update_tracks(
        &mut self,
        id: ParticipantId,
        (offer, negotiation): (&Description, &Connection),
        specs: &[TrackSpec],
        with: &mut Context<'_>,
    ) -> Result<Update> {
        let mut update = Update::default();
        let sends = |mid: &str| {
            let section = offer.sections.iter().find(|section| section.mid == mid);
            section.is_some_and(|section| section.direction.sends)
        };
        let kept: BTreeSet<TrackKey> = negotiation.received().map(|(_, track, ..)| track).collect();
        let member = self.member(id)?;
        let (stay, gone): (Vec<_>, Vec<_>) =
            member.tracks.drain(..).partition(|track| kept.contains(&track.key));
        member.tracks = stay;
        member.ended.retain(|key| kept.contains(key));
        update.gone.extend(gone.iter().map(|track| track.id));
        for (mid, key, format, rids) in negotiation.received() {
            let (sends, spec) = (sends(mid), specs.iter().find(|spec| spec.mid == mid));
            if let Some(known) = member.tracks.iter_mut().find(|known| known.key == key) {
                hold(known, !sends, &mut update);
                continue;
            }
            let ended = member.ended.contains(&key);
            // What was unpublished by name stays so until its section stops, or is named again.
            if !sends || (ended && spec.is_none()) {
                update.again.extend(ended.then_some(key).filter(|_| !sends));
                continue;
            }
            update.again.extend(ended.then_some(key));
            // What goes on in the same section in another form is what it was, unless it is said otherwise.
            let was = gone.iter().find(|track| track.mid == mid);
            let name = spec.and_then(|spec| spec.name.clone()).map(Short::into_string);
            let source = was.map(|track| track.source);
            let published = Published {
                id: TrackId::new(with.source.id()),
                key,
                mid: mid.to_owned(),
                format,
                source: source_of(spec, source, Some(format.codec.kind())),
                name: name.or_else(|| was.and_then(|track| track.name.clone())),
                muted: spec.map_or(was.is_some_and(|track| track.muted), |spec| spec.muted),
                held: false,
                quiet_since: Some(with.now),
                layers: layers(rids, spec),
            };
            update.muted.extend(published.muted.then_some(key));
            update.new.push(published.shown(id));
            member.tracks.push(published);
        }
        member.ended.retain(|key| !update.again.contains(key));
        Ok(update)
    }

    /// Announces what has become of a member's tracks.
    fn announce_update(&mut self, id: ParticipantId, update: Update) {
        let Update { new, gone, silenced, muted, again } = update;
        for track in again {
            self.media(Command::Mute { track, muted: false });
        }
        for track in muted {
            self.media(Command::Mute { track, muted: true });
        }
        let changed = new.iter().map(|track| track.track_id);
        let changed: Vec<_> = gone.iter().copied().chain(changed).collect();
        self.unlist_tracks(id, &gone);
        self.list_tracks(id);
        self.record_tracks(id);
        for track in new {
            self.notify(Some(id), |stamp| {
                let published = RoomTrackPublished { stamp, participant_id: id, track };
                Event::RoomTrackPublished(Box::new(published))
            });
        }
        for (track_id, track, muted) in silenced {
            self.announce_silence((track_id, track), muted, id);
        }
        self.reconcile_all(&changed);
    }
}

/// What an offer changes of the tracks of its sender.
#[derive(Default)]
struct Update {
    new: Vec<Track>,
    gone: Vec<TrackId>,
    /// Tracks that are held from now on, or no longer.
    silenced: Vec<(TrackId, TrackKey, bool)>,
    /// New tracks that are muted from the beginning.
    muted: Vec<TrackKey>,
    /// Tracks that were unpublished by name and may be published again.
    again: Vec<TrackKey>,
}

/// Notes whether the section of a track is inactive.
fn hold(track: &mut Published, held: bool, update: &mut Update) {
    let before = track.silent();
    track.held = held;
    if track.silent() != before {
        update.silenced.push((track.id, track.key, track.silent()));
    }
}

/// Whether a member may send what an offer says that it will.
fn check_offer(
    member: &Member,
    offer: &Description,
    specs: &[TrackSpec],
    unsent: Unsent,
    most: usize,
) -> Result<()> {
    let known = |mid: &str| member.tracks.iter().find(|track| track.mid == mid);
    let mut tracks = 0;
    for section in offer.sections.iter().filter(|it| !it.rejected && it.kind.is_some()) {
        let known = known(&section.mid);
        if !section.direction.sends {
            tracks += usize::from(known.is_some() && unsent == Unsent::Held);
            continue;
        }
        tracks += 1;
        let spec = specs.iter().find(|spec| spec.mid == section.mid);
        let source = source_of(spec, known.map(|track| track.source), section.kind);
        if !may_publish(&member.permissions, source) {
            return Err(RoomError::MayNotPublish);
        }
    }
    if tracks > most { Err(RoomError::TrackLimit(most)) } else { Ok(()) }
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
    spec: Option<&TrackSpec>,
    known: Option<TrackSource>,
    kind: Option<Kind>,
) -> TrackSource {
    let by_kind = match kind {
        Some(Kind::Audio) => TrackSource::Microphone,
        _ => TrackSource::Camera,
    };
    spec.and_then(|spec| spec.source).or(known).unwrap_or(by_kind)
}

/// The layers of a track, the lowest first: those of simulcast, or the spatial ones of its one stream.
fn layers(rids: &[String], spec: Option<&TrackSpec>) -> Vec<TrackLayer> {
    if !rids.is_empty() {
        return rids.iter().map(|rid| layer(rid, spec)).collect();
    }
    let mode = spec.and_then(|spec| spec.scalability.as_ref()).map(Short::as_str);
    let spatial = mode.and_then(|mode| mode.strip_prefix('L')?.chars().next()?.to_digit(10));
    let spatial = spatial.filter(|spatial| (2..=4).contains(spatial)).unwrap_or_default();
    (0..spatial).map(|level| layer(&format!("s{level}"), spec)).collect()
}

fn layer(rid: &str, spec: Option<&TrackSpec>) -> TrackLayer {
    let said = spec.and_then(|spec| spec.encodings.iter().find(|said| said.rid == rid));
    TrackLayer {
        rid: rid.to_owned(),
        width: said.and_then(|said| said.width),
        height: said.and_then(|said| said.height),
        fps: said.and_then(|said| said.max_fps),
        active: true,
    }
}
