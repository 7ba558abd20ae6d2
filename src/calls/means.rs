//! The parts of the server that a call's effects act on, and how each effect is carried out.

use std::sync::Arc;

use switchboard_media::{PeerKey, RoomKey, TrackKey};

use super::call::Call;
use super::directory::Directory;
use super::effect::{Connected, Connection, Effect, Keys, Media, Passed, Record, Whom, Write};
use super::error::Result;
use super::reply::SignalDelivery;
use super::signal::event;
use crate::clock::Clock;
use crate::delivery::{Delivery, SessionInfo, To};
use crate::ids::{CallId, FactId, MessageId, UserId};
use crate::incall::InCall;
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::Sfu;
use crate::store::{CallFinished, CallRecord, Store};
use crate::view::View;

/// See the module.
pub(super) struct Means {
    pub(super) store: Arc<dyn Store>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) view: View,
    pub(super) clock: Clock,
    pub(super) in_call: Arc<InCall>,
    pub(super) relay: Arc<Relay>,
    pub(super) sfu: Arc<Sfu>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) directory: Directory,
}

impl Keys for Means {
    fn room(&self) -> RoomKey {
        self.sfu.server().room()
    }

    fn peer(&self) -> PeerKey {
        self.sfu.server().peer()
    }

    fn track(&self) -> TrackKey {
        self.sfu.server().track()
    }

    fn message(&self) -> MessageId {
        MessageId::new(self.clock.id())
    }

    fn fact(&self) -> FactId {
        FactId::new(self.clock.id())
    }
}

/// What a write that was made gives.
pub(super) enum Written {
    Done(Box<CallFinished>),
    /// The store has the call under another id: the request came before.
    Repeat(Box<CallRecord>),
}

impl Means {
    /// The connections of the two.
    pub(super) fn connected(&self, call: &CallRecord) -> Connected {
        let of = |user: UserId| {
            let connection = |it: &SessionInfo| Connection { id: it.id, relays: it.relays };
            self.delivery.of_each_session(user, connection)
        };
        Connected { caller: of(call.from), callee: of(call.to) }
    }

    /// Makes a change of the store.
    pub(super) async fn write(&self, write: Write) -> Result<Written> {
        let Self { store, directory, .. } = self;
        match write {
            Write::Create(record, facts) => {
                let id = record.id;
                let stored = store.create_call(record, facts).await?;
                if stored.id != id {
                    return Ok(Written::Repeat(Box::new(stored)));
                }
            }
            Write::Save { call, expected_rev, facts } => {
                store.save_call(call.clone(), expected_rev, facts).await?;
                directory.note(&call);
            }
            Write::Finish(end) => {
                let record = end.call.clone();
                let finished = store.finish_call(*end).await?;
                count_outcome(&record);
                return Ok(Written::Done(Box::new(finished)));
            }
        }
        Ok(Written::Done(Box::default()))
    }

    /// Sends a signal; one that reaches no connection waits for its side. Gives what became of it where that is so.
    pub(super) fn pass(&self, call: &mut Call, passed: Passed) -> Option<Result<SignalDelivery>> {
        let Passed { to, session, kind, signal } = passed;
        let whom = session.map_or(To::User(to), |session| To::Session(to, session));
        let sent = self.delivery.send(whom, &event(kind, Arc::clone(&signal)));
        (sent.delivered == 0).then(|| call.keep(to, kind, signal))
    }

    /// Carries out an effect on the rest of the server.
    pub(super) fn carry_out(&self, id: CallId, effect: Effect) {
        let Self { delivery, in_call, relay, directory, .. } = self;
        match effect {
            Effect::Notify(whom, event) => {
                let to = match whom {
                    Whom::User(user) => To::User(user),
                    Whom::Users(users) => To::Users(users),
                    Whom::UserExcept(user, session) => To::UserExcept(user, session),
                    Whom::Session(user, session) => To::Session(user, session),
                    Whom::Group { first, except } => {
                        let mut people = directory.people_of(first);
                        people.retain(|user| *user != except);
                        To::Users(people)
                    }
                };
                delivery.send(to, &event);
            }
            Effect::Enter(user) => in_call.enter(user),
            Effect::Leave(user) => in_call.leave(user),
            Effect::Unlist => directory.remove(id),
            Effect::Record(record) => self.act_on_recorder(record),
            Effect::EndRelay => relay.end_call(id),
            // These are carried out where they may wait, or where their results are known.
            Effect::Persist(_)
            | Effect::Media(_)
            | Effect::Signal(_)
            | Effect::Missed(_)
            | Effect::Entry => {}
        }
    }

    /// Carries out an effect on the SFU; a worker that is busy is waited for.
    pub(super) async fn act_on_media(&self, media: Media) {
        match media {
            Media::Open(room) => self.sfu.server().open(room),
            Media::Command(room, command) => self.sfu.command(room, command).await,
            Media::Close(room) => self.sfu.server().close_room(room),
        }
    }

    fn act_on_recorder(&self, record: Record) {
        let recorder = &self.recorder;
        match record {
            Record::Open { place, room, people, by } => recorder.open(&place, room, &people, by),
            Record::Sends { place, room, by, parts } => recorder.sends(&place, room, by, parts),
            Record::Close { place, room } => recorder.close(&place, room),
        }
    }
}

fn count_outcome(call: &CallRecord) {
    let outcome =
        call.end_reason.map_or_else(|| call.status.to_string(), |reason| reason.to_string());
    metrics::counter!("rtc_calls_total", "outcome" => outcome).increment(1);
}
