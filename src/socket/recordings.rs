//! `recording:*`: decode, one rule, encode.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use crate::error::Problem;
use crate::event::recording::{Recording, RecordingMode};
use crate::ids::{CallId, RecordingId, RoomId};
use crate::recordings::{Listing, Requester};

/// What to record: a call or a room.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordingStart)]
pub(super) struct Start {
    call_id: Option<CallId>,
    room_id: Option<RoomId>,
    #[serde(default)]
    mode: Option<RecordingMode>,
}

/// A recording, named.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordingWhich)]
pub(super) struct Which {
    recording_id: RecordingId,
}

/// The recording as it stands now.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingAck)]
pub(super) struct One {
    recording: Recording,
}

/// Which recordings to list.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordingList)]
pub(super) struct List {
    call_id: Option<CallId>,
    room_id: Option<RoomId>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// Recordings, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordingListAck)]
pub(super) struct Listed {
    recordings: Vec<Recording>,
    next_cursor: Option<String>,
}

/// Whether one agrees to be recorded.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordingConsent)]
pub(super) struct Consent {
    recording_id: RecordingId,
    consent: bool,
}

fn requester(context: &Context) -> Requester {
    let operator = context.role().is_operator();
    Requester { user: context.session.about.user, operator }
}

pub(super) async fn start(context: Context, payload: Start) -> Outcome<One> {
    let recording = match (payload.call_id, payload.room_id) {
        (Some(call), None) => {
            context.app.record_call(requester(&context), call, payload.mode).await?
        }
        (None, Some(room)) => {
            context.app.record_room(requester(&context), &room, payload.mode).await?
        }
        _ => return Err(Problem::invalid("callId", "Name either callId or roomId")),
    };
    Ok(One { recording })
}

pub(super) async fn stop(context: Context, payload: Which) -> Outcome<One> {
    let recording = context.app.stop_recording(requester(&context), payload.recording_id).await?;
    Ok(One { recording })
}

pub(super) async fn list(context: Context, payload: List) -> Outcome<Listed> {
    let listing = Listing {
        call: payload.call_id,
        room: payload.room_id,
        cursor: payload.cursor,
        limit: payload.limit,
        ..Listing::default()
    };
    let (recordings, next_cursor) =
        context.app.recordings.list(requester(&context), listing).await?;
    Ok(Listed { recordings, next_cursor })
}

pub(super) async fn consent(context: Context, payload: Consent) -> Outcome<Done> {
    let me = context.session.about.user;
    context.app.recordings.consent(me, payload.recording_id, payload.consent).await?;
    Ok(Done {})
}
