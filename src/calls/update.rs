//! Changing what a call carries, and which way its media takes.

use super::call::Call;
use super::effect::Step;
use super::error::{CallError, Result};
use super::reply::Reply;
use super::states::Input;
use crate::event::{CallMedia, CallType, Event, MediaPath, MediaPathReason, UpdateRequest};
use crate::ids::UserId;

impl Call {
    /// Makes a voice call a video call, or the reverse; the other side is asked to follow.
    pub(super) fn change(
        &mut self,
        me: UserId,
        call_type: CallType,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        let changed = self.advance(&Input::Change(me, call_type), step)?;
        let call = self.view(step.now);
        if changed {
            let (call_id, from_user_id) = (self.record.id, me);
            let request = UpdateRequest { call_id, from_user_id, call_type, call: call.clone() };
            let peer = self.record.peer_of(me);
            step.notify(peer, Event::CallUpdateRequest(Box::new(request)));
        }
        Ok(Reply::Call(Box::new(call)))
    }

    /// Has media go through the server from now on, where the two find no way to each other.
    pub(super) fn relay_media(&mut self, step: &mut Step<'_>) -> Result<Reply> {
        if self.record.media == MediaPath::P2p {
            if self.rules.config.call.media == CallMedia::P2p {
                let why = "call.media of this server is p2p";
                return Err(CallError::State(self.record.status, why));
            }
            self.switch_to_relay(MediaPathReason::IceFailed, step)?;
        }
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }

    /// Has media go through the server, where it can be recorded.
    pub(super) fn record(&mut self, step: &mut Step<'_>) -> Result<Reply> {
        self.expect_accepted("record it once it is accepted")?;
        if self.record.media == MediaPath::P2p {
            self.switch_to_relay(MediaPathReason::Recording, step)?;
        }
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }
}
