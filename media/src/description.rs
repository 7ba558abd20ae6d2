//! A client's session description (RFC 8866, RFC 9429): text becomes a [`Description`] that cannot be wrong. The lexer of
//! `rtc-sdp` takes lines apart; what belongs together (retransmissions, layers, what falls back to the session) is joined here.

use std::io::Cursor;

use rtc_sdp::SessionDescription;
use rtc_sdp::description::common::Attribute;

use crate::codec::{Codec, Kind};
use crate::rtp::{EXTENSIONS, ExtensionIds};

/// Payload types of one section.
const PAYLOAD_TYPES: usize = 64;
/// Lines of one description.
const LINES: usize = 4_000;
/// Bytes of a section's name (RFC 8843 §9.1 sets none; it has to fit a header extension).
const MID: usize = 16;
/// Layers of one section.
const RIDS: usize = 4;

/// Why a description is not used; the text says what is wrong, to whoever wrote it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DescriptionError {
    /// It is not a description, or something in it is impossible.
    #[error("the description {0}")]
    Invalid(String),
    /// Nothing in it can be sent or received here.
    #[error("the description {0}")]
    NoMedia(&'static str),
    /// No codec is known to both sides.
    #[error("none of the codecs of section {mid} is supported; supported are {supported}")]
    Codec {
        /// The section.
        mid: String,
        /// What could be offered.
        supported: String,
    },
}

fn invalid<T>(why: impl Into<String>) -> Result<T, DescriptionError> {
    Err(DescriptionError::Invalid(why.into()))
}

/// Who sends in a section, seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Direction {
    /// The client sends.
    pub sends: bool,
    /// The client receives.
    pub receives: bool,
}

/// A payload type of a section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Payload {
    pub(crate) number: u8,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) parameters: String,
    pub(crate) nack: bool,
    pub(crate) transport_cc: bool,
    pub(crate) remb: bool,
}

/// A media section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub mid: String,
    /// `None` is neither sound nor pictures.
    pub kind: Option<Kind>,
    /// Who sends.
    pub direction: Direction,
    /// The client does not want it, or no longer.
    pub rejected: bool,
    pub(crate) head: String,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) extensions: ExtensionIds,
    /// Layers that are sent, in the order of the description.
    pub(crate) rids: Vec<String>,
    pub(crate) ssrcs: Vec<(u32, Option<u32>)>,
    /// The media stream and the track that are sent (RFC 8830).
    pub(crate) msid: Option<(String, String)>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Description {
    /// SHA-256 of the client's certificate.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) ufrag: String,
    /// The media sections.
    pub sections: Vec<Section>,
}

impl Description {
    /// Reads a description of at most `sections` media sections. The caller limits its bytes.
    pub fn parse(text: &str, sections: usize) -> Result<Self, DescriptionError> {
        if !text.starts_with("v=0") {
            return invalid("must begin with v=0");
        }
        let bad = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        if text.contains(bad) {
            return invalid("holds control characters");
        }
        let (mut lines, mut media) = (0, 0);
        for line in text.lines() {
            lines += 1;
            if line.starts_with("m=") {
                media += 1;
                if line.split_ascii_whitespace().count() > 3 + PAYLOAD_TYPES {
                    return invalid(format!(
                        "has a section of more than {PAYLOAD_TYPES} payload types"
                    ));
                }
            }
        }
        if lines > LINES {
            return invalid(format!("has {lines} lines; at most {LINES} are read"));
        }
        if media > sections {
            return invalid(format!("has {media} media sections; at most {sections} are taken"));
        }
        // The lexer wants what RFC 8866 §9 wants.
        let text: String = text.lines().flat_map(|line| [line.trim_end(), "\r\n"]).collect();
        let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .or_else(|error| invalid(format!("cannot be read: {error}")))?;
        Self::join(&parsed)
    }

    fn join(parsed: &SessionDescription) -> Result<Self, DescriptionError> {
        let mut sections: Vec<Section> = Vec::new();
        let mut transport: Option<(String, [u8; 32])> = None;
        for media in &parsed.media_descriptions {
            let attributes = &media.attributes;
            let either = |key| value(attributes, key).or_else(|| value(&parsed.attributes, key));
            let head = &media.media_name;
            let section = section(
                &head.media,
                head.port.value == 0,
                attributes,
                &head.formats,
                &parsed.attributes,
            )?;
            let section =
                Section { head: format!("{} {}", head.media, head.protos.join("/")), ..section };
            if sections.iter().any(|other| other.mid == section.mid) {
                return invalid(format!("names two sections {:?}", section.mid));
            }
            if !section.rejected && transport.is_none() {
                if let (Some(ufrag), Some(print)) = (either("ice-ufrag"), either("fingerprint")) {
                    transport = Some((ufrag.to_owned(), fingerprint(print)?));
                }
                if either("setup") == Some("passive") {
                    return invalid(
                        "says a=setup:passive; this side waits for the handshake, use actpass or active",
                    );
                }
            }
            sections.push(section);
        }
        if sections.is_empty() {
            return Err(DescriptionError::NoMedia("has no media section"));
        }
        let Some((ufrag, fingerprint)) = transport else {
            return invalid("needs a=ice-ufrag and a=fingerprint");
        };
        if !(4..=256).contains(&ufrag.len()) {
            return invalid("has an ice-ufrag that is not 4 to 256 characters long");
        }
        Ok(Self { fingerprint, ufrag, sections })
    }
}

fn value<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    values(attributes, key).next()
}

fn values<'a>(attributes: &'a [Attribute], key: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
        .map(str::trim)
}

fn has(attributes: &[Attribute], key: &str) -> bool {
    attributes.iter().any(|attribute| attribute.key == key)
}

/// RFC 8122 §5; only SHA-256 counts.
fn fingerprint(text: &str) -> Result<[u8; 32], DescriptionError> {
    let Some((hash, digits)) = text.split_once(' ') else {
        return invalid("has a fingerprint that is not a hash and digits");
    };
    if !hash.eq_ignore_ascii_case("sha-256") {
        return invalid(format!("has a fingerprint by {hash:?}; use sha-256"));
    }
    let bytes: Option<Vec<u8>> = digits
        .trim()
        .split(':')
        .map(|pair| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten())
        .collect();
    match bytes.and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => Ok(bytes),
        None => invalid("has a sha-256 fingerprint that is not 32 bytes"),
    }
}

fn section(
    media: &str,
    no_port: bool,
    attributes: &[Attribute],
    formats: &[String],
    session: &[Attribute],
) -> Result<Section, DescriptionError> {
    let mid = value(attributes, "mid").unwrap_or_default().to_owned();
    if mid.is_empty() || mid.len() > MID || mid.contains(|c: char| !c.is_ascii_graphic()) {
        return invalid(format!(
            "has a section without a=mid, or with one that is not 1 to {MID} printable characters"
        ));
    }
    let kind = match media {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    };
    // A port of 0 is a rejection unless the section is only bundled (RFC 8843 §6).
    let rejected = no_port && !has(attributes, "bundle-only");
    let said = |key| has(attributes, key) || has(session, key);
    let direction = match () {
        () if has(attributes, "inactive") => Direction { sends: false, receives: false },
        () if has(attributes, "sendonly") => Direction { sends: true, receives: false },
        () if has(attributes, "recvonly") => Direction { sends: false, receives: true },
        () if has(attributes, "sendrecv") || !(said("sendonly") || said("recvonly")) => {
            Direction { sends: true, receives: true }
        }
        () => Direction { sends: said("sendonly"), receives: said("recvonly") },
    };
    let mut section = Section {
        mid,
        kind,
        direction,
        rejected,
        head: String::new(),
        payloads: Vec::new(),
        extensions: ExtensionIds::default(),
        rids: rids(attributes),
        ssrcs: ssrcs(attributes),
        msid: msid(attributes),
    };
    if kind.is_some() && !rejected {
        section.payloads = payloads(attributes, formats)?;
        section.extensions = extensions(attributes)?;
    }
    Ok(section)
}

fn payloads(
    attributes: &[Attribute],
    formats: &[String],
) -> Result<Vec<Payload>, DescriptionError> {
    let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number < 128);
    let mut found = Vec::new();
    for format in formats {
        let Some(payload) = number(format) else {
            return invalid(format!("has payload type {format:?}; they are 0 to 127"));
        };
        let of = |key| {
            values(attributes, key).filter_map(move |text| {
                let (named, rest) = text.split_once(' ')?;
                (named == "*" || number(named) == Some(payload)).then_some(rest.trim())
            })
        };
        let Some(mapped) = of("rtpmap").next() else { continue };
        let name = mapped.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let feedback = |wanted: &str| of("rtcp-fb").any(|said| said == wanted);
        found.push(Payload {
            number: payload,
            name,
            parameters: of("fmtp").next().unwrap_or_default().to_owned(),
            nack: feedback("nack"),
            transport_cc: feedback("transport-cc"),
            remb: feedback("goog-remb"),
        });
    }
    Ok(found)
}

fn extensions(attributes: &[Attribute]) -> Result<ExtensionIds, DescriptionError> {
    let mut ids = ExtensionIds::default();
    for text in values(attributes, "extmap") {
        let mut words = text.split_ascii_whitespace();
        let id = words.next().and_then(|id| id.split('/').next());
        let (Some(id), Some(uri)) = (id, words.next()) else {
            return invalid(format!("has an extmap that is not a number and a name: {text:?}"));
        };
        // Numbers beyond one byte are legal and of no use here (RFC 8285 §5).
        let Ok(id) = id.parse::<u16>() else {
            return invalid(format!("has extmap number {id:?}"));
        };
        let known = EXTENSIONS.iter().find(|(_, name)| *name == uri);
        if let (Some(&(extension, _)), Ok(id @ 1..=14)) = (known, u8::try_from(id)) {
            ids.set(extension, id);
        }
    }
    Ok(ids)
}

/// Layers that are sent, in the order of `a=simulcast` (RFC 8853 §5.1), alternatives left out.
fn rids(attributes: &[Attribute]) -> Vec<String> {
    let declared: Vec<&str> = values(attributes, "rid")
        .filter_map(|text| {
            let mut words = text.split_ascii_whitespace();
            let name = words.next()?;
            (words.next() == Some("send")).then_some(name)
        })
        .collect();
    let Some(list) = value(attributes, "simulcast").and_then(|text| {
        let mut words = text.split_ascii_whitespace().skip_while(|word| *word != "send");
        words.nth(1)
    }) else {
        return Vec::new();
    };
    list.split(';')
        .filter_map(|alternatives| alternatives.split(',').next())
        .map(|rid| rid.trim_start_matches('~'))
        .filter(|rid| declared.contains(rid) && rid.len() <= MID)
        .take(RIDS)
        .map(str::to_owned)
        .collect()
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
fn ssrcs(attributes: &[Attribute]) -> Vec<(u32, Option<u32>)> {
    let group = |text: &str, semantics: &str| {
        let mut words = text.split_ascii_whitespace();
        (words.next() == Some(semantics))
            .then(|| words.filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
    };
    let pairs: Vec<(u32, u32)> = values(attributes, "ssrc-group")
        .filter_map(|text| match group(text, "FID")?.as_slice() {
            &[media, repair] => Some((media, repair)),
            _ => None,
        })
        .collect();
    let mut media: Vec<u32> = Vec::new();
    for text in values(attributes, "ssrc") {
        let ssrc = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
        let Some(ssrc) = ssrc else { continue };
        let repairs = pairs.iter().any(|&(_, repair)| repair == ssrc);
        if !repairs && !media.contains(&ssrc) {
            media.push(ssrc);
        }
    }
    media
        .into_iter()
        .take(RIDS)
        .map(|ssrc| {
            let repair = pairs.iter().find(|(media, _)| *media == ssrc).map(|&(_, repair)| repair);
            (ssrc, repair)
        })
        .collect()
}

/// A codec of a section with its payload types.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Offered {
    pub(crate) codec: Codec,
    pub(crate) payload: Payload,
    pub(crate) repair: Option<Payload>,
    pub(crate) red: Option<Payload>,
}

impl Section {
    /// The codecs of this section that are supported here, in the client's order, one payload type each.
    pub(crate) fn codecs(&self) -> Vec<Offered> {
        let mut found: Vec<Offered> = Vec::new();
        for payload in &self.payloads {
            let Some(codec) = Codec::named(&payload.name) else { continue };
            let known = found.iter().any(|offered| offered.codec == codec);
            if Some(codec.kind()) != self.kind || known || !usable(codec, &payload.parameters) {
                continue;
            }
            let repairs = |other: &&Payload| {
                other.name == "rtx"
                    && parameter(&other.parameters, "apt") == Some(&payload.number.to_string())
            };
            let redundant = |other: &&Payload| {
                other.name == "red"
                    && other
                        .parameters
                        .split('/')
                        .all(|inner| inner.trim() == payload.number.to_string())
            };
            found.push(Offered {
                codec,
                payload: payload.clone(),
                repair: self.payloads.iter().find(repairs).cloned(),
                red: self.payloads.iter().find(redundant).filter(|_| codec == Codec::Opus).cloned(),
            });
        }
        found
    }
}

/// Variants of a codec that every viewer of it takes: packetization mode 1 of H.264 in baseline, profile 0 of VP9 and AV1.
fn usable(codec: Codec, parameters: &str) -> bool {
    match codec {
        Codec::Opus | Codec::Vp8 => true,
        Codec::Vp9 => matches!(parameter(parameters, "profile-id"), None | Some("0")),
        Codec::Av1 => matches!(parameter(parameters, "profile"), None | Some("0")),
        Codec::H264 => {
            let baseline = parameter(parameters, "profile-level-id").is_some_and(|level| {
                level.len() == 6 && level.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("42"))
            });
            baseline && parameter(parameters, "packetization-mode") == Some("1")
        }
    }
}

pub(crate) fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        (key.trim() == wanted).then_some(value.trim())
    })
}
