//! What a worker notifies the rules of.

use crate::codec::Format;
use crate::dtls::DtlsError;
use crate::plan::{PeerKey, RoomKey, TrackKey};
use crate::stats::PeerStats;

/// Something that happened to a peer or a track.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Keys are agreed on and media can flow.
    Connected {
        /// Who.
        peer: PeerKey,
        /// Since the peer was set up, in milliseconds.
        after_ms: u32,
    },
    /// The peer is gone and forgotten.
    Gone {
        /// Who.
        peer: PeerKey,
        /// Why.
        reason: Gone,
    },
    /// The publisher sends other layers than before.
    Sent {
        /// Which track.
        track: TrackKey,
        /// For each layer, in the order of the description.
        layers: Vec<bool>,
    },
    /// Viewers want other layers than before.
    Wanted {
        /// Which track.
        track: TrackKey,
        /// For each layer, in the order of the description.
        layers: Vec<bool>,
    },
    /// A viewer gets another layer.
    Switched {
        /// Who.
        peer: PeerKey,
        /// Of which track.
        track: TrackKey,
        /// The layer, by its place in the description.
        layer: u8,
    },
    /// A viewer's path no longer takes, or takes again, any layer of a track.
    Paused {
        /// Who.
        peer: PeerKey,
        /// Which track.
        track: TrackKey,
        /// Whether it is paused now.
        paused: bool,
    },
    /// The publisher's packets are coded otherwise than before.
    Coded {
        /// Which track.
        track: TrackKey,
        /// What with.
        format: Format,
    },
    /// How the streams of a peer fare: every five seconds, and once at its end.
    Stats(Box<PeerStats>),
    /// Who speaks, the loudest first.
    Speakers {
        /// Where.
        room: RoomKey,
        /// Tracks and their loudness, 0 to 1.
        levels: Vec<(TrackKey, f32)>,
    },
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    /// A command closed it.
    Closed,
    /// It said goodbye.
    Left,
    /// It was silent for 30 s.
    Silent,
    /// Its handshake failed.
    Handshake(DtlsError),
}
