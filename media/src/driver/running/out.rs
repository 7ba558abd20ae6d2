//! The ways out of a thread: UDP, TCP connections, and the relay's door.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::{EpollEvent, EpollFlags};
use switchboard_turn::door::Outward;
use switchboard_turn::driver::udp::{self, Route, UdpSocketState};

use super::super::streams::Arrived;
use super::{Out, STREAM, SWEEP};
use crate::{Source, Transmit, Via, Worker};

impl Out {
    pub(super) fn open_stream(&mut self, arrived: Arrived, now: Instant) -> Option<u32> {
        let place = self.streams.open(arrived, now)?;
        let stream = self.streams.get_mut(place)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, STREAM | u64::from(place));
        if self.epoll.add(stream.socket(), event).is_err() {
            self.streams.take(place);
            return None;
        }
        Some(place)
    }

    pub(super) fn flush_stream(&mut self, place: u32) {
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Ok(waits) = stream.flush() else {
            self.streams.take(place);
            return;
        };
        if waits != stream.waits {
            stream.waits = waits;
            let out = if waits { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | out, STREAM | u64::from(place));
            let _ = self.epoll.modify(stream.socket(), &mut event);
        }
    }

    /// Closes connections that no peer has claimed, or whose peer is gone; whether it was the time to do so.
    pub(super) fn sweep(&mut self, worker: &Worker, now: Instant) -> bool {
        if now < self.swept + SWEEP {
            return false;
        }
        self.swept = now;
        let overdue = self.streams.overdue(now, |place, stream| {
            let (remote, local) = (stream.remote, stream.local);
            worker.knows(&Source { via: Via::Tcp(place), remote, local })
        });
        for place in overdue {
            self.streams.take(place);
        }
        true
    }

    /// Sends all that the worker has to send.
    pub(super) fn send(&mut self, worker: &mut Worker, now: Instant) {
        let mut lost = 0;
        while let Some(transmit) = worker.poll_output(now) {
            lost += match transmit.to.via {
                Via::Udp => send_udp(&self.sockets, &self.offload, &transmit),
                Via::Tcp(place) => {
                    let lost = self.write_stream(place, &transmit);
                    self.flush_stream(place);
                    lost
                }
                Via::Door => self.put_through(&transmit),
            };
        }
        lost += self.outward.as_mut().map_or(0, Outward::send) as u64;
        worker.counters.dropped_full.add(lost);
    }

    fn write_stream(&mut self, place: u32, transmit: &Transmit<'_>) -> u64 {
        let stream = self.streams.get_mut(place);
        // Another connection may have the place of one that is gone.
        let Some(stream) = stream.filter(|stream| stream.remote == transmit.to.remote) else {
            return 0;
        };
        transmit.datagrams().map(|datagram| u64::from(!stream.write(datagram))).sum()
    }

    fn put_through(&mut self, transmit: &Transmit<'_>) -> u64 {
        let to = transmit.to.remote;
        let own = self.sockets.iter().find(|(own, _)| own.is_ipv4() == to.is_ipv4());
        let (Some((own, _)), Some(door)) = (own, self.door.get()) else { return 0 };
        let from = SocketAddr::new(transmit.to.local.unwrap_or(own.ip()), own.port());
        let outward = self.outward.get_or_insert_with(|| Outward::new(Arc::clone(door)));
        transmit.datagrams().map(|datagram| outward.push(from, to, datagram) as u64).sum()
    }
}

/// Sends datagrams of one size for one destination by one call; returns how many were lost.
fn send_udp(
    sockets: &[(SocketAddr, UdpSocket)],
    offload: &UdpSocketState,
    transmit: &Transmit<'_>,
) -> u64 {
    let &Transmit { to, bytes, lengths } = transmit;
    let most = offload.max_gso_segments();
    let socket = sockets.iter().find(|(own, _)| own.is_ipv4() == to.remote.is_ipv4());
    let Some((_, socket)) = socket else { return 0 };
    let route = Route { socket: (), to: to.remote, from: to.local, ecn: None };
    let (mut rest, mut lengths, mut lost) = (bytes, lengths, 0);
    while let Some(&segment) = lengths.first() {
        let segment = usize::from(segment);
        // Equal ones, and one shorter at the end.
        let equal =
            lengths.iter().take(most).take_while(|&&length| usize::from(length) == segment).count();
        let tail =
            lengths.get(equal).filter(|&&length| equal < most && usize::from(length) < segment);
        let mut count = equal + usize::from(tail.is_some());
        let mut length = equal * segment + tail.map_or(0, |&tail| usize::from(tail));
        if length > udp::BYTES {
            count = (udp::BYTES / segment.max(1)).min(equal).max(1);
            length = count * segment;
        }
        let Some((run, after)) = rest.split_at_checked(length) else { break };
        let sent = udp::send(socket, offload, &route, run, segment, count);
        lost += sent.full + sent.failed;
        rest = after;
        lengths = lengths.get(count..).unwrap_or_default();
    }
    lost
}
