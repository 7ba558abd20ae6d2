//! What a call leaves in the stream of facts: derived from its changes, and stored with them.

use serde_json::json;

use super::effect::Step;
use super::states::Input;
use crate::event::{CallStatus, MediaPathReason};
use crate::fact::{Fact, FactKind};
use crate::store::CallRecord;

/// A fact about a call at this moment.
fn fact(kind: FactKind, call: &CallRecord, step: &Step<'_>) -> Fact {
    Fact::new(step.keys.fact(), step.now, kind).of_call(call.id)
}

/// A call was placed.
pub(super) fn of_beginning(call: &CallRecord, step: &Step<'_>) -> Vec<Fact> {
    let data = json!({
        "toUserId": call.to,
        "callType": call.kind,
        "media": call.media,
        "waiting": call.waiting,
        "group": call.group,
    });
    vec![fact(FactKind::CallInitiated, call, step).by(Some(call.from)).with(data)]
}

/// A call goes on in another state.
pub(super) fn of_change(
    before: &CallRecord,
    after: &CallRecord,
    input: &Input,
    step: &Step<'_>,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    if before.status != after.status {
        match after.status {
            CallStatus::Ringing => {
                facts.push(fact(FactKind::CallRinging, after, step).by(Some(after.to)));
            }
            CallStatus::Accepted => {
                let waited = step.now.since(after.created_at).as_secs();
                let data = json!({ "setupSeconds": waited, "media": after.media });
                let answered = fact(FactKind::CallAnswered, after, step);
                facts.push(answered.by(Some(after.to)).with(data));
            }
            _ => {}
        }
    }
    if before.media != after.media {
        let reason = match input {
            Input::Relay(reason) => *reason,
            _ => MediaPathReason::Group,
        };
        let data = json!({ "media": after.media, "reason": reason });
        facts.push(fact(FactKind::CallMediaPath, after, step).with(data));
    }
    facts
}

/// A call is over.
pub(super) fn of_end(over: &CallRecord, step: &Step<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if over.status == CallStatus::Rejected {
        let data = json!({ "reason": over.end_reason });
        facts.push(fact(FactKind::CallRejected, over, step).by(Some(over.to)).with(data));
    }
    let data = json!({
        "status": over.status,
        "reason": over.end_reason,
        "duration": over.duration(step.now),
        "media": over.media,
    });
    facts.push(fact(FactKind::CallEnded, over, step).by(over.ended_by).with(data));
    facts
}
