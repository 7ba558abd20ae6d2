//! What strangers can take of the HTTP side: handshakes, connections, bodies and names, by the router and by real connections.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ledger::{Holder, Resource};
use crate::limits::network;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server on a port of its own.
struct Listening {
    world: World,
    address: SocketAddr,
}

impl Listening {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::over(World::new(change).await).await
    }

    async fn over(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, _) = super::super::router(&world.app);
        let app = world.app.clone();
        tokio::spawn(async move {
            super::super::serve_clients(listener, &app, router, std::future::pending()).await;
        });
        Self { world, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What a connection answers to these bytes, up to its end.
    async fn ask(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    fn held(&self, resource: Resource) -> usize {
        self.world.app.ledger.held(resource, Holder::Network(network("127.0.0.1")))
    }

    fn token(&self) -> String {
        let (uid, email, name, user_type, iss, aud) = (None, None, None, None, None, None);
        let exp = self.world.clock.now().seconds() + 3600;
        let (user_id, role) = (person(1), Role::User);
        let grant = Grant { user_id, uid, email, name, user_type, role, exp, iss, aud };
        mint(&grant, &self.world.app.config.auth.jwt_secret).unwrap()
    }
}

/// What comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    read.expect("the connection does not end").unwrap();
    String::from_utf8(text).unwrap()
}

/// The status of an answer, and the JSON of its body.
fn seen(answer: &str) -> (u16, Value) {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = answer.split("\r\n\r\n").last().unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or_default())
}

async fn handshake(router: &Router, address: &str) -> (StatusCode, http::HeaderMap, Value) {
    let peer: std::net::IpAddr = address.parse().unwrap();
    let request = Request::get(POLLING)
        .header("host", "chat.example")
        .extension(ConnectInfo(SocketAddr::from((peer, 4711))));
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn handshakes_that_show_no_token_are_bounded_by_address_and_end_by_themselves() {
    let world = World::new(|config| config.limits.handshakes_per_network = 2).await;
    let (router, _) = super::super::router(&world.app);
    tokio::time::pause();
    for address in ["2001:db8::1", "2001:db8::2", "192.0.2.1"] {
        assert_eq!(handshake(&router, address).await.0, StatusCode::OK, "{address}");
    }
    let (status, headers, body) = handshake(&router, "2001:db8::3").await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"5".parse().unwrap())
    );
    assert_eq!((&body["code"], &body["reason"]), (&json!(4), &json!("RATE_LIMITED")), "{body}");
    assert_eq!(body["details"]["limit"], "limits.handshakes_per_network", "{body}");
    let held = || world.app.ledger.held(Resource::AllHandshakes, Holder::Server);
    assert_eq!(held(), 3);
    tokio::time::sleep(Duration::from_secs(11)).await; // paces virtual time
    assert_eq!(held(), 0, "who says nothing for ten seconds is gone");
    assert_eq!(handshake(&router, "2001:db8::3").await.0, StatusCode::OK);
}

#[tokio::test]
async fn all_addresses_together_have_so_many_handshakes() {
    let world = World::new(|config| config.limits.handshakes = 2).await;
    let (router, _) = super::super::router(&world.app);
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(handshake(&router, address).await.0, StatusCode::OK);
    }
    let (status, headers, body) = handshake(&router, "192.0.2.3").await;
    assert_eq!((status, &body["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("UNAVAILABLE")));
    assert!(headers.contains_key("retry-after"));
}

#[tokio::test]
async fn handshakes_that_come_too_fast_are_refused_before_anything_is_kept() {
    let world = World::new(|config| {
        (config.limits.handshakes_per_minute, config.limits.handshakes_burst) = (1, 3);
    })
    .await;
    let (router, _) = super::super::router(&world.app);
    for _ in 0..3 {
        assert_eq!(handshake(&router, "192.0.2.1").await.0, StatusCode::OK);
    }
    for _ in 0..100 {
        let (status, headers, body) = handshake(&router, "192.0.2.1").await;
        assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!(4)), "{body}");
        assert!(headers.contains_key("retry-after"));
    }
    assert_eq!(world.app.ledger.held(Resource::AllHandshakes, Holder::Server), 3);
    assert_eq!(handshake(&router, "192.0.2.2").await.0, StatusCode::OK, "others go on");
}

#[tokio::test]
async fn a_token_gives_back_what_its_handshake_held() {
    let server = Listening::new(|_| ()).await;
    let open = server
        .ask(&format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await;
    let (_, body) = open.split_once("\r\n\r\n0").expect(&open);
    let open: Value = serde_json::from_str(body).unwrap();
    let path = format!("{POLLING}&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(server.held(Resource::Handshake), 1);
    let connect = format!("40{}", json!({ "token": server.token() }));
    let length = connect.len();
    let post = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{connect}"
    );
    assert!(server.ask(&post).await.starts_with("HTTP/1.1 200"));
    server.world.until(|| server.held(Resource::Handshake) == 0).await;
}

#[tokio::test]
async fn a_handshake_pins_neither_its_connection_nor_its_head() {
    let server = Listening::new(|_| ()).await;
    let padding = "x".repeat(20_000);
    let head = format!(
        "GET {POLLING}&filler={padding} HTTP/1.1\r\nHost: x\r\nX-Filler: {padding}\r\nConnection: close\r\n\r\n"
    );
    for _ in 0..20 {
        assert!(server.ask(&head).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(server.held(Resource::Handshake), 20);
    // Each connection holds its place until its descriptor is closed.
    server.world.until(|| server.held(Resource::Connection) == 0).await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_is_answered_why_not_more() {
    let server = Listening::new(|config| config.limits.connections_per_network = 2).await;
    let held: Vec<TcpStream> = vec![server.connect().await, server.connect().await];
    server.world.until(|| server.held(Resource::Connection) == 2).await;
    let answer = server.ask("").await;
    let (status, body) = seen(&answer);
    assert_eq!((status, &body["reason"]), (429, &json!("RATE_LIMITED")), "{answer}");
    assert_eq!(body["details"]["limit"], "limits.connections_per_network");
    assert!(answer.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{answer}");
    drop(held);
    server.world.until(|| server.held(Resource::Connection) == 0).await;
    let alive = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(server.ask(alive).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_of_trusted_proxies_are_not_counted() {
    let server = Listening::new(|config| {
        config.limits.connections_per_network = 1;
        config.server.trusted_proxies = ["127.0.0.1"].into_iter().collect();
    })
    .await;
    let _held = [server.connect().await, server.connect().await, server.connect().await];
    let alive = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(server.ask(alive).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.held(Resource::Connection), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_comes_whoever_sends_it() {
    let server = Listening::new(|_| ()).await;
    let (limit, payload) = (1_048_577, 262_145);
    for (path, length) in
        [("/api/chat/messages", limit), ("/whip/standup", limit), (POLLING, payload)]
    {
        for more in ["", "Expect: 100-continue\r\n"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n"
            );
            let answer = server.ask(&head).await;
            let (status, body) = seen(&answer);
            assert_eq!(
                (status, &body["reason"]),
                (413, &json!("BODY_TOO_LARGE")),
                "{path}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_is_asked_for_only_of_those_whose_token_is_good() {
    let server = Listening::new(|_| ()).await;
    let head = |token: &str| {
        format!(
            "POST /api/chat/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
        )
    };
    let answer = server.ask(&head("x.y.z")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let mut stream = server.connect().await;
    stream.write_all(head(&server.token()).as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test]
async fn bodies_of_one_address_under_way_are_bounded_and_those_that_stop_are_given_up() {
    let server = Listening::new(|config| config.limits.upload_bytes_per_network = 1000).await;
    let open = server
        .ask(&format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await;
    let (_, body) = open.split_once("\r\n\r\n0").expect(&open);
    let sid = serde_json::from_str::<Value>(body).unwrap()["sid"].as_str().unwrap().to_owned();
    let post =
        format!("POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 800\r\n\r\n4");
    let mut stopped = server.connect().await;
    stopped.write_all(post.as_bytes()).await.unwrap();
    server.world.until(|| server.held(Resource::BodyBytes) == 800).await;
    let (status, body) = seen(&server.ask(&post).await);
    assert_eq!(
        (status, &body["details"]["limit"]),
        (429, &json!("limits.upload_bytes_per_network"))
    );
    tokio::time::pause();
    let (status, body) = seen(&rest(&mut stopped).await);
    assert_eq!((status, &body["reason"]), (408, &json!("REQUEST_TIMEOUT")));
    server.world.until(|| server.held(Resource::BodyBytes) == 0).await;
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server =
        Listening::new(|config| config.server.hosts = ["chat.example"].into_iter().collect()).await;
    for (head, status) in [
        ("GET /health HTTP/1.1\r\nHost: chat.example\r\n", 200),
        ("GET /health HTTP/1.1\r\nHost: CHAT.example.:3001\r\n", 200),
        ("GET http://chat.example/health HTTP/1.1\r\nHost: chat.example\r\n", 200),
        ("GET /health HTTP/1.0\r\n", 200),
        ("GET /health HTTP/1.1\r\n", 400),
        ("GET /health HTTP/1.1\r\nHost: chat.example\r\nHost: chat.example\r\n", 400),
        ("GET /health HTTP/1.0\r\nHost: chat.example\r\nHost: chat.example\r\n", 400),
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET /health HTTP/1.1\r\nHost:\r\n", 403),
        ("GET http://evil.example/health HTTP/1.1\r\nHost: chat.example\r\n", 403),
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: chat.example\r\n", 403),
        ("GET /livez HTTP/1.1\r\nHost: 10.0.0.7:3001\r\n", 200),
    ] {
        let answer = server.ask(&format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!(seen(&answer).0, status, "{head}{answer}");
    }
}

#[tokio::test]
async fn tokens_for_development_are_for_pages_of_this_machine() {
    let server =
        Listening::over(World::dev(|config| config.server.host = "127.0.0.1".into()).await).await;
    let ask = async |host: &str| {
        let head = format!(
            "GET /api/admin/dev-token?userId=101 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        seen(&server.ask(&head).await).0
    };
    for host in ["localhost:3001", "127.0.0.1:3001", "[::1]:3001"] {
        assert_eq!(ask(host).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:3001", "127.0.0.1.evil.example"] {
        assert_eq!(ask(host).await, 403, "{host}: its name may point here (DNS rebinding)");
    }
}

#[tokio::test]
async fn monitors_without_a_token_are_not_counted_as_failures() {
    let api = Api::with(|config| {
        config.limits.rate_limits = true;
        config.limits.anonymous_per_minute = 1;
    })
    .await;
    let get = async |path: &str, token: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        api.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    for _ in 0..5 {
        assert_eq!(get("/health", None).await, 200);
    }
    assert_eq!(get("/api/me", None).await, 401, "its first failure");
    assert_eq!(get("/api/me", None).await, 429);
    assert_eq!(
        get("/api/me", Some(&api.token(1, Role::User))).await,
        200,
        "the good are not affected"
    );
}

#[tokio::test]
async fn answers_about_people_are_kept_by_no_cache() {
    let api = Api::new().await;
    for path in ["/api/me", "/v1/users", "/api/chat/conversations", "/api/info", "/nowhere"] {
        let request = Request::get(path).header(header::AUTHORIZATION, api.token(1, Role::User));
        let request = request.body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    }
}
