//! The text of our descriptions (RFC 8866).

use std::fmt::Write as _;

use super::model::{Connection, Line, Role, Shown};
use crate::codec::{Codec, Kind};
use crate::description::Offered;
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

    pub(super) fn text(&self, offer: bool) -> String {
        let mut text = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n\
             a=extmap-allow-mixed\r\n",
            self.session, self.version
        );
        let bundled: String = self
            .lines
            .iter()
            .filter(|line| !matches!(line.role, Role::Rejected))
            .map(|line| format!(" {}", line.mid))
            .collect();
        let _ = write!(text, "a=group:BUNDLE{bundled}\r\n");
        let mut first = true;
        for line in &self.lines {
            self.write_line(&mut text, line, offer, first);
            first &= matches!(line.role, Role::Rejected);
        }
        text
    }

    /// Writing to a text cannot fail.
    fn write_line(&self, text: &mut String, line: &Line, offer: bool, first: bool) {
        let codecs = match &line.role {
            Role::Receive { codecs, .. }
            | Role::Send { codecs, .. }
            | Role::Both { codecs, .. } => codecs.as_slice(),
            Role::Rejected => &[],
        };
        let (media, protocol) = line.head.split_once(' ').unwrap_or(("audio", "RTP/SAVPF"));
        if codecs.is_empty() {
            let format = if media == "application" { "webrtc-datachannel" } else { "0" };
            let _ = write!(
                text,
                "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
                line.mid
            );
            return;
        }
        let numbers: String = codecs
            .iter()
            .flat_map(|offered| {
                [Some(&offered.payload), offered.red.as_ref(), offered.repair.as_ref()]
            })
            .flatten()
            .map(|payload| format!(" {}", payload.number))
            .collect();
        let _ = write!(
            text,
            "m={media} 9 {protocol}{numbers}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:{}\r\n",
            line.mid
        );
        let setup = if offer { "actpass" } else { "passive" };
        let _ = write!(
            text,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            self.ice.ufrag,
            self.ice.pwd,
            hexadecimal(&self.endpoint.fingerprint),
        );
        match &line.role {
            Role::Receive { plan, .. } => {
                text.push_str(if line.direction.sends {
                    "a=recvonly\r\n"
                } else {
                    "a=inactive\r\n"
                });
                write_codecs(text, codecs);
                write_extensions(text, &plan.extensions);
                write_rids(text, &plan.rids);
            }
            Role::Send { plan, shown, .. } => {
                // What an answer said about a section that showed nothing is no word about what it shows now.
                let open = if offer { shown.is_some() } else { line.direction.receives };
                text.push_str(if open { "a=sendonly\r\n" } else { "a=inactive\r\n" });
                write_codecs(text, codecs);
                write_extensions(text, &plan.extensions);
                write_ssrcs(text, plan, shown.as_ref(), codecs);
            }
            Role::Both { receive, send, shown, extensions, .. } => {
                text.push_str(match (line.direction.receives, line.direction.sends) {
                    (true, true) => "a=sendrecv\r\n",
                    (true, false) => "a=sendonly\r\n",
                    (false, true) => "a=recvonly\r\n",
                    (false, false) => "a=inactive\r\n",
                });
                write_codecs(text, codecs);
                write_extensions(text, extensions);
                let rids = receive.as_deref().map_or(&[][..], |receive| &receive.rids);
                write_rids(text, rids);
                if line.direction.receives {
                    write_ssrcs(text, send, Some(shown), codecs);
                }
            }
            Role::Rejected => {}
        }
        if first {
            self.write_candidates(text);
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

fn write_codecs(text: &mut String, codecs: &[Offered]) {
    for offered in codecs {
        let (clock, name) = (offered.codec.clock(), offered.codec.name());
        let channels = if offered.codec == Codec::Opus { "/2" } else { "" };
        let written = match offered.codec {
            Codec::Opus => name.to_owned(),
            _ => name.to_ascii_uppercase(),
        };
        let number = offered.payload.number;
        let _ = write!(text, "a=rtpmap:{number} {written}/{clock}{channels}\r\n");
        if !offered.payload.parameters.is_empty() {
            let _ = write!(text, "a=fmtp:{number} {}\r\n", offered.payload.parameters);
        }
        if offered.payload.transport_cc {
            let _ = write!(text, "a=rtcp-fb:{number} transport-cc\r\n");
        } else if offered.payload.remb {
            let _ = write!(text, "a=rtcp-fb:{number} goog-remb\r\n");
        }
        if offered.codec.kind() == Kind::Video {
            let _ = write!(text, "a=rtcp-fb:{number} ccm fir\r\na=rtcp-fb:{number} nack pli\r\n");
            if offered.payload.nack {
                let _ = write!(text, "a=rtcp-fb:{number} nack\r\n");
            }
        }
        if let Some(red) = &offered.red {
            let _ = write!(
                text,
                "a=rtpmap:{0} red/48000/2\r\na=fmtp:{0} {1}\r\n",
                red.number, red.parameters
            );
        }
        if let Some(repair) = &offered.repair {
            let _ = write!(
                text,
                "a=rtpmap:{0} rtx/90000\r\na=fmtp:{0} apt={number}\r\n",
                repair.number
            );
        }
    }
}

fn write_extensions(text: &mut String, ids: &ExtensionIds) {
    for (extension, uri) in EXTENSIONS {
        if let Some(id) = ids.id(extension) {
            let _ = write!(text, "a=extmap:{id} {uri}\r\n");
        }
    }
}

fn write_rids(text: &mut String, rids: &[String]) {
    for rid in rids {
        let _ = write!(text, "a=rid:{rid} recv\r\n");
    }
    if !rids.is_empty() {
        let _ = write!(text, "a=simulcast:recv {}\r\n", rids.join(";"));
    }
}

fn write_ssrcs(text: &mut String, plan: &SendPlan, shown: Option<&Shown>, codecs: &[Offered]) {
    let nothing = Shown { stream: "-".into(), track: plan.mid.clone() };
    let shown = shown.unwrap_or(&nothing);
    let _ = write!(text, "a=msid:{} {}\r\n", shown.stream, shown.track);
    let repaired = codecs.iter().any(|offered| offered.repair.is_some());
    if repaired {
        let _ = write!(text, "a=ssrc-group:FID {} {}\r\n", plan.ssrc, plan.repair_ssrc);
    }
    let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.ssrc);
    if repaired {
        let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.repair_ssrc);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
