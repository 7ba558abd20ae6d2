//! Notices: what happens outside a room and concerns it. Nobody waits for a reply.

use std::time::Duration;

use switchboard_media::{Command, Event as Media, Format, Gone, PeerKey, TrackKey};

use super::effect::{Effect, Name};
use super::machine::Room;
use super::member::{Entry, Member};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::recording::ActiveRecording;
use crate::event::room::{
    FlowReason, LayerReason, LeaveReason, RoomDrain, RoomLayerChanged, RoomPublishLayers,
    RoomRecording, RoomSpeakers, RoomTrackFlow, Speaker, WantedLayer,
};
use crate::ids::{ParticipantId, RecordingId, SessionId, UserId};
use crate::store::TokenHash;

/// How long nothing has come of a track when the SFU says so.
const NOTICED: Duration = Duration::from_millis(1500);

/// See the module.
#[derive(Debug)]
pub(super) enum Notice {
    /// What the SFU reports.
    Media(Media),
    /// A socket is gone.
    Lost(SessionId),
    /// A recording of the room has begun or ended.
    Recording { id: RecordingId, state: &'static str, active: Option<ActiveRecording> },
    /// An account may be in no room any more.
    EndUser(UserId, LeaveReason),
    /// What came by this socket may be in no room any more.
    EndSocket(SessionId, LeaveReason),
    /// Whether an account is an operator's.
    Role(UserId, bool),
    /// A room token is good no longer.
    EndToken(TokenHash),
    /// The server goes down at this moment.
    Drain(Timestamp),
    /// Has the task panic.
    #[cfg(test)]
    Panic,
}

impl Room {
    /// Takes a notice.
    pub(super) fn note(&mut self, notice: Notice, now: Timestamp) {
        match notice {
            Notice::Media(event) => self.follow(event, now),
            Notice::Lost(socket) => self.lose(socket, now),
            Notice::Recording { id: recording_id, state, active } => {
                let (mode, by) = (active.as_ref().map(|it| it.mode), active.and_then(|it| it.by));
                self.notify(None, |stamp| {
                    Event::RoomRecording(RoomRecording { stamp, recording_id, state, mode, by })
                });
            }
            Notice::EndUser(user, reason) => self.end_user(user, reason, now),
            Notice::EndSocket(socket, reason) => self.end_socket(socket, reason, now),
            Notice::Role(user, operator) => self.set_role(user, operator, now),
            Notice::EndToken(hash) => self.end_token(hash, now),
            Notice::Drain(deadline) => {
                self.notify(None, |stamp| Event::RoomDrain(RoomDrain { stamp, deadline }));
            }
            #[cfg(test)]
            Notice::Panic => panic!("a test asked for it"),
        }
    }

    fn follow(&mut self, event: Media, now: Timestamp) {
        match event {
            Media::Connected { peer, after_ms } => self.connected(peer, after_ms, now),
            Media::Gone { peer, reason } => self.gone(peer, reason, now),
            Media::Sent { track, layers } => self.sent(track, &layers, now),
            Media::Wanted { track, layers } => self.wanted(track, layers),
            // Nobody judges them yet.
            Media::Stats(_) => {}
            Media::Coded { track, format } => self.coded(track, format),
            Media::Switched { peer, track, layer } => self.switched(peer, track, layer),
            Media::Paused { peer, track, paused } => self.paused(peer, track, paused),
            Media::Speakers { levels, .. } => self.speak(&levels),
        }
    }

    /// Where the track of this key is: its owner among the members, and its place among the owner's.
    fn place(&self, key: TrackKey) -> Option<(usize, usize)> {
        self.members.iter().enumerate().find_map(|(member, it)| {
            Some((member, it.tracks.iter().position(|track| track.key == key)?))
        })
    }

    fn member_of(&mut self, peer: PeerKey) -> Option<&mut Member> {
        self.members.iter_mut().find_map(|member| {
            member.connection_of(peer)?;
            Some(member)
        })
    }

    fn connected(&mut self, peer: PeerKey, after_ms: u32, now: Timestamp) {
        let Some(member) = self.member_of(peer) else { return };
        let (id, before) = (member.id, member.shown().connection);
        if let Some(connection) = member.connection_of(peer) {
            connection.connected = true;
            tracing::info!(parent: &connection.span, after_ms, "media flows");
        }
        // Of those who offered at the same time not all may find a place.
        let entry = member.entry;
        if entry == Entry::Whep && self.watching() > self.rules.max_viewers {
            return self.remove(id, LeaveReason::Refused, now);
        }
        let Ok(member) = self.member(id) else { return };
        if member.shown().connection != before {
            self.announce_change(id);
        }
    }

    /// A peer connection is over. Who came by WHIP or WHEP leaves with it; a client makes a new one.
    fn gone(&mut self, peer: PeerKey, reason: Gone, now: Timestamp) {
        let Some(member) = self.member_of(peer) else { return };
        let (id, entry) = (member.id, member.entry);
        if let Some(connection) = member.connection_of(peer) {
            tracing::info!(parent: &connection.span, ?reason, "media ended");
        }
        if entry == Entry::Whip || entry == Entry::Whep {
            return self.remove(id, LeaveReason::Network, now);
        }
        let publishes = member.publish.as_ref().is_some_and(|it| it.peer == peer);
        let mut gone = Vec::new();
        if publishes {
            member.publish = None;
            member.ended.clear();
            gone.extend(member.tracks.drain(..).map(|track| track.id));
        } else {
            member.subscribe = None;
        }
        // The worker has forgotten it; where it was is to be forgotten as well.
        self.effects.push(Effect::Forget(Name::Peer(peer)));
        self.media(Command::Close { peer });
        if publishes {
            self.unlist_tracks(id, &gone);
            self.record_tracks(id);
            self.reconcile_all(&gone);
        } else {
            self.reconcile_member(id);
        }
    }

    fn sent(&mut self, key: TrackKey, layers: &[bool], now: Timestamp) {
        let Some((member, track)) = self.place(key) else { return };
        let Some(track) = self.members.get_mut(member).and_then(|it| it.tracks.get_mut(track))
        else {
            return;
        };
        let flows = layers.contains(&true);
        let began = flows && track.quiet_since.is_some();
        track.quiet_since = if flows { None } else { Some(now.before(NOTICED)) };
        if let Some(listed) = self.tracks.get_mut(&track.id) {
            listed.quiet_since = track.quiet_since;
        }
        // A browser makes fewer layers of a small picture than it was asked to.
        let sent = layers.iter().copied().chain(std::iter::repeat(false));
        track.layers.iter_mut().zip(sent).for_each(|(layer, sent)| layer.active = sent);
        // It may have the section of one that is silent.
        if began && self.tracks.values().any(|track| track.is_quiet(now)) {
            self.refill();
        }
    }

    fn wanted(&mut self, key: TrackKey, layers: Vec<bool>) {
        let Some((member, track)) = self.place(key) else { return };
        let Some(member) = self.members.get(member) else { return };
        let Some(track) = member.tracks.get(track) else { return };
        let wanted = track.layers.iter().zip(layers);
        let wanted = wanted.map(|(layer, active)| WantedLayer { rid: layer.rid.clone(), active });
        let (id, track_id, layers) = (member.id, track.id, wanted.collect());
        self.notify_member(id, |stamp| {
            Event::RoomPublishLayers(RoomPublishLayers { stamp, track_id, layers })
        });
    }

    /// A track is coded otherwise from now on: who does not take that is notified, who takes it now gets it.
    fn coded(&mut self, key: TrackKey, format: Format) {
        let Some((member, track)) = self.place(key) else { return };
        let Some(member) = self.members.get_mut(member) else { return };
        let (owner, Some(track)) = (member.id, member.tracks.get_mut(track)) else { return };
        if track.format == format {
            return;
        }
        track.format = format;
        let id = track.id;
        self.list_tracks(owner);
        self.record_tracks(owner);
        self.reconcile_all(&[id]);
    }

    fn switched(&mut self, peer: PeerKey, key: TrackKey, layer: u8) {
        let Some((member, track)) = self.place(key) else { return };
        let track = self.members.get(member).and_then(|it| it.tracks.get(track));
        let Some(track) = track else { return };
        let Some(layer) = track.layers.get(usize::from(layer)).cloned() else { return };
        let track_id = track.id;
        let inactive = |rid: &String| track.layers.iter().any(|it| it.rid == *rid && !it.active);
        let is_inactive: Vec<_> =
            track.layers.iter().map(|layer| layer.rid.clone()).filter(inactive).collect();
        let Some(member) = self.member_of(peer) else { return };
        let id = member.id;
        let Some(connection) = member.connection_of(peer) else { return };
        let requested = connection.requested.remove(&track_id);
        let before = connection.current.insert(track_id, layer.rid.clone());
        let reason = match before {
            _ if requested => LayerReason::Requested,
            Some(before) if is_inactive.contains(&before) => LayerReason::Publisher,
            _ => LayerReason::Bandwidth,
        };
        let (rid, width, height) = (layer.rid, layer.width, layer.height);
        self.notify_member(id, |stamp| {
            let changed = RoomLayerChanged { stamp, track_id, rid, width, height, reason };
            Event::RoomLayerChanged(changed)
        });
    }

    fn paused(&mut self, peer: PeerKey, key: TrackKey, paused: bool) {
        let Some((owner, track)) = self.place(key) else { return };
        let track = self.members.get(owner).and_then(|it| it.tracks.get(track));
        let Some(track_id) = track.map(|track| track.id) else { return };
        let Some(member) = self.member_of(peer) else { return };
        let id = member.id;
        if let Some(connection) = member.connection_of(peer).filter(|_| paused) {
            connection.current.remove(&track_id);
        }
        self.notify_member(id, |stamp| {
            let flow = RoomTrackFlow { stamp, track_id, reason: FlowReason::Bandwidth };
            if paused { Event::RoomTrackPaused(flow) } else { Event::RoomTrackResumed(flow) }
        });
    }

    fn speak(&mut self, levels: &[(TrackKey, f32)]) {
        let owner = |key| -> Option<ParticipantId> {
            let (member, _) = self.place(key)?;
            self.members.get(member).map(|member| member.id)
        };
        let speakers = levels.iter().filter_map(|&(track, level)| {
            owner(track).map(|participant_id| Speaker { participant_id, level })
        });
        let speakers: Vec<Speaker> = speakers.collect();
        // Who spoke last stays the dominant speaker through a pause.
        if let Some(loudest) = speakers.first() {
            self.dominant = Some(loudest.participant_id);
        }
        let dominant = self.dominant;
        self.notify(None, |stamp| Event::RoomSpeakers(RoomSpeakers { stamp, speakers, dominant }));
    }
}
