//! A room and who is in it, as plain state: who is told what, and in which order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use switchboard_media::negotiation::Connection;
use switchboard_media::{Codec, Format, Kind, PeerKey, RoomKey, TrackKey};
use tracing::Span;

use crate::clock::Timestamp;
use crate::delivery::{Delivery, To};
use crate::event::Event;
use crate::event::room::{
    Participant as Shown, Permissions, Reached, Room as ShownRoom, Stamp, Track as ShownTrack,
    TrackKind, TrackLayer, TrackSource,
};
use crate::ids::{ParticipantId, RoomId, RoomSessionId, SessionId, TrackId, UserId};
use crate::incall::Present;

/// Events that are kept for a session that was lost.
const REPLAY: usize = 500;

/// One peer connection of a participant.
pub(super) struct Link {
    pub(super) peer: PeerKey,
    pub(super) connection: Connection,
    /// The last offer, and whether it was answered.
    pub(super) rev: u64,
    pub(super) answered: bool,
    /// Something has changed since the last offer.
    pub(super) stale: bool,
    /// The worker knows of it.
    pub(super) set_up: bool,
    pub(super) connected: bool,
    /// What each section shows.
    pub(super) shows: Shows,
    /// Tracks that it wants and that none of its sections takes, as it was notified.
    pub(super) unplayable: HashSet<TrackId>,
    /// Tracks that are decided about when the last offer is answered.
    pub(super) pending: HashSet<TrackId>,
    /// What is logged of it.
    pub(super) span: Span,
}

impl Link {
    /// A connection of `member` that nothing is agreed on for; `side` is `publish` or `subscribe`.
    pub(super) fn new(
        peer: PeerKey,
        connection: Connection,
        room: &RoomId,
        member: ParticipantId,
        side: &'static str,
    ) -> Self {
        Self {
            peer,
            connection,
            rev: 0,
            answered: true,
            stale: false,
            set_up: false,
            connected: false,
            shows: Shows::default(),
            unplayable: HashSet::new(),
            pending: HashSet::new(),
            span: tracing::info_span!("peer", %room, participant = %member, side),
        }
    }

    /// Has what can be received offered once more, whatever became of the last offer.
    pub(super) fn offer_again(&mut self) {
        (self.stale, self.answered) = (true, true);
    }
}

/// Which section shows which track, to be looked up by either.
#[derive(Default)]
pub(super) struct Shows {
    tracks: HashMap<String, TrackId>,
    sections: HashMap<TrackId, String>,
}

impl Shows {
    pub(super) fn track(&self, mid: &str) -> Option<TrackId> {
        self.tracks.get(mid).copied()
    }

    pub(super) fn section(&self, track: TrackId) -> Option<&str> {
        self.sections.get(&track).map(String::as_str)
    }

    pub(super) fn insert(&mut self, mid: String, track: TrackId) {
        if let Some(before) = self.tracks.insert(mid.clone(), track) {
            self.sections.remove(&before);
        }
        self.sections.insert(track, mid);
    }

    pub(super) fn remove(&mut self, track: TrackId) {
        if let Some(mid) = self.sections.remove(&track) {
            self.tracks.remove(&mid);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, TrackId)> {
        self.tracks.iter().map(|(mid, track)| (mid.as_str(), *track))
    }
}

/// A track as those see it who may receive it.
#[derive(Clone, Copy)]
pub(super) struct Offer {
    pub(super) id: TrackId,
    pub(super) key: TrackKey,
    pub(super) owner: ParticipantId,
    pub(super) format: Format,
    /// Since when nothing of it arrives.
    pub(super) quiet_since: Option<Timestamp>,
}

/// A track that somebody publishes.
pub(super) struct Published {
    pub(super) id: TrackId,
    pub(super) key: TrackKey,
    pub(super) mid: String,
    pub(super) format: Format,
    pub(super) source: TrackSource,
    pub(super) name: Option<String>,
    /// By its publisher, and by a moderator.
    pub(super) muted: bool,
    /// Its section is inactive: it goes on as the same track, and is shown as muted until then.
    pub(super) held: bool,
    /// Since when nothing of it arrives.
    pub(super) quiet_since: Option<Timestamp>,
    pub(super) layers: Vec<TrackLayer>,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    /// By Socket.IO; its session, as long as it is there.
    Socket(Option<SessionId>),
    Whip,
    Whep,
}

/// Somebody in the room.
pub(super) struct Member {
    pub(super) id: ParticipantId,
    pub(super) session: RoomSessionId,
    pub(super) secret: String,
    pub(super) door: Door,
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) joined_at: Timestamp,
    pub(super) permissions: Permissions,
    pub(super) moderator: bool,
    pub(super) hand_raised: bool,
    pub(super) metadata: Option<Value>,
    pub(super) auto_subscribe: bool,
    /// Tracks that it asked for, or not to have.
    choices: HashMap<TrackId, bool>,
    /// A WHEP viewer of one participant.
    pub(super) only: Option<ParticipantId>,
    pub(super) publish: Option<Link>,
    pub(super) subscribe: Option<Link>,
    pub(super) tracks: Vec<Published>,
    /// Since when its session is lost.
    pub(super) lost: Option<Timestamp>,
    pub(super) waiting: bool,
    /// Where the room is that of a call.
    pub(super) in_call: Option<Present>,
    seq: u64,
    told: VecDeque<(u64, Event)>,
}

/// What is known of somebody who comes.
pub(super) struct Newcomer {
    pub(super) id: ParticipantId,
    pub(super) session: RoomSessionId,
    pub(super) secret: String,
    pub(super) door: Door,
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) at: Timestamp,
    pub(super) permissions: Permissions,
    pub(super) moderator: bool,
    pub(super) auto_subscribe: bool,
    pub(super) metadata: Option<Value>,
}

impl Member {
    pub(super) fn new(newcomer: Newcomer) -> Self {
        let Newcomer { id, session, secret, door, user, name, at, .. } = newcomer;
        Self {
            id,
            session,
            secret,
            door,
            user,
            name,
            joined_at: at,
            permissions: newcomer.permissions,
            moderator: newcomer.moderator,
            hand_raised: false,
            metadata: newcomer.metadata,
            auto_subscribe: newcomer.auto_subscribe,
            choices: HashMap::new(),
            only: None,
            publish: None,
            subscribe: None,
            tracks: Vec::new(),
            lost: None,
            waiting: false,
            in_call: None,
            seq: 0,
            told: VecDeque::new(),
        }
    }

    /// The number of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Tells this participant something.
    pub(super) fn notify(&mut self, delivery: &Delivery, event: impl FnOnce(Stamp) -> Event) {
        let Door::Socket(socket) = self.door else { return };
        self.seq += 1;
        let event = event(Stamp { seq: self.seq, session_id: self.session });
        if let Some(socket) = socket {
            send(delivery, self.user, socket, &event);
        }
        if self.told.len() == REPLAY {
            self.told.pop_front();
        }
        self.told.push_back((self.seq, event));
    }

    /// Sends what was told since `last` once more; false when not all of it is kept.
    pub(super) fn replay(&self, delivery: &Delivery, last: u64) -> bool {
        let Door::Socket(Some(socket)) = self.door else { return true };
        let kept = self.told.front().map_or(self.seq, |(seq, _)| seq - 1);
        if last < kept {
            return false;
        }
        for (_, event) in self.told.iter().filter(|(seq, _)| *seq > last) {
            send(delivery, self.user, socket, event);
        }
        true
    }

    pub(super) fn shown(&self) -> Shown {
        let connected = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.connected);
        let connection = match () {
            () if self.lost.is_some() => Reached::Reconnecting,
            () if connected(&self.publish) || connected(&self.subscribe) => Reached::Connected,
            () => Reached::New,
        };
        Shown {
            participant_id: self.id,
            user_id: Some(self.user).filter(|user| !user.is_guest()),
            name: self.name.clone(),
            joined_at: self.joined_at,
            tracks: self.tracks.iter().map(|track| track.shown(self.id)).collect(),
            permissions: self.permissions.clone(),
            moderator: self.moderator,
            hand_raised: self.hand_raised,
            connection,
            metadata: self.metadata.clone(),
        }
    }

    /// Whether it wants a track.
    pub(super) fn chosen(&self, track: TrackId) -> bool {
        self.choices.get(&track).copied().unwrap_or(self.auto_subscribe)
    }

    /// Notes whether it wants a track.
    pub(super) fn choose(&mut self, track: TrackId, wanted: bool) {
        self.choices.insert(track, wanted);
    }

    /// What it was notified of, for tests.
    #[cfg(test)]
    pub(super) fn notified(&self) -> impl Iterator<Item = &Event> {
        self.told.iter().map(|(_, event)| event)
    }

    pub(super) fn track(&self, id: TrackId) -> Option<&Published> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub(super) fn link_of(&mut self, peer: PeerKey) -> Option<&mut Link> {
        let links = [self.publish.as_mut(), self.subscribe.as_mut()];
        links.into_iter().flatten().find(|link| link.peer == peer)
    }
}

fn send(delivery: &Delivery, user: UserId, socket: SessionId, event: &Event) {
    delivery.send(To::Session(user, socket), event);
}

impl Published {
    /// Whether nothing of it is to be expected.
    pub(super) fn silent(&self) -> bool {
        self.muted || self.held
    }

    pub(super) fn kind(&self) -> Kind {
        self.format.codec.kind()
    }

    pub(super) fn shown(&self, owner: ParticipantId) -> ShownTrack {
        ShownTrack {
            track_id: self.id,
            participant_id: owner,
            kind: match self.kind() {
                Kind::Audio => TrackKind::Audio,
                Kind::Video => TrackKind::Video,
            },
            source: self.source,
            name: self.name.clone(),
            muted: self.silent(),
            codec: self.format.codec.name(),
            layers: self.layers.clone(),
        }
    }
}

/// A right to come in, given out by the owner.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) token: String,
    pub(super) user: Option<UserId>,
    pub(super) name: Option<String>,
    pub(super) permissions: Permissions,
    pub(super) moderator: bool,
    pub(super) until: Timestamp,
}

/// A room.
pub(super) struct Room {
    pub(super) id: RoomId,
    pub(super) key: RoomKey,
    pub(super) name: Option<String>,
    pub(super) owner: Option<UserId>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) locked: bool,
    pub(super) lobby: bool,
    pub(super) most: usize,
    pub(super) codecs: Vec<Codec>,
    /// Who may come in without a pass: everybody, or the people of a call.
    pub(super) invited: Option<Vec<UserId>>,
    pub(super) passes: Vec<Pass>,
    pub(super) members: Vec<Member>,
    /// The tracks of all members.
    pub(super) offers: HashMap<TrackId, Offer>,
    pub(super) dominant: Option<ParticipantId>,
    pub(super) spotlight: Option<ParticipantId>,
    /// Since when nobody is there.
    pub(super) empty_since: Option<Timestamp>,
}

impl Room {
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
            participants: self.present().count(),
            tracks: self.offers.len(),
            codecs: self.codecs.iter().map(|codec| codec.name()).collect(),
            spotlight: self
                .spotlight
                .filter(|&who| self.members.iter().any(|member| member.id == who)),
        }
    }

    /// Who is in, and not in the lobby.
    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.waiting)
    }

    pub(super) fn by_session(&mut self, session: RoomSessionId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.session == session)
    }

    pub(super) fn by_id(&mut self, id: ParticipantId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Tells everybody but one.
    pub(super) fn notify(
        &mut self,
        delivery: &Delivery,
        but: Option<ParticipantId>,
        event: impl Fn(Stamp) -> Event,
    ) {
        let hearing =
            self.members.iter_mut().filter(|member| !member.waiting && Some(member.id) != but);
        hearing.for_each(|member| member.notify(delivery, &event));
    }

    /// The track of this name with its owner.
    pub(super) fn track(&self, id: TrackId) -> Option<(&Member, &Published)> {
        let owner = self.offers.get(&id)?.owner;
        let member = self.members.iter().find(|member| member.id == owner)?;
        Some((member, member.track(id)?))
    }

    /// Notes what a member publishes now; `gone` is what it published before and does no longer.
    pub(super) fn note_tracks(&mut self, owner: ParticipantId, gone: &[TrackId]) {
        for id in gone {
            self.offers.remove(id);
        }
        let Some(member) = self.members.iter().find(|member| member.id == owner) else { return };
        self.offers.extend(member.tracks.iter().map(|track| {
            let Published { id, key, format, quiet_since, .. } = *track;
            (id, Offer { id, key, owner, format, quiet_since })
        }));
    }

    /// The track of this key with its owner.
    pub(super) fn track_by_key(&self, key: TrackKey) -> Option<(&Member, &Published)> {
        self.members
            .iter()
            .find_map(|member| Some((member, member.tracks.iter().find(|track| track.key == key)?)))
    }
}

/// Where a session is found: shared by all that answer for rooms.
pub(super) type Outboxes = Arc<Delivery>;
