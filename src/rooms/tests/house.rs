//! A room with people in it, and descriptions as clients write them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use switchboard_media::negotiation::Endpoint;
use switchboard_media::{
    Codec, Command, Description, Event as Media, Kind, PeerKey, RoomKey, TrackKey,
};
use uuid::Uuid;

use super::super::command::Request;
use super::super::effect::{Effect, Name};
use super::super::follow::Notice;
use super::super::join::Join;
use super::super::machine::{Opening, Room, Rules};
use super::super::member::{Caller, Entry, Member};
use super::super::moderate::{By, Moderate};
use super::super::pace::Paces;
use super::super::publish::Publish;
use super::super::rule::{Context, Source};
use super::super::subscribe::Answered;
use super::super::token::IssueToken;
use super::super::track::Listed;
use super::super::whip::OfferByHttp;
use super::super::{
    Grant, JoinRequest, Joined, Moderation, Publishing, Resource, RoomError, Side, Unsent, Visitor,
};
use crate::clock::Timestamp;
use crate::config::Limits;
use crate::event::room::{Permissions, RoomEvent, Stamp, Track};
use crate::ids::{RoomSessionId, SessionId, TrackId, UserId};
use crate::store::{RoomTokenRecord, TokenHash};

/// A media section of a client's description.
#[derive(Clone)]
pub(super) struct Section {
    media: &'static str,
    mid: String,
    direction: &'static str,
    codecs: Vec<String>,
    rids: bool,
    port: u16,
}

pub(super) fn microphone(mid: &str) -> Section {
    section("audio", mid, &["opus"])
}

pub(super) fn camera(mid: &str, codecs: &[&str]) -> Section {
    section("video", mid, codecs)
}

/// A camera in three layers.
pub(super) fn layered(mid: &str, codecs: &[&str]) -> Section {
    Section { rids: true, ..camera(mid, codecs) }
}

fn section(media: &'static str, mid: &str, codecs: &[&str]) -> Section {
    let codecs = codecs.iter().map(|&codec| codec.to_owned()).collect();
    Section { media, mid: mid.to_owned(), direction: "sendonly", codecs, rids: false, port: 9 }
}

impl Section {
    pub(super) fn direction(self, direction: &'static str) -> Self {
        // A client names the layers only of what it sends.
        Self { direction, rids: self.rids && direction == "sendonly", ..self }
    }

    pub(super) fn rejected(self) -> Self {
        Self { port: 0, direction: "inactive", ..self }
    }
}

pub(super) fn description(sections: &[Section]) -> String {
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    let mids: String = sections.iter().map(|section| format!(" {}", section.mid)).collect();
    let _ = write!(text, "a=group:BUNDLE{mids}\r\n");
    for Section { media, mid, direction, codecs, rids, port } in sections {
        let numbered = || codecs.iter().map(|codec| (number(codec), codec));
        let formats: String = numbered().map(|(number, _)| format!(" {number}")).collect();
        let _ = write!(text, "m={media} {port} UDP/TLS/RTP/SAVPF{formats}\r\nc=IN IP4 0.0.0.0\r\n");
        let _ = write!(text, "a=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\na=setup:actpass\r\n");
        let _ = write!(text, "a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\n");
        let _ = write!(text, "a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"));
        for (number, codec) in numbered() {
            let clock = if codec == "opus" { "48000/2" } else { "90000" };
            let _ = write!(text, "a=rtpmap:{number} {codec}/{clock}\r\n");
            if codec == "H264" {
                let variant = "packetization-mode=1;profile-level-id=42e01f";
                let _ = write!(text, "a=fmtp:{number} {variant}\r\n");
            }
            let _ = write!(text, "a=rtcp-fb:{number} nack pli\r\n");
        }
        if *rids {
            text += "a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n";
        }
    }
    text
}

fn number(codec: &str) -> u8 {
    match codec {
        "opus" => 111,
        "VP8" => 96,
        "VP9" => 98,
        "H264" => 102,
        _ => 120,
    }
}

/// Names in the order in which they are asked for.
#[derive(Default)]
pub(super) struct Counting(u64);

impl Counting {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Source for Counting {
    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.next().into())
    }

    fn secret(&mut self) -> String {
        format!("{:032}", self.next())
    }

    fn peer(&mut self) -> PeerKey {
        PeerKey(self.next())
    }

    fn track(&mut self) -> TrackKey {
        TrackKey(self.next())
    }
}

pub(super) fn rules() -> Rules {
    let endpoint = Endpoint {
        fingerprint: [7; 32],
        udp: vec!["127.0.0.1:4000".parse().unwrap()],
        tcp: vec!["127.0.0.1:4000".parse().unwrap()],
    };
    Rules {
        endpoint,
        max_viewers: 1000,
        tracks_per_participant: 6,
        replay_bytes: 256 << 10,
        room_replay_bytes: 1 << 20,
        paces: Paces::new(&Limits { rate_limits: false, ..Limits::default() }),
    }
}

pub(super) fn opening(at: Timestamp) -> Opening {
    Opening {
        id: "house".parse().unwrap(),
        place: None,
        key: RoomKey(1),
        at,
        owner: None,
        invited: None,
        name: None,
        expires_at: None,
        lobby: false,
        most: 100,
        codecs: vec![Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1],
        tokens: Vec::new(),
    }
}

/// An event that a session was sent, with its place.
type Notified = (u64, Arc<RoomEvent>);

/// An account that comes by HTTP.
pub(super) fn visitor(user: i64) -> Visitor {
    let user = UserId::new(user).unwrap();
    Visitor { user, name: "by HTTP".into(), operator: false, token: None, until: None }
}

/// One room, without a task: what it wants done outside is noted.
pub(super) struct House {
    room: RefCell<Room>,
    source: RefCell<Counting>,
    now: Cell<Timestamp>,
    notified: RefCell<HashMap<RoomSessionId, Vec<Notified>>>,
    commands: RefCell<Vec<Command>>,
    outside: RefCell<Outside>,
}

/// What the room has made outside it.
#[derive(Default)]
struct Outside {
    stays: HashMap<RoomSessionId, Option<SessionId>>,
    names: HashSet<Name>,
    peers: HashSet<PeerKey>,
    over: bool,
}

impl Outside {
    /// What is undone was done before, nothing is done twice, and nothing after the end.
    fn check(&mut self, effect: &Effect) {
        assert!(!self.over, "{effect:?} after the end");
        match effect {
            Effect::Enter(session, stay) => {
                assert!(self.stays.insert(*session, stay.socket).is_none());
            }
            Effect::Leave(session) => assert!(self.stays.remove(session).is_some()),
            Effect::Attach(session, socket) => {
                *self.stays.get_mut(session).expect("a session") = *socket;
            }
            Effect::Register(name) => assert!(self.names.insert(*name), "{name:?} twice"),
            Effect::Forget(name) => assert!(self.names.remove(name), "{name:?} is nothing"),
            Effect::Notify { session, .. } => assert!(self.stays[session].is_some()),
            Effect::Media(Command::Connect { peer, .. }) => {
                assert!(self.names.contains(&Name::Peer(*peer)));
                assert!(self.peers.insert(*peer), "{peer:?} is set up twice");
            }
            Effect::Media(
                Command::Configure { peer, .. }
                | Command::Show { peer, .. }
                | Command::Prefer { peer, .. },
            ) => assert!(self.peers.contains(peer), "{effect:?} for a peer that is not there"),
            Effect::Media(Command::Close { peer }) => drop(self.peers.remove(peer)),
            Effect::End => {
                let left = self.stays.len() + self.names.len() + self.peers.len();
                assert_eq!(left, 0, "something is left behind");
                self.over = true;
            }
            _ => {}
        }
    }
}

impl House {
    pub(super) fn new() -> Self {
        Self::open(|_| {})
    }

    /// A room that begins otherwise.
    pub(super) fn open(change: impl FnOnce(&mut Opening)) -> Self {
        Self::open_with(|_| {}, change)
    }

    /// The same under other rules.
    pub(super) fn open_with(
        rule: impl FnOnce(&mut Rules),
        change: impl FnOnce(&mut Opening),
    ) -> Self {
        let mut rules = rules();
        rule(&mut rules);
        let now = Timestamp(1_700_000_000_000);
        let mut opening = opening(now);
        change(&mut opening);
        Self {
            room: RefCell::new(Room::new(opening, Arc::new(rules))),
            source: RefCell::default(),
            now: Cell::new(now),
            notified: RefCell::default(),
            commands: RefCell::default(),
            outside: RefCell::default(),
        }
    }

    pub(super) fn room(&self) -> RefMut<'_, Room> {
        self.room.borrow_mut()
    }

    /// Asks the room, and leaves the work that this makes.
    pub(super) fn ask_only<R: Request>(&self, request: R) -> Result<R::Reply, RoomError> {
        let mut source = self.source.borrow_mut();
        let mut with = Context { now: self.now.get(), source: &mut *source };
        let outcome = self.room().handle(request.command(), &mut with);
        self.carry_out();
        Ok(R::reply(outcome?).unwrap())
    }

    /// Asks the room, and has everybody brought up to date.
    pub(super) fn ask<R: Request>(&self, request: R) -> Result<R::Reply, RoomError> {
        let outcome = self.ask_only(request);
        self.work();
        outcome
    }

    /// Has everybody brought up to date; gives how many steps that took.
    pub(super) fn work(&self) -> usize {
        let mut steps = 0;
        while self.room().has_work() {
            self.work_once();
            steps += 1;
        }
        steps
    }

    /// Has one member brought up to date.
    pub(super) fn work_once(&self) {
        let mut source = self.source.borrow_mut();
        let mut with = Context { now: self.now.get(), source: &mut *source };
        self.room().work(&mut with);
        self.carry_out();
    }

    fn carry_out(&self) {
        let effects = self.room().take_effects();
        for effect in effects {
            self.outside.borrow_mut().check(&effect);
            match effect {
                Effect::Notify { session, seq, event } => {
                    self.notified.borrow_mut().entry(session).or_default().push((seq, event));
                }
                Effect::Media(command) => self.commands.borrow_mut().push(command),
                _ => {}
            }
        }
    }

    /// What the SFU was to do since this was asked last.
    pub(super) fn commands(&self) -> Vec<Command> {
        self.commands.take()
    }

    pub(super) fn request(&self, user: i64) -> JoinRequest {
        JoinRequest {
            user: UserId::new(user).unwrap(),
            operator: false,
            socket: SessionId::new(self.source.borrow_mut().id()),
            name: format!("user {user}"),
            token: None,
            until: None,
            auto_subscribe: true,
            metadata: None,
            resume: None,
        }
    }

    /// Gives out a token.
    pub(super) fn token(&self, text: &str, change: impl FnOnce(&mut RoomTokenRecord)) -> TokenHash {
        let mut token = RoomTokenRecord {
            hash: TokenHash::of(text),
            room: self.room().id.clone(),
            user: None,
            name: None,
            permissions: Permissions::default(),
            moderator: false,
            until: self.now.get().after(Duration::from_secs(3600)),
            not_before: None,
            max_uses: None,
            used_by: Vec::new(),
        };
        change(&mut token);
        let hash = token.hash;
        self.ask(IssueToken { me: None, token }).unwrap();
        hash
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now.get()
    }

    pub(super) fn enter(&self, user: i64) -> Person<'_> {
        self.join(self.request(user)).unwrap()
    }

    pub(super) fn join(&self, request: JoinRequest) -> Result<Person<'_>, RoomError> {
        let person = self.join_only(request);
        self.work();
        person
    }

    /// The same, and leaves the work that this makes.
    pub(super) fn join_only(&self, request: JoinRequest) -> Result<Person<'_>, RoomError> {
        let (user, socket) = (request.user, request.socket);
        let joined = self.ask_only(Join(request, Ok(None)))?;
        Ok(Person { house: self, user, socket, joined, answered: Cell::new(0) })
    }

    pub(super) fn by_http(
        &self,
        user: i64,
        side: Side,
        sections: &[Section],
    ) -> Result<Resource, RoomError> {
        self.text_by_http(user, side, &description(sections))
    }

    pub(super) fn text_by_http(
        &self,
        user: i64,
        side: Side,
        text: &str,
    ) -> Result<Resource, RoomError> {
        self.visits(visitor(user), side, text)
    }

    pub(super) fn visits(
        &self,
        visitor: Visitor,
        side: Side,
        text: &str,
    ) -> Result<Resource, RoomError> {
        let offer = Description::parse(text, 256)?;
        self.ask(OfferByHttp { visitor, place: Ok(None), side, offer })
    }

    pub(super) fn moderate(&self, what: Moderation) -> Result<(), RoomError> {
        self.ask(Moderate { by: By::Outside(None), what }).map(drop)
    }

    pub(super) fn permit(&self, who: &Person<'_>, permissions: Permissions) {
        let who = who.joined.own.participant_id;
        self.moderate(Moderation::Permit(who, Grant::all(permissions, None))).unwrap();
    }

    pub(super) fn tracks(&self, who: &Person<'_>) -> Vec<Track> {
        self.room().member(who.joined.own.participant_id).unwrap().shown().tracks
    }

    pub(super) fn key(&self, track: TrackId) -> TrackKey {
        self.room().tracks[&track].key
    }

    /// The track that was published last.
    pub(super) fn newest(&self) -> TrackId {
        *self.room().tracks.keys().max().unwrap()
    }

    /// Media flows on the connection by which a session receives.
    pub(super) fn connect(&self, session: RoomSessionId) {
        let peer = {
            let room = self.room();
            let member = room.members.iter().find(|member| member.session == session).unwrap();
            member.subscribe.as_ref().unwrap().peer
        };
        self.event(Media::Connected { peer, after_ms: 100 });
    }

    /// What the sections of a session show.
    pub(super) fn shown_to(&self, session: RoomSessionId) -> Vec<TrackId> {
        let room = self.room();
        let member = room.members.iter().find(|member| member.session == session).unwrap();
        member.subscribe.as_ref().unwrap().shows.iter().map(|(_, track)| track).collect()
    }

    pub(super) fn note(&self, notice: Notice) {
        self.note_only(notice);
        self.work();
    }

    /// The same, and leaves the work that this makes.
    pub(super) fn note_only(&self, notice: Notice) {
        self.room().note(notice, self.now.get());
        self.carry_out();
    }

    /// Peers that the SFU knows, and tracks.
    pub(super) fn media(&self) -> (Vec<PeerKey>, Vec<TrackKey>) {
        let peers: BTreeSet<_> = self.outside.borrow().peers.iter().copied().collect();
        let tracks = self.room().tracks.values().map(|track| track.key).collect();
        (peers.into_iter().collect(), tracks)
    }

    pub(super) fn is_video(&self, key: TrackKey) -> bool {
        let room = self.room();
        room.tracks.values().any(|it| it.key == key && it.format.codec.kind() == Kind::Video)
    }

    pub(super) fn tracks_of(&self, who: &Person<'_>) -> Vec<TrackId> {
        let mut room = self.room();
        let member = room.member(who.joined.own.participant_id);
        member
            .map(|member| member.tracks.iter().map(|track| track.id).collect())
            .unwrap_or_default()
    }

    pub(super) fn all_tracks(&self) -> Vec<TrackId> {
        self.room().tracks.keys().copied().collect()
    }

    /// Who takes part, and each track with its owner and whether it is muted.
    pub(super) fn truth(&self) -> (Vec<String>, BTreeMap<String, (String, bool)>) {
        let room = self.room();
        let people: BTreeSet<_> = room.participants().map(|it| it.id.to_string()).collect();
        let tracks = room.participants().flat_map(|member| {
            let owner = member.id.to_string();
            member.tracks.iter().map(move |it| (it.id.to_string(), (owner.clone(), it.silent())))
        });
        (people.into_iter().collect(), tracks.collect())
    }

    /// Whoever is connected is shown all that it wants, except what is coded with `codec`.
    pub(super) fn check_receivers(&self, codec: Codec) {
        let room = self.room();
        let there = |member: &&Member| matches!(member.entry, Entry::Socket(Some(_)));
        for member in room.members.iter().filter(there) {
            let wants = |it: &&Listed| {
                it.owner != member.id
                    && member.permissions.can_subscribe
                    && member.wants(it.id)
                    && it.format.codec != codec
            };
            let wanted: BTreeSet<_> = room.tracks.values().filter(wants).map(|it| it.id).collect();
            let shows = member.subscribe.iter().flat_map(|connection| connection.shows.iter());
            assert_eq!(shows.map(|(_, track)| track).collect::<BTreeSet<_>>(), wanted);
        }
    }

    /// The connections of those who came by HTTP end.
    pub(super) fn drop_visitors(&self) {
        let by_http = |member: &&Member| !matches!(member.entry, Entry::Socket(_));
        let peers: Vec<_> = {
            let room = self.room();
            let visitors = room.members.iter().filter(by_http);
            visitors.flat_map(|member| member.connections().map(|it| it.peer)).collect()
        };
        for peer in peers {
            self.event(Media::Gone { peer, reason: switchboard_media::Gone::Silent });
        }
    }

    pub(super) fn check_over(&self) {
        assert!(self.outside.borrow().over);
    }

    pub(super) fn event(&self, event: Media) {
        self.note(Notice::Media(event));
    }

    /// Something of a track arrives from now on, or nothing any more.
    pub(super) fn sends(&self, track: TrackId, sends: bool) {
        self.event(Media::Sent { track: self.key(track), layers: vec![sends] });
    }

    /// Time passes, and what is due happens when it is.
    pub(super) fn pass(&self, time: Duration) {
        let end = self.now.get().after(time);
        loop {
            let due = self.room().deadline();
            let over = self.room().is_over();
            let Some(due) = due.filter(|due| *due <= end && !over) else { break };
            self.now.set(due.max(self.now.get()));
            self.room().expire(self.now.get());
            self.carry_out();
            self.work();
        }
        self.now.set(end);
    }

    /// How often it was decided about a track for a member since this was asked last.
    pub(super) fn decided(&self) -> usize {
        std::mem::take(&mut self.room().decided)
    }

    /// How often an event was encoded for several since this was asked last.
    pub(super) fn encoded(&self) -> usize {
        std::mem::take(&mut self.room().encoded)
    }
}

/// Somebody who came by Socket.IO.
pub(super) struct Person<'a> {
    house: &'a House,
    pub(super) user: UserId,
    pub(super) socket: SessionId,
    pub(super) joined: Joined,
    answered: Cell<u64>,
}

impl Person<'_> {
    pub(super) fn caller(&self) -> Caller {
        Caller { user: self.user, session: self.joined.session }
    }

    pub(super) fn publish(&self, sections: &[Section]) -> Result<Publishing, RoomError> {
        self.publish_text(&description(sections))
    }

    pub(super) fn publish_text(&self, text: &str) -> Result<Publishing, RoomError> {
        self.offer(text, Unsent::Held)
    }

    fn offer(&self, text: &str, unsent: Unsent) -> Result<Publishing, RoomError> {
        let offer = Description::parse(text, 64)?;
        self.house.ask(Publish { by: self.caller(), offer, specs: Vec::new(), unsent })
    }

    pub(super) fn unpublish(&self, sections: &[Section]) -> Result<Publishing, RoomError> {
        self.offer(&description(sections), Unsent::Ended)
    }

    /// Takes whatever is offered, until nothing is offered any more.
    pub(super) fn answer(&self) {
        self.answer_without("nothing");
    }

    /// The same, without one codec.
    pub(super) fn answer_without(&self, codec: &str) {
        while let Some((rev, offer)) = self.last_offer().filter(|it| it.0 > self.answered.get()) {
            let answer = description(&taken(&offer, codec));
            let answer = Description::parse(&answer, usize::MAX).unwrap();
            self.house.ask(Answered { by: self.caller(), rev, answer }).unwrap();
            self.answered.set(rev);
        }
    }

    fn last_offer(&self) -> Option<(u64, String)> {
        let mut offers = self.events().into_iter().filter(|(name, _)| *name == "room:offer");
        let (_, offer) = offers.next_back()?;
        let sdp = offer["offer"]["sdp"].as_str().unwrap().to_owned();
        Some((offer["rev"].as_u64().unwrap(), sdp))
    }

    /// The frames that it was sent, shared with whoever got the same.
    pub(super) fn frames(&self) -> Vec<Arc<RoomEvent>> {
        let notified = self.house.notified.borrow();
        let events = notified.get(&self.joined.session).into_iter().flatten();
        events.map(|(_, event)| Arc::clone(event)).collect()
    }

    pub(super) fn events(&self) -> Vec<(&'static str, Value)> {
        self.events_from(0)
    }

    /// What it was notified of, without the first ones.
    pub(super) fn events_from(&self, first: usize) -> Vec<(&'static str, Value)> {
        let notified = self.house.notified.borrow();
        let events = notified.get(&self.joined.session).into_iter().flatten().skip(first);
        let session_id = self.joined.session;
        let decoded = |seq, event: &RoomEvent| {
            serde_json::from_str(event.stamped(Stamp { seq, session_id }).get()).unwrap()
        };
        events.map(|(seq, event)| (event.name, decoded(*seq, event))).collect()
    }

    /// The names of all that it was notified of.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.names().into_iter().filter(|it| *it == name).count()
    }

    pub(super) fn reasons(&self, name: &str) -> Vec<String> {
        let events = self.events().into_iter().filter(|(it, _)| *it == name);
        events.map(|(_, event)| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// Each offer's number, and how many tracks it shows.
    pub(super) fn offers(&self) -> Vec<(u64, usize)> {
        let offers = self.events().into_iter().filter(|(name, _)| *name == "room:offer");
        let shown = |offer: &Value| offer["tracks"].as_array().unwrap().len();
        offers.map(|(_, offer)| (offer["rev"].as_u64().unwrap(), shown(&offer))).collect()
    }
}

/// The sections of an answer to an offer of the server.
pub(super) fn taken(offer: &str, without: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in offer.lines() {
        let said = |name: &str| line.strip_prefix(name).map(str::to_owned);
        if let Some(media) = said("m=") {
            let media = if media.starts_with("audio") { "audio" } else { "video" };
            sections.push(section(media, "", &[]).direction("inactive"));
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(mid) = said("a=mid:") {
            section.mid = mid;
        } else if line == "a=sendonly" {
            section.direction = "recvonly";
        } else if let Some(codec) = said("a=rtpmap:") {
            let name = codec.split([' ', '/']).nth(1).unwrap_or_default();
            if ["opus", "VP8", "VP9", "H264"].contains(&name) && name != without {
                section.codecs.push(name.to_owned());
            }
        }
    }
    sections
}
