//! Words: comments and error messages name their subject and use plain terms, as CONTRIBUTING.md
//! asks ("Language").
//!
//! Searches them for phrases without a named subject. Text between backticks is code and is
//! skipped.

use std::path::Path;

use super::{assert_none, sources};

/// Folders whose sources are covered, with everything below them.
const COVERED: [&str; 6] = ["bench", "fuzz", "keys", "portal", "src", "tests"];

/// Phrases that fail, in lower case. Name the client, the peer, the local user, the operator, an
/// attacker, Core or the gateway instead, or use the plain verb.
const PHRASES: [&str; 9] = [
    "anew",
    "everybody",
    "goes on",
    "is no more",
    "it is we who",
    "nobody",
    "of its own accord",
    "somebody",
    "whoever",
];

/// First words that make a module comment a headless clause. It begins with a noun or a verb.
const HEADLESS: [&str; 2] = ["What ", "Whoever "];

fn is_covered(file: &Path) -> bool {
    // This file holds the phrases.
    COVERED.iter().any(|folder| file.starts_with(folder)) && !file.ends_with("tidy/words.rs")
}

/// The words of each comment of a source, in lower case, with their lines, counted from 1. A
/// comment is a block of lines, or a remark behind code. Code, and the end of a clause, are empty
/// words.
fn comments(source: &str) -> Vec<Vec<(usize, String)>> {
    let (mut comments, mut is_block, mut is_code) = (Vec::new(), false, false);
    for (index, line) in source.lines().enumerate() {
        let whole = line.trim_start().strip_prefix("//");
        let remark = line.split_once(" // ").map(|(_, remark)| remark);
        let Some(text) = whole.or(remark) else {
            is_block = false;
            continue;
        };
        if !(is_block && whole.is_some()) {
            comments.push(Vec::new());
            is_code = false;
        }
        is_block = whole.is_some();
        let comment: &mut Vec<_> = comments.last_mut().unwrap();
        for (number, part) in text.trim_start_matches(['/', '!']).split('`').enumerate() {
            is_code ^= number > 0;
            if is_code {
                comment.push((index + 1, String::new()));
                continue;
            }
            for word in part.split_whitespace() {
                let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric()).trim_end_matches("'s");
                comment.push((index + 1, bare.to_lowercase()));
                if word.ends_with(['.', ',', ':', ';']) {
                    comment.push((index + 1, String::new()));
                }
            }
        }
    }
    comments
}

/// The phrases in a source's comments, with the lines on which they begin.
fn phrases(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for comment in comments(source) {
        for phrase in PHRASES {
            let words: Vec<&str> = phrase.split(' ').collect();
            let is_it =
                |window: &&[(usize, String)]| window.iter().map(|(_, word)| word.as_str()).eq(words.iter().copied());
            found.extend(comment.windows(words.len()).filter(is_it).map(|window| (window[0].0, phrase)));
        }
    }
    let first = source.strip_prefix("//! ").unwrap_or_default();
    found.extend(HEADLESS.iter().filter(|word| first.starts_with(**word)).map(|word| (1, word.trim_end())));
    found.sort_unstable();
    found
}

#[test]
fn comments_name_their_subject() {
    let check = |source: &str, want: &[(usize, &str)]| assert_eq!(phrases(source), want, "{source}");
    check("//! What a key is.\n\n//! What follows.", &[(1, "What")]);
    check("/// Ends of its own\n/// accord.\nfn whoever() {} // nobody's", &[(1, "of its own accord"), (3, "nobody")]);
    check("fn a() {}\n    // Whoever reads goes\n    // on anew.", &[(2, "goes on"), (2, "whoever"), (3, "anew")]);
    check("/// The account `nobody`. It goes. On `SIGHUP` it is no\n/// `anew` more.\nlet a = \"whoever\";", &[]);
    let covered: Vec<_> = sources().into_iter().filter(|(file, _)| is_covered(file)).collect();
    assert!(covered.len() > 150, "{} files: the folders were not found", covered.len());
    let found = covered.iter().flat_map(|(file, source)| {
        phrases(source).into_iter().map(move |(line, phrase)| format!("{}:{line}: \"{phrase}\"", file.display()))
    });
    assert_none(&found.collect::<Vec<_>>(), "comments with these phrases: see \"Language\" in CONTRIBUTING.md");
}

/// Phrases that fail in error messages beside [`PHRASES`], in lower case, unless one of the second
/// list follows.
const DENIALS: [(&str, &[&str]); 1] = [("is no ", &["longer", "room"])];

/// The phrases in a source's error messages, with their lines.
fn denials(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let Some((_, message)) = line.split_once("#[error(\"") else { continue };
        let message = message.to_lowercase();
        let is_word = |phrase: &str| {
            message
                .split(|letter: char| !letter.is_alphanumeric() && letter != ' ')
                .any(|clause| format!(" {clause} ").contains(&format!(" {phrase} ")))
        };
        found.extend(PHRASES.iter().filter(|phrase| is_word(phrase)).map(|phrase| (index + 1, *phrase)));
        for (phrase, fine) in DENIALS {
            let is_it = |(at, _): (usize, &str)| {
                let (before, after) = (&message[..at], &message[at + phrase.len()..]);
                !before.ends_with("there ") && !fine.iter().any(|fine| after.starts_with(fine))
            };
            if message.match_indices(phrase).any(is_it) {
                found.push((index + 1, phrase));
            }
        }
    }
    found
}

#[test]
fn error_messages_use_plain_words() {
    let check = |message: &str, want: &[(usize, &str)]| {
        assert_eq!(denials(&format!("    #[error(\"{message}\")]")), want, "{message}");
    };
    check("{0} is no key", &[(1, "is no ")]);
    check("uid {0} is nobody's", &[(1, "nobody")]);
    check("send all of it anew", &[(1, "anew")]);
    check("there is no such drive", &[]);
    check("{0} is no longer connected, and somebodyelse", &[]);
    let found = sources().into_iter().filter(|(file, _)| is_covered(file)).flat_map(|(file, source)| {
        denials(&source)
            .into_iter()
            .map(move |(line, phrase)| format!("{}:{line}: \"{phrase}\"", file.display()))
            .collect::<Vec<_>>()
    });
    assert_none(&found.collect::<Vec<_>>(), "error messages with these phrases: see \"Language\" in CONTRIBUTING.md");
}
