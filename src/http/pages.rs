//! The pages: built by `web/`, embedded in the release binary, read from disk in a debug build.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use rust_embed::RustEmbed;

use super::answer::no_route;
use crate::app::App;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Pages;

/// Scripts and styles of this server only; websockets to it; pictures and media made in the page.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; \
    style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

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
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, file.data.into_owned()).into_response()
}

fn unbuilt() -> Response {
    let text =
        "The pages are not built. Run `make web` (or `make run`, which does it), then reload.\n";
    (http::StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
        .into_response()
}
