//! The task of a room: it owns the machine, feeds it one thing after the other, and does outside what the machine wants done, in order.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use switchboard_media::driver::Server;
use switchboard_media::{Command, PeerKey, TrackKey};
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use uuid::Uuid;

use super::RoomError;
use super::directory::Directory;
use super::effect::{Effect, Name, Record, Stay};
use super::handle::{Asked, Inbox, Input, RoomHandle};
use super::machine::Room;
use super::rule::{Context, Source};
use super::workers::workers;
use crate::clock::{Clock, Timestamp};
use crate::delivery::{Delivery, Frame, To};
use crate::event::Event;
use crate::event::room::{RoomCloseReason, RoomClosed, RoomEvent, Stamp};
use crate::fact::{Fact, FactKind};
use crate::ids::{FactId, RoomSessionId, UserId};
use crate::incall::InCall;
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::Sfu;
use crate::store::{RoomTokenRecord, Store, StoreError};

/// Commands that are answered before the next member is brought up to date, while both wait.
const ANSWERS: usize = 8;
/// How old the counts may be while the room always has something to do.
const COUNTS: Duration = Duration::from_secs(1);

/// The capabilities that rooms use.
pub(super) struct Outside {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Store>,
    pub(super) sfu: Arc<Sfu>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) relay: Arc<Relay>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) in_call: Arc<InCall>,
    pub(super) directory: Directory,
}

/// What is outside because of a room; when its task dies it is undone by this.
#[derive(Default)]
struct Outstanding {
    stays: HashMap<RoomSessionId, (Stay, u64)>,
    names: HashSet<Name>,
    ended: bool,
}

/// See the module.
struct RoomTask {
    room: Room,
    handle: RoomHandle,
    inbox: Inbox,
    outside: Arc<Outside>,
    source: SystemSource,
    outstanding: Arc<Mutex<Outstanding>>,
    counted: Option<Timestamp>,
    facts: Facts,
}

/// Runs a room until it is over. A task that panics ends its room for its members, and nothing else.
pub(super) fn spawn(room: Room, handle: RoomHandle, inbox: Inbox, outside: Arc<Outside>) {
    let outstanding = Arc::<Mutex<Outstanding>>::default();
    let source = SystemSource { clock: outside.clock.clone(), sfu: Arc::clone(&outside.sfu) };
    let task = RoomTask {
        room,
        handle: handle.clone(),
        inbox,
        outside: Arc::clone(&outside),
        source,
        outstanding: Arc::clone(&outstanding),
        counted: None,
        facts: Facts::default(),
    };
    let span = tracing::info_span!("room", room = %handle.id());
    let running = workers().spawn(task.run().instrument(span));
    tokio::spawn(async move {
        let Err(error) = running.await else { return };
        // When the whole server stops there is nobody left to notify.
        if error.is_panic() {
            tracing::error!(room = %handle.id(), %error, "a room has failed and is closed");
            metrics::counter!("rtc_room_failures_total").increment(1);
            clean_up(&handle, &outside, &outstanding).await;
        }
    });
}

/// Does for a room whose task has died what the machine would have had done.
async fn clean_up(handle: &RoomHandle, outside: &Outside, outstanding: &Mutex<Outstanding>) {
    let outstanding = std::mem::take(&mut *lock(outstanding));
    if outstanding.ended {
        return;
    }
    let reason = RoomCloseReason::Failed;
    let closed = RoomEvent::new(|stamp| Event::RoomClosed(RoomClosed { stamp, reason }));
    for (session_id, (stay, seq)) in &outstanding.stays {
        send(outside, stay, &closed, Stamp { seq: seq + 1, session_id: *session_id });
    }
    for name in &outstanding.names {
        if let Name::Peer(peer) = *name {
            // The end of a peer is always taken.
            let _ = outside.sfu.server().try_command(handle.key(), Command::Close { peer });
        }
        outside.directory.forget(name);
    }
    for (session, (stay, _)) in outstanding.stays {
        leave(outside, handle, session, &stay);
    }
    outside.recorder.close(handle.id(), handle.key());
    end(outside, handle);
    revoke_tokens(outside, handle).await;
    let data = json!({ "reason": reason });
    let closed = fact(outside, handle, FactKind::RoomClosed, None, data);
    store_facts(Arc::clone(&outside.store), vec![closed]).await;
}

fn fact(
    outside: &Outside,
    handle: &RoomHandle,
    kind: FactKind,
    user: Option<UserId>,
    data: Value,
) -> Fact {
    let fact = Fact::new(FactId::new(outside.clock.id()), outside.clock.now(), kind);
    Fact { user, data, ..fact.in_room(handle.id().clone()) }
}

async fn store_facts(store: Arc<dyn Store>, facts: Vec<Fact>) {
    let count = facts.len();
    if let Err(error) = store.record_facts(facts).await {
        tracing::error!(%error, count, "facts of a room cannot be stored and are lost");
        metrics::counter!("rtc_facts_lost_total").increment(count.try_into().unwrap_or(u64::MAX));
    }
}

async fn revoke_tokens(outside: &Outside, handle: &RoomHandle) {
    if let Err(error) = outside.store.remove_room_tokens(handle.id().clone()).await {
        tracing::error!(room = %handle.id(), %error, "the tokens of a room that is closed stay stored until they end");
    }
}

fn lock(outstanding: &Mutex<Outstanding>) -> MutexGuard<'_, Outstanding> {
    outstanding.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(outside: &Outside, stay: &Stay, event: &RoomEvent, stamp: Stamp) {
    let Some(socket) = stay.socket else { return };
    outside.delivery.send_frame(To::Session(stay.user, socket), || Frame {
        name: event.name,
        payload: event.stamped(stamp).into(),
        cursor: None,
        position: None,
        droppable: event.is_droppable(),
    });
}

fn leave(outside: &Outside, handle: &RoomHandle, session: RoomSessionId, stay: &Stay) {
    outside.directory.forget(&Name::Session(session));
    outside.directory.attach(handle, stay.socket, None);
    if stay.in_call {
        outside.in_call.leave(stay.user);
    }
    // The relay credentials of a guest who is in no room any more end.
    if outside.directory.left(stay.user, handle) && stay.user.is_guest() {
        outside.relay.shut_out(stay.user);
    }
}

fn end(outside: &Outside, handle: &RoomHandle) {
    if outside.directory.close(handle) {
        // Guests have come by its tokens.
        outside.relay.end_room(&handle.key().0.to_string());
    }
    outside.sfu.server().close_room(handle.key());
}

impl RoomTask {
    async fn run(mut self) {
        tracing::info!("a room is open");
        let mut answered = 0;
        self.carry_out().await;
        while !self.room.is_over() {
            let now = self.outside.clock.now();
            if self.room.deadline().is_some_and(|deadline| deadline <= now) {
                self.room.expire(now);
                self.carry_out().await;
                continue;
            }
            let input = match self.room.has_work() {
                true if answered < ANSWERS => self.inbox.waiting(),
                true => None,
                false => self.wait().await,
            };
            match input {
                Some(Input::Asked(asked)) => {
                    answered += 1;
                    self.answer(asked, now).await;
                }
                Some(Input::Notice(notice)) => {
                    self.room.note(notice, self.outside.clock.now());
                    self.carry_out().await;
                }
                None if self.room.has_work() => {
                    answered = 0;
                    self.room.work(&mut Context { now, source: &mut self.source });
                    self.carry_out().await;
                    tokio::task::yield_now().await;
                }
                None => {}
            }
            self.count(now);
            self.facts.store(&self.outside.store);
        }
        self.facts.finish(&self.outside.store).await;
        tracing::info!("the room is closed");
    }

    /// Waits for what comes, or for the deadline.
    async fn wait(&mut self) -> Option<Input> {
        if let Some(input) = self.inbox.waiting() {
            return Some(input);
        }
        let deadline = self.room.deadline();
        let sleep = async {
            match deadline {
                Some(deadline) => self.outside.clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            input = self.inbox.next() => input,
            () = self.facts.written() => None,
            () = sleep => None,
        }
    }

    async fn answer(&mut self, asked: Asked, now: Timestamp) {
        let Asked { command, reply } = asked;
        let outcome = self.room.handle(command, &mut Context { now, source: &mut self.source });
        let failed = self.carry_out().await;
        // Whoever asked may have gone.
        let _ = reply.send(failed.map_or(outcome, Err));
    }

    /// Has the counts known, once the room has nothing else to do or they are old.
    fn count(&mut self, now: Timestamp) {
        let old = self.counted.is_none_or(|at| now.since(at) >= COUNTS);
        if old || !self.room.has_work() {
            self.handle.set_counts(self.room.counts());
            self.counted = Some(now);
        }
    }

    /// Does what the machine wants done. When something cannot be stored, what follows from it does not happen.
    async fn carry_out(&mut self) -> Option<RoomError> {
        for effect in self.room.take_effects() {
            match effect {
                Effect::Media(command) => {
                    // A worker that is busy is waited for; nobody but this room waits with it.
                    self.outside.sfu.command(self.room.key, command).await;
                }
                Effect::Persist { token, before, happened, by } => {
                    let hash = token.hash;
                    if let Err(error) = self.persist(*token, happened, by).await {
                        self.room.restore(hash, before.map(|token| *token));
                        return Some(error.into());
                    }
                }
                Effect::RevokeTokens => revoke_tokens(&self.outside, &self.handle).await,
                Effect::Fact(kind, user, data) => {
                    self.facts.waiting.push(fact(&self.outside, &self.handle, kind, user, data));
                }
                effect => self.do_at_once(effect),
            }
        }
        None
    }

    async fn persist(
        &self,
        token: RoomTokenRecord,
        happened: Option<FactKind>,
        by: Option<UserId>,
    ) -> Result<(), StoreError> {
        let data = json!({ "tokenId": token.hash, "expiresAt": token.until });
        let happened = happened.map(|kind| fact(&self.outside, &self.handle, kind, by, data));
        self.outside.store.put_room_token(token, happened.into_iter().collect()).await
    }

    fn do_at_once(&self, effect: Effect) {
        let (outside, handle) = (&*self.outside, &self.handle);
        let mut outstanding = lock(&self.outstanding);
        match effect {
            Effect::Enter(session, stay) => {
                outside.directory.register(Name::Session(session), handle);
                outside.directory.attach(handle, None, stay.socket);
                outside.directory.entered(stay.user, handle);
                if stay.in_call {
                    outside.in_call.enter(stay.user);
                }
                outstanding.stays.insert(session, (stay, 0));
            }
            Effect::Leave(session) => {
                if let Some((stay, _)) = outstanding.stays.remove(&session) {
                    leave(outside, handle, session, &stay);
                }
            }
            Effect::Attach(session, socket) => {
                if let Some((stay, _)) = outstanding.stays.get_mut(&session) {
                    let before = std::mem::replace(&mut stay.socket, socket);
                    outside.directory.attach(handle, before, socket);
                }
            }
            Effect::Register(name) => {
                outstanding.names.insert(name);
                outside.directory.register(name, handle);
            }
            Effect::Forget(name) => {
                outstanding.names.remove(&name);
                outside.directory.forget(&name);
            }
            Effect::Notify { session, seq, event } => {
                if let Some((stay, last)) = outstanding.stays.get_mut(&session) {
                    *last = seq.max(*last);
                    send(outside, stay, &event, Stamp { seq, session_id: session });
                }
            }
            Effect::Record(record) => self.record(record),
            Effect::Issue(token) => outside.directory.issue(handle, token),
            Effect::Revoke(hash) => outside.directory.revoke(handle, hash),
            Effect::End => {
                outstanding.ended = true;
                end(outside, handle);
            }
            // Done where it may wait.
            Effect::Media(_) | Effect::Persist { .. } | Effect::RevokeTokens | Effect::Fact(..) => {
            }
        }
    }

    fn record(&self, record: Record) {
        let (recorder, id, key) = (&self.outside.recorder, &self.room.id, self.room.key);
        match record {
            Record::Open => recorder.open(id, key, &[], None),
            Record::Enter(user) => recorder.enter(id, user),
            Record::Leave(user) => recorder.leave(id, user),
            Record::Sends(by, parts) => recorder.sends(id, key, by, parts),
            Record::Close => recorder.close(id, key),
        }
    }
}

/// What happened in a room and is not stored yet. The room does not wait for it.
#[derive(Default)]
struct Facts {
    waiting: Vec<Fact>,
    writing: Option<JoinHandle<()>>,
}

impl Facts {
    /// Has what waits stored, unless something is being stored: then it is the next.
    fn store(&mut self, store: &Arc<dyn Store>) {
        let free = self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        if free && !self.waiting.is_empty() {
            let facts = std::mem::take(&mut self.waiting);
            self.writing = Some(tokio::spawn(store_facts(Arc::clone(store), facts)));
        }
    }

    /// Waits until what is being stored is, when more waits for that.
    async fn written(&mut self) {
        match &mut self.writing {
            Some(writing) if !self.waiting.is_empty() => drop(writing.await),
            _ => std::future::pending().await,
        }
        self.writing = None;
    }

    /// Waits until everything is stored.
    async fn finish(mut self, store: &Arc<dyn Store>) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        if !self.waiting.is_empty() {
            store_facts(Arc::clone(store), self.waiting).await;
        }
    }
}

/// Names from the clock, the system's randomness and the SFU.
struct SystemSource {
    clock: Clock,
    sfu: Arc<Sfu>,
}

impl SystemSource {
    fn server(&self) -> &Server {
        self.sfu.server()
    }
}

impl Source for SystemSource {
    fn id(&mut self) -> Uuid {
        self.clock.id()
    }

    fn secret(&mut self) -> String {
        super::secret()
    }

    fn peer(&mut self) -> PeerKey {
        self.server().peer()
    }

    fn track(&mut self) -> TrackKey {
        self.server().track()
    }
}

#[cfg(test)]
mod tests;
