//! The packets of one layer that were there lately: each once, in plain text, for every viewer who lost one.
//!
//! Memory follows the bitrate: it grows until it holds [`KEEP`] of media, and not beyond [`MOST`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::codec::Picture;
use crate::numbers::{Extended, MediaTime};

/// How long a packet should be there.
const KEEP: Duration = Duration::from_millis(700);
/// Bytes at first, and at most.
const FIRST: usize = 16 << 10;
const MOST: usize = 1 << 20;
/// Packets at first, and at most.
const FIRST_SLOTS: usize = 32;
const MOST_SLOTS: usize = 2048;

/// What is known of a packet besides its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// The continued sequence number.
    pub(crate) sequence: Extended,
    pub(crate) timestamp: MediaTime,
    pub(crate) marker: bool,
    pub(crate) picture: Picture,
    /// Of a keyframe: how many packets right before it are its parameter sets.
    pub(crate) prelude: u8,
    /// Redundant audio (RFC 2198).
    pub(crate) red: bool,
    pub(crate) audio_level: Option<u8>,
    pub(crate) orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    pub(crate) arrived: Instant,
}

impl Meta {
    /// A packet of which nothing else is known.
    pub(crate) fn bare(sequence: Extended, timestamp: MediaTime, arrived: Instant) -> Self {
        Self {
            sequence,
            timestamp,
            marker: false,
            picture: Picture::default(),
            prelude: 0,
            red: false,
            audio_level: None,
            orientation: None,
            playout_delay: None,
            arrived,
        }
    }
}

/// A packet that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedPacket<'a> {
    pub(crate) meta: &'a Meta,
    /// The dependency descriptor; empty when there is none.
    pub(crate) dependency: &'a [u8],
    pub(crate) payload: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    meta: Meta,
    /// Where it begins, counted over all rounds.
    at: u64,
    dependency: u8,
    length: u16,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    bytes: Vec<u8>,
    /// Bytes written in all rounds.
    written: u64,
    slots: Vec<Option<Slot>>,
    /// Number and beginning of what was kept, the oldest first.
    order: VecDeque<(Extended, u64)>,
}

impl History {
    /// Keeps a packet; false when it is there already.
    pub(crate) fn keep(&mut self, meta: Meta, dependency: &[u8], payload: &[u8]) -> bool {
        if self.kept(meta.sequence).is_some() {
            return false;
        }
        let length = dependency.len() + payload.len();
        let (Ok(dependency_length), Ok(packet_length)) =
            (u8::try_from(dependency.len()), u16::try_from(length))
        else {
            return false;
        };
        self.make_room(length, meta.sequence, meta.arrived);
        let capacity = self.bytes.len() as u64;
        let offset = self.written % capacity;
        if offset + length as u64 > capacity {
            self.written += capacity - offset;
        }
        let at = self.written;
        #[expect(clippy::cast_possible_truncation, reason = "less than the capacity")]
        let begin = (at % capacity) as usize;
        let Some(place) = self.bytes.get_mut(begin..begin + length) else { return false };
        let (first, second) = place.split_at_mut(dependency.len());
        first.copy_from_slice(dependency);
        second.copy_from_slice(payload);
        self.written += length as u64;
        let place = self.place(meta.sequence);
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some(Slot { meta, at, dependency: dependency_length, length: packet_length });
        }
        // Of more than there are slots the first is overwritten.
        if self.order.len() >= self.slots.len() {
            self.order.pop_front();
        }
        self.order.push_back((meta.sequence, at));
        true
    }

    /// The packet with this continued sequence number.
    pub(crate) fn kept(&self, sequence: Extended) -> Option<CachedPacket<'_>> {
        let slot = self.slots.get(self.place(sequence))?.as_ref()?;
        let capacity = self.bytes.len() as u64;
        if slot.meta.sequence != sequence || self.written - slot.at > capacity {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than the capacity")]
        let begin = (slot.at % capacity) as usize;
        let both = self.bytes.get(begin..begin + usize::from(slot.length))?;
        let (dependency, payload) = both.split_at_checked(slot.dependency.into())?;
        Some(CachedPacket { meta: &slot.meta, dependency, payload })
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    fn place(&self, sequence: Extended) -> usize {
        sequence.count() as usize & self.slots.len().wrapping_sub(1)
    }

    /// Grows when what would be overwritten is still wanted.
    fn make_room(&mut self, length: usize, sequence: Extended, now: Instant) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; FIRST];
            self.slots = vec![None; FIRST_SLOTS];
        }
        let young = |slot: &Slot| now.saturating_duration_since(slot.meta.arrived) < KEEP;
        let taken = self.slots.get(self.place(sequence)).copied().flatten();
        if self.slots.len() < MOST_SLOTS && taken.is_some_and(|slot| young(&slot)) {
            let slots = self.slots.len() * 2;
            self.rebuild(self.bytes.len(), slots);
        }
        let end = self.written + length as u64;
        let lost = end.saturating_sub(self.bytes.len() as u64);
        if self.bytes.len() < MOST && self.overwrites(lost, now) {
            self.rebuild(self.bytes.len() * 2, self.slots.len());
        }
    }

    /// Whether what begins before `lost` is still wanted. What is not is forgotten, so that each is looked at once.
    fn overwrites(&mut self, lost: u64, now: Instant) -> bool {
        while let Some(&(sequence, at)) = self.order.front().filter(|(_, at)| *at < lost) {
            let slot = self.slots.get(self.place(sequence)).copied().flatten();
            let young = |slot: &Slot| now.saturating_duration_since(slot.meta.arrived) < KEEP;
            if slot.filter(|slot| slot.at == at).is_some_and(|slot| young(&slot)) {
                return true;
            }
            self.order.pop_front();
        }
        false
    }

    fn rebuild(&mut self, bytes: usize, slots: usize) {
        let mut old = std::mem::replace(
            self,
            Self { bytes: vec![0; bytes], slots: vec![None; slots], ..Self::default() },
        );
        let mut kept: Vec<Slot> = old.slots.iter().flatten().copied().collect();
        kept.sort_by_key(|slot| slot.at);
        // `keep` looks for room itself; these fit, because they fitted before.
        for slot in kept {
            if let Some(kept) = old.kept(slot.meta.sequence) {
                self.keep(*kept.meta, kept.dependency, kept.payload);
            }
        }
        old.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;

    #[test]
    fn packets_are_there_for_a_while_and_once() {
        let noon = noon();
        let mut history = History::default();
        let payload = |n: u64| vec![(n % 251) as u8; 900 + (n % 300) as usize];
        for n in 0..3000 {
            let at = noon + Duration::from_millis(n * 2);
            assert!(history.keep(
                Meta::bare(n.into(), MediaTime(0), at),
                &[(n % 7) as u8; 3],
                &payload(n)
            ));
            assert!(
                !history.keep(Meta::bare(n.into(), MediaTime(0), at), &[], &payload(n)),
                "twice"
            );
            for back in (0..KEEP.as_millis() as u64 / 2).step_by(50).filter(|&back| back < n) {
                let kept = history.kept((n - back).into()).expect("young enough");
                assert_eq!(kept.payload, payload(n - back));
                assert_eq!(kept.dependency, [((n - back) % 7) as u8; 3]);
            }
        }
        assert!(history.kept(100.into()).is_none(), "too old");
        assert!(history.bytes.len() <= MOST && history.slots.len() <= 512);
    }

    #[test]
    fn little_media_takes_little_memory() {
        let noon = noon();
        let mut history = History::default();
        for n in 0..5000 {
            history.keep(
                Meta::bare(n.into(), MediaTime(0), noon + Duration::from_millis(n * 20)),
                &[],
                &[1; 120],
            );
        }
        assert_eq!((history.bytes.len(), history.slots.len()), (FIRST, 64));
    }
}
