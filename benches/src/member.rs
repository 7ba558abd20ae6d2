//! A participant of a room: joins, publishes, and answers what the server offers.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Socket, ready};
use crate::description::{self, Codecs, Screen, Transport};

/// An acknowledgement: how long it took, and its text.
type Acknowledged = (Duration, String);

pub struct Member {
    shared: Arc<Shared>,
    publishing: Transport,
    /// The session of the room.
    session: Mutex<String>,
    /// Its name in the room.
    pub id: Mutex<String>,
}

struct Shared {
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    waiting: Mutex<HashMap<u64, (Instant, oneshot::Sender<Acknowledged>)>>,
    next: AtomicU64,
    viewing: Transport,
    codecs: Codecs,
    seen: Arc<Seen>,
}

/// What reached a participant.
#[derive(Default)]
pub struct Seen {
    agreed: Mutex<Agreed>,
    pub offers: AtomicUsize,
    pub data: AtomicUsize,
    /// Bytes of the newest offer, and of the answer to it.
    pub bytes: [AtomicUsize; 2],
    /// Reasons of refused answers and of sessions that the server ended, and how often each came.
    pub failures: Mutex<BTreeMap<String, usize>>,
    watched: Mutex<Option<(Watched, oneshot::Sender<Instant>)>>,
}

/// The newest offer of a session whose answer was acknowledged. Tasks note them, and one may be overtaken by that of a newer offer.
#[derive(Default)]
struct Agreed {
    session: String,
    rev: u64,
    tracks: usize,
}

/// Whose tracks to wait for, and how many.
#[derive(Clone)]
pub struct Watched {
    pub participant: String,
    pub tracks: usize,
}

impl Seen {
    /// Tracks of the newest offer whose answer was acknowledged.
    pub fn tracks(&self) -> usize {
        lock(&self.agreed).tracks
    }

    /// Something of a session is known; ids of sessions grow with time.
    fn agree(&self, session: &str, rev: u64, tracks: usize) {
        let mut agreed = lock(&self.agreed);
        if (agreed.session.as_str(), agreed.rev) < (session, rev) {
            *agreed = Agreed { session: session.to_owned(), rev, tracks };
        }
    }

    fn fail(&self, reason: &str) {
        *lock(&self.failures).entry(reason.to_owned()).or_default() += 1;
    }

    /// Resolves with the moment at which an offer arrives that has so many tracks of a participant.
    pub fn watch(&self, watched: Watched) -> oneshot::Receiver<Instant> {
        let (found, finding) = oneshot::channel();
        *lock(&self.watched) = Some((watched, found));
        finding
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer<'a> {
    #[serde(borrow)]
    session_id: &'a str,
    rev: u64,
    offer: Description,
    #[serde(borrow)]
    tracks: Vec<Track<'a>>,
}

#[derive(serde::Deserialize)]
struct Description {
    sdp: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Track<'a> {
    participant_id: &'a str,
}

impl Member {
    /// Connected and authenticated.
    pub async fn connect(address: &str, user: i64, codecs: Codecs) -> Self {
        let (sink, stream) = ready(address, user).await.split();
        let shared = Arc::new(Shared {
            sink: tokio::sync::Mutex::new(sink),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            viewing: Transport::fresh(),
            codecs,
            seen: Arc::default(),
        });
        tokio::spawn(read(shared.clone(), stream));
        Self {
            shared,
            publishing: Transport::fresh(),
            session: Mutex::default(),
            id: Mutex::default(),
        }
    }

    pub fn seen(&self) -> &Arc<Seen> {
        &self.shared.seen
    }

    /// Comes into a room; how long the acknowledgement took, and its bytes.
    pub async fn join(&self, room: &str) -> (Duration, usize) {
        let (took, text) = self.shared.ask("room:join", &json!({ "roomId": room })).await;
        let ack: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(ack["ok"], true, "{}", text.get(..300).unwrap_or(&text));
        let name = |value: &Value| value.as_str().expect("an id").to_owned();
        let session = name(&ack["sessionId"]);
        self.seen().agree(&session, 0, 0);
        *lock(&self.session) = session;
        *lock(&self.id) = name(&ack["self"]["participantId"]);
        (took, text.len())
    }

    pub async fn leave(&self) {
        self.act("room:leave", json!({})).await;
    }

    /// Publishes microphone and camera, and a screen where `screen` says so; how long the acknowledgement took.
    pub async fn publish(&self, screen: Screen) -> Duration {
        let encodings = [("q", 320, 180), ("h", 640, 360), ("f", 1280, 720)].map(|(rid, width, height)| {
            json!({ "rid": rid, "width": width, "height": height, "maxFps": 30 })
        });
        let tracks = json!([
            { "mid": "0", "source": "microphone" },
            { "mid": "1", "source": "camera", "encodings": encodings },
            { "mid": "2", "source": "screen" },
        ]);
        let sdp = description::offer(&self.publishing, screen);
        let event = if screen == Screen::Inactive { "room:unpublish" } else { "room:publish" };
        self.act(event, json!({ "offer": { "type": "offer", "sdp": sdp }, "tracks": tracks })).await
    }

    /// Sends data to everybody else; how long the acknowledgement took.
    pub async fn data(&self, payload: &str) -> Duration {
        self.act("room:data", json!({ "topic": "load", "payload": payload })).await
    }

    async fn act(&self, event: &str, mut payload: Value) -> Duration {
        payload["sessionId"] = lock(&self.session).clone().into();
        let (took, text) = self.shared.ask(event, &payload).await;
        assert!(text.contains("\"ok\":true"), "{event}: {}", text.get(..300).unwrap_or(&text));
        took
    }
}

impl Shared {
    async fn ask(&self, event: &str, payload: &Value) -> Acknowledged {
        let text = format!("[\"{event}\",{payload}]");
        self.ask_text(text).await.expect("an acknowledgement")
    }

    async fn ask_text(&self, text: String) -> Option<Acknowledged> {
        let (answer, answered) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(id, (Instant::now(), answer));
        self.sink.lock().await.send(Message::text(format!("42{id}{text}"))).await.ok()?;
        answered.await.ok()
    }

    /// Answers an offer; what the server says to the answer is noted.
    async fn answer(self: Arc<Self>, text: String) {
        let (_, offer): (&str, Offer<'_>) = serde_json::from_str(&text).expect("an offer");
        let seen = &self.seen;
        let watched = {
            let mut watched = lock(&seen.watched);
            let fits = watched.as_ref().is_some_and(|(watched, _)| {
                let whose = |track: &&Track<'_>| track.participant_id == watched.participant;
                offer.tracks.iter().filter(whose).count() == watched.tracks
            });
            if fits { watched.take() } else { None }
        };
        if let Some((_, found)) = watched {
            let _ = found.send(Instant::now());
        }
        let sdp = description::answer(&offer.offer.sdp, &self.viewing, self.codecs);
        seen.offers.fetch_add(1, Ordering::Relaxed);
        seen.bytes[0].store(offer.offer.sdp.len(), Ordering::Relaxed);
        seen.bytes[1].store(sdp.len(), Ordering::Relaxed);
        let payload = json!({ "sessionId": offer.session_id, "rev": offer.rev, "answer": { "type": "answer", "sdp": sdp } });
        let Some((_, ack)) = self.ask_text(format!("[\"room:answer\",{payload}]")).await else {
            return;
        };
        if ack.contains("\"ok\":true") {
            seen.agree(offer.session_id, offer.rev, offer.tracks.len());
            return;
        }
        let ack: Value = serde_json::from_str(&ack).unwrap_or_default();
        seen.fail(&format!("answer: {}", ack["reason"].as_str().unwrap_or("?")));
    }
}

async fn read(shared: Arc<Shared>, mut stream: SplitStream<Socket>) {
    while let Some(Ok(message)) = stream.next().await {
        let text = message.to_text().unwrap_or_default();
        if text == "2" {
            let _ = shared.sink.lock().await.send(Message::text("3")).await;
        } else if let Some(rest) = text.strip_prefix("43") {
            let digits = rest.find('[').unwrap_or(0);
            let id: u64 = rest[..digits].parse().unwrap_or(0);
            let Some((sent, answer)) = lock(&shared.waiting).remove(&id) else { continue };
            let took = sent.elapsed();
            let (ack,): (Box<RawValue>,) =
                serde_json::from_str(&rest[digits..]).expect("an acknowledgement");
            let _ = answer.send((took, ack.get().to_owned()));
        } else if let Some(rest) = text.strip_prefix("42") {
            if rest.starts_with("[\"room:offer\"") {
                // One after the other: an answer that is late is refused as that of an old revision.
                tokio::spawn(shared.clone().answer(rest.to_owned()));
            } else if rest.starts_with("[\"room:data\"") {
                shared.seen.data.fetch_add(1, Ordering::Relaxed);
            } else if rest.starts_with("[\"session:closed\"") {
                shared.seen.fail(rest);
            }
        }
    }
    shared.seen.fail("disconnected");
}
