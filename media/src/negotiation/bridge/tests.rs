use super::*;
use crate::{Direction, Kind};

fn description(text: &str) -> Description {
    Description::parse(text, 16).unwrap()
}

fn offer_of(ufrag: &str, print: &str, sections: &[&str]) -> String {
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    for section in sections {
        text += section;
        text += &format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\na=rtcp-mux\r\n",
            [print; 32].join(":")
        );
    }
    text
}

const SOUND: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9\r\na=mid:0\r\na=msid:home voice\r\n\
    a=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=sendrecv\r\n\
    a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
const PICTURES: &str = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127\r\na=mid:1\r\n\
    a=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=fmtp:124 apt=120\r\n\
    a=rtpmap:126 H264/90000\r\na=fmtp:126 profile-level-id=42e01f;packetization-mode=1\r\n\
    a=rtpmap:127 rtx/90000\r\na=fmtp:127 apt=126\r\na=rtcp-fb:* nack\r\n\
    a=ssrc:7 msid:home face\r\na=sendrecv\r\n";

/// What a client says to an offer that it takes as it is, but for some lines.
fn answer_to(offer: &str, print: &str, without: &[&str]) -> String {
    let mut text = String::new();
    for line in offer.lines().filter(|line| !without.iter().any(|no| line.contains(no))) {
        let line = match line {
            "a=setup:actpass" => "a=setup:active".to_owned(),
            "a=sendonly" => "a=recvonly".to_owned(),
            "a=recvonly" => "a=sendonly".to_owned(),
            _ if line.starts_with("a=fingerprint") => {
                format!("a=fingerprint:sha-256 {}", [print; 32].join(":"))
            }
            _ if line.starts_with("a=ice-ufrag") => "a=ice-ufrag:answering".to_owned(),
            _ if line.starts_with("a=msid") => "a=msid:away one".to_owned(),
            _ if line.starts_with("a=ssrc") || line == "a=ice-lite" => continue,
            _ => line.to_owned(),
        };
        text += &line;
        text += "\r\n";
    }
    text
}

fn bridge() -> (Bridge, impl FnMut() -> TrackKey + Clone) {
    let endpoint = Endpoint {
        fingerprint: [7; 32],
        udp: vec!["192.0.2.1:7000".parse().unwrap()],
        tcp: Vec::new(),
    };
    let next = std::rc::Rc::new(std::cell::Cell::new(0));
    let track = move || {
        next.set(next.get() + 1);
        TrackKey(next.get())
    };
    (Bridge::new(&endpoint, &Codec::ALL), track)
}

/// A call with sound and pictures of which the callee takes no H.264.
fn connected() -> (Bridge, impl FnMut() -> TrackKey + Clone) {
    let (mut bridge, track) = bridge();
    let offer = offer_of("caller", "AA", &[SOUND, PICTURES]);
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    assert_eq!(offering.answer, None, "the callee has the last word");
    let answer = answer_to(&offering.offer, "BB", &["H264"]);
    let answer = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
    let answer = answer.expect("the caller waits");
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 120 124\r\n"), "{answer}");
    assert!(answer.contains("a=msid:away one") && answer.contains("a=setup:passive"));
    (bridge, track)
}

#[test]
fn what_one_offers_is_offered_to_the_other_and_the_answer_is_the_answer() {
    let (mut bridge, track) = bridge();
    let offer = offer_of("caller", "AA", &[SOUND, PICTURES]);
    let offering = bridge.offer(Side::Caller, &description(&offer), track).unwrap();
    let seen = description(&offering.offer);
    assert_eq!(seen.sections.len(), 2);
    assert!(!offering.offer.contains("G722") && !offering.offer.contains("VP9"));
    assert!(offering.offer.contains("a=msid:home voice"));
    assert!(offering.offer.contains("a=msid:home face"), "named by its SSRC");
    assert!(offering.offer.contains("a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid"));
    assert!(!offering.offer.contains("transport-wide-cc"), "neither offered it");
    assert_ne!(seen.transport(|_| true).unwrap().ufrag, "caller");

    let (bridge, _) = connected();
    let [caller, callee] = [Side::Caller, Side::Callee].map(|side| bridge.tracks(side));
    assert_eq!(caller.iter().map(|it| it.1).collect::<Vec<_>>(), [Codec::Opus, Codec::Vp8]);
    let keys =
        |tracks: &[(TrackKey, Codec, bool)]| tracks.iter().map(|it| Some(it.0)).collect::<Vec<_>>();
    let shown = |side| bridge.shows(side).into_iter().map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(shown(Side::Callee), keys(&caller));
    assert_eq!(shown(Side::Caller), keys(&callee));
    let plan = bridge.plan(Side::Caller);
    assert_eq!((plan.receives.len(), plan.sends.len()), (2, 2));
    assert!(plan.receives.iter().any(|it| it.codecs[0].payload_type == 120 && it.codecs[0].nack));
}

#[test]
fn hold_and_new_sections_of_either_side_go_on_with_the_same_numbers() {
    let (mut bridge, track) = connected();
    let before = bridge.tracks(Side::Caller);
    // The callee knows other numbers, and adds its screen.
    let screen = "m=video 9 UDP/TLS/RTP/SAVPF 96 98\r\na=mid:screen\r\na=sendonly\r\n\
        a=rtpmap:96 VP9/90000\r\na=rtpmap:98 VP8/90000\r\n";
    let held = SOUND.replace("a=sendrecv", "a=inactive");
    let pictures = PICTURES.replace("120", "98").replace("126", "102");
    let offer = offer_of("answering", "BB", &[&held, &pictures, screen]);
    let offering = bridge.offer(Side::Callee, &description(&offer), track.clone()).unwrap();
    let offer = description(&offering.offer);
    assert_eq!(offer.sections[0].direction, Direction { sends: false, receives: false });
    assert_eq!(offer.sections[2].direction, Direction { sends: true, receives: false });
    assert_eq!(offer.sections[2].kind, Some(Kind::Video));
    assert!(offering.offer.contains("a=rtpmap:120 VP8/90000"), "{}", offering.offer);
    assert!(offering.offer.contains("a=rtpmap:96 VP9/90000"));
    let answer = answer_to(&offering.offer, "AA", &[]);
    let answer = bridge.answer(Side::Caller, &description(&answer), track.clone()).unwrap();
    let answer = answer.expect("the callee waits");
    assert!(answer.contains("a=rtpmap:98 VP8/90000"), "{answer}");
    assert_eq!(
        bridge.tracks(Side::Caller)[..2].iter().map(|it| it.0).collect::<Vec<_>>(),
        before.iter().map(|it| it.0).collect::<Vec<_>>()
    );
    assert_eq!(bridge.tracks(Side::Callee).len(), 3);
    assert!(!bridge.tracks(Side::Callee)[0].2, "held");
}

#[test]
fn another_way_to_the_server_is_answered_at_once_and_the_other_side_looks_for_one_too() {
    let (mut bridge, track) = connected();
    let before = bridge.plan(Side::Caller).ice;
    let again = offer_of("elsewhere", "AA", &[SOUND, PICTURES]);
    let offering = bridge.offer(Side::Caller, &description(&again), track.clone()).unwrap();
    assert!(offering.answer.is_some());
    assert_ne!(bridge.plan(Side::Caller).ice, before);
    let answer = answer_to(&offering.offer, "BB", &[]);
    let answered = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
    assert_eq!(answered, None, "neither waits");
    // With another certificate it is another connection.
    let other = offer_of("elsewhere", "CC", &[SOUND, PICTURES]);
    assert!(bridge.offer(Side::Caller, &description(&other), track).is_err());
}

#[test]
fn of_two_offers_at_once_the_one_that_is_answered_counts() {
    let (mut bridge, track) = connected();
    let held = SOUND.replace("a=sendrecv", "a=sendonly");
    let by_caller = offer_of("caller", "AA", &[&held, PICTURES]);
    let by_callee = offer_of("answering", "BB", &[SOUND, PICTURES]);
    let to_callee = bridge.offer(Side::Caller, &description(&by_caller), track.clone()).unwrap();
    bridge.offer(Side::Callee, &description(&by_callee), track.clone()).unwrap();
    let answer = answer_to(&to_callee.offer, "BB", &[]);
    let answer = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
    assert!(answer.is_some_and(|answer| answer.contains("a=recvonly")));
    let late = answer_to(&to_callee.offer, "AA", &[]);
    let late = bridge.answer(Side::Caller, &description(&late), track);
    assert_eq!(late, Err(BridgeError::NotOffered));
}

#[test]
fn a_device_that_takes_the_call_over_brings_another_connection() {
    let (mut bridge, track) = connected();
    let theirs = bridge.plan(Side::Callee);
    let sound = SOUND.replace("a=mid:0", "a=mid:sound");
    let offer = offer_of("moved", "DD", &[&sound]);
    assert!(bridge.is_other(Side::Caller, &description(&offer)));
    bridge.renew(Side::Caller);
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    let offer = description(&offering.offer);
    assert_eq!(offer.sections.iter().map(|it| it.mid.as_str()).collect::<Vec<_>>(), ["0", "1"]);
    assert!(offer.sections[1].rejected, "no pictures any more");
    let answer = answer_to(&offering.offer, "BB", &[]);
    let answer = bridge.answer(Side::Callee, &description(&answer), track).unwrap().unwrap();
    assert!(answer.contains("a=mid:sound"));
    assert_eq!(bridge.plan(Side::Callee).ice, theirs.ice, "the other side goes on");
    assert_eq!(bridge.shows(Side::Callee)[1], ("1".into(), None));
}

#[test]
fn the_server_comes_between_two_that_are_connected() {
    let (mut bridge, track) = bridge();
    let caller = description(&offer_of("caller", "AA", &[SOUND, PICTURES]));
    let theirs = PICTURES.replace("a=sendrecv", "a=recvonly");
    let callee = description(&offer_of("callee", "BB", &[SOUND, &theirs]));
    let [to_caller, to_callee] = bridge.take_over(&caller, &callee).unwrap();
    assert_eq!(
        description(&to_caller).sections[1].direction,
        Direction { sends: false, receives: true }
    );
    for (side, offer, print) in [(Side::Callee, to_callee, "BB"), (Side::Caller, to_caller, "AA")] {
        let answer = answer_to(&offer, print, &[]);
        assert_eq!(bridge.answer(side, &description(&answer), track.clone()).unwrap(), None);
    }
    let caller = bridge.tracks(Side::Caller);
    assert_eq!(caller.iter().map(|it| it.1).collect::<Vec<_>>(), [Codec::Opus, Codec::Vp8]);
    assert!(bridge.shows(Side::Callee).iter().all(|(_, track)| track.is_some()));
}

#[test]
fn an_answer_without_a_shared_codec_is_refused() {
    let (mut bridge, track) = bridge();
    let offer = offer_of("caller", "AA", &[PICTURES]);
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    let answer = answer_to(&offering.offer, "BB", &["VP8", "H264"]);
    let refused = bridge.answer(Side::Callee, &description(&answer), track.clone());
    let error = refused.unwrap_err();
    assert_eq!(error, BridgeError::Mismatch { offered: "vp8, h264".into() });
    let old = SOUND.replace("109 opus", "109 speex");
    let old = bridge.offer(Side::Caller, &description(&offer_of("caller", "AA", &[&old])), track);
    assert!(matches!(old, Err(BridgeError::Description(DescriptionError::Codec { .. }))));
}

/// What a client answers of an offer, with other payload types left out of the m-line.
fn only(answer: &str, from: &str, to: &str) -> String {
    assert!(answer.contains(from), "{answer}");
    answer.replace(from, to)
}

#[test]
fn variants_of_a_codec_pass_with_numbers_of_their_own() {
    let (mut bridge, track) = bridge();
    let pictures = "m=video 9 UDP/TLS/RTP/SAVPF 100 102 96\r\na=mid:1\r\na=rtpmap:100 H264/90000\r\n\
        a=fmtp:100 profile-level-id=640c1f;packetization-mode=1\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\na=rtpmap:96 VP8/90000\r\na=sendrecv\r\n";
    let offer = offer_of("caller", "AA", &[pictures]);
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    assert!(
        offering.offer.contains("m=video 9 UDP/TLS/RTP/SAVPF 100 102 96\r\n"),
        "{}",
        offering.offer
    );
    // The callee has no high profile.
    let answer = only(
        &answer_to(&offering.offer, "BB", &["rtpmap:100", "fmtp:100"]),
        "100 102 96",
        "102 96",
    );
    let answer = bridge.answer(Side::Callee, &description(&answer), track).unwrap().unwrap();
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 102\r\n"), "{answer}");
    for side in [Side::Caller, Side::Callee] {
        let plan = bridge.plan(side);
        assert_eq!(plan.receives[0].codecs[0].payload_type, 102);
        assert_eq!(plan.sends[0].codecs[0].format, plan.receives[0].codecs[0].format);
    }
}

#[test]
fn wishes_of_one_receiver_reach_the_other_sender() {
    let (mut bridge, track) = bridge();
    let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=mid:0\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1;sprop-stereo=1\r\na=sendrecv\r\n";
    let offer = offer_of("caller", "AA", &[sound]);
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    assert!(
        offering.offer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n"),
        "{}",
        offering.offer
    );
    assert!(offering.offer.contains("a=fmtp:111 useinbandfec=1;sprop-stereo=1\r\n"));
    let wished = "useinbandfec=1;stereo=1;maxaveragebitrate=64000";
    let answer =
        only(&answer_to(&offering.offer, "BB", &[]), "useinbandfec=1;sprop-stereo=1", wished);
    let answer = bridge.answer(Side::Callee, &description(&answer), track).unwrap().unwrap();
    assert!(
        answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n"),
        "redundancy first: {answer}"
    );
    assert!(answer.contains(&format!("a=fmtp:111 {wished}\r\n")), "{answer}");
}

#[test]
fn a_party_that_can_never_connect_is_refused_in_words() {
    let (mut bridge, track) = bridge();
    let offer = offer_of("caller", "AA", &[SOUND, PICTURES]);
    let lite = offer.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    let refused = bridge.offer(Side::Caller, &description(&lite), track.clone()).unwrap_err();
    assert!(refused.to_string().contains("a=ice-lite"), "{refused}");
    let unmuxed = offer.replace("a=rtcp-mux\r\n", "");
    let refused = bridge.offer(Side::Caller, &description(&unmuxed), track.clone()).unwrap_err();
    assert!(refused.to_string().contains("a=rtcp-mux"), "{refused}");
    let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
    let answer = answer_to(&offering.offer, "BB", &["rtcp-mux"]);
    assert!(bridge.answer(Side::Callee, &description(&answer), track.clone()).is_err());
    let answer = answer_to(&offering.offer, "BB", &[]);
    assert!(bridge.answer(Side::Callee, &description(&answer), track).unwrap().is_some());
}

#[test]
fn layers_of_a_party_that_holds_stay_what_they_are() {
    let (mut bridge, track) = bridge();
    let pictures = format!("{PICTURES}a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n");
    let agree = |bridge: &mut Bridge, pictures: &str| {
        let offer = offer_of("caller", "AA", &[SOUND, pictures]);
        let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
        let answer = answer_to(&offering.offer, "BB", &["rid", "simulcast"]);
        bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap().unwrap()
    };
    let answer = agree(&mut bridge, &pictures);
    assert!(answer.contains("a=simulcast:recv q;h\r\n"), "{answer}");
    let sending = bridge.plan(Side::Caller).receives;
    let answer = agree(&mut bridge, &PICTURES.replace("a=sendrecv", "a=inactive"));
    assert!(answer.contains("m=video 9 ") && !answer.contains("a=simulcast"), "{answer}");
    assert_eq!(bridge.plan(Side::Caller).receives, sending);
    agree(&mut bridge, &pictures);
    assert_eq!(bridge.plan(Side::Caller).receives, sending);
}
