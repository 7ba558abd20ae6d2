//! Which secrets anybody can guess: those that are printed somewhere, and those that a person or a pattern makes.

use ring::digest::{SHA256, digest};

use super::Secret;

/// How a good secret is made.
const REMEDY: &str = "make a random one: openssl rand -base64 32";

/// Beginnings and whole texts that documentation of widely used products shows as secrets.
const WELL_KNOWN: &[&str] = &[
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "change-me",
    "changeme",
    "django-insecure-",
    "gw2t",
    "mysecret",
    "secret",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "thisisasecret",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "your-secret",
    "your-super-secret",
    "your_jwt_secret",
    "your_secret",
    "yoursecret",
];

/// SHA-256 of secrets that publicly readable repositories of this server's predecessors show.
const PUBLISHED: &[&str] = &["de9f84df0a5b1b728f3a7b6b07cd91f20e00471e77db1dd7fec11445607d0970"];

fn is_published(text: &str) -> bool {
    let hash = digest(&SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    PUBLISHED.contains(&hash.as_str())
}

/// Words that people make secrets of.
const WORDS: &[&str] = &[
    "account",
    "admin",
    "application",
    "auth",
    "backend",
    "chat",
    "company",
    "default",
    "demo",
    "dev",
    "example",
    "hello",
    "jwt",
    "key",
    "letmein",
    "local",
    "long",
    "login",
    "master",
    "my",
    "only",
    "pass",
    "passwd",
    "password",
    "please",
    "prod",
    "production",
    "qwerty",
    "random",
    "relay",
    "root",
    "secret",
    "secure",
    "server",
    "shared",
    "sign",
    "signing",
    "string",
    "super",
    "switchboard",
    "test",
    "testing",
    "this",
    "token",
    "turn",
    "user",
    "very",
    "welcome",
    "word",
    "your",
];

/// Rows of keys, along which fingers run.
const ROWS: &[&str] = &[
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "!@#$%^&*()",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
];

/// Characters of a run, a repeat or a word from which on it counts as one.
const PATTERN: usize = 3;

/// How one character leads to the next in a pattern: the same one, its neighbour in the alphabet or on the keyboard.
fn steps(from: u8, to: u8) -> impl Iterator<Item = (usize, i8)> {
    let alphabet = match i16::from(to) - i16::from(from) {
        step @ -1..=1 => Some((0, i8::try_from(step).unwrap_or_default())),
        _ => None,
    };
    let on_row = move |(row, keys): (usize, &&str)| {
        let place = |key: u8| keys.bytes().position(|it| it == key);
        match (place(from)?, place(to)?) {
            (one, other) if one + 1 == other => Some((row + 1, 1)),
            (one, other) if one == other + 1 => Some((row + 1, -1)),
            _ => None,
        }
    };
    alphabet.into_iter().chain(ROWS.iter().enumerate().filter_map(on_row))
}

/// Characters from `at` on that follow from the first of them.
fn run(text: &[u8], at: usize) -> usize {
    let [first, second] = [text.get(at), text.get(at + 1)];
    let (Some(&first), Some(&second)) = (first, second) else { return 1 };
    let length = |step: (usize, i8)| {
        let pairs = text.windows(2).skip(at);
        1 + pairs
            .take_while(|it| matches!(it, [a, b] if steps(*a, *b).any(|other| other == step)))
            .count()
    };
    steps(first, second).map(length).max().unwrap_or(1)
}

/// Characters from `at` on that stand before it already.
fn repeat(text: &[u8], at: usize) -> usize {
    let same = |from: usize| {
        let pairs = text.iter().skip(from).zip(text.iter().skip(at));
        pairs.take_while(|(one, other)| one == other).count()
    };
    (0..at).map(same).max().unwrap_or(0)
}

/// Characters from `at` on that are a word, with what parts it from the next.
fn word(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let known = WORDS.iter().filter(|word| rest.starts_with(word.as_bytes()));
    let parted = |length: usize| rest.get(length).is_some_and(|next| b"-_. ".contains(next));
    known.map(|word| word.len() + usize::from(parted(word.len()))).max().unwrap_or(0)
}

/// How many characters of a text do not follow from others: a word counts as one, a run or a repeat as one and a half.
fn surprises(text: &str) -> usize {
    let text = text.to_lowercase().into_bytes();
    let (mut at, mut halves) = (0, 0);
    while at < text.len() {
        let (pattern, word) = (run(&text, at).max(repeat(&text, at)), word(&text, at));
        let (length, cost) = match pattern.max(word) {
            length if length < PATTERN => (1, 2),
            length if length == word => (length, 2),
            length => (length, 3),
        };
        at += length;
        halves += cost;
    }
    usize::div_ceil(halves, 2)
}

/// Why a secret of at least `least` bytes must not be used, or `None`.
pub fn weakness(secret: &Secret, least: usize) -> Option<String> {
    let text = secret.expose();
    if text.is_empty() {
        return Some(format!("is not set; {REMEDY}"));
    }
    if text.len() < least {
        return Some(format!("has {} bytes; it needs at least {least}: {REMEDY}", text.len()));
    }
    if is_published(text.trim()) {
        return Some(format!(
            "is printed in a public repository, so that any reader can sign as any user; {REMEDY}, and give it to the backend, too"
        ));
    }
    let lower = text.to_lowercase();
    if WELL_KNOWN.iter().any(|known| lower.starts_with(known)) {
        return Some(format!("begins like a secret that documentation shows; {REMEDY}"));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    let wanted = (text.len() / 4).min(8);
    if bytes.len() < wanted {
        return Some(format!("has fewer than {wanted} different characters; {REMEDY}"));
    }
    // Half of the shortest one that is long enough: random ones stay far above, words and patterns below.
    (surprises(text) < text.len().min(32) / 2).then(|| {
        format!("is made of words, repeats or sequences, which are guessed first; {REMEDY}")
    })
}

#[cfg(test)]
mod tests {
    use ring::digest;

    use super::*;

    fn why(text: &str) -> Option<String> {
        weakness(&Secret::new(text), 32)
    }

    #[test]
    fn what_people_make_up_is_refused_with_the_remedy() {
        for weak in [
            "",
            "short",
            "your-256-bit-secret-your-256-bit-secret",
            "django-insecure-abcdefghijklmnopqrstuvwx",
            "abcdefghijklmnopqrstuvwxyz012345",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
            "zyxwvutsrqponmlkjihgfedcba987654",
            "01234567890123456789012345678901",
            "0123456789abcdef0123456789abcdef",
            "passwordpasswordpasswordpassword",
            "Password1Password1Password1Password1",
            "x7Kq-x7Kq-x7Kq-x7Kq-x7Kq-x7Kq-x7Kq",
            "qwertyuiopasdfghjklzxcvbnm123456",
            "1qaz2wsx3edc4rfv1qaz2wsx3edc4rfv",
            "abababababababababababababababab",
            "aaaaaaaabbbbbbbbccccccccdddddddd",
            "my-very-secret-jwt-signing-key-for-production-server",
        ] {
            assert!(why(weak).is_some_and(|why| why.contains("openssl rand -base64 32")), "{weak}");
        }
        assert!(weakness(&Secret::new("password"), 8).is_some());
        assert!(weakness(&Secret::new("12345678"), 8).is_some());
        assert!(why(&"a".repeat(64)).is_some());
        assert_eq!(why("kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu"), None);
    }

    /// Bytes that are the same in every run.
    fn random(seed: u64, length: usize) -> Vec<u8> {
        let blocks = (0_u64..).flat_map(|block| {
            let text = format!("switchboard secrets {seed} {block}");
            digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
        });
        blocks.take(length).collect()
    }

    #[test]
    fn random_secrets_of_every_common_form_pass() {
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let letters = |bytes: &[u8]| {
            let all: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
            bytes.iter().map(|byte| all[usize::from(*byte) % all.len()]).collect::<String>()
        };
        for seed in 0..10_000 {
            let bytes = random(seed, 48);
            for (text, least) in [
                (STANDARD.encode(&bytes[..24]), 32),
                (STANDARD.encode(&bytes[..32]), 32),
                (URL_SAFE_NO_PAD.encode(&bytes), 32),
                (hex(&bytes[..8]), 16),
                (hex(&bytes[..16]), 32),
                (hex(&bytes[..32]), 32),
                (hex(&bytes[..16]).to_uppercase(), 32),
                (letters(&bytes[..12]), 8),
                (letters(&bytes[..32]), 32),
                (uuid::Uuid::from_slice(&bytes[..16]).unwrap().to_string(), 32),
            ] {
                assert_eq!(weakness(&Secret::new(&text), least), None, "seed {seed}: {text}");
            }
        }
    }
}
