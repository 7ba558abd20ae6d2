//! One connection: its events are handled one after the other, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use socketioxide::extract::AckSender;

use super::incoming::{Asked, Incoming};
use super::table;
use super::wire::Line;
use crate::app::App;
use crate::calls::Device;
use crate::chat::ChatError;
use crate::delivery::{Frame, Session};
use crate::error::{Problem, Reason};
use crate::event::{Event, Refused, Role};
use crate::limits::ConnectionLimits;

/// Events of one client that wait for their turn at most.
const INBOX: usize = 1024;

/// How long a client waits for the answer to an event at most.
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub(super) app: App,
    pub(super) session: Arc<Session>,
    /// What the token says about its bearer.
    pub(super) role: Role,
    /// The room token and the name of somebody without an account.
    pub(super) guest: Option<(String, String)>,
    pub(super) limits: ConnectionLimits,
    pub(super) line: Arc<Line>,
    inbox: Mutex<Inbox>,
    /// The cursor that the next `sync:ack` confirms, while a replay runs.
    syncing: Mutex<Option<i64>>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<Incoming>,
    busy: bool,
}

impl Connection {
    pub(super) fn new(
        app: App,
        session: Arc<Session>,
        role: Role,
        line: Arc<Line>,
        guest: Option<(String, String)>,
    ) -> Self {
        let limits = app.limits.for_connection();
        Self {
            app,
            session,
            role,
            guest,
            limits,
            line,
            inbox: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    /// Who acts, for the rules of calls.
    pub(super) fn device(&self) -> Device {
        let about = &self.session.about;
        let (device_id, device_name) = (about.device_id.clone(), about.device_name.clone());
        Device { user: about.user, session: Some(about.id), device_id, device_name }
    }

    /// Takes an event; the future that comes back does the work, if nobody does it yet.
    pub(super) fn receive(
        self: Arc<Self>,
        incoming: Incoming,
    ) -> impl Future<Output = ()> + Send + 'static {
        let begins = self.enqueue(incoming);
        async move {
            if begins {
                self.work().await;
            }
        }
    }

    /// Puts an event into the inbox. Floods are refused before anything is parsed. True when the inbox was idle.
    fn enqueue(&self, incoming: Incoming) -> bool {
        if self.session.is_closed() {
            return false;
        }
        self.session.touch();
        if let Err(refused) = self.limits.event() {
            let (asked, ack) = incoming.split();
            self.refuse(&asked.name(), ack, &refused.into());
            if self.limits.is_flood() {
                tracing::warn!(session = %self.session.about.id, user = %self.session.about.user, "a flood is cut");
                self.session.end("PROTOCOL_ERROR", Some(5000));
            }
            return false;
        }
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.waiting.len() >= INBOX {
            drop(inbox);
            let (asked, ack) = incoming.split();
            let full = Problem::new(
                Reason::RateLimited,
                format!("More than {INBOX} events wait; send fewer at once"),
            );
            self.refuse(&asked.name(), ack, &full);
            return false;
        }
        inbox.waiting.push_back(incoming);
        !std::mem::replace(&mut inbox.busy, true)
    }

    async fn work(self: Arc<Self>) {
        while let Some(incoming) = self.next() {
            let (asked, ack) = incoming.split();
            if !asked.parts().is_ok_and(|parts| table::is_pipelined(&parts.name)) {
                self.handle(asked, ack).await;
                continue;
            }
            let connection = self.clone();
            let mut handling = Box::pin(async move { connection.handle(asked, ack).await });
            if futures_util::poll!(&mut handling).is_pending() {
                tokio::spawn(handling);
            }
        }
    }

    fn next(&self) -> Option<Incoming> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let next = inbox.waiting.pop_front();
        if next.is_none() {
            *inbox = Inbox::default();
        }
        next
    }

    async fn handle(self: &Arc<Self>, asked: Asked, ack: Option<AckSender>) {
        let asked = Arc::new(asked);
        let (connection, theirs) = (self.clone(), asked.clone());
        let mut outcome = Box::pin(async move { connection.outcome(&theirs).await });
        let outcome = match tokio::time::timeout(DEADLINE, &mut outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // It goes on without its client: dropped half-way, it could leave a change stored that nobody knows of.
                tokio::spawn(outcome);
                let late = "The event took longer than 5 seconds and may still take effect; ask again in a moment";
                Err(Problem::new(Reason::Unavailable, late))
            }
        };
        match outcome {
            Ok(answer) => {
                if let Some(ack) = ack {
                    self.acknowledge(ack, &answer);
                }
            }
            Err(problem) => self.refuse(&asked.name(), ack, &problem),
        }
    }

    async fn outcome(self: &Arc<Self>, asked: &Asked) -> Result<Box<RawValue>, Problem> {
        let parts = asked.parts()?;
        if self.guest.is_some() && !open_to_guests(&parts.name) {
            let message = "A guest has the room:* events of one room, and recording:consent; this one needs an account";
            return Err(Problem::new(Reason::Forbidden, message));
        }
        table::handle(self, &parts).await
    }

    fn acknowledge(&self, ack: AckSender, answer: &RawValue) {
        if ack.send(answer).is_err() {
            tracing::debug!(session = %self.session.about.id, "an acknowledgement found no room");
        }
    }

    /// Says no: in the acknowledgement when the client waits for one, as an event otherwise.
    fn refuse(&self, name: &str, ack: Option<AckSender>, problem: &Problem) {
        metrics::counter!("rtc_socket_events_total", "event" => table::known(name), "result" => problem.reason.code()).increment(1);
        let now = self.app.clock.now();
        if let Some(ack) = ack {
            let _ = ack.send(&problem.ack(now));
            return;
        }
        // What happened has already been told by the events of the call itself.
        if matches!(problem.reason, Reason::CallMerged | Reason::UserBusy) {
            return;
        }
        let refused = Refused {
            message: problem.message.clone(),
            code: problem.reason.code(),
            error: problem.message.clone(),
            status: problem.reason.status().as_u16(),
            event: name.to_owned(),
            timestamp: now,
            call_id: None,
            details: problem.details.clone(),
        };
        let is_call = name.starts_with("call:") || name.starts_with("webrtc:");
        let event = if is_call {
            Event::CallFailed(Box::new(refused))
        } else {
            Event::Error(Box::new(refused))
        };
        self.session.deliver(Frame::new(&event));
    }

    /// Begins or goes on with the replay of what was missed.
    pub(super) async fn sync_from(self: &Arc<Self>, cursor: i64) -> Result<(), ChatError> {
        let expected = self.app.chat.send_batch(&self.session, cursor).await?;
        let started = self.expect_ack(expected);
        if let (Some(expected), true) = (expected, started) {
            tokio::spawn(self.clone().on_ack_timeout(expected));
        }
        Ok(())
    }

    fn expect_ack(&self, expected: Option<i64>) -> bool {
        *self.syncing.lock().unwrap_or_else(PoisonError::into_inner) = expected;
        expected.is_some()
    }

    /// The client confirmed a batch: the next one follows. A confirmation nobody waits for changes nothing.
    pub(super) async fn confirm_batch(self: &Arc<Self>, cursor: i64) -> Result<(), ChatError> {
        let expected = self
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|expected| *expected == cursor);
        match expected {
            Some(cursor) => self.sync_from(cursor).await,
            None => Ok(()),
        }
    }

    /// A client that never confirms gets live events all the same, behind a reset.
    async fn on_ack_timeout(self: Arc<Self>, expected: i64) {
        tokio::time::sleep(super::connect::SYNC_PATIENCE).await;
        let waiting = self
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|cursor| *cursor == expected);
        if waiting.is_some() && !self.session.is_closed() {
            let _ = self.app.chat.reset(&self.session).await;
        }
    }
}

/// What somebody without an account may ask for.
fn open_to_guests(event: &str) -> bool {
    event.starts_with("room:") || event == "recording:consent"
}
