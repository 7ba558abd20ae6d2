//! People: accounts, settings, devices, the directory.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::clock::Timestamp;
use crate::event::{Gender, Platform, PresenceMode, Role};
use crate::fact::Fact;
use crate::ids::UserId;

/// What the store knows of people.
#[async_trait]
pub trait Users: Send + Sync {
    /// Makes or updates a person; `Conflict("uid")` when another has that uid. O(log n).
    async fn save_profile(&self, profile: Profile, at: Timestamp) -> Result<UserRecord>;
    /// One person. O(log n).
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>>;
    /// Those of `ids` that exist, in order of id. O(k log n).
    async fn users(&self, ids: Vec<UserId>) -> Result<Vec<UserRecord>>;
    /// The directory. O(log n + k).
    async fn directory(&self, page: DirectoryPage) -> Result<Vec<UserRecord>>;
    /// Changes what a person may change; `NotFound`. O(log n).
    async fn save_settings(
        &self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord>;
    /// Notes a sign of life, and up to where a client that keeps no cursor was sent its messages. Both only grow. O(log n).
    async fn touch_user(&self, id: UserId, seen: Timestamp, legacy_cursor: i64) -> Result<()>;
    /// Registers a device, or registers it anew; `UnknownUser`. O(log n).
    async fn save_device(&self, device: DeviceRecord) -> Result<()>;
    /// The devices of a person, in order of id. O(log n + k).
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceRecord>>;
    /// Forgets a device; `NotFound`. O(log n).
    async fn remove_device(&self, user: UserId, device_id: String) -> Result<()>;
    /// Closes or opens an account; `NotFound`. O(log n).
    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()>;
    /// People with a conversation or call in common since then, at most `limit`, in order of id. O(log n + k).
    async fn contacts(&self, user: UserId, since: Timestamp, limit: usize) -> Result<Vec<UserId>>;
}

/// What the application says of a person; written at first sight of a token and when it changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Profile {
    pub user_id: UserId,
    /// Unique; the decimal user id where the application has no other.
    pub uid: String,
    pub email: Option<String>,
    /// `None` leaves a name that is there.
    pub name: Option<String>,
    pub mobile: Option<String>,
    pub gender: Option<Gender>,
    pub user_type: Option<String>,
    pub role: Role,
}

/// A person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct UserRecord {
    #[serde(flatten)]
    pub profile: Profile,
    pub status_text: Option<String>,
    pub presence: PresenceMode,
    pub disabled: bool,
    pub last_seen: Timestamp,
    /// Up to where clients of the original service, which keep no cursor, have been sent their messages.
    #[serde(rename = "plain_cursor")]
    pub legacy_cursor: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl UserRecord {
    /// What the application says of a person, put over what is known.
    pub(super) fn merge(known: Option<Self>, profile: Profile, at: Timestamp) -> Self {
        match known {
            Some(known) => {
                let name = profile.name.clone().or(known.profile.name);
                Self { profile: Profile { name, ..profile }, updated_at: at, ..known }
            }
            None => Self {
                profile,
                status_text: None,
                presence: PresenceMode::Auto,
                disabled: false,
                last_seen: at,
                legacy_cursor: 0,
                created_at: at,
                updated_at: at,
            },
        }
    }

    /// What a person changed.
    pub(super) fn changed(mut self, settings: Settings, at: Timestamp) -> Self {
        self.profile.name = settings.name.or(self.profile.name);
        self.status_text =
            settings.status_text.or(self.status_text).filter(|text| !text.is_empty());
        self.presence = settings.presence.unwrap_or(self.presence);
        self.updated_at = at;
        self
    }

    /// The key by which the directory is ordered.
    pub fn name_key(&self) -> String {
        self.profile.name.as_deref().unwrap_or_default().to_lowercase()
    }
}

/// A device that a person registered. Its push tokens never leave the server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct DeviceRecord {
    pub user: UserId,
    pub device_id: String,
    pub platform: Platform,
    pub name: Option<String>,
    pub app_version: Option<String>,
    pub push_token: Option<String>,
    pub voip_token: Option<String>,
    pub last_seen: Timestamp,
}

/// What a person may change of oneself; `None` leaves it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Settings {
    pub name: Option<String>,
    pub status_text: Option<String>,
    pub presence: Option<PresenceMode>,
}

/// A slice of the directory in order of lower-case name, then id.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct DirectoryPage {
    /// Start behind this (lower-case name, id).
    pub after: Option<(String, UserId)>,
    /// Beginning of the lower-case name.
    pub prefix: String,
    pub limit: usize,
}
