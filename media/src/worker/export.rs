//! A worker's peers as plain data, for a process that takes its place: keys, numbers and paths, so that clients notice nothing.
//!
//! Exporting ends the worker: an (SSRC, index) has one owner, also across processes.

use std::time::Instant;

use super::Worker;
use crate::ice::Source;
use crate::peer::Numbers;
use crate::plan::{PeerKey, PeerPlan, RoomKey, TrackKey};
use crate::sender::SenderState;

/// Everything a successor needs of one peer.
pub struct PeerState {
    /// Who.
    pub peer: PeerKey,
    /// Where.
    pub room: RoomKey,
    plan: PeerPlan,
    /// The DTLS association, out of which the keys of SRTP come.
    dtls: Vec<u8>,
    paths: (Option<Source>, Vec<Source>),
    numbers: Numbers,
    /// The streams to it, by their SSRCs, those that are no longer part of the plan included.
    senders: Vec<SenderState>,
    /// Tracks that it is shown and that lived with another worker, and with which.
    elsewhere: Vec<(TrackKey, usize)>,
    muted: Vec<TrackKey>,
}

impl std::fmt::Debug for PeerState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PeerState").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Worker {
    /// The peers that are connected; those that are not yet make a new connection.
    pub fn export(self) -> Vec<PeerState> {
        let state = |(_, peer): (usize, &crate::peer::Peer)| {
            let track_of = |track: &TrackKey| self.tracks.get(*self.track_of.get(track)?);
            let own = peer.plan.receives.iter().map(|receive| receive.track);
            let muted = own.filter(|track| track_of(track).is_some_and(|track| track.muted));
            let elsewhere = peer.shown().filter_map(|(_, track)| self.across.lives_at(track));
            Some(PeerState {
                peer: peer.key,
                room: peer.room,
                plan: peer.plan.clone(),
                dtls: peer.dtls.export()?,
                paths: peer.ice.paths(),
                numbers: peer.numbers()?,
                senders: peer.sender_states(),
                elsewhere: elsewhere.collect(),
                muted: muted.collect(),
            })
        };
        self.peers.iter().filter(|(_, peer)| peer.connected).filter_map(state).collect()
    }

    /// Goes on with peers of a worker that is no longer, of the same certificate or of another one. Viewers wait for a keyframe
    /// each, which is asked for. Workers that go on together adopt their peers before any of them takes notes of another one.
    pub fn adopt(&mut self, states: Vec<PeerState>, now: Instant) {
        let mut shown = Vec::new();
        for state in states {
            let PeerState {
                peer: key,
                room,
                plan,
                dtls,
                paths,
                numbers,
                senders,
                elsewhere,
                muted,
            } = state;
            self.connect(room, key, plan, now);
            let Some(&place) = self.peer_of.get(&key) else { continue };
            let Some(peer) = self.peers.get_mut(place) else { continue };
            let Some(keys) = peer.dtls.adopt(&dtls, now) else {
                self.remove(place, super::Gone::Closed, now);
                continue;
            };
            self.by_source.extend(paths.1.iter().map(|&source| (source, place)));
            peer.ice.adopt(paths);
            peer.adopt(keys, numbers);
            senders.into_iter().for_each(|state| peer.adopt_sender(state, now));
            muted.into_iter().for_each(|track| self.mute(track, true, now));
            shown.push((place, elsewhere));
        }
        for (place, elsewhere) in shown {
            let shown = self.peers.get(place).into_iter().flat_map(crate::peer::Peer::shown);
            for (sender_at, track) in shown.collect::<Vec<_>>() {
                match self.track_of.get(&track) {
                    Some(&at) => self.attach(place, sender_at, at, now),
                    None => {
                        let owner = elsewhere.iter().find(|(known, _)| *known == track);
                        owner
                            .into_iter()
                            .for_each(|&(track, owner)| self.expect_track(track, owner));
                    }
                }
            }
            self.begin_showing(place, now);
        }
    }
}
