//! Tests wait for an event or a state with a deadline, not for a time. Where time is what a test is about (the pace of a load, the
//! length of a fault, virtual time), the line says so; read from the source, because promises that nothing checks do not last.

use std::path::{Path, PathBuf};

/// What lets time pass in JavaScript and in Python.
const SCRIPT: &[&str] = &["setTimeout(", "sleep(", "delay(", "waitForTimeout("];
/// What lets time pass in Rust.
const RUST: &[&str] = &["thread::sleep(", "time::sleep("];

fn files(folder: &Path, wanted: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" && name != "target" && name != "dist" {
            files(&path, wanted, found);
        } else if wanted.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// The text behind the comment's marker, where a line says what it paces.
fn reason(line: &str) -> Option<&str> {
    let (_, comment) = line.split_once("// paces ").or_else(|| line.split_once("# paces "))?;
    Some(comment.trim()).filter(|comment| comment.split(' ').count() > 1)
}

fn is_comment(line: &str) -> bool {
    ["//", "#", "*", "/*"].iter().any(|mark| line.trim_start().starts_with(mark))
}

/// The lines of a script that let time pass and give no reason.
fn script(text: &str) -> Vec<usize> {
    let waits = |line: &&str| SCRIPT.iter().any(|call| line.contains(call));
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !is_comment(line) && waits(line) && reason(line).is_none())
        .map(|(n, _)| n + 1)
        .collect()
}

/// The lines of tests in Rust that let time pass, not in a paused runtime, and give no reason.
fn rust(text: &str, only_tests: bool) -> Vec<usize> {
    let (mut tests, mut paused, mut last, mut found) = (only_tests, false, "", Vec::new());
    for (n, line) in text.lines().enumerate() {
        let opens = line.trim_start().starts_with("mod ") && line.ends_with('{');
        tests |= last.trim() == "#[cfg(test)]" && opens;
        if line.contains("#[tokio::test") || line.trim() == "#[test]" {
            paused = line.contains("start_paused = true");
        }
        let waits = RUST.iter().any(|call| line.contains(call));
        if tests && waits && !paused && !is_comment(line) && reason(line).is_none() {
            found.push(n + 1);
        }
        last = line;
    }
    found
}

/// A file that holds nothing but tests.
fn holds_only_tests(path: &Path) -> bool {
    let stem = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
    stem || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn no_test_waits_for_a_fixed_time() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut scripts, mut sources) = (Vec::new(), Vec::new());
    for folder in ["tests", "web/client/test"] {
        files(&root.join(folder), &[".mjs", ".js", ".py"], &mut scripts);
    }
    for folder in ["src", "media/src", "media/tests", "turn/src", "turn/tests", "tests"] {
        files(&root.join(folder), &[".rs"], &mut sources);
    }
    assert!(scripts.len() > 25 && sources.len() > 100, "the tests are somewhere else");
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let found = scripts
        .iter()
        .map(|path| (path, script(&read(path))))
        .chain(sources.iter().map(|path| (path, rust(&read(path), holds_only_tests(path)))));
    let faults: Vec<String> = found
        .flat_map(|(path, lines)| {
            let path = path.strip_prefix(root).unwrap().display().to_string();
            lines.into_iter().map(move |line| format!("{path}:{line}"))
        })
        .filter(|place| !place.starts_with("tests/waits.rs"))
        .collect();
    assert!(
        faults.is_empty(),
        "a fixed time passes here; wait for an event or a state with a deadline, or say behind the line what it paces \
         (// paces load: …):\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_wait_without_a_reason_is_found_and_one_with_a_reason_is_not() {
    assert_eq!(script("await sleep(100)\nawait sleep(10) // paces load: below 200 a second"), [1]);
    assert_eq!(script("  // sleep(1) in a comment\n  time.sleep(ahead)"), [2]);
    assert_eq!(script("setTimeout(next, 5) // paces"), [1]);
    let source = "#[tokio::test(start_paused = true)]\ntokio::time::sleep(A).await;\n#[test]\nstd::thread::sleep(B);";
    assert_eq!(rust(source, true), [4]);
    assert_eq!(
        rust(&format!("std::thread::sleep(A);\n#[cfg(test)]\nmod tests {{\n{source}"), false),
        [7]
    );
}
