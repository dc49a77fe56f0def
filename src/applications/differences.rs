//! Differences between two applications, in words.
//!
//! Compares the canonical texts member by member, so that no difference is missed; the words only
//! name the place. Templates are compared line by line.

use std::collections::BTreeMap;

use countersign_keys::json::Json;

use crate::invocation::Invocation;

/// Most differences that are listed.
const LISTED_MAX: usize = 1_000;

/// Longest template that is compared line by line, in lines: the comparison takes the product.
const LINES_MAX: usize = 2_000;

/// Longest value that is listed whole, in characters.
const VALUE_MAX: usize = 500;

/// A difference: a line, or several for a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The place, such as "environment variable OMP_NUM_THREADS".
    pub subject: String,
    /// The change. Strings are as JSON writes them.
    pub lines: Vec<String>,
}

/// From one application to another. Empty only if their digests are equal.
pub fn differences(old: &Invocation, new: &Invocation) -> Vec<Difference> {
    let (old, new) = (leaves(old), leaves(new));
    let mut found = Vec::new();
    let places = old.keys().chain(new.keys().filter(|place| !old.contains_key(*place)));
    let mut places: Vec<_> = places.collect();
    places.sort();
    for place in places {
        let (before, after) = (old.get(place), new.get(place));
        if before == after {
            continue;
        }
        if found.len() >= LISTED_MAX {
            found.push(Difference { subject: "more".to_owned(), lines: vec!["there are more differences".to_owned()] });
            break;
        }
        found.push(Difference { subject: subject(place), lines: lines(before, after) });
    }
    found
}

/// Everything that an application has, in words: its differences from nothing.
pub fn contents(application: &Invocation) -> Vec<Difference> {
    let described = |(place, leaf): (Vec<String>, Leaf)| {
        let lines = match &leaf {
            Leaf::Text(text) if text.contains('\n') => text.lines().map(|line| format!("  {line}")).collect(),
            Leaf::Text(_) | Leaf::Other(_) => vec![leaf.shown()],
        };
        Difference { subject: subject(&place), lines }
    };
    leaves(application).into_iter().filter(|(_, leaf)| !leaf.is_nothing()).map(described).collect()
}

/// A value without members.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Leaf {
    Text(String),
    /// As JSON writes it.
    Other(String),
}

impl Leaf {
    fn shown(&self) -> String {
        let written = match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Other(written) => written.clone(),
        };
        if written.chars().count() <= VALUE_MAX {
            return written;
        }
        format!("{}… ({} characters)", written.chars().take(VALUE_MAX).collect::<String>(), written.chars().count())
    }

    /// Whether Go writes it for an absent member.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Other(written) => matches!(written.as_str(), "null" | "false" | "0" | "[]" | "{}"),
        }
    }
}

fn leaves(application: &Invocation) -> BTreeMap<Vec<String>, Leaf> {
    let mut leaves = BTreeMap::new();
    let json = Json::parse(application.canonical(), u8::MAX).unwrap_or(Json::Null);
    collect(&json, &mut Vec::new(), &mut leaves);
    leaves
}

fn collect(value: &Json<'_>, place: &mut Vec<String>, leaves: &mut BTreeMap<Vec<String>, Leaf>) {
    let children: Vec<(String, &Json<'_>)> = match value {
        Json::Object(members) => members.iter().map(|(name, value)| (name.to_string(), value)).collect(),
        Json::Array(elements) => named_elements(elements),
        Json::String(text) => {
            leaves.insert(place.clone(), Leaf::Text(text.to_string()));
            return;
        }
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) => Vec::new(),
    };
    if children.is_empty() {
        let written = String::from_utf8_lossy(&countersign_keys::canonical::canonical(value)).into_owned();
        leaves.insert(place.clone(), Leaf::Other(written));
        return;
    }
    for (name, child) in children {
        place.push(name);
        collect(child, place, leaves);
        place.pop();
    }
}

/// Elements by their names if each has one of its own, as parameters and options have; otherwise by
/// their number. Their order counts too.
fn named_elements<'j, 'a>(elements: &'j [Json<'a>]) -> Vec<(String, &'j Json<'a>)> {
    let name_of = |element: &Json<'_>| element.member("name").and_then(Json::as_str).map(str::to_owned);
    let names: Option<Vec<String>> = elements.iter().map(name_of).collect();
    let mut sorted = names.clone().unwrap_or_default();
    sorted.sort();
    sorted.dedup();
    match names {
        Some(names) if sorted.len() == elements.len() => {
            let numbered =
                names.into_iter().enumerate().map(|(at, name)| format!("{:03} {name}", at.saturating_add(1)));
            numbered.zip(elements).collect()
        }
        _ => {
            elements.iter().enumerate().map(|(at, element)| (format!("{:03}", at.saturating_add(1)), element)).collect()
        }
    }
}

/// The words for a place.
fn subject(place: &[String]) -> String {
    let plain = |part: &str| part.trim_start_matches('0').to_owned();
    let parts: Vec<&str> = place.iter().map(String::as_str).collect();
    let (kind, rest) = match parts.as_slice() {
        ["invocation", number, rest @ ..] => (format!("program, entry {}", plain(number)), rest),
        ["environment", name, rest @ ..] => (format!("environment variable {name}"), rest),
        ["sbatch", name, rest @ ..] => (format!("directive {name}"), rest),
        ["parameters", name, rest @ ..] => (format!("parameter {}", plain(name)), rest),
        ["tool", "tool", "description", "requiredModules", rest @ ..] => ("modules".to_owned(), rest),
        ["tool", "tool", "description", "loadInstructions", rest @ ..] => ("load instructions".to_owned(), rest),
        ["tool", "tool", "description", "backend"] => ("backend".to_owned(), &[][..]),
        ["tool", "tool", "description", rest @ ..] => ("description of the tool".to_owned(), rest),
        rest => ("application".to_owned(), rest),
    };
    let rest: Vec<String> = rest.iter().map(|part| plain(part)).collect();
    if rest.is_empty() { kind } else { format!("{kind}: {}", rest.join(" ")) }
}

fn lines(before: Option<&Leaf>, after: Option<&Leaf>) -> Vec<String> {
    match (before, after) {
        (Some(Leaf::Text(old)), Some(Leaf::Text(new))) if old.contains('\n') || new.contains('\n') => {
            template_lines(old, new)
        }
        (Some(old), Some(new)) => vec![format!("{} becomes {}", old.shown(), new.shown())],
        (Some(old), None) => vec![format!("{} is removed", old.shown())],
        (None, Some(new)) => vec![format!("{} is added", new.shown())],
        (None, None) => Vec::new(),
    }
}

/// Removed lines with `-`, added ones with `+`, without those that are equal.
fn template_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return vec![format!("{} lines become {} others", old.len(), new.len())];
    }
    // Lengths of the longest common subsequences of the rests.
    let width = new.len().saturating_add(1);
    let mut common = vec![0_u16; width.saturating_mul(old.len().saturating_add(1))];
    let at = |one: usize, other: usize| one.saturating_mul(width).saturating_add(other);
    let get = |common: &[u16], one, other| common.get(at(one, other)).copied().unwrap_or(0);
    for (one, old_line) in old.iter().enumerate().rev() {
        for (other, new_line) in new.iter().enumerate().rev() {
            let best = if old_line == new_line {
                get(&common, one.saturating_add(1), other.saturating_add(1)).saturating_add(1)
            } else {
                get(&common, one.saturating_add(1), other).max(get(&common, one, other.saturating_add(1)))
            };
            if let Some(place) = common.get_mut(at(one, other)) {
                *place = best;
            }
        }
    }
    let (mut one, mut other, mut lines) = (0_usize, 0_usize, Vec::new());
    loop {
        match (old.get(one), new.get(other)) {
            (None, None) => return lines,
            (Some(old_line), Some(new_line)) if old_line == new_line => {
                one = one.saturating_add(1);
                other = other.saturating_add(1);
            }
            (Some(old_line), new_line)
                if new_line.is_none()
                    || get(&common, one.saturating_add(1), other) >= get(&common, one, other.saturating_add(1)) =>
            {
                lines.push(format!("- {old_line}"));
                one = one.saturating_add(1);
            }
            (_, Some(new_line)) => {
                lines.push(format!("+ {new_line}"));
                other = other.saturating_add(1);
            }
            (Some(_), None) => one = one.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GROMACS: &str = include_str!("samples/gromacs.json");
    const TEMPLATE: &str = include_str!("samples/template.json");

    fn changes(text: &str, find: &str, replace: &str) -> Vec<String> {
        assert!(text.contains(find), "{find:?}");
        let old = Invocation::parse(text.as_bytes()).unwrap();
        let new = Invocation::parse(text.replacen(find, replace, 1).as_bytes()).unwrap();
        let said = |difference: Difference| format!("{}: {}", difference.subject, difference.lines.join("; "));
        differences(&old, &new).into_iter().map(said).collect()
    }

    fn check(find: &str, replace: &str, want: &str) {
        assert_eq!(changes(GROMACS, find, replace), [want]);
    }

    #[test]
    fn each_change_is_said_in_words() {
        check("\"word\":\"mdrun\"", "\"word\":\"id\"", "program, entry 2: word: \"mdrun\" becomes \"id\"");
        check("\"word\":\"4\"", "\"word\":\"8\"", "environment variable OMP_NUM_THREADS: word: \"4\" becomes \"8\"");
        check("\"word\":\"2\"", "\"word\":\"1\"", "directive ntasks-per-node: word: \"2\" becomes \"1\"");
        check(
            "\"defaultValue\":\"Fast\"",
            "\"defaultValue\":\"Exact\"",
            "parameter 4 mode: defaultValue: \"Fast\" becomes \"Exact\"",
        );
        check(
            "\"value\":\"fast\"",
            "\"value\":\"slow\"",
            "parameter 4 mode: options 1 Fast value: \"fast\" becomes \"slow\"",
        );
        check("GROMACS/2024.1", "GROMACS/2024.2", "modules: 1: \"GROMACS/2024.1\" becomes \"GROMACS/2024.2\"");
        check(
            "\"version\":\"2024\"}]",
            "\"version\":\"2025\"}]",
            "load instructions: applications 1 GROMACS version: \"2024\" becomes \"2025\"",
        );
        check("\"NATIVE\"", "\"DOCKER\"", "backend: \"NATIVE\" becomes \"DOCKER\"");
        check("\"title\":\"GROMACS\"", "\"title\":\"G\"", "description of the tool: title: \"GROMACS\" becomes \"G\"");
        assert_eq!(
            changes(GROMACS, "\"vnc\":null", "\"vnc\":{\"password\":\"x\"}"),
            ["application: vnc: null is removed", "application: vnc password: \"x\" is added"]
        );
    }

    #[test]
    fn templates_are_compared_line_by_line() {
        let changes = changes(TEMPLATE, "cd {{ folder }}\\n", "cd {{ folder }}/x\\nid\\n");
        assert_eq!(changes, ["program, entry 1: template: - cd {{ folder }}; + cd {{ folder }}/x; + id"]);
    }

    #[test]
    fn equal_applications_do_not_differ() {
        let one = Invocation::parse(GROMACS.as_bytes()).unwrap();
        assert_eq!(differences(&one, &one), []);
        let uploaded = GROMACS.replacen("\"owner\":\"_ucloud\"", "\"owner\":\"bob\"", 1);
        assert_eq!(differences(&one, &Invocation::parse(uploaded.as_bytes()).unwrap()), []);
    }

    #[test]
    fn contents_name_all_that_decides() {
        let said: Vec<String> = contents(&Invocation::parse(GROMACS.as_bytes()).unwrap())
            .into_iter()
            .map(|one| format!("{}: {}", one.subject, one.lines.join("; ")))
            .collect();
        for want in [
            "program, entry 1: word: \"gmx\"",
            "environment variable OMP_NUM_THREADS: word: \"4\"",
            "parameter 4 mode: options 2 Exact value: \"exact; rm -rf\"",
            "modules: 1: \"GROMACS/2024.1\"",
            "directive ntasks-per-node: word: \"2\"",
        ] {
            assert!(said.iter().any(|line| line == want), "{want:?} in {said:#?}");
        }
    }
}
