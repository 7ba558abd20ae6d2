//! Engine.IO where the library differs from the reference server: what clients of an older version are answered, and the codes of
//! its errors, which are numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Timestamp;
use crate::peer::ClientAddress;

/// A log line for old clients is written at most once in this many seconds.
const PAUSE: u64 = 3600;
/// `UNSUPPORTED_PROTOCOL_VERSION` of engine.io.
const UNSUPPORTED: u8 = 5;
const REMEDY: &str = "Unsupported protocol version: this server speaks Socket.IO 4 (EIO=4); use socket.io-client 3 or newer";
/// Bytes of an error's body at most.
const BODY: usize = 1024;

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
}

/// What stands around Engine.IO.
pub(super) async fn around(
    State(engine): State<EngineIo>,
    request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with("/socket.io") {
        return next.run(request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let version = query.split('&').find_map(|pair| pair.strip_prefix("EIO="));
    if version.is_some_and(|version| version != "4") {
        return engine.refuse(&request);
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
