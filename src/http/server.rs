//! Accepts connections, and closes those that send no request in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::admission::{self, Admission, Admitted};
use crate::app::App;
use crate::peer::{AbortHandle, Stream};
use crate::strangers::Stranger;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// How long running requests may take when the server stops.
const LAST: Duration = Duration::from_secs(5);
/// How long a probe of health may take when there are no descriptors for clients.
const PROBE: Duration = Duration::from_secs(2);
/// How many connections may wait to be accepted (the kernel's own bound, `net.core.somaxconn`, may be less).
const BACKLOG: i32 = 4096;

/// Serves clients until `stop` resolves, then lets running requests finish. Each address, and all together, have so many connections.
pub async fn serve_clients(
    listener: TcpListener,
    app: &App,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    if let Err(error) = SockRef::from(&listener).listen(BACKLOG) {
        tracing::warn!(%error, "the queue of connections that wait to be accepted stays short");
    }
    accept_all(listener, Some(&Admission::new(app)), router, stop).await;
}

/// Serves whoever connects, for listeners that strangers do not reach.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    accept_all(listener, None, router, stop).await;
}

async fn accept_all(
    listener: TcpListener,
    admission: Option<&Admission>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(false);
    // Each connection holds a sender; when the last one is gone, so is the last request.
    let (running, mut gone) = mpsc::channel::<()>(1);
    let server = Server { router, stopped, running };
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.take(admission, stream, peer),
                Err(error) => {
                    // Out of descriptors, most likely: those that close make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    drop((listener, server));
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(LAST, gone.recv()).await;
}

struct Server {
    router: Router,
    stopped: watch::Receiver<bool>,
    running: mpsc::Sender<()>,
}

impl Server {
    fn take(&self, admission: Option<&Admission>, stream: TcpStream, peer: SocketAddr) {
        let Some(admission) = admission else {
            let (stream, abort) = Stream::new(stream, None);
            return self.serve(stream, abort, peer, None);
        };
        match admission.admit(stream, peer) {
            Admitted::Serve(stream, held, stranger) => {
                let (mut stream, abort) = Stream::new(stream, held);
                let stranger = stranger.map(|(network, place)| {
                    admission.strangers().enter(place, network, abort.clone())
                });
                if let Some(stranger) = &stranger {
                    stream.is_of(stranger.clone());
                }
                self.serve(stream, abort, peer, stranger);
            }
            Admitted::Probe(stream) => self.probe(stream, peer),
            Admitted::Refused => {}
        }
    }

    fn serve(
        &self,
        stream: Stream,
        abort: AbortHandle,
        peer: SocketAddr,
        stranger: Option<Arc<Stranger>>,
    ) {
        let (router, mut stopped) = (self.router.clone(), self.stopped.clone());
        let running = self.running.clone();
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(abort.clone());
            if let Some(stranger) = &stranger {
                request.extensions_mut().insert(stranger.clone());
            }
            router.clone().oneshot(request.map(axum::body::Body::new))
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
        tokio::spawn(async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection.with_upgrades());
            let outcome = tokio::select! {
                outcome = &mut connection => outcome,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(running);
        });
    }

    /// Answers one request when there are no descriptors for clients: whether the server is alive, and otherwise that it is full.
    fn probe(&self, stream: TcpStream, peer: SocketAddr) {
        let router = self.router.clone();
        let (stream, _) = Stream::new(stream, None);
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            let router = router.clone();
            async move {
                if !is_probe(request.uri().path()) {
                    return Ok(full());
                }
                request.extensions_mut().insert(ConnectInfo(peer));
                router.oneshot(request.map(axum::body::Body::new)).await
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.keep_alive(false).max_buf_size(16 * 1024);
        tokio::spawn(async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(PROBE, connection).await;
        });
    }
}

/// Whether monitors ask for this.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

fn full() -> Response {
    let problem = admission::no_descriptor();
    let wait = problem.retry_after_ms().unwrap_or_default().div_ceil(1000);
    let mut response = (problem.reason.status(), problem.message).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    response
}
