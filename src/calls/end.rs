//! Ending a call, or giving it up before there is an answer.

use super::call::Call;
use super::effect::Step;
use super::error::Result;
use super::reply::Reply;
use super::states::Input;
use crate::event::EndReason;
use crate::ids::{CallId, SessionId, UserId};

/// The end of a call.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct End {
    pub call: CallId,
    pub to: Option<UserId>,
    /// `Hangup` where it is not said.
    pub reason: Option<EndReason>,
}

impl End {
    /// Nothing more than the end.
    pub fn of(call: CallId) -> Self {
        Self { call, to: None, reason: None }
    }
}

impl Call {
    /// Ends the call, or gives it up.
    pub(super) fn end(&mut self, me: UserId, end: &End, step: &mut Step<'_>) -> Result<Reply> {
        self.expect_peer(me, end.to)?;
        self.advance(&Input::End(me, end.reason.unwrap_or(EndReason::Hangup)), step)?;
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }

    /// Gives up ringing; what is accepted stays.
    pub(super) fn stop_ringing(&mut self, me: UserId, step: &mut Step<'_>) -> Result<Reply> {
        if self.record.status.is_pending() {
            self.advance(&Input::End(me, EndReason::Cancelled), step)?;
        }
        Ok(Reply::Done)
    }

    /// Ends the call of one who may no longer take part in it. A session that was ended takes only the call with it that it is in.
    pub(super) fn revoke(
        &mut self,
        user: UserId,
        session: Option<SessionId>,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        if session.is_none_or(|session| self.user_on(session) == Some(user)) {
            self.advance(&Input::Revoke(user), step)?;
        }
        Ok(Reply::Done)
    }

    /// Ends the call because of what happened to the server, not to the two.
    pub(super) fn fail(&mut self, step: &mut Step<'_>) -> Result<Reply> {
        self.advance(&Input::Fail, step)?;
        Ok(Reply::Done)
    }
}
