//! What things cost: how often timers are looked at, and in how many pieces datagrams leave.

use super::*;

#[test]
fn retransmissions_for_one_viewer_leave_together() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let viewers = [0, 1].map(|_| world.phone(vec![], vec![screen()]));
    viewers.iter().for_each(|&viewer| world.show(viewer, "0", 1));
    for picture in 0..30_u64 {
        let rtp = vp8_packet(100, 1000 + picture, picture, true);
        world.packet(ada, rtp, &[], &vp8_payload(picture, true, picture == 0));
        world.step(33);
    }
    for viewer in viewers {
        let numbers: Vec<u16> =
            world.phones[viewer].got.iter().rev().take(12).map(|it| it.0 as u16).collect();
        world.rtcp(viewer, |compound| compound.nack(7000, &numbers));
    }
    let mut trains = Vec::new();
    while let Some(transmit) = world.worker.poll_output(world.now) {
        let bytes: usize = transmit.datagrams().map(<[u8]>::len).sum();
        assert_eq!(bytes, transmit.bytes.len());
        assert!(transmit.lengths.windows(2).all(|pair| pair[0] == pair[1]), "of one size");
        trains.push((transmit.to, transmit.lengths.len()));
    }
    let expected = viewers.map(|viewer| (world.phones[viewer].source, 12));
    assert_eq!(trains, expected);
}

#[test]
fn a_missing_packet_is_looked_at_when_it_is_to_be_asked_for_and_not_with_every_packet() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut due_at_once = 0;
    for number in 0..200_u64 {
        if number == 100 {
            continue;
        }
        let rtp = vp8_packet(100, 1000 + number, number, true);
        world.packet(ada, rtp, &[], &vp8_payload(number, true, number == 0));
        // The picture itself leaves first.
        while world.worker.poll_output(world.now).is_some() {}
        if number > 100 {
            due_at_once += u32::from(world.worker.deadline() <= world.now);
        }
        world.step(1);
    }
    assert!(due_at_once <= 2, "{due_at_once} of 99 packets");
    let asked = world.phones[ada].compounds.iter().filter(|compound| {
        let mut asks = false;
        read(compound, |said| asks |= matches!(said, Rtcp::Nack { sequence: 1100, .. }));
        asks
    });
    assert!((1..=3).contains(&asked.count()));
}
