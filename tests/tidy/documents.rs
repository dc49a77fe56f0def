//! Checks documents: decisions have one form and one index, and every section, decision, checklist
//! line and document that is cited exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{CHECKLIST_LINES, assert_none, files, links, root};

/// The documents whose sections are cited, by the word that stands before "section" in a citation.
const CITED: [(&str, &str); 3] =
    [("protocol", "docs/protocol.md"), ("design", "docs/design.md"), ("docs/ucloud-wire.md`", "docs/ucloud-wire.md")];

/// Files whose text is looked at for citations.
const TEXT: [&str; 13] =
    ["rs", "js", "mjs", "md", "toml", "sh", "py", "html", "css", "service", "patch", "json", "conf"];

fn texts() -> Vec<(PathBuf, String)> {
    let is_text = |file: &PathBuf| file.extension().is_some_and(|extension| TEXT.iter().any(|text| extension == *text));
    let read = |file: PathBuf| fs::read_to_string(root().join(&file)).ok().map(|text| (file, text));
    files().into_iter().filter(is_text).filter_map(read).collect()
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

/// The numbers of a document's headings: "3" of `## 3. …`, "6.1" of `### 6.1 …`.
fn headings(document: &str) -> BTreeSet<String> {
    read(document)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| number_at(line.trim_start_matches(['#', ' '])))
        .filter(|number| !number.is_empty())
        .collect()
}

/// The number with which a text begins, "6.1" or "6", without a full stop behind it; empty if there
/// is none.
fn number_at(text: &str) -> String {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

/// The sections that a text cites: document and number. A list ("sections 9 and 10") counts for
/// each.
fn cited_sections(text: &str) -> Vec<(&'static str, String)> {
    // A citation may be broken over two lines, in a comment too.
    let text = text.replace("\n//! ", " ").replace("\n/// ", " ").replace('\n', " ");
    let mut cited = Vec::new();
    for (at, _) in text.match_indices("section") {
        let before = text[..at].trim_end_matches([' ', ',']);
        let Some(&(_, document)) = CITED.iter().find(|(word, _)| before.to_ascii_lowercase().ends_with(word)) else {
            continue;
        };
        let mut rest = text[at + "section".len()..].trim_start_matches('s').trim_start();
        loop {
            let number = number_at(rest);
            if number.is_empty() {
                break;
            }
            rest = rest[number.len()..].trim_start();
            cited.push((document, number));
            let Some(next) = ["and ", ", and ", ", ", "to "].iter().find_map(|join| rest.strip_prefix(join)) else {
                break;
            };
            rest = next;
        }
    }
    cited
}

#[test]
fn n17_every_section_that_is_cited_exists() {
    assert_eq!(
        cited_sections("(protocol, section 7); see the design,\n/// sections 9 and 10. RFC 9112, section 6.1"),
        [("docs/protocol.md", "7".into()), ("docs/design.md", "9".into()), ("docs/design.md", "10".into())]
    );
    let (mut found, mut cited) = (Vec::new(), 0);
    for (file, text) in texts() {
        for (document, section) in cited_sections(&text) {
            cited += 1;
            if !headings(document).contains(&section) {
                found.push(format!("{}: {document} has no section {section}", file.display()));
            }
        }
    }
    assert!(cited > 40, "{cited} citations: they were not found");
    assert_none(&found, "cited and not there");
}

#[test]
fn n17_citations_have_one_form() {
    // Written in halves, so that this file does not find itself.
    let forms = [
        concat!("protocol's ", "section"),
        concat!("design's ", "section"),
        concat!("protocol ", "section"),
        concat!("design ", "section"),
        concat!("`ucloud-wire.", "md`"),
    ];
    let mut found = Vec::new();
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            if forms.iter().any(|form| line.to_ascii_lowercase().contains(form)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "write \"protocol, section 7\", \"design, section 8\" or \"`docs/ucloud-wire.md`, section 4\"");
}

#[test]
fn n17_every_document_that_is_named_exists() {
    let all = files();
    let mut found = Vec::new();
    for (file, text) in texts() {
        // UCloud's own documents are named in docs/ucloud-wire.md.
        let named_here = file.extension().is_some_and(|extension| extension == "md" || extension == "rs");
        if !named_here || file == Path::new("docs/ucloud-wire.md") {
            continue;
        }
        for word in text.split(|letter: char| letter.is_whitespace() || "()[]`\"',;:<>*".contains(letter)) {
            let name = word.trim_end_matches('.');
            if !name.ends_with(".md") || name == ".md" || name.contains("://") {
                continue;
            }
            let there = all.iter().any(|other| other.ends_with(Path::new(name.trim_start_matches("../"))));
            if !there {
                found.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert_none(&found, "documents that are named and not in the repository");
}

#[test]
fn n17_every_checklist_line_that_is_cited_exists() {
    let checklist = read("docs/checklist.md");
    let missing = (1..=CHECKLIST_LINES).filter(|line| !checklist.contains(&format!("V{line:02} ")));
    assert_none(&missing.map(|line| format!("V{line:02}")).collect::<Vec<_>>(), "not in docs/checklist.md");
    let mut found = Vec::new();
    for (file, text) in texts() {
        if file.extension().is_none_or(|extension| extension != "md" && extension != "rs") {
            continue;
        }
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let Some(digits) = word.strip_prefix('V').filter(|digits| digits.len() == 2) else { continue };
            if digits.parse::<u32>().is_ok_and(|line| line == 0 || line > CHECKLIST_LINES) {
                found.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert_none(&found, "no line of the checklist");
}

/// The folder of the decisions, with their index (README.md) and the reasons for dependencies.
const DECISIONS: &str = "docs/decisions";

/// The headings of a decision, in order.
const PARTS: [&str; 4] = ["Status", "Context", "Decision", "Consequences"];

/// What a decision's status begins with.
const STATUS: [&str; 3] = ["Accepted", "Amended by [", "Superseded by ["];

/// The number in the name of a decision's file: 137 of `0137-clock-set-back.md`.
fn number_of(name: &str) -> Option<u32> {
    let (digits, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_number = digits.len() == 4 && digits.chars().all(|letter| letter.is_ascii_digit());
    let is_title = title.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    digits.parse().ok().filter(|_| is_number && is_title)
}

/// Number and file name of every decision.
fn decisions() -> Vec<(u32, String)> {
    let inside = |file: PathBuf| file.strip_prefix(DECISIONS).ok()?.to_str().map(str::to_owned);
    let names = files().into_iter().filter_map(inside).filter(|name| name != "README.md" && name != "dependencies.md");
    names.map(|name| (number_of(&name).unwrap_or_else(|| panic!("{name}: name it NNNN-short-title")), name)).collect()
}

#[test]
fn n15_decisions_have_one_form() {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (number, name) in decisions() {
        let text = read(&format!("{DECISIONS}/{name}"));
        let parts: Vec<(&str, &str)> =
            text.split("\n## ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, ""))).collect();
        if !seen.insert(number) {
            found.push(format!("{name}: another file has this number"));
        }
        if !text.starts_with(&format!("# {number}. ")) {
            found.push(format!("{name}: the first line is \"# {number}. Title\""));
        }
        if parts.iter().map(|(heading, _)| *heading).ne(PARTS) {
            found.push(format!("{name}: the headings are {PARTS:?}"));
        }
        let empty = parts.iter().filter(|(_, body)| body.trim().is_empty());
        found.extend(empty.map(|(heading, _)| format!("{name}: nothing under {heading}")));
        let status = parts.first().map_or("", |(_, status)| status.trim_start());
        if !STATUS.iter().any(|form| status.starts_with(form)) {
            found.push(format!("{name}: the status begins with one of {STATUS:?}"));
        }
    }
    assert!(seen.len() > 100, "the decisions were not found");
    assert_none(&found, "decisions");
}

/// A row of the decisions' index: number, file name and title.
type Row<'t> = (u32, &'t str, &'t str);

/// Reads `| [137](0137-clock-set-back.md) | Title |`.
fn row(line: &str) -> Option<Row<'_>> {
    let (number, rest) = line.strip_prefix("| [")?.split_once("](")?;
    let (name, title) = rest.strip_suffix(" |")?.split_once(") | ")?;
    Some((number.parse().ok()?, name, title))
}

/// The rows of the index, by subject.
fn index(text: &str) -> Vec<(&str, Vec<Row<'_>>)> {
    let subjects = text.split("\n## ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, "")));
    subjects.map(|(subject, body)| (subject, body.lines().filter_map(row).collect())).collect()
}

#[test]
fn n15_the_index_names_every_decision_once() {
    let text = fs::read_to_string(root().join(DECISIONS).join("README.md")).unwrap();
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (subject, rows) in index(&text) {
        if rows.is_empty() {
            found.push(format!("{subject}: no rows"));
        }
        let disordered = rows.windows(2).filter(|pair| pair[0].0 >= pair[1].0);
        found.extend(disordered.map(|pair| format!("{subject}: {} before {}", pair[0].0, pair[1].0)));
        for (number, name, title) in rows {
            let stands = fs::read_to_string(root().join(DECISIONS).join(name)).unwrap_or_default();
            if !stands.starts_with(&format!("# {number}. {title}\n")) {
                found.push(format!("{name}: not a file with the title \"# {number}. {title}\""));
            }
            if !seen.insert(name) {
                found.push(format!("{name}: more than one row"));
            }
        }
    }
    let all = decisions();
    let missing = all.iter().filter(|(_, name)| !seen.contains(name.as_str()));
    found.extend(missing.map(|(_, name)| format!("{name}: no row under a subject")));
    let rows = text.lines().filter(|line| line.starts_with("| [")).count();
    if rows != all.len() {
        found.push(format!("{rows} rows for {} decisions", all.len()));
    }
    assert_none(&found, "docs/decisions/README.md");
}

/// The numbers after "decision" in a text, as in "decision 137" and "decisions 74, 137 and 138".
fn cited_decisions(text: &str) -> Vec<u32> {
    let comments = ["//", "///", "//!", "#"];
    // The heading is no citation, even where a number is the first word below it.
    let lines = text.lines().filter(|line| *line != "## Decision");
    let mut words = lines.flat_map(str::split_whitespace).filter(|word| !comments.contains(word)).peekable();
    let mut cited = Vec::new();
    while let Some(word) = words.next() {
        let word = word.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
        if !["decision", "decisions"].contains(&word.to_ascii_lowercase().as_str()) {
            continue;
        }
        let continues = |word: &&str| *word == "and" || word.starts_with(|letter: char| letter.is_ascii_digit());
        while let Some(number) = words.next_if(continues) {
            cited.extend(number_at(number).parse::<u32>());
        }
    }
    cited
}

#[test]
fn n15_every_decision_that_is_cited_exists() {
    assert_eq!(
        cited_decisions("(decision 74);\n    // see Decisions 70,\n    // 71 and 2. A decision"),
        [74, 70, 71, 2]
    );
    let all = decisions();
    let (mut found, mut cited) = (Vec::new(), 0);
    for (file, text) in texts() {
        let mut missing = |number: u32, form: &str| {
            cited += 1;
            if !all.iter().any(|(known, name)| *known == number && (form.is_empty() || form == name)) {
                found.push(format!("{}: decision {number} {form}", file.display()));
            }
        };
        for number in cited_decisions(&text) {
            missing(number, "");
        }
        for name in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '.') {
            if let Some(number) = number_of(name) {
                missing(number, name);
            }
        }
        // "[137](…)" and "[decision 137](…)" link to 137.
        for (label, target) in links(&text) {
            let number = label.rsplit(char::is_whitespace).next().and_then(|number| number.parse().ok());
            let name = target.rsplit('/').next().unwrap_or_default();
            if let (Some(number), Some(_)) = (number, number_of(name)) {
                missing(number, name);
            }
        }
    }
    assert!(cited > 300, "{cited} citations: they were not found");
    assert_none(&found, "no such decision");
}
