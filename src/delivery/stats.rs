use std::sync::atomic::Ordering;

use super::Delivery;

/// Connections, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Sessions.
    pub connections: usize,
    /// Accounts that have one.
    pub users: usize,
    /// Guests of rooms that have one.
    pub guests: usize,
}

impl Delivery {
    /// What there is now.
    pub fn stats(&self) -> Stats {
        let users = self.users.read();
        let guests = users.keys().filter(|user| user.is_guest()).count();
        Stats {
            connections: self.connections.load(Ordering::Relaxed),
            users: users.len() - guests,
            guests,
        }
    }
}
