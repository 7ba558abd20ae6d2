//! Tracks: as their publisher has them, and as those see them who may receive them.

use std::time::Duration;

use switchboard_media::{Format, Kind, TrackKey};

use crate::clock::Timestamp;
use crate::event::room::{Track, TrackKind, TrackLayer, TrackSource};
use crate::ids::{ParticipantId, TrackId};

/// How long a track may be silent before a viewer's section goes to another one that flows.
pub(super) const QUIET: Duration = Duration::from_millis(2500);

/// A track that somebody publishes.
pub(super) struct Published {
    pub(super) id: TrackId,
    pub(super) key: TrackKey,
    pub(super) mid: String,
    pub(super) format: Format,
    pub(super) source: TrackSource,
    pub(super) name: Option<String>,
    /// By its publisher, or by a moderator.
    pub(super) muted: bool,
    /// Its section is inactive: it goes on as the same track, and is shown as muted until then.
    pub(super) held: bool,
    /// Since when nothing of it arrives.
    pub(super) quiet_since: Option<Timestamp>,
    pub(super) layers: Vec<TrackLayer>,
}

impl Published {
    /// Whether nothing of it is to be expected.
    pub(super) fn silent(&self) -> bool {
        self.muted || self.held
    }

    pub(super) fn kind(&self) -> Kind {
        self.format.codec.kind()
    }

    pub(super) fn shown(&self, owner: ParticipantId) -> Track {
        Track {
            track_id: self.id,
            participant_id: owner,
            kind: match self.kind() {
                Kind::Audio => TrackKind::Audio,
                Kind::Video => TrackKind::Video,
            },
            source: self.source,
            name: self.name.clone(),
            muted: self.silent(),
            codec: self.format.codec.name(),
            layers: self.layers.clone(),
        }
    }

    /// As it is listed for those who may receive it.
    pub(super) fn listed(&self, owner: ParticipantId) -> Listed {
        let Self { id, key, format, quiet_since, .. } = *self;
        Listed { id, key, owner, format, quiet_since }
    }
}

/// A track as those see it who may receive it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) id: TrackId,
    pub(super) key: TrackKey,
    pub(super) owner: ParticipantId,
    pub(super) format: Format,
    /// Since when nothing of it arrives.
    pub(super) quiet_since: Option<Timestamp>,
}

impl Listed {
    /// Whether it has been silent for so long that another one may have its section.
    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_since.is_some_and(|since| now.since(since) >= QUIET)
    }
}
