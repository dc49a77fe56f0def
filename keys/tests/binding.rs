//! The values that a row takes from a request, and those that a permit reports of it. An instance
//! acts on these values only.

use std::sync::Arc;

use crate::support::judging::{AUDIENCE, NOW, Site, USER};
use countersign_keys::bind::{BindRejection, Items};
use countersign_keys::call::{CallTable, Row};
use countersign_keys::identity::ProviderId;
use countersign_keys::intent::ITEMS_MAX;
use countersign_keys::json::Json;
use countersign_keys::jws::sha256;
use countersign_keys::keyring::Algorithm;
use countersign_keys::verify::Rejection;
use countersign_portal::signer::{Intent, Projection};
use serde_json::{Value, json};

fn table() -> CallTable {
    CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap()
}

fn row(table: &CallTable, call: &str) -> Arc<Row> {
    Arc::clone(table.row(call).unwrap())
}

#[test]
fn an_item_is_its_bound_parameters_by_name_and_null_where_it_has_none() {
    let table = table();
    let body = r#"{"items":[{"oldId":"/1/a","newId":"/1/b","resolvedOldCollection":{"id":"9"}}]}"#;
    let items = Items::read(&row(&table, "files.move"), body.as_bytes()).unwrap();
    let [item] = items.projections() else { unreachable!("one item") };
    assert_eq!(item.parameter("oldId").as_str(), Some("/1/a"));
    assert_eq!(item.parameter("newId").as_str(), Some("/1/b"));
    assert_eq!(*item.parameter("conflictPolicy"), Json::Null, "bound, and not sent");
    assert_eq!(*item.parameter("resolvedOldCollection"), Json::Null, "sent, and not bound");
    let names: Vec<&str> = item.parameters().map(|(name, _)| name).collect();
    assert_eq!(names, ["oldId", "newId", "conflictPolicy"]);
    assert_eq!(serde_json::to_value(item).unwrap(), json!({"oldId": "/1/a", "newId": "/1/b", "conflictPolicy": null}));
    assert_eq!(item.canonical(), br#"{"conflictPolicy":null,"newId":"/1/b","oldId":"/1/a"}"#);
    assert_eq!(item.digest(), sha256(&[&item.canonical()]));
    assert_eq!(items.digests(), [item.digest()]);
    assert_eq!(items.bytes(), body.as_bytes(), "what is forwarded is what came");
    let read = items.body().member("items").and_then(Json::elements).unwrap();
    assert_eq!(read[0].member("newId").and_then(Json::as_str), Some("/1/b"));
}

#[test]
fn v28_a_request_has_as_many_items_as_an_intent_can_cover() {
    let row = row(&table(), "files.trash");
    let check = |items: usize, want: bool| {
        let items: Vec<_> = (0..items).map(|item| json!({"id": format!("/1/{item}")})).collect();
        let read = Items::read(&row, json!({"items": items}).to_string().as_bytes()).map(|read| read.digests().len());
        assert_eq!(read, if want { Ok(items.len()) } else { Err(BindRejection::ItemCount) });
    };
    check(0, false);
    check(1, true);
    check(2, true);
    check(ITEMS_MAX, true);
    check(ITEMS_MAX + 1, false);
}

#[test]
fn items_stand_where_the_call_has_them_and_nowhere_else() {
    let table = table();
    let check = |call: &str, body: &str, want: Result<usize, BindRejection>| {
        let read = Items::read(&row(&table, call), body.as_bytes()).map(|items| items.projections().len());
        assert_eq!(read, want, "{call} {body}");
    };
    check("files.trash", r#"{"items":[{"id":"/1/a"}]}"#, Ok(1));
    check("files.trash", r#"{"other":[{"id":"/1/a"}]}"#, Err(BindRejection::Shape));
    check("files.trash", r#"{"items":{"id":"/1/a"}}"#, Err(BindRejection::Shape));
    check("files.trash", r#"{"items":[{"id":"/1/a"}],"more":[]}"#, Err(BindRejection::Shape));
    check("files.trash", r#"{}"#, Err(BindRejection::Shape));
    check("files.trash", "", Err(BindRejection::Shape));
    check("files.trash", r#"[{"id":"/1/a"}]"#, Err(BindRejection::Shape));
    check("tokens.revoke", r#"{"id":"7"}"#, Ok(1));
    check("tokens.revoke", "", Ok(1));
    check("tokens.revoke", r#"[{"id":"7"}]"#, Err(BindRejection::Shape));
    check("tokens.revoke", r#""7""#, Err(BindRejection::Shape));
}

#[test]
fn a_bound_number_is_one_that_both_ends_read_alike() {
    let table = table();
    let check = |rank: &str, want: bool| {
        let body = format!(r#"{{"items":[{{"job":{{"id":"7"}},"rank":{rank},"sessionType":"SHELL"}}]}}"#);
        let read = Items::read(&row(&table, "jobs.openInteractiveSession"), body.as_bytes()).map(|_| ());
        assert_eq!(read, if want { Ok(()) } else { Err(BindRejection::Value("rank".into())) }, "{rank}");
    };
    check("0", true);
    check("1", true);
    check("-1", true);
    check("9007199254740991", true);
    check("-9007199254740991", true);
    check("9007199254740992", false);
    check("-9007199254740992", false);
    check("1.5", true);
    check("1e3", true);
    check(r#"{"a":[1,{"b":-1.5}]}"#, true);
    check("9007199254740991.0", true);
    check("9007199254740992.0", false);
    check("1e16", false);
    check(r#"{"a":[1,{"b":-1e300}]}"#, false);
}

/// Members that Core changes are in no projection, so an instance cannot take them for the user's.
#[test]
fn c06_what_core_decides_of_a_job_is_neither_bound_nor_passed_on() {
    let table = table();
    let read = |specification: &str| {
        let body = format!(r#"{{"items":[{{"specification":{specification}}}]}}"#);
        Items::read(&row(&table, "jobs.create"), body.as_bytes())
            .map(|items| String::from_utf8(items.projections()[0].canonical()).unwrap())
    };
    let bound = |specification: &str| Ok(format!(r#"{{"specification":{specification}}}"#));
    let check = |specification: &str, want: &str| assert_eq!(read(specification), bound(want), "{specification}");
    let file = r#"{"path":"/4/x","type":"file"}"#;
    check(
        r#"{"parameters":{"in":{"type":"file","path":"/4/x","readOnly":true},"ucMetricSampleRate":{"type":"file","path":"/1"}},
               "resources":[{"type":"file","path":"/4/x","readOnly":false},{"readOnly":true,"type":"file","path":"/4/x"}],
               "name":" x ","allowDuplicateJob":true,"restartOnExit":true,"labels":{"Stage ":"One"}}"#,
        &format!(
            r#"{{"labels":{{"stage":"One"}},"name":"x","parameters":{{"in":{file}}},"resources":[{file},{file}]}}"#
        ),
    );
    // Only at these places: elsewhere the names have a meaning to the user.
    check(
        r#"{"parameters":{"readOnly":{"type":"text","value":"x"},"a":{"ucMetricSampleRate":1,"inner":{"readOnly":true}}},"readOnly":true}"#,
        r#"{"parameters":{"a":{"inner":{"readOnly":true},"ucMetricSampleRate":1},"readOnly":{"type":"text","value":"x"}},"readOnly":true}"#,
    );
    assert_eq!(read(r#"{"labels":{"a":"1","A":"2"}}"#), Err(BindRejection::Value("specification".into())));
}

#[test]
fn what_go_writes_for_absent_is_absent_in_a_tree_and_kept_where_it_says_something() {
    let table = table();
    let check = |specification: &str, want: &str| {
        let body = format!(r#"{{"items":[{{"specification":{specification}}}]}}"#);
        let items = Items::read(&row(&table, "jobs.create"), body.as_bytes()).unwrap();
        let canonical = items.projections()[0].canonical();
        assert_eq!(String::from_utf8(canonical).unwrap(), format!(r#"{{"specification":{want}}}"#), "{specification}");
    };
    check(r#"{"name":"a","replicas":0,"restart":false,"labels":{},"resources":[],"hostname":""}"#, r#"{"name":"a"}"#);
    check(r#"{"product":{"id":"","inner":{"zero":0}},"name":"a"}"#, r#"{"name":"a"}"#);
    check(r#"{"labels":{},"name":""}"#, "null");
    check("null", "null");
    // The elements of a list stay: none of them can be absent.
    check(r#"{"resources":[null,0,"",{"id":"","x":1}]}"#, r#"{"resources":[null,0,"",{"x":1}]}"#);
    check(r#"{"name":"a","replicas":1,"restart":true}"#, r#"{"name":"a","replicas":1,"restart":true}"#);
}

#[test]
fn a_set_is_one_whatever_its_order_and_has_strings_alone() {
    let table = table();
    let read = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| format!(r#"{{"specification":{{"key":{key}}}}}"#)).collect();
        let body = format!(r#"{{"username":"a","allKeys":[{}]}}"#, keys.join(","));
        Items::read(&row(&table, "ssh.keyUploaded"), body.as_bytes())
            .map(|items| String::from_utf8(items.projections()[0].canonical()).unwrap())
    };
    let sorted = r#"{"keys":["a","b","c"]}"#.to_owned();
    assert_eq!(read(&[r#""c""#, r#""a""#, r#""b""#]), Ok(sorted.clone()));
    assert_eq!(read(&[r#""a""#, r#""b""#, r#""c""#]), Ok(sorted));
    assert_eq!(read(&[]), Ok(r#"{"keys":[]}"#.to_owned()));
    assert_eq!(read(&[r#""a""#, "1"]), Err(BindRejection::Value("keys".into())));
}

/// If UCloud repeats the user within a request, it must be the signer.
#[test]
fn an_item_that_names_another_user_is_refused() {
    let site = Site::new(Algorithm::Es256);
    let check = |shown: Value, want: Result<(), Rejection>| {
        let body = json!({"username": shown, "allKeys": [{"specification": {"key": "ssh-ed25519 AAAA"}}]}).to_string();
        let signed = Projection(vec![("keys".to_owned(), json!(["ssh-ed25519 AAAA"]))]);
        let intent = Intent::new(AUDIENCE, USER, "ssh.keyUploaded", &[signed], NOW).unwrap().sign(&site.key).unwrap();
        let judged = site.judge_raw("ssh.keyUploaded", body.as_bytes(), Some(&intent), &site.token(), USER);
        assert_eq!(judged, want, "{body}");
    };
    check(json!(USER), Ok(()));
    check(json!("bob#1"), Err(BindRejection::Username.into()));
    check(json!(""), Err(BindRejection::Username.into()));
    check(json!(null), Err(BindRejection::Username.into()));
    check(json!([USER]), Err(BindRejection::Username.into()));
}
