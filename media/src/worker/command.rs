//! What the rules have a worker do.

use crate::plan::{PeerKey, PeerPlan, RoomKey, TrackKey};
use crate::subscription::LayerPreference;
use crate::tap::Tap;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Sets a peer up.
    Connect {
        /// Where.
        room: RoomKey,
        /// Who.
        peer: PeerKey,
        /// How.
        plan: Box<PeerPlan>,
    },
    /// Something else was agreed on with a peer.
    Configure {
        /// Who.
        peer: PeerKey,
        /// How it is from now on.
        plan: Box<PeerPlan>,
    },
    /// Ends a peer connection, and the tracks that came by it.
    Close {
        /// Who.
        peer: PeerKey,
    },
    /// From now on a section of a peer shows a track, in place of what it showed.
    Show {
        /// Who.
        peer: PeerKey,
        /// The section.
        mid: String,
        /// The track; `None` shows nothing.
        track: Option<TrackKey>,
    },
    /// What a viewer wants of a track.
    Prefer {
        /// Who.
        peer: PeerKey,
        /// Of which track.
        track: TrackKey,
        /// What.
        preference: LayerPreference,
        /// Which comes first when not everything fits; the higher the sooner.
        priority: u8,
        /// The highest temporal layer.
        temporal: u8,
    },
    /// Stops passing a track on, whatever its publisher goes on sending, or begins again.
    Mute {
        /// Which.
        track: TrackKey,
        /// Whether it is muted.
        muted: bool,
    },
    /// Has a recorder get a track from its publisher's worker, in place of the one that did; `None` ends that.
    Tap {
        /// Which.
        track: TrackKey,
        /// Where to.
        tap: Option<Tap>,
    },
    /// A recorder cannot go on without a keyframe.
    Keyframe {
        /// Of which track.
        track: TrackKey,
    },
}
