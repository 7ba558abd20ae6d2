//! How much of what there is tests it: lines that are neither blank nor comments, of tests and of the rest. `make figures` prints them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::size::is_test;
use super::source::Source;
use super::sources;

/// A part of the house: its name, where its code is, where tests of it are besides, and the least share of test lines in code lines. A
/// share may only grow: 0.8 is wanted of the rules, 0.6 of everything.
const AREAS: &[(&str, &[&str], &[&str], f64)] = &[
    (
        "src, all",
        &["src"],
        &[
            "tests/conformance",
            "tests/support",
            "tests/architecture",
            "tests/conformance.rs",
            "tests/plans.rs",
        ],
        0.2,
    ),
    (
        "rules",
        &["src/calls", "src/chat", "src/people", "src/presence", "src/recordings", "src/rooms"],
        &[],
        0.1,
    ),
    ("  calls", &["src/calls"], &[], 0.0),
    ("  chat", &["src/chat"], &[], 0.0),
    ("  people", &["src/people"], &[], 0.0),
    ("  presence", &["src/presence"], &[], 0.0),
    ("  recordings", &["src/recordings"], &[], 0.0),
    ("  rooms", &["src/rooms"], &[], 0.0),
    ("edges", &["src/http", "src/socket"], &[], 0.1),
    ("delivery", &["src/delivery"], &[], 0.2),
    ("auth", &["src/auth"], &[], 0.2),
    ("recorder", &["src/recorder"], &[], 0.0),
    (
        "store",
        &["src/store"],
        &["tests/conformance", "tests/support", "tests/conformance.rs", "tests/plans.rs"],
        0.3,
    ),
    ("media", &["media/src"], &["media/tests"], 0.55),
    ("turn", &["turn/src"], &["turn/tests"], 0.58),
];

/// Lines of code and of tests.
#[derive(Clone, Copy, Default)]
struct Lines {
    code: usize,
    tests: usize,
}

impl Lines {
    fn share(self) -> f64 {
        if self.code == 0 { 0.0 } else { self.tests as f64 / self.code as f64 }
    }
}

fn files(root: &Path, place: &str) -> Vec<PathBuf> {
    let path = root.join(place);
    if path.is_dir() {
        sources(&path)
    } else if path.exists() {
        vec![path]
    } else {
        // A module of one file that has grown no folder yet.
        let file = path.with_extension("rs");
        if file.exists() { vec![file] } else { Vec::new() }
    }
}

fn count(places: &[&str], tests: &[&str]) -> Lines {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut lines = Lines::default();
    for path in places.iter().flat_map(|place| files(&root, place)) {
        let source = Source::read(&std::fs::read_to_string(&path).unwrap());
        let all = source.lines();
        let code = if is_test(&path) { 0 } else { source.without_tests().lines() };
        lines.code += code;
        lines.tests += all - code;
    }
    for path in tests.iter().flat_map(|place| files(&root, place)) {
        lines.tests += Source::read(&std::fs::read_to_string(&path).unwrap()).lines();
    }
    lines
}

/// Lines of the end-to-end tests, which are in another language and test everything.
fn end_to_end() -> usize {
    fn walk(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let lines = |path: PathBuf| match path.extension() {
            _ if path.is_dir() => walk(&path),
            Some(extension) if extension == "mjs" => {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
                text.lines().filter(code).count()
            }
            _ => 0,
        };
        entries.map(|entry| lines(entry.path())).sum()
    }
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e"))
}

#[test]
fn figures_of_tests_and_code() {
    let mut table = String::from("area              code    tests   share\n");
    let mut low = Vec::new();
    for (name, places, tests, least) in AREAS {
        let lines = count(places, tests);
        let share = lines.share();
        let _ = writeln!(table, "{name:<14} {:>7} {:>8} {share:>7.2}", lines.code, lines.tests);
        assert!(lines.code > 0, "{name} has no code; where has it gone?");
        if share < *least {
            low.push(format!("{name}: {share:.2}, at least {least} is kept"));
        }
    }
    println!("{table}end to end, in JavaScript: {} lines", end_to_end());
    assert!(low.is_empty(), "tests have become fewer:\n{}\n{table}", low.join("\n"));
}
