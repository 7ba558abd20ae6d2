//! The layers of the house: a module imports only from below, rules do not know each other, and clocks and sockets stay in
//! their rooms. Read from the source, because promises that nothing checks do not last.

mod circles;
mod doors;
mod figures;
mod size;
mod source;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the top down; modules of one row must not import one another, unless the row says so.
const LAYERS: &[&[&str]] = &[
    &["main", "serve", "doctor", "health", "memory", "testing"],
    &["http", "socket"],
    &["access"],
    &["app"],
    &["ops"],
    &["calls", "chat", "people", "presence", "recordings", "rooms", "webhooks"],
    &["membership", "view"],
    &["recorder"],
    &["auth", "incall", "delivery", "peer", "quality", "relay", "revocation", "sfu"],
    &["ledger"],
    &["limits", "store"],
    &["policy"],
    &["at_rest", "config", "clock", "event", "error", "fact", "ids"],
];

/// The program's own files share a row and work together; so do the words of the vocabulary. `http` puts the socket layer
/// into its router, which is where the two meet.
const SIDEWAYS: &[(&str, &str)] = &[("http", "socket")];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn module(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The modules of this crate that a source names after `crate::` or `switchboard::`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for root in ["crate::", "switchboard::"] {
            for (at, _) in line.match_indices(root) {
                let rest = &line[at + root.len()..];
                let group =
                    rest.strip_prefix('{').map(|group| group.split('}').next().unwrap_or_default());
                for name in group.unwrap_or(rest).split(',') {
                    let name = name
                        .trim()
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next()
                        .unwrap_or_default();
                    found.insert(name.to_owned());
                    if group.is_none() {
                        break;
                    }
                }
            }
        }
    }
    found
}

#[test]
fn imports_point_downward_and_never_sideways() {
    let mut wrong = Vec::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let here = module(&path);
        // Tests of a rule run it in a whole server.
        let test = path.components().any(|part| part.as_os_str() == "tests");
        if here == "lib" || test || path.ends_with("tests.rs") {
            continue;
        }
        let own = layer(&here).unwrap_or_else(|| panic!("{here} stands in no layer; give it one"));
        for other in imports(&std::fs::read_to_string(&path).unwrap()) {
            let Some(theirs) = layer(&other) else { continue };
            let together = own == theirs && (own == 0 || own == LAYERS.len() - 1);
            let known = SIDEWAYS.contains(&(here.as_str(), other.as_str()));
            if here != other && theirs <= own && !together && !known {
                wrong.push(format!("{} imports {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn clocks_and_sockets_stay_in_their_rooms() {
    const ROOMS: &[(&str, &[&str])] = &[
        ("Instant::now(", &["clock"]),
        ("SystemTime::now(", &["clock"]),
        ("Utc::now(", &["clock"]),
        ("now_v7(", &["clock"]),
        ("TcpListener", &["http", "serve", "doctor", "health", "peer"]),
        ("UdpSocket", &["doctor"]),
        ("TcpStream", &["http", "peer", "health"]),
        ("rusqlite", &["store"]),
        ("axum::", &["http"]),
        ("socketioxide", &["socket"]),
    ];
    let mut wrong = Vec::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let here = module(&path);
        for line in std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("//"))
        {
            for (what, rooms) in ROOMS {
                if line.contains(what) && !rooms.contains(&here.as_str()) {
                    wrong.push(format!("{}: {what}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "outside its room:\n{}", wrong.join("\n"));
}

#[test]
fn sessions_are_known_to_the_delivery_and_the_sockets_only() {
    let mut wrong = Vec::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let words = |line: &str| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word == "Session")
        };
        let imports = text.lines().any(|line| line.contains("delivery::") && words(line));
        if imports && !["delivery", "socket", "testing"].contains(&module(&path).as_str()) {
            wrong.push(path.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "rules name sessions by id (`To`):\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_an_arrow_when_there_is_one() {
    let found = imports(
        "use crate::chat::Chat;\nuse crate::{calls, store::Store};\n// use crate::nothing;\nlet x = crate::app::App;",
    );
    let expected = ["app", "calls", "chat", "store"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}
