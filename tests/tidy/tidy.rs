//! Checks that no compiler makes: the layout of the tree, the dependencies of `countersign-keys`,
//! and a test for every line of the verifier's checklist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

mod dependencies;
mod documents;
mod imports;
mod promises;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines of a source file, so that each can be read in one sitting.
const LINES_MAX: usize = 600;

/// The most columns of a comment line.
const COMMENT_MAX: usize = 100;

/// Crates through which `countersign-keys` could reach a socket, a clock's timers, a file or a
/// runtime.
const IMPURE: [&str; 10] =
    ["tokio", "hyper", "mio", "socket2", "sled", "nix", "rustix", "async-std", "ureq", "reqwest"];

/// Directories of installed or built files beside the sources.
const NOT_OURS: [&str; 7] = [".git", "target", "node_modules", "__pycache__", ".venv", "corpus", "artifacts"];

/// The last line of docs/checklist.md.
const CHECKLIST_LINES: u32 = 76;

/// Lines of the checklist without a test, and why. A line with a test must leave this list.
const LATER: &[(u32, &str)] = &[(43, "the shared store of several gateways is not built")];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every file of the tree, relative to its root.
fn files() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path().strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    files.sort();
    assert!(files.iter().any(|file| file == Path::new("tests/tidy/tidy.rs")), "the tree was not found");
    files
}

fn sources() -> Vec<(PathBuf, String)> {
    let is_source = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    files()
        .into_iter()
        .filter(is_source)
        .map(|file| (file.clone(), fs::read_to_string(root().join(file)).unwrap()))
        .collect()
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn the_crate_that_decides_cannot_reach_the_world() {
    let crates = dependencies::tree_of("keys", &["--no-default-features"]);
    assert!(crates.contains("countersign-keys") && crates.contains("jsonwebtoken"), "{crates:?}");
    let found: Vec<String> = IMPURE.iter().filter(|name| crates.contains(**name)).map(|&name| name.into()).collect();
    assert_none(&found, "countersign-keys depends on");
}

/// Whether one of these sources has the file as a module: cargo passes over a file that none has.
fn is_module(file: &Path, sources: &BTreeMap<PathBuf, String>) -> bool {
    let (Some(folder), Some(stem)) = (file.parent(), file.file_stem().and_then(|stem| stem.to_str())) else {
        return false;
    };
    let (name, folder) = match (stem, folder.file_name().and_then(|name| name.to_str())) {
        ("mod", Some(name)) => (name, folder.parent().unwrap_or(folder)),
        _ => (stem, folder),
    };
    let parents = ["lib.rs", "main.rs", "mod.rs", "tidy.rs"].map(|parent| folder.join(parent));
    let declaration = format!("mod {name};");
    let declares = |parent: &PathBuf| {
        sources.get(parent).is_some_and(|source| source.lines().any(|line| line.ends_with(&declaration)))
    };
    let path = format!("/{}\"]", file.file_name().unwrap_or_default().display());
    let is_named = || {
        sources
            .values()
            .flat_map(|source| source.lines())
            .any(|line| line.trim_start().starts_with("#[path = ") && line.ends_with(&path))
    };
    parents.iter().any(declares) || declares(&folder.with_extension("rs")) || is_named()
}

#[test]
fn every_source_file_is_compiled() {
    let sources: BTreeMap<PathBuf, String> = sources().into_iter().collect();
    let is_root = |file: &Path| {
        let is_in = |name: &str| file.parent().is_some_and(|folder| folder.ends_with(name));
        let is_program = ["compile_fail", "compile_pass", "examples", "targets"].into_iter().any(is_in);
        is_program || ["lib.rs", "main.rs", "tidy.rs"].into_iter().any(|name| file.ends_with(name))
    };
    let unknown = sources.keys().filter(|file| !is_root(file) && !is_module(file, &sources));
    let found: Vec<String> = unknown.map(|file| file.display().to_string()).collect();
    assert_none(&found, "no module has these files: add a mod line");
}

/// The numbers of comment lines that are too long, counted from 1. Lines that cannot be wrapped are
/// exempt: a single word, or a line of a code block.
fn long_comments(source: &str) -> Vec<usize> {
    let (mut found, mut is_block) = (Vec::new(), false);
    for (index, line) in source.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            is_block = false;
            continue;
        };
        let text = comment.trim_start_matches(['/', '!']).trim_start();
        is_block ^= text.starts_with("```");
        if line.chars().count() > COMMENT_MAX && text.contains(' ') && !is_block {
            found.push(index + 1);
        }
    }
    found
}

#[test]
fn comments_wrap_at_100_columns() {
    let found = sources().into_iter().flat_map(|(file, source)| {
        long_comments(&source).into_iter().map(move |line| format!("{}:{line}", file.display()))
    });
    assert_none(&found.collect::<Vec<_>>(), "wrap these comments at 100 columns");
}

#[test]
fn every_file_is_short_enough_to_read() {
    let long = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(file, text)| format!("{}: {} lines", file.display(), text.lines().count()))
        .collect::<Vec<_>>();
    assert_none(&long, "longer than 600 lines");
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources()
        .into_iter()
        .filter(|(file, text)| !text.starts_with("//!") && !file.starts_with("keys/tests/compile_fail"))
        .map(|(file, _)| file.display().to_string())
        .collect::<Vec<_>>();
    assert_none(&silent, "no `//!` at its head");
}

#[test]
fn no_file_is_a_drawer_for_odds_and_ends() {
    let drawers = ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];
    let found = sources()
        .into_iter()
        .filter(|(file, _)| drawers.iter().any(|name| file.file_name().is_some_and(|file| file == *name)))
        .map(|(file, _)| file.display().to_string())
        .collect::<Vec<_>>();
    assert_none(&found, "named for no thing of the domain");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    // Written in two halves, so that this file does not find itself.
    let paths = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp", "/wt"), concat!("/tmp", "/contract")];
    let mut found = Vec::new();
    for file in files() {
        // A binary file names no paths.
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "a path of one machine");
}

#[test]
fn every_line_of_the_checklist_has_its_test() {
    let sources = sources();
    let in_browsers = files().into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs"));
    let in_browsers: Vec<String> = in_browsers.map(|file| fs::read_to_string(root().join(file)).unwrap()).collect();
    let tested = sources.iter().flat_map(|(_, text)| checklist_tests(text));
    let tested: BTreeSet<u32> =
        tested.chain(in_browsers.iter().flat_map(|text| checklist_tests_of_node(text))).collect();
    let later: BTreeSet<u32> = LATER.iter().map(|(line, _)| *line).collect();
    let missing: Vec<String> = (1..=CHECKLIST_LINES)
        .filter(|line| !tested.contains(line) && !later.contains(line))
        .map(|line| format!("v{line:02}_…"))
        .collect();
    assert_none(&missing, "no test of that name");
    let done: Vec<String> = later.intersection(&tested).map(|line| format!("v{line:02}_…")).collect();
    assert_none(&done, "tested, and still in LATER");
}

/// The numbers of the functions `vNN_…` in a source. A function may stand for several, as
/// `vNN_vMM_…`.
fn checklist_tests(text: &str) -> Vec<u32> {
    let number = |part: &str| part.strip_prefix('v').filter(|digits| digits.len() == 2)?.parse().ok();
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "))
        .flat_map(|name| name.split('_').map_while(number))
        .collect()
}

/// The same for tests that Node.js runs, whose names are texts: `test("v68_s07 …`.
fn checklist_tests_of_node(text: &str) -> Vec<u32> {
    let digits = |name: &str| name.get(..2).and_then(|digits| digits.parse().ok());
    text.lines().filter_map(|line| line.trim_start().strip_prefix("test(\"v")).filter_map(digits).collect()
}

/// A document's links: the text in brackets, or the name in quotes as in `"name" in [file](…)`, and
/// the target.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for (at, _) in text.match_indices("](") {
        let open = text[..at].rfind('[').unwrap_or(0);
        let quoted =
            text[..open].strip_suffix("\" in ").map(|before| &text[before.rfind('"').unwrap_or(0)..=before.len()]);
        let name = quoted.unwrap_or(&text[open + 1..at]);
        let target = &text[at + 2..];
        links.push((name, &target[..target.find(')').unwrap_or(0)]));
    }
    links
}

/// The text at the start of the test that a link names: `fn name(`, or the title of a browser's
/// test. `None` if the link names no test.
fn definition(name: &str) -> Option<String> {
    let is_function = name.len() > 2 && name.starts_with('`') && !name.contains(['.', '/', ' ']);
    let is_title = name.starts_with('"');
    if is_function { Some(format!("fn {}(", name.trim_matches('`'))) } else { is_title.then(|| name.to_owned()) }
}

#[test]
fn every_test_and_file_that_a_document_names_is_there() {
    let mut found = Vec::new();
    for document in files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        for (name, target) in links(&text) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let path = root().join(document.parent().unwrap()).join(target.split('#').next().unwrap());
            let test = definition(name);
            let is_there = match fs::read_to_string(&path) {
                Ok(text) => test.is_none_or(|test| text.contains(&test)),
                Err(_) => path.exists() && test.is_none(),
            };
            if !is_there {
                found.push(format!("{}: {name} in {target}", document.display()));
            }
        }
    }
    assert_none(&found, "named and not there");
}

#[test]
fn every_promise_and_precedent_names_its_test() {
    let read = |name: &str| fs::read_to_string(root().join("threat-model").join(name)).unwrap();
    let names_a_test = |text: &str| links(text).iter().any(|(name, _)| name.starts_with('`'));
    let invariants = read("invariants.md");
    let chapters: Vec<&str> = invariants.split("\n## ").skip(1).collect();
    assert_eq!(chapters.len(), 10, "P1 to P10");
    let untested = chapters.into_iter().filter(|chapter| !names_a_test(chapter)).map(|chapter| chapter[..3].into());
    assert_none(&untested.collect::<Vec<String>>(), "no test");

    // A precedent without a test gives the reason in words.
    let precedents = read("precedents.md");
    let rows = precedents.lines().filter(|line| line.starts_with("| ") && !line.contains("why not here"));
    let excused = ["not built yet", "not promised", "changes nothing in the browser", "checked by"];
    let untested = rows
        .filter(|row| !names_a_test(row) && links(row).is_empty() && !excused.iter().any(|words| row.contains(words)))
        .map(str::to_owned);
    assert_none(&untested.collect::<Vec<String>>(), "no test");
}

/// A patch of `threat-model/removed`: its subject, the tests that go red under it, and its hunks as
/// file and expected text.
struct Removal {
    name: String,
    keeps: Vec<String>,
    red: Vec<String>,
    hunks: Vec<(String, String)>,
}

fn removals() -> Vec<Removal> {
    let is_patch =
        |file: &PathBuf| file.starts_with("threat-model/removed") && file.extension().is_some_and(|e| e == "patch");
    files().into_iter().filter(is_patch).map(|file| removal(&file)).collect()
}

fn removal(file: &Path) -> Removal {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (mut keeps, mut red, mut hunks, mut of) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for line in text.lines() {
        if let Some(kept) = line.strip_prefix("Keeps: ") {
            keeps = kept.split(' ').map(str::to_owned).collect();
        } else if let Some(test) = line.strip_prefix("Red: ") {
            red.push(test.rsplit(' ').next().unwrap().to_owned());
        } else if let Some(path) = line.strip_prefix("+++ b/") {
            of = path.to_owned();
        } else if line.starts_with("@@") {
            hunks.push((of.clone(), String::new()));
        } else if let (Some((_, before)), false) = (hunks.last_mut(), line.starts_with("--- a/"))
            && let Some(stands) = line.strip_prefix([' ', '-'])
        {
            before.push_str(stands);
            before.push('\n');
        }
    }
    Removal { name: file.file_stem().unwrap().to_str().unwrap().to_owned(), keeps, red, hunks }
}

/// An auditor applies a removal by `git apply` and runs the tests that it names.
#[test]
fn every_removal_can_be_applied() {
    let mut found = Vec::new();
    for removal in removals() {
        let patch = format!("threat-model/removed/{}.patch", removal.name);
        let output = Command::new("git").args(["apply", "--check", &patch]).current_dir(root()).output().unwrap();
        if !output.status.success() {
            found.push(format!("{patch}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert_none(&found, "removals that git cannot apply");
}

#[test]
fn every_check_that_was_removed_is_there_and_so_is_the_test_that_went_red() {
    let sources = sources();
    let is_test = |name: &str| sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")));
    let table = fs::read_to_string(root().join("threat-model/removed.md")).unwrap();
    let (mut found, mut kept) = (Vec::new(), BTreeSet::new());
    let removals = removals();
    assert!(removals.len() > 50, "the patches were not found");
    for removal in &removals {
        let Removal { name, keeps, red, hunks } = removal;
        if keeps.is_empty() || red.is_empty() || hunks.is_empty() {
            found.push(format!("{name}: does not say what it is about"));
        }
        if !table.contains(&format!("| [{name}](removed/{name}.patch) |")) {
            found.push(format!("{name}: no row in removed.md; run threat-model/removed/run {name}"));
        }
        found.extend(red.iter().filter(|test| !is_test(test)).map(|test| format!("{name}: no test {test}")));
        for (file, before) in hunks {
            let stands = fs::read_to_string(root().join(file)).unwrap_or_default();
            if stands.matches(before.as_str()).count() != 1 {
                found.push(format!(
                    "{name}: does not fit {file} any more; mend it and run threat-model/removed/run {name}"
                ));
            }
        }
        kept.extend(keeps.iter().cloned());
    }
    assert_none(&found, "removed checks");
    // A promise or line without a patch gives the reason.
    let rest = table.split("## Not in the table").nth(1).unwrap();
    let promises =
        (1..=10).map(|number| format!("P{number}")).chain((1..=CHECKLIST_LINES).map(|number| format!("V{number:02}")));
    let later: BTreeSet<String> = LATER.iter().map(|(line, _)| format!("V{line:02}")).collect();
    let unsaid =
        promises.filter(|name| !kept.contains(name) && !rest.contains(&format!("{name} ")) && !later.contains(name));
    assert_none(&unsaid.collect::<Vec<_>>(), "neither removed nor excused in removed.md");
}

/// The text of each `#[error(…)]` of a source, and the variant or struct behind it.
fn error_texts(text: &str) -> Vec<(&str, &str)> {
    text.split("#[error(")
        .skip(1)
        .filter_map(|chunk| chunk.split_once(")]\n"))
        .map(|(message, rest)| (message, rest.split("\n    ///").next().unwrap_or(rest)))
        .map(|(message, rest)| (message, rest.split("\n}").next().unwrap_or(rest)))
        .collect()
}

/// Whether an error's text includes its source, which printing the chain would repeat.
fn repeats_its_source(message: &str, variant: &str) -> bool {
    let is_marked = variant.contains("#[source]") || variant.contains("#[from]");
    let is_first_of_a_tuple = variant.contains("(#[source]") || variant.contains("(#[from]");
    let has_a_source = is_marked || variant.contains("source: ");
    is_first_of_a_tuple && (message.contains("{0") || message.contains("(.0)") || message.ends_with(", .0"))
        || has_a_source && (message.contains("{source") || message.contains("source)"))
}

#[test]
fn s21_no_error_repeats_its_source() {
    let check = |message: &str, variant: &str, want: bool| {
        assert_eq!(repeats_its_source(message, variant), want, "{message} {variant}");
    };
    check("\"the journal {path}: {source}\"", "File { path: PathBuf, source: io::Error },", true);
    check("\"the journal {path}\"", "File { path: PathBuf, source: io::Error },", false);
    check("\"upstream: {0}\"", "Upstream(#[from] UpstreamFailure),", true);
    check("\"upstream: {}\", Chain(.0)", "Upstream(#[from] UpstreamFailure),", true);
    check("\"upstream: {}\", Chain(.0)", "Upstream(UpstreamFailure),", false);
    check("transparent", "Upstream(#[from] UpstreamFailure),", false);
    let mut found = Vec::new();
    for (file, text) in sources() {
        // This file has the examples above.
        if file == Path::new("tests/tidy/tidy.rs") {
            continue;
        }
        for (message, variant) in error_texts(&text) {
            if repeats_its_source(message, variant) {
                found.push(format!("{}: {message}", file.display()));
            }
        }
    }
    assert_none(&found, "has its source in its text, and prints it twice in a chain");
}

/// A command that stops reading ends the one before it with SIGPIPE, and `pipefail` takes that for
/// a failure: of the whole script, or of a condition that then is silently false.
#[test]
fn no_command_of_a_script_stops_reading_early() {
    let stops = |command: &str| {
        let mut words = command.split_whitespace();
        match words.next() {
            Some("head") => true,
            Some("grep") => words.take_while(|word| word.starts_with('-')).any(|option| {
                option.starts_with("--quiet") || (!option.starts_with("--") && option.contains(['q', 'm']))
            }),
            _ => false,
        }
    };
    assert!(stops(" head -n 1") && stops(" grep -vqx types") && !stops(" grep -x q") && !stops(" headers"));
    let mut found = Vec::new();
    for file in files() {
        let Ok(script) = fs::read_to_string(root().join(&file)) else { continue };
        let is_script = script.starts_with("#!/") || file.extension().is_some_and(|extension| extension == "sh");
        if !is_script || !script.lines().take(2).any(|line| line.contains("bash") || line.starts_with("# Sourced by")) {
            continue;
        }
        for (number, line) in script.lines().enumerate() {
            if !line.trim_start().starts_with('#') && line.split('|').skip(1).any(stops) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "read to the end: sed -n 1p for head, grep … >/dev/null for grep -q");
}
