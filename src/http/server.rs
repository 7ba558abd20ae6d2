//! Accepts connections, and closes those that send no request in time.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use crate::peer::Stream;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// How long running requests may take when the server stops.
const LAST: Duration = Duration::from_secs(5);

/// Serves until `stop` resolves, then lets running requests finish.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(false);
    // Each connection holds a sender; when the last one is gone, so is the last request.
    let (running, mut gone) = mpsc::channel::<()>(1);
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => accept(stream, peer, router.clone(), stopped.clone(), running.clone()),
                Err(error) => {
                    // Out of descriptors, most likely: those that close make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    drop((listener, running));
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(LAST, gone.recv()).await;
}

fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    running: mpsc::Sender<()>,
) {
    let (stream, severable) = Stream::new(stream);
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(severable.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    tokio::spawn(async move {
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
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
