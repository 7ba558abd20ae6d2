//! `room:subscribe`, `room:answer`, `room:ice-restart`: what a participant receives, and how it is agreed on.

use serde::Serialize;
use switchboard_media::{Command, Description};
use utoipa::ToSchema;

use super::machine::Room;
use super::member::Caller;
use super::publish::Unsent;
use super::rule::{Context, Rule};
use super::{Result, RoomError, Rooms};
use crate::event::room::{RejectReason, SessionDescription};
use crate::ids::{RoomSessionId, TrackId, UserId};

/// What became of a request to receive tracks.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// Tracks that will arrive; `room:offer` follows where that changes something.
    pub accepted: Vec<TrackId>,
    /// Tracks that will not, and why.
    pub rejected: Vec<NotSubscribed>,
}

/// A track that will not arrive.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NotSubscribed {
    pub track_id: TrackId,
    pub reason: RejectReason,
}

/// A request to receive tracks, or no longer.
pub(super) struct Subscribe {
    pub(super) by: Caller,
    pub(super) tracks: Vec<TrackId>,
    pub(super) wanted: bool,
}

/// The answer to an offer of ours.
pub(super) struct Answered {
    pub(super) by: Caller,
    pub(super) rev: u64,
    pub(super) answer: Description,
}

/// An ICE restart; with an offer, of the connection by which the client publishes.
pub(super) struct RestartIce {
    pub(super) by: Caller,
    pub(super) offer: Option<Description>,
}

impl Rooms {
    /// Takes the answer to an offer of ours.
    pub async fn answered(
        &self,
        user: UserId,
        session: RoomSessionId,
        rev: u64,
        answer: &str,
    ) -> Result<()> {
        let answer = self.read(answer, usize::MAX).await?;
        let by = Caller { user, session };
        self.ask_session(session, Answered { by, rev, answer }).await
    }

    /// Has tracks received, or no longer.
    pub async fn subscribe(
        &self,
        user: UserId,
        session: RoomSessionId,
        tracks: Vec<TrackId>,
        wanted: bool,
    ) -> Result<Subscribed> {
        let by = Caller { user, session };
        self.ask_session(session, Subscribe { by, tracks, wanted }).await
    }

    /// Restarts ICE.
    pub async fn restart(
        &self,
        user: UserId,
        session: RoomSessionId,
        offer: Option<&str>,
    ) -> Result<Option<SessionDescription>> {
        let offer = match offer {
            Some(offer) => Some(self.read_offer(offer).await?),
            None => None,
        };
        let by = Caller { user, session };
        self.ask_session(session, RestartIce { by, offer }).await
    }
}

impl Rule for Answered {
    type Reply = ();

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<()> {
        let Self { by, rev, answer } = self;
        let member = room.caller(by)?;
        let id = member.id;
        let connection = member.subscribe.as_mut();
        let connection = connection.ok_or(RoomError::Stale { have: rev, last: 0 })?;
        if rev != connection.rev || connection.answered {
            return Err(RoomError::Stale { have: rev, last: connection.rev });
        }
        connection.negotiation.take_answer(&answer)?;
        connection.answered = true;
        let (peer, plan) = (connection.peer, Box::new(connection.negotiation.plan()));
        // Into a section that the client holds nothing is sent.
        let shows: Vec<_> = connection
            .shows
            .iter()
            .map(|(mid, track)| (mid.to_owned(), track, connection.negotiation.shows(mid)))
            .collect();
        room.media(Command::Configure { peer, plan });
        for (mid, track, open) in shows {
            let track = room.tracks.get(&track).filter(|_| open).map(|track| track.key);
            room.media(Command::Show { peer, mid, track });
        }
        room.reconcile_agreed(id);
        Ok(())
    }
}

impl Rule for Subscribe {
    type Reply = Subscribed;

    fn carry_out(self, room: &mut Room, _: &mut Context<'_>) -> Result<Subscribed> {
        let Self { by, tracks, wanted } = self;
        let member = room.caller(by)?;
        let id = member.id;
        if wanted && !member.permissions.can_subscribe {
            return Err(RoomError::MayNotSubscribe);
        }
        let mut result = Subscribed { accepted: Vec::new(), rejected: Vec::new() };
        let Room { members, tracks: listed, .. } = room;
        let member = members.iter_mut().find(|it| it.id == id).ok_or(RoomError::NotInRoom)?;
        for track_id in tracks {
            let takes = |format| member.subscribe.as_ref().is_none_or(|it| it.takes(format));
            let reason = match listed.get(&track_id) {
                None => RejectReason::TrackNotFound,
                Some(track) if track.owner == id => RejectReason::SubscribeForbidden,
                Some(track) if wanted && !takes(track.format) => RejectReason::CodecUnsupported,
                Some(_) => {
                    member.choose(track_id, wanted);
                    result.accepted.push(track_id);
                    continue;
                }
            };
            result.rejected.push(NotSubscribed { track_id, reason });
        }
        room.reconcile_choice(id, &result.accepted);
        Ok(result)
    }
}

impl Rule for RestartIce {
    type Reply = Option<SessionDescription>;

    fn carry_out(
        self,
        room: &mut Room,
        with: &mut Context<'_>,
    ) -> Result<Option<SessionDescription>> {
        let member = room.caller(self.by)?;
        let id = member.id;
        if let Some(offer) = self.offer {
            let (answer, _) = room.take_offer(id, &offer, &[], Unsent::Held, with)?;
            return Ok(Some(SessionDescription { kind: "answer".into(), sdp: answer }));
        }
        let connection = member.subscribe.as_mut().ok_or(RoomError::NoTrack)?;
        connection.negotiation.restart();
        connection.offer_again();
        room.reconcile_agreed(id);
        Ok(None)
    }
}
