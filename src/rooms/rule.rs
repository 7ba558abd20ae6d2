//! What a rule is: a request carried out on the machine of a room.

use switchboard_media::{PeerKey, TrackKey};
use uuid::Uuid;

use super::Result;
use super::machine::Room;
use crate::clock::Timestamp;

/// Where a room takes fresh names from; a test counts.
pub(super) trait Source {
    /// A UUID; of two the later one is greater.
    fn id(&mut self) -> Uuid;
    /// 122 random bits as text.
    fn secret(&mut self) -> String;
    /// A name for a peer connection.
    fn peer(&mut self) -> PeerKey;
    /// A name for a track.
    fn track(&mut self) -> TrackKey;
}

/// What a rule gets beside the room and the request.
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) source: &'a mut dyn Source,
}

/// A request with its rule.
pub(super) trait Rule: Sized {
    /// What it leads to.
    type Reply;

    /// Changes the room, and says what is to be done outside it by its effects.
    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Self::Reply>;
}
