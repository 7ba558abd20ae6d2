//! Puts packets in order: waits for what is sent again, and goes on without what is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::tap::Packet;

/// What the first packet is waited for, which need not arrive first.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a gap is left to be filled.
const LATE: Duration = Duration::from_millis(400);
/// Packets that wait behind a gap.
const ROOM: usize = 512;
/// Packets from before what was passed on, one after the other: then the numbers have begun anew.
const BEHIND: u32 = 50;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    waiting: BTreeMap<u64, Packet>,
    settled_at: Option<Instant>,
    next: Option<u64>,
    behind: u32,
    /// Packets that never came.
    pub(super) lost: u64,
}

impl Reorder {
    pub(super) fn push(&mut self, packet: Packet) {
        self.settled_at.get_or_insert(packet.at + SETTLE);
        let late = self.next.is_some_and(|next| packet.sequence < next);
        self.behind = if late { self.behind + 1 } else { 0 };
        if self.behind > BEHIND {
            *self = Self { lost: self.lost, ..Self::default() };
        } else if late {
            return;
        }
        self.waiting.insert(packet.sequence, packet);
    }

    /// The next packet in order, and whether some before it are lost.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Packet, bool)> {
        let (&number, first) = self.waiting.first_key_value()?;
        let next = match self.next {
            Some(next) => next,
            None if self.settled_at.is_none_or(|at| now >= at) => number,
            None => return None,
        };
        if number > next && now < first.at + LATE && self.waiting.len() < ROOM {
            return None;
        }
        let (number, packet) = self.waiting.pop_first()?;
        self.lost += number - next;
        self.next = Some(number + 1);
        Some((packet, number > next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::tests::noon;

    fn packet(sequence: u64, at: Instant) -> Packet {
        let (layer, timestamp, marker, red) = (0, 0, false, false);
        let (orientation, payload) = (None, bytes::Bytes::new());
        Packet { layer, sequence, timestamp, marker, red, orientation, payload, at }
    }

    fn order(packets: &[(u64, u64)], until: u64) -> (Vec<u64>, u64) {
        let noon = noon();
        let after = |ms| noon + Duration::from_millis(ms);
        let (mut reorder, mut out) = (Reorder::default(), Vec::new());
        let mut packets = packets.iter().peekable();
        for ms in 0..until {
            while let Some(&&(sequence, _)) = packets.peek().filter(|it| it.1 == ms) {
                reorder.push(packet(sequence, after(ms)));
                packets.next();
            }
            out.extend(std::iter::from_fn(|| reorder.pop(after(ms))).map(|it| it.0.sequence));
        }
        (out, reorder.lost)
    }

    #[test]
    fn packets_come_out_in_order_and_the_first_need_not_come_first() {
        assert_eq!(order(&[(8, 0), (7, 30), (10, 110), (9, 300)], 500), (vec![7, 8, 9, 10], 0));
    }

    #[test]
    fn what_never_comes_is_waited_for_and_left_out() {
        let packets = [(1, 0), (2, 10), (5, 200), (6, 220), (3, 900)];
        assert_eq!(order(&packets, 599), (vec![1, 2], 0));
        assert_eq!(order(&packets, 1000), (vec![1, 2, 5, 6], 2));
    }

    #[test]
    fn numbers_that_begin_anew_do_not_stall() {
        let mut packets: Vec<(u64, u64)> = (0..200).map(|n| (100_000 + n, n * 10)).collect();
        packets.extend((0..200).map(|n| (70_000 + n, 2000 + n * 10)));
        let (out, _) = order(&packets, 5000);
        assert!(out.ends_with(&[70_198, 70_199]) && out.len() > 340, "{}", out.len());
    }
}
