//! A room as a machine: commands and notices go in, effects and a deadline come out. It has no lock, clock, socket, store or task.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use switchboard_media::negotiation::Endpoint;
use switchboard_media::{Codec, Command, Kind, RoomKey};

use super::connection::PeerConnection;
use super::effect::{Effect, Name, Record};
use super::member::{Caller, Entry, Member};
use super::pace::{Paces, Sent};
use super::replay::RoomReplay;
use super::track::{Listed, Published, QUIET};
use super::{Result, RoomError};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{
    Ban, LeaveReason, Room as ShownRoom, RoomCloseReason, RoomClosed, RoomEvent, RoomParticipant,
    RoomTrackUnpublished, TrackSource,
};
use crate::fact::FactKind;
use crate::ids::{ParticipantId, RoomId, TrackId, UserId};
use crate::ledger;
use crate::recorder::Part;
use crate::store::RoomTokenRecord;

/// How long a lost session is waited for.
pub(super) const LOST: Duration = Duration::from_secs(30);
/// How long an empty room stays.
pub(super) const EMPTY: Duration = Duration::from_secs(30);
/// How long a room stays that nobody has entered yet.
pub(super) const UNUSED: Duration = Duration::from_secs(600);

/// What holds for all rooms.
pub(super) struct Rules {
    /// What this process shows to every client.
    pub(super) endpoint: Endpoint,
    /// Viewers by WHEP of one room.
    pub(super) max_viewers: usize,
    /// Tracks that one participant may publish.
    pub(super) tracks_per_participant: usize,
    /// Bytes of events that are kept for each participant.
    pub(super) replay_bytes: usize,
    /// The same for all participants of a room together.
    pub(super) room_replay_bytes: usize,
    /// How much participants may send to each other.
    pub(super) paces: Paces,
}

/// How a room begins.
pub(super) struct Opening {
    pub(super) id: RoomId,
    /// What it takes of what its owner may have open.
    pub(super) place: Option<ledger::Entry>,
    pub(super) key: RoomKey,
    pub(super) at: Timestamp,
    pub(super) owner: Option<UserId>,
    pub(super) invited: Option<Vec<UserId>>,
    pub(super) name: Option<String>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) lobby: bool,
    pub(super) most: usize,
    pub(super) codecs: Vec<Codec>,
    /// What was given out before the server restarted.
    pub(super) tokens: Vec<RoomTokenRecord>,
}

/// See the module.
pub(super) struct Room {
    pub(super) rules: Arc<Rules>,
    pub(super) id: RoomId,
    _place: Option<ledger::Entry>,
    pub(super) key: RoomKey,
    pub(super) name: Option<String>,
    pub(super) owner: Option<UserId>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) locked: bool,
    pub(super) lobby: bool,
    pub(super) most: usize,
    pub(super) codecs: Vec<Codec>,
    /// Who was removed and may not come back.
    pub(super) bans: Vec<Ban>,
    /// Who may come in without a token besides the owner: everybody, or these.
    pub(super) invited: Option<Vec<UserId>>,
    pub(super) tokens: Vec<RoomTokenRecord>,
    pub(super) members: Vec<Member>,
    /// The tracks of all members, in the order in which they were published.
    pub(super) tracks: BTreeMap<TrackId, Listed>,
    pub(super) dominant: Option<ParticipantId>,
    pub(super) spotlight: Option<ParticipantId>,
    /// Since when nobody is there.
    pub(super) empty_since: Option<Timestamp>,
    /// Until when the sections of silent tracks were given to others.
    pub(super) refilled: Timestamp,
    /// Members about whose reception something is to be decided, the first first.
    pub(super) queue: VecDeque<ParticipantId>,
    pub(super) effects: Vec<Effect>,
    /// What is kept for sessions that are lost.
    pub(super) kept: RoomReplay,
    /// How much each user has sent.
    pub(super) sent: Sent,
    over: bool,
    /// How often it was decided about one track for one member, and how often an event was encoded, for tests.
    #[cfg(test)]
    pub(super) decided: usize,
    #[cfg(test)]
    pub(super) encoded: usize,
}

/// What there is in a room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) participants: usize,
    pub(super) viewers: usize,
    /// Tracks that are published: of sound, of pictures.
    pub(super) published: [usize; 2],
    /// Sections that show one: of sound, of pictures.
    pub(super) shown: [usize; 2],
}

impl Room {
    /// A room with nobody in it.
    pub(super) fn new(opening: Opening, rules: Arc<Rules>) -> Self {
        let Opening { id, place, key, at, owner, invited, name, .. } = opening;
        let Opening { expires_at, lobby, most, codecs, tokens, .. } = opening;
        let created = Effect::Fact(FactKind::RoomCreated, owner, Value::Null);
        let issued = tokens.iter().map(|token| Effect::Issue(token.into()));
        let effects = [Effect::Record(Record::Open), created].into_iter().chain(issued).collect();
        let kept = RoomReplay::new(rules.replay_bytes, rules.room_replay_bytes);
        Self {
            rules,
            kept,
            sent: Sent::default(),
            id,
            _place: place,
            key,
            name,
            owner,
            created_at: at,
            expires_at,
            locked: false,
            lobby,
            most,
            codecs,
            bans: Vec::new(),
            invited,
            tokens,
            members: Vec::new(),
            tracks: BTreeMap::new(),
            dominant: None,
            spotlight: None,
            empty_since: None,
            refilled: at,
            queue: VecDeque::new(),
            effects,
            over: false,
            #[cfg(test)]
            decided: 0,
            #[cfg(test)]
            encoded: 0,
        }
    }

    /// What is to be done outside, in this order.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether nothing happens here any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let lost = self.members.iter().filter_map(|member| member.lost);
        let lost = lost.min().map(|since| since.after(LOST));
        let empty = match self.empty_since {
            Some(since) => Some(since.after(EMPTY)),
            None if self.members.is_empty() => Some(self.created_at.after(UNUSED)),
            None => None,
        };
        let quiet = self.members.iter().any(|member| member.entry == Entry::Whep).then(|| {
            let quiet = self.tracks.values().filter_map(|track| track.quiet_since);
            quiet.map(|since| since.after(QUIET)).filter(|at| *at > self.refilled).min()
        });
        let ends = [
            lost,
            empty,
            self.expires_at,
            self.first_end(),
            self.first_unconnected(),
            quiet.flatten(),
        ];
        ends.into_iter().flatten().min()
    }

    /// Ends what is over: sessions that did not come back, the room itself; gives the sections of silent tracks to those that flow.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let is_lost = |member: &&Member| member.lost.is_some_and(|since| now.since(since) >= LOST);
        let lost: Vec<_> = self.members.iter().filter(is_lost).map(|member| member.id).collect();
        lost.into_iter().for_each(|member| self.remove(member, LeaveReason::Network, now));
        self.end_rights(now);
        self.end_unconnected(now);
        let empty = match self.empty_since {
            Some(since) => now.since(since) >= EMPTY,
            None => self.members.is_empty() && now.since(self.created_at) >= UNUSED,
        };
        if empty {
            return self.close(RoomCloseReason::Empty);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return self.close(RoomCloseReason::Expired);
        }
        let became_quiet = |track: &Listed| {
            let at = track.quiet_since.map(|since| since.after(QUIET));
            at.is_some_and(|at| self.refilled < at && at <= now)
        };
        if self.tracks.values().any(became_quiet) {
            self.refill();
        }
        self.refilled = now;
    }

    pub(super) fn shown(&self) -> ShownRoom {
        ShownRoom {
            room_id: self.id.clone(),
            name: self.name.clone(),
            owner: self.owner,
            created_at: self.created_at,
            expires_at: self.expires_at,
            locked: self.locked,
            lobby: self.lobby,
            max_participants: self.most,
            participants: self.participants().count(),
            viewers: self.watching(),
            tracks: self.tracks.len(),
            codecs: self.codecs.iter().map(|codec| codec.name()).collect(),
            spotlight: self
                .spotlight
                .filter(|&who| self.members.iter().any(|member| member.id == who)),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let (participants, viewers) = (self.participants().count(), self.watching());
        let mut counts = Counts { participants, viewers, ..Counts::default() };
        let count = |[sound, pictures]: &mut [usize; 2], track: &Listed| {
            *(if track.format.codec.kind() == Kind::Audio { sound } else { pictures }) += 1;
        };
        self.tracks.values().for_each(|track| count(&mut counts.published, track));
        let connections = self.members.iter().filter_map(|member| member.subscribe.as_ref());
        let shown = connections.flat_map(|connection| connection.shows.iter());
        let shown = shown.filter_map(|(_, track)| self.tracks.get(&track));
        shown.for_each(|track| count(&mut counts.shown, track));
        counts
    }

    /// Who is in, and not in the lobby.
    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.waiting)
    }

    /// Who takes part, which is shown to everybody: viewers by WHEP are an audience.
    pub(super) fn participants(&self) -> impl Iterator<Item = &Member> {
        self.present().filter(|member| member.entry != Entry::Whep)
    }

    pub(super) fn member(&mut self, id: ParticipantId) -> Result<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id).ok_or(RoomError::NotInRoom)
    }

    /// The member whose session this is; who waits in the lobby can do nothing yet.
    pub(super) fn caller(&mut self, caller: Caller) -> Result<&mut Member> {
        let own = |it: &&mut Member| it.session == caller.session && it.user == caller.user;
        let member = self.members.iter_mut().find(own).ok_or(RoomError::NotInRoom)?;
        if member.waiting { Err(RoomError::Lobby) } else { Ok(member) }
    }

    pub(super) fn media(&mut self, command: Command) {
        self.effects.push(Effect::Media(command));
    }

    /// Notes for later that a member came in.
    pub(super) fn note_joined(&mut self, id: ParticipantId) {
        let Ok(member) = self.member(id) else { return };
        let user = member.shown().user_id;
        let data = json!({ "participantId": id });
        self.effects.push(Effect::Fact(FactKind::RoomJoined, user, data));
    }

    /// Sends the others that somebody is in now.
    pub(super) fn announce(&mut self, id: ParticipantId) {
        self.note_joined(id);
        let Ok(member) = self.member(id) else { return };
        let (user, participant) = (member.user, member.shown());
        self.effects.push(Effect::Record(Record::Enter(user)));
        self.notify(Some(id), |stamp| {
            Event::RoomJoined(Box::new(RoomParticipant { stamp, participant }))
        });
    }

    /// Sends the others how somebody is now.
    pub(super) fn announce_change(&mut self, id: ParticipantId) {
        let Some(member) = self.participants().find(|member| member.id == id) else { return };
        let participant = member.shown();
        self.notify(Some(id), |stamp| {
            Event::RoomParticipantUpdated(Box::new(RoomParticipant { stamp, participant }))
        });
    }

    /// The track of this name with its owner.
    pub(super) fn track(&self, id: TrackId) -> Option<(&Member, &Published)> {
        let owner = self.tracks.get(&id)?.owner;
        let member = self.members.iter().find(|member| member.id == owner)?;
        Some((member, member.track(id)?))
    }

    /// Lists what a member publishes now.
    pub(super) fn list_tracks(&mut self, owner: ParticipantId) {
        let Self { members, tracks, effects, .. } = self;
        let Some(member) = members.iter().find(|member| member.id == owner) else { return };
        for track in &member.tracks {
            if tracks.insert(track.id, track.listed(owner)).is_none() {
                effects.push(Effect::Register(Name::Track(track.key)));
            }
        }
    }

    /// Takes tracks off the list, and sends that to everybody but their owner.
    pub(super) fn unlist_tracks(&mut self, owner: ParticipantId, gone: &[TrackId]) {
        for &track_id in gone {
            if let Some(track) = self.tracks.remove(&track_id) {
                self.effects.push(Effect::Forget(Name::Track(track.key)));
            }
            self.members.iter_mut().for_each(|member| member.forget_choice(track_id));
            self.notify(Some(owner), |stamp| {
                let participant_id = owner;
                let gone = RoomTrackUnpublished { stamp, participant_id, track_id };
                Event::RoomTrackUnpublished(gone)
            });
        }
    }

    /// Has the recorder know what somebody sends now.
    pub(super) fn record_tracks(&mut self, id: ParticipantId) {
        let Some(member) = self.members.iter().find(|member| member.id == id) else { return };
        let screen = |source| matches!(source, TrackSource::Screen | TrackSource::ScreenAudio);
        let parts = member.tracks.iter().map(|track| Part {
            key: track.key,
            codec: track.format.codec,
            screen: screen(track.source),
        });
        let sends = Record::Sends(member.publisher(), parts.collect());
        self.effects.push(Effect::Record(sends));
    }

    /// Ends a peer connection.
    pub(super) fn hang_up(&mut self, connection: &PeerConnection) {
        self.effects.push(Effect::Forget(Name::Peer(connection.peer)));
        self.media(Command::Close { peer: connection.peer });
    }

    /// Takes somebody out of the room.
    pub(super) fn remove(&mut self, gone: ParticipantId, reason: LeaveReason, now: Timestamp) {
        let Some(place) = self.members.iter().position(|member| member.id == gone) else { return };
        let member = self.members.remove(place);
        self.sent.shrink(&self.rules.paces, now);
        self.effects.push(Effect::Leave(member.session));
        member.connections().for_each(|connection| self.hang_up(connection));
        if self.members.is_empty() {
            self.empty_since = Some(now);
        }
        if member.waiting {
            return self.notify_lobby();
        }
        let left = json!({ "participantId": gone, "reason": reason });
        self.effects.push(Effect::Fact(FactKind::RoomLeft, member.shown().user_id, left));
        let tracks: Vec<_> = member.tracks.iter().map(|track| track.id).collect();
        self.effects.push(Effect::Record(Record::Sends(member.publisher(), Vec::new())));
        if !self.members.iter().any(|other| other.user == member.user) {
            self.effects.push(Effect::Record(Record::Leave(member.user)));
        }
        self.unlist_tracks(gone, &tracks);
        if member.entry == Entry::Whep {
            return;
        }
        self.notify(None, |stamp| {
            let left = crate::event::room::RoomLeft { stamp, participant_id: gone, reason };
            Event::RoomLeft(left)
        });
        self.reconcile_all(&tracks);
    }

    /// Ends the room for everybody.
    pub(super) fn close(&mut self, reason: RoomCloseReason) {
        let Self { members, effects, kept, .. } = self;
        let closed = |stamp| Event::RoomClosed(RoomClosed { stamp, reason });
        let closed = Arc::new(RoomEvent::new(closed));
        kept.push(&closed);
        members.iter_mut().for_each(|it| it.notify(&closed, kept, effects));
        for member in std::mem::take(&mut self.members) {
            member.connections().for_each(|connection| self.hang_up(connection));
            self.effects.push(Effect::Leave(member.session));
        }
        for track in std::mem::take(&mut self.tracks).into_values() {
            self.effects.push(Effect::Forget(Name::Track(track.key)));
        }
        self.queue.clear();
        self.over = true;
        let closed = Effect::Fact(FactKind::RoomClosed, None, json!({ "reason": reason }));
        self.effects.push(closed);
        self.effects.extend((!self.tokens.is_empty()).then_some(Effect::RevokeTokens));
        self.effects.extend([Effect::Record(Record::Close), Effect::End]);
    }
}
