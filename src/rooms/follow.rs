//! What the SFU reports, told to those it concerns.

use std::time::Duration;

use switchboard_media::{Command, Event as Media, Format, Gone, PeerKey, TrackKey};

use super::state::{Door, Room};
use super::{News, Rooms, State};
use crate::event::Event;
use crate::event::room::{
    RoomLayerChanged, RoomPublishLayers, RoomSpeakers, RoomTrackFlow, Speaker, WantedLayer,
};
use crate::ids::RoomId;
use crate::sfu::Notices;

/// How long nothing has come of a track when the SFU says so.
const NOTICED: Duration = Duration::from_millis(1500);

impl Rooms {
    /// Follows the SFU, and ends what is over; runs as long as the server.
    pub async fn follow(&self, mut events: Notices) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.heard(event),
                    None => return,
                },
                _ = second.tick() => self.tidy(),
            }
        }
    }

    pub(super) fn heard(&self, event: Media) {
        match event {
            Media::Connected { peer, after_ms } => {
                metrics::histogram!("rtc_media_setup_seconds").record(f64::from(after_ms) / 1000.0);
                self.reached(peer, after_ms);
            }
            Media::Gone { peer, reason } => {
                self.gone(peer, reason);
            }
            Media::Sent { track, layers } => self.with_track(track, |room, at| {
                let Some(track) = room.members.get_mut(at.0).and_then(|it| it.tracks.get_mut(at.1))
                else {
                    return;
                };
                let now = self.clock.now();
                let since = now.before(NOTICED);
                track.quiet_since = if layers.contains(&true) { None } else { Some(since) };
                if let Some(offer) = room.offers.get_mut(&track.id) {
                    offer.quiet_since = track.quiet_since;
                }
                // A browser makes fewer layers of a small picture than it was asked to.
                let sent = layers.into_iter().chain(std::iter::repeat(false));
                track.layers.iter_mut().zip(sent).for_each(|(layer, sent)| layer.active = sent);
            }),
            Media::Wanted { track, layers } => self.with_track(track, |room, at| {
                let Some(member) = room.members.get_mut(at.0) else { return };
                let Some(track) = member.tracks.get(at.1) else { return };
                let wanted = track.layers.iter().zip(layers);
                let wanted =
                    wanted.map(|(layer, active)| WantedLayer { rid: layer.rid.clone(), active });
                let (track_id, layers) = (track.id, wanted.collect());
                member.notify(&self.delivery, |stamp| {
                    Event::RoomPublishLayers(RoomPublishLayers { stamp, track_id, layers })
                });
            }),
            // Nobody judges them yet.
            Media::Stats(_) => {}
            Media::Coded { track, format } => self.coded(track, format),
            Media::Switched { peer, track, layer } => self.switched(peer, track, layer),
            Media::Paused { peer, track, paused } => self.with_peer(peer, |room, place| {
                let Some(track_id) = room.track_by_key(track).map(|(_, track)| track.id) else {
                    return;
                };
                let Some(member) = room.members.get_mut(place) else { return };
                member.notify(&self.delivery, |stamp| {
                    let flow = RoomTrackFlow { stamp, track_id, reason: "bandwidth" };
                    if paused {
                        Event::RoomTrackPaused(flow)
                    } else {
                        Event::RoomTrackResumed(flow)
                    }
                });
            }),
            Media::Speakers { room, levels } => self.speak(room, &levels),
        }
    }

    fn with_room(&self, find: impl Fn(&Room) -> bool, act: impl FnOnce(&mut Room)) {
        let mut state = self.state();
        if let Some(room) = state.rooms.values_mut().find(|room| find(room)) {
            act(room);
        }
    }

    fn with_track(&self, key: TrackKey, act: impl FnOnce(&mut Room, (usize, usize))) {
        let place = |room: &Room| {
            room.members.iter().enumerate().find_map(|(member, it)| {
                Some((member, it.tracks.iter().position(|track| track.key == key)?))
            })
        };
        self.with_room(
            |room| place(room).is_some(),
            |room| {
                if let Some(at) = place(room) {
                    act(room, at);
                }
            },
        );
    }

    fn with_peer(&self, peer: PeerKey, act: impl FnOnce(&mut Room, usize)) {
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let Some(room) = peers.get(&peer).and_then(|id| rooms.get_mut(id)) else { return };
        let place = room.members.iter_mut().position(|member| member.link_of(peer).is_some());
        if let Some(place) = place {
            act(room, place);
        }
    }

    /// A track is coded otherwise from now on: who does not take that is notified, who takes it now gets it.
    fn coded(&self, key: TrackKey, format: Format) {
        let mut changed = None;
        self.with_track(key, |room, at| {
            let Some(member) = room.members.get_mut(at.0) else { return };
            let (owner, Some(track)) = (member.id, member.tracks.get_mut(at.1)) else { return };
            if track.format != format {
                track.format = format;
                changed = Some((room.id.clone(), track.id));
                room.note_tracks(owner, &[]);
                self.notify_recorder(room, owner);
            }
        });
        if let Some((room, track)) = changed {
            self.reconcile(&mut self.state(), &room, News::Tracks(&[track]));
        }
    }

    fn reached(&self, peer: PeerKey, after_ms: u32) {
        self.with_peer(peer, |room, place| {
            let Some(member) = room.members.get_mut(place) else { return };
            let before = member.shown().connection;
            if let Some(link) = member.link_of(peer) {
                link.connected = true;
                tracing::info!(parent: &link.span, after_ms, "media flows");
            }
            let session = member.session;
            if member.shown().connection != before {
                self.changed(room, session);
            }
        });
    }

    /// A peer connection is over. Who came by WHIP or WHEP leaves with it; a client makes a new one.
    fn gone(&self, peer: PeerKey, reason: Gone) {
        let mut leaves: Option<(RoomId, _)> = None;
        let (mut unpublished, mut gone) = (None, Vec::new());
        self.with_peer(peer, |room, place| {
            let id = room.id.clone();
            // The worker has forgotten it; where it was is to be forgotten as well.
            self.sfu.server().command(room.key, Command::Close { peer });
            let Some(member) = room.members.get_mut(place) else { return };
            if let Some(link) = member.link_of(peer) {
                tracing::info!(parent: &link.span, ?reason, "media ended");
            }
            match member.door {
                Door::Whip | Door::Whep => leaves = Some((id, member.id)),
                Door::Socket(_) => {
                    if member.publish.as_ref().is_some_and(|link| link.peer == peer) {
                        member.publish = None;
                        gone.extend(member.tracks.drain(..).map(|track| track.id));
                        let owner = member.id;
                        room.note_tracks(owner, &gone);
                        self.notify_unpublished(room, owner, &gone);
                        self.notify_recorder(room, owner);
                        unpublished = Some((id, owner));
                    } else {
                        member.subscribe = None;
                        unpublished = Some((id, member.id));
                    }
                }
            }
        });
        self.state().peers.remove(&peer);
        if let Some((room, member)) = leaves {
            self.remove(&room, member, "network");
        }
        if let Some((id, member)) = unpublished {
            let news = match gone.is_empty() {
                true => News::Member(member),
                false => News::Tracks(&gone),
            };
            self.reconcile(&mut self.state(), &id, news);
        }
    }

    fn switched(&self, peer: PeerKey, track: TrackKey, layer: u8) {
        self.with_peer(peer, |room, place| {
            let Some((_, track)) = room.track_by_key(track) else { return };
            let Some(layer) = track.layers.get(usize::from(layer)).cloned() else { return };
            let track_id = track.id;
            let Some(member) = room.members.get_mut(place) else { return };
            member.notify(&self.delivery, |stamp| {
                let (rid, width, height) = (layer.rid, layer.width, layer.height);
                let reason = "bandwidth";
                Event::RoomLayerChanged(RoomLayerChanged {
                    stamp,
                    track_id,
                    rid,
                    width,
                    height,
                    reason,
                })
            });
        });
    }

    fn speak(&self, key: switchboard_media::RoomKey, levels: &[(TrackKey, f32)]) {
        self.with_room(
            |room| room.key == key,
            |room| {
                let heard: Vec<Speaker> = levels
                    .iter()
                    .filter_map(|&(track, level)| {
                        let (member, _) = room.track_by_key(track)?;
                        Some(Speaker { participant_id: member.id, level })
                    })
                    .collect();
                // Who spoke last stays the dominant speaker through a pause.
                if let Some(loudest) = heard.first() {
                    room.dominant = Some(loudest.participant_id);
                }
                let dominant = room.dominant;
                room.notify(&self.delivery, None, |stamp| {
                    Event::RoomSpeakers(RoomSpeakers { stamp, speakers: heard.clone(), dominant })
                });
            },
        );
    }
}
