//! Two connections back to back (RFC 7092): what one party of a call offers is offered to the other, and what that one answers is
//! the answer. The parties need not know of it. Each leg has an ICE, a DTLS, payload types and extension numbers of its own, and
//! is offered only what the other side has.

mod mirror;
mod numbers;
#[cfg(test)]
mod tests;

use self::mirror::{Agreed, same_media};
use self::numbers::Numbers;
use super::model::{Connection, Endpoint, Line, Role};
use crate::codec::Codec;
use crate::description::{Description, DescriptionError, Section};
use crate::plan::{PeerPlan, TrackKey};

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
        self.leg(side).connection.is_theirs(offer.transport(|section| !section.rejected)).is_err()
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
        let usable = |section: &Section| !own.connection.codecs_of(section).is_empty();
        let transport = offer.transport(usable);
        own.connection.is_theirs(transport)?;
        let restarts = own.connection.remote.is_some()
            && transport.is_some_and(|theirs| !own.connection.is_of(&theirs.ufrag));
        if !offer.sections.iter().any(usable) {
            let section = offer.sections.iter().find(|section| section.kind.is_some());
            let section =
                section.ok_or(DescriptionError::NoMedia("has no sound and no pictures"))?;
            return Err(own.connection.no_codec(section).into());
        }
        offer.shares_transport(usable)?;
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
        if next.lines.iter().all(Line::is_rejected) {
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
            Some(Role::Both(bridged)) => bridged.receive.as_ref().map(|receive| receive.track),
            _ => None,
        };
        let lines = self.leg(side).connection.lines.iter().enumerate();
        lines
            .map(|(index, line)| match &line.role {
                Role::Both(_) => (line.mid.clone(), sent(index)),
                _ => (line.mid.clone(), None),
            })
            .collect()
    }

    /// The tracks that one side sends, with what they are coded with and whether it says that it sends now.
    pub fn tracks(&self, side: Side) -> Vec<(TrackKey, Codec, bool)> {
        let lines = self.leg(side).connection.lines.iter();
        lines
            .filter_map(|line| {
                let receive = line.received()?;
                Some((receive.track, receive.first()?.format.codec, line.direction.sends))
            })
            .collect()
    }
}
