//! What every handler of an event gets, and what it gives.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::connection::Connection;
use crate::error::Problem;

/// What a handler gets beside the payload.
pub(super) type Context = Arc<Connection>;

/// What a handler gives: the fields of the acknowledgement beside `ok`.
pub(super) type Outcome<T> = Result<T, Problem>;

/// An acknowledgement without fields.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {}
