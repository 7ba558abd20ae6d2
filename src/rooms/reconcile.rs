//! Who receives what: which section of a member shows which track. What a change means for each member is decided member by member, as
//! work that waits until the room has answered whoever asked.

use std::collections::BTreeSet;

use switchboard_media::negotiation::{Connection, Shown};
use switchboard_media::{Command, Kind};

use super::connection::PeerConnection;
use super::effect::{Effect, Name};
use super::machine::Room;
use super::member::{Entry, Member, Todo};
use super::rule::Context;
use super::track::Listed;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::event::room::{FlowReason, OfferedTrack, RoomOffer, RoomTrackFlow, SessionDescription};
use crate::ids::{ParticipantId, TrackId};

impl Room {
    /// These tracks are there now, are gone, or are coded otherwise: for everybody.
    pub(super) fn reconcile_all(&mut self, tracks: &[TrackId]) {
        if tracks.is_empty() {
            return;
        }
        for member in self.members.iter_mut().filter(|member| !member.waiting) {
            if member.entry != Entry::Whip {
                member.todo.tracks.extend(tracks);
                enqueue(&mut self.queue, member);
            }
        }
    }

    /// What a member may receive has changed, all of it.
    pub(super) fn reconcile_member(&mut self, id: ParticipantId) {
        self.reconcile(id, |todo| todo.all = true);
    }

    /// What a member wants of these tracks has changed.
    pub(super) fn reconcile_choice(&mut self, id: ParticipantId, tracks: &[TrackId]) {
        self.reconcile(id, |todo| todo.tracks.extend(tracks));
    }

    /// A member has agreed on something.
    pub(super) fn reconcile_agreed(&mut self, id: ParticipantId) {
        self.reconcile(id, |todo| todo.agreed = true);
    }

    fn reconcile(&mut self, id: ParticipantId, note: impl FnOnce(&mut Todo)) {
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else { return };
        if !member.waiting && member.entry != Entry::Whip {
            note(&mut member.todo);
            enqueue(&mut self.queue, member);
        }
    }

    /// Has the sections of viewers by WHEP filled anew.
    pub(super) fn refill(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.entry == Entry::Whep) {
            enqueue(&mut self.queue, member);
        }
    }

    /// Whether something is to be decided for a member.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Makes what one member receives what it wants; each call is a small step.
    pub(super) fn work(&mut self, with: &mut Context<'_>) {
        let Some(id) = self.queue.pop_front() else { return };
        let Some(at) = self.members.iter().position(|member| member.id == id) else { return };
        // Taken out, so that the rest of the room can be looked at beside it.
        let Some(mut member) = self.members.get_mut(at).map(take_todo) else { return };
        match member.entry {
            Entry::Whip => {}
            Entry::Whep => self.fill(at, with.now),
            Entry::Socket(_) => {
                let tracks = self.tracks_of(at, &mut member.todo);
                #[cfg(test)]
                {
                    self.decided += tracks.len();
                }
                self.open_connection(at, &tracks, with);
                self.arrange(at, &tracks);
            }
        }
    }

    /// The tracks that are to be decided about for a member, in the order in which they were published.
    fn tracks_of(&self, at: usize, todo: &mut Todo) -> BTreeSet<TrackId> {
        let mut tracks = std::mem::take(&mut todo.tracks);
        let connection = self.members.get(at).and_then(|member| member.subscribe.as_ref());
        if let Some(connection) = connection.filter(|_| todo.agreed || todo.all) {
            let shown = connection.shows.iter().map(|(_, track)| track);
            let others = connection.unplayable.union(&connection.pending).copied();
            let is_new = |track: &TrackId| todo.agreed || !self.tracks.contains_key(track);
            tracks.extend(shown.chain(others).filter(is_new));
        }
        if todo.all {
            tracks.extend(self.tracks.keys());
        }
        tracks
    }

    /// Makes the connection by which a member receives, where it wants something and has none.
    fn open_connection(&mut self, at: usize, tracks: &BTreeSet<TrackId>, with: &mut Context<'_>) {
        let Self { members, tracks: listed, id, rules, codecs, effects, .. } = self;
        let Some(member) = members.get_mut(at) else { return };
        let wanted = |track: &TrackId| wanted(member, listed.get(track)).is_some();
        if member.subscribe.is_none() && tracks.iter().any(wanted) {
            let peer = with.source.peer();
            let negotiation = Connection::new(rules.endpoint.clone(), codecs);
            let connection = PeerConnection::new(peer, negotiation, id, member.id, "subscribe");
            member.subscribe = Some(connection);
            effects.push(Effect::Register(Name::Peer(peer)));
        }
    }

    /// Makes the sections of a member show what it wants of `tracks`, and offers that.
    fn arrange(&mut self, at: usize, tracks: &BTreeSet<TrackId>) {
        let Self { members, tracks: listed, effects, kept, key, .. } = self;
        let Some(member) = members.get_mut(at) else { return };
        for &track in tracks {
            let wanted = wanted(member, listed.get(&track)).copied();
            let Some(connection) = &mut member.subscribe else { return };
            let before = connection.unplayable.contains(&track);
            let Some(plays) = decide(connection, track, wanted.as_ref(), effects) else { continue };
            let unplayable = wanted.is_some() && !plays;
            if unplayable {
                connection.unplayable.insert(track);
            } else {
                connection.unplayable.remove(&track);
            }
            // Of a track that is gone, or not wanted, nothing is to be said.
            if unplayable != before && wanted.is_some() {
                let flow = |stamp| {
                    let reason = FlowReason::CodecUnsupported;
                    let flow = RoomTrackFlow { stamp, track_id: track, reason };
                    match unplayable {
                        true => Event::RoomTrackPaused(flow),
                        false => Event::RoomTrackResumed(flow),
                    }
                };
                member.notify_alone(flow, kept, effects);
            }
        }
        let Some(connection) = member.subscribe.as_mut() else { return };
        if !connection.stale || !connection.answered {
            return;
        }
        let (rev, sdp, command) = next_offer(connection, *key);
        effects.push(Effect::Media(command));
        let shows = connection.shows.iter().filter_map(|(mid, track_id)| {
            let participant_id = listed.get(&track_id)?.owner;
            Some(OfferedTrack { mid: mid.to_owned(), track_id, participant_id })
        });
        let tracks = shows.collect();
        let offer = SessionDescription { kind: "offer".into(), sdp };
        let event = |stamp| Event::RoomOffer(Box::new(RoomOffer { stamp, rev, offer, tracks }));
        member.notify_alone(event, kept, effects);
    }

    /// Fills the sections of a WHEP viewer with tracks, participant after participant. What is silent gives its section to what
    /// flows and has none.
    fn fill(&mut self, at: usize, now: Timestamp) {
        let Self { members, tracks, effects, .. } = self;
        let Some(member) = members.get_mut(at) else { return };
        let in_order = in_order_of_entry(tracks.values(), now);
        let only = member.only;
        let Some(connection) = &mut member.subscribe else { return };
        let peer = connection.peer;
        let show = |mid, track| Effect::Media(Command::Show { peer, mid, track });
        let plays = |mid: &str, id| {
            let track = tracks.get(&id);
            track.is_some_and(|track| connection.negotiation.takes(mid, track.format))
        };
        let over = connection.shows.iter().filter(|&(mid, id)| !plays(mid, id));
        let over: Vec<_> = over.map(|(mid, id)| (mid.to_owned(), id)).collect();
        for (mid, id) in over {
            connection.hide(id);
            effects.push(show(mid, None));
        }
        let sections = connection.negotiation.send_lines();
        let sections: Vec<_> = sections.map(|(mid, kind, _)| (mid.to_owned(), kind)).collect();
        for (mid, kind) in sections {
            let current = connection.shows.track(&mid).and_then(|id| tracks.get(&id));
            if current.is_some_and(|current| !current.is_quiet(now)) {
                continue;
            }
            let next = in_order.iter().find(|track| {
                track.format.codec.kind() == kind
                    && (current.is_none() || track.quiet_since.is_none())
                    && only.is_none_or(|only| only == track.owner)
                    && connection.shows.section(track.id).is_none()
                    && connection.negotiation.takes(&mid, track.format)
            });
            let Some(track) = next else { continue };
            if let Some(current) = current {
                connection.hide(current.id);
            }
            connection.shows.insert(mid.clone(), track.id);
            effects.push(show(mid, Some(track.key)));
        }
    }
}

fn enqueue(queue: &mut std::collections::VecDeque<ParticipantId>, member: &mut Member) {
    if !std::mem::replace(&mut member.todo.queued, true) {
        queue.push_back(member.id);
    }
}

/// What a step of the work needs of a member.
struct Taken {
    entry: Entry,
    todo: Todo,
}

fn take_todo(member: &mut Member) -> Taken {
    Taken { entry: member.entry, todo: std::mem::take(&mut member.todo) }
}

/// Decides whether a section shows a track, and which; whether one does. `None` is for later: as long as an offer is not answered
/// nothing is added to it, as the answer is to that offer (RFC 9429 §5.6).
fn decide(
    connection: &mut PeerConnection,
    track: TrackId,
    wanted: Option<&Listed>,
    effects: &mut Vec<Effect>,
) -> Option<bool> {
    if let Some(mid) = connection.shows.section(track).map(str::to_owned) {
        if wanted.is_some_and(|track| connection.negotiation.takes(&mid, track.format)) {
            connection.pending.remove(&track);
            return Some(true);
        }
        connection.hide(track);
        connection.negotiation.show(&mid, None);
        connection.stale = true;
        let peer = connection.peer;
        effects.push(Effect::Media(Command::Show { peer, mid, track: None }));
    }
    let Some(listed) = wanted else {
        connection.pending.remove(&track);
        return Some(false);
    };
    if !connection.answered {
        connection.pending.insert(track);
        return None;
    }
    connection.pending.remove(&track);
    let mid = connection.negotiation.line_for(listed.format.codec.kind());
    if !connection.negotiation.takes(&mid, listed.format) {
        return Some(false);
    }
    let shown = Shown { stream: listed.owner.to_string(), track: track.to_string() };
    connection.negotiation.show(&mid, Some(shown));
    connection.shows.insert(mid, track);
    connection.stale = true;
    Some(true)
}

/// The next offer of what can be received: its number, its text, and what the worker is to know.
fn next_offer(
    connection: &mut PeerConnection,
    room: switchboard_media::RoomKey,
) -> (u64, String, Command) {
    connection.rev += 1;
    (connection.answered, connection.stale) = (false, false);
    let sdp = connection.negotiation.offer();
    let (peer, plan) = (connection.peer, Box::new(connection.negotiation.plan()));
    let command = match std::mem::replace(&mut connection.set_up, true) {
        true => Command::Configure { peer, plan },
        false => Command::Connect { room, peer, plan },
    };
    (connection.rev, sdp, command)
}

fn wanted<'a>(member: &Member, track: Option<&'a Listed>) -> Option<&'a Listed> {
    let track = track.filter(|track| track.owner != member.id)?;
    (member.permissions.can_subscribe && member.wants(track.id)).then_some(track)
}

/// All tracks, participant after participant; ids grow with time. Those that are silent come last.
fn in_order_of_entry<'a>(tracks: impl Iterator<Item = &'a Listed>, now: Timestamp) -> Vec<Listed> {
    let mut tracks: Vec<Listed> = tracks.copied().collect();
    tracks.sort_unstable_by_key(|track| (track.is_quiet(now), track.owner, track.id));
    tracks
}

/// What a viewer by WHEP takes and what is published for it, where it takes nothing of that.
pub(super) fn nothing_in_common<'a>(
    negotiation: &Connection,
    tracks: impl Iterator<Item = &'a Listed>,
    only: Option<ParticipantId>,
) -> Option<(String, String)> {
    let sections: Vec<(&str, Kind)> =
        negotiation.send_lines().map(|(mid, kind, _)| (mid, kind)).collect();
    let asked = |track: &&Listed| {
        let kind = track.format.codec.kind();
        only.is_none_or(|only| only == track.owner) && sections.iter().any(|it| it.1 == kind)
    };
    let published: Vec<_> = tracks.filter(asked).map(|track| track.format).collect();
    let taken = |format: &_| sections.iter().any(|(mid, _)| negotiation.takes(mid, *format));
    if published.is_empty() || published.iter().any(taken) {
        return None;
    }
    let sends = negotiation.plan().sends;
    let offered = sends.iter().flat_map(|send| send.codecs.iter().map(|codec| codec.format));
    Some((super::names::of(offered), super::names::of(published)))
}
