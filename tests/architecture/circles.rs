//! Modules that import each other cannot be understood one after the other: between any two of one folder, imports go one way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::Source;
use super::sources;

/// Pairs that still import each other.
const ALLOWED: &[(&str, &str)] = &[
    ("socket/connection", "socket/table"),
    ("store/mongo/facts", "store/mongo/unit"),
    ("store/sqlite/calls", "store/sqlite/log"),
    ("store/sqlite/log", "store/sqlite/marks"),
    ("store/sqlite/log", "store/sqlite/messages"),
    ("store/sqlite/marks", "store/sqlite/messages"),
];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// What the modules of the folder `of` (a path of modules, empty for the crate) name of each other.
fn imports(root: &Path, of: &[String]) -> Imports {
    let folder = of.iter().fold(root.to_owned(), |folder, part| folder.join(part));
    let mut found = Imports::new();
    for path in sources(&folder) {
        let inside: Vec<String> = path
            .strip_prefix(&folder)
            .unwrap()
            .components()
            .map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
            .filter(|part| part != "mod" && part != "lib")
            .collect();
        let test = inside.iter().any(|part| part == "tests" || part == "testing");
        let Some(own) = inside.first().filter(|_| !test) else { continue };
        let source = Source::read(&std::fs::read_to_string(&path).unwrap()).without_tests();
        let absolute: String = of.iter().map(|part| format!("{part}::")).collect();
        let mut names = source.named_after(&format!("crate::{absolute}"));
        if !of.is_empty() {
            names.extend(source.named_after(&format!(" {}", "super::".repeat(inside.len()))));
        }
        names.remove(own);
        found.entry(own.clone()).or_default().extend(names);
    }
    found
}

/// Pairs of which each imports the other.
fn circles(imports: &Imports) -> Vec<(&str, &str)> {
    let imports_of = |a: &str, b: &str| imports.get(a).is_some_and(|names| names.contains(b));
    let pairs = imports.iter().flat_map(|(a, names)| names.iter().map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a < b && imports_of(b, a))
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect()
}

/// Every folder of modules below one, itself included.
fn folders(root: &Path, of: &[String], found: &mut Vec<Vec<String>>) {
    found.push(of.to_vec());
    let folder = of.iter().fold(root.to_owned(), |folder, part| folder.join(part));
    for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|it| it.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        folders(root, &[of, &[name]].concat(), found);
    }
}

#[test]
fn no_two_modules_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    folders(&root, &[], &mut all);
    let mut wrong = Vec::new();
    for folder in all {
        let prefix: String = folder.iter().map(|part| format!("{part}/")).collect();
        for (a, b) in circles(&imports(&root, &folder)) {
            let pair = (format!("{prefix}{a}"), format!("{prefix}{b}"));
            if !ALLOWED.contains(&(pair.0.as_str(), pair.1.as_str())) {
                wrong.push(format!("(\"{}\", \"{}\"),", pair.0, pair.1));
            }
        }
    }
    assert!(wrong.is_empty(), "modules that import each other:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_a_circle_when_there_is_one() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let imports = Imports::from([
        ("a".to_owned(), names(&["b", "c"])),
        ("b".to_owned(), names(&["a"])),
        ("c".to_owned(), names(&["b"])),
    ]);
    assert_eq!(circles(&imports), [("a", "b")]);
}
