use super::*;

fn refusal(offer: &str, allowed: &[Codec]) -> String {
    let read = Description::parse(offer, 16).unwrap();
    let mut connection = Connection::new(endpoint(), allowed);
    let refused = connection.answer(&read, |_| Accept::Receive(TrackKey(1)));
    refused.unwrap_err().to_string()
}

#[test]
fn two_transports_without_a_bundle_are_refused_in_words() {
    let other = SOUND.replace("a=mid:0", "a=mid:1");
    let offer = text(&[PICTURES, &other]);
    let at = offer.find("m=audio").unwrap();
    let own = format!("{}{}", &offer[..at], offer[at..].replace("ufrag:them", "ufrag:other"));
    let apart = own.replace("a=group:BUNDLE 0 1\r\n", "");
    let refused = refusal(&apart, &Codec::ALL);
    assert!(refused.contains("section \"1\"") && refused.contains("a=group:BUNDLE"), "{refused}");
    let half = own.replace("BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(refusal(&half, &Codec::ALL), refused, "one section outside the bundle");
    // In one bundle the first of them counts, without one the same transport is one.
    for fine in [own, offer.replace("a=group:BUNDLE 0 1\r\n", "")] {
        let read = Description::parse(&fine, 16).unwrap();
        connection().answer(&read, |_| Accept::Receive(TrackKey(1))).unwrap();
    }
    // What is not used needs none.
    let read = Description::parse(&apart, 16).unwrap();
    let only = |section: &crate::Section| match section.mid.as_str() {
        "0" => Accept::Receive(TrackKey(1)),
        _ => Accept::Reject,
    };
    connection().answer(&read, only).unwrap();
}

#[test]
fn rtcp_on_a_port_of_its_own_is_refused_in_words() {
    let offer = text(&[PICTURES]).replace("a=rtcp-mux\r\n", "");
    let refused = refusal(&offer, &Codec::ALL);
    assert!(refused.contains("section \"0\" without a=rtcp-mux"), "{refused}");
    // In a bundle it is enough that the first section says it (RFC 8843 §7.1.3).
    let other = SOUND.replace("a=mid:0", "a=mid:1");
    let offer = text(&[PICTURES, &other]);
    let at = offer.find("m=audio").unwrap();
    let once = format!("{}{}", &offer[..at], offer[at..].replace("a=rtcp-mux\r\n", ""));
    let read = Description::parse(&once, 16).unwrap();
    let answer = connection().answer(&read, |_| Accept::Receive(TrackKey(1))).unwrap();
    assert_eq!(answer.matches("a=rtcp-mux\r\n").count(), 1);
}

#[test]
fn a_second_lite_side_is_refused_in_words() {
    let offer = text(&[PICTURES]).replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    let refused = refusal(&offer, &Codec::ALL);
    assert!(refused.contains("a=ice-lite") && refused.contains("full"), "{refused}");
    let mut viewer = connection();
    viewer.line_for(crate::Kind::Video);
    let answer = offer.replace("a=sendonly", "a=recvonly").replace("actpass", "active");
    assert!(viewer.take_answer(&Description::parse(&answer, 16).unwrap()).is_err());
}

#[test]
fn a_section_without_a_usable_codec_is_named_with_what_it_offers_and_what_would_do() {
    let h264 = |parameters: &str| {
        text(&[&format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=mid:cam\r\na=sendonly\r\na=rtpmap:102 H264/90000\r\n\
             a=fmtp:102 {parameters}\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n"
        )])
    };
    let refused = refusal(&h264("packetization-mode=1;profile-level-id=f4001f"), &Codec::ALL);
    for word in [
        "section cam",
        "h264 (profile-level-id=f4001f;packetization-mode=1)",
        "42",
        "4d",
        "64",
        "vp8",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    let refused = refusal(&h264("profile-level-id=42e01f"), &[Codec::Vp8, Codec::Opus]);
    assert!(refused.contains("offers h264") && refused.ends_with("supported are vp8"), "{refused}");
    let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 126\r\na=mid:mic\r\na=sendonly\r\n\
        a=rtpmap:126 telephone-event/8000\r\n";
    let refused = refusal(&text(&[sound]), &Codec::ALL);
    assert!(refused.contains("offers pcmu, pcma; supported are opus"), "{refused}");
    let refused = refusal(&text(&[sound]), &[Codec::Vp8]);
    assert!(refused.contains("none in this room"), "{refused}");
}
