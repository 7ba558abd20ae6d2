//! A room with people in it, and descriptions as clients write them.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use switchboard_media::{Event as Media, TrackKey};

use super::super::{
    Draft, Joined, Joining, Moderation, Publishing, Resource, RoomError, Rooms, Side, Unsent,
    Visitor,
};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::delivery::{Delivery, QueueBounds};
use crate::event::room::{Permissions, Track};
use crate::ids::{RoomId, RoomSessionId, SessionId, TrackId, UserId};
use crate::incall::InCall;
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::Sfu;

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

/// One room.
pub(super) struct House {
    pub(super) rooms: Rooms,
    clock: Clock,
    room: RoomId,
    sfu: Arc<Sfu>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.sfu.server().stop();
    }
}

impl House {
    pub(super) fn new() -> Self {
        let mut config = Config::default();
        config.media.host = [127, 0, 0, 1].into();
        (config.media.udp_port, config.media.tcp_port, config.media.workers) = (0, 0, 1);
        let (sfu, _) = Sfu::start(&config.media, None).unwrap();
        let sfu = Arc::new(sfu);
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let (recorder, _) = Recorder::new(&config.recordings, clock.clone(), &sfu);
        let bounds = QueueBounds { entries: 10, bytes: 10_000, time: Duration::from_secs(1) };
        let delivery = Arc::new(Delivery::new(clock.clone(), bounds).0);
        let (in_call, _) = InCall::new();
        let relay = Arc::new(Relay::start(&config.turn).unwrap());
        let parts = (sfu.clone(), Arc::new(recorder), relay);
        let rooms = Rooms::new(&config, clock.clone(), parts, delivery, Arc::new(in_call));
        let room = rooms.open(None, &Draft::default()).unwrap().room_id;
        Self { rooms, clock, room, sfu }
    }

    pub(super) fn enter(&self, user: i64) -> Person<'_> {
        let joining = Joining {
            user: UserId::new(user).unwrap(),
            operator: false,
            socket: SessionId::new(self.clock.id()),
            name: format!("user {user}"),
            token: None,
            auto_subscribe: true,
            metadata: None,
            resume: None,
        };
        let joined = self.rooms.join(&self.room, &joining).unwrap();
        Person { house: self, user: joining.user, joined, answered: Cell::new(0) }
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
        let user = UserId::new(user).unwrap();
        let visitor = Visitor { user, name: "by HTTP".into(), operator: false, token: None };
        self.rooms.offer_by_http(&self.room, visitor, side, text)
    }

    pub(super) fn permit(&self, who: &Person<'_>, permissions: Permissions) {
        let who = who.joined.own.participant_id;
        let what = Moderation::Permit(who, permissions, None);
        self.rooms.moderate_from_outside(&self.room, None, what).unwrap();
    }

    pub(super) fn tracks(&self, who: &Person<'_>) -> Vec<Track> {
        self.rooms.participant(&self.room, who.joined.own.participant_id).unwrap().tracks
    }

    pub(super) fn key(&self, track: TrackId) -> TrackKey {
        self.rooms.state().rooms[&self.room].offers[&track].key
    }

    /// The track that was published last.
    pub(super) fn newest(&self) -> TrackId {
        *self.rooms.state().rooms[&self.room].offers.keys().max().unwrap()
    }

    /// What the sections of a session show.
    pub(super) fn shown_to(&self, session: RoomSessionId) -> Vec<TrackId> {
        let mut state = self.rooms.state();
        let member = state.rooms.get_mut(&self.room).unwrap().by_session(session).unwrap();
        member.subscribe.as_ref().unwrap().shows.iter().map(|(_, track)| track).collect()
    }

    pub(super) fn event(&self, event: Media) {
        self.rooms.heard(event);
    }

    /// Something of a track arrives from now on, or nothing any more.
    pub(super) fn sends(&self, track: TrackId, sends: bool) {
        self.event(Media::Sent { track: self.key(track), layers: vec![sends] });
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.rooms.tidy();
    }

    /// How often it was decided about a track for a member since this was asked last.
    pub(super) fn decided(&self) -> usize {
        std::mem::take(&mut self.rooms.state().decided)
    }
}

/// Somebody who came by Socket.IO.
pub(super) struct Person<'a> {
    house: &'a House,
    user: UserId,
    joined: Joined,
    answered: Cell<u64>,
}

impl Person<'_> {
    pub(super) fn publish(&self, sections: &[Section]) -> Result<Publishing, RoomError> {
        self.publish_text(&description(sections))
    }

    pub(super) fn publish_text(&self, text: &str) -> Result<Publishing, RoomError> {
        self.house.rooms.publish(self.user, self.joined.session, text, &[], Unsent::Held)
    }

    pub(super) fn unpublish(&self, sections: &[Section]) -> Result<Publishing, RoomError> {
        let text = description(sections);
        self.house.rooms.publish(self.user, self.joined.session, &text, &[], Unsent::Ended)
    }

    /// Takes whatever is offered, until nothing is offered any more.
    pub(super) fn answer(&self) {
        self.answer_without("nothing");
    }

    /// The same, without one codec.
    pub(super) fn answer_without(&self, codec: &str) {
        while let Some((rev, offer)) = self.last_offer().filter(|it| it.0 > self.answered.get()) {
            let answer = description(&taken(&offer, codec));
            let rooms = &self.house.rooms;
            rooms.answered(self.user, self.joined.session, rev, &answer).unwrap();
            self.answered.set(rev);
        }
    }

    fn last_offer(&self) -> Option<(u64, String)> {
        let mut offers = self.events().into_iter().filter(|(name, _)| *name == "room:offer");
        let (_, offer) = offers.next_back()?;
        let sdp = offer["offer"]["sdp"].as_str().unwrap().to_owned();
        Some((offer["rev"].as_u64().unwrap(), sdp))
    }

    fn events(&self) -> Vec<(&'static str, Value)> {
        let mut state = self.house.rooms.state();
        let room = state.rooms.get_mut(&self.house.room).unwrap();
        let member = room.by_session(self.joined.session).unwrap();
        let decoded = |text: &str| serde_json::from_str(text).unwrap();
        member.notified().map(|event| (event.name(), decoded(event.encode().get()))).collect()
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
fn taken(offer: &str, without: &str) -> Vec<Section> {
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
