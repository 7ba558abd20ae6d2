//! When the numbers of peers are given out.

use std::time::Instant;

use super::{Event, Worker};
use crate::stats::{INTERVAL, collect};
use crate::subscription::LayerPreference;

impl Worker {
    /// Gives out the numbers of peers for which it is the time.
    pub(super) fn give_stats(&mut self, now: Instant) {
        let due = |(place, peer): (usize, &crate::peer::Peer)| {
            (now >= peer.stats_given + INTERVAL).then_some(place)
        };
        let due: Vec<usize> = self.peers.iter().filter_map(due).collect();
        due.into_iter().for_each(|place| self.give_stats_of(place, now));
    }

    /// Gives out the numbers of one that was there.
    pub(super) fn give_stats_of(&mut self, place: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(place).filter(|peer| peer.connected) else { return };
        peer.stats_given = now;
        let Some(peer) = self.peers.get(place) else { return };
        let track = |key| self.tracks.get(*self.track_of.get(&key)?);
        self.events.push(Event::Stats(Box::new(collect(peer, track, now))));
    }

    /// Notes which streams to a viewer are not meant to show anything.
    pub(super) fn note_rests(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        for (_, sender) in &mut peer.senders {
            let track = sender.track.and_then(|track| self.track_of.get(&track));
            let track = track.and_then(|&track| self.tracks.get(track));
            let rests = track.is_none_or(|track| {
                let subscription = sender.subscription.and_then(|it| track.subscriptions.get(it));
                track.muted || subscription.is_none_or(|it| it.preference == LayerPreference::Off)
            });
            if rests {
                sender.stats.rests();
            }
        }
    }
}
