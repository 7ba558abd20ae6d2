//! A client's session description (RFC 8866, RFC 9429): text becomes a [`Description`] that cannot be wrong. The lexer of
//! `rtc-sdp` takes lines apart; what belongs together (retransmissions, layers, what falls back to the session) is joined here.

mod attributes;
mod codecs;
mod section;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use rtc_sdp::SessionDescription;

use self::attributes::{has, value, values};
use self::section::section;

pub(crate) use self::codecs::{Feedback, Offered, Payload, h264_variants};
pub use self::section::{Direction, Section};
pub(crate) use self::section::{Encoding, Transport};

/// Payload types of one section.
const PAYLOAD_TYPES: usize = 64;
/// Lines of one description.
const LINES: usize = 4_000;

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
    #[error(
        "none of the codecs of section {mid} is supported: it offers {offered}; supported are {supported}"
    )]
    Codec {
        /// The section.
        mid: String,
        /// What was offered, with the variant where that is what is wrong.
        offered: String,
        /// What could be offered.
        supported: String,
    },
}

fn invalid<T>(why: impl Into<String>) -> Result<T, DescriptionError> {
    Err(DescriptionError::Invalid(why.into()))
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Description {
    /// The media sections.
    pub sections: Vec<Section>,
    /// The mids of its bundle, in their order (RFC 8843 §7.2); empty without one.
    pub(crate) bundle: Vec<String>,
    /// The client is ICE-lite (RFC 8839 §5.3).
    pub(crate) lite: bool,
    /// Header extensions of one and of two bytes may stand in one packet (RFC 8285 §6).
    pub(crate) mixed: bool,
}

impl Description {
    /// Reads a description of at most `sections` media sections. The caller limits its bytes.
    pub fn parse(text: &str, sections: usize) -> Result<Self, DescriptionError> {
        limits(text, sections)?;
        // The lexer wants what RFC 8866 §9 wants.
        let text: String = text.lines().flat_map(|line| [line.trim_end(), "\r\n"]).collect();
        let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .or_else(|error| invalid(format!("cannot be read: {error}")))?;
        Self::join(&parsed)
    }

    fn join(parsed: &SessionDescription) -> Result<Self, DescriptionError> {
        let session = &parsed.attributes;
        let mut sections: Vec<Section> = Vec::new();
        for (index, media) in parsed.media_descriptions.iter().enumerate() {
            let section = section(media, session, &generated_mid(index, parsed))?;
            if sections.iter().any(|other| other.mid == section.mid) {
                return invalid(format!("names two sections {:?}", section.mid));
            }
            sections.push(section);
        }
        if sections.is_empty() {
            return Err(DescriptionError::NoMedia("has no media section"));
        }
        let bundle = values(session, "group").find_map(|group| group.strip_prefix("BUNDLE"));
        let bundle = bundle.unwrap_or_default().split_ascii_whitespace();
        let description = Self {
            sections,
            bundle: bundle.map(str::to_owned).collect(),
            lite: has(session, "ice-lite"),
            mixed: has(session, "extmap-allow-mixed"),
        };
        description.has_transport(parsed)?;
        Ok(description)
    }

    /// Whether anything that is not rejected can be connected. Firefox leaves transport lines out of what it rejects.
    fn has_transport(&self, parsed: &SessionDescription) -> Result<(), DescriptionError> {
        let mut open = self.sections.iter().filter(|section| !section.rejected).peekable();
        if open.peek().is_none() {
            return Ok(());
        }
        if open.any(|section| section.passive) {
            return invalid(
                "says a=setup:passive; this side waits for the handshake, use actpass or active",
            );
        }
        let Some(transport) = self.transport(|section| !section.rejected) else {
            return match hashes(parsed) {
                hashes if hashes.is_empty() => invalid("needs a=ice-ufrag and a=fingerprint"),
                hashes => invalid(format!(
                    "needs a=ice-ufrag and a=fingerprint:sha-256 with 32 bytes; it has fingerprints by {hashes}"
                )),
            };
        };
        if !(4..=256).contains(&transport.ufrag.len()) {
            return invalid("has an ice-ufrag that is not 4 to 256 characters long");
        }
        Ok(())
    }

    /// How the sections that are used are reached: as the first of the bundle says that is used (RFC 8843 §7.3.1), else as any.
    pub(crate) fn transport(&self, used: impl Fn(&Section) -> bool) -> Option<&Transport> {
        let bundled = self.bundled(&used);
        let of_any = || self.sections.iter().filter(|section| used(section));
        let mut all = bundled.into_iter().chain(of_any()).chain(&self.sections);
        all.find_map(|section| section.transport.as_ref())
    }

    /// Whether the sections that are used can all go over one transport with RTP and RTCP on it, which is what there is here.
    pub(crate) fn shares_transport(
        &self,
        used: impl Fn(&Section) -> bool,
    ) -> Result<(), DescriptionError> {
        if self.lite {
            return invalid(
                "says a=ice-lite, and so does this server; one of the two has to be a full agent that sends checks (RFC 8445 §6.1.1)",
            );
        }
        let bundled = self.bundled(&used);
        let transport = self.transport(&used);
        // RFC 8843 §7.1.3: what holds for the whole bundle may stand in its first section alone.
        let muxed = bundled.first().is_some_and(|first| first.rtcp_mux);
        for section in self.sections.iter().filter(|section| used(section)) {
            let inside = bundled.iter().any(|other| other.mid == section.mid);
            let has_mux = section.rtcp_mux || (inside && muxed);
            if !has_mux {
                return invalid(format!(
                    "has section {:?} without a=rtcp-mux; RTCP has no port of its own here, offer a=rtcp-mux (rtcpMuxPolicy \
                     \"require\")",
                    section.mid
                ));
            }
            let alike = section.transport.is_none() || section.transport.as_ref() == transport;
            if !inside && !alike {
                return invalid(format!(
                    "has section {:?} with a transport of its own; this side has one, put all sections into one a=group:BUNDLE \
                     (bundlePolicy \"max-bundle\")",
                    section.mid
                ));
            }
        }
        Ok(())
    }

    fn bundled(&self, used: impl Fn(&Section) -> bool) -> Vec<&Section> {
        let named = |mid: &String| self.sections.iter().find(|section| section.mid == *mid);
        self.bundle.iter().filter_map(named).filter(|section| used(section)).collect()
    }
}

/// What can be refused before anything is read.
fn limits(text: &str, sections: usize) -> Result<(), DescriptionError> {
    if !text.starts_with("v=0") {
        return invalid("must begin with v=0");
    }
    if text.contains(|c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
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
    Ok(())
}

/// A name for a section that has none: its place, or what no other section is named.
///
/// RFC 9429 §5.10 has the reader of a description without mids make them up. They stay here: the answer has none either, and
/// such a section is in no bundle.
fn generated_mid(index: usize, parsed: &SessionDescription) -> String {
    let mut mid = index.to_string();
    let named = |mid: &str| {
        let mut sections = parsed.media_descriptions.iter();
        sections.any(|media| value(&media.attributes, "mid") == Some(mid))
    };
    while named(&mid) {
        mid.insert(0, 'm');
    }
    mid
}

/// The hash functions of all fingerprints, for the text of a refusal.
fn hashes(parsed: &SessionDescription) -> String {
    let media = parsed.media_descriptions.iter().flat_map(|media| &media.attributes);
    let mut hashes: Vec<&str> = Vec::new();
    for attribute in parsed.attributes.iter().chain(media) {
        let text = attribute.value.as_deref().filter(|_| attribute.key == "fingerprint");
        let hash = text.and_then(|text| text.split_ascii_whitespace().next());
        if let Some(hash) = hash.filter(|hash| !hashes.contains(hash) && hashes.len() < 8) {
            hashes.push(hash);
        }
    }
    hashes.join(", ")
}
