use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::ops::Family;

fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push((path.display().to_string(), text.split_whitespace().collect()));
        }
    }
}

/// What stands before the parenthesis that closes a call.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let closes = |character: char| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    };
    text.split(closes).next().unwrap()
}

/// The families that the source names in calls of a macro: file, family and labels.
fn counted(what: &str) -> Vec<(String, String, BTreeSet<String>)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let call = format!("metrics::{what}!(\"");
    let mut found = Vec::new();
    for (path, text) in files {
        for (at, _) in text.match_indices(&call).filter(|_| !path.ends_with("tests.rs")) {
            let rest = &text[at + call.len()..];
            let (name, rest) = rest.split_once('"').unwrap();
            let arguments = arguments(rest);
            let labels = arguments.split(',').filter_map(|label| label.split_once("=>"));
            let labels = labels.map(|(label, _)| label.trim_matches('"').to_owned()).collect();
            found.push((path.clone(), name.to_owned(), labels));
        }
    }
    found
}

fn family(name: &str) -> &'static Family {
    let found = FAMILIES.iter().find(|family| family.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the table of families"))
}

#[test]
fn what_is_counted_is_in_the_table_and_what_is_in_the_table_is_counted() {
    let mut names = BTreeSet::new();
    for (what, kind) in
        [("counter", Kind::Counter), ("gauge", Kind::Gauge), ("histogram", Kind::Histogram)]
    {
        for (path, name, labels) in counted(what) {
            let family = family(&name);
            let declared: BTreeSet<_> = family.labels.iter().map(ToString::to_string).collect();
            assert_eq!((family.kind, declared), (kind, labels), "{name} in {path}");
            names.insert(name);
        }
    }
    let mut media =
        switchboard_media::Counters::default().read().map(|(name, _)| name).collect::<Vec<_>>();
    media.push("dropped_events");
    for counter in media {
        let (name, label) = sfu_series(counter);
        let labels: Vec<_> = label.into_iter().map(|(key, _)| key).collect();
        assert_eq!(family(name).labels, labels, "{counter}");
        names.insert(name.to_owned());
    }
    let relay = switchboard_turn::Counters::default();
    // The driver counts one by itself.
    let relay = relay.read().map(|(name, _)| name).chain(["commands_refused"]);
    for counter in relay {
        if !counter.starts_with("refused_") {
            names.insert(family(&turn_family(counter)).name.to_owned());
        }
    }
    let written = include_str!("../metrics.rs");
    for family in FAMILIES {
        let is_written = written.contains(&format!("gauge(\"{}\"", family.name));
        assert!(names.contains(family.name) || is_written, "nothing sets {}", family.name);
    }
}

#[test]
fn gauges_are_written_from_the_snapshot_alone() {
    for (path, name, _) in counted("gauge") {
        assert!(path.contains("/src/ops/"), "{path} sets {name}: give it to stats()");
    }
}
