//! The text of our descriptions (RFC 8866).

use std::fmt::Write as _;

use super::model::{Connection, Line, Role, Shown};
use crate::codec::Codec;
use crate::description::{Direction, Encoding, Offered, Payload};
use crate::plan::SendPlan;
use crate::rtp::{EXTENSIONS, ExtensionIds};

impl Connection {
    /// Our credentials and candidates alone (RFC 8840 §9).
    pub fn fragment(&self) -> String {
        let mut text = format!(
            "a=ice-lite\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            self.ice.ufrag, self.ice.pwd
        );
        self.write_candidates(&mut text);
        text
    }

    /// Our offer, or our answer; writing to a text cannot fail.
    pub(super) fn text(&self, offer: bool) -> String {
        let mut text = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n",
            self.session, self.version
        );
        if offer || self.mixed {
            text.push_str("a=extmap-allow-mixed\r\n");
        }
        let bundle = self.bundle_of(offer);
        if !bundle.is_empty() {
            let _ = write!(text, "a=group:BUNDLE {}\r\n", bundle.join(" "));
        }
        for line in &self.lines {
            if line.is_rejected() {
                write_rejected(&mut text, line);
                continue;
            }
            self.write_line(&mut text, line, offer);
            // RFC 8843 §7.3: the first of the bundle has the candidates of all, and what is in none has its own.
            let tagged = bundle.first() == Some(&line.mid.as_str());
            if tagged || !bundle.contains(&line.mid.as_str()) {
                self.write_candidates(&mut text);
            }
        }
        text
    }

    /// The mids of the bundle: all of ours, or those that are used of the bundle that was offered, in its order.
    fn bundle_of(&self, offer: bool) -> Vec<&str> {
        let used = self.lines.iter().filter(|line| !line.is_rejected());
        if offer {
            return used.map(|line| line.mid.as_str()).collect();
        }
        let bundle = self.bundle.iter().map(String::as_str);
        bundle.filter(|mid| used.clone().any(|line| line.mid == *mid)).collect()
    }

    fn write_line(&self, text: &mut String, line: &Line, offer: bool) {
        write_head(text, line);
        let setup = if offer { "actpass" } else { "passive" };
        let _ = write!(
            text,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n",
            self.ice.ufrag,
            self.ice.pwd,
            hexadecimal(&self.endpoint.fingerprint),
        );
        for (said, attribute) in [
            (line.form.rtcp_mux, "rtcp-mux"),
            (line.form.rtcp_rsize, "rtcp-rsize"),
            (line.form.mixed, "extmap-allow-mixed"),
        ] {
            if said {
                let _ = write!(text, "a={attribute}\r\n");
            }
        }
        let codecs = line.codecs();
        let _ = write!(text, "a={}\r\n", direction(line, offer));
        write_codecs(text, codecs);
        match &line.role {
            Role::Receive(receiving) => {
                write_extensions(text, &receiving.plan.extensions, &line.form.one_way, "/recvonly");
                write_encodings(text, &receiving.encodings);
            }
            Role::Send(sending) => {
                write_extensions(text, &sending.plan.extensions, &line.form.one_way, "/sendonly");
                write_ssrcs(text, &sending.plan, sending.shown.as_ref(), codecs);
            }
            Role::Both(bridged) => {
                write_extensions(text, &bridged.extensions, &ExtensionIds::default(), "");
                write_encodings(text, &bridged.encodings);
                if line.direction.receives {
                    write_ssrcs(text, &bridged.send, Some(&bridged.shown), codecs);
                }
            }
            Role::Rejected => {}
        }
    }

    fn write_candidates(&self, text: &mut String) {
        // RFC 8445 §5.1.2.1: host candidates, the first most preferred; TCP after UDP.
        for (n, address) in (0_u32..).zip(&self.endpoint.udp) {
            let priority = (126 << 24) | ((65_535 - n.min(1000)) << 8) | 255;
            let _ = write!(
                text,
                "a=candidate:{} 1 udp {priority} {} {} typ host\r\n",
                n + 1,
                address.ip(),
                address.port()
            );
        }
        for (n, address) in (0_u32..).zip(&self.endpoint.tcp) {
            let priority = (90 << 24) | ((65_535 - n.min(1000)) << 8) | 255;
            let _ = write!(
                text,
                "a=candidate:{} 1 tcp {priority} {} {} typ host tcptype passive\r\n",
                n + 100,
                address.ip(),
                address.port()
            );
        }
        text.push_str("a=end-of-candidates\r\n");
    }
}

/// Who sends in a section, seen from here.
fn direction(line: &Line, offer: bool) -> &'static str {
    let Direction { mut receives, mut sends } = line.direction;
    match &line.role {
        // What an answer said about a section that showed nothing is no word about what it shows now.
        Role::Send(sending) if offer => receives = sending.shown.is_some(),
        Role::Send(_) => sends = false,
        Role::Receive(_) => receives = false,
        Role::Both(_) | Role::Rejected => {}
    }
    match (receives, sends) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    }
}

/// The payload types of a section, as the client orders them (RFC 3264 §6.1): it sends by the first one.
fn numbers(codecs: &[Offered]) -> Vec<String> {
    let mut payloads: Vec<&Payload> = codecs.iter().flat_map(Offered::payloads).collect();
    payloads.sort_by_key(|payload| payload.place);
    let mut numbers: Vec<u8> = Vec::new();
    for payload in payloads {
        if !numbers.contains(&payload.number) {
            numbers.push(payload.number);
        }
    }
    numbers.iter().map(u8::to_string).collect()
}

fn write_head(text: &mut String, line: &Line) {
    let (media, protocol) = line.form.head.split_once(' ').unwrap_or(("audio", "RTP/SAVPF"));
    let numbers = numbers(line.codecs()).join(" ");
    let _ = write!(
        text,
        "m={media} 9 {protocol} {numbers}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n"
    );
    write_mid(text, line);
}

/// A rejection has the form of what it rejects (RFC 3264 §6).
fn write_rejected(text: &mut String, line: &Line) {
    let (media, protocol) = line.form.head.split_once(' ').unwrap_or(("audio", "RTP/SAVPF"));
    let formats = match line.form.formats.as_slice() {
        [] => numbers(line.codecs()),
        formats => formats.to_vec(),
    };
    let formats = if formats.is_empty() { "0".to_owned() } else { formats.join(" ") };
    let _ = write!(text, "m={media} 0 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\n");
    write_mid(text, line);
    text.push_str("a=inactive\r\n");
}

fn write_mid(text: &mut String, line: &Line) {
    if line.form.named {
        let _ = write!(text, "a=mid:{}\r\n", line.mid);
    }
}

fn write_codecs(text: &mut String, codecs: &[Offered]) {
    for offered in codecs {
        let (codec, Payload { number, parameters, .. }) = (offered.format.codec, &offered.payload);
        let (clock, channels) = (codec.clock(), if codec == Codec::Opus { "/2" } else { "" });
        let name = match codec {
            Codec::Opus => codec.name().to_owned(),
            _ => codec.name().to_ascii_uppercase(),
        };
        let _ = write!(text, "a=rtpmap:{number} {name}/{clock}{channels}\r\n");
        if !parameters.is_empty() {
            let _ = write!(text, "a=fmtp:{number} {parameters}\r\n");
        }
        write_feedback(text, &offered.payload);
        if let Some(Payload { number, parameters, .. }) = &offered.red {
            let _ =
                write!(text, "a=rtpmap:{number} red/48000/2\r\na=fmtp:{number} {parameters}\r\n");
        }
        if let Some(rtx) = &offered.rtx {
            let _ =
                write!(text, "a=rtpmap:{0} rtx/{clock}\r\na=fmtp:{0} apt={number}\r\n", rtx.number);
        }
    }
}

/// An answer has no feedback that was not offered (RFC 4585 §4.2).
fn write_feedback(text: &mut String, payload: &Payload) {
    let feedback = payload.feedback;
    for (has, what) in [
        (feedback.transport_cc, "transport-cc"),
        (feedback.remb, "goog-remb"),
        (feedback.fir, "ccm fir"),
        (feedback.pli, "nack pli"),
        (feedback.nack, "nack"),
    ] {
        if has {
            let _ = write!(text, "a=rtcp-fb:{} {what}\r\n", payload.number);
        }
    }
}

/// Those that are offered in one direction are answered in the other (RFC 8285 §6).
fn write_extensions(text: &mut String, ids: &ExtensionIds, one_way: &ExtensionIds, way: &str) {
    for (extension, uri) in EXTENSIONS {
        if let Some(id) = ids.id(extension) {
            let way = if one_way.id(extension).is_some() { way } else { "" };
            let _ = write!(text, "a=extmap:{id}{way} {uri}\r\n");
        }
    }
}

fn write_encodings(text: &mut String, encodings: &[Encoding]) {
    for Encoding { rid, payload_types, restrictions } in encodings {
        let types: Vec<String> = payload_types.iter().map(u8::to_string).collect();
        let types =
            if types.is_empty() { String::new() } else { format!("pt={}", types.join(",")) };
        let all = [types.as_str(), restrictions].into_iter().filter(|it| !it.is_empty());
        let all: Vec<&str> = all.collect();
        let space = if all.is_empty() { "" } else { " " };
        let _ = write!(text, "a=rid:{rid} recv{space}{}\r\n", all.join(";"));
    }
    let rids: Vec<&str> = encodings.iter().map(|encoding| encoding.rid.as_str()).collect();
    if !rids.is_empty() {
        let _ = write!(text, "a=simulcast:recv {}\r\n", rids.join(";"));
    }
}

fn write_ssrcs(text: &mut String, plan: &SendPlan, shown: Option<&Shown>, codecs: &[Offered]) {
    let nothing = Shown { stream: "-".into(), track: plan.mid.clone() };
    let shown = shown.unwrap_or(&nothing);
    let _ = write!(text, "a=msid:{} {}\r\n", shown.stream, shown.track);
    let repaired = codecs.iter().any(|offered| offered.rtx.is_some());
    if repaired {
        let _ = write!(text, "a=ssrc-group:FID {} {}\r\n", plan.ssrc, plan.rtx_ssrc);
    }
    let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.ssrc);
    if repaired {
        let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.rtx_ssrc);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
