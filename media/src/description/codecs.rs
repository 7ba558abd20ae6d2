//! The codecs of a section: payload types that belong together, and which variants of a codec are taken.

use std::sync::Arc;

use rtc_sdp::description::common::Attribute;

use super::attributes::values;
use super::{DescriptionError, PAYLOAD_TYPES, Section, invalid};
use crate::codec::{Codec, Format, Profile};

/// Parameter sets that are read of one payload type, and the bytes of all of them.
const PARAMETER_SETS: usize = 16;
/// See [`PARAMETER_SETS`].
const PARAMETER_BYTES: usize = 4_096;
/// Payload types that need no rtpmap (RFC 3551 §6), as far as they are met; none of them is taken.
const STATIC: [(u8, &str); 5] = [(0, "pcmu"), (8, "pcma"), (9, "g722"), (13, "cn"), (18, "g729")];

/// Feedback that goes with a payload type (RFC 4585 §4.2, RFC 5104 §7.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Feedback {
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    pub(crate) fir: bool,
    pub(crate) transport_cc: bool,
    pub(crate) remb: bool,
}

impl Feedback {
    /// What both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            nack: self.nack && other.nack,
            pli: self.pli && other.pli,
            fir: self.fir && other.fir,
            transport_cc: self.transport_cc && other.transport_cc,
            remb: self.remb && other.remb,
        }
    }
}

/// A payload type of a section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Payload {
    pub(crate) number: u8,
    /// Its place among the payload types of the m-line.
    pub(crate) place: usize,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) parameters: String,
    pub(crate) feedback: Feedback,
}

/// A codec of a section with its payload types.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Offered {
    pub(crate) format: Format,
    pub(crate) payload: Payload,
    pub(crate) rtx: Option<Payload>,
    pub(crate) red: Option<Payload>,
}

impl Offered {
    /// All of its payload types.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &Payload> {
        [Some(&self.payload), self.red.as_ref(), self.rtx.as_ref()].into_iter().flatten()
    }

    /// Puts those of its payload types that stand at a place of the m-line, or behind it, behind all that there can be.
    pub(crate) fn move_behind(&mut self, place: usize) {
        let all = [Some(&mut self.payload), self.red.as_mut(), self.rtx.as_mut()];
        let after = all.into_iter().flatten().filter(|payload| payload.place >= place);
        after.for_each(|payload| payload.place += PAYLOAD_TYPES);
    }

    /// The parameter sets of H.264 that its sender names (sprop-parameter-sets, RFC 6184 §8.1).
    pub(crate) fn parameter_sets(&self) -> Arc<[Vec<u8>]> {
        let text = self.payload.parameter("sprop-parameter-sets");
        let text = text.filter(|_| self.format.codec == Codec::H264).unwrap_or_default();
        let mut bytes = 0;
        let mut fits = |unit: &Vec<u8>| {
            bytes += unit.len();
            bytes <= PARAMETER_BYTES
        };
        let units = text.split(',').filter_map(|set| base64(set.trim()));
        // Sequence and picture parameter sets; what else stands there is no use to a decoder's start.
        let units = units.filter(|unit| unit.first().is_some_and(|&b| matches!(b & 0x1F, 7 | 8)));
        units.take_while(|unit| fits(unit)).take(PARAMETER_SETS).collect()
    }
}

impl Payload {
    pub(crate) fn parameter(&self, wanted: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|one| {
            let (key, value) = one.split_once('=')?;
            key.trim().eq_ignore_ascii_case(wanted).then_some(value.trim())
        })
    }

    /// What it is coded with, where that is taken: profile 0 of VP9 and AV1, which everybody has, and H.264 as below.
    pub(crate) fn format(&self) -> Option<Format> {
        let codec = Codec::named(&self.name)?;
        let default = |parameter| matches!(self.parameter(parameter), None | Some("0"));
        match codec {
            Codec::Opus | Codec::Vp8 => Some(codec.into()),
            Codec::Vp9 => default("profile-id").then(|| codec.into()),
            Codec::Av1 => default("profile").then(|| codec.into()),
            Codec::H264 => {
                let profile = profile(self.parameter("profile-level-id"))?;
                // RFC 6184 §8.1: mode 0 when there is none; interleaved packets (mode 2) are not taken.
                let single_unit = match self.parameter("packetization-mode") {
                    None | Some("0") => true,
                    Some("1") => false,
                    Some(_) => return None,
                };
                Some(Format { codec, profile, single_unit })
            }
        }
    }

    /// Its codec and what may be wrong with it, for the text of a refusal.
    fn described(&self) -> String {
        let parameters: &[&str] = match Codec::named(&self.name) {
            Some(Codec::H264) => &["profile-level-id", "packetization-mode"],
            Some(Codec::Vp9) => &["profile-id"],
            Some(Codec::Av1) => &["profile"],
            _ => &[],
        };
        let said = parameters.iter().filter_map(|name| {
            let value = self.parameter(name)?;
            Some(format!("{name}={}", value.chars().take(16).collect::<String>()))
        });
        let said = said.collect::<Vec<_>>().join(";");
        let name: String = self.name.chars().take(24).collect();
        if said.is_empty() { name } else { format!("{name} ({said})") }
    }
}

/// What of H.264 is taken, for the text of a refusal.
pub(crate) fn h264_variants() -> &'static str {
    "h264 (packetization-mode 0 or 1 and profile-level-id 42…, 4d… or 64…)"
}

/// The profile of a profile-level-id (RFC 6184 §8.1 table 5); its level is not looked at, nothing is decoded here.
fn profile(level_id: Option<&str>) -> Option<Profile> {
    let Some(digits) = level_id else {
        // What is to be inferred without one.
        return Some(Profile::Baseline);
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let constraints = match digits.len() {
        6 => u16::from_str_radix(digits.get(2..4)?, 16).ok()?,
        // ffmpeg prints its own flag for a constrained profile, 0x200, where the byte of the constraints belongs.
        7 if digits.get(2..5) == Some("200") => 0x40,
        7 => 0,
        _ => return None,
    };
    let (set0, set1) = (constraints & 0x80 != 0, constraints & 0x40 != 0);
    match digits.get(..2)?.to_ascii_lowercase().as_str() {
        "42" if set1 => Some(Profile::ConstrainedBaseline),
        "42" => Some(Profile::Baseline),
        "4d" if set0 => Some(Profile::ConstrainedBaseline),
        "4d" => Some(Profile::Main),
        "58" if set0 && set1 => Some(Profile::ConstrainedBaseline),
        "58" if set0 => Some(Profile::Baseline),
        "64" => Some(Profile::High),
        _ => None,
    }
}

impl Section {
    /// The codecs of this section that are supported here, in the client's order.
    pub(crate) fn codecs(&self) -> Vec<Offered> {
        let offered = |payload: &Payload| {
            let format = payload.format().filter(|it| Some(it.codec.kind()) == self.kind)?;
            let is_own = |text: &str| number(text.trim()) == Some(payload.number);
            let retransmits = |other: &&Payload| {
                other.name == "rtx" && other.parameter("apt").is_some_and(is_own)
            };
            let redundant =
                |other: &&Payload| other.name == "red" && other.parameters.split('/').all(is_own);
            Some(Offered {
                format,
                payload: payload.clone(),
                rtx: self.payloads.iter().find(retransmits).cloned(),
                red: self
                    .payloads
                    .iter()
                    .find(redundant)
                    .filter(|_| format.codec == Codec::Opus)
                    .cloned(),
            })
        };
        self.payloads.iter().filter_map(offered).collect()
    }

    /// The codecs that it offers, for the text of a refusal.
    pub(crate) fn offered(&self) -> String {
        const HELPERS: [&str; 6] = ["rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"];
        let mut names: Vec<String> = Vec::new();
        let real = self.payloads.iter().filter(|it| !HELPERS.contains(&it.name.as_str()));
        for described in real.map(Payload::described) {
            if !names.contains(&described) && names.len() < 16 {
                names.push(described);
            }
        }
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    }
}

fn number(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|number| *number < 128)
}

pub(super) fn payloads(
    attributes: &[Attribute],
    formats: &[String],
) -> Result<Vec<Payload>, DescriptionError> {
    let mut found: Vec<Payload> = Vec::new();
    for (place, format) in formats.iter().enumerate() {
        let Some(payload) = number(format) else {
            return invalid(format!("has payload type {format:?}; they are 0 to 127"));
        };
        if found.iter().any(|other| other.number == payload) {
            continue;
        }
        let of = |key| {
            values(attributes, key).filter_map(move |text| {
                let (named, rest) = text.split_once(' ')?;
                (named == "*" || number(named) == Some(payload)).then_some(rest.trim())
            })
        };
        let known = STATIC.iter().find(|(number, _)| *number == payload).map(|(_, name)| *name);
        let Some(mapped) = of("rtpmap").next().or(known) else { continue };
        let name = mapped.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let says = |wanted: &str| {
            of("rtcp-fb").any(|said| said.split_ascii_whitespace().eq(wanted.split(' ')))
        };
        found.push(Payload {
            number: payload,
            place,
            name,
            parameters: of("fmtp").next().unwrap_or_default().to_owned(),
            feedback: Feedback {
                nack: says("nack"),
                pli: says("nack pli"),
                fir: says("ccm fir"),
                transport_cc: says("transport-cc"),
                remb: says("goog-remb"),
            },
        });
    }
    Ok(found)
}

/// RFC 4648 §4; its padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len().min(PARAMETER_BYTES));
    let (mut bits, mut have) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, have) = (bits << 6 | u32::from(value), have + 6);
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from(bits >> have & 0xFF).ok()?);
        }
    }
    // One digit alone is no byte.
    (digits.len() % 4 != 1).then_some(bytes)
}
