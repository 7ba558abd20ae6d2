//! The states of a call, and what moves it from one to the next: records in, records out.

use std::time::Duration;

use super::error::CallError;
use crate::clock::Timestamp;
use crate::event::{CallStatus, CallType, EndReason, MediaPath, MediaPathReason};
use crate::ids::UserId;
use crate::store::CallRecord;

const NOT_IN_STATE: &str = "the call is not in a state for that";

/// Something that happens to a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Input {
    /// A device of the person called shows it.
    Shown(UserId),
    /// The person called takes it, on this device.
    Accept(UserId, Option<String>),
    /// The person called does not take it.
    Reject(UserId, EndReason),
    /// The person called is in another call, and the caller does not want to wait.
    Busy,
    /// One of the two hangs up, or gives up before an answer.
    End(UserId, EndReason),
    /// It becomes a video call or a voice call.
    Change(UserId, CallType),
    /// The server comes between the two.
    Relay(MediaPathReason),
    /// Others are added, and media goes through the server's room.
    Gather,
    /// The ringing deadline may have passed.
    Timeout,
    /// One side did not come back in time; it was lost at this moment.
    Lost(Timestamp),
    /// One of the two may no longer take part: the account is disabled, or the session was ended from another one.
    Revoke(UserId),
    /// The server cannot go on with it.
    Fail,
}

/// Advances a call by one input: the call as it then stands, one revision on; `None` when the input changes nothing.
pub(super) fn step(
    call: &CallRecord,
    input: &Input,
    now: Timestamp,
) -> Result<Option<CallRecord>, CallError> {
    if let Input::Shown(by) | Input::Accept(by, _) | Input::Reject(by, _) = input
        && *by != call.to
    {
        return Err(CallError::State(call.status, "only the person called can do that"));
    }
    let next = match call.status {
        CallStatus::Initiated | CallStatus::Ringing => pending(call, input, now)?,
        CallStatus::Accepted => accepted(call, input, now)?,
        CallStatus::Rejected | CallStatus::Ended | CallStatus::Missed => finished(call, input)?,
    };
    Ok(next.map(|next| CallRecord { rev: call.rev + 1, updated_at: now, ..next }))
}

/// What an input makes of a call that rings.
fn pending(
    call: &CallRecord,
    input: &Input,
    now: Timestamp,
) -> Result<Option<CallRecord>, CallError> {
    use CallStatus::{Accepted, Ended, Initiated, Missed, Rejected, Ringing};
    Ok(Some(match input {
        Input::Shown(_) if call.status == Initiated => {
            CallRecord { status: Ringing, ringing_at: Some(now), ..call.clone() }
        }
        Input::Accept(_, device) => CallRecord {
            status: Accepted,
            accepted_at: Some(now),
            answered_device: device.clone(),
            deadline: None,
            ..call.clone()
        },
        Input::Reject(by, reason) => over(call, Rejected, *reason, Some(*by), now),
        Input::Busy => over(call, Rejected, EndReason::Busy, None, now),
        Input::End(by, _) if *by == call.to => {
            over(call, Rejected, EndReason::Rejected, Some(*by), now)
        }
        Input::End(by, _) => over(call, Ended, EndReason::Cancelled, Some(*by), now),
        Input::Timeout if call.deadline.is_some_and(|deadline| now >= deadline) => {
            over(call, Missed, EndReason::Timeout, None, now)
        }
        // The caller is gone before there was an answer.
        Input::Lost(_) => over(call, Ended, EndReason::Network, None, now),
        Input::Revoke(by) => over(call, Ended, EndReason::Kicked, Some(*by), now),
        Input::Fail => over(call, Ended, EndReason::Failed, None, now),
        Input::Change(..) => return Err(CallError::State(call.status, NOT_IN_STATE)),
        Input::Shown(_) | Input::Timeout | Input::Relay(_) | Input::Gather => return Ok(None),
    }))
}

/// What an input makes of a call in which the two talk.
fn accepted(
    call: &CallRecord,
    input: &Input,
    now: Timestamp,
) -> Result<Option<CallRecord>, CallError> {
    use CallStatus::Ended;
    Ok(Some(match input {
        Input::Accept(..) | Input::Reject(..) => return Err(CallError::AnsweredElsewhere),
        // Who was added to a call of several leaves alone; that whoever added them leaves is not their end.
        Input::End(by, _) | Input::Revoke(by) if call.group.is_some() && *by == call.from => {
            return Ok(None);
        }
        Input::Revoke(by) => over(call, Ended, EndReason::Kicked, Some(*by), now),
        Input::End(by, reason) => over(call, Ended, *reason, Some(*by), now),
        Input::Change(_, kind) if call.kind != *kind => CallRecord { kind: *kind, ..call.clone() },
        Input::Relay(_) if call.media == MediaPath::P2p => {
            CallRecord { media: MediaPath::Relay, ..call.clone() }
        }
        Input::Gather if call.media != MediaPath::Sfu => {
            CallRecord { media: MediaPath::Sfu, ..call.clone() }
        }
        // Nobody talked while one side was away.
        Input::Lost(since) => {
            let lost_at = Some((*since).min(now));
            CallRecord { lost_at, ..over(call, Ended, EndReason::Network, None, now) }
        }
        Input::Fail => over(call, Ended, EndReason::Failed, None, now),
        Input::Shown(_)
        | Input::Busy
        | Input::Change(..)
        | Input::Relay(_)
        | Input::Gather
        | Input::Timeout => return Ok(None),
    }))
}

/// What an input makes of a call that is over: nothing, or a refusal.
fn finished(call: &CallRecord, input: &Input) -> Result<Option<CallRecord>, CallError> {
    match input {
        Input::Accept(..) | Input::Reject(..) if call.status == CallStatus::Rejected => {
            Err(CallError::AnsweredElsewhere)
        }
        Input::Accept(..) | Input::Reject(..) | Input::Change(..) => {
            Err(CallError::State(call.status, NOT_IN_STATE))
        }
        _ => Ok(None),
    }
}

fn over(
    call: &CallRecord,
    status: CallStatus,
    reason: EndReason,
    by: Option<UserId>,
    now: Timestamp,
) -> CallRecord {
    let (end_reason, ended_at) = (Some(reason), Some(now));
    CallRecord { status, end_reason, ended_at, ended_by: by, deadline: None, ..call.clone() }
}

/// Whether the person called has missed a call that is over.
pub(super) fn is_missed(call: &CallRecord) -> bool {
    let busy = call.end_reason == Some(EndReason::Busy) && call.ended_by.is_none();
    let unanswered =
        call.accepted_at.is_none() && matches!(call.status, CallStatus::Missed | CallStatus::Ended);
    busy || unanswered
}

/// What a finished call says in its conversation, for clients that show text only.
pub(super) fn summary(call: &CallRecord, now: Timestamp) -> String {
    let kind = match call.kind {
        CallType::Voice => "voice call",
        CallType::Video => "video call",
    };
    let duration = Duration::from_secs(u64::try_from(call.duration(now)).unwrap_or(0));
    match call.status {
        _ if is_missed(call) => format!("Missed {kind}"),
        CallStatus::Rejected => format!("Declined {kind}"),
        _ => format!("Finished {kind}, {}:{:02}", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CallId, ConversationId};

    const NOON: Timestamp = Timestamp(1_900_000_000_000);
    const RING: Duration = Duration::from_secs(45);

    fn ada() -> UserId {
        UserId::new(1).unwrap()
    }

    fn ben() -> UserId {
        UserId::new(2).unwrap()
    }

    fn ringing() -> CallRecord {
        CallRecord {
            id: CallId::new(uuid::Uuid::nil()),
            from: ada(),
            to: ben(),
            conversation: ConversationId::direct(ada(), ben()),
            kind: CallType::Voice,
            status: CallStatus::Initiated,
            end_reason: None,
            rev: 1,
            media: MediaPath::P2p,
            client_id: None,
            created_at: NOON,
            ringing_at: None,
            accepted_at: None,
            ended_at: None,
            deadline: Some(NOON.after(RING)),
            ended_by: None,
            answered_device: None,
            waiting: false,
            ratings: Vec::new(),
            group: None,
            lost_at: None,
            updated_at: NOON,
        }
    }

    fn after(call: &CallRecord, input: &Input, seconds: u64) -> CallRecord {
        step(call, input, NOON.after(Duration::from_secs(seconds))).unwrap().unwrap()
    }

    #[test]
    fn an_unanswered_call_is_missed_at_its_deadline_and_not_before() {
        let early = step(&ringing(), &Input::Timeout, NOON.after(RING - Duration::from_millis(1)));
        assert_eq!(early.unwrap(), None);
        let missed = after(&ringing(), &Input::Timeout, 45);
        assert_eq!(
            (missed.status, missed.end_reason),
            (CallStatus::Missed, Some(EndReason::Timeout))
        );
        assert!(is_missed(&missed));
        let late = step(&missed, &Input::Accept(ben(), None), NOON.after(RING));
        assert!(matches!(late, Err(CallError::State(CallStatus::Missed, _))));
    }

    #[test]
    fn an_accepted_call_counts_its_seconds_from_the_acceptance() {
        let shown = after(&ringing(), &Input::Shown(ben()), 1);
        let accepted = after(&shown, &Input::Accept(ben(), Some("phone".into())), 5);
        let ended = after(&accepted, &Input::End(ada(), EndReason::Hangup), 139);
        assert_eq!((ended.status, ended.rev, ended.duration(NOON)), (CallStatus::Ended, 4, 134));
        assert!(!is_missed(&ended));
        assert_eq!(summary(&ended, NOON), "Finished voice call, 2:14");
    }

    #[test]
    fn a_call_that_ends_by_loss_lasted_until_the_loss() {
        let accepted = after(&ringing(), &Input::Accept(ben(), None), 5);
        let lost = Input::Lost(NOON.after(Duration::from_secs(65)));
        let ended = after(&accepted, &lost, 95);
        assert_eq!(ended.ended_at, Some(NOON.after(Duration::from_secs(95))));
        assert_eq!((ended.end_reason, ended.duration(NOON)), (Some(EndReason::Network), 60));
        assert_eq!(summary(&ended, NOON), "Finished voice call, 1:00");
    }

    #[test]
    fn ringing_ends_with_a_caller_who_is_gone_and_the_person_called_has_missed_it() {
        let ended = after(&ringing(), &Input::Lost(NOON), 30);
        assert_eq!((ended.status, ended.end_reason), (CallStatus::Ended, Some(EndReason::Network)));
        assert!(is_missed(&ended));
    }

    #[test]
    fn the_caller_cancels_and_the_person_called_rejects() {
        let cancelled = after(&ringing(), &Input::End(ada(), EndReason::Hangup), 3);
        assert_eq!(
            (cancelled.status, cancelled.end_reason),
            (CallStatus::Ended, Some(EndReason::Cancelled))
        );
        assert!(is_missed(&cancelled));
        let rejected = after(&ringing(), &Input::End(ben(), EndReason::Hangup), 3);
        assert_eq!(
            (rejected.status, rejected.end_reason),
            (CallStatus::Rejected, Some(EndReason::Rejected))
        );
        assert!(!is_missed(&rejected));
    }

    #[test]
    fn only_the_first_answer_counts_and_only_the_person_called_gives_it() {
        let by_caller = step(&ringing(), &Input::Accept(ada(), None), NOON);
        assert!(matches!(by_caller, Err(CallError::State(..))));
        let accepted = after(&ringing(), &Input::Accept(ben(), None), 1);
        for second in [Input::Accept(ben(), None), Input::Reject(ben(), EndReason::Rejected)] {
            assert!(matches!(step(&accepted, &second, NOON), Err(CallError::AnsweredElsewhere)));
        }
    }

    #[test]
    fn nothing_moves_a_call_that_is_over_and_ending_it_again_is_no_error() {
        let over = after(&ringing(), &Input::End(ada(), EndReason::Hangup), 3);
        for input in [Input::End(ben(), EndReason::Hangup), Input::Timeout, Input::Lost(NOON)] {
            assert_eq!(step(&over, &input, NOON).unwrap(), None);
        }
        for input in [
            Input::Accept(ben(), None),
            Input::Reject(ben(), EndReason::Busy),
            Input::Change(ada(), CallType::Video),
        ] {
            assert!(step(&over, &input, NOON).is_err());
        }
    }
}
