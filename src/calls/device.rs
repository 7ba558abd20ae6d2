//! Who acts in a call, and from where.

use crate::ids::{SessionId, UserId};

/// A user with the connection and the device that they act from.
#[derive(Clone, Debug)]
pub struct Device {
    /// Who.
    pub user: UserId,
    /// On which connection; `None` over REST.
    pub session: Option<SessionId>,
    /// On which device.
    pub device_id: Option<String>,
    /// What the device is called.
    pub device_name: Option<String>,
}
