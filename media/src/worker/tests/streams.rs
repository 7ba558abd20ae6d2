//! What happens when a publisher's streams change under way: another SSRC, padding alone, another codec, other layers.

use super::*;

/// A camera whose packets name their section by a MID (extension 5).
fn named_camera(layers: usize) -> ReceivePlan {
    let mut plan = camera(1, layers);
    plan.extensions.set(Extension::Mid, 5);
    if layers == 1 {
        plan.rids.clear();
    }
    plan
}

/// SSRCs that the compounds of a publisher from the `from`th on are about: of report blocks, of NACKs, of keyframe requests.
fn named_in_feedback(world: &World, number: usize, from: usize) -> [HashSet<u32>; 3] {
    let mut named: [HashSet<u32>; 3] = Default::default();
    for compound in &world.phones[number].told[from..] {
        read(compound, |said| match said {
            Rtcp::Report(block) => drop(named[0].insert(block.ssrc)),
            Rtcp::Nack { ssrc, .. } => drop(named[1].insert(ssrc)),
            Rtcp::KeyframeRequest { ssrc } => drop(named[2].insert(ssrc)),
            _ => {}
        });
    }
    named
}

fn another_ssrc(away: bool) {
    let mut world = World::new();
    let plan = ReceivePlan { ssrcs: vec![(176, None)], ..named_camera(1) };
    let ada = world.phone(vec![plan], vec![]);
    let ben = world.phone_at(away, vec![], vec![screen()]);
    world.show(ben, "0", 1);
    world.step(1);
    world.step(1);
    let (recorder, tapping) = tap(10_000);
    world.tell(ada, Command::Tap { track: TrackKey(1), tap: Some(recorder) });
    // Each stream's SSRC, first number, and first timestamp.
    let streams = [(176, 30_000, 0), (177, 12_000, 0xF000_0000), (178, 2_000, 0x1234_5678_u32)];
    let mut seen_at: Vec<u64> = Vec::new();
    for picture in 0..135_u64 {
        let (ssrc, from, time) = streams[(picture / 45) as usize];
        let of_stream = picture % 45;
        let sequence = from + of_stream;
        let timestamp = time.wrapping_add(of_stream as u32 * 6000);
        let rtp = Rtp { payload_type: VP8, ssrc, sequence, timestamp, marker: true };
        let payload = vp8_payload(picture, true, of_stream % 15 == 0);
        // A packet of each stream is lost.
        if of_stream != 20 {
            world.packet(ada, rtp, &[(5, b"v")], &payload);
        }
        if [47, 60, 80].contains(&picture) {
            // What was on its way when the stream changed, and a retransmission of it.
            let late = Rtp { ssrc: 176, sequence: 30_100 + picture, ..rtp };
            world.packet(ada, late, &[(5, b"v")], &vp8_payload(picture, true, true));
        }
        let before = world.phones[ben].got.len();
        world.step(66);
        if world.phones[ben].got.len() > before {
            seen_at.push(picture);
        }
        let from = world.phones[ada].told.len();
        if [44, 89, 134].contains(&picture) {
            world.step(1000);
            let [reports, nacks, _] = named_in_feedback(&world, ada, from);
            assert_eq!((reports, nacks.len()), (HashSet::from([ssrc]), 0));
        }
    }
    let expected: Vec<u64> = (0..135).filter(|picture| picture % 45 != 20).collect();
    assert_eq!(seen_at, expected, "pictures go on at once");
    let [_, nacks, keyframes] = named_in_feedback(&world, ada, 0);
    assert_eq!(nacks, HashSet::from([176, 177, 178]));
    assert!(keyframes.is_subset(&HashSet::from([176, 177, 178])));
    let media = world.phones[ben].media();
    assert_eq!(gaps(media.keys().copied()), 3, "what the publisher lost");
    let times: Vec<u32> = media.values().map(|&(time, ..)| time).collect();
    let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    assert!(steps.clone().all(|step| (1..200_000).contains(&step)), "time goes on");
    let recorded = std::iter::from_fn(|| tapping.take().ok().flatten());
    let recorded: Vec<u64> = recorded
        .filter_map(|part| match part {
            Tapped::Packet(packet) => Some(packet.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(recorded.len(), expected.len());
    assert!(recorded.windows(2).all(|pair| pair[1] > pair[0]), "numbers go on");
}

#[test]
fn another_ssrc_of_a_section_goes_on_with_a_keyframe_whatever_its_numbers() {
    another_ssrc(false);
    another_ssrc(true);
}

#[test]
fn another_ssrc_that_does_not_begin_with_a_keyframe_is_asked_for_one_at_once() {
    let mut world = World::new();
    let ada = world.phone(vec![named_camera(1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let mut asked_at = None;
    for picture in 0..20_u64 {
        let ssrc = if picture < 10 { 100 } else { 200 };
        let rtp = vp8_packet(ssrc, 40_000 - 3_000 * (picture / 10) + picture, picture, true);
        let key = picture == 0 || asked_at == Some(picture - 1);
        world.packet(ada, rtp, &[(5, b"v")], &vp8_payload(picture, true, key));
        let before = world.phones[ada].told.len();
        world.step(33);
        if world.keyframes_asked(ada, before).contains(&200) {
            assert_eq!(asked_at.replace(picture), None, "asked for once");
        }
    }
    assert_eq!(asked_at, Some(10));
    assert_eq!(world.phones[ben].media().len(), 19);
}

#[test]
fn two_ssrcs_of_one_section_that_alternate_do_not_take_turns() {
    let mut world = World::new();
    let ada = world.phone(vec![named_camera(1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    for picture in 0..100_u64 {
        let ssrc = 100 + (picture % 2) as u32;
        let rtp = vp8_packet(ssrc, 1000 + picture / 2, picture, true);
        world.packet(ada, rtp, &[(5, b"v")], &vp8_payload(picture, true, true));
        world.step(33);
    }
    assert!(world.asked(ada) <= 2, "{}", world.asked(ada));
    let seen = world.phones[ben].media().len();
    assert_eq!(seen, 51, "one of each, then the newer one's");
}

#[test]
fn a_retransmission_of_the_stream_before_restores_nothing_in_the_one_after() {
    let mut world = World::new();
    let ada = world.phone(vec![named_camera(1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let send = |world: &mut World, rtp: Rtp, key: bool| {
        world.packet(ada, rtp, &[(5, b"v")], &vp8_payload(rtp.sequence, true, key));
        world.step(33);
    };
    let repair = |sequence: u64, original: u16| {
        let rtp = Rtp { payload_type: RTX, ..vp8_packet(150, sequence, 1, true) };
        (rtp, [&original.to_be_bytes()[..], &vp8_payload(9_999, true, false)].concat())
    };
    for sequence in [1, 2, 4, 5] {
        send(&mut world, vp8_packet(100, sequence, sequence, true), sequence == 1);
    }
    let (rtp, payload) = repair(1, 3);
    world.packet(ada, rtp, &[], &payload);
    world.step(33);
    assert_eq!(world.phones[ben].media().len(), 5);
    for sequence in [1, 2, 4, 5] {
        send(&mut world, vp8_packet(200, sequence, 10 + sequence, true), sequence == 1);
    }
    let (rtp, payload) = repair(2, 3);
    world.packet(ada, rtp, &[], &payload);
    world.step(33);
    assert_eq!(world.phones[ben].media().len(), 9, "it was of the stream before");
}

#[test]
fn a_layer_that_carries_padding_alone_holds_nobody() {
    for away in [false, true] {
        let mut world = World::new();
        let ada = world.phone(vec![camera(1, 2)], vec![]);
        let ben = world.phone_at(away, vec![], vec![screen()]);
        world.show(ben, "0", 1);
        let mut wanted = [true; 2];
        let mut shown_at = Vec::new();
        for picture in 0..300_u64 {
            for layer in 0..2_u32 {
                let sequence = 1000 * u64::from(layer + 1) + picture;
                let rtp = vp8_packet(100 + layer, sequence, picture, true);
                if layer == 1 && picture >= 100 {
                    world.padding(ada, rtp, 200);
                    continue;
                }
                let key = std::mem::take(&mut wanted[layer as usize]);
                world.packet(ada, rtp, &[], &vp8_payload(picture, true, key));
            }
            let told = world.phones[ada].told.len();
            let before = world.phones[ben].got.len();
            world.step(33);
            for ssrc in world.keyframes_asked(ada, told) {
                wanted[(ssrc - 100) as usize] = true;
            }
            if world.phones[ben].got.len() > before {
                shown_at.push(picture);
            }
        }
        let longest = shown_at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest * 33 < 2_500, "{} ms without a picture", longest * 33);
        assert_eq!(shown_at.last(), Some(&299));
        let sent = Event::Sent { track: TrackKey(1), layers: vec![true, false] };
        assert!(world.events.contains(&sent), "a layer without media is not sent");
        assert_eq!(gaps(world.phones[ben].media().keys().copied()), 0);
    }
}

#[test]
fn padding_among_the_media_leaves_no_hole_in_the_numbers_of_viewers() {
    for away in [false, true] {
        let mut world = World::new();
        let ada = world.phone(vec![camera(1, 1)], vec![]);
        let ben = world.phone_at(away, vec![], vec![screen()]);
        world.show(ben, "0", 1);
        world.step(1);
        world.step(1);
        let (mut sequence, mut lost) = (1000, 0);
        for picture in 0..60_u64 {
            for part in 0..3 {
                sequence += 1;
                if part == 1 && picture % 10 == 5 {
                    lost += 1;
                    continue;
                }
                let rtp = vp8_packet(100, sequence, picture, part == 2);
                let key = picture == 0;
                world.packet(ada, rtp, &[], &vp8_payload(picture, part == 0, key));
            }
            for _ in 0..picture % 4 {
                sequence += 1;
                world.padding(ada, vp8_packet(100, sequence, picture, false), 255);
            }
            world.step(33);
        }
        let media = world.phones[ben].media();
        assert_eq!((media.len(), gaps(media.keys().copied())), (180 - lost, lost));
        assert!(media.values().zip(media.values().skip(1)).all(|(a, b)| b.0 - a.0 <= 3000));
    }
}
