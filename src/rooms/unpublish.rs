//! `room:unpublish`: by a new offer, or by the names of the tracks alone.

use serde::Serialize;
use switchboard_media::{Command, Description};
use utoipa::ToSchema;

use super::machine::Room;
use super::member::Caller;
use super::publish::{PublishedTrack, TrackSpec, Unsent};
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::event::room::SessionDescription;
use crate::ids::{ParticipantId, RoomSessionId, TrackId, UserId};

/// What is left.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unpublished {
    /// Our answer, where there was an offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<SessionDescription>,
    /// Which offer it answers, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// What is still published.
    pub tracks: Vec<PublishedTrack>,
}

/// See the module.
pub(super) struct Unpublish {
    pub(super) by: Caller,
    pub(super) tracks: Vec<TrackId>,
    pub(super) offer: Option<(Description, Vec<TrackSpec>)>,
}

impl Rooms {
    /// Ends tracks: those that an offer no longer sends, and those that are named.
    pub async fn unpublish(
        &self,
        user: UserId,
        session: RoomSessionId,
        tracks: Vec<TrackId>,
        offer: Option<(&str, Vec<TrackSpec>)>,
    ) -> Result<Unpublished> {
        if tracks.is_empty() && offer.is_none() {
            let why = "room:unpublish needs trackIds, or an offer that no longer sends them";
            return Err(RoomError::Invalid("trackIds", why.into()));
        }
        let offer = match offer {
            Some((text, specs)) => Some((self.read_offer(text).await?, specs)),
            None => None,
        };
        let by = Caller { user, session };
        self.ask_session(session, Unpublish { by, tracks, offer }).await
    }
}

impl Rule for Unpublish {
    type Reply = Unpublished;

    fn carry_out(self, room: &mut Room, with: &mut Context<'_>) -> Result<Unpublished> {
        let member = room.caller(self.by)?;
        let id = member.id;
        if self.offer.is_none() && self.tracks.iter().any(|track| member.track(*track).is_none()) {
            return Err(RoomError::NoTrack);
        }
        let (mut answer, mut rev) = (None, None);
        if let Some((offer, specs)) = self.offer {
            let taken = room.take_offer(id, &offer, &specs, Unsent::Ended, with)?;
            answer = Some(SessionDescription { kind: "answer".into(), sdp: taken.0 });
            rev = Some(taken.1);
        }
        room.end_tracks(id, &self.tracks)?;
        Ok(Unpublished { answer, rev, tracks: room.published(id) })
    }
}

impl Room {
    /// Ends tracks whose sections go on: nothing of them is passed on any more.
    fn end_tracks(&mut self, id: ParticipantId, tracks: &[TrackId]) -> Result<()> {
        let member = self.member(id)?;
        let (gone, stay): (Vec<_>, Vec<_>) =
            member.tracks.drain(..).partition(|track| tracks.contains(&track.id));
        member.tracks = stay;
        member.ended.extend(gone.iter().map(|track| track.key));
        if gone.is_empty() {
            return Ok(());
        }
        for track in &gone {
            self.media(Command::Mute { track: track.key, muted: true });
        }
        let gone: Vec<_> = gone.iter().map(|track| track.id).collect();
        self.unlist_tracks(id, &gone);
        self.record_tracks(id);
        self.reconcile_all(&gone);
        Ok(())
    }
}
