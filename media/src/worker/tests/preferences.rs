//! What viewers prefer.

use super::*;

#[test]
fn sound_that_is_not_wished_for_stops_and_begins_again() {
    for away in [false, true] {
        let mut world = World::new();
        let microphone = ReceivePlan {
            codecs: vec![coded(Codec::Opus, OPUS, None)],
            rids: vec![],
            ssrcs: vec![(900, None)],
            ..camera(1, 1)
        };
        let ada = world.phone(vec![microphone], vec![]);
        let speaker = SendPlan { kind: Kind::Audio, ..screen() };
        let ben = world.phone_at(away, vec![], vec![speaker]);
        world.show(ben, "0", 1);
        world.step(1);
        world.step(1);
        let mut received = Vec::new();
        for packet in 0..500_u64 {
            match packet {
                100 => world.prefer(ben, LayerPreference::Off, u8::MAX),
                200 => world.prefer(ben, LayerPreference::Auto, u8::MAX),
                300 => world.prefer(ben, LayerPreference::Off, u8::MAX),
                400 => world.prefer(ben, LayerPreference::Layer(2), 0),
                _ => {}
            }
            // The wish is carried out with the next timeout.
            world.step(1);
            let timestamp = packet as u32 * 960;
            let (payload_type, ssrc, sequence) = (OPUS, 900, 1000 + packet);
            let rtp = Rtp { payload_type, ssrc, sequence, timestamp, marker: false };
            world.packet(ada, rtp, &[], &[0; 100]);
            let before = world.phones[ben].got.len();
            world.step(19);
            if world.phones[ben].got.len() > before {
                received.push(packet);
            }
        }
        let wished = |packet: &u64| !(100..200).contains(packet) && !(300..400).contains(packet);
        assert_eq!(received, (0..500).filter(wished).collect::<Vec<_>>());
        let numbers = world.phones[ben].got.iter().map(|&(number, _)| number as u16);
        assert_eq!(gaps(numbers), 0);
        let paused = world.events.iter().any(|event| matches!(event, Event::Paused { .. }));
        assert!(!paused, "the viewer's own preference is no pause");
    }
}
