//! The m-lines of one leg, made of those of the other.

use super::super::model::{Bridged, Connection, Form, Line, Role, Shown};
use super::super::receive::{encodings, receive_plan, same_track};
use super::super::send::{both, in_common, send_codec, send_plan, usable_extensions};
use super::numbers::{Numbers, one_of_each};
use crate::codec::Format;
use crate::description::{Description, DescriptionError, Direction, Encoding, Offered, Section};
use crate::plan::{ReceivePlan, SendPlan, TrackKey};

/// What is in force for a section.
pub(super) struct Agreed {
    format: Format,
    /// The parameters that the other leg's client answers with.
    parameters: Option<String>,
    /// Seen from the client of the leg that is answered.
    direction: Direction,
    /// What that client is sent.
    shown: Shown,
}

impl Agreed {
    /// What is said on this leg already.
    pub(super) fn here(line: &Line) -> Option<Self> {
        match &line.role {
            Role::Both(bridged) => Some(Self {
                format: bridged.codecs.first()?.format,
                parameters: None,
                direction: line.direction,
                shown: bridged.shown.clone(),
            }),
            _ => None,
        }
    }

    /// What the other leg's client has answered.
    pub(super) fn there(line: &Line, section: &Section) -> Option<Self> {
        let Direction { sends, receives } = line.direction;
        let agreed = Self::here(line)?;
        let theirs = section.codecs().into_iter().find(|theirs| theirs.format == agreed.format);
        Some(Self {
            direction: Direction { sends: receives, receives: sends },
            parameters: theirs.map(|theirs| theirs.payload.parameters),
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
        (section.mid.clone(), section.kind, section.direction, section.rejected, section.rids())
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
            let before = before.get(index).filter(|line| !line.is_rejected());
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
            direction: Direction::INACTIVE,
            ..line
        }));
        Ok(())
    }

    /// One section of an offer for this side.
    fn mirrored(
        &self,
        section: &Section,
        mid: &str,
        before: Option<&Line>,
        numbers: &mut Numbers,
    ) -> Line {
        let mut form = Form::own(&section.head);
        form.formats.clone_from(&section.formats);
        let line = |role, direction| Line {
            mid: mid.to_owned(),
            kind: section.kind,
            form,
            role,
            direction,
        };
        let mut codecs = one_of_each(self.codecs_of(section));
        if codecs.is_empty() {
            return line(Role::Rejected, Direction::INACTIVE);
        }
        // What is spoken already comes first.
        if let Some(current) = before.and_then(Agreed::here) {
            put_first(&mut codecs, current.format);
        }
        let codecs: Vec<Offered> =
            codecs.into_iter().map(|offered| numbers.translate(offered)).collect();
        let extensions = numbers.translate_extensions(section.extensions);
        let send = send_plan(section, &codecs, before);
        let extensions_used = usable_extensions(send.kind, extensions);
        let bridged = Bridged {
            receive: before.and_then(Line::received).cloned(),
            send: SendPlan { mid: mid.to_owned(), extensions: extensions_used, ..send },
            shown: shown(section),
            codecs,
            encodings: before.map(encodings_of).unwrap_or_default(),
            extensions,
        };
        let Direction { sends, receives } = section.direction;
        line(Role::Both(Box::new(bridged)), Direction { sends: receives, receives: sends })
    }

    /// Takes the answer to what was mirrored.
    pub(super) fn take_mirrored(
        &mut self,
        answer: &Description,
        track: &mut impl FnMut() -> TrackKey,
    ) -> Result<(), DescriptionError> {
        let transport = answer.transport(|section| !section.rejected);
        self.is_theirs(transport)?;
        if answer.sections.len() != self.lines.len() {
            let why = "has not as many sections as what it answers";
            return Err(DescriptionError::Invalid(why.into()));
        }
        for (line, section) in self.lines.iter_mut().zip(&answer.sections) {
            if !line.is_answered_by(section) {
                let why = format!("answers section {:?}, which was not offered there", section.mid);
                return Err(DescriptionError::Invalid(why));
            }
            let Role::Both(bridged) = &mut line.role else { continue };
            if !bridged.answer(&line.mid, section, &mut *track) {
                line.role = Role::Rejected;
                continue;
            }
            let offered = line.direction;
            line.direction = Direction {
                sends: offered.sends && section.direction.sends,
                receives: offered.receives && section.direction.receives,
            };
        }
        answer.shares_transport(|section| !section.rejected)?;
        if let Some(transport) = transport {
            self.remote = Some(transport.clone());
        }
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
        next.lines.clear();
        for (index, section) in offer.sections.iter().enumerate() {
            let agreed = agreed.get(index).and_then(Option::as_ref);
            let line = agreed.and_then(|agreed| {
                self.settled(section, self.lines.get(index), agreed, &mut track)
            });
            next.lines.push(line.unwrap_or_else(|| Line::rejected(section)));
        }
        next.answers(offer)?;
        *self = next;
        Ok(self.text(false))
    }

    fn settled(
        &self,
        section: &Section,
        before: Option<&Line>,
        agreed: &Agreed,
        track: impl FnMut() -> TrackKey,
    ) -> Option<Line> {
        let mut codecs = one_of_each(self.codecs_of(section));
        codecs.retain(|offered| offered.format == agreed.format);
        codecs.first()?;
        let known = before.and_then(Line::received);
        let key = same_track(known, section, &codecs).unwrap_or_else(track);
        let receive = receive_plan(section, key, &codecs, known);
        let (send, extensions) = (send_plan(section, &codecs, before), receive.extensions);
        let encodings = encodings(section, &codecs);
        for (offered, parameters) in codecs.iter_mut().zip(&agreed.parameters) {
            offered.payload.parameters.clone_from(parameters);
        }
        let bridged = Bridged {
            receive: Some(receive),
            send,
            shown: agreed.shown.clone(),
            codecs,
            encodings,
            extensions,
        };
        let direction = Direction {
            sends: agreed.direction.sends && section.direction.sends,
            receives: agreed.direction.receives && section.direction.receives,
        };
        Some(Line { role: Role::Both(Box::new(bridged)), direction, ..Line::rejected(section) })
    }

    pub(super) fn offered_codecs(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for line in &self.lines {
            names.extend(line.codecs().iter().map(|offered| offered.format.codec.name()));
        }
        names.dedup();
        names.join(", ")
    }
}

impl Bridged {
    /// What a party answers to a section that was mirrored; whether it takes it.
    fn answer(&mut self, mid: &str, section: &Section, track: impl FnMut() -> TrackKey) -> bool {
        let taken = section.codecs();
        let common = in_common(&self.codecs, &taken).next().filter(|_| !section.rejected);
        let Some((ours, theirs)) = common else { return false };
        // Each side receives by the numbers that it named itself (RFC 3264 §5.1, §6.1).
        let mut expected = ours.clone();
        expected.payload.feedback = ours.payload.feedback.and(theirs.payload.feedback);
        expected.rtx = expected.rtx.filter(|_| theirs.rtx.is_some());
        expected.red = expected.red.filter(|_| theirs.red.is_some());
        self.extensions = both(self.extensions, section.extensions);
        self.send.codecs = vec![send_codec(theirs)];
        self.send.extensions = usable_extensions(self.send.kind, self.extensions);
        let (expected, before) = (vec![expected], self.receive.as_ref());
        let key = same_track(before, section, &expected).unwrap_or_else(track);
        let plan = receive_plan(section, key, &expected, before);
        self.encodings = encodings(section, &expected);
        self.receive =
            Some(ReceivePlan { mid: mid.to_owned(), extensions: self.extensions, ..plan });
        self.codecs = expected;
        true
    }
}

/// Encodings that a party was answered with.
fn encodings_of(line: &Line) -> Vec<Encoding> {
    match &line.role {
        Role::Both(bridged) => bridged.encodings.clone(),
        _ => Vec::new(),
    }
}

/// Puts the codec that is agreed on before the others, which keep their order.
fn put_first(codecs: &mut [Offered], format: Format) {
    codecs.iter_mut().filter(|it| it.format != format).for_each(|it| it.move_behind(0));
    codecs.sort_by_key(|offered| offered.format != format);
}
