//! People on the wire.

use derive_more::Display;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::UserId;

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
pub enum Role {
    /// An ordinary person.
    #[default]
    User,
    /// May moderate rooms.
    Moderator,
    /// May see and end what others do.
    Admin,
    /// The application's backend.
    Service,
}

impl Role {
    /// Whether operators' answers are open to it.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::Admin | Self::Service)
    }
}

/// As the original stores it.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Gender {
    Male,
    Female,
    Other,
}

/// How a person wants to be seen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
pub enum PresenceMode {
    /// As the connections say.
    #[default]
    Auto,
    /// Here, but not at the screen.
    Away,
    /// Here, and not to be disturbed.
    Dnd,
}

/// What a device runs.
#[derive(Clone, Copy, Debug, Deserialize, Display, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[display(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Platform {
    Ios,
    Android,
    Web,
    Desktop,
    Server,
}

/// A registered device. Its push tokens are never returned.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Chosen by the device.
    pub device_id: String,
    /// What it runs.
    pub platform: Platform,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version of the application on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Whether it can be pushed to.
    pub has_push: bool,
    /// Whether it can be rung by push.
    pub has_voip: bool,
    /// When it was registered last.
    pub last_seen: Timestamp,
}

/// How a person is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Presence {
    Online,
    Away,
    Dnd,
    Offline,
}

/// A person. Contact data is there for oneself, for admins, and for all with `directory.expose_contact`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The application's id.
    pub user_id: UserId,
    /// The same, under the name that clients of a document store expect.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub mongo_id: Option<UserId>,
    /// The application's other id.
    pub uid: String,
    /// The name to show.
    pub name: Option<String>,
    /// What kind of user the application says this is.
    pub user_type: Option<String>,
    /// At least one session.
    pub is_online: bool,
    /// The last sign of life.
    pub last_seen: Timestamp,
    /// Online, away, not to be disturbed or offline.
    pub presence: Presence,
    /// Whether in a call.
    pub in_call: bool,
    /// A line of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// Contact data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Contact data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mobile: Option<String>,
    /// Contact data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
    /// For oneself and admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// For oneself and admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// For oneself and admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// For oneself and admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// `user:status`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Who.
    pub user_id: UserId,
    /// At least one session.
    pub is_online: bool,
    /// The last sign of life.
    pub last_seen: Timestamp,
    /// Online, away, not to be disturbed or offline.
    pub presence: Presence,
    /// Whether in a call.
    pub in_call: bool,
    /// A line of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
}
