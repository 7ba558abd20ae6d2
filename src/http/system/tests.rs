//! The endpoints of a whole server over a store in memory: what they say of it, and what surrounds every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::auth::{Grant, mint};
use crate::config::{Config, Secret, TurnMode};
use crate::event::Role;
use crate::ops::{FAMILIES, Kind};
use crate::testing::{World, person};

const ORIGIN: &str = "https://yourapp.com";

struct House {
    world: World,
    router: Router,
}

/// An answer, read whole.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The names that a header lists, in lower case.
    fn names(&self, name: &str) -> Vec<String> {
        self.header(name).to_lowercase().split(',').map(|name| name.trim().to_owned()).collect()
    }
}

impl House {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new(|config| {
            config.server.allowed_origins = vec![ORIGIN.into()];
            config.recordings.min_free_bytes = 0;
            change(config);
        })
        .await;
        let (router, _) = crate::http::router(&world.app);
        Self { world, router }
    }

    fn token(&self, user: i64, role: Role) -> String {
        let grant = Grant {
            user_id: person(user),
            uid: None,
            email: None,
            name: None,
            user_type: None,
            role,
            exp: self.world.clock.now().seconds() + 3600,
            iss: None,
            aud: None,
        };
        mint(&grant, &self.world.app.config.auth.jwt_secret).unwrap()
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        let request = request.body(body.into()).unwrap();
        let response: Response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Request::get(path), Body::empty()).await.json()
    }

    /// Posts JSON as an admin, who is person 5, or as another person.
    async fn post(&self, user: i64, path: &str, body: Value) -> Value {
        let role = if user == 5 { Role::Admin } else { Role::User };
        let request = Request::post(path)
            .header("authorization", format!("Bearer {}", self.token(user, role)))
            .header("content-type", "application/json");
        let answer = self.send(request, body.to_string()).await;
        assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text);
        answer.json()
    }

    async fn publish(&self, user: i64, room: &str, offer: String) -> Answer {
        let request = Request::post(format!("/whip/{room}"))
            .header("authorization", format!("Bearer {}", self.token(user, Role::User)))
            .header("content-type", "application/sdp");
        self.send(request, offer).await
    }
}

/// Sound and pictures, as a WHIP client offers them.
fn offer() -> String {
    let mut text =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n".to_owned();
    for (mid, media, number, codec) in
        [(0, "audio", 111, "opus/48000/2"), (1, "video", 96, "VP8/90000")]
    {
        let fingerprint = ["AB"; 32].join(":");
        text += &format!(
            "m={media} 9 UDP/TLS/RTP/SAVPF {number}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n"
        );
        text += "a=sendonly\r\na=rtcp-mux\r\na=setup:actpass\r\na=ice-ufrag:them\r\n";
        text +=
            &format!("a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {fingerprint}\r\n");
        text += &format!("a=rtpmap:{number} {codec}\r\n");
    }
    text
}

fn with_relay(config: &mut Config) {
    config.turn.mode = TurnMode::Open;
    config.turn.host = std::net::Ipv4Addr::LOCALHOST.into();
    config.turn.port = 0;
    config.turn.advertised_ips = vec![std::net::Ipv4Addr::LOCALHOST.into()];
    config.turn.secret = Secret::new("0123456789abcdef");
}

/// A room with a publisher by WHIP, which is recorded, a call that is accepted, one that rings, and three connections.
async fn busy(house: &House) {
    house.post(5, "/api/rooms", json!({ "roomId": "seen" })).await;
    let published = house.publish(3, "seen", offer()).await;
    assert_eq!(published.status, 201, "{}", published.text);
    house.post(5, "/api/recordings", json!({ "roomId": "seen" })).await;
    for person in [2, 4, 4] {
        house.world.connect(self::person(person)).await;
    }
    let call = house.post(1, "/api/calls/initiate", json!({ "toUserId": 2 })).await;
    house.post(3, "/api/calls/initiate", json!({ "toUserId": 4 })).await;
    let path = format!("/api/calls/{}/status", call["data"]["callId"].as_str().unwrap());
    let accept = Request::patch(path)
        .header("authorization", format!("Bearer {}", house.token(2, Role::User)))
        .header("content-type", "application/json");
    let accepted = house.send(accept, json!({ "status": "accepted" }).to_string()).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn info_says_what_runs_and_only_that() {
    let house = House::new(with_relay).await;
    let running = house.get("/api/info").await;
    let features = json!({
        "chat": true, "receipts": true, "presence": true, "typing": true, "offlineDelivery": true, "sync": true,
        "calls": true, "groups": false, "attachments": false, "search": false,
        "rooms": true, "recording": true, "turn": true, "whip": true, "whep": true,
    });
    assert_eq!(running["features"], features);
    assert_eq!(running["whip"], true);
    assert_eq!(running["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(running["limits"]["contentChars"], house.world.app.config.limits.content_chars);

    let without = House::new(|config| config.recordings.max_parallel = 0).await;
    let about = without.get("/api/info").await;
    let part = |about: &Value, part: &str| about["features"][part].as_bool().unwrap();
    assert_eq!((part(&about, "recording"), part(&about, "turn")), (false, false));
    assert!(part(&about, "rooms"));
    without.world.app.sfu.server().stop();
    let about = without.get("/api/info").await;
    for media in ["rooms", "whip", "whep", "recording"] {
        assert!(!part(&about, media), "{media} without the SFU");
    }
    assert_eq!(about["whip"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_counts_what_there_is() {
    let house = House::new(with_relay).await;
    let figures = async |house: &House| {
        let health = house.get("/health").await;
        (health["status"].clone(), health["statistics"].clone())
    };
    let (status, idle) = figures(&house).await;
    assert_eq!(status, "OK");
    let none = json!({
        "totalUsers": 5, "totalMessages": 0, "totalCalls": 0,
        "activeConnections": 0, "activeCalls": 0, "activeRooms": 0, "onlineUsers": 0,
    });
    assert_eq!(idle, none);
    busy(&house).await;
    house.world.clock.advance(std::time::Duration::from_secs(9));
    let (_, working) = figures(&house).await;
    let some = json!({
        "totalUsers": 5, "totalMessages": 0, "totalCalls": 2,
        "activeConnections": 3, "activeCalls": 2, "activeRooms": 1, "onlineUsers": 2,
    });
    assert_eq!(working, some);
    let health = house.get("/health").await;
    assert_eq!((&health["database"], &health["storage"]), (&json!("Embedded"), &json!("sqlite")));
    assert_eq!((&health["uptime"], &health["service"]), (&json!(9), &json!("switchboard")));
    assert_eq!(health["environment"], "development");
    assert_eq!(health["timestamp"], house.world.clock.now().to_string());

    assert_eq!(house.get("/readyz").await["checks"], json!({ "store": true, "draining": false }));
    house.world.app.drain();
    assert_eq!(figures(&house).await.0, "DRAINING");
    let ready = house.send(Request::get("/readyz"), Body::empty()).await;
    assert_eq!((ready.status, &ready.json()["checks"]["draining"]), (503, &json!(true)));
}

/// The labels and the value of each series.
type Series = Vec<(Vec<String>, f64)>;

/// The families of a text of Prometheus, each with its kind.
fn families(text: &str) -> BTreeMap<String, (String, Series)> {
    let mut families = BTreeMap::<String, (String, Series)>::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), Vec::new()));
        } else if let Some((series, value)) =
            line.rsplit_once(' ').filter(|_| !line.starts_with('#'))
        {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
            let labels: Vec<_> = labels.filter(|label| label != "le").collect();
            let parts = ["_bucket", "_sum", "_count"];
            let bare = parts.iter().find_map(|part| name.strip_suffix(part));
            let family = bare.filter(|bare| families.contains_key(*bare)).unwrap_or(name);
            let family = families.get_mut(family).unwrap_or_else(|| panic!("no type: {line}"));
            family.1.push((labels, value.parse().unwrap()));
        }
    }
    families
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_part_that_runs_is_there_with_its_labels_and_no_other() {
    crate::ops::start();
    let house = House::new(with_relay).await;
    busy(&house).await;
    let now = house.world.app.snapshot().await;
    assert_eq!((now.calls.active, now.calls.pending), (2, 1));
    assert_eq!((now.delivery.connections, now.delivery.users, now.delivery.guests), (3, 2, 0));
    assert_eq!((now.rooms.rooms, now.rooms.participants, now.rooms.published), (1, 1, [1, 1]));
    assert_eq!((now.recordings.active, now.sfu.workers), (1, 1));
    assert_eq!(
        now.relay.embedded.as_ref().map(|relay| (relay.allocations, relay.ports)),
        Some((0, 0))
    );
    assert!(now.limits.on && now.limits.counted > 0);

    let shown = families(&crate::ops::render(&now));
    for family in FAMILIES {
        let Some((kind, series)) = shown.get(family.name) else {
            // What is labelled is there when it has been counted once.
            assert!(family.kind != Kind::Gauge && !family.labels.is_empty(), "{}", family.name);
            continue;
        };
        assert_eq!(*kind, format!("{:?}", family.kind).to_lowercase(), "{}", family.name);
        for (labels, _) in series {
            let mut labels = labels.clone();
            labels.sort_unstable();
            let mut declared = family.labels.to_vec();
            declared.sort_unstable();
            assert_eq!(labels, declared, "{}", family.name);
        }
    }
    for name in shown.keys() {
        assert!(FAMILIES.iter().any(|family| family.name == name), "{name} is in no table");
    }
    let value = |name: &str| shown[name].1.iter().map(|(_, value)| value).sum::<f64>();
    for (name, wanted) in [
        ("rtc_calls_active", 2.0),
        ("rtc_calls_ringing", 1.0),
        ("rtc_socket_connections", 3.0),
        ("rtc_users_online", 2.0),
        ("rtc_rooms", 1.0),
        ("rtc_participants", 1.0),
        ("rtc_tracks", 2.0),
        ("rtc_recording_active", 1.0),
        ("rtc_store_writable", 1.0),
        ("rtc_store_rows", 7.0),
        ("rtc_build_info", 1.0),
    ] {
        assert!((value(name) - wanted).abs() < 1e-9, "{name} is {}", value(name));
    }
    assert!(value("rtc_process_memory_bytes") > 1e6 && value("rtc_process_descriptors") > 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_listed_origin_may_publish_and_view_by_http() {
    let house = House::new(with_relay).await;
    house.post(5, "/api/rooms", json!({ "roomId": "stage" })).await;
    for path in ["/whip/stage", "/whep/stage"] {
        let asked = Request::builder().method(Method::OPTIONS).uri(path).header("origin", ORIGIN);
        let asked = asked.header("access-control-request-method", "POST");
        let asked = asked.header("access-control-request-headers", "authorization,content-type");
        let preflight = house.send(asked, Body::empty()).await;
        assert_eq!(preflight.status, 200, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), ORIGIN);
        assert_eq!(preflight.header("access-control-allow-credentials"), "true");
        let methods = preflight.names("access-control-allow-methods");
        for method in ["post", "patch", "delete", "options"] {
            assert!(methods.iter().any(|known| known == method), "{methods:?}");
        }
        let headers = preflight.names("access-control-allow-headers");
        for header in ["authorization", "content-type", "if-match"] {
            assert!(headers.iter().any(|known| known == header), "{headers:?}");
        }

        let own = Request::builder().method(Method::OPTIONS).uri(path).header("origin", ORIGIN);
        let refused = house.send(own, Body::empty()).await;
        assert_eq!(refused.status, 401, "OPTIONS of its own is the route's, which wants a token");
        assert_eq!(refused.header("access-control-allow-origin"), ORIGIN, "the page may read why");
        let bearer = format!("Bearer {}", house.token(1, Role::User));
        let own = Request::builder().method(Method::OPTIONS).uri(path).header("origin", ORIGIN);
        let options = house.send(own.header("authorization", bearer), Body::empty()).await;
        assert!(matches!(options.status, 200 | 204), "{path}: {}", options.status);
        assert_eq!(options.header("accept-post"), "application/sdp", "{path}");
        let links: Vec<_> = options.headers.get_all("link").iter().collect();
        assert!(links.iter().any(|link| link.to_str().unwrap().contains("turn:")), "{links:?}");
        let exposed = options.names("access-control-expose-headers");
        for name in ["location", "etag", "link", "accept-post", "accept-patch"] {
            assert!(exposed.iter().any(|known| known == name), "{name}: {exposed:?}");
        }
    }
    let foreign = Request::builder().method(Method::OPTIONS).uri("/whip/stage");
    let foreign = foreign.header("origin", "https://evil.example");
    let refused = house.send(foreign, Body::empty()).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, ""));
}

#[tokio::test]
async fn what_has_no_endpoint_is_answered_with_those_there_are() {
    let house = House::new(|_| ()).await;
    let missing = house.send(Request::get("/nowhere"), Body::empty()).await;
    let body = missing.json();
    assert_eq!(
        (missing.status, &body["code"], &body["error"]),
        (404, &json!(404), &json!("Endpoint not found"))
    );
    let endpoints = body["availableEndpoints"].as_array().unwrap();
    for known in ["GET /health", "POST /api/chat/messages", "POST /whip/{roomId}"] {
        assert!(endpoints.contains(&json!(known)), "{known}: {endpoints:?}");
    }
    assert!(!missing.text.contains("dev-token"), "that is there with --dev only");
    let user = house.send(Request::get("/api/me"), Body::empty()).await;
    assert_eq!((user.status, user.json().get("availableEndpoints")), (401, None));
}

#[tokio::test]
async fn engine_io_refuses_as_the_reference_server_does() {
    let house = House::new(|_| ()).await;
    let get = async |query: &str| {
        let answer = house.send(Request::get(format!("/socket.io/?{query}")), Body::empty()).await;
        (answer.status, answer.json())
    };
    let (status, old) = get("EIO=3&transport=polling").await;
    assert_eq!((status, &old["code"]), (400, &json!(5)));
    let message = old["message"].as_str().unwrap();
    assert!(
        message.starts_with("Unsupported protocol version")
            && message.contains("socket.io-client 3")
    );
    assert_eq!(get("EIO=3&transport=websocket").await.1["code"], 5);
    let unknown = json!({ "code": 1, "message": "Session ID unknown" });
    assert_eq!(get("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs").await, (400, unknown));
    let transport = json!({ "code": 0, "message": "Transport unknown" });
    assert_eq!(get("EIO=4&transport=pigeon").await, (400, transport));
    let method = Request::post("/socket.io/?EIO=4&transport=polling");
    let method = house.send(method, Body::empty()).await;
    assert_eq!(method.json(), json!({ "code": 2, "message": "Bad handshake method" }));
    assert_eq!(get("EIO=4&transport=polling").await.0, 200);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_forwarded_name_and_address_count() {
    let house = House::new(|config| {
        config.server.trusted_proxies = ["10.0.0.0/8"].into_iter().collect();
        config.limits.anonymous_per_minute = 1;
    })
    .await;
    let status = async |peer: [u8; 4], client: &str| {
        let request = Request::get("/api/me")
            .extension(ConnectInfo(SocketAddr::from((peer, 4711))))
            .header("host", "127.0.0.1:3001")
            .header("origin", "https://chat.example")
            .header("x-forwarded-host", "chat.example")
            .header("x-forwarded-for", client);
        house.send(request, Body::empty()).await.status
    };
    let (proxy, other) = ([10, 0, 0, 2], [192, 0, 2, 1]);
    assert_eq!(status(other, "203.0.113.7").await, 403, "the origin is not this server's name");
    assert_eq!(status(proxy, "203.0.113.7").await, 401, "it is, and the token is missing");
    assert_eq!(status(proxy, "203.0.113.7").await, 429, "the client has had its one try");
    assert_eq!(status(proxy, "198.51.100.9, 203.0.113.7, 10.1.1.1").await, 429, "so it has here");
    assert_eq!(status(proxy, "198.51.100.9").await, 401, "another client has not");
    assert_eq!(status(proxy, "2001:db8::1").await, 401);
    assert_eq!(status(proxy, "2001:db8::2").await, 429, "a network of IPv6 is one client");
}
