mod corpus;
mod publishers;
mod random;
mod refusals;
mod rules;
mod viewers;

use super::*;
use crate::{Codec, Description, TrackKey};

fn endpoint() -> Endpoint {
    Endpoint { fingerprint: [7; 32], udp: vec!["192.0.2.1:7000".parse().unwrap()], tcp: Vec::new() }
}

fn connection() -> Connection {
    Connection::new(endpoint(), &Codec::ALL)
}

const TRANSPORT: &str = "a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\r\n";

/// A description of a client, each section with its transport lines.
fn description(sections: &[&str]) -> Description {
    Description::parse(&text(sections), 16).unwrap()
}

fn text(sections: &[&str]) -> String {
    let mids = sections.iter().flat_map(|section| section.lines());
    let mids: String =
        mids.filter_map(|line| line.strip_prefix("a=mid:")).map(|mid| format!(" {mid}")).collect();
    let mut text =
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\n");
    for section in sections {
        text += &format!("{section}{TRANSPORT}a=rtcp-mux\r\n");
    }
    text
}

/// The lines of one section of a text.
fn section(text: &str, index: usize) -> String {
    let mut sections = text.split("m=").skip(1);
    format!("m={}", sections.nth(index).unwrap())
}

const SOUND: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 63 111 0\r\na=mid:0\r\na=sendonly\r\na=rtpmap:63 red/48000/2\r\n\
    a=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
    a=rtpmap:0 PCMU/8000\r\n";
const PICTURES: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=mid:0\r\na=sendonly\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
    a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\n\
    a=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\n";
