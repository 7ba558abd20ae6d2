//! Offers put together at random from valid pieces: none panics, and each is refused for a reason or answered by the rules.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::rules::{self, Media};
use super::*;
use crate::DescriptionError;

/// Payload types with their lines, and whether they are supported here.
const SOUND: [(&str, &str, bool); 6] = [
    ("111", "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n", true),
    ("63", "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n", false),
    ("0", "", false),
    ("9", "a=rtpmap:9 G722/8000\r\n", false),
    ("112", "a=rtpmap:112 OPUS/48000/2\r\na=fmtp:112 sprop-stereo=1;cbr=1\r\n", true),
    ("126", "a=rtpmap:126 telephone-event/8000\r\n", false),
];
const PICTURES: [(&str, &str, bool); 12] = [
    ("96", "a=rtpmap:96 VP8/90000\r\n", true),
    ("97", "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n", false),
    ("98", "a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0\r\n", true),
    ("99", "a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n", false),
    ("100", "a=rtpmap:100 VP9/90000\r\na=fmtp:100 profile-id=2\r\n", false),
    (
        "102",
        "a=rtpmap:102 H264/90000\r\na=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\n",
        true,
    ),
    ("103", "a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n", false),
    (
        "104",
        "a=rtpmap:104 H264/90000\r\na=fmtp:104 profile-level-id=640032;packetization-mode=1\r\n",
        true,
    ),
    ("105", "a=rtpmap:105 H264/90000\r\n", true),
    (
        "106",
        "a=rtpmap:106 H264/90000\r\na=fmtp:106 profile-level-id=f4001f;packetization-mode=1\r\n",
        false,
    ),
    ("45", "a=rtpmap:45 AV1/90000\r\n", true),
    ("120", "a=rtpmap:120 H265/90000\r\n", false),
];
const EXTENSIONS: [&str; 5] = [
    "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
    "a=extmap:2/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n",
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
    "a=extmap:4/recvonly urn:3gpp:video-orientation\r\n",
    "a=extmap:20 urn:ietf:params:rtp-hdrext:toffset\r\n",
];
const FEEDBACK: [&str; 5] = [
    "a=rtcp-fb:* nack\r\n",
    "a=rtcp-fb:* nack pli\r\n",
    "a=rtcp-fb:* ccm fir\r\n",
    "a=rtcp-fb:* transport-cc\r\n",
    "a=rtcp-fb:* goog-remb\r\n",
];
const STREAMS: [&str; 5] = [
    "",
    "a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:a\r\na=ssrc:12 cname:a\r\na=msid:s t\r\n",
    "a=rid:q send\r\na=rid:h send pt=96,102;max-width=640\r\na=rid:f send\r\na=simulcast:send q;h,f;~f\r\n",
    "a=ssrc-group:SIM 21 22 23\r\na=ssrc-group:FID 21 31\r\na=ssrc:21 cname:a\r\na=ssrc:31 cname:a\r\n",
    "a=rid:0 recv\r\na=simulcast:recv 0\r\n",
];

#[derive(Clone, Debug)]
struct Piece {
    /// Sound, pictures, data.
    kind: usize,
    codecs: Vec<usize>,
    direction: usize,
    streams: usize,
    /// Bits that choose extensions, feedback and flags.
    chosen: u32,
    rejected: bool,
    sends: bool,
}

fn piece() -> impl Strategy<Value = Piece> {
    let codecs = proptest::collection::vec(0_usize..12, 1..10);
    let odds = (proptest::bool::weighted(0.15), proptest::bool::weighted(0.3));
    (0_usize..5, codecs, 0_usize..4, 0_usize..5, 0_u32.., odds).prop_map(
        |(kind, codecs, direction, streams, chosen, (rejected, sends))| Piece {
            kind: [0, 1, 1, 0, 2][kind],
            codecs,
            direction,
            streams,
            chosen,
            rejected,
            sends,
        },
    )
}

#[derive(Clone, Copy, Debug)]
struct Whole {
    bundle: bool,
    named: bool,
    mixed: bool,
    lite: bool,
    own_transports: bool,
    muxed: bool,
}

fn whole() -> impl Strategy<Value = Whole> {
    let weighted = proptest::bool::weighted;
    let all =
        (weighted(0.8), weighted(0.8), weighted(0.5), weighted(0.05), weighted(0.1), weighted(0.9));
    all.prop_map(|(bundle, named, mixed, lite, own_transports, muxed)| Whole {
        bundle: bundle && named,
        named,
        mixed,
        lite,
        own_transports,
        muxed,
    })
}

impl Piece {
    /// Its payload types, each once, in their order.
    fn types(&self) -> Vec<(&'static str, &'static str, bool)> {
        let table = if self.kind == 0 { &SOUND[..] } else { &PICTURES[..] };
        let mut types: Vec<(&str, &str, bool)> = Vec::new();
        for &codec in &self.codecs {
            let payload = table[codec % table.len()];
            if !types.contains(&payload) {
                types.push(payload);
            }
        }
        types
    }

    fn supported(&self) -> bool {
        self.kind < 2 && self.types().iter().any(|(.., supported)| *supported)
    }

    fn write(&self, text: &mut String, index: usize, whole: Whole) {
        let port = if self.rejected { 0 } else { 9 };
        let bit = |place: usize| self.chosen >> place & 1 == 1;
        if self.kind == 2 {
            let _ = write!(text, "m=application {port} DTLS/SCTP 5000\r\nc=IN IP4 0.0.0.0\r\n");
        } else {
            let numbers: Vec<&str> = self.types().iter().map(|(number, ..)| *number).collect();
            let media = if self.kind == 0 { "audio" } else { "video" };
            let head = format!("m={media} {port} UDP/TLS/RTP/SAVPF {}\r\n", numbers.join(" "));
            *text += &head;
            text.push_str("c=IN IP4 0.0.0.0\r\n");
            for (_, lines, _) in self.types() {
                *text += lines;
            }
            let optional = EXTENSIONS.iter().chain(&FEEDBACK).enumerate();
            optional.filter(|(place, _)| bit(*place)).for_each(|(_, line)| *text += line);
            *text += STREAMS[self.streams];
            let _ = write!(
                text,
                "a={}\r\n",
                ["sendonly", "recvonly", "sendrecv", "inactive"][self.direction]
            );
        }
        if whole.named {
            let _ = write!(text, "a=mid:{index}\r\n");
        }
        if whole.muxed {
            *text += "a=rtcp-mux\r\n";
        }
        if bit(20) {
            *text += "a=rtcp-rsize\r\n";
        }
        let own = if whole.own_transports { index } else { 0 };
        let _ = write!(
            text,
            "a=ice-ufrag:them{own}\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\n",
            ["AB"; 32].join(":")
        );
    }
}

fn offer(pieces: &[Piece], whole: Whole) -> String {
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    if whole.bundle {
        let mids: Vec<String> = (0..pieces.len()).map(|mid| mid.to_string()).collect();
        let _ = write!(text, "a=group:BUNDLE {}\r\n", mids.join(" "));
    }
    for (said, line) in [(whole.mixed, "a=extmap-allow-mixed\r\n"), (whole.lite, "a=ice-lite\r\n")]
    {
        text += if said { line } else { "" };
    }
    pieces.iter().enumerate().for_each(|(index, piece)| piece.write(&mut text, index, whole));
    text
}

/// Whether an offer has to be answered.
fn is_fine(pieces: &[Piece], whole: Whole) -> bool {
    let mut open = pieces.iter().filter(|piece| piece.kind < 2 && !piece.rejected);
    let several = whole.own_transports && !whole.bundle && open.clone().count() > 1;
    open.all(Piece::supported) && !whole.lite && whole.muxed && !several
}

fn answers(connection: &mut Connection, pieces: &[Piece], whole: Whole, fresh: bool) {
    let text = offer(pieces, whole);
    let read = Description::parse(&text, 16).unwrap();
    let mut index = 0;
    let before = connection.clone();
    let result = connection.answer(&read, |section| {
        index += 1;
        let place: usize = section.mid.parse().unwrap();
        let key = before.track_for(section, || TrackKey(index));
        if pieces[place].sends { Accept::Send } else { Accept::Receive(key) }
    });
    let nothing = pieces.iter().all(|piece| piece.kind == 2 || piece.rejected);
    match result {
        Err(DescriptionError::NoMedia(_)) => assert!(nothing && fresh, "{text}"),
        Err(error) => assert!(!is_fine(pieces, whole), "{error}\n{text}"),
        Ok(answer) => {
            assert!(nothing || is_fine(pieces, whole), "{text}\n{answer}");
            rules::check(&text, &answer);
            let (_, sections) = Media::all(&answer);
            for (piece, section) in pieces.iter().zip(&sections) {
                let taken = !piece.rejected && piece.supported();
                assert_eq!(section.rejected(), !taken, "{text}\n{answer}");
            }
            let plan = connection.plan();
            assert!(plan.receives.iter().all(|receive| !receive.codecs.is_empty()));
            Description::parse(&answer.replace("a=setup:passive", "a=setup:active"), 16).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_offer_is_answered_by_the_rules_or_refused_for_a_reason(
        pieces in proptest::collection::vec(piece(), 1..5),
        whole in whole(),
        directions in proptest::collection::vec(0_usize..4, 5),
        stopped in 0_usize..8,
    ) {
        let mut connection = connection();
        answers(&mut connection, &pieces, whole, true);
        let fresh = connection.received().next().is_none() && connection.send_lines().next().is_none();
        // The same again, otherwise directed, perhaps with a section that is stopped.
        let mut later = pieces;
        for (piece, direction) in later.iter_mut().zip(directions) {
            piece.direction = direction;
        }
        if let Some(piece) = later.get_mut(stopped) {
            piece.rejected = true;
        }
        answers(&mut connection, &later, whole, fresh);
    }

    #[test]
    fn our_own_offers_stand_any_answer(
        pieces in proptest::collection::vec(piece(), 1..5),
        whole in whole(),
    ) {
        let mut viewer = connection();
        for piece in &pieces {
            let kind = if piece.kind == 0 { crate::Kind::Audio } else { crate::Kind::Video };
            let mid = viewer.line_for(kind);
            viewer.show(&mid, Some(Shown::default()));
        }
        viewer.offer();
        let answer = Description::parse(&offer(&pieces, whole), 16).unwrap();
        if viewer.take_answer(&answer).is_ok() {
            let plan = viewer.plan();
            for (piece, send) in pieces.iter().zip(&plan.sends) {
                let takes = piece.direction == 1 || piece.direction == 2;
                prop_assert!(takes || send.codecs.is_empty(), "what is not taken is not sent");
                prop_assert_eq!(viewer.shows(&send.mid), takes && !piece.rejected);
            }
            viewer.offer();
        }
    }
}
