//! Tests of the reader and of the digest.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::invocation::rejection::{ENTRIES_MAX, WORD_MAX};

/// As Go writes it: every member of every kind.
const GROMACS: &str = include_str!("../samples/gromacs.json");
const WORKFLOW: &str = include_str!("../samples/workflow.json");

/// SHA-256 of the canonical form, by Python: json.dumps(…, sort_keys=True, ensure_ascii=False,
/// separators=(",", ":")) without the three members.
const GROMACS_SHA256: &str = "f59cc392cedeb9e89b2de60d4631a1be7a035a51b0c6acc6e4b8e50fa8112b94";

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Result<Invocation, InvocationRejection> {
    Invocation::parse(text.as_bytes())
}

/// The sample with one change.
fn changed(find: &str, replace: &str) -> Result<Invocation, InvocationRejection> {
    assert!(GROMACS.contains(find), "{find:?}");
    parse(&GROMACS.replacen(find, replace, 1))
}

#[test]
fn the_digest_is_that_of_another_implementation() {
    assert_eq!(hex(parse(GROMACS).unwrap().digest()), GROMACS_SHA256);
}

#[test]
fn who_uploaded_it_and_when_does_not_change_the_digest() {
    let digest = parse(GROMACS).unwrap().digest();
    for (find, replace) in [
        ("\"owner\":\"_ucloud\"", "\"owner\":\"bob\""),
        ("\"createdAt\":1700000000000", "\"createdAt\":1"),
        ("\"modifiedAt\":1700000000000", "\"modifiedAt\":2"),
    ] {
        assert_eq!(changed(find, replace).unwrap().digest(), digest);
    }
}

#[test]
fn everything_else_changes_the_digest() {
    let digest = parse(GROMACS).unwrap().digest();
    for (find, replace) in [
        ("\"word\":\"mdrun\"", "\"word\":\"mdrun2\""),
        ("\"defaultValue\":\"Fast\"", "\"defaultValue\":\"Exact\""),
        ("\"value\":\"exact; rm -rf\"", "\"value\":\"exact\""),
        ("\"trueValue\":\"on\"", "\"trueValue\":\"ON\""),
        ("\"GROMACS/2024.1\"", "\"GROMACS/2024.2\""),
        ("\"version\":\"2024\"}]", "\"version\":\"2025\"}]"),
        ("\"word\":\"4\"", "\"word\":\"8\""),
        ("\"ntasks-per-node\"", "\"ntasks\""),
        ("\"max\":2", "\"max\":3"),
        ("\"outputFileGlobs\":[\"*\"]", "\"outputFileGlobs\":null"),
        ("\"title\":\"GROMACS\"", "\"title\":\"Gromacs\""),
    ] {
        assert_ne!(changed(find, replace).unwrap().digest(), digest, "{replace}");
    }
}

#[test]
fn the_order_of_members_does_not_change_the_digest() {
    let one = parse(GROMACS).unwrap();
    assert_eq!(parse(&one.indented()).unwrap().digest(), one.digest());
    assert_eq!(Invocation::parse(one.canonical()).unwrap().digest(), one.digest());
}

#[test]
fn members_that_are_not_known_are_refused_by_name() {
    for (find, replace, name) in [
        ("\"ucx\":null", "\"ucx\":null,\"script\":\"x\"", "script"),
        ("\"word\":\"gmx\"", "\"word\":\"gmx\",\"shell\":true", "shell"),
        ("\"backend\":\"NATIVE\"", "\"backend\":\"NATIVE\",\"prolog\":\"x\"", "prolog"),
        ("\"owner\":", "\"owners\":[],\"owner\":", "owners"),
        ("\"unitName\":\"\"", "\"unitName\":\"\",\"eval\":1", "eval"),
        ("{\"name\":\"Fast\"", "{\"run\":\"x\",\"name\":\"Fast\"", "run"),
        ("\"hours\":1", "\"hours\":1,\"days\":1", "days"),
        ("\"mode\":\"DISABLED\"", "\"mode\":\"DISABLED\",\"key\":\"x\"", "key"),
        ("\"runAsRoot\":false", "\"runAsRoot\":false,\"runAsAdmin\":true", "runAsAdmin"),
    ] {
        let refused = changed(find, replace).unwrap_err();
        assert!(refused.to_string().contains(&format!("`{name}`")), "{refused}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for (find, replace) in [
        ("\"word\":\"gmx\"", "\"word\":7"),
        ("\"type\":\"word\"", "\"type\":\"shell\""),
        ("\"type\":\"input_file\"", "\"type\":\"output_file\""),
        ("\"backend\":\"NATIVE\"", "\"backend\":\"ROOT\""),
        ("\"applicationType\":\"BATCH\"", "\"applicationType\":\"DAEMON\""),
        ("\"min\":0.5", "\"min\":\"0.5\""),
        ("\"invocation\":[", "\"invocation\":[7,"),
        ("\"invocation\":[", "\"invocation\":[[\"word\"],"),
        ("\"web\":null", "\"web\":[8080]"),
        ("\"OMP_NUM_THREADS\":{", "\"options\":[\"word\"],\"OMP_NUM_THREADS\":{"),
        ("\"options\":[", "\"options\":[[\"a\",\"b\"],"),
    ] {
        assert!(matches!(changed(find, replace), Err(InvocationRejection::Shape(_))), "{replace}");
    }
    for text in ["", "[]", "7", "\"x\"", "{} {}", "nul"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    // Two readers could resolve this differently.
    assert!(matches!(changed("\"ucx\":null", "\"ucx\":null,\"ucx\":null"), Err(InvocationRejection::Json(_))));
    assert_eq!(changed("\"max\":2", "\"max\":9007199254740993"), Err(InvocationRejection::Number));
}

#[test]
fn sizes_depths_and_counts_are_bounded() {
    assert_eq!(parse(&" ".repeat(INVOCATION_MAX + 1)), Err(InvocationRejection::TooLong));
    assert!(matches!(parse(&"[".repeat(64)), Err(InvocationRejection::Json(_))));
    let long = "x".repeat(WORD_MAX + 1);
    assert!(matches!(changed("\"word\":\"gmx\"", &format!("\"word\":\"{long}\"")), Err(InvocationRejection::Text(_))));
    let many = vec!["\"x\""; ENTRIES_MAX + 1].join(",");
    assert!(matches!(
        changed("\"outputFileGlobs\":[\"*\"]", &format!("\"outputFileGlobs\":[{many}]")),
        Err(InvocationRejection::TooMany(_))
    ));
    let depends = "[".repeat(20) + &"]".repeat(20);
    assert!(changed("\"ucx\":null", &format!("\"ucx\":{depends}")).is_err());
}

#[test]
fn names_are_names() {
    for (find, replace) in [
        ("\"GMX_NOTE\":", "\"GMX NOTE\":"),
        ("\"GMX_NOTE\":", "\"X=1;rm\":"),
        ("\"GMX_NOTE\":", "\"\":"),
        ("\"variable\":\"OMP_NUM_THREADS\"", "\"variable\":\"A}$(id)\""),
        ("\"name\":\"note\"", "\"name\":\"\""),
        ("\"name\":\"note\"", "\"name\":\"a\\nb\""),
    ] {
        assert!(matches!(changed(find, replace), Err(InvocationRejection::Name { .. })), "{replace}");
    }
    assert!(matches!(changed("\"name\":\"note\"", "\"name\":\"extra\""), Err(InvocationRejection::ParameterTwice(_))));
    assert!(matches!(changed("\"word\":\"gmx\"", "\"word\":\"g\\u0001x\""), Err(InvocationRejection::Text(_))));
    assert!(matches!(changed("\"word\":\"gmx\"", "\"word\":\"g\\nx\""), Err(InvocationRejection::Text(_))));
}

#[test]
fn a_workflow_application_runs_nothing_of_its_own() {
    assert!(parse(WORKFLOW).unwrap().is_workflow_only());
    assert!(!parse(GROMACS).unwrap().is_workflow_only());
    for (find, replace) in [
        ("\"template\":\"\"", "\"template\":\"id\""),
        ("\"environment\":{}", "\"environment\":{\"LD_PRELOAD\":{\"type\":\"word\",\"word\":\"x\"}}"),
        ("\"sbatch\":null", "\"sbatch\":{\"mem\":{\"type\":\"word\",\"word\":\"1\"}}"),
        ("\"requiredModules\":null", "\"requiredModules\":[\"x\"]"),
        ("\"applicationType\":\"BATCH\"", "\"applicationType\":\"WEB\""),
        ("\"backend\":\"NATIVE\"", "\"backend\":\"DOCKER\""),
        ("\"ucx\":null", "\"ucx\":{}"),
        ("\"inference\":null", "\"inference\":{\"mode\":\"x\"}"),
        ("\"type\":\"workflow\"", "\"type\":\"text\""),
    ] {
        assert!(WORKFLOW.contains(find), "{find}");
        assert!(!parse(&WORKFLOW.replacen(find, replace, 1)).unwrap().is_workflow_only(), "{replace}");
    }
}
