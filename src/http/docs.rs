//! The descriptions of the API, made from the code that answers it.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement,
};

use crate::app::App;
use crate::{error, event, socket};

/// The head of the description.
pub(super) fn info() -> OpenApi {
    let about = "Every answer is `{\"data\",\"meta\"}`, every error `{\"error\",\"code\",\"reason\",\"timestamp\"}`. \
        `/v1/*` is the same as `/api/chat/*`, `/v1/calls/*` the same as `/api/calls/*`.";
    let info = InfoBuilder::new()
        .title("Switchboard")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(about));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let mut components = ComponentsBuilder::new().security_scheme("bearer", bearer);
    let mut schemas = event::Schemas::new();
    event::register::<error::ErrorBody>(&mut schemas);
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let scopes: [String; 0] = [];
    let security = SecurityRequirement::new("bearer", scopes);
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components.build()))
        .security(Some([security]))
        .build()
}

/// The OpenAPI document.
pub fn openapi() -> OpenApi {
    super::api().into_openapi()
}

pub(super) fn router(description: &OpenApi) -> Router<App> {
    let text = |text: String| {
        let text: Arc<str> = text.into();
        get(async move || {
            ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
        })
    };
    let openapi = description.to_json().unwrap_or_default();
    let asyncapi = socket::describe().to_string();
    Router::new()
        .route("/api/openapi.json", text(openapi))
        .route("/api/asyncapi.json", text(asyncapi))
}
