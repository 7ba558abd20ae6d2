//! Engine.IO where the library differs from the reference server: what clients of an older version are answered, the codes of its
//! errors, which are numbers, and how many handshakes an address may make. A session costs memory from its handshake on, whether a
//! token ever comes or not: what a handshake holds is counted before the library sees it, and what it keeps is small.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Problem;
use crate::ledger::{Holder, Resource};
use crate::limits;
use crate::peer::{ClientAddress, Unproven};
use crate::strangers::Stranger;

/// A log line for old clients is written at most once in this many seconds.
const PAUSE: u64 = 3600;
/// `UNSUPPORTED_PROTOCOL_VERSION` of engine.io.
const UNSUPPORTED: u8 = 5;
const REMEDY: &str = "Unsupported protocol version: this server speaks Socket.IO 4 (EIO=4); use socket.io-client 3 or newer";
/// Bytes of an error's body at most.
const BODY: usize = 1024;
/// `FORBIDDEN` of engine.io, for handshakes that the server does not want now.
const FORBIDDEN: u8 = 4;
/// What a session keeps of the head of its handshake: what the transport needs, and what is read when the token comes.
const KEPT: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::CONTENT_TYPE,
];
/// Bytes of a credential at most; a longer one is none, and is not kept.
const CREDENTIAL: usize = 8 * 1024 + 16;
/// Bytes of any other header that a session keeps at most.
const HEADER: usize = 256;

/// See the module.
#[derive(Clone)]
pub(super) struct EngineIo {
    app: App,
    old: Arc<OldClients>,
}

#[derive(Default)]
struct OldClients {
    refused: AtomicU64,
    logged: Mutex<Option<Timestamp>>,
}

impl OldClients {
    /// Counts one more; how many there were since the last line when another one is due.
    fn count(&self, now: Timestamp) -> Option<u64> {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock();
        if logged.is_some_and(|at| now.since(at).as_secs() < PAUSE) {
            return None;
        }
        *logged = Some(now);
        self.refused.store(0, Ordering::Relaxed);
        Some(refused)
    }
}

impl EngineIo {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone(), old: Arc::default() }
    }

    /// Answers a client of Engine.IO 3 (Socket.IO 2 and older) as engine.io does when it is not to speak that version.
    fn refuse(&self, request: &Request) -> Response {
        metrics::counter!("rtc_socket_old_clients_total").increment(1);
        if let Some(refused) = self.old.count(self.app.clock.now()) {
            let address = request.extensions().get().map(|ClientAddress(it)| it.as_str());
            tracing::warn!(
                address = address.unwrap_or_default(),
                refused,
                "clients of Socket.IO 2 or older are refused; the remedy is socket.io-client 3 or newer (counted since the last such line)"
            );
        }
        let body = json!({ "code": UNSUPPORTED, "message": REMEDY });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }

    /// Counts a handshake, and notes in the request what it holds.
    fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        let (app, known) = (&self.app, request.extensions().get());
        let address = known.map(|ClientAddress(it)| it.as_str()).unwrap_or_default();
        app.limits.handshake(address)?;
        let network = Holder::Network(limits::network(address));
        let own = app.ledger.hold(Resource::Handshake, network)?;
        let all = app.ledger.hold(Resource::AllHandshakes, Holder::Server)?;
        let stranger = request.extensions().get::<Arc<Stranger>>().cloned();
        request.extensions_mut().insert(Unproven::new(vec![own, all], stranger));
        slim(request, app.config.compat.query_token);
        Ok(())
    }
}

/// Leaves in the head of a handshake what is needed later, in memory of its own: the session keeps it, and with it, unless it is a
/// copy, the whole buffer that it was read into.
fn slim(request: &mut Request, query_token: bool) {
    let mut kept = HeaderMap::with_capacity(KEPT.len());
    for name in KEPT {
        let most = if name == header::AUTHORIZATION { CREDENTIAL } else { HEADER };
        for value in request.headers().get_all(&name).iter().take(2) {
            let bytes = value.as_bytes();
            // Who connects with what may be shown short; what is a credential is whole or none.
            let short = bytes.get(..most).filter(|_| name == header::USER_AGENT);
            let copy = HeaderValue::from_bytes(short.unwrap_or(bytes))
                .ok()
                .filter(|copy| copy.len() <= most);
            if let Some(copy) = copy {
                kept.append(name.clone(), copy);
            }
        }
    }
    *request.headers_mut() = kept;
    let query = request.uri().query().unwrap_or_default();
    let wanted = |pair: &&str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "EIO" | "transport" | "b64" => value.len() <= HEADER,
            "token" => query_token && value.len() <= CREDENTIAL,
            _ => false,
        }
    };
    let query: Vec<&str> = query.split('&').filter(wanted).take(8).collect();
    let uri = format!("/socket.io/?{}", query.join("&"));
    if let Ok(uri) = uri.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
}

/// A handshake that is refused for now, in the shape of engine.io; clients come back by themselves.
fn refused(problem: &Problem) -> Response {
    let body = json!({
        "code": FORBIDDEN,
        "message": problem.message,
        "reason": problem.reason.code(),
        "details": problem.details,
    });
    let mut response = (problem.reason.status(), Json(body)).into_response();
    let wait = problem.retry_after_ms().unwrap_or(1000).div_ceil(1000);
    response.headers_mut().insert(header::RETRY_AFTER, wait.into());
    // It comes again later, by another connection.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether a request is for Engine.IO.
pub(super) fn is_engine(request: &Request) -> bool {
    let rest = request.uri().path().strip_prefix("/socket.io");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What stands around Engine.IO.
pub(super) async fn around(
    State(engine): State<EngineIo>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_engine(&request) {
        return next.run(request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key));
    if value("EIO=").is_some_and(|version| version != "4") {
        return engine.refuse(&request);
    }
    if value("sid=").is_none()
        && let Err(problem) = engine.admit(&mut request)
    {
        return refused(&problem);
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::BAD_REQUEST { numbered(response).await } else { response }
}

/// An error with its code as a number.
async fn numbered(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, BODY).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut error = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
    let code = error.get("code").and_then(Value::as_str).and_then(|code| code.parse::<u8>().ok());
    let (Some(code), Some(fields)) = (code, error.as_object_mut()) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    fields.insert("code".into(), code.into());
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_an_hour_says_how_many_old_clients_there_were() {
        let (old, noon) = (OldClients::default(), Timestamp(1_900_000_000_000));
        assert_eq!(old.count(noon), Some(1));
        assert_eq!(old.count(noon.after(Duration::from_secs(1))), None);
        assert_eq!(old.count(noon.after(Duration::from_secs(PAUSE - 1))), None);
        assert_eq!(old.count(noon.after(Duration::from_secs(PAUSE))), Some(3));
        assert_eq!(old.count(noon.after(Duration::from_secs(PAUSE + 1))), None);
    }
}
