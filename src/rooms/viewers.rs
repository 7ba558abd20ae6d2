//! Who receives what: which section of a member shows which track, after each change for those only whom it concerns.

use std::collections::HashMap;
use std::time::Duration;

use switchboard_media::negotiation::{Connection, Shown};
use switchboard_media::{Command, Format, Kind, Profile, RoomKey};

use super::state::{Door, Link, Member, Offer, Room};
use super::{News, Rooms, State};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{OfferedTrack, RoomOffer, RoomTrackFlow, SessionDescription};
use crate::ids::{ParticipantId, RoomId, TrackId};

/// How long a track may be silent before a viewer's section goes to another one that flows.
const QUIET: Duration = Duration::from_millis(2500);

/// Why nothing arrives of a track, as `room:subscribe` says it.
pub(super) const UNSUPPORTED: &str = "CODEC_UNSUPPORTED";

type Offers = HashMap<TrackId, Offer>;

impl Offer {
    /// Whether it has been silent for so long that another one may have its place.
    fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_since.is_some_and(|since| now.since(since) >= QUIET)
    }
}

impl Rooms {
    /// Makes what everybody receives what everybody wants.
    pub(super) fn reconcile(&self, state: &mut State, id: &RoomId, news: News<'_>) {
        let Some(room) = state.rooms.get_mut(id) else { return };
        let concerned = match news {
            News::Tracks(_) => None,
            News::Member(who) | News::Wishes(who, _) | News::Answer(who) => Some(who),
        };
        let (key, now) = (room.key, self.clock.now());
        let Room { offers, members, codecs, .. } = room;
        let mut in_order = None;
        let members = members.iter_mut().filter(|member| !member.waiting);
        for member in members.filter(|member| concerned.is_none_or(|who| who == member.id)) {
            match member.door {
                Door::Whip => {}
                Door::Whep => {
                    let in_order = in_order.get_or_insert_with(|| in_order_of_entry(offers, now));
                    self.fill(member, (offers, in_order), key);
                }
                Door::Socket(_) => {
                    let tracks = tracks_of(news, member, offers);
                    #[cfg(test)]
                    {
                        state.decided += tracks.len();
                    }
                    let wanted = |track: &TrackId| wanted(member, offers, *track).is_some();
                    if member.subscribe.is_none() && tracks.iter().any(wanted) {
                        let server = self.sfu.server();
                        let peer = server.peer();
                        let connection = Connection::new(server.endpoint().clone(), codecs);
                        let link = Link::new(peer, connection, id, member.id, "subscribe");
                        member.subscribe = Some(link);
                        state.peers.insert(peer, id.clone());
                    }
                    self.arrange(member, &tracks, offers, key);
                }
            }
        }
    }

    /// Makes the sections of a member show what it wants of `tracks`, and offers that.
    fn arrange(&self, member: &mut Member, tracks: &[TrackId], offers: &Offers, room: RoomKey) {
        for &track in tracks {
            let wanted = wanted(member, offers, track);
            let Some(link) = &mut member.subscribe else { return };
            let before = link.unplayable.contains(&track);
            let Some(plays) = self.decide(link, track, wanted, room) else { continue };
            let unplayable = wanted.is_some() && !plays;
            if unplayable {
                link.unplayable.insert(track);
            } else {
                link.unplayable.remove(&track);
            }
            // Of a track that is gone, or not wanted, nothing is to be said.
            if unplayable != before && wanted.is_some() {
                member.notify(&self.delivery, |stamp| {
                    let flow = RoomTrackFlow { stamp, track_id: track, reason: UNSUPPORTED };
                    match unplayable {
                        true => Event::RoomTrackPaused(flow),
                        false => Event::RoomTrackResumed(flow),
                    }
                });
            }
        }
        if member.subscribe.as_ref().is_some_and(|link| link.stale && link.answered) {
            self.offer(member, offers, room);
        }
    }

    /// Decides whether a section shows a track, and which; whether one does. `None` is for later: as long as an offer is not
    /// answered nothing is added to it, as the answer is to that offer (RFC 9429 §5.6).
    fn decide(
        &self,
        link: &mut Link,
        track: TrackId,
        wanted: Option<&Offer>,
        room: RoomKey,
    ) -> Option<bool> {
        if let Some(mid) = link.shows.section(track).map(str::to_owned) {
            if wanted.is_some_and(|offer| link.connection.takes(&mid, offer.format)) {
                return Some(true);
            }
            link.shows.remove(track);
            link.connection.show(&mid, None);
            link.stale = true;
            self.sfu.server().command(room, Command::Show { peer: link.peer, mid, track: None });
        }
        let Some(offer) = wanted else {
            link.pending.remove(&track);
            return Some(false);
        };
        if !link.answered {
            link.pending.insert(track);
            return None;
        }
        link.pending.remove(&track);
        let mid = link.connection.line_for(offer.format.codec.kind());
        if !link.connection.takes(&mid, offer.format) {
            return Some(false);
        }
        let shown = Shown { stream: offer.owner.to_string(), track: track.to_string() };
        link.connection.show(&mid, Some(shown));
        link.shows.insert(mid, track);
        link.stale = true;
        Some(true)
    }

    /// Offers a member what it can receive.
    fn offer(&self, member: &mut Member, offers: &Offers, room: RoomKey) {
        let Some(link) = &mut member.subscribe else { return };
        link.rev += 1;
        (link.answered, link.stale) = (false, false);
        let sdp = link.connection.offer();
        let (peer, plan) = (link.peer, Box::new(link.connection.plan()));
        let command = match std::mem::replace(&mut link.set_up, true) {
            true => Command::Configure { peer, plan },
            false => Command::Connect { room, peer, plan },
        };
        self.sfu.server().command(room, command);
        let shows = link.shows.iter().filter_map(|(mid, track_id)| {
            let participant_id = offers.get(&track_id)?.owner;
            Some(OfferedTrack { mid: mid.to_owned(), track_id, participant_id })
        });
        let (rev, tracks) = (link.rev, shows.collect());
        let offer = SessionDescription { kind: "offer".into(), sdp };
        member.notify(&self.delivery, |stamp| {
            Event::RoomOffer(Box::new(RoomOffer { stamp, rev, offer, tracks }))
        });
    }

    /// Fills the sections of a WHEP viewer with tracks, participant after participant. What is silent gives its section to what
    /// flows and has none.
    pub(super) fn fill(
        &self,
        member: &mut Member,
        (offers, in_order): (&Offers, &[Offer]),
        room: RoomKey,
    ) {
        let (only, now) = (member.only, self.clock.now());
        let Some(link) = &mut member.subscribe else { return };
        let (peer, server) = (link.peer, self.sfu.server());
        let lost = |mid: &str, id| {
            !offers.get(&id).is_some_and(|offer| link.connection.takes(mid, offer.format))
        };
        let over: Vec<(String, TrackId)> = link
            .shows
            .iter()
            .filter(|&(mid, id)| lost(mid, id))
            .map(|(mid, id)| (mid.to_owned(), id))
            .collect();
        for (mid, id) in over {
            link.shows.remove(id);
            server.command(room, Command::Show { peer, mid, track: None });
        }
        let lines: Vec<(String, Kind)> =
            link.connection.send_lines().map(|(mid, kind, _)| (mid.to_owned(), kind)).collect();
        for (mid, kind) in lines {
            let current = link.shows.track(&mid).and_then(|id| offers.get(&id));
            if current.is_some_and(|current| !current.is_quiet(now)) {
                continue;
            }
            let next = in_order.iter().find(|track| {
                track.format.codec.kind() == kind
                    && (current.is_none() || track.quiet_since.is_none())
                    && only.is_none_or(|only| only == track.owner)
                    && link.shows.section(track.id).is_none()
                    && link.connection.takes(&mid, track.format)
            });
            let Some(track) = next else { continue };
            if let Some(current) = current {
                link.shows.remove(current.id);
            }
            link.shows.insert(mid.clone(), track.id);
            server.command(room, Command::Show { peer, mid, track: Some(track.key) });
        }
    }

    /// Gives the sections of silent tracks to those that flow, for viewers by WHEP.
    pub(super) fn pass_on_places(&self) {
        let now = self.clock.now();
        for room in self.state().rooms.values_mut() {
            let Room { offers, members, key, .. } = room;
            let viewers = members.iter().any(|member| member.door == Door::Whep);
            if !viewers || !offers.values().any(|offer| offer.is_quiet(now)) {
                continue;
            }
            let in_order = in_order_of_entry(offers, now);
            for member in members.iter_mut().filter(|member| member.door == Door::Whep) {
                self.fill(member, (offers, &in_order), *key);
            }
        }
    }
}

/// The tracks that are to be decided about for a member.
fn tracks_of(news: News<'_>, member: &Member, offers: &Offers) -> Vec<TrackId> {
    let agreed = || {
        let link = member.subscribe.as_ref()?;
        let shown = link.shows.iter().map(|(_, track)| track);
        let others = link.unplayable.union(&link.pending).copied();
        Some(shown.chain(others).collect::<Vec<_>>())
    };
    let mut tracks = match news {
        News::Tracks(tracks) | News::Wishes(_, tracks) => return tracks.to_vec(),
        News::Answer(_) => agreed().unwrap_or_default(),
        News::Member(_) => {
            let gone = agreed().unwrap_or_default();
            let gone = gone.into_iter().filter(|track| !offers.contains_key(track));
            gone.chain(offers.keys().copied()).collect()
        }
    };
    // In the order in which they were published.
    tracks.sort_unstable();
    tracks
}

fn wanted<'a>(member: &Member, offers: &'a Offers, track: TrackId) -> Option<&'a Offer> {
    let offer = offers.get(&track).filter(|offer| offer.owner != member.id)?;
    (member.permissions.can_subscribe && member.chosen(track)).then_some(offer)
}

/// All tracks, participant after participant; ids grow with time. Those that are silent come last.
fn in_order_of_entry(offers: &Offers, now: Timestamp) -> Vec<Offer> {
    let mut tracks: Vec<Offer> = offers.values().copied().collect();
    tracks.sort_unstable_by_key(|track| (track.is_quiet(now), track.owner, track.id));
    tracks
}

/// Whether some section of a connection takes a stream of `format`, or one can be made for it.
pub(super) fn link_takes(link: &Link, format: Format) -> bool {
    let mut lines =
        link.connection.send_lines().filter(|(_, kind, _)| *kind == format.codec.kind()).peekable();
    lines.peek().is_none() || lines.any(|(mid, ..)| link.connection.takes(mid, format))
}

/// What a viewer by WHEP takes and what is published for it, where it takes nothing of that.
pub(super) fn nothing_in_common(
    connection: &Connection,
    offers: &Offers,
    only: Option<ParticipantId>,
) -> Option<(String, String)> {
    let lines: Vec<(&str, Kind)> =
        connection.send_lines().map(|(mid, kind, _)| (mid, kind)).collect();
    let asked = |offer: &&Offer| {
        let kind = offer.format.codec.kind();
        only.is_none_or(|only| only == offer.owner) && lines.iter().any(|line| line.1 == kind)
    };
    let published: Vec<Format> = offers.values().filter(asked).map(|offer| offer.format).collect();
    let taken = |format: &Format| lines.iter().any(|(mid, _)| connection.takes(mid, *format));
    if published.is_empty() || published.iter().any(taken) {
        return None;
    }
    let sends = connection.plan().sends;
    let offered = sends.iter().flat_map(|send| send.codecs.iter().map(|codec| codec.format));
    Some((names(offered), names(published)))
}

fn names(formats: impl IntoIterator<Item = Format>) -> String {
    let mut names: Vec<String> = formats.into_iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// A codec as a person knows it; of H.264 also what else both sides have to agree on.
fn name(format: Format) -> String {
    let name = format.codec.name();
    if format.codec != switchboard_media::Codec::H264 {
        return name.to_owned();
    }
    let profile = match format.profile {
        Profile::ConstrainedBaseline => "constrained baseline",
        Profile::Baseline => "baseline",
        Profile::Main => "main",
        Profile::High => "high",
    };
    format!("{name} ({profile}, packetization-mode {})", u8::from(!format.single_unit))
}
