//! Offers as real clients write them, in `tests/offers`: beside each stands the answer that is expected, in few words. A file more
//! is a test more.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::rules::{self, Media};
use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/offers")
}

/// An answer in few words: the bundle, and of each section what the client may use.
fn words(answer: &str) -> String {
    let (session, sections) = Media::all(answer);
    let bundle = session.iter().find_map(|line| line.strip_prefix("a=group:"));
    let mut text = format!("{}\n", bundle.unwrap_or("no bundle"));
    for media in sections {
        let _ = write!(text, "{} {}", media.head[0], media.mid().unwrap_or("without a name"));
        if media.rejected() {
            let _ = writeln!(text, " rejected: {} {}", media.head[2], media.formats().join(" "));
            continue;
        }
        let _ = writeln!(text, " {}", media.direction());
        for format in media.formats() {
            let of =
                |key| media.values(key).filter_map(|it| it.strip_prefix(format)?.strip_prefix(' '));
            let name = of("rtpmap").next().unwrap().split('/').next().unwrap().to_owned();
            let parameters: String = of("fmtp").map(|it| format!(" {it}")).collect();
            let feedback: Vec<&str> = of("rtcp-fb").collect();
            let feedback = if feedback.is_empty() {
                String::new()
            } else {
                format!(" [{}]", feedback.join(", "))
            };
            let _ = writeln!(text, "  {format} {name}{parameters}{feedback}");
        }
        for extension in media.values("extmap") {
            let _ = writeln!(text, "  extension {extension}");
        }
        for rid in media.values("rid").chain(media.values("simulcast")) {
            let _ = writeln!(text, "  layers {rid}");
        }
    }
    text
}

fn answer(name: &str, offer: &Description) -> Result<String, crate::DescriptionError> {
    let views = name.starts_with("view");
    let mut next = 0;
    connection().answer(offer, |_| {
        next += 1;
        if views { Accept::Send } else { Accept::Receive(TrackKey(next)) }
    })
}

#[test]
fn real_clients_are_answered_as_expected() {
    let (mut count, mut wrong) = (0, Vec::new());
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|it| it == "sdp")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let offer = std::fs::read_to_string(path).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("answer")).unwrap_or_default();
        let read = Description::parse(&offer, 16).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = match answer(&name, &read) {
            Ok(answer) => {
                rules::check(&offer, &answer);
                words(&answer)
            }
            Err(error) => format!("refused: {error}\n"),
        };
        count += 1;
        if found != expected {
            wrong.push(format!("{name}.answer is not\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 15, "only {count} offers were found in {}", folder().display());
}
