//! Putting a call on hold, and taking it back.

use super::call::Call;
use super::effect::Step;
use super::error::Result;
use super::reply::Reply;
use crate::event::Event;
use crate::ids::UserId;

impl Call {
    /// Puts the call on hold, or takes it back.
    pub(super) fn hold(&mut self, me: UserId, on: bool, step: &mut Step<'_>) -> Result<Reply> {
        self.expect_accepted("only an accepted call can be held")?;
        let changed = if on { self.held.insert(me) } else { self.held.remove(&me) };
        if changed {
            let event = if on { Event::CallHeld } else { Event::CallUnheld };
            self.notify_peer(me, event, step);
        }
        Ok(Reply::Done)
    }
}
