//! Our own offers, and what a client is sent.

use super::model::{Connection, Form, Line, Role, Sending, Shown, ssrc};
use super::receive::answered;
use crate::codec::{Codec, Format, Kind};
use crate::description::{
    Description, DescriptionError, Direction, Feedback, Offered, Payload, Section,
};
use crate::plan::{SendCodec, SendPlan};
use crate::rtp::{EXTENSIONS, Extension, ExtensionIds};

impl Connection {
    /// A section to send in, of our own offer: one that shows nothing, or a new one. Returns its name.
    pub fn line_for(&mut self, kind: Kind) -> String {
        let free = |line: &&Line| match &line.role {
            Role::Send(sending) => {
                line.kind == Some(kind) && sending.shown.is_none() && !sending.rejected
            }
            _ => false,
        };
        if let Some(line) = self.lines.iter().find(free) {
            return line.mid.clone();
        }
        let mid = self.new_mid();
        let line = own_line(&mid, kind, &self.allowed);
        // The place of one that was rejected is taken by another, with another name and other SSRCs (RFC 9429 §5.2.2).
        let refused = |line: &&mut Line| matches!(line.role, Role::Send(_)) && line.is_rejected();
        match self.lines.iter_mut().find(refused) {
            Some(place) => *place = line,
            None => self.lines.push(line),
        }
        mid
    }

    fn new_mid(&mut self) -> String {
        loop {
            let mid = self.named.to_string();
            self.named += 1;
            if !self.lines.iter().any(|line| line.mid == mid) {
                return mid;
            }
        }
    }

    fn sendings(&self) -> impl Iterator<Item = (&Line, &Sending)> {
        self.lines.iter().filter_map(|line| match &line.role {
            Role::Send(sending) => Some((line, &**sending)),
            _ => None,
        })
    }

    /// Says what a section shows from now on.
    pub fn show(&mut self, mid: &str, what: Option<Shown>) {
        for line in self.lines.iter_mut().filter(|line| line.mid == mid) {
            if let Role::Send(sending) = &mut line.role {
                sending.shown = what;
                return;
            }
        }
    }

    /// Whether the client lets a section show something: it has neither rejected it in its answer nor holds it.
    pub fn shows(&self, mid: &str) -> bool {
        let mut lines = self.sendings();
        lines.any(|(line, sending)| line.mid == mid && line.direction.receives && !sending.rejected)
    }

    /// Sections to send in that the client takes, in order: name, kind, whether something is shown.
    pub fn send_lines(&self) -> impl Iterator<Item = (&str, Kind, bool)> {
        let taken = self.sendings().filter(|(line, _)| line.direction.receives);
        taken.filter_map(|(line, sending)| {
            Some((line.mid.as_str(), line.kind?, sending.shown.is_some()))
        })
    }

    /// Whether a section may be sent a stream of `format`.
    pub fn takes(&self, mid: &str, format: Format) -> bool {
        let mut lines = self.sendings();
        lines.any(|(line, sending)| {
            line.mid == mid && !sending.rejected && sending.plan.takes(format).is_some()
        })
    }

    /// Our own offer of everything that is shown.
    pub fn offer(&mut self) -> String {
        self.version += 1;
        self.text(true)
    }

    /// Takes the answer to our offer.
    pub fn take_answer(&mut self, answer: &Description) -> Result<(), DescriptionError> {
        let transport = answer.transport(|section| !section.rejected);
        self.is_theirs(transport)?;
        let mut lines = self.lines.clone();
        for (index, section) in answer.sections.iter().enumerate() {
            let same = |line: &&mut Line| line.is_answered_by(section);
            let Some(line) = lines.get_mut(index).filter(same) else {
                let why = format!("answers section {:?}, which was not offered there", section.mid);
                return Err(DescriptionError::Invalid(why));
            };
            if let Role::Send(sending) = &mut line.role {
                sending.answer(section);
                line.direction.receives = section.direction.receives && !sending.rejected;
            }
        }
        if answer.sections.len() < lines.len() {
            let why =
                "does not answer all sections of the offer; reject with port 0 what is not wanted";
            return Err(DescriptionError::Invalid(why.into()));
        }
        answer.shares_transport(|section| !section.rejected)?;
        self.lines = lines;
        if let Some(transport) = transport {
            self.remote = Some(transport.clone());
        }
        Ok(())
    }

    /// A section of a client's offer that it is sent something in.
    pub(super) fn sending(section: &Section, codecs: &[Offered], before: Option<&Line>) -> Sending {
        let shown = before.and_then(|line| match &line.role {
            Role::Send(sending) => sending.shown.clone(),
            _ => None,
        });
        let plan = send_plan(section, codecs, before);
        let transport_cc = plan.extensions.id(Extension::TransportSequence).is_some();
        Sending {
            codecs: codecs.iter().map(|offered| answered(offered, transport_cc)).collect(),
            plan,
            shown,
            rejected: false,
        }
    }
}

impl Sending {
    /// What the client says to the section that was offered.
    fn answer(&mut self, section: &Section) {
        self.rejected |= section.rejected;
        if section.rejected {
            return;
        }
        self.plan.codecs.clear();
        for (ours, theirs) in in_common(&self.codecs, &section.codecs()) {
            let number = theirs.payload.number;
            if self.plan.codecs.iter().any(|taken| taken.payload_type == number) {
                continue;
            }
            let mut codec = send_codec(theirs);
            codec.rtx_type = codec.rtx_type.filter(|_| ours.rtx.is_some());
            codec.red_type = codec.red_type.filter(|_| ours.red.is_some());
            self.plan.codecs.push(codec);
        }
        self.plan.extensions = both(own_extensions(self.plan.kind), section.extensions_taken);
    }
}

/// The codecs of an offer that an answer takes, in the offer's order, with what the answer says of each.
///
/// What counts is the format; a payload type is an answer without one, since it should stay that of the offer and need not
/// (RFC 3264 §6.1). Each side is sent the numbers that it has named itself.
pub(super) fn in_common<'a>(
    ours: &'a [Offered],
    theirs: &'a [Offered],
) -> impl Iterator<Item = (&'a Offered, &'a Offered)> {
    ours.iter().filter_map(|ours| {
        let same = |other: &&Offered| other.format == ours.format;
        let number = |other: &&Offered| other.payload.number == ours.payload.number;
        let codec = |other: &&Offered| other.format.codec == ours.format.codec;
        let exactly = theirs.iter().find(|other| same(other) && number(other));
        let alike = || theirs.iter().find(same);
        let numbered = || theirs.iter().find(|other| codec(other) && number(other));
        Some((ours, exactly.or_else(alike).or_else(numbered)?))
    })
}

fn own_line(mid: &str, kind: Kind, allowed: &[Codec]) -> Line {
    let codecs = own_codecs(kind, allowed);
    let plan = SendPlan {
        mid: mid.to_owned(),
        kind,
        ssrc: ssrc(),
        rtx_ssrc: ssrc(),
        codecs: codecs.iter().map(send_codec).collect(),
        extensions: own_extensions(kind),
    };
    let name = if kind == Kind::Audio { "audio" } else { "video" };
    Line {
        mid: mid.to_owned(),
        kind: Some(kind),
        form: Form::own(&format!("{name} UDP/TLS/RTP/SAVPF")),
        role: Role::Send(Box::new(Sending { plan, codecs, shown: None, rejected: false })),
        direction: Direction { sends: false, receives: true },
    }
}

pub(super) fn send_plan(section: &Section, codecs: &[Offered], before: Option<&Line>) -> SendPlan {
    let before = before.and_then(Line::sent);
    let (media, rtx) = before.map_or_else(|| (ssrc(), ssrc()), |plan| (plan.ssrc, plan.rtx_ssrc));
    let kind = section.kind.unwrap_or(Kind::Audio);
    SendPlan {
        mid: section.mid.clone(),
        kind,
        ssrc: media,
        rtx_ssrc: rtx,
        codecs: codecs.iter().map(send_codec).collect(),
        extensions: usable_extensions(kind, section.extensions_taken),
    }
}

pub(super) fn send_codec(offered: &Offered) -> SendCodec {
    SendCodec {
        format: offered.format,
        payload_type: offered.payload.number,
        rtx_type: offered.rtx.as_ref().map(|rtx| rtx.number),
        red_type: offered.red.as_ref().map(|red| red.number),
    }
}

/// Extensions that are written on packets to viewers.
const WRITTEN: [Extension; 6] = [
    Extension::TransportSequence,
    Extension::SendTime,
    Extension::AudioLevel,
    Extension::Orientation,
    Extension::PlayoutDelay,
    Extension::Dependency,
];

pub(super) fn usable_extensions(kind: Kind, theirs: ExtensionIds) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for extension in WRITTEN {
        let fits = match extension {
            Extension::AudioLevel => kind == Kind::Audio,
            Extension::Orientation | Extension::PlayoutDelay | Extension::Dependency => {
                kind == Kind::Video
            }
            // One clock is enough.
            Extension::SendTime => theirs.id(Extension::TransportSequence).is_none(),
            _ => true,
        };
        if let (true, Some(id)) = (fits, theirs.id(extension)) {
            ids.set(extension, id);
        }
    }
    ids
}

/// The numbers that our own offers use.
fn own_extensions(kind: Kind) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    ids.set(Extension::TransportSequence, 3);
    match kind {
        Kind::Audio => ids.set(Extension::AudioLevel, 1),
        Kind::Video => {
            ids.set(Extension::Orientation, 4);
            ids.set(Extension::PlayoutDelay, 5);
            ids.set(Extension::Dependency, 8);
        }
    }
    ids
}

/// Ours, as far as the other side takes them.
pub(super) fn both(ours: ExtensionIds, theirs: ExtensionIds) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for (extension, _) in EXTENSIONS {
        if let (Some(id), Some(_)) = (ours.id(extension), theirs.id(extension)) {
            ids.set(extension, id);
        }
    }
    ids
}

/// Codecs of our own offers: payload type (that of RTX is the next), and parameters.
///
/// Of H.264 a browser takes the profiles that it can decode, and each only in its own words: the two forms of high are one to
/// [`Format`] and two to libwebrtc. The parameters of Opus in an offer of who only sends say what it makes, not what it wants
/// (RFC 7587 §7.1): `stereo=1` would ask for stereo from the viewer, `sprop-stereo=1` says that stereo may come.
const OWN: [(Codec, u8, &str); 9] = [
    (Codec::Opus, 111, "minptime=10;useinbandfec=1;sprop-stereo=1"),
    (Codec::Vp8, 96, ""),
    (Codec::Vp9, 98, "profile-id=0"),
    (Codec::H264, 102, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    (Codec::H264, 106, "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
    (Codec::H264, 108, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"),
    (Codec::H264, 112, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"),
    (Codec::H264, 114, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f"),
    (Codec::Av1, 104, ""),
];

fn own_codecs(kind: Kind, allowed: &[Codec]) -> Vec<Offered> {
    let video = kind == Kind::Video;
    let feedback =
        Feedback { nack: video, pli: video, fir: video, transport_cc: true, remb: false };
    let payload = |number: u8, place: usize, name: &str, parameters: &str| Payload {
        number,
        place,
        name: name.to_owned(),
        parameters: parameters.to_owned(),
        feedback,
    };
    let own = OWN.into_iter().zip((0..).step_by(2));
    let own = own.filter(|((codec, ..), _)| codec.kind() == kind && allowed.contains(codec));
    own.map(|((codec, number, parameters), place)| {
        let media = payload(number, place, codec.name(), parameters);
        let rtx = || payload(number + 1, place + 1, "rtx", &format!("apt={number}"));
        Offered {
            format: media.format().unwrap_or_else(|| codec.into()),
            payload: media,
            rtx: video.then(rtx),
            red: (!video).then(|| payload(63, place + 1, "red", "111/111")),
        }
    })
    .collect()
}
