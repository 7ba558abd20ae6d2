use super::Presence;

/// Presence, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// People that connections asked to follow, each counted once a connection.
    pub subscriptions: usize,
    /// People whose last connection closed within the grace.
    pub leaving: usize,
}

impl Presence {
    /// What there is now.
    pub fn stats(&self) -> Stats {
        let watchers = self.lock();
        let subscriptions = watchers.by_session.values().map(|people| people.len()).sum();
        Stats { subscriptions, leaving: watchers.leaving.len() }
    }
}
