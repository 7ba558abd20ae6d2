//! People without an account: a room token that names no user lets its bearer connect as a guest, into that room alone.

use std::collections::HashMap;

use super::state::{Pass, Room};
use super::{Result, RoomError, Rooms};
use crate::clock::Timestamp;
use crate::ids::{RoomId, UserId};

/// Characters of a room token, as `secret` makes it.
const TOKEN: usize = 32;

/// Somebody whom a room token lets in.
#[derive(Clone, Debug)]
pub struct Guest {
    /// A name for this process, which is null to everybody else.
    pub user: UserId,
    /// What the token calls its bearer.
    pub name: String,
    /// When the token ends.
    pub until: Timestamp,
}

/// Who comes by HTTP.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The account, or the guest.
    pub user: UserId,
    /// The name that is shown.
    pub name: String,
    /// An admin or service may enter everywhere.
    pub operator: bool,
    /// A room token.
    pub token: Option<String>,
}

/// What bounds the relay credential of a guest.
#[derive(Clone, Debug)]
pub struct CredentialBounds {
    /// The room, as it is open now: one opened later under the same id has another name.
    pub room: String,
    /// When the token ends.
    pub until: Timestamp,
}

impl Rooms {
    /// What bounds the relay credential of whoever comes by `token`; `None` when it is good no longer.
    pub fn bounds(&self, token: &str) -> Option<CredentialBounds> {
        let now = self.clock.now();
        let state = self.state();
        let passes = |room: &Room| -> Option<Timestamp> {
            let pass = room.passes.iter().find(|pass| pass.token == token && pass.until > now)?;
            Some(pass.until)
        };
        let found =
            |room| Some(CredentialBounds { until: passes(room)?, room: credential_room(room) });
        state.rooms.values().find_map(found)
    }

    /// Ends the relay credentials of a guest who is in no room any more.
    pub(super) fn end_guest(&self, rooms: &HashMap<RoomId, Room>, guest: UserId) {
        let is_in = |room: &Room| room.members.iter().any(|member| member.user == guest);
        if guest.is_guest() && !rooms.values().any(is_in) {
            self.relay.shut_out(guest);
        }
    }

    /// Ends the relay credentials of the guests of a room that is closed.
    pub(super) fn end_guests(&self, room: &Room) {
        if room.passes.iter().any(|pass| pass.user.is_none()) {
            self.relay.end_room(&credential_room(room));
        }
    }

    /// The guest whom `token` lets in; `device` tells apart those who share a token.
    pub fn guest(&self, token: &str, device: &str) -> Option<Guest> {
        // Nobody else's token, of which every connection brings one, is looked for among those of the rooms.
        if token.len() != TOKEN {
            return None;
        }
        let now = self.clock.now();
        let state = self.state();
        let mut passes = state.rooms.values().flat_map(|room| &room.passes);
        let pass = passes.find(|pass| pass.token == token && pass.until > now)?;
        if pass.user.is_some() {
            return None;
        }
        let seed = ring::digest::digest(
            &ring::digest::SHA256,
            [token.as_bytes(), b"/", device.as_bytes()].concat().as_slice(),
        );
        let seed = seed.as_ref().first_chunk::<8>().copied().map(u64::from_be_bytes)?;
        let name = pass.name.clone().unwrap_or_else(|| "Guest".into());
        Some(Guest { user: UserId::guest(seed), name, until: pass.until })
    }

    /// The pass that `token` is for `user` in a room, where one was shown. A guest needs one.
    pub(super) fn pass_of(
        &self,
        room: &Room,
        token: Option<&str>,
        user: UserId,
    ) -> Result<Option<Pass>> {
        let Some(token) = token else {
            return if user.is_guest() { Err(RoomError::NotFound) } else { Ok(None) };
        };
        let now = self.clock.now();
        let pass = room.passes.iter().find(|pass| pass.token == token && pass.until > now);
        let pass = pass.filter(|pass| pass.user.is_none_or(|bearer| bearer == user));
        pass.cloned().map(Some).ok_or(RoomError::Token)
    }
}

/// The name by which credentials are bound to a room: unlike an id, it is never used again in this process.
fn credential_room(room: &Room) -> String {
    room.key.0.to_string()
}
