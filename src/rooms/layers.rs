//! `room:layer`: which layer of a track a viewer wants.

use serde::Deserialize;
use switchboard_media::{Command, LayerPreference};
use utoipa::ToSchema;

use super::machine::Room;
use super::member::{Caller, Entry};
use super::rule::{Context, Rule};
use super::track::Published;
use super::{Result, RoomError, Rooms};
use crate::event::room::TrackLayer;
use crate::ids::{RoomSessionId, TrackId, UserId};

/// The priority of a track unless its viewer says otherwise.
const PRIORITY: u8 = 128;

/// Which layer a viewer wants.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LayerRequest {
    /// Of which track.
    pub track_id: TrackId,
    /// `auto`, `off`, or the name of a layer.
    #[serde(default = "auto")]
    pub rid: String,
    /// Pixels that are shown; a larger layer is not wanted.
    pub max_width: Option<u32>,
    /// Pixels that are shown; a larger layer is not wanted.
    pub max_height: Option<u32>,
    /// Pictures in a second; more are left out where the stream has temporal layers.
    pub max_fps: Option<u32>,
    /// The highest first when not everything fits; 128 by default.
    pub priority: Option<u8>,
}

fn auto() -> String {
    "auto".into()
}

/// A viewer asks for a layer of a track.
pub(super) struct PreferLayer {
    pub(super) by: Caller,
    pub(super) request: LayerRequest,
}

/// A viewer by WHEP asks for a layer of every picture.
pub(super) struct PreferLayers {
    pub(super) by: Caller,
    pub(super) rid: String,
}

impl Rooms {
    /// A viewer asks for a layer of a track; gives the one that arrives now.
    pub async fn prefer(
        &self,
        user: UserId,
        session: RoomSessionId,
        request: LayerRequest,
    ) -> Result<Option<String>> {
        let by = Caller { user, session };
        self.ask_session(session, PreferLayer { by, request }).await
    }

    /// A viewer by WHEP asks for a layer of every picture.
    pub async fn layer_by_http(
        &self,
        user: UserId,
        session: RoomSessionId,
        rid: String,
    ) -> Result<()> {
        let by = Caller { user, session };
        self.ask_session(session, PreferLayers { by, rid }).await
    }
}

impl Rule for PreferLayer {
    type Reply = Option<String>;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Option<String>> {
        let Self { by, request } = self;
        let id = room.caller(by)?.id;
        let (_, track) = room.track(request.track_id).ok_or(RoomError::NoTrack)?;
        let (temporal, preference) = (temporal(track, &request), preference(track, &request)?);
        let track = track.key;
        let connection = room.member(id)?.subscribe.as_mut().ok_or(RoomError::NoTrack)?;
        let current = connection.current.get(&request.track_id).cloned();
        // Where that layer arrives already, whatever comes next has another reason.
        let is_named = !["auto", "off"].contains(&request.rid.as_str());
        if is_named && current.as_ref() != Some(&request.rid) {
            connection.requested.insert(request.track_id);
        } else {
            connection.requested.remove(&request.track_id);
        }
        let (peer, priority) = (connection.peer, request.priority.unwrap_or(PRIORITY));
        room.media(Command::Prefer { peer, track, preference, priority, temporal });
        Ok(current)
    }
}

impl Rule for PreferLayers {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        let Self { by, rid } = self;
        let member = room.caller(by)?;
        if matches!(member.entry, Entry::Socket(_)) {
            return Err(RoomError::NotInRoom);
        }
        let connection = member.subscribe.as_ref().ok_or(RoomError::NoTrack)?;
        let peer = connection.peer;
        let shown: Vec<TrackId> = connection.shows.iter().map(|(_, track)| track).collect();
        for id in shown {
            let Some((_, track)) = room.track(id) else { continue };
            let place = track.layers.iter().position(|layer| layer.rid == rid);
            let preference = match (rid.as_str(), place) {
                ("off", _) => LayerPreference::Off,
                (_, Some(place)) => layer_at(place),
                _ => LayerPreference::Auto,
            };
            let (track, priority, temporal) = (track.key, PRIORITY, u8::MAX);
            room.media(Command::Prefer { peer, track, preference, priority, temporal });
        }
        Ok(())
    }
}

fn layer_at(place: usize) -> LayerPreference {
    LayerPreference::Layer(u8::try_from(place).unwrap_or(u8::MAX))
}

/// The highest temporal layer that is wanted: each has twice the pictures of the one below, and browsers make three.
fn temporal(track: &Published, request: &LayerRequest) -> u8 {
    let made = track.layers.iter().filter_map(|layer| layer.fps).max().unwrap_or(30);
    match request.max_fps {
        Some(most) if most < made / 2 => 0,
        Some(most) if most < made => 1,
        _ => u8::MAX,
    }
}

fn preference(track: &Published, request: &LayerRequest) -> Result<LayerPreference> {
    match request.rid.as_str() {
        "off" => Ok(LayerPreference::Off),
        "auto" => {
            // The smallest layer that fills what is shown.
            let fills = |layer: &TrackLayer| {
                let enough = |have: Option<u32>, want: Option<u32>| match (have, want) {
                    (Some(have), Some(want)) => have >= want,
                    _ => false,
                };
                enough(layer.width, request.max_width) || enough(layer.height, request.max_height)
            };
            Ok(track.layers.iter().position(fills).map_or(LayerPreference::Auto, layer_at))
        }
        rid => {
            let problem = || {
                let known: Vec<_> = track.layers.iter().map(|layer| layer.rid.as_str()).collect();
                format!("rid is \"auto\", \"off\" or a layer of the track: {}", known.join(", "))
            };
            let found = track.layers.iter().position(|layer| layer.rid == rid);
            found.map(layer_at).ok_or_else(|| RoomError::Invalid("rid", problem()))
        }
    }
}
