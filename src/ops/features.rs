//! What clients can do here: what is served, as far as the part behind it runs.

use serde::Serialize;
use utoipa::ToSchema;

use super::Snapshot;

/// What the server answers: the events of clients, and the paths of requests.
#[derive(Clone, Debug, Default)]
pub struct Surface {
    /// Names of events.
    pub events: Vec<&'static str>,
    /// Paths, with their parameters in braces.
    pub paths: Vec<String>,
}

impl Surface {
    fn event(&self, name: &str) -> bool {
        self.events.contains(&name)
    }

    fn path(&self, begin: &str) -> bool {
        self.paths.iter().any(|path| path.starts_with(begin))
    }
}

/// What clients can do here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Features {
    pub chat: bool,
    pub receipts: bool,
    pub presence: bool,
    pub typing: bool,
    pub offline_delivery: bool,
    pub sync: bool,
    pub calls: bool,
    pub groups: bool,
    pub attachments: bool,
    pub search: bool,
    pub rooms: bool,
    pub recording: bool,
    pub turn: bool,
    pub whip: bool,
    pub whep: bool,
}

impl Features {
    /// What is served, as far as the part behind it runs.
    pub fn of(now: &Snapshot, surface: &Surface) -> Self {
        let media = now.receives_media();
        Self {
            chat: surface.event("message:send"),
            receipts: surface.event("message:delivered") && surface.event("message:markRead"),
            presence: surface.event("presence:subscribe"),
            typing: surface.event("typing:start"),
            offline_delivery: surface.event("message:send") && surface.event("sync:ack"),
            sync: surface.event("sync:pull") && surface.path("/api/sync"),
            calls: surface.event("call:initiate"),
            groups: surface.path("/api/chat/groups") || surface.path("/api/groups"),
            attachments: surface.path("/api/attachments") || surface.path("/api/chat/attachments"),
            search: surface.path("/api/chat/search") || surface.path("/api/search"),
            rooms: media && surface.event("room:join"),
            recording: now.records() && surface.event("recording:start"),
            turn: now.relay.offered,
            whip: media && surface.path("/whip/{"),
            whep: media && surface.path("/whep/{"),
        }
    }
}
