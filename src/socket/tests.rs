//! Every event that clients may send, with payloads that they get wrong: the acknowledgement is described, and its error is no fault of
//! the server's. The events and their payloads are found in the table, so that a new one is tried as well.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connection::Connection;
use super::incoming::{Asked, Parts};
use super::table;
use crate::error::{Problem, Reason};
use crate::testing::schema::Schemas;
use crate::testing::{Client, World, person};

/// A server, and a person with a connection, in a room and in a call with somebody.
struct Scene {
    world: World,
    me: Arc<Connection>,
    _client: Client,
    other: Arc<Connection>,
    schemas: Schemas,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.world.app.sfu.server().stop();
    }
}

impl Scene {
    async fn new() -> Self {
        let world = World::new(|config| {
            config.limits.rate_limits = false;
            config.rooms.create = crate::config::RoomCreate::Anyone;
        })
        .await;
        let client = world.connect(person(1)).await;
        let other = world.connect(person(2)).await;
        let open = |client: &Client| {
            Arc::new(Connection::new(world.app.clone(), client.session.clone(), None))
        };
        let (me, other) = (open(&client), open(&other));
        Self { me, other, _client: client, schemas: Schemas::new(super::describe()), world }
    }

    /// The same with what an event may name: a message, an accepted call, a room.
    async fn with_everything() -> Self {
        let mut scene = Self::new().await;
        let message = scene.ok("message:send", &json!({ "toUserId": 2, "content": "hello" })).await;
        let call = scene.ok("call:initiate", &json!({ "toUserId": 2 })).await;
        let call = call["call"]["callId"].clone();
        let accept = json!({ "callId": call, "response": "accept" });
        Self::ask(&scene.other, "call:respond", &accept).await.unwrap();
        let room = scene.ok("room:join", &json!({ "roomId": "standup" })).await;
        let known = [
            ("messageId", message["messageId"].clone()),
            ("conversationId", message["conversationId"].clone()),
            ("callId", call),
            ("roomId", json!("standup")),
            ("sessionId", room["sessionId"].clone()),
            ("participantId", room["self"]["participantId"].clone()),
            ("toUserId", json!(2)),
            ("userId", json!(2)),
            ("withUserId", json!(2)),
        ];
        for (name, value) in known {
            scene.schemas.know(name, value);
        }
        scene
    }

    async fn ok(&self, event: &str, payload: &Value) -> Value {
        Self::ask(&self.me, event, payload)
            .await
            .unwrap_or_else(|problem| panic!("{event}: {problem:?}"))
    }

    async fn ask(whose: &Arc<Connection>, event: &str, payload: &Value) -> Result<Value, Problem> {
        let text = RawValue::from_string(payload.to_string()).unwrap();
        Self::ask_raw(whose, event, Some(&text)).await
    }

    async fn ask_raw(
        whose: &Arc<Connection>,
        event: &str,
        payload: Option<&RawValue>,
    ) -> Result<Value, Problem> {
        let parts = Parts { name: Cow::Borrowed(event), payload };
        let outcome = tokio::time::timeout(Duration::from_secs(20), table::handle(whose, &parts));
        let outcome = outcome.await.unwrap_or_else(|_| panic!("{event} is never answered"));
        outcome.map(|answer| serde_json::from_str(answer.get()).unwrap())
    }

    /// What is wrong with the acknowledgement of an event.
    fn faults(&self, event: &str, outcome: &Result<Value, Problem>) -> Vec<String> {
        match outcome {
            Ok(ack) => {
                let message =
                    &self.schemas.document()["components"]["messages"][format!("client.{event}")];
                let mut fields = ack.clone();
                let ok = fields.as_object_mut().and_then(|fields| fields.remove("ok"));
                let mut faults = self
                    .schemas
                    .faults(message["x-ack"]["allOf"].as_array().unwrap().last().unwrap(), &fields);
                if ok != Some(json!(true)) {
                    faults.push(format!("it has no ok: {ack}"));
                }
                faults
            }
            Err(problem) => {
                let mut faults = Vec::new();
                if problem.reason.status().is_server_error() {
                    faults.push(format!("{}: {}", problem.reason.code(), problem.message));
                }
                let ack = problem.ack(self.world.clock.now());
                if problem.message.is_empty()
                    || ack["ok"] != false
                    || ack["reason"].is_null()
                    || ack["code"] != problem.reason.status().as_u16()
                {
                    faults.push(format!("the refusal is {ack}"));
                }
                faults
            }
        }
    }

    fn payload(&self, event: &str) -> Value {
        self.schemas.document()["components"]["messages"][format!("client.{event}")]["payload"]
            .clone()
    }
}

fn fail_with(wrong: &[String]) {
    let shown: Vec<String> =
        wrong.iter().take(60).map(|line| line.chars().take(400).collect()).collect();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), shown.join("\n"));
}

fn events() -> Vec<&'static str> {
    let events: Vec<_> = table::catalogue().iter().map(|event| event.name).collect();
    assert!(events.len() > 50);
    events
}

#[tokio::test]
async fn an_event_without_an_object_is_refused_as_invalid() {
    let scene = Scene::new().await;
    let mut wrong = Vec::new();
    for event in events() {
        for payload in [
            None,
            Some("null"),
            Some("[]"),
            Some("1"),
            Some("\"text\""),
            Some("true"),
            Some("[{}]"),
        ] {
            let raw = payload.map(|payload| RawValue::from_string(payload.to_owned()).unwrap());
            let outcome = Scene::ask_raw(&scene.me, event, raw.as_deref()).await;
            if outcome.as_ref().err().map(|problem| problem.reason) != Some(Reason::InvalidData) {
                wrong.push(format!("{event} {payload:?}: {outcome:?}"));
            }
        }
    }
    fail_with(&wrong);
}

#[tokio::test]
async fn an_event_with_any_member_of_any_type_gets_a_described_acknowledgement() {
    let mut wrong = Vec::new();
    let mut outcomes = BTreeMap::<&str, usize>::new();
    for event in events() {
        let scene = Scene::with_everything().await;
        for payload in scene.schemas.hostile(&scene.payload(event)) {
            let outcome = Scene::ask(&scene.me, event, &payload).await;
            let code = outcome.as_ref().map_or_else(|problem| problem.reason.code(), |_| "ok");
            *outcomes.entry(code).or_default() += 1;
            let shown: String = payload.to_string().chars().take(150).collect();
            let faults = scene.faults(event, &outcome).into_iter();
            wrong.extend(faults.map(|fault| format!("{event} {shown}: {fault}")));
        }
    }
    println!("{outcomes:?}");
    fail_with(&wrong);
    assert!(
        outcomes["ok"] > 300 && outcomes["INVALID_DATA"] > 1000 && outcomes.len() > 8,
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn an_event_about_what_is_not_there_or_not_ones_own_is_refused() {
    const NOTHING: &str = "0190a0b0-0000-7000-8000-00000000dead";
    let mut scene = Scene::with_everything().await;
    let theirs =
        Scene::ask(&scene.other, "room:join", &json!({ "roomId": "theirs" })).await.unwrap();
    let mut wrong = Vec::new();
    for session in [json!(NOTHING), theirs["sessionId"].clone()] {
        for (name, value) in [
            ("callId", json!(NOTHING)),
            ("roomId", json!(NOTHING)),
            ("recordingId", json!(NOTHING)),
            ("conversationId", json!(NOTHING)),
            ("toUserId", json!(999)),
            ("withUserId", json!(999)),
            ("sessionId", session),
        ] {
            scene.schemas.know(name, value);
        }
        for event in events().into_iter().filter(|event| {
            event.starts_with("room:")
                || event.starts_with("call:")
                || event.starts_with("recording:")
                || event.starts_with("webrtc:")
        }) {
            // These name nothing that may be another's, and the last passes over calls that are not one's own.
            if ["room:join", "recording:list", "call:initiate", "call:ack-missed"].contains(&event)
            {
                continue;
            }
            let payload = scene.schemas.sample(&scene.payload(event), true);
            let outcome = Scene::ask(&scene.me, event, &payload).await;
            wrong.extend(
                scene.faults(event, &outcome).into_iter().map(|fault| format!("{event}: {fault}")),
            );
            if outcome.is_ok() {
                wrong.push(format!("{event} {payload} is acknowledged"));
            }
        }
    }
    fail_with(&wrong);
}

#[tokio::test]
async fn a_packet_that_is_no_event_is_refused_as_invalid() {
    let scene = Scene::new().await;
    let deep = format!("[\"session:ping\",{}1{}]", "[".repeat(5000), "]".repeat(5000));
    let long = format!("[\"{}\",{{}}]", "x".repeat(100_000));
    for text in [
        "",
        "[]",
        "{}",
        "null",
        "[1]",
        "[null,{}]",
        "[[\"session:ping\"],{}]",
        "[\"session:ping\"",
        "[\"nonsense\",{}]",
        "[\"\",{}]",
        "[\"session:ping\",]",
        "[\"SESSION:PING\",{}]",
        "\u{0}",
        &deep,
        &long,
    ] {
        let asked = Asked::of(text);
        let outcome = scene.me.outcome(&asked).await;
        let reason = outcome.err().map(|problem| problem.reason);
        assert_eq!(
            reason,
            Some(Reason::InvalidData),
            "{}",
            text.chars().take(40).collect::<String>()
        );
        assert!(asked.name().chars().count() <= 64);
    }
    let escaped = Asked::of("[\"session:\\u0070ing\",{\"t\":1},{\"more\":[]}]");
    assert!(
        scene.me.outcome(&escaped).await.is_ok(),
        "a name may be escaped, and further arguments are ignored"
    );
}

#[test]
fn every_event_that_may_be_sent_is_described_with_schemas_that_make_a_payload() {
    let schemas = Schemas::new(super::describe());
    for event in events() {
        let message = &schemas.document()["components"]["messages"][format!("client.{event}")];
        let sample = schemas.sample(&message["payload"], true);
        assert!(sample.is_object(), "{event}: {sample}");
        assert_eq!(schemas.faults(&message["payload"], &sample), Vec::<String>::new(), "{event}");
        assert!(!message["summary"].as_str().unwrap_or_default().is_empty(), "{event}");
    }
}

#[test]
fn every_event_stands_in_the_protocol() {
    let protocol = include_str!("../../docs/protocol.md");
    let server = crate::event::Event::catalogue();
    let all = events().into_iter().chain(server.iter().map(|event| event.name));
    let missing: Vec<_> = all.filter(|name| !protocol.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/protocol.md does not name {missing:?}");
}
