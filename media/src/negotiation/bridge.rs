//! Two connections back to back (RFC 7092): what one party of a call offers is offered to the other, and what that one answers is
//! the answer. The parties need not know of it. Each leg has an ICE, a DTLS, payload types and extension numbers of its own, and
//! is offered only what the other side has.

use super::{
    Connection, DescriptionError, Endpoint, Line, Role, Shown, both, names, receive_plan,
    send_codec, send_plan, usable_extensions,
};
use crate::codec::Codec;
use crate::description::{Description, Direction, Offered, Section};
use crate::plan::{PeerPlan, ReceivePlan, SendPlan, TrackKey};
use crate::rtp::{EXTENSIONS, ExtensionIds};

/// One of the two parties.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Side {
    /// Who called.
    Caller,
    /// Who was called.
    Callee,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// What an offer leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offering {
    /// An offer for the other side.
    pub offer: String,
    /// The answer, where it need not be waited for: only the way to the server has changed.
    pub answer: Option<String>,
}

/// Why a description leads to nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BridgeError {
    /// It is wrong in itself, or does not go on where the last one ended.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// It answers nothing.
    #[error("answers no offer; one that came from the other side meanwhile took its place")]
    NotOffered,
    /// The two have no codec in common.
    #[error(
        "takes none of the codecs that the other side offers ({offered}); nothing is transcoded"
    )]
    Mismatch {
        /// What was offered.
        offered: String,
    },
}

/// One leg.
#[derive(Clone, Debug)]
struct Leg {
    connection: Connection,
    /// As it will be when the offer that was made is answered.
    offered: Option<Connection>,
    /// The party's own offer that the other side has not answered.
    asked: Option<Description>,
    /// The party's own offer that is in force, unless one of the other side is.
    settled: Option<Description>,
    /// What it is offered comes of no offer of the other side.
    taken_over: bool,
    numbers: Numbers,
}

/// The numbers that a party knows codecs and extensions by: they mean the same for as long as the connection lasts.
#[derive(Clone, Debug, Default)]
struct Numbers {
    codecs: Vec<(Codec, [Option<u8>; 3])>,
    extensions: ExtensionIds,
}

impl Leg {
    fn new(endpoint: &Endpoint, allowed: &[Codec]) -> Self {
        Self {
            connection: Connection::new(endpoint.clone(), allowed),
            offered: None,
            asked: None,
            settled: None,
            taken_over: false,
            numbers: Numbers::default(),
        }
    }
}

/// Payload types that are given out (RFC 3551 §6, RFC 8829 §5.1.3).
const DYNAMIC: [std::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=63];

impl Numbers {
    /// Notes what the party itself says.
    fn learn(&mut self, section: &Section) {
        for offered in section.codecs() {
            let numbers = [Some(&offered.payload), offered.repair.as_ref(), offered.red.as_ref()];
            let numbers = numbers.map(|payload| payload.map(|payload| payload.number));
            self.codecs.retain(|(codec, _)| *codec != offered.codec);
            self.codecs.push((offered.codec, numbers));
        }
        for (extension, _) in EXTENSIONS {
            if let Some(id) = section.extensions.id(extension) {
                self.extensions.set(extension, id);
            }
        }
    }

    fn is_used(&self, number: u8) -> bool {
        self.codecs.iter().any(|(_, numbers)| numbers.contains(&Some(number)))
    }

    /// A number for a payload type: the known one, the other side's where it is free, or a new one.
    fn number(&mut self, codec: Codec, which: usize, theirs: u8) -> u8 {
        if let Some((_, numbers)) = self.codecs.iter().find(|(known, _)| *known == codec)
            && let Some(Some(known)) = numbers.get(which)
        {
            return *known;
        }
        let free = |number: &u8| !self.is_used(*number);
        let number = Some(theirs).filter(free);
        let number = number.or_else(|| DYNAMIC.into_iter().flatten().find(free)).unwrap_or(theirs);
        if !self.codecs.iter().any(|(known, _)| *known == codec) {
            self.codecs.push((codec, [None; 3]));
        }
        for (known, numbers) in &mut self.codecs {
            if *known == codec
                && let Some(place) = numbers.get_mut(which)
            {
                *place = Some(number);
            }
        }
        number
    }

    /// A codec of the other side under the numbers of this one.
    fn translate(&mut self, mut offered: Offered) -> Offered {
        let codec = offered.codec;
        let own = self.number(codec, 0, offered.payload.number);
        offered.payload.number = own;
        if let Some(repair) = &mut offered.repair {
            repair.number = self.number(codec, 1, repair.number);
        }
        if let Some(red) = &mut offered.red {
            red.number = self.number(codec, 2, red.number);
            red.parameters = format!("{own}/{own}");
        }
        offered
    }

    fn translate_extensions(&mut self, theirs: ExtensionIds) -> ExtensionIds {
        let mut ids = ExtensionIds::default();
        for (extension, _) in EXTENSIONS {
            let Some(theirs) = theirs.id(extension) else { continue };
            let used =
                |id: u8| EXTENSIONS.iter().any(|&(other, _)| self.extensions.id(other) == Some(id));
            let known = self.extensions.id(extension);
            let free = || std::iter::once(theirs).chain(1..=14).find(|&id| !used(id));
            let Some(id) = known.or_else(free) else { continue };
            self.extensions.set(extension, id);
            ids.set(extension, id);
        }
        ids
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Bridge {
    endpoint: Endpoint,
    allowed: Vec<Codec>,
    caller: Leg,
    callee: Leg,
}

impl Bridge {
    /// Two legs on which nothing is agreed.
    pub fn new(endpoint: &Endpoint, allowed: &[Codec]) -> Self {
        let leg = || Leg::new(endpoint, allowed);
        let (caller, callee) = (leg(), leg());
        Self { endpoint: endpoint.clone(), allowed: allowed.to_vec(), caller, callee }
    }

    /// Whether an offer is that of another connection of the client than before; [`Bridge::renew`] makes room for it.
    pub fn is_other(&self, side: Side, offer: &Description) -> bool {
        self.leg(side).connection.is_theirs(offer).is_err()
    }

    /// One side begins anew, with another connection.
    pub fn renew(&mut self, side: Side) {
        let leg = Leg::new(&self.endpoint, &self.allowed);
        let (own, other) = self.legs(side);
        (*own, other.settled) = (leg, None);
    }

    fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    fn legs(&mut self, side: Side) -> (&mut Leg, &mut Leg) {
        match side {
            Side::Caller => (&mut self.caller, &mut self.callee),
            Side::Callee => (&mut self.callee, &mut self.caller),
        }
    }

    /// Comes between two that are connected already, as they have described themselves to each other; gives the offers for the
    /// caller and the callee. Both go over to the server when they answer.
    pub fn take_over(
        &mut self,
        caller: &Description,
        callee: &Description,
    ) -> Result<[String; 2], BridgeError> {
        let offer = |leg: &mut Leg, own: &Description, other: &Description| {
            own.sections.iter().for_each(|section| leg.numbers.learn(section));
            let mut next = leg.connection.clone();
            next.mirror(other, &mut leg.numbers)?;
            let text = next.offer();
            (leg.offered, leg.taken_over) = (Some(next), true);
            Ok::<_, BridgeError>(text)
        };
        Ok([offer(&mut self.caller, caller, callee)?, offer(&mut self.callee, callee, caller)?])
    }

    /// Takes an offer of one side. When both offer at once, the first offer that is answered counts. `track` names a new track.
    pub fn offer(
        &mut self,
        side: Side,
        offer: &Description,
        track: impl FnMut() -> TrackKey,
    ) -> Result<Offering, BridgeError> {
        let (own, other) = self.legs(side);
        own.connection.continues(offer)?;
        let restarts = own.connection.remote.is_some() && !own.connection.is_of(&offer.ufrag);
        own.connection.is_theirs(offer)?;
        let usable = |section: &&Section| !own.connection.codecs_of(section).is_empty();
        if !offer.sections.iter().any(|section| usable(&section)) {
            let section = offer.sections.iter().find(|section| section.kind.is_some());
            let section =
                section.ok_or(DescriptionError::NoMedia("has no sound and no pictures"))?;
            let supported = names(&own.connection.allowed, section.kind);
            return Err(DescriptionError::Codec { mid: section.mid.clone(), supported }.into());
        }
        for section in &offer.sections {
            own.numbers.learn(section);
        }
        let same = own.settled.as_ref().is_some_and(|settled| same_media(settled, offer));
        let mut next = other.connection.clone();
        next.mirror(offer, &mut other.numbers)?;
        if restarts {
            next.restart();
        }
        let text = next.offer();
        (other.offered, other.taken_over) = (Some(next), false);
        let answer = if same && restarts {
            own.asked = None;
            let agreed: Vec<_> = own.connection.lines.iter().map(Agreed::here).collect();
            Some(own.connection.settle(offer, &agreed, track)?)
        } else {
            own.asked = Some(offer.clone());
            None
        };
        Ok(Offering { offer: text, answer })
    }

    /// Takes the answer of one side to what it was offered; gives the answer for the other side, where that one waits for it.
    /// `track` names a new track.
    pub fn answer(
        &mut self,
        side: Side,
        answer: &Description,
        mut track: impl FnMut() -> TrackKey,
    ) -> Result<Option<String>, BridgeError> {
        let (own, other) = self.legs(side);
        let mut next = own.offered.clone().ok_or(BridgeError::NotOffered)?;
        let offered = next.offered_codecs();
        next.take_mirrored(answer, &mut track)?;
        if next.lines.iter().all(|line| matches!(line.role, Role::Rejected)) {
            (own.offered, other.asked) = (None, None);
            return Err(BridgeError::Mismatch { offered });
        }
        own.connection = next;
        let text = match other.asked.take() {
            Some(offer) => {
                let both = own.connection.lines.iter().zip(&answer.sections);
                let agreed: Vec<_> =
                    both.map(|(line, section)| Agreed::there(line, section)).collect();
                let text = other.connection.settle(&offer, &agreed, track)?;
                other.settled = Some(offer);
                own.settled = None;
                Some(text)
            }
            None => None,
        };
        if !std::mem::take(&mut own.taken_over) {
            other.offered = None;
        }
        (own.offered, own.asked) = (None, None);
        Ok(text)
    }

    /// What the worker is to do for one leg.
    pub fn plan(&self, side: Side) -> PeerPlan {
        let leg = self.leg(side);
        leg.offered.as_ref().unwrap_or(&leg.connection).plan()
    }

    /// What each section of one leg shows.
    pub fn shows(&self, side: Side) -> Vec<(String, Option<TrackKey>)> {
        let theirs = &self.leg(side.other()).connection.lines;
        let sent = |index: usize| match theirs.get(index).map(|line| &line.role) {
            Some(Role::Both { receive, .. }) => receive.as_ref().map(|receive| receive.track),
            _ => None,
        };
        let lines = self.leg(side).connection.lines.iter().enumerate();
        lines
            .map(|(index, line)| match &line.role {
                Role::Both { .. } => (line.mid.clone(), sent(index)),
                _ => (line.mid.clone(), None),
            })
            .collect()
    }

    /// The tracks that one side sends, with what they are coded with and whether it says that it sends now.
    pub fn tracks(&self, side: Side) -> Vec<(TrackKey, Codec, bool)> {
        let lines = self.leg(side).connection.lines.iter();
        lines
            .filter_map(|line| match &line.role {
                Role::Both { receive: Some(receive), .. } => {
                    let codec = receive.first()?.format.codec;
                    Some((receive.track, codec, line.direction.sends))
                }
                _ => None,
            })
            .collect()
    }
}

/// What is in force for a section.
struct Agreed {
    codec: Codec,
    /// Seen from the client of the leg that is answered.
    direction: Direction,
    /// What that client is sent.
    shown: Shown,
}

impl Agreed {
    /// What is said on this leg already.
    fn here(line: &Line) -> Option<Self> {
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
    fn there(line: &Line, section: &Section) -> Option<Self> {
        let Direction { sends, receives } = line.direction;
        Self::here(line).map(|agreed| Self {
            direction: Direction { sends: receives, receives: sends },
            shown: shown(section),
            ..agreed
        })
    }
}

/// What a client sends in a section, as the other side is to see it.
fn shown(section: &Section) -> Shown {
    match &section.msid {
        Some((stream, track)) => Shown { stream: stream.clone(), track: track.clone() },
        None => Shown { stream: "-".into(), track: section.mid.clone() },
    }
}

/// The track that a section is: the one that it was, as long as it is coded alike.
fn track_of(
    before: Option<&ReceivePlan>,
    section: &Section,
    codec: Codec,
    mut track: impl FnMut() -> TrackKey,
) -> TrackKey {
    match before {
        Some(before)
            if before.first().is_some_and(|first| first.format.codec == codec)
                && before.rids == section.rids =>
        {
            before.track
        }
        _ => track(),
    }
}

/// Whether nothing that concerns the other side is otherwise.
fn same_media(one: &Description, other: &Description) -> bool {
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
    fn codecs_of(&self, section: &Section) -> Vec<Offered> {
        if section.rejected {
            return Vec::new();
        }
        let mut codecs = section.codecs();
        codecs.retain(|offered| self.allowed.contains(&offered.codec));
        codecs
    }

    /// Makes the sections of this connection those of an offer that came by the `other`.
    fn mirror(
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
    fn mirrored(
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
    fn take_mirrored(
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
            let key = track_of(receive.as_deref(), section, expected.codec, &mut *track);
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
    fn settle(
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
                let key = track_of(known, section, *codec, &mut track);
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

    fn offered_codecs(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn description(text: &str) -> Description {
        Description::parse(text, 16).unwrap()
    }

    fn offer_of(ufrag: &str, print: &str, sections: &[&str]) -> String {
        let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
        for section in sections {
            text += section;
            text += &format!(
                "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
                 a=fingerprint:sha-256 {}\r\na=rtcp-mux\r\n",
                [print; 32].join(":")
            );
        }
        text
    }

    const SOUND: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9\r\na=mid:0\r\na=msid:home voice\r\n\
        a=rtpmap:109 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=sendrecv\r\n\
        a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
    const PICTURES: &str = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127\r\na=mid:1\r\n\
        a=rtpmap:120 VP8/90000\r\na=rtpmap:124 rtx/90000\r\na=fmtp:124 apt=120\r\n\
        a=rtpmap:126 H264/90000\r\na=fmtp:126 profile-level-id=42e01f;packetization-mode=1\r\n\
        a=rtpmap:127 rtx/90000\r\na=fmtp:127 apt=126\r\na=rtcp-fb:* nack\r\n\
        a=ssrc:7 msid:home face\r\na=sendrecv\r\n";

    /// What a client says to an offer that it takes as it is, but for some lines.
    fn answer_to(offer: &str, print: &str, without: &[&str]) -> String {
        let mut text = String::new();
        for line in offer.lines().filter(|line| !without.iter().any(|no| line.contains(no))) {
            let line = match line {
                "a=setup:actpass" => "a=setup:active".to_owned(),
                "a=sendonly" => "a=recvonly".to_owned(),
                "a=recvonly" => "a=sendonly".to_owned(),
                _ if line.starts_with("a=fingerprint") => {
                    format!("a=fingerprint:sha-256 {}", [print; 32].join(":"))
                }
                _ if line.starts_with("a=ice-ufrag") => "a=ice-ufrag:answering".to_owned(),
                _ if line.starts_with("a=msid") => "a=msid:away one".to_owned(),
                _ if line.starts_with("a=ssrc") => continue,
                _ => line.to_owned(),
            };
            text += &line;
            text += "\r\n";
        }
        text
    }

    fn bridge() -> (Bridge, impl FnMut() -> TrackKey + Clone) {
        let endpoint = Endpoint {
            fingerprint: [7; 32],
            udp: vec!["192.0.2.1:7000".parse().unwrap()],
            tcp: Vec::new(),
        };
        let next = std::rc::Rc::new(std::cell::Cell::new(0));
        let track = move || {
            next.set(next.get() + 1);
            TrackKey(next.get())
        };
        (Bridge::new(&endpoint, &Codec::ALL), track)
    }

    /// A call with sound and pictures of which the callee takes no H.264.
    fn connected() -> (Bridge, impl FnMut() -> TrackKey + Clone) {
        let (mut bridge, track) = bridge();
        let offer = offer_of("caller", "AA", &[SOUND, PICTURES]);
        let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
        assert_eq!(offering.answer, None, "the callee has the last word");
        let answer = answer_to(&offering.offer, "BB", &["H264"]);
        let answer = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
        let answer = answer.expect("the caller waits");
        assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 120 124\r\n"), "{answer}");
        assert!(answer.contains("a=msid:away one") && answer.contains("a=setup:passive"));
        (bridge, track)
    }

    #[test]
    fn what_one_offers_is_offered_to_the_other_and_the_answer_is_the_answer() {
        let (mut bridge, track) = bridge();
        let offer = offer_of("caller", "AA", &[SOUND, PICTURES]);
        let offering = bridge.offer(Side::Caller, &description(&offer), track).unwrap();
        let seen = description(&offering.offer);
        assert_eq!(seen.sections.len(), 2);
        assert!(!offering.offer.contains("G722") && !offering.offer.contains("VP9"));
        assert!(offering.offer.contains("a=msid:home voice"));
        assert!(offering.offer.contains("a=msid:home face"), "named by its SSRC");
        assert!(offering.offer.contains("a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid"));
        assert!(!offering.offer.contains("transport-wide-cc"), "nobody offered it");
        assert_ne!(seen.ufrag, "caller");

        let (bridge, _) = connected();
        let [caller, callee] = [Side::Caller, Side::Callee].map(|side| bridge.tracks(side));
        assert_eq!(caller.iter().map(|it| it.1).collect::<Vec<_>>(), [Codec::Opus, Codec::Vp8]);
        let keys = |tracks: &[(TrackKey, Codec, bool)]| {
            tracks.iter().map(|it| Some(it.0)).collect::<Vec<_>>()
        };
        let shown = |side| bridge.shows(side).into_iter().map(|it| it.1).collect::<Vec<_>>();
        assert_eq!(shown(Side::Callee), keys(&caller));
        assert_eq!(shown(Side::Caller), keys(&callee));
        let plan = bridge.plan(Side::Caller);
        assert_eq!((plan.receives.len(), plan.sends.len()), (2, 2));
        assert!(
            plan.receives.iter().any(|it| it.codecs[0].payload_type == 120 && it.codecs[0].nack)
        );
    }

    #[test]
    fn hold_and_new_sections_of_either_side_go_on_with_the_same_numbers() {
        let (mut bridge, track) = connected();
        let before = bridge.tracks(Side::Caller);
        // The callee knows other numbers, and adds its screen.
        let screen = "m=video 9 UDP/TLS/RTP/SAVPF 96 98\r\na=mid:screen\r\na=sendonly\r\n\
            a=rtpmap:96 VP9/90000\r\na=rtpmap:98 VP8/90000\r\n";
        let held = SOUND.replace("a=sendrecv", "a=inactive");
        let pictures = PICTURES.replace("120", "98").replace("126", "102");
        let offer = offer_of("answering", "BB", &[&held, &pictures, screen]);
        let offering = bridge.offer(Side::Callee, &description(&offer), track.clone()).unwrap();
        let told = description(&offering.offer);
        assert_eq!(told.sections[0].direction, Direction { sends: false, receives: false });
        assert_eq!(told.sections[2].direction, Direction { sends: true, receives: false });
        assert_eq!(told.sections[2].kind, Some(Kind::Video));
        assert!(offering.offer.contains("a=rtpmap:120 VP8/90000"), "{}", offering.offer);
        assert!(offering.offer.contains("a=rtpmap:96 VP9/90000"));
        let answer = answer_to(&offering.offer, "AA", &[]);
        let answer = bridge.answer(Side::Caller, &description(&answer), track.clone()).unwrap();
        let answer = answer.expect("the callee waits");
        assert!(answer.contains("a=rtpmap:98 VP8/90000"), "{answer}");
        assert_eq!(
            bridge.tracks(Side::Caller)[..2].iter().map(|it| it.0).collect::<Vec<_>>(),
            before.iter().map(|it| it.0).collect::<Vec<_>>()
        );
        assert_eq!(bridge.tracks(Side::Callee).len(), 3);
        assert!(!bridge.tracks(Side::Callee)[0].2, "held");
    }

    #[test]
    fn another_way_to_the_server_is_answered_at_once_and_the_other_side_looks_for_one_too() {
        let (mut bridge, track) = connected();
        let before = bridge.plan(Side::Caller).ice;
        let again = offer_of("elsewhere", "AA", &[SOUND, PICTURES]);
        let offering = bridge.offer(Side::Caller, &description(&again), track.clone()).unwrap();
        assert!(offering.answer.is_some());
        assert_ne!(bridge.plan(Side::Caller).ice, before);
        let answer = answer_to(&offering.offer, "BB", &[]);
        let answered = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
        assert_eq!(answered, None, "nobody waits");
        // With another certificate it is another connection.
        let other = offer_of("elsewhere", "CC", &[SOUND, PICTURES]);
        assert!(bridge.offer(Side::Caller, &description(&other), track).is_err());
    }

    #[test]
    fn of_two_offers_at_once_the_one_that_is_answered_counts() {
        let (mut bridge, track) = connected();
        let held = SOUND.replace("a=sendrecv", "a=sendonly");
        let by_caller = offer_of("caller", "AA", &[&held, PICTURES]);
        let by_callee = offer_of("answering", "BB", &[SOUND, PICTURES]);
        let to_callee =
            bridge.offer(Side::Caller, &description(&by_caller), track.clone()).unwrap();
        bridge.offer(Side::Callee, &description(&by_callee), track.clone()).unwrap();
        let answer = answer_to(&to_callee.offer, "BB", &[]);
        let answer = bridge.answer(Side::Callee, &description(&answer), track.clone()).unwrap();
        assert!(answer.is_some_and(|answer| answer.contains("a=recvonly")));
        let late = answer_to(&to_callee.offer, "AA", &[]);
        let late = bridge.answer(Side::Caller, &description(&late), track);
        assert_eq!(late, Err(BridgeError::NotOffered));
    }

    #[test]
    fn a_device_that_takes_the_call_over_brings_another_connection() {
        let (mut bridge, track) = connected();
        let theirs = bridge.plan(Side::Callee);
        let sound = SOUND.replace("a=mid:0", "a=mid:sound");
        let offer = offer_of("moved", "DD", &[&sound]);
        assert!(bridge.is_other(Side::Caller, &description(&offer)));
        bridge.renew(Side::Caller);
        let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
        let told = description(&offering.offer);
        assert_eq!(told.sections.iter().map(|it| it.mid.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert!(told.sections[1].rejected, "no pictures any more");
        let answer = answer_to(&offering.offer, "BB", &[]);
        let answer = bridge.answer(Side::Callee, &description(&answer), track).unwrap().unwrap();
        assert!(answer.contains("a=mid:sound"));
        assert_eq!(bridge.plan(Side::Callee).ice, theirs.ice, "the other side goes on");
        assert_eq!(bridge.shows(Side::Callee)[1], ("1".into(), None));
    }

    #[test]
    fn the_server_comes_between_two_that_are_connected() {
        let (mut bridge, track) = bridge();
        let caller = description(&offer_of("caller", "AA", &[SOUND, PICTURES]));
        let theirs = PICTURES.replace("a=sendrecv", "a=recvonly");
        let callee = description(&offer_of("callee", "BB", &[SOUND, &theirs]));
        let [to_caller, to_callee] = bridge.take_over(&caller, &callee).unwrap();
        assert_eq!(
            description(&to_caller).sections[1].direction,
            Direction { sends: false, receives: true }
        );
        for (side, offer, print) in
            [(Side::Callee, to_callee, "BB"), (Side::Caller, to_caller, "AA")]
        {
            let answer = answer_to(&offer, print, &[]);
            assert_eq!(bridge.answer(side, &description(&answer), track.clone()).unwrap(), None);
        }
        let caller = bridge.tracks(Side::Caller);
        assert_eq!(caller.iter().map(|it| it.1).collect::<Vec<_>>(), [Codec::Opus, Codec::Vp8]);
        assert!(bridge.shows(Side::Callee).iter().all(|(_, track)| track.is_some()));
    }

    #[test]
    fn those_who_share_no_codec_are_told() {
        let (mut bridge, track) = bridge();
        let offer = offer_of("caller", "AA", &[PICTURES]);
        let offering = bridge.offer(Side::Caller, &description(&offer), track.clone()).unwrap();
        let answer = answer_to(&offering.offer, "BB", &["VP8", "H264"]);
        let refused = bridge.answer(Side::Callee, &description(&answer), track.clone());
        let error = refused.unwrap_err();
        assert_eq!(error, BridgeError::Mismatch { offered: "vp8, h264".into() });
        let old = SOUND.replace("109 opus", "109 speex");
        let old =
            bridge.offer(Side::Caller, &description(&offer_of("caller", "AA", &[&old])), track);
        assert!(matches!(old, Err(BridgeError::Description(DescriptionError::Codec { .. }))));
    }
}
