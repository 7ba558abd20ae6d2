//! Our own offers, and what a client is sent.

use super::model::{Connection, Line, Role, Shown, ssrc};
use crate::codec::{Codec, Format, Kind};
use crate::description::{Description, DescriptionError, Direction, Offered, Section};
use crate::plan::{SendCodec, SendPlan};
use crate::rtp::{EXTENSIONS, Extension, ExtensionIds};

impl Connection {
    /// A section to send in, of our own offer: one that shows nothing, or a new one. Returns its name.
    pub fn line_for(&mut self, kind: Kind) -> String {
        let free = |line: &&Line| {
            line.kind == Some(kind) && matches!(line.role, Role::Send { shown: None, .. })
        };
        if let Some(line) = self.lines.iter().find(free) {
            return line.mid.clone();
        }
        let mid = self.lines.len().to_string();
        let codecs = own_codecs(kind, &self.allowed);
        let plan = SendPlan {
            mid: mid.clone(),
            kind,
            ssrc: ssrc(),
            repair_ssrc: ssrc(),
            codecs: codecs.iter().map(send_codec).collect(),
            extensions: own_extensions(kind),
        };
        let name = if kind == Kind::Audio { "audio" } else { "video" };
        self.lines.push(Line {
            mid: mid.clone(),
            kind: Some(kind),
            head: format!("{name} UDP/TLS/RTP/SAVPF"),
            role: Role::Send { plan: Box::new(plan), shown: None, codecs },
            direction: Direction { sends: false, receives: true },
        });
        mid
    }

    /// Says what a section shows from now on.
    pub fn show(&mut self, mid: &str, what: Option<Shown>) {
        for line in self.lines.iter_mut().filter(|line| line.mid == mid) {
            if let Role::Send { shown, .. } = &mut line.role {
                *shown = what;
                return;
            }
        }
    }

    /// Sections to send in that the client asked for, in order: name, kind, whether something is shown.
    pub fn send_lines(&self) -> impl Iterator<Item = (&str, Kind, bool)> {
        self.lines.iter().filter_map(|line| match &line.role {
            Role::Send { shown, .. } if line.direction.receives => {
                Some((line.mid.as_str(), line.kind?, shown.is_some()))
            }
            _ => None,
        })
    }

    /// Whether a section may be sent a stream of `format`.
    pub fn takes(&self, mid: &str, format: Format) -> bool {
        self.lines.iter().any(|line| match &line.role {
            Role::Send { plan, .. } => line.mid == mid && plan.takes(format).is_some(),
            _ => false,
        })
    }

    /// Our own offer of everything that is shown.
    pub fn offer(&mut self) -> String {
        self.version += 1;
        self.text(true)
    }

    /// Takes the answer to our offer.
    pub fn take_answer(&mut self, answer: &Description) -> Result<(), DescriptionError> {
        self.is_theirs(answer)?;
        let mut lines = self.lines.clone();
        for (index, section) in answer.sections.iter().enumerate() {
            let Some(line) = lines.get_mut(index).filter(|line| line.mid == section.mid) else {
                let why = format!("answers section {:?}, which was not offered there", section.mid);
                return Err(DescriptionError::Invalid(why));
            };
            if let Role::Send { plan, codecs, .. } = &mut line.role {
                // Payload types stay those of the offer; what the answer leaves out is not taken.
                let taken = section.codecs();
                let known = |codec: Codec| taken.iter().any(|offered| offered.codec == codec);
                plan.codecs = codecs
                    .iter()
                    .filter(|offered| known(offered.codec))
                    .map(|offered| {
                        let theirs = taken.iter().find(|other| other.codec == offered.codec);
                        let mut codec = send_codec(offered);
                        codec.repair_type = codec
                            .repair_type
                            .filter(|_| theirs.is_some_and(|it| it.repair.is_some()));
                        codec.red_type =
                            codec.red_type.filter(|_| theirs.is_some_and(|it| it.red.is_some()));
                        codec
                    })
                    .collect();
                plan.extensions = both(own_extensions(plan.kind), section.extensions);
                line.direction.receives = section.direction.receives && !section.rejected;
            }
        }
        self.lines = lines;
        self.remote = Some((answer.ufrag.clone(), answer.fingerprint));
        Ok(())
    }
}

pub(super) fn send_plan(section: &Section, codecs: &[Offered], before: Option<&Line>) -> SendPlan {
    let (media, repair) = match before.map(|line| &line.role) {
        Some(Role::Send { plan, .. } | Role::Both { send: plan, .. }) => {
            (plan.ssrc, plan.repair_ssrc)
        }
        _ => (ssrc(), ssrc()),
    };
    let kind = section.kind.unwrap_or(Kind::Audio);
    SendPlan {
        mid: section.mid.clone(),
        kind,
        ssrc: media,
        repair_ssrc: repair,
        codecs: codecs.iter().map(send_codec).collect(),
        extensions: usable_extensions(kind, section.extensions),
    }
}

pub(super) fn send_codec(offered: &Offered) -> SendCodec {
    SendCodec {
        format: offered.codec.into(),
        payload_type: offered.payload.number,
        repair_type: offered.repair.as_ref().map(|repair| repair.number),
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

/// Codecs of our own offers: name, clock, parameters, payload types of the media and of what repairs it.
fn own_codecs(kind: Kind, allowed: &[Codec]) -> Vec<Offered> {
    let payload = |number, name: &str, parameters: &str| crate::description::Payload {
        number,
        name: name.to_owned(),
        parameters: parameters.to_owned(),
        nack: kind == Kind::Video,
        transport_cc: true,
        remb: false,
    };
    let table = [
        (Codec::Opus, 111, "minptime=10;useinbandfec=1"),
        (Codec::Vp8, 96, ""),
        (Codec::Vp9, 98, "profile-id=0"),
        (
            Codec::H264,
            102,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
        (Codec::Av1, 104, ""),
    ];
    table
        .into_iter()
        .filter(|(codec, ..)| codec.kind() == kind && allowed.contains(codec))
        .map(|(codec, number, parameters)| Offered {
            codec,
            payload: payload(number, codec.name(), parameters),
            repair: (kind == Kind::Video)
                .then(|| payload(number + 1, "rtx", &format!("apt={number}"))),
            red: (kind == Kind::Audio).then(|| payload(63, "red", "111/111")),
        })
        .collect()
}
