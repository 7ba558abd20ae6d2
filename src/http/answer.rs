//! The two shapes of an answer: `{"data","meta"}`, and an error.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Failure, Problem, Reason};

/// `{"data":…,"meta":{"code":200,"message":"…",…}}`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Success<T> {
    pub(super) data: T,
    pub(super) meta: Meta,
}

/// What goes with the data.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// The HTTP status.
    pub(super) code: u16,
    /// For a person.
    pub(super) message: &'static str,
    /// Rows a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
    /// The original's page number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<i64>,
    /// How many there are in all, or on this page where they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<i64>,
    /// Leads on, null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<Option<String>>,
    /// Leads to older messages, null at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prev_cursor: Option<Option<String>>,
    /// The same request came before; nothing was done again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duplicate: Option<bool>,
}

/// 200 with data.
pub(super) fn ok<T: Serialize>(data: T, message: &'static str) -> Json<Success<T>> {
    with(data, Meta { message, ..Meta::default() })
}

/// 200 with data and particulars.
pub(super) fn with<T: Serialize>(data: T, meta: Meta) -> Json<Success<T>> {
    Json(Success { data, meta: Meta { code: 200, ..meta } })
}

/// 201 with what was made, and where it is.
pub(super) fn created<T: Serialize>(at: &str, data: T, message: &'static str) -> Response {
    let meta = Meta { code: StatusCode::CREATED.as_u16(), message, ..Meta::default() };
    let mut response = (StatusCode::CREATED, Json(Success { data, meta })).into_response();
    if let Ok(at) = HeaderValue::from_str(at) {
        response.headers_mut().insert(header::LOCATION, at);
    }
    response
}

/// What every handler gives.
pub(super) type Answer<T> = Result<Json<Success<T>>, Refusal>;

/// A failure as a response; its body is written at the edge, where time and request id are known.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl<F: Failure> From<F> for Refusal {
    fn from(failure: F) -> Self {
        Self(failure.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.0.reason.status().into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

impl Clone for Refusal {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A path that nothing answers.
pub(super) async fn no_route() -> Refusal {
    Refusal(Problem::new(Reason::NoRoute, "Endpoint not found"))
}

/// A path that answers other methods.
pub(super) async fn no_method() -> Refusal {
    Refusal(Problem::new(Reason::MethodNotAllowed, "This endpoint does not answer this method"))
}
