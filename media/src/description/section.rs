//! One media section of a description.

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;

use super::attributes::{has, value, values};
use super::codecs::{Payload, payloads};
use super::{DescriptionError, invalid};
use crate::codec::Kind;
use crate::rtp::{EXTENSIONS, Extension, ExtensionIds};

/// Bytes of a section's name (RFC 8843 §9.1 sets none; it has to fit a header extension).
const MID: usize = 16;
/// Layers of one section.
const LAYERS: usize = 4;

/// Who sends in a section, seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Direction {
    /// The client sends.
    pub sends: bool,
    /// The client receives.
    pub receives: bool,
}

impl Direction {
    /// Neither sends: the section is held.
    pub(crate) const INACTIVE: Self = Self { sends: false, receives: false };
}

/// How a section is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Transport {
    pub(crate) ufrag: String,
    /// SHA-256 of the client's certificate.
    pub(crate) fingerprint: [u8; 32],
}

/// A simulcast encoding (RFC 8853, RFC 8851).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Encoding {
    pub(crate) rid: String,
    /// The payload types that it is restricted to; empty is all of them.
    pub(crate) payload_types: Vec<u8>,
    /// Its other restrictions, as they stand in the description.
    pub(crate) restrictions: String,
}

/// A media section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name; made up where the client gives none.
    pub mid: String,
    /// `None` is neither sound nor pictures.
    pub kind: Option<Kind>,
    /// Who sends.
    pub direction: Direction,
    /// The client does not want it, or no longer.
    pub rejected: bool,
    /// The client gives it its name.
    pub(crate) named: bool,
    /// Medium and protocol, and the formats of its m-line.
    pub(crate) head: String,
    pub(crate) formats: Vec<String>,
    pub(crate) payloads: Vec<Payload>,
    /// Header extensions that the client may send.
    pub(crate) extensions: ExtensionIds,
    /// Those that it takes.
    pub(crate) extensions_taken: ExtensionIds,
    /// Those that it offers in one direction by name (RFC 8285 §6).
    pub(crate) one_way: ExtensionIds,
    /// Encodings that are sent, in the order of the description.
    pub(crate) encodings: Vec<Encoding>,
    /// SSRCs of media, each with that of its retransmissions: one, or those of the layers of legacy simulcast.
    pub(crate) ssrcs: Vec<(u32, Option<u32>)>,
    /// The media stream and the track that are sent (RFC 8830).
    pub(crate) msid: Option<(String, String)>,
    pub(crate) transport: Option<Transport>,
    /// The client waits for the handshake.
    pub(super) passive: bool,
    pub(crate) rtcp_mux: bool,
    /// RTCP of reduced size (RFC 5506 §5).
    pub(crate) rtcp_rsize: bool,
    /// See [`super::Description::mixed`]; said of this section.
    pub(crate) mixed: bool,
}

impl Section {
    /// Numbers of header extensions; those of the session hold for all sections (RFC 8285 §6).
    fn read_extensions(
        &mut self,
        attributes: &[Attribute],
        session: &[Attribute],
    ) -> Result<(), DescriptionError> {
        for text in values(attributes, "extmap").chain(values(session, "extmap")) {
            let mut words = text.split_ascii_whitespace();
            let (Some(id), Some(uri)) = (words.next(), words.next()) else {
                return invalid(format!("has an extmap that is not a number and a name: {text:?}"));
            };
            let (id, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
            // Numbers beyond one byte are legal and of no use here (RFC 8285 §5).
            let Ok(id) = id.parse::<u16>() else {
                return invalid(format!("has extmap number {id:?}"));
            };
            let known = EXTENSIONS.iter().find(|(_, name)| *name == uri);
            if let (Some(&(extension, _)), Ok(id @ 1..=14)) = (known, u8::try_from(id)) {
                self.take_extension(extension, id, direction);
            }
        }
        Ok(())
    }

    fn take_extension(&mut self, extension: Extension, id: u8, direction: &str) {
        let known = [self.extensions, self.extensions_taken];
        let doubled = known.iter().any(|ids| {
            let taken = EXTENSIONS.iter().any(|&(other, _)| ids.id(other) == Some(id));
            taken || ids.id(extension).is_some()
        });
        if doubled {
            return;
        }
        if matches!(direction, "sendrecv" | "sendonly") {
            self.extensions.set(extension, id);
        }
        if matches!(direction, "sendrecv" | "recvonly") {
            self.extensions_taken.set(extension, id);
        }
        if direction != "sendrecv" {
            self.one_way.set(extension, id);
        }
    }

    /// The names of its layers.
    pub(crate) fn rids(&self) -> Vec<String> {
        self.encodings.iter().map(|encoding| encoding.rid.clone()).collect()
    }
}

pub(super) fn section(
    media: &MediaDescription,
    session: &[Attribute],
    generated: &str,
) -> Result<Section, DescriptionError> {
    let (head, attributes) = (&media.media_name, media.attributes.as_slice());
    let named = has(attributes, "mid");
    let mid = if named { value(attributes, "mid").unwrap_or_default() } else { generated };
    if mid.is_empty() || mid.len() > MID || mid.contains(|c: char| !c.is_ascii_graphic()) {
        return invalid(format!("has an a=mid that is not 1 to {MID} printable characters"));
    }
    let kind = match head.media.as_str() {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    };
    let either = |key| value(attributes, key).or_else(|| value(session, key));
    let said = |key| has(attributes, key) || has(session, key);
    // A port of 0 is a rejection unless the section is only bundled (RFC 8843 §6).
    let rejected = head.port.value == 0 && !has(attributes, "bundle-only");
    let mut section = Section {
        mid: mid.to_owned(),
        kind,
        direction: direction(attributes, session),
        rejected,
        named,
        head: format!("{} {}", head.media, head.protos.join("/")),
        formats: head.formats.clone(),
        payloads: Vec::new(),
        extensions: ExtensionIds::default(),
        extensions_taken: ExtensionIds::default(),
        one_way: ExtensionIds::default(),
        encodings: encodings(attributes),
        ssrcs: ssrcs(attributes),
        msid: msid(attributes),
        transport: transport(attributes, session),
        passive: either("setup") == Some("passive"),
        rtcp_mux: said("rtcp-mux") || said("rtcp-mux-only"),
        rtcp_rsize: said("rtcp-rsize"),
        mixed: has(attributes, "extmap-allow-mixed"),
    };
    if kind.is_some() && !rejected {
        section.payloads = payloads(attributes, &head.formats)?;
        section.read_extensions(attributes, session)?;
    }
    Ok(section)
}

fn direction(attributes: &[Attribute], session: &[Attribute]) -> Direction {
    let of = |attributes: &[Attribute]| match () {
        () if has(attributes, "inactive") => Some(Direction::INACTIVE),
        () if has(attributes, "sendonly") => Some(Direction { sends: true, receives: false }),
        () if has(attributes, "recvonly") => Some(Direction { sends: false, receives: true }),
        () if has(attributes, "sendrecv") => Some(Direction { sends: true, receives: true }),
        () => None,
    };
    let otherwise = Direction { sends: true, receives: true };
    of(attributes).or_else(|| of(session)).unwrap_or(otherwise)
}

/// Of several fingerprints one that is understood is enough (RFC 8122 §5); only SHA-256 is.
fn transport(attributes: &[Attribute], session: &[Attribute]) -> Option<Transport> {
    let ufrag = value(attributes, "ice-ufrag").or_else(|| value(session, "ice-ufrag"))?;
    let of = |attributes| values(attributes, "fingerprint").find_map(fingerprint);
    let fingerprint = of(attributes).or_else(|| of(session))?;
    Some(Transport { ufrag: ufrag.to_owned(), fingerprint })
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let (hash, digits) = text.split_once(|c: char| c.is_ascii_whitespace())?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let byte = |pair: &str| {
        let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    let bytes: Option<Vec<u8>> = digits.trim().split(':').map(byte).collect();
    bytes?.try_into().ok()
}

/// Encodings that are sent, in the order of `a=simulcast` (RFC 8853 §5.1): of alternatives the first that is declared.
fn encodings(attributes: &[Attribute]) -> Vec<Encoding> {
    let declared: Vec<Encoding> = values(attributes, "rid").filter_map(encoding).collect();
    let list = values(attributes, "simulcast")
        .find_map(|text| text.split_ascii_whitespace().skip_while(|word| *word != "send").nth(1));
    let mut found: Vec<Encoding> = Vec::new();
    for alternatives in list.unwrap_or_default().split(';') {
        let encoding = alternatives.split(',').find_map(|rid| {
            // Paused ones are marked; an early draft names them "rid=".
            let rid = rid.trim_start_matches("rid=").trim_start_matches('~');
            declared.iter().find(|encoding| encoding.rid == rid)
        });
        if let Some(encoding) = encoding
            && !found.contains(encoding)
            && found.len() < LAYERS
        {
            found.push(encoding.clone());
        }
    }
    found
}

/// `a=rid:<id> send pt=<types>;<restriction>;…` (RFC 8851 §10).
fn encoding(text: &str) -> Option<Encoding> {
    let mut words = text.split_ascii_whitespace();
    let rid = words.next().filter(|rid| rid.len() <= MID)?;
    if words.next() != Some("send") {
        return None;
    }
    let all = words.collect::<String>();
    let mut encoding =
        Encoding { rid: rid.to_owned(), payload_types: Vec::new(), restrictions: String::new() };
    let mut others: Vec<&str> = Vec::new();
    for restriction in all.split(';').filter(|restriction| !restriction.is_empty()) {
        match restriction.strip_prefix("pt=") {
            Some(types) => {
                encoding.payload_types =
                    types.split(',').filter_map(|it| it.parse().ok()).collect();
            }
            None => others.push(restriction),
        }
    }
    encoding.restrictions = others.join(";");
    Some(encoding)
}

/// What is sent is called so at the sender; old clients say it of the SSRC (RFC 8830 §2, §3.2).
fn msid(attributes: &[Attribute]) -> Option<(String, String)> {
    let of_ssrc = |text: &&str| text.split_once(" msid:").is_some();
    let text = value(attributes, "msid").or_else(|| {
        let text = values(attributes, "ssrc").find(of_ssrc)?;
        text.split_once(" msid:").map(|(_, said)| said)
    })?;
    let mut words = text.split_ascii_whitespace();
    let (stream, track) = (words.next()?, words.next().unwrap_or("-"));
    let fits = |word: &str| word.len() <= 128 && word.chars().all(|c| c.is_ascii_graphic());
    (fits(stream) && fits(track)).then(|| (stream.to_owned(), track.to_owned()))
}

/// SSRCs of media, each with that of its retransmissions (RFC 5576 §4.2).
///
/// A group `SIM` holds the layers of simulcast as it was before there were rids, in their order. Without one the first SSRC is
/// the stream: others are of error correction, or of a second stream that a section cannot have (RFC 8829 §5.2.1).
fn ssrcs(attributes: &[Attribute]) -> Vec<(u32, Option<u32>)> {
    let group = |text: &str, semantics: &str| {
        let mut words = text.split_ascii_whitespace();
        (words.next() == Some(semantics))
            .then(|| words.filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
    };
    let groups = || values(attributes, "ssrc-group");
    let pairs: Vec<(u32, u32)> = groups()
        .filter_map(|text| match group(text, "FID")?.as_slice() {
            &[media, rtx] => Some((media, rtx)),
            _ => None,
        })
        .collect();
    let layers = groups().find_map(|text| group(text, "SIM")).unwrap_or_default();
    let single = values(attributes, "ssrc")
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse().ok())
        .find(|&ssrc: &u32| !pairs.iter().any(|&(_, rtx)| rtx == ssrc));
    let mut media: Vec<u32> = Vec::new();
    for ssrc in layers.into_iter().take(LAYERS) {
        if !media.contains(&ssrc) {
            media.push(ssrc);
        }
    }
    if media.is_empty() {
        media.extend(single);
    }
    let rtx = |ssrc| pairs.iter().find(|(media, _)| *media == ssrc).map(|&(_, rtx)| rtx);
    media.into_iter().map(|ssrc| (ssrc, rtx(ssrc))).collect()
}
