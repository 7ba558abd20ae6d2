//! Answers to a client's offers, and what it sends.

use super::model::{Accept, Connection, Line, Role};
use super::send::send_plan;
use crate::codec::{Codec, Format, Kind};
use crate::description::{Description, DescriptionError, Direction, Offered, Section};
use crate::plan::{KeyframeFeedback, ReceiveCodec, ReceivePlan, TrackKey};
use crate::rtp::Extension;

impl Connection {
    /// Answers an offer; `accept` decides about each section that can be used.
    pub fn answer(
        &mut self,
        offer: &Description,
        mut accept: impl FnMut(&Section) -> Accept,
    ) -> Result<String, DescriptionError> {
        let mut next = self.clone();
        next.follow(offer)?;
        self.continues(offer)?;
        let mut lines = Vec::new();
        for (index, section) in offer.sections.iter().enumerate() {
            lines.push(next.answer_section(section, self.lines.get(index), &mut accept)?);
        }
        if lines.iter().all(|line| matches!(line.role, Role::Rejected)) && self.lines.is_empty() {
            return Err(DescriptionError::NoMedia(
                "has no section that can be sent or received here",
            ));
        }
        next.lines = lines;
        next.version += 1;
        *self = next;
        Ok(self.text(false))
    }

    fn answer_section(
        &self,
        section: &Section,
        before: Option<&Line>,
        accept: &mut impl FnMut(&Section) -> Accept,
    ) -> Result<Line, DescriptionError> {
        let line = |role, direction| Line {
            mid: section.mid.clone(),
            kind: section.kind,
            head: section.head.clone(),
            role,
            direction,
        };
        let nobody = Direction { sends: false, receives: false };
        let accepted = match section.kind {
            Some(_) if !section.rejected => accept(section),
            _ => Accept::Reject,
        };
        if accepted == Accept::Reject {
            return Ok(line(Role::Rejected, nobody));
        }
        let mut codecs = self.codecs_of(section);
        if codecs.is_empty() {
            return Err(DescriptionError::Codec {
                mid: section.mid.clone(),
                supported: names(&self.allowed, section.kind),
            });
        }
        Ok(match accepted {
            Accept::Receive(track) => {
                // A publisher codes with the first; one is enough.
                codecs.truncate(1);
                let plan = receive_plan(section, track, codecs.first()).ok_or_else(|| {
                    DescriptionError::Invalid("has a section without codecs".into())
                })?;
                let direction = Direction { sends: section.direction.sends, receives: false };
                line(Role::Receive { plan: Box::new(plan), codecs }, direction)
            }
            Accept::Send => {
                let plan = send_plan(section, &codecs, before);
                let shown = match before.map(|line| &line.role) {
                    Some(Role::Send { shown, .. }) => shown.clone(),
                    _ => None,
                };
                let direction = Direction { sends: false, receives: section.direction.receives };
                line(Role::Send { plan: Box::new(plan), shown, codecs }, direction)
            }
            Accept::Reject => line(Role::Rejected, nobody),
        })
    }

    /// The track that a section of an offer is: the one that the section was before when its mid, its rids and its first common
    /// format are the same, else `fresh()`. What a client holds stays the track that it is.
    pub fn track_for(&self, section: &Section, fresh: impl FnOnce() -> TrackKey) -> TrackKey {
        let before = self.lines.iter().find_map(|line| match &line.role {
            Role::Receive { plan, .. } if line.mid == section.mid => Some(&**plan),
            _ => None,
        });
        let first = self.codecs_of(section).first().map(|offered| offered.codec.into());
        same_track(before, section, first).unwrap_or_else(fresh)
    }

    /// The codecs of a section that are allowed here, in the client's order.
    pub(super) fn codecs_of(&self, section: &Section) -> Vec<Offered> {
        if section.rejected {
            return Vec::new();
        }
        let mut codecs = section.codecs();
        codecs.retain(|offered| self.allowed.contains(&offered.codec));
        codecs
    }

    /// What the client sends: section, track and its first choice of codec, with the names of its layers.
    pub fn received(&self) -> impl Iterator<Item = (&str, TrackKey, Format, &[String])> {
        self.lines.iter().filter_map(|line| match &line.role {
            Role::Receive { plan, .. } => {
                let format = plan.first()?.format;
                Some((line.mid.as_str(), plan.track, format, plan.rids.as_slice()))
            }
            _ => None,
        })
    }
}

pub(super) fn names(allowed: &[Codec], kind: Option<Kind>) -> String {
    let of_kind = allowed.iter().filter(|codec| Some(codec.kind()) == kind);
    of_kind.map(|codec| codec.name()).collect::<Vec<_>>().join(", ")
}

/// The track of before, as long as it is coded alike and has the same layers: what viewers get of it goes on.
///
/// A client that holds a section leaves its layers out of the description, so that they say nothing then.
pub(super) fn same_track(
    before: Option<&ReceivePlan>,
    section: &Section,
    format: Option<Format>,
) -> Option<TrackKey> {
    let before = before?;
    let coded_alike = before.first().map(|first| first.format) == format;
    let same_layers = !section.direction.sends || before.rids == section.rids;
    (coded_alike && same_layers).then_some(before.track)
}

pub(super) fn receive_plan(
    section: &Section,
    track: TrackKey,
    chosen: Option<&Offered>,
) -> Option<ReceivePlan> {
    let chosen = chosen?;
    // With names, SSRCs of the description would only be guesses.
    let ssrcs = if section.rids.is_empty() {
        section.ssrcs.iter().copied().take(1).collect()
    } else {
        Vec::new()
    };
    Some(ReceivePlan {
        mid: section.mid.clone(),
        track,
        codecs: vec![receive_codec(chosen)],
        extensions: section.extensions,
        rids: section.rids.clone(),
        ssrcs,
        remb: chosen.payload.remb
            && !(chosen.payload.transport_cc
                && section.extensions.id(Extension::TransportSequence).is_some()),
    })
}

fn receive_codec(offered: &Offered) -> ReceiveCodec {
    ReceiveCodec {
        format: offered.codec.into(),
        payload_type: offered.payload.number,
        repair_type: offered.repair.as_ref().map(|repair| repair.number),
        red_type: offered.red.as_ref().map(|red| red.number),
        nack: offered.payload.nack,
        keyframes: KeyframeFeedback::Pli,
        parameter_sets: [].into(),
    }
}
