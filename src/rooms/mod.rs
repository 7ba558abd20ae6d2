//! Rooms: who is in, who may do what, who publishes and who receives. Media goes through the SFU; here is only what was agreed on.
//!
//! Each room is a machine (`machine::Room`) that a task of its own owns (`task`). [`Rooms`] finds the task of a room and asks it: a
//! file each has the request, its limits and its rule.

mod ban;
mod command;
mod connection;
mod directory;
mod effect;
mod error;
mod follow;
mod handle;
mod join;
mod layers;
mod leave;
mod machine;
mod member;
mod moderate;
mod mute;
mod names;
mod notify;
mod open;
mod pace;
mod publish;
mod reconcile;
mod replay;
mod right;
mod rule;
mod say;
mod subscribe;
mod task;
#[cfg(test)]
mod tests;
mod token;
mod track;
mod unpublish;
mod whip;
mod workers;

use std::sync::Arc;

use serde_json::Value;
use switchboard_media::{Description, Event as Media, RoomKey};

pub use self::ban::Banned;
use self::command::Request;
use self::directory::Directory;
use self::effect::{IssuedToken, Name};
pub use self::error::RoomError;
use self::follow::Notice;
use self::handle::RoomHandle;
pub use self::join::{JoinRequest, Joined, Resume};
pub use self::layers::LayerRequest;
use self::machine::{Opening, Room, Rules};
pub use self::moderate::{Grant, Moderation};
pub use self::open::{RoomChange, RoomSpec};
pub use self::publish::{PublishedTrack, Publishing, TrackSpec, Unsent};
pub use self::subscribe::Subscribed;
use self::task::Outside;
pub use self::token::{CredentialBounds, Guest, Issued, ListedToken, RoomTokenSpec};
pub use self::unpublish::Unpublished;
pub use self::whip::{Resource, Side, Visitor};
pub use self::workers::{start_workers, write};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::delivery::Delivery;
use crate::event::recording::ActiveRecording;
use crate::event::room::Room as ShownRoom;
use crate::ids::{RecordingId, RoomId, RoomSessionId, SessionId, UserId};
use crate::incall::InCall;
use crate::ledger::{Holder, Ledger, Resource as Held};
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::{Notices, Sfu};
use crate::store::{RoomTokenRecord, Store, TokenHash};

type Result<T> = std::result::Result<T, RoomError>;

/// Bytes of what a participant says of itself.
const METADATA: usize = 2048;

/// What there is in all rooms together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Whether media is received at all.
    pub media: bool,
    /// Rooms.
    pub rooms: usize,
    /// Participants, those who came by HTTP included.
    pub participants: usize,
    /// Viewers by WHEP that are connected.
    pub viewers: usize,
    /// Tracks that are published: of sound, of pictures.
    pub published: [usize; 2],
    /// Sections that show one: of sound, of pictures.
    pub shown: [usize; 2],
}

/// See the module.
pub struct Rooms {
    outside: Arc<Outside>,
    rules: Arc<Rules>,
    config: config::Rooms,
    ledger: Arc<Ledger>,
    sdp_bytes: usize,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(
        config: &config::Config,
        clock: Clock,
        store: Arc<dyn Store>,
        (sfu, recorder, relay): (Arc<Sfu>, Arc<Recorder>, Arc<Relay>),
        (delivery, in_call, ledger): (Arc<Delivery>, Arc<InCall>, Arc<Ledger>),
    ) -> Self {
        let paces = pace::Paces::new(&config.limits);
        let (sdp_bytes, config) = (config.limits.sdp_bytes, config.rooms.clone());
        let rules = Rules {
            endpoint: sfu.server().endpoint().clone(),
            max_viewers: config.max_viewers,
            tracks_per_participant: config.tracks_per_participant,
            replay_bytes: config.replay_bytes,
            room_replay_bytes: config.room_replay_bytes,
            paces,
        };
        let directory = Directory::default();
        let outside = Outside { clock, store, sfu, recorder, relay, delivery, in_call, directory };
        Self { outside: Arc::new(outside), rules: Arc::new(rules), config, ledger, sdp_bytes }
    }

    /// Opens a room.
    pub async fn open(&self, owner: Option<UserId>, spec: &RoomSpec) -> Result<ShownRoom> {
        let id = match &spec.room_id {
            Some(id) if id.call().is_some() => {
                let why = "roomId is that of a call, whose room is opened with it; choose another";
                return Err(RoomError::Invalid("roomId", why.into()));
            }
            Some(id) => id.clone(),
            None => RoomId::fresh(self.outside.clock.id()),
        };
        open::check_members(spec.members.as_ref())?;
        let invited = spec.members.clone().or_else(|| self.invites_by_default());
        self.open_for(id, owner, invited, spec).await
    }

    async fn open_for(
        &self,
        id: RoomId,
        owner: Option<UserId>,
        invited: Option<Vec<UserId>>,
        spec: &RoomSpec,
    ) -> Result<ShownRoom> {
        let codecs = match &spec.codecs {
            None => self.outside.sfu.codecs().to_vec(),
            Some(names) => names::codecs(names)?,
        };
        let most = self.most(spec.max_participants)?;
        let place = self.place_for_room(owner)?;
        let tokens = self.stored_tokens(&id).await?;
        let server = self.outside.sfu.server();
        let key = server.open_room();
        let (handle, inbox) = RoomHandle::new(id.clone(), key);
        if let Err(error) = self.outside.directory.open(&handle, self.config.max_rooms) {
            server.close_room(key);
            return Err(error);
        }
        let opening = Opening {
            id,
            place,
            key,
            at: self.now(),
            owner,
            invited,
            name: spec.name.as_ref().map(|name| name.as_str().to_owned()),
            expires_at: spec.expires_at,
            lobby: spec.lobby,
            most,
            codecs,
            tokens,
        };
        let room = Room::new(opening, Arc::clone(&self.rules));
        task::spawn(room, handle.clone(), inbox, Arc::clone(&self.outside));
        // Whoever asks next finds it open everywhere.
        handle.ask(open::Look::by_operator()).await
    }

    /// What a room takes of what its owner may have open.
    fn place_for_room(&self, owner: Option<UserId>) -> Result<Option<crate::ledger::Entry>> {
        let held = owner.map(|owner| self.ledger.hold(Held::Room, Holder::User(owner)));
        Ok(held.transpose()?)
    }

    /// Tokens of a room that was open when the server stopped.
    async fn stored_tokens(&self, id: &RoomId) -> Result<Vec<RoomTokenRecord>> {
        if id.call().is_some() || self.outside.directory.room(id).is_some() {
            return Ok(Vec::new());
        }
        let now = self.now();
        let mut tokens = self.outside.store.room_tokens(id.clone()).await?;
        tokens.retain(|token| token.until > now);
        Ok(tokens)
    }

    /// Who may enter a room without a token besides its owner, where nobody has said so: everybody, or nobody.
    fn invites_by_default(&self) -> Option<Vec<UserId>> {
        (self.config.join == config::RoomJoin::Members).then(Vec::new)
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

    /// Opens a room for whoever enters it first, where that is allowed. The room of a call is opened by the call alone.
    async fn open_by_entering(&self, id: &RoomId, user: UserId) -> Result<()> {
        let opens = self.opens_by_entering() && !user.is_guest() && id.call().is_none();
        if !opens || self.outside.directory.room(id).is_some() {
            return Ok(());
        }
        let invited = self.invites_by_default();
        match self.open_for(id.clone(), Some(user), invited, &RoomSpec::default()).await {
            Ok(_) | Err(RoomError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks a room.
    async fn ask<R: Request>(&self, id: &RoomId, request: R) -> Result<R::Reply> {
        let handle = self.outside.directory.room(id).ok_or(RoomError::NotFound)?;
        handle.ask(request).await
    }

    /// Asks the room of a session.
    async fn ask_session<R: Request>(
        &self,
        session: RoomSessionId,
        request: R,
    ) -> Result<R::Reply> {
        let handle = self.outside.directory.by_name(Name::Session(session));
        match handle.ok_or(RoomError::NotInRoom)?.ask(request).await {
            // It ended meanwhile.
            Err(RoomError::NotFound) => Err(RoomError::NotInRoom),
            outcome => outcome,
        }
    }

    fn handles(&self) -> Vec<RoomHandle> {
        self.outside.directory.all()
    }

    fn now(&self) -> Timestamp {
        self.outside.clock.now()
    }

    fn issued(&self, token: &str) -> Option<(IssuedToken, RoomKey)> {
        self.outside.directory.token(token, self.now())
    }

    /// Whether a room token still lets people in, or its end alone is over: it was not taken back, and its room is open.
    pub fn knows_token(&self, hash: TokenHash) -> bool {
        self.outside.directory.by_token(hash).is_some()
    }

    fn is_connected(&self, user: UserId, socket: SessionId) -> bool {
        self.outside.delivery.is_open(user, socket)
    }

    async fn read(&self, text: &str, sections: usize) -> Result<Description> {
        if text.len() > self.sdp_bytes {
            return Err(RoomError::TooLarge { have: text.len(), limit: self.sdp_bytes });
        }
        workers::read(text, sections).await
    }

    /// Sends everybody that the server goes down at `deadline`.
    pub fn drain(&self, deadline: Timestamp) {
        self.handles().iter().for_each(|handle| handle.note(Notice::Drain(deadline)));
    }

    /// A socket is gone; its rooms wait for it a while.
    pub fn lost(&self, _: UserId, socket: SessionId) {
        let rooms = self.outside.directory.by_socket(socket);
        rooms.iter().for_each(|handle| handle.note(Notice::Lost(socket)));
    }

    /// Sends everybody in a room that a recording has begun or ended.
    pub fn notify_recording(
        &self,
        room: &RoomId,
        id: RecordingId,
        state: &'static str,
        active: Option<&ActiveRecording>,
    ) {
        if let Some(handle) = self.outside.directory.room(room) {
            handle.note(Notice::Recording { id, state, active: active.cloned() });
        }
    }

    /// Follows the SFU; runs as long as the server.
    pub async fn follow(&self, mut events: Notices) {
        while let Some(event) = events.recv().await {
            self.pass_on(event);
        }
    }

    /// Passes what the SFU reports on to the room that it concerns.
    fn pass_on(&self, event: Media) {
        let directory = &self.outside.directory;
        let room = match &event {
            Media::Connected { peer, .. } | Media::Gone { peer, .. } => {
                directory.by_name(Name::Peer(*peer))
            }
            Media::Switched { peer, .. } | Media::Paused { peer, .. } => {
                directory.by_name(Name::Peer(*peer))
            }
            Media::Sent { track, .. }
            | Media::Wanted { track, .. }
            | Media::Coded { track, .. } => directory.by_name(Name::Track(*track)),
            Media::Speakers { room, .. } => directory.by_key(*room),
            // Nobody judges them yet.
            Media::Stats(_) => None,
        };
        let Some(handle) = room else { return };
        if let Media::Connected { after_ms, .. } = event {
            metrics::histogram!("rtc_media_setup_seconds").record(f64::from(after_ms) / 1000.0);
        }
        let once = matches!(event, Media::Connected { .. } | Media::Gone { .. });
        let notice = Notice::Media(event);
        if once { handle.note(notice) } else { handle.note_lossy(notice) }
    }

    /// What there is now.
    pub fn stats(&self) -> Stats {
        let media = !self.outside.sfu.server().listening().is_empty();
        let mut stats = Stats { media, ..Stats::default() };
        for handle in self.handles() {
            let counts = handle.counts();
            stats.rooms += 1;
            stats.participants += counts.participants;
            stats.viewers += counts.viewers;
            let sums = [&mut stats.published, &mut stats.shown].into_iter().flatten();
            let counts = [counts.published, counts.shown].into_iter().flatten();
            sums.zip(counts).for_each(|(sum, count)| *sum += count);
        }
        stats
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

/// 122 random bits as text.
fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
