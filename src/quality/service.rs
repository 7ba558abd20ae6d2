//! The judge of connections with the SFU: it follows each by what the SFU counts, until it is over.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use switchboard_media::{PeerKey, PeerStats, TrackKey};

use super::leg::{Holes, Leg};
use super::report::Report;
use super::score::Class;
use super::window::Direction;
use crate::clock::Timestamp;
use crate::ids::UserId;

/// Connections that are followed at the same time; of more nothing is known.
const LEGS: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Quality {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    legs: BTreeMap<PeerKey, Leg>,
    holes: Holes,
}

/// How good a leg is now, by the worst track of each way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Levels {
    /// None while nothing was sent.
    pub uplink: Option<Class>,
    /// None while nothing was sent.
    pub downlink: Option<Class>,
}

impl Quality {
    /// Follows a connection from now on, which is `user`'s; whether there is room for it.
    pub fn begin(&self, peer: PeerKey, user: UserId, now: Timestamp) -> bool {
        let mut book = self.book.lock();
        let has_room = book.legs.len() < LEGS;
        if has_room {
            book.legs.entry(peer).or_insert_with(|| Leg::new(user, now));
        }
        has_room
    }

    /// Takes what the SFU has counted of a connection, and gives how good that is now; none when it is not followed.
    pub fn take(&self, stats: &PeerStats) -> Option<Levels> {
        let Book { legs, holes } = &mut *self.book.lock();
        let leg = legs.get_mut(&stats.peer)?;
        leg.take(stats, holes);
        Some(Levels {
            uplink: leg.class(Direction::Uplink),
            downlink: leg.class(Direction::Downlink),
        })
    }

    /// These connections are over: the report on them. They are forgotten with it.
    pub fn end(&self, peers: &[PeerKey]) -> Report {
        let mut ended: Vec<Leg> = Vec::new();
        let Book { legs, holes } = &mut *self.book.lock();
        ended.extend(peers.iter().filter_map(|peer| legs.remove(peer)));
        let published: Vec<TrackKey> = ended.iter().flat_map(Leg::published).collect();
        published.iter().for_each(|track| drop(holes.remove(track)));
        Report::on(&mut ended)
    }

    /// Connections that are followed at present.
    pub fn followed(&self) -> usize {
        self.book.lock().legs.len()
    }
}
