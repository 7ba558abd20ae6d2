//! `[rooms]` and `[recordings]`.

use serde::{Deserialize, Serialize};

use crate::event::recording::RecordingMode;

/// Who may open a room.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RoomCreate {
    Operators,
    Anyone,
}

/// Who may enter a room without a token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RoomJoin {
    Members,
    Anyone,
}

/// `[rooms]`: group rooms.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Who may open a room: `operators` (the application's backend and admins, by REST), or `anyone`, by entering it. `--dev`
    /// says `anyone` unless this is set.
    pub create: RoomCreate,
    /// Who may enter a room without a token of it: `members` (who opened it, and those whom `members` names, `POST /api/rooms`), or
    /// `anyone` with an account, except where `members` names some. Operators may always. `--dev` says `anyone` unless this is set.
    pub join: RoomJoin,
    /// Rooms at the same time.
    pub max_rooms: usize,
    /// Participants of one room.
    pub max_participants: usize,
    /// Viewers by WHEP of one room, who are no participants.
    pub max_viewers: usize,
    /// Tracks that one participant may publish.
    pub tracks_per_participant: usize,
    /// Bytes of events that are kept for each participant in case its connection is lost, besides 500 events at most. What was not
    /// kept comes as `room:state`.
    pub replay_bytes: usize,
    /// The same for all participants of a room together; an event that several of them got is counted once.
    pub room_replay_bytes: usize,
    /// Address of the page that a room token leads to, with `{roomId}` and `{token}` in it; the token belongs behind a `#`, which
    /// browsers keep to themselves. The answer of `POST /api/rooms/{roomId}/tokens` has it as `joinUrl`; empty: no such field.
    /// `--dev` sends people to the demo.
    pub join_url: String,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            create: RoomCreate::Operators,
            join: RoomJoin::Members,
            max_rooms: 1000,
            max_participants: 100,
            max_viewers: 1000,
            tracks_per_participant: 6,
            replay_bytes: 256 << 10,
            room_replay_bytes: 1 << 20,
            join_url: String::new(),
        }
    }
}

/// Who may start a recording.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordingStart {
    Members,
    Operators,
}

/// What is recorded by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordingAuto {
    Off,
    Accepted,
}

/// What being recorded asks of those who are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Consent {
    Notice,
    Required,
}

/// `[recordings]`: calls through the server and rooms, written to files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recordings {
    /// Folder of the recordings; empty: `recordings` in the data folder.
    pub dir: String,
    /// Who may start one: `members` (both of a call, the moderators of a room), or `operators` (the application's backend and
    /// admins).
    pub start: RecordingStart,
    /// What is recorded by itself: `off`, or `accepted`, every call of two from its acceptance on (the original); the
    /// participants are notified all the same.
    pub auto: RecordingAuto,
    /// What is recorded when the request names no mode: `tracks` (a file for each participant), `audio-mix` (one file with all
    /// voices), `both`.
    pub mode: RecordingMode,
    /// Whether the participants are notified only (`notice`), or each is left out until there is consent (`required`).
    pub consent: Consent,
    /// Minutes after which a recording ends.
    pub max_minutes: u64,
    /// Bytes of all its files at which a recording ends.
    pub max_bytes: u64,
    /// Bytes that stay free on the disk: below, recordings end and none begin.
    pub min_free_bytes: u64,
    /// Recordings at the same time.
    pub max_parallel: usize,
    /// Days after which a recording is deleted; 0 keeps it until it is deleted by hand.
    pub retention_days: u64,
    /// Seconds for which a link to a file is good.
    pub link_ttl: u64,
}

impl Default for Recordings {
    fn default() -> Self {
        Self {
            dir: String::new(),
            start: RecordingStart::Members,
            auto: RecordingAuto::Off,
            mode: RecordingMode::Tracks,
            consent: Consent::Notice,
            max_minutes: 240,
            max_bytes: 20 << 30,
            min_free_bytes: 2 << 30,
            max_parallel: 100,
            retention_days: 90,
            link_ttl: 300,
        }
    }
}
