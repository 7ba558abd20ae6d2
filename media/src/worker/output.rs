//! What a worker sends: every viewer's packets one behind the other, so that they can leave together.

use std::time::Instant;

use super::{Event, Worker};
use crate::ice::Source;
use crate::track::{Fresh, Track};

/// Datagrams for one destination, one behind the other.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// Where they go.
    pub to: Source,
    /// All of them.
    pub bytes: &'a [u8],
    /// How long each is.
    pub lengths: &'a [u16],
}

impl Transmit<'_> {
    /// Each datagram.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes;
        self.lengths.iter().map_while(move |&length| {
            let (datagram, after) = rest.split_at_checked(length.into())?;
            rest = after;
            Some(datagram)
        })
    }
}

impl Worker {
    /// The next datagrams to send; `None` when there is nothing left, and not before.
    pub fn poll_output(&mut self, now: Instant) -> Option<Transmit<'_>> {
        if let Some((to, begin, length)) = self.control_queue.pop_front() {
            // What follows for the same destination leaves together with it.
            self.lengths.clear();
            self.lengths.push(length);
            let mut end = begin + usize::from(length);
            let follows =
                |next: &mut (Source, usize, u16), end: usize| next.0 == to && next.1 == end;
            while let Some((.., length)) =
                self.control_queue.pop_front_if(|next| follows(next, end))
            {
                self.lengths.push(length);
                end += usize::from(length);
            }
            let bytes = self.control.get(begin..end).unwrap_or_default();
            return Some(Transmit { to, bytes, lengths: &self.lengths });
        }
        self.control.clear();
        let to = self.next_burst(now)?;
        Some(Transmit { to, bytes: &self.burst, lengths: &self.lengths })
    }

    /// The next track whose packets are to be passed on now.
    fn next_track(&mut self, now: Instant) -> Option<usize> {
        let tracks = &self.tracks;
        let ready = |&place: &usize| {
            let ready_at = tracks.get(place).and_then(Track::ready_at);
            ready_at.is_none_or(|at| at <= now)
        };
        let at = self.dirty.iter().rposition(ready)?;
        self.cursor = 0;
        self.passing = Some(self.dirty.swap_remove(at));
        self.passing
    }

    /// Writes the packets of one track for the next of its viewers.
    fn next_burst(&mut self, now: Instant) -> Option<Source> {
        loop {
            let place = match self.passing {
                Some(place) => place,
                None => self.next_track(now)?,
            };
            let Some(track) = self.tracks.get_mut(place) else {
                self.passing = None;
                continue;
            };
            let scalable = track.scalable().is_some();
            let Some(subscription) = track.subscriptions.get_mut(self.cursor) else {
                track.fresh.clear();
                self.passing = None;
                continue;
            };
            self.cursor += 1;
            if subscription.current.is_none() && subscription.target.is_none() {
                continue;
            }
            let Some(peer) = self.peers.get_mut(subscription.viewer) else { continue };
            let Some(path) = peer.ice.path() else { continue };
            let Some(outbound) = peer.outbound.as_mut() else { continue };
            let Some(sender) = peer.senders.get_mut(subscription.sender_at) else { continue };
            let Some(codec) = subscription.codec else {
                self.counters.dropped_codec.add(track.fresh.len() as u64);
                continue;
            };
            self.burst.clear();
            self.lengths.clear();
            for &Fresh { layer, number, padding } in &track.fresh {
                if padding {
                    subscription.pass_over(layer, number);
                    continue;
                }
                let concerns = [subscription.current, subscription.target].contains(&Some(layer));
                if !concerns && !scalable {
                    continue;
                }
                let Some(stream) = track.layers.get(usize::from(layer)) else { continue };
                let Some(last) = stream.history.kept(number) else { continue };
                let first = subscription.begin_at(layer, last.meta);
                for number in first.until(number.next()) {
                    let Some(kept) = stream.history.kept(number) else { continue };
                    let taken = (kept.meta, last.meta.picture.keyframe);
                    let (rewritten, switched) =
                        subscription.take(layer, taken, track.format.codec, &track.layers, sender);
                    if switched && (scalable || track.layers.len() > 1) {
                        let layer = subscription.current.unwrap_or(layer);
                        let (peer, track) = (peer.key, track.key);
                        self.events.push(Event::Switched { peer, track, layer });
                    }
                    let Some(rewritten) = rewritten else { continue };
                    let begin = self.burst.len();
                    if sender.write(outbound, codec, &kept, &rewritten, now, &mut self.burst) {
                        let length = self.burst.len() - begin;
                        self.lengths.push(u16::try_from(length).unwrap_or(u16::MAX));
                    }
                }
            }
            if !self.lengths.is_empty() {
                self.counters.packets_sent.add(self.lengths.len() as u64);
                self.counters.bytes_sent.add(self.burst.len() as u64);
                return Some(path);
            }
        }
    }
}
