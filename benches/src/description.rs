//! Session descriptions as a browser writes them: the offer of a camera and a microphone, and answers to the server's offers. No media
//! flows; the server negotiates all the same.

use std::fmt::Write as _;

/// What Chromium offers for a microphone and a camera in three layers.
const CHROMIUM: &str = include_str!("../../media/tests/offers/publish-chromium.sdp");

/// ICE credentials and the certificate's fingerprint of one peer connection.
#[derive(Clone)]
pub struct Transport {
    ufrag: String,
    pwd: String,
    fingerprint: String,
}

impl Transport {
    pub fn fresh() -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let bytes = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        let fingerprint: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            ufrag: random()[..8].to_owned(),
            pwd: random()[..24].to_owned(),
            fingerprint: fingerprint.join(":"),
        }
    }

    fn write(&self, text: &mut String) {
        let Self { ufrag, pwd, fingerprint } = self;
        let _ = write!(
            text,
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {fingerprint}\r\n"
        );
    }
}

/// Whether a third section, a screen, is there, and whether it is sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Screen {
    None,
    Sent,
    Inactive,
}

/// The offer of a microphone (`0`), a camera in three layers (`1`), and perhaps a screen (`2`).
pub fn offer(transport: &Transport, screen: Screen) -> String {
    let mut text = String::with_capacity(8192);
    let (mut video, mut in_video) = (String::new(), false);
    for line in CHROMIUM.lines().map(str::trim_end) {
        in_video |= line.starts_with("m=video");
        let line = match line.split_once(':').map_or(line, |(name, _)| name) {
            "a=group" if screen != Screen::None => "a=group:BUNDLE 0 1 2".to_owned(),
            "a=ice-ufrag" => format!("a=ice-ufrag:{}", transport.ufrag),
            "a=ice-pwd" => format!("a=ice-pwd:{}", transport.pwd),
            "a=fingerprint" => format!("a=fingerprint:sha-256 {}", transport.fingerprint),
            _ => line.to_owned(),
        };
        if in_video {
            video.push_str(&line);
            video.push_str("\r\n");
        }
        text.push_str(&line);
        text.push_str("\r\n");
    }
    if screen != Screen::None {
        // A screen in one layer: the camera's section under another name.
        let single = video
            .lines()
            .filter(|line| !line.starts_with("a=rid:") && !line.starts_with("a=simulcast:"));
        for line in single {
            let line = match line {
                "a=mid:1" => "a=mid:2",
                "a=sendonly" if screen == Screen::Inactive => "a=inactive",
                line if line.starts_with("a=msid:") => "a=msid:- screen",
                line => line,
            };
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text
}

/// How much of an offer an answer repeats.
#[derive(Clone, Copy, PartialEq)]
pub enum Codecs {
    /// Opus and VP8 alone.
    Few,
    /// All that was offered, as Chromium does.
    All,
}

/// The answer to an offer of the server's: each section is received, and what is inactive or rejected stays so.
pub fn answer(offer: &str, transport: &Transport, codecs: Codecs) -> String {
    let mut sections = offer.split("\r\nm=");
    let head = sections.next().unwrap_or_default();
    let mut text = String::with_capacity(offer.len());
    text.push_str("v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    for line in head.lines().filter(|line| line.starts_with("a=group:BUNDLE")) {
        let _ = write!(text, "{line}\r\n");
    }
    for section in sections {
        answer_section(&mut text, section, transport, codecs);
    }
    text
}

fn answer_section(text: &mut String, section: &str, transport: &Transport, codecs: Codecs) {
    let mut lines = section.lines();
    let head = lines.next().unwrap_or_default();
    let mut words = head.split(' ');
    let (kind, port, protocol) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let wanted = match (kind, codecs) {
        (_, Codecs::All) => None,
        ("audio", Codecs::Few) => number_of(section, "opus/48000"),
        (_, Codecs::Few) => number_of(section, "VP8/90000"),
    };
    let rejected = port == "0";
    let formats = words.filter(|format| wanted.is_none_or(|wanted| *format == wanted));
    let formats: Vec<&str> = formats.collect();
    let port = if rejected { "0" } else { "9" };
    let _ =
        write!(text, "m={kind} {port} {protocol} {}\r\nc=IN IP4 0.0.0.0\r\n", formats.join(" "));
    if !rejected {
        text.push_str("a=rtcp:9 IN IP4 0.0.0.0\r\n");
        transport.write(text);
        text.push_str("a=setup:active\r\na=rtcp-mux\r\na=rtcp-rsize\r\n");
    }
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let number = value.split(' ').next().unwrap_or_default();
        match name {
            "a=mid" => {}
            "a=extmap" if !rejected => {}
            "a=rtpmap" | "a=fmtp" | "a=rtcp-fb" if formats.contains(&number) => {}
            "a=sendonly" | "a=sendrecv" => {
                text.push_str("a=recvonly\r\n");
                continue;
            }
            "a=inactive" | "a=recvonly" => {
                text.push_str("a=inactive\r\n");
                continue;
            }
            _ => continue,
        }
        let _ = write!(text, "{line}\r\n");
    }
}

/// The payload type of a codec in a section.
fn number_of<'a>(section: &'a str, codec: &str) -> Option<&'a str> {
    section.lines().find_map(|line| {
        let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.starts_with(codec).then_some(number)
    })
}
