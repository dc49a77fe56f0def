//! Promises: threat-model/invariants.md names the line of each test, and the patches that remove
//! each rule's checks.
//!
//! `COUNTERSIGN_MEND=1 cargo test -p countersign-tidy` writes both into the document.

use std::fs;
use std::path::Path;

use super::{Removal, assert_none, definition, links, removals, root};

const INVARIANTS: &str = "threat-model/invariants.md";

/// The variable with which the document is written rather than checked.
const MEND: &str = "COUNTERSIGN_MEND";

/// The head of a table of rules.
const HEAD: &str = "| rule | kept by | proved by | removed by |";

/// The last cell of a rule without a patch.
const NO_PATCH: &str = "–";

/// The number of the first line of a source that has this text, counted from 1.
fn line_of(source: &str, text: &str) -> Option<usize> {
    source.lines().position(|line| line.contains(text)).map(|index| index + 1)
}

/// A document with the right line number in each link to a test. A test that is not there keeps its
/// link: another test reports it.
fn with_lines(text: &str, folder: &Path) -> String {
    let (mut mended, mut rest) = (String::new(), text);
    for (name, target) in links(text) {
        let (before, after) = rest.split_once(&format!("]({target})")).unwrap();
        let file = target.split('#').next().unwrap();
        let found = definition(name).and_then(|test| line_of(&fs::read_to_string(folder.join(file)).ok()?, &test));
        let target = found.map_or_else(|| target.to_owned(), |number| format!("{file}#L{number}"));
        mended.push_str(&format!("{before}]({target})"));
        rest = after;
    }
    mended + rest
}

/// The patches under which any of the tests that are linked here goes red.
fn removed_by(proofs: &str, removals: &[Removal]) -> String {
    let tests: Vec<&str> = links(proofs).into_iter().map(|(name, _)| name.trim_matches('`')).collect();
    let removes = |removal: &&Removal| removal.red.iter().any(|red| tests.contains(&red.as_str()));
    let patches: Vec<String> =
        removals.iter().filter(removes).map(|Removal { name, .. }| format!("[{name}](removed/{name}.patch)")).collect();
    if patches.is_empty() { NO_PATCH.to_owned() } else { patches.join(", ") }
}

/// The cells of a row: rule, kept by, proved by, removed by.
fn cells(row: &str) -> Vec<&str> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
    assert_eq!(cells.len(), 4, "{INVARIANTS}: a row has four cells: {row}");
    cells
}

/// A row with the patches that its tests have.
fn with_patches(row: &str, removals: &[Removal]) -> String {
    let cells = cells(row);
    format!("|{}| {} |", cells[..3].join("|"), removed_by(cells[2], removals))
}

/// The document with the right line numbers and patches.
fn mended(text: &str, removals: &[Removal]) -> String {
    let text = with_lines(text, &root().join("threat-model"));
    let (mut lines, mut is_table) = (Vec::new(), false);
    for line in text.lines() {
        is_table = line == HEAD || is_table && line.starts_with('|');
        let is_row = is_table && line != HEAD && line.starts_with("| ");
        lines.push(if is_row { with_patches(line, removals) } else { line.to_owned() });
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_rule_names_the_lines_of_its_tests_and_the_patches_that_remove_it() {
    assert_eq!(line_of("fn ab() {}\n\nfn b() {}\n", "fn b("), Some(3));
    let file = root().join(INVARIANTS);
    let text = fs::read_to_string(&file).unwrap();
    let mended = mended(&text, &removals());
    if std::env::var_os(MEND).is_some() {
        // By renaming, so that tests that read it at the same time find it whole.
        let new = file.with_extension("mended");
        fs::write(&new, mended).unwrap();
        fs::rename(new, file).unwrap();
        return;
    }
    let stale = text.lines().zip(mended.lines()).enumerate().filter(|(_, (is, want))| is != want);
    let rule = |want: &str| want.split('|').nth(1).unwrap_or(want).trim().to_owned();
    let found: Vec<String> =
        stale.map(|(index, (_, want))| format!("{INVARIANTS}:{}: {}", index + 1, rule(want))).collect();
    assert_none(
        &found,
        "line numbers or patches are out of date. Run COUNTERSIGN_MEND=1 cargo test -p countersign-tidy, and commit what it changes",
    );
}

#[test]
fn every_rule_has_its_code_and_its_test() {
    let text = fs::read_to_string(root().join(INVARIANTS)).unwrap();
    let rows =
        text.split(HEAD).skip(1).flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let is_bare = |row: &&str| cells(row)[1..3].iter().any(|cell| links(cell).is_empty());
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len() > 50, "{} rules: they were not found", rows.len());
    let bare = rows.into_iter().filter(is_bare).map(str::to_owned).collect::<Vec<_>>();
    assert_none(&bare, "a rule without code or without a test: write it as a limit in the prose");
}

#[test]
fn every_patch_that_keeps_a_promise_is_beside_a_rule_of_it() {
    let removals = removals();
    let text = mended(&fs::read_to_string(root().join(INVARIANTS)).unwrap(), &removals);
    let mut found = Vec::new();
    for Removal { name, keeps, red, .. } in &removals {
        for promise in keeps.iter().filter(|kept| kept.starts_with('P')) {
            let is_there = text
                .split("\n## ")
                .any(|chapter| chapter.starts_with(&format!("{promise} ")) && chapter.contains(&format!("[{name}](")));
            if !is_there {
                found.push(format!("{name}: no rule of {promise} is proved by {}", red.join(" or ")));
            }
        }
    }
    assert_none(&found, "patches that keep a promise and are not in its table in threat-model/invariants.md");
}
