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

#[tokio::test]
async fn after_too_many_bad_tokens_from_an_address_the_backend_is_asked_only_about_those_it_knows()
{
    let (url, asked) = backend().await;
    let api = Api::with(|config| {
        config.auth.mode = AuthMode::Introspect;
        config.auth.introspect_url = url;
        config.auth.introspect_cache = 30;
        config.limits.rate_limits = true;
        config.limits.anonymous_per_minute = 3;
    })
    .await;
    assert_eq!(me(&api, "at-the-top").await.0, 200);
    for n in 0..3 {
        assert_eq!(me(&api, &format!("bad-{n}")).await, (401, json!("TOKEN_INVALID")));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    for n in 3..50 {
        assert_eq!(me(&api, &format!("bad-{n}")).await, (429, json!("RATE_LIMITED")));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "the bucket comes before the backend");
    assert_eq!(me(&api, "at-the-top").await.0, 200, "the answer is kept");
    api.world.clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(me(&api, "at-the-top").await.0, 200, "it was good, and is asked about again");
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_the_backend_says_of_a_person_is_taken_only_where_it_fits() {
    let answer = async |_: String| {
        let person = json!({ "id": 9, "uid": "u\n9", "name": "A\u{7}da", "email": "x".repeat(300), "parent_type": "y".repeat(41) });
        (200, person.to_string())
    };
    let backend = super::super::backend::Backend::start(answer).await;
    let api = api(backend.url.clone()).await;
    let (status, me) = me(&api, "any").await;
    assert_eq!(status, 200);
    for field in ["name", "email", "userType"] {
        assert_eq!(me[field], Value::Null, "{field}: {me}");
    }
    assert_ne!(me["uid"], json!("u\n9"));
}

#[tokio::test]
async fn questions_to_the_backend_are_bounded_and_the_bearer_is_not_blamed() {
    let (begun, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (begins, released) = (begun.clone(), release.clone());
    let answer = move |_: String| {
        let (begins, released) = (begins.clone(), released.clone());
        async move {
            begins.fetch_add(1, Ordering::SeqCst);
            released.notified().await;
            (200, json!({ "id": 7 }).to_string())
        }
    };
    let backend = super::super::backend::Backend::start(answer).await;
    let api = Api::with(|config| {
        config.auth.mode = AuthMode::Introspect;
        config.auth.introspect_url = backend.url.clone();
        config.limits.rate_limits = true;
        config.limits.backend_requests = 1;
        // The first is charged while it is under way, the others are given back.
        config.limits.anonymous_per_minute = 2;
    })
    .await;
    let second = async {
        api.world.until(|| begun.load(Ordering::SeqCst) == 1).await;
        for _ in 0..3 {
            let request = Request::get("/api/me").header(header::AUTHORIZATION, "Bearer second");
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                (answer.status.as_u16(), &body["details"]["limit"]),
                (503, &json!("limits.backend_requests"))
            );
        }
        release.notify_one();
    };
    let (first, ()) = tokio::join!(me(&api, "first"), second);
    assert_eq!(first.0, 200);
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}
