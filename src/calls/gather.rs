//! Making a call one of several: its media goes through the room of the first.

use super::call::Call;
use super::effect::Step;
use super::error::Result;
use super::reply::Reply;
use super::states::Input;
use crate::event::{Event, MediaPathChanged, MediaPathReason};

impl Call {
    /// Makes an accepted call one of several.
    pub(super) fn gather(&mut self, step: &mut Step<'_>) -> Result<Reply> {
        self.expect_accepted("add people once it is accepted")?;
        if self.advance(&Input::Gather, step)? {
            let (call_id, media) = (self.record.id, self.record.media);
            let path = MediaPathChanged { call_id, media, reason: MediaPathReason::Group };
            self.notify_both(Event::CallMediaPath(path), step);
        }
        Ok(Reply::Call(Box::new(self.view(step.now))))
    }
}
