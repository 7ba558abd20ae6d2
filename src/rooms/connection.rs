//! One peer connection of a participant: what is agreed on, and which of its sections shows which track.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_media::negotiation::Connection;
use switchboard_media::{Format, PeerKey};
use tracing::Span;

use crate::ids::{ParticipantId, RoomId, TrackId};

/// See the module.
pub(super) struct PeerConnection {
    pub(super) peer: PeerKey,
    pub(super) negotiation: Connection,
    /// The last offer, and whether it was answered.
    pub(super) rev: u64,
    pub(super) answered: bool,
    /// Something has changed since the last offer.
    pub(super) stale: bool,
    /// The worker knows of it.
    pub(super) set_up: bool,
    pub(super) connected: bool,
    /// What each section shows.
    pub(super) shows: Shows,
    /// Tracks that it wants and that none of its sections takes, of which its client was notified.
    pub(super) unplayable: BTreeSet<TrackId>,
    /// Tracks that are decided about when the last offer is answered.
    pub(super) pending: BTreeSet<TrackId>,
    /// The layer that arrives of a track, by its name.
    pub(super) current: BTreeMap<TrackId, String>,
    /// Tracks of which another layer was asked for and has not arrived yet.
    pub(super) requested: BTreeSet<TrackId>,
    /// What is logged of it.
    pub(super) span: Span,
}

impl PeerConnection {
    /// A connection of `member` that nothing is agreed on for; `side` is `publish` or `subscribe`.
    pub(super) fn new(
        peer: PeerKey,
        negotiation: Connection,
        room: &RoomId,
        member: ParticipantId,
        side: &'static str,
    ) -> Self {
        Self {
            peer,
            negotiation,
            rev: 0,
            answered: true,
            stale: false,
            set_up: false,
            connected: false,
            shows: Shows::default(),
            unplayable: BTreeSet::new(),
            pending: BTreeSet::new(),
            current: BTreeMap::new(),
            requested: BTreeSet::new(),
            span: tracing::info_span!("peer", %room, participant = %member, side),
        }
    }

    /// Has what can be received offered once more, whatever became of the last offer.
    pub(super) fn offer_again(&mut self) {
        (self.stale, self.answered) = (true, true);
    }

    /// A section shows a track no longer.
    pub(super) fn hide(&mut self, track: TrackId) {
        self.shows.remove(track);
        self.current.remove(&track);
        self.requested.remove(&track);
    }

    /// Whether some section takes a stream of `format`, or one can be made for it.
    pub(super) fn takes(&self, format: Format) -> bool {
        let kind = format.codec.kind();
        let mut sections =
            self.negotiation.send_lines().filter(|(_, it, _)| *it == kind).peekable();
        let takes = |(mid, ..): (&str, _, _)| self.negotiation.takes(mid, format);
        sections.peek().is_none() || sections.any(takes)
    }
}

/// Which section shows which track, to be looked up by either.
#[derive(Default)]
pub(super) struct Shows {
    tracks: BTreeMap<String, TrackId>,
    sections: BTreeMap<TrackId, String>,
}

impl Shows {
    pub(super) fn track(&self, mid: &str) -> Option<TrackId> {
        self.tracks.get(mid).copied()
    }

    pub(super) fn section(&self, track: TrackId) -> Option<&str> {
        self.sections.get(&track).map(String::as_str)
    }

    pub(super) fn insert(&mut self, mid: String, track: TrackId) {
        if let Some(before) = self.tracks.insert(mid.clone(), track) {
            self.sections.remove(&before);
        }
        self.sections.insert(track, mid);
    }

    pub(super) fn remove(&mut self, track: TrackId) {
        if let Some(mid) = self.sections.remove(&track) {
            self.tracks.remove(&mid);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, TrackId)> {
        self.tracks.iter().map(|(mid, track)| (mid.as_str(), *track))
    }
}
