//! Calls of two: ringing on all devices, one answer, an end with a reason, and a deadline for everything. The state is in
//! the store before anybody is told of it.

mod answer;
mod error;
mod group;
mod ice;
mod live;
mod machine;
mod registry;
mod relayed;
mod sdp;
mod sessions;
mod signal;
mod start;
#[cfg(test)]
mod tests;
mod timer;

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::delivery::{Delivery, To};
use crate::event::{
    Call, CallEnded, CallMedia, CallPerson, CallStatus, EndReason, Event, MediaPath, MessageType,
    NoAnswer,
};
use crate::ids::{CallId, MessageId, RoomId, SessionId, UserId};
use crate::incall::InCall;
use crate::recorder::Recorder;
use crate::relay::Relay;
use crate::sfu::Sfu;
use crate::store::{
    CallEnd, CallHistory, CallRecord, MessageExtra, NewMessage, Rating, RecordingQuery, Store,
    StoreError, UserRecord,
};
use crate::view::{View, cursor, open_cursor};

pub use answer::Respond;
pub use error::CallError;
pub use group::Added;
pub use ice::WebrtcConfig;
pub use signal::{Rejoined, Signal, SignalDelivery};
pub use start::CallRequest;

use live::Live;
use machine::Input;
use registry::Registry;
pub use registry::Stats;
use timer::Timer;

/// What a method about calls gives.
pub type Result<T> = std::result::Result<T, CallError>;

/// The calls of this server.
pub struct Calls {
    store: Arc<dyn Store>,
    delivery: Arc<Delivery>,
    view: View,
    clock: Clock,
    config: Arc<Config>,
    in_call: Arc<InCall>,
    relay: Arc<Relay>,
    sfu: Arc<Sfu>,
    recorder: Arc<Recorder>,
    registry: Registry,
    timer: Timer,
}

/// Which calls to list.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct HistoryQuery {
    pub cursor: Option<String>,
    pub page: usize,
    pub limit: Option<usize>,
    pub status: Option<crate::event::CallStatus>,
    pub outgoing: Option<bool>,
    pub with: Option<UserId>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Calls with the cursor that leads on.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct History {
    pub calls: Vec<Call>,
    pub next_cursor: Option<String>,
    pub limit: usize,
}

type Guard = OwnedMutexGuard<Live>;

impl Calls {
    /// Calls under this configuration; [`Calls::resume`] brings back those of before a restart.
    pub fn new(
        config: Arc<Config>,
        clock: Clock,
        store: Arc<dyn Store>,
        delivery: Arc<Delivery>,
        view: View,
        in_call: Arc<InCall>,
        (relay, sfu, recorder): (Arc<Relay>, Arc<Sfu>, Arc<Recorder>),
    ) -> Self {
        let (registry, timer) = (Registry::default(), Timer::default());
        Self {
            store,
            delivery,
            view,
            clock,
            config,
            in_call,
            relay,
            sfu,
            recorder,
            registry,
            timer,
        }
    }

    /// Takes up the calls of before a restart: ringing ones keep their deadline, accepted ones wait for both to come back.
    pub async fn resume(&self) -> Result<()> {
        let back_by = self.clock.now().after(self.reconnect_window());
        for record in self.store.live_calls().await? {
            let accepted = record.status == crate::event::CallStatus::Accepted;
            let mut live = Live::new(record, None);
            if accepted {
                for user in live.record.bound() {
                    live.side(user).lose(self.clock.now(), back_by);
                    self.in_call.enter(user);
                }
            }
            self.arm(&live);
            self.registry.add(live);
        }
        Ok(())
    }

    /// Ends what is due, for as long as the server runs. Each call has a task of its own for it, so that none waits for another.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let call = self.timer.next(&self.clock).await;
            tokio::spawn(self.clone().keep_deadline(call));
        }
    }

    async fn keep_deadline(self: Arc<Self>, call: CallId) {
        if let Err(error) = self.expire(call).await {
            tracing::warn!(%call, %error, "a deadline could not be kept and is tried again");
            self.timer.arm(self.clock.now().after(std::time::Duration::from_secs(1)), call);
        }
    }

    /// Ends what is due at this moment.
    #[cfg(test)]
    pub(crate) async fn expire_due(&self) {
        while let Ok(call) = self.timer.due(self.clock.now()) {
            self.expire(call).await.unwrap();
        }
    }

    async fn expire(&self, id: CallId) -> Result<()> {
        let Some(mut live) = self.registry.lock(id).await else { return Ok(()) };
        let now = self.clock.now();
        let input = live.lost_since(now).map_or(Input::Timeout, Input::Lost);
        match self.advance(&mut live, &input).await? {
            Some(()) => Ok(()),
            None => {
                self.arm(&live);
                Ok(())
            }
        }
    }

    fn arm(&self, live: &Live) {
        if let Some(deadline) = live.deadline() {
            self.timer.arm(deadline, live.record.id);
        }
    }

    fn reconnect_window(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.call.reconnect_window)
    }

    /// The call, locked, when it runs and `me` is in it; the finished call as an error otherwise.
    async fn running(&self, me: UserId, id: CallId) -> Result<Guard> {
        if let Some(live) = self.registry.lock(id).await {
            return if live.record.has(me) { Ok(live) } else { Err(CallError::NotFound) };
        }
        match self.store.call(id).await? {
            Some(record) if record.has(me) => Err(CallError::Over(Box::new(record))),
            _ => Err(CallError::NotFound),
        }
    }

    /// Advances a call, stores it, and tells both when that ends it. `None` when the input changed nothing.
    async fn advance(&self, live: &mut Guard, input: &Input) -> Result<Option<()>> {
        let Some(next) = machine::step(&live.record, input, self.clock.now())? else {
            return Ok(None);
        };
        if next.status.is_live() {
            self.store.save_call(next.clone(), live.record.rev, Vec::new()).await?;
            self.registry.note(&next);
            live.record = next;
            self.arm(live);
        } else {
            self.finish(live, next, |_, _| {}).await?;
        }
        Ok(Some(()))
    }

    /// Stores the end of a call and announces it; `first` announces what belongs before the end.
    async fn finish(
        &self,
        live: &mut Guard,
        over: CallRecord,
        first: impl FnOnce(&Self, &Guard),
    ) -> Result<()> {
        let missed_by = machine::is_missed(&over).then_some(over.to);
        let entry = self.config.chat.call_entries.then(|| self.entry(&over));
        let (call, expected_rev, facts) = (over.clone(), live.record.rev, Vec::new());
        let end = CallEnd { call, expected_rev, entry, missed_by, facts };
        let finished = self.store.finish_call(end).await?;
        let was_in = live.record.accepted_at.is_some();
        live.record = over;
        if was_in {
            live.record.bound().for_each(|user| self.in_call.leave(user));
            self.notify_group(live, Event::CallMemberLeft);
        }
        self.registry.remove(&live.record);
        live.relayed = None;
        self.relay.end_call(live.record.id);
        first(self, live);
        self.notify_end(&live.record, finished.missed_cursor);
        if let Some(entry) = finished.entry {
            self.view.notify(&entry);
        }
        count_outcome(&live.record);
        Ok(())
    }

    /// The line a finished call leaves in its conversation.
    fn entry(&self, call: &CallRecord) -> NewMessage {
        let now = self.clock.now();
        let told = crate::event::CallEntry {
            call_id: call.id,
            call_type: call.kind,
            status: call.status,
            end_reason: call.end_reason,
            duration: call.duration(now),
        };
        NewMessage {
            id: MessageId::new(self.clock.id()),
            conversation: call.conversation,
            at: now,
            from: call.from,
            kind: MessageType::Call,
            content: machine::summary(call, now),
            client_id: None,
            counts: machine::is_missed(call),
            extra: MessageExtra { call: Some(told), ..MessageExtra::default() },
        }
    }

    fn notify_both(&self, call: &CallRecord, event: &Event) {
        self.delivery.send(To::User(call.from), event);
        self.delivery.send(To::User(call.to), event);
    }

    fn notify_end(&self, call: &CallRecord, missed_cursor: Option<i64>) {
        let (call_id, shown) = (call.id, self.shown(call));
        let end_reason = call.end_reason.unwrap_or(EndReason::Hangup);
        if call.end_reason == Some(EndReason::Timeout) {
            let online = self.delivery.is_online(call.to);
            let reason = if online { "timeout" } else { "offline" };
            let message =
                if online { "Nobody answered" } else { "The person called is not connected" };
            self.delivery.send(
                To::User(call.from),
                &Event::CallNoAnswer(NoAnswer { call_id, message, reason }),
            );
        }
        let ended = CallEnded {
            call_id,
            from_user_id: call.ended_by,
            end_reason,
            duration: shown.duration,
            call: shown.clone(),
        };
        self.notify_both(call, &Event::CallEnded(Box::new(ended)));
        if end_reason == EndReason::Cancelled {
            let by = CallPerson { call_id, user_id: call.from, from_user_id: call.from };
            self.delivery.send(To::User(call.to), &Event::CallCancelled(by));
        }
        if let Some(cursor) = missed_cursor {
            self.delivery.send_logged(call.to, cursor, &Event::CallMissed(Box::new(shown)), None);
        }
    }

    /// A call as clients see it.
    fn shown(&self, record: &CallRecord) -> Call {
        self.view.call(record, None, self.clock.now())
    }

    async fn people(&self, call: &CallRecord) -> Result<Option<(UserRecord, UserRecord)>> {
        let mut found = self.store.users(vec![call.from, call.to]).await?.into_iter();
        let (Some(low), Some(high)) = (found.next(), found.next()) else { return Ok(None) };
        Ok(Some(if low.profile.user_id == call.from { (low, high) } else { (high, low) }))
    }

    /// Ends a call, or gives it up; ending one that is over is no error.
    pub async fn end(
        &self,
        me: UserId,
        id: CallId,
        to: Option<UserId>,
        reason: Option<EndReason>,
    ) -> Result<Call> {
        let mut live = match self.running(me, id).await {
            Ok(live) => live,
            Err(CallError::Over(record)) => return Ok(self.shown(&record)),
            Err(error) => return Err(error),
        };
        expect_peer(&live.record, me, to)?;
        self.advance(&mut live, &Input::End(me, reason.unwrap_or(EndReason::Hangup))).await?;
        let (call, first) = (self.shown(&live.record), live.record.first());
        let talked = live.record.accepted_at.is_some();
        drop(live);
        // Who takes back the call to one of several goes on ringing the others.
        if talked {
            self.end_ringing(me, first).await?;
        }
        Ok(call)
    }

    /// Who leaves a call of several no longer rings others for it.
    async fn end_ringing(&self, me: UserId, first: CallId) -> Result<()> {
        for id in self.registry.rung_by(me, first) {
            if let Some(mut live) = self.registry.lock(id).await
                && live.record.status.is_pending()
            {
                self.advance(&mut live, &Input::End(me, EndReason::Cancelled)).await?;
            }
        }
        Ok(())
    }

    /// One call of `me`.
    pub async fn call(&self, me: UserId, id: CallId) -> Result<Call> {
        let record =
            self.store.call(id).await?.filter(|call| call.has(me)).ok_or(CallError::NotFound)?;
        let people = self.people(&record).await?;
        let people = people.as_ref().map(|(from, to)| (from, to));
        let mut call = self.view.call(&record, people, self.clock.now());
        self.add_recording(&mut call).await?;
        Ok(call)
    }

    /// Says whether a call was recorded.
    async fn add_recording(&self, call: &mut Call) -> Result<()> {
        if call.media == MediaPath::P2p {
            return Ok(());
        }
        let id = Some(call.room_id.call().unwrap_or(call.call_id));
        let query = RecordingQuery { call: id, limit: 1, ..RecordingQuery::default() };
        if let [newest, ..] = self.store.recordings(query).await?.as_slice() {
            (call.recording_status, call.recording_id) = (newest.status, Some(newest.id));
        }
        Ok(())
    }

    /// The calls of `me` that run.
    pub async fn active(&self, me: UserId) -> Vec<Call> {
        let mut calls = Vec::new();
        for id in self.registry.of(me) {
            if let Some(live) = self.registry.lock(id).await {
                calls.push(self.shown(&live.record));
            }
        }
        calls
    }

    /// How many calls run.
    pub fn count(&self) -> usize {
        self.stats().active
    }

    /// The calls of `me`, newest first.
    pub async fn history(&self, me: UserId, query: HistoryQuery) -> Result<History> {
        let limit = query.limit.unwrap_or(20).clamp(1, self.config.limits.page_max);
        let before = query.cursor.as_deref().map(position).transpose()?;
        let asked = CallHistory {
            user: me,
            before,
            skip: query.page.saturating_sub(1).saturating_mul(limit).min(100_000),
            status: query.status,
            outgoing: query.outgoing,
            with: query.with,
            since: query.since,
            until: query.until,
            limit,
        };
        let records = self.store.call_history(asked).await?;
        let last = records.last().filter(|_| records.len() == limit);
        let next_cursor =
            last.map(|last| cursor(&["k", &last.created_at.0.to_string(), &last.id.to_string()]));
        Ok(History { calls: self.with_people(&records).await?, next_cursor, limit })
    }

    /// Calls that `me` missed in the last day and has not acknowledged.
    pub async fn missed(&self, me: UserId) -> Result<Vec<Call>> {
        let since = self.clock.now().before(std::time::Duration::from_secs(86_400));
        let records = self.store.missed_calls(me, since, 50).await?;
        self.with_people(&records).await
    }

    async fn with_people(&self, records: &[CallRecord]) -> Result<Vec<Call>> {
        let ids = records.iter().flat_map(|call| [call.from, call.to]).collect();
        let users = self.store.users(ids).await?;
        let find = |id| users.iter().find(|user| user.profile.user_id == id);
        let now = self.clock.now();
        let show =
            |call: &CallRecord| self.view.call(call, find(call.from).zip(find(call.to)), now);
        let mut calls: Vec<Call> = records.iter().map(show).collect();
        for call in &mut calls {
            self.add_recording(call).await?;
        }
        Ok(calls)
    }

    /// Keeps what `me` thought of a call.
    pub async fn rate(
        &self,
        me: UserId,
        id: CallId,
        stars: u8,
        issues: Vec<String>,
        comment: Option<String>,
    ) -> Result<()> {
        if let Some(live) = self.registry.lock(id).await.filter(|live| live.record.has(me)) {
            return Err(CallError::State(live.record.status, "a call is rated when it is over"));
        }
        let rating = Rating { user: me, stars, issues, comment, at: self.clock.now() };
        self.store.rate_call(id, rating, Vec::new()).await.map_err(|error| match error {
            StoreError::NotFound => CallError::NotFound,
            other => other.into(),
        })?;
        metrics::counter!("rtc_call_ratings_total", "stars" => stars.to_string()).increment(1);
        Ok(())
    }

    /// Has media go through the server from now on, where the two find no way to each other.
    pub async fn relay_media(&self, me: UserId, id: CallId) -> Result<Call> {
        let mut live = self.running(me, id).await?;
        if live.record.media == MediaPath::P2p {
            if self.config.call.media == CallMedia::P2p {
                return Err(CallError::State(
                    live.record.status,
                    "call.media of this server is p2p",
                ));
            }
            self.switch_to_relay(&mut live, "ice-failed").await?;
        }
        Ok(self.shown(&live.record))
    }

    /// Where an accepted call can be recorded, and who is in it; `me` is in it, or an operator asks. Its media goes through the
    /// server then.
    pub async fn recordable(
        &self,
        me: Option<UserId>,
        id: CallId,
    ) -> Result<(RoomId, Vec<UserId>)> {
        let live = self.registry.lock(id).await;
        let live = live.filter(|live| me.is_none_or(|me| live.record.has(me)));
        let mut live = live.ok_or(CallError::NotFound)?;
        if live.record.status != CallStatus::Accepted {
            return Err(CallError::State(live.record.status, "record it once it is accepted"));
        }
        if live.record.media == MediaPath::P2p {
            self.switch_to_relay(&mut live, "recording").await?;
        }
        let first = live.record.first();
        drop(live);
        Ok((RoomId::of_call(first), self.registry.people_of(first)))
    }

    /// Whether `me` is in a call that runs.
    pub async fn runs(&self, me: UserId, id: CallId) -> Result<()> {
        self.running(me, id).await.map(drop)
    }

    /// Acknowledges missed calls.
    pub async fn ack_missed(&self, me: UserId, calls: Vec<CallId>) -> Result<()> {
        Ok(self.store.ack_missed(me, calls).await?)
    }
}

fn position(text: &str) -> Result<(Timestamp, CallId)> {
    match open_cursor(text).as_deref() {
        Some([kind, at, id]) if kind == "k" => {
            let at = at.parse().map_err(|_| CallError::Cursor)?;
            Ok((Timestamp(at), id.parse().map_err(|_| CallError::Cursor)?))
        }
        _ => Err(CallError::Cursor),
    }
}

/// A named peer must be the peer.
fn expect_peer(call: &CallRecord, me: UserId, to: Option<UserId>) -> Result<()> {
    if to.is_some_and(|to| to != call.peer_of(me)) { Err(CallError::OtherPeer) } else { Ok(()) }
}

fn count_outcome(call: &CallRecord) {
    let outcome =
        call.end_reason.map_or_else(|| call.status.to_string(), |reason| reason.to_string());
    metrics::counter!("rtc_calls_total", "outcome" => outcome).increment(1);
}

/// A connection that acts in a call: its session, and the device it says it is.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who.
    pub user: UserId,
    /// On which connection; `None` over REST.
    pub session: Option<SessionId>,
    /// On which device.
    pub device_id: Option<String>,
    /// What the device is called.
    pub device_name: Option<String>,
}
