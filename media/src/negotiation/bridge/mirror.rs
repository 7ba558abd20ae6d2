//! The m-lines of one leg, made of those of the other.

use super::super::model::{Connection, Line, Role, Shown};
use super::super::receive::{receive_plan, same_track};
use super::super::send::{both, send_codec, send_plan, usable_extensions};
use super::numbers::Numbers;
use crate::codec::Codec;
use crate::description::{Description, DescriptionError, Direction, Offered, Section};
use crate::plan::{ReceivePlan, SendPlan, TrackKey};

/// What is in force for a section.
pub(super) struct Agreed {
    codec: Codec,
    /// Seen from the client of the leg that is answered.
    direction: Direction,
    /// What that client is sent.
    shown: Shown,
}

impl Agreed {
    /// What is said on this leg already.
    pub(super) fn here(line: &Line) -> Option<Self> {
        match &line.role {
            Role::Both { codecs, shown, .. } => Some(Self {
                codec: codecs.first()?.codec,
                direction: line.direction,
                shown: shown.clone(),
            }),
            _ => None,
        }
    }

    /// What the other leg's client has answered.
    pub(super) fn there(line: &Line, section: &Section) -> Option<Self> {
        let Direction { sends, receives } = line.direction;
        Self::here(line).map(|agreed| Self {
            direction: Direction { sends: receives, receives: sends },
            shown: shown(section),
            ..agreed
        })
    }
}

/// What a client sends in a section, as the other side is to see it.
pub(super) fn shown(section: &Section) -> Shown {
    match &section.msid {
        Some((stream, track)) => Shown { stream: stream.clone(), track: track.clone() },
        None => Shown { stream: "-".into(), track: section.mid.clone() },
    }
}

/// Whether nothing that concerns the other side is otherwise.
pub(super) fn same_media(one: &Description, other: &Description) -> bool {
    let about = |section: &Section| {
        (
            section.mid.clone(),
            section.kind,
            section.direction,
            section.rejected,
            section.rids.clone(),
        )
    };
    one.sections.iter().map(about).eq(other.sections.iter().map(about))
}

impl Connection {
    /// Makes the sections of this connection those of an offer that came by the `other`.
    pub(super) fn mirror(
        &mut self,
        offer: &Description,
        numbers: &mut Numbers,
    ) -> Result<(), DescriptionError> {
        let before = std::mem::take(&mut self.lines);
        for (index, section) in offer.sections.iter().enumerate() {
            let before = before.get(index).filter(|line| !matches!(line.role, Role::Rejected));
            if before.is_some_and(|line| line.kind != section.kind) {
                let why = format!("has in section {:?} what was in another before", section.mid);
                return Err(DescriptionError::Invalid(why));
            }
            let taken = self.lines.iter().any(|line| line.mid == section.mid);
            let mid = match before {
                Some(line) => line.mid.clone(),
                None if taken => format!("{}-{index}", section.mid),
                None => section.mid.clone(),
            };
            let line = self.mirrored(section, &mid, before, numbers);
            self.lines.push(line);
        }
        // Sections never go away.
        self.lines.extend(before.into_iter().skip(offer.sections.len()).map(|line| Line {
            role: Role::Rejected,
            direction: Direction { sends: false, receives: false },
            ..line
        }));
        Ok(())
    }

    /// One section of an offer for this side.
    pub(super) fn mirrored(
        &self,
        section: &Section,
        mid: &str,
        before: Option<&Line>,
        numbers: &mut Numbers,
    ) -> Line {
        let line = |role, direction| Line {
            mid: mid.to_owned(),
            kind: section.kind,
            head: section.head.clone(),
            role,
            direction,
        };
        let mut codecs = self.codecs_of(section);
        if codecs.is_empty() {
            return line(Role::Rejected, Direction { sends: false, receives: false });
        }
        // What is spoken already comes first.
        if let Some(current) = before.and_then(Agreed::here) {
            codecs.sort_by_key(|offered| offered.codec != current.codec);
        }
        let codecs: Vec<Offered> =
            codecs.into_iter().map(|offered| numbers.translate(offered)).collect();
        let extensions = numbers.translate_extensions(section.extensions);
        let receive = match before.map(|line| &line.role) {
            Some(Role::Both { receive, .. }) => receive.clone(),
            _ => None,
        };
        let send = send_plan(section, &codecs, before);
        let extensions_used = usable_extensions(send.kind, extensions);
        let send = SendPlan { mid: mid.to_owned(), extensions: extensions_used, ..send };
        let Direction { sends, receives } = section.direction;
        let direction = Direction { sends: receives, receives: sends };
        let (send, shown) = (Box::new(send), shown(section));
        line(Role::Both { receive, send, shown, codecs, extensions }, direction)
    }

    /// Takes the answer to what was mirrored.
    pub(super) fn take_mirrored(
        &mut self,
        answer: &Description,
        track: &mut impl FnMut() -> TrackKey,
    ) -> Result<(), DescriptionError> {
        self.is_theirs(answer)?;
        if answer.sections.len() != self.lines.len() {
            let why = "has not as many sections as what it answers";
            return Err(DescriptionError::Invalid(why.into()));
        }
        for (line, section) in self.lines.iter_mut().zip(&answer.sections) {
            if line.mid != section.mid {
                let why = format!("answers section {:?}, which was not offered there", section.mid);
                return Err(DescriptionError::Invalid(why));
            }
            let Role::Both { receive, send, codecs, extensions, .. } = &mut line.role else {
                continue;
            };
            let taken = section.codecs();
            let common = codecs.iter().find_map(|ours| {
                let theirs = taken.iter().find(|theirs| theirs.codec == ours.codec)?;
                Some((ours.clone(), theirs.clone()))
            });
            let Some((ours, theirs)) = common.filter(|_| !section.rejected) else {
                line.role = Role::Rejected;
                continue;
            };
            // Each side receives by the numbers that it named itself (RFC 3264 §5.1, §6.1).
            let repaired = theirs.repair.is_some();
            let expected = Offered {
                payload: crate::description::Payload { nack: theirs.payload.nack, ..ours.payload },
                repair: ours.repair.filter(|_| repaired),
                red: ours.red.filter(|_| theirs.red.is_some()),
                codec: ours.codec,
            };
            *extensions = both(*extensions, section.extensions);
            send.codecs = vec![send_codec(&theirs)];
            send.extensions = usable_extensions(send.kind, *extensions);
            let format = expected.codec.into();
            let key =
                same_track(receive.as_deref(), section, Some(format)).unwrap_or_else(&mut *track);
            *receive = receive_plan(section, key, Some(&expected))
                .map(|plan| Box::new(ReceivePlan { extensions: *extensions, ..plan }));
            *codecs = vec![expected];
            let offered = line.direction;
            line.direction = Direction {
                sends: offered.sends && section.direction.sends,
                receives: offered.receives && section.direction.receives,
            };
        }
        self.remote = Some((answer.ufrag.clone(), answer.fingerprint));
        Ok(())
    }

    /// Answers an offer with what was agreed on for each section, in order.
    pub(super) fn settle(
        &mut self,
        offer: &Description,
        agreed: &[Option<Agreed>],
        mut track: impl FnMut() -> TrackKey,
    ) -> Result<String, DescriptionError> {
        let mut next = self.clone();
        next.follow(offer)?;
        next.lines = offer
            .sections
            .iter()
            .enumerate()
            .map(|(index, section)| {
                let rejected = Line {
                    mid: section.mid.clone(),
                    kind: section.kind,
                    head: section.head.clone(),
                    role: Role::Rejected,
                    direction: Direction { sends: false, receives: false },
                };
                let before = self.lines.get(index);
                let Some(Agreed { codec, direction, shown }) =
                    agreed.get(index).and_then(Option::as_ref)
                else {
                    return rejected;
                };
                let mut codecs = self.codecs_of(section);
                codecs.retain(|offered| offered.codec == *codec);
                let known = match before.map(|line| &line.role) {
                    Some(Role::Both { receive, .. }) => receive.as_deref(),
                    _ => None,
                };
                let key =
                    same_track(known, section, Some((*codec).into())).unwrap_or_else(&mut track);
                let Some(receive) = receive_plan(section, key, codecs.first()) else {
                    return rejected;
                };
                let send = Box::new(send_plan(section, &codecs, before));
                let extensions = receive.extensions;
                let direction = Direction {
                    sends: direction.sends && section.direction.sends,
                    receives: direction.receives && section.direction.receives,
                };
                let role = Role::Both {
                    receive: Some(Box::new(receive)),
                    send,
                    shown: shown.clone(),
                    codecs,
                    extensions,
                };
                Line { role, direction, ..rejected }
            })
            .collect();
        next.version += 1;
        *self = next;
        Ok(self.text(false))
    }

    pub(super) fn offered_codecs(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for line in &self.lines {
            if let Role::Both { codecs, .. } = &line.role {
                names.extend(codecs.iter().map(|offered| offered.codec.name()));
            }
        }
        names.dedup();
        names.join(", ")
    }
}
