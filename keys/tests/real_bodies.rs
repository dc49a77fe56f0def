//! The table of calls against the real Core. For every call: the user's request to UCloud, the
//! request that the Go Core sent to the provider, and the digest of both.
//! `tests/web/real_bodies.test.mjs` reads the user's side of the same file.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::bind::{Items, ShownProject};
use countersign_keys::call::{CallTable, Lane, Method, Route, Sender, Transport};
use countersign_keys::identity::ProviderId;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Vectors {
    fixtures: Vec<Fixture>,
    /// Calls that no Core sends. UCloud's own client for providers made their requests.
    unsent: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Fixture {
    call: String,
    asked: Asked,
    digests: Vec<String>,
    sent: Vec<Sent>,
}

/// The user's request to UCloud.
#[derive(Deserialize)]
struct Asked {
    method: String,
    body: Value,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    body: Box<RawValue>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/real.json")).unwrap()
}

fn table() -> CallTable {
    CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
}

/// Whether Core's token is sufficient for a request. It is then not signed and has no row.
fn is_service(table: &CallTable, Sent { method, path, .. }: &Sent) -> bool {
    matches!(table.route(Method::parse(method).unwrap(), path), Some(Route::Private(Lane::Service(_))))
}

#[test]
fn c06_every_row_of_core_has_a_real_body() {
    let (table, Vectors { fixtures, unsent }) = (table(), vectors());
    let signed = fixtures.into_iter().filter(|fixture| !fixture.sent.iter().any(|sent| is_service(&table, sent)));
    let seen: BTreeSet<String> = signed.map(|fixture| fixture.call).collect();
    let rows: BTreeSet<String> =
        table.rows().iter().filter(|row| row.sender() == Sender::Core).map(|row| row.call().to_string()).collect();
    assert_eq!(seen, rows);
    assert!(unsent.is_subset(&rows), "{unsent:?}");
    // Named in the documents, so that no reader takes the row for one that Core uses.
    let documents = include_str!("../../docs/protocol.md");
    for call in &unsent {
        assert!(documents.contains(&format!("`{call}`")), "{call} is not among the calls that no Core sends");
    }
}

#[test]
fn c06_what_the_real_core_sends_has_the_digests_of_what_the_user_says() {
    let table = table();
    let mut compared = 0;
    for Fixture { call, digests, sent, .. } in vectors().fixtures {
        if sent.iter().all(|sent| is_service(&table, sent)) {
            continue;
        }
        let row = table.row(&call).unwrap_or_else(|| panic!("{call}: no such row"));
        let mut found = Vec::new();
        for Sent { method, path, body } in &sent {
            if row.transport() == Transport::Http {
                let route = table.route(Method::parse(method).unwrap(), path);
                let is_its_own =
                    matches!(route, Some(Route::Private(Lane::User(routed))) if routed.row().call() == row.call());
                assert!(is_its_own, "{call}: {path} is another's");
            }
            let body = if body.get() == "null" { "" } else { body.get() };
            let items = Items::read(row, body.as_bytes()).unwrap_or_else(|error| panic!("{call}: {error}: {body}"));
            assert!(matches!(items.project(), ShownProject::Nothing | ShownProject::NoProject), "{call}");
            found.extend(items.digests().iter().map(|digest| URL_SAFE_NO_PAD.encode(digest)));
        }
        assert_eq!(found, digests, "{call}");
        compared += 1;
    }
    assert!(compared > 50, "{compared} requests");
}

/// Core's GET calls have their parameters in the query, and answer 404 to POST.
#[test]
fn c20_what_ucloud_serves_with_get_is_asked_with_get() {
    for call in ["files.browse", "files.retrieve", "iapps.syncthing.retrieve", "tokens.retrieveOptions"] {
        let fixtures = vectors().fixtures;
        let asked = &fixtures.iter().find(|fixture| fixture.call == call).unwrap().asked;
        assert_eq!((asked.method.as_str(), &asked.body), ("GET", &Value::Null), "{call}");
    }
}

/// Any other value of a bound parameter has another digest, so the fixtures do bind what they show.
#[test]
fn c06_a_changed_bound_value_in_a_real_body_is_not_what_was_signed() {
    let table = table();
    for Fixture { call, digests, sent, .. } in vectors().fixtures {
        let Some(row) = table.row(&call) else { continue };
        for Sent { body, .. } in &sent {
            let mut whole: Value = serde_json::from_str(body.get()).unwrap();
            for bound in row.bound() {
                let item = if whole.get("items").is_some() { &mut whole["items"][0] } else { &mut whole };
                let place = row.spec().bound.iter().find(|spec| spec.name == bound.name).unwrap();
                let Some(at) = place.at.iter().find(|at| !at.contains('*') && item.pointer(at).is_some()) else {
                    continue;
                };
                let before = std::mem::replace(item.pointer_mut(at).unwrap(), Value::from("another"));
                let text = whole.to_string();
                let read = Items::read(row, text.as_bytes()).unwrap();
                let other = URL_SAFE_NO_PAD.encode(read.digests()[0]);
                assert!(!digests.contains(&other), "{call}: {} is not bound", bound.name);
                let item = if whole.get("items").is_some() { &mut whole["items"][0] } else { &mut whole };
                *item.pointer_mut(at).unwrap() = before;
            }
        }
    }
}
