//! A number under a key is used once, whatever becomes of sections, tracks and processes.

use proptest::prelude::*;

use super::*;

/// Section `mid` of a viewer, with SSRCs of its own.
fn section(mid: usize, ssrc: u32) -> SendPlan {
    SendPlan { mid: mid.to_string(), ssrc, rtx_ssrc: ssrc + 1000, ..screen() }
}

/// Agrees on other sections with a viewer.
fn sections(world: &mut World, number: usize, sends: Vec<SendPlan>) {
    let phone = &world.phones[number];
    let (peer, ice) = (phone.key, phone.ice.clone());
    let fingerprint = Some(phone.client.fingerprint);
    let plan = Box::new(PeerPlan { ice, fingerprint, receives: vec![], sends });
    world.command(number, Command::Configure { peer, plan });
}

/// Two publishers send a keyframe each, number `step`.
fn publish(world: &mut World, publishers: [usize; 2], step: u64) {
    for (at, &publisher) in publishers.iter().enumerate() {
        let ssrc = 100 * (at as u32 + 1);
        for part in 0..2 {
            let rtp = vp8_packet(ssrc, 1000 + step * 2 + part, step, part == 1);
            world.packet(publisher, rtp, &[], &vp8_payload(step, part == 0, true));
        }
    }
    world.step(20);
}

/// How many packets of media of an SSRC a viewer got.
fn got(world: &World, viewer: usize, ssrc: u32) -> usize {
    let got = world.phones[viewer].got.iter();
    got.filter(|(_, packet)| Header::parse(packet).unwrap().ssrc == ssrc).count()
}

/// Another process goes on with both workers.
fn succeed(world: &mut World) {
    let fresh = || {
        let identity = Arc::new(Identity::generate().unwrap());
        Worker::new(identity, world.now)
    };
    let (one, mut two) = (fresh(), fresh());
    two.is_number(1);
    let states = std::mem::replace(&mut world.worker, one).export();
    world.worker.adopt(states, world.now);
    let states = std::mem::replace(&mut world.other, two).export();
    world.other.adopt(states, world.now);
}

#[test]
fn a_section_that_is_gone_leaves_its_numbers_to_no_other() {
    let mut world = World::new();
    let publishers = [1, 2].map(|track| world.phone(vec![camera(track, 1)], vec![]));
    let all = || vec![section(0, 7000), section(1, 7100), section(2, 7200)];
    let ben = world.phone(vec![], all());
    for mid in 0..3 {
        world.show(ben, &mid.to_string(), 1 + mid % 2);
    }
    (0..10).for_each(|step| publish(&mut world, publishers, step));
    assert_eq!([7000, 7100, 7200].map(|ssrc| got(&world, ben, ssrc)), [20; 3]);
    // The one in the middle is rejected, and another process takes over.
    sections(&mut world, ben, vec![section(0, 7000), section(2, 7200)]);
    succeed(&mut world);
    (10..20).for_each(|step| publish(&mut world, publishers, step));
    assert_eq!([7000, 7100, 7200].map(|ssrc| got(&world, ben, ssrc)), [40, 20, 40]);
    // It comes back, and goes on where it was.
    sections(&mut world, ben, all());
    world.show(ben, "1", 2);
    (20..30).for_each(|step| publish(&mut world, publishers, step));
    assert_eq!([7000, 7100, 7200].map(|ssrc| got(&world, ben, ssrc)), [60, 40, 60]);
    for ssrc in [7000, 7100, 7200] {
        let of_it = world.phones[ben]
            .got
            .iter()
            .filter(|(_, packet)| Header::parse(packet).unwrap().ssrc == ssrc);
        assert_eq!(gaps(of_it.map(|it| it.0 as u16)), 0, "{ssrc}");
    }
}

#[test]
fn a_section_with_another_ssrc_shows_what_it_showed_with_numbers_of_its_own() {
    let mut world = World::new();
    let publishers = [1, 2].map(|track| world.phone(vec![camera(track, 1)], vec![]));
    let ben = world.phone(vec![], vec![section(0, 7000)]);
    world.show(ben, "0", 1);
    (0..10).for_each(|step| publish(&mut world, publishers, step));
    sections(&mut world, ben, vec![section(0, 7300)]);
    (10..20).for_each(|step| publish(&mut world, publishers, step));
    assert_eq!([7000, 7300].map(|ssrc| got(&world, ben, ssrc)), [20, 20]);
    // Two sections with the same SSRC have not two owners of its numbers.
    sections(&mut world, ben, vec![section(0, 7300), section(1, 7300)]);
    world.show(ben, "1", 2);
    (20..30).for_each(|step| publish(&mut world, publishers, step));
}

#[test]
fn a_viewer_of_another_worker_is_shown_the_same_by_its_successor() {
    let mut world = World::new();
    let publishers = [1, 2].map(|track| world.phone(vec![camera(track, 1)], vec![]));
    let ben = world.phone_at(true, vec![], vec![section(0, 7000)]);
    world.show(ben, "0", 1);
    (0..10).for_each(|step| publish(&mut world, publishers, step));
    world.prefer(ben, LayerPreference::Layer(0), 0);
    succeed(&mut world);
    let before = got(&world, ben, 7000);
    (10..30).for_each(|step| publish(&mut world, publishers, step));
    assert!(got(&world, ben, 7000) - before >= 36, "{}", got(&world, ben, 7000) - before);
    let track = world.other.tracks.iter().next().unwrap().1;
    let subscription = track.subscriptions.first().unwrap();
    assert_eq!((subscription.preference, subscription.temporal), (LayerPreference::Layer(0), 0));
}

#[test]
fn viewers_come_and_go_and_each_is_found_at_its_place() {
    let mut world = World::new();
    let publishers = [1, 2].map(|track| world.phone(vec![camera(track, 1)], vec![]));
    let viewers: Vec<usize> =
        (0..12).map(|_| world.phone(vec![], vec![section(0, 7000), section(1, 7100)])).collect();
    for round in 0..24_usize {
        let viewer = viewers[round * 5 % 12];
        let (peer, mid) = (world.phones[viewer].key, (round % 2).to_string());
        let track = [None, Some(TrackKey(1)), Some(TrackKey(2))][round % 3];
        world.command(viewer, Command::Show { peer, mid, track });
        publish(&mut world, publishers, round as u64);
        for (place, peer) in &world.worker.peers {
            for (sender_at, track, subscription) in peer.subscribed() {
                let track = &world.worker.tracks[world.worker.track_of[&track]];
                let found = &track.subscriptions[subscription];
                assert_eq!((found.viewer, found.sender_at), (place, sender_at));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn no_sequence_of_plans_tracks_and_successors_uses_a_number_twice(
        steps in proptest::collection::vec((0_u8..8, 0_u8..64), 1..40)
    ) {
        let mut world = World::new();
        let publishers = [1, 2].map(|track| world.phone(vec![camera(track, 1)], vec![]));
        let ben = world.phone(vec![], vec![section(0, 7000)]);
        world.show(ben, "0", 1);
        for (step, (what, with)) in (0..).zip(steps) {
            let with = usize::from(with);
            match what {
                // Some of three sections, with one of three SSRCs each; some clash.
                0..=2 => {
                    let plans = (0..3).filter(|mid| with >> mid & 1 == 1);
                    let plan = |mid: usize| section(mid, 7000 + 100 * ((with / 8 + mid) as u32 % 4));
                    sections(&mut world, ben, plans.map(plan).collect());
                }
                3 | 4 => world.show(ben, &(with % 3).to_string(), 1 + (with / 3 % 2) as u64),
                5 => succeed(&mut world),
                6 => {
                    let sequences: Vec<u16> = world.phones[ben].got.iter().rev().take(20)
                        .map(|it| it.0 as u16).collect();
                    for ssrc in [7000, 7100] {
                        world.rtcp(ben, |compound| compound.nack(ssrc, &sequences));
                    }
                }
                _ => world.prefer(ben, [LayerPreference::Off, LayerPreference::Auto][with % 2], u8::MAX),
            }
            // The client asserts that no SSRC and number come with two ciphertexts.
            (0..3).for_each(|part| publish(&mut world, publishers, step * 3 + part));
        }
    }
}
