//! Tests with selections of the most items that one intent covers, serialised as Core does.

use countersign_portal::Deed;
use serde_json::{Value, json};

use super::*;
use countersign_config::BODY_DEFAULT;

/// Recorded from the real Core, with a whole drive in each item.
const REAL: &str = include_str!("../../../keys/tests/vectors/real.json");

/// Most items that one intent covers (protocol, section 4).
const ITEMS: usize = 1_000;

fn real_item(call: &str) -> Value {
    let real: Value = serde_json::from_str(REAL).unwrap();
    let fixture = real["fixtures"].as_array().unwrap().iter().find(|fixture| fixture["call"] == call).unwrap();
    fixture["sent"][0]["body"]["items"][0].clone()
}

async fn ask(test: &TestGateway, deed: &Deed, items: Vec<Value>) -> (u16, usize) {
    let core = test.dropping_core();
    assert_eq!(core.deposit(&test.sign(deed)).await.unwrap().status, 202);
    let request = core.request("alice", deed, None).unwrap().with_body(&json!({ "items": items }));
    let length = request.body.as_ref().unwrap().len();
    (core.send(&request).await.unwrap().status, length)
}

async fn by_default() -> TestGateway {
    TestGateway::changed(|gateway| gateway.body_max = usize::try_from(BODY_DEFAULT).unwrap()).await
}

#[tokio::test]
async fn c17_a_move_of_as_many_files_as_an_intent_covers_passes_by_default() {
    let test = by_default().await;
    let pairs: Vec<(String, String)> = (0..ITEMS)
        .map(|number| (format!("/1/in/sample-{number:04}.csv"), format!("/1/out/sample-{number:04}.csv")))
        .collect();
    let mut item = real_item("files.move");
    let items = pairs.iter().map(|(from, to)| {
        (item["oldId"], item["newId"], item["conflictPolicy"]) = (json!(from), json!(to), json!("RENAME"));
        item.clone()
    });
    let items = items.collect();
    let (status, length) = ask(&test, &Deed::Move(pairs), items).await;
    assert_eq!(status, 200);
    assert!(length > 4_000_000, "{length} bytes are as many as Core sends");
}

#[tokio::test]
async fn c17_as_many_folders_as_an_intent_covers_are_made_by_default() {
    let test = by_default().await;
    let paths: Vec<String> = (0..ITEMS).map(|number| format!("/1/folder-{number:04}")).collect();
    let mut item = real_item("files.createFolder");
    let items = paths.iter().map(|path| {
        (item["id"], item["conflictPolicy"]) = (json!(path), json!("RENAME"));
        item.clone()
    });
    let items = items.collect();
    let (status, length) = ask(&test, &Deed::CreateFolder(paths), items).await;
    assert_eq!(status, 200);
    assert!(length > 2_000_000, "{length} bytes are as many as Core sends");
}
