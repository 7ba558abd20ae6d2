//! Which worker has what: rooms, peers, and the tracks that come by them.
//!
//! A room's publishers live on one worker. Its viewers live there, too, until others have clearly less to do.

use std::collections::HashMap;

use crate::{Command, IceCredentials, PeerKey, PeerPlan, RoomKey, TrackKey};

/// Connections that a worker must have more than another before viewers of its rooms are sent there: to copy a room's packets to
/// one more worker has its price.
const LEAN: usize = 32;

/// Restarts of ICE after which a peer is no longer reached by what it had before.
const FRAGMENTS: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    rooms: HashMap<RoomKey, usize>,
    peers: HashMap<PeerKey, Placed>,
    tracks: HashMap<TrackKey, usize>,
    /// Rooms and connections of each worker.
    loads: Vec<usize>,
}

#[derive(Debug)]
struct Placed {
    worker: usize,
    fragments: Vec<String>,
    tracks: Vec<TrackKey>,
}

/// Where a command goes, and what goes with it.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Way {
    /// The worker that carries it out.
    pub(super) worker: usize,
    /// A track that this worker is to have from another one.
    pub(super) fetch: Option<(TrackKey, usize)>,
    /// Credentials by which a peer is reached from now on, and names by which one no longer is.
    pub(super) enter: Option<(PeerKey, IceCredentials)>,
    pub(super) leave: Vec<String>,
}

impl Places {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            peers: HashMap::new(),
            tracks: HashMap::new(),
            loads: vec![0; workers],
        }
    }

    /// Opens a room, with the worker that has the least to do.
    pub(super) fn open(&mut self, room: RoomKey) {
        let worker = self.idlest();
        self.rooms.insert(room, worker);
        self.count(worker, 1);
    }

    /// Forgets a room.
    pub(super) fn close(&mut self, room: RoomKey) {
        if let Some(worker) = self.rooms.remove(&room) {
            self.count(worker, -1);
        }
    }

    /// The worker that carries out `command` of a room; `None` when there is no such room or peer.
    pub(super) fn worker(&self, room: RoomKey, command: &Command) -> Option<usize> {
        let of_room = *self.rooms.get(&room)?;
        match command {
            Command::Connect { plan, .. } if plan.receives.is_empty() => {
                Some(self.viewer_at(of_room))
            }
            Command::Connect { .. } => Some(of_room),
            Command::Configure { peer, .. }
            | Command::Close { peer }
            | Command::Show { peer, .. }
            | Command::Prefer { peer, .. } => Some(self.peers.get(peer)?.worker),
            Command::Mute { track, .. }
            | Command::Tap { track, .. }
            | Command::Keyframe { track } => {
                Some(self.tracks.get(track).copied().unwrap_or(of_room))
            }
        }
    }

    /// Where `command` of a room goes, which is noted; `None` when there is no such room or peer.
    pub(super) fn way(&mut self, room: RoomKey, command: &Command) -> Option<Way> {
        let worker = self.worker(room, command)?;
        match command {
            Command::Connect { peer, plan, .. } => {
                let new = Placed { worker, fragments: Vec::new(), tracks: Vec::new() };
                if self.peers.insert(*peer, new).is_none() {
                    self.count(worker, 1);
                }
                self.planned(*peer, plan)
            }
            Command::Configure { peer, plan } => self.planned(*peer, plan),
            Command::Close { peer } => {
                let Placed { fragments, tracks, .. } = self.peers.remove(peer)?;
                self.count(worker, -1);
                for track in &tracks {
                    self.tracks.remove(track);
                }
                Some(Way { worker, leave: fragments, ..Way::default() })
            }
            Command::Show { track, .. } => {
                let fetch = track.and_then(|track| Some((track, *self.tracks.get(&track)?)));
                let fetch = fetch.filter(|&(_, at)| at != worker);
                Some(Way { worker, fetch, ..Way::default() })
            }
            _ => Some(Way { worker, ..Way::default() }),
        }
    }

    fn planned(&mut self, peer: PeerKey, plan: &PeerPlan) -> Option<Way> {
        let placed = self.peers.get_mut(&peer)?;
        let worker = placed.worker;
        let tracks = plan.receives.iter().map(|receive| receive.track).collect();
        let before = std::mem::replace(&mut placed.tracks, tracks);
        for track in &before {
            self.tracks.remove(track);
        }
        self.tracks.extend(placed.tracks.iter().map(|&track| (track, worker)));
        let is_new = !placed.fragments.contains(&plan.ice.ufrag);
        let enter = is_new.then(|| (peer, plan.ice.clone()));
        let surplus = (placed.fragments.len() + 1).saturating_sub(FRAGMENTS);
        let mut leave = Vec::new();
        if is_new {
            leave.extend(placed.fragments.drain(..surplus));
            placed.fragments.push(plan.ice.ufrag.clone());
        }
        Some(Way { worker, enter, leave, ..Way::default() })
    }

    /// The worker of the next viewer of a room whose worker is `of_room`.
    fn viewer_at(&self, of_room: usize) -> usize {
        let idlest = self.idlest();
        let load = |worker: usize| self.loads.get(worker).copied().unwrap_or_default();
        if load(of_room) < load(idlest) + LEAN { of_room } else { idlest }
    }

    fn idlest(&self) -> usize {
        let least = self.loads.iter().enumerate().min_by_key(|&(_, load)| load);
        least.map(|(worker, _)| worker).unwrap_or_default()
    }

    fn count(&mut self, worker: usize, change: isize) {
        if let Some(load) = self.loads.get_mut(worker) {
            *load = load.saturating_add_signed(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExtensionIds, IceCredentials, ReceivePlan};

    fn connect(peer: u64, track: Option<u64>) -> Command {
        let receives = track.map(|track| ReceivePlan {
            mid: "0".into(),
            track: TrackKey(track),
            codecs: Vec::new(),
            extensions: ExtensionIds::default(),
            rids: Vec::new(),
            ssrcs: Vec::new(),
            remb: false,
        });
        let plan = Box::new(PeerPlan {
            ice: IceCredentials::generate(),
            fingerprint: None,
            receives: receives.into_iter().collect(),
            sends: Vec::new(),
        });
        Command::Connect { room: RoomKey(1), peer: PeerKey(peer), plan }
    }

    #[test]
    fn a_peer_that_restarts_ice_again_and_again_has_few_names() {
        let mut places = Places::new(1);
        places.open(RoomKey(1));
        let Command::Connect { peer, mut plan, .. } = connect(1, None) else { return };
        places.way(RoomKey(1), &connect(1, None));
        let mut left = 0;
        for _ in 0..100 {
            plan.ice = IceCredentials::generate();
            let plan = plan.clone();
            let way = places.way(RoomKey(1), &Command::Configure { peer, plan }).unwrap();
            assert!(way.enter.is_some());
            left += way.leave.len();
        }
        let way = places.way(RoomKey(1), &Command::Close { peer }).unwrap();
        assert_eq!((left, way.leave.len()), (101 - FRAGMENTS, FRAGMENTS));
    }

    #[test]
    fn a_room_stays_together_until_it_is_large() {
        let mut places = Places::new(3);
        let room = RoomKey(1);
        places.open(room);
        let at = |places: &mut Places, command: &Command| places.way(room, command).unwrap();
        let of_room = at(&mut places, &connect(1, Some(7))).worker;
        let mut viewers = [0; 3];
        for peer in 2..200 {
            viewers[at(&mut places, &connect(peer, None)).worker] += 1;
        }
        assert!(viewers[of_room] >= 80 && viewers.iter().all(|&some| some > 40), "{viewers:?}");
        assert_eq!(
            at(&mut places, &connect(200, Some(8))).worker,
            of_room,
            "publishers stay together"
        );
        let show =
            |peer| Command::Show { peer: PeerKey(peer), mid: "0".into(), track: Some(TrackKey(7)) };
        let ways: Vec<Way> = (2..200).map(|peer| at(&mut places, &show(peer))).collect();
        let fetches = |way: &Way| (way.worker != of_room).then_some((TrackKey(7), of_room));
        assert!(ways.iter().all(|way| way.fetch == fetches(way)));

        for peer in 1..=200 {
            let way = at(&mut places, &Command::Close { peer: PeerKey(peer) });
            assert_eq!(way.leave.len(), 1, "a name was entered for each");
        }
        places.close(room);
        assert_eq!(places.loads, [0; 3]);
        assert!(places.tracks.is_empty() && places.peers.is_empty());
        assert_eq!(places.way(room, &show(2)), None);
    }
}
