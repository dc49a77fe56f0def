//! Documents: decisions keep their numbers, and whatever cites a section, decision, checklist line
//! or document cites one that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{CHECKLIST_LINES, assert_none, files, root};

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

/// The numbers of `### 98. …`, in the order in which they stand, by section.
fn decisions() -> Vec<(String, Vec<u32>)> {
    let mut sections: Vec<(String, Vec<u32>)> = Vec::new();
    for line in read("threat-model/decisions.md").lines() {
        if let Some(section) = line.strip_prefix("## ") {
            sections.push((section.to_owned(), Vec::new()));
        } else if let (Some(decision), Some((_, numbers))) = (line.strip_prefix("### "), sections.last_mut()) {
            numbers.push(number_at(decision).parse().expect("### NUMBER. Title"));
        }
    }
    sections
}

#[test]
fn n15_decisions_are_numbered_once_and_in_order() {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (section, numbers) in decisions() {
        found.extend(numbers.iter().filter(|number| !seen.insert(**number)).map(|number| format!("{number} twice")));
        found.extend(
            numbers.windows(2).filter(|pair| pair[0] >= pair[1]).map(|pair| format!("{section}: {pair:?} in order")),
        );
    }
    assert!(seen.len() > 100, "the decisions were not found");
    let text = read("threat-model/decisions.md");
    let listed = text.lines().filter(|line| {
        let number = number_at(line);
        !number.is_empty() && line[number.len()..].starts_with(". **")
    });
    found.extend(listed.map(|line| format!("write it as \"### NUMBER. Title\": {line}")));
    assert_none(&found, "threat-model/decisions.md");
}

#[test]
fn n15_every_decision_that_is_cited_exists() {
    let known: BTreeSet<u32> = decisions().into_iter().flat_map(|(_, numbers)| numbers).collect();
    let (mut found, mut cited) = (Vec::new(), 0);
    for (file, text) in texts() {
        for (at, link) in text.match_indices("decisions.md)") {
            // "([decisions](decisions.md), 80, 83)" or "[decisions](decisions.md) (22)"
            let rest = &text[at + link.len()..];
            let end = rest.find(|letter: char| !letter.is_ascii_digit() && !", (\n".contains(letter));
            for number in rest[..end.unwrap_or(rest.len())].split([',', ' ', '(', '\n']).filter(|word| !word.is_empty())
            {
                cited += 1;
                if !number.parse().is_ok_and(|number| known.contains(&number)) {
                    found.push(format!("{}: decision {number}", file.display()));
                }
            }
        }
    }
    assert!(cited > 5, "{cited} citations: they were not found");
    assert_none(&found, "no such decision");
}
