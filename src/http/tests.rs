//! Every operation of the OpenAPI document under requests that clients get wrong: what is answered is described, and is no fault of the
//! server's. The operations, their parameters and their bodies are found in the document, so that a new one is tried as well.

mod edge;
mod introspection;
mod operators;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::auth::{Grant, mint};
use crate::config::{Config, RoomCreate};
use crate::error::Reason;
use crate::event::Role;
use crate::testing::schema::Schemas;
use crate::testing::{World, person};

/// Operations that need no token: they say nothing about anybody.
const PUBLIC: [&str; 4] = ["/health", "/livez", "/readyz", "/api/info"];
/// An id of nothing.
const NOTHING: &str = "0190a0b0-0000-7000-8000-00000000dead";

/// A server, and what it says of itself.
struct Api {
    world: World,
    router: Router,
    schemas: Schemas,
    operations: Vec<Operation>,
}

#[derive(Clone)]
struct Operation {
    method: String,
    path: String,
    described: Value,
}

/// An answer, as a client sees it.
struct Answer {
    status: StatusCode,
    kind: String,
    body: Vec<u8>,
}

impl Operation {
    /// The names of the variable parts of its path, in their order.
    fn variables(&self) -> Vec<&str> {
        let parts = self.path.split('/');
        parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// The type and schema of its body.
    fn body(&self) -> Option<(&str, &Value)> {
        let (kind, content) =
            self.described["requestBody"]["content"].as_object()?.iter().next()?;
        Some((kind, &content["schema"]))
    }

    fn queries(&self) -> Vec<&str> {
        let parameters = self.described["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter(|parameter| parameter["in"] == "query");
        parameters.map(|parameter| parameter["name"].as_str().unwrap()).collect()
    }
}

impl Api {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new(|config| {
            config.limits.rate_limits = false;
            config.rooms.create = RoomCreate::Anyone;
            change(config);
        })
        .await;
        let (router, _) = super::router(&world.app);
        let document = serde_json::to_value(super::openapi()).unwrap();
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, described) in item.as_object().unwrap() {
                let method = method.to_uppercase();
                operations.push(Operation {
                    method,
                    path: path.clone(),
                    described: described.clone(),
                });
            }
        }
        assert!(operations.len() > 60);
        Self { world, router, schemas: Schemas::new(document), operations }
    }

    fn token(&self, user: i64, role: Role) -> String {
        let (uid, email, name, user_type, iss, aud) = (None, None, None, None, None, None);
        let exp = self.world.clock.now().0 / 1000 + 3600;
        let grant =
            Grant { user_id: person(user), uid, email, name, user_type, role, exp, iss, aud };
        format!("Bearer {}", mint(&grant, &self.world.app.config.auth.jwt_secret).unwrap())
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(parts.headers.contains_key("x-request-id"));
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, kind, body }
    }

    /// A request as a client of an operation writes it; the path has these values for its variables.
    fn request(
        &self,
        operation: &Operation,
        values: &dyn Fn(&str) -> String,
    ) -> http::request::Builder {
        let mut path = operation.path.clone();
        for variable in operation.variables() {
            path = path.replace(&format!("{{{variable}}}"), &values(variable));
        }
        Request::builder().method(operation.method.as_str()).uri(path)
    }

    /// What is wrong with an answer to an operation.
    fn faults(&self, operation: &Operation, answer: &Answer) -> Vec<String> {
        let code = answer.status.as_u16();
        let responses = &operation.described["responses"];
        let mut faults = Vec::new();
        // Nothing is broken here, and nothing goes down, so that a client cannot be told so.
        if code >= 500 {
            faults.push(format!("answers {code}"));
        }
        let Some(described) = responses.get(code.to_string()) else {
            return vec![format!("answers {code}, which is not described")];
        };
        let json = answer.kind.starts_with("application/json");
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if code >= 400 {
            let reason = Reason::ALL.iter().find(|reason| value["reason"] == reason.code());
            if reason.is_none_or(|reason| reason.status() != answer.status) {
                faults.push(format!("{code} has the reason {}", value["reason"]));
            }
            let sentence = value["error"].as_str().unwrap_or_default();
            if sentence.is_empty() || value["code"] != code || value["requestId"].is_null() {
                faults.push(format!("{code} has the body {value}"));
            }
            if ["serde", "axum", "hyper", "sqlite", "src/"]
                .iter()
                .any(|word| sentence.contains(word))
            {
                faults.push(format!("{code} shows how it is made: {sentence}"));
            }
        }
        let kind = answer.kind.split(';').next().unwrap_or_default();
        let schema = &described["content"][kind]["schema"];
        if json && !schema.is_null() {
            faults.extend(
                self.schemas
                    .faults(schema, &value)
                    .into_iter()
                    .map(|fault| format!("{code}: {fault}")),
            );
        } else if json && !answer.body.is_empty() {
            faults.push(format!("{code} has JSON that is not described"));
        }
        faults
    }

    /// Tries a request of every kind that `tries` makes of every operation; panics with all that is wrong.
    async fn every(&self, tries: impl Fn(&Operation) -> Vec<(String, Request<Body>)>) -> usize {
        let (mut count, mut wrong) = (0, Vec::new());
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for operation in &self.operations {
            for (what, request) in tries(operation) {
                count += 1;
                let answer = self.send(request).await;
                *statuses.entry(answer.status.as_u16()).or_default() += 1;
                let named = format!("{} {}, {what}", operation.method, operation.path);
                wrong.extend(
                    self.faults(operation, &answer)
                        .into_iter()
                        .map(|fault| format!("{named}: {fault}")),
                );
            }
        }
        println!("{count} requests: {statuses:?}");
        fail_with(&wrong);
        count
    }
}

fn fail_with(wrong: &[String]) {
    let shown = wrong.iter().map(|line| line.chars().take(400).collect::<String>());
    let shown: Vec<String> = shown.take(60).collect();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), shown.join("\n"));
}

fn nothing(variable: &str) -> String {
    match variable {
        "userId" | "withUserId" => "999".into(),
        "tokenId" => "A".repeat(43),
        _ => NOTHING.into(),
    }
}

/// A body that an operation takes, with its type.
fn good_body(api: &Api, operation: &Operation) -> (String, Vec<u8>) {
    match operation.body() {
        Some((kind, schema)) if kind == "application/json" => {
            (kind.into(), api.schemas.sample(schema, false).to_string().into_bytes())
        }
        Some((kind, _)) => (kind.into(), b"v=0\r\n".to_vec()),
        None => (String::new(), Vec::new()),
    }
}

fn with_body(request: http::request::Builder, (kind, body): (String, Vec<u8>)) -> Request<Body> {
    let request =
        if kind.is_empty() { request } else { request.header(header::CONTENT_TYPE, kind) };
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn without_a_good_token_every_operation_answers_401_unless_it_is_public() {
    let api = Api::new().await;
    let other_key =
        crate::config::Secret::new("another secret that nobody here signs tokens with, ever");
    let grant = |exp| Grant {
        user_id: person(1),
        uid: None,
        email: None,
        name: None,
        user_type: None,
        role: Role::Admin,
        exp,
        iss: None,
        aud: None,
    };
    let now = api.world.clock.now().0 / 1000;
    let forged = mint(&grant(now + 3600), &other_key).unwrap();
    let expired = mint(&grant(now - 3600), &api.world.app.config.auth.jwt_secret).unwrap();
    let tokens = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".into()),
        Some("Bearer nonsense".into()),
        Some(format!("Bearer {}", "x".repeat(20_000))),
        Some(format!("Bearer {forged}")),
        Some(format!("Bearer {expired}")),
        Some("Basic YWRhOmFkYQ==".into()),
        Some("ApiKey".into()),
        Some("ApiKey nonsense".into()),
    ];
    let mut wrong = Vec::new();
    for operation in api.operations.iter().filter(|it| !PUBLIC.contains(&it.path.as_str())) {
        for token in &tokens {
            let mut request = api.request(operation, &nothing);
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let answer = api.send(with_body(request, good_body(&api, operation))).await;
            let shown: String = token.iter().flat_map(|it| it.chars()).take(30).collect();
            let named = format!("{} {} with {shown:?}", operation.method, operation.path);
            // Without `--dev` there is no such endpoint for anybody.
            let wanted = if operation.path == "/api/admin/dev-token" { 404 } else { 401 };
            if answer.status.as_u16() != wanted {
                wrong.push(format!("{named}: {}", answer.status));
            }
            wrong.extend(
                api.faults(operation, &answer).into_iter().map(|fault| format!("{named}: {fault}")),
            );
        }
    }
    fail_with(&wrong);
}

#[tokio::test]
async fn an_id_that_cannot_be_one_or_is_of_nothing_gets_a_described_answer() {
    let api = Api::new().await;
    let long = "x".repeat(3000);
    let ids = [
        "0",
        "-1",
        "1.5",
        "nonsense",
        "%00",
        "%F0%9F%A6%80",
        "%FF",
        "%2F",
        "..%2f..",
        "null",
        NOTHING,
        "9007199254740992",
        &long,
    ];
    for role in [Role::User, Role::Admin] {
        let token = api.token(1, role);
        let tried = api
            .every(|operation| {
                let mut tries = Vec::new();
                for wrong in operation.variables() {
                    for id in ids {
                        let values = |variable: &str| {
                            if variable == wrong { id.to_owned() } else { nothing(variable) }
                        };
                        let request =
                            api.request(operation, &values).header(header::AUTHORIZATION, &token);
                        let named = format!(
                            "{role:?}, {wrong} {}",
                            id.chars().take(40).collect::<String>()
                        );
                        tries.push((named, with_body(request, good_body(&api, operation))));
                    }
                }
                tries
            })
            .await;
        assert!(tried > 300, "{tried}");
    }
}

#[tokio::test]
async fn what_belongs_to_others_is_not_found_or_forbidden() {
    let api = Api::new().await;
    let World { app, .. } = &api.world;
    let [_ringing, other] =
        [api.world.connect(person(3)).await, api.world.connect(person(2)).await];
    let make = async |path: &str, role, body: Value| {
        let request = Request::post(path).header(header::AUTHORIZATION, api.token(2, role));
        let answer = api
            .send(with_body(request, ("application/json".into(), body.to_string().into_bytes())))
            .await;
        assert!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice::<Value>(&answer.body).unwrap()["data"].clone()
    };
    let message =
        make("/api/chat/messages", Role::User, json!({ "toUserId": 3, "content": "hello" })).await;
    let call =
        make("/api/calls/initiate", Role::User, json!({ "toUserId": 3, "callType": "voice" }))
            .await;
    let room = make("/api/rooms", Role::User, json!({ "roomId": "standup" })).await;
    make("/api/devices", Role::User, json!({ "deviceId": "phone", "platform": "android" })).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (call, conversation, room) =
        (text(&call["callId"]), text(&message["conversationId"]), text(&room["roomId"]));
    let session = other.session.about.id.to_string();
    let values = |variable: &str| match variable {
        "callId" => call.clone(),
        "conversationId" => conversation.clone(),
        "roomId" => room.clone(),
        "sessionId" => session.clone(),
        "deviceId" => "phone".to_owned(),
        "userId" | "withUserId" => "2".to_owned(),
        other => nothing(other),
    };
    // The directory is open to everybody, a room to whoever knows its name, and one may write to anybody.
    let open = [
        "/api/chat/users/{userId}",
        "/api/chat/messages/{withUserId}",
        "/whip/{roomId}",
        "/whep/{roomId}",
        "/whep/{roomId}/{participantId}",
    ];
    let token = api.token(1, Role::User);
    let mut wrong = Vec::new();
    for operation in api.operations.iter().filter(|it| !it.variables().is_empty()) {
        let request = api.request(operation, &values).header(header::AUTHORIZATION, &token);
        let answer = api.send(with_body(request, good_body(&api, operation))).await;
        let named = format!("{} {}", operation.method, operation.path);
        let hidden = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status);
        if !hidden && !open.contains(&operation.path.as_str()) {
            wrong.push(format!(
                "{named}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        wrong.extend(
            api.faults(operation, &answer).into_iter().map(|fault| format!("{named}: {fault}")),
        );
    }
    fail_with(&wrong);
    assert!(!other.session.is_closed() && app.calls.count() == 1);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_type_gets_a_described_answer() {
    let api = Api::new().await;
    let token = api.token(1, Role::Admin);
    let limit = api.world.app.config.limits.body_bytes;
    let mut wrong = Vec::new();
    for operation in api.operations.iter().filter(|it| it.body().is_some()) {
        let (kind, body) = good_body(&api, operation);
        let foreign = if kind == "application/json" { "text/plain" } else { "application/json" };
        let large = json!({ "filler": "x".repeat(limit) }).to_string().into_bytes();
        for (what, kind, body, status) in [
            ("too large", kind.clone(), large.clone(), Some(StatusCode::PAYLOAD_TOO_LARGE)),
            ("too large, of another type", foreign.into(), large, None),
            (
                "of another type",
                foreign.into(),
                body.clone(),
                Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ),
            ("of a type that is none", "🦀".into(), body.clone(), None),
            ("cut short", kind.clone(), body[..body.len() - 1].to_vec(), None),
            ("not UTF-8", kind.clone(), vec![0xFF; 9], None),
            ("empty", kind.clone(), Vec::new(), None),
            ("a deep array", kind.clone(), vec![b'['; 20_000], None),
        ] {
            let named = format!("{} {}, {what}", operation.method, operation.path);
            let request = api.request(operation, &nothing).header(header::AUTHORIZATION, &token);
            let answer = api.send(with_body(request, (kind, body))).await;
            // Without `--dev` this one does not exist, whatever is sent.
            if status.is_some_and(|status| status != answer.status)
                && operation.path != "/api/admin/dev-token"
            {
                wrong.push(format!("{named}: {}", answer.status));
            }
            wrong.extend(
                api.faults(operation, &answer).into_iter().map(|fault| format!("{named}: {fault}")),
            );
        }
    }
    fail_with(&wrong);
}

#[tokio::test]
async fn a_body_with_any_member_of_any_type_gets_a_described_answer() {
    let api = Api::new().await;
    let token = api.token(1, Role::Admin);
    let tried = api
        .every(|operation| {
            let Some(("application/json", schema)) = operation.body() else { return Vec::new() };
            let values = api.schemas.hostile(schema).into_iter();
            values
                .map(|value| {
                    let text = value.to_string();
                    let request =
                        api.request(operation, &nothing).header(header::AUTHORIZATION, &token);
                    let shown = text.chars().take(150).collect();
                    (shown, with_body(request, ("application/json".into(), text.into_bytes())))
                })
                .collect()
        })
        .await;
    assert!(tried > 1000, "{tried}");
}

#[tokio::test]
async fn a_query_of_any_kind_gets_a_described_answer() {
    let api = Api::new().await;
    let token = api.token(1, Role::Admin);
    let long = "x".repeat(3000);
    let values = [
        "",
        "0",
        "-1",
        "1",
        "1.5",
        "99999999999999999999",
        "nonsense",
        "%00",
        "%FF",
        "%F0%9F%A6%80",
        "true",
        "2030-01-01",
        "1,2,,3",
        "[]",
        NOTHING,
        &long,
    ];
    let tried = api
        .every(|operation| {
            let queries = operation.queries();
            let mut all: Vec<String> = queries
                .iter()
                .flat_map(|name| values.map(|value| format!("{name}={value}")))
                .collect();
            all.extend(queries.iter().map(|name| format!("{name}=1&{name}=2")));
            all.extend(["unknown=1", "&&&", "=", "%", "a[]=1"].map(str::to_owned));
            all.into_iter()
                .map(|query| {
                    let request = api.request(operation, &nothing);
                    let path = request.uri_ref().unwrap().path().to_owned();
                    let request = request
                        .uri(format!("{path}?{query}"))
                        .header(header::AUTHORIZATION, &token);
                    let named = query.chars().take(60).collect();
                    (named, with_body(request, good_body(&api, operation)))
                })
                .collect()
        })
        .await;
    assert!(tried > 500, "{tried}");
}

#[tokio::test]
async fn the_aliases_of_the_original_answer_as_what_they_stand_for() {
    let api = Api::new().await;
    let token = api.token(1, Role::User);
    let mut tried = 0;
    for operation in &api.operations {
        let alias = if let Some(rest) = operation.path.strip_prefix("/api/calls") {
            format!("/v1/calls{rest}")
        } else if let Some(rest) = operation.path.strip_prefix("/api/chat") {
            format!("/v1{rest}")
        } else {
            continue;
        };
        tried += 1;
        let mut answers = Vec::new();
        for path in [&operation.path, &alias] {
            let operation = Operation { path: path.clone(), ..operation.clone() };
            let request = api.request(&operation, &nothing).header(header::AUTHORIZATION, &token);
            let answer = api.send(with_body(request, good_body(&api, &operation))).await;
            let value: Value = serde_json::from_slice(&answer.body).unwrap();
            answers.push((answer.status, value["reason"].clone(), value["data"].is_null()));
        }
        assert_eq!(answers[0], answers[1], "{} {}", operation.method, operation.path);
    }
    assert!(tried > 15, "{tried}");
}

#[tokio::test]
async fn a_path_or_method_that_nobody_answers_is_an_error_of_ours() {
    let api = Api::new().await;
    let token = api.token(1, Role::User);
    for (method, path, reason) in [
        ("GET", "/api/nonsense", Reason::NoRoute),
        ("GET", "/api/calls/a/b/c/d", Reason::NoRoute),
        ("POST", "/nonsense", Reason::NoRoute),
        ("GET", "/api/chat/../me", Reason::NoRoute),
        ("PUT", "/api/me", Reason::MethodNotAllowed),
        ("DELETE", "/health", Reason::MethodNotAllowed),
        ("TRACE", "/api/me", Reason::MethodNotAllowed),
    ] {
        let request =
            Request::builder().method(method).uri(path).header(header::AUTHORIZATION, &token);
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert_eq!(
            (answer.status, &value["reason"]),
            (reason.status(), &json!(reason.code())),
            "{method} {path}"
        );
    }
}
