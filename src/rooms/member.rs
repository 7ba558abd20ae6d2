//! Somebody in a room, with the events that are kept in case its connection is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use switchboard_media::{PeerKey, TrackKey};

use super::connection::PeerConnection;
use super::effect::Effect;
use super::right::Right;
use super::track::Published;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{Connectivity, Participant, Permissions, RoomEvent, Stamp};
use crate::ids::{ParticipantId, RoomSessionId, SessionId, TrackId, UserId};
use crate::recorder::Publisher;

/// Events that are kept for a session that was lost.
const REPLAY: usize = 500;

/// How somebody came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// By Socket.IO; its connection, as long as it is there.
    Socket(Option<SessionId>),
    Whip,
    Whep,
}

/// A user in a session of a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) user: UserId,
    pub(super) session: RoomSessionId,
}

/// What is to be decided about what a member receives.
#[derive(Default)]
pub(super) struct Todo {
    /// Whether the member waits in the room's queue.
    pub(super) queued: bool,
    /// These tracks are there now, are gone, are coded otherwise, or the member wants something else of them.
    pub(super) tracks: BTreeSet<TrackId>,
    /// Everything that its connection shows: it has agreed on something, or begins anew.
    pub(super) agreed: bool,
    /// Everything that it may receive.
    pub(super) all: bool,
}

/// What is known of somebody who comes.
pub(super) struct Admission {
    pub(super) id: ParticipantId,
    pub(super) session: RoomSessionId,
    pub(super) secret: String,
    pub(super) entry: Entry,
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) at: Timestamp,
    pub(super) right: Right,
    pub(super) until: Option<Timestamp>,
    pub(super) operator: bool,
    pub(super) permissions: Permissions,
    /// Moderates even where it is no operator.
    pub(super) granted: bool,
    pub(super) auto_subscribe: bool,
    pub(super) metadata: Option<Value>,
}

/// See the module.
pub(super) struct Member {
    pub(super) id: ParticipantId,
    pub(super) session: RoomSessionId,
    pub(super) secret: String,
    pub(super) entry: Entry,
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) joined_at: Timestamp,
    pub(super) right: Right,
    /// When its right ends.
    pub(super) until: Option<Timestamp>,
    pub(super) operator: bool,
    pub(super) permissions: Permissions,
    granted: bool,
    pub(super) moderator: bool,
    pub(super) hand_raised: bool,
    pub(super) metadata: Option<Value>,
    pub(super) auto_subscribe: bool,
    /// Tracks that it asked for, or not to have.
    choices: BTreeMap<TrackId, bool>,
    /// A WHEP viewer of one participant.
    pub(super) only: Option<ParticipantId>,
    pub(super) publish: Option<PeerConnection>,
    pub(super) subscribe: Option<PeerConnection>,
    pub(super) tracks: Vec<Published>,
    /// Tracks that were unpublished by name although their sections go on.
    pub(super) ended: Vec<TrackKey>,
    /// Since when its socket is lost.
    pub(super) lost: Option<Timestamp>,
    /// In the lobby.
    pub(super) waiting: bool,
    /// What is to be decided about what it receives.
    pub(super) todo: Todo,
    replay: Replay,
}

impl Member {
    pub(super) fn new(admission: Admission) -> Self {
        let Admission { id, session, secret, entry, user, name, at, .. } = admission;
        let by_socket = matches!(entry, Entry::Socket(_));
        Self {
            id,
            session,
            secret,
            entry,
            user,
            name,
            joined_at: at,
            right: admission.right,
            until: admission.until,
            operator: admission.operator,
            permissions: admission.permissions,
            granted: admission.granted,
            moderator: admission.granted || (admission.operator && by_socket),
            hand_raised: false,
            metadata: admission.metadata,
            auto_subscribe: admission.auto_subscribe,
            choices: BTreeMap::new(),
            only: None,
            publish: None,
            subscribe: None,
            tracks: Vec::new(),
            ended: Vec::new(),
            lost: None,
            waiting: false,
            todo: Todo::default(),
            replay: Replay::default(),
        }
    }

    /// Whether it moderates, as an operator or not.
    pub(super) fn may_moderate(&self, operator: bool) -> bool {
        self.granted || (operator && matches!(self.entry, Entry::Socket(_)))
    }

    /// Makes it a moderator, or nobody in particular, whatever else it is.
    pub(super) fn set_moderator(&mut self, moderator: bool) {
        (self.granted, self.moderator) = (moderator, moderator);
    }

    /// The number of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.replay.seq
    }

    /// Sends this participant an event, and keeps it within `bytes` in case the connection is lost.
    pub(super) fn notify(
        &mut self,
        event: &Arc<RoomEvent>,
        bytes: usize,
        effects: &mut Vec<Effect>,
    ) {
        let Entry::Socket(socket) = self.entry else { return };
        let seq = self.replay.push(event, bytes);
        if socket.is_some() {
            effects.push(Effect::Notify { session: self.session, seq, event: Arc::clone(event) });
        }
    }

    /// [`Self::notify`] for an event that nobody else gets.
    pub(super) fn notify_alone(
        &mut self,
        event: impl FnOnce(Stamp) -> Event,
        bytes: usize,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.entry, Entry::Socket(_)) {
            self.notify(&Arc::new(RoomEvent::new(event)), bytes, effects);
        }
    }

    /// Sends once more what came after `last`; false when not all of it is kept.
    pub(super) fn resend(&self, last: u64, effects: &mut Vec<Effect>) -> bool {
        let session = self.session;
        let Some(missed) = self.replay.after(last) else { return false };
        effects.extend(missed.map(|(seq, event)| {
            let event = Arc::clone(event);
            Effect::Notify { session, seq: *seq, event }
        }));
        true
    }

    pub(super) fn shown(&self) -> Participant {
        let connected = |it: &Option<PeerConnection>| {
            it.as_ref().is_some_and(|connection| connection.connected)
        };
        let connection = match () {
            () if self.lost.is_some() => Connectivity::Reconnecting,
            () if connected(&self.publish) || connected(&self.subscribe) => Connectivity::Connected,
            () => Connectivity::New,
        };
        Participant {
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

    /// As the recorder knows it.
    pub(super) fn publisher(&self) -> Publisher {
        Publisher { who: self.id.to_string(), user: self.user, name: Some(self.name.clone()) }
    }

    /// Whether it wants a track.
    pub(super) fn wants(&self, track: TrackId) -> bool {
        self.choices.get(&track).copied().unwrap_or(self.auto_subscribe)
    }

    /// Notes whether it wants a track.
    pub(super) fn choose(&mut self, track: TrackId, wanted: bool) {
        self.choices.insert(track, wanted);
    }

    /// Forgets what it wanted of a track that is gone.
    pub(super) fn forget_choice(&mut self, track: TrackId) {
        self.choices.remove(&track);
    }

    pub(super) fn track(&self, id: TrackId) -> Option<&Published> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = &PeerConnection> {
        [&self.publish, &self.subscribe].into_iter().flatten()
    }

    pub(super) fn connection_of(&mut self, peer: PeerKey) -> Option<&mut PeerConnection> {
        let connections = [self.publish.as_mut(), self.subscribe.as_mut()];
        connections.into_iter().flatten().find(|connection| connection.peer == peer)
    }

    /// Bytes of the events that are kept for it.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.replay.bytes
    }
}

/// The last events of a session. They are shared with everybody who got the same.
#[derive(Default)]
struct Replay {
    seq: u64,
    events: VecDeque<(u64, Arc<RoomEvent>)>,
    bytes: usize,
}

impl Replay {
    fn push(&mut self, event: &Arc<RoomEvent>, most: usize) -> u64 {
        self.seq += 1;
        self.bytes += event.bytes();
        self.events.push_back((self.seq, Arc::clone(event)));
        while self.events.len() > REPLAY || self.bytes > most {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        self.seq
    }

    /// What came after `last`; `None` when not all of it is kept.
    fn after(&self, last: u64) -> Option<impl Iterator<Item = &(u64, Arc<RoomEvent>)>> {
        let kept = self.events.front().map_or(self.seq, |(seq, _)| seq - 1);
        (last >= kept).then(|| self.events.iter().filter(move |(seq, _)| *seq > last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::room::{RoomData, RoomHand};

    fn data(bytes: usize) -> Arc<RoomEvent> {
        let participant_id = ParticipantId::new(uuid::Uuid::nil());
        let (topic, payload) = (String::new(), Value::String("x".repeat(bytes)));
        Arc::new(RoomEvent::new(|stamp| {
            Event::RoomData(Box::new(RoomData { stamp, participant_id, topic, payload }))
        }))
    }

    fn kept(replay: &Replay, last: u64) -> Option<Vec<u64>> {
        replay.after(last).map(|events| events.map(|(seq, _)| *seq).collect())
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_events() {
        let mut replay = Replay::default();
        for _ in 0..40 {
            replay.push(&data(10_000), 100_000);
            assert!(replay.bytes <= 100_000);
        }
        assert_eq!(replay.events.len(), 9);
        assert_eq!(kept(&replay, 38), Some(vec![39, 40]));
        assert_eq!(kept(&replay, 31), Some((32..=40).collect()));
        assert_eq!(kept(&replay, 30), None, "the 31st is gone");
        replay.push(&data(200_000), 100_000);
        assert_eq!(
            (replay.bytes, replay.events.len()),
            (0, 0),
            "one that is too large is not kept"
        );
        assert_eq!((kept(&replay, 41), kept(&replay, 40)), (Some(vec![]), None));

        let participant_id = ParticipantId::new(uuid::Uuid::nil());
        let small = |stamp| Event::RoomHand(RoomHand { stamp, participant_id, raised: true });
        let small = Arc::new(RoomEvent::new(small));
        for _ in 0..600 {
            replay.push(&small, 100_000);
        }
        assert_eq!(replay.events.len(), REPLAY);
        let bytes: usize = replay.events.iter().map(|(_, event)| event.bytes()).sum();
        assert_eq!(replay.bytes, bytes);
    }
}
