//! REST and Socket.IO are two doors to the same rules: what can be asked for by both ends in one method.

use std::path::Path;

/// What REST calls by the name of its handler, the events that do the same, and the method of the rule.
const BOTH: &[(&str, &[&str], &str)] = &[
    ("initiate", &["call:initiate"], ".start_call("),
    ("set_status", &["call:ringing"], ".shown_on("),
    ("set_status", &["call:respond"], ".respond("),
    ("set_status", &["call:end", "call:cancel"], ".end("),
    ("set_status", &["webrtc:offer", "webrtc:answer"], ".signal("),
    ("ice_candidate", &["webrtc:ice-candidate"], ".signal("),
    ("webrtc_config", &["call:move", "call:rejoin"], ".webrtc_config("),
    ("record", &["recording:start"], ".record_call("),
];

/// Handlers of REST without an event: they read.
const REST_ONLY: &[&str] = &["history", "active", "call", "recording"];

/// Events without an operation of REST: they need a connection, or are of newer clients.
const EVENTS_ONLY: &[&str] = &[
    "call:hold",
    "call:resume-hold",
    "call:update",
    "call:add",
    "call:rate",
    "call:stats",
    "call:ack-missed",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every function of a text: its name and its body, up to the brace in the first column.
fn functions(text: &str) -> Vec<(String, String)> {
    let parts = text.split("async fn ").skip(1);
    parts
        .map(|part| {
            let name = part.split(['(', '<']).next().unwrap_or_default();
            let body = part.split("\n}").next().unwrap_or_default();
            (name.to_owned(), body.to_owned())
        })
        .collect()
}

/// The handler of an event, as the table of events names it: its area and its function.
fn handler(table: &str, event: &str) -> (String, String) {
    let line = table.lines().find(|line| line.contains(&format!("\"{event}\"")));
    let line = line.unwrap_or_else(|| panic!("the table has no {event}"));
    let path = line.split("=> ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
    let (area, function) = path.split_once("::").unwrap();
    (area.to_owned(), function.to_owned())
}

/// The text of an area of handlers, be it a file or a folder.
fn area(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/socket").join(name);
    if folder.is_dir() {
        let files = super::sources(&folder);
        return files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    }
    read(&format!("src/socket/{name}.rs"))
}

#[test]
fn what_rest_and_events_both_do_to_calls_is_one_rule() {
    let (rest, table) = (functions(&read("src/http/calls.rs")), read("src/socket/table.rs"));
    for (operation, events, rule) in BOTH {
        let bodies = rest.iter().filter(|(name, _)| name == operation);
        assert!(bodies.clone().any(|(_, body)| body.contains(rule)), "{operation} is not {rule}");
        for event in *events {
            let (area_name, function) = handler(&table, event);
            let functions = functions(&area(&area_name));
            let called = |name: &str| -> String {
                functions.iter().filter(|it| it.0 == name).map(|it| it.1.as_str()).collect()
            };
            // The three signals share a step on their way.
            let body = called(&function) + &called("signal");
            assert!(body.contains(rule), "{event} is not {rule}");
        }
    }
}

#[test]
fn every_operation_and_every_event_of_calls_is_listed() {
    let table = read("src/socket/table.rs");
    for (name, _) in functions(&read("src/http/calls.rs")) {
        let both = BOTH.iter().any(|(operation, ..)| *operation == name);
        assert!(both || REST_ONLY.contains(&name.as_str()), "{name} stands in neither list");
    }
    let events = table.lines().filter_map(|line| line.trim().strip_prefix('"'));
    let events = events.filter_map(|line| line.split('"').next());
    for event in events.filter(|it| it.starts_with("call:") || it.starts_with("webrtc:")) {
        let both = BOTH.iter().any(|(_, events, _)| events.contains(&event));
        assert!(both || EVENTS_ONLY.contains(&event), "{event} stands in neither list");
    }
}
