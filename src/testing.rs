//! A whole server without its sockets, for tests of the rules: the services over a store in memory, with a clock that stands still
//! until a test moves it, and connections that note what they are sent.

pub(crate) mod dice;
pub(crate) mod failing;
pub(crate) mod schema;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::calls::{CallError, CallRequest, Device};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Secret};
use crate::delivery::{Frame, OnAck, Opened, Session, SessionInfo, Transport, TransportError};
use crate::event::{CallType, Message, Role};
use crate::ids::{SessionId, UserId};
use crate::relay::Relay;
use crate::sfu::Sfu;
use crate::store::{Profile, Store, sqlite::Sqlite};

/// See the module.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Clock,
    observer: Observer,
}

/// Sees every event at the moment at which it is sent, when a test wants it.
type Observer = Arc<OnceLock<Box<dyn Fn(&'static str, &Value) + Send + Sync>>>;

/// Events that a connection was sent: name and payload.
type Sent = Arc<Mutex<Vec<(&'static str, Value)>>>;

struct Notebook {
    sent: Sent,
    asked: Asked,
    observer: Observer,
}

/// Acknowledgements that a connection was asked for.
type Asked = Arc<Mutex<Vec<OnAck>>>;

/// What is wrong with an event by the server's own description.
fn faults(name: &str, payload: &Value) -> Vec<String> {
    static DESCRIBED: OnceLock<schema::Schemas> = OnceLock::new();
    let schemas = DESCRIBED.get_or_init(|| schema::Schemas::new(crate::socket::describe()));
    let message = &schemas.document()["components"]["messages"][format!("server.{name}")];
    if message.is_null() {
        return vec!["it is not described".into()];
    }
    let mut faults = schemas.faults(&message["payload"], payload);
    for entry in payload["events"].as_array().into_iter().flatten().filter(|_| name == "sync:batch")
    {
        faults.extend(self::faults(entry["event"].as_str().unwrap(), &entry["payload"]));
    }
    faults
}

impl Transport for Notebook {
    fn send(&self, frame: &Frame, on_ack: Option<OnAck>) -> Result<(), TransportError> {
        let payload = serde_json::from_str(frame.payload.get()).unwrap_or_default();
        let wrong = faults(frame.name, &payload);
        assert!(wrong.is_empty(), "{} is not as described: {wrong:?}; it is {payload}", frame.name);
        if let Some(observer) = self.observer.get() {
            observer(frame.name, &payload);
        }
        self.sent.lock().unwrap().push((frame.name, payload));
        self.asked.lock().unwrap().extend(on_ack);
        Ok(())
    }

    fn close(&self) {}

    fn cut(&self) {}
}

/// A connection of a person.
pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    pub(crate) device: Device,
    sent: Sent,
    asked: Asked,
}

impl Client {
    /// What it was sent since this was asked last.
    pub(crate) fn events(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// What it was sent of one name since it was asked for events last; the others are forgotten.
    pub(crate) fn named(&self, name: &str) -> Vec<Value> {
        let named = self.events().into_iter().filter(|(other, _)| *other == name);
        named.map(|(_, payload)| payload).collect()
    }

    /// Acknowledges the messages that it was sent.
    pub(crate) fn acknowledge(&self) {
        std::mem::take(&mut *self.asked.lock().unwrap())
            .into_iter()
            .for_each(|answer| answer(true));
    }

    /// The names of what it was sent since this was asked last.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }
}

/// Number `n` of the people of a test.
pub(crate) fn person(n: i64) -> UserId {
    UserId::new(n).unwrap()
}

/// A voice call to these people.
pub(crate) fn voice(to: &[UserId]) -> CallRequest {
    CallRequest {
        to: to.to_vec(),
        kind: CallType::Voice,
        client_id: None,
        waiting: true,
        ring: true,
        media: None,
        record: false,
    }
}

impl World {
    /// A server with five people, under a configuration that `change` has changed.
    pub(crate) async fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::over(change, |store| store).await
    }

    /// A server for development.
    pub(crate) async fn dev(change: impl FnOnce(&mut Config)) -> Self {
        Self::made(change, |store| store, true).await
    }

    /// The same over a store that `wrap` has put something around.
    pub(crate) async fn over(
        change: impl FnOnce(&mut Config),
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        Self::made(change, wrap, false).await
    }

    async fn made(
        change: impl FnOnce(&mut Config),
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
        dev: bool,
    ) -> Self {
        // Clients of HTTP need a provider of cryptography even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::default();
        config.auth.jwt_secret = Secret::new("0123456789abcdef0123456789abcdef-for-tests");
        config.media.host = std::net::Ipv4Addr::LOCALHOST.into();
        (config.media.udp_port, config.media.workers) = (0, 1);
        let folder = std::env::temp_dir().join(format!("switchboard-{}", uuid::Uuid::new_v4()));
        config.recordings.dir = folder.to_string_lossy().into_owned();
        // Private rooms have tests of their own.
        config.rooms.join = crate::config::RoomJoin::Anyone;
        change(&mut config);
        let clock = Clock::manual(Timestamp(1_900_000_000_000));
        let store: Arc<dyn Store> = wrap(Arc::new(Sqlite::in_memory().unwrap()));
        for n in 1..=5 {
            let profile = Profile {
                user_id: person(n),
                uid: format!("u{n}"),
                email: None,
                name: Some(format!("Person {n}")),
                mobile: None,
                gender: None,
                user_type: None,
                role: Role::User,
            };
            store.save_profile(profile, clock.now()).await.unwrap();
        }
        let relay = Relay::start(&config.turn).unwrap();
        let (sfu, _heard) = Sfu::start(&config.media, None).unwrap();
        let (app, changes) = App::new(config, clock.clone(), store, (relay, sfu), dev).unwrap();
        tokio::spawn(app.chat.clone().follow(changes.receipts));
        tokio::spawn(app.recordings.clone().follow(changes.recordable));
        tokio::spawn(app.clone().show_recordings(changes.recordings));
        tokio::spawn(crate::access::follow(app.clone(), changes.access));
        Self { app, clock, observer: Observer::default() }
    }

    /// Has every event seen at the moment at which it is sent.
    pub(crate) fn observe(&self, observer: impl Fn(&'static str, &Value) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    /// A person connects.
    pub(crate) async fn connect(&self, user: UserId) -> Client {
        self.connect_as(user, false).await.unwrap()
    }

    /// A connection that waits for its replay.
    pub(crate) fn open(&self, user: UserId) -> Client {
        self.open_as(user, false)
    }

    /// A person connects, perhaps with a client of the original; an error, and no connection, when calls cannot learn of it.
    pub(crate) async fn connect_as(&self, user: UserId, legacy: bool) -> Result<Client, CallError> {
        let client = self.open_as(user, legacy);
        client.session.release(0);
        if let Err(error) = self.app.calls.session_opened(&client.session.about).await {
            self.disconnect(&client).await;
            return Err(error);
        }
        Ok(client)
    }

    fn open_as(&self, user: UserId, legacy: bool) -> Client {
        let (sent, asked) = (Sent::default(), Asked::default());
        let about = SessionInfo {
            id: SessionId::new(uuid::Uuid::new_v4()),
            user,
            device_id: None,
            device_name: None,
            websocket: true,
            connected_at: self.clock.now(),
            last_activity: self.clock.now(),
            address: String::new(),
            user_agent: String::new(),
            relays: true,
            legacy,
            token: None,
        };
        let device = Device { user, session: Some(about.id), device_id: None, device_name: None };
        let (sent_to, asked_of) = (sent.clone(), asked.clone());
        let observer = self.observer.clone();
        let transport = Box::new(Notebook { sent: sent_to, asked: asked_of, observer });
        let Opened { session, .. } = self.app.delivery.open(about, transport, 10);
        Client { session, device, sent, asked }
    }

    /// One person writes to another.
    pub(crate) async fn write(&self, from: UserId, to: UserId, text: &str) -> Message {
        let message = json!({ "toUserId": to, "content": text });
        let message = serde_json::from_value(message).unwrap();
        self.app.chat.send(from, message).await.unwrap().message
    }

    /// Waits until something is so that others do on their own; fails after 10 s.
    pub(crate) async fn until(&self, mut what: impl FnMut() -> bool) {
        let patience = Duration::from_secs(10);
        let met = async {
            while !what() {
                tokio::time::sleep(Duration::from_millis(1)).await; // paces the looks
            }
        };
        tokio::time::timeout(patience, met).await.expect("it has not come to be");
    }

    /// A connection is lost.
    pub(crate) async fn disconnect(&self, client: &Client) {
        self.app.delivery.remove(client.session.about.user, client.session.about.id);
        self.app.calls.session_closed(&client.session.about).await;
    }

    /// Time passes, and what is due happens.
    pub(crate) async fn wait(&self, time: Duration) {
        self.clock.advance(time);
        self.app.calls.expire_due().await;
    }
}
