//! Events that are kept for sessions that are lost: so much for each, and so much for all of a room together.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::event::room::RoomEvent;

/// Events that are kept for a session.
const REPLAY: usize = 500;
/// Bytes that a kept event costs besides its text.
const ENTRY: usize = 64;

/// What is kept in a room. An event that several sessions have is counted once.
pub(super) struct RoomReplay {
    /// Bytes for each session.
    each: usize,
    /// Bytes for all of them together.
    most: usize,
    events: VecDeque<(u64, Weak<RoomEvent>, usize)>,
    bytes: usize,
    last: u64,
    /// The last one that is kept no longer.
    gone: u64,
}

impl RoomReplay {
    pub(super) fn new(each: usize, most: usize) -> Self {
        Self { each, most, events: VecDeque::new(), bytes: 0, last: 0, gone: 0 }
    }

    /// Counts an event, and has the oldest forgotten where that is too much.
    pub(super) fn push(&mut self, event: &Arc<RoomEvent>) {
        let bytes = event.bytes() + ENTRY;
        self.last += 1;
        self.bytes += bytes;
        self.events.push_back((self.last, Arc::downgrade(event), bytes));
        while let Some((number, event, bytes)) = self.events.front() {
            if self.bytes <= self.most && event.strong_count() > 0 {
                break;
            }
            self.bytes -= bytes;
            self.gone = *number;
            self.events.pop_front();
        }
    }

    /// Bytes that are counted.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The last events of a session. They are shared with all sessions that got the same.
#[derive(Default)]
pub(super) struct Replay {
    seq: u64,
    /// Each with its number in the session, and in the room.
    events: VecDeque<(u64, u64, Arc<RoomEvent>)>,
    bytes: usize,
}

impl Replay {
    /// The number of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the event that the room has counted last; gives its number.
    pub(super) fn push(&mut self, event: &Arc<RoomEvent>, kept: &RoomReplay) -> u64 {
        self.seq += 1;
        self.bytes += event.bytes();
        self.events.push_back((self.seq, kept.last, Arc::clone(event)));
        while self.events.len() > REPLAY || self.bytes > kept.each {
            if !self.drop_oldest() {
                break;
            }
        }
        self.forget(kept);
        self.seq
    }

    /// Forgets what is kept in the room no longer.
    pub(super) fn forget(&mut self, kept: &RoomReplay) {
        while self.events.front().is_some_and(|(_, number, _)| *number <= kept.gone) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, _, oldest)) = self.events.pop_front() else { return false };
        self.bytes -= oldest.bytes();
        true
    }

    /// What came after `last`; `None` when not all of it is kept.
    pub(super) fn after(&self, last: u64) -> Option<impl Iterator<Item = (u64, &Arc<RoomEvent>)>> {
        let kept = self.events.front().map_or(self.seq, |(seq, ..)| seq - 1);
        let missed = self.events.iter().filter(move |(seq, ..)| *seq > last);
        (last >= kept).then(|| missed.map(|(seq, _, event)| (*seq, event)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::Event;
    use crate::event::room::{RoomData, RoomHand};
    use crate::ids::ParticipantId;

    fn data(bytes: usize) -> Arc<RoomEvent> {
        let participant_id = ParticipantId::new(uuid::Uuid::nil());
        let (topic, payload) = (String::new(), Value::String("x".repeat(bytes)));
        Arc::new(RoomEvent::new(|stamp| {
            Event::RoomData(Box::new(RoomData { stamp, participant_id, topic, payload }))
        }))
    }

    fn kept(replay: &Replay, last: u64) -> Option<Vec<u64>> {
        replay.after(last).map(|events| events.map(|(seq, _)| seq).collect())
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_events() {
        let mut replay = Replay::default();
        let mut kept_by_all = RoomReplay::new(100_000, 1 << 20);
        let mut push = |replay: &mut Replay, event: &Arc<RoomEvent>| {
            kept_by_all.push(event);
            replay.push(event, &kept_by_all);
        };
        for _ in 0..40 {
            push(&mut replay, &data(10_000));
            assert!(replay.bytes <= 100_000);
        }
        assert_eq!(replay.events.len(), 9);
        assert_eq!(kept(&replay, 38), Some(vec![39, 40]));
        assert_eq!(kept(&replay, 31), Some((32..=40).collect()));
        assert_eq!(kept(&replay, 30), None, "the 31st is gone");
        push(&mut replay, &data(200_000));
        assert_eq!(
            (replay.bytes, replay.events.len()),
            (0, 0),
            "one that is too large is not kept"
        );
        assert_eq!((kept(&replay, 41), kept(&replay, 40)), (Some(vec![]), None));

        let participant_id = ParticipantId::new(uuid::Uuid::nil());
        let small = |stamp| Event::RoomHand(RoomHand { stamp, participant_id, raised: true });
        let small = Arc::new(RoomEvent::new(small));
        for _ in 0..600 {
            push(&mut replay, &small);
        }
        assert_eq!(replay.events.len(), REPLAY);
        let bytes: usize = replay.events.iter().map(|(.., event)| event.bytes()).sum();
        assert_eq!(replay.bytes, bytes);
    }

    #[test]
    fn what_all_sessions_keep_together_is_bounded_and_what_they_share_is_counted_once() {
        let mut kept = RoomReplay::new(100_000, 50_000);
        let mut sessions: Vec<Replay> = (0..20).map(|_| Replay::default()).collect();
        for _ in 0..40 {
            let event = data(1000);
            kept.push(&event);
            sessions.iter_mut().for_each(|it| {
                it.push(&event, &kept);
            });
        }
        assert!(sessions.iter().all(|it| it.events.len() == 40), "20 have the same 40,000 bytes");
        // What goes to one alone pushes out what is oldest, of all.
        for at in 0..200 {
            let event = data(1000);
            kept.push(&event);
            sessions[at % 20].push(&event, &kept);
        }
        sessions.iter_mut().for_each(|it| it.forget(&kept));
        let held: usize = sessions.iter().map(Replay::bytes).sum();
        assert!(held > 30_000 && held <= 50_000, "{held}");
        assert!(kept.bytes() <= 50_000);
        // What no session has any more is given back.
        sessions.clear();
        kept.push(&data(10));
        assert!(kept.bytes() < 400, "{}", kept.bytes());
    }
}
