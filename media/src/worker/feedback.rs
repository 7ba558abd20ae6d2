//! What peers report and ask for by RTCP, and the packets that are sent again for it.

use std::time::Instant;

use super::{Note, Worker};
use crate::layer::ClockPair;
use crate::rtcp::{Rtcp, read};
use crate::stats::noted;

impl Worker {
    pub(super) fn handle_rtcp(&mut self, place: usize, datagram: &mut [u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let length = match peer.open_rtcp(datagram) {
            Ok(length) => length,
            Err(refused) => return self.count_refused(refused),
        };
        let mut narrower = false;
        let mut wanted: Vec<(usize, u16)> = Vec::new();
        let mut keyframes: Vec<usize> = Vec::new();
        let (tracks, across) = (&mut self.tracks, &mut self.across);
        read(datagram.get(..length).unwrap_or_default(), |said| {
            match noted(peer, said, now) {
                Rtcp::SenderReport { ssrc, ntp, rtp } => {
                    let clock = ClockPair { ntp, rtp, at: now };
                    for receiver in &peer.receivers {
                        let Some(track) = tracks.get_mut(receiver.track) else { continue };
                        let Some(layer) = track.note_clock(ssrc, clock) else { continue };
                        for mirror in &track.mirrors {
                            across.notify(
                                mirror.worker,
                                Note::Clock { track: track.key, layer, clock },
                            );
                        }
                    }
                }
                Rtcp::KeyframeRequest { ssrc } => keyframes.extend(peer.sender_of(ssrc)),
                Rtcp::FullIntraRequest { from, ssrc, sequence } => {
                    keyframes.extend(peer.sender_of(ssrc).filter(|&sender_at| {
                        peer.senders
                            .get_mut(sender_at)
                            .is_some_and(|it| it.stats.is_new(from, sequence))
                    }));
                }
                Rtcp::Nack { ssrc, sequence } => {
                    if let Some(sender_at) = peer.sender_of(ssrc) {
                        wanted.push((sender_at, sequence));
                    }
                }
                Rtcp::Remb { bitrate } => {
                    if let Some(outbound) = &mut peer.outbound {
                        outbound.bandwidth.remb(bitrate, now);
                    }
                }
                Rtcp::Twcc(twcc) => {
                    if let Some(outbound) = &mut peer.outbound {
                        narrower |= outbound.bandwidth.feedback(&twcc, now);
                    }
                }
                // What viewers report of loss is a number to show; what is believed of the path comes by transport-wide feedback.
                Rtcp::Report(_) | Rtcp::Bye { .. } => {}
            }
        });
        if narrower {
            // What no longer fits does not wait for the next allocation.
            peer.allocated = Some(now);
            self.schedule(place, now);
        }
        keyframes.into_iter().for_each(|sender_at| self.keyframe_wanted(place, sender_at, now));
        self.send_again(place, &wanted, now);
    }

    /// A viewer cannot go on without a keyframe.
    fn keyframe_wanted(&mut self, viewer: usize, sender_at: usize, now: Instant) {
        self.counters.keyframes_wanted.add(1);
        let Some(at) = self.track_shown(viewer, sender_at) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let sender = self.peers.get(viewer).and_then(|peer| peer.senders.get(sender_at));
        let subscription = sender.and_then(|it| track.subscriptions.get(it.subscription?));
        let current = subscription.and_then(|it| it.current.or(it.target));
        if let Some(stream) = current.and_then(|layer| track.stream_of(layer)) {
            stream.want_keyframe();
            self.ask_publisher(at, now);
        }
    }

    pub(super) fn track_shown(&self, viewer: usize, sender_at: usize) -> Option<usize> {
        let key = self.peers.get(viewer)?.senders.get(sender_at)?.track?;
        self.track_of.get(&key).copied()
    }

    /// Sends what a viewer missed once more.
    fn send_again(&mut self, viewer: usize, wanted: &[(usize, u16)], now: Instant) {
        for &(sender_at, sequence) in wanted {
            let sent = self.send_one_again(viewer, sender_at, sequence, now);
            self.counters.packets_resent.add(u64::from(sent.unwrap_or(false)));
        }
    }

    fn send_one_again(
        &mut self,
        viewer: usize,
        sender_at: usize,
        sequence: u16,
        now: Instant,
    ) -> Option<bool> {
        let track = self.track_shown(viewer, sender_at)?;
        let track = self.tracks.get(track)?;
        let format = track.format;
        let peer = self.peers.get_mut(viewer)?;
        let path = peer.ice.path()?;
        let (sender, outbound) = (peer.senders.get_mut(sender_at)?, peer.outbound.as_mut()?);
        let sent = sender.next.latest(sequence);
        let subscription = track.subscriptions.get(sender.subscription?)?;
        let (epoch, origin) = subscription.origin(sent)?;
        let kept = track.history(epoch.layer)?.kept(origin)?;
        let looked = epoch.rewritten(kept.meta)?;
        let codec = *sender.plan.takes(format)?;
        let begin = self.control.len();
        let written = sender.rewrite_lost(outbound, codec, &kept, &looked, now, &mut self.control);
        if written {
            let length = u16::try_from(self.control.len() - begin).unwrap_or(u16::MAX);
            self.control_queue.push_back((path, begin, length));
        }
        Some(written)
    }
}
