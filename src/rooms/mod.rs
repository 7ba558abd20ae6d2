//! Rooms: who is in, who may do what, who publishes and who receives. Media goes through the SFU; here is only what was agreed on.
//!
//! All rooms stand behind one lock that is never held across an await; a negotiation takes a fraction of a millisecond.

mod error;
mod follow;
mod guest;
mod media;
mod moderate;
mod state;
#[cfg(test)]
mod tests;
mod viewers;
mod whip;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use switchboard_media::{Codec, Command, Kind, PeerKey, RoomKey};
use utoipa::ToSchema;

pub use self::error::RoomError;
pub use self::guest::{CredentialBounds, Guest, Visitor};
pub use self::media::{LayerWish, PublishedTrack, Publishing, Subscribed, TrackOrder, Unsent};
pub use self::moderate::Moderation;
use self::state::{Door, Link, Member, Newcomer, Offer, Outboxes, Pass, Room};
pub use self::whip::{Resource, Side};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::event::Event;
use crate::event::recording::ActiveRecording;
use crate::event::room::{
    Participant, Permissions, Room as ShownRoom, RoomClosed, RoomDrain, RoomLeft, RoomLobby,
    RoomParticipant, RoomRecording, RoomState, TrackSource,
};
use crate::ids::{
    ParticipantId, RecordingId, RoomId, RoomSessionId, SessionId, Short, TrackId, UserId,
};
use crate::incall::InCall;
use crate::recorder::{Part, Publisher, Recorder};
use crate::relay::Relay;
use crate::sfu::Sfu;

type Result<T> = std::result::Result<T, RoomError>;

/// How long a lost session is waited for.
const LOST: Duration = Duration::from_secs(30);
/// How long an empty room stays.
const EMPTY: Duration = Duration::from_secs(30);
/// How long a room stays that nobody has entered yet.
const UNUSED: Duration = Duration::from_secs(600);
/// Bytes of what a participant says of itself.
const METADATA: usize = 2048;

/// See the module.
pub struct Rooms {
    clock: Clock,
    sfu: Arc<Sfu>,
    recorder: Arc<Recorder>,
    relay: Arc<Relay>,
    delivery: Outboxes,
    in_call: Arc<InCall>,
    config: config::Rooms,
    sdp_bytes: usize,
    state: Mutex<State>,
}

/// What has changed for those who receive.
#[derive(Clone, Copy)]
enum News<'a> {
    /// These tracks are there now, are gone, or are coded otherwise: for everybody.
    Tracks(&'a [TrackId]),
    /// What this member may receive, all of it.
    Member(ParticipantId),
    /// What this member wants of these tracks.
    Wishes(ParticipantId, &'a [TrackId]),
    /// What this member has agreed on.
    Answer(ParticipantId),
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomId, Room>,
    /// In which room a peer connection is.
    peers: HashMap<PeerKey, RoomId>,
    /// How often it was decided about one track for one member, for tests.
    #[cfg(test)]
    decided: usize,
}

/// How a room is to be.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Draft {
    /// Its id; made up when left out.
    pub room_id: Option<RoomId>,
    /// Its name for people.
    pub name: Option<Short<128>>,
    /// Participants at most.
    pub max_participants: Option<usize>,
    /// Whether who comes waits for a moderator.
    pub lobby: bool,
    /// Codecs that may be published, of `opus`, `vp8`, `vp9`, `h264`, `av1`.
    pub codecs: Option<Vec<String>>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What is to be otherwise.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// Whether nobody else may come in.
    pub locked: Option<bool>,
    /// Whether who comes waits for a moderator.
    pub lobby: Option<bool>,
    /// Participants at most.
    pub max_participants: Option<usize>,
    /// Its name for people.
    pub name: Option<Short<128>>,
}

/// A right to come in.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PassDraft {
    /// For this user alone.
    pub user_id: Option<UserId>,
    /// The name that is shown.
    pub name: Option<Short<120>>,
    /// Seconds, 86400 at most.
    pub ttl: Option<u64>,
    /// What its bearer may do.
    pub permissions: Permissions,
    /// Whether its bearer moderates.
    pub moderator: bool,
}

/// What there is in all rooms together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Whether media is received at all.
    pub media: bool,
    /// Rooms.
    pub rooms: usize,
    /// Participants, those who came by HTTP included.
    pub participants: usize,
    /// Tracks that are published: of sound, of pictures.
    pub published: [usize; 2],
    /// Sections that show one: of sound, of pictures.
    pub shown: [usize; 2],
}

/// Who wants to come in.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The account.
    pub user: UserId,
    /// An admin or service moderates everywhere.
    pub operator: bool,
    /// The socket.
    pub socket: SessionId,
    /// The name that is shown.
    pub name: String,
    /// A room token.
    pub token: Option<String>,
    /// Whether it wants every track.
    pub auto_subscribe: bool,
    /// What it says of itself.
    pub metadata: Option<Value>,
    /// A session to go on with.
    pub resume: Option<Resuming>,
}

/// A session to go on with.
#[derive(Clone, Debug)]
pub struct Resuming {
    /// Its id.
    pub session: RoomSessionId,
    /// What `room:join` gave for it.
    pub secret: String,
    /// The last event that arrived.
    pub last: u64,
    /// Whether its peer connections are gone.
    pub fresh: bool,
}

/// Somebody came in.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its session.
    pub session: RoomSessionId,
    /// What a later connection shows to go on with it.
    pub secret: String,
    /// The room.
    pub room: ShownRoom,
    /// Itself.
    pub own: Participant,
    /// The others.
    pub others: Vec<Participant>,
    /// The number of the last event.
    pub seq: u64,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(
        config: &config::Config,
        clock: Clock,
        (sfu, recorder, relay): (Arc<Sfu>, Arc<Recorder>, Arc<Relay>),
        delivery: Outboxes,
        in_call: Arc<InCall>,
    ) -> Self {
        let (sdp_bytes, config) = (config.limits.sdp_bytes, config.rooms.clone());
        Self {
            clock,
            sfu,
            recorder,
            relay,
            delivery,
            in_call,
            config,
            sdp_bytes,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a room.
    pub fn open(&self, owner: Option<UserId>, draft: &Draft) -> Result<ShownRoom> {
        self.open_for(owner, None, draft)
    }

    /// Opens the room of a call for its people, unless it is open.
    pub fn open_call(&self, room: &RoomId, people: &[UserId]) -> Result<()> {
        if let Some(room) = self.state().rooms.get_mut(room) {
            let invited = room.invited.get_or_insert_default();
            let more = people.iter().filter(|user| !invited.contains(user)).copied();
            let more: Vec<_> = more.collect();
            invited.extend(more);
            return Ok(());
        }
        let draft = Draft { room_id: Some(room.clone()), ..Draft::default() };
        self.open_for(None, Some(people.to_vec()), &draft).map(drop)
    }

    fn open_for(
        &self,
        owner: Option<UserId>,
        invited: Option<Vec<UserId>>,
        draft: &Draft,
    ) -> Result<ShownRoom> {
        let id = draft.room_id.clone().unwrap_or_else(|| RoomId::fresh(self.clock.id()));
        let codecs = match &draft.codecs {
            None => self.sfu.codecs().to_vec(),
            Some(names) => codecs(names)?,
        };
        let most = self.most(draft.max_participants)?;
        let mut state = self.state();
        if state.rooms.contains_key(&id) {
            return Err(RoomError::Exists);
        }
        if state.rooms.len() >= self.config.max_rooms {
            return Err(RoomError::TooMany(self.config.max_rooms));
        }
        let room = Room {
            id: id.clone(),
            key: self.sfu.server().open_room(),
            name: draft.name.as_ref().map(|name| name.as_str().to_owned()),
            owner,
            created_at: self.clock.now(),
            expires_at: draft.expires_at,
            locked: false,
            lobby: draft.lobby,
            most,
            codecs,
            invited,
            passes: Vec::new(),
            members: Vec::new(),
            offers: HashMap::new(),
            dominant: None,
            spotlight: None,
            empty_since: None,
        };
        let shown = room.shown();
        self.recorder.open(&room.id, room.key, &[], None);
        state.rooms.insert(id, room);
        Ok(shown)
    }

    fn most(&self, wanted: Option<usize>) -> Result<usize> {
        let limit = self.config.max_participants;
        match wanted {
            None => Ok(limit),
            Some(wanted) if (1..=limit).contains(&wanted) => Ok(wanted),
            Some(_) => Err(RoomError::Invalid(
                "maxParticipants",
                format!("maxParticipants is 1 to {limit}"),
            )),
        }
    }

    /// Whether anybody may open a room by entering it.
    pub fn opens_by_entering(&self) -> bool {
        self.config.create == config::RoomCreate::Anyone
    }

    /// Opens a room for whoever enters it first, where that is allowed.
    fn open_by_entering(&self, id: &RoomId, user: UserId) -> Result<()> {
        if !self.opens_by_entering() || user.is_guest() {
            return Ok(());
        }
        let draft = Draft { room_id: Some(id.clone()), ..Draft::default() };
        match self.open_for(Some(user), None, &draft) {
            Ok(_) | Err(RoomError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells everybody that the server goes down at `deadline`.
    pub fn drain(&self, deadline: Timestamp) {
        for room in self.state().rooms.values_mut() {
            room.notify(&self.delivery, None, |stamp| {
                Event::RoomDrain(RoomDrain { stamp, deadline })
            });
        }
    }

    /// All rooms.
    pub fn all(&self) -> Vec<ShownRoom> {
        let mut rooms: Vec<_> = self.state().rooms.values().map(Room::shown).collect();
        rooms.sort_by(|a, b| a.room_id.cmp(&b.room_id));
        rooms
    }

    /// One room, for an operator, its owner or somebody in it.
    pub fn room(&self, id: &RoomId, me: Option<UserId>) -> Result<ShownRoom> {
        self.visible(id, me, |room| Ok(room.shown()))
    }

    /// Who is in a room, for an operator, its owner or somebody in it.
    pub fn participants(&self, id: &RoomId, me: Option<UserId>) -> Result<Vec<Participant>> {
        self.visible(id, me, |room| Ok(room.present().map(Member::shown).collect()))
    }

    fn visible<T>(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        look: impl FnOnce(&mut Room) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        let inside = |me| room.owner == Some(me) || room.present().any(|member| member.user == me);
        if me.is_some_and(|me| !inside(me)) {
            return Err(RoomError::NotFound);
        }
        look(room)
    }

    /// As [`Self::visible`], for what only the owner or an operator may do.
    fn owned<T>(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        act: impl FnOnce(&mut Room) -> Result<T>,
    ) -> Result<T> {
        self.visible(id, me, |room| match me {
            Some(me) if room.owner != Some(me) => Err(RoomError::NotAModerator),
            _ => act(room),
        })
    }

    /// Changes a room.
    pub fn change(&self, id: &RoomId, me: Option<UserId>, change: &Change) -> Result<ShownRoom> {
        let most = change.max_participants.map(|most| self.most(Some(most))).transpose()?;
        self.owned(id, me, |room| {
            room.locked = change.locked.unwrap_or(room.locked);
            room.lobby = change.lobby.unwrap_or(room.lobby);
            room.most = most.unwrap_or(room.most);
            if let Some(name) = &change.name {
                room.name = Some(name.as_str().to_owned());
            }
            Ok(room.shown())
        })
    }

    /// Closes a room.
    pub fn close(&self, id: &RoomId, me: Option<UserId>) -> Result<()> {
        self.owned(id, me, |_| Ok(()))?;
        self.shut(id, "ended");
        Ok(())
    }

    /// Gives out a right to come in; gives its text and its end.
    pub fn pass(
        &self,
        id: &RoomId,
        me: Option<UserId>,
        draft: PassDraft,
    ) -> Result<(String, Timestamp)> {
        let ttl = draft.ttl.unwrap_or(3600);
        if !(1..=86_400).contains(&ttl) {
            return Err(RoomError::Invalid("ttl", "ttl is 1 to 86400 seconds".into()));
        }
        let now = self.clock.now();
        let until = now.after(Duration::from_secs(ttl));
        let token = secret();
        self.owned(id, me, |room| {
            room.passes.retain(|pass| pass.until > now);
            if room.passes.len() >= 1000 {
                return Err(RoomError::Invalid(
                    "ttl",
                    "a room has 1000 tokens at most; use shorter ones".into(),
                ));
            }
            room.passes.push(Pass {
                token: token.clone(),
                user: draft.user_id,
                name: draft.name.map(Short::into_string),
                permissions: draft.permissions,
                moderator: draft.moderator,
                until,
            });
            Ok(())
        })?;
        Ok((token, until))
    }

    /// Somebody comes in.
    pub fn join(&self, id: &RoomId, joining: &Joining) -> Result<Joined> {
        check_metadata(joining.metadata.as_ref())?;
        if let Some(resuming) = &joining.resume {
            return self.resume(id, joining, resuming);
        }
        self.open_by_entering(id, joining.user)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(id).ok_or(RoomError::NotFound)?;
        let door = Door::Socket(Some(joining.socket));
        let again = |member: &&Member| member.user == joining.user && member.door == door;
        if let Some(member) = room.members.iter().find(again) {
            // It is in already, or was let in meanwhile.
            if member.waiting {
                return Err(RoomError::Lobby);
            }
            let session = member.session;
            let joined = joined(room, session)?;
            // It may have missed what it was offered before it knew of its session.
            let link = room.by_session(session).and_then(|member| member.subscribe.as_mut());
            link.filter(|link| !link.answered).into_iter().for_each(Link::offer_again);
            let me = joined.own.participant_id;
            self.reconcile(&mut state, id, News::Member(me));
            return Ok(joined);
        }
        let mut member = self.admit(room, joining)?;
        if room.invited.is_some() {
            // In the room of a call one is in a call, whatever becomes of the call that one came by.
            member.in_call = Some(self.in_call.present(joining.user));
        }
        let (session, waiting, moderator) =
            (member.session, room.lobby && !member.moderator, member.moderator);
        room.members.push(member);
        if let Some(member) = room.members.last_mut() {
            member.waiting = waiting;
        }
        room.empty_since = None;
        if waiting {
            notify_lobby(room, &self.delivery);
            return Err(RoomError::Lobby);
        }
        tracing::info!(room = %id, user = %joining.user, moderator, "joined");
        self.announce(room, session);
        let joined = joined(room, session)?;
        let me = joined.own.participant_id;
        self.reconcile(&mut state, id, News::Member(me));
        Ok(joined)
    }

    fn admit(&self, room: &Room, joining: &Joining) -> Result<Member> {
        let now = self.clock.now();
        let pass = self.pass_of(room, joining.token.as_deref(), joining.user)?;
        let pass = pass.as_ref();
        let invited = room.invited.as_ref().is_none_or(|people| people.contains(&joining.user));
        let owner = room.owner == Some(joining.user) || joining.operator;
        if !invited && pass.is_none() && !owner {
            return Err(RoomError::NotFound);
        }
        if room.locked && !owner {
            return Err(RoomError::Locked);
        }
        if room.members.len() >= room.most {
            return Err(RoomError::Full(room.most));
        }
        Ok(Member::new(Newcomer {
            id: ParticipantId::new(self.clock.id()),
            session: RoomSessionId::new(self.clock.id()),
            secret: secret(),
            door: Door::Socket(Some(joining.socket)),
            user: joining.user,
            name: pass.and_then(|pass| pass.name.clone()).unwrap_or_else(|| joining.name.clone()),
            at: now,
            permissions: pass.map(|pass| pass.permissions.clone()).unwrap_or_default(),
            moderator: owner || pass.is_some_and(|pass| pass.moderator),
            auto_subscribe: joining.auto_subscribe,
            metadata: joining.metadata.clone(),
        }))
    }

    /// Tells the others of somebody who is in now.
    fn announce(&self, room: &mut Room, session: RoomSessionId) {
        let Some(member) = room.by_session(session) else { return };
        let (id, user, participant) = (member.id, member.user, member.shown());
        self.recorder.enter(&room.id, user);
        room.notify(&self.delivery, Some(id), |stamp| {
            Event::RoomJoined(Box::new(RoomParticipant { stamp, participant: participant.clone() }))
        });
    }

    fn resume(
        &self,
        id: &RoomId,
        joining: &Joining,
        Resuming { session, secret, last, fresh }: &Resuming,
    ) -> Result<Joined> {
        let session = *session;
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let room = rooms.get_mut(id).ok_or(RoomError::Resume)?;
        let key = room.key;
        let shown = room.shown();
        let people: Vec<_> = room.present().map(Member::shown).collect();
        let member = room.by_session(session).ok_or(RoomError::Resume)?;
        if member.user != joining.user || member.secret != *secret || member.waiting {
            return Err(RoomError::Resume);
        }
        member.door = Door::Socket(Some(joining.socket));
        member.lost = None;
        if !member.replay(&self.delivery, *last) {
            member.notify(&self.delivery, |stamp| {
                Event::RoomState(Box::new(RoomState { stamp, room: shown, participants: people }))
            });
        }
        let (me, mut gone) = (member.id, Vec::new());
        if *fresh {
            let links = [member.publish.take(), member.subscribe.take()];
            links.iter().flatten().for_each(|link| self.hang_up(peers, key, link));
            gone.extend(member.tracks.drain(..).map(|track| track.id));
            room.note_tracks(me, &gone);
            self.notify_unpublished(room, me, &gone);
            self.notify_recorder(room, me);
        }
        self.changed(room, session);
        let joined = joined(room, session)?;
        self.reconcile(&mut state, id, News::Tracks(&gone));
        self.reconcile(&mut state, id, News::Member(me));
        Ok(joined)
    }

    /// Tells the others that somebody is otherwise than before.
    fn changed(&self, room: &mut Room, session: RoomSessionId) {
        let Some(member) = room.by_session(session) else { return };
        let (id, participant) = (member.id, member.shown());
        room.notify(&self.delivery, Some(id), |stamp| {
            Event::RoomParticipantUpdated(Box::new(RoomParticipant {
                stamp,
                participant: participant.clone(),
            }))
        });
    }

    /// Somebody leaves by itself.
    pub fn leave(&self, me: UserId, session: RoomSessionId) -> Result<()> {
        let (room, member) = self.find(me, session)?;
        self.remove(&room, member, "left");
        Ok(())
    }

    /// Whether a session of this user is there.
    pub fn has(&self, me: UserId, session: RoomSessionId) -> Result<()> {
        self.find(me, session).map(drop)
    }

    /// The room of a session of this user, and who it is there; who waits in the lobby can do nothing yet.
    fn find(&self, me: UserId, session: RoomSessionId) -> Result<(RoomId, ParticipantId)> {
        let state = self.state();
        let found = state.rooms.values().find_map(|room| {
            let own = |member: &&Member| member.session == session && member.user == me;
            let member = room.members.iter().find(own)?;
            Some((room.id.clone(), member.id, member.waiting))
        });
        match found {
            None => Err(RoomError::NotInRoom),
            Some((_, _, true)) => Err(RoomError::Lobby),
            Some((room, member, false)) => Ok((room, member)),
        }
    }

    /// Does something with the participant of a session.
    fn act<T>(
        &self,
        me: UserId,
        session: RoomSessionId,
        act: impl FnOnce(&mut Room, ParticipantId) -> Result<T>,
    ) -> Result<T> {
        let (id, member) = self.find(me, session)?;
        let mut state = self.state();
        let room = state.rooms.get_mut(&id).ok_or(RoomError::NotInRoom)?;
        act(room, member)
    }

    /// Takes somebody out of a room.
    fn remove(&self, id: &RoomId, gone: ParticipantId, reason: &'static str) {
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let Some(room) = rooms.get_mut(id) else { return };
        let Some(place) = room.members.iter().position(|member| member.id == gone) else { return };
        let member = room.members.remove(place);
        self.end_guest(rooms, member.user);
        let Some(room) = rooms.get_mut(id) else { return };
        let links = [&member.publish, &member.subscribe];
        links.into_iter().flatten().for_each(|link| self.hang_up(peers, room.key, link));
        if member.waiting {
            return notify_lobby(room, &self.delivery);
        }
        let tracks: Vec<_> = member.tracks.iter().map(|track| track.id).collect();
        self.recorder.sends(&room.id, room.key, performer(&member), Vec::new());
        if !room.members.iter().any(|other| other.user == member.user) {
            self.recorder.leave(&room.id, member.user);
        }
        room.note_tracks(gone, &tracks);
        self.notify_unpublished(room, gone, &tracks);
        room.notify(&self.delivery, None, |stamp| {
            Event::RoomLeft(RoomLeft { stamp, participant_id: gone, reason })
        });
        if room.members.is_empty() {
            room.empty_since = Some(self.clock.now());
        }
        self.reconcile(&mut state, id, News::Tracks(&tracks));
    }

    /// Ends a peer connection.
    fn hang_up(&self, peers: &mut HashMap<PeerKey, RoomId>, room: RoomKey, link: &Link) {
        peers.remove(&link.peer);
        self.sfu.server().command(room, Command::Close { peer: link.peer });
    }

    /// Closes a room for everybody.
    fn shut(&self, id: &RoomId, reason: &'static str) {
        let mut state = self.state();
        let State { rooms, peers, .. } = &mut *state;
        let Some(mut room) = rooms.remove(id) else { return };
        room.members.iter_mut().for_each(|member| {
            member.notify(&self.delivery, |stamp| Event::RoomClosed(RoomClosed { stamp, reason }));
        });
        for link in room.members.iter().flat_map(|it| [&it.publish, &it.subscribe]).flatten() {
            self.hang_up(peers, room.key, link);
        }
        self.end_guests(&room);
        self.recorder.close(&room.id, room.key);
        self.sfu.server().close_room(room.key);
    }

    /// Whether a moderator of the room, or an operator, asks: who may record it.
    pub fn may_record(&self, id: &RoomId, me: Option<UserId>) -> Result<()> {
        self.visible(id, me, |room| {
            let moderates = |me| room.present().any(|it| it.user == me && it.moderator);
            let may = me.is_none_or(|me| room.owner == Some(me) || moderates(me));
            if may { Ok(()) } else { Err(RoomError::NotAModerator) }
        })
    }

    /// The owner of a room, and who moderates it now.
    pub fn moderators(&self, id: &RoomId) -> Vec<UserId> {
        let state = self.state();
        let Some(room) = state.rooms.get(id) else { return Vec::new() };
        let moderators = room.present().filter(|it| it.moderator).map(|it| it.user);
        let all: BTreeSet<UserId> = room.owner.into_iter().chain(moderators).collect();
        all.into_iter().filter(|user| !user.is_guest()).collect()
    }

    /// Tells everybody in a room that a recording has begun or ended.
    pub fn notify_recording(
        &self,
        id: &RoomId,
        recording_id: RecordingId,
        state: &'static str,
        active: Option<&ActiveRecording>,
    ) {
        let mut all = self.state();
        let Some(room) = all.rooms.get_mut(id) else { return };
        let (mode, by) = (active.map(|it| it.mode), active.and_then(|it| it.by));
        room.notify(&self.delivery, None, |stamp| {
            Event::RoomRecording(RoomRecording { stamp, recording_id, state, mode, by })
        });
    }

    /// Tells the recorder what somebody sends now.
    fn notify_recorder(&self, room: &Room, id: ParticipantId) {
        let Some(member) = room.members.iter().find(|member| member.id == id) else { return };
        let screen = |source| matches!(source, TrackSource::Screen | TrackSource::ScreenAudio);
        let tracks = member.tracks.iter();
        let parts = tracks.map(|it| Part {
            key: it.key,
            codec: it.format.codec,
            screen: screen(it.source),
        });
        self.recorder.sends(&room.id, room.key, performer(member), parts.collect());
    }

    /// A socket is gone; its rooms wait for it a while.
    pub fn lost(&self, user: UserId, socket: SessionId) {
        let mut state = self.state();
        let now = self.clock.now();
        for room in state.rooms.values_mut() {
            let gone: Vec<_> = room
                .members
                .iter_mut()
                .filter(|member| member.user == user && member.door == Door::Socket(Some(socket)))
                .map(|member| {
                    member.door = Door::Socket(None);
                    member.lost = Some(now);
                    member.session
                })
                .collect();
            gone.into_iter().for_each(|session| self.changed(room, session));
        }
    }

    /// Ends what is over: sessions that did not come back, rooms without anybody.
    pub fn tidy(&self) {
        let now = self.clock.now();
        let (mut gone, mut over) = (Vec::new(), Vec::new());
        for room in self.state().rooms.values() {
            let lost = |member: &&Member| member.lost.is_some_and(|since| now.since(since) > LOST);
            gone.extend(
                room.members.iter().filter(lost).map(|member| (room.id.clone(), member.id)),
            );
            let empty = match room.empty_since {
                Some(since) => now.since(since) > EMPTY,
                None => room.members.is_empty() && now.since(room.created_at) > UNUSED,
            };
            if empty || room.expires_at.is_some_and(|end| end <= now) {
                over.push((room.id.clone(), if empty { "empty" } else { "expired" }));
            }
        }
        gone.into_iter().for_each(|(room, member)| self.remove(&room, member, "network"));
        over.into_iter().for_each(|(room, reason)| self.shut(&room, reason));
        self.pass_on_places();
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let media = !self.sfu.server().listening().is_empty();
        let mut stats = Stats { media, ..Stats::default() };
        let state = self.state();
        stats.rooms = state.rooms.len();
        let count = |[sound, pictures]: &mut [usize; 2], offer: &Offer| {
            *(if offer.format.codec.kind() == Kind::Audio { sound } else { pictures }) += 1;
        };
        for room in state.rooms.values() {
            stats.participants += room.present().count();
            room.offers.values().for_each(|offer| count(&mut stats.published, offer));
            let links = room.members.iter().filter_map(|member| member.subscribe.as_ref());
            let shown = links.flat_map(|link| link.shows.iter());
            let shown = shown.filter_map(|(_, track)| room.offers.get(&track));
            shown.for_each(|offer| count(&mut stats.shown, offer));
        }
        stats
    }
}

fn performer(member: &Member) -> Publisher {
    let (user, name) = (member.user, Some(member.name.clone()));
    Publisher { who: member.id.to_string(), user, name }
}

fn joined(room: &mut Room, session: RoomSessionId) -> Result<Joined> {
    let shown = room.shown();
    let member = room.by_session(session).ok_or(RoomError::NotInRoom)?;
    let (own, secret, seq) = (member.shown(), member.secret.clone(), member.seq());
    let others = room.present().filter(|other| other.session != session).map(Member::shown);
    Ok(Joined { session, secret, room: shown, own, others: others.collect(), seq })
}

fn notify_lobby(room: &mut Room, delivery: &Outboxes) {
    let waiting: Vec<_> =
        room.members.iter().filter(|member| member.waiting).map(Member::shown).collect();
    for member in room.members.iter_mut().filter(|member| member.moderator && !member.waiting) {
        let waiting = waiting.clone();
        member.notify(delivery, |stamp| Event::RoomLobby(RoomLobby { stamp, waiting }));
    }
}

fn check_metadata(metadata: Option<&Value>) -> Result<()> {
    match metadata.map(|metadata| metadata.to_string().len()) {
        Some(bytes) if bytes > METADATA => {
            let why = format!("metadata has {bytes} bytes as JSON; at most {METADATA} are kept");
            Err(RoomError::Invalid("metadata", why))
        }
        _ => Ok(()),
    }
}

fn codecs(names: &[String]) -> Result<Vec<Codec>> {
    let known = |name: &String| {
        let told = || format!("codecs knows opus, vp8, vp9, h264 and av1, not {name:?}");
        Codec::named(name).ok_or_else(|| RoomError::Invalid("codecs", told()))
    };
    names.iter().map(known).collect()
}

/// 122 random bits as text.
fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
