use super::*;
use crate::codec::{Codec, Format, Profile};

const PRINT: &str = "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

fn whole(session: &str, sections: &str) -> Result<Description, DescriptionError> {
    let text = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{session}{sections}");
    Description::parse(&text, 16)
}

fn video(lines: &str) -> Section {
    let session = format!("a=ice-ufrag:them\r\na=fingerprint:sha-256 {PRINT}\r\n");
    let text = format!("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:0\r\n{lines}");
    whole(&session, &text).unwrap().sections.remove(0)
}

#[test]
fn a_sha256_fingerprint_counts_wherever_it_stands() {
    let section = |lines: &str| {
        format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:them\r\n{lines}")
    };
    let good = format!("a=fingerprint:SHA-256 {PRINT}\r\n");
    let other = "a=fingerprint:sha-512 CD:CD\r\na=fingerprint:sha-1 00:11\r\n";
    for (session, lines) in [
        (String::new(), format!("{other}{good}")),
        (String::new(), format!("{good}{other}")),
        (good.clone(), other.to_owned()),
        (other.to_owned(), good.clone()),
        (good.clone(), String::new()),
    ] {
        let read = whole(&session, &section(&lines)).unwrap();
        let transport = read.transport(|_| true).unwrap();
        assert_eq!(transport.fingerprint, [0xAB; 32], "{session}{lines}");
    }
    let refused = whole("", &section(other)).unwrap_err().to_string();
    assert!(refused.contains("sha-512, sha-1") && refused.contains("sha-256"), "{refused}");
    let short = whole("", &section("a=fingerprint:sha-256 AB:CD\r\n")).unwrap_err().to_string();
    assert!(short.contains("32 bytes"), "{short}");
    let none = whole("", &section("")).unwrap_err().to_string();
    assert_eq!(none, "the description needs a=ice-ufrag and a=fingerprint");
}

#[test]
fn sections_without_a_name_are_named_by_their_place() {
    let session = format!("a=ice-ufrag:them\r\na=fingerprint:sha-256 {PRINT}\r\n");
    let text = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n";
    let read = whole(&session, text).unwrap();
    let names: Vec<_> = read.sections.iter().map(|it| (it.mid.as_str(), it.named)).collect();
    assert_eq!(names, [("m0", false), ("0", true)]);
    for bad in ["a=mid:\r\n".to_owned(), format!("a=mid:{}\r\n", "x".repeat(17))] {
        let text = format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{bad}");
        assert!(whole(&session, &text).is_err(), "{bad}");
    }
}

#[test]
fn variants_of_h264_have_the_defaults_of_the_standard() {
    let format = |profile, single_unit| Some(Format { codec: Codec::H264, profile, single_unit });
    for (parameters, expected) in [
        ("", format(Profile::Baseline, true)),
        ("a=fmtp:96 packetization-mode=1\r\n", format(Profile::Baseline, false)),
        ("a=fmtp:96 profile-level-id=42e01f\r\n", format(Profile::ConstrainedBaseline, true)),
        (
            "a=fmtp:96 Profile-Level-Id=42C01F; packetization-mode=1\r\n",
            format(Profile::ConstrainedBaseline, false),
        ),
        (
            "a=fmtp:96 packetization-mode=1;profile-level-id=42001f\r\n",
            format(Profile::Baseline, false),
        ),
        (
            "a=fmtp:96 packetization-mode=1;profile-level-id=4d0029\r\n",
            format(Profile::Main, false),
        ),
        (
            "a=fmtp:96 packetization-mode=1;profile-level-id=640032\r\n",
            format(Profile::High, false),
        ),
        (
            "a=fmtp:96 packetization-mode=1;profile-level-id=640c1f\r\n",
            format(Profile::High, false),
        ),
        (
            "a=fmtp:96 packetization-mode=1;profile-level-id=422001f\r\n",
            format(Profile::ConstrainedBaseline, false),
        ),
        ("a=fmtp:96 packetization-mode=1;profile-level-id=f4001f\r\n", None),
        ("a=fmtp:96 packetization-mode=1;profile-level-id=42e0\r\n", None),
        ("a=fmtp:96 packetization-mode=1;profile-level-id=zz001f\r\n", None),
        ("a=fmtp:96 packetization-mode=1;profile-level-id=\u{e9}\u{e9}\u{e9}\r\n", None),
        ("a=fmtp:96 packetization-mode=2;profile-level-id=42e01f\r\n", None),
    ] {
        let section = video(&format!("a=rtpmap:96 H264/90000\r\n{parameters}"));
        let found = section.codecs().first().map(|offered| offered.format);
        assert_eq!(found, expected, "{parameters}");
    }
}

#[test]
fn layers_are_those_of_the_simulcast_line_in_its_order() {
    let rids = |lines: &str| video(lines).rids();
    let declared = "a=rid:q send\r\na=rid:h send pt=96,97;max-width=640\r\na=rid:f send max-fps=30\r\n\
        a=rid:in recv\r\n";
    for (line, expected) in [
        ("a=simulcast:send q;h;f recv in", vec!["q", "h", "f"]),
        ("a=simulcast:recv in send f;~h;q", vec!["f", "h", "q"]),
        ("a=simulcast:send x,h;~f,q", vec!["h", "f"]),
        ("a=simulcast: send rid=q;h", vec!["q", "h"]),
        ("a=simulcast:send q;q;in;unknown", vec!["q"]),
        ("a=simulcast:recv in", vec![]),
        ("a=simulcast:send", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(rids(&format!("{declared}{line}\r\n")), expected, "{line}");
    }
    let section = video(&format!("{declared}a=simulcast:send h\r\n"));
    let [h] = section.encodings.as_slice() else { panic!("{section:?}") };
    assert_eq!(
        (h.payload_types.as_slice(), h.restrictions.as_str()),
        (&[96, 97][..], "max-width=640")
    );
}

#[test]
fn streams_of_simulcast_without_names_are_its_layers() {
    let legacy = "a=ssrc-group:SIM 1 2 3\r\na=ssrc-group:FID 1 11\r\na=ssrc-group:FID 3 13\r\n\
        a=ssrc:11 cname:a\r\na=ssrc:1 cname:a\r\na=ssrc:2 cname:a\r\na=ssrc:3 cname:a\r\n";
    assert_eq!(video(legacy).ssrcs, [(1, Some(11)), (2, None), (3, Some(13))]);
    let error_correction = "a=ssrc-group:FID 5 6\r\na=ssrc-group:FEC-FR 5 7\r\na=ssrc:6 cname:a\r\n\
        a=ssrc:5 cname:a\r\na=ssrc:7 cname:a\r\n";
    assert_eq!(video(error_correction).ssrcs, [(5, Some(6))]);
    let many: String = (1..100).map(|ssrc| format!(" {ssrc}")).collect();
    assert_eq!(video(&format!("a=ssrc-group:SIM{many}\r\n")).ssrcs.len(), 4, "it is bounded");
    assert!(video("a=ssrc:x cname:a\r\na=ssrc:4294967296 cname:a\r\n").ssrcs.is_empty());
}

#[test]
fn parameter_sets_of_the_description_are_decoded_as_far_as_they_are_some() {
    let sets = |value: &str| {
        let lines = format!(
            "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets={value}\r\n"
        );
        video(&lines).codecs()[0].parameter_sets().to_vec()
    };
    let (sequence, picture) = (vec![0x67, 0x42, 0xC0, 0x0D], vec![0x68, 0xCE, 0x3C, 0x80]);
    assert_eq!(sets("Z0LADQ==,aM48gA=="), [sequence.clone(), picture.clone()]);
    assert_eq!(sets("Z0LADQ, aM48gA"), [sequence.clone(), picture], "padding may be missing");
    assert_eq!(sets("Z0LADQ==,?,Z,,ZQ=="), [sequence], "what is no parameter set is left out");
    assert!(sets(&["Z0LADQ=="; 500].join(",")).len() <= 16);
    assert!(sets(&format!("Z{}", "A".repeat(9_999))).is_empty());
}

#[test]
fn an_extension_may_go_one_way_only_or_stand_in_the_session() {
    use crate::rtp::Extension;
    let session = format!(
        "a=ice-ufrag:them\r\na=fingerprint:sha-256 {PRINT}\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    );
    let text = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=extmap:4/recvonly urn:3gpp:video-orientation\r\n\
        a=extmap:5/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
    let section = whole(&session, text).unwrap().sections.remove(0);
    let (sent, taken) = (section.extensions, section.extensions_taken);
    assert_eq!(
        (sent.id(Extension::Orientation), taken.id(Extension::Orientation)),
        (None, Some(4))
    );
    assert_eq!((sent.id(Extension::Rid), taken.id(Extension::Rid)), (Some(5), None));
    assert_eq!(sent.id(Extension::Mid), None, "its number is another one's in the section");
    assert_eq!(sent.id(Extension::AudioLevel), Some(3));
}
