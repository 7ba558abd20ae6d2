//! Where rooms are found: by their ids, and by the names of what is in them. The one thing that all rooms share; it is locked for the
//! length of a look-up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use switchboard_media::RoomKey;

use super::effect::{IssuedToken, Name};
use super::handle::RoomHandle;
use super::{Result, RoomError};
use crate::clock::Timestamp;
use crate::ids::{RoomId, SessionId, UserId};
use crate::store::TokenHash;

/// See the module.
#[derive(Default)]
pub(super) struct Directory(Mutex<Index>);

#[derive(Default)]
struct Index {
    rooms: HashMap<RoomId, RoomHandle>,
    keys: HashMap<RoomKey, RoomHandle>,
    names: HashMap<Name, RoomHandle>,
    /// Rooms in which a socket has sessions, once for each.
    sockets: HashMap<SessionId, Vec<RoomHandle>>,
    /// How many sessions a guest has.
    guests: HashMap<UserId, usize>,
    tokens: HashMap<TokenHash, (IssuedToken, RoomKey)>,
    /// The tokens that each room has given out.
    issued: HashMap<RoomKey, Vec<TokenHash>>,
}

impl Directory {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a room, unless there is one of its id or there are `most`.
    pub(super) fn open(&self, handle: &RoomHandle, most: usize) -> Result<()> {
        let mut index = self.index();
        if index.rooms.contains_key(handle.id()) {
            return Err(RoomError::Exists);
        }
        if index.rooms.len() >= most {
            return Err(RoomError::TooMany(most));
        }
        index.rooms.insert(handle.id().clone(), handle.clone());
        index.keys.insert(handle.key(), handle.clone());
        Ok(())
    }

    /// Takes a room out, and its tokens; whether guests may have come by one of them.
    pub(super) fn close(&self, handle: &RoomHandle) -> bool {
        let mut index = self.index();
        let key = handle.key();
        if index.rooms.get(handle.id()).is_some_and(|known| known.key() == key) {
            index.rooms.remove(handle.id());
        }
        index.keys.remove(&key);
        let mut guests = false;
        for hash in index.issued.remove(&key).unwrap_or_default() {
            guests |= index.tokens.remove(&hash).is_some_and(|(token, _)| token.user.is_none());
        }
        guests
    }

    pub(super) fn room(&self, id: &RoomId) -> Option<RoomHandle> {
        self.index().rooms.get(id).cloned()
    }

    pub(super) fn by_key(&self, key: RoomKey) -> Option<RoomHandle> {
        self.index().keys.get(&key).cloned()
    }

    pub(super) fn by_name(&self, name: Name) -> Option<RoomHandle> {
        self.index().names.get(&name).cloned()
    }

    pub(super) fn by_socket(&self, socket: SessionId) -> Vec<RoomHandle> {
        self.index().sockets.get(&socket).cloned().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<RoomHandle> {
        self.index().rooms.values().cloned().collect()
    }

    pub(super) fn register(&self, name: Name, handle: &RoomHandle) {
        self.index().names.insert(name, handle.clone());
    }

    pub(super) fn forget(&self, name: &Name) {
        self.index().names.remove(name);
    }

    /// A session of a room has another socket than before.
    pub(super) fn attach(
        &self,
        handle: &RoomHandle,
        before: Option<SessionId>,
        now: Option<SessionId>,
    ) {
        let mut index = self.index();
        if let Some(socket) = before
            && let Some(rooms) = index.sockets.get_mut(&socket)
        {
            if let Some(at) = rooms.iter().position(|room| room.key() == handle.key()) {
                rooms.swap_remove(at);
            }
            if rooms.is_empty() {
                index.sockets.remove(&socket);
            }
        }
        if let Some(socket) = now {
            index.sockets.entry(socket).or_default().push(handle.clone());
        }
    }

    /// A user has a session more.
    pub(super) fn entered(&self, user: UserId) {
        if user.is_guest() {
            *self.index().guests.entry(user).or_insert(0) += 1;
        }
    }

    /// A user has a session less; whether it was a guest's last.
    pub(super) fn left(&self, user: UserId) -> bool {
        let mut index = self.index();
        let Some(sessions) = index.guests.get_mut(&user) else { return false };
        *sessions -= 1;
        let last = *sessions == 0;
        if last {
            index.guests.remove(&user);
        }
        last
    }

    pub(super) fn issue(&self, handle: &RoomHandle, token: IssuedToken) {
        let mut index = self.index();
        index.issued.entry(handle.key()).or_default().push(token.hash);
        index.tokens.insert(token.hash, (token, handle.key()));
    }

    /// A token that is good `now`, with the key of its room.
    pub(super) fn token(&self, text: &str, now: Timestamp) -> Option<(IssuedToken, RoomKey)> {
        let hash = TokenHash::of(text);
        let index = self.index();
        let found = index.tokens.get(&hash).filter(|(token, _)| token.until > now);
        found.cloned()
    }
}
