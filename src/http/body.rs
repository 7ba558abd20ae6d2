//! Bodies of requests: how large they may be, how many bytes of one address are under way, and how long they may take. What is too
//! large is refused before the first byte of it is read, and before `Expect: 100-continue` is answered (RFC 9110 §10.1.1).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Sleep;

use super::answer::Refusal;
use super::engine;
use crate::app::App;
use crate::error::{Problem, Reason};
use crate::ledger::{Entry, Full, Holder, Resource};
use crate::limits;
use crate::peer::{AbortHandle, ClientAddress};

/// How long a client may be silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a whole body may take, once a part of it has to be waited for.
const WHOLE: Duration = Duration::from_secs(25);

/// See the module.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let abort = request.extensions().get::<AbortHandle>().cloned();
    let declared = declared(&request);
    let most = match engine::is_engine(&request) {
        true => app.config.socket.max_payload,
        false => app.config.limits.body_bytes,
    };
    if declared.is_some_and(|length| length > most as u64) {
        return unread(abort.as_ref(), too_large(most).into());
    }
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let address = request.extensions().get().map(|ClientAddress(it)| it.as_str());
    let holder = Holder::Network(limits::network(address.unwrap_or_default()));
    let amount = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let entry = match app.ledger.hold_many(Resource::BodyBytes, holder, amount) {
        Ok(entry) => entry,
        Err(full) => return unread(abort.as_ref(), full.into()),
    };
    let state = Arc::new(Progress {
        late: AtomicBool::new(false),
        full: Mutex::default(),
        held: Mutex::new(Some(entry)),
    });
    let counts = declared.is_none();
    let request = request.map(|body| {
        Body::new(Watched {
            body,
            counts,
            silent: None,
            whole: None,
            abort: abort.clone(),
            state: state.clone(),
        })
    });
    let response = next.run(request).await;
    let refused = state.refused();
    drop(state.held.lock().take());
    refused.map_or(response, |problem| unread(None, problem.into()))
}

/// The length of a body as its head has it.
fn declared(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The problem of a body over the limit.
pub(super) fn too_large(limit: usize) -> Problem {
    let message = format!("The body is larger than {limit} bytes");
    Problem { reason: Reason::BodyTooLarge, message, details: Some(json!({ "limit": limit })) }
}

/// Refuses a request whose body is not read; the connection ends behind the answer.
fn unread(abort: Option<&AbortHandle>, refusal: Refusal) -> Response {
    if let Some(abort) = abort {
        abort.linger();
    }
    let mut response = refusal.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// How a body fares.
struct Progress {
    late: AtomicBool,
    full: Mutex<Option<Full>>,
    /// What it holds until the request has been answered.
    held: Mutex<Option<Entry>>,
}

impl Progress {
    fn refused(&self) -> Option<Problem> {
        if let Some(full) = self.full.lock().take() {
            return Some(full.into());
        }
        let late = self.late.load(Ordering::Relaxed);
        late.then(|| {
            let (silence, whole) = (SILENCE.as_secs(), WHOLE.as_secs());
            let message = format!(
                "The body did not come in time: {silence} s without a byte, or {whole} s in all"
            );
            Problem::new(Reason::RequestTimeout, message)
        })
    }

    /// Counts bytes of a body whose length was not declared.
    fn grow(&self, amount: usize) -> Result<(), Full> {
        let mut held = self.held.lock();
        if let Some(entry) = held.take() {
            *held = Some(entry.grow(amount)?);
        }
        Ok(())
    }
}

/// A body that has to make progress.
struct Watched {
    body: Body,
    /// Whether its bytes are counted as they come.
    counts: bool,
    silent: Option<Pin<Box<Sleep>>>,
    whole: Option<Pin<Box<Sleep>>>,
    abort: Option<AbortHandle>,
    state: Arc<Progress>,
}

impl Watched {
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let begin = |time| Box::pin(tokio::time::sleep(time));
        let silent = self.silent.get_or_insert_with(|| begin(SILENCE));
        let whole = self.whole.get_or_insert_with(|| begin(WHOLE));
        silent.as_mut().poll(cx).is_ready() || whole.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            if !self.is_late(cx) {
                return Poll::Pending;
            }
            self.state.late.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new("the body did not come in time"))));
        };
        self.silent = None;
        if let (true, Some(Ok(frame))) = (self.counts, &frame) {
            let amount = frame.data_ref().map_or(0, Bytes::len);
            if let Err(full) = self.state.grow(amount) {
                let error = axum::Error::new(full.clone());
                *self.state.full.lock() = Some(full);
                return Poll::Ready(Some(Err(error)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.as_ref().filter(|_| !self.body.is_end_stream()) {
            abort.linger();
        }
    }
}
