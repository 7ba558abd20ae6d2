//! `room:mute`: tracks that are silent until they are not.

use switchboard_media::{Command, TrackKey};

use super::machine::Room;
use super::member::Caller;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::event::Event;
use crate::event::room::RoomTrackMuted;
use crate::ids::{ParticipantId, RoomSessionId, TrackId, UserId};

/// Mutes a track of one's own, or no longer.
pub(super) struct Mute {
    pub(super) by: Caller,
    pub(super) track: TrackId,
    pub(super) muted: bool,
}

impl Rooms {
    /// Mutes a track of one's own, or no longer.
    pub async fn mute(
        &self,
        user: UserId,
        session: RoomSessionId,
        track: TrackId,
        muted: bool,
    ) -> Result<()> {
        let by = Caller { user, session };
        self.ask_session(session, Mute { by, track, muted }).await
    }
}

impl Rule for Mute {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        let member = room.caller(self.by)?;
        let id = member.id;
        if member.track(self.track).is_none() {
            return Err(RoomError::NoTrack);
        }
        room.mute_track(self.track, self.muted, id);
        Ok(())
    }
}

impl Room {
    pub(super) fn mute_track(&mut self, id: TrackId, muted: bool, by: ParticipantId) {
        let mut tracks = self.members.iter_mut().flat_map(|member| &mut member.tracks);
        let Some(track) = tracks.find(|track| track.id == id) else { return };
        let before = track.silent();
        track.muted = muted;
        let (track, silent) = (track.key, track.silent());
        if silent != before {
            self.announce_silence((id, track), silent, by);
        }
    }

    /// Announces that a track is silent from now on, or no longer.
    pub(super) fn announce_silence(
        &mut self,
        (track_id, track): (TrackId, TrackKey),
        muted: bool,
        by: ParticipantId,
    ) {
        self.media(Command::Mute { track, muted });
        self.notify(None, |stamp| {
            Event::RoomTrackMuted(RoomTrackMuted { stamp, track_id, muted, by })
        });
    }
}
