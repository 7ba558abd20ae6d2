//! A whole server without its sockets, for tests of the rules: the services over a store in memory, with a clock that stands still
//! until a test moves it, and connections that note what they are sent.

pub(crate) mod schema;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::app::App;
use crate::calls::{Actor, CallRequest};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Secret};
use crate::delivery::{Confirm, Frame, Session, SessionInfo, Wire, WireError};
use crate::event::{CallType, Role};
use crate::ids::{SessionId, UserId};
use crate::relay::Relay;
use crate::sfu::Sfu;
use crate::store::{Profile, Store, sqlite::Sqlite};

/// See the module.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Clock,
}

/// Events that a connection was sent: name and payload.
type Sent = Arc<Mutex<Vec<(&'static str, Value)>>>;

struct Notebook(Sent);

impl Wire for Notebook {
    fn send(&self, frame: &Frame, _: Option<Confirm>) -> Result<(), WireError> {
        let payload = serde_json::from_str(frame.payload.get()).unwrap_or_default();
        self.0.lock().unwrap().push((frame.name, payload));
        Ok(())
    }

    fn close(&self) {}
}

/// A connection of a person.
pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    pub(crate) actor: Actor,
    sent: Sent,
}

impl Client {
    /// What it was sent since this was asked last.
    pub(crate) fn events(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.sent.lock().unwrap())
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
        let mut config = Config::default();
        config.auth.jwt_secret = Secret::new("0123456789abcdef0123456789abcdef-for-tests");
        config.media.host = std::net::Ipv4Addr::LOCALHOST.into();
        (config.media.udp_port, config.media.workers) = (0, 1);
        let folder = std::env::temp_dir().join(format!("switchboard-{}", uuid::Uuid::new_v4()));
        config.recordings.dir = folder.to_string_lossy().into_owned();
        change(&mut config);
        let clock = Clock::manual(Timestamp(1_900_000_000_000));
        let store: Arc<dyn Store> = Arc::new(Sqlite::in_memory().unwrap());
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
        let (app, _changes) = App::new(config, clock.clone(), store, (relay, sfu), false).unwrap();
        Self { app, clock }
    }

    /// A person connects.
    pub(crate) async fn connect(&self, user: UserId) -> Client {
        let sent = Sent::default();
        let about = SessionInfo {
            id: SessionId::new(uuid::Uuid::new_v4()),
            user,
            device_id: None,
            device_name: None,
            websocket: true,
            connected_at: self.clock.now(),
            address: String::new(),
            user_agent: String::new(),
            relays: true,
            legacy: false,
        };
        let actor = Actor { user, session: Some(about.id), device_id: None, device_name: None };
        let (session, _) = self.app.delivery.open(about, Box::new(Notebook(sent.clone())), 10);
        session.release(0);
        self.app.calls.session_opened(&session).await.unwrap();
        Client { session, actor, sent }
    }

    /// A connection is lost.
    pub(crate) async fn disconnect(&self, client: &Client) {
        self.app.delivery.close(&client.session);
        self.app.calls.session_closed(&client.session).await;
    }

    /// Time passes, and what is due happens.
    pub(crate) async fn wait(&self, time: Duration) {
        self.clock.advance(time);
        self.app.calls.expire_due().await;
    }
}
