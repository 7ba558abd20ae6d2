//! One connection: its queue, its bounds, and the order in which logged events leave it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;

use crate::clock::{Clock, Timestamp};
use crate::event::{Event, SessionClosed};
use crate::ids::{ConversationId, SessionId, UserId};

/// How long an event whose predecessor is missing waits for it.
const GAP: Duration = Duration::from_secs(1);
/// How many received messages a device may leave unacknowledged before it is no longer asked to.
const SILENT: u32 = 8;

/// The transport of a session.
pub trait Wire: Send + Sync {
    /// Hands one event over, or says why not. With `confirm`, the client is asked to acknowledge.
    fn send(&self, frame: &Frame, confirm: Option<Confirm>) -> Result<(), WireError>;
    /// Ends the connection.
    fn close(&self);
}

/// What is to be called when the client acknowledges (`true`) or does not (`false`).
pub type Confirm = Box<dyn FnOnce(bool) + Send>;

/// Why the transport took no event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WireError {
    /// Its buffer is full; try again.
    Full,
    /// It is gone.
    Closed,
}

/// An encoded event.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The event's name.
    pub name: &'static str,
    /// The payload.
    pub payload: Arc<RawValue>,
    /// Its place in the user's log.
    pub cursor: Option<i64>,
    /// Where a received message stands.
    pub place: Option<(ConversationId, i64)>,
}

impl Frame {
    /// Encodes an event that is in no log.
    pub fn new(event: &Event) -> Self {
        Self { name: event.name(), payload: event.encode().into(), cursor: None, place: None }
    }
}

/// What may wait for a slow client.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Bounds {
    pub entries: usize,
    pub bytes: usize,
    pub time: Duration,
}

/// Whose session it is and how it came.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SessionInfo {
    pub id: SessionId,
    pub user: UserId,
    pub device_id: Option<String>,
    pub device_name: Option<String>,
    pub websocket: bool,
    pub connected_at: Timestamp,
    pub address: String,
    pub user_agent: String,
    /// A client of the original, which keeps no cursor.
    pub legacy: bool,
    /// Makes a new connection when a call goes over to the server.
    pub relays: bool,
}

/// Who wants to know that a device acknowledged a received message; set once for all sessions.
pub(super) type Delivered = OnceLock<Box<dyn Fn(UserId, ConversationId, i64) + Send + Sync>>;

/// One connection of a user.
pub struct Session {
    /// Whose session it is and how it came.
    pub about: SessionInfo,
    wire: Box<dyn Wire>,
    bounds: Bounds,
    clock: Clock,
    queue: Mutex<Queue>,
    expires_at: AtomicI64,
    activity: AtomicI64,
    closed: AtomicBool,
    unconfirmed: AtomicU32,
    delivered: Arc<Delivered>,
}

#[derive(Default)]
struct Queue {
    /// The newest log entry that went out; `None` until the session is released.
    sent: Option<i64>,
    /// Logged events that are not yet their turn.
    early: BTreeMap<i64, Frame>,
    watching_gap: bool,
    /// More was early than may wait: the client must reload.
    overrun: bool,
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    waiting_since: Timestamp,
}

impl Session {
    pub(super) fn new(
        about: SessionInfo,
        wire: Box<dyn Wire>,
        bounds: Bounds,
        clock: Clock,
        delivered: Arc<Delivered>,
    ) -> Self {
        let activity = AtomicI64::new(about.connected_at.0);
        Self {
            about,
            wire,
            bounds,
            clock,
            queue: Mutex::default(),
            expires_at: AtomicI64::new(i64::MAX),
            activity,
            closed: AtomicBool::new(false),
            unconfirmed: AtomicU32::new(0),
            delivered,
        }
    }

    /// When the token of this session ends.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.expires_at.load(Ordering::Relaxed))
    }

    /// Notes a fresh token.
    pub fn set_expires_at(&self, at: Timestamp) {
        self.expires_at.store(at.0, Ordering::Relaxed);
    }

    /// The last sign of life.
    pub fn last_activity(&self) -> Timestamp {
        Timestamp(self.activity.load(Ordering::Relaxed))
    }

    /// Notes a sign of life.
    pub fn touch(&self) {
        self.activity.store(self.clock.now().0, Ordering::Relaxed);
    }

    /// Whether the session was closed from this side.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The newest log entry that went out.
    pub fn sent_up_to(&self) -> i64 {
        self.lock().sent.unwrap_or(0)
    }

    /// Sends an event: at once, or when it is its turn.
    pub fn deliver(self: &Arc<Self>, frame: Frame) {
        let mut queue = self.lock();
        match (frame.cursor, queue.sent) {
            (None, _) => self.push(&mut queue, frame),
            (Some(cursor), Some(sent)) if cursor <= sent => {}
            (Some(cursor), _) => {
                queue.early.insert(cursor, frame);
                if queue.early.len() > self.bounds.entries {
                    queue.early.clear();
                    queue.overrun = true;
                }
                self.flush_in_order(&mut queue);
            }
        }
    }

    /// Lets logged events behind `cursor` flow; `false` when more came meanwhile than may wait, and the client must reload.
    pub fn release(self: &Arc<Self>, cursor: i64) -> bool {
        let mut queue = self.lock();
        queue.sent = Some(cursor);
        queue.early = queue.early.split_off(&(cursor + 1));
        self.flush_in_order(&mut queue);
        !std::mem::take(&mut queue.overrun)
    }

    fn flush_in_order(self: &Arc<Self>, queue: &mut Queue) {
        let Some(mut sent) = queue.sent else { return };
        while let Some(frame) = queue.early.remove(&(sent + 1)) {
            sent += 1;
            self.push(queue, frame);
        }
        queue.sent = Some(sent);
        if !queue.early.is_empty() && !queue.watching_gap {
            queue.watching_gap = true;
            tokio::spawn(self.clone().give_up_on_gap());
        }
    }

    /// A log entry that never came here (its sender died between storing and telling) must not hold up the others.
    async fn give_up_on_gap(self: Arc<Self>) {
        tokio::time::sleep(GAP).await;
        let mut queue = self.lock();
        queue.watching_gap = false;
        if let Some((first, _)) = queue.early.first_key_value() {
            queue.sent = Some(first - 1);
            self.flush_in_order(&mut queue);
        }
    }

    fn push(self: &Arc<Self>, queue: &mut Queue, frame: Frame) {
        if queue.waiting.is_empty() {
            match self.send(&frame) {
                Ok(()) | Err(WireError::Closed) => return,
                Err(WireError::Full) => {
                    queue.waiting_since = self.clock.now();
                    tokio::spawn(self.clone().drain());
                }
            }
        }
        queue.waiting_bytes += frame.payload.get().len();
        queue.waiting.push_back(frame);
        if queue.waiting.len() > self.bounds.entries || queue.waiting_bytes > self.bounds.bytes {
            self.cut_off(queue);
        }
    }

    fn send(self: &Arc<Self>, frame: &Frame) -> Result<(), WireError> {
        let confirm = frame
            .place
            .filter(|_| self.unconfirmed.load(Ordering::Relaxed) < SILENT)
            .map(|(conversation, seq)| {
                let session = Arc::downgrade(self);
                Box::new(move |acknowledged| {
                    let Some(session) = session.upgrade() else { return };
                    session.confirmed(acknowledged, conversation, seq);
                }) as Confirm
            });
        self.wire.send(frame, confirm)
    }

    fn confirmed(&self, acknowledged: bool, conversation: ConversationId, seq: i64) {
        if !acknowledged {
            self.unconfirmed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.unconfirmed.store(0, Ordering::Relaxed);
        if let Some(sent) = self.delivered.get() {
            sent(self.about.user, conversation, seq);
        }
    }

    /// Feeds a slow client for as long as it is within bounds.
    async fn drain(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut queue = self.lock();
            while let Some(frame) = queue.waiting.front().cloned() {
                match self.send(&frame) {
                    Ok(()) => {
                        queue.waiting_bytes -= frame.payload.get().len();
                        queue.waiting.pop_front();
                        queue.waiting_since = self.clock.now();
                    }
                    Err(WireError::Closed) => queue.waiting.clear(),
                    Err(WireError::Full) => break,
                }
            }
            if queue.waiting.is_empty() {
                queue.waiting = VecDeque::new();
                return;
            }
            if self.clock.now().since(queue.waiting_since) > self.bounds.time {
                self.cut_off(&mut queue);
                return;
            }
        }
    }

    fn cut_off(&self, queue: &mut Queue) {
        queue.waiting.clear();
        queue.waiting_bytes = 0;
        metrics::counter!("rtc_slow_consumers_total").increment(1);
        tracing::warn!(session = %self.about.id, user = %self.about.user, "a client reads too slowly and is cut");
        self.end("SLOW_CONSUMER", None);
    }

    /// Tells the client why, then ends the connection.
    pub fn end(&self, reason: &'static str, reconnect_after_ms: Option<u64>) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let closed = SessionClosed { reason, reconnect_after_ms };
        if reason == "REPLACED" {
            let _ = self.wire.send(&Frame::new(&Event::SessionReplaced(closed.clone())), None);
        }
        let _ = self.wire.send(&Frame::new(&Event::SessionClosed(closed)), None);
        self.wire.close();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
