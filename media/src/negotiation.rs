//! Offers and answers (RFC 9429, RFC 8829 for the words): what a client says and what we want become a plan for the worker and a
//! text for the client. Nothing here knows of sockets, rooms or time.

mod bridge;

use std::fmt::Write as _;
use std::net::SocketAddr;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::codec::{Codec, Format, Kind};
use crate::description::{Description, DescriptionError, Direction, Offered, Section};
use crate::ice::IceCredentials;
use crate::plan::{
    KeyframeFeedback, PeerPlan, ReceiveCodec, ReceivePlan, SendCodec, SendPlan, TrackKey,
};
use crate::rtp::{EXTENSIONS, Extension, ExtensionIds};

pub use self::bridge::{Bridge, BridgeError, Offering, Side};

/// What this process shows to every client.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// Where media goes by UDP, the most preferred first.
    pub udp: Vec<SocketAddr>,
    /// Where media goes by TCP (RFC 6544, passive).
    pub tcp: Vec<SocketAddr>,
}

/// What to do with a section of a client's offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accept {
    /// Take what it sends, as this track.
    Receive(TrackKey),
    /// Send to it.
    Send,
    /// Neither.
    Reject,
}

/// What a section shows, for the text of the description.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shown {
    /// The media stream and the track it is called in the client (RFC 8830).
    pub stream: String,
    /// See `stream`.
    pub track: String,
}

#[derive(Clone, Debug)]
enum Role {
    Receive {
        plan: Box<ReceivePlan>,
        codecs: Vec<Offered>,
    },
    Send {
        plan: Box<SendPlan>,
        shown: Option<Shown>,
        codecs: Vec<Offered>,
    },
    /// What one party of a call sends and what it is sent; nothing is received before it has answered.
    Both {
        receive: Option<Box<ReceivePlan>>,
        send: Box<SendPlan>,
        shown: Shown,
        codecs: Vec<Offered>,
        extensions: ExtensionIds,
    },
    Rejected,
}

#[derive(Clone, Debug)]
struct Line {
    mid: String,
    kind: Option<Kind>,
    head: String,
    role: Role,
    direction: Direction,
}

/// The descriptions of one peer connection.
#[derive(Clone, Debug)]
pub struct Connection {
    endpoint: Endpoint,
    ice: IceCredentials,
    remote: Option<(String, [u8; 32])>,
    session: u64,
    version: u64,
    lines: Vec<Line>,
    allowed: Vec<Codec>,
}

impl Connection {
    /// A connection that nothing is agreed on for, with a client that may use `allowed`.
    pub fn new(endpoint: Endpoint, allowed: &[Codec]) -> Self {
        Self {
            endpoint,
            ice: IceCredentials::generate(),
            remote: None,
            session: random() >> 2,
            version: 0,
            lines: Vec::new(),
            allowed: allowed.to_vec(),
        }
    }

    /// Our user name fragment.
    pub fn ufrag(&self) -> &str {
        &self.ice.ufrag
    }

    /// Whether the client has this user name fragment.
    pub fn is_of(&self, ufrag: &str) -> bool {
        self.remote.as_ref().is_some_and(|(known, _)| known == ufrag)
    }

    /// The client has begun ICE anew, with this fragment.
    pub fn restarted_by(&mut self, ufrag: &str) {
        if let Some((known, _)) = &mut self.remote {
            ufrag.clone_into(known);
        }
        self.restart();
    }

    /// Our credentials and candidates alone (RFC 8840 §9).
    pub fn fragment(&self) -> String {
        let mut text = format!(
            "a=ice-lite\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            self.ice.ufrag, self.ice.pwd
        );
        self.write_candidates(&mut text);
        text
    }

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

    /// Whether an offer has the sections of before in their places (RFC 9429 §5.2.2).
    fn continues(&self, offer: &Description) -> Result<(), DescriptionError> {
        for (line, section) in self.lines.iter().zip(&offer.sections) {
            // A section that was rejected may become another one.
            if line.mid != section.mid && !matches!(line.role, Role::Rejected) {
                let why = format!("has section {:?} where another one was before", section.mid);
                return Err(DescriptionError::Invalid(why));
            }
        }
        if offer.sections.len() < self.lines.len() {
            let why = "leaves out sections that were there before; reject them with port 0";
            return Err(DescriptionError::Invalid(why.into()));
        }
        Ok(())
    }

    /// Whether a description is that of the client that is known.
    fn is_theirs(&self, theirs: &Description) -> Result<(), DescriptionError> {
        match &self.remote {
            Some((_, known)) if *known != theirs.fingerprint => {
                let why = "has another fingerprint than before; use a new connection for that";
                Err(DescriptionError::Invalid(why.into()))
            }
            _ => Ok(()),
        }
    }

    /// Notes who the client is; another fragment is an ICE restart.
    fn follow(&mut self, theirs: &Description) -> Result<(), DescriptionError> {
        self.is_theirs(theirs)?;
        if self.remote.is_some() && !self.is_of(&theirs.ufrag) {
            self.ice = IceCredentials::generate();
        }
        self.remote = Some((theirs.ufrag.clone(), theirs.fingerprint));
        Ok(())
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
        let mut codecs = section.codecs();
        codecs.retain(|offered| self.allowed.contains(&offered.codec));
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

    /// Begins ICE anew; the next offer says so.
    pub fn restart(&mut self) {
        self.ice = IceCredentials::generate();
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

    /// What the worker is to do.
    pub fn plan(&self) -> PeerPlan {
        let mut plan = PeerPlan {
            ice: self.ice.clone(),
            fingerprint: self.remote.as_ref().map(|(_, fingerprint)| *fingerprint),
            receives: Vec::new(),
            sends: Vec::new(),
        };
        for line in &self.lines {
            match &line.role {
                Role::Receive { plan: receive, .. } => plan.receives.push((**receive).clone()),
                Role::Send { plan: send, .. } => plan.sends.push((**send).clone()),
                Role::Both { receive, send, .. } => {
                    plan.receives.extend(receive.as_deref().cloned());
                    plan.sends.push((**send).clone());
                }
                Role::Rejected => {}
            }
        }
        plan
    }

    fn text(&self, offer: bool) -> String {
        let mut text = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n\
             a=extmap-allow-mixed\r\n",
            self.session, self.version
        );
        let bundled: String = self
            .lines
            .iter()
            .filter(|line| !matches!(line.role, Role::Rejected))
            .map(|line| format!(" {}", line.mid))
            .collect();
        let _ = write!(text, "a=group:BUNDLE{bundled}\r\n");
        let mut first = true;
        for line in &self.lines {
            self.write_line(&mut text, line, offer, first);
            first &= matches!(line.role, Role::Rejected);
        }
        text
    }

    /// Writing to a text cannot fail.
    fn write_line(&self, text: &mut String, line: &Line, offer: bool, first: bool) {
        let codecs = match &line.role {
            Role::Receive { codecs, .. }
            | Role::Send { codecs, .. }
            | Role::Both { codecs, .. } => codecs.as_slice(),
            Role::Rejected => &[],
        };
        let (media, protocol) = line.head.split_once(' ').unwrap_or(("audio", "RTP/SAVPF"));
        if codecs.is_empty() {
            let format = if media == "application" { "webrtc-datachannel" } else { "0" };
            let _ = write!(
                text,
                "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
                line.mid
            );
            return;
        }
        let numbers: String = codecs
            .iter()
            .flat_map(|offered| {
                [Some(&offered.payload), offered.red.as_ref(), offered.repair.as_ref()]
            })
            .flatten()
            .map(|payload| format!(" {}", payload.number))
            .collect();
        let _ = write!(
            text,
            "m={media} 9 {protocol}{numbers}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:{}\r\n",
            line.mid
        );
        let setup = if offer { "actpass" } else { "passive" };
        let _ = write!(
            text,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
            self.ice.ufrag,
            self.ice.pwd,
            hexadecimal(&self.endpoint.fingerprint),
        );
        match &line.role {
            Role::Receive { plan, .. } => {
                text.push_str(if line.direction.sends {
                    "a=recvonly\r\n"
                } else {
                    "a=inactive\r\n"
                });
                write_codecs(text, codecs);
                write_extensions(text, &plan.extensions);
                write_rids(text, &plan.rids);
            }
            Role::Send { plan, shown, .. } => {
                // What an answer said about a section that showed nothing is no word about what it shows now.
                let open = if offer { shown.is_some() } else { line.direction.receives };
                text.push_str(if open { "a=sendonly\r\n" } else { "a=inactive\r\n" });
                write_codecs(text, codecs);
                write_extensions(text, &plan.extensions);
                write_ssrcs(text, plan, shown.as_ref(), codecs);
            }
            Role::Both { receive, send, shown, extensions, .. } => {
                text.push_str(match (line.direction.receives, line.direction.sends) {
                    (true, true) => "a=sendrecv\r\n",
                    (true, false) => "a=sendonly\r\n",
                    (false, true) => "a=recvonly\r\n",
                    (false, false) => "a=inactive\r\n",
                });
                write_codecs(text, codecs);
                write_extensions(text, extensions);
                let rids = receive.as_deref().map_or(&[][..], |receive| &receive.rids);
                write_rids(text, rids);
                if line.direction.receives {
                    write_ssrcs(text, send, Some(shown), codecs);
                }
            }
            Role::Rejected => {}
        }
        if first {
            self.write_candidates(text);
        }
    }

    fn write_candidates(&self, text: &mut String) {
        // RFC 8445 §5.1.2.1: host candidates, the first most preferred; TCP after UDP.
        for (n, address) in (0_u32..).zip(&self.endpoint.udp) {
            let priority = (126 << 24) | ((65_535 - n.min(1000)) << 8) | 255;
            let _ = write!(
                text,
                "a=candidate:{} 1 udp {priority} {} {} typ host\r\n",
                n + 1,
                address.ip(),
                address.port()
            );
        }
        for (n, address) in (0_u32..).zip(&self.endpoint.tcp) {
            let priority = (90 << 24) | ((65_535 - n.min(1000)) << 8) | 255;
            let _ = write!(
                text,
                "a=candidate:{} 1 tcp {priority} {} {} typ host tcptype passive\r\n",
                n + 100,
                address.ip(),
                address.port()
            );
        }
        text.push_str("a=end-of-candidates\r\n");
    }
}

fn names(allowed: &[Codec], kind: Option<Kind>) -> String {
    let of_kind = allowed.iter().filter(|codec| Some(codec.kind()) == kind);
    of_kind.map(|codec| codec.name()).collect::<Vec<_>>().join(", ")
}

fn receive_plan(
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

fn send_plan(section: &Section, codecs: &[Offered], before: Option<&Line>) -> SendPlan {
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

fn send_codec(offered: &Offered) -> SendCodec {
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

fn usable_extensions(kind: Kind, theirs: ExtensionIds) -> ExtensionIds {
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
fn both(ours: ExtensionIds, theirs: ExtensionIds) -> ExtensionIds {
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

fn write_codecs(text: &mut String, codecs: &[Offered]) {
    for offered in codecs {
        let (clock, name) = (offered.codec.clock(), offered.codec.name());
        let channels = if offered.codec == Codec::Opus { "/2" } else { "" };
        let written = match offered.codec {
            Codec::Opus => name.to_owned(),
            _ => name.to_ascii_uppercase(),
        };
        let number = offered.payload.number;
        let _ = write!(text, "a=rtpmap:{number} {written}/{clock}{channels}\r\n");
        if !offered.payload.parameters.is_empty() {
            let _ = write!(text, "a=fmtp:{number} {}\r\n", offered.payload.parameters);
        }
        if offered.payload.transport_cc {
            let _ = write!(text, "a=rtcp-fb:{number} transport-cc\r\n");
        } else if offered.payload.remb {
            let _ = write!(text, "a=rtcp-fb:{number} goog-remb\r\n");
        }
        if offered.codec.kind() == Kind::Video {
            let _ = write!(text, "a=rtcp-fb:{number} ccm fir\r\na=rtcp-fb:{number} nack pli\r\n");
            if offered.payload.nack {
                let _ = write!(text, "a=rtcp-fb:{number} nack\r\n");
            }
        }
        if let Some(red) = &offered.red {
            let _ = write!(
                text,
                "a=rtpmap:{0} red/48000/2\r\na=fmtp:{0} {1}\r\n",
                red.number, red.parameters
            );
        }
        if let Some(repair) = &offered.repair {
            let _ = write!(
                text,
                "a=rtpmap:{0} rtx/90000\r\na=fmtp:{0} apt={number}\r\n",
                repair.number
            );
        }
    }
}

fn write_extensions(text: &mut String, ids: &ExtensionIds) {
    for (extension, uri) in EXTENSIONS {
        if let Some(id) = ids.id(extension) {
            let _ = write!(text, "a=extmap:{id} {uri}\r\n");
        }
    }
}

fn write_rids(text: &mut String, rids: &[String]) {
    for rid in rids {
        let _ = write!(text, "a=rid:{rid} recv\r\n");
    }
    if !rids.is_empty() {
        let _ = write!(text, "a=simulcast:recv {}\r\n", rids.join(";"));
    }
}

fn write_ssrcs(text: &mut String, plan: &SendPlan, shown: Option<&Shown>, codecs: &[Offered]) {
    let nothing = Shown { stream: "-".into(), track: plan.mid.clone() };
    let shown = shown.unwrap_or(&nothing);
    let _ = write!(text, "a=msid:{} {}\r\n", shown.stream, shown.track);
    let repaired = codecs.iter().any(|offered| offered.repair.is_some());
    if repaired {
        let _ = write!(text, "a=ssrc-group:FID {} {}\r\n", plan.ssrc, plan.repair_ssrc);
    }
    let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.ssrc);
    if repaired {
        let _ = write!(text, "a=ssrc:{} cname:switchboard\r\n", plan.repair_ssrc);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without random bytes numbers repeat, which is a nuisance and no danger.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half")]
fn ssrc() -> u32 {
    (random() as u32).max(1)
}
