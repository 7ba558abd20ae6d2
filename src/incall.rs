//! Who is in a call: calls and rooms count it, presence shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::ids::UserId;

/// Counts the accepted calls of each user.
pub struct InCall {
    calls: Mutex<HashMap<UserId, usize>>,
    changed: mpsc::Sender<UserId>,
}

impl InCall {
    /// Nobody in a call. The receiver gets each change; one that finds its queue full is dropped, and the next status of that
    /// user carries it.
    pub fn new() -> (Self, mpsc::Receiver<UserId>) {
        let (changed, changes) = mpsc::channel(1024);
        (Self { calls: Mutex::default(), changed }, changes)
    }

    /// One more call of `user`.
    pub fn enter(&self, user: UserId) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(user).or_insert(0);
        *count += 1;
        if *count == 1 {
            let _ = self.changed.try_send(user);
        }
    }

    /// One call of `user` less.
    pub fn leave(&self, user: UserId) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = calls.get_mut(&user) else { return };
        *count -= 1;
        if *count == 0 {
            calls.remove(&user);
            let _ = self.changed.try_send(user);
        }
    }

    /// One more call of `user`, for as long as the result lives.
    pub fn present(self: &Arc<Self>, user: UserId) -> Present {
        self.enter(user);
        Present { calls: Arc::clone(self), user }
    }

    /// Whether `user` is in a call.
    pub fn contains(&self, user: UserId) -> bool {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&user)
    }
}

/// A user is in a call.
pub struct Present {
    calls: Arc<InCall>,
    user: UserId,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.calls.leave(self.user);
    }
}
