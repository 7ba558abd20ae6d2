//! What recorders get of tracks.

use std::time::Instant;

use super::Worker;
use crate::plan::TrackKey;
use crate::tap::{Fitted, Tap};

impl Worker {
    pub(super) fn tap(&mut self, key: TrackKey, tap: Option<Tap>, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let described = &*track.parameter_sets;
        track.tap = tap.map(|tap| Fitted::new(tap, track.format, described, &track.brought));
        if track.guide_tap(now) {
            self.ask_publisher(at, now);
        }
    }

    pub(super) fn keyframe_for_tap(&mut self, key: TrackKey, now: Instant) {
        let Some(&at) = self.track_of.get(&key) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let target = track.tap.as_ref().and_then(|tap| tap.target).unwrap_or(track.worst());
        if let Some(stream) = track.layers.get_mut(usize::from(target)) {
            stream.want_keyframe();
        }
        self.ask_publisher(at, now);
    }
}
