//! REST and the pages: decode, one rule, encode.

mod admin;
mod admission;
mod answer;
#[cfg(test)]
pub(crate) mod backend;
mod body;
mod calls;
mod chat;
mod docs;
mod edge;
mod engine;
mod extract;
mod forwarded;
mod host;
mod origin;
mod pages;
mod polling;
mod recordings;
mod rooms;
mod server;
mod system;
#[cfg(test)]
mod tests;
mod users;
mod webhooks;
mod whip;
mod wires;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::socket::{self, SocketParts};

pub use docs::openapi;
pub use server::{serve, serve_clients};
pub use system::metrics_router;

/// Every endpoint with its description.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::info())
        .merge(system::router())
        .merge(admin::router())
        .merge(webhooks::router())
        .nest("/api", users::router())
        .nest("/api/chat", users::directory_router().merge(chat::router()))
        .nest("/api/calls", calls::router())
        .nest("/api/recordings", recordings::router())
        .nest("/api/rooms", rooms::router())
        .merge(whip::router())
}

/// The whole server as one service: endpoints, aliases of the original, pages, and Socket.IO in front. Within a runtime, in which
/// connections are closed.
pub fn router(app: &App) -> (Router, socket::Sockets) {
    let (rest, mut description) = api().split_for_parts();
    docs::complete(&mut description);
    // The original serves the same under /v1.
    let (chat, _) = users::directory_router().merge(chat::router()).split_for_parts();
    let (calls, _) = calls::router().split_for_parts();
    let SocketParts { layer, io, wires, closing } = socket::layer(app);
    let router = rest
        .nest("/v1", chat)
        .nest("/v1/calls", calls)
        .merge(docs::router(&description))
        .merge(pages::router())
        .fallback(answer::no_route)
        .method_not_allowed_fallback(answer::no_method)
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes))
        .layer(from_fn_with_state(app.clone(), edge::deadline))
        .with_state(app.clone())
        .layer(layer);
    tokio::spawn(wires::close_polling(router.clone(), closing));
    let router = router
        .layer(from_fn_with_state((wires, io.clone()), wires::note))
        .layer(from_fn(polling::end_refused));
    (edge::wrap(router, app), io)
}
