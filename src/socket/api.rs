//! The AsyncAPI 3 description of the events, made from the tables that also run them.

use serde_json::{Map, Value, json};

use super::table;
use crate::event::{Event, Schemas};

/// The names of the events that clients may send.
pub fn client_events() -> Vec<&'static str> {
    table::catalogue().into_iter().map(|event| event.name).collect()
}

/// The document behind `/api/asyncapi.json`.
pub fn describe() -> Value {
    let mut schemas = Schemas::new();
    let (mut messages, mut channel, mut operations) = (Map::new(), Map::new(), Map::new());
    for event in table::catalogue() {
        (event.register)(&mut schemas);
        let key = format!("client.{}", event.name);
        let ack = json!({ "$ref": format!("#/components/schemas/{}", event.answer) });
        let message = json!({
            "name": event.name, "summary": event.about,
            "payload": { "$ref": format!("#/components/schemas/{}", event.payload) },
            "x-ack": { "allOf": [{ "type": "object", "properties": { "ok": { "const": true } } }, ack] },
        });
        add(&mut messages, &mut channel, &key, message);
        operations.insert(key.clone(), operation("receive", &key));
    }
    for event in Event::catalogue() {
        (event.register)(&mut schemas);
        let key = format!("server.{}", event.name);
        let payload = json!({ "$ref": format!("#/components/schemas/{}", event.schema) });
        add(
            &mut messages,
            &mut channel,
            &key,
            json!({ "name": event.name, "summary": event.about, "payload": payload }),
        );
        operations.insert(key.clone(), operation("send", &key));
    }
    let schemas: Map<String, Value> = schemas
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Switchboard events", "version": env!("CARGO_PKG_VERSION"),
            "description": "Socket.IO 4 at /socket.io/, namespace /, `auth: {token}`. Every client event may carry an acknowledgement.",
        },
        "channels": { "socket": { "address": "/socket.io/", "messages": channel } },
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn add(
    messages: &mut Map<String, Value>,
    channel: &mut Map<String, Value>,
    key: &str,
    message: Value,
) {
    messages.insert(key.to_owned(), message);
    channel.insert(key.to_owned(), json!({ "$ref": format!("#/components/messages/{key}") }));
}

fn operation(action: &str, key: &str) -> Value {
    let message = json!({ "$ref": format!("#/channels/socket/messages/{key}") });
    json!({ "action": action, "channel": { "$ref": "#/channels/socket" }, "messages": [message] })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Everything that is referred to in a description.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_something_of_its_own() {
        let description = describe();
        let mut found = Vec::new();
        references(&description, &mut found);
        assert!(found.len() > 100);
        for to in found {
            let pointer = to.strip_prefix('#').unwrap_or_else(|| panic!("{to} leads elsewhere"));
            assert!(description.pointer(pointer).is_some(), "{to} leads nowhere");
            assert!(!to.ends_with("/Box"), "a box is no name");
        }
    }

    #[test]
    fn no_two_schemas_share_a_name() {
        let mut schemas = Schemas::new();
        Event::catalogue().iter().for_each(|event| (event.register)(&mut schemas));
        table::catalogue().iter().for_each(|event| (event.register)(&mut schemas));
        let mut known: BTreeMap<String, Value> = BTreeMap::new();
        for (name, schema) in schemas {
            let schema = serde_json::to_value(schema).unwrap();
            let before = known.insert(name.clone(), schema.clone());
            assert!(before.is_none_or(|before| before == schema), "two things are called {name}");
        }
    }
}
