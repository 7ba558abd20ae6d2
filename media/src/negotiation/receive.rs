//! Answers to a client's offers, and what it sends.

use super::model::{Accept, Connection, Line, Receiving, Role};
use crate::codec::{Codec, Format, Kind, Profile};
use crate::description::{
    Description, DescriptionError, Direction, Encoding, Offered, Section, h264_variants,
};
use crate::plan::{KeyframeFeedback, ReceiveCodec, ReceivePlan, TrackKey};
use crate::rtp::Extension;

impl Connection {
    /// Answers an offer; `accept` decides about each section that can be used.
    pub fn answer(
        &mut self,
        offer: &Description,
        mut accept: impl FnMut(&Section) -> Accept,
    ) -> Result<String, DescriptionError> {
        self.is_theirs(offer.transport(|section| !section.rejected))?;
        self.continues(offer)?;
        let mut lines = Vec::new();
        for (index, section) in offer.sections.iter().enumerate() {
            lines.push(self.answer_section(section, self.lines.get(index), &mut accept)?);
        }
        if lines.iter().all(Line::is_rejected) && self.lines.is_empty() {
            return Err(DescriptionError::NoMedia(
                "has no section that can be sent or received here",
            ));
        }
        let mut next = self.clone();
        next.lines = lines;
        next.answers(offer)?;
        *self = next;
        Ok(self.text(false))
    }

    /// Goes on from an offer that the lines answer already.
    pub(super) fn answers(&mut self, offer: &Description) -> Result<(), DescriptionError> {
        let used = |section: &Section| {
            self.lines.iter().any(|line| line.mid == section.mid && !line.is_rejected())
        };
        offer.shares_transport(used)?;
        let transport = offer.transport(used).cloned();
        self.follow(transport.as_ref())?;
        self.bundle.clone_from(&offer.bundle);
        self.mixed = offer.mixed;
        self.version += 1;
        Ok(())
    }

    fn answer_section(
        &self,
        section: &Section,
        before: Option<&Line>,
        accept: &mut impl FnMut(&Section) -> Accept,
    ) -> Result<Line, DescriptionError> {
        let rejected = Line::rejected(section);
        if section.kind.is_none() || section.rejected {
            return Ok(rejected);
        }
        let accepted = accept(section);
        if accepted == Accept::Reject {
            return Ok(rejected);
        }
        let codecs = self.codecs_of(section);
        if codecs.is_empty() {
            return Err(self.no_codec(section));
        }
        let before = before.filter(|line| line.mid == section.mid);
        let (role, direction) = match accepted {
            Accept::Receive(track) => {
                let codecs = everywhere_first(codecs);
                let receiving = receiving(section, track, &codecs, before);
                let direction = Direction { sends: section.direction.sends, receives: false };
                (Role::Receive(Box::new(receiving)), direction)
            }
            Accept::Send => {
                let sending = Self::sending(section, &codecs, before);
                let direction = Direction { sends: false, receives: section.direction.receives };
                (Role::Send(Box::new(sending)), direction)
            }
            Accept::Reject => return Ok(rejected),
        };
        Ok(Line { role, direction, ..rejected })
    }

    /// The track that a section of an offer is: the one that the section was before when its mid, its rids and its first common
    /// format are the same, else `fresh()`. What a client holds stays the track that it is.
    pub fn track_for(&self, section: &Section, fresh: impl FnOnce() -> TrackKey) -> TrackKey {
        let before = self.lines.iter().find(|line| line.mid == section.mid);
        let codecs = everywhere_first(self.codecs_of(section));
        same_track(before.and_then(Line::received), section, &codecs).unwrap_or_else(fresh)
    }

    /// The codecs of a section that are allowed here, in the client's order.
    pub(super) fn codecs_of(&self, section: &Section) -> Vec<Offered> {
        if section.rejected {
            return Vec::new();
        }
        let mut codecs = section.codecs();
        codecs.retain(|offered| self.allowed.contains(&offered.format.codec));
        codecs
    }

    /// What is wrong with a section without a codec that can be used.
    pub(super) fn no_codec(&self, section: &Section) -> DescriptionError {
        let offered = section.offered();
        let of_kind = self.allowed.iter().filter(|codec| Some(codec.kind()) == section.kind);
        let names = of_kind.map(|codec| match codec {
            Codec::H264 if offered.contains(codec.name()) => h264_variants(),
            _ => codec.name(),
        });
        let supported = match names.collect::<Vec<_>>() {
            names if names.is_empty() => "none in this room".to_owned(),
            names => names.join(", "),
        };
        DescriptionError::Codec { mid: section.mid.clone(), offered, supported }
    }

    /// What the client sends: section, track and its first choice of codec, with the names of its layers.
    pub fn received(&self) -> impl Iterator<Item = (&str, TrackKey, Format, &[String])> {
        self.lines.iter().filter_map(|line| match &line.role {
            Role::Receive(receiving) if receiving.began => {
                let plan = &receiving.plan;
                let format = plan.first()?.format;
                Some((line.mid.as_str(), plan.track, format, plan.rids.as_slice()))
            }
            _ => None,
        })
    }
}

/// What a client may send, in its order but for one thing: of H.264 the baseline profile comes before main and high.
///
/// A client sends by the first codec of the answer. Safari and phones with an encoder of their own put high first, which Firefox
/// cannot be shown, and offer constrained baseline beside it. An answer may have an order of its own for such a reason
/// (RFC 3264 §6.1); a client that wants high offers no baseline.
fn everywhere_first(mut codecs: Vec<Offered>) -> Vec<Offered> {
    let is_base =
        |format: Format| matches!(format.profile, Profile::ConstrainedBaseline | Profile::Baseline);
    let h264 = |offered: &Offered| offered.format.codec == Codec::H264;
    let Some(first) = codecs.iter().position(|it| h264(it) && !is_base(it.format)) else {
        return codecs;
    };
    let mut behind = codecs.iter().skip(first);
    let Some(base) = behind
        .position(|it| h264(it) && is_base(it.format) && !it.format.single_unit)
        .map(|at| at + first)
    else {
        return codecs;
    };
    let earlier = codecs.iter().take(first).any(|it| h264(it) && is_base(it.format));
    if !earlier && let Some(moved) = codecs.get_mut(first..=base) {
        moved.rotate_right(1);
        let place = moved.iter().map(|it| it.payload.place).min().unwrap_or_default();
        // Everything that stood there stands behind it.
        let others = codecs.iter_mut().enumerate().filter(|(at, _)| *at != first);
        others.for_each(|(_, offered)| offered.move_behind(place));
    }
    codecs
}

/// The track of before, as long as it is coded alike and has the same layers: what viewers get of it goes on.
///
/// A client that holds a section leaves its layers out of the description, so that they say nothing then.
pub(super) fn same_track(
    before: Option<&ReceivePlan>,
    section: &Section,
    codecs: &[Offered],
) -> Option<TrackKey> {
    let before = before?;
    let first = codecs.first().map(|offered| offered.format);
    let coded_alike = before.first().map(|first| first.format) == first;
    let rids = encodings(section, codecs).into_iter().map(|encoding| encoding.rid);
    let streams = |ssrcs: &[(u32, Option<u32>)]| ssrcs.len().max(1);
    let same_layers = before.rids.iter().cloned().eq(rids)
        && streams(&before.ssrcs) == streams(layer_ssrcs(section));
    (coded_alike && (same_layers || !section.direction.sends)).then_some(before.track)
}

fn receiving(
    section: &Section,
    track: TrackKey,
    codecs: &[Offered],
    before: Option<&Line>,
) -> Receiving {
    let began = before.is_some_and(|line| match &line.role {
        Role::Receive(before) => before.began,
        _ => false,
    });
    let plan = receive_plan(section, track, codecs, before.and_then(Line::received));
    let transport_cc = plan.extensions.id(Extension::TransportSequence).is_some();
    Receiving {
        codecs: codecs.iter().map(|offered| answered(offered, transport_cc)).collect(),
        encodings: encodings(section, codecs),
        began: began || section.direction.sends,
        plan,
    }
}

/// The plan for what a client sends with `codecs`, of which there is at least one.
pub(super) fn receive_plan(
    section: &Section,
    track: TrackKey,
    codecs: &[Offered],
    before: Option<&ReceivePlan>,
) -> ReceivePlan {
    let feedback = || codecs.iter().map(|offered| offered.payload.feedback);
    let transport_cc = section.extensions.id(Extension::TransportSequence).is_some()
        && feedback().any(|feedback| feedback.transport_cc);
    let mut plan = ReceivePlan {
        mid: section.mid.clone(),
        track,
        codecs: codecs.iter().map(receive_codec).collect(),
        extensions: section.extensions,
        rids: encodings(section, codecs).into_iter().map(|encoding| encoding.rid).collect(),
        ssrcs: layer_ssrcs(section).to_vec(),
        remb: feedback().any(|feedback| feedback.remb) && !transport_cc,
    };
    // A client that holds a section says nothing of its streams; they are what they were.
    if let Some(before) = before.filter(|before| before.track == track)
        && !section.direction.sends
    {
        plan.rids.clone_from(&before.rids);
        plan.ssrcs.clone_from(&before.ssrcs);
    }
    plan
}

/// The SSRCs that the description names; beside names of layers they would only be guesses.
fn layer_ssrcs(section: &Section) -> &[(u32, Option<u32>)] {
    if section.encodings.is_empty() { &section.ssrcs } else { &[] }
}

/// Encodings that can be sent with one of `codecs`, each without the payload types that are not answered (RFC 8851 §6.3).
pub(super) fn encodings(section: &Section, codecs: &[Offered]) -> Vec<Encoding> {
    let known = |number: &u8| codecs.iter().any(|offered| offered.payload.number == *number);
    let encodings = section.encodings.iter().filter_map(|encoding| {
        let mut answered = encoding.clone();
        answered.payload_types.retain(known);
        let possible = encoding.payload_types.is_empty() || !answered.payload_types.is_empty();
        possible.then_some(answered)
    });
    encodings.collect()
}

fn receive_codec(offered: &Offered) -> ReceiveCodec {
    let feedback = offered.payload.feedback;
    ReceiveCodec {
        format: offered.format,
        payload_type: offered.payload.number,
        rtx_type: offered.rtx.as_ref().map(|rtx| rtx.number),
        red_type: offered.red.as_ref().map(|red| red.number),
        nack: offered.payload.feedback.nack,
        keyframes: match offered.format.codec.kind() {
            Kind::Video if feedback.pli => KeyframeFeedback::Pli,
            Kind::Video if feedback.fir => KeyframeFeedback::Fir,
            _ => KeyframeFeedback::None,
        },
        parameter_sets: offered.parameter_sets(),
    }
}

/// A codec of an offer as it is answered: with its parameters, as far as they are of who receives.
///
/// What begins with `sprop-` says what its sender makes. The parameters of Opus in an answer are wishes of the receiver
/// (RFC 7587 §7.1) that the publisher follows: it gets its own back, as viewers are sent what it makes, and one that makes
/// stereo is asked for it, since without `stereo=1` it has to send mono (RFC 7587 §6.1).
pub(super) fn answered(offered: &Offered, transport_cc: bool) -> Offered {
    let mut answered = offered.clone();
    let payload = &mut answered.payload;
    let makes_stereo = payload.parameter("sprop-stereo") == Some("1");
    let stereo = offered.format.codec == Codec::Opus
        && makes_stereo
        && payload.parameter("stereo").is_none();
    let own = |one: &&str| !one.is_empty() && !one.to_ascii_lowercase().starts_with("sprop-");
    let mut parameters: Vec<&str> =
        offered.payload.parameters.split(';').map(str::trim).filter(own).collect();
    if stereo {
        parameters.push("stereo=1");
    }
    payload.parameters = parameters.join(";");
    // One estimate is enough, and transport-wide feedback says more.
    payload.feedback.transport_cc &= transport_cc;
    payload.feedback.remb &= !payload.feedback.transport_cc;
    answered
}
