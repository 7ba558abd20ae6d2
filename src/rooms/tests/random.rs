//! Rooms under random commands, in virtual time. Each client is modelled by nothing but its join and its events: what it believes has to
//! be what is so. What the room wants done outside is checked by [`super::house::House`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use switchboard_media::{Codec, Description, Event as Media, Format, Gone};

use super::super::follow::Notice;
use super::super::join::Join;
use super::super::leave::Leave;
use super::super::mute::Mute;
use super::super::publish::{Publish, Unsent};
use super::super::say::SendData;
use super::super::subscribe::{Answered, RestartIce, Subscribe};
use super::super::unpublish::Unpublish;
use super::super::{Grant, JoinRequest, Joined, Moderation, Resume, RoomError, Side};
use super::house::{House, Person, Section, camera, description, microphone, taken};
use crate::event::room::{LeaveReason, Participant};
use crate::ids::UserId;
use crate::store::TokenHash;
use crate::testing::dice::Dice;

const ROOMS: u64 = 200;
const COMMANDS: usize = 70;

/// Tracks by id: the owner, and whether it is muted.
type Tracks = BTreeMap<String, (String, bool)>;

/// A client, as it knows its room.
struct Client<'a> {
    person: Person<'a>,
    connected: bool,
    gone: bool,
    read: usize,
    seq: u64,
    people: BTreeMap<String, Value>,
    tracks: Tracks,
    offer: Option<(u64, String)>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl<'a> Client<'a> {
    fn new(person: Person<'a>) -> Self {
        let read = person.events().len();
        let seq = person.joined.seq;
        let mut client = Self {
            person,
            connected: true,
            gone: false,
            read,
            seq,
            people: BTreeMap::new(),
            tracks: BTreeMap::new(),
            offer: None,
        };
        // What came before the join was answered has its place before it.
        let before = client.person.events().into_iter().filter(|(name, _)| *name == "room:offer");
        client.offer = before.map(|(_, it)| offer(&it)).next_back();
        client.learn();
        client
    }

    /// Begins with what a join says.
    fn learn(&mut self) {
        let Joined { own, others, .. } = &self.person.joined;
        let all: Vec<Participant> = others.iter().chain([own]).cloned().collect();
        self.replace(&json!(all));
    }

    fn replace(&mut self, people: &Value) {
        self.people.clear();
        self.tracks.clear();
        people.as_array().unwrap().iter().for_each(|person| self.meet(person));
    }

    fn id(&self) -> String {
        self.person.joined.own.participant_id.to_string()
    }

    fn meet(&mut self, person: &Value) {
        self.people.insert(text(&person["participantId"]), person.clone());
        person["tracks"].as_array().unwrap().iter().for_each(|track| self.note_track(track));
    }

    fn note_track(&mut self, track: &Value) {
        let known = (text(&track["participantId"]), track["muted"].as_bool().unwrap());
        self.tracks.insert(text(&track["trackId"]), known);
    }

    /// Reads what has come since.
    fn read(&mut self) {
        for (name, event) in self.person.events_from(self.read) {
            self.read += 1;
            let seq = event["seq"].as_u64().unwrap();
            assert!(seq == self.seq + 1 || name == "room:state", "{name} {seq} after {}", self.seq);
            self.seq = seq;
            self.take(name, &event);
        }
    }

    fn take(&mut self, name: &str, event: &Value) {
        let of = |field: &str| text(&event[field]);
        match name {
            "room:joined" => {
                assert!(!self.people.contains_key(&of_person(event)), "joined twice");
                self.meet(&event["participant"]);
            }
            "room:participant-updated" => {
                let person = &event["participant"];
                let own: Vec<_> = person["tracks"].as_array().unwrap().clone();
                if of_person(event) != self.id() {
                    let known = self.tracks.values().filter(|it| it.0 == of_person(event)).count();
                    assert_eq!(own.len(), known);
                }
                self.people.insert(of_person(event), person.clone());
            }
            "room:left" => {
                let who = of("participantId");
                if who == self.id() {
                    self.gone = true;
                    return;
                }
                assert!(self.people.remove(&who).is_some(), "left without having been there");
                assert!(self.tracks.values().all(|it| it.0 != who), "its tracks are gone first");
            }
            "room:track-published" => self.note_track(&event["track"]),
            "room:track-unpublished" => {
                assert!(self.tracks.remove(&of("trackId")).is_some(), "unpublished twice");
            }
            "room:track-muted" => {
                if let Some(track) = self.tracks.get_mut(&of("trackId")) {
                    track.1 = event["muted"].as_bool().unwrap();
                }
            }
            "room:state" => self.replace(&event["participants"]),
            "room:offer" => self.offer = Some(offer(event)),
            "room:closed" => self.gone = true,
            _ => {}
        }
    }

    /// Everybody else's tracks, as this client believes.
    fn others(&self) -> Tracks {
        let own = self.id();
        self.tracks.clone().into_iter().filter(|(_, track)| track.0 != own).collect()
    }
}

fn of_person(event: &Value) -> String {
    text(&event["participant"]["participantId"])
}

fn offer(event: &Value) -> (u64, String) {
    (event["rev"].as_u64().unwrap(), text(&event["offer"]["sdp"]))
}

/// A room with its clients.
struct Play<'a> {
    house: &'a House,
    dice: Dice,
    clients: Vec<Client<'a>>,
    users: i64,
}

impl Play<'_> {
    /// The connected client that the dice choose.
    fn one(&mut self) -> Option<usize> {
        let there: Vec<_> = (0..self.clients.len())
            .filter(|&at| self.clients[at].connected && !self.clients[at].gone)
            .collect();
        if there.is_empty() { None } else { Some(there[self.dice.roll(there.len())]) }
    }

    fn sections(&mut self) -> [Section; 2] {
        let mut direction = |section: Section| match self.dice.roll(4) {
            0 => section.direction("inactive"),
            _ => section,
        };
        [direction(microphone("0")), direction(camera("1", &["VP8", "H264"]))]
    }

    /// Some come by a token, and have to leave when it ends.
    fn request(&mut self, way: usize) -> JoinRequest {
        let request = self.house.request(self.users);
        if way != 2 {
            return request;
        }
        let text = format!("token {}", self.users);
        let seconds = u64::try_from(1 + self.dice.roll(40)).unwrap();
        let until = self.house.now().after(Duration::from_secs(seconds));
        self.house.token(&text, |token| token.until = until);
        JoinRequest { token: Some(text), ..request }
    }

    fn enter(&mut self) {
        self.users += 1;
        match self.dice.roll(8) {
            0 => drop(self.house.by_http(self.users, Side::Publish, &[camera("0", &["VP8"])])),
            1 => {
                let sections = [camera("0", &["VP8"]).direction("recvonly")];
                drop(self.house.by_http(self.users, Side::View(None), &sections));
            }
            way => match self.house.join_only(self.request(way)) {
                Ok(person) => self.clients.push(Client::new(person)),
                Err(RoomError::Lobby | RoomError::Locked | RoomError::Full(_)) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }

    fn resume(&mut self) {
        let lost = self.clients.iter().position(|it| !it.connected && !it.gone);
        let Some(at) = lost else { return };
        let fresh = self.dice.coin();
        let client = &mut self.clients[at];
        let resume = Resume {
            session: client.person.joined.session,
            secret: client.person.joined.secret.clone(),
            last: client.seq,
            fresh,
        };
        let user = client.person.user.value();
        let request = JoinRequest { resume: Some(resume), ..self.house.request(user) };
        let socket = request.socket;
        match self.house.ask_only(Join(request, Ok(None))) {
            Ok(_) => {
                client.person.socket = socket;
                client.connected = true;
                client.offer = client.offer.take().filter(|_| !fresh);
            }
            Err(RoomError::Resume) => client.gone = true,
            Err(error) => panic!("{error}"),
        }
    }

    fn answer(&mut self, at: usize) {
        self.clients[at].read();
        let Some((rev, offer)) = self.clients[at].offer.take() else { return };
        let answer = description(&taken(&offer, "H264"));
        let answer = Description::parse(&answer, usize::MAX).unwrap();
        let by = self.clients[at].person.caller();
        match self.house.ask_only(Answered { by, rev, answer }) {
            // An offer of a connection that is gone meanwhile.
            Ok(()) | Err(RoomError::Stale { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn publish(&mut self, at: usize) {
        let (sections, unsent) = (self.sections(), self.dice.coin());
        let offer = Description::parse(&description(&sections), 64).unwrap();
        let unsent = if unsent { Unsent::Held } else { Unsent::Ended };
        let by = self.clients[at].person.caller();
        let _ = self.house.ask_only(Publish { by, offer, specs: Vec::new(), unsent });
    }

    fn moderate(&mut self, at: usize) {
        let who = self.clients[at].person.joined.own.participant_id;
        if self.dice.roll(4) == 0 {
            return self.end(at);
        }
        let what = match self.dice.roll(7) {
            0 => Moderation::Kick { who, reason: None, ban: self.dice.coin() },
            1 => Moderation::Mute(who, None),
            2 | 3 => Moderation::Permit(
                who,
                Grant {
                    can_publish: Some(self.dice.coin()),
                    can_subscribe: Some(self.dice.coin()),
                    ..Grant::default()
                },
            ),
            4 => Moderation::Lock(self.dice.coin()),
            _ => Moderation::Spotlight(Some(who)),
        };
        let kicked = matches!(what, Moderation::Kick { .. });
        self.house.moderate(what).unwrap();
        self.clients[at].gone |= kicked;
    }

    /// What a client came by ends, its role changes, or neither is about it.
    fn end(&mut self, at: usize) {
        let user = self.clients[at].person.user;
        let notice = match self.dice.roll(4) {
            0 => Notice::EndUser(user, LeaveReason::Revoked),
            1 => Notice::EndUser(UserId::guest(1), LeaveReason::Revoked),
            2 => Notice::EndToken(TokenHash::of("another")),
            _ => Notice::Role(user, self.dice.coin()),
        };
        self.clients[at].gone |= matches!(notice, Notice::EndUser(ended, _) if ended == user);
        self.house.note_only(notice);
    }

    /// The SFU reports something of a peer or a track.
    fn media(&mut self) {
        let (peers, tracks) = self.house.media();
        let peer = (!peers.is_empty()).then(|| peers[self.dice.roll(peers.len())]);
        let track = (!tracks.is_empty()).then(|| tracks[self.dice.roll(tracks.len())]);
        let event = match (self.dice.roll(5), peer, track) {
            (0, Some(peer), _) => Media::Gone { peer, reason: Gone::Silent },
            (1, Some(peer), _) => Media::Connected { peer, after_ms: 100 },
            (2, _, Some(track)) => Media::Sent { track, layers: vec![self.dice.coin()] },
            (3, _, Some(track)) if self.house.is_video(track) => {
                let codec = if self.dice.coin() { Codec::Vp8 } else { Codec::H264 };
                Media::Coded { track, format: Format::from(codec) }
            }
            _ => return,
        };
        self.house.note_only(Notice::Media(event));
    }

    fn step(&mut self) {
        let kind = self.dice.roll(20);
        if kind < 3 {
            return self.enter();
        }
        match kind {
            3 => self.resume(),
            4 => self.house.pass(Duration::from_secs(u64::try_from(self.dice.roll(20)).unwrap())),
            5 | 6 => self.media(),
            _ => {}
        }
        let Some(at) = self.one() else { return };
        let by = self.clients[at].person.caller();
        let own: Vec<_> = self.house.tracks_of(&self.clients[at].person);
        match kind {
            7 => {
                self.house.ask_only(Leave(by)).unwrap();
                self.clients[at].gone = true;
            }
            8 => {
                self.clients[at].connected = false;
                self.clients[at].read();
                self.house.note_only(Notice::Lost(self.clients[at].person.socket));
            }
            9 => self.moderate(at),
            10 => {
                let (topic, payload) = ("chat".into(), json!("x".repeat(self.dice.roll(3000))));
                drop(self.house.ask_only(SendData { by, topic, payload, bytes: 0, to: None }));
            }
            11 => {
                let tracks = own.first().copied().into_iter().collect();
                drop(self.house.ask_only(Unpublish { by, tracks, offer: None }));
            }
            12 => {
                if let Some(&track) = own.last() {
                    let muted = self.dice.coin();
                    self.house.ask_only(Mute { by, track, muted }).unwrap();
                }
            }
            13 => {
                let (tracks, wanted) = (self.house.all_tracks(), self.dice.coin());
                drop(self.house.ask_only(Subscribe { by, tracks, wanted }));
            }
            14 => drop(self.house.ask_only(RestartIce { by, offer: None })),
            15..=17 => self.answer(at),
            18 | 19 => self.publish(at),
            _ => {}
        }
    }

    /// What every client believes is what is so.
    fn check(&mut self) {
        let (people, tracks) = self.house.truth();
        for client in &mut self.clients {
            if client.gone || !client.connected {
                continue;
            }
            client.read();
            if client.gone {
                continue;
            }
            let own = client.id();
            let known: Vec<_> = client.people.keys().cloned().collect();
            assert_eq!(known, people, "who is there");
            let others: Tracks =
                tracks.clone().into_iter().filter(|(_, track)| track.0 != own).collect();
            assert_eq!(client.others(), others, "what can be received");
        }
    }

    /// Everybody answers until nothing is offered any more.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.house.work();
            for at in 0..self.clients.len() {
                if self.clients[at].connected && !self.clients[at].gone {
                    self.answer(at);
                }
            }
        }
        self.house.work();
    }
}

#[test]
fn rooms_under_random_commands_are_what_their_clients_believe() {
    for seed in 1..=ROOMS {
        println!("seed {seed}");
        let bytes = if seed % 2 == 0 { 4_000 } else { 256 << 10 };
        let house =
            House::open_with(|rules| rules.replay_bytes = bytes, |opening| opening.most = 12);
        let dice = Dice::new(seed);
        let mut play = Play { house: &house, dice, clients: Vec::new(), users: 0 };
        for _ in 0..COMMANDS {
            if house.room().is_over() {
                break;
            }
            play.step();
            // Some of the work is done between the commands, and some waits.
            for _ in 0..play.dice.roll(3) {
                house.work_once();
            }
            play.check();
        }
        play.settle();
        play.check();
        house.check_receivers(Codec::H264);
        // Whoever is left is lost, and the room ends by itself.
        for client in play.clients.iter().filter(|it| it.connected && !it.gone) {
            house.note(Notice::Lost(client.person.socket));
        }
        house.drop_visitors();
        house.pass(Duration::from_secs(700));
        assert!(house.room().is_over(), "nothing ends it");
        house.check_over();
    }
}
