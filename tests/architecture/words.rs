//! Words that the code does not use: they stood for many different things, and the field has a name for each of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::source::Source;
use super::sources;

/// Verbs of hearsay: an event is sent, received, notified.
const HEARSAY: &[&str] = &["told", "tell", "tells", "telling", "heard", "hear", "hears", "hearing"];

/// Names of types that say nothing to a reader who knows the field.
const TYPES: &[&str] = &[
    "Letter",
    "Order",
    "Asking",
    "Beginning",
    "Scene",
    "Performer",
    "Pass",
    "Wish",
    "Severable",
    "Turn",
    "Unit",
    "Kept",
];

/// Files in which such words still stand, and how many; the number may only become smaller.
const CEILINGS: &[(&str, usize)] =
    &[("src/config/section/network.rs", 1), ("src/socket/tests.rs", 1), ("src/testing.rs", 1)];

const FOLDERS: [&str; 3] = ["src", "media/src", "turn/src"];

fn is_hearsay(word: &str) -> bool {
    word.split('_').any(|part| HEARSAY.contains(&part))
}

/// The words of a source that are refused: hearsay in any identifier, and types that are declared by such a name.
fn refused(text: &str) -> Vec<String> {
    let source = Source::read(text);
    let words: Vec<String> = source.words().into_iter().map(|(_, word)| word).collect();
    let hearsay = words.iter().filter(|word| is_hearsay(word));
    let declared = words.windows(2).filter(|pair| {
        matches!(pair[0].as_str(), "struct" | "enum" | "trait" | "type" | "as")
            && TYPES.contains(&pair[1].as_str())
    });
    hearsay.cloned().chain(declared.map(|pair| pair[1].clone())).collect()
}

#[test]
fn words_that_say_nothing_do_not_come_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ceilings: BTreeMap<&str, usize> = CEILINGS.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in FOLDERS.iter().flat_map(|folder| sources(&root.join(folder))) {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let found = refused(&std::fs::read_to_string(&path).unwrap());
        let ceiling = ceilings.get(name.as_str()).copied().unwrap_or_default();
        if found.len() > ceiling {
            let (words, count) = (found.join(", "), found.len());
            wrong.push(format!("(\"{name}\", {count}),    // {ceiling} allowed: {words}"));
        }
    }
    assert!(wrong.is_empty(), "docs/glossary.md has the words to use:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_a_word_in_code_and_leaves_prose_and_text_alone() {
    let text = "struct Pass;\nfn tell_all(heard: u8) { \"told\"; } // hear\nlet seashell = Turn::Left;\nuse a::B as Unit;";
    assert_eq!(refused(text), ["tell_all", "heard", "Pass", "Unit"]);
}
