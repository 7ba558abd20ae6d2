//! A light reading of Rust: enough to count the lines of files and functions, and to see identifiers where they are code and
//! neither prose nor text.

use std::collections::BTreeSet;

/// A source with its comments blank and its texts made of quotes; lines stay where they were.
pub(super) struct Source {
    code: Vec<char>,
}

/// A function: its name, and its lines that are neither blank nor comments.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) lines: usize,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (mut code, mut at) = (Vec::with_capacity(chars.len()), 0);
        while at < chars.len() {
            let end = token_end(&chars, at);
            let filler = match chars[at] {
                '/' if end > at + 1 => Some(' '),
                '"' | '\'' if end > at + 1 => Some('"'),
                'r' | 'b' | 'c' if end > at + 1 => Some('"'),
                _ => None,
            };
            for &c in &chars[at..end] {
                code.push(filler.filter(|_| c != '\n').unwrap_or(c));
            }
            at = end;
        }
        Self { code }
    }

    /// The source without what is marked `#[cfg(test)]`.
    pub(super) fn without_tests(mut self) -> Self {
        let mark: Vec<char> = "#[cfg(test)]".chars().collect();
        let mut at = 0;
        while at + mark.len() <= self.code.len() {
            if self.code[at..].starts_with(&mark) {
                let end = self.item_end(at + mark.len(), &[';', ',']);
                self.code[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
                at = end;
            }
            at += 1;
        }
        self
    }

    /// Where the item that begins at `at` ends: behind its body, or one of the `ends` (a semicolon, the comma of a field).
    fn item_end(&self, at: usize, ends: &[char]) -> usize {
        let mut depth = 0_usize;
        for place in at..self.code.len() {
            match self.code[place] {
                '(' | '[' => depth += 1,
                ')' | ']' => depth = depth.saturating_sub(1),
                c if depth == 0 && ends.contains(&c) => return place + 1,
                '{' if depth == 0 => return self.body_end(place),
                _ => {}
            }
        }
        self.code.len()
    }

    /// Behind the brace that closes the one at `open`.
    fn body_end(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for place in open..self.code.len() {
            match self.code[place] {
                '{' => depth += 1,
                '}' if depth == 1 => return place + 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }

    /// Lines that are neither blank nor comments.
    pub(super) fn lines(&self) -> usize {
        count(&self.code)
    }

    /// All functions that have a body, those within others as well.
    pub(super) fn functions(&self) -> Vec<Function> {
        let words = self.words();
        let named = words.windows(2).filter(|pair| pair[0].1 == "fn");
        let functions = named.filter_map(|pair| {
            let [(begin, _), (name_at, name)] = pair else { return None };
            // `fn` of a type has no name: what follows is a parenthesis.
            let between: String = self.code[begin + 2..*name_at].iter().collect();
            let end =
                between.trim().is_empty().then(|| self.item_end(name_at + name.len(), &[';']))?;
            let body = self.code[end - 1] == '}';
            let lines = count(&self.code[*begin..end]);
            body.then(|| Function { name: name.clone(), lines })
        });
        functions.collect()
    }

    /// Identifiers and keywords, each with its place.
    pub(super) fn words(&self) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = Vec::new();
        let mut inside = false;
        for (place, c) in self.code.iter().enumerate() {
            let part = c.is_alphanumeric() || *c == '_';
            match found.last_mut().filter(|_| inside && part) {
                Some((_, word)) => word.push(*c),
                None if part => found.push((place, c.to_string())),
                None => {}
            }
            inside = part;
        }
        found
    }

    /// The names that follow `root` in imports and paths, also those in braces: `use super::{a, b::C}` gives `a` and `b`.
    pub(super) fn named_after(&self, root: &str) -> BTreeSet<String> {
        let text: String = self.code.iter().collect();
        let mut found = BTreeSet::new();
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            let group = rest.strip_prefix('{').map(top_level);
            for item in group.unwrap_or_else(|| vec![rest]) {
                let name = item.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next();
                found.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
        found
    }
}

/// The members of a group of imports, up to the brace that closes it.
fn top_level(group: &str) -> Vec<&str> {
    let (mut members, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    members
}

fn count(code: &[char]) -> usize {
    code.split(|c| *c == '\n').filter(|line| line.iter().any(|c| !c.is_whitespace())).count()
}

/// Where what begins at `at` ends: a comment, a text, a character, or the one character of everything else.
fn token_end(chars: &[char], at: usize) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let inside_word = at > 0 && word(chars[at - 1]);
    let next = chars.get(at + 1).copied().unwrap_or_default();
    match chars[at] {
        '/' if next == '/' => find(chars, at, |rest| rest[0] == '\n'),
        '/' if next == '*' => comment_end(chars, at),
        '"' => text_end(chars, at),
        '\'' => character_end(chars, at),
        'r' | 'b' | 'c' if !inside_word => prefixed_end(chars, at),
        _ => at + 1,
    }
}

fn find(chars: &[char], at: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (at..chars.len()).find(|place| found(&chars[*place..])).unwrap_or(chars.len())
}

fn comment_end(chars: &[char], begin: usize) -> usize {
    let (mut at, mut depth) = (begin, 0_usize);
    while at < chars.len() {
        match chars.get(at..at + 2) {
            Some(['/', '*']) => (at, depth) = (at + 2, depth + 1),
            Some(['*', '/']) if depth == 1 => return at + 2,
            Some(['*', '/']) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn text_end(chars: &[char], begin: usize) -> usize {
    let mut at = begin + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A character; a lifetime is one character to this reading, its quote.
fn character_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => find(chars, at + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Texts with a prefix: raw ones, bytes.
fn prefixed_end(chars: &[char], begin: usize) -> usize {
    let mut at = begin;
    while chars.get(at).is_some_and(|c| matches!(c, 'r' | 'b' | 'c')) {
        at += 1;
    }
    let raw = chars[begin..at].contains(&'r');
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    match chars.get(at + hashes) {
        Some('"') if raw => {
            let close: Vec<char> =
                std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let from = at + hashes + 1;
            (find(chars, from, |rest| rest.starts_with(&close)) + close.len()).min(chars.len())
        }
        Some('"') if hashes == 0 => text_end(chars, at),
        Some('\'') if hashes == 0 && !raw => character_end(chars, at),
        _ => begin + 1,
    }
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = "// fn a() {}\nfn b<'a>() { /* { /* nested */ */ let c = '{'; let d = '\\''; \"}\\\"\"; r#\"}\"#; b\"}\"; }\n\n";
    let source = Source::read(text);
    assert_eq!(source.lines(), 1);
    assert_eq!(source.functions(), [Function { name: "b".into(), lines: 1 }]);
}

#[test]
fn tests_are_left_out_and_functions_counted_without_blank_lines() {
    let text = "fn long() {\n    one();\n\n    // why\n    two();\n}\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\nstruct S {\n    #[cfg(test)]\n    n: u8,\n    f: fn(u8) -> u8,\n}\n";
    let source = Source::read(text).without_tests();
    assert_eq!(source.functions(), [Function { name: "long".into(), lines: 4 }]);
    assert_eq!(source.lines(), 7);
}

#[test]
fn imports_are_read_from_lines_groups_and_paths() {
    let text = "use super::{a, b::{C, d}, Self};\nuse super::e::F;\nlet x = super::g::h();\n// super::no\n";
    let found = Source::read(text).named_after("super::");
    assert_eq!(found, ["a", "b", "e", "g", "Self"].map(str::to_owned).into());
}
