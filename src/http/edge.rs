//! What surrounds every request: its id and span, where it comes from, which pages may send it, how long it may take, and
//! the body of its failure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::app::App;
use crate::config::Config;
use crate::error::{Problem, Reason};
use crate::peer::ClientAddress;

/// How long a REST request may take, its body included.
const DEADLINE: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What pages of other origins may read of an answer, beside what every page may.
const EXPOSED: [HeaderName; 11] = [
    REQUEST_ID,
    header::RETRY_AFTER,
    header::LOCATION,
    header::ETAG,
    header::LINK,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("accept-post"),
    HeaderName::from_static("accept-patch"),
];

/// Puts the edge around the router.
pub(super) fn wrap(router: Router, app: &App) -> Router {
    around_cors(router, &app.config)
        .layer(from_fn_with_state(app.clone(), check_origin))
        .layer(from_fn_with_state(app.clone(), surround))
}

fn around_cors(router: Router, config: &Config) -> Router {
    router.layer(from_fn(unmask)).layer(cors(config)).layer(from_fn(mask))
}

/// Gives the request its id, its address and its span, and a failure its body.
async fn surround(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = format!("r-{}", &app.clock.id().simple().to_string()[20..]);
    let address = client_address(&request, &app.config);
    let span = tracing::info_span!("request", id, method = %request.method(), path = short(request.uri().path()));
    request.extensions_mut().insert(ClientAddress(address));
    if request.uri().path().starts_with("/socket.io") {
        detach(&mut request);
    }
    let begun = app.clock.instant();
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = refusal(&app, &problem, &id);
    }
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::debug!(status, ms = begun.elapsed().as_secs_f64() * 1000.0, "answered")
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Copies the head of a request. Its parts are slices of the buffer it was read into, and a websocket, which keeps its head
/// for as long as it lives, would keep all 8 KiB of it.
fn detach(request: &mut Request) {
    for value in request.headers_mut().values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
    if let Ok(copy) = request.uri().to_string().parse() {
        *request.uri_mut() = copy;
    }
}

/// The body of a failure.
fn refusal(app: &App, problem: &Problem, id: &str) -> Response {
    let now = app.clock.now();
    let mut status = problem.reason.status();
    let mut body = serde_json::to_value(problem.body(now, Some(id.to_owned()))).unwrap_or_default();
    let invalid_token = matches!(problem.reason, Reason::TokenInvalid | Reason::TokenExpired);
    if invalid_token && app.config.compat.invalid_token_403 {
        status = StatusCode::FORBIDDEN;
        body.as_object_mut().map(|body| body.insert("code".into(), 403.into()));
    }
    let mut response = (status, Json(body)).into_response();
    if let Some(wait) = problem.retry_after_ms() {
        response.headers_mut().insert(header::RETRY_AFTER, wait.div_ceil(1000).into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn short(path: &str) -> &str {
    path.get(..200).unwrap_or(path)
}

/// The peer's address, or what a trusted proxy says of it: the last forwarded address that is not itself a proxy's.
fn client_address(request: &Request, config: &Config) -> String {
    let peer = request
        .extensions()
        .get()
        .map(|ConnectInfo(address): &ConnectInfo<SocketAddr>| address.ip());
    let trusted = |ip: &str| config.server.trusted_proxies.iter().any(|proxy| proxy == ip);
    let peer = peer.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
    if !trusted(&peer) {
        return peer;
    }
    let forwarded = request
        .headers()
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let hops = forwarded.rsplit(',').map(str::trim).filter_map(|hop| hop.parse::<IpAddr>().ok());
    hops.map(|ip| ip.to_canonical().to_string()).find(|hop| !trusted(hop)).unwrap_or(peer)
}

/// Refuses what a page of a foreign origin sends; browsers do not protect websockets by themselves.
async fn check_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    if origin_allowed(request.headers(), &app.config) {
        return next.run(request).await;
    }
    let message = "Pages of this origin may not call this server; an operator can add it to server.allowed_origins";
    let mut response = StatusCode::FORBIDDEN.into_response();
    response.extensions_mut().insert(Problem::new(Reason::Forbidden, message));
    response
}

fn origin_allowed(headers: &HeaderMap, config: &Config) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    origins.next().is_none() && (is_listed(origin, config) || is_own(origin, headers))
}

fn is_listed(origin: &str, config: &Config) -> bool {
    config
        .server
        .allowed_origins
        .iter()
        .any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// Whether the page came from this very server.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// An OPTIONS request that asks no permission for another one, under another method.
#[derive(Clone, Copy)]
struct Masked;

/// Hides from CORS an OPTIONS request that is no preflight (Fetch §3.3.5), which CORS would answer in place of its route.
async fn mask(mut request: Request, next: Next) -> Response {
    let preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !preflight {
        *request.method_mut() = Method::GET;
        request.extensions_mut().insert(Masked);
    }
    next.run(request).await
}

/// Gives it back its method.
async fn unmask(mut request: Request, next: Next) -> Response {
    if request.extensions_mut().remove::<Masked>().is_some() {
        *request.method_mut() = Method::OPTIONS;
    }
    next.run(request).await
}

fn cors(config: &Config) -> CorsLayer {
    let origins = config.server.allowed_origins.iter();
    let origins: Vec<HeaderValue> =
        origins.filter_map(|origin| origin.trim_end_matches('/').parse().ok()).collect();
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.clone()))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::RANGE,
            HeaderName::from_static("x-user-id"),
        ])
        .expose_headers(EXPOSED)
        .max_age(Duration::from_secs(600));
    if origins.is_empty() { layer } else { layer.allow_credentials(true) }
}

/// Ends a request that takes too long; Socket.IO is outside of it.
pub(super) async fn deadline(State(_): State<App>, request: Request<Body>, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
            response.extensions_mut().insert(Problem::new(
                Reason::Unavailable,
                "The request took longer than 30 seconds",
            ));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(origin: &str, host: &str, allowed: &[&str]) -> bool {
        let mut config = Config::default();
        config.server.allowed_origins = allowed.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        origin_allowed(&headers, &config)
    }

    #[test]
    fn only_listed_origins_and_our_own_pages_are_welcome() {
        let allowed = ["https://yourapp.com"];
        assert!(welcome("https://yourapp.com", "chat.example", &allowed));
        assert!(welcome("http://chat.example:3001", "chat.example:3001", &allowed));
        assert!(welcome("https://chat.example", "chat.example:443", &[]));
        for foreign in [
            "null",
            "https://yourapp.com.evil",
            "https://evil-yourapp.com",
            "http://yourapp.com",
            "https://yourapp.com:444",
            "https://yourapp.co",
            "file://chat.example:3001",
        ] {
            assert!(!welcome(foreign, "chat.example:3001", &allowed), "{foreign}");
        }
    }

    async fn answered(request: http::request::Builder) -> Response {
        use axum::routing::{MethodRouter, get};
        use tower::ServiceExt as _;
        let mut config = Config::default();
        config.server.allowed_origins = vec!["https://yourapp.com".into()];
        let route: MethodRouter = get(async || "got")
            .options(async || ([("accept-post", "application/sdp")], StatusCode::NO_CONTENT))
            .post(async || ([("location", "/made"), ("etag", "\"1\"")], StatusCode::CREATED));
        let router = Router::new().route("/whip/{room}", route).method_not_allowed_fallback(
            async |method: Method| (StatusCode::METHOD_NOT_ALLOWED, method.to_string()),
        );
        let router = around_cors(router, &config);
        let request = request.uri("/whip/standup").header("origin", "https://yourapp.com");
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn names(response: &Response, header: HeaderName) -> Vec<String> {
        let text = response.headers().get(header).map(|text| text.to_str().unwrap().to_lowercase());
        text.unwrap_or_default().split(',').map(|name| name.trim().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_page_of_a_listed_origin_reads_what_publishing_and_files_answer() {
        let made = answered(Request::builder().method("POST")).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        let exposed = names(&made, header::ACCESS_CONTROL_EXPOSE_HEADERS);
        for name in ["location", "etag", "link", "content-range", "accept-ranges", "accept-patch"] {
            assert!(exposed.iter().any(|exposed| exposed == name), "{name}: {exposed:?}");
        }
        let asked = Request::builder().method("OPTIONS");
        let allowed = answered(asked.header("access-control-request-method", "PATCH")).await;
        assert_eq!(allowed.status(), StatusCode::OK);
        let headers = names(&allowed, header::ACCESS_CONTROL_ALLOW_HEADERS);
        assert!(headers.contains(&"if-match".to_owned()), "{headers:?}");
        let methods = names(&allowed, header::ACCESS_CONTROL_ALLOW_METHODS);
        assert!(methods.contains(&"options".to_owned()), "{methods:?}");
    }

    #[tokio::test]
    async fn an_options_request_that_is_no_preflight_reaches_its_route() {
        let answer = answered(Request::builder().method("OPTIONS")).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()["accept-post"], "application/sdp");
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://yourapp.com");
        let other = answered(Request::builder().method("PUT")).await;
        assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        let mut config = Config::default();
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 2], 5))));
        request
            .headers_mut()
            .insert("x-forwarded-for", "203.0.113.7, 198.51.100.9".parse().unwrap());
        assert_eq!(client_address(&request, &config), "10.0.0.2");
        config.server.trusted_proxies = vec!["10.0.0.2".into(), "198.51.100.9".into()];
        assert_eq!(client_address(&request, &config), "203.0.113.7");
    }
}
