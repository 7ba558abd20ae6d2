use super::*;
use crate::codec::{Format, Profile};
use crate::{Direction, Kind};

fn h264(profile: Profile, single_unit: bool) -> Format {
    Format { codec: Codec::H264, profile, single_unit }
}

fn shown(track: &str) -> Option<Shown> {
    Some(Shown { stream: "room".into(), track: track.into() })
}

/// What a client says to an offer of ours; `change` is applied to the text of each section.
fn answer(offer: &str, change: impl Fn(usize, String) -> String) -> Description {
    let at = offer.find("m=").unwrap();
    let mut text = offer[..at].replace("a=ice-lite\r\n", "");
    for index in 0..offer[at..].matches("m=").count() {
        let section = section(offer, index).replace("actpass", "active");
        text += &change(index, section.replace("a=sendonly", "a=recvonly"));
    }
    Description::parse(&text, 16).unwrap()
}

fn rejected(section: &str) -> String {
    section.replacen(" 9 UDP", " 0 UDP", 1)
}

#[test]
fn a_viewer_is_offered_the_variants_of_h264_that_publishers_send() {
    let mut viewer = connection();
    let mid = viewer.line_for(Kind::Video);
    let offered = Description::parse(&viewer.offer(), 16).unwrap().sections.remove(0).codecs();
    for format in [
        h264(Profile::ConstrainedBaseline, false),
        h264(Profile::ConstrainedBaseline, true),
        h264(Profile::Main, false),
        h264(Profile::High, false),
    ] {
        let found = offered.iter().find(|offered| offered.format == format);
        assert!(found.is_some_and(|found| found.rtx.is_some()), "{format:?}");
        assert!(viewer.takes(&mid, format));
    }
    assert!(viewer.takes(&mid, h264(Profile::Baseline, true)), "as constrained baseline");
    let numbers: Vec<u8> = offered
        .iter()
        .flat_map(|it| it.payloads().map(|payload| payload.number).collect::<Vec<_>>())
        .collect();
    let mut different = numbers.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(numbers.len(), different.len(), "each number means one thing");
}

#[test]
fn an_answer_says_which_variants_a_viewer_takes_and_by_which_numbers() {
    let mut viewer = connection();
    let mid = viewer.line_for(Kind::Video);
    viewer.show(&mid, shown("camera"));
    let offer = viewer.offer();
    let some = "m=video 9 UDP/TLS/RTP/SAVPF 102 103 50\r\na=mid:0\r\na=recvonly\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
        a=rtpmap:50 VP8/90000\r\n";
    viewer.take_answer(&description(&[some])).unwrap();
    assert!(offer.contains("a=rtpmap:96 VP8/90000"));
    let taken: Vec<_> = viewer.plan().sends[0]
        .codecs
        .iter()
        .map(|it| (it.format, it.payload_type, it.rtx_type))
        .collect();
    assert_eq!(
        taken,
        [
            (Codec::Vp8.into(), 50, None),
            (h264(Profile::ConstrainedBaseline, false), 102, Some(103))
        ]
    );
    assert!(
        viewer.takes(&mid, h264(Profile::ConstrainedBaseline, true)),
        "single units are fine in mode 1"
    );
    assert!(
        !viewer.takes(&mid, h264(Profile::High, false)) && !viewer.takes(&mid, Codec::Vp9.into())
    );
}

#[test]
fn a_section_that_a_viewer_rejects_is_sent_nothing_and_becomes_another_one() {
    let mut viewer = connection();
    let (first, second) = (viewer.line_for(Kind::Video), {
        viewer.show("0", shown("camera"));
        viewer.line_for(Kind::Video)
    });
    viewer.show(&second, shown("screen"));
    let offer = viewer.offer();
    viewer
        .take_answer(&answer(&offer, |index, text| if index == 0 { rejected(&text) } else { text }))
        .unwrap();
    assert_eq!((viewer.shows(&first), viewer.shows(&second)), (false, true));
    assert!(viewer.send_lines().map(|it| it.0).eq([second.as_str()]));
    assert!(!viewer.takes(&first, Codec::Vp8.into()));
    let before = viewer.plan();
    assert!(before.sends[0].codecs.is_empty() && !before.sends[1].codecs.is_empty());
    let offer = viewer.offer();
    assert!(section(&offer, 0).starts_with("m=video 0 UDP/TLS/RTP/SAVPF 96 97 "), "{offer}");
    assert!(offer.contains(&format!("a=group:BUNDLE {second}\r\n")), "{offer}");
    // Its place is taken by a section with another name and other SSRCs.
    let third = viewer.line_for(Kind::Audio);
    assert!(third != first && third != second);
    viewer.show(&third, shown("microphone"));
    let offer = viewer.offer();
    let read = Description::parse(&offer, 16).unwrap();
    assert_eq!(
        read.sections.iter().map(|it| it.mid.clone()).collect::<Vec<_>>(),
        [third.clone(), second]
    );
    assert_ne!(viewer.plan().sends[0].ssrc, before.sends[0].ssrc);
    viewer.take_answer(&answer(&offer, |_, text| text)).unwrap();
    assert!(viewer.shows(&third) && viewer.takes(&third, Codec::Opus.into()));
}

#[test]
fn a_viewer_that_holds_a_section_is_sent_nothing_until_it_goes_on() {
    let mut viewer = connection();
    let mid = viewer.line_for(Kind::Video);
    viewer.show(&mid, shown("camera"));
    let offer = viewer.offer();
    viewer
        .take_answer(&answer(&offer, |_, text| text.replace("a=recvonly", "a=inactive")))
        .unwrap();
    assert!(!viewer.shows(&mid) && viewer.plan().sends[0].codecs.is_empty());
    let offer = viewer.offer();
    assert!(offer.contains("a=sendonly\r\n"), "it is offered again: {offer}");
    viewer.take_answer(&answer(&offer, |_, text| text)).unwrap();
    assert!(viewer.shows(&mid) && !viewer.plan().sends[0].codecs.is_empty());
}

#[test]
fn a_viewer_that_offers_can_hold_and_go_on() {
    let mut viewer = connection();
    let view = |viewer: &mut Connection, direction: &str| {
        let offer = text(&[&PICTURES.replace("sendonly", direction)]);
        let read = Description::parse(&offer, 16).unwrap();
        let answer = viewer.answer(&read, |_| Accept::Send).unwrap();
        rules::check(&offer, &answer);
        answer
    };
    for (direction, answered) in [
        ("inactive", "inactive"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
        ("recvonly", "sendonly"),
    ] {
        let before = viewer.plan().sends.first().map(|plan| plan.ssrc);
        let answer = view(&mut viewer, direction);
        assert!(
            answer.contains("m=video 9 ") && answer.contains(&format!("a={answered}\r\n")),
            "{answer}"
        );
        let plan = &viewer.plan().sends[0];
        assert_eq!(plan.codecs.is_empty(), answered == "inactive");
        assert!(before.is_none_or(|before| before == plan.ssrc), "it goes on counting");
        assert_eq!(viewer.shows("0"), answered == "sendonly");
    }
}

#[test]
fn an_answer_has_to_answer_every_section() {
    let mut viewer = connection();
    for name in ["camera", "screen"] {
        let mid = viewer.line_for(Kind::Video);
        viewer.show(&mid, shown(name));
    }
    let offer = viewer.offer();
    let whole = answer(&offer, |_, text| text);
    let refused = |sections: Vec<crate::Section>| {
        let answer = Description { sections, ..whole.clone() };
        viewer.clone().take_answer(&answer).unwrap_err().to_string()
    };
    let [first, second] = whole.sections.clone().try_into().unwrap();
    assert!(refused(vec![first.clone()]).contains("does not answer all sections"));
    assert!(refused(vec![second.clone(), first.clone()]).contains("not offered there"));
    assert!(refused(vec![first, second.clone(), second]).contains("not offered there"));
    assert_eq!(whole.sections[0].direction, Direction { sends: false, receives: true });
    viewer.take_answer(&whole).unwrap();
}

#[test]
fn what_an_offer_says_of_opus_is_what_may_come() {
    let mut viewer = connection();
    viewer.line_for(Kind::Audio);
    let offer = viewer.offer();
    assert!(offer.contains("a=fmtp:111 minptime=10;useinbandfec=1;sprop-stereo=1\r\n"), "{offer}");
}
