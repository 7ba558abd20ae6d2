//! Why something about webhooks cannot be done.

use crate::error::{Failure, Reason};
use crate::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No such delivery; it may have been forgotten.
    #[error("There is no such delivery; those that are over are kept for webhooks.keep_days")]
    NoDelivery,
    /// No endpoint is configured.
    #[error("No endpoint is configured; webhooks.endpoints names them")]
    NoneConfigured,
    /// No endpoint has this name.
    #[error("No endpoint is called {0:?}; webhooks.endpoints names them")]
    NoEndpoint(String),
    /// Several endpoints, and none is named.
    #[error("There are several endpoints; name one in endpoint")]
    Ambiguous,
    /// The endpoint of a delivery is no longer configured.
    #[error("The endpoint {0:?} is not configured any more; nothing can be sent to it")]
    Removed(String),
    /// The endpoint answered 410.
    #[error(
        "The endpoint answered 410 Gone; nothing is sent to it until its configuration changes"
    )]
    Disabled,
    /// Not a cursor of a list of deliveries.
    #[error("cursor is none that this list has given")]
    Cursor,
    /// The endpoint's task has too much before it.
    #[error("The endpoint has too much before it; try again in a moment")]
    Busy,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for WebhookError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoDelivery | Self::NoneConfigured | Self::NoEndpoint(_) => Reason::NotFound,
            Self::Ambiguous => Reason::InvalidData,
            Self::Removed(_) | Self::Disabled => Reason::Conflict,
            Self::Cursor => Reason::InvalidCursor,
            Self::Busy => Reason::Unavailable,
            Self::Store(error) => error.reason(),
        }
    }
}
