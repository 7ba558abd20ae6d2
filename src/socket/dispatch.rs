//! The events of one connection, handled one after the other in the order in which they came.

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use socketioxide::extract::AckSender;
use tracing::Instrument as _;

use super::connection::Connection;
use super::incoming::{Asked, Inbox, Incoming};
use super::table;
use crate::delivery::Frame;
use crate::error::{Problem, Reason};
use crate::event::{CloseReason, Event, Refused, SessionClosed};
use crate::policy::{self, Relation, Verb};

/// Events of one client that wait for their turn at most.
const INBOX: usize = 1024;

/// How long a client waits for the answer to an event at most.
const DEADLINE: Duration = Duration::from_secs(5);

impl Connection {
    /// Takes an event; the future that comes back does the work, unless an earlier one is at it.
    pub(super) fn receive(
        self: Arc<Self>,
        incoming: Incoming,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (begins, span) = (self.enqueue(incoming), self.span.clone());
        let work = async move {
            if begins {
                self.work().await;
            }
        };
        work.instrument(span)
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
                tracing::warn!(parent: &self.span, "the client floods and is disconnected");
                let closed = SessionClosed::because(CloseReason::ProtocolError);
                self.session.close(closed.reconnect_after(5000));
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
                tokio::spawn(handling.in_current_span());
            }
        }
    }

    fn next(&self) -> Option<Incoming> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if self.session.is_closed() {
            inbox.waiting.clear();
        }
        let next = inbox.waiting.pop_front();
        if next.is_none() {
            *inbox = Inbox::default();
        }
        next
    }

    async fn handle(self: &Arc<Self>, asked: Asked, ack: Option<AckSender>) {
        let name = asked.name();
        match self.answer(asked).await {
            Ok(answer) => {
                if let Some(ack) = ack {
                    self.acknowledge(ack, &answer);
                }
            }
            Err(problem) => self.refuse(&name, ack, &problem),
        }
    }

    /// The answer to an event, within the deadline.
    async fn answer(self: &Arc<Self>, asked: Asked) -> Result<Box<RawValue>, Problem> {
        let connection = self.clone();
        let mut outcome = Box::pin(async move { connection.outcome(&asked).await });
        match tokio::time::timeout(DEADLINE, &mut outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                metrics::counter!("rtc_socket_events_late_total").increment(1);
                // It goes on without its client: dropped half-way, it could leave a change stored and not announced.
                tokio::spawn(outcome.in_current_span());
                let seconds = DEADLINE.as_secs();
                let late = format!(
                    "The event took longer than {seconds} seconds and may still take effect; ask again in a moment"
                );
                Err(Problem::new(Reason::Unavailable, late))
            }
        }
    }

    pub(super) async fn outcome(self: &Arc<Self>, asked: &Asked) -> Result<Box<RawValue>, Problem> {
        let parts = asked.parts()?;
        policy::may(self.policy_actor(), verb(&parts.name), Relation::Stranger)?;
        table::handle(self, &parts).await
    }

    fn acknowledge(&self, ack: AckSender, answer: &RawValue) {
        if ack.send(answer).is_err() {
            tracing::debug!(
                "an acknowledgement was not sent: the connection's buffer is full or it is gone"
            );
        }
    }

    /// Refuses an event: in the acknowledgement when the client waits for one, as an event otherwise.
    fn refuse(&self, name: &str, ack: Option<AckSender>, problem: &Problem) {
        metrics::counter!("rtc_socket_events_total", "event" => table::known(name), "result" => problem.reason.code()).increment(1);
        let now = self.app.clock.now();
        if let Some(ack) = ack {
            let _ = ack.send(&problem.ack(now));
            return;
        }
        // The events of the call itself have said what happened.
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
}

/// What a client does by sending this event.
fn verb(event: &str) -> Verb {
    match event.starts_with("room:") || event == "recording:consent" {
        true => Verb::UseRoom,
        false => Verb::UseAccount,
    }
}
