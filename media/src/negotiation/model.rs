//! What one peer connection has agreed on: its m-lines, and who the client is.

use std::net::SocketAddr;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::codec::{Codec, Kind};
use crate::description::{
    Description, DescriptionError, Direction, Encoding, Offered, Section, Transport,
};
use crate::ice::IceCredentials;
use crate::plan::{PeerPlan, ReceivePlan, SendPlan, TrackKey};
use crate::rtp::ExtensionIds;

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

/// What the client sends.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    pub(super) plan: ReceivePlan,
    /// As they are answered.
    pub(super) codecs: Vec<Offered>,
    /// Encodings of the description that was answered last.
    pub(super) encodings: Vec<Encoding>,
    /// The client has sent, so that there is a track; one that only was inactive until now is none.
    pub(super) began: bool,
}

/// What the client is sent.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) plan: SendPlan,
    /// As they are offered, or answered.
    pub(super) codecs: Vec<Offered>,
    pub(super) shown: Option<Shown>,
    /// The client's answer rejects the section, which can become another one (RFC 9429 §5.2.2).
    pub(super) rejected: bool,
}

/// What one party of a call sends and what it is sent.
#[derive(Clone, Debug)]
pub(super) struct Bridged {
    /// Nothing is received before the party has answered.
    pub(super) receive: Option<ReceivePlan>,
    pub(super) send: SendPlan,
    pub(super) shown: Shown,
    pub(super) codecs: Vec<Offered>,
    pub(super) encodings: Vec<Encoding>,
    pub(super) extensions: ExtensionIds,
}

#[derive(Clone, Debug)]
pub(super) enum Role {
    Receive(Box<Receiving>),
    Send(Box<Sending>),
    Both(Box<Bridged>),
    Rejected,
}

/// What an m-line has besides its role; an answer has of it what the offer has.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Whether `mid` stands in the descriptions.
    pub(super) named: bool,
    /// Medium and protocol.
    pub(super) head: String,
    /// The formats of the client's m-line, which a rejection repeats.
    pub(super) formats: Vec<String>,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) mixed: bool,
    /// Header extensions that the client offers in one direction by name.
    pub(super) one_way: ExtensionIds,
}

impl Form {
    /// That of a section of ours.
    pub(super) fn own(head: &str) -> Self {
        Self {
            named: true,
            head: head.to_owned(),
            formats: Vec::new(),
            rtcp_mux: true,
            rtcp_rsize: true,
            mixed: false,
            one_way: ExtensionIds::default(),
        }
    }

    fn of(section: &Section) -> Self {
        Self {
            named: section.named,
            head: section.head.clone(),
            formats: section.formats.clone(),
            rtcp_mux: section.rtcp_mux,
            rtcp_rsize: section.rtcp_rsize,
            mixed: section.mixed,
            one_way: section.one_way,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) mid: String,
    pub(super) kind: Option<Kind>,
    pub(super) form: Form,
    pub(super) role: Role,
    pub(super) direction: Direction,
}

impl Line {
    /// The answer to a section that is not used.
    pub(super) fn rejected(section: &Section) -> Self {
        Self {
            mid: section.mid.clone(),
            kind: section.kind,
            form: Form::of(section),
            role: Role::Rejected,
            direction: Direction::INACTIVE,
        }
    }

    /// Whether a section of an answer can be that to this one, by its name and its medium (RFC 3264 §6).
    pub(super) fn is_answered_by(&self, section: &Section) -> bool {
        (self.mid == section.mid || !section.named) && self.kind == section.kind
    }

    /// Whether its port is 0.
    pub(super) fn is_rejected(&self) -> bool {
        match &self.role {
            Role::Send(sending) => sending.rejected,
            Role::Receive(_) | Role::Both(_) => false,
            Role::Rejected => true,
        }
    }

    pub(super) fn codecs(&self) -> &[Offered] {
        match &self.role {
            Role::Receive(receiving) => &receiving.codecs,
            Role::Send(sending) => &sending.codecs,
            Role::Both(bridged) => &bridged.codecs,
            Role::Rejected => &[],
        }
    }

    /// What the client sends in it.
    pub(super) fn received(&self) -> Option<&ReceivePlan> {
        match &self.role {
            Role::Receive(receiving) => Some(&receiving.plan),
            Role::Both(bridged) => bridged.receive.as_ref(),
            Role::Send(_) | Role::Rejected => None,
        }
    }

    /// What the client is sent in it.
    pub(super) fn sent(&self) -> Option<&SendPlan> {
        match &self.role {
            Role::Send(sending) => Some(&sending.plan),
            Role::Both(bridged) => Some(&bridged.send),
            Role::Receive(_) | Role::Rejected => None,
        }
    }
}

/// The descriptions of one peer connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) endpoint: Endpoint,
    pub(super) ice: IceCredentials,
    pub(super) remote: Option<Transport>,
    pub(super) session: u64,
    pub(super) version: u64,
    pub(super) lines: Vec<Line>,
    /// Mids that were made for sections of our own offers.
    pub(super) named: usize,
    /// The bundle of the offer that is answered, in its order, and whether it has `extmap-allow-mixed`.
    pub(super) bundle: Vec<String>,
    /// See `bundle`.
    pub(super) mixed: bool,
    pub(super) allowed: Vec<Codec>,
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
            named: 0,
            bundle: Vec::new(),
            mixed: false,
            allowed: allowed.to_vec(),
        }
    }

    /// Our user name fragment.
    pub fn ufrag(&self) -> &str {
        &self.ice.ufrag
    }

    /// Whether the client has this user name fragment.
    pub fn is_of(&self, ufrag: &str) -> bool {
        self.remote.as_ref().is_some_and(|known| known.ufrag == ufrag)
    }

    /// The client has begun ICE anew, with this fragment.
    pub fn restarted_by(&mut self, ufrag: &str) {
        if let Some(known) = &mut self.remote {
            ufrag.clone_into(&mut known.ufrag);
        }
        self.restart();
    }

    /// Begins ICE anew; the next offer says so.
    pub fn restart(&mut self) {
        self.ice = IceCredentials::generate();
    }

    /// Whether an offer has the sections of before in their places (RFC 9429 §5.2.2).
    pub(super) fn continues(&self, offer: &Description) -> Result<(), DescriptionError> {
        for (line, section) in self.lines.iter().zip(&offer.sections) {
            // A section that was rejected may become another one.
            if line.mid != section.mid && !line.is_rejected() {
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
    pub(super) fn is_theirs(&self, theirs: Option<&Transport>) -> Result<(), DescriptionError> {
        match (&self.remote, theirs) {
            (Some(known), Some(theirs)) if known.fingerprint != theirs.fingerprint => {
                let why = "has another fingerprint than before; use a new connection for that";
                Err(DescriptionError::Invalid(why.into()))
            }
            _ => Ok(()),
        }
    }

    /// Notes who the client is; another fragment is an ICE restart.
    pub(super) fn follow(&mut self, theirs: Option<&Transport>) -> Result<(), DescriptionError> {
        self.is_theirs(theirs)?;
        // Where everything is rejected there may be no transport, and it stays the one that it was.
        let Some(theirs) = theirs else { return Ok(()) };
        if self.remote.is_some() && !self.is_of(&theirs.ufrag) {
            self.ice = IceCredentials::generate();
        }
        self.remote = Some(theirs.clone());
        Ok(())
    }

    /// What the worker is to do.
    ///
    /// What the client does not take now stays in it without codecs: it is sent nothing, and its SSRC goes on counting.
    pub fn plan(&self) -> PeerPlan {
        let receives = self.lines.iter().filter_map(|line| match &line.role {
            Role::Receive(receiving) if !receiving.began => None,
            _ => line.received().cloned(),
        });
        let sends = self.lines.iter().filter_map(|line| {
            let mut plan = line.sent()?.clone();
            if matches!(line.role, Role::Send(_)) && !line.direction.receives {
                plan.codecs.clear();
            }
            Some(plan)
        });
        PeerPlan {
            ice: self.ice.clone(),
            fingerprint: self.remote.as_ref().map(|remote| remote.fingerprint),
            receives: receives.collect(),
            sends: sends.collect(),
        }
    }
}

pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without random bytes numbers repeat, which is a nuisance and no danger.
    let _ = SystemRandom::new().fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub(super) fn ssrc() -> u32 {
    (random() as u32).max(1)
}
