//! Which pages may call: exact origins, this server's own pages, and what CORS says to browsers (Fetch §3.2).

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::forwarded;
use crate::app::App;
use crate::config::Config;
use crate::error::{Problem, Reason};

/// What pages of other origins may read of an answer, beside what every page may.
const EXPOSED: [HeaderName; 11] = [
    HeaderName::from_static("x-request-id"),
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

/// A request that comes from a trusted proxy, whose word on the host counts.
#[derive(Clone, Copy)]
pub(super) struct ByProxy;

/// Refuses what a page of a foreign origin sends; browsers do not protect websockets by themselves.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let by_proxy = request.extensions().get::<ByProxy>().is_some();
    if origin_allowed(request.headers(), by_proxy, &app.config) {
        return next.run(request).await;
    }
    let message = "Pages of this origin may not call this server; an operator can add it to server.allowed_origins";
    let mut response = StatusCode::FORBIDDEN.into_response();
    response.extensions_mut().insert(Problem::new(Reason::Forbidden, message));
    response
}

fn origin_allowed(headers: &HeaderMap, by_proxy: bool, config: &Config) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    origins.next().is_none() && (is_listed(origin, config) || is_own(origin, headers, by_proxy))
}

fn is_listed(origin: &str, config: &Config) -> bool {
    config
        .server
        .allowed_origins
        .iter()
        .any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// Whether the page came from this very server, under the name that the client asked for. No page can write the headers that say
/// so: they would need a preflight, which allows none of them.
fn is_own(origin: &str, headers: &HeaderMap, by_proxy: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let forwarded = if by_proxy { forwarded::hosts(headers) } else { Vec::new() };
    host.into_iter().chain(forwarded).any(|host| bare(authority) == bare(&host))
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

/// Answers preflights, and says which pages may read an answer.
pub(super) fn around_cors(router: Router, config: &Config) -> Router {
    router.layer(from_fn(unmask)).layer(cors(config)).layer(from_fn(mask))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, names: &[(&'static str, &str)], by_proxy: bool) -> bool {
        let mut config = Config::default();
        config.server.allowed_origins = vec!["https://yourapp.com".into()];
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        for (name, value) in names {
            headers.append(*name, value.parse().unwrap());
        }
        origin_allowed(&headers, by_proxy, &config)
    }

    #[test]
    fn only_listed_origins_and_our_own_pages_are_welcome() {
        let host = [("host", "chat.example:3001")];
        assert!(allowed("https://yourapp.com", &host, false));
        assert!(allowed("http://chat.example:3001", &host, false));
        assert!(allowed("https://chat.example", &[("host", "chat.example:443")], false));
        for foreign in [
            "null",
            "https://yourapp.com.evil",
            "https://evil-yourapp.com",
            "http://yourapp.com",
            "https://yourapp.com:444",
            "https://yourapp.co",
            "file://chat.example:3001",
        ] {
            assert!(!allowed(foreign, &host, false), "{foreign}");
        }
    }

    #[test]
    fn the_name_that_a_trusted_proxy_was_asked_for_is_our_own() {
        let replaced = [("host", "127.0.0.1:3001"), ("x-forwarded-host", "chat.example")];
        assert!(allowed("https://chat.example", &replaced, true));
        assert!(!allowed("https://chat.example", &replaced, false), "any client could say so");
        assert!(!allowed("https://evil.example", &replaced, true));
        let standard =
            [("host", "127.0.0.1:3001"), ("forwarded", "for=192.0.2.7;host=\"chat.example:443\"")];
        assert!(allowed("https://chat.example", &standard, true));
    }
}
