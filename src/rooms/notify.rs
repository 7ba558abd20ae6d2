//! Events for the members of a room, each encoded once however many get it.

use std::sync::Arc;

use super::machine::Room;
use super::member::{Entry, Member};
use crate::event::Event;
use crate::event::room::{RoomEvent, RoomLobby, Stamp};
use crate::ids::ParticipantId;

impl Room {
    /// Sends an event to everybody but one, encoded once.
    pub(super) fn notify(
        &mut self,
        but: Option<ParticipantId>,
        event: impl FnOnce(Stamp) -> Event,
    ) {
        self.notify_where(|member| Some(member.id) != but, event);
    }

    /// Sends an event to those of the members that `chosen` names, encoded once.
    pub(super) fn notify_where(
        &mut self,
        chosen: impl Fn(&Member) -> bool,
        event: impl FnOnce(Stamp) -> Event,
    ) {
        let Self { members, effects, kept, .. } = self;
        let listens =
            |it: &&mut Member| !it.waiting && matches!(it.entry, Entry::Socket(_)) && chosen(it);
        let mut receivers = members.iter_mut().filter(listens).peekable();
        if receivers.peek().is_none() {
            return;
        }
        let event = Arc::new(RoomEvent::new(event));
        kept.push(&event);
        receivers.for_each(|member| member.notify(&event, kept, effects));
        members.iter_mut().for_each(|member| member.forget(kept));
        #[cfg(test)]
        {
            self.encoded += 1;
        }
    }

    /// Sends an event to one member.
    pub(super) fn notify_member(&mut self, id: ParticipantId, event: impl FnOnce(Stamp) -> Event) {
        let Self { members, effects, kept, .. } = self;
        if let Some(member) = members.iter_mut().find(|member| member.id == id) {
            member.notify_alone(event, kept, effects);
        }
    }

    /// Sends the moderators who waits in the lobby.
    pub(super) fn notify_lobby(&mut self) {
        let waiting = self.members.iter().filter(|member| member.waiting).map(Member::shown);
        let waiting: Vec<_> = waiting.collect();
        self.notify_where(
            |member| member.moderator,
            |stamp| Event::RoomLobby(RoomLobby { stamp, waiting }),
        );
    }
}
