//! What one peer connection has agreed on: its m-lines, and who the client is.

use std::net::SocketAddr;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::codec::{Codec, Kind};
use crate::description::{Description, DescriptionError, Direction, Offered};
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

#[derive(Clone, Debug)]
pub(super) enum Role {
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
pub(super) struct Line {
    pub(super) mid: String,
    pub(super) kind: Option<Kind>,
    pub(super) head: String,
    pub(super) role: Role,
    pub(super) direction: Direction,
}

/// The descriptions of one peer connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) endpoint: Endpoint,
    pub(super) ice: IceCredentials,
    pub(super) remote: Option<(String, [u8; 32])>,
    pub(super) session: u64,
    pub(super) version: u64,
    pub(super) lines: Vec<Line>,
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

    /// Begins ICE anew; the next offer says so.
    pub fn restart(&mut self) {
        self.ice = IceCredentials::generate();
    }

    /// Whether an offer has the sections of before in their places (RFC 9429 §5.2.2).
    pub(super) fn continues(&self, offer: &Description) -> Result<(), DescriptionError> {
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
    pub(super) fn is_theirs(&self, theirs: &Description) -> Result<(), DescriptionError> {
        match &self.remote {
            Some((_, known)) if *known != theirs.fingerprint => {
                let why = "has another fingerprint than before; use a new connection for that";
                Err(DescriptionError::Invalid(why.into()))
            }
            _ => Ok(()),
        }
    }

    /// Notes who the client is; another fragment is an ICE restart.
    pub(super) fn follow(&mut self, theirs: &Description) -> Result<(), DescriptionError> {
        self.is_theirs(theirs)?;
        if self.remote.is_some() && !self.is_of(&theirs.ufrag) {
            self.ice = IceCredentials::generate();
        }
        self.remote = Some((theirs.ufrag.clone(), theirs.fingerprint));
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
