//! Numbers of whole calls.

use super::*;
use crate::rtcp::ReportBlock;
use crate::{PeerStats, SendStats};

impl World {
    /// What was given out of a phone.
    fn stats(&self, number: usize) -> Vec<&PeerStats> {
        let peer = self.phones[number].key;
        let given = self.events.iter().filter_map(|event| match event {
            Event::Stats(stats) if stats.peer == peer => Some(&**stats),
            _ => None,
        });
        given.collect()
    }

    /// Reports on the last sender report that a phone got, which it held for so many milliseconds.
    fn report_back(&mut self, number: usize, held: u64, (fraction_lost, lost): (u8, i32)) {
        let mut ntps = Vec::new();
        for compound in &self.phones[number].compounds {
            read(compound, |said| {
                if let Rtcp::SenderReport { ssrc: 7000, ntp, .. } = said {
                    ntps.push((ntp >> 16) as u32);
                }
            });
        }
        let last_report = ntps.last().copied().unwrap_or(0);
        let block = ReportBlock {
            ssrc: 7000,
            fraction_lost,
            lost,
            jitter: 450,
            last_report,
            delay: (held * 65_536 / 1_000) as u32,
            ..ReportBlock::default()
        };
        let phone = &mut self.phones[number];
        let mut out = Vec::new();
        Compound::new(&mut out, 1, &[block]);
        phone.reports += 1;
        let reports = phone.reports;
        phone.keys.as_mut().unwrap().0.seal_rtcp(&mut out, 0, reports).unwrap();
        self.send(number, out);
    }
}

/// A sender report of the publisher, as it would write it.
fn clock_of(world: &mut World, number: usize, ssrc: u32, n: u64) {
    let phone = &mut world.phones[number];
    let mut out = Vec::new();
    Compound::sender_report(
        &mut out,
        ssrc,
        (n << 32, crate::numbers::MediaTime((n * 90_000) as u32)),
        (1, 1),
        "ada",
    );
    phone.reports += 1;
    let reports = phone.reports;
    phone.keys.as_mut().unwrap().0.seal_rtcp(&mut out, 0, reports).unwrap();
    world.send(number, out);
}

#[test]
fn numbers_of_every_peer_are_given_out_every_five_seconds_and_at_its_end() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut sequence = 0;
    for n in 0..360_u64 {
        // One in 51 is lost on the way here.
        sequence += 1 + u64::from(n % 50 == 49);
        let place = (sequence, 3000 * n as u32, n as u16);
        world.picture(ada, 100, place, (true, n % 30 == 0, true));
        if n % 30 == 0 {
            clock_of(&mut world, ada, 100, 1 + n / 30);
        }
        world.step(33);
    }
    for (first, last) in [(false, false), (true, true)] {
        let nack: &[u16] = &[world.phones[ben].got.last().unwrap().0 as u16];
        world.rtcp(ben, |compound| compound.nack(7000, nack));
        world.rtcp(ben, |compound| compound.keyframe_request(7000));
        world.rtcp(ben, |compound| compound.full_intra_request(7000, u8::from(first)));
        world.rtcp(ben, |compound| compound.full_intra_request(7000, u8::from(last)));
    }
    world.step(1_000);
    sequence += 1;
    world.picture(ada, 100, (sequence, 360 * 3000, 360), (true, true, true));
    world.step(40);
    let from = world.phones[ben].compounds.len();
    while world.phones[ben].compounds.len() == from {
        world.step(1);
    }
    world.step(50);
    world.report_back(ben, 10, (12, 34));
    for number in [ben, ada] {
        assert_eq!(world.stats(number).len(), 2, "after five seconds, and after ten");
        let peer = world.phones[number].key;
        world.command(number, Command::Close { peer });
    }
    world.step(0);
    for number in [ada, ben] {
        let peer = world.phones[number].key;
        let last = world.events.iter().rev().find(|event| match event {
            Event::Stats(stats) => stats.peer == peer,
            Event::Gone { peer: gone, .. } => *gone == peer,
            _ => false,
        });
        assert_eq!(last, Some(&Event::Gone { peer, reason: Gone::Closed }));
        assert_eq!(world.stats(number).len(), 3);
    }
    let stats = world.stats(ada);
    let layer = |stats: &PeerStats| stats.receives[0].layers[0];
    assert_eq!((stats[0].receives[0].mid.as_str(), stats[0].receives[0].track), ("v", TrackKey(1)));
    let (first, end) = (layer(stats[0]), layer(stats[2]));
    assert!((140..160).contains(&first.packets) && first.bitrate > 30_000, "{first:?}");
    assert_eq!((end.packets, end.recovered, end.discarded), (361, 0, 0), "{end:?}");
    assert_eq!(end.bytes, 361 * (world.size as u64 + 5));
    assert_eq!(end.lost, 7, "{end:?}");
    assert!(end.nacks >= 7 && end.keyframe_requests >= 1, "{end:?}");
    assert!(first.jitter_us < 5_000 && end.jitter_us > first.jitter_us, "{first:?} {end:?}");

    let stats = world.stats(ben);
    assert!(stats[1].age_ms >= 10_000 && stats[1].age_ms < 11_000, "{}", stats[1].age_ms);
    let expected = SendStats {
        mid: "0".into(),
        track: Some(TrackKey(1)),
        codec: Some(Codec::Vp8),
        layer: Some(0),
        target: Some(0),
        packets: 361,
        bytes: 361 * (world.size as u64 + 5),
        resent: 2,
        nacks: 2,
        plis: 2,
        firs: 2,
        reports: 1,
        fraction_lost: 12,
        lost: 34,
        jitter_us: 5_000,
        rtt_us: stats[2].rtt_us,
        freezes: 1,
        frozen_ms: 1_040,
        target_bitrate: stats[2].sends[0].target_bitrate,
    };
    assert_eq!(stats[2].sends, [expected]);
    let round_trip = stats[2].rtt_us.unwrap();
    assert!(round_trip.abs_diff(40_000) < 50, "{round_trip}");
    assert!(stats[2].sends[0].target_bitrate >= 30_000);
    assert!(stats[0].rtt_us.is_none() && stats[0].sends[0].reports == 0);
}

#[test]
fn what_is_not_to_be_shown_is_not_frozen() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut n = 0;
    let mut pictures = |world: &mut World, count: u64| {
        for _ in 0..count {
            n += 1;
            world.picture(ada, 100, (n, 3000 * n as u32, n as u16), (true, true, true));
            world.step(33);
        }
    };
    pictures(&mut world, 60);
    let (peer, track) = (world.phones[ben].key, TrackKey(1));
    let preference =
        |preference| Command::Prefer { peer, track, preference, priority: 1, temporal: 255 };
    for command in [
        preference(LayerPreference::Off),
        preference(LayerPreference::Auto),
        Command::Mute { track, muted: true },
        Command::Mute { track, muted: false },
    ] {
        world.command(ben, command);
        pictures(&mut world, 30);
    }
    world.command(ben, Command::Show { peer, mid: "0".into(), track: None });
    pictures(&mut world, 30);
    world.show(ben, "0", 1);
    pictures(&mut world, 30);
    world.command(ben, Command::Close { peer });
    world.step(0);
    let end = world.stats(ben).pop().unwrap().sends[0].clone();
    assert_eq!((end.packets, end.freezes, end.frozen_ms), (150, 0, 0));
}
