mod corpus;
mod random;
mod rules;

use super::*;
use crate::{Codec, Description, TrackKey};

fn endpoint() -> Endpoint {
    Endpoint { fingerprint: [7; 32], udp: vec!["192.0.2.1:7000".parse().unwrap()], tcp: Vec::new() }
}

fn connection() -> Connection {
    Connection::new(endpoint(), &Codec::ALL)
}

/// A description of a client, each section with its transport lines.
fn description(sections: &[&str]) -> Description {
    let mids = sections.iter().flat_map(|section| section.lines());
    let mids: String =
        mids.filter_map(|line| line.strip_prefix("a=mid:")).map(|mid| format!(" {mid}")).collect();
    let mut text =
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\n");
    for section in sections {
        text += section;
        text += &format!(
            "a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\na=rtcp-mux\r\n",
            ["AB"; 32].join(":")
        );
    }
    Description::parse(&text, 16).unwrap()
}

const PICTURES: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:0\r\na=sendonly\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
    a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\n\
    a=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\n";

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
