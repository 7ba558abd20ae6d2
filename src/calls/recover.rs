//! Agreeing with the store again, after a write that failed and may have been made all the same.

use super::call::Call;
use super::effect::{Effect, Step, Write};
use super::error::Result;
use super::reply::Reply;
use super::states::{self, Input};
use crate::store::CallRecord;

impl Call {
    /// Takes what the store has. A state that was stored and never announced is taken back: everybody goes by what was announced,
    /// and whoever asked for the change was refused. An end cannot be taken back.
    pub(super) fn adopt_record(
        &mut self,
        found: Option<CallRecord>,
        step: &mut Step<'_>,
    ) -> Result<Reply> {
        match found {
            // The beginning was refused.
            None if !self.stored => step.push(Effect::Unlist),
            None => {
                let over = states::step(&self.record, &Input::Fail, step.now)?;
                self.end_with(over.unwrap_or_else(|| self.record.clone()), step);
            }
            Some(found) if !found.status.is_live() => self.end_with(found, step),
            Some(found) if !self.stored => {
                (self.record, self.stored) = (found, true);
                self.advance(&Input::Fail, step)?;
            }
            Some(found) if found.rev == self.record.rev => {}
            Some(found) => {
                let expected_rev = found.rev;
                self.record.rev = expected_rev + 1;
                let call = self.record.clone();
                let facts = Vec::new();
                step.push(Effect::Persist(Write::Save { call, expected_rev, facts }));
            }
        }
        Ok(Reply::Done)
    }

    /// Ends the call in a state that the store has.
    fn end_with(&mut self, over: CallRecord, step: &mut Step<'_>) {
        self.record = over;
        self.release(step);
        self.announce_end(step);
    }
}
