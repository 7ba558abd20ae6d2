//! What happens when a publisher's streams change under way: another SSRC, padding alone, another codec, other layers.

use super::*;

/// Header extensions by their numbers.
type Named<'a> = &'a [(u8, &'a [u8])];

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
    for compound in &world.phones[number].compounds[from..] {
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
    world.command(ada, Command::Tap { track: TrackKey(1), tap: Some(recorder) });
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
        let from = world.phones[ada].compounds.len();
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
        let before = world.phones[ada].compounds.len();
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
    let rtx = |sequence: u64, original: u16| {
        let rtp = Rtp { payload_type: RTX, ..vp8_packet(150, sequence, 1, true) };
        (rtp, [&original.to_be_bytes()[..], &vp8_payload(9_999, true, false)].concat())
    };
    for sequence in [1, 2, 4, 5] {
        send(&mut world, vp8_packet(100, sequence, sequence, true), sequence == 1);
    }
    let (rtp, payload) = rtx(1, 3);
    world.packet(ada, rtp, &[], &payload);
    world.step(33);
    assert_eq!(world.phones[ben].media().len(), 5);
    for sequence in [1, 2, 4, 5] {
        send(&mut world, vp8_packet(200, sequence, 10 + sequence, true), sequence == 1);
    }
    let (rtp, payload) = rtx(2, 3);
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
            let from = world.phones[ada].compounds.len();
            let before = world.phones[ben].got.len();
            world.step(33);
            for ssrc in world.keyframes_asked(ada, from) {
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

/// The payload type of H.264, and that of its retransmissions.
const H264: u8 = 102;
const H264_RTX: u8 = 103;

/// A camera that may send VP8 or H.264.
fn two_codecs(layers: usize) -> ReceivePlan {
    let mut plan = camera(1, layers);
    plan.codecs.push(coded(Codec::H264, H264, Some(H264_RTX)));
    let sequence = vec![0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x02, 0x80, 0xF6, 0x80];
    plan.codecs[1].parameter_sets = [sequence, vec![0x68, 0xCE, 0x3C, 0x80]].into();
    plan
}

/// A viewer of both.
fn takes_both() -> SendPlan {
    let mut plan = screen();
    plan.codecs.push(SendCodec {
        format: Codec::H264.into(),
        payload_type: 120,
        rtx_type: Some(121),
        red_type: None,
    });
    plan
}

/// The payload of a packet of a picture in either codec.
fn payload_of(payload_type: u8, picture: u64, key: bool) -> Vec<u8> {
    match payload_type {
        VP8 => vp8_payload(picture, true, key),
        _ => [&[if key { 0x65 } else { 0x61 }, 0x88][..], &[5; 200]].concat(),
    }
}

fn another_codec(away: bool) {
    let mut world = World::new();
    let ada = world.phone(vec![two_codecs(1)], vec![]);
    let ben = world.phone_at(away, vec![], vec![takes_both()]);
    let eve = world.phone_at(away, vec![], vec![screen()]);
    for viewer in [ben, eve] {
        world.show(viewer, "0", 1);
    }
    world.step(1);
    world.step(1);
    let (recorder, tapping) = tap(10_000);
    world.command(ada, Command::Tap { track: TrackKey(1), tap: Some(recorder) });
    let mut key = true;
    let mut seen_at = [const { Vec::new() }; 2];
    for picture in 0..90_u64 {
        let payload_type = if (30..60).contains(&picture) { H264 } else { VP8 };
        let rtp = Rtp { payload_type, ..vp8_packet(100, 1000 + picture, picture, true) };
        // One of each part is lost, and comes again when the codec is another one.
        if picture % 30 != 28 {
            let payload = payload_of(payload_type, picture, std::mem::take(&mut key));
            world.packet(ada, rtp, &[], &payload);
        }
        if [31, 61].contains(&picture) {
            let rtx = if picture == 31 { RTX } else { H264_RTX };
            let lost = 1000 + picture - 3;
            let again = payload_of(if picture == 31 { VP8 } else { H264 }, picture - 3, false);
            let payload = [&(lost as u16).to_be_bytes()[..], &again].concat();
            let rtp = Rtp { payload_type: rtx, ssrc: 150, sequence: picture, ..rtp };
            world.packet(ada, rtp, &[], &payload);
        }
        let before = [ben, eve].map(|viewer| world.phones[viewer].got.len());
        let from = world.phones[ada].compounds.len();
        world.step(33);
        key = !world.keyframes_asked(ada, from).is_empty();
        for ((seen, viewer), before) in seen_at.iter_mut().zip([ben, eve]).zip(before) {
            if world.phones[viewer].got.len() > before {
                seen.push(picture);
            }
        }
    }
    let sent = |picture: &u64| picture % 30 != 28;
    // The first of another codec is no keyframe; it is asked for at once.
    let started = |picture: &u64| ![30, 60].contains(picture);
    let expected: Vec<u64> = (0..90).filter(sent).filter(started).collect();
    assert_eq!(seen_at[0], expected);
    let vp8: Vec<u64> =
        expected.into_iter().filter(|picture| !(30..60).contains(picture)).collect();
    assert_eq!(seen_at[1], vp8, "who does not take it gets nothing");
    let types = world.phones[ben].got.iter().map(|(_, packet)| packet[1] & 0x7F);
    let runs =
        types.collect::<Vec<_>>().chunk_by(|a, b| a == b).map(|it| it[0]).collect::<Vec<_>>();
    assert_eq!(runs, [100, 120, 100]);
    let numbers = |viewer: usize| world.phones[viewer].got.iter().map(|it| it.0 as u16);
    assert_eq!((gaps(numbers(ben)), gaps(numbers(eve))), (3, 2), "what the publisher lost");
    let coded = |codec: Codec| Event::Coded { track: TrackKey(1), format: codec.into() };
    let events: Vec<&Event> =
        world.events.iter().filter(|event| matches!(event, Event::Coded { .. })).collect();
    assert_eq!(events, [&coded(Codec::H264), &coded(Codec::Vp8)]);
    let parts: Vec<Tapped> = std::iter::from_fn(|| tapping.take().ok().flatten()).collect();
    let formats = parts.iter().filter_map(|part| match part {
        Tapped::Coded(coded) => Some((coded.format.codec, coded.parameter_sets.len())),
        _ => None,
    });
    assert_eq!(formats.collect::<Vec<_>>(), [(Codec::Vp8, 0), (Codec::H264, 2), (Codec::Vp8, 0)]);
    assert!(matches!(parts.first(), Some(Tapped::Coded(_))));
    let worker = if away { &world.other } else { &world.worker };
    let dropped = worker.counters.read().find(|(name, _)| *name == "dropped_codec").unwrap().1;
    assert!(dropped >= 29, "{dropped}");
}

#[test]
fn another_codec_under_way_reaches_those_who_take_it_from_a_keyframe_on() {
    another_codec(false);
    another_codec(true);
}

#[test]
fn a_late_packet_of_the_codec_before_changes_nothing() {
    let mut world = World::new();
    let ada = world.phone(vec![two_codecs(2)], vec![]);
    let ben = world.phone(vec![], vec![takes_both()]);
    world.show(ben, "0", 1);
    for picture in 0..60_u64 {
        for layer in 0..2_u32 {
            // The second layer changes two pictures later than the first.
            let payload_type = if picture < 30 + 2 * u64::from(layer) { VP8 } else { H264 };
            let sequence = 1000 * u64::from(layer + 1) + picture;
            let rtp = Rtp { payload_type, ..vp8_packet(100 + layer, sequence, picture, true) };
            let payload = payload_of(payload_type, picture, picture % 10 == 0 || picture == 32);
            if picture == 29 {
                continue;
            }
            world.packet(ada, rtp, &[], &payload);
            if picture == 31 {
                let rtp = Rtp { payload_type: VP8, sequence: sequence - 2, ..rtp };
                world.packet(ada, rtp, &[], &payload_of(VP8, 29, true));
            }
        }
        world.step(33);
    }
    let changes = world.events.iter().filter(|event| matches!(event, Event::Coded { .. })).count();
    assert_eq!(changes, 1);
    let last = world.phones[ben].got.last().unwrap();
    assert_eq!(last.1[1] & 0x7F, 120);
    assert!(world.phones[ben].got.len() > 50);
}

#[test]
fn keyframes_and_packets_are_asked_for_as_the_codec_that_runs_allows() {
    let mut world = World::new();
    let mut plan = two_codecs(1);
    plan.codecs[0].nack = false;
    plan.codecs[0].keyframes = KeyframeFeedback::Fir;
    plan.codecs[1].keyframes = KeyframeFeedback::None;
    let ada = world.phone(vec![plan], vec![]);
    let ben = world.phone(vec![], vec![takes_both()]);
    world.show(ben, "0", 1);
    // Payload feedback (type 206) by its format, and whether packets were asked for.
    let feedback = |world: &World, from: usize| {
        let (mut kinds, mut nacks) = (Vec::new(), 0);
        for compound in &world.phones[ada].compounds[from..] {
            let mut rest = compound.as_slice();
            while let [first, kind, l0, l1, ..] = *rest {
                if kind == 206 {
                    kinds.push((first & 0x1F, rest.get(16).copied().unwrap_or_default()));
                }
                nacks += u32::from(kind == 205 && first & 0x1F == 1);
                rest = &rest[4 + 4 * usize::from(u16::from_be_bytes([l0, l1]))..];
            }
        }
        (kinds, nacks)
    };
    let send = |world: &mut World, range: std::ops::Range<u64>, payload_type: u8| {
        let from = world.phones[ada].compounds.len();
        for picture in range.filter(|picture| picture % 7 != 3) {
            let rtp = Rtp { payload_type, ..vp8_packet(100, 1000 + picture, picture, true) };
            world.packet(ada, rtp, &[], &payload_of(payload_type, picture, false));
            world.step(100);
        }
        feedback(world, from)
    };
    let (kinds, nacks) = send(&mut world, 0..16, VP8);
    assert!(kinds.len() >= 2 && kinds.iter().all(|&(format, _)| format == 4), "{kinds:?}");
    assert!(kinds.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "FIR are numbered: {kinds:?}");
    assert_eq!(nacks, 0);
    let (kinds, nacks) = send(&mut world, 16..32, H264);
    assert!(kinds.is_empty() && nacks > 0, "{kinds:?} {nacks}");
}

/// Agrees on something else with a publisher.
fn configure(world: &mut World, number: usize, receives: Vec<ReceivePlan>) {
    let phone = &world.phones[number];
    let (peer, ice) = (phone.key, phone.ice.clone());
    let fingerprint = Some(phone.client.fingerprint);
    let plan = Box::new(PeerPlan { ice, fingerprint, receives, sends: vec![] });
    world.command(number, Command::Configure { peer, plan });
}

/// Sends pictures of each SSRC; returns at how many of them a viewer got something.
fn send_pictures(
    world: &mut World,
    (ada, ben): (usize, usize),
    pictures: std::ops::Range<u64>,
    payload_type: u8,
    streams: &[(u32, Named<'_>)],
) -> usize {
    let mut wanted: Vec<u32> = streams.iter().map(|&(ssrc, _)| ssrc).collect();
    let mut seen = 0;
    for picture in pictures {
        for &(ssrc, extensions) in streams {
            let rtp = Rtp { payload_type, ..vp8_packet(ssrc, 1000 + picture, picture, true) };
            let payload = payload_of(payload_type, picture, wanted.contains(&ssrc));
            wanted.retain(|&it| it != ssrc);
            world.packet(ada, rtp, extensions, &payload);
        }
        let (from, got) = (world.phones[ada].compounds.len(), world.phones[ben].got.len());
        world.step(33);
        wanted.extend(world.keyframes_asked(ada, from));
        seen += usize::from(world.phones[ben].got.len() > got);
    }
    seen
}

#[test]
fn a_plan_with_other_layers_or_codecs_changes_a_track_in_its_place() {
    for away in [false, true] {
        let mut world = World::new();
        let one = ReceivePlan { rids: vec![], ssrcs: vec![(100, None)], ..camera(1, 1) };
        let ada = world.phone(vec![one.clone()], vec![]);
        let ben = world.phone_at(away, vec![], vec![takes_both()]);
        world.show(ben, "0", 1);
        world.step(1);
        world.step(1);
        let both = (ada, ben);
        assert!(send_pictures(&mut world, both, 0..30, VP8, &[(100, &[])]) > 27);
        // Simulcast, named by RIDs.
        let mut three = ReceivePlan { ssrcs: vec![], ..camera(1, 3) };
        three.extensions.set(Extension::Rid, 4);
        configure(&mut world, ada, vec![three.clone()]);
        let named: [(u32, Named<'_>); 3] =
            [(300, &[(4, b"q")]), (301, &[(4, b"h")]), (302, &[(4, b"f")])];
        assert!(send_pictures(&mut world, both, 0..60, VP8, &named) > 55);
        let track = world.worker.tracks.iter().next().unwrap().1;
        assert_eq!(track.layers_sent(world.now), [true; 3]);
        // Back to one, in the other codec.
        let mut plan = ReceivePlan { ssrcs: vec![(400, None)], ..one };
        plan.codecs = vec![coded(Codec::H264, H264, None)];
        configure(&mut world, ada, vec![plan]);
        let coded = Event::Coded { track: TrackKey(1), format: Codec::H264.into() };
        world.step(0);
        assert!(world.events.contains(&coded));
        assert!(send_pictures(&mut world, both, 0..30, H264, &[(400, &[])]) > 25);
        let numbers = world.phones[ben].got.iter().map(|it| it.0 as u16);
        assert_eq!(gaps(numbers), 0);
        assert_eq!(world.worker.tracks.len(), 1);
    }
}

#[test]
fn a_section_that_is_another_track_goes_on_with_the_ssrcs_that_it_had() {
    let mut world = World::new();
    let mut three = ReceivePlan { ssrcs: vec![], ..camera(1, 3) };
    three.extensions.set(Extension::Rid, 4);
    three.codecs.push(coded(Codec::H264, H264, Some(H264_RTX)));
    let ada = world.phone(vec![three.clone()], vec![]);
    let ben = world.phone(vec![], vec![takes_both()]);
    world.show(ben, "0", 1);
    world.step(1);
    let both = (ada, ben);
    let named: [(u32, Named<'_>); 3] =
        [(300, &[(4, b"q")]), (301, &[(4, b"h")]), (302, &[(4, b"f")])];
    assert!(send_pictures(&mut world, both, 0..30, VP8, &named) > 25);
    // Another first codec makes it another track. A browser does not name its encodings again.
    let mut other = ReceivePlan { track: TrackKey(2), ..three };
    other.codecs.reverse();
    configure(&mut world, ada, vec![other]);
    world.show(ben, "0", 2);
    world.step(1);
    let bare: [(u32, Named<'_>); 3] = [(300, &[]), (301, &[]), (302, &[])];
    assert!(send_pictures(&mut world, both, 30..90, H264, &bare) > 50);
    let track = world.worker.tracks.iter().next().unwrap().1;
    assert_eq!((track.key, track.layers_sent(world.now)), (TrackKey(2), vec![true; 3]));
}

/// A microphone beside the camera, its SSRC as described.
fn microphone(ssrcs: Vec<(u32, Option<u32>)>) -> ReceivePlan {
    ReceivePlan {
        mid: "a".into(),
        codecs: vec![coded(Codec::Opus, OPUS, None)],
        rids: vec![],
        ssrcs,
        ..camera(2, 1)
    }
}

#[test]
fn a_section_is_found_by_a_payload_type_that_only_it_has() {
    // Described without SSRCs, and with others than those that are sent.
    for described in [vec![], vec![(77, Some(78))]] {
        let mut world = World::new();
        let plan = ReceivePlan { rids: vec![], ssrcs: described.clone(), ..camera(1, 1) };
        let ada = world.phone(vec![plan, microphone(vec![])], vec![]);
        let speaker = SendPlan { mid: "1".into(), ssrc: 8000, rtx_ssrc: 8001, ..screen() };
        let ben = world.phone(vec![], vec![screen(), speaker]);
        world.show(ben, "0", 1);
        world.show(ben, "1", 2);
        for number in 0..30_u64 {
            let picture = vp8_packet(4711, 100 + number, number, true);
            if number != 15 {
                world.packet(ada, picture, &[], &vp8_payload(number, true, number == 0));
            }
            let sound = Rtp { payload_type: OPUS, ssrc: 4712, ..picture };
            world.packet(ada, sound, &[], &[0; 100]);
            if number == 16 {
                let payload = [&115_u16.to_be_bytes()[..], &vp8_payload(15, true, false)].concat();
                let rtx = Rtp { payload_type: RTX, ssrc: 4713, sequence: 1, ..picture };
                world.packet(ada, rtx, &[], &payload);
            }
            world.step(33);
        }
        let got = |ssrc: u32| {
            let got = world.phones[ben].got.iter();
            got.filter(|(_, packet)| Header::parse(packet).unwrap().ssrc == ssrc).count()
        };
        assert_eq!((got(7000), got(8000)), (30, 30));
    }
}

#[test]
fn a_payload_type_of_several_sections_or_layers_says_nothing() {
    let two = vec![
        ReceivePlan { rids: vec![], ssrcs: vec![], ..camera(1, 1) },
        ReceivePlan { rids: vec![], ssrcs: vec![], mid: "s".into(), ..camera(2, 1) },
    ];
    let layers = vec![ReceivePlan { ssrcs: vec![], ..camera(1, 3) }];
    let mut elsewhere = named_camera(1);
    elsewhere.ssrcs.clear();
    let cases: [(Vec<ReceivePlan>, Named<'_>); 3] =
        [(two, &[]), (layers, &[]), (vec![elsewhere], &[(5, b"x")])];
    for (plans, extensions) in cases {
        let mut world = World::new();
        let ada = world.phone(plans, vec![]);
        let rtp = vp8_packet(4711, 100, 0, true);
        world.packet(ada, rtp, extensions, &vp8_payload(0, true, true));
        let unannounced = world.worker.counters.read();
        let unannounced = unannounced.into_iter().find(|(it, _)| *it == "dropped_unannounced");
        assert_eq!(unannounced.map(|it| it.1), Some(1));
    }
}

#[test]
fn layers_without_names_are_those_of_their_ssrcs() {
    let mut world = World::new();
    let plan = ReceivePlan { rids: vec![], ..camera(1, 3) };
    let ada = world.phone(vec![plan], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    world.show(ben, "0", 1);
    let streams: [(u32, Named<'_>); 3] = [(100, &[]), (101, &[]), (102, &[])];
    assert!(send_pictures(&mut world, (ada, ben), 0..30, VP8, &streams) > 25);
    let track = world.worker.tracks.iter().next().unwrap().1;
    assert_eq!(track.layers_sent(world.now), [true; 3]);
    assert_eq!(gaps(world.phones[ben].media().keys().copied()), 0);
}

#[test]
fn a_keyframe_of_h264_begins_with_the_parameter_sets_before_it_and_they_alone_are_none() {
    for away in [false, true] {
        let mut world = World::new();
        let mut plan = two_codecs(1);
        plan.codecs.remove(0);
        let ada = world.phone(vec![plan], vec![]);
        let ben = world.phone_at(away, vec![], vec![takes_both()]);
        let mut sequence = 1000;
        let mut send = |world: &mut World, picture: u64, units: &[u8]| {
            for (at, &unit) in units.iter().enumerate() {
                sequence += 1;
                let rtp = vp8_packet(100, sequence, picture, at + 1 == units.len());
                let rtp = Rtp { payload_type: H264, ..rtp };
                world.packet(ada, rtp, &[], &[unit, 0x88, 1, 2, 3]);
                // The units of a picture come one by one.
                world.step(3);
            }
            world.step(20);
        };
        let units = |world: &World| -> Vec<u8> {
            let got = world.phones[ben].got.iter();
            got.map(|(_, packet)| packet[packet.len() - 5] & 0x1F).collect()
        };
        send(&mut world, 0, &[0x67, 0x68, 0x65]);
        world.show(ben, "0", 1);
        world.step(1);
        world.step(1);
        // Parameter sets again, before a picture that needs others.
        send(&mut world, 1, &[0x67, 0x68, 0x61]);
        send(&mut world, 2, &[0x61]);
        assert_eq!(units(&world), [0_u8; 0]);
        assert_eq!(world.asked(ada), 1);
        world.step(600);
        assert_eq!(world.asked(ada), 2, "they are no answer to a request");
        send(&mut world, 3, &[0x67, 0x68, 0x65, 0x65]);
        send(&mut world, 4, &[0x61]);
        assert_eq!(units(&world), [7, 8, 5, 5, 1]);
        assert_eq!(gaps(world.phones[ben].got.iter().map(|it| it.0 as u16)), 0);
        let asked = world.asked(ada);
        world.step(2000);
        assert_eq!(world.asked(ada), asked);
    }
}

#[test]
fn no_keyframe_is_asked_for_that_nobody_has_a_use_for() {
    for away in [false, true] {
        let mut world = World::new();
        let mut sound = microphone(vec![]);
        sound.extensions.set(Extension::Mid, 5);
        let ada = world.phone(vec![named_camera(1), sound], vec![]);
        let speaker = SendPlan { mid: "1".into(), ssrc: 8000, rtx_ssrc: 8001, ..screen() };
        let ben = world.phone_at(away, vec![], vec![screen(), speaker]);
        world.show(ben, "0", 1);
        world.show(ben, "1", 2);
        world.step(1);
        world.step(1);
        world.command(ada, Command::Mute { track: TrackKey(1), muted: true });
        for number in 0..90_u64 {
            // Both change their streams each second, and numbers jump.
            let (ssrc, sequence) = (200 + (number / 30) as u32, 1000 + number + number / 10 * 500);
            let picture = vp8_packet(ssrc, sequence, number, true);
            world.packet(ada, picture, &[(5, b"v")], &vp8_payload(number, true, false));
            let sound = Rtp { payload_type: OPUS, ssrc: ssrc + 100, ..picture };
            world.packet(ada, sound, &[(5, b"a")], &[0; 100]);
            world.step(33);
        }
        assert_eq!(world.asked(ada), 0);
        assert_eq!(world.phones[ben].got.len(), 90, "sound goes on at once");
        world.command(ada, Command::Mute { track: TrackKey(1), muted: false });
        world.step(1);
        world.step(1);
        world.step(1);
        assert_eq!(world.keyframes_asked(ada, 0), [202]);
    }
}
