//! The server's part in a call whose media goes through it: one peer connection for each of the two, back to back
//! (`media: "relay"`). Neither client needs to know of it.

use switchboard_media::negotiation::{Bridge, Side};
use switchboard_media::{Codec, Command, PeerKey, RoomKey, TrackKey};

use super::effect::{Effect, Keys, Media, Record, Step};
use super::rules::Rules;
use crate::ids::{RoomId, UserId};
use crate::recorder::{Part, Publisher};
use crate::store::CallRecord;

/// See the module.
#[derive(Clone)]
pub(super) struct Relayed {
    pub(super) bridge: Bridge,
    room: RoomKey,
    legs: [Leg; 2],
    place: RoomId,
    people: [UserId; 2],
}

/// One side's connection with the server.
#[derive(Clone)]
struct Leg {
    peer: PeerKey,
    set_up: bool,
    connected: bool,
    shows: Vec<(String, Option<TrackKey>)>,
}

impl Leg {
    fn new(keys: &dyn Keys) -> Self {
        Self { peer: keys.peer(), set_up: false, connected: false, shows: Vec::new() }
    }
}

/// Whose side of the bridge is whose.
pub(super) fn side_of(call: &CallRecord, user: UserId) -> Side {
    if call.from == user { Side::Caller } else { Side::Callee }
}

impl Relayed {
    /// A bridge on which nothing is agreed; [`Relayed::open`] makes room for it.
    pub(super) fn new(rules: &Rules, keys: &dyn Keys, call: &CallRecord) -> Self {
        Self {
            bridge: Bridge::new(&rules.endpoint, &rules.codecs),
            room: keys.room(),
            legs: [Leg::new(keys), Leg::new(keys)],
            place: RoomId::of_call(call.id),
            people: [call.from, call.to],
        }
    }

    /// Opens its room; `record_by` wants what is sent there to be recorded.
    pub(super) fn open(&self, record_by: Option<UserId>, step: &mut Step<'_>) {
        let (place, room, people) = (self.place.clone(), self.room, self.people);
        step.push(Effect::Media(Media::Open(room)));
        step.push(Effect::Record(Record::Open { place, room, people, by: record_by }));
    }

    /// Closes its room and whatever is in it.
    pub(super) fn close(&self, step: &mut Step<'_>) {
        let (place, room) = (self.place.clone(), self.room);
        step.push(Effect::Record(Record::Close { place, room }));
        for leg in self.legs.iter().filter(|leg| leg.set_up) {
            step.media(room, Command::Close { peer: leg.peer });
        }
        step.push(Effect::Media(Media::Close(room)));
    }

    /// The peers of the two.
    pub(super) fn peers(&self) -> [PeerKey; 2] {
        let [caller, callee] = &self.legs;
        [caller.peer, callee.peer]
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        let [caller, callee] = &mut self.legs;
        match side {
            Side::Caller => caller,
            Side::Callee => callee,
        }
    }

    /// Whose connection this is.
    pub(super) fn side_of(&self, peer: PeerKey) -> Option<Side> {
        let [caller, callee] = &self.legs;
        match () {
            () if caller.peer == peer => Some(Side::Caller),
            () if callee.peer == peer => Some(Side::Callee),
            () => None,
        }
    }

    /// The connection of one side is there.
    pub(super) fn connected(&mut self, side: Side) {
        self.leg(side).connected = true;
    }

    /// Whether the connection of one side has been there.
    pub(super) fn has_connected(&self, side: Side) -> bool {
        let [caller, callee] = &self.legs;
        match side {
            Side::Caller => caller.connected,
            Side::Callee => callee.connected,
        }
    }

    /// Whether anything was ever agreed on.
    pub(super) fn carries_tracks(&self) -> bool {
        [Side::Caller, Side::Callee].iter().any(|&side| !self.bridge.tracks(side).is_empty())
    }

    /// Has the media of one leg be what was agreed on.
    pub(super) fn configure(&mut self, side: Side, step: &mut Step<'_>) {
        let (room, plan) = (self.room, Box::new(self.bridge.plan(side)));
        let leg = self.leg(side);
        let peer = leg.peer;
        let command = match std::mem::replace(&mut leg.set_up, true) {
            true => Command::Configure { peer, plan },
            false => Command::Connect { room, peer, plan },
        };
        step.media(room, command);
    }

    /// Shows each what the other sends.
    pub(super) fn connect(&mut self, step: &mut Step<'_>) {
        for side in [Side::Caller, Side::Callee] {
            let (room, shows) = (self.room, self.bridge.shows(side));
            let leg = self.leg(side);
            let peer = leg.peer;
            let before = std::mem::replace(&mut leg.shows, shows.clone());
            for (mid, track) in shows.into_iter().filter(|show| !before.contains(show)) {
                step.media(room, Command::Show { peer, mid, track });
            }
            let (place, by, parts) = (self.place.clone(), self.publisher(side), self.parts(side));
            step.push(Effect::Record(Record::Sends { place, room, by, parts }));
        }
    }

    fn publisher(&self, side: Side) -> Publisher {
        let [caller, callee] = self.people;
        let user = if side == Side::Caller { caller } else { callee };
        Publisher { who: user.to_string(), user, name: None }
    }

    /// What one side sends; of several pictures the later ones are taken to show a screen.
    fn parts(&self, side: Side) -> Vec<Part> {
        let mut pictures = 0;
        let tracks = self.bridge.tracks(side).into_iter();
        tracks
            .map(|(key, codec, _)| {
                let screen = codec != Codec::Opus && pictures > 0;
                pictures += usize::from(codec != Codec::Opus);
                Part { key, codec, screen }
            })
            .collect()
    }

    /// One side comes with another connection.
    pub(super) fn renew(&mut self, side: Side, step: &mut Step<'_>) {
        self.bridge.renew(side);
        self.forget(side, step);
    }

    /// The worker forgets a connection; what was agreed on is set up anew the next time.
    pub(super) fn forget(&mut self, side: Side, step: &mut Step<'_>) {
        let (fresh, room) = (Leg::new(step.keys), self.room);
        let Leg { peer, set_up, .. } = std::mem::replace(self.leg(side), fresh);
        if set_up {
            step.media(room, Command::Close { peer });
        }
    }
}
