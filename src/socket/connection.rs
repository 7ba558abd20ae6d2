//! One connection: whose it is, what may wait for it, and how far its replay has come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Span;

use super::incoming::Inbox;
use crate::app::App;
use crate::calls::Device;
use crate::chat::ChatError;
use crate::delivery::Session;
use crate::event::Role;
use crate::ids::UserId;
use crate::limits::ConnectionLimits;
use crate::policy;

/// How long a client may take to go on with its replay.
const SYNC_PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Connection {
    pub(super) app: App,
    pub(super) session: Arc<Session>,
    /// Of a guest, who has no account: the room token and the name.
    pub(super) guest: Option<(String, String)>,
    pub(super) limits: ConnectionLimits,
    /// What its log lines have in common.
    pub(super) span: Span,
    /// Held while a message is on its way into the queue of the store: whoever waits for it is served in order.
    pub(super) sending: tokio::sync::Mutex<()>,
    pub(super) inbox: Mutex<Inbox>,
    /// The cursor that the next `sync:ack` confirms, while a replay runs.
    syncing: Mutex<Option<i64>>,
}

impl Connection {
    pub(super) fn new(app: App, session: Arc<Session>, guest: Option<(String, String)>) -> Self {
        let limits = app.limits.for_connection();
        let (id, user) = (session.about.id, session.about.user);
        let span = tracing::info_span!("connection", session = %id, %user);
        Self {
            app,
            session,
            guest,
            limits,
            span,
            sending: tokio::sync::Mutex::default(),
            inbox: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    /// Whose connection it is.
    pub(super) fn user(&self) -> UserId {
        self.session.about.user
    }

    /// What the token says about its bearer.
    pub(super) fn role(&self) -> Role {
        self.session.role()
    }

    /// Who acts, for the table of who may do what.
    pub(super) fn policy_actor(&self) -> policy::Actor {
        policy::Actor::new(self.user(), self.role())
    }

    /// Who acts, for the rules of calls.
    pub(super) fn device(&self) -> Device {
        let about = &self.session.about;
        let (device_id, device_name) = (about.device_id.clone(), about.device_name.clone());
        Device { user: about.user, session: Some(about.id), device_id, device_name }
    }

    /// Begins or goes on with the replay of what was missed.
    pub(super) async fn sync_from(self: &Arc<Self>, cursor: i64) -> Result<(), ChatError> {
        let expected = self.app.chat.send_batch(self.user(), self.session.about.id, cursor).await?;
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

    /// The client confirmed a batch: the next one follows. A confirmation that is not waited for changes nothing.
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
        tokio::time::sleep(SYNC_PATIENCE).await;
        let waiting = self
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|cursor| *cursor == expected);
        if waiting.is_some() && !self.session.is_closed() {
            let _ = self.app.chat.reset(self.user(), self.session.about.id).await;
        }
    }
}
