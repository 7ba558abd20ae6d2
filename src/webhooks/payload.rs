//! What is sent of a fact: `{type, timestamp, data}`, as Standard Webhooks recommends.

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::fact::Fact;

/// The body for a fact. It holds what the fact holds: ids, numbers and reasons, no names and no texts of people.
pub(super) fn of(fact: &Fact) -> String {
    let mut data = match &fact.data {
        Value::Object(data) => data.clone(),
        Value::Null => Map::new(),
        other => Map::from_iter([("details".to_owned(), other.clone())]),
    };
    let ids = [
        ("callId", fact.call.map(|id| json!(id))),
        ("roomId", fact.room.as_ref().map(|id| json!(id))),
        ("userId", fact.user.map(|id| json!(id))),
        ("recordingId", fact.recording.map(|id| json!(id))),
    ];
    for (name, id) in ids {
        data.extend(id.map(|id| (name.to_owned(), id)));
    }
    body(&fact.kind.to_string(), fact.at, Value::Object(data))
}

/// The body of a test.
pub(super) fn of_test(at: Timestamp) -> String {
    let data = json!({ "message": "This is a test; nothing has happened" });
    body("webhook.test", at, data)
}

#[allow(clippy::needless_pass_by_value)]
fn body(kind: &str, at: Timestamp, data: Value) -> String {
    json!({ "type": kind, "timestamp": at, "data": data }).to_string()
}

/// What a fact is about: facts of one subject are delivered one after the other.
pub(super) fn subject(fact: &Fact) -> String {
    let call = fact.call.or_else(|| fact.room.as_ref().and_then(crate::ids::RoomId::call));
    match (call, &fact.room, fact.recording, fact.user) {
        (Some(call), ..) => format!("call:{call}"),
        (None, Some(room), ..) => format!("room:{room}"),
        (None, None, Some(recording), _) => format!("recording:{recording}"),
        (None, None, None, Some(user)) => format!("user:{user}"),
        (None, None, None, None) => "server".into(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::fact::FactKind;
    use crate::ids::{CallId, FactId, RecordingId, RoomId, UserId};

    fn fact(kind: FactKind) -> Fact {
        Fact::new(FactId::new(Uuid::nil()), Timestamp(1_900_000_000_000), kind)
    }

    #[test]
    fn a_body_has_type_time_and_the_ids_beside_the_rest() {
        let call = CallId::new(Uuid::from_u128(3));
        let ended = fact(FactKind::CallEnded).of_call(call).by(UserId::new(7));
        let ended = ended.with(json!({ "reason": "hangup", "duration": 61 }));
        let body: Value = serde_json::from_str(&of(&ended)).unwrap();
        let expected = json!({
            "type": "call.ended",
            "timestamp": "2030-03-17T17:46:40.000Z",
            "data": { "callId": call, "userId": 7, "reason": "hangup", "duration": 61 },
        });
        assert_eq!(body, expected);
        let bare: Value = serde_json::from_str(&of(&fact(FactKind::UserErased))).unwrap();
        assert_eq!(bare["data"], json!({}));
    }

    #[test]
    fn a_call_its_room_and_its_recording_are_one_subject() {
        let call = CallId::new(Uuid::from_u128(3));
        let of_call = subject(&fact(FactKind::CallEnded).of_call(call));
        assert_eq!(of_call, format!("call:{call}"));
        let room = fact(FactKind::RoomJoined).in_room(RoomId::of_call(call)).by(UserId::new(1));
        assert_eq!(subject(&room), of_call);
        let recording = RecordingId::new(Uuid::from_u128(9));
        let ready = fact(FactKind::RecordingReady).of_recording(recording);
        assert_eq!(subject(&ready.clone().in_room(RoomId::of_call(call))), of_call);
        assert_eq!(subject(&ready), format!("recording:{recording}"));
        assert_eq!(
            subject(&fact(FactKind::RoomLeft).in_room("lobby".parse().unwrap())),
            "room:lobby"
        );
        assert_eq!(subject(&fact(FactKind::UserErased).by(UserId::new(4))), "user:4");
        assert_eq!(subject(&fact(FactKind::UserErased)), "server");
    }
}
