//! What viewers see of numbers, markers and pictures when layers come and go.

use super::*;

/// A retransmission (RFC 4588) number `index` of a packet of `layer`.
fn rtx(layer: u32, index: u64, timestamp: u32) -> Rtp {
    Rtp { payload_type: RTX, ssrc: 150 + layer, sequence: index, timestamp, marker: false }
}

/// The numbers of media that a viewer got at first sending, in the order of their arrival.
fn numbers(world: &World, viewer: usize) -> Vec<u64> {
    let got = world.phones[viewer].got.iter();
    let media = got.filter(|(_, packet)| Header::parse(packet).unwrap().ssrc == 7000);
    media.map(|&(number, _)| number).collect()
}

/// Two layers of which one is left and taken up again by `leave` and `come_back`; a packet of its first run is restored only then.
fn late_packet_of_an_older_run(layers: usize, leave: LayerPreference, come_back: LayerPreference) {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, layers)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let lost = 95;
    let high = layers as u64 - 1;
    let mut wanted = vec![true; layers];
    for picture in 0..200_u64 {
        match picture {
            100 => world.prefer(ben, leave, u8::MAX),
            110 => world.prefer(ben, come_back, u8::MAX),
            _ => {}
        }
        for layer in 0..layers as u64 {
            let key = std::mem::take(&mut wanted[layer as usize]);
            if (layer, picture) == (high, lost) {
                continue;
            }
            let ssrc = 100 + layer as u32;
            let rtp = vp8_packet(ssrc, 10_000 * (layer + 1) + picture, picture, true);
            world.packet(ada, rtp, &[], &vp8_payload(picture, true, key));
        }
        if picture == 150 {
            let before = numbers(&world, ben).len();
            let sequence = (10_000 * (high + 1) + lost) as u16;
            let payload = [&sequence.to_be_bytes()[..], &vp8_payload(lost, true, false)].concat();
            world.packet(ada, rtx(high as u32, 1, lost as u32 * 3000), &[], &payload);
            world.step(1);
            assert!(numbers(&world, ben).len() <= before + 1, "the late packet is not sent anew");
        }
        let before = world.phones[ada].compounds.len();
        world.step(33);
        for ssrc in world.keyframes_asked(ada, before) {
            wanted[(ssrc - 100) as usize] = true;
        }
    }
    let seen = numbers(&world, ben);
    assert!(seen.windows(2).all(|pair| pair[1] > pair[0]), "in order");
    assert!(seen.len() > 170, "{}", seen.len());
    assert_eq!(gaps(world.phones[ben].media().keys().copied()), 1, "what the publisher lost");
}

#[test]
fn a_packet_that_comes_after_its_layer_was_left_and_taken_up_again_gets_no_number() {
    late_packet_of_an_older_run(2, LayerPreference::Layer(0), LayerPreference::Auto);
}

#[test]
fn a_packet_that_comes_after_a_pause_gets_no_number() {
    late_packet_of_an_older_run(1, LayerPreference::Off, LayerPreference::Auto);
    late_packet_of_an_older_run(2, LayerPreference::Off, LayerPreference::Auto);
}

#[test]
fn a_retransmission_of_a_thinned_picture_ends_it_as_the_first_sending_did() {
    let (_, descriptor) = crate::dependency::tests::three_levels(false);
    let mut world = World::new();
    let mut plan = camera(1, 1);
    plan.codecs[0].format = Codec::Vp9.into();
    plan.extensions.set(Extension::Dependency, 8);
    let mut viewer = screen();
    viewer.codecs[0].format = Codec::Vp9.into();
    let ada = world.phone(vec![plan], vec![]);
    let ben = world.phone(vec![], vec![viewer]);
    world.show(ben, "0", 1);
    world.prefer(ben, LayerPreference::Layer(0), u8::MAX);
    world.step(1);
    let marker = |world: &World| {
        let (_, packet) = world.phones[ben].got.last().unwrap();
        Header::parse(packet).unwrap().marker
    };
    let mut sequence = 100;
    for picture in 0..20_u64 {
        for spatial in 0..3_u8 {
            let rtp = vp8_packet(100, sequence, picture, spatial == 2);
            let descriptor =
                descriptor(picture as u16 * 3 + u16::from(spatial), spatial, picture == 0);
            world.packet(ada, rtp, &[(8, &descriptor)], &[0x40, spatial, 0, 0, 7]);
            sequence += 1;
        }
        world.step(33);
        assert!(marker(&world));
    }
    let seen = numbers(&world, ben);
    assert_eq!(seen.len(), 20, "the lowest layer alone");
    for number in seen {
        let before = world.phones[ben].got.len();
        world.rtcp(ben, |compound| compound.nack(7000, &[number as u16]));
        world.step(1);
        assert_eq!(world.phones[ben].got.len(), before + 1);
        assert!(marker(&world), "the retransmission of {number}");
    }
}

/// The payload of a packet of a VP8 picture of a temporal layer.
fn temporal_payload(picture: u64, first: bool, key: bool, temporal: u8, syncs: bool) -> Vec<u8> {
    let [high, low] = (picture as u16).to_be_bytes();
    let (start, layer) = (u8::from(first) << 4, temporal << 6 | u8::from(syncs) << 5);
    [&[0x80 | start, 0xA0, high | 0x80, low, layer, u8::from(!key)][..], &[7; 50]].concat()
}

#[test]
fn more_temporal_layers_of_vp8_begin_where_a_picture_allows_them() {
    let mut world = World::new();
    let ada = world.phone(vec![camera(1, 1)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let temporal = |picture: u64| [0, 2, 1, 2][picture as usize % 4];
    // One picture in sixteen of each upper layer needs the lowest layer alone.
    let syncs = |picture: u64| [1, 2, 3].contains(&(picture % 16));
    for picture in 0..100_u64 {
        for part in 0..3 {
            if part == 1 {
                // Wishes change in the middle of a picture.
                match picture {
                    20 => world.prefer(ben, LayerPreference::Auto, 0),
                    37 => world.prefer(ben, LayerPreference::Auto, u8::MAX),
                    70 => world.prefer(ben, LayerPreference::Auto, 1),
                    _ => {}
                }
            }
            let rtp = vp8_packet(100, 100 + picture * 3 + part, picture, part == 2);
            let key = picture == 0;
            let (temporal, syncs) = (temporal(picture), syncs(picture));
            let payload = temporal_payload(picture, part == 0, key, temporal, syncs);
            world.packet(ada, rtp, &[], &payload);
            world.step(2);
        }
        world.step(27);
    }
    let mut parts: BTreeMap<u32, u8> = BTreeMap::new();
    for (_, packet) in &world.phones[ben].got {
        *parts.entry(Header::parse(packet).unwrap().timestamp.0).or_default() += 1;
    }
    assert!(parts.values().all(|&parts| parts == 3), "whole pictures only: {parts:?}");
    let first = *parts.keys().next().unwrap();
    let passed = |picture: u64| parts.contains_key(&first.wrapping_add(picture as u32 * 3000));
    let passed: Vec<u64> = (0..100).filter(|&picture| passed(picture)).collect();
    let expected = (0..100).filter(|&picture| match picture {
        ..=20 | 51..=70 => true,
        // The next one that needs the lowest layer alone is of layer 2 (49), of layer 1 (50), of layer 2 (51).
        21..=49 => temporal(picture) == 0,
        50 => true,
        _ => temporal(picture) <= 1,
    });
    assert_eq!(passed, expected.collect::<Vec<_>>());
    let media = world.phones[ben].media();
    assert_eq!(gaps(media.keys().copied()), 0);
    let ids: Vec<u16> = media.values().map(|(_, id, _)| *id).collect();
    assert!(ids.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) <= 1), "{ids:?}");
}
