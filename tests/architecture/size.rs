//! A file holds one idea and a function one step: what grows past what fits a head is taken apart. Counted are lines that are
//! neither blank nor comments, tests apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::Source;
use super::sources;

const FILE: usize = 400;
const FUNCTION: usize = 60;

/// Files that are still longer, and by how much; the number may only become smaller.
const FILES: &[(&str, usize)] = &[];

/// Functions that are still longer.
const FUNCTIONS: &[(&str, usize)] = &[
    ("media/src/fuzz.rs worker", 132),
    ("media/src/recorder/vp9.rs header", 71),
    ("media/src/track.rs take", 80),
    ("media/src/worker/mod.rs pass_on", 71),
    ("media/src/worker/output.rs next_burst", 67),
    ("media/src/worker/timeouts.rs report_to_publisher", 77),
    ("src/app.rs new", 89),
    ("src/store/sqlite/dump.rs tables", 62),
];

const FOLDERS: [&str; 3] = ["src", "media/src", "turn/src"];

pub(super) fn is_test(path: &Path) -> bool {
    let name = |part: &str| path.components().any(|it| it.as_os_str() == part);
    name("tests") || name("tests.rs") || name("testing.rs") || name("testing")
}

fn code() -> impl Iterator<Item = (String, Source)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<PathBuf> =
        FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    paths.into_iter().filter(|path| !is_test(path)).map(move |path| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        (name, Source::read(&text).without_tests())
    })
}

/// Refuses what is longer than `limit`, or than what is allowed for it alone.
fn check(what: &str, limit: usize, allowed: &[(&str, usize)], found: Vec<(String, usize)>) {
    let allowed: BTreeMap<&str, usize> = allowed.iter().copied().collect();
    let limit_of = |name: &str| allowed.get(name).copied().unwrap_or(limit).max(limit);
    let wrong: Vec<String> = found
        .into_iter()
        .filter(|(name, lines)| *lines > limit_of(name))
        .map(|(name, lines)| format!("(\"{name}\", {lines}),    // {} allowed", limit_of(&name)))
        .collect();
    assert!(wrong.is_empty(), "{what} of more than {limit} lines of code:\n{}", wrong.join("\n"));
}

#[test]
fn a_file_holds_one_idea() {
    let found = code().map(|(name, source)| (name, source.lines()));
    check("files", FILE, FILES, found.collect());
}

#[test]
fn a_function_is_one_step() {
    let mut longest: BTreeMap<String, usize> = BTreeMap::new();
    for (file, source) in code() {
        for function in source.functions() {
            let lines = longest.entry(format!("{file} {}", function.name)).or_default();
            *lines = function.lines.max(*lines);
        }
    }
    check("functions", FUNCTION, FUNCTIONS, longest.into_iter().collect());
}
