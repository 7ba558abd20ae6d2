//! One connection of a user: what goes out on it, in which order, and its end.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::backlog::Backlog;
use super::order::LogOrder;
use super::receipts::{Acknowledgements, Receipt};
use super::{Frame, QueueBounds, Transport, TransportError};
use crate::clock::{Clock, Timestamp};
use crate::event::{CloseReason, Event, Role, SessionClosed};
use crate::ids::{SessionId, UserId};
use crate::store::TokenHash;

/// How long an event whose predecessor is missing waits for it.
const GAP: Duration = Duration::from_secs(1);
/// How often a transport that was full is tried again.
const RETRY: Duration = Duration::from_millis(5);

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
    /// The client's last sign of life, as of when this was asked for.
    pub last_activity: Timestamp,
    pub address: String,
    pub user_agent: String,
    /// A client of the original, which keeps no cursor.
    pub legacy: bool,
    /// Makes a new peer connection when a call goes over to the server.
    pub relays: bool,
    /// The room token by which a guest came.
    pub token: Option<TokenHash>,
}

/// One connection of a user.
pub struct Session {
    /// Whose session it is and how it came.
    pub about: SessionInfo,
    transport: Box<dyn Transport>,
    bounds: QueueBounds,
    clock: Clock,
    queue: Mutex<Queue>,
    acknowledgements: Arc<Acknowledgements>,
    expires_at: AtomicI64,
    role: Mutex<Role>,
    activity: AtomicI64,
    closed: AtomicBool,
}

struct Queue {
    order: LogOrder,
    backlog: Backlog,
}

impl Session {
    pub(super) fn new(
        about: SessionInfo,
        transport: Box<dyn Transport>,
        bounds: QueueBounds,
        clock: Clock,
        receipts: mpsc::Sender<Receipt>,
    ) -> Self {
        Self {
            transport,
            bounds,
            clock,
            queue: Mutex::new(Queue { order: LogOrder::new(bounds), backlog: Backlog::default() }),
            acknowledgements: Acknowledgements::new(about.user, receipts),
            expires_at: AtomicI64::new(i64::MAX),
            role: Mutex::default(),
            activity: AtomicI64::new(about.connected_at.0),
            closed: AtomicBool::new(false),
            about,
        }
    }

    /// All that is known of it at this moment.
    pub fn info(&self) -> SessionInfo {
        SessionInfo { last_activity: self.last_activity(), ..self.about.clone() }
    }

    /// When the token of this session ends.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(self.expires_at.load(Ordering::Relaxed))
    }

    /// Notes a fresh token.
    pub fn set_expires_at(&self, at: Timestamp) {
        self.expires_at.store(at.0, Ordering::Relaxed);
    }

    /// What the token of this session says about its bearer, as far as a newer token leaves it.
    pub fn role(&self) -> Role {
        *self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the role of a fresh token, or of another one that lowers it.
    pub fn set_role(&self, role: Role) {
        *self.role.lock().unwrap_or_else(PoisonError::into_inner) = role;
    }

    /// The last sign of life.
    pub(super) fn last_activity(&self) -> Timestamp {
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
        self.lock().order.position()
    }

    /// Sends an event: at once, or when the log has come to it.
    pub fn deliver(self: &Arc<Self>, frame: Frame) {
        let mut queue = self.lock();
        match frame.cursor {
            None => self.push(&mut queue, frame),
            Some(cursor) => {
                queue.order.accept(cursor, frame);
                self.flush_in_order(&mut queue);
            }
        }
    }

    /// Lets logged events behind `cursor` flow; `false` when more came meanwhile than may wait, and the client must reload.
    pub fn release(self: &Arc<Self>, cursor: i64) -> bool {
        let mut queue = self.lock();
        let complete = queue.order.release(cursor);
        self.flush_in_order(&mut queue);
        complete
    }

    fn flush_in_order(self: &Arc<Self>, queue: &mut Queue) {
        while let Some(frame) = queue.order.next() {
            self.push(queue, frame);
        }
        if queue.order.begins_gap() {
            tokio::spawn(self.clone().give_up_on_gap());
        }
    }

    async fn give_up_on_gap(self: Arc<Self>) {
        tokio::time::sleep(GAP).await;
        let mut queue = self.lock();
        queue.order.skip_gap();
        self.flush_in_order(&mut queue);
    }

    fn push(self: &Arc<Self>, queue: &mut Queue, frame: Frame) {
        if queue.backlog.is_empty() {
            match self.send(&frame) {
                Ok(()) | Err(TransportError::Closed) => return,
                Err(TransportError::Full) => {
                    tokio::spawn(self.clone().drain());
                }
            }
        }
        if frame.droppable && queue.backlog.is_crowded(&self.bounds) {
            metrics::counter!("rtc_events_dropped_total").increment(1);
            return;
        }
        let now = self.clock.now();
        queue.backlog.push(frame, now);
        if queue.backlog.exceeds(&self.bounds, now) {
            self.cut_off(queue);
        }
    }

    fn send(&self, frame: &Frame) -> Result<(), TransportError> {
        self.transport.send(frame, self.acknowledgements.ask(frame))
    }

    /// Feeds a slow client for as long as it is within bounds.
    async fn drain(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RETRY).await;
            let (mut queue, now) = (self.lock(), self.clock.now());
            while let Some(frame) = queue.backlog.first() {
                match self.send(&frame) {
                    Ok(()) => queue.backlog.taken(now),
                    Err(TransportError::Closed) => queue.backlog.clear(),
                    Err(TransportError::Full) => break,
                }
            }
            if queue.backlog.is_empty() {
                queue.backlog.clear();
                return;
            }
            if queue.backlog.exceeds(&self.bounds, now) {
                self.cut_off(&mut queue);
                return;
            }
        }
    }

    fn cut_off(&self, queue: &mut Queue) {
        queue.backlog.clear();
        metrics::counter!("rtc_slow_consumers_total").increment(1);
        let (session, user) = (self.about.id, self.about.user);
        tracing::warn!(%session, %user, "the client reads too slowly and is disconnected");
        self.close(SessionClosed::because(CloseReason::SlowConsumer));
    }

    /// Says why to the client, then ends the connection.
    pub fn close(&self, closed: SessionClosed) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        if closed.reason == CloseReason::Replaced {
            let replaced = Event::SessionReplaced(closed.clone());
            let _ = self.transport.send(&Frame::new(&replaced), None);
        }
        let _ = self.transport.send(&Frame::new(&Event::SessionClosed(closed)), None);
        self.transport.close();
    }

    /// Cuts the connection of a session that is over, whatever its client does.
    pub fn cut(&self) {
        self.transport.cut();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
