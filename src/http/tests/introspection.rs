//! `auth.mode = "introspect"`: a backend of the application says who the bearer of a token is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use http::HeaderMap;
use tokio::net::TcpListener;

use super::*;
use crate::config::AuthMode;

/// A backend that knows some tokens, and how often it was asked.
async fn backend() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let answer = async move |headers: HeaderMap| {
        counting.fetch_add(1, Ordering::Relaxed);
        let token = headers[header::AUTHORIZATION]
            .to_str()
            .unwrap()
            .trim_start_matches("Bearer ")
            .to_owned();
        let person = json!({ "id": 7, "uid": 70, "name": "Ada", "parent_type": "guardian" });
        let redirect = ("location", "http://127.0.0.1:1/");
        let (status, body) = match token.as_str() {
            "at-the-top" => (200, person),
            "under-data" => (200, json!({ "data": person })),
            "under-user" => (200, json!({ "user": { "userId": "7", "role": "admin" } })),
            "nobody" => (200, json!({ "detail": "who knows" })),
            "huge" => (200, json!({ "id": 7, "filler": "x".repeat(300 * 1024) })),
            "text" => (200, json!("Ada")),
            "moved" => (302, person),
            "broken" => (500, json!({})),
            "busy" => (429, json!({})),
            _ => (401, json!({})),
        };
        (StatusCode::from_u16(status).unwrap(), [redirect], axum::Json(body))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/auth/get-other-parent/", get(answer));
    tokio::spawn(super::super::server::serve(listener, router, std::future::pending()));
    (format!("http://{address}/auth/"), asked)
}

async fn api(url: String) -> Api {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Api::with(|config| {
        config.auth.mode = AuthMode::Introspect;
        config.auth.introspect_url = url;
        config.auth.introspect_cache = 30;
    })
    .await
}

async fn me(api: &Api, token: &str) -> (u16, Value) {
    let request = Request::get("/api/me").header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = api.send(request.body(Body::empty()).unwrap()).await;
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    let seen =
        if answer.status.is_success() { value["data"].clone() } else { value["reason"].clone() };
    (answer.status.as_u16(), seen)
}

#[tokio::test]
async fn who_somebody_is_comes_from_the_backend_in_any_of_its_forms() {
    let (url, _) = backend().await;
    let api = api(url).await;
    for (token, name, role) in [
        ("at-the-top", json!("Ada"), "user"),
        ("under-data", json!("Ada"), "user"),
        ("under-user", Value::Null, "admin"),
    ] {
        let (status, me) = me(&api, token).await;
        assert_eq!(
            (status, &me["userId"], &me["role"]),
            (200, &json!(7), &json!(role)),
            "{token}: {me}"
        );
        if name != Value::Null {
            assert_eq!(
                (&me["name"], &me["uid"], &me["userType"]),
                (&name, &json!("70"), &json!("guardian"))
            );
        }
    }
}

#[tokio::test]
async fn what_the_backend_does_not_vouch_for_is_refused_and_its_failures_are_not_the_bearers() {
    let (url, _) = backend().await;
    let api = api(url).await;
    for (token, status, reason) in [
        ("unknown", 401, "TOKEN_INVALID"),
        ("nobody", 401, "TOKEN_INVALID"),
        ("text", 401, "TOKEN_INVALID"),
        ("moved", 401, "TOKEN_INVALID"),
        ("huge", 503, "UNAVAILABLE"),
        ("broken", 503, "UNAVAILABLE"),
        ("busy", 503, "UNAVAILABLE"),
    ] {
        assert_eq!(me(&api, token).await, (status, json!(reason)), "{token}");
    }
    let nobody_listens = super::introspection::api("http://127.0.0.1:1".into()).await;
    assert_eq!(me(&nobody_listens, "at-the-top").await, (503, json!("UNAVAILABLE")));
}

#[tokio::test]
async fn answers_are_kept_for_a_while_bad_ones_too_and_failures_never() {
    let (url, asked) = backend().await;
    let api = api(url).await;
    for (token, rounds) in [("at-the-top", 1), ("unknown", 1), ("broken", 5)] {
        asked.store(0, Ordering::Relaxed);
        for _ in 0..5 {
            me(&api, token).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), rounds, "{token}");
    }
    api.world.clock.advance(std::time::Duration::from_secs(31));
    asked.store(0, Ordering::Relaxed);
    me(&api, "at-the-top").await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "what was kept has run out");
}
