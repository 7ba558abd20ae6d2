//! Where rooms are found: by their ids, and by the names of what is in them. The one thing that all rooms share; it is locked for the
//! length of a look-up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use switchboard_media::RoomKey;

use super::effect::{IssuedToken, Name};
use super::handle::RoomHandle;
use super::{Result, RoomError};
use crate::clock::Timestamp;
use crate::event::room::LeaveReason;
use crate::ids::{RoomId, SessionId, UserId};
use crate::store::TokenHash;

/// Endings that are remembered, for requests that are on their way meanwhile.
const ENDED: usize = 1024;

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
    /// Rooms in which a user has sessions, once for each.
    users: HashMap<UserId, Vec<RoomHandle>>,
    /// Who was ended last, with the number of that.
    ended: VecDeque<(u64, UserId, LeaveReason)>,
    endings: u64,
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
    pub(super) fn entered(&self, user: UserId, handle: &RoomHandle) {
        self.index().users.entry(user).or_default().push(handle.clone());
    }

    /// A user has a session less; whether it was the last.
    pub(super) fn left(&self, user: UserId, handle: &RoomHandle) -> bool {
        let mut index = self.index();
        let Some(rooms) = index.users.get_mut(&user) else { return false };
        if let Some(at) = rooms.iter().position(|room| room.key() == handle.key()) {
            rooms.swap_remove(at);
        }
        let last = rooms.is_empty();
        if last {
            index.users.remove(&user);
        }
        last
    }

    /// The rooms in which a user has sessions, each once.
    pub(super) fn by_user(&self, user: UserId) -> Vec<RoomHandle> {
        let mut rooms = self.index().users.get(&user).cloned().unwrap_or_default();
        rooms.sort_by_key(|room| room.key().0);
        rooms.dedup_by_key(|room| room.key());
        rooms
    }

    /// Notes that a user was ended, for those of its requests that are on their way.
    pub(super) fn end(&self, user: UserId, reason: LeaveReason) {
        let mut index = self.index();
        index.endings += 1;
        let number = index.endings;
        index.ended.push_back((number, user, reason));
        if index.ended.len() > ENDED {
            index.ended.pop_front();
        }
    }

    /// How often users were ended.
    pub(super) fn endings(&self) -> u64 {
        self.index().endings
    }

    /// Why a user was ended since there were so many `endings`, if it was.
    pub(super) fn ended_since(&self, endings: u64, user: UserId) -> Option<LeaveReason> {
        let index = self.index();
        let since = index.ended.iter().rev().take_while(|(number, ..)| *number > endings);
        since.into_iter().find(|(_, ended, _)| *ended == user).map(|(_, _, reason)| *reason)
    }

    pub(super) fn issue(&self, handle: &RoomHandle, token: IssuedToken) {
        let mut index = self.index();
        index.issued.entry(handle.key()).or_default().push(token.hash);
        index.tokens.insert(token.hash, (token, handle.key()));
    }

    /// The room that has given out a token.
    pub(super) fn by_token(&self, hash: TokenHash) -> Option<RoomHandle> {
        let index = self.index();
        let (_, key) = index.tokens.get(&hash)?;
        index.keys.get(key).cloned()
    }

    /// A token lets nobody in any more.
    pub(super) fn revoke(&self, handle: &RoomHandle, hash: TokenHash) {
        let mut index = self.index();
        index.tokens.remove(&hash);
        if let Some(issued) = index.issued.get_mut(&handle.key()) {
            issued.retain(|other| *other != hash);
        }
    }

    /// A token that is good `now`, with the key of its room.
    pub(super) fn token(&self, text: &str, now: Timestamp) -> Option<(IssuedToken, RoomKey)> {
        let hash = TokenHash::of(text);
        let index = self.index();
        let found = index.tokens.get(&hash).filter(|(token, _)| {
            token.until > now && token.not_before.is_none_or(|begin| begin <= now)
        });
        found.cloned()
    }
}
