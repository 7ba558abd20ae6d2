//! A local HTTP server for tests of what this server asks others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

/// Answers every request in the same way, and counts them.
pub(crate) struct Backend {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
}

impl Backend {
    /// Starts one; `answer` gets the bearer token of each request.
    pub(crate) async fn start<F>(
        answer: impl Fn(String) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = (u16, String)> + Send,
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let reply = async move |request: Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let header = request.headers().get("authorization").map(|it| it.to_str().unwrap());
            let token = header.and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default();
            let (status, body) = answer(token.to_owned()).await;
            (http::StatusCode::from_u16(status).unwrap(), body).into_response()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply);
        tokio::spawn(super::serve(listener, router, std::future::pending()));
        Self { url, asked }
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A request that a receiver of webhooks got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Received {
    /// A header, which is there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An endpoint of webhooks, which keeps what it gets.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<std::sync::Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Starts one; `answer` says with which status and headers each request is answered.
    pub(crate) async fn start(
        answer: impl Fn(&Received) -> (u16, Vec<(&'static str, &'static str)>)
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let received = Arc::<std::sync::Mutex<Vec<Received>>>::default();
        let kept = received.clone();
        let reply = async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let request = Received { headers: parts.headers, body };
            let (status, headers) = answer(&request);
            kept.lock().unwrap().push(request);
            let mut response = http::StatusCode::from_u16(status).unwrap().into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply);
        tokio::spawn(super::serve(listener, router, std::future::pending()));
        Self { url, received }
    }

    /// What it got so far, in its order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}
