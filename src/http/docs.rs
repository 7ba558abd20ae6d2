//! The descriptions of the API, made from the code that answers it.

use std::collections::HashMap;
use std::sync::OnceLock;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use bytes::Bytes;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr,
    Response, ResponseBuilder, Schema, SecurityRequirement,
};

use crate::app::App;
use crate::error::Reason;
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
    let mut description = super::api().into_openapi();
    complete(&mut description);
    description
}

/// Adds what every operation has: a name of its own, a sentence for every response, and the errors by their reasons.
pub(super) fn complete(description: &mut OpenApi) {
    let mut names = HashMap::<String, usize>::new();
    for (_, operation) in operations(description) {
        *names.entry(operation.operation_id.clone().unwrap_or_default()).or_default() += 1;
    }
    for (path, operation) in operations(description) {
        if let Some(name) = &mut operation.operation_id
            && names.get(name).is_some_and(|count| *count > 1)
        {
            let tag = operation.tags.iter().flatten().next();
            *name = format!("{}_{name}", tag.map_or("other", String::as_str).to_lowercase());
        }
        let has_body = operation.request_body.is_some();
        // What a body or a parameter names may be missing; so are the routes of operators on other servers.
        let has_place = has_body
            || path.contains('{')
            || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty())
            || path.starts_with("/api/admin/");
        let responses = &mut operation.responses.responses;
        for (status, response) in responses.iter_mut() {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = sentence(status);
            }
        }
        for status in
            [400, 401, 403, 404, 406, 408, 409, 410, 412, 413, 415, 416, 422, 429, 500, 503, 507]
        {
            let fits = match status {
                408 | 413 | 415 | 507 => has_body,
                404 => has_place,
                406 | 422 => path.starts_with("/whip/") || path.starts_with("/whep/"),
                410 => path == "/api/sync" || path.starts_with("/api/calls/{"),
                412 => path.starts_with("/wh") && path.contains("/sessions/"),
                416 => path.ends_with("/files/{fileId}"),
                _ => true,
            };
            if fits {
                responses.entry(status.to_string()).or_insert_with(|| failure(status));
            }
        }
    }
}

/// What a request to an unknown path may try instead, as the original lists it: `METHOD /path` each.
pub(super) fn endpoints(dev: bool) -> Vec<String> {
    static ALL: OnceLock<Vec<String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut description = super::api().into_openapi();
        let mut all = Vec::new();
        for (path, item) in &mut description.paths.paths {
            all.extend(methods(item).map(|(method, _)| format!("{method} {path}")));
        }
        all
    });
    all.iter().filter(|name| dev || !name.contains("/dev-token")).cloned().collect()
}

fn methods(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    let all = [
        ("GET", get),
        ("PUT", put),
        ("POST", post),
        ("DELETE", delete),
        ("OPTIONS", options),
        ("HEAD", head),
        ("PATCH", patch),
        ("TRACE", trace),
    ];
    all.into_iter().filter_map(|(name, operation)| operation.as_mut().map(|it| (name, it)))
}

fn operations(description: &mut OpenApi) -> impl Iterator<Item = (&str, &mut Operation)> {
    description
        .paths
        .paths
        .iter_mut()
        .flat_map(|(path, item)| methods(item).map(|(_, operation)| (path.as_str(), operation)))
}

fn sentence(status: &str) -> String {
    let code = status.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    code.and_then(|code| code.canonical_reason()).unwrap_or("Answered").to_owned()
}

/// The errors of one status, by their reasons.
fn failure(status: u16) -> RefOr<Response> {
    let reasons: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| reason.status().as_u16() == status)
        .map(|reason| reason.code())
        .collect();
    let sentence = sentence(&status.to_string());
    if reasons.is_empty() {
        return RefOr::T(ResponseBuilder::new().description(sentence).build());
    }
    let content = Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("ErrorBody"))));
    let response = ResponseBuilder::new()
        .description(format!("{sentence}: {}", reasons.join(", ")))
        .content("application/json", content);
    RefOr::T(response.build())
}

pub(super) fn router(description: &OpenApi) -> Router<App> {
    let text = |text: String| {
        // All answers share it.
        let text = Bytes::from(text);
        get(async move || {
            ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
        })
    };
    let openapi = description.to_json().unwrap_or_default();
    let asyncapi = socket::describe().to_string();
    Router::new()
        .route("/api/openapi.json", text(openapi))
        .route("/api/asyncapi.json", text(asyncapi))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_what_each_response_is() {
        let mut description = openapi();
        let mut names = HashSet::new();
        for (path, operation) in operations(&mut description) {
            let name = operation.operation_id.clone().unwrap_or_default();
            assert!(!name.is_empty() && names.insert(name.clone()), "{path}: {name}");
            let responses = &operation.responses.responses;
            for (status, response) in responses {
                let RefOr::T(response) = response else { continue };
                assert!(!response.description.is_empty(), "{path} {status}");
            }
            let failures = responses.keys().filter(|status| status.starts_with(['4', '5']));
            assert!(failures.count() >= 5, "{path}: {name}");
            assert!(responses.keys().any(|status| status.starts_with(['1', '2', '3'])), "{path}");
        }
        assert!(names.len() > 60);
    }
}
