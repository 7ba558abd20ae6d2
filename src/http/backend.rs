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
