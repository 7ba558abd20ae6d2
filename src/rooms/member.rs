//! Somebody in a room, with the events that are kept in case its connection is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use switchboard_media::{PeerKey, TrackKey};

use super::connection::PeerConnection;
use super::effect::Effect;
use super::replay::{Replay, RoomReplay};
use super::track::Published;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{Connectivity, Participant, Permissions, RoomEvent, Stamp};
use crate::ids::{ParticipantId, RoomSessionId, SessionId, TrackId, UserId};
use crate::ledger;
use crate::recorder::Publisher;
use crate::store::TokenHash;

/// How somebody came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// By Socket.IO; its connection, as long as it is there.
    Socket(Option<SessionId>),
    Whip,
    Whep,
}

/// By what somebody was let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Right {
    /// The room is open to the account.
    Invited,
    /// A room token.
    Token(TokenHash),
    /// Operators may enter everywhere.
    Operator,
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
    /// The name was given by a token.
    pub(super) named: bool,
    pub(super) at: Timestamp,
    pub(super) right: Right,
    /// What it takes of what its account or token may hold.
    pub(super) place: Option<ledger::Entry>,
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
    /// The name was given by a token.
    pub(super) named: bool,
    pub(super) joined_at: Timestamp,
    pub(super) right: Right,
    /// Held, and given back with the member.
    #[allow(dead_code)]
    pub(super) place: Option<ledger::Entry>,
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
            named: admission.named,
            joined_at: at,
            right: admission.right,
            place: admission.place,
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
        self.replay.seq()
    }

    /// Sends this participant the event that was kept last, and keeps it in case the connection is lost.
    pub(super) fn notify(
        &mut self,
        event: &Arc<RoomEvent>,
        kept: &RoomReplay,
        effects: &mut Vec<Effect>,
    ) {
        let Entry::Socket(socket) = self.entry else { return };
        let seq = self.replay.push(event, kept);
        if socket.is_some() {
            effects.push(Effect::Notify { session: self.session, seq, event: Arc::clone(event) });
        }
    }

    /// [`Self::notify`] for an event that nobody else gets.
    pub(super) fn notify_alone(
        &mut self,
        event: impl FnOnce(Stamp) -> Event,
        kept: &mut RoomReplay,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.entry, Entry::Socket(_)) {
            let event = Arc::new(RoomEvent::new(event));
            kept.push(&event);
            self.notify(&event, kept, effects);
        }
    }

    /// Sends once more what came after `last`; false when not all of it is kept.
    pub(super) fn resend(&self, last: u64, effects: &mut Vec<Effect>) -> bool {
        let session = self.session;
        let Some(missed) = self.replay.after(last) else { return false };
        effects.extend(missed.map(|(seq, event)| {
            let event = Arc::clone(event);
            Effect::Notify { session, seq, event }
        }));
        true
    }

    /// Forgets what is kept for it and no longer for the room.
    pub(super) fn forget(&mut self, kept: &RoomReplay) {
        self.replay.forget(kept);
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

    /// Whether media has flowed.
    pub(super) fn is_connected(&self) -> bool {
        self.connections().any(|connection| connection.connected)
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
        self.replay.bytes()
    }
}
