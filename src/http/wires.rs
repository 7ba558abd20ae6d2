//! The connections under Socket.IO, as HTTP sees them: which websocket a session goes over to, and how a session by polling is ended.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::engine::is_engine;
use crate::peer::AbortHandle;
use crate::socket::{Sockets, Wires};

/// Notes the connections of sessions that go over from polling to a websocket.
pub(super) async fn note(
    State((wires, io)): State<(Arc<Wires>, Sockets)>,
    request: Request,
    next: Next,
) -> Response {
    let upgrading = upgrading(&request);
    let response = next.run(request).await;
    if let (Some((session, websocket)), StatusCode::SWITCHING_PROTOCOLS) =
        (upgrading, response.status())
    {
        wires.upgraded(&io, &session, websocket);
    }
    response
}

/// The session that a request brings over to its connection.
fn upgrading(request: &Request) -> Option<(String, AbortHandle)> {
    if !is_engine(request) || !request.headers().contains_key(http::header::UPGRADE) {
        return None;
    }
    let session = request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("sid="))?;
    Some((session.to_owned(), request.extensions().get().cloned()?))
}

/// Closes sessions by polling as their clients would, for as long as the server runs: the library offers no other way.
pub(super) async fn close_polling(engine: Router, mut sessions: mpsc::Receiver<String>) {
    while let Some(session) = sessions.recv().await {
        let uri = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
        let close = Request::builder().method(Method::POST).uri(uri).body(Body::from("1"));
        if let Ok(close) = close {
            // One that is gone already is answered so.
            let Ok(_) = engine.clone().oneshot(close).await;
        }
    }
}
