//! What a session description or candidate must be before it is passed on (RFC 8866, RFC 8839 §5.1, RFC 8843).

use std::net::IpAddr;

use serde_json::Value;

use super::error::CallError;
use crate::event::SignalKind;

const MEDIA_SECTIONS: usize = 64;
const PAYLOAD_TYPES: usize = 64;

/// Checks the payload of a signal; the message says what is wrong with it.
pub(super) fn check(
    kind: SignalKind,
    payload: &Value,
    limits: &crate::config::Limits,
) -> Result<(), CallError> {
    match kind {
        SignalKind::Offer => description(payload, "offer", &["offer"], limits.sdp_bytes),
        SignalKind::Answer => {
            description(payload, "answer", &["answer", "pranswer"], limits.sdp_bytes)
        }
        SignalKind::IceCandidate => candidate(payload, limits.candidate_bytes),
    }
}

fn description(
    payload: &Value,
    field: &'static str,
    types: &[&str],
    limit: usize,
) -> Result<(), CallError> {
    let invalid = |why: &str| Err(CallError::Sdp(field, why.to_owned()));
    let Some(sdp) = payload.get("sdp").and_then(Value::as_str) else {
        return invalid("needs a text `sdp`");
    };
    if sdp.len() > limit {
        return Err(CallError::SdpTooLarge { have: sdp.len(), limit });
    }
    let kind = payload.get("type").and_then(Value::as_str).unwrap_or_default();
    if !types.contains(&kind) {
        return invalid(&format!("needs `type` \"{}\"", types.join("\" or \"")));
    }
    if !sdp.starts_with("v=0") {
        return invalid("`sdp` must begin with v=0");
    }
    if sdp.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
        return invalid("`sdp` holds control characters");
    }
    sections(sdp).or_else(|why| invalid(&why))
}

fn sections(sdp: &str) -> Result<(), String> {
    let mut media = 0;
    for line in sdp.lines() {
        if let Some(line) = line.strip_prefix("m=") {
            media += 1;
            // media, port, protocol, then formats (RFC 8866 §5.14)
            if line.split_ascii_whitespace().count() > 3 + PAYLOAD_TYPES {
                return Err(format!("a media section has more than {PAYLOAD_TYPES} payload types"));
            }
        }
    }
    if media > MEDIA_SECTIONS {
        return Err(format!("has {media} media sections; at most {MEDIA_SECTIONS} are allowed"));
    }
    Ok(())
}

fn candidate(payload: &Value, limit: usize) -> Result<(), CallError> {
    let invalid = |why: &str| Err(CallError::Sdp("candidate", why.to_owned()));
    if payload.is_null() {
        return Ok(());
    }
    let Some(fields) = payload.as_object() else {
        return invalid("must be an object with a text `candidate`, or null");
    };
    let Some(line) = fields.get("candidate").and_then(Value::as_str) else {
        return invalid("needs a text `candidate`");
    };
    if line.len() > limit {
        return invalid(&format!("has {} bytes; at most {limit} are allowed", line.len()));
    }
    let small =
        |key: &str| fields.get(key).and_then(Value::as_str).is_none_or(|text| text.len() <= 256);
    if !small("sdpMid") || !small("usernameFragment") {
        return invalid("`sdpMid` and `usernameFragment` may have 256 bytes");
    }
    if line.is_empty() || parse(line).is_some() {
        Ok(())
    } else {
        invalid("`candidate` is not an ICE candidate (RFC 8839)")
    }
}

/// The address and the type of a candidate line.
fn parse(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("a=").unwrap_or(line).strip_prefix("candidate:")?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_foundation, component, _protocol, priority, address, port, typ, kind, ..] =
        words.as_slice()
    else {
        return None;
    };
    component.parse::<u16>().ok()?;
    priority.parse::<u32>().ok()?;
    port.parse::<u16>().ok()?;
    (*typ == "typ").then_some((*address, *kind))
}

/// Whether a candidate gives away an address inside a private network (RFC 1918, RFC 4193, link-local).
pub(super) fn is_private(payload: &Value) -> bool {
    let line = payload.get("candidate").and_then(Value::as_str).unwrap_or_default();
    let Some((address, kind)) = parse(line) else { return false };
    let private = match address.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()
        }
        Err(_) => false,
    };
    kind == "host" && private
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value)]
    fn verdict(kind: SignalKind, payload: Value) -> Result<(), CallError> {
        check(kind, &payload, &crate::config::Limits::default())
    }

    #[test]
    fn a_description_needs_its_type_and_a_plausible_text() {
        let offer =
            |sdp: String| verdict(SignalKind::Offer, json!({ "type": "offer", "sdp": sdp }));
        assert!(offer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n".into()).is_ok());
        assert!(matches!(
            offer(format!("v=0{}", "x".repeat(1 << 20))),
            Err(CallError::SdpTooLarge { .. })
        ));
        for bad in [
            String::new(),
            "hello".into(),
            "v=0\u{0}".into(),
            format!("v=0\r\n{}", "m=audio 9 X 0\r\n".repeat(65)),
        ] {
            assert!(matches!(offer(bad), Err(CallError::Sdp(..))));
        }
        for bad in [
            json!(null),
            json!(7),
            json!("v=0"),
            json!([]),
            json!({ "type": "answer", "sdp": "v=0" }),
            json!({ "sdp": {} }),
        ] {
            assert!(verdict(SignalKind::Offer, bad).is_err());
        }
        let codecs = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert!(offer(format!("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF {codecs}\r\n")).is_err());
        // In a first offer each section of a bundle may have a transport of its own (RFC 9429 §5.2.1, RFC 8843 §7.2).
        let two = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 X 0\r\na=ice-ufrag:a\r\nm=video 9 X 1\r\na=ice-ufrag:b\r\n";
        assert!(offer(two.into()).is_ok());
    }

    #[test]
    fn a_candidate_parses_and_may_hide_behind_a_local_name() {
        let candidate = |line: &str| {
            verdict(SignalKind::IceCandidate, json!({ "candidate": line, "sdpMid": "0" }))
        };
        for good in [
            "",
            "candidate:1 1 udp 2122260223 192.168.1.7 51234 typ host generation 0",
            "candidate:1 1 UDP 2122260223 4f1c1d3e-aaaa-bbbb-cccc-0123456789ab.local 51234 typ host",
            "a=candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
        ] {
            assert!(candidate(good).is_ok(), "{good}");
        }
        for bad in [
            "hello",
            "candidate:1 1 udp x 1.2.3.4 5 typ host",
            "candidate:1 1 udp 1 1.2.3.4 70000 typ host",
        ] {
            assert!(candidate(bad).is_err(), "{bad}");
        }
        assert!(candidate(&format!("candidate:{}", "x".repeat(3000))).is_err());
        assert!(verdict(SignalKind::IceCandidate, json!(null)).is_ok());
        assert!(is_private(&json!({ "candidate": "candidate:1 1 udp 1 10.0.0.1 5 typ host" })));
        assert!(!is_private(
            &json!({ "candidate": "candidate:1 1 udp 1 203.0.113.9 5 typ srflx raddr 10.0.0.1 rport 5" })
        ));
    }
}
