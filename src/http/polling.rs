//! Long polling of Socket.IO: a connection that is refused ends with the refusal.
//!
//! Clients close a refused connection themselves, and wait for the poll that is under way. Some send no close packet when another of
//! their requests is under way at that moment (python-socketio, which then answers the first ping): their poll would be held until the
//! next ping, and they would seem to hang. So the refusal is followed by the close packet of Engine.IO, which ends the poll, the
//! session on the client, and all waiting.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, header};

use super::engine::is_engine;

/// Separates packets of a payload (Engine.IO 4).
const SEPARATOR: u8 = 0x1e;
/// A message (4) with a CONNECT_ERROR (4) of Socket.IO in it.
const REFUSAL: &[u8] = b"44";
/// The close packet.
const CLOSE: u8 = b'1';

/// Adds the close packet to polls that refuse a connection.
pub(super) async fn end_refused(request: Request, next: Next) -> Response {
    let polls = is_poll(&request);
    let response = next.run(request).await;
    if !polls {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The payload is in memory already; a body that breaks off is a connection that is gone.
    let payload = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let payload = match refuses(&payload) {
        true => closed(&payload),
        false => payload,
    };
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(payload.len()));
    Response::from_parts(parts, Body::from(payload))
}

fn is_poll(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let has = |wanted: &str| query.split('&').any(|pair| pair.starts_with(wanted));
    request.method() == Method::GET && is_engine(request) && has("transport=polling") && has("sid=")
}

fn refuses(payload: &[u8]) -> bool {
    payload.split(|byte| *byte == SEPARATOR).any(|packet| packet.starts_with(REFUSAL))
}

fn closed(payload: &[u8]) -> Bytes {
    let mut closed = payload.to_vec();
    closed.extend([SEPARATOR, CLOSE]);
    closed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_seen_among_other_packets_and_nothing_else_is_one() {
        for refusal in ["44{\"message\":\"no\"}", "2\u{1e}44{\"message\":\"no\"}"] {
            assert!(refuses(refusal.as_bytes()), "{refusal}");
            assert!(closed(refusal.as_bytes()).ends_with(b"}\x1e1"));
        }
        for other in ["", "2", "6", "40{\"sid\":\"x\"}", "42[\"a\",\"44\"]", "43[{}]", "41"] {
            assert!(!refuses(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_poll_is_a_get_with_a_session() {
        let request = |method: Method, uri: &str| {
            Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
        };
        let poll = "/socket.io/?EIO=4&transport=polling&t=x&sid=abc";
        assert!(is_poll(&request(Method::GET, poll)));
        assert!(!is_poll(&request(Method::POST, poll)));
        for uri in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io/?transport=websocket&sid=a",
            "/api/me?transport=polling&sid=a",
        ] {
            assert!(!is_poll(&request(Method::GET, uri)), "{uri}");
        }
    }
}
