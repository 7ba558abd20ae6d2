//! The table of the commands of a call.

use super::call::Call;
use super::command::Command;
use super::effect::{FollowUp, Step};
use super::end::End;
use super::error::Result;
use super::reply::Reply;

impl Call {
    /// Takes a command. An `Err` leaves the call half changed: it is to be put back as it was, and the effects are void.
    pub(super) fn handle(&mut self, command: Command, step: &mut Step<'_>) -> Result<Reply> {
        let done = match command {
            Command::Initiate(initiate) => return Ok(self.initiate(&initiate, step)),
            Command::Look => return Ok(Reply::Call(Box::new(self.view(step.now)))),
            Command::ShowOn(by) => return self.show_on(&by, step),
            Command::Respond(by, answer) => return self.respond(&by, &answer, step),
            Command::Signal(by, signal) => return self.signal(&by, signal, step),
            Command::End(me, end) => return self.end(me, &end, step),
            Command::StopRinging(me) => return self.stop_ringing(me, step),
            Command::Revoke(me, session) => return self.revoke(me, session, step),
            Command::Hold(me, on) => return self.hold(me, on, step),
            Command::Change(me, call_type) => return self.change(me, call_type, step),
            Command::RelayMedia => return self.relay_media(step),
            Command::Record => return self.record(step),
            Command::Gather => return self.gather(step),
            Command::TakeOver(me, session) => return self.take_over(me, session, step),
            Command::Rejoin(me, session) => return self.rejoin(me, session, step),
            Command::FollowUp(FollowUp::Busy) => return self.turn_away(step),
            Command::FollowUp(FollowUp::End(me, reason)) => {
                let end = End { call: self.record.id, to: None, reason: Some(reason) };
                return self.end(me, &end, step);
            }
            Command::Fail => return self.fail(step),
            Command::Resume => self.resume(step),
            Command::SessionOpened(opened) => self.session_opened(&opened, step),
            Command::SessionClosed(user, session) => self.session_closed(user, session, step),
            Command::Adopt(found) => return self.adopt_record(found.map(|it| *it), step),
            Command::PeerConnected(peer) => {
                self.peer_connected(peer);
                Reply::Done
            }
            Command::PeerGone(peer, reason) => {
                self.peer_gone(peer, reason, step)?;
                Reply::Done
            }
            Command::Expire => {
                self.expire(step)?;
                Reply::Done
            }
            #[cfg(test)]
            Command::Panic => panic!("a test asked for it"),
        };
        Ok(done)
    }
}
