//! Which names of this server requests may use. A page of a foreign name that resolves to this machine (DNS rebinding) reaches a
//! server that answers under any name, and with `--dev` that server hands out tokens.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{Version, header};

use super::answer::Refusal;
use super::origin::ByProxy;
use super::{forwarded, server};
use crate::app::App;
use crate::config::HostNames;
use crate::error::{Problem, Reason};

/// The names that `--dev` answers to beside the one that it listens on.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Says loudly what a server for development gives to a network.
pub(super) fn warn_if_exposed(app: &App) {
    let host = &app.config.server.host;
    if app.dev && !is_local(host) {
        tracing::warn!(
            host,
            "--dev LISTENS BEYOND THIS MACHINE: whoever reaches it gets a token of any user, admins included. For trying out in a network that you trust, and for nothing else."
        );
    }
}

fn is_local(host: &str) -> bool {
    let address = HostNames::bare(host).parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

/// Refuses requests that name no host or two, or a host that this server does not answer to.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    match refusal(&app, &request) {
        None => next.run(request).await,
        Some(problem) => Refusal(problem).into_response(),
    }
}

fn refusal(app: &App, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let named: Vec<_> = headers.get_all(header::HOST).iter().collect();
    // What a test hands to the router comes over no connection.
    let connected = request.extensions().get::<ConnectInfo<SocketAddr>>().is_some();
    let needed = connected && request.version() == Version::HTTP_11;
    if named.len() > 1 || (needed && named.is_empty()) {
        let message = "A request names its host in one Host header (RFC 9112 §3.2)";
        return Some(Problem::invalid("Host", message));
    }
    // Monitors ask by address, and learn nothing else.
    if server::is_probe(request.uri().path()) {
        return None;
    }
    let wrong = own_names(request).into_iter().find(|host| !is_known(app, host));
    wrong.map(|_| {
        let message =
            "This server does not answer to this host name; an operator can add it to server.hosts";
        Problem::new(Reason::Forbidden, message)
    })
}

/// The hosts that a request names: those that trusted proxies were asked for, or else its own.
pub(super) fn own_names(request: &Request) -> Vec<String> {
    let headers = request.headers();
    let by_proxy = request.extensions().get::<ByProxy>().is_some();
    let forwarded = if by_proxy { forwarded::hosts(headers) } else { Vec::new() };
    if !forwarded.is_empty() {
        return forwarded;
    }
    // An absolute target counts before the header (RFC 9112 §3.2.2); both have to be known.
    let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let header = headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?").to_owned());
    target.into_iter().chain(header).collect()
}

fn is_known(app: &App, host: &str) -> bool {
    let config = &app.config.server;
    if !app.dev {
        return config.hosts.is_empty() || config.hosts.contains(host);
    }
    let (host, own) = (HostNames::bare(host), HostNames::bare(&config.host));
    let literal = host.parse::<IpAddr>();
    let everywhere = own.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    LOCAL.contains(&host.as_str())
        || host == own
        || config.hosts.contains(&host)
        // An address is no name that somebody else could point here.
        || (everywhere && literal.is_ok())
}
