//! Digests of generated parameters for every row of the table of calls. This crate's digest of a
//! provider's request must equal that of PyPI's `rfc8785` for the user's parameters, and that of
//! the browser's modules (tests/web/digests.test.mjs reads the same file).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::bind::{BindRejection, Items};
use countersign_keys::call::{BoundSpec, CallTable, Items as ItemsAt, Row};
use countersign_keys::identity::ProviderId;
use serde::Deserialize;
use serde_json::{Value, json};

/// Least number of cases for each row.
const CASES_EACH_MIN: usize = 10;

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<OfRow>,
    many: Many,
    fractions: Vec<Fraction>,
    refused: Vec<String>,
}

#[derive(Deserialize)]
struct OfRow {
    call: String,
    items: ItemsAt,
    bound: Vec<BoundSpec>,
    cases: Vec<Case>,
}

/// `params` is the object that the browser signs, `item` the one that Core makes of it. Both have
/// this canonical text.
#[derive(Deserialize)]
struct Case {
    item: Value,
    canonical: String,
    digest: String,
}

#[derive(Deserialize)]
struct Many {
    call: String,
    params: Vec<Value>,
    digests: Vec<String>,
}

/// The JSON text of one parameter: `conflictPolicy` of a new folder.
#[derive(Deserialize)]
struct Fraction {
    text: String,
    canonical: String,
    digest: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/digests.json")).unwrap()
}

fn table() -> CallTable {
    CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
}

fn body(row: &Row, items: &[Value]) -> String {
    match row.items() {
        ItemsAt::Bulk => json!({"items": items}).to_string(),
        ItemsAt::Whole => items[0].to_string(),
    }
}

#[test]
fn every_row_has_its_vectors() {
    let vectors = vectors();
    let by_call: HashMap<&str, &OfRow> = vectors.rows.iter().map(|row| (row.call.as_str(), row)).collect();
    assert_eq!(table().specs().count(), by_call.len());
    for spec in table().specs() {
        let of_row = by_call.get(spec.call.as_str());
        let of_row = of_row.unwrap_or_else(|| panic!("{}: make the vectors anew (vectors/README.md)", spec.call));
        assert!(
            of_row.items == spec.items && of_row.bound == spec.bound,
            "{}: the row has changed: make the vectors anew (vectors/README.md)",
            spec.call
        );
        assert!(of_row.cases.len() >= CASES_EACH_MIN, "{}", spec.call);
    }
}

#[test]
fn every_rows_digests_are_those_of_the_vectors() {
    let (table, vectors) = (table(), vectors());
    let mut cases = 0;
    for of_row in &vectors.rows {
        let row = table.row(&of_row.call);
        let row =
            row.unwrap_or_else(|| panic!("{}: no such row: make the vectors anew (vectors/README.md)", of_row.call));
        for Case { item, canonical, digest } in &of_row.cases {
            let body = body(row, std::slice::from_ref(item));
            let items =
                Items::read(row, body.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}: {body}", of_row.call));
            let ours = String::from_utf8(items.projections()[0].canonical()).unwrap();
            assert_eq!(ours, *canonical, "{}: {body}", of_row.call);
            assert_eq!(URL_SAFE_NO_PAD.encode(items.digests()[0]), *digest, "{}: {body}", of_row.call);
            cases += 1;
        }
    }
    assert!(cases >= table.rows().len() * CASES_EACH_MIN, "{cases} cases");
}

#[test]
fn many_items_have_each_its_own_digest() {
    let (table, Many { call, params, digests }) = (table(), vectors().many);
    let row = table.row(&call).unwrap();
    let body = body(row, &params);
    let items = Items::read(row, body.as_bytes()).unwrap();
    let ours: Vec<String> = items.digests().iter().map(|digest| URL_SAFE_NO_PAD.encode(digest)).collect();
    assert!(ours.len() >= 300);
    assert_eq!(ours, digests);
}

#[test]
fn c06_fractions_have_the_digests_of_the_vectors() {
    let table = table();
    let row = table.row("files.createFolder").unwrap();
    let fractions = vectors().fractions;
    assert!(fractions.len() > 15);
    for Fraction { text, canonical, digest } in fractions {
        let body = format!(r#"{{"items":[{{"conflictPolicy":{text}}}]}}"#);
        let items = Items::read(row, body.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(String::from_utf8(items.projections()[0].canonical()).unwrap(), canonical, "{text}");
        assert_eq!(URL_SAFE_NO_PAD.encode(items.digests()[0]), digest, "{text}");
    }
}

#[test]
fn what_two_ends_could_read_differently_is_refused() {
    let table = table();
    let row = table.row("files.createFolder").unwrap();
    for text in vectors().refused {
        for item in [format!(r#"{{"id":{text}}}"#), format!(r#"{{"id":"x","conflictPolicy":{{"deep":[{text}]}}}}"#)] {
            let body = format!(r#"{{"items":[{item}]}}"#);
            let refused = Items::read(row, body.as_bytes());
            assert!(
                matches!(refused, Err(BindRejection::Value(_) | BindRejection::Json(_))),
                "{body} was taken: {refused:?}"
            );
        }
    }
}
