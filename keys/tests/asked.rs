//! Rules that raise an item to danger, with the cases of `vectors/asked.json`. The signer's modules
//! are tested with the same file (tests/web/asked.test.mjs). The cases were written from the
//! protocol's text.

use crate::support::judging::{AUDIENCE, NOW, Site, USER};
use countersign_keys::bind::Items;
use countersign_keys::call::{
    CallTable, Class, Condition, Items as ItemsAt, Row, RowSpec, is_hidden, is_startup, needs_asking,
};
use countersign_keys::identity::ProviderId;
use countersign_keys::intent::{Consent, Version1};
use countersign_keys::json::{DEPTH_MAX, Json};
use countersign_keys::keyring::Algorithm;
use countersign_keys::policy::{PolicyRejection, StepUpNeed};
use countersign_keys::verify::{Class as Told, Rejection};
use countersign_portal::core::Deed;
use countersign_portal::signer::{Intent, Projection, intent_version_1};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Vectors {
    rows: Vec<Value>,
    conditions: Vec<OfCondition>,
    items: Vec<OfItem>,
}

#[derive(Deserialize)]
struct OfCondition {
    when: Condition,
    value: Value,
    holds: bool,
}

#[derive(Deserialize)]
struct OfItem {
    call: String,
    params: Map<String, Value>,
    danger: bool,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/asked.json")).unwrap()
}

fn table() -> CallTable {
    CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
}

/// The item that Core makes of the user's parameters: each at its place in the row.
fn item(row: &Row, params: &Map<String, Value>) -> Value {
    let mut item = json!({});
    for bound in &row.spec().bound {
        let Some(value) = params.get(&bound.name) else { continue };
        let mut at = &mut item;
        for step in bound.at[0].split('/').skip(1) {
            at = at.as_object_mut().unwrap().entry(step).or_insert_with(|| json!({}));
        }
        *at = value.clone();
    }
    item
}

fn body(row: &Row, items: &[Value]) -> Vec<u8> {
    match row.items() {
        ItemsAt::Bulk => json!({ "items": items }).to_string().into_bytes(),
        ItemsAt::Whole => items[0].to_string().into_bytes(),
    }
}

#[test]
fn v66_the_rules_of_the_table_are_those_that_the_signer_is_tested_with() {
    let table = table();
    for row in vectors().rows {
        let of_table = serde_json::to_value(table.row(row["call"].as_str().unwrap()).unwrap().spec()).unwrap();
        let without_places = |bound: &Value| {
            let each = bound.as_array().unwrap().iter();
            each.map(|bound| json!({"name": bound["name"], "kind": bound["kind"]})).collect::<Value>()
        };
        let rules = of_table.get("ask_if").cloned().unwrap_or(json!([]));
        assert_eq!((&row["class"], &row["items"]), (&of_table["class"], &of_table["items"]), "{row}");
        assert_eq!((&row["bound"], &row["ask_if"]), (&without_places(&of_table["bound"]), &rules), "{row}");
    }
}

#[test]
fn v66_every_call_that_can_be_changed_back_and_names_a_path_has_the_rules() {
    let paths = ["id", "oldId", "newId", "path", "folder", "sourcePath", "destinationPath"];
    let harmless = ["tasks.pauseOrCancel", "jobs.suspend", "tokens.revoke", "files.collections.rename"];
    let table = table();
    let can_write = table.specs().filter(|spec| spec.class_in_words() == "write" && spec.to.is_none());
    for spec in can_write.filter(|spec| spec.bound.iter().any(|bound| paths.contains(&bound.name.as_str()))) {
        // Ids of tasks, jobs, drives and labels, none of which is a path.
        let is_known = harmless.contains(&spec.call.as_str()) || spec.call.as_str().ends_with(".updateLabels");
        assert!(is_known, "{} writes somewhere, and no rule looks where", spec.call);
    }
}

#[test]
fn v66_s02_a_condition_holds_for_every_spelling_of_such_a_place() {
    for OfCondition { when, value, holds } in vectors().conditions {
        let text = value.to_string();
        assert_eq!(when.holds(&Json::parse(text.as_bytes(), DEPTH_MAX).unwrap()), holds, "{when:?} {text}");
        let Some(path) = value.as_str() else { continue };
        match when {
            Condition::Hidden => assert_eq!(is_hidden(path), holds, "{text}"),
            Condition::Startup => assert_eq!(is_startup(path), holds, "{text}"),
            Condition::Replaces => continue,
        }
        assert!(needs_asking(path) || !holds, "{text}");
    }
}

#[test]
fn v66_s02_the_class_is_the_items() {
    let table = table();
    for OfItem { call, params, danger } in vectors().items {
        let row = table.row(&call).unwrap();
        let body = body(row, &[item(row, &params)]);
        let items = Items::read(row, &body).unwrap();
        assert_eq!(items.class() == Class::Danger, danger, "{call} {params:?}");
        assert_eq!(items.class_of(0), items.class());
        assert_eq!(items.class_of(1), Class::Danger, "of what is not there the worst is assumed");
    }
}

#[test]
fn v66_s02_one_dangerous_item_among_a_thousand_makes_the_request_dangerous() {
    let table = table();
    let row = table.row("files.createFolder").unwrap();
    let mut folders: Vec<Value> = (0..1000).map(|number| json!({ "id": format!("/home/{number}") })).collect();
    let harmless = body(row, &folders);
    assert_eq!(Items::read(row, &harmless).unwrap().class(), Class::Write);
    folders[617] = json!({ "id": "/home/.ssh" });
    let body = body(row, &folders);
    let items = Items::read(row, &body).unwrap();
    assert!(items.is_raised());
    let dangerous: Vec<usize> = (0..1000).filter(|item| items.class_of(*item) == Class::Danger).collect();
    assert_eq!(dangerous, [617]);
}

/// The body of a call, and the intent that a signer signs without asking.
fn unasked(site: &Site, call: &str, params: Value) -> (Vec<u8>, String) {
    let row = site.calls.row(call).unwrap();
    let params = params.as_object().unwrap().clone();
    let bound = row.spec().bound.iter();
    let projection = Projection(
        bound.map(|bound| (bound.name.clone(), params.get(&bound.name).cloned().unwrap_or(Value::Null))).collect(),
    );
    let mut intent = Intent::new(AUDIENCE, USER, call, &[projection], NOW).unwrap();
    intent.asked = false;
    (body(row, &[item(row, &params)]), intent.sign(&site.key).unwrap())
}

fn judge(site: &Site, call: &str, (body, intent): &(Vec<u8>, String)) -> Result<(), Rejection> {
    site.judge_raw(call, body, Some(intent), &site.token(), USER)
}

#[test]
fn v66_s02_an_intent_that_nobody_was_asked_for_serves_no_dangerous_item() {
    let site = Site::new(Algorithm::Es256);
    for OfItem { call, params, danger } in vectors().items {
        if params.values().any(|value| value == "") {
            continue; // signed as it is pruned: tests/digests.rs
        }
        let told = judge(&site, &call, &unasked(&site, &call, Value::Object(params.clone())));
        let want = if danger { Err(Rejection::Policy(PolicyRejection::NotAsked)) } else { Ok(()) };
        assert_eq!(told, want, "{call} {params:?}");
    }
}

#[test]
fn v66_s02_a_call_that_is_always_dangerous_takes_a_persons_word_too() {
    let site = Site::new(Algorithm::Es256);
    let mut intent = Intent::of(AUDIENCE, USER, &Deed::trash("/home/a"), NOW).unwrap();
    assert_eq!(site.judge(&Deed::trash("/home/a"), Some(&intent.sign(&site.key).unwrap())), Ok(()));
    intent = Intent::of(AUDIENCE, USER, &Deed::trash("/home/a"), NOW).unwrap();
    intent.asked = false;
    let told = site.judge(&Deed::trash("/home/a"), Some(&intent.sign(&site.key).unwrap())).unwrap_err();
    assert_eq!(told.class(), Told::IntentInvalid);
}

#[test]
fn v66_s02_the_claim_asked_is_true_or_absent() {
    let site = Site::new(Algorithm::Es256);
    for value in [json!(false), json!(null), json!(1), json!("true"), json!("asked"), json!([true])] {
        let intent = Intent::of(AUDIENCE, USER, &Deed::trash("/home/a"), NOW).unwrap();
        let draft = intent.draft(&site.key).with_claim("asked", value.clone());
        let told = site.judge(&Deed::trash("/home/a"), Some(&draft.sign(&site.key).unwrap()));
        assert!(told.is_err(), "{value}");
    }
}

#[test]
fn v66_s02_version_1_serves_no_item_that_is_raised() {
    let mut site = Site::new(Algorithm::Es256);
    let key = site.enrol_version_1();
    site.policy.terms.version_1 = Version1::Accepted;
    let check = |path: &str, want: Result<(), Rejection>| {
        let intent = intent_version_1(USER, None, "files.createFolder", NOW).sign(&key).unwrap();
        let row = site.calls.row("files.createFolder").unwrap();
        let body = body(row, &[json!({ "id": path })]);
        assert_eq!(judge(&site, "files.createFolder", &(body, intent)), want, "{path}");
    };
    check("/home/a", Ok(()));
    check("/home/.ssh", Err(Rejection::Policy(PolicyRejection::DangerByName)));
}

#[test]
fn v66_s02_a_site_can_want_a_passkey_for_whatever_is_raised() {
    let mut site = Site::new(Algorithm::Es256);
    site.policy.step_up.raised = true;
    let check = |deed: &Deed, want: Result<(), Rejection>| {
        let intent = Intent::of(AUDIENCE, USER, deed, NOW).unwrap().sign(&site.key).unwrap();
        assert_eq!(site.judge(deed, Some(&intent)), want, "{deed:?}");
    };
    check(&Deed::create_folder("/home/a"), Ok(()));
    check(&Deed::create_folder("/home/.ssh"), Err(Rejection::Policy(PolicyRejection::StepUp)));
    check(&Deed::trash("/home/.ssh"), Ok(())); // dangerous by its call, which the site has not named
    let need = |call: &str, consent| site.policy.step_up_of(site.calls.row(call).unwrap(), consent);
    assert_eq!(need("files.createFolder", Consent::Asked), StepUpNeed::Always);
    assert_eq!(need("files.createFolder", Consent::Unasked), StepUpNeed::Never, "refused with its request, if raised");
    assert_eq!(need("files.trash", Consent::Asked), StepUpNeed::Never);
    assert_eq!(need("files.browse", Consent::Asked), StepUpNeed::Never);
    assert_eq!(need("passkeys.begin", Consent::Asked), StepUpNeed::WhereThereIsOne);
}

#[test]
fn v66_a_rule_is_about_a_bound_parameter_and_of_a_known_kind() {
    let row = |rule: Value| {
        json!({
            "call": "site.own", "method": "POST", "path": "/ucloud/{p}/site/own", "items": "bulk",
            "bound": [{"name": "id", "at": ["/id"]}], "class": "write", "ask_if": [rule],
        })
    };
    let made = |rule: Value| {
        let spec: RowSpec = serde_json::from_value(row(rule)).map_err(|error| error.to_string())?;
        CallTable::new(&ProviderId::parse("hpc").unwrap(), &[spec]).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(made(json!({"parameter": "id", "when": "hidden"})), Ok(()));
    assert!(made(json!({"parameter": "path", "when": "hidden"})).unwrap_err().contains("ask_if"));
    assert!(made(json!({"parameter": "id", "when": "shiny"})).unwrap_err().contains("shiny"));
    assert!(made(json!({"parameter": "id", "when": "hidden", "unless": "x"})).unwrap_err().contains("unless"));
    assert!(made(json!({"when": "hidden"})).is_err());
}
