//! The pages: built by `web/`, embedded in the release binary, read from disk in a debug build.

use std::borrow::Cow;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use rust_embed::RustEmbed;

use super::answer::no_route;
use super::host;
use crate::app::App;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Pages;

/// Scripts and styles of this server only; pictures and media made in the page.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'; connect-src 'self'";
/// What the pages may use, and pages inside them may not.
const PERMISSIONS: &str =
    "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async || page("index.html").await))
        .route("/demo", get(async || page("demo.html").await))
        .route("/demo/room", get(async || page("room.html").await))
        .route("/demo/recordings", get(async || page("recordings.html").await))
        .route("/docs", get(async || page("docs.html").await))
        .route("/docs/client", get(async || page("client.html").await))
        .route("/assets/{*path}", get(asset))
        .route("/favicon.svg", get(async || page("favicon.svg").await))
        .layer(from_fn(protect))
}

/// Says what a page may do: connect to this server alone, under the names that it was asked for.
async fn protect(request: Request, next: Next) -> Response {
    let policy = policy(&host::own_names(&request));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Not every browser takes `'self'` for websockets as well, so they are named.
fn policy(names: &[String]) -> String {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let names = names.iter().filter(|name| !name.is_empty() && name.bytes().all(legal));
    let sockets = names.map(|name| format!(" ws://{name} wss://{name}"));
    sockets.fold(POLICY.to_owned(), |policy, more| policy + &more)
}

async fn asset(request: Request) -> Response {
    page(request.uri().path().trim_start_matches('/')).await
}

async fn page(path: &str) -> Response {
    let Some(file) = Pages::get(path) else {
        return if path.ends_with(".html") { unbuilt() } else { no_route().await.into_response() };
    };
    let cache = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
        (header::CACHE_CONTROL, cache.to_owned()),
    ];
    // What is in the program is shared by all responses.
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    (headers, bytes).into_response()
}

fn unbuilt() -> Response {
    let text =
        "The pages are not built. Run `make web` (or `make run`, which does it), then reload.\n";
    (http::StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_connect_to_this_server_alone() {
        let named = policy(&["chat.example:3001".into(), "[::1]:80".into()]);
        assert!(named.ends_with(
            "connect-src 'self' ws://chat.example:3001 wss://chat.example:3001 ws://[::1]:80 wss://[::1]:80"
        ));
        for odd in ["", "a b", "evil; script-src *", "x,y", "'unsafe-inline'"] {
            assert!(policy(&[odd.into()]).ends_with("connect-src 'self'"), "{odd}");
        }
    }
}
