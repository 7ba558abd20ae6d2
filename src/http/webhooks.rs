//! `/api/admin/webhooks`: endpoints of webhooks, what was delivered to them, and sending again.

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Meta, Refusal, Success, ok, with};
use super::extract::{Body, Operator, Path, Query};
use crate::app::App;
use crate::ids::{DeliveryId, Short};
use crate::store::DeliveryState;
use crate::webhooks::{Delivery, EndpointView, Listing, TestResult};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(endpoints))
        .routes(routes!(deliveries))
        .routes(routes!(resend))
        .routes(routes!(test))
}

/// The endpoints of webhooks, and how they do.
#[utoipa::path(get, path = "/api/admin/webhooks", tag = "Admin", responses((status = 200, body = Success<Vec<EndpointView>>)))]
async fn endpoints(State(app): State<App>, _: Operator) -> Answer<Vec<EndpointView>> {
    Ok(ok(app.webhooks.endpoints(), "Endpoints of webhooks"))
}

/// Which deliveries to list.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct DeliveryParams {
    /// Of this endpoint.
    #[param(value_type = Option<String>)]
    endpoint: Option<Short<40>>,
    #[param(inline)]
    state: Option<DeliveryState>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// At most 50.
    limit: Option<usize>,
}

/// What was and is to be delivered by webhooks, newest first.
#[utoipa::path(get, path = "/api/admin/webhooks/deliveries", tag = "Admin", params(DeliveryParams), responses((status = 200, body = Success<Vec<Delivery>>)))]
async fn deliveries(
    State(app): State<App>,
    _: Operator,
    params: Result<Query<DeliveryParams>, Refusal>,
) -> Answer<Vec<Delivery>> {
    let Query(params) = params?;
    let DeliveryParams { endpoint, state, cursor, limit } = params;
    let endpoint = endpoint.map(Short::into_string);
    let (found, next) = app.webhooks.deliveries(Listing { endpoint, state, cursor, limit }).await?;
    let message = "Deliveries of webhooks";
    Ok(with(found, Meta { message, next_cursor: Some(next), ..Meta::default() }))
}

/// Sends a delivery again under the same `webhook-id`: one that is over begins anew, one that is pending is tried at once.
#[utoipa::path(post, path = "/api/admin/webhooks/deliveries/{deliveryId}/resend", tag = "Admin", params(("deliveryId" = DeliveryId, Path)), responses((status = 200, body = Success<Delivery>)))]
async fn resend(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<DeliveryId>,
) -> Answer<Delivery> {
    Ok(ok(app.webhooks.resend(id).await?, "Sent again"))
}

/// Which endpoint to try.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TestBody {
    /// Its name; it may be left out when there is only one.
    endpoint: Option<Short<40>>,
}

/// Sends the event `webhook.test` to an endpoint, once, and says what it answered.
#[utoipa::path(post, path = "/api/admin/webhooks/test", tag = "Admin", request_body = TestBody, responses((status = 200, body = Success<TestResult>)))]
async fn test(
    State(app): State<App>,
    _: Operator,
    body: Result<Body<TestBody>, Refusal>,
) -> Answer<TestResult> {
    let Body(TestBody { endpoint }) = body?;
    let result = app.webhooks.test(endpoint.as_ref().map(Short::as_str)).await?;
    Ok(ok(result, "The endpoint was tried"))
}
