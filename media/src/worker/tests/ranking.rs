//! Which layer is better is what is measured, whatever the order of the description.

use super::*;

/// How a layer is encoded: its bytes at each picture, and the size that its keyframes state.
#[derive(Clone, Copy)]
struct Encoding {
    bytes: usize,
    size: Option<(u16, u16)>,
}

/// What a viewer and a recorder got in each second, by the places of the layers.
struct Seen {
    viewer: Vec<HashSet<u8>>,
    recorder: Vec<HashSet<u8>>,
    events: Vec<Event>,
}

/// A call in which a publisher sends these encodings at a picture; the viewer's wish changes at a second.
fn shown(
    seconds: u64,
    encodings: impl Fn(u64) -> Vec<Option<Encoding>>,
    wishes: &[(u64, LayerPreference)],
) -> Seen {
    let mut world = World::new();
    let count = encodings(0).len();
    let ada = world.phone(vec![camera(1, count)], vec![]);
    let ben = world.phone(vec![], vec![screen()]);
    let (recorder, tapping) = tap(100_000);
    world.command(ada, Command::Tap { track: TrackKey(1), tap: Some(recorder) });
    world.show(ben, "0", 1);
    let mut wanted = vec![true; count];
    let mut seen = Seen { viewer: vec![], recorder: vec![], events: vec![] };
    let mut viewed = 0;
    for picture in 0..seconds * 30 {
        for &(_, preference) in wishes.iter().filter(|(at, _)| at * 30 == picture) {
            world.prefer(ben, preference, u8::MAX);
        }
        for (layer, encoding) in (0_u8..).zip(encodings(picture)) {
            let Some(Encoding { bytes, size }) = encoding else { continue };
            let key = std::mem::take(&mut wanted[usize::from(layer)]);
            let sequence = 10_000 * (u64::from(layer) + 1) + picture;
            let mut payload = vp8_payload(picture, true, key);
            if let (true, Some((width, height))) = (key, size) {
                payload.truncate(4);
                payload.extend_from_slice(&[0, 0, 0, 0x9D, 0x01, 0x2A]);
                payload.extend_from_slice(&width.to_le_bytes());
                payload.extend_from_slice(&height.to_le_bytes());
            }
            payload.resize(bytes, layer);
            world.packet(
                ada,
                vp8_packet(100 + u32::from(layer), sequence, picture, true),
                &[],
                &payload,
            );
        }
        let before = world.phones[ada].compounds.len();
        world.step(33);
        for ssrc in world.keyframes_asked(ada, before) {
            wanted[(ssrc - 100) as usize] = true;
        }
        if picture % 30 == 29 {
            let got = &world.phones[ben].got[viewed..];
            seen.viewer.push(got.iter().map(|(_, packet)| *packet.last().unwrap()).collect());
            viewed = world.phones[ben].got.len();
            seen.recorder.push(tapped(&tapping).iter().map(|it| it.0).collect());
        }
    }
    seen.events = world.events;
    seen
}

fn sized(bytes: usize, width: u16, height: u16) -> Option<Encoding> {
    Some(Encoding { bytes, size: Some((width, height)) })
}

fn unsized_of(bytes: usize) -> Option<Encoding> {
    Some(Encoding { bytes, size: None })
}

fn only(layer: u8) -> HashSet<u8> {
    HashSet::from([layer])
}

#[test]
fn the_largest_picture_is_shown_and_recorded_in_whatever_order_layers_are_described() {
    let large = sized(1000, 640, 480);
    let orders = [
        [large, sized(500, 320, 240), sized(250, 160, 120)],
        [sized(250, 160, 120), large, sized(500, 320, 240)],
        [sized(500, 320, 240), sized(250, 160, 120), large],
        // Bits deceive: a small picture of much detail.
        [sized(300, 640, 480), sized(900, 320, 240), sized(250, 160, 120)],
    ];
    for (order, best) in orders.into_iter().zip([0, 1, 2, 0]) {
        let seen = shown(5, |_| order.to_vec(), &[]);
        assert_eq!(seen.viewer.last(), Some(&only(best)), "{:?}", seen.viewer);
        assert_eq!(seen.recorder.last(), Some(&only(best)), "{:?}", seen.recorder);
    }
}

#[test]
fn where_no_size_is_known_the_most_bits_are_the_best() {
    let order = [unsized_of(1100), unsized_of(250), unsized_of(500)];
    let wishes = [
        (6, LayerPreference::Layer(2)),
        (9, LayerPreference::Layer(1)),
        (12, LayerPreference::Auto),
        (15, LayerPreference::Layer(0)),
    ];
    let seen = shown(18, |_| order.to_vec(), &wishes);
    let at = |second: usize| seen.viewer[second].clone();
    assert_eq!([5, 8, 11, 14, 17].map(at), [0, 2, 1, 0, 0].map(only), "{:?}", seen.viewer);
    assert_eq!(seen.recorder.last(), Some(&only(0)), "{:?}", seen.recorder);
}

#[test]
fn a_wish_for_a_layer_allows_the_worse_ones_wherever_they_stand() {
    let all = [sized(1000, 640, 480), sized(500, 320, 240), sized(250, 160, 120)];
    // The layer that is wished for is sent for five seconds.
    let encodings = |picture: u64| match picture {
        ..150 => all.to_vec(),
        _ => vec![all[0], None, all[2]],
    };
    let seen = shown(10, encodings, &[(0, LayerPreference::Layer(1))]);
    assert_eq!(seen.viewer[4], only(1), "{:?}", seen.viewer);
    assert_eq!(seen.viewer[9], only(2), "{:?}", seen.viewer);
}

#[test]
fn the_order_is_steady_while_bits_rise_and_fall() {
    // Pictures of 400 to 1,000 bytes beside those of 300 to 900, second by second.
    let encodings = |picture: u64| {
        let swing = [0, 600, 200, 500, 100, 400][(picture / 30 % 6) as usize];
        let other = [500, 100, 600, 0, 400, 200][(picture / 30 % 6) as usize];
        vec![unsized_of(400 + swing), unsized_of(300 + other)]
    };
    let seen = shown(40, encodings, &[]);
    let switches = seen.events.iter().filter(|it| matches!(it, Event::Switched { .. })).count();
    assert!(switches <= 3, "{switches} switches: {:?}", seen.viewer);
}
