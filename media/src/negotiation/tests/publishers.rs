use super::*;
use crate::codec::{Format, Profile};
use crate::{Codec, KeyframeFeedback};

fn publish(publisher: &mut Connection, sections: &[&str]) -> String {
    let offer = text(sections);
    let before = publisher.clone();
    let mut next = 0;
    let read = Description::parse(&offer, 16).unwrap();
    let answer = publisher.answer(&read, |section| {
        next += 1;
        Accept::Receive(before.track_for(section, || TrackKey(next)))
    });
    let answer = answer.unwrap_or_else(|error| panic!("{error}\n{offer}"));
    rules::check(&offer, &answer);
    answer
}

#[test]
fn a_section_stays_its_track_until_it_is_coded_otherwise() {
    let mut publisher = connection();
    let first = description(&[PICTURES]);
    publisher.answer(&first, |_| Accept::Receive(TrackKey(1))).unwrap();
    let after = |publisher: &Connection, text: &str| {
        publisher.track_for(&description(&[text]).sections[0], || TrackKey(2))
    };
    assert_eq!(after(&publisher, PICTURES), TrackKey(1));
    let held = PICTURES.replace("a=sendonly", "a=inactive");
    assert_eq!(after(&publisher, &held), TrackKey(1), "what is held goes on later");
    let h264 = PICTURES.replace("96 97 102 103", "102 103 96 97");
    assert_eq!(after(&publisher, &h264), TrackKey(2), "another first codec");
    let layers = format!(
        "{PICTURES}a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n"
    );
    assert_eq!(after(&publisher, &layers), TrackKey(2), "other layers");
    let other = PICTURES.replace("a=mid:0", "a=mid:1");
    assert_eq!(after(&publisher, &other), TrackKey(2), "another section");
}

#[test]
fn all_common_codecs_are_answered_in_the_clients_order() {
    let mut publisher = connection();
    let section = "m=video 9 UDP/TLS/RTP/SAVPF 98 45 104 102 99 96 103 46 97\r\na=mid:0\r\na=sendonly\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 VP9/90000\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
        a=rtpmap:102 H264/90000\r\na=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
        a=rtpmap:104 H264/90000\r\na=fmtp:104 profile-level-id=42e01f\r\n\
        a=rtpmap:45 AV1/90000\r\na=rtpmap:46 rtx/90000\r\na=fmtp:46 apt=45\r\n";
    let answer = publish(&mut publisher, &[section]);
    assert!(
        answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 98 45 104 102 99 96 103 46 97\r\n"),
        "{answer}"
    );
    let plan = &publisher.plan().receives[0];
    let h264 = |single_unit| Format {
        codec: Codec::H264,
        profile: Profile::ConstrainedBaseline,
        single_unit,
    };
    let formats: Vec<_> =
        plan.codecs.iter().map(|it| (it.format, it.payload_type, it.rtx_type)).collect();
    assert_eq!(
        formats,
        [
            (Codec::Vp9.into(), 98, Some(99)),
            (Codec::Av1.into(), 45, Some(46)),
            (h264(true), 104, None),
            (h264(false), 102, Some(103)),
            (Codec::Vp8.into(), 96, Some(97)),
        ]
    );
}

#[test]
fn of_h264_what_every_browser_shows_comes_first() {
    let order = |types: &str, payloads: [(u8, &str); 3]| {
        let mut section = format!(
            "m=video 9 UDP/TLS/RTP/SAVPF {types}\r\na=mid:0\r\na=sendonly\r\na=rtpmap:100 VP8/90000\r\n\
             a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n"
        );
        for (number, level) in payloads {
            section += &format!(
                "a=rtpmap:{number} H264/90000\r\na=fmtp:{number} profile-level-id={level};packetization-mode=1\r\n"
            );
        }
        let mut publisher = connection();
        let answer = publish(&mut publisher, &[&section]);
        let first = publisher.plan().receives[0].codecs[0].payload_type;
        let head =
            answer.lines().find_map(|line| line.strip_prefix("m=video 9 UDP/TLS/RTP/SAVPF "));
        assert!(head.unwrap().starts_with(&first.to_string()), "{answer}");
        publish(&mut publisher, &[&section]);
        assert_eq!(
            publisher.plan().receives[0].track,
            TrackKey(1),
            "it stays the track that it is"
        );
        head.unwrap().to_owned()
    };
    let safari = [(96, "640c1f"), (97, "4d001f"), (98, "42e01f")];
    assert_eq!(order("96 97 98 99 100", safari), "98 99 96 97 100");
    assert_eq!(order("100 96 97 98 99", safari), "100 98 99 96 97");
    assert_eq!(order("98 96 99 97 100", safari), "98 96 99 97 100", "it is first already");
    let high = [(96, "640c1f"), (97, "4d001f"), (98, "640032")];
    assert_eq!(order("96 97 98 99 100", high), "96 97 98 99 100");
}

#[test]
fn redundant_sound_comes_first_where_the_client_wants_it_first() {
    let mut publisher = connection();
    let answer = publish(&mut publisher, &[SOUND]);
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n"), "{answer}");
    assert_eq!(publisher.plan().receives[0].codecs[0].red_type, Some(63));
    let later = SOUND.replace("SAVPF 63 111 0", "SAVPF 111 0 63");
    let answer = publish(&mut publisher, &[&later]);
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n"), "{answer}");
}

#[test]
fn what_is_held_is_answered_inactive_and_goes_on() {
    let layers = format!("{PICTURES}a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n");
    let mut publisher = connection();
    publish(&mut publisher, &[&layers]);
    let sending = publisher.plan().receives;
    for direction in ["a=inactive", "a=recvonly", "a=inactive"] {
        // As browsers do it, without the layers.
        let held = PICTURES.replace("a=sendonly", direction);
        let answer = publish(&mut publisher, &[&held]);
        assert!(answer.contains("m=video 9 ") && answer.contains("a=inactive\r\n"), "{answer}");
        assert!(!answer.contains("simulcast"), "{answer}");
        assert_eq!(publisher.plan().receives, sending, "the track is what it was");
        assert_eq!(publisher.received().count(), 1);
    }
    let answer = publish(&mut publisher, &[&layers]);
    assert!(answer.contains("a=recvonly\r\n") && answer.contains("a=simulcast:recv q;h\r\n"));
    assert_eq!(publisher.plan().receives, sending);
}

#[test]
fn what_is_inactive_from_the_beginning_is_no_track_until_it_sends() {
    let mut publisher = connection();
    let held = PICTURES.replace("a=sendonly", "a=inactive");
    let answer = publish(&mut publisher, &[&held]);
    assert!(answer.contains("m=video 9 ") && answer.contains("a=inactive\r\n"), "{answer}");
    assert_eq!((publisher.received().count(), publisher.plan().receives.len()), (0, 0));
    let answer = publish(&mut publisher, &[PICTURES]);
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    assert_eq!((publisher.received().count(), publisher.plan().receives.len()), (1, 1));
}

#[test]
fn feedback_is_answered_and_used_as_it_is_offered() {
    for (lines, answered, keyframes, nack) in [
        ("", vec![], KeyframeFeedback::None, false),
        (
            "a=rtcp-fb:* ccm fir\r\na=rtcp-fb:96 transport-cc\r\n",
            vec!["ccm fir"],
            KeyframeFeedback::Fir,
            false,
        ),
        ("a=rtcp-fb:96 nack pli\r\n", vec!["nack pli"], KeyframeFeedback::Pli, false),
        (
            "a=rtcp-fb:96 nack\r\na=rtcp-fb:96 goog-remb\r\n",
            vec!["goog-remb", "nack"],
            KeyframeFeedback::None,
            true,
        ),
        (
            "a=rtcp-fb:* ccm fir\r\na=rtcp-fb:*  nack  pli\r\na=rtcp-fb:* transport-cc\r\na=rtcp-fb:* goog-remb\r\n\
             a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
            vec!["transport-cc", "ccm fir", "nack pli"],
            KeyframeFeedback::Pli,
            false,
        ),
    ] {
        let section = format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n{lines}"
        );
        let mut publisher = connection();
        let answer = publish(&mut publisher, &[&section]);
        let found: Vec<_> =
            answer.lines().filter_map(|line| line.strip_prefix("a=rtcp-fb:96 ")).collect();
        assert_eq!(found, answered, "{lines}");
        let plan = &publisher.plan().receives[0];
        assert_eq!((plan.codecs[0].keyframes, plan.codecs[0].nack), (keyframes, nack), "{lines}");
        assert_eq!(plan.remb, found.contains(&"goog-remb"), "{lines}");
    }
}

#[test]
fn flags_of_the_transport_are_answered_where_they_are_offered() {
    let mut publisher = connection();
    let plain =
        Description::parse(&text(&[PICTURES]).replace("a=group:BUNDLE 0\r\n", ""), 16).unwrap();
    let answer = publisher.answer(&plain, |_| Accept::Receive(TrackKey(1))).unwrap();
    for never in ["a=group", "rtcp-rsize", "extmap-allow-mixed"] {
        assert!(!answer.contains(never), "{never}\n{answer}");
    }
    assert!(answer.contains("a=rtcp-mux\r\n") && answer.contains("a=candidate:"), "{answer}");
    let rich = format!("{PICTURES}a=rtcp-rsize\r\na=extmap-allow-mixed\r\n");
    let answer = publish(&mut publisher, &[&rich]);
    let section = section(&answer, 0);
    assert!(section.contains("a=rtcp-rsize\r\na=extmap-allow-mixed\r\n"), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 0\r\n"), "{answer}");
}

#[test]
fn the_first_of_the_bundle_says_how_all_are_reached() {
    let other = SOUND.replace("a=mid:0", "a=mid:1");
    let offer = text(&[PICTURES, &other]).replace("BUNDLE 0 1", "BUNDLE 1 0");
    // As in the example of RFC 9429 §7.1 each section has a fragment of its own.
    let at = offer.find("m=audio").unwrap();
    let offer = format!("{}{}", &offer[..at], offer[at..].replace("ufrag:them", "ufrag:first"));
    let mut publisher = connection();
    let read = Description::parse(&offer, 16).unwrap();
    let answer = publisher.answer(&read, |_| Accept::Receive(TrackKey(1))).unwrap();
    assert!(answer.contains("a=group:BUNDLE 1 0\r\n") && publisher.is_of("first"), "{answer}");
    assert!(
        !section(&answer, 0).contains("a=candidate") && section(&answer, 1).contains("a=candidate")
    );
    // Without what is rejected here the other one is the first.
    let mut publisher = connection();
    let answer = publisher
        .answer(&read, |section| match section.mid.as_str() {
            "0" => Accept::Receive(TrackKey(1)),
            _ => Accept::Reject,
        })
        .unwrap();
    assert!(answer.contains("a=group:BUNDLE 0\r\n") && publisher.is_of("them"), "{answer}");
    assert!(section(&answer, 0).contains("a=candidate"), "{answer}");
}

#[test]
fn the_last_track_ends_when_its_section_is_rejected() {
    let mut publisher = connection();
    publish(&mut publisher, &[PICTURES]);
    let ice = publisher.plan().ice;
    let stopped = PICTURES.replace("m=video 9", "m=video 0");
    let answer = publish(&mut publisher, &[&stopped]);
    assert!(answer.contains("m=video 0 UDP/TLS/RTP/SAVPF 96 97 102 103\r\n"), "{answer}");
    assert!(publisher.plan().receives.is_empty());
    // Firefox leaves the transport out of it.
    let bare = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{stopped}");
    let read = Description::parse(&bare, 16).unwrap();
    publisher.answer(&read, |_| Accept::Reject).unwrap();
    assert_eq!(publisher.plan().ice, ice, "it is the same connection");
    // A new one takes the place, and a connection cannot begin with nothing.
    let again = PICTURES.replace("a=mid:0", "a=mid:1");
    let answer = publish(&mut publisher, &[&again]);
    assert!(answer.contains("m=video 9 ") && publisher.received().count() == 1, "{answer}");
    let nothing = connection().answer(&read, |_| Accept::Reject);
    assert!(matches!(nothing, Err(crate::DescriptionError::NoMedia(_))));
}

#[test]
fn a_rejection_has_the_form_of_what_it_rejects() {
    let data = "m=application 9 DTLS/SCTP 5000\r\na=mid:data\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n";
    let other = "m=video 9 RTP/SAVPF 120 121\r\na=mid:other\r\na=rtpmap:120 H265/90000\r\na=rtpmap:121 H265/90000\r\n";
    let offer = text(&[PICTURES, data, other]);
    let read = Description::parse(&offer, 16).unwrap();
    let answer = connection()
        .answer(&read, |section| match section.mid.as_str() {
            "0" => Accept::Receive(TrackKey(1)),
            _ => Accept::Reject,
        })
        .unwrap();
    rules::check(&offer, &answer);
    assert!(answer.contains("m=application 0 DTLS/SCTP 5000\r\n"), "{answer}");
    assert!(answer.contains("m=video 0 RTP/SAVPF 120 121\r\n"), "{answer}");
}

#[test]
fn a_description_without_streams_and_extensions_is_a_plan_without_them() {
    let mut publisher = connection();
    publish(&mut publisher, &[PICTURES]);
    let plan = &publisher.plan().receives[0];
    assert!(plan.ssrcs.is_empty() && plan.rids.is_empty());
    assert_eq!((plan.extensions, plan.layers()), (crate::ExtensionIds::default(), 1));
}

#[test]
fn sections_without_names_are_answered_without_names() {
    let pictures = PICTURES.replace("a=mid:0\r\n", "");
    let sound = SOUND.replace("a=mid:0\r\n", "");
    let offer = text(&[&pictures, &sound]).replace("a=group:BUNDLE\r\n", "");
    let read = Description::parse(&offer, 16).unwrap();
    let mut publisher = connection();
    let answer = publisher.answer(&read, |_| Accept::Receive(TrackKey(1))).unwrap();
    rules::check(&offer, &answer);
    assert!(!answer.contains("a=mid") && !answer.contains("a=group"), "{answer}");
    assert_eq!(answer.matches("a=end-of-candidates").count(), 2, "each has its own");
    let mids: Vec<_> = publisher.received().map(|it| it.0.to_owned()).collect();
    assert_eq!(mids, ["0", "1"]);
}

#[test]
fn legacy_simulcast_counts_as_layers() {
    let layers = format!(
        "{PICTURES}a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:FID 2 12\r\n\
         a=ssrc-group:FID 3 13\r\na=ssrc:1 cname:a\r\na=ssrc:2 cname:a\r\na=ssrc:3 cname:a\r\n"
    );
    let mut publisher = connection();
    publish(&mut publisher, &[&layers]);
    let plan = &publisher.plan().receives[0];
    assert_eq!(plan.ssrcs, [(1, Some(11)), (2, Some(12)), (3, Some(13))]);
    assert_eq!((plan.rids.len(), plan.layers()), (0, 3));
    // The same layers with other SSRCs are the same track, one layer is another one.
    let renumbered =
        layers.replace("ssrc:1 ", "ssrc:4 ").replace("SIM 1", "SIM 4").replace("FID 1 ", "FID 4 ");
    let fresh = |text: &str| publisher.track_for(&description(&[text]).sections[0], || TrackKey(9));
    assert_eq!((fresh(&renumbered), fresh(PICTURES)), (TrackKey(1), TrackKey(9)));
}

#[test]
fn layers_are_answered_with_their_restrictions() {
    let layers = format!(
        "{PICTURES}a=rid:q send pt=96,120;max-width=320\r\na=rid:h send pt=120\r\na=rid:f send\r\n\
         a=simulcast:send q;h;f\r\n"
    );
    let mut publisher = connection();
    let answer = publish(&mut publisher, &[&layers]);
    assert!(answer.contains("a=rid:q recv pt=96;max-width=320\r\na=rid:f recv\r\n"), "{answer}");
    assert!(answer.contains("a=simulcast:recv q;f\r\n"), "{answer}");
    assert_eq!(publisher.plan().receives[0].rids, ["q", "f"]);
    assert_eq!(publish(&mut publisher, &[&layers]).matches("a=rid").count(), 2);
    assert_eq!(publisher.plan().receives[0].track, TrackKey(1), "it stays the track that it is");
}

#[test]
fn a_publisher_gets_its_parameters_of_opus_back_and_keeps_what_it_makes_to_itself() {
    for (offered, answered) in [
        ("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1"),
        ("stereo=1;sprop-stereo=1;maxaveragebitrate=510000", "stereo=1;maxaveragebitrate=510000"),
        ("usedtx=1; cbr=1 ;sprop-stereo=1", "usedtx=1;cbr=1;stereo=1"),
        ("stereo=0;sprop-stereo=1", "stereo=0"),
    ] {
        let section = SOUND.replace("minptime=10;useinbandfec=1", offered);
        let answer = publish(&mut connection(), &[&section]);
        assert!(answer.contains(&format!("a=fmtp:111 {answered}\r\n")), "{offered}\n{answer}");
    }
}

#[test]
fn parameter_sets_of_the_description_are_in_the_plan_and_not_in_the_answer() {
    let section = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 packetization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z2QAKA==,aOvjyw==\r\n";
    let mut publisher = connection();
    let answer = publish(&mut publisher, &[section]);
    assert!(
        answer.contains("a=fmtp:102 packetization-mode=1;profile-level-id=640028\r\n"),
        "{answer}"
    );
    let codec = &publisher.plan().receives[0].codecs[0];
    assert_eq!(codec.format.profile, Profile::High);
    assert_eq!(
        codec.parameter_sets.to_vec(),
        [vec![0x67, 0x64, 0, 0x28], vec![0x68, 0xEB, 0xE3, 0xCB]]
    );
}
